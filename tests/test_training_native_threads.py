"""The number of threads follows what others leave of the machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wganbench.training.native.library import LONGEST, WINDOW, Threads


def quiet(threads: int) -> float:
    return 0.004 / threads


def crowded(threads: int) -> float:
    """Seconds on a machine of four cores of which two are busy."""
    return 0.004 / threads if threads <= 2 else 0.004


def run(threads: Threads, cost: Callable[[int], float], seconds: float) -> list[tuple[int, float]]:
    """The numbers used for some seconds, and how long each iteration took."""
    used: list[tuple[int, float]] = []
    while seconds > 0:
        number = threads.now()
        used.append((number, cost(number)))
        threads.took(*used[-1])
        seconds -= cost(number)
    return used


def share(used: list[tuple[int, float]], number: int) -> float:
    return sum(took for n, took in used if n == number) / sum(took for _, took in used)


def test_on_a_quiet_machine_nearly_all_time_is_of_all_threads() -> None:
    used = run(Threads(4), quiet, 60)
    assert share(used, 4) > 0.95
    assert {number for number, _ in used} == {2, 3, 4}


def test_it_finds_what_others_leave_and_comes_back() -> None:
    threads = Threads(4)
    run(threads, quiet, 20)
    run(threads, crowded, 2 * LONGEST)
    assert share(run(threads, crowded, 20), 2) > 0.9
    run(threads, quiet, 4 * LONGEST)
    assert share(run(threads, quiet, 20), 4) > 0.9


def test_crowded_from_the_beginning_it_is_soon_nearly_as_fast_as_it_can_be() -> None:
    used = run(Threads(4), crowded, 10)
    assert 10 / len(used) < 1.25 * crowded(2)


def test_a_number_that_is_hardly_faster_is_not_taken() -> None:
    used = run(Threads(2), lambda threads: 0.004 * (0.95 if threads == 1 else 1), 30)
    assert share(used, 2) > 0.9


@pytest.mark.parametrize(
    ("most", "spared", "expected"), [(4, 0, 4), (4, 1, 3), (2, 5, 1), (1, 0, 1)]
)
def test_cores_that_others_need_are_spared(most: int, spared: int, expected: int) -> None:
    assert Threads(most).now(spared) == expected


def test_iterations_on_fewer_cores_decide_nothing() -> None:
    threads = Threads(2)
    for _ in range(1000):
        threads.took(threads.now(spared=1), WINDOW)
    assert threads.now() == 2


def test_a_single_thread_stays_alone() -> None:
    assert {number for number, _ in run(Threads(1), quiet, 30)} == {1}
