"""Our C++: the definition's numbers, whatever the loss and size, and the same bits however shared.

It is compared with an eager stack over single steps from the same state.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from stepwise import (
    EXECUTED,
    PLAIN,
    after,
    assert_a_step_is_the_same,
    assert_rules_are_the_same,
    assert_steps_are_the_same,
    both,
    both_on,
    far,
    parts,
)
from torch import Tensor
from training_configs import CPU, alike, same, tiny, trained

from wganbench.config import compose, to_dict
from wganbench.data.mixtures import Mixture
from wganbench.draws import keyed
from wganbench.losses import RECIPES
from wganbench.losses.recipes import Averages, Form, Pairs
from wganbench.nativecode import NoCompiler
from wganbench.networks import Latent
from wganbench.networks.layers import ACTIVATIONS
from wganbench.runs.stored import Places
from wganbench.studies.frozen import FrozenStack
from wganbench.training.compiling import lacking
from wganbench.training.native import layout, library
from wganbench.training.native.executor import AGAINST, COSTS, WHERE
from wganbench.training.native.layout import NativeSampler, native_sampler
from wganbench.training.native.library import NUMBERS, native_library
from wganbench.training.stack import Stack
from wganbench.training.streams import mixing, perturbation

pytestmark = pytest.mark.skipif(lacking(CPU) is not None, reason="no C++ compiler here")


# The definition's numbers.
@pytest.mark.parametrize(
    ("loss", "activation"),
    [
        pytest.param(loss, activation, marks=[pytest.mark.thorough] * (not quick))
        for loss in RECIPES
        for a, activation in enumerate(ACTIVATIONS)
        for quick in [a == 0 or (loss, activation) == ("gp", "tanh")]
    ],
)
def test_every_loss_and_activation_steps_as_the_definition_does(loss: str, activation: str) -> None:
    sizes = {"network.width": 19, "network.depth": 3, "train.batch_size": 37}
    assert_steps_are_the_same(both(loss, 2, **PLAIN, **sizes, **{"network.activation": activation}))


@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
@pytest.mark.parametrize("optimizer", ["adam", "rmsprop", "sgd"])
@pytest.mark.parametrize("beta", [0.0, 0.7])
def test_every_optimizer_decay_and_average_does(optimizer: str, decay: str, beta: float) -> None:
    settings = {
        "train.optimizer": optimizer,
        "train.decay": decay,
        "train.betas": [beta, 0.99],
        "train.average_decay": 0.3 if beta else 0.9,
        "loss.n_critic": 1,
    }
    assert_rules_are_the_same(both("bce", 2, **settings))


@pytest.mark.parametrize(
    ("runs", "width", "depth", "batch"),
    [
        (1, 64, 3, 256),
        (5, 8, 1, 16),
        (2, 130, 2, 100),
        (1, 33, 4, 513),
        (3, 1, 1, 1),
        (1, 50, 2, 7),
    ],
)
def test_every_size_does(runs: int, width: int, depth: int, batch: int) -> None:
    sizes = {"network.width": width, "network.depth": depth, "train.batch_size": batch}
    assert_a_step_is_the_same(*both("bce_gp", runs, **PLAIN, **sizes), 2e-5)


WHOLE = {
    "ragan": {}, "dragan": {}, "ragan and gp": {"loss.penalties": ["gp"]},
    "dragan and r1": {"loss.penalties": ["r1"]},
    "ragan and dragan": {"loss.penalties": ["dragan"], "network.activation": "tanh"},
}  # fmt: skip
"""Losses whose derivatives need a mean over the whole batch, by name and further settings."""


@pytest.mark.parametrize("batch", [7, 513])
@pytest.mark.parametrize("name", list(WHOLE))
def test_losses_of_the_whole_batch_do_in_one_tile_and_in_several(name: str, batch: int) -> None:
    sizes = {"network.width": 33, "network.depth": 2, "train.batch_size": batch}
    stacks = both(name.split()[0], 2, **PLAIN, **sizes, **WHOLE[name])
    assert_steps_are_the_same(stacks, 2e-5)


@pytest.mark.parametrize("loss", ["ragan", "dragan"])
def test_they_do_on_points_that_are_passed_to_it(loss: str) -> None:
    """A Swiss roll is drawn by torch; the noise of dragan is not."""
    stacks = both_on(f"loss={loss} data=swiss_roll network.width=12")
    assert_steps_are_the_same(stacks, 2e-5)


@pytest.mark.parametrize("latent", ["normal", "uniform"])
@pytest.mark.parametrize(
    "words", ["data=two_gaussians data.dimension=5 evaluate.protocol=chi2", "data=swiss_roll"]
)
def test_other_points_and_latents_do(words: str, latent: str) -> None:
    words += " loss=gp train.betas=[0,0] network.width=12 network.latent_dim=3"
    stacks = both_on(f"{words} network.latent={latent}")
    assert_a_step_is_the_same(*stacks, 2e-5)


def test_bursts_and_a_step_that_is_not_finite_do() -> None:
    bursts = {"train.burst_n_critic": 4, "train.burst_first_steps": 1, "loss.n_critic": 1}
    eager, native = both("gp", 3, **PLAIN, **bursts)
    for step in range(3):
        for stack in (eager, native):
            if step == 1:
                stack.state.critic["hidden.0.0.weight"][1, 0, 0] = math.nan
            stack.iterate()
    assert native.diverged_at() == eager.diverged_at() == [-1, 2, -1]
    assert native.state.critic_step == eager.state.critic_step == 6
    assert native.state.step == eager.state.step == 3


@pytest.mark.parametrize("loss", ["gp", "clip"])
def test_a_coefficient_of_nan_harms_its_own_run(loss: str) -> None:
    stacks = both(loss, 2)
    for stack in stacks:
        for values in stack.coefficients.values():
            values[1] = math.nan
        stack.iterate()
        stack.iterate()
        assert [step > 0 for step in stack.diverged_at()] == [False, True]


@pytest.mark.parametrize("packing", [1, 2])
def test_critics_of_a_frozen_generator_do(packing: int) -> None:
    def fakes(n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, 2, generator=generator)

    sizes = PLAIN | {"loss.packing": packing}
    configs = [alike("gp", 2, compile=word, **sizes) for word in EXECUTED]
    eager, native = (FrozenStack(members, CPU, [fakes, fakes]) for members in configs)
    assert native.executor == "native"
    for stack in (eager, native):
        stack.advance(2)
    for run in range(2):
        wanted, found = parts(eager.run_states()[run]), parts(native.run_states()[run])
        assert far(found["critic"], wanted["critic"]) < 1e-5
        assert native.scalars()[run] == pytest.approx(eager.scalars()[run], rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("loss", ["gp", "bce", "bce_saturating", "rpgan_r1r2", "ragan"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_it_measures_as_the_definition_does(loss: str, activation: str) -> None:
    settings = {"network.activation": activation, "train.average_decay": 0.5}
    eager, native = both(loss, 3, **settings)
    eager.iterate()
    for run in range(3):
        native.load_run_state(run, 1, eager.run_states()[run])
    for averaged in (False, True):
        wanted, found = (stack.probe(700, 2, averaged) for stack in (eager, native))
        for run in range(3):
            assert wanted[run].keys() == found[run].keys()
            for name, values in wanted[run].items():
                scale = float(values.abs().max())
                torch.testing.assert_close(
                    found[run][name], values, rtol=2e-5, atol=2e-6 * scale, msg=name
                )


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["gp", "bce"])
def test_two_hundred_steps_end_alike(loss: str) -> None:
    settings = {"network.width": 16, "train.batch_size": 64, "train.steps": 200}
    losses = []
    for stack in both(loss, 8, **settings):
        tail = []
        for _ in range(200):
            stack.iterate()
            if stack.steps_done > 150:
                tail.append([row["wasserstein/estimate"] for row in stack.scalars()])
        losses.append(torch.tensor(tail).mean(0))
    difference = losses[0] - losses[1]
    spread = losses[0].std()
    assert difference.mean().abs() < spread, (losses, "their means differ by less than runs do")


# What a row declares.
@pytest.mark.parametrize("loss", [n for n, r in RECIPES.items() if r.objective.terms])
def test_what_a_row_declares_is_what_its_functions_say(loss: str) -> None:
    recipe = RECIPES[loss]
    terms = recipe.objective.terms
    assert terms is not None and recipe.objective.paired == isinstance(terms, Pairs | Averages)
    real, fake = torch.linspace(-3, 2, 9), torch.linspace(-1, 4, 9)
    functions: dict[Form, Any] = {
        Form.IDENTITY: lambda s: s,
        Form.SOFTPLUS: torch.nn.functional.softplus,
        Form.HINGE: lambda s: s.clamp(min=0),
        Form.SQUARE: lambda s: s * s,
    }

    def mean(term: Any, scores: Tensor) -> Tensor:
        value = functions[term.form](term.sign * scores + term.shift)
        return (term.weight * value + term.slope * scores).mean()

    if isinstance(terms, Averages):
        for loss, higher, lower in (
            (recipe.objective.critic(real, fake), real, fake),
            (recipe.objective.generator(real, fake), fake, real),
        ):
            declared = mean(terms.term, higher - lower.mean())
            declared += mean(terms.term, higher.mean() - lower)
            torch.testing.assert_close(loss, declared)
        return
    if isinstance(terms, Pairs):
        # Unlike orders: pairs are i-i.
        fake = fake.flip(0)
        found = recipe.objective.critic(real, fake), recipe.objective.generator(real, fake)
        torch.testing.assert_close(found[0], mean(terms.term, real - fake))
        torch.testing.assert_close(found[1], mean(terms.term, fake - real))
        return
    declared = mean(terms.real, real) + mean(terms.fake, fake)
    torch.testing.assert_close(recipe.objective.critic(real, fake), declared)
    torch.testing.assert_close(recipe.objective.generator(None, fake), mean(terms.generator, fake))


# The same bits, however the work is shared.
@pytest.mark.parametrize("width", [8, 96])
@pytest.mark.parametrize("batch", [37, 256])
def test_bits_depend_on_neither_stack_threads_nor_neighbours(width: int, batch: int) -> None:
    sizes = {"network.width": width, "train.batch_size": batch}
    configs = alike("bce_gp", 5, compile="auto", **sizes)
    together = after(configs, 2)
    turned = after([configs[3], configs[0]], 3)
    for r in (0, 3):
        for threads in (1, 2, 4):
            alone = after([configs[r]], threads)
            assert same(alone.run_states()[0], together.run_states()[r]), threads
            assert alone.scalars()[0] == together.scalars()[r]
        assert same(turned.run_states()[0 if r == 3 else 1], together.run_states()[r])
    assert not same(together.run_states()[0], together.run_states()[3])


@pytest.mark.parametrize(
    ("loss", "network", "tensor"),
    [("gp", "generator", "output.bias"), ("hinge_sn", "critic", "hidden.0.0.weight")],
)
def test_a_poisoned_run_leaves_its_neighbours_alone(loss: str, network: str, tensor: str) -> None:
    configs = alike(loss, 3, compile="auto")
    clean, poisoned = trained(configs, 3), trained(configs, 1)
    getattr(poisoned.state, network)[tensor][1] = math.nan
    for _ in range(2):
        poisoned.iterate()
    for r in (0, 2):
        assert same(clean.run_states()[r], poisoned.run_states()[r])
    assert poisoned.diverged_at() == [-1, 2, -1]


def test_a_resumed_run_goes_on_bit_for_bit_without_its_neighbours() -> None:
    configs = alike("gp", 4, compile="auto", **{"train.average_decay": 0.9})
    whole = trained(configs, 4)
    half = trained(configs, 2)
    resumed = Stack([configs[2]], CPU, Places(4, (2,)))
    resumed.load_run_state(0, 2, half.run_states()[2])
    for _ in range(2):
        resumed.iterate()
    assert same(resumed.run_states()[0], whole.run_states()[2])
    assert resumed.scalars()[0] == whole.scalars()[2]


def test_measuring_changes_nothing() -> None:
    configs = alike("gp", 2, compile="auto")
    quiet, measured = trained(configs, 3), trained(configs, 1)
    for _ in range(2):
        measured.probe(20)
        measured.iterate()
    assert same(quiet.run_states()[1], measured.run_states()[1])


# Draws.
def drawn(sampler: NativeSampler, run: int, step: int, n: int) -> Tensor:
    out = torch.empty(n, sampler.fields.dimension)
    layout_of = layout.Sampler.from_buffer_copy(sampler.fields)
    found = native_library(0).wgan_draw(ctypes.byref(layout_of), run, step, n, out.data_ptr())
    assert found == 0
    return out


@pytest.mark.parametrize("step", [0, 7, 2**33 + 5])
@pytest.mark.parametrize("n", [1, 50, 1000])
def test_draws_are_those_of_the_same_words(step: int, n: int) -> None:
    modes = torch.tensor([[1.0, 2.0, 0.5], [-3.0, 0.25, 4.0], [0.0, 0.0, 1.0]])
    even = Mixture(modes, torch.ones(3), 0.1)
    uneven = Mixture(modes, torch.tensor([0.5, 0.2, 0.3]), 0.1)
    samplers: dict[str, tuple[Any, int]] = {
        "mixing": (mixing, 1),
        "normal": (Latent("normal", (5,)).draw, 5),
        "uniform": (Latent("uniform", (3,)).draw, 3),
        "perturbation": (partial(perturbation, (5,)), 5),
        "even": (even.draw, 3),
        "uneven": (uneven.draw, 3),
    }
    for stream, (sampler, dimension) in samplers.items():
        native = native_sampler(sampler, stream, [3, 4], dimension)
        assert not native.given
        wanted = sampler(keyed(4, stream, step), n).reshape(n, dimension)
        found = drawn(native, 1, step, n)
        if stream in ("mixing", "uniform", "perturbation"):
            assert torch.equal(found, wanted), stream
        else:
            torch.testing.assert_close(found, wanted, rtol=1e-6, atol=2e-6)


def test_normal_numbers_are_exact_to_the_tails() -> None:
    sampler = Latent("normal", (2,)).draw
    wanted = sampler(keyed(0, "z", 1), 200_000)
    found = drawn(native_sampler(sampler, "z", [0], 2), 0, 1, 200_000)
    assert wanted.abs().max() > 4.5
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


# When it is taken, and when not.
REFUSED: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "bf16"},
    "compile=false": {"compile": "false"},
    "normalization": {"network.critic_normalization": "layer"},
}


@pytest.mark.parametrize("reason", list(REFUSED))
def test_what_it_does_not_know_is_left_to_torch(reason: str) -> None:
    stack = Stack([tiny("gp", **{"compile": "auto"} | REFUSED[reason])], CPU)
    assert stack.executor == "eager" and reason in stack.why_not_ours()


def test_a_loss_that_declares_nothing_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        RECIPES._rows, "gp", replace(RECIPES["gp"], penalties=(RECIPES["gp"].penalty,))
    )
    stack = Stack([tiny("gp", compile="auto")], CPU)
    assert stack.executor == "eager" and "slopes" in stack.why_not_ours()
    bare = replace(RECIPES["bce"], objective=replace(RECIPES["bce"].objective, terms=None))
    monkeypatch.setitem(RECIPES._rows, "bce", bare)
    assert "terms" in Stack([tiny("bce", compile="auto")], CPU).why_not_ours()


def test_a_penalty_at_the_fakes_steps_as_the_definition_does() -> None:
    """R2 alone: no row has it, `loss.penalties=[r2]` does."""
    settings = {"loss.penalties": ["r2"], "network.activation": "tanh"}
    assert_a_step_is_the_same(*both("hinge", 2, **PLAIN, **settings))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("penalties", [["gp", "r2"], ["r2", "r1"], ["div", "lp"]])
def test_two_penalties_step_as_the_definition_does(penalties: list[str], activation: str) -> None:
    settings = {"loss.penalties": penalties, "network.activation": activation}
    sizes = {"network.width": 19, "network.depth": 3, "train.batch_size": 37}
    assert_steps_are_the_same(both("rpgan", 2, **PLAIN, **sizes, **settings))


def test_three_penalties_are_left_to_torch() -> None:
    config = tiny("hinge", compile="auto", **{"loss.penalties": ["gp", "r1", "r2"]})
    config.loss.coefficients.update(gp_lambda=1.0, r1_gamma=1.0, r2_gamma=1.0)
    stack = Stack([config], CPU)
    assert stack.executor == "eager" and "2 penalties" in stack.why_not_ours()


def test_every_form_point_and_cost_has_its_number() -> None:
    text = (library.SOURCES / "losses.h").read_text(encoding="utf-8")
    for numbers in ({form: form.value for form in Form}, WHERE, COSTS):
        assert all(f"{each.name} = {number}" in text for each, number in numbers.items())
    settings = (library.SOURCES / "settings.h").read_text(encoding="utf-8")
    assert f"STREAMS = {layout.MOST_STREAMS};" in settings
    names = zip(("NOTHING", "PARTNER", "MEAN"), AGAINST.values(), strict=True)
    assert all(f"{name} = {number}" in settings for name, number in names)


def test_every_activation_has_its_number() -> None:
    assert NUMBERS.keys() == ACTIVATIONS.keys()
    text = (library.SOURCES / "activations.h").read_text(encoding="utf-8")
    for name, number in NUMBERS.items():
        assert f"#define ACTIVATION_{name.upper()} {number}\n" in text


# The library.
def test_a_compiler_that_fails_costs_a_warning_and_no_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'native.cpp:1: error: no such processor' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    native_library.cache_clear()
    try:
        stack = Stack(alike("gp", 2, compile="auto"), CPU)
        with pytest.warns(UserWarning, match="no such processor: training without our C") as seen:
            stack.iterate()
            stack.iterate()
        assert len(seen) == 1 and stack.executor == "eager"
        assert same(stack.run_states()[1], trained(alike("gp", 2), 2).run_states()[1])
    finally:
        native_library.cache_clear()


def test_without_a_compiler_it_is_left_to_torch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    stack = Stack([tiny("gp", compile="auto")], CPU)
    assert stack.executor == "eager" and "compiler" in stack.why_not_ours()
    native_library.cache_clear()
    with pytest.raises(NoCompiler, match="no C"):
        native_library(0)


CHILD = """
import sys, torch
from wganbench.config import compose
from wganbench.training.stack import Stack

words = ["loss=gp", "tuned=none", "network.width=8", "train.batch_size=16", "device=cpu"]
stack = Stack([compose(words)], torch.device("cpu"))
said = stack.execution.preparation
stack.compile()
stack.iterate()
stack.probe(10)
assert stack.executor == "native", stack.why_not_ours()
loaded = [name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules]
print(bool(said), loaded)
"""


def child(environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CHILD],
        env=os.environ | environment,
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.slow
def test_it_is_built_once_and_torch_s_compiler_stays_away(tmp_path: Path) -> None:
    cache = {"XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    assert child(cache) == "True []"
    (built,) = (tmp_path / "wganbench" / "native").glob("*.so")
    when = built.stat().st_mtime_ns
    assert child(cache) == "False []"
    assert built.stat().st_mtime_ns == when
    # One that is damaged is built anew.
    built.write_bytes(b"\x7fELF")
    assert child(cache) == "False []"
    assert built.stat().st_size > 1000


@pytest.mark.thorough
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "wganbench").write_text("a file where the folder would be")
    assert child({"XDG_CACHE_HOME": str(tmp_path), "TMPDIR": str(tmp_path)}) == "True []"


SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g", "-O1"]

SANITIZED = """
import ctypes, json, sys, torch
from wganbench.config.check import from_dict
from wganbench.training.native import executor, library
from wganbench.training.stack import Stack

# Their own file, built with checks.
library.FLAGS = (*library.FLAGS, *json.loads(sys.argv[1]))
for values in json.loads(sys.argv[2]):
    torch.set_num_threads(3)
    configs = [from_dict(values)] * values["seed"]
    stack = Stack(configs, torch.device("cpu"))
    for _ in range(2):
        stack.iterate()
    stack.probe(50)
    assert stack.executor == "native"
print("clean")
"""


@pytest.mark.thorough
def test_address_and_undefined_behaviour_sanitizers_find_nothing(tmp_path: Path) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("needs g++")
    asan = subprocess.run(
        [compiler, "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(asan).is_absolute():
        pytest.skip("needs libasan")
    sizes = [(19, 3, 37, 1), (96, 1, 200, 2), (5, 2, 16, 5)]
    configs = [
        tiny(loss, compile="auto", seed=runs, **{
            "network.width": width, "network.depth": depth, "train.batch_size": pack * batch,
            "network.activation": activation, "loss.packing": pack,
        })
        for width, depth, batch, runs in sizes
        for loss, activation, pack in (
            ("gp", "relu", 1), ("bce_r1", "tanh", 1), ("clip", "relu", 1),
            ("rpgan_r1r2", "relu", 1), ("rpgan_r1r2", "tanh", 1), ("ragan", "relu", 1),
            ("dragan", "tanh", 1), ("hinge_sn", "relu", 1), ("wasserstein_sn", "tanh", 1),
            ("gp", "relu", 3), ("dragan", "tanh", 2), ("ragan", "relu", 5),
            ("hinge_gn", "relu", 1), ("hinge_gn", "tanh", 2),
        )
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", SANITIZED, json.dumps(SANITIZERS),
         json.dumps([to_dict(config) for config in configs])],
        env=os.environ | {
            "LD_PRELOAD": asan, "ASAN_OPTIONS": "detect_leaks=0", "CXX": compiler,
            "XDG_CACHE_HOME": str(tmp_path),
        },
        cwd=Path(__file__).parent.parent,
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "clean" in done.stdout, done.stderr[-2000:]


# A build that begins before torch is imported.
@pytest.mark.parametrize(
    ("words", "begins"),
    [
        ([], [0]),
        (["network.activation=tanh", "loss=bce"], [2]),
        (["device=cpu"], [0]),
        (["device=cuda"], []),
        (["data=digits"], []),
        (["compile=false"], []),
        (["compile=true"], [0]),
        (["precision=bf16"], []),
    ],
)
@pytest.mark.parametrize("gpu", [False, True])
def test_a_build_begins_early_where_our_code_will_train(
    words: list[str], begins: list[int], gpu: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[list[str]] = []
    ended = threading.Event()

    def build(sources: list[Path], flags: list[str]) -> None:
        asked.append(flags)
        ended.set()
        raise NoCompiler("none here")  # which is told when the library is needed

    monkeypatch.setattr(library, "GPU", tmp_path if gpu else tmp_path / "none")
    monkeypatch.setattr(library, "build", build)
    monkeypatch.setattr(library, "is_built", lambda *_: False)
    library.build_early(compose(words))
    if gpu and "device=cpu" not in words:
        begins = []
    assert not begins or ended.wait(10)
    assert asked == [library.all_flags(activation, 0) for activation in begins]
    monkeypatch.setattr(library, "is_built", lambda *_: True)
    library.build_early(compose(words))
    assert len(asked) == len(begins)


def test_what_begins_a_build_does_not_import_torch() -> None:
    code = "import sys, wganbench.training.native.library; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "False\n", found.stderr
