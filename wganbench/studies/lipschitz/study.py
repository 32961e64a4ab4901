"""Is the critic 1-Lipschitz, and what do the penalties and clipping do to its slope?

Critics on ring8 against fixed fakes (reals with Gaussian noise), over lambda for GP and LP and
over c for clipping, c = infinity and lambda = 0 being no constraint at all. Measured:
||grad_x D|| at interpolates, reals and fakes, between the modes and far outside; the largest
slope that climbing finds (below the Lipschitz constant) and the product of the layers' spectral
norms (above it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from wganbench.studies.lipschitz.figure import draw
from wganbench.studies.lipschitz.measure import COEFFICIENT, Row, critics
from wganbench.studies.study import Context, Findings, Study, register_study
from wganbench.studies.verdicts import Claim, Evidence, with_primary

# The results of the study `lipschitz` in sentences.
NAMES = {"gp": "GP, lambda", "lp": "LP, lambda", "clip": "clip, c"}


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
            lines.append(f"- {name} = {value:g}: {medians(group)}.")
    lines.append(
        "Lambda = 0 and c = inf are the same: no constraint. Estimate / largest slope is in the "
        "table: roughly a lower bound of the distance. What this does not show: critics that "
        "race with a generator, wider networks, training far longer; and of a claim that names "
        "every critic it can find counterexamples, never a proof."
    )
    return lines


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
EARLY = 5
"""The final slope without a constraint is compared with that after 1 / EARLY of the steps."""
BEYOND = "largest slope found less 1 (0 if below)"

CLAIMS = with_primary("gp_1_lipschitz", [
    Claim("gp_1_lipschitz", "the gradient penalty (lambda 10) makes the critic 1-Lipschitz",
          f"{GP}, abstract and section 4", "universal", BEYOND, "slope", 0.1),
    Claim("lp_1_lipschitz", "the one-sided penalty (lambda 10) holds the slope at most at 1",
          "arXiv:1709.08894, section 5", "universal", BEYOND, "slope", 0.1),
    Claim("gp_interpolates_10", "the penalty holds the slope near 1 at interpolates (lambda 10)",
          f"{GP}, equation 3", "quantitative", "mean slope at interpolates", "slope", 0.1,
          stated=1.0),
    Claim("gp_interpolates_0.1", "the penalty holds the slope near 1 at interpolates (lambda 0.1)",
          f"{GP}, equation 3, and gan_toy.py", "quantitative", "mean slope at interpolates",
          "slope", 0.1, stated=1.0),
    Claim("clip_1_lipschitz", "clipping ensures that the critic is 1-Lipschitz",
          "teaching material; not claimed in arXiv:1701.07875", "universal",
          f"{BEYOND}, at the c where it is largest", "slope", 0.1),
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
          "log10(largest slope at the end / after a fifth of the steps)", "decades", 0.5,
          spread=0.2),
])  # fmt: skip


def measure(context: Context) -> Findings:
    rows: list[Row] = []
    for loss, values in arms(context).items():
        context.say(f"critics with {loss}, {COEFFICIENT[loss]} of {', '.join(map(str, values))}")
        about = {
            "loss": loss, "coefficients": values, "seeds": context.seeds,
            "settings": dict(context.settings.values),
        }  # fmt: skip
        rows += context.remember(loss, about, partial(critics, context, loss, values))
    for row in rows:
        row["coefficient"] = float(row["coefficient"])
    table = [{key: value for key, value in row.items() if key != "course"} for row in rows]
    return Findings(evidence(rows), table, {"figure": draw(rows)}, paragraphs(rows))


def arms(context: Context) -> dict[str, list[float]]:
    """Return coefficients by loss, always including those that claims name."""
    lambdas = sorted({*context["lambdas"], TOY_LAMBDA, PAPER_LAMBDA})
    clips = sorted({*context["clip_values"], PAPER_CLIP, 10 * PAPER_CLIP, math.inf})
    return {"gp": lambdas, "lp": lambdas, "clip": clips}


def evidence(rows: Sequence[Row]) -> dict[str, Evidence]:
    """Return one number per seed for every claim."""
    seeds = list(dict.fromkeys(row["seed"] for row in rows))
    found = {(row["loss"], row["coefficient"], row["seed"]): row for row in rows}
    clips = sorted({row["coefficient"] for row in rows if row["loss"] == "clip"})

    def of(loss: str, value: float, key: str) -> list[float | None]:
        return [found[loss, value, seed][key] for seed in seeds]

    clipped = [[found["clip", c, seed] for c in clips if math.isfinite(c)] for seed in seeds]
    free = [found["clip", math.inf, seed] for seed in seeds]
    return {
        "gp_1_lipschitz": Evidence([beyond(v) for v in of("gp", PAPER_LAMBDA, "largest")]),
        "lp_1_lipschitz": Evidence([beyond(v) for v in of("lp", PAPER_LAMBDA, "largest")]),
        "gp_interpolates_10": Evidence(of("gp", PAPER_LAMBDA, "interpolates")),
        "gp_interpolates_0.1": Evidence(of("gp", TOY_LAMBDA, "interpolates")),
        "clip_1_lipschitz": Evidence([worst(group, lambda row: row["largest"] - 1)
                                      for group in clipped], note=by_clip(rows, clips)),
        "clip_k_lipschitz": Evidence([worst(group, over_bound) for group in clipped]),
        "clip_slope_1": Evidence([logarithm(v) for v in of("clip", PAPER_CLIP, "largest")]),
        "clip_limits": Evidence([growth(group) for group in clipped]),
        "unbounded": Evidence([late_over_early(row) for row in free],
                              note="a growth that lasts, not a proof that no bound exists"),
    }  # fmt: skip


def beyond(slope: float | None) -> float | None:
    return None if slope is None else max(0.0, slope - 1)


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
    """Return log10(largest slope at the end / largest slope after a fifth of the steps)."""
    early = row["course"][max(0, len(row["course"]) // EARLY - 1)][1]
    late = row["course"][-1][1]
    return math.log10(late / early) if early and late else None


def by_clip(rows: Sequence[Row], clips: Sequence[float]) -> str:
    """Return a sentence on the c at which clipping leaves a slope above 1."""
    steep = {
        c: sum(row["loss"] == "clip" and row["coefficient"] == c and (row["largest"] or 0) > 1.1
               for row in rows) for c in clips if math.isfinite(c)
    }  # fmt: skip
    return "seeds above 1.1: " + ", ".join(f"{n} at c = {c:g}" for c, n in steep.items())


DIFFERS = (
    "As in arXiv:1704.00028: the losses, Adam with betas (0, 0.9), fakes that are reals plus "
    "noise (its Fig. 1a, there with unit noise and data of radius 2). Different: the "
    "generator is fixed, so that the slope is that of the constraint and not of a race; "
    "every loss has the same optimizer and rate, clipping too (arXiv:1701.07875 has RMSProp "
    "at 5e-5, with which weights need thousands of steps to reach c), at most 0.05 c a step; "
    "networks are narrower and steps fewer. No paper states how steep its critics are away "
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
        },
    )
)
