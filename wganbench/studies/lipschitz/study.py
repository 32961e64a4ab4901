"""Is the critic 1-Lipschitz, and what do the penalties and clipping do to its slope?

Critics train to rest on ring8 against fixed fakes (reals with Gaussian noise), over lambda for GP
and LP and over c for clipping; c = infinity is no constraint at all. Measured is ||grad_x D|| at
interpolates, reals and fakes, between the modes and far outside. The Lipschitz constant lies
between the largest slope that climbing finds and the product of the layers' spectral norms. The
smoothness of the gradient is its change nearby, and its agreement between critics that were
trained on other draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import REFERENCE
from wganbench.reports.drawing import LOSS_COLOURS, key_below, new_figure, shade, style_axes
from wganbench.studies.evidence import paired_differences
from wganbench.studies.frozen import optimal_slope
from wganbench.studies.lipschitz.measure import (
    ESTIMATE,
    EXCESS,
    INTERPOLATES,
    LARGEST,
    LOG_LARGEST,
    LOG_ROUGHNESS,
    STATISTICS,
    Row,
    agreement,
    critics,
)
from wganbench.studies.rest import column, untrained_rows
from wganbench.studies.study import Context, Findings, Study, register_study
from wganbench.studies.verdicts import Claim, Evidence, with_primary

# The results of the study `lipschitz` in sentences.
NAMES = {"gp": "GP, lambda", "lp": "LP, lambda", "clip": "clip, c", "bce": "BCE, coefficient"}


def paragraphs(rows: Sequence[Row]) -> list[str]:
    """Return the results in sentences, arm by arm, as medians over seeds."""
    lines = [
        "Medians over seeds of the slope at interpolates, at reals, at fakes, half-way between "
        "reals and far outside; then the largest slope found by climbing (a lower bound of the "
        "Lipschitz constant) and the product of the layers' spectral norms (an upper bound)."
    ]
    for loss, name in NAMES.items():
        own = [row for row in rows if row["loss"] == loss]
        for value in dict.fromkeys(row["coefficient"] for row in own):
            group = [row for row in own if row["coefficient"] == value]
            lines.append(f"- {name} = {value:g}: {medians(group)}; {rest_words(group)}.")
    lines.append(
        "c = inf is no constraint. Estimate / largest slope is in the table: roughly a lower bound "
        "of the distance. What this does not show: critics that race with a generator, and wider "
        "networks; and of a claim that names every critic it can find counterexamples, never a "
        "proof."
    )
    return lines


def rest_words(group: Sequence[Row]) -> str:
    """Return whether the critics of an arm are at rest, and which statistics still move."""
    found = {name: max(row[column(name)] for row in group) for name in STATISTICS}
    moving = [f"{name} by {times:.3g} times" for name, times in found.items() if times >= 1]
    steps = group[0]["steps"]
    if not moving:
        return f"at rest after {steps} steps"
    return f"after {steps} steps these still move: {', '.join(moving)} what is allowed"


def medians(group: Sequence[Row]) -> str:
    lost = sum(row["status"] != "completed" for row in group)
    places = [
        median(group, key) for key in ("interpolates", "reals", "fakes", "between", "outside")
    ]
    words = f"{', '.join(f'{value:.3g}' for value in places)}; " + (
        f"largest {median(group, 'largest'):.3g}, spectral {median(group, 'spectral_product'):.3g}"
    )
    return words + (f"; {lost} of {len(group)} diverged" if lost else "")


def median(group: Sequence[Row], key: str) -> float:
    """Return the median over the seeds that have a value; nan without any."""
    values = [row[key] for row in group if row[key] is not None]
    return float(np.median(values)) if values else math.nan


GP, CLIP = "arXiv:1704.00028", "arXiv:1701.07875"
PAPER_LAMBDA, TOY_LAMBDA, PAPER_CLIP = 10.0, 0.1, 0.01
"""lambda of GP's paper and of its toy code, c of WGAN's paper; the claims name them."""
CLIPS = (0.01, 0.1, 1.0)
"""The clip values of the claims that clipping ensures a slope of at most 1."""
BY_OBJECTIVE = (
    "the objective's own optimum for two points at distance L has the slope 1 + L / (2 lambda)"
)
EARLY = 4
"""The final slope without a constraint is compared with that after 1 / EARLY of the steps."""
FREE = ("clip", math.inf)
BEYOND = "largest slope found less 1 (0 if below)"
NOT_GRANTED = (
    "largest slope found less 1 + L / (2 lambda), L the largest distance between a real and a fake "
    "of the measured points (0 if below)"
)

OTHERS = {"clip": "a clipped one (c 0.01)", "bce": "a BCE discriminator"}

CLAIMS = with_primary("gp_1_lipschitz", [
    Claim("gp_1_lipschitz", "the gradient penalty (lambda 10) makes the critic 1-Lipschitz, but "
          "for L/(2 lambda)", f"{GP}, abstract and section 4", "universal", NOT_GRANTED, "slope",
          EXCESS),
    Claim("lp_1_lipschitz", "the one-sided penalty (lambda 10) holds the slope at most at 1, but "
          "for L/(2 lambda)", "arXiv:1709.08894, section 5", "universal", NOT_GRANTED, "slope",
          EXCESS),
    Claim("gp_interpolates_10", "the penalty holds the slope near 1 at interpolates (lambda 10)",
          f"{GP}, equation 3", "quantitative", "mean slope at interpolates", "slope", 0.1,
          stated=1.0),
    Claim("gp_interpolates_0.1", "the penalty holds the slope near 1 at interpolates (lambda 0.1)",
          f"{GP}, equation 3, and gan_toy.py", "quantitative", "mean slope at interpolates",
          "slope", 0.1, stated=1.0),
    *(Claim(f"clip_1_lipschitz_{c:g}", f"clipping at c = {c:g} ensures that the critic is "
            "1-Lipschitz", "teaching material; not claimed in arXiv:1701.07875", "universal",
            BEYOND, "slope", 0.1) for c in CLIPS),
    Claim("clip_k_lipschitz", "clipping ensures K-Lipschitz, with a K of c and the architecture",
          f"{CLIP}, section 3", "universal",
          "log10(largest slope found / prod c sqrt(fan_in fan_out)), 0 if below", "decades", 1e-3),
    Claim("clip_slope_1", "clipped at the paper's c = 0.01 the critic has a slope of 1",
          "teaching material; not claimed in arXiv:1701.07875", "quantitative",
          "log10 of the largest slope found", "decades", 0.5, stated=0.0),
    Claim("clip_limits", "clipping limits the critic: the smaller c, the smaller its slope",
          f"{CLIP}, section 3; {GP}, section 3.1", "comparative",
          "fitted growth of the largest slope found with c", "decades a decade", 1.0, spread=0.2),
    Claim("unbounded", "without a constraint the slope keeps growing",
          f"{CLIP}, section 3", "comparative",
          "log10(largest slope at the end / after a quarter of the steps)", "decades", 0.5,
          spread=0.2),
    *(Claim(f"smoother_{other}", f"GP's critic has a smoother gradient than {words}",
            "teaching material, of WGAN-GP", "comparative", "log10 of the gradient's relative "
            f"change nearby at the fakes, {other} over GP (lambda 10)", "decades", 0.1, spread=0.05)
      for other, words in OTHERS.items()),
    *(Claim(f"steadier_{other}", f"GP's critic sends samples the same way whatever the draws, more "
            f"than {words}", "teaching material, of WGAN-GP", "comparative", "mean cosine between "
            f"the gradients of critics from other draws, GP (lambda 10) less {other}",
            "of a cosine", 0.1, spread=0.05)
      for other, words in OTHERS.items()),
])  # fmt: skip


def measure(context: Context) -> Findings:
    rows: list[Row] = []
    for loss, values in arms(context).items():
        for value in values:
            context.say(f"critics with {loss} {value:g}, until at rest")
            about = {
                "loss": loss, "coefficient": value, "seeds": context.seeds,
                "settings": dict(context.settings.values),
            }  # fmt: skip
            rows += context.remember(loss, about, partial(critics, context, loss, value))
    for row in rows:
        row["coefficient"] = float(row["coefficient"])
    table = [{key: value for key, value in row.items() if key not in INNER} for row in rows]
    return Findings(evidence(rows), table, {"figure": draw(rows)}, paragraphs(rows))


INNER = ("course", "directions")
"""Parts of a row that are left out of the table."""


def arms(context: Context) -> dict[str, list[float]]:
    """Return coefficients by loss, always including those that claims name."""
    lambdas = sorted({*context["lambdas"], TOY_LAMBDA, PAPER_LAMBDA})
    clips = sorted({*context["clip_values"], *CLIPS, math.inf})
    return {"gp": lambdas, "lp": lambdas, "clip": clips, "bce": [0.0]}


def evidence(rows: Sequence[Row]) -> dict[str, Evidence]:
    """Return one number per seed for every claim; critics that are not at rest decide nothing."""
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["loss"], row["coefficient"]), []).append(row)
    gp, lp, toy = groups["gp", PAPER_LAMBDA], groups["lp", PAPER_LAMBDA], groups["gp", TOY_LAMBDA]
    clips = sorted(c for loss, c in groups if loss == "clip" and math.isfinite(c))
    clipped = [list(group) for group in zip(*(groups["clip", c] for c in clips), strict=True)]
    every = [row for group in clipped for row in group]
    others = {"clip": groups["clip", PAPER_CLIP], "bce": groups["bce", 0.0]}
    return {
        "gp_1_lipschitz": over(gp, not_granted, LARGEST, ESTIMATE, note=granted_words(gp)),
        "lp_1_lipschitz": over(lp, not_granted, LARGEST, ESTIMATE, note=granted_words(lp)),
        "gp_interpolates_10": over(gp, at_interpolates, INTERPOLATES, ESTIMATE),
        "gp_interpolates_0.1": over(toy, at_interpolates, INTERPOLATES, ESTIMATE),
        # Clipping is said to ensure these of any weights, so any critic can refute them.
        **{f"clip_1_lipschitz_{c:g}": ensured(groups["clip", c]) for c in CLIPS},
        "clip_k_lipschitz": Evidence([worst(group, over_bound) for group in clipped]),
        "clip_slope_1": over(groups["clip", PAPER_CLIP], lambda row: logarithm(row["largest"]),
                             LOG_LARGEST),
        "clip_limits": Evidence([growth(group) for group in clipped],
                                undecided=untrained_rows(every, LOG_LARGEST)),
        # A critic without a constraint does not come to rest; that is the claim.
        "unbounded": Evidence([late_over_early(row) for row in groups[FREE]],
                              note="a growth that lasts, not a proof that no bound exists",
                              undecided=looked_once(groups[FREE])),
        **{f"smoother_{name}": Evidence([log_ratio(a["roughness"], b["roughness"])
                                         for a, b in zip(own, gp, strict=True)],
                                        undecided=judged_untrained(gp, own))
           for name, own in others.items()},
        **{f"steadier_{name}": Evidence(paired_differences(steadiness(gp), steadiness(own)),
                                        method="Student's t over jackknife pseudo-values",
                                        undecided=judged_untrained(gp, own))
           for name, own in others.items()},
    }  # fmt: skip


def over(
    group: Sequence[Row], statistic: Callable[[Row], float | None], *rests: str, note: str = ""
) -> Evidence:
    """Return the evidence of critics that differ in their seed; ``rests`` names what must rest."""
    untrained = untrained_rows(group, *rests)
    return Evidence([statistic(row) for row in group], note=note, undecided=untrained)


def at_interpolates(row: Row) -> float | None:
    slope: float | None = row["interpolates"]
    return slope


def ensured(group: Sequence[Row]) -> Evidence:
    """Return the excess of the slope over 1 of clipped critics, whether at rest or not."""
    return Evidence([beyond(row["largest"]) for row in group], note=bound_words(group))


def judged_untrained(gp: Sequence[Row], other: Sequence[Row]) -> str:
    """Return why a comparison of roughness with GP is undecided: a critic was not trained."""
    return untrained_rows(gp, LOG_ROUGHNESS, ESTIMATE) or untrained_rows(other, LOG_ROUGHNESS)


def steadiness(group: Sequence[Row]) -> list[float | None]:
    return agreement([row["directions"] for row in group])


def log_ratio(a: float | None, b: float | None) -> float | None:
    """Return log10(a / b); None unless both are above 0."""
    return math.log10(a / b) if a and b else None


def bound_words(group: Sequence[Row]) -> str:
    """Return a sentence on the bound of any weights within +-c, which decides by arithmetic."""
    bound = group[0]["clip_bound"]
    word = "so it holds by arithmetic" if bound <= 1 else "which allows more than 1"
    return f"any weights within c have a slope of at most {bound:.2g} in this network, {word}"


def beyond(slope: float | None) -> float | None:
    return None if slope is None else max(0.0, slope - 1)


def granted(row: Row) -> float:
    """Return L / (2 lambda): what the objective's own optimum adds to a slope of 1."""
    return float(optimal_slope(row["reach"], row["coefficient"]) - 1)


def not_granted(row: Row) -> float | None:
    return None if row["largest"] is None else max(0.0, row["largest"] - 1 - granted(row))


def granted_words(group: Sequence[Row]) -> str:
    """Return a sentence on the largest slopes that the objective grants."""
    most = [1 + granted(row) for row in group]
    return f"{BY_OBJECTIVE}: {min(most):.3g} to {max(most):.3g} at the largest L"


def worst(group: Sequence[Row], violation: Callable[[Row], float]) -> float | None:
    """Return a seed's largest violation over all c; None if every critic diverged."""
    values = [violation(row) for row in group if row["largest"] is not None]
    return max(0.0, *values) if values else None


def over_bound(row: Row) -> float:
    """Return the decades above the bound of clipping at c; a flat critic is within it."""
    return math.log10(row["largest"] / row["clip_bound"]) if row["largest"] > 0 else 0.0


def logarithm(slope: float | None) -> float | None:
    return math.log10(slope) if slope else None


def growth(group: Sequence[Row]) -> float | None:
    """Return decades of slope per decade of c, from a line fitted to log10 of both."""
    pairs = [(math.log10(row["coefficient"]), logarithm(row["largest"])) for row in group]
    if len(pairs) < 2 or any(slope is None for _, slope in pairs):
        return None
    table = np.array(pairs, dtype=np.float64)
    return float(np.polyfit(table[:, 0], table[:, 1], 1)[0])


def late_over_early(row: Row) -> float | None:
    """Return log10(largest slope at the end / largest slope after a quarter of the steps)."""
    slopes = dict(row["course"])
    last = row["course"][-1][0]
    early, late = slopes.get(last // EARLY), slopes[last]
    return math.log10(late / early) if early and late else None


def looked_once(group: Sequence[Row]) -> str:
    """Return why growth is undecided: the steps end at the first look, without one at a quarter."""
    steps = [step for step, _ in group[0]["course"]]
    if steps[-1] // EARLY in steps:
        return ""
    return f"the critics were looked at after {steps[-1]} steps alone: a larger most= looks again"


DIFFERS = (
    "As in arXiv:1704.00028: the losses, Adam with betas (0, 0.9), fakes that are reals plus "
    "noise (its Fig. 1a, there with unit noise and data of radius 2). Different: the "
    "generator is fixed, so that the slope is that of the constraint and not of a race; "
    "every loss has the same optimizer and rate, clipping too (arXiv:1701.07875 has RMSProp "
    "at 5e-5, with which weights need thousands of steps to reach c), at most 0.05 c a step; "
    "networks are narrower. No paper states how steep its critics are away "
    "from interpolates."
)

register_study(
    Study(
        "lipschitz",
        "is the critic 1-Lipschitz, and what do the penalty and clipping do to its slope?",
        CLAIMS,
        measure,
        DIFFERS,
        protects={
            "loss": "it compares gp, lp, clip and no constraint",
            "optimizer": "every loss has the same one, so that only the constraint differs",
            "n_critic": "the generator does not move",
            "train.decay": "rest is judged at constant rates",
        },
        version=5,
        rule=2,
    )
)


# The figure of `lipschitz`: slopes against lambda and c, and through training.
CURVES: tuple[tuple[str, str, Any, str, float], ...] = (
    ("spectral_product", "product of spectral norms (upper bound)", (0, (1.5, 1.2)), "", -0.5),
    ("largest", "largest slope found (lower bound)", "-", "^", -0.25),
    ("interpolates", "mean at interpolates", "-", "o", 0.0),
    ("reals", "mean at reals", (0, (5, 1.5)), "s", 0.1),
    ("fakes", "mean at fakes", (0, (5, 1.5, 1, 1.5)), "D", 0.2),
    ("between", "mean half-way between reals", (0, (3, 3)), "v", 0.3),
    ("outside", "mean far outside", (0, (8, 2, 1, 2)), "X", 0.4),
)
"""Key, words, line, marker, and how much lighter (or darker) than the loss's colour."""
TITLES = {"gp": "GP", "lp": "LP, one-sided", "clip": "Weight clipping"}
COURSES = (("clip", math.inf, "no constraint", "-"), ("clip", 0.1, "clip, c = 0.1", "--"),
           ("gp", 0.1, "GP, $\\lambda$ = 0.1", (0, (5, 1.5, 1, 1.5))),
           ("gp", 10.0, "GP, $\\lambda$ = 10", "-"),
           ("lp", 10.0, "LP, $\\lambda$ = 10", ":"))  # fmt: skip


def draw(rows: Sequence[Row]) -> Figure:
    """Draw slopes by coefficient in three panels, and courses in the fourth.

    The panel of lp has the vertical axis of gp's.
    """
    figure = new_figure(
        13.4, 5.2, "How steep critics are, where the constraint looks and elsewhere"
    )
    panels = figure.subplots(1, 4, width_ratios=[1, 1, 1, 1.15])
    for axes, loss in zip(panels, TITLES, strict=False):
        symbol = "clip value $c$" if loss == "clip" else r"penalty weight $\lambda$"
        style_axes(axes, TITLES[loss], symbol, r"slope $\|\nabla_x D\|$ (score per data unit)"
              if loss == "gp" else "")  # fmt: skip
        by_coefficient(axes, [row for row in rows if row["loss"] == loss])
        if loss == "lp":
            axes.sharey(panels[0])
    style_axes(panels[3], "Through training", "critic steps", "largest slope at the points seen")
    through_training(panels[3], rows)
    handles = [
        Line2D([], [], color=shade("#555555", shift), linestyle=line, marker=marker, markersize=5)
        for _, _, line, marker, shift in CURVES
    ]
    labels = [words for _, words, _, _, _ in CURVES]
    key_below(figure, [*handles, Line2D([], [], **REFERENCE)], [*labels, "slope 1"])
    return figure


def by_coefficient(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw medians over seeds, and a band of all seeds around the largest slope."""
    values = sorted({row["coefficient"] for row in rows})
    places = np.arange(len(values))
    for key, _, line, marker, shift in CURVES:
        groups = [[row[key] for row in rows if row["coefficient"] == value] for value in values]
        color = shade(LOSS_COLOURS[rows[0]["loss"]], shift)
        axes.plot(places, [middle(group) for group in groups], color=color, linestyle=line,
                  marker=marker, markersize=4.5, linewidth=1.5)  # fmt: skip
        if key == "largest":
            low, high = ([end(group) for group in map(known, groups)] for end in (least, most))
            axes.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)
    axes.axhline(1, **REFERENCE)
    axes.set_yscale("log")
    axes.set_xticks(places, ["$\\infty$" if math.isinf(v) else f"{v:g}" for v in values])


def through_training(axes: Axes, rows: Sequence[Row]) -> None:
    for loss, value, label, line in COURSES:
        own = [r for r in rows if r["loss"] == loss and r["coefficient"] == value]
        if not own:
            continue
        color = LOSS_COLOURS["wasserstein" if math.isinf(value) else loss]
        color = shade(color, -0.4) if value == 10 and loss == "gp" else color
        steps = [step for step, _ in own[0]["course"]]
        columns = zip(*([slope for _, slope in row["course"]] for row in own), strict=True)
        groups = [known(list(column)) for column in columns]
        axes.plot(steps, [middle(group) for group in groups], color=color, linestyle=line,
                  linewidth=1.8, label=label)  # fmt: skip
        axes.fill_between(steps, [least(g) for g in groups], [most(g) for g in groups],
                          color=color, alpha=0.2, linewidth=0)  # fmt: skip
    axes.axhline(1, **REFERENCE)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.legend(frameon=False, fontsize=8.5, handlelength=3)


def known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def middle(values: Sequence[float | None]) -> float:
    finite = known(values)
    return float(np.median(finite)) if finite else math.nan


def least(values: Sequence[float]) -> float:
    return min(values, default=math.nan)


def most(values: Sequence[float]) -> float:
    return max(values, default=math.nan)
