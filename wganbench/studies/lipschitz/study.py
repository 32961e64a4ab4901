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

import numpy as np

from wganbench.studies.evidence import paired_differences
from wganbench.studies.lipschitz.figure import draw
from wganbench.studies.lipschitz.measure import (
    ESTIMATE,
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
          0.05),
    Claim("lp_1_lipschitz", "the one-sided penalty (lambda 10) holds the slope at most at 1, but "
          "for L/(2 lambda)", "arXiv:1709.08894, section 5", "universal", NOT_GRANTED, "slope",
          0.05),
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
                              note="a growth that lasts, not a proof that no bound exists"),
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
    return float(row["reach"] / (2 * row["coefficient"]))


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
    early, late = slopes[last // EARLY], slopes[last]
    return math.log10(late / early) if early and late else None


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
        version=4,
        rule=2,
    )
)
