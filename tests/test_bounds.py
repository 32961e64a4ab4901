"""Sizes that no real use meets are refused, by name, before anything is allocated."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import resource
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training_configs import tiny

from wganbench import bounds
from wganbench.config import ConfigError, compose, memory, to_dict
from wganbench.config.check import from_dict
from wganbench.config.composition import compose_values
from wganbench.config.schema import RunConfig
from wganbench.data import DATASETS, load
from wganbench.errors import short_repr
from wganbench.metrics import evaluation, transport, wasserstein_exact, wasserstein_sliced
from wganbench.metrics.transport import evenly
from wganbench.networks import NETWORKS, build_pair
from wganbench.sweeps.plan import local_slots
from wganbench.training import measuring, verdict
from wganbench.training.measuring import measure_stack, read_runs
from wganbench.training.stack import Stack


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    return compose_values(["tuned=none"])


def numbers(cls: Any, prefix: str = "") -> list[tuple[str, dataclasses.Field[Any]]]:
    """Every field of the schema that is a whole number or a number."""
    found = []
    for field in dataclasses.fields(cls):
        if str(field.type) in ("int", "float", "int | None"):
            found.append((prefix + field.name, field))
    return found


def test_every_number_of_the_schema_has_both_bounds() -> None:
    fields = numbers(RunConfig)
    for part in dataclasses.fields(RunConfig):
        cls = vars(__import__("wganbench.config.schema", fromlist=["x"])).get(str(part.type))
        fields += numbers(cls, f"{part.name}.") if dataclasses.is_dataclass(cls) else []
    for registry, group in ((DATASETS, "data"), (NETWORKS, "network")):
        for row in registry.values():
            fields += numbers(row.options, f"{group}.")
    assert len(fields) > 40
    for key, field in fields:
        allowed = field.metadata
        if key != "data.channels":
            assert {"least", "above"} & allowed.keys() and {"most", "below"} & allowed.keys(), key


@pytest.mark.parametrize(
    ("key", "largest"),
    [
        ("seed", 2**63 - 1),
        ("loss.n_critic", 10_000),
        ("train.steps", 16_000_000),
        ("train.batch_size", 10**6),
        ("train.critic_lr", 1e30),
        ("evaluate.n", 10**6),
        ("evaluate.final_n", 10**6),
        ("evaluate.final_draws", 10_000),
        ("evaluate.floor_pairs", 10_000),
        ("evaluate.projections", 100_000),
        ("sweep.stacks_per_device", 10_000),
        ("sweep.max_stack", 10_000),
        ("network.width", 65_536),
        ("network.depth", 200),
        ("network.latent_dim", 10**6),
        ("data.modes", 10_000),
        ("data.radius", 1e18),
        ("data.sigma", 1e18),
        ("data.train_points", 10**8),
        ("loss.gp_lambda", 1e30),
    ],
)
def test_the_largest_value_is_accepted_and_what_lies_above_is_not(
    values: dict[str, Any], key: str, largest: float
) -> None:
    def with_value(value: float) -> dict[str, Any]:
        copy: dict[str, Any] = json.loads(json.dumps(values))
        group, _, name = key.rpartition(".")
        (copy[group] if group else copy)[name] = value
        return copy

    stored = to_dict(from_dict(with_value(largest)))
    for above in (largest + 1 if isinstance(largest, int) else largest * 1.01, 10**400):
        with pytest.raises(ConfigError, match=key.replace(".", r"\.")) as caught:
            from_dict(with_value(above))
        assert len(str(caught.value)) < 200
        # What a stored run says goes the same way.
        group, _, name = key.rpartition(".")
        (stored[group] if group else stored)[name] = above
        with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
            from_dict(stored)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.radius=1e39", "data.radius must be at most 1e+18"),
        ("data.sigma=1e-40", "data.sigma must be at least 1e-18"),
        ("data.sigma=1e308", "data.sigma must be at most"),
        ("network.latent_dim=4294967296", "network.latent_dim must be at most 1000000"),
        ("train.critic_lr=1e31", "train.critic_lr must be at most 1e+30"),
        ("evaluate.final_n=1e12", "evaluate.final_n must be at most 1000000"),
    ],
)
def test_the_command_line_names_the_key(override: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose([override])
    assert said in str(caught.value)


def test_coordinates_of_centres_are_bounded_one_by_one() -> None:
    with pytest.raises(ConfigError, match=r"data\.centres\[1\]\[0\] must be at most"):
        compose(["data=mixture", "data.centres=[[0,0],[1e39,0]]", "data.weights=null"])


def test_more_stacks_than_a_cpu_has_cores_are_not_counted() -> None:
    began = time.process_time()
    assert len(local_slots("cpu", 2**63 - 1, gpus=0, cores=2)) == 2
    assert time.process_time() - began < 1
    assert len(local_slots("auto", 3, gpus=2, cores=2)) == 6


def test_a_value_is_told_in_few_characters() -> None:
    assert short_repr(True) == "True" and short_repr(0.5) == "0.5" and short_repr("a b") == "'a b'"
    assert short_repr(10**400) == "a number of 401 digits"
    assert short_repr(-(10**25)).endswith("26 digits")
    assert short_repr(10**10_000) == "a number of 10001 digits"
    assert len(short_repr(list(range(10**5)))) == len(short_repr("x" * 10**5)) == 80
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert len(short_repr(nested)) <= 80


def test_bounds_say_what_is_broken() -> None:
    assert bounds.outside(0, {"least": 1}) == "at least 1"
    assert bounds.outside(1.5, {"most": 1.5}) is None
    assert bounds.outside(math.nan, {"least": 0}) == "at least 0"


# Exact transport on at most so many points.


def test_an_even_choice_keeps_every_modes_share() -> None:
    target = load("grid25")
    reals = target.held_out(6000, torch.Generator().manual_seed(0))
    chosen = evenly(reals, 1000, target.modes)
    counts = torch.cdist(chosen, target.modes).argmin(dim=1).bincount(minlength=25)
    assert chosen.shape == (1000, 2) and counts.min() >= 39 and counts.max() <= 41
    rows = {tuple(row) for row in reals.tolist()}
    assert len({tuple(row) for row in chosen.tolist()} & rows) == 1000, "distinct, and of these"
    assert evenly(reals, 6000, target.modes) is reals
    assert torch.equal(evenly(reals, 7, None), reals[:7])


def test_lines_in_blocks_are_the_same_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(50, 3))
    y = np.random.default_rng(1).normal(size=(40, 3))

    def sliced() -> float:
        return wasserstein_sliced(x, y, 64, torch.Generator().manual_seed(0))

    whole = sliced()
    monkeypatch.setattr(transport, "SHADOW_VALUES", 200)
    assert sliced() == pytest.approx(whole, rel=1e-12)


def test_a_large_evaluation_is_measured_on_fewer_points_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(evaluation, "EXACT_POINTS", 60)
    monkeypatch.setattr(measuring, "EXACT_POINTS", 60)
    monkeypatch.setattr(verdict, "EXACT_POINTS", 60)
    config = tiny("gp", **{"evaluate.final_n": 300, "train.steps": 2})
    stack = Stack([config], torch.device("cpu"))
    values, points = measure_stack(stack, 300)[0], read_runs(stack, 300)[0].points
    fakes = points["fakes"][:60].numpy()
    reals = evenly(points["reals"], 60, load("ring8").modes).numpy()
    assert values["wasserstein/exact"] == pytest.approx(wasserstein_exact(fakes, reals))
    assert values["wasserstein/floor"] > 0 and len(points["fakes"]) == 300
    assert "60 of the 300 points" in verdict.on_fewer_points(values, 300)[0]
    assert verdict.on_fewer_points(values, 60) == []


# Memory, by arithmetic.


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "machine_bytes", lambda: 5 * 10**8)


@pytest.mark.usefixtures("small_machine")
@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ("network.width=65536", "network.width"),
        ("network.latent_dim=1000000 train.batch_size=10000", "network.latent_dim"),
        ("train.batch_size=1000000 network.width=64", "train.batch_size"),
        (
            "data=two_gaussians data.dimension=1000 evaluate.protocol=chi2 "
            "evaluate.final_n=1000000",
            "evaluate.final_n",
        ),
        (
            "data=two_gaussians data.dimension=1000 evaluate.protocol=chi2 "
            "data.train_points=100000000",
            "data.train_points",
        ),
    ],
)
def test_what_cannot_fit_is_refused_by_the_key_with_the_largest_share(
    overrides: str, key: str
) -> None:
    with pytest.raises(ConfigError, match=f"most of it for {key}=") as caught:
        compose(overrides.split())
    found = re.search(rf"; {re.escape(key)}=(\d+) may fit", str(caught.value))
    assert found is not None
    compose([*overrides.split(), f"{key}={found[1]}"])


@pytest.mark.usefixtures("small_machine")
@pytest.mark.parametrize(
    ("device", "gpu", "fits"),
    [("cpu", True, False), ("auto", False, False), ("auto", True, True), ("cuda:1", True, True)],
)
def test_what_a_gpu_holds_need_not_fit_this_machine(
    device: str, gpu: bool, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    large = [f"device={device}", "train.batch_size=1000000", "network.width=64"]
    if fits:
        assert compose(large).train.batch_size == 10**6
    else:
        with pytest.raises(ConfigError, match=r"most of it for train\.batch_size"):
            compose(large)
    # What is measured there is read here.
    data = ["data=two_gaussians", "data.dimension=1000", "evaluate.protocol=chi2"]
    measured = [f"device={device}", *data, "evaluate.final_n=1000000"]
    with pytest.raises(ConfigError, match=r"most of it for evaluate\.final_n") as alone:
        compose(measured)
    with pytest.raises(ConfigError) as both:
        compose([*measured, "train.batch_size=1000000"])
    assert (str(both.value) == str(alone.value)) is fits


@pytest.mark.usefixtures("small_machine")
def test_where_no_single_key_would_do_two_are_named() -> None:
    with pytest.raises(ConfigError, match=r"less of .* and .* together"):
        compose(["network.width=65536", "network.latent_dim=1000000", "train.batch_size=100000"])


@pytest.mark.usefixtures("small_machine")
def test_every_size_that_is_in_use_fits() -> None:
    for overrides in (["experiment=wgan_gp_toy"], ["experiment=pacgan_ring8"], ["data=digits"]):
        compose(overrides)


def test_the_estimate_counts_what_training_holds() -> None:
    """Weights with Adam's two moments are in the state; the estimate adds their gradients."""
    config = tiny("gp")
    stack = Stack([config], torch.device("cpu"))
    pair = stack.algorithm.pair
    state = stack.state.tensors()
    held = sum(t.numel() * t.element_size() for name, t in state.items() if name != "diverged_at")
    weights = sum(p.numel() for net in (pair.critic, pair.generator) for p in net.parameters())
    assert config.train.optimizer == "adam" and held == 3 * 4 * weights
    needed = memory.bytes_needed(config, stack.target.shape, pair)
    larger = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=10**5))
    step = memory.bytes_needed(larger, stack.target.shape, pair)
    assert needed > held and step - 4 * 4 * weights > 4 * 3 * bounds.AHEAD_NUMBERS


def test_layers_are_counted_without_memory() -> None:
    pair = build_pair("mlp", tiny("gp").network.options | {"width": 7, "depth": 3}, (2,), "fp32")
    # Three hidden layers of 7, their activations, and the score.
    assert memory.activations(pair.critic, (2,)) in (3 * 7 + 1, 6 * 7 + 1)


def test_the_estimate_counts_the_layers_of_a_critic_of_packs() -> None:
    """With packs of two a critic of images has as many inputs more as an image has numbers."""
    needed = {}
    for packing in (1, 2):
        config = compose(["data=digits", "network=dcgan8", f"loss.packing={packing}"])
        network, shape = config.network, (1, 8, 8)
        pair = build_pair(network.kind, network.options, shape, "fp32", packing)
        needed[packing] = memory.bytes_needed(config, shape, pair)
    assert 1 < needed[2] / needed[1] < 1.2


def test_memory_is_measured_within_the_limits_of_the_process() -> None:
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < memory.machine_bytes() <= whole
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (10**11, before[1]))
    try:
        assert memory.machine_bytes() <= 10**11
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
