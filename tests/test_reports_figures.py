"""Figures of a comparison: what is drawn is what was measured."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image
from reported_runs import leave_run

from wganbench.data import load
from wganbench.drawing.canvas import BLUE, GREEN, ORANGE, figure_to_rgb
from wganbench.drawing.images import image_grid
from wganbench.reports.comparison import Comparison, compare
from wganbench.reports.curve_figures import POINTS, draw_curves, mean_curve, thinned
from wganbench.reports.drawing import (
    DARKEST,
    LIGHTEST,
    Drawing,
    axis_label,
    by_rank,
    group_styles,
    shade,
    shown_groups,
)
from wganbench.reports.figures import (
    CELL,
    FIGURES,
    STACKED,
    STRIP,
    draw_animation,
    draw_answer,
    draw_figures,
)
from wganbench.reports.groups import At
from wganbench.reports.samples_figure import draw_samples_figure, read_samples
from wganbench.reports.seed_figures import (
    correlation_text,
    draw_estimate,
    draw_profile,
    profile,
    short,
)
from wganbench.reports.setting_figure import draw_setting, varied_setting
from wganbench.reports.statistics import mean_interval, spearman
from wganbench.runs.record import find_runs

STEPS = (10, 20, 30, 40)
MODES = load("ring8").modes.numpy()
QUALITY = {"bce": 3.0, "clip": 5.0, "gp": 7.0}
Rows = list[tuple[int, dict[str, float]]]


def course(loss: str, seed: int, steps: Sequence[int] = STEPS) -> Rows:
    """A course of training: everything the figures draw, with a little of the seed in it."""
    rng = np.random.default_rng(seed + 100 * len(loss))
    rows: Rows = []
    for step in steps:
        part = step / max(steps)
        exact = 1.2 - part * QUALITY[loss] / 8 + 0.02 * rng.random()
        values = {
            "modes/covered": round(part * QUALITY[loss]) + seed % 2,
            "modes/high_quality": 0.1 * part * QUALITY[loss] + 0.01 * seed,
            "wasserstein/exact": exact,
            "wasserstein/floor": 0.05,
            "wasserstein/estimate": 2 * exact + 0.3 * rng.random(),
            "grad_norm/generator": math.exp(rng.normal()),
            "grad_norm/critic": math.exp(rng.normal()),
            "budget/critic_steps": step * (1 if loss == "bce" else 5),
        }
        if loss != "bce":
            values["wasserstein/estimate_normalized"] = 0.5 * exact + 0.1 * rng.random()
        rows.append((step, values))
    return rows


def leave(
    folder: Path,
    loss: str,
    seed: int,
    rows: Rows | None = None,
    status: str = "completed",
    settings: Mapping[str, float] | None = None,
) -> Path:
    rows = course(loss, seed) if rows is None else rows
    final = dict(rows[-1][1]) if rows else {}
    step = rows[-1][0] if rows else 40
    return leave_run(folder, loss, seed, final, status, rows, step, **(settings or {}))


def leave_samples(run: Path, hit: Sequence[int], d: int = 2, outside: int = 0) -> None:
    """Points on some of the modes, and a few far away."""
    centres = MODES if d == 2 else np.random.default_rng(0).normal(size=(8, d))
    fakes = np.repeat(centres[list(hit)], 10, axis=0)
    far = np.full((outside, d), 50.0)
    counts = np.bincount(list(hit), minlength=8) * 10
    modes = {"modes": centres, "mode_counts": counts} if d == 2 else {}
    reals = np.repeat(centres, 10, axis=0)
    np.savez(run / "samples.npz", reals=reals, fakes=np.r_[fakes, far], **modes)


def three_losses(folder: Path, seeds: int = 5) -> Comparison:
    for seed in range(seeds):
        for loss in QUALITY:
            leave_samples(leave(folder, loss, seed), range(8 - seed))
    return compare(find_runs([folder]))


def drawn(drawing: Drawing | None) -> Figure:
    """The figure, drawn once, so that what matplotlib would warn of has been said."""
    assert drawing is not None
    assert drawing.title and drawing.caption.endswith(".")
    figure_to_rgb(drawing.figure)
    return drawing.figure


def written(comparison: Comparison, folder: Path) -> dict[str, Figure]:
    """What `draw_figures` wrote, by name: to look at without drawing it once more."""
    figures: dict[str, Figure] = {}

    def kept(name: str) -> Callable[[Comparison], Drawing | None]:
        def draw(comparison: Comparison) -> Drawing | None:
            if drawing := FIGURES[name](comparison):
                assert drawing.title and drawing.caption.endswith(".")
                figures[name] = drawing.figure
            return drawing

        return draw

    with pytest.MonkeyPatch.context() as patch:
        rows = {name: kept(name) for name in FIGURES}
        patch.setattr("wganbench.reports.figures.FIGURES", rows)
        assert [picture.name for picture in draw_figures(comparison, folder)[0]] == list(figures)
    return figures


def panel(figure: Figure, title: str) -> Axes:
    (found,) = [axes for axes in figure.axes if axes.get_title(loc="left").startswith(title)]
    return found


def lines(axes: Axes, gid: str) -> list[Line2D]:
    return [line for line in axes.lines if line.get_gid() == gid]


def y(line: Line2D) -> np.ndarray:
    return np.asarray(line.get_ydata(), dtype=float)


def legend_texts(figure: Figure) -> list[str]:
    legends = [*figure.legends, *(a.get_legend() for a in figure.axes)]
    return [text.get_text() for legend in legends if legend for text in legend.get_texts()]


# All of them.
def test_all_figures_are_on_disk_as_png_and_svg_and_nothing_else(tmp_path: Path) -> None:
    comparison = three_losses(tmp_path / "runs", 2)
    pictures, notes = draw_figures(comparison, tmp_path / "out")
    names = [picture.name for picture in pictures]
    assert names == ["answer", "curves", "samples", "estimate", "profile"] and notes == []
    for picture in pictures:
        with Image.open(picture.path(tmp_path / "out", "png")) as image:
            assert min(image.size) > 300
        svg = picture.path(tmp_path / "out", "svg").read_text()
        assert svg.startswith("<?xml") and svg.rstrip().endswith("</svg>")
        assert "n = " in picture.caption and "\n" not in picture.caption
    assert len(list((tmp_path / "out" / "figures").iterdir())) == 2 * len(names)


def test_a_figure_that_fails_to_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = three_losses(tmp_path / "runs", 1)
    monkeypatch.setattr("wganbench.reports.figures.FIGURES", {"answer": draw_answer})
    (ranking,), _ = draw_figures(comparison, tmp_path)
    before = {kind: ranking.path(tmp_path, kind).read_bytes() for kind in ("png", "svg")}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wganbench.files.os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        draw_figures(comparison, tmp_path)
    assert before == {kind: ranking.path(tmp_path, kind).read_bytes() for kind in before}
    assert not list((tmp_path / "figures").glob(".tmp-*"))


def test_what_the_data_do_not_allow_is_left_out_and_removed(tmp_path: Path) -> None:
    leave_run(tmp_path / "runs", "gp", 0, {"loss/critic": 1.0}, step=4)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "curves.png").write_bytes(b"of an earlier comparison")
    assert draw_figures(compare(find_runs([tmp_path / "runs"])), tmp_path) == ([], [])
    assert not list((tmp_path / "figures").iterdir())


def test_one_run_draws_without_band_or_interval(tmp_path: Path) -> None:
    leave_samples(leave(tmp_path, "gp", 0), range(8))
    comparison = compare(find_runs([tmp_path]))
    figures = written(comparison, tmp_path / "out")
    assert figures.keys() == FIGURES.keys() - {"setting"}
    for axes in figures["curves"].axes:
        assert len(lines(axes, "mean")) == 1
        assert not any(np.isfinite(p.vertices).all(1).any() and len(p.vertices) > 0
                       for c in axes.collections for p in c.get_paths())  # fmt: skip
    axes, *_ = figures["answer"].axes
    assert not lines(axes, "interval") and len(lines(axes, "mean")) == 1


def test_the_answer_draws_more_than_eight_groups(tmp_path: Path) -> None:
    for size in range(10):
        leave(tmp_path, "gp", 0, settings={"loss.gp_lambda": float(size + 1)})
    axes = drawn(draw_answer(compare(find_runs([tmp_path])))).axes[0]
    assert len(axes.get_yticks()) == 10


def test_a_note_on_diverged_runs_stands_off_the_letters(tmp_path: Path) -> None:
    for seed in range(8):
        leave(tmp_path, "gp", seed)
        leave(tmp_path, "bce", seed, status="diverged" if seed < 2 else "completed")
    axes = drawn(draw_answer(compare(find_runs([tmp_path])))).axes[0]
    letters = [text for text in axes.texts if text.get_gid() == "letters" and text.get_text()]
    (note,) = [text for text in axes.texts if text.get_text() == "2 of 8 diverged"]
    assert len(letters) == 2, "there is something to stand on"
    inside = note.get_window_extent().padded(-1)  # they may touch
    assert not any(inside.overlaps(letter.get_window_extent()) for letter in letters)


def test_all_diverged_draws_what_there_was(tmp_path: Path) -> None:
    for seed in range(2):
        leave(tmp_path, "gp", seed, status="diverged")
    figures = written(compare(find_runs([tmp_path])), tmp_path / "out")
    assert figures.keys() == {"curves", "estimate"}
    assert all(len(lines(axes, "diverged")) == 2 for axes in figures["curves"].axes)


# Colours.
@pytest.mark.slow
def test_a_loss_has_one_colour_in_every_figure(tmp_path: Path) -> None:
    comparison = three_losses(tmp_path)
    expected = {"bce": BLUE, "clip": ORANGE, "gp": GREEN}
    styles = group_styles(comparison)
    assert {label: style.color.upper() for label, style in styles.items()} == expected
    covered = panel(drawn(draw_curves(comparison)), "Modes covered")
    assert {str(m.get_label()): to_hex(m.get_color()).upper() for m in lines(covered, "mean")} == (
        expected
    )
    (curves,) = drawn(draw_profile(comparison)).axes
    assert {str(m.get_label()): to_hex(m.get_color()).upper() for m in curves.lines} == expected
    ranking, *_ = drawn(draw_answer(comparison)).axes
    found = [to_hex(mean.get_color()).upper() for mean in lines(ranking, "mean")]
    assert found == [GREEN, ORANGE, BLUE], "from best to worst"
    samples = drawn(draw_samples_figure(comparison))
    dots = [to_hex(lines(axes, "fakes")[0].get_color()).upper() for axes in samples.axes]
    assert dots == [color for color in expected.values() for _ in range(5)]


def test_groups_of_one_loss_share_its_hue_and_differ_in_grey(tmp_path: Path) -> None:
    for size in (0.1, 1.0, 10.0):
        leave(tmp_path, "gp", 0, settings={"loss.gp_lambda": size})
    leave(tmp_path, "bce", 0)
    found = group_styles(compare(find_runs([tmp_path])))
    graded = [found[f"gp gp_lambda={size}"] for size in ("0.1", "1", "10")]
    middle = shade(GREEN, (DARKEST + LIGHTEST) / 2)
    assert [style.color for style in graded] == [
        shade(GREEN, DARKEST), middle, shade(GREEN, LIGHTEST)
    ]  # fmt: skip
    assert found["bce"].color.upper() == BLUE
    assert len({str(style.line) for style in found.values()}) == 4
    assert len({style.marker for style in found.values()}) == 4


def test_groups_of_one_loss_alone_take_a_scale_whose_steps_are_seen(tmp_path: Path) -> None:
    """Neighbours differ as much as bce's blue and gp's green do in lightness or hue."""
    for size in (0.1, 1.0, 10.0, 100.0):
        leave(tmp_path, "gp", 0, settings={"loss.gp_lambda": size})
    found = [style.color for style in group_styles(compare(find_runs([tmp_path]))).values()]
    rgb = np.array([to_rgb(color) for color in found])
    light = rgb @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) > 0.08).all() and light[-1] < 0.8, "from dark to light, none lost"
    assert np.linalg.norm(np.diff(rgb, axis=0), axis=1).min() > 0.25


# Axes of what does not vary.
@pytest.mark.parametrize(
    ("tag", "value", "limits"),
    [("modes/covered", 7.0, (0, 8)), ("modes/covered", 0.0, (0, 8)),
     ("modes/high_quality", 0.4, (0, 1)), ("wasserstein/exact", 0.4, (0, 0.5))],
)  # fmt: skip
def test_values_without_spread_stand_on_the_possible_range(
    tmp_path: Path, tag: str, value: float, limits: tuple[float, float]
) -> None:
    for seed in range(3):
        leave_run(tmp_path, "gp", seed, {tag: value})
    comparison = compare(find_runs([tmp_path]), metrics=[tag])
    for draw in (draw_answer, draw_profile):
        (axes,) = drawn(draw(comparison)).axes
        low, high = axes.get_xlim()
        edge = 0.06 * (limits[1] - limits[0])
        assert limits[0] - edge <= low <= limits[0] and limits[1] <= high <= limits[1] + edge


# Over training.
def test_of_very_many_runs_some_are_drawn_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wganbench.reports.drawing.MOST_RUNS", 4)
    monkeypatch.setattr("wganbench.reports.drawing.FEWEST_RUNS", 2)
    comparison = three_losses(tmp_path, 3)
    told = "; drawn are the first 2 runs of a group, by seed, of up to 3"
    for draw in (draw_curves, draw_estimate):
        drawing = draw(comparison)
        assert drawing is not None and told in drawing.caption
    axes = panel(drawn(draw_curves(comparison)), "High quality")
    values = [course("gp", seed)[-1][1]["modes/high_quality"] for seed in range(2)]
    assert y(lines(axes, "mean")[2])[-1] == pytest.approx(np.mean(values))


def test_curves_are_means_over_seeds_with_student_s_band(tmp_path: Path) -> None:
    figure = drawn(draw_curves(three_losses(tmp_path)))
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["Modes covered (of 8)", "High quality", "Exact $W_1$",
                      "Generator's gradient norm", "Critic's gradient norm"]  # fmt: skip
    for axes in figure.axes:
        assert axes.get_xlabel() == "generator steps" and axes.get_ylabel()
        assert len(lines(axes, "mean")) == 3 and not lines(axes, "single")
    courses = [course("gp", seed) for seed in range(5)]
    for title, tag, divisor, bounds in (
        ("Modes covered", "modes/covered", 8, (0, 1)),
        ("Exact", "wasserstein/exact", 1, (0, math.inf)),
    ):
        axes = panel(figure, title)
        values = np.array([[row[tag] for _, row in rows] for rows in courses]) / divisor
        gp = lines(axes, "mean")[2]
        assert gp.get_label() == "gp"
        np.testing.assert_array_equal(gp.get_xdata(), STEPS)
        np.testing.assert_allclose(y(gp), values.mean(0))
        corners = axes.collections[2].get_paths()[0].vertices
        last = mean_interval(values[:, -1], bounds=bounds)
        at_end = corners[corners[:, 0] == STEPS[-1], 1]
        assert at_end.min() == pytest.approx(last.low)
        assert at_end.max() == pytest.approx(last.high)
    (floor,) = lines(panel(figure, "Exact"), "floor")
    assert y(floor)[0] == pytest.approx(0.05) and floor.get_linestyle() == ":"
    norm = panel(figure, "Generator's")
    assert norm.get_yscale() == "log"
    logs = np.log([[row["grad_norm/generator"] for _, row in rows] for rows in courses])
    np.testing.assert_allclose(y(lines(norm, "mean")[2]), np.exp(logs.mean(0)))
    assert legend_texts(figure) == ["bce", "clip", "gp", "floor (reals against reals)"]


def test_few_runs_are_drawn_one_by_one(tmp_path: Path) -> None:
    figure = drawn(draw_curves(three_losses(tmp_path, 2)))
    assert all(len(lines(axes, "single")) == 6 for axes in figure.axes)


def test_curves_run_in_the_budget_that_is_compared_at(tmp_path: Path) -> None:
    three_losses(tmp_path, 2)
    comparison = compare(find_runs([tmp_path]), at=At("critic_steps", 40))
    figure = drawn(draw_curves(comparison))
    axes = panel(figure, "High quality")
    assert axes.get_xlabel() == "critic steps"
    np.testing.assert_array_equal(lines(axes, "mean")[2].get_xdata(), np.multiply(STEPS, 5))
    assert any(np.array_equal(line.get_xdata(), [40, 40]) for line in axes.lines)


def test_unlike_steps_and_missing_values_do_no_harm(tmp_path: Path) -> None:
    leave(tmp_path, "gp", 0, course("gp", 0, (10, 20, 30, 40, 50, 60)))
    leave(tmp_path, "gp", 1, course("gp", 1, (15, 30, 45, 60)))
    leave(tmp_path, "gp", 2, [(step, {"modes/covered": math.nan}) for step in STEPS])
    leave(tmp_path, "gp", 3, [])
    (mean,) = lines(panel(drawn(draw_curves(compare(find_runs([tmp_path])))), "Exact"), "mean")
    np.testing.assert_array_equal(mean.get_xdata(), [30, 60])


def test_mean_curves_by_hand() -> None:
    one = {10: (10.0, 1.0), 20: (20.0, 3.0)}
    other = {10: (12.0, 4.0), 20: (22.0, 5.0), 30: (32.0, 9.0)}
    curve = mean_curve([one, other, {}])
    np.testing.assert_allclose(curve.x, [11, 21, 32])
    np.testing.assert_allclose(curve.mean, [2.5, 4, 9])
    assert np.isfinite(curve.low).tolist() == [True, True, False]
    np.testing.assert_allclose(mean_curve([one, other], log=True).mean, [2, math.sqrt(15), 9])
    apart = mean_curve([{10: (10, 1)}, {20: (20, 2)}, {30: (30, -1)}], log=True)
    np.testing.assert_allclose(apart.mean, [1, 2])
    assert mean_curve([]).x.size == 0
    kept = thinned(range(10_000))
    assert len(kept) == POINTS and kept[0] == 0 and kept[-1] == 9_999


def test_a_value_that_exploded_does_not_flatten_the_rest(tmp_path: Path) -> None:
    leave(tmp_path, "gp", 0)
    rows = course("gp", 1)
    rows[-1][1]["wasserstein/exact"] = 1e300
    leave(tmp_path, "gp", 1, rows, status="diverged")
    axes = panel(drawn(draw_curves(compare(find_runs([tmp_path])))), "Exact")
    assert axes.get_ylim()[1] < 1e300
    assert [text.get_text() for text in axes.texts] == ["cut: values reach 1e+300"]


def test_without_known_modes_their_number_is_drawn_itself(tmp_path: Path) -> None:
    run = leave(tmp_path, "gp", 0)
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"data_modes": None}))
    np.savez(run / "samples.npz", reals=MODES, fakes=MODES)
    comparison = compare(find_runs([tmp_path]))
    axes = panel(drawn(draw_curves(comparison)), "Modes covered")
    assert axes.get_title(loc="left") == "Modes covered" and axes.get_ylabel() == "modes"
    counts = [row["modes/covered"] for _, row in course("gp", 0)]
    np.testing.assert_allclose(y(lines(axes, "mean")[0]), counts)
    (samples,) = drawn(draw_samples_figure(comparison)).axes
    assert lines(samples, "reals") and not lines(samples, "modes")


def test_names_from_run_folders_are_no_formulas(tmp_path: Path) -> None:
    names = {r"$\frac$", "_hidden", "a$b"}
    for seed in range(2):
        leave(tmp_path, "gp", seed)
    for i, name in enumerate(sorted(names), start=1):
        for seed in range(2):
            file = leave(tmp_path, "gp", 10 * i + seed) / "run.json"
            stored = json.loads(file.read_text())
            stored["config"]["data"]["name"] = name  # as a stranger may have written it
            file.write_text(json.dumps(stored))
    comparison = compare(find_runs([tmp_path]), by=["data.name"])
    figures = {name: drawing for name, draw in FIGURES.items() if (drawing := draw(comparison))}
    texts = {name: legend_texts(drawn(drawing)) for name, drawing in figures.items()}
    curves = {text.strip().replace(r"\$", "$") for text in texts["curves"]}
    assert curves >= {"ring8"} | names


# Samples.
def test_samples_say_which_modes_were_missed(tmp_path: Path) -> None:
    leave_samples(leave(tmp_path, "gp", 3), [0, 1, 2, 5, 6, 7], outside=4)
    leave(tmp_path, "gp", 4, status="diverged")
    leave_samples(leave(tmp_path, "bce", 3), range(8))
    figure = drawn(draw_samples_figure(compare(find_runs([tmp_path]))))
    assert [axes.get_title() for axes in figure.axes] == [
        "seed 3, 8/8 modes", "", "seed 3, 6/8 modes", "seed 4"
    ]  # fmt: skip
    assert [axes.get_ylabel() for axes in figure.axes] == ["bce", "", "gp", ""]
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert texts == [[], ["no run"], ["4/64 outside"], ["diverged"]]
    (missed,) = lines(figure.axes[2], "missed")
    np.testing.assert_allclose(missed.get_xydata(), MODES[[3, 4]])
    (circles,) = lines(figure.axes[2], "modes")
    np.testing.assert_allclose(circles.get_xydata(), MODES[[0, 1, 2, 5, 6, 7]])


def test_samples_in_more_dimensions_are_shown_on_two_axes(tmp_path: Path) -> None:
    leave_samples(leave(tmp_path, "gp", 0), range(8), d=5)
    drawing = draw_samples_figure(compare(find_runs([tmp_path])))
    (axes,) = drawn(drawing).axes
    assert drawing is not None and "two principal axes" in drawing.caption
    assert lines(axes, "reals") and lines(axes, "fakes") and axes.get_title() == "seed 0"


def test_samples_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    run = leave(tmp_path, "gp", 0)
    (record,) = find_runs([tmp_path])
    assert read_samples(record) is None
    file = run / "samples.npz"
    for content in (b"", b"PK\x03\x04 broken", b"no archive"):
        file.write_bytes(content)
        assert read_samples(record) is None
    np.savez(file, reals=np.array([{}], dtype=object), fakes=np.zeros((2, 2)))
    assert read_samples(record) is None, "nothing is unpickled"
    np.savez(file, reals=np.zeros((3, 2)))
    assert read_samples(record) is None
    points = {"reals": np.zeros((3, 2)), "fakes": np.full((4, 2), np.nan)}
    np.savez(file, **points, modes=MODES, mode_counts=np.zeros(8))
    (axes,) = drawn(draw_samples_figure(compare([record]))).axes
    assert axes.get_title() == "seed 0, 0/8 modes"
    assert [text.get_text() for text in axes.texts] == ["4/4 outside"]
    for wrong in ({"modes": MODES}, {"modes": MODES.T, "mode_counts": np.zeros(2)},
                  {"modes": MODES, "mode_counts": np.zeros(7)},
                  {"modes": MODES * np.nan, "mode_counts": np.zeros(8)},
                  {"modes": np.zeros((0, 2)), "mode_counts": np.zeros(0)}):  # fmt: skip
        np.savez(file, **points, **wrong)
        samples = read_samples(record)
        assert samples is not None and samples.modes is None


# The varied setting.
def setting_runs(folder: Path) -> Comparison:
    for size in (0.1, 1.0, 10.0):
        for seed in range(3):
            lost = "diverged" if size == 10 and seed == 0 else "completed"
            leave(folder, "gp", seed, status=lost, settings={"loss.gp_lambda": size})
    for seed in range(3):
        leave(folder, "bce", seed)
    return compare(find_runs([folder]), metrics=["wasserstein/exact", "modes/covered"])


def test_the_setting_is_on_a_log_axis_with_seeds_means_and_the_diverged(tmp_path: Path) -> None:
    comparison = setting_runs(tmp_path)
    figure = drawn(draw_setting(comparison))
    assert [axes.get_ylabel() for axes in figure.axes] == [
        axis_label("wasserstein/exact"), "modes covered"
    ]  # fmt: skip
    axes = figure.axes[0]
    assert axes.get_xscale() == "log" and axes.get_xlabel() == "loss.gp_lambda"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0.1", "1", "10"]
    (mean,) = lines(axes, "mean")
    np.testing.assert_allclose(mean.get_xdata(), [0.1, 1, 10])
    ends = np.array([course("gp", seed)[-1][1]["wasserstein/exact"] for seed in range(3)])
    np.testing.assert_allclose(y(mean), [ends.mean(), ends.mean(), ends[1:].mean()])
    assert [len(y(seeds)) for seeds in lines(axes, "seeds")] == [3, 3, 2]
    assert len(lines(axes, "interval")) == 3 and len(lines(axes, "without")) == 1
    assert [text.get_text() for text in axes.texts] == ["33% diverged"]
    assert legend_texts(figure) == ["gp", "bce (has no gp_lambda)"]


def test_settings_without_a_value_of_a_metric_have_their_place_on_its_axis(tmp_path: Path) -> None:
    """The panels of a figure have one axis of settings, with room for marks at both ends."""
    for seed in (0, 1):
        for size in (0.1, 1.0, 10.0):
            known = {"modes/covered": 8.0} | ({"modes/kl": 0.1 * seed} if size < 10 else {})
            leave_run(tmp_path, "gp", seed, known, **{"loss.gp_lambda": size})
    figure = drawn(draw_setting(compare(find_runs([tmp_path]))))
    (covered, kl) = [axes for axes in figure.axes if axes.get_xlabel()]
    assert kl.get_xlim() == pytest.approx(covered.get_xlim(), rel=0.1)
    assert kl.get_xlim()[0] < 0.1 and kl.get_xlim()[1] > 10


def test_there_is_a_setting_only_where_one_number_varies(tmp_path: Path) -> None:
    leave(tmp_path, "gp", 0, settings={"loss.gp_lambda": 1.0})
    leave(tmp_path, "clip", 0)
    assert varied_setting(compare(find_runs([tmp_path]))) is None, "one value each"
    leave(tmp_path, "gp", 0, settings={"loss.gp_lambda": 10.0})
    assert varied_setting(compare(find_runs([tmp_path]))) == "loss.gp_lambda"
    leave(tmp_path, "gp", 0, settings={"loss.gp_lambda": 10.0, "network.width": 16})
    two = compare(find_runs([tmp_path]))
    assert varied_setting(two) is None and draw_setting(two) is None


def test_a_setting_may_be_zero(tmp_path: Path) -> None:
    for size in (0.0, 1.0, 10.0):
        leave(tmp_path, "gp", 0, settings={"loss.gp_lambda": size})
    figure = drawn(draw_setting(compare(find_runs([tmp_path]))))
    assert figure.axes[0].get_xscale() == "symlog"


# The estimate.
def test_estimates_of_one_unit_share_a_panel_and_carry_their_correlation(tmp_path: Path) -> None:
    steps = range(10, 90, 10)
    for seed in range(3):
        for loss in QUALITY:
            leave(tmp_path, loss, seed, course(loss, seed, steps))
    comparison = compare(find_runs([tmp_path]))
    drawing = draw_estimate(comparison)
    figure = drawn(drawing)
    assert drawing is not None and "a correlation alone proves little" in drawing.caption
    normalized, raw = figure.axes
    assert normalized.get_ylabel() == "critic's estimate, slope 1 (data units)"
    assert raw.get_ylabel() == "critic's estimate (score)"
    assert [len(lines(normalized, loss)) for loss in QUALITY] == [0, 3, 3]
    assert [len(lines(raw, loss)) for loss in QUALITY] == [3, 0, 0]
    rows = course("gp", 0, steps)
    np.testing.assert_allclose(
        lines(normalized, "gp")[0].get_xydata(),
        [[r["wasserstein/exact"], r["wasserstein/estimate_normalized"]] for _, r in rows],
    )
    rho = [
        spearman([r["wasserstein/exact"] for _, r in rows],
                 [r["wasserstein/estimate"] for _, r in rows])
        for rows in (course("bce", seed, steps) for seed in range(3))
    ]  # fmt: skip
    text = next(text for text in legend_texts(figure) if text.startswith("bce"))
    assert text == f"bce: {correlation_text(rho)}" and text.endswith("3 runs")
    assert f"rho {short(float(np.median(rho)))} ({short(min(rho))} to" in text
    assert "estimate = exact" in legend_texts(figure)


def test_of_few_points_no_correlation_is_told(tmp_path: Path) -> None:
    leave(tmp_path, "gp", 0, course("gp", 0, range(10, 80, 10)))  # seven
    assert "gp: rho not known" in legend_texts(drawn(draw_estimate(compare(find_runs([tmp_path])))))


# Seeds.
def test_the_profile_counts_diverged_runs_as_failures(tmp_path: Path) -> None:
    for seed, modes in enumerate([8.0, 8.0, 5.0, 2.0]):
        leave(tmp_path, "gp", seed, [(4, {"modes/covered": modes, "wasserstein/exact": modes})])
    leave(tmp_path, "gp", 9, status="diverged")
    leave(tmp_path, "gp", 10, status="running")
    figure = drawn(draw_profile(compare(find_runs([tmp_path]))))
    (axes,) = figure.axes
    (curve,) = axes.lines
    reached = dict(zip(curve.get_xdata(), y(curve), strict=True))
    assert {x: reached[x] for x in (2.0, 5.0, 8.0)} == {2.0: 0.8, 5.0: 0.6, 8.0: 0.4}
    assert curve.get_drawstyle() == "steps-pre" and y(curve)[-1] == 0
    assert legend_texts(figure) == ["gp (n = 5, 1 diverged)"]
    down = compare(find_runs([tmp_path]), metrics=["wasserstein/estimate", "wasserstein/exact"])
    (axes,) = drawn(draw_profile(down)).axes
    (curve,) = axes.lines
    reached = dict(zip(curve.get_xdata(), y(curve), strict=True))
    assert {x: reached[x] for x in (2.0, 5.0, 8.0)} == {2.0: 0.2, 5.0: 0.4, 8.0: 0.8}
    assert curve.get_drawstyle() == "steps-post" and "at most" in axes.get_ylabel()


def test_profiles_by_hand() -> None:
    assert profile((1.0, math.nan), False, (0.0, 2.0)) == ([0.0, 1.0, 2.0], [0.0, 0.5, 0.5])


def test_the_answer_s_figure_goes_from_best_to_worst_with_every_seed(tmp_path: Path) -> None:
    three_losses(tmp_path, 4)
    leave(tmp_path, "clip", 8, status="diverged")
    comparison = compare(find_runs([tmp_path]), metrics=["wasserstein/exact"])
    assert [row.group.label for row in by_rank(comparison, "wasserstein/exact")] == [
        "gp", "clip", "bce"
    ]  # fmt: skip
    drawing = draw_answer(comparison)
    axes, *beside = drawn(drawing).axes
    assert len(beside) == 3 * 3, "three groups, three seeds"
    assert drawing is not None and "what seeds 0 to 2 generated" in drawing.caption
    letters = [text.get_text() for text in axes.texts if text.get_gid() == "letters"]
    assert "".join(letters) == "", "four seeds can tell no two groups apart"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["gp", "clip", "bce"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1], "the best on top"
    assert axes.get_xlabel() == "exact $W_1$ (data units)"
    for place, (loss, mean, seeds, interval) in enumerate(
        zip(["gp", "clip", "bce"], lines(axes, "mean"), lines(axes, "seeds"),
            lines(axes, "interval"), strict=True)
    ):  # fmt: skip
        ends = [course(loss, seed)[-1][1]["wasserstein/exact"] for seed in range(4)]
        assert np.asarray(mean.get_xdata())[0] == pytest.approx(np.mean(ends))
        np.testing.assert_allclose(sorted(np.asarray(seeds.get_xdata())), sorted(ends))
        expected = mean_interval(ends)
        np.testing.assert_allclose(interval.get_xdata(), [expected.low, expected.high])
        assert y(mean)[0] == place
    notes = [text.get_text() for text in axes.texts if text.get_gid() != "letters"]
    assert notes == ["1 of 5 diverged"]


@pytest.mark.parametrize("seeds", [STACKED, STACKED + 1])
def test_more_equal_seeds_than_dots_are_counted(tmp_path: Path, seeds: int) -> None:
    for seed in range(seeds):
        leave(tmp_path, "gp", seed, [(4, {"modes/covered": 8.0})])
    leave(tmp_path, "gp", seeds, [(4, {"modes/covered": 7.0})])
    axes, *_ = drawn(draw_answer(compare(find_runs([tmp_path])))).axes
    counts = [text.get_text() for text in axes.texts if text.get_gid() == "count"]
    assert counts == [f"{seeds} x"] * (seeds > STACKED)


@pytest.mark.slow
def test_of_many_groups_the_best_are_drawn_and_that_is_said(tmp_path: Path) -> None:
    for size in range(1, 15):
        rows = [(4, {"modes/covered": size / 2, "wasserstein/exact": 1.0})]
        leave(tmp_path, "gp", 0, rows, settings={"loss.gp_lambda": float(size)})
    comparison = compare(find_runs([tmp_path]))
    shown = [group.label for group in shown_groups(comparison)]
    assert shown == [f"gp_lambda={size}" for size in range(3, 15)]
    drawing = draw_curves(comparison)
    assert drawing is not None and "12 of 14 groups are drawn" in drawing.caption
    drawn(drawing)
    drawn(draw_setting(comparison))


# The animation.
def leave_frames(run: Path, steps: Sequence[int]) -> None:
    """White images with a black bar that is as long as the step, in per cent."""
    (run / "frames").mkdir()
    for step in steps:
        pixels = np.full((410, 420, 3), 255, np.uint8)
        pixels[:, : 420 * step // 100] = 0
        Image.fromarray(pixels).save(run / "frames" / f"{step:09d}.png")


def test_the_animation_shows_all_groups_at_the_same_step(tmp_path: Path) -> None:
    for seed in (1, 2):
        leave_frames(leave(tmp_path / "runs", "gp", seed), [10, 20, 40])
    leave_frames(leave(tmp_path / "runs", "bce", 2), [10, 30])
    leave(tmp_path / "runs", "clip", 2)
    picture = draw_animation(compare(find_runs([tmp_path / "runs"])), tmp_path)
    assert picture is not None and "seed 2" in picture.caption
    with Image.open(picture.path(tmp_path, "gif")) as gif:
        assert gif.n_frames == 4 and gif.size == (2 * CELL[0], CELL[1] + STRIP)
        found = []
        for i in range(4):
            gif.seek(i)
            dark = np.asarray(gif.convert("L"))[STRIP + 200] < 128
            found.append([round(100 * part.mean()) for part in np.split(dark, 2)])
    expected = [[10, 10], [10, 20], [30, 20], [30, 40]]
    assert found == expected


def test_without_frames_there_is_no_animation(tmp_path: Path) -> None:
    run = leave(tmp_path / "runs", "gp", 0)
    assert draw_animation(compare(find_runs([tmp_path / "runs"])), tmp_path) is None
    (run / "frames").mkdir()
    (run / "frames" / "000000001.png").write_bytes(b"broken")
    assert draw_animation(compare(find_runs([tmp_path / "runs"])), tmp_path) is not None


# Images.
def test_runs_on_pictures_show_small_grids(tmp_path: Path) -> None:
    made = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    for seed in range(2):
        run = leave(tmp_path, "gp", seed)
        np.savez_compressed(run / "samples.npz", reals=made, fakes=made[seed:])
    (leave(tmp_path, "bce", 0) / "samples.npz").write_bytes(b"no archive")
    records = find_runs([tmp_path])
    assert [read_samples(record) for record in records] == [None] * 3
    drawing = draw_samples_figure(compare(records))
    figure = drawn(drawing)
    assert drawing is not None and "images" in drawing.caption
    assert "cross marks" not in drawing.caption and not figure.legends
    bce, _, *grids = figure.axes
    assert [text.get_text() for text in bce.texts] == ["no samples"] and not bce.images
    for seed, axes in enumerate(grids):
        shown = made[seed : seed + 25].transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(axes.images[0].get_array(), image_grid(shown, 5))
        assert axes.get_title().startswith(f"seed {seed}")
