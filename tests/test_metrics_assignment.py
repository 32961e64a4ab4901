"""Our simplex against POT and the mathematics: ties, collapses, scales, dimensions, sizes."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from wganbench.metrics import compiled, transport
from wganbench.metrics.compiled import assign
from wganbench.metrics.transport import exact_transport
from wganbench.nativecode import NoCompiler, find_compiler

pytestmark = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler here")

ANGLES = np.arange(8) * np.pi / 4
MODES = 1.4 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def normal(n: int, d: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def ring(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return MODES[rng.integers(0, 8, n)] + 0.014 * rng.normal(size=(n, 2))


def lattice(n: int, d: int = 2, seed: int = 0) -> np.ndarray:
    """Points with few different coordinates: many of them equal, and most distances tied."""
    return np.random.default_rng(seed).integers(0, 4, (n, d)).astype(float)


def check_optimal(x: np.ndarray, y: np.ndarray) -> float:
    """Its value, after its permutation and its potentials have proved that it is the least."""
    found = assign(x, y)
    assert found is not None
    n, costs = len(x), cdist(x, y)
    assert sorted(found.partners) == list(range(n))
    value = costs[np.arange(n), found.partners].mean()
    rounding = 1e-13 * costs.max()
    assert (costs - found.u[:, None] - found.v).min() >= -rounding
    bound = found.u.mean() + found.v.mean()
    assert value == pytest.approx(bound, rel=1e-9, abs=rounding)
    return float(value)


def pot(x: np.ndarray, y: np.ndarray) -> float:
    return float(transport._solve(cdist(x, y))[1])


CLOUDS = {
    "converged": lambda n: (ring(n), MODES[np.arange(n) % 8] + 0.014 * normal(n, seed=1)),
    "collapsed on a mode": lambda n: (MODES[0] + 0.014 * normal(n), ring(n, 1)),
    "collapsed on a point": lambda n: (np.tile(MODES[0], (n, 1)), ring(n, 1)),
    "collapsed on three points": lambda n: (MODES[np.arange(n) % 3], ring(n, 1)),
    "scattered": lambda n: (normal(n), ring(n, 1)),
    "ties": lambda n: (lattice(n), lattice(n, seed=1)),
    "ties in space": lambda n: (lattice(n, 3), lattice(n, 3, seed=1) + 0.5),
    "on a line": lambda n: (normal(n, 1), 2 * normal(n, 1, seed=1) + 1),
    "duplicates": lambda n: (normal(n // 7 + 1)[np.arange(n) % (n // 7 + 1)], ring(n, 1)),
    "far apart": lambda n: (normal(n), 1e6 + normal(n, seed=1)),
    "far from the origin": lambda n: (1e6 + normal(n), 1e6 + normal(n, seed=1)),
    "one far away": lambda n: (normal(n) + 1e5 * (np.arange(n) == 0)[:, None], ring(n, 1)),
}


@pytest.mark.parametrize("n", [5, 400])
@pytest.mark.parametrize("kind", list(CLOUDS))
def test_it_costs_what_pot_says(kind: str, n: int) -> None:
    x, y = CLOUDS[kind](n)
    assert check_optimal(x, y) == pytest.approx(pot(x, y), rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 3, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1027])
def test_it_is_exact_at_every_size(n: int) -> None:
    x, y = normal(n), ring(n, 1)
    assert check_optimal(x, y) == pytest.approx(pot(x, y), rel=1e-9)


@pytest.mark.parametrize("d", [1, 3, 4, 5, 7, 8, 9, 33, 128])
def test_it_is_exact_in_every_dimension(d: int) -> None:
    x, y = normal(300, d), 1.3 * normal(300, d, seed=1) + 0.2
    assert check_optimal(x, y) == pytest.approx(pot(x, y), rel=1e-9)


@pytest.mark.parametrize("d", [2, 32])
def test_it_is_exact_for_many_points(d: int) -> None:
    # The potentials prove it; 32 dimensions at this size once went round in circles.
    check_optimal(normal(3000, d), 1.3 * normal(3000, d, seed=1) + 0.2)


@pytest.mark.parametrize("unit", [1e-300, 1e-20, 1e-3, 1e20, 1e300])
def test_the_unit_of_the_points_does_not_matter(unit: float) -> None:
    x, y = normal(400), ring(400, 1)
    plain, scaled = exact_transport(x, y), exact_transport(unit * x, unit * y)
    assert scaled.distance == pytest.approx(unit * plain.distance, rel=1e-12)
    np.testing.assert_array_equal(scaled.partners, unit * plain.partners)
    assert scaled.u.mean() + scaled.v.mean() == pytest.approx(scaled.distance, rel=1e-9)


@pytest.mark.parametrize("n", [1, 400])
def test_equal_clouds_cost_nothing(n: int) -> None:
    x = normal(n)
    assert exact_transport(x, x).distance == 0
    shuffled = exact_transport(x, x[::-1].copy())
    assert shuffled.distance == 0
    np.testing.assert_array_equal(shuffled.partners, x)
    same = np.ones((n, 2))
    assert exact_transport(same, same).distance == 0


def test_a_cloud_moved_a_little_costs_that_little() -> None:
    x = normal(500)
    assert exact_transport(x, x + [3e-9, 4e-9]).distance == pytest.approx(5e-9, rel=1e-6)


def test_the_same_points_give_the_same_bits_in_threads_too() -> None:
    x, y = normal(600), ring(600, 1)
    alone = assign(x, y)
    assert alone is not None
    found: list[compiled.Assignment | None] = []
    threads = [threading.Thread(target=lambda: found.append(assign(x, y))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in found:
        assert other is not None
        np.testing.assert_array_equal(other.partners, alone.partners)
        np.testing.assert_array_equal(other.u, alone.u)
        np.testing.assert_array_equal(other.v, alone.v)


# Where it gives no answer, POT does.
@pytest.mark.parametrize("why", ["no compiler", "not certified", "beyond all bounds"])
def test_pot_steps_in(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    x, y = normal(320), ring(320, 1)
    if why == "no compiler":

        def none(*_: object) -> None:
            raise NoCompiler("no C++ compiler was found")

        monkeypatch.setattr(compiled, "build", none)
        compiled.library.cache_clear()
    elif why == "not certified":
        monkeypatch.setattr(compiled, "_is_certified", lambda *_: False)
    else:
        assert assign(np.array([[-1.7e308]]), np.array([[1.7e308]])) is None
        return
    try:
        assert assign(x, y) is None
        found = exact_transport(x, y)
    finally:
        compiled.library.cache_clear()
    assert found.distance == pytest.approx(pot(x, y), rel=1e-12)
    costs = cdist(x, y)
    assert (costs - found.u[:, None] - found.v).min() >= -1e-9
    assert found.u.mean() + found.v.mean() == pytest.approx(found.distance, rel=1e-9)


@pytest.mark.parametrize(
    ("partners", "primal", "dual", "passes"),
    [
        ([1, 0, 2], 1.0, 1.0 + 1e-10, True),
        ([1, 0, 2], 1.0, 1.0 - 1e-8, False),
        ([1, 0, 2], 1.0, float("nan"), False),
        ([1, 1, 2], 1.0, 1.0, False),
    ],
)
def test_only_a_permutation_that_meets_its_bound_is_certified(
    partners: list[int], primal: float, dual: float, passes: bool
) -> None:
    assert compiled._is_certified(np.array(partners, np.int32), primal, dual) is passes


def test_unequal_and_small_clouds_are_left_to_pot(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(transport, "assign", lambda *arguments: asked.append(arguments))
    small = transport.NATIVE_POINTS - 1
    exact_transport(normal(small), normal(small, seed=1))
    exact_transport(normal(small + 2), normal(small + 1, seed=1))
    assert not asked
    exact_transport(normal(small + 1), normal(small + 1, seed=1))
    assert len(asked) == 1


# Breaking it off.
class Enough(Exception):
    pass


def test_it_can_be_broken_off_and_asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = MODES[0] + 0.014 * normal(2000), ring(2000, 1)
    asked = []
    assert assign(x, y, lambda: asked.append(1)) is not None
    assert len(asked) >= 2, "0.2 s of work"

    def enough() -> None:
        raise Enough

    with pytest.raises(Enough):
        exact_transport(x, y, enough)
    monkeypatch.setattr(compiled, "SLICE", 10**6)
    assert assign(x, y, lambda: asked.append(1)) is not None
    assert len(asked) >= 20, "no step of the work is long"


@pytest.fixture
def heeding_ctrl_c() -> Iterator[None]:
    """A shell starts what runs in its background without heed of Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_it(heeding_ctrl_c: None) -> None:
    assert assign(normal(5), normal(5)) is not None, "it is built and loaded before the signal"
    x, y = MODES[0] + 0.014 * normal(5000), ring(5000, 1)
    sent = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    checks = []
    with pytest.raises(KeyboardInterrupt):
        sent.start()
        assign(x, y, lambda: checks.append(sent.finished.is_set()))
    # Python's handler runs after the slice in which the signal came, not at the end.
    assert sum(checks) <= 3


SANITIZED = """
#include "assignment.cpp"
#include "distances.cpp"
#include <cstdio>
#include <random>
int main() {
  std::mt19937 word(1);
  std::normal_distribution<double> normal;
  for (int d : {2, 5, 40})
    for (int n : {1, 17, 65, 300})
      for (int kind = 0; kind < 3; kind++) {
        std::vector<double> x(n * d), y(n * d), u(n), v(n);
        for (auto& q : x) q = kind == 0 ? normal(word) : kind == 1 ? 0.0 : int(3 * normal(word));
        for (auto& q : y) q = kind == 2 ? int(3 * normal(word)) : normal(word);
        void* handle = assignment_new(n, d, x.data(), y.data());
        while (assignment_advance(handle, 100000) == 0) {}
        std::vector<int> partner(n);
        double value, bound;
        int* p = partner.data();
        if (!assignment_answer(handle, p, u.data(), v.data(), &value, &bound)) return 1;
        if (std::fabs(value - bound) > 1e-9 * value + 1e-12) return 2;
        assignment_delete(handle);
        // One point of y after the other, here (n, d): the same sum, and the same minima.
        double total = sum_of_distances(n, n, 1, x.data(), y.data()), single = 0;
        std::vector<double> least(n, 1e300), each(n, 1e300);
        lower_to_transform(n, n, 1, x.data(), u.data(), y.data(), least.data());
        for (int j = 0; j < n; j++) {
          single += sum_of_distances(n, 1, 1, x.data(), &y[j]);
          lower_to_transform(n, 1, 1, x.data(), u.data(), &y[j], &each[j]);
          if (each[j] != least[j]) return 3;
        }
        if (std::fabs(total - single) > 1e-12 * total) return 4;
      }
}
"""


@pytest.mark.thorough
def test_it_touches_no_memory_but_its_own(tmp_path: Path) -> None:
    program, compiler = tmp_path / "sanitized", find_compiler()
    (tmp_path / "main.cpp").write_text(SANITIZED)
    checks = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra"]
    flags = ["-std=c++17", "-O1", "-Werror", *checks, f"-I{compiled.FOLDER}"]
    command = [str(compiler), *flags, str(tmp_path / "main.cpp"), "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True)
    if "asan" in built.stderr and "main.cpp" not in built.stderr:
        pytest.skip("the compiler has no sanitizers here")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_every_source_lies_beside_the_first() -> None:
    folder = compiled.FOLDER
    included = {
        line.split('"')[1]
        for file in folder.iterdir()
        for line in file.read_text().splitlines()
        if line.startswith('#include "')
    }
    assert included and included == {file.name for file in folder.glob("*.hpp")}
