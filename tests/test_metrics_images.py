"""Images measured: classes, FID, KID, balls and nearest neighbours, against brute force."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg
import torch

from wganbench.data.images import Images
from wganbench.metrics import (
    Evaluation,
    allow_features,
    class_coverage,
    frechet_distance,
    kernel_distance,
    load_features,
    measure,
    nearest_training_distance,
    precision_recall_density_coverage,
    rows,
)
from wganbench.metrics import fidelity as frechet_module
from wganbench.metrics.judge import calibrated, train_judge
from wganbench.metrics.reference import ImageReference, image_reference, read_features

IMAGE_TAGS = {
    "modes/covered", "modes/coverage", "modes/high_quality", "modes/kl", "modes/entropy",
    "modes/ceiling", "fidelity/precision", "fidelity/recall", "fidelity/density",
    "fidelity/coverage", "fidelity/fid", "fidelity/fid_floor", "fidelity/kid",
    "fidelity/nearest_train", "fidelity/nearest_train_floor",
}  # fmt: skip
FINAL_TAGS = {"fidelity/kid", "fidelity/nearest_train", "fidelity/nearest_train_floor"}


def stripes(m=90, k=30, classes=3):
    """Images whose class is the row of a bright stripe; a third of each class."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(m + k) % classes
    images = torch.randint(0, 60, (m + k, 1, 8, 8), generator=rng)
    images[torch.arange(m + k), :, 2 * labels] += 150
    images = images.to(torch.uint8)
    return Images(images[:m], images[m:], labels[:m], labels[m:], ["a", "b", "c"])


@pytest.fixture(scope="module")
def target():
    return stripes()


@pytest.fixture(scope="module")
def judge(target):
    return calibrated(train_judge(target), target)


@pytest.fixture
def reference(target, judge):
    return ImageReference(target, judge)


def evaluation(reference, fakes, **changes):
    n = len(fakes)
    target = reference.target
    row = torch.ones(n)
    parts = {
        "target": target,
        "reals": target.held_out(n, torch.Generator().manual_seed(3)),
        "fakes": fakes,
        "fake_gradients": fakes,
        **{f"score_{of}": row for of in ("real", "fake")},
        **{f"slopes_{of}": row for of in ("hat", "real", "fake")},
        "feedback": row,
        "bce": False,
        "weights_at_clip": None,
        "protocol": "veegan",
        "projections": 8,
        "floor": None,
        "images": reference,
        "final": True,
    }
    return Evaluation(**{**parts, **changes})


def training(target, n):
    return target.sample(n, torch.Generator().manual_seed(5))


def features(n, f=6, seed=0, shift=0.0):
    rng = torch.Generator().manual_seed(seed)
    mix = torch.randn(f, f, generator=rng, dtype=torch.float64)
    return torch.randn(n, f, generator=rng, dtype=torch.float64) @ mix + shift


# Classes.
def brute_force(classes, sure, weights):
    n, covered, fair, kl, entropy = len(classes), 0, 0, 0.0, 0.0
    in_class = sum(k >= 0 for k in classes)
    for k, weight in enumerate(weights):
        p = sum(c == k for c in classes) / in_class
        good = sum(c == k and s for c, s in zip(classes, sure, strict=True))
        covered += p > 0
        fair += weight > 0 and good >= 0.2 * n * weight - 1e-9
        if p > 0:
            kl += p * math.log(p / weight)
            entropy -= p * math.log(p)
    return covered, fair / sum(w > 0 for w in weights), kl, entropy


@pytest.mark.parametrize("seed", range(4))
def test_classes_equal_brute_force(seed):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(7))
    classes = rng.choice(7, 40, p=rng.dirichlet(np.full(7, 0.5)))
    classes[:3] = -1
    sure = (rng.random(40) < 0.6) & (classes >= 0)
    result = class_coverage(
        torch.tensor(classes), torch.tensor(sure), torch.tensor(weights, dtype=torch.float32)
    )
    covered, coverage, kl, entropy = brute_force(classes.tolist(), sure.tolist(), weights.tolist())
    assert result.covered == covered
    assert result.coverage == pytest.approx(coverage)
    assert result.kl == pytest.approx(kl, rel=1e-5)
    assert result.entropy == pytest.approx(entropy)
    assert result.high_quality == pytest.approx(sure.mean())


def test_all_on_one_class_and_all_alike():
    sure = torch.ones(50, dtype=torch.bool)
    uniform = torch.full((10,), 0.1, dtype=torch.float64)
    collapsed = class_coverage(torch.full((50,), 4), sure, uniform)
    assert (collapsed.covered, collapsed.coverage, collapsed.entropy) == (1, 0.1, 0)
    assert collapsed.kl == math.log(10)
    even = class_coverage(torch.arange(50) % 10, sure, uniform)
    assert (even.covered, even.coverage) == (10, 1)
    assert even.kl == pytest.approx(0, abs=1e-12)
    assert even.entropy == pytest.approx(math.log(10))


def test_what_is_undefined_is_none():
    sure = torch.ones(5, dtype=torch.bool)
    nowhere = class_coverage(torch.full((5,), -1), sure, torch.tensor([0.5, 0.5]))
    assert (nowhere.covered, nowhere.coverage, nowhere.high_quality) == (0, 0, 0)
    assert nowhere.kl is None and nowhere.entropy is None
    assert class_coverage(torch.ones(5, dtype=torch.long), sure, torch.tensor([1.0, 0])).kl is None


def test_a_fair_share_counts_only_what_is_sure():
    classes, weights = torch.arange(20) % 2, torch.tensor([0.5, 0.5])
    sure = (classes == 0) | (torch.arange(20) == 1)
    result = class_coverage(classes, sure, weights)
    assert (result.covered, result.coverage, result.high_quality) == (2, 0.5, 0.55)
    two = sure | (torch.arange(20) == 3)
    assert class_coverage(classes, two, weights).coverage == 1


# Distances between features.
def test_fid_equals_the_matrix_root():
    reals, fakes = features(40, seed=1, shift=50.0), features(30, seed=2, shift=50.5)
    mean = (reals.mean(dim=0) - fakes.mean(dim=0)).square().sum()
    real, fake = np.cov(reals.numpy().T), np.cov(fakes.numpy().T)
    expected = float(mean) + np.trace(real + fake - 2 * scipy.linalg.sqrtm(real @ fake).real)
    assert frechet_distance(reals, fakes) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(reals, reals) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(reals, reals + 2) == pytest.approx(4 * 6, rel=1e-9)


def test_fid_of_collapsed_fakes_is_finite_and_exact():
    reals = features(40)
    one = reals[:1].expand(20, -1)
    away = (reals.mean(dim=0) - reals[0]).square().sum()
    expected = float(away) + np.trace(np.cov(reals.numpy().T))
    assert frechet_distance(reals, one) == pytest.approx(expected)


def test_kid_equals_brute_force():
    reals, fakes = features(7, seed=1).tolist(), features(15, seed=2).tolist()

    def kernel(x, y):
        return (sum(a * b for a, b in zip(x, y, strict=True)) / 6 + 1) ** 3

    def unbiased(x, y):
        same = sum(kernel(*pair) for part in (x, y) for pair in itertools.permutations(part, 2))
        cross = sum(kernel(a, b) for a, b in itertools.product(x, y))
        return same / (7 * 6) - 2 * cross / 49

    expected = (unbiased(reals, fakes[:7]) + unbiased(reals, fakes[7:14])) / 2
    value = kernel_distance(torch.tensor(reals).double(), torch.tensor(fakes).double())
    assert value == pytest.approx(expected, rel=1e-4)


def test_kid_of_equal_distributions_is_zero_on_average():
    values = [kernel_distance(torch.randn(40, 3, generator=torch.Generator().manual_seed(s)),
                              torch.randn(40, 3, generator=torch.Generator().manual_seed(99 + s)))
              for s in range(60)]  # fmt: skip
    spread = np.std(values, ddof=1) / math.sqrt(len(values))
    assert abs(np.mean(values)) < 4 * spread
    assert min(values) < 0 < max(values)


def test_many_points_are_compared_block_by_block(monkeypatch):
    monkeypatch.setattr(frechet_module, "KERNEL_POINTS", 4)
    generator = torch.Generator().manual_seed(0)
    reals, fakes = (torch.randn(n, 3, generator=generator).double() for n in (9, 14))
    pairs = [(reals[:4], fakes[:4]), (reals[4:8], fakes[4:8]), (reals[:4], fakes[8:12])]
    expected = sum(kernel_distance(real, fake) for real, fake in pairs) / 3
    assert kernel_distance(reals, fakes) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("distance", "m", "n"), [(frechet_distance, 1, 5), (kernel_distance, 5, 4),
                                                  (kernel_distance, 1, 4)])  # fmt: skip
def test_too_few_points_are_refused(distance, m, n):
    with pytest.raises(ValueError):
        distance(features(m), features(n))


# The nearest image.
@pytest.mark.parametrize("stacked", [1, 3])
def test_the_nearest_picture_equals_brute_force(stacked, target, monkeypatch):
    from wganbench.metrics import fidelity

    monkeypatch.setattr(fidelity, "TRAINING_ROWS", 7)
    rng = torch.Generator().manual_seed(0)
    points = torch.rand(6, stacked, 8, 8, generator=rng) * 2 - 1
    known = target.scaled(target.images).double()
    expected = [
        math.sqrt(sum(float(((part - known[:, 0]) ** 2).sum(dim=(1, 2)).min()) for part in point))
        for point in points.double()
    ]
    value = nearest_training_distance(points, target.images, target.scaled, stacked)
    assert value == pytest.approx(np.mean(expected), rel=1e-9)
    copies = target.scaled(target.images[:12]).reshape(-1, stacked, 8, 8)
    assert nearest_training_distance(copies, target.images, target.scaled, stacked) == 0


# An evaluation as a whole.
def test_pictures_have_their_tags_and_no_transport(reference):
    values = measure(evaluation(reference, training(reference.target, 40)))
    assert {tag for tag in values if tag.startswith(("modes/", "fidelity/"))} == IMAGE_TAGS
    assert not {"wasserstein/exact", "wasserstein/sliced", "critic/direction"} & values.keys()
    assert all(type(value) is float and math.isfinite(value) for value in values.values())


def test_repeated_training_pictures_are_good_and_show_as_copies(reference):
    values = measure(evaluation(reference, training(reference.target, 60)))
    assert values["modes/covered"] == values["modes/ceiling"] == 3
    assert values["modes/coverage"] == 1 and values["modes/high_quality"] > 0.8
    assert values["modes/kl"] < 0.1
    assert values["modes/entropy"] == pytest.approx(math.log(3), abs=0.1)
    assert values["fidelity/nearest_train"] == 0 < values["fidelity/nearest_train_floor"]
    held_out = reference.target.scaled(reference.target.held_out_images)
    others = measure(evaluation(reference, held_out))
    assert others["fidelity/nearest_train"] == pytest.approx(values["fidelity/nearest_train_floor"])
    assert others["fidelity/fid"] == pytest.approx(0, abs=1e-6)


def test_collapsed_fakes_are_one_class(reference):
    target = reference.target
    values = measure(
        evaluation(reference, target.scaled(target.held_out_images[:1]).expand(40, -1, -1, -1))
    )
    assert (values["modes/covered"], values["modes/entropy"]) == (1, 0)
    assert values["modes/coverage"] == pytest.approx(1 / 3)
    assert values["modes/kl"] == pytest.approx(math.log(3))
    assert values["fidelity/fid"] > 5 * values["fidelity/fid_floor"]
    assert values["fidelity/kid"] > 0
    assert values["fidelity/recall"] < 0.2


def test_the_shares_are_those_of_the_held_out_classes_and_uniform_when_stacked(target, judge):
    target = stripes()
    target.held_out_labels = torch.tensor([0] * 15 + [1] * 10 + [2] * 5)
    shares = ImageReference(target, judge).class_shares
    assert torch.allclose(shares, torch.tensor([3.0, 2.0, 1.0]).double() / 6)
    stacked = SimpleNamespace(base=target, stacked=3, class_count=27)
    assert torch.equal(ImageReference(stacked, judge).class_shares, torch.ones(27).double() / 27)


def test_balls_and_kid_use_no_real_picture_twice(reference, judge):
    target = reference.target
    fakes = training(target, 75)
    e = evaluation(reference, fakes)
    assert len(torch.unique(e.reals, dim=0)) == 30
    values = measure(e)
    balls = precision_recall_density_coverage(
        judge.features(e.reals[:30]), judge.features(fakes[:30])
    )
    assert values["fidelity/precision"] == pytest.approx(balls.precision)
    assert values["fidelity/density"] == pytest.approx(balls.density)
    assert values["fidelity/coverage"] == pytest.approx(balls.coverage)
    read = judge.features(fakes).double()
    real = judge.features(e.reals[:30]).double()
    both = [kernel_distance(real, read[:30]), kernel_distance(real, read[30:60])]
    assert values["fidelity/kid"] == pytest.approx(np.mean(both))
    everything = frechet_distance(judge.features(e.reals).double(), read)
    assert values["fidelity/fid"] == pytest.approx(everything)


def test_what_is_costly_waits_for_the_end(reference, target, judge):
    fakes = training(target, 20)
    values = measure(evaluation(reference, fakes, final=False))
    assert IMAGE_TAGS - values.keys() == FINAL_TAGS
    slow = ImageReference(target, judge, lambda x: x.flatten(1)[:, :4])
    values = measure(evaluation(slow, fakes, final=False))
    assert not {tag for tag in values if tag.startswith("fidelity/")}
    assert measure(evaluation(slow, fakes)).keys() >= IMAGE_TAGS


def test_without_torchmetrics_its_tags_are_absent(reference, monkeypatch):
    monkeypatch.setattr(rows, "has_torchmetrics", lambda: False)
    values = measure(evaluation(reference, training(reference.target, 20)))
    assert IMAGE_TAGS - values.keys() == {"fidelity/fid", "fidelity/fid_floor", "fidelity/kid"}


def test_without_classes_features_are_the_user_s_alone(target):
    plain = Images(target.images, target.held_out_images)
    fakes = training(target, 20)
    values = measure(evaluation(image_reference(plain), fakes))
    assert {tag for tag in values if tag.startswith(("modes/", "fidelity/"))} == {
        "fidelity/nearest_train", "fidelity/nearest_train_floor",
    }  # fmt: skip
    own = ImageReference(plain, None, lambda x: x.flatten(1)[:, 8:13])
    e = evaluation(own, fakes)
    values = measure(e)
    assert not {tag for tag in values if tag.startswith("modes/")}
    expected = frechet_distance(
        e.reals.flatten(1)[:, 8:13].double(), fakes.flatten(1)[:, 8:13].double()
    )
    assert values["fidelity/fid"] == pytest.approx(expected)
    with pytest.raises(ValueError, match="evaluate.features"):
        image_reference(plain).features(fakes)


def test_diverged_fakes_have_no_distance_and_their_classes_do_not_count(reference):
    fakes = training(reference.target, 20)
    fakes[:5] = torch.nan
    values = measure(evaluation(reference, fakes))
    assert not {tag for tag in values if tag.startswith("fidelity/")}
    assert values["modes/high_quality"] <= 0.75
    values = measure(evaluation(reference, torch.full_like(fakes, torch.nan)))
    assert values["modes/covered"] == values["modes/coverage"] == 0
    assert values["modes/ceiling"] == 3
    assert not {"modes/kl", "modes/entropy"} & values.keys()


@pytest.mark.usefixtures("global_randomness_untouched")
def test_measuring_takes_no_global_randomness_and_says_the_same_twice(reference, target, judge):
    fakes = training(target, 40)
    first = measure(evaluation(reference, fakes))
    assert first == measure(evaluation(ImageReference(target, judge), fakes.clone()))


# A user's own features.
def test_features_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_eyes.py").write_text("def look(x):\n    return x.flatten(1)[:, :2]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    allow_features("my_eyes:look", "torch:flatten")
    assert load_features("my_eyes:look")(torch.zeros(3, 1, 2, 2)).shape == (3, 2)
    assert load_features("torch:flatten") is torch.flatten


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torch.flatten", "package.module:callable"),
        ("no_such_package:f", "cannot be imported: No module named 'no_such_package'"),
        ("torch:no_such_thing", "cannot be imported"),
        ("math:pi", "is no callable but a float"),
    ],
)
def test_features_that_are_not_there_are_one_line(name, words):
    allow_features(name)
    with pytest.raises(ValueError, match="evaluate.features") as error:
        load_features(name)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_features_of_a_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"gave shape \(4,\)"):
        read_features(lambda x: x.sum(dim=(1, 2, 3)), torch.zeros(4, 1, 2, 2))
    long = torch.rand(1201, 1, 2, 2)
    assert torch.equal(read_features(lambda x: x.flatten(1), long), long.flatten(1).double())
