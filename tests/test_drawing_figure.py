"""Figures: every case draws without a warning and shows what it claims."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from wganbench.drawing.canvas import (
    CURVES,
    FAKE,
    MODE,
    REAL,
    SCORES,
    animation,
    figure_to_rgb,
    save_png,
)
from wganbench.drawing.run_figure import CurveNotes, draw_modes, final_figure, sample_figure
from wganbench.drawing.samples import ALONE, DENSITY_SHARES, Arrows, CriticGrid, mean_arrows
from wganbench.runs.table import Cell

RNG = np.random.default_rng(0)
STEPS: list[Cell] = [10, 20, 30, 40]
TABLE: dict[str, list[Cell]] = {
    "step": STEPS,
    "modes/covered": [None, 2.0, None, 8.0],
    "modes/high_quality": [None, 0.1, None, 0.9],
    "wasserstein/exact": [None, 0.5, None, 0.1],
    "wasserstein/floor": [None, 0.06, None, 0.06],
    "critic/slope_mean": [None, 0.8, None, 1.0],
    "critic/slope_std": [None, 0.2, None, 0.1],
    "critic/lipschitz": [None, 1.5, None, 1.2],
    "grad_norm/critic": [1.0, 0.0, math.nan, 2.0],
    "grad_norm/generator": [1.0, 1.5, math.inf, 2.0],
}


def cloud(d: int, n: int = 40) -> np.ndarray:
    return RNG.normal(size=(n, d)) * np.arange(1, d + 1)


def grid(score: float | None = None) -> CriticGrid:
    x, y = np.linspace(-4, 4, 9), np.linspace(-5, 5, 11)
    values = x[None, :] + 0 * y[:, None] if score is None else np.full((11, 9), score)
    return CriticGrid(x, y, values)


def panel(figure: Figure, title: str) -> Axes:
    (axes,) = [axes for axes in figure.findobj(Axes) if title in titles_of(axes)]
    assert isinstance(axes, Axes)
    return axes


def titles_of(axes: object) -> set[str]:
    assert isinstance(axes, Axes)
    return {axes.get_title(), axes.get_title(loc="left")}


def titles(figure: Figure) -> set[str]:
    return set().union(*(titles_of(axes) for axes in figure.findobj(Axes))) - {""}


def legend_of(axes: Axes) -> list[str]:
    legend = axes.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def notes_of(axes: Axes) -> str:
    return "\n".join(text.get_text() for text in axes.texts)


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("with_modes", [True, False])
def test_every_dimension_draws(d: int, with_modes: bool) -> None:
    modes = cloud(d, 4) if with_modes else None
    figure = sample_figure(cloud(d), cloud(d), title="a title", modes=modes)
    assert figure_to_rgb(figure).std() > 0
    (axes,) = figure.axes
    assert axes.get_title() == "a title"
    assert set(legend_of(axes)) == {"real", "generated"} | ({"mode"} if with_modes else set())
    assert axes.get_aspect() == ("auto" if d == 1 else 1.0)


def test_contours_arrows_and_colour_bar() -> None:
    points = cloud(2, 5)
    figure = sample_figure(
        cloud(2), cloud(2), title="", critic_grid=grid(), arrows=Arrows(points, -3 * points)
    )
    figure_to_rgb(figure)
    (axes,) = figure.axes
    (bar,) = axes.child_axes
    assert bar.get_ylabel() == "critic score"
    assert axes.get_xlim() == (-4, 4) and axes.get_ylim() == (-5, 5)
    lengths = 3 * np.linalg.norm(points, axis=1)
    assert (lengths > 2).any() and any("cut at 2" in label for label in legend_of(axes))
    (quiver,) = [item for item in axes.collections if type(item).__name__ == "Quiver"]
    drawn = np.c_[quiver.U, quiver.V]
    cosine = (drawn * -points).sum(1) / np.linalg.norm(drawn, axis=1)
    np.testing.assert_allclose(cosine, np.linalg.norm(points, axis=1))
    # A gradient of 1 takes 0.12 of the width, here 8, in every figure; none takes more than 0.24.
    np.testing.assert_allclose(
        np.linalg.norm(drawn, axis=1), 0.12 * 8 * np.minimum(lengths, 2), rtol=1e-6
    )
    assert quiver.get_alpha() == 1


def test_arrows_that_are_chance_are_faint_and_say_so() -> None:
    arrows = Arrows(cloud(2, 5), cloud(2, 5), by_chance=True)
    figure = sample_figure(cloud(2), cloud(2), title="", arrows=arrows)
    figure_to_rgb(figure)
    (axes,) = figure.axes
    (quiver,) = [item for item in axes.collections if type(item).__name__ == "Quiver"]
    assert quiver.get_alpha() < 0.5
    assert any("chance: W1 < 2 floors" in label for label in legend_of(axes))


def test_thin_arrows_show_where_the_density_rises_unless_that_is_chance() -> None:
    points, rising = cloud(2, 5), np.array([[3.0, 4.0], [0.0, -1e9], [0.0, 0.0]])
    for by_chance in (False, True):
        arrows = Arrows(points[:3], points[:3], by_chance, rising)
        figure = sample_figure(cloud(2), cloud(2), title="", critic_grid=grid(), arrows=arrows)
        figure_to_rgb(figure)
        (axes,) = figure.axes
        quivers = [item for item in axes.collections if type(item).__name__ == "Quiver"]
        assert ("rising density" in legend_of(axes)) is (len(quivers) == 2) is not by_chance
        if not by_chance:  # of one length, 0.06 of the width of 8; none where it does not rise
            drawn = np.c_[quivers[0].U, quivers[0].V]
            np.testing.assert_allclose(drawn, 0.48 * np.array([[0.6, 0.8], [0.0, -1.0]]))


def test_a_mode_has_one_arrow_the_mean_of_its_points() -> None:
    modes = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = np.array([[1.0, 0.0], [-1.0, 2.0], [9.0, 1.0], [math.nan, 0.0]])
    moves = np.array([[1.0, 1.0], [3.0, -1.0], [0.0, 5.0], [7.0, 7.0]])
    arrows = mean_arrows(points, moves, modes)
    np.testing.assert_array_equal(arrows.points, [[0.0, 1.0], [9.0, 1.0]])
    np.testing.assert_array_equal(arrows.directions, [[2.0, 0.0], [0.0, 5.0]])
    alone = mean_arrows(np.tile(points[:1], (40, 1)), np.tile(moves[:1], (40, 1)), None)
    assert len(alone.points) == len(alone.directions) == ALONE
    nothing = mean_arrows(points[3:], moves[3:], modes)
    assert nothing.points.shape == nothing.directions.shape == (0, 2)


@pytest.mark.parametrize(("sigma", "drawn"), [(1.0, True), (0.05, False)])
def test_contours_of_a_known_density_stand_where_the_grid_can_show_them(
    sigma: float, drawn: bool
) -> None:
    """Of a round Gaussian they are circles: 1 - share = exp(-r^2 / (2 sigma^2))."""
    x, y = np.linspace(-5, 5, 101), np.linspace(-6, 6, 121)
    squares = x[None, :] ** 2 + y[:, None] ** 2
    shares = np.array(DENSITY_SHARES)
    values, levels = -squares / (2 * sigma**2), np.log(1 - shares)
    around = CriticGrid(x, y, squares, (values, levels))
    figure = sample_figure(cloud(2), cloud(2), title="", critic_grid=around)
    figure_to_rgb(figure)
    (axes,) = figure.axes
    assert ("0.99, 0.9, 0.5\nof the data" in legend_of(axes)) == drawn
    contours = [item for item in axes.collections if type(item).__name__ == "QuadContourSet"]
    assert len(contours) == 2 + drawn
    if drawn:
        radii = [np.linalg.norm(path.vertices, axis=1) for path in contours[-1].get_paths()]
        for found, share in zip(radii, shares, strict=True):
            np.testing.assert_allclose(
                found, sigma * math.sqrt(-2 * math.log(1 - share)), atol=0.01
            )


@pytest.mark.parametrize("score", [0.0, math.nan, math.inf])
def test_a_flat_or_broken_critic_draws_without_contours(score: float) -> None:
    arrows = Arrows(np.zeros((2, 2)), np.zeros((2, 2)))
    figure = sample_figure(cloud(2), cloud(2), title="", critic_grid=grid(score), arrows=arrows)
    figure_to_rgb(figure)
    assert len(figure.axes) == 1
    assert ("everywhere" in notes_of(figure.axes[0])) == (score == 0)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_fakes_that_cannot_be_shown_are_counted(d: int) -> None:
    fakes = cloud(d, 10)
    fakes[:2], fakes[2:5] = math.nan, 1e9
    fakes[5:] = 0
    figure = sample_figure(cloud(d), fakes, title="")
    figure_to_rgb(figure)
    notes = notes_of(figure.axes[0])
    assert "3 of 10 generated points lie outside" in notes
    assert "2 of 10 generated points are not finite" in notes
    assert figure.axes[0].get_xlim()[1] < 1e3
    sound = sample_figure(cloud(d), np.zeros((10, d)), title="")
    assert notes_of(sound.axes[0]) == ""


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_run_that_diverged_altogether_still_has_its_picture(d: int) -> None:
    table: dict[str, list[Cell]] = {"step": STEPS, "wasserstein/exact": [math.nan] * 4}
    figure = final_figure(table, cloud(d), np.full((5, d), math.nan), title="diverged")
    figure_to_rgb(figure)
    assert "5 of 5 generated points are not finite" in notes_of(figure.axes[0])


def test_points_of_other_shapes_are_flattened() -> None:
    figure_to_rgb(sample_figure(RNG.normal(size=(20, 2, 4, 4)), np.zeros((5, 2, 4, 4)), title=""))


def test_principal_axes_are_those_of_the_reals() -> None:
    reals = np.zeros((200, 3))
    reals[:, 2] = np.linspace(-10, 10, 200)
    reals[:, 0] = np.tile([-1, 1], 100)
    axes = sample_figure(reals, reals, title="").axes[0]
    expected = reals[:, 2].var() / (reals[:, 2].var() + reals[:, 0].var())
    assert f"{expected:.0%}" in axes.get_xlabel()
    points = axes.lines[0].get_xydata()
    np.testing.assert_allclose(np.abs(points[:, 0]), np.abs(reals[:, 2]), atol=0.2)


def test_the_final_figure_has_all_panels_with_their_references() -> None:
    notes = CurveNotes(mode_count=8, floor_sd=0.01, slope_target=1.0, slope_label="target 1 (gp)")
    figure = final_figure(TABLE, cloud(2), cloud(2), title="ring8, gp", notes=notes)
    figure_to_rgb(figure)
    assert figure.get_suptitle() == "ring8, gp"
    modes = panel(figure, "Modes")
    np.testing.assert_allclose(modes.lines[0].get_ydata(), [0.25, 1.0])
    distance = panel(figure, "Exact earth mover's distance")
    assert "± 1 sd" in legend_of(distance)
    assert any(np.allclose(line.get_ydata(), 0.06) for line in distance.lines)
    assert "target 1 (gp)" in legend_of(panel(figure, "Critic's slope"))
    gradients = panel(figure, "Gradient norms")
    assert gradients.get_yscale() == "log"
    np.testing.assert_array_equal(gradients.lines[0].get_ydata(), [1, np.nan, np.nan, 2])
    assert "generator: infinite" in legend_of(gradients)
    for name in ("Modes", "Exact earth mover's distance", "Critic's slope", "Gradient norms"):
        axes = panel(figure, name)
        assert axes.get_xlabel() == "generator step" and axes.get_ylabel()
        assert axes.get_xlim() == (0, 40)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ([], set()),
        (["grad_norm/critic"], {"Gradient norms"}),
        (["wasserstein/exact"], {"Exact earth mover's distance"}),
        (["wasserstein/floor", "critic/slope_std"], set()),
        (["modes/high_quality", "critic/lipschitz"], {"Modes", "Critic's slope"}),
    ],
)
def test_missing_columns_leave_their_panel_out(columns: list[str], expected: set[str]) -> None:
    table = {name: TABLE[name] for name in ["step", *columns]}
    figure = final_figure(table, cloud(2), cloud(2), title="t")
    figure_to_rgb(figure)
    assert titles(figure) - {"Samples"} == expected


def test_a_column_of_nothing_is_a_missing_column() -> None:
    table: dict[str, list[Cell]] = {"step": STEPS, "wasserstein/exact": [None, math.nan] * 2}
    assert titles(final_figure(table, cloud(2), cloud(2), title="t")) - {"Samples"} == set()
    figure_to_rgb(final_figure({}, cloud(2), cloud(2), title="t"))


def test_png_is_the_figure_s_pixels_and_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reals, fakes, path = cloud(2), cloud(2), tmp_path / "figure.png"
    save_png(sample_figure(reals, fakes, title="t"), path)
    pixels = figure_to_rgb(sample_figure(reals, fakes, title="t"))
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), pixels)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wganbench.files.os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        save_png(sample_figure(cloud(1), cloud(1), title="other"), path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_animation_holds_the_frames_in_order(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    frames = [np.full((6, 8, 3), colour, np.uint8) for colour in colours]
    frames[-1][:3] = colours[0]
    frames[-1][3] = colours[1]
    animation(frames, tmp_path / "a.gif", 0.25)
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 3 and picture.info["loop"] == 0
        for i, frame in enumerate(frames):
            picture.seek(i)
            assert picture.info["duration"] == 250
            np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), frame)


@pytest.mark.parametrize("sizes", [[], [(4, 4), (4, 5)]])
def test_animations_of_nothing_or_of_unlike_frames_are_refused(
    tmp_path: Path, sizes: list[tuple[int, int]]
) -> None:
    with pytest.raises(ValueError, match="all of one size"):
        animation([np.zeros((*size, 3), np.uint8) for size in sizes], tmp_path / "a.gif", 0.1)
    assert not list(tmp_path.iterdir())


def grey(colour: str) -> float:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue


def test_the_palette_reads_in_grey() -> None:
    field = [np.dot(SCORES(level)[:3], (0.299, 0.587, 0.114)) for level in np.linspace(0, 1, 20)]
    assert np.all(np.diff(field) > 0)
    assert grey(REAL) + 0.2 < grey(FAKE) < min(field) - 0.15
    assert grey(MODE) < min(field) - 0.15
    assert len({style for _, style in CURVES}) == len(CURVES)


def test_no_global_figure_state() -> None:
    before = pyplot.get_fignums()
    figure_to_rgb(sample_figure(cloud(2), cloud(2), title="t"))
    assert pyplot.get_fignums() == before


@pytest.mark.parametrize("scale", [1.0, 1e5])
@pytest.mark.parametrize("stretch", [1, 12])
def test_all_that_is_written_stays_inside_the_figure_and_off_its_neighbours(
    scale: float, stretch: int
) -> None:
    table = {
        name: [value if value is None or name == "step" else scale * float(value) for value in own]
        for name, own in TABLE.items()
    }
    x, y = np.linspace(-5 * stretch, 5 * stretch, 39), np.linspace(-5, 5, 41)
    density = -np.add.outer(y**2, (x / stretch) ** 2), np.array([-16.0, -9.0, -4.0])
    around = CriticGrid(x, y, scale * np.add.outer(y, x), density)
    reals = cloud(2) * [stretch, 1]
    figure = final_figure(
        table, reals, reals, title="a title", modes=reals[:2], critic_grid=around,
        arrows=Arrows(reals[:5], 9 * reals[:5]),
    )  # fmt: skip
    figure_to_rgb(figure)
    left, right = (part.get_tightbbox() for part in figure.subfigs)
    assert left.x1 <= right.x0
    for part in (left, right):
        assert part.x0 >= 0 and part.y0 >= 0
        assert part.x1 <= figure.bbox.x1 and part.y1 <= figure.bbox.y1
    (samples,) = [axes for axes in figure.subfigs[0].axes if "Samples" in titles_of(axes)]
    assert samples.get_legend().get_window_extent().y1 <= samples.xaxis.label.get_window_extent().y0
    assert len(legend_of(samples)) == 5


def test_the_legends_of_an_image_run_leave_each_other_room() -> None:
    table: dict[str, list[Cell]] = {
        "step": [0, 10, 20],
        "modes/covered": [900, 990, 999],
        "modes/ceiling": [998, 998, 998],
        "modes/high_quality": [1.0, 0.8, 0.9],
        "fidelity/fid": [900.0, 20.0, 19.0],
        "fidelity/fid_floor": [2.0, 2.0, 2.0],
        "critic/slope_mean": [1.0, 1.1, 1.2],
        "critic/slope_max": [2.0, 2.1, 2.2],
        "grad_norm/critic": [1.0, 1.1, 1.2],
    }
    images = np.zeros((80, 3, 8, 8))
    figure = final_figure(table, images, images, title="t", notes=CurveNotes(mode_count=1000))
    figure_to_rgb(figure)
    modes = panel(figure, "Modes")
    assert legend_of(modes) == ["FID far", "covered", "judge confident", "ceiling"]
    boxes = [
        legend.get_window_extent()
        for part in figure.subfigs
        for axes in part.axes
        if (legend := axes.get_legend())
    ]
    assert len(boxes) >= 3
    for i, box in enumerate(boxes):
        assert box.x1 <= figure.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:i])


def test_what_the_judge_says_is_grey_where_fid_is_far() -> None:
    table = {
        "step": [0, 10, 20],
        "modes/high_quality": [1.0, 0.8, 0.9],
        "modes/coverage": [0.2, 0.5, 1.0],
        "fidelity/fid": [900.0, 20.0, 19.0],
        "fidelity/fid_floor": [2.0, 2.0, 2.0],
    }
    axes = Figure().add_subplot()
    draw_modes(axes, table, CurveNotes())
    far = [list(line.get_ydata()) for line in axes.lines if line.get_gid() == "far"]
    assert far == [table["modes/coverage"], table["modes/high_quality"]]
    assert [line.get_label() for line in axes.lines].count("FID far") == 1
    (covered,) = [line for line in axes.lines if "fair share" in str(line.get_label())]
    np.testing.assert_array_equal(covered.get_ydata(), [math.nan, 0.5, 1.0])
    (near,) = [line for line in axes.lines if "judge confident" in str(line.get_label())]
    np.testing.assert_array_equal(near.get_ydata(), [math.nan, 0.8, 0.9])
    points = Figure().add_subplot()
    draw_modes(points, {key: table[key] for key in list(table)[:3]}, CurveNotes())
    assert "of samples: high quality" in [line.get_label() for line in points.lines]
