"""Our C++ on wrapped critics: the definition's numbers, and the largest singular value itself."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from stepwise import (
    PLAIN,
    after,
    assert_a_step_is_the_same,
    assert_steps_are_the_same,
    both,
    both_on,
)
from torch import Tensor
from training_configs import CPU, alike, resumed, same, tiny, trained

from wganbench.losses import RECIPES
from wganbench.losses.recipes import Wrapper
from wganbench.networks.pair import TINY
from wganbench.training.compiling import lacking
from wganbench.training.native.executor import WRAPPERS
from wganbench.training.native.library import SOURCES, native_library
from wganbench.training.stack import Stack

pytestmark = pytest.mark.skipif(lacking(CPU) is not None, reason="no C++ compiler here")

SLOW_TANH = ["relu", pytest.param("tanh", marks=pytest.mark.slow)]
"""Each activation and wrapper is a library of its own, which takes seconds to build."""


def few(names: list[str], *quick: str) -> list[Any]:
    """Parameters of which all but some are slow tests."""
    return [n if n in quick else pytest.param(n, marks=pytest.mark.slow) for n in names]


WRAPPED = [loss for loss, row in RECIPES.items() if row.wrapper is not Wrapper.NONE]


# The largest singular value.
def singular(weight: Tensor) -> tuple[float, Tensor, Tensor]:
    """What our C++ finds of a matrix: the value and both vectors."""
    left, right = (torch.full((n,), 7.0) for n in weight.shape)
    given = weight.float().contiguous()
    value = native_library(0, 1).wgan_singular(
        given.data_ptr(), *weight.shape, left.data_ptr(), right.data_ptr()
    )
    return float(value), left, right


def spread_values(values: Tensor, rows: int, columns: int) -> Tensor:
    """A matrix with these singular values, in fp32."""
    random = torch.Generator().manual_seed(rows + columns)
    sides = [torch.randn(n, len(values), generator=random).double() for n in (rows, columns)]
    left, right = (torch.linalg.qr(side).Q for side in sides)
    return (left @ torch.diag(values.double()) @ right.T).float()


def matrices() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    normal = {
        f"{m} x {n}": torch.randn(m, n, generator=random)
        for m, n in [(1, 1), (1, 64), (64, 1), (64, 2), (2, 64), (3, 5), (19, 19), (128, 128)]
    }
    falling = torch.linspace(1, 0.1, 30)
    return normal | {
        "close": spread_values(torch.cat([torch.tensor([1.0005]), falling]), 40, 37),
        "nearly equal": spread_values(torch.cat([torch.tensor([1.00001]), falling]), 64, 64),
        "of rank 1": spread_values(torch.tensor([3.0]), 17, 32),
        "of one number": torch.zeros(9, 9).index_put((torch.tensor(4), torch.tensor(7)),
                                                     torch.tensor(-2.0)),
        "of two blocks": torch.block_diag(torch.randn(8, 8, generator=random),
                                          torch.randn(8, 8, generator=random) / 3),
        "diagonal": torch.diag(torch.arange(1.0, 33)),
        "with a far value": spread_values(torch.cat([torch.tensor([100.0]), falling]), 64, 64),
        "small": 1e-25 * torch.randn(16, 16, generator=random),
        "large": 1e25 * torch.randn(16, 16, generator=random),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(matrices()))
def test_the_largest_singular_value_and_its_vectors_are_those_of_an_svd(name: str) -> None:
    weight = matrices()[name]
    left, values, right = torch.linalg.svd(weight.double())
    value, u, v = singular(weight)
    assert value == pytest.approx(float(values[0]), rel=1e-12)
    gap = 1.0 if len(values) == 1 else float(1 - values[1] / values[0])
    torch.testing.assert_close(
        torch.outer(u, v).double(), torch.outer(left[:, 0], right[0]), rtol=0,
        atol=3e-7 + 2e-9 / gap,
    )  # fmt: skip


@pytest.mark.parametrize("n", [1, 2, 33])
def test_of_equal_singular_values_it_finds_one_pair(n: int) -> None:
    """The vectors are not unique then; each pair is a gradient."""
    weight = torch.linalg.qr(torch.randn(n, n, generator=torch.Generator().manual_seed(n))).Q
    value, u, v = singular(2 * weight)
    assert value == pytest.approx(2, rel=1e-6)
    torch.testing.assert_close(2 * weight @ v, value * u, rtol=0, atol=2e-6)
    assert float(u.norm()) == pytest.approx(1, rel=1e-6) == float(v.norm())


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_matrix_that_is_not_finite_has_none_and_zero_has_zero(bad: float) -> None:
    weight = torch.zeros(5, 4)
    assert singular(weight)[0] == 0.0
    weight[2, 1] = bad
    assert math.isnan(singular(weight)[0])


# The definition's numbers.
SIZES = [(1, 20, 2, 32), (3, 19, 3, 37), (1, 64, 1, 256), (3, 1, 1, 1)]
"""Runs, width, depth, batch."""


@pytest.mark.parametrize("activation", SLOW_TANH)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("loss", WRAPPED)
def test_a_normalised_critic_steps_as_the_definition_does(
    loss: str, size: tuple[int, ...], activation: str
) -> None:
    runs, width, depth, batch = size
    sizes = {"network.width": width, "network.depth": depth, "train.batch_size": batch}
    assert_steps_are_the_same(
        both(loss, runs, **PLAIN, **sizes, **{"network.activation": activation})
    )


@pytest.mark.parametrize(
    "loss", few([n for n, row in RECIPES.items() if not row.clips], "gp", "ragan", "rpgan_r1r2")
)
def test_it_may_wrap_the_critic_of_any_loss(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slopes of penalties, means of scores and reals of pairs are those of the wrapped critic."""
    monkeypatch.setitem(RECIPES._rows, loss, replace(RECIPES[loss], wrapper=Wrapper.SPECTRAL))
    sizes = {"network.width": 13, "network.depth": 2, "train.batch_size": 37}
    assert_steps_are_the_same(both(loss, 2, **PLAIN, **sizes, **{"network.activation": "tanh"}))


def test_a_wide_critic_s_gradients_come_in_pieces() -> None:
    sizes = {"network.width": 97, "network.depth": 2, "train.batch_size": 64}
    assert_a_step_is_the_same(*both("hinge_sn", 1, **PLAIN, **sizes))


def test_weights_that_are_zero_or_not_finite_do() -> None:
    for value in (0.0, math.nan):
        stacks = both("hinge_sn", 3, **PLAIN)
        for stack in stacks:
            stack.state.critic["hidden.1.0.weight"][1] = value
            stack.iterate()
        eager, native = stacks
        assert native.diverged_at() == eager.diverged_at() == [-1, 1, -1]
        found, wanted = (s.state.critic["hidden.1.0.weight"][1] for s in (native, eager))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=0, equal_nan=True)
        assert value != 0 or float(wanted.abs().max()) > 1e-3 / TINY


@pytest.mark.parametrize(("n", "packing"), [(300, 1), (43, 4), (3, 4), (700, 2)])
@pytest.mark.parametrize("loss", ["hinge_sn", "hinge_gn", "ragan"])
@pytest.mark.parametrize("activation", SLOW_TANH)
def test_it_measures_the_critic_as_the_definition_does(
    loss: str, activation: str, n: int, packing: int
) -> None:
    """Also with packs that the points do not fill, and of fewer points than a pack has."""
    settings = {"network.activation": activation, "loss.packing": packing}
    eager, native = both(loss, 3, **settings)
    eager.iterate()
    for run in range(3):
        native.load_run_state(run, 1, eager.run_states()[run])
    before = native.run_states()[1]
    wanted, found = (stack.probe(n, 2) for stack in (eager, native))
    assert same(native.run_states()[1], before)
    for run in range(3):
        assert wanted[run].keys() == found[run].keys()
        for name, values in wanted[run].items():
            absolute = 2e-6 * float(values.abs().max())
            if name.startswith("score"):  # near zero they are differences of larger numbers
                absolute += 1e-7
            torch.testing.assert_close(found[run][name], values, rtol=2e-5, atol=absolute, msg=name)


@pytest.mark.parametrize("loss", ["wasserstein_sn", "hinge_gn"])
def test_bursts_do(loss: str) -> None:
    bursts = {"train.burst_n_critic": 4, "train.burst_first_steps": 1, "loss.n_critic": 1}
    assert_steps_are_the_same(both(loss, 2, **PLAIN, **bursts))


# Gradient normalisation.
BARE = [n for n, r in RECIPES.items() if not r.clips and not r.penalties]


@pytest.mark.slow
@pytest.mark.parametrize("loss", [n for n in BARE if n != "ragan"])
def test_it_may_normalise_the_critic_of_a_loss_without_a_penalty(
    loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second derivative by the point too, of which a piecewise linear critic has none."""
    monkeypatch.setitem(RECIPES._rows, loss, replace(RECIPES[loss], wrapper=Wrapper.GRADIENT))
    sizes = {"network.width": 13, "network.depth": 3, "train.batch_size": 38, "loss.packing": 2}
    assert_steps_are_the_same(both(loss, 2, **PLAIN, **sizes, **{"network.activation": "tanh"}))


@pytest.mark.parametrize("activation", SLOW_TANH)
def test_a_critic_that_is_nothing_or_not_finite_is_normalised(activation: str) -> None:
    """Where output and slope are 0, the score is the output divided by the least number."""
    for value in (0.0, math.nan):
        stacks = both("hinge_gn", 3, **PLAIN, **{"network.activation": activation})
        for stack in stacks:
            for weight in stack.state.critic.values():
                weight[1] = value
            stack.iterate()
        eager, native = stacks
        # Of a critic that is nothing, what pulls reals and fakes is as large and cancels.
        first = 1 if math.isnan(value) else -1
        assert native.diverged_at() == eager.diverged_at() == [-1, first, -1]
        rows = [stack.scalars()[1]["critic/score_real"] for stack in stacks]
        assert rows == pytest.approx([value, value], nan_ok=True)


@pytest.mark.parametrize(("loss", "word"), [("ragan", "means"), ("gp", "penalty")])
def test_what_it_cannot_normalise_is_left_to_torch(
    loss: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(RECIPES._rows, loss, replace(RECIPES[loss], wrapper=Wrapper.GRADIENT))
    stack = Stack([tiny(loss, compile="auto")], CPU)
    assert stack.executor == "eager" and word in stack.why_not_ours()


# Packs.
@pytest.mark.parametrize("loss", few(list(RECIPES), "clip", "gp", "ragan", "dragan"))
def test_every_loss_packs_as_the_definition_does(loss: str) -> None:
    sizes = {"network.width": 13, "network.depth": 2, "train.batch_size": 39, "loss.packing": 3}
    assert_steps_are_the_same(both(loss, 2, **PLAIN, **sizes, **{"network.activation": "tanh"}))


@pytest.mark.parametrize(
    ("runs", "packing", "width", "batch"),
    [(1, 2, 64, 256), (3, 5, 19, 35), (1, 2, 96, 1200), (3, 16, 8, 16), (2, 33, 5, 99)],
)
@pytest.mark.parametrize("loss", ["dragan", "rpgan_r1r2"])
def test_packs_of_every_size_do(loss: str, runs: int, packing: int, width: int, batch: int) -> None:
    """A pack, a batch of one, of several tiles, and of a part of a vector."""
    sizes = {"network.width": width, "train.batch_size": batch, "loss.packing": packing}
    assert_a_step_is_the_same(*both(loss, runs, **PLAIN, **sizes), 2e-5)


@pytest.mark.parametrize("words", ["data=swiss_roll", "data=grid25", "data=ring8"])
def test_packs_of_points_that_are_passed_or_drawn_do(words: str) -> None:
    stacks = both_on(f"{words} loss=ragan loss.packing=2 network.width=12 train.batch_size=38")
    assert_steps_are_the_same(stacks, 2e-5)


# The same bits, however the work is shared.
@pytest.mark.parametrize(
    ("loss", "packing", "width"),
    [
        ("hinge_sn", 1, 8),
        ("hinge_sn", 2, 96),
        ("hinge_gn", 1, 96),
        ("dragan", 2, 8),
        ("dragan", 1, 96),
        ("ragan", 1, 96),
    ],
)
def test_bits_depend_on_neither_stack_nor_threads(loss: str, packing: int, width: int) -> None:
    sizes = {"network.width": width, "train.batch_size": 256, "loss.packing": packing}
    configs = alike(loss, 3, compile="auto", **sizes)
    together = after(configs, 2)
    for threads in (1, 4):
        alone = after([configs[2]], threads)
        assert same(alone.run_states()[0], together.run_states()[2]), threads
        assert alone.scalars()[0] == together.scalars()[2]


@pytest.mark.parametrize(("loss", "packing"), [("hinge_sn", 1), ("hinge_sn", 4), ("hinge_gn", 1)])
def test_a_resumed_run_goes_on_bit_for_bit(loss: str, packing: int) -> None:
    configs = alike(loss, 2, compile="auto", **{"loss.packing": packing})
    whole, stack = trained(configs, 4), resumed(configs, 2, 2)
    for run in range(2):
        assert same(stack.run_states()[run], whole.run_states()[run])
        assert stack.scalars()[run] == whole.scalars()[run]


# What it knows.
def test_every_wrapper_has_its_number() -> None:
    text = (SOURCES / "plan.h").read_text(encoding="utf-8")
    names = {Wrapper.NONE: "BARE"} | {wrapper: wrapper.name for wrapper in Wrapper if wrapper.value}
    assert all(f"{names[wrapper]} = {number}" in text for wrapper, number in WRAPPERS.items())
