"""Value surfaces: do clipped critics see less of the data than penalised ones?

The generator is held at the data plus N(0, I) noise, and critics train to rest. Three numbers are
read on fresh reals x and fakes y: the share of D's variance that no quadratic in x explains; the
share of the estimate that is owed to the reals' moments above the second,
(E D(x) - E D(g)) / (E D(x) - E D(y)) with g Gaussian of the same mean and covariance; and the dual
attainment, (E D(x) - E D(y)) / (largest slope found x W1). The attainment is an upper bound of the
true one, because the largest slope found is a lower bound.

As in the paper: the three data sets at its scale, the noise, c = 0.01 with RMSProp, the toy code's
lambda = 0.1, and the grid of the images. Differs: the critics are smaller and train to rest, and
there are numbers, where the paper has images alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import REAL, SCORES
from wganbench.reports.drawing import (
    LOSS_COLOURS,
    MARKERS,
    key_below,
    new_figure,
    shade,
    style_axes,
)
from wganbench.studies.rest import untrained_rows
from wganbench.studies.study import Cell, Context, Findings, Study, register_study
from wganbench.studies.value_surfaces.measure import DATA, GRID, REACH, Arm, target_of, train_arms
from wganbench.studies.verdicts import Claim, Evidence, with_primary
from wganbench.training.streams import stream_generator

Rows = Sequence[Mapping[str, Any]]

SOURCE = "arXiv:1704.00028, Section 3.1 and Fig. 1a"
WORDS = {"ring8": "8 Gaussians", "grid25": "25 Gaussians", "swiss_roll": "Swiss roll"}
STATISTICS = {
    "higher_moments": "share of D's variance that no quadratic explains, GP minus clipping",
    "beyond_gaussian": "size of the share of the estimate owed to moments above the second, GP "
    "minus clipping",
    "attainment": "estimate / (slope x W1), GP minus clipping",
}
TEXTS = {
    "higher_moments": "A GP critic's surface holds more than a quadratic, a clipped one's less",
    "beyond_gaussian": "Clipped critics depend less on higher moments of the data than GP critics",
    "attainment": "Clipping wastes the critic's capacity: GP gets nearer to the optimal dual",
}
SPREADS = {
    "higher_moments": {"ring8": 0.03, "grid25": 0.03, "swiss_roll": 0.03},
    "beyond_gaussian": {"ring8": 0.05, "grid25": 0.05, "swiss_roll": 0.05},
    "attainment": {"ring8": 0.05, "grid25": 0.11, "swiss_roll": 0.05},
}
"""Standard deviations of the differences between the seeds 100 to 102."""
SMALLEST = 0.1


def comparison(statistic: str, data: str) -> Claim:
    return Claim(f"{statistic}_{data}", f"{TEXTS[statistic]} ({WORDS[data]})", SOURCE,
                 "comparative", STATISTICS[statistic], "(a share)", SMALLEST,
                 spread=SPREADS[statistic][data])  # fmt: skip


def ignoring(data: str) -> Claim:
    return Claim(f"clip_ignores_{data}", "A clipped critic ignores higher moments altogether "
                 f"({WORDS[data]})", SOURCE, "quantitative",
                 "share of the estimate owed to moments above the second, clipping",
                 "(a share)", SMALLEST, stated=0.0)  # fmt: skip


CLAIMS = with_primary(
    "beyond_gaussian_ring8",
    (
        *(comparison(statistic, data) for statistic in STATISTICS for data in DATA),
        *(ignoring(data) for data in DATA),
    ),
)


def measure(context: Context) -> Findings:
    """All critics, the differences of the paper's two arms, surfaces and numbers."""
    arms = all_arms(context)
    rows = trained_rows(context, arms)
    clip, gp = arms["clip"][0].name, arms["gp"][0].name
    names = [arm.name for group in arms.values() for arm in group]
    return Findings(
        evidence(rows, clip, gp, context.seeds),
        table(rows),
        {"figure": surfaces_figure(rows, names), "numbers": numbers_figure(rows, names)},
        text(rows, names),
    )


def all_arms(context: Context) -> dict[str, list[Arm]]:
    return {
        "clip": [Arm("clip", value) for value in context["clip_values"]],
        "gp": [Arm("gp", value) for value in context["gp_lambdas"]],
    }


def trained_rows(context: Context, arms: Mapping[str, Sequence[Arm]]) -> Rows:
    """Return one row per critic, read from the disk if it was trained before."""
    settings = dict(context.settings.values)
    rows: list[Mapping[str, Any]] = []
    for loss, group in arms.items():
        about = {**settings, "loss": loss, "seeds": context.seeds}
        context.say(f"value_surfaces: {', '.join(arm.name for arm in group)} on {', '.join(DATA)}")

        def compute(group: Sequence[Arm] = group) -> Rows:
            return train_arms(group, context.seeds, settings, context.settings.device)

        rows += context.remember(loss, about, compute)
    return rows


def evidence(rows: Rows, clip: str, gp: str, seeds: Sequence[int]) -> dict[str, Evidence]:
    """Differences seed by seed: both arms train on the same draws."""
    found = {}
    for data in DATA:
        for statistic in STATISTICS:
            pairs = [(compared(rows, gp, data, seed, statistic),
                      compared(rows, clip, data, seed, statistic)) for seed in seeds]  # fmt: skip
            found[f"{statistic}_{data}"] = Evidence(
                [None if a is None or b is None else a - b for a, b in pairs],
                note=f"{gp} minus {clip}",
                undecided=untrained_rows(of(rows, data, gp, clip), "estimate", statistic),
            )
        own = [value(rows, clip, data, seed, "beyond_gaussian") for seed in seeds]
        found[f"clip_ignores_{data}"] = Evidence(
            own,
            note=clip,
            undecided=untrained_rows(of(rows, data, clip), "estimate", "beyond_gaussian"),
        )
    return found


def compared(rows: Rows, arm: str, data: str, seed: int, statistic: str) -> float | None:
    """One number of one critic; the share beyond a Gaussian by its size.

    That share has a sign: moments that lower the estimate are not ignored.
    """
    found = value(rows, arm, data, seed, statistic)
    return abs(found) if found is not None and statistic == "beyond_gaussian" else found


def of(rows: Rows, data: str, *arms: str) -> Rows:
    """Return the rows of some arms on one data set."""
    return [row for row in rows if row["data"] == data and row["arm"] in arms]


def value(rows: Rows, arm: str, data: str, seed: int, key: str) -> float | None:
    """One number of one critic."""
    (row,) = [r for r in rows if (r["arm"], r["data"], r["seed"]) == (arm, data, seed)]
    found: float | None = row[key]
    return found


def table(rows: Rows) -> list[Mapping[str, Cell]]:
    """Return one row per critic, without its surface."""
    return [{key: cell for key, cell in row.items() if key != "surface"} for row in rows]


def text(rows: Rows, names: Sequence[str]) -> list[str]:
    def means(arm: str, key: str) -> str:
        parts = []
        for data in DATA:
            own = [r[key] for r in rows if (r["arm"], r["data"]) == (arm, data)]
            known = [v for v in own if v is not None]
            parts.append(f"{np.mean(known):.3g}" if known else "none")
        return " / ".join(parts)

    moving = untrained_rows(rows)
    steps = sorted({row["steps"] for row in rows})
    return [
        f"Means over seeds, on {' / '.join(WORDS.values())}.",
        *(
            f"{name}: not quadratic {means(name, 'higher_moments')}; of the estimate owed to "
            f"moments above the second {means(name, 'beyond_gaussian')}; dual attainment "
            f"{means(name, 'attainment')}; largest slope {means(name, 'lipschitz')}."
            for name in names
        ),
        f"Critics trained at constant rates for {' or '.join(map(str, steps))} steps; "
        + (moving or "all of them are at rest")
        + ". To be at rest is not to be at the optimum: attainment says how far it is.",
        "A cone |x| is no quadratic either: it answers to some moments above the second without "
        "holding any detail of the data. So the shares say how much of a surface is beyond mean "
        "and covariance, not how fine it is; the images show that. The slope is the largest "
        "found on points and grid, so attainment is an upper bound of the true one.",
    ]  # fmt: skip


register_study(
    Study(
        "value_surfaces",
        "do clipped critics see less of the data than penalised ones?",
        CLAIMS,
        measure,
        "As in arXiv:1704.00028, Fig. 1a: generator held at the data plus N(0, I), the three "
        "data sets, c = 0.01, lambda = 0.1 (its toy code), surfaces on 128 x 128 points over "
        "[-3, 3]^2. Differs: critics of 3 x 64 instead of 3 x 512 units, trained at constant "
        "rates until their estimates rest (budget=paper has the paper's sizes); numbers beside "
        "the images; in budget=full a larger clip value and lambda beside the paper's.",
        {
            "loss.n_critic": "the generator is fixed: there are only critic steps",
            "loss": "the study compares clipping with the gradient penalty",
            "train.decay": "rest is judged at constant rates",
        },
        version=5,
    )
)


# The figures of the study of value surfaces: contours, and the numbers measured on them.
LEVELS = 14
"""Contours of a surface, evenly spaced between its lowest and highest value."""
SHOWN_POINTS = 400
PANELS = {
    "higher_moments": "Not explained by a quadratic",
    "beyond_gaussian": "Owed to moments above the second",
    "attainment": "Dual attainment",
}
UNITS = {
    "higher_moments": "share of D's variance",
    "beyond_gaussian": "share of the estimate",
    "attainment": "estimate / (slope × $W_1$)",
}


def arm_label(name: str) -> str:
    """Return an arm's name in words: ``clip 0.01`` is "clipping, c = 0.01"."""
    loss, number = name.split(" ")
    return f"clipping, c = {number}" if loss == "clip" else f"GP, λ = {number}"


def surfaces_figure(rows: Rows, names: Sequence[str]) -> Figure:
    """Draw contours of the first seed's critic: one row per data set, one column per arm."""
    title = "Value surfaces D(x), generator fixed at the data plus N(0, I)"
    figure = new_figure(3.1 * len(names) + 0.6, 10.2, title)
    panels = figure.subplots(len(DATA), len(names), squeeze=False)
    for i, data in enumerate(DATA):
        points = target_of(data).sample(SHOWN_POINTS, stream_generator(0, "figure", 0)).numpy()
        for j, name in enumerate(names):
            title = f"{WORDS[data]}: {arm_label(name)}"
            draw_surface(panels[i, j], surface_of(rows, name, data), points, title)
    figure.supxlabel("x₁ (data units); light where the critic is high; dots: data", fontsize=10)
    return figure


def surface_of(rows: Rows, name: str, data: str) -> np.ndarray | None:
    """Return the kept surface of one arm on one data set; None if its run diverged."""
    for row in rows:
        if (row["arm"], row["data"]) == (name, data) and row["surface"] is not None:
            return np.asarray(row["surface"]).reshape(GRID, GRID)
    return None


def draw_surface(axes: Axes, surface: np.ndarray | None, points: np.ndarray, title: str) -> None:
    style_axes(axes, title, "", "x₂ (data units)")
    axes.grid(False)
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
    axes.title.set_fontsize(9.5)
    if surface is None:
        axes.text(0, 0, "no finite critic", ha="center")
        return
    line = np.linspace(-REACH, REACH, GRID)
    axes.imshow(surface, cmap=SCORES, origin="lower", extent=(-REACH, REACH, -REACH, REACH))
    axes.contour(line, line, surface, LEVELS, colors="#3b5b7a", linewidths=0.7, linestyles="-")
    axes.plot(points[:, 0], points[:, 1], ".", color=REAL, markersize=1.8)


def numbers_figure(rows: Rows, names: Sequence[str]) -> Figure:
    """Draw the three numbers, one point per critic."""
    figure = new_figure(12.5, 4.4, "What is in the surfaces, one point a seed")
    panels = figure.subplots(1, len(PANELS))
    looks = {name: look_of(name, names, i) for i, name in enumerate(names)}
    for axes, (key, title) in zip(panels, PANELS.items(), strict=True):
        for i, name in enumerate(names):
            shift = 0.16 * (i - (len(names) - 1) / 2)
            for column, data in enumerate(DATA):
                own = [r[key] for r in rows if (r["arm"], r["data"]) == (name, data)]
                known = [value for value in own if value is not None]
                color, marker = looks[name]
                axes.plot([column + shift] * len(known), known, marker, color=color, markersize=6,
                          markeredgecolor="w", markeredgewidth=0.5)  # fmt: skip
        axes.set_xticks(range(len(DATA)), [WORDS[data] for data in DATA])
        style_axes(axes, title, "", UNITS[key])
        axes.axhline(0, color="#999999", linewidth=0.8)
    handles = [Line2D([], [], color=color, marker=marker, linestyle="")
               for color, marker in looks.values()]  # fmt: skip
    key_below(figure, handles, [arm_label(name) for name in names])
    return figure


def look_of(name: str, names: Sequence[str], i: int) -> tuple[str, str]:
    """Return the loss's colour, lighter for its second coefficient, and a marker."""
    loss = name.split(" ")[0]
    same = [other for other in names if other.split(" ")[0] == loss]
    return shade(LOSS_COLOURS[loss], 0.35 * (same.index(name) > 0)), MARKERS[i % len(MARKERS)]
