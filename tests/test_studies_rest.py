"""The rule of rest on statistics whose course is known."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from training_configs import CPU, tiny

from wganbench.studies.frozen import FrozenStack, gaussian
from wganbench.studies.rest import LOOKS, MOVED, SINGLE, Rest, train_to_rest, untrained_rows


class Clock:
    """In place of a stack: it counts steps."""

    def __init__(self, decay: str = "none") -> None:
        self.steps_done = 0
        self.config = SimpleNamespace(train=SimpleNamespace(decay=decay))

    def advance(self, steps: int) -> None:
        assert steps >= 0
        self.steps_done += steps


def mean_look(course: Callable[[float], float], total: int) -> float:
    """The mean at eight looks, total / 32 apart, the last at total."""
    return sum(course(total - round(k * total / 32)) for k in range(LOOKS)) / LOOKS


def rested(
    course: Callable[[int], Mapping[str, Sequence[float]]],
    groups: Sequence[str],
    most: int = 10_000,
    **more: Any,
) -> list[Rest]:
    clock: Any = Clock()
    found = train_to_rest(clock, lambda: course(clock.steps_done), groups, 100, most, **more)
    assert clock.steps_done == found[0].steps <= most
    return found


def test_it_stops_at_the_first_doubling_that_hardly_moves() -> None:
    def course(t: float) -> float:
        return 5 * (1 - math.exp(-t / 300))

    expected = next(
        T for T in (100, 200, 400, 800, 1600, 3200)
        if abs(1 - mean_look(course, T // 2) / mean_look(course, T)) < 0.02
    )  # fmt: skip
    (rest,) = rested(lambda t: {"s": [course(t)]}, ["g"])
    assert expected == 3200 == rest.steps, "1600 moved from 0.89 of 5 to 0.99 of 5"
    assert rest.values["s"] == pytest.approx(mean_look(course, expected))
    assert rest.at_rest() and untrained_rows([rest.row()]) == ""


def test_what_never_rests_is_trained_up_to_the_bound_and_said_to_move() -> None:
    (rest,) = rested(lambda t: {"s": [math.log(1 + t)]}, ["g"])
    assert rest.steps == 6400, "the largest 100 2^k up to 10 000"
    assert not rest.at_rest()
    words = untrained_rows([rest.row()])
    assert words.startswith("critic not trained: 1 of 1") and "between 3200 and 6400" in words
    moved = MOVED * rest.moved["s"]
    by_hand = 1 - mean_look(lambda t: math.log(1 + t), 3200) / mean_look(
        lambda t: math.log(1 + t), 6400
    )
    assert moved == pytest.approx(by_hand)


def test_seeds_of_a_group_are_judged_by_their_mean_and_groups_apart() -> None:
    """One seed rises by a tenth a doubling, the other falls by as much: noise, not a trend."""

    def course(t: int) -> dict[str, list[float]]:
        up = 0.1 * math.log2(max(t, 1))
        return {"s": [10 + up, 10 - up, 1 + up]}

    assert rested(course, ["a", "a", "a"], most=400)[0].steps == 100
    apart = rested(course, ["a", "a", "b"], most=400)
    assert [rest.at_rest() for rest in apart] == [True, True, False] and apart[0].steps == 400
    rows = [rest.row() for rest in apart]
    assert untrained_rows(rows[:2]) == "" and "1 of 3" in untrained_rows(rows)


def test_critics_that_move_apart_are_not_at_rest_though_their_mean_is() -> None:
    def apart(step: float) -> Callable[[int], dict[str, list[float]]]:
        return lambda t: {"s": [10 + step * math.log2(t), 10 - step * math.log2(t)]}

    single = SINGLE * MOVED * 10
    assert rested(apart(0.9 * single), ["a", "a"], most=100)[0].at_rest()
    (first, second) = rested(apart(1.1 * single), ["a", "a"], most=100)
    assert not first.at_rest() and not second.at_rest()
    assert first.moved["s"] == pytest.approx(1.1, rel=0.02)


def test_a_logarithm_has_an_absolute_tolerance_whatever_its_size() -> None:
    """-9 to -8.9 is a quarter more of what the logarithm is of, and one in ninety of -9."""

    def course(t: int) -> dict[str, list[float]]:
        return {"log s": [-9.0 + 0.1 * math.log2(t / 100)]}

    (rest,) = rested(course, ["g"], most=100, tolerances={"log s": 0.04})
    assert not rest.at_rest() and rest.moved["log s"] == pytest.approx(2.5, rel=0.02)
    assert rested(course, ["g"], most=100, tolerances={"log s": 0.11})[0].at_rest()
    assert not rested(course, ["g"], most=100)[0].at_rest(), "a tolerance is needed"


def test_a_part_of_the_statistics_may_be_asked() -> None:
    (rest,) = rested(lambda t: {"still": [1.0], "moves": [float(t)]}, ["g"], most=200)
    assert rest.of("still").at_rest() and not rest.of("moves").at_rest()
    assert rest.of("still").values == {"still": 1.0} and rest.of("still").steps == rest.steps


def test_near_zero_an_absolute_tolerance_decides() -> None:
    def course(t: int) -> dict[str, list[float]]:
        return {"s": [1.0 / t]}

    assert not rested(course, ["g"])[0].at_rest()
    assert rested(course, ["g"], tolerances={"s": 0.02})[0].steps == 100


def test_one_statistic_that_moves_is_enough() -> None:
    (rest,) = rested(lambda t: {"still": [1.0], "moves": [float(t)]}, ["g"], most=200)
    assert rest.moved["still"] < 1 < rest.moved["moves"] and not rest.at_rest()


def test_a_claim_waits_for_its_own_statistic_alone() -> None:
    rest = Rest(800, {"a": 1.0, "log b": 1.0}, {"a": 0.5, "log b": 2.5})
    rows = [rest.row() | rest.by_statistic()]
    assert rows[0] == {
        "steps": 800, "moved": 2.5, "at_rest": False, "moved_a": 0.5, "moved_log_b": 2.5
    }  # fmt: skip
    assert untrained_rows(rows, "a") == ""
    for names in ((), ("log b",), ("a", "log b")):
        assert "up to 2.5 times" in untrained_rows(rows, *names)


def test_a_critic_without_a_value_is_not_at_rest() -> None:
    (rest,) = rested(lambda t: {"s": [math.nan]}, ["g"], most=100)
    assert not rest.at_rest() and "without end" in untrained_rows([rest.row()])
    assert math.isfinite(rest.row()["moved"])


def test_marks_come_at_powers_of_two_and_at_every_total() -> None:
    clock: Any = Clock()
    seen: list[int] = []
    train_to_rest(
        clock, lambda: {"s": [1.0]}, ["g"], 24, 24, mark=lambda: seen.append(clock.steps_done)
    )
    assert seen == [1, 2, 4, 8, 12, 16, 24]


def test_rates_that_decay_are_refused() -> None:
    clock: Any = Clock("linear")
    with pytest.raises(ValueError, match="constant rates"):
        train_to_rest(clock, lambda: {}, [], 100, 1000)
    constant: Any = Clock()
    with pytest.raises(ValueError, match="first look"):
        train_to_rest(constant, lambda: {}, [], 100, 50)


@pytest.mark.slow
def test_a_real_critic_of_two_points_comes_to_rest_at_its_optimum() -> None:
    """Two points at distance L = 1, lambda = 1: the estimate is L + L^2 / (2 lambda) = 1.5."""
    changes = {"train.decay": "none", "train.critic_lr": 5e-3, "loss.gp_lambda": 1.0}
    config = tiny("gp", **changes)
    stack = FrozenStack([config], CPU, [gaussian(-0.5, 0.0)], [gaussian(0.5, 0.0)])
    ends = torch.tensor([[0.5, 0.0], [-0.5, 0.0]])

    def read() -> dict[str, list[float]]:
        scores = stack.exact_algorithm.critic(stack.run_parameters(0, "critic"))(ends)
        return {"raw": [float(scores[0] - scores[1])]}

    (rest,) = train_to_rest(stack, read, ["g"], 64, 2048)
    assert rest.at_rest() and rest.values["raw"] == pytest.approx(1.5, rel=0.03)
