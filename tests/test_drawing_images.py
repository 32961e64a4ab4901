"""Images as pixels, files and figures: every value lands where it should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from wganbench.drawing.canvas import figure_to_rgb
from wganbench.drawing.images import (
    EMPTY,
    are_images,
    channels_last,
    class_cells,
    classes_figure,
    enlarged,
    factor_for,
    image_grid,
    interpolation_figure,
    neighbours_figure,
    save_archive,
    save_folder,
    save_grid,
    to_bytes,
)
from wganbench.drawing.run_figure import final_figure, sample_figure
from wganbench.metrics import precision_recall_density_coverage

COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 99, 199], [7, 8, 9]], np.uint8)


def planted(h: int = 2, w: int = 3) -> np.ndarray:
    """Five images, each of one colour."""
    return np.tile(COLOURS[:, :, None, None], (1, 1, h, w))


def noise(n: int, channels: int, side: int, seed: int = 0) -> np.ndarray:
    shape = (n, channels, side, side)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def scaled(pictures: np.ndarray) -> np.ndarray:
    return pictures.astype(np.float32) / 127.5 - 1


# Bytes.
def test_every_byte_comes_back() -> None:
    values = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    np.testing.assert_array_equal(to_bytes(scaled(values)), values)


def test_what_is_outside_is_clipped_and_what_is_no_number_is_black() -> None:
    values = np.array([-1.5, 1.5, np.inf, -np.inf, np.nan, 0.5 / 127.5 - 1 + 1e-6])
    expected = [0, 255, 255, 0, 0, 1]
    assert to_bytes(values.reshape(6, 1, 1, 1)).ravel().tolist() == expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((5, 1, 8, 8), True), ((5, 3, 4, 6), True), ((5, 2, 8, 8), False), ((5, 2), False)],
)
def test_pictures_are_told_from_points(shape: tuple[int, ...], expected: bool) -> None:
    assert are_images(np.zeros(shape)) == expected


# Grids.
@pytest.mark.parametrize("gap", [1, 2])
def test_every_picture_lies_in_its_cell(gap: int) -> None:
    grid = image_grid(planted(), 3, gap)
    assert grid.shape == (4 + gap, 9 + 2 * gap, 3)
    for i, colour in enumerate(COLOURS):
        top, left = i // 3 * (2 + gap), i % 3 * (3 + gap)
        assert (grid[top : top + 2, left : left + 3] == colour).all(), i
    assert (grid[2 : 2 + gap] == 255).all() and (grid[:, 3 : 3 + gap] == 255).all()


def test_a_single_picture_is_its_own_grid_and_grey_is_three_equal_channels() -> None:
    grey = noise(1, 1, 4)
    grid = image_grid(grey, 8)
    assert grid.shape == (4, 4, 3)
    assert all((grid[..., c] == grey[0, 0]).all() for c in range(3))


def test_enlarging_repeats_pixels() -> None:
    pixels = channels_last(noise(1, 3, 3))[0]
    large = enlarged(pixels, 4)
    assert large.shape == (12, 12, 3)
    for i, j in np.ndindex(12, 12):
        assert (large[i, j] == pixels[i // 4, j // 4]).all()


# Files.
@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_png_files_holds_the_bytes(channels: int, tmp_path: Path) -> None:
    pictures = noise(12, channels, 8)
    folder = tmp_path / "a" / "b"
    save_folder(folder, pictures)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"{i:05d}.png" for i in range(12)]
    for name, picture in zip(names, channels_last(pictures), strict=True):
        with Image.open(folder / name) as image:
            assert image.mode == {1: "L", 3: "RGB"}[channels]
            np.testing.assert_array_equal(np.asarray(image).reshape(8, 8, channels), picture)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        save_folder(tmp_path, noise(2, 1, 4))
    with pytest.raises(FileExistsError, match="not an empty folder"):
        save_folder(tmp_path / "mine.txt", noise(2, 1, 4))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_grid_and_an_archive_hold_the_bytes(tmp_path: Path) -> None:
    pictures = noise(5, 3, 8)
    save_grid(tmp_path / "x.png", pictures)
    factor = factor_for(8, 64)
    with Image.open(tmp_path / "x.png") as image:
        pixels = np.asarray(image)
    assert pixels.shape == (17 * factor, 26 * factor, 3), "three columns, two rows"
    np.testing.assert_array_equal(pixels[9 * factor :: factor, :: factor][:8, :8],
                                  channels_last(pictures)[3])  # fmt: skip
    save_archive(tmp_path / "x.npz", pictures)
    stored = np.load(tmp_path / "x.npz")["fakes"]
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, pictures.transpose(0, 2, 3, 1))


# Figures.
def image_of(figure: Figure, position: int = 0) -> np.ndarray:
    """The pixels that lie in the figure's panel."""
    return np.asarray(figure.axes[position].images[0].get_array())


def texts(figure: Figure) -> str:
    own = [figure.get_suptitle(), *(axes.get_title() for axes in figure.axes)]
    return "\n".join([*own, *(text.get_text() for axes in figure.axes for text in axes.texts)])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("draw", [sample_figure, final_figure])
def test_runs_on_pictures_show_fakes_and_reals(draw: object, channels: int) -> None:
    fakes, reals = noise(70, channels, 8), noise(30, channels, 8, seed=1)
    table = () if draw is sample_figure else ({},)
    figure = draw(*table, scaled(reals), scaled(fakes), title="t")  # type: ignore[operator]
    figure_to_rgb(figure)
    assert [axes.get_title() for axes in figure.axes] == ["generated", "real"]
    np.testing.assert_array_equal(image_of(figure, 0), image_grid(fakes[:64], 8))
    np.testing.assert_array_equal(image_of(figure, 1), image_grid(reals[:24], 3))
    assert figure.axes[0].images[0].get_interpolation() == "nearest"


def test_pictures_that_are_not_finite_are_left_out_and_counted() -> None:
    fakes = scaled(noise(6, 1, 8))
    fakes[1, 0, 3, 3], fakes[4] = np.nan, np.inf
    figure = sample_figure(fakes, fakes, title="t")
    figure_to_rgb(figure)
    assert "2 of 6 are not finite" in texts(figure)
    kept = to_bytes(fakes)[[0, 2, 3, 5]]
    np.testing.assert_array_equal(image_of(figure), image_grid(kept, 4))
    broken = sample_figure(fakes, np.full_like(fakes, np.nan), title="t")
    figure_to_rgb(broken)
    assert "6 of 6 are not finite" in texts(broken) and not broken.axes[0].images


def test_each_class_has_a_row_and_a_missing_picture_a_grey_cell() -> None:
    pictures, classes = noise(7, 1, 4), np.array([2, 0, 2, 2, 0, 2, 0])
    cells = class_cells(pictures, classes, 3, 3).reshape(3, 3, 1, 4, 4)
    np.testing.assert_array_equal(cells[0], pictures[[1, 4, 6]])
    assert (cells[1] == EMPTY).all()
    np.testing.assert_array_equal(cells[2], pictures[[0, 2, 3]])
    figure = classes_figure(scaled(pictures), classes, ["a", "b", "c"], "title", columns=3)
    figure_to_rgb(figure)
    for name, share in (("a", "42.9%"), ("b", "0.0%"), ("c", "57.1%")):
        assert f"{name}  ({share})" in texts(figure)
    expected = image_grid(cells.reshape(9, 1, 4, 4), 3)
    np.testing.assert_array_equal(image_of(figure), expected)


def test_interpolations_and_neighbours_stand_in_rows() -> None:
    rows = noise(12, 3, 4).reshape(3, 4, 3, 4, 4)
    figure = interpolation_figure(scaled(rows), "title")
    figure_to_rgb(figure)
    np.testing.assert_array_equal(image_of(figure), image_grid(rows.reshape(12, 3, 4, 4), 4))
    fakes, nearest = noise(5, 1, 4), noise(10, 1, 4, seed=1).reshape(5, 2, 1, 4, 4)
    distances = np.arange(10.0).reshape(5, 2)
    figure = neighbours_figure(scaled(fakes), nearest, distances, "title")
    figure_to_rgb(figure)
    np.testing.assert_array_equal(image_of(figure, 0), image_grid(fakes[:3], 1))
    np.testing.assert_array_equal(
        image_of(figure, 1), image_grid(nearest[:3].reshape(6, 1, 4, 4), 2)
    )
    np.testing.assert_array_equal(
        image_of(figure, 3), image_grid(nearest[3:].reshape(4, 1, 4, 4), 2)
    )
    assert texts(figure).splitlines()[-5:] == ["0.0", "2.0", "4.0", "6.0", "8.0"]


# Other tools.
def test_torch_fidelity_reads_the_folder(tmp_path: Path) -> None:
    """Its precision and recall on such folders are ours on the images that went in."""
    fidelity = pytest.importorskip("torch_fidelity")
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase

    class Pixels(FeatureExtractorBase):
        """The grey pixels themselves, as features."""

        def __init__(self, name: str, features_list: list[str], **_: object) -> None:
            super().__init__(name, features_list)

        @staticmethod
        def get_provided_features_list() -> tuple[str]:
            return ("pixels",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return "pixels"

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (x[:, 0].flatten(1).double(),)

    fidelity.register_feature_extractor("wganbench-pixels", Pixels)
    reals, fakes = noise(40, 1, 3) // 2, noise(40, 1, 3, seed=1) // 2 + 20
    save_folder(tmp_path / "reals", reals)
    save_folder(tmp_path / "fakes", fakes)
    found = fidelity.calculate_metrics(
        input1=str(tmp_path / "fakes"), input2=str(tmp_path / "reals"), prc=True, cuda=False,
        feature_extractor="wganbench-pixels", prc_neighborhood=3, verbose=False, cache=False,
        save_cpu_ram=True, batch_size=8,
    )  # fmt: skip
    flat = [torch.from_numpy(part).reshape(40, -1).double() for part in (reals, fakes)]
    ours = precision_recall_density_coverage(*flat, k=3)
    assert 0 < ours.precision < 1 and 0 < ours.recall < 1
    assert found["precision"] == pytest.approx(ours.precision, abs=1e-6)
    assert found["recall"] == pytest.approx(ours.recall, abs=1e-6)
