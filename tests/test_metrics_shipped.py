"""Numbers that are part of the measurement: shipped cache, the sliced distance's lines."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wganbench.config import compose
from wganbench.data import DATASETS, load
from wganbench.data.options import HeldOutOptions
from wganbench.metrics import METRICS, cache, wasserstein_sliced
from wganbench.metrics.rows import LINES_SEED
from wganbench.presets import preset_names, read_preset
from wganbench.training.measuring import floor_key


def clouds() -> list[str]:
    """Built-in data sets that are clouds of points and need no file."""
    presets = {name: read_preset("data", name) for name in preset_names("data")}
    return [name for name, preset in presets.items() if not {"path", "root"} & preset.keys()
            and not issubclass(DATASETS[preset["kind"]].options, HeldOutOptions)]  # fmt: skip


def test_clouds_are_found() -> None:
    found = clouds()
    assert {"ring8", "grid25", "swiss_roll", "two_gaussians", "mixture", "random10"} <= {*found}
    assert all(len(load(name).shape) == 1 for name in found)


@pytest.mark.parametrize("name", clouds())
def test_the_floor_of_a_built_in_data_set_at_its_defaults_is_shipped(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def computed(*_: Any) -> None:
        raise AssertionError(f"nobody should wait for it: add {name} with scripts/floors.py")

    monkeypatch.setattr(cache, "transport_floor", computed)
    monkeypatch.setattr(cache, "floors_file", lambda: None)
    config = compose([f"data={name}"])
    for n in (config.evaluate.n, config.evaluate.final_n):
        pairs = config.evaluate.floor_pairs
        floor = cache.cached_floor(floor_key(config), load(name), n, pairs)
        assert floor.n == n and floor.pairs == cache.SHIPPED_PAIRS
        assert floor.standard_error == pytest.approx(floor.sd / floor.pairs**0.5)
        if name == "two_point_masses":  # all reals are one point
            assert floor.sd == floor.mean == 0
            continue
        assert 0 < floor.sd < floor.mean
        # Held-out samples of a mixture have equal counts of each mode, so two of them are nearer
        # than independent ones: by no more than the variance of a mean, the spread over n.
        reals = load(name).held_out(1000, torch.Generator().manual_seed(0))
        nearer = float(torch.cdist(reals, reals).mean()) / n
        for zero in (floor.symmetric, floor.energy):
            assert zero is not None and abs(zero.mean) < 3 * zero.sd + nearer


def test_a_shipped_floor_of_more_pairs_serves_whoever_asks_for_fewer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "SHIPPED", tmp_path / "shipped.json")
    monkeypatch.setattr(cache, "floors_file", lambda: tmp_path / "own.json")
    spread = cache.Spread(0.0, 0.1)
    many, few = (cache.Floor(0.5, 0.2, pairs, 9, spread, spread) for pairs in (200, 20))
    monkeypatch.setattr(cache, "transport_floor", lambda *_: few)
    assert cache.cached_floor("key", load("ring8"), 9, 20) == few
    entries = {cache.floor_entry("key", 9, 200): asdict(many)}
    cache.SHIPPED.write_text(json.dumps(entries))
    assert cache.cached_floor("key", load("ring8"), 9, 20) == many
    assert cache.cached_floor("key", load("ring8"), 9, 200) == many
    assert cache.cached_floor("key", load("ring8"), 9, 201) == few, "of fewer pairs than asked"
    assert cache.cached_floor("other", load("ring8"), 9, 20) == few


# The sliced distance.
@dataclass
class Sampled:
    """What the metric reads of an evaluation."""

    fakes: torch.Tensor
    reals: torch.Tensor
    projections: int = 4
    clouds: bool = True
    unit: float = 1.0


SHIFT = torch.tensor([3.0, 4.0])


def sliced(shift: torch.Tensor, projections: int = 4) -> float:
    fakes = torch.zeros(5, len(shift))
    values = METRICS["sliced"].compute(Sampled(fakes + shift, fakes, projections))  # type: ignore[arg-type]
    return values["wasserstein/sliced"]


def test_the_lines_are_those_of_a_stated_seed(without_shape_checks: None) -> None:
    """Of a shift by v it is the mean of |v.u| over the lines u."""
    lines = torch.randn(
        4, 2, generator=torch.Generator().manual_seed(20150101), dtype=torch.float64
    )
    directions = (lines / lines.norm(dim=1, keepdim=True)).numpy()
    expected = float(np.abs(directions @ SHIFT.double().numpy()).mean())
    assert LINES_SEED == 20150101
    assert sliced(SHIFT) == pytest.approx(expected, rel=1e-12)
    assert sliced(SHIFT) == pytest.approx(3.718029040714417, rel=1e-6)
    assert sliced(SHIFT) == sliced(SHIFT), "the same lines every time"


def test_over_many_lines_it_is_the_expectation(without_shape_checks: None) -> None:
    """A shift by v gives |v| E|u_1|: 2/pi |v| in the plane; one line at most |v|."""
    assert sliced(SHIFT, 4000) == pytest.approx(2 / math.pi * 5, rel=0.03)
    assert 0 < sliced(SHIFT, 1) < 5


def test_it_is_that_of_the_generator_passed_in() -> None:
    x, y = np.zeros((5, 2)), np.zeros((5, 2)) + [3.0, 4.0]
    generator = torch.Generator().manual_seed(20150101)
    assert wasserstein_sliced(x, y, 4, generator) != wasserstein_sliced(x, y, 4, generator)
