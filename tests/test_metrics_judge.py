"""The judge: right about real images, the same every time, and remembered."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from wganbench.data import load
from wganbench.data.images import Images, thinned
from wganbench.metrics import cache, judge_for
from wganbench.metrics.cache import judge_file, judge_key
from wganbench.metrics.judge import Judge, calibrated, judge_network, train_judge


def stripes(m=30, size=8, channels=1, seed=0, classes=3):
    """Images whose class is the row of a bright stripe, with noise: quickly learnt."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.arange(2 * m) % classes
    pictures = torch.randint(0, 60, (2 * m, channels, size, size), generator=rng)
    pictures[torch.arange(2 * m), :, 2 * labels] += 150
    pictures = pictures.to(torch.uint8)
    names = [str(k) for k in range(classes)]
    return Images(pictures[:m], pictures[m:], labels[:m], labels[m:], names)


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def judge(digits):
    return judge_for(digits)


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def trained(monkeypatch):
    """How often a judge was trained."""
    calls = []

    def count(pictures):
        calls.append(pictures)
        return train_judge(pictures)

    monkeypatch.setattr(cache, "train_judge", count)
    return calls


def test_it_reads_digits_it_has_not_seen(digits, judge):
    points = digits.scaled(digits.held_out_images)
    right = judge.predict(points) == digits.held_out_labels
    assert judge.accuracy == pytest.approx(float(right.double().mean()))
    assert judge.accuracy >= 0.97
    everyone = judge.judge(points)
    assert 0.95 <= float(everyone.sure.double().mean()) <= 0.96
    noise = 2 * torch.rand(500, 1, 8, 8, generator=torch.Generator().manual_seed(0)) - 1
    assert float(judge.judge(noise).sure.double().mean()) < 0.4


def test_a_point_s_class_does_not_depend_on_its_neighbours(digits, judge):
    points = digits.scaled(digits.held_out_images[:60])
    alone = torch.cat([judge.predict(point[None]) for point in points[:10]])
    assert torch.equal(alone, judge.predict(points)[:10])
    assert torch.equal(judge.features(points), judge.features(points))
    assert torch.allclose(judge.features(points)[:3], judge.features(points[:3]), atol=1e-5)
    probabilities = judge.probabilities(points)
    assert probabilities.shape == (60, 1, 10)
    assert torch.allclose(probabilities.sum(dim=2), torch.ones(60, 1))


def test_held_out_labels_play_no_part_in_training():
    one, other = stripes(), stripes()
    other.held_out_labels = other.held_out_labels.flip(0)
    other.held_out_images = other.held_out_images.flip(0) // 2
    first, second = train_judge(one).state_dict(), train_judge(other).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert judge_key(one) == judge_key(other)


@pytest.mark.parametrize(("channels", "size"), [(1, 8), (3, 9), (1, 28), (3, 13)])
def test_any_size_and_number_of_channels(channels, size):
    pictures = stripes(channels=channels, size=size)
    judge = calibrated(train_judge(pictures), pictures)
    assert judge.accuracy == 1
    assert judge.features(pictures.scaled(pictures.images)).shape == (30, 64)


@pytest.mark.usefixtures("global_randomness_untouched")
def test_training_takes_nothing_from_the_global_randomness_and_keeps_the_mode():
    with torch.no_grad():
        network = train_judge(stripes())
        assert not torch.is_grad_enabled()
    assert not network.training
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.usefixtures("own_cache")
def test_it_is_trained_once_and_read_back_bit_for_bit(trained):
    pictures = stripes()
    first, second = judge_for(pictures), judge_for(stripes())
    assert len(trained) == 1
    assert first.sha256 == second.sha256 and len(first.sha256) == 64
    assert (first.accuracy, first.threshold) == (second.accuracy, second.threshold)
    points = pictures.scaled(pictures.held_out_images)
    assert torch.equal(first.features(points), second.features(points))


@pytest.mark.usefixtures("own_cache")
def test_other_pictures_or_labels_have_another_judge(trained):
    relabelled = stripes()
    relabelled.labels = (relabelled.labels + 1) % 3
    judges = [judge_for(target) for target in (stripes(), stripes(seed=1), relabelled)]
    assert len(trained) == len({judge.sha256 for judge in judges}) == 3


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize("damage", ["cut", "noise", "other", "nan"])
def test_a_damaged_cache_is_ignored_and_replaced(damage, trained):
    pictures = stripes()
    whole = judge_for(pictures)
    file = judge_file(pictures)
    content = file.read_bytes()
    if damage == "cut":
        file.write_bytes(content[: len(content) // 2])
    elif damage == "noise":
        file.write_bytes(b"no archive")
    elif damage == "other":
        torch.save({"weights": 1}, file)
    else:
        weights = torch.load(file, weights_only=True)
        weights["hidden.bias"][0] = torch.nan
        torch.save(weights, file)
    assert judge_for(pictures).sha256 == whole.sha256
    assert len(trained) == 2
    judge_for(pictures)
    assert len(trained) == 2
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_cache_that_cannot_be_written_costs_no_run(tmp_path, monkeypatch, trained):
    (tmp_path / "wganbench").write_text("a file where a folder should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert judge_for(stripes()).accuracy == 1
    assert len(trained) == 1


def test_pictures_without_classes_have_no_judge():
    pictures = stripes()
    assert judge_for(Images(pictures.images, pictures.held_out_images)) is None
    assert judge_for(load("ring8")) is None
    with pytest.raises(ValueError, match="classes"):
        train_judge(Images(pictures.images, pictures.held_out_images))


def test_stacked_classes_are_the_digits_of_a_number(digits, judge):
    stacked = SimpleNamespace(base=digits, stacked=3)
    of_three = judge_for(stacked)
    assert of_three.sha256 == judge.sha256 and of_three.accuracy == judge.accuracy
    rows = torch.randint(0, 360, (700, 3), generator=torch.Generator().manual_seed(0))
    points = digits.scaled(digits.held_out_images[rows].squeeze(2))
    assert points.shape == (700, 3, 8, 8)
    single = judge.predict(digits.scaled(digits.held_out_images))[rows]
    expected = 100 * single[:, 0] + 10 * single[:, 1] + single[:, 2]
    assert torch.equal(of_three.predict(points), expected)
    assert len(expected.unique()) > 300
    sure = judge.judge(digits.scaled(digits.held_out_images)).sure[rows].all(dim=1)
    assert torch.equal(of_three.judge(points).sure, sure)
    features = of_three.features(points)
    assert features.shape == (700, 192)
    alone = judge.features(points[:, 1:2])
    assert torch.allclose(features[:, 64:128], alone, atol=1e-5)


def test_a_picture_that_is_not_finite_has_no_class(digits, judge):
    points = digits.scaled(digits.held_out_images[:4])
    points[1, 0, 3, 3] = torch.nan
    points[2, 0, 0, 0] = torch.inf
    judged = judge.judge(points)
    assert (judged.classes == -1).tolist() == [False, True, True, False]
    assert not judged.sure[1] and not judged.sure[2]


def test_an_untrained_judge_knows_nothing(digits):
    network = judge_network(1, 10, torch.Generator().manual_seed(0)).eval()
    assert calibrated(network, digits).accuracy < 0.4
    assert Judge(network, 10).sha256 != Judge(
        judge_network(1, 10, torch.Generator().manual_seed(1)), 10
    ).sha256  # fmt: skip


@pytest.mark.usefixtures("own_cache")
def test_fewer_images_to_train_on_have_the_judge_of_all(trained):
    everything = stripes()
    few = [judge_for(thinned(stripes(), count, seed)) for count, seed in ((6, 0), (9, 1))]
    assert {judge.sha256 for judge in few} == {judge_for(everything).sha256} and len(trained) == 1
