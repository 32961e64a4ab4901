"""Composition, precedence, typing, identity: what a command line means."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
import yaml
from data_files import picture_options
from hypothesis import given
from hypothesis import strategies as st

from wganbench.cli.app import main
from wganbench.cli.run_view import settings_line
from wganbench.config import (
    OUTSIDE_IDENTITY,
    ConfigError,
    RunConfig,
    compose,
    digest,
    identity,
    run_folder,
    run_id,
    to_dict,
)
from wganbench.config.check import from_dict
from wganbench.config.composition import compose_values
from wganbench.config.schema import static_settings
from wganbench.data import image_files, images
from wganbench.networks import Pair, build_pair
from wganbench.presets import (
    GROUPS,
    all_keys,
    conf_directory,
    describe_preset,
    directories,
    preset_names,
    read_preset,
)
from wganbench.typed import ALIASES, check_range, convert, nearest


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    """The default run, composed; tests change copies of it."""
    return compose_values(["tuned=none"])


def changed(values: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A copy with other values at dotted keys (written with ``__`` for the dot)."""
    copy: dict[str, Any] = json.loads(json.dumps(values))
    for key, value in keys.items():
        *sections, name = key.split("__")
        part = copy
        for section in sections:
            part = part[section]
        part[name] = value
    return copy


PRESETS = [(group, name) for group in GROUPS for name in preset_names(group)]


PICTURE_EXPERIMENTS = {
    "stacked_mnist": "stacked_mnist",
    "cifar10_optimistic": "cifar10",
    "cifar10_wgan_gp": "cifar10",
    "cifar10_dcgan": "cifar10",
    "cifar10_r3gan_small": "cifar10",
}
"""Experiments on images that have to be fetched, and their data."""


@pytest.mark.parametrize(("group", "name"), PRESETS)
def test_every_yaml_composes_and_validates(
    group: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [f"{group}={name}"]
    if group == "network" and read_preset(group, name)["kind"] in ("dcgan", "resnet"):
        size = int(name.removeprefix("dcgan").removeprefix("resnet"))
        blank = torch.zeros(300, 1, size, size, dtype=torch.uint8)
        blanks = images.Images(blank, blank)
        monkeypatch.setattr(image_files, "load_digits", lambda *options: blanks)
        overrides.append("data=digits")
    if group == "tuned" and name != "none":
        loss, data = name.split("-", 1)
        overrides += [f"loss={loss.partition('+')[0]}", f"data={data}"]
    if (group, name) == ("data", "points"):
        np.save(tmp_path / "cloud.npy", np.random.default_rng(0).normal(size=(1000, 2)))
        overrides.append(f"data.path={tmp_path / 'cloud.npy'}")
    elif group == "data" or name in PICTURE_EXPERIMENTS:
        data = PICTURE_EXPERIMENTS.get(name, name)
        options = picture_options(data, tmp_path, monkeypatch)
        overrides += [f"data.{key}={value}" for key, value in options.items()]
        # The stand-ins are few images.
        overrides += ["train.batch_size=64"] if name in PICTURE_EXPERIMENTS else []
    config = compose(overrides)
    assert isinstance(config, RunConfig)
    if group in ("loss", "data", "network"):
        assert getattr(config, group).name == name


@pytest.mark.parametrize(("group", "name"), PRESETS)
def test_every_yaml_says_what_it_is_and_where_it_comes_from(group: str, name: str) -> None:
    text = describe_preset(group, name)
    assert len(text) > 20
    if name != "none" and group != "tuned":
        assert "Source:" in text


def test_no_experiment_names_the_folder() -> None:
    for path in (conf_directory() / "experiment").glob("*.yaml"):
        assert "name" not in yaml.safe_load(path.read_text())


@pytest.mark.parametrize(
    ("loss", "n_critic", "optimizer", "rate", "betas", "coefficients"),
    [
        ("gp", 5, "adam", 1e-4, [0, 0.9], {"gp_lambda": 10}),
        ("lp", 5, "adam", 1e-4, [0, 0.9], {"gp_lambda": 10}),
        ("bce_gp", 5, "adam", 1e-4, [0, 0.9], {"gp_lambda": 10}),
        ("wasserstein", 5, "adam", 1e-4, [0, 0.9], {}),
        ("clip", 5, "rmsprop", 5e-5, [0, 0.99], {"clip_value": 0.01}),
        ("bce", 1, "adam", 2e-4, [0.5, 0.999], {}),
        ("bce_saturating", 1, "adam", 2e-4, [0.5, 0.999], {}),
        ("bce_r1", 1, "rmsprop", 1e-4, [0, 0.99], {"r1_gamma": 10}),
        ("bce_smooth", 1, "adam", 2e-4, [0.5, 0.999], {}),
        ("hinge", 1, "adam", 2e-4, [0.5, 0.999], {}),
        ("hinge_sn", 5, "adam", 2e-4, [0, 0.9], {}),
        ("hinge_gn", 5, "adam", 2e-4, [0, 0.9], {}),
        ("wasserstein_sn", 5, "adam", 2e-4, [0, 0.9], {}),
        ("lsgan", 1, "adam", 2e-4, [0.5, 0.999], {}),
        ("lsgan_pearson", 1, "adam", 2e-4, [0.5, 0.999], {}),
        ("rpgan", 1, "adam", 2e-4, [0.5, 0.999], {}),
        ("ragan", 1, "adam", 2e-4, [0.5, 0.999], {}),
        ("rpgan_r1r2", 1, "adam", 2e-4, [0, 0.99], {"r1_gamma": 1, "r2_gamma": 1}),
        ("bce_r1r2", 1, "rmsprop", 1e-4, [0, 0.99], {"r1_gamma": 10, "r2_gamma": 10}),
        ("gp0", 5, "adam", 1e-4, [0, 0.9], {"gp_lambda": 10}),
        ("dragan", 1, "adam", 2e-4, [0.5, 0.999], {"gp_lambda": 10}),
        ("wgan_div", 5, "adam", 2e-4, [0.5, 0.999], {"div_k": 2, "div_p": 6}),
    ],
)
def test_without_tuning_a_loss_has_its_papers_settings(
    loss: str,
    n_critic: int,
    optimizer: str,
    rate: float,
    betas: list[float],
    coefficients: dict[str, float],
) -> None:
    config = from_dict(compose_values([f"loss={loss}", "tuned=none"]))
    train = config.train
    assert (config.loss.n_critic, train.optimizer, train.decay) == (n_critic, optimizer, "none")
    assert (train.critic_lr, train.generator_lr, train.betas) == (rate, rate, betas)
    assert config.loss.coefficients == coefficients


def test_the_papers_toy_protocols() -> None:
    """Improved-WGAN's gan_toy.py and PacGAN's ring, as their authors published them."""
    toy = compose(["experiment=wgan_gp_toy"])
    assert (toy.train.steps, toy.train.batch_size, toy.loss.n_critic) == (100_000, 256, 5)
    assert (toy.network.options["width"], toy.network.options["depth"]) == (512, 3)
    assert toy.loss.coefficients == {"gp_lambda": 0.1} and toy.train.betas == [0.5, 0.9]
    ring = compose(["experiment=pacgan_ring8"])
    assert (ring.train.steps, ring.train.batch_size, ring.loss.name) == (400_000, 100, "bce")
    assert ring.data.options["train_points"] == 100_000
    assert (ring.train.critic_lr, ring.train.betas[0]) == (1e-4, 0.8)
    assert ring.network.options["critic_pieces"] == 5


def test_r3gan_in_small_begins_where_the_schedules_of_its_code_do() -> None:
    """Its schedules last 20 million images; a decay per step is 0.5 ** (batch / half life)."""
    config = from_dict(compose_values(["experiment=cifar10_r3gan_small"]))
    train, loss = config.train, config.loss
    assert (train.batch_size, train.critic_lr, train.generator_lr) == (512, 2e-4, 2e-4)
    assert (train.optimizer, train.betas, train.decay) == ("adam", [0.0, 0.9], "cosine")
    assert (loss.name, loss.n_critic) == ("rpgan_r1r2", 1)
    assert loss.coefficients == {"r1_gamma": 0.05, "r2_gamma": 0.05}
    assert config.network.options["latent_dim"] == 64
    assert config.network.options["latent"] == "normal"
    assert train.steps * train.batch_size == pytest.approx(2e7, rel=0.01)
    half_life = train.batch_size * math.log(0.5) / math.log(train.average_decay)
    assert half_life == pytest.approx(0.35e6, rel=0.02)


@pytest.mark.parametrize("data", ["ring8", "grid25"])
@pytest.mark.parametrize("packing", [2, 3, 4])
def test_pacgans_rows_differ_in_packs_alone(data: str, packing: int) -> None:
    """A hundred packs a batch, as in the authors' code; all else is the baseline's."""
    base = to_dict(compose([f"experiment=pacgan_{data}"]))
    row = to_dict(compose([f"experiment=pacgan{packing}_{data}"]))
    assert (row["loss"].pop("packing"), row["train"].pop("batch_size")) == (packing, 100 * packing)
    assert (base["loss"].pop("packing"), base["train"].pop("batch_size")) == (1, 100)
    assert row == base


def test_mescheders_methods_differ_in_the_loss_alone() -> None:
    """Five methods on his 2-D examples: a penalty at 10, or none; WGAN-GP with 1 and 5 steps."""
    methods = {m: compose([f"experiment=mescheder_{m}"]) for m in ("gan", "r1", "r2", "gp1", "gp5")}
    found = {m: (c.loss.n_critic, c.loss.coefficients) for m, c in methods.items()}
    assert found == {
        "gan": (1, {}),
        "r1": (1, {"r1_gamma": 10.0}),
        "r2": (1, {"r2_gamma": 10.0}),
        "gp1": (1, {"gp_lambda": 10.0}),
        "gp5": (5, {"gp_lambda": 10.0}),
    }
    names = [c.loss.name for c in methods.values()]
    assert names == ["bce", "bce_r1", "bce", "gp", "gp"]
    for config in methods.values():
        assert config.train == methods["gan"].train and config.train.optimizer == "rmsprop"
        assert config.network == methods["gan"].network and config.data == methods["gan"].data


def test_an_experiment_on_another_has_its_choices() -> None:
    grid, ring = compose(["experiment=unrolled_grid25"]), compose(["experiment=unrolled_ring8"])
    assert (grid.data.name, ring.data.name) == ("grid25_pacgan", "ring8_veegan")
    assert grid.loss == ring.loss and grid.loss.unrolled == 5 and grid.train == ring.train
    with pytest.raises(ConfigError, match="not used by loss=bce;"):
        compose(["experiment=pacgan2_ring8", "loss.gp_lambda=3"])


# Types.


def test_2_and_2_0_are_one_value() -> None:
    same = [
        ["loss.gp_lambda=2", "train.steps=1000", "data.radius=1", "network.width=32"],
        ["loss.gp_lambda=2.0", "train.steps=1e3", "data.radius=1.0", "network.width=32.0"],
    ]
    first, second = (compose(overrides) for overrides in same)
    assert first == second and run_id(first) == run_id(second)
    assert isinstance(second.network.options["width"], int)
    assert isinstance(first.data.options["radius"], float)
    assert run_id(compose(["loss.gp_lambda=2.5"])) != run_id(compose(["loss.gp_lambda=2"]))


def test_true_is_a_name_where_a_name_is_asked_for() -> None:
    assert compose_values(["name=true"])["name"] == "true"
    assert compose_values(["name=True"])["name"] == "True"
    assert from_dict(compose_values(["compile=true"])).compile == "true"
    assert from_dict(compose_values(["name=2024"])).name == "2024"


@given(st.integers(-(2**53), 2**53))
def test_a_whole_number_is_the_same_however_it_is_written(n: int) -> None:
    assert convert(n, int, "k") == convert(float(n), int, "k") == n
    assert repr(convert(n, float, "k")) == repr(float(n))


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        (1.5, int),
        (True, int),
        (True, float),
        ("3", int),
        (math.nan, float),
        (math.inf, int),
        (1, bool),
        ("true", bool),
        ([1], str),
        ("ab", list[str]),
        (3, list[int]),
        ([1, "x"], list[int]),
        ({"a": "x"}, dict[str, float]),
        (None, int),
        ("x", int | None),
    ],
)
def test_another_type_is_refused_by_name(value: Any, hint: Any) -> None:
    with pytest.raises(ConfigError, match="train.key"):
        convert(value, hint, "train.key")


def test_a_literal_is_one_of_its_values() -> None:
    hint = Literal["auto", "true", "fp32"]
    assert convert("auto", hint, "k") == "auto"
    assert convert(True, hint, "k") == "true", "as YAML reads it"
    with pytest.raises(ConfigError, match=r"^k=fp23: no such choice; did you mean fp32\? \(there"):
        convert("fp23", hint, "k")
    with pytest.raises(ConfigError, match="did you mean fp32"):
        convert("FP32", hint, "k")
    for other in (["auto"], None, {"auto": 1}):
        with pytest.raises(ConfigError, match="^k "):
            convert(other, hint, "k")
    assert convert(None, hint | None, "k") is None


def test_bounds_are_exact() -> None:
    for metadata, good, bad in (
        ({"least": 1}, 1, 0),
        ({"above": 0}, 1e-300, 0),
        ({"below": 1}, 1 - 1e-9, 1),
        ({"choices": ("a", "b")}, "b", "c"),
        ({"length": 2}, [1, 2], [1]),
        ({"least": 0, "length": 2}, [0, 0], [0, -1]),
    ):
        check_range(good, metadata, "k")
        with pytest.raises(ConfigError):
            check_range(bad, metadata, "k")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"seed": -1}, "seed must be at least 0"),
        ({"loss__n_critic": 0}, "loss.n_critic must be at least 1"),
        ({"train__critic_lr": 0}, "train.critic_lr must be above 0"),
        ({"train__generator_lr": math.inf}, "train.generator_lr must be finite"),
        ({"train__betas": [0.5]}, "train.betas must hold 2"),
        ({"train__betas": [0.5, 1.0]}, "train.betas[1] must be below 1"),
        ({"train__average_decay": 1}, "train.average_decay must be below 1"),
        ({"train__decay": "linea"}, "did you mean linear"),
        ({"train__burst_n_critic": 100}, "never used"),
        ({"train__burst_first_steps": 25}, "train.burst_n_critic must be at least"),
        ({"precision": "fp16"}, "precision=fp16: no such choice"),
        ({"device": "gpu"}, "device must be auto, cpu, cuda"),
        ({"name": "../up"}, "name names a folder"),
        ({"output_dir": " "}, "output_dir is empty"),
        ({"evaluate__protocol": "veegn"}, "did you mean veegan"),
        ({"log": 5}, "log must be a group of keys"),
        ({"train__stepz": 5}, "did you mean train.steps"),
        ({"sed": 5}, "did you mean seed"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    values: dict[str, Any], keys: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        from_dict(changed(values, **keys))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("loss.gp_lambda=-0.1", "loss.gp_lambda must be at least 0"),
        ("loss.gp_lambda=inf", "loss.gp_lambda must be finite"),
        ("loss.gp_lambda=2e30", "loss.gp_lambda must be at most 1e+30"),
        ("loss=bce_r1 loss.r1_gamma=-1", "loss.r1_gamma must be at least 0"),
        ("loss=clip loss.clip_value=0", "loss.clip_value must be above 0"),
        ("loss=clip loss.clip_value=1e-31", "loss.clip_value must be at least 1e-30"),
    ],
)
def test_a_recipe_says_what_its_coefficients_accept(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        compose(["loss=gp", *override.split()])


@pytest.mark.parametrize(
    "objective", ["wasserstein/exact", "wasserstein/excess", "averaged/wasserstein/exact"]
)
def test_exact_w1_is_no_objective_where_it_is_mostly_bias(objective: str) -> None:
    words = ["loss=gp", "data=funnels", f"sweep.objective={objective}"]
    said = f"sweep.objective={objective} is mostly bias from 4 dimensions on, and these data have 4"
    with pytest.raises(ConfigError, match=re.escape(said)):
        compose([*words, "data.dimension=4"])
    compose([*words, "data.dimension=2"])
    compose(["loss=gp", "data=funnels", "data.dimension=4", "sweep.objective=energy/distance"])


def test_bursts_as_in_the_wgan_authors_code(values: dict[str, Any]) -> None:
    train = from_dict(
        changed(
            values,
            train__burst_n_critic=100,
            train__burst_first_steps=25,
            train__burst_every_n_steps=500,
        )
    ).train
    assert train.burst_n_critic == 100


def test_a_missing_key_is_named(values: dict[str, Any]) -> None:
    for section, name in (("train", "steps"), ("loss", "n_critic"), ("data", "kind")):
        copy = changed(values)
        del copy[section][name]
        with pytest.raises(ConfigError, match=f"{section}.{name} is missing"):
            from_dict(copy)


@pytest.mark.parametrize(
    ("log", "evaluate", "told"),
    [
        (1, 0, "log.every_n_steps=8"),
        (7, 0, "log.every_n_steps=8"),
        (1, 500, "log.every_n_steps=8"),
        (1, 1, "log.every_n_steps=16 and evaluate.every_n_steps=16"),
        (500, 1, "evaluate.every_n_steps=8"),
    ],
)
def test_more_rows_than_can_be_read_are_refused_with_the_least_interval_that_will_do(
    log: int, evaluate: int, told: str
) -> None:
    few = ["train.steps=1000000", f"log.every_n_steps={log}", f"evaluate.every_n_steps={evaluate}"]
    with pytest.raises(ConfigError) as caught:
        compose(few)
    assert str(caught.value).endswith(f": give at least {told}"), caught.value
    enough = told.split(" and ")
    compose([*few, *enough])
    less = [f"{key}={int(value) - 1}" for key, _, value in (word.partition("=") for word in enough)]
    with pytest.raises(ConfigError, match="too large to be read"):
        compose([*few, *less])


# Identity.

OTHER = {
    "seed": 1, "device": "cpu", "precision": "bf16", "compile": "false", "deterministic": True,
    "name": "other", "output_dir": "elsewhere", "overwrite": True, "loss__gp_lambda": 3,
    "data__sigma": 0.5, "network__width": 7, "train__steps": 3, "log__every_n_steps": 7,
    "evaluate__n": 77, "checkpoint__every_n_steps": 77, "sweep__max_stack": 7,
}  # fmt: skip


def test_identity_leaves_out_exactly_the_declared_keys(values: dict[str, Any]) -> None:
    fields = {field.name for field in dataclasses.fields(RunConfig)}
    assert {key.split("__")[0] for key in OTHER} == fields
    config = from_dict(values)
    assert set(identity(config)) == fields - set(OUTSIDE_IDENTITY)
    for key, value in OTHER.items():
        other = from_dict(changed(values, **{key: value}))
        outside = key.split("__")[0] in OUTSIDE_IDENTITY
        assert other != config
        assert (digest(other) == digest(config)) == outside, key
        assert (run_id(other) == run_id(config)) == outside, key


def test_run_id_is_legible_and_safe(values: dict[str, Any]) -> None:
    config = from_dict(changed(values, loss__gp_lambda=10, seed=3))
    assert re.fullmatch(r"ring8-gp-gp_lambda=10-seed=3-[0-9a-f]{8}", run_id(config))
    assert run_folder(config) == Path("outputs") / "ring8" / run_id(config)
    assert run_id(config).endswith(digest(config)[:8])
    bce = from_dict(compose_values(["loss=bce", "tuned=none"]))
    assert re.fullmatch(r"ring8-bce-seed=0-[0-9a-f]{8}", run_id(bce))


def test_a_stored_configuration_comes_back_equal(values: dict[str, Any]) -> None:
    config = from_dict(values)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_no_clipping_survives_json() -> None:
    config = from_dict(compose_values(["loss=clip", "loss.clip_value=inf"]))
    stored = json.dumps(to_dict(config), allow_nan=False)
    assert from_dict(json.loads(stored)).loss.coefficients["clip_value"] == math.inf


# Suggestions.


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("loss.gp_lamda", "loss.gp_lambda"),
        ("loss.gp_lamba", "loss.gp_lambda"),
        ("loss.lambda", "loss.gp_lambda"),
        ("n_critic", "loss.n_critic"),
        ("train.n_critic", "loss.n_critic"),
        ("lr", "train.critic_lr and train.generator_lr"),
        ("epochs", "train.steps"),
        ("iterations", "train.steps"),
        ("bs", "train.batch_size"),
        ("clip", "loss.clip_value"),
        ("los", "loss"),
        ("trian.steps", "train.steps"),
        ("train.stpes", "train.steps"),
        ("Train.Steps", "train.steps"),
        ("network.widht", "network.width"),
        ("dataset", "data"),
        ("xyzzy", None),
    ],
)
def test_nearest_key(typed: str, meant: str | None) -> None:
    assert nearest(typed, all_keys(directories())) == meant


def test_every_alias_leads_to_a_key() -> None:
    keys = set(all_keys(directories()))
    for ours in ALIASES.values():
        assert keys.issuperset(ours.split(" and ")), ours


# Losses composed on the command line.
def test_a_loss_takes_further_penalties() -> None:
    config = compose(["loss=hinge", "loss.penalties=[r1]", "loss.r1_gamma=1"])
    assert config.loss.penalties == ["r1"] and config.loss.coefficients == {"r1_gamma": 1.0}
    both = compose(["loss=rpgan", "loss.penalties=[r1,r2]", "loss.r1_gamma=1", "loss.r2_gamma=2"])
    assert both.loss.coefficients == {"r1_gamma": 1.0, "r2_gamma": 2.0}
    plain = compose(["loss=hinge"])
    assert static_settings(config) != static_settings(plain) and digest(config) != digest(plain)


def test_runs_from_before_packs_and_penalties_keep_their_names() -> None:
    config = compose(["loss=gp", "loss.packing=1", "loss.penalties=[]", "loss.unrolled=0"])
    assert digest(config) == digest(compose(["loss=gp"]))
    assert digest(compose(["loss=gp", "loss.packing=2"])) != digest(config)
    assert identity(config)["loss"].keys() == {"name", "n_critic", "gp_lambda"}
    older = to_dict(config)
    del older["loss"]["packing"], older["loss"]["penalties"], older["loss"]["unrolled"]
    assert from_dict(older) == from_dict(to_dict(config))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("loss=hinge loss.penalties=[r1]", "r1_gamma is missing: loss.penalties=[r1] needs it"),
        ("loss=bce_r1 ~loss.r1_gamma", "r1_gamma is missing: loss=bce_r1 needs it"),
        ("loss=gp +loss.clip_value=1", "loss.clip_value is not used by loss=gp (clip has it)"),
        ("loss=hinge +loss.r1_gamma=1", "(rpgan_r1r2, bce_r1r2, bce_r1 have it)"),
        ("loss=hinge loss.gp_lambda=1", "loss=hinge; loss.penalties=[gp] adds its penalty; those"),
        ("loss=clip loss.gp_lambda=1", "not used by loss=clip; those that have it: bce_gp"),
        ("loss=clip loss.penalties=[r1] loss.r1_gamma=1", "exclude each other"),
        ("loss=gp loss.penalties=[lp]", "lp takes loss.gp_lambda"),
        ("loss=bce_r1 loss.penalties=[r1]", "has the penalty r1 already"),
        ("loss=bce loss.penalties=[r3]", "loss.penalties: unknown penalty 'r3'"),
        ("loss=bce loss.penalties=r1", "loss.penalties must be a list such as [r1]; got 'r1'"),
        ("loss=bce loss.penalties=null", "loss.penalties must be given"),
        ("loss=bce loss.penalties=2", "loss.penalties must be a list such as [a,b]; got 2"),
        ("loss=gp train.betas=0.5", "train.betas must be a list such as [0.5,0.9]"),
        ("loss=hinge loss.r1_gamma=1", "not used by loss=hinge"),
        ("loss=hinge loss.penalties=[r1] loss.r1_gamma=-1", "loss.r1_gamma must be at least 0"),
        ("loss=hinge loss.penalties=[r1] loss.r1_gamma=1 loss.gp_lambda=1", "loss.gp_lambda"),
        ("loss=wgan_div loss.div_p=1", "loss.div_p must be above 1"),
        ("loss=bce loss.packing=3", "loss.packing=3 does not divide train.batch_size"),
        ("loss=bce loss.packing=0", "loss.packing must be at least 1"),
        ("loss=bce loss.unrolled=11", "loss.unrolled must be at most 10"),
        ("loss=gp loss.unrolled=2", "loss.unrolled=2 needs a loss without penalties"),
        (
            "loss=bce loss.penalties=[r1] loss.r1_gamma=1 network.critic_normalization=batch",
            "batch norm makes",
        ),
        ("loss=hinge_gn network.critic_normalization=batch", "batch norm makes"),
        ("loss=hinge_sn network.critic_normalization=layer", "its spectral norm bounds"),
        ("loss=hinge_sn network.critic_normalization=batch", "its spectral norm bounds"),
    ],
)
def test_a_nonsensical_loss_is_refused_in_one_line(words: str, told: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compose(words.split())
    assert told in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("words", "way"),
    [
        ("loss=gp", "choose bce or clip"),
        ("loss=bce loss.penalties=[r1] loss.r1_gamma=1", "remove loss.penalties"),
        ("loss=gp loss.penalties=[r1] loss.r1_gamma=1",
         "remove loss.penalties and choose bce or clip"),
    ],
)  # fmt: skip
def test_unrolled_steps_beside_a_penalty_say_what_to_change(words: str, way: str) -> None:
    with pytest.raises(ConfigError) as refused:
        compose([*words.split(), "loss.unrolled=2"])
    assert str(refused.value).endswith(f": set loss.unrolled=0, or {way}")


def test_a_critic_of_ones_own_that_mixes_points_is_refused_where_slopes_are_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Such a network has no key of ours that could say so."""

    def mixing(*arguments: Any) -> Pair:
        return dataclasses.replace(build_pair(*arguments), critic_is_pointwise=False)

    monkeypatch.setattr("wganbench.networks.build_pair", mixing)
    for loss in ("gp", "hinge_gn"):
        with pytest.raises(ConfigError, match="this network's critic mixes points") as refused:
            compose([f"loss={loss}"])
        assert f"loss={loss}" in str(refused.value)
        assert "critic_normalization" not in str(refused.value)
    for loss in ("bce", "clip", "hinge_sn"):
        assert compose([f"loss={loss}"]).loss.name == loss


BROKEN = {
    "experiment/tab": ("# @package _global_\nseed: 3\n\tx: 1\n", r"tab\.yaml, line 3: found "),
    "experiment/indent": ("# @package _global_\nseed: 1\n  x: 2\n", r"indent\.yaml, line 3: mapp"),
    "experiment/top": ("- a\n", r"top\.yaml must hold values by key .*\['a'\]"),
    "experiment/tag": ("# @package _global_\nseed: !foo 1\n", r"tag\.yaml, line 2: .*!foo"),
    "experiment/three": ("# @package _global_\ndefaults: 3\n", r"three\.yaml: defaults must be a"),
    "experiment/loop": ("# @package _global_\ndefaults: [loop]\n", r"loop\.yaml: .*leads to the f"),
    "experiment/miss": ("defaults: [other]\n", r"miss\.yaml, defaults: unknown .*'other'.*arm_bce"),
    "experiment/twice": ("# @package _global_\nseed: 1\nseed: 2\n", r"twice\.yaml, line 3: found"),
    "experiment/date": ("# @package _global_\nseed: 2026-13-45\n", r"date\.yaml, line 2: month"),
    "experiment/bare": ("seed: 1\n", r"bare\.yaml: its first line must be '# @package _global_'"),
    "loss/nohead": ("loss: {name: gp}\n", r"loss/nohead\.yaml: its first line must be"),
    "tuned/nohead": ("train: {steps: 7}\n", r"tuned/nohead\.yaml: its first line must be"),
    "tuned/bom": ("\xef\xbb\xbf# @package _global_\nseed: 1\n", r"bom\.yaml begins with a byte"),
    "loss/open": ("name: gp\nx: [\n", r"open\.yaml, line 3: expected"),
    "loss/list": ("- a\n", r"list\.yaml must hold values"),
    "loss/three": ("defaults: 3\nname: gp\n", r"three\.yaml: defaults must be a list"),
    "data/latin": ("# Gr\xf6\xdfe\nkind: ring\n", r"latin\.yaml, line 1: this is no UTF-8"),
    "tuned/open": ("# @package _global_\nseed: [1\n", r"open\.yaml, line 3: expected"),
    "tuned/bce-ring8": ("- 1\n", r"bce-ring8\.yaml must hold values"),
}  # fmt: skip
"""Mistakes in the user's YAML files, and what is said of each when it is chosen."""


def broken_folder(folder: Path, names: Iterable[str]) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.yaml").write_bytes(BROKEN[name][0].encode("latin-1"))
    return folder


@pytest.mark.parametrize("name", BROKEN)
def test_a_mistake_in_a_chosen_yaml_file_is_told_with_file_and_line(
    tmp_path: Path, name: str
) -> None:
    group, _, choice = name.partition("/")
    word = "loss=bce" if choice == "bce-ring8" else f"{group}={choice}"
    with pytest.raises(ConfigError, match=BROKEN[name][1]) as caught:
        compose([word], broken_folder(tmp_path, [name]))
    assert "\n" not in str(caught.value)


def test_a_first_line_that_is_missing_is_told_of_files_that_nobody_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tuned settings of the pair, and the losses of a sweep."""
    told = r"/gp-moons.yaml: its first line must be '# @package _global_'"
    (tmp_path / "tuned").mkdir()
    (tmp_path / "tuned" / "gp-moons.yaml").write_text("train: {steps: 7}\n")
    with pytest.raises(ConfigError, match=told):
        compose(["data=moons"], tmp_path)
    words = ["loss=gp,bce", "data=moons", "--plan", "--config-dir", str(tmp_path)]
    assert main(["sweep", *words]) == 2
    assert re.search(told, capsys.readouterr().err)


def test_a_loss_of_keys_of_its_own_needs_no_first_line(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "flat.yaml").write_text("name: gp\nn_critic: 2\ngp_lambda: 7\n")
    assert compose(["loss=flat"], tmp_path).loss.coefficients == {"gp_lambda": 7}


def test_a_plus_before_a_choice_changes_nothing() -> None:
    for words in (["experiment=three_way"], ["loss=clip", "data=grid25"]):
        assert compose([f"+{word}" for word in words]) == compose(words)


def test_a_configuration_of_the_users_does_not_replace_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("seed: 3\n")
    told = f"{tmp_path / 'config.yaml'} would replace all settings of ours"
    with pytest.raises(ConfigError, match=re.escape(told)):
        compose([], tmp_path)
    for verb in ("train", "sweep seed=0,1 --plan", "study dirac"):
        assert main([*verb.split(), "--config-dir", str(tmp_path)]) == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1


def test_broken_files_that_are_not_chosen_stop_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = broken_folder(tmp_path, BROKEN)
    assert compose(["loss=bce", "tuned=none"], folder).loss.name == "bce"
    with pytest.raises(ConfigError, match="did you mean loss.gp_lambda"):
        compose(["loss.gp_lamda=1"], folder)
    config = compose(["tuned=none", "loss=bce"], folder)
    assert settings_line(config, directories(folder), "none").startswith("settings: the paper's")
    for listing in ("settings", "tuned"):
        assert main(["list", listing, "--config-dir", str(folder)]) == 0
    assert re.search(r"tuned=open .*unusable: .*open\.yaml, line 3", capsys.readouterr().out)


def test_the_folder_of_all_results_may_begin_at_home(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = from_dict(changed(values, output_dir="~/x"))
    assert run_folder(config).parent == tmp_path / "x" / "ring8"
    tiny = "train.steps=4 evaluate.n=20 evaluate.final_n=20 network.width=4 log.figure=false"
    words = ["tuned=none", *tiny.split(), "log.tensorboard=false", "output_dir='~/x'"]
    assert main(["train", *words]) == 0
    assert [path.name for path in (tmp_path / "x" / "ring8").iterdir()]
