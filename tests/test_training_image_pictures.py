"""What the images of an image run show, and that showing it changes nothing."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from training_configs import same

from wganbench.config import ConfigError, RunConfig, compose
from wganbench.data.images import Images
from wganbench.drawing.images import to_bytes
from wganbench.metrics import nearest_training_images
from wganbench.training.figures import (
    Classifier,
    base_bytes,
    draw_classes,
    image_figures,
    progress_figure,
    unstacked,
)
from wganbench.training.measuring import (
    PAIRS,
    STEPS,
    generate,
    interpolated,
    read_runs,
    watched_fakes,
    watched_reals,
    with_figure_data,
)
from wganbench.training.run import load_run, sample_run
from wganbench.training.runs import train_run
from wganbench.training.stack import Stack

NAMES = {"interpolation", "classes", "neighbours"}
CPU = torch.device("cpu")
SETTINGS = (
    "network=dcgan8", "network.width=4", "device=cpu", "compile=false", "tuned=none",
    "train.steps=2", "train.batch_size=8", "loss.n_critic=1", "log.every_n_steps=1",
    "log.picture_every_n_steps=1", "evaluate.every_n_steps=1", "evaluate.n=12",
    "evaluate.final_n=30", "evaluate.final_draws=1",
)  # fmt: skip


@cache
def config(*overrides: str) -> RunConfig:
    return compose([*SETTINGS, *overrides])


@pytest.fixture
def stack() -> Stack:
    return Stack([config("data=digits"), config("data=digits", "seed=1")], CPU)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "run"
    assert train_run(config("data=digits", "log.animation=true"), folder).status == "completed"
    return folder


# The same latents at every step.
def test_the_same_latents_are_watched_at_every_step(stack: Stack) -> None:
    before, reals = watched_fakes(stack, 0), watched_reals(stack, 0)
    torch.testing.assert_close(watched_fakes(stack, 0), before, rtol=0, atol=0)
    assert not torch.equal(watched_fakes(stack, 1), before)
    weights = stack.run_states()[0]
    stack.iterate()
    assert not torch.equal(watched_fakes(stack, 0), before), "the generator has learned"
    assert torch.equal(watched_reals(stack, 0), reals)
    stack.load_run_state(0, 0, weights)
    stack.steps_done = 7
    assert torch.equal(watched_fakes(stack, 0), before), "its weights alone decide"


def test_drawing_changes_nothing(stack: Stack) -> None:
    other = Stack(list(stack.configs), CPU)
    stack.iterate()
    readings = read_runs(stack, 12)
    progress_figure(stack, with_figure_data(stack, 0, readings[0]), {})
    last = with_figure_data(stack, 1, readings[1], between=True)
    assert image_figures(stack, last, "t").keys() == NAMES
    stack.iterate()
    other.iterate()
    other.iterate()
    for r in range(2):
        assert same(stack.run_states()[r], other.run_states()[r])


# Ways between latents.
@pytest.mark.parametrize("spherical", [True, False])
def test_a_way_begins_and_ends_at_its_latents(spherical: bool) -> None:
    z = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
    path = interpolated(z[:3], z[3:], 4, spherical)
    assert path.shape == (3, 4, 5)
    torch.testing.assert_close(path[:, 0], z[:3])
    torch.testing.assert_close(path[:, -1], z[3:])


def test_a_spherical_way_keeps_the_norm_and_turns_evenly() -> None:
    z0, z1 = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    (path,) = interpolated(z0, z1, 4, True)
    torch.testing.assert_close(path.norm(dim=1), torch.full((4,), 2.0))
    angles = torch.atan2(path[:, 1], path[:, 0])
    torch.testing.assert_close(angles, torch.tensor([0, 1, 2, 3]) * math.pi / 6)
    (line,) = interpolated(z0, z1, 3, False)
    torch.testing.assert_close(line[1], torch.tensor([1.0, 1.0]))


def test_latents_on_one_line_are_joined_by_it() -> None:
    z0 = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    z1 = torch.tensor([[3.0, 0.0], [-1.0, 0.0], [0.0, 4.0]])
    path = interpolated(z0, z1, 3, True)
    torch.testing.assert_close(path[0, 1], torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(path[1, 1], torch.tensor([0.0, 0.0]))
    assert path.isfinite().all()


def test_the_interpolation_shows_what_the_generator_makes_of_its_ends() -> None:
    # Without batch norm an image does not depend on those made beside it.
    own = Stack([config("data=digits", "network.generator_normalization=none")], CPU)
    z = torch.randn(2 * PAIRS, 16, generator=torch.Generator().manual_seed(0))
    path = interpolated(z[:PAIRS], z[PAIRS:], STEPS, True)
    made = generate(own, 0, path.reshape(-1, 16)).reshape(PAIRS, STEPS, 1, 8, 8)
    torch.testing.assert_close(made[:, 0], generate(own, 0, z[:PAIRS]), rtol=0, atol=1e-5)
    torch.testing.assert_close(made[:, -1], generate(own, 0, z[PAIRS:]), rtol=0, atol=1e-5)


# Neighbours.
def test_planted_duplicates_are_their_own_neighbours() -> None:
    images = torch.randint(0, 256, (5000, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    target = Images(images.to(torch.uint8), images[:2].to(torch.uint8))
    chosen = torch.tensor([4999, 0, 2048, 2047])
    points = target.scaled(target.images[chosen])
    points[3] += 0.01
    rows, distances = nearest_training_images(points, target.images, target.scaled, 3)
    assert rows[:, 0].tolist() == chosen.tolist()
    expected = torch.tensor([0, 0, 0, 0.01 * 4], dtype=torch.float64)
    torch.testing.assert_close(distances[:, 0], expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(base_bytes(target, rows)[:, 0], target.images[chosen].numpy())
    every = (points[0] - target.scaled(target.images)).flatten(1).double().norm(dim=1).sort()
    assert rows[0].tolist() == every.indices[:3].tolist()
    torch.testing.assert_close(distances[0], every.values[:3], rtol=0, atol=1e-5)


# Classes.
def test_stacked_pictures_are_shown_in_the_classes_of_their_channels() -> None:
    target = Stack([config("data=stacked_digits")], CPU).target
    pictures = np.random.default_rng(0).normal(size=(3, 3, 8, 8))
    single, classes = unstacked(pictures, np.array([0, 123, 907]), target)
    assert classes.tolist() == [0, 0, 0, 1, 2, 3, 9, 0, 7]
    assert single.shape == (9, 1, 8, 8)
    np.testing.assert_array_equal(single[5, 0], pictures[1, 2])

    class Sevens(Classifier):
        def predict(self, points: torch.Tensor) -> torch.Tensor:
            return torch.full((len(points),), 777)

    figure = draw_classes(torch.from_numpy(pictures), target, Sevens(), "t")
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert labels[7] == "7  (100.0%)" and labels[6] == "6  (0.0%)" and len(labels) == 10


# A whole run.
def test_a_run_leaves_its_pictures(run: Path) -> None:
    for name in ("figure", *NAMES):
        with Image.open(run / f"{name}.png") as image:
            assert min(image.size) > 300
    assert (run / "samples.gif").exists()
    stored = np.load(run / "samples.npz")
    for name in ("reals", "fakes"):
        assert stored[name].dtype == np.uint8 and stored[name].shape == (30, 8, 8, 1)
    events = EventAccumulator(str(run), size_guidance={"images": 0}).Reload()
    assert {"samples", *NAMES} <= set(events.Tags()["images"])
    assert [event.step for event in events.Images("samples")] == [1, 2]
    assert [event.step for event in events.Images("classes")] == [2]


@pytest.mark.parametrize("out", ["folder", "a.b/"])
def test_sample_writes_a_folder_of_the_generator_s_bytes(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = to_bytes(load_run(run).sample(5))
    assert sample_run(run, 5, out) == f"5 images in {Path(out)}"
    files = sorted((tmp_path / out).iterdir())
    assert [file.name for file in files] == [f"{i:05d}.png" for i in range(5)]
    for file, picture in zip(files, expected, strict=True):
        with Image.open(file) as image:
            np.testing.assert_array_equal(np.asarray(image), picture[0])
    with pytest.raises(ConfigError, match="not an empty folder"):
        sample_run(run, 5, out)


def test_sample_writes_grids_archives_and_arrays(run: Path, tmp_path: Path) -> None:
    points = load_run(run).sample(4)
    assert points.shape == (4, 1, 8, 8)
    for name in ("x.png", "x.npz", "x.npy", "x.csv"):
        assert sample_run(run, 4, tmp_path / name) == f"4 images in {tmp_path / name}"
    stored = np.load(tmp_path / "x.npz")["fakes"]
    np.testing.assert_array_equal(stored, to_bytes(points).transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), points)
    assert np.loadtxt(tmp_path / "x.csv", delimiter=",").shape == (4, 64)
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (17 * 8, 17 * 8)
    with pytest.raises(ConfigError, match=r"\.png, \.npz, .* or a folder"):
        sample_run(run, 4, tmp_path / "x.jpg")


def test_points_are_written_neither_as_png_nor_into_folders(tmp_path: Path) -> None:
    small = ["train.steps=1", "train.batch_size=8", "loss.n_critic=1", "evaluate.final_n=10"]
    small += ["evaluate.floor_pairs=2", "log.tensorboard=false", "evaluate.every_n_steps=0"]
    train_run(compose([*small, "device=cpu", "compile=false", "network.width=4"]), tmp_path / "r")
    for out in ("x.png", "x", "x.npy/"):
        with pytest.raises(ConfigError, match="are for images, and these are points"):
            sample_run(tmp_path / "r", 4, f"{tmp_path}/{out}")
    assert [path.name for path in tmp_path.iterdir()] == ["r"]
    assert sample_run(tmp_path / "r", 4, tmp_path / "x.npz") == f"4 points in {tmp_path / 'x.npz'}"
    assert np.load(tmp_path / "x.npz")["fakes"].shape == (4, 2)
