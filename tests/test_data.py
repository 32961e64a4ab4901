"""Target distributions against their formulas, published numbers and scikit-learn."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import picture_options
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import make_swiss_roll
from torch import Tensor

from wganbench.data import DATASETS, Mixture, Options, Target, build, load
from wganbench.data.mixtures import finite, proportional_counts
from wganbench.data.registry import Dataset
from wganbench.data.target import adapted, checked_points
from wganbench.data.toys import Circle
from wganbench.errors import ConfigError
from wganbench.presets import describe_preset, preset_names, read_preset
from wganbench.typed import convert_fields

PRESETS = preset_names("data")
POINT_MASSES = ["two_point_masses"]
MIXTURES = ["ring8", "ring8_veegan", "ring8_selfcond", "grid25", "grid25_pacgan"]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def load_mixture(name: str, **options: Any) -> Mixture:
    target = load(name, **options)
    assert isinstance(target, Mixture)
    return target


def nearest(points: Tensor, modes: Tensor) -> Tensor:
    return torch.cdist(points.double(), modes.double()).argmin(dim=1)


@pytest.fixture
def cloud(tmp_path: Path) -> Path:
    """60 distinct points in 3 dimensions; row i starts with i, so rows can be told apart."""
    table = np.random.default_rng(0).normal(size=(60, 3))
    table[:, 0] = np.arange(60)
    np.save(tmp_path / "cloud.npy", table)
    return tmp_path / "cloud.npy"


@pytest.fixture
def preset_options(
    name: str, cloud: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What a preset needs beyond its own values: files, and where they are."""
    if name == "points":
        return {"path": str(cloud)}
    return picture_options(name, tmp_path, monkeypatch)


# Presets and registry: whoever adds a row or a file is enrolled here.


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_samples(name: str, preset_options: dict[str, Any]) -> None:
    target = load(name, **preset_options)
    assert Target in type(target).__mro__
    state = torch.get_rng_state()
    for draw in (target.sample, target.held_out):
        points = draw(32, seeded(1))
        assert points.shape == (32, *target.shape)
        assert points.dtype == torch.float32
        assert bool(points.isfinite().all())
        if name in POINT_MASSES:
            assert len(points.unique(dim=0)) == 1
            continue
        assert len(points.unique(dim=0)) > 8
        assert torch.equal(points, draw(32, seeded(1)))
        assert not torch.equal(points, draw(32, seeded(2)))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_described_and_complete(name: str) -> None:
    values = read_preset("data", name)
    assert list(values)[:2] == ["name", "kind"]
    assert values["name"] == name
    options = {row.name for row in fields(DATASETS[values["kind"]].options)}
    assert set(values) == {"name", "kind"} | options
    assert "Source: " in describe_preset("data", name)


@pytest.mark.parametrize("kind", sorted(DATASETS))
def test_every_kind_holds_types_and_no_values(kind: str) -> None:
    row = DATASETS[kind]
    assert row.kind == kind and row.summary and row.source
    for option in fields(row.options):
        assert option.default is MISSING and option.default_factory is MISSING
    assert kind in {read_preset("data", name)["kind"] for name in PRESETS}


@pytest.mark.parametrize("name", [name for name in PRESETS if name not in POINT_MASSES])
def test_every_preset_accepts_a_finite_training_set(
    name: str, preset_options: dict[str, Any]
) -> None:
    options = {**preset_options, "train_points": 20}
    target = load(name, **options)
    state = torch.get_rng_state()
    points = target.sample(2000, seeded())
    assert len(points.unique(dim=0)) == 20
    # The set depends on train_seed alone, not on the run's generator.
    other = target.sample(2000, seeded(5))
    assert torch.equal(points.unique(dim=0), other.unique(dim=0))
    moved = load(name, **{**options, "train_seed": 1}).sample(2000, seeded())
    assert not torch.equal(points.unique(dim=0), moved.unique(dim=0))
    assert torch.equal(state, torch.get_rng_state())


def test_finite_set_is_drawn_evenly_and_evaluated_on_the_truth() -> None:
    truth = load_mixture("ring8", sigma=0.1)
    target = finite(truth, 50, 3)
    assert isinstance(target, Mixture)
    assert torch.equal(target.modes, truth.modes) and torch.equal(target.weights, truth.weights)
    assert target.sigma == truth.sigma and target.shape == truth.shape
    _, counts = target.sample(50_000, seeded()).unique(dim=0, return_counts=True)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4
    assert len(target.held_out(400, seeded()).unique(dim=0)) == 400
    assert torch.equal(target.held_out(400, seeded()), truth.held_out(400, seeded()))
    roll = load("swiss_roll")
    assert torch.equal(finite(roll, 50, 3).held_out(9, seeded()), roll.held_out(9, seeded()))
    assert finite(truth, None, 3) is truth


def test_registry_needs_no_torch() -> None:
    program = "import sys, wganbench.data as d; list(d.DATASETS); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_lazy_names() -> None:
    module = importlib.import_module("wganbench.data")
    assert all(hasattr(module, name) for name in module.__all__)
    with pytest.raises(AttributeError, match="Mixtures"):
        _ = module.Mixtures


# Geometry.


@pytest.mark.parametrize(
    ("name", "radius", "sigma"),
    [
        ("ring8", 1.41443, 0.0141443),
        ("ring8_veegan", 1.0, 0.01),
        ("ring8_selfcond", 2.0, 0.01),
    ],
)
def test_rings_as_published(name: str, radius: float, sigma: float) -> None:
    target = load_mixture(name)
    assert target.modes.shape == (8, 2)
    # The end of the circle is its beginning: a linspace over both would give 7 centres.
    separation = torch.pdist(target.modes).min().item()
    assert separation == pytest.approx(2 * radius * math.sin(math.pi / 8), rel=1e-4)
    torch.testing.assert_close(
        target.modes.norm(dim=1), torch.full((8,), radius), rtol=5e-6, atol=0
    )
    torch.testing.assert_close(target.modes[0], torch.tensor([radius, 0.0]), rtol=5e-6, atol=1e-7)
    torch.testing.assert_close(target.modes.mean(dim=0), torch.zeros(2), rtol=0, atol=1e-6)
    assert target.sigma == pytest.approx(sigma, rel=5e-6)
    torch.testing.assert_close(target.weights, torch.full((8,), 1 / 8))


def test_ring8_is_gan_toy_to_the_last_digit() -> None:
    """The official code writes 2 * cos and sigma 0.02, and divides by 1.414 (not sqrt 2)."""
    target = load_mixture("ring8")
    s = 2 / math.sqrt(2)
    published = [(2, 0), (-2, 0), (0, 2), (0, -2), (s, s), (s, -s), (-s, s), (-s, -s)]
    expected = torch.tensor(published) / 1.414
    order = nearest(expected, target.modes)
    assert sorted(order.tolist()) == list(range(8))
    torch.testing.assert_close(target.modes[order], expected, rtol=1e-6, atol=1e-6)
    assert target.sigma == pytest.approx(0.02 / 1.414, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "spacing", "sigma"), [("grid25", 0.70721, 0.0176803), ("grid25_pacgan", 2.0, 0.05)]
)
def test_grids_as_published(name: str, spacing: float, sigma: float) -> None:
    target = load_mixture(name)
    line = [spacing * step for step in (-2, -1, 0, 1, 2)]
    expected = torch.tensor([(x, y) for x in line for y in line])
    order = nearest(expected, target.modes)
    assert sorted(order.tolist()) == list(range(25))
    torch.testing.assert_close(target.modes[order], expected, rtol=1e-5, atol=1e-6)
    assert target.sigma == pytest.approx(sigma, rel=5e-6)
    torch.testing.assert_close(target.weights, torch.full((25,), 1 / 25))


@given(
    modes=st.integers(1, 40),
    radius=st.floats(0.1, 100),
    side=st.integers(1, 7),
    d=st.integers(1, 9),
)
def test_geometry_of_any_size(modes: int, radius: float, side: int, d: int) -> None:
    common = {"sigma": 0.1, "train_points": None, "train_seed": 0}
    ring = build("ring", {"modes": modes, "radius": radius, **common})
    grid = build("grid", {"side": side, "spacing": radius, **common})
    pair = build("two_gaussians", {"distance": radius, "dimension": d, **common})
    assert isinstance(ring, Mixture) and isinstance(grid, Mixture) and isinstance(pair, Mixture)
    if modes > 1:
        chord = 2 * radius * math.sin(math.pi / modes)
        assert torch.pdist(ring.modes.double()).min().item() == pytest.approx(chord, rel=1e-4)
    if side > 1:
        assert torch.pdist(grid.modes).min().item() == pytest.approx(radius, rel=1e-4)
        extent = grid.modes.amax(dim=0) - grid.modes.amin(dim=0)
        assert extent.tolist() == pytest.approx([(side - 1) * radius] * 2, rel=1e-5)
    assert len(grid.modes) == side**2
    assert pair.modes[:, 0].tolist() == pytest.approx([-radius / 2, radius / 2], rel=1e-6)
    assert pair.shape == (d,) and bool((pair.modes[:, 1:] == 0).all())


# Draws.


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize("draw", ["sample", "held_out"])
def test_sigma_is_a_standard_deviation(name: str, draw: str) -> None:
    target = load_mixture(name)
    n = 20_000
    points = getattr(target, draw)(n, seeded(3)).double()
    noise = (points - target.modes[nearest(points, target.modes)]) / target.sigma
    lowest, highest = stats.chi2.ppf([1e-4, 1 - 1e-4], 2 * n)
    assert lowest < noise.square().sum().item() < highest
    # Gaussian in every direction, not only of the right width.
    for direction in ([1.0, 0.0], [0.0, 1.0], [0.6, 0.8]):
        projected = noise @ torch.tensor(direction, dtype=torch.float64)
        assert stats.kstest(projected.numpy(), "norm").pvalue > 1e-4


def test_share_of_high_quality_of_a_perfect_sampler() -> None:
    """Within 3 sigma in the plane: 1 - exp(-9/2) = 0.98889."""
    target = load_mixture("ring8")
    points = target.sample(100_000, seeded())
    hits = int((torch.cdist(points, target.modes).amin(dim=1) < 3 * target.sigma).sum())
    assert stats.binomtest(hits, 100_000, 1 - math.exp(-4.5)).pvalue > 1e-4


def test_weights_are_normalised_and_respected() -> None:
    target = load_mixture("mixture", weights=[6, 3, 1, 0], centres=[[0], [1], [2], [3]], sigma=0.01)
    assert target.weights.tolist() == pytest.approx([0.6, 0.3, 0.1, 0.0])
    counts = nearest(target.sample(10_000, seeded()), target.modes).bincount(minlength=4)
    assert counts[3] == 0
    assert stats.chisquare(counts[:3].numpy(), [6000, 3000, 1000]).pvalue > 1e-4
    # Chance must be left in: exact counts here would mean a stratified training set.
    assert counts[:3].tolist() != [6000, 3000, 1000]


def test_null_weights_are_equal() -> None:
    target = load_mixture("mixture", weights=None)
    torch.testing.assert_close(target.weights, torch.full((3,), 1 / 3))


@pytest.mark.parametrize(
    ("weights", "n", "counts"),
    [
        ([0.6, 0.3, 0.1], 2500, [1500, 750, 250]),
        ([1, 1, 1], 3000, [1000, 1000, 1000]),
        ([0.5, 0.25, 0.25], 10, [5, 3, 2]),
        ([0.45, 0.35, 0.2], 7, [3, 3, 1]),
        ([1, 2], 1, [0, 1]),
    ],
)
def test_held_out_stands_in_exact_proportions(
    weights: list[float], n: int, counts: list[int]
) -> None:
    centres = [[float(k)] for k in range(len(weights))]
    target = load_mixture("mixture", weights=weights, centres=centres, sigma=0.01)
    modes = nearest(target.held_out(n, seeded()), target.modes)
    assert modes.bincount(minlength=len(weights)).tolist() == counts
    if n > 10:
        assert modes.tolist() != sorted(modes.tolist())
        # Shuffled: any stretch holds the modes in about their proportions.
        first = modes[: n // 2].bincount(minlength=len(weights))
        assert stats.chisquare(first.numpy(), torch.tensor(counts).numpy() / 2).pvalue > 1e-4


@given(
    weights=st.lists(st.floats(0, 1e3), min_size=1, max_size=30).filter(lambda w: sum(w) > 1e-3),
    n=st.integers(1, 5000),
)
def test_proportional_counts(weights: list[float], n: int) -> None:
    counts = proportional_counts(torch.tensor(weights, dtype=torch.float64), n)
    exact = n * np.array(weights) / sum(weights)
    assert int(counts.sum()) == n
    assert np.all(np.abs(counts.numpy() - exact) < 1 + 1e-6)


def test_held_out_lowers_the_imbalance_of_modes_only() -> None:
    """Points within a mode are as random as in a sample."""
    target = load_mixture("ring8")
    a, b = target.held_out(800, seeded(1)), target.held_out(800, seeded(2))
    assert len(torch.cat((a, b)).unique(dim=0)) == 1600


# Swiss roll.


def test_swiss_roll_matches_scikit_learn() -> None:
    ours = load("swiss_roll").sample(6000, seeded()).double().numpy()
    theirs = make_swiss_roll(6000, noise=0.25, random_state=0)[0][:, [0, 2]] / 7.5
    views = {
        "x": lambda p: p[:, 0],
        "z": lambda p: p[:, 1],
        "diagonal": lambda p: p.sum(axis=1),
        "other diagonal": lambda p: p[:, 0] - p[:, 1],
        "radius": lambda p: np.hypot(p[:, 0], p[:, 1]),
        # How far off the spiral: |p| and the angle of p disagree by the noise.
        "off": lambda p: np.sin(7.5 * np.hypot(p[:, 0], p[:, 1]) - np.arctan2(p[:, 1], p[:, 0])),
    }
    for name, view in views.items():
        assert stats.ks_2samp(view(ours), view(theirs)).pvalue > 1e-3, name


def test_swiss_roll_without_noise_is_the_spiral() -> None:
    x, z = (load("swiss_roll", noise=0).sample(3000, seeded()).double() * 7.5).unbind(dim=1)
    t = torch.hypot(x, z)
    torch.testing.assert_close(x, t * t.cos(), rtol=0, atol=1e-4)
    torch.testing.assert_close(z, t * t.sin(), rtol=0, atol=1e-4)
    uniform = stats.uniform(loc=1.5 * math.pi, scale=3 * math.pi)
    assert stats.kstest(t.numpy(), uniform.cdf).pvalue > 1e-3


# A user's points.


def test_points_split(cloud: Path) -> None:
    target = load("points", path=str(cloud))
    assert target.shape == (3,)
    trained = set(target.sample(3000, seeded())[:, 0].tolist())
    held_out = set(target.held_out(12, seeded())[:, 0].tolist())
    assert len(trained) == 48 and len(held_out) == 12
    assert trained | held_out == set(range(60))
    # Which rows are held out is a matter of train_seed, not of their place in the file.
    assert held_out != set(range(12)) and held_out != set(range(48, 60))
    other = load("points", path=str(cloud), train_seed=1)
    assert held_out != set(other.held_out(12, seeded())[:, 0].tolist())
    # Asked for more than there are, every row comes equally often.
    _, counts = target.held_out(36, seeded())[:, 0].unique(return_counts=True)
    assert counts.tolist() == [3] * 12
    # A smaller training set leaves the held-out rows as they are.
    small = load("points", path=str(cloud), train_points=7)
    assert held_out == set(small.held_out(12, seeded())[:, 0].tolist())


@pytest.mark.parametrize("head", ["", "x,y\n", "\ufeff"])
def test_points_from_csv(tmp_path: Path, head: str) -> None:
    rows = [(float(i), i / 8) for i in range(20)]
    file = tmp_path / "cloud.csv"
    file.write_text(head + "".join(f"{x},{y}\n" for x, y in rows), encoding="utf-8")
    target = load("points", path=str(file), held_out_share=0.5)
    seen = torch.cat((target.held_out(10, seeded()), target.sample(500, seeded())))
    assert sorted(map(tuple, seen.unique(dim=0).tolist())) == rows


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", np.zeros(9), r"data\.path.*\(n, d\).*\(9,\)"),
        ("a.npy", np.zeros((9, 0)), r"data\.path.*\(9, 0\)"),
        ("a.npy", np.zeros((9, 2, 2)), r"data\.path.*\(9, 2, 2\)"),
        ("a.npy", np.full((9, 2), "x"), r"data\.path.*numbers"),
        ("a.npy", np.array([[1, None]] * 9, dtype=object), r"data\.path.*cannot read"),
        ("a.npy", np.array([[1, np.nan], [np.inf, 2]] * 3), r"row 0 .*column y.* nan: 6 of 12"),
        ("a.npy", np.full((9, 2), 1e200), r"data\.path.* 1e\+200 .*float32.* in 18 of 18"),
        ("a.npy", np.full((9, 2), 1e308), r"data\.path.*another unit"),
        ("a.npy", np.zeros((3, 2)), r"data\.path.*too few.*held_out_share"),
        ("a.npy", "not an array", r"data\.path.*cannot read"),
        ("a.csv", "", r"data\.path.*too few"),
        ("a.csv", "1,2\n3\n", r"data\.path.*cannot read"),
        ("a.csv", "x,y\n1,2\n3,four\n", r"data\.path.*cannot read"),
        ("a.csv", "1,2\nnan,3\n" * 5, r"line 2, column x, is 'nan'.*\(5 such cells"),
        ("a.csv", "1,2\n" * 5 + "x,3\n", r"\(1 such cell in all\)"),
        ("a.pdf", "1,2\n", r"data\.path.*\.npy, .*\.csv"),
        ("b.csv", None, r"data\.path.*no file"),
    ],
)
def test_points_errors(tmp_path: Path, name: str, content: Any, message: str) -> None:
    if isinstance(content, np.ndarray):
        np.save(tmp_path / name, content)
    elif content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        load("points", path=str(tmp_path / name))


def test_points_errors_of_options(cloud: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.train_points=49 .* 48 "):
        load("points", path=str(cloud), train_points=49)
    with pytest.raises(ValueError, match=r"data\.path must be given"):
        load("points")
    for share in (0, 1, -0.1, 1.5):
        with pytest.raises(ValueError, match=r"data\.held_out_share"):
            load("points", path=str(cloud), held_out_share=share)


# Errors name the key.


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ring8", {"sigma": 0}, r"data\.sigma must be above 0"),
        ("ring8", {"sigma": -0.1}, r"data\.sigma"),
        ("ring8", {"sigma": math.nan}, r"data\.sigma must be a number"),
        ("ring8", {"sigma": "wide"}, r"data\.sigma must be a number"),
        ("ring8", {"sigma": True}, r"data\.sigma must be a number"),
        ("ring8", {"sigma": None}, r"data\.sigma must be given"),
        ("ring8", {"radius": 0}, r"data\.radius"),
        ("ring8", {"modes": 0}, r"data\.modes must be at least 1"),
        ("ring8", {"modes": 2.5}, r"data\.modes must be a whole number"),
        ("ring8", {"train_points": 0}, r"data\.train_points"),
        ("ring8", {"train_seed": -1}, r"data\.train_seed"),
        ("ring8", {"train_seed": 2**63}, r"data\.train_seed"),
        ("ring8", {"train_seed": 3}, r"data\.train_seed=3 is not used without data\.train_points"),
        ("ring8", {"sigmo": 1}, r"data\.sigmo; did you mean data\.sigma"),
        ("grid25", {"side": 0}, r"data\.side"),
        ("grid25", {"spacing": -1}, r"data\.spacing"),
        ("swiss_roll", {"noise": -0.1}, r"data\.noise"),
        ("two_gaussians", {"distance": 0}, r"data\.distance"),
        ("two_gaussians", {"dimension": 0}, r"data\.dimension"),
        ("mixture", {"weights": [1, -1, 1]}, r"data\.weights\[1\] must be at least 0"),
        ("mixture", {"weights": [0, 0, 0]}, r"data\.weights must sum"),
        ("mixture", {"weights": [1, 1]}, r"data\.weights.*2 weights for 3 centres"),
        ("mixture", {"weights": 1}, r"data\.weights must be a list"),
        ("mixture", {"centres": [[0, 0], [1], [2, 2]]}, r"data\.centres must be of equal length"),
        ("mixture", {"centres": [0, 1, 2]}, r"data\.centres\[0\] must be a list"),
        ("mixture", {"centres": [[0], ["a"], [2]]}, r"data\.centres\[1\]\[0\] must be a number"),
        ("mixture", {"centres": []}, r"data\.centres must hold"),
        ("mixture", {"centres": [[], []]}, r"data\.centres must hold"),
        ("ring", {"modes": 8}, r"data\.train_points is missing"),
        ("rinq8", {}, r"unknown data 'rinq8'; did you mean 'ring8'\?"),
        ("nothing", {}, r"unknown data 'nothing' \(there are"),
    ],
)
def test_errors_name_the_key(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(name, **options)


def test_mixture_refuses_what_it_cannot_draw_from() -> None:
    for weights, sigma in (([1.0, -0.5], 1.0), ([0.0, 0.0], 1.0), ([1.0, math.nan], 1.0)):
        with pytest.raises(ValueError, match="weights"):
            Mixture(torch.zeros(2, 2), torch.tensor(weights), sigma)
    with pytest.raises(ValueError, match="sigma"):
        Mixture(torch.zeros(2, 2), torch.ones(2), 0.0)


def test_kind_with_all_options_equals_its_preset() -> None:
    options = read_preset("data", "grid25")
    kind = options.pop("kind")
    options.pop("name")
    ours, theirs = load(kind, **options), load("grid25")
    assert torch.equal(ours.sample(9, seeded()), theirs.sample(9, seeded()))


def test_options_are_typed() -> None:
    """2 and 2.0 are one configuration; arrays and tensors are lists of numbers."""
    values = {"modes": 8.0, "radius": 2, "sigma": 1, "train_points": None, "train_seed": 0}
    ring = DATASETS["ring"].options
    options = ring(**convert_fields(ring, values, "data."))
    assert repr(options) == repr(ring(**convert_fields(ring, values | {"radius": 2.0}, "data.")))
    assert "modes=8, radius=2.0, sigma=1.0" in repr(options)
    from_arrays = load_mixture("mixture", centres=np.eye(2), weights=torch.ones(2))
    assert torch.equal(from_arrays.modes, torch.eye(2))


class Plain:
    """A target of a user's own that derives from nothing, and has two of the optional members."""

    shape, notes, class_count = [2], ("a line",), 3

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return torch.rand(n, 2, generator=generator)

    held_out = sample


def test_a_target_of_any_class_gets_the_members_that_it_lacks() -> None:
    plain = Plain()
    target = adapted(plain)
    assert Target in type(target).__mro__ and target.shape == (2,)
    assert (target.notes, target.class_count) == (("a line",), 3)
    lacks = (target.modes, target.weights, target.points, target.held_out_points, target.base)
    assert lacks == (None,) * 5 and target.units is None
    assert torch.equal(target.sample(4, seeded()), plain.sample(4, seeded()))
    assert torch.equal(target.held_out(4, seeded()), plain.held_out(4, seeded()))
    ours = load("ring8")
    assert adapted(ours) is ours


def test_modes_of_a_plain_class_are_counted_with_its_sigma() -> None:
    plain = Plain()
    plain.modes = torch.zeros(3, 2)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="sigma"):
        adapted(plain)
    plain.sigma = 0.5  # type: ignore[attr-defined]
    assert adapted(plain).sigma == 0.5 and Plain not in type(adapted(plain)).__mro__


@pytest.mark.parametrize("method", ["sample", "held_out"])
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda points: points.double(), "float64 of shape (2, 2)"),
        (lambda points: points[:-1], "float32 of shape (1, 2)"),
        (lambda points: points[:, :1], "float32 of shape (2, 1)"),
        (lambda points: points.numpy(), "ndarray"),
    ],
)
@pytest.mark.parametrize("base", [Plain, Circle])
def test_points_of_another_type_or_shape_are_refused(
    base: type, spoil: Any, told: str, method: str
) -> None:
    """Our C++ reads them as they lie in memory."""

    def spoiled(self: Any, n: int, generator: torch.Generator) -> Any:
        return spoil(getattr(base, method)(self, n, generator))

    own = type("Mine", (base,), {method: spoiled})
    target = own(1.0) if base is Circle else own()
    with pytest.raises(ConfigError) as caught:
        adapted(target)
    assert str(caught.value) == (
        f"Mine.{method}(2, generator) must return a tensor of float32 of shape (n, *shape), "
        f"here (2, 2); it returned {told}"
    )


@pytest.mark.parametrize("base", [Plain, Circle])
def test_points_on_another_device_than_the_generator_are_refused(base: type) -> None:
    """On a GPU the generator is there; a class that was only tried on a CPU may not follow it."""
    target = adapted(base(1.0) if base is Circle else base())
    points = torch.zeros(2, 2)
    for place in (None, torch.device("cpu"), torch.device("cpu", 0)):
        assert checked_points(points, target, "sample", 2, place) is points
    there = torch.device("cuda", 1)
    with pytest.raises(ConfigError) as caught:
        checked_points(points, target, "sample", 2, there)
    assert str(caught.value) == (
        f"{base.__name__}.sample(2, generator) must return points on the generator's device, "
        "cuda:1: pass device=generator.device to torch; they are on cpu"
    )


@pytest.mark.parametrize("method", ["sample", "held_out"])
def test_points_that_are_not_finite_are_refused(method: str) -> None:
    def spoiled(self: Any, n: int, generator: torch.Generator) -> torch.Tensor:
        return getattr(Plain, method)(self, n, generator) * float("nan")  # type: ignore[no-any-return]

    own = type("Mine", (Plain,), {method: spoiled})
    with pytest.raises(ConfigError, match=rf"^Mine\.{method}\(2, generator\) .* not finite$"):
        adapted(own())


def test_a_class_without_a_member_that_all_need_is_refused_by_its_name() -> None:
    own = type("Mine", (), {"shape": (2,), "sample": Plain.sample})
    with pytest.raises(ConfigError, match=r"^Mine has no held_out: a data set has a shape, sample"):
        adapted(own())


def test_another_package_adds_a_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    row = DATASETS["swiss_roll"]
    monkeypatch.setattr(DATASETS, "_rows", dict(DATASETS._rows))
    DATASETS.register("roll", Dataset("roll", row.options, row.build, "a roll", "ours"))
    target = load("roll", noise=0.1, train_points=None, train_seed=0)
    assert target.sample(4, seeded()).shape == (4, 2)
    with pytest.raises(ValueError, match="did you mean 'roll'"):
        load("rol")


def test_a_users_data_say_where_a_training_set_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DATASETS, "_rows", dict(DATASETS._rows))
    DATASETS.register("plain", Dataset("plain", Options, lambda _: Plain(), "a square", "ours"))
    assert load("plain", train_points=None, train_seed=3).points is None, "the seed may be of use"
    with pytest.raises(ConfigError, match=r"data\.train_points=20 is not used by data\.kind=plain"):
        load("plain", train_points=20, train_seed=0)
    fixed = Dataset("fixed", Options, lambda options: finite(load("ring8"), 20, 0), "few", "ours")
    DATASETS.register("fixed", fixed)
    assert len(load("fixed", train_points=20, train_seed=0).points) == 20
