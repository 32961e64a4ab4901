"""Two Gaussians that move apart: which distance still grows, which gradient is left?

N(0, 1) is compared with N(mu, 1). The exact curves are the earth mover's distance, the
Jensen-Shannon and the Kullback-Leibler divergence, and the gradient that the fakes' mean receives
under the optimal critic of each objective. A discriminator (read by both generators of BCE) and
critics with clipping, GP and LP are trained, one for each mu and seed, with the generator frozen
and at constant rates. A trained point counts only if its critics are at rest, or if its
discriminator is right at 99 % of the points.

As in the paper: two Gaussians far apart, discriminator against critic. Differs: the paper shows
one distance and gives no numbers or code; here mu runs from 0 to 20, the exact curves stand beside
the trained points, and expectations are integrals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import BLACK, BLUE, GREY, REFERENCE, VERMILION
from wganbench.errors import ConfigError
from wganbench.reports.drawing import LINES, LOSS_COLOURS, key_below, new_figure, style_axes
from wganbench.studies.frozen import optimal_slope
from wganbench.studies.rest import untrained_rows
from wganbench.studies.study import Cell, Context, Findings, Study, log10, register_study
from wganbench.studies.two_gaussians import exact
from wganbench.studies.two_gaussians.measure import OBJECTIVES, train_loss
from wganbench.studies.verdicts import Claim, Evidence, with_primary

Rows = Sequence[Mapping[str, Any]]

WGAN, PRINCIPLES = "arXiv:1701.07875", "arXiv:1701.04862"
LOST = "log10 of the largest gradient / the gradient at the largest mu"
RATIO = "mean over mu of raw estimate / (earth mover's distance x what the penalty grants)"
BENT = "largest / smallest of these ratios over mu, minus 1"
VANISHES = "The discriminator's gradient vanishes as the distributions move apart"
STAYS = "The critic's gradient does not vanish as the distributions move apart"
CRITICS = {"clip": "clipping, c 0.01 unless set", "gp": "WGAN-GP, lambda 10 unless set",
           "lp": "WGAN-LP, lambda 10 unless set"}  # fmt: skip


def vanishes(name: str, words: str, size: float, spread: float | None) -> Claim:
    source = f"{WGAN}, Fig. 2; {PRINCIPLES}, Theorem 2.4"
    return Claim(name, f"{VANISHES} ({words})", source, "comparative", LOST, "decades", size,
                 spread=spread, exact=spread is None)  # fmt: skip


CLAIMS = with_primary("trained_saturating", (
    Claim("js_saturates", "The earth mover's distance keeps growing where the Jensen-Shannon "
          "divergence has saturated", f"{WGAN}, Section 2 and Fig. 2", "comparative",
          "share of the whole rise over the second half of mu, earth mover's minus JS",
          "of the rise", 0.25, exact=True),
    Claim("continuity", "Between parallel lines the earth mover's distance is continuous, the "
          "Jensen-Shannon divergence jumps", f"{WGAN}, Example 1", "comparative",
          "JS / ln 2 minus earth mover's distance, at a distance of 1e-6", "of the largest", 0.5,
          exact=True),
    Claim("kl_saturates", "Unlike the Jensen-Shannon divergence, the Kullback-Leibler divergence "
          "of two Gaussians keeps growing", f"{WGAN}, Section 2", "comparative",
          "share of the whole rise over the second half of mu, KL minus JS", "of the rise", 0.25,
          exact=True),
    Claim("kl_finite", "Between parallel lines the Kullback-Leibler divergence is finite",
          f"{WGAN}, Example 1 says no", "universal", "KL at a distance of 1e-6", "nats", 1e6,
          exact=True),
    Claim("amount", "The earth mover's distance says how far mass is away, the Jensen-Shannon "
          "divergence does not", f"{WGAN}, Section 2", "comparative",
          "relative fall when a mass 20 away moves to 1, earth mover's minus JS", "of the value",
          0.5, exact=True),
    Claim("share", "The earth mover's distance is proportional to the amount that is away",
          f"{WGAN}, Section 2", "quantitative", "W1(p) / (p W1(1)) for shares p of the mass",
          "(a ratio)", 0.01, stated=1.0, exact=True),
    Claim("share_js", "The Jensen-Shannon divergence is proportional to the amount that is away",
          "held against the earth mover's distance", "quantitative",
          "JS(p) / (p JS(1)) for shares p of the mass", "(a ratio)", 0.01, stated=1.0, exact=True),
    vanishes("exact_saturating", "saturating, optimal", 2.0, None),
    vanishes("exact_non_saturating", "non-saturating, optimal", 2.0, None),
    Claim("exact_wasserstein", f"{STAYS} (optimal critic)", f"{WGAN}, Fig. 2", "universal",
          LOST, "decades", 2.0, exact=True),
    vanishes("trained_saturating", "saturating, trained", 2.0, 0.3),
    vanishes("trained_non_saturating", "non-saturating, trained", 2.0, 0.3),
    *(Claim(f"stays_{name}", f"{STAYS} ({words}, trained)", f"{WGAN}, Fig. 2", "universal",
            "log10 of the largest / the smallest gradient over mu", "decades", 2.0)
      for name, words in CRITICS.items()),
    *(Claim(f"estimate_{name}", f"The critic's loss is the earth mover's distance ({words})",
            f"{WGAN}, Section 3 and 4.2", "quantitative", RATIO, "(a ratio)", 0.1, stated=1.0)
      for name, words in CRITICS.items()),
    *(Claim(f"proportional_{name}", "The critic's loss is the earth mover's distance up to a "
            f"constant factor ({words})", f"{WGAN}, Section 3", "universal", BENT,
            "(a ratio)", 0.1)
      for name, words in CRITICS.items()),
))  # fmt: skip


def measure(context: Context) -> Findings:
    """Compute the exact curves and the trained points. Raises ConfigError."""
    largest = context["largest_mu"]
    if not min(largest, *context["mus"]) > 0:
        raise ConfigError("largest_mu and mus must be above 0, where the two Gaussians are one")
    rows = trained_rows(context)
    return Findings(
        exact_evidence(largest)
        | trained_evidence(rows, context.seeds, coefficients(context), context["gp_lambda"]),
        table(rows),
        {"figure": two_gaussians_figure(rows, largest, context["gp_lambda"])},
        text(rows, largest),
    )


def coefficients(context: Context) -> dict[str, str]:
    """Return the coefficient of each critic in words."""
    penalty = (
        f"lambda {context['gp_lambda']:g}: granted is 1 + mu / (2 lambda), the objective's own "
        "optimum for two points"
    )
    return {"clip": f"c {context['clip_value']:g}", "gp": penalty, "lp": penalty}


def trained_rows(context: Context) -> Rows:
    """Return all trained points, read from the disk if they were trained before."""
    settings = {key: value for key, value in context.settings.values.items() if key != "largest_mu"}
    rows: list[Mapping[str, Any]] = []
    for loss in OBJECTIVES:
        about = {**settings, "loss": loss, "seeds": context.seeds}
        context.say(f"two_gaussians: {loss}, {len(context['mus'])} distances")

        def compute(loss: str = loss) -> Rows:
            return train_loss(
                loss, context["mus"], context.seeds, settings, context.settings.device
            )

        rows += context.remember(loss, about, compute)
    return rows


# The exact claims.
def exact_evidence(largest: float) -> dict[str, Evidence]:
    mus = np.linspace(largest / 400, largest, 400)
    half = largest / 2
    tiny = 1e-6
    js_rise = late_rise(exact.jensen_shannon, half, largest)
    near, far = exact.moved_share(0.5, 1.0), exact.moved_share(0.5, 20.0)
    fall = {name: 1 - distance(*near) / distance(*far) for name, distance in OF_MASSES.items()}
    jump = exact.lines_jensen_shannon(tiny) / math.log(2) - exact.lines_earth_mover(tiny)
    found = {
        "js_saturates": [late_rise(exact.earth_mover, half, largest) - js_rise],
        "kl_saturates": [late_rise(exact.kullback_leibler, half, largest) - js_rise],
        "continuity": [jump],
        "kl_finite": [exact.lines_kullback_leibler(tiny)],
        "amount": [fall["earth_mover"] - fall["jensen_shannon"]],
        "share": shares(exact.earth_mover_of),
        "share_js": shares(exact.jensen_shannon_of),
        **{f"exact_{name}": [exact.decades_lost(name, mus)] for name in exact.GRADIENTS},
    }
    moving = ("js_saturates", "kl_saturates", *(f"exact_{name}" for name in exact.GRADIENTS))
    return {
        name: Evidence(values, undecided=exact.too_near(largest) if name in moving else "")
        for name, values in found.items()
    }


OF_MASSES = {"earth_mover": exact.earth_mover_of, "jensen_shannon": exact.jensen_shannon_of}
SHARES = (0.5, 0.01, 0.1, 0.9)


def shares(distance: Callable[[exact.Masses, exact.Masses], float]) -> list[float]:
    """Return distance(p) / (p distance(1)) for each share p of the mass that lies 20 away."""
    whole = distance(*exact.moved_share(1.0, 20.0))
    return [distance(*exact.moved_share(p, 20.0)) / (p * whole) for p in SHARES]


def late_rise(distance: Callable[[float], float], half: float, largest: float) -> float:
    """The share of a distance's rise from 0 that happens in the second half."""
    return (distance(largest) - distance(half)) / distance(largest)


# The trained claims.
def trained_evidence(
    rows: Rows, seeds: Sequence[int], coefficients: Mapping[str, str], gp_lambda: float
) -> dict[str, Evidence]:
    """Return one number per seed from its converged points.

    A claim on the gradient is undecided without at least two of them, the largest mu among them;
    one on the estimate, which is a mean or a range over all mu, without every one of them.
    """
    mus = {row["mu"] for row in rows}
    largest = max(mus, default=0.0)

    def over_seeds(
        method: str,
        statistic: Callable[[Sequence[Mapping[str, Any]]], float],
        needed: int = 2,
        near: str = "",
    ) -> Evidence:
        points = [converged(rows, method, seed) for seed in seeds]
        values = [statistic(own) if len(own) > 1 else None for own in points]
        counted = sorted({point["mu"] for own in points for point in own})
        own = f"{coefficients[method]}; " if method in coefficients else ""
        note = f"{own}converged at mu = {', '.join(f'{mu:g}' for mu in counted) or 'none'}"
        short = any(len(own) < needed or own[-1]["mu"] < largest for own in points)
        mine = [row for row in rows if row["method"] == method and not row["converged"]]
        untrained = untrained_rows(mine) if short else ""
        return Evidence(values, note=note, undecided=untrained or near)

    found, near = {}, exact.too_near(largest)
    for name in ("saturating", "non_saturating"):
        found[f"trained_{name}"] = over_seeds(name, fall_at_the_end, near=near)
    for name in CRITICS:
        found[f"stays_{name}"] = over_seeds(name, fall_anywhere, near=near)
        grants = (lambda mu: 1.0) if name == "clip" else partial(optimal_slope, gp_lambda=gp_lambda)
        found[f"estimate_{name}"] = over_seeds(name, partial(mean_ratio, grants), len(mus))
        found[f"proportional_{name}"] = over_seeds(name, partial(bend, grants), len(mus))
    return found


def converged(rows: Rows, method: str, seed: int) -> list[Mapping[str, Any]]:
    """The converged points of one method and seed, by mu."""
    own = [row for row in rows if (row["method"], row["seed"]) == (method, seed)]
    return sorted((row for row in own if row["converged"]), key=lambda row: row["mu"])


def fall_at_the_end(points: Rows) -> float:
    """log10 of the largest gradient over that at the largest mu; 0 counts as `LEAST_SIZE`."""
    gradients = [point["gradient"] for point in points]
    return log10(max(gradients)) - log10(gradients[-1])


def fall_anywhere(points: Rows) -> float:
    """log10 of the largest gradient over the smallest, which is 0 for a critic whose units died."""
    gradients = [point["gradient"] for point in points]
    return log10(max(gradients)) - log10(min(gradients))


Grant = Callable[[float], float]
"""What a critic's own objective makes of the distance at its optimum, by mu."""


def ratios(grants: Grant, points: Rows) -> list[float]:
    """The raw estimate over the exact distance times what is granted, point by point."""
    return [p["estimate"] / (exact.earth_mover(p["mu"]) * grants(p["mu"])) for p in points]


def mean_ratio(grants: Grant, points: Rows) -> float:
    return float(np.mean(ratios(grants, points)))


def bend(grants: Grant, points: Rows) -> float:
    """0 when the estimate is proportional to the distance, inf when one is not above 0."""
    found = ratios(grants, points)
    return max(found) / min(found) - 1 if min(found) > 0 else math.inf


# In words.
def table(rows: Rows) -> list[Mapping[str, Cell]]:
    """Return one row per trained point, with the exact values."""

    def exact_gradient(row: Mapping[str, Any]) -> float:
        name = row["method"] if row["method"] in exact.GRADIENTS else "wasserstein"
        return math.exp(exact.GRADIENTS[name](row["mu"]))

    return [
        {
            **row,
            "exact_gradient": exact_gradient(row),
            "earth_mover": exact.earth_mover(row["mu"]),
            "jensen_shannon": exact.jensen_shannon(row["mu"]),
            "kullback_leibler": exact.kullback_leibler(row["mu"]),
        }
        for row in rows
    ]


def text(rows: Rows, largest: float) -> list[str]:
    def mean_at(method: str, key: str) -> str:
        """The mean over seeds at each mu with a converged point."""
        own = [row for row in rows if row["method"] == method and row["converged"]]
        parts = []
        for mu in sorted({row["mu"] for row in own}):
            values = [row[key] / (mu if key == "estimate" else 1) for row in own if row["mu"] == mu]
            parts.append(f"{np.mean(values):.3g} at {mu:g}")
        return ", ".join(parts) or "no converged point"

    ends = {name: exact.vanishing_point(name, largest) for name in exact.GRADIENTS}
    saturating = f"from mu = {ends['saturating']:.2f} on" if ends["saturating"] else "nowhere"
    others = [name for name in ("non_saturating", "wasserstein") if ends[name] is None]
    counted = sum(bool(row["converged"]) for row in rows)
    return [
        f"Exact: the saturating gradient is under 1 % of its largest {saturating} (up to mu = "
        f"{largest:g}); never: {', '.join(others) or 'none'}. At mu = 4, 10 and {largest:g} it is "
        + ", ".join(f"{math.exp(exact.log_gradient_saturating(mu)):.2g}" for mu in (4, 10, largest))
        + "; the non-saturating one "
        + ", ".join(
            f"{math.exp(exact.log_gradient_non_saturating(mu)):.3g}" for mu in (4, 10, largest)
        )
        + "; that of an optimal 1-Lipschitz critic 1 everywhere.",
        f"Trained, converged points only ({counted} of {len(rows)}), means over seeds. Gradient, "
        f"saturating: {mean_at('saturating', 'gradient')}. Non-saturating: "
        f"{mean_at('non_saturating', 'gradient')}. Where a trained discriminator's logit flattens "
        "out beyond its samples the non-saturating gradient stays below the optimal one.",
        *(
            f"Raw estimate / |mu|, {words}: {mean_at(name, 'estimate')}. Gradient: "
            f"{mean_at(name, 'gradient')}."
            for name, words in CRITICS.items()
        ),
        "For point masses and a linear critic the penalised optimum has the slope 1 + |mu| / "
        "(2 lambda): the penalty's estimate is too large, the more so the farther apart. A "
        "clipped critic's slope is whatever its network makes of the clip value.",
        "Not shown: dimensions above one, unequal variances, and generators that move. "
        "Discriminators that can tell all samples apart do not come to rest; they count as "
        "trained.",
    ]


register_study(
    Study(
        "two_gaussians",
        "two Gaussians move apart: which distance and which gradient still say so?",
        CLAIMS,
        measure,
        "As in arXiv:1701.07875, Fig. 2: two Gaussians, the discriminator against the critic. "
        "Differs: that figure shows one distance, without numbers, settings or code; here the "
        "means are 0 to 20 standard deviations apart, exact curves stand beside networks "
        "trained to rest with the generator fixed, and amount and continuity are added.",
        {
            "loss.n_critic": "the generator is fixed: there are only critic steps",
            "train.decay": "rest is judged at constant rates",
            "precision": "critics are read in float64: float32 loses the discriminator's tails",
        },
        version=4,
    )
)


# The figure of the study of two Gaussians: exact curves with the trained points on them.
COLOURS = {
    "saturating": LOSS_COLOURS["bce_saturating"],
    "non_saturating": LOSS_COLOURS["bce"],
    "wasserstein": LOSS_COLOURS["wasserstein"],
    "clip": LOSS_COLOURS["clip"],
    "gp": LOSS_COLOURS["gp"],
    "lp": LOSS_COLOURS["lp"],
}
TRAINED = {
    "saturating": ("o", "saturating"),
    "non_saturating": ("s", "non-saturating"),
    "clip": ("^", "clip"),
    "gp": ("D", "gp"),
    "lp": ("v", "lp"),
}
"""Markers and labels of trained points."""
CURVES = {"saturating": LINES[0], "non_saturating": LINES[1], "wasserstein": LINES[3]}
SMALLEST_GRADIENT = 1e-5
SIDE_BY_SIDE = {"gp": -0.12, "lp": 0.12}
"""Shifts along the axis, in standard deviations, of points that would hide each other."""
MASSES = ((1.0, "-"), (2.0, "--"), (4.0, "-."))
"""Distances of the mass p in the panel on amount, and their lines."""


def two_gaussians_figure(rows: Rows, largest: float, gp_lambda: float) -> Figure:
    """Distances, divergence, gradients; ratio of estimate and distance, amount, continuity."""
    figure = new_figure(13, 8, "N(0, 1) against N(μ, 1): exact (lines) and trained (points)")
    panels = figure.subplots(2, 3)
    mus = np.linspace(0, largest, 401)
    draw_estimates(panels[0, 0], rows, mus)
    draw_divergence(panels[0, 1], rows, mus)
    draw_gradients(panels[0, 2], rows, mus)
    draw_ratios(panels[1, 0], rows, mus, gp_lambda)
    draw_amount(panels[1, 1])
    draw_continuity(panels[1, 2])
    handles = [
        Line2D([], [], color=COLOURS[name], linestyle=style, linewidth=1.8)
        for name, style in CURVES.items()
    ]
    labels = ["optimal, saturating", "optimal, non-saturating", "optimal, Wasserstein"]
    handles += [
        Line2D([], [], color=COLOURS[name], marker=marker, linestyle="")
        for name, (marker, _) in TRAINED.items()
    ]
    labels += [f"trained, {label}" for _, label in TRAINED.values()]
    handles.append(Line2D([], [], color=GREY, marker="o", linestyle="", markerfacecolor="none"))
    key_below(figure, handles, [*labels, "hollow: not converged, does not count"])
    return figure


def scatter(axes: Axes, rows: Rows, method: str, key: str) -> None:
    """Draw a method's points, one per seed: filled if converged, else hollow."""
    own = [row for row in rows if row["method"] == method and row[key] is not None]
    color, marker = COLOURS[method], TRAINED[method][0]
    for row in own:
        axes.plot(row["mu"] + SIDE_BY_SIDE.get(method, 0.0), row[key], marker, color=color,
                  markerfacecolor=color if row["converged"] else "none", markersize=4.5,
                  zorder=3)  # fmt: skip


def draw_estimates(axes: Axes, rows: Rows, mus: np.ndarray) -> None:
    axes.plot(mus, mus, color=COLOURS["wasserstein"], linestyle=CURVES["wasserstein"],
              linewidth=1.8)  # fmt: skip
    for method in ("clip", "gp", "lp"):
        scatter(axes, rows, method, "estimate")
    style_axes(axes, "Earth mover's distance and raw estimates", "μ (standard deviations)",
          "distance (standard deviations)")  # fmt: skip


def draw_divergence(axes: Axes, rows: Rows, mus: np.ndarray) -> None:
    axes.plot(mus, [exact.jensen_shannon(mu) for mu in mus], color=BLACK, linewidth=1.8)
    axes.axhline(math.log(2), **REFERENCE)
    axes.text(mus[-1], math.log(2) * 0.985, "ln 2", ha="right", va="top", color="#444444")
    estimates = [
        dict(row, js=math.log(2) - row["loss"] / 2)
        for row in rows
        if row["method"] == "saturating" and row["loss"] is not None
    ]
    scatter(axes, estimates, "saturating", "js")
    style_axes(axes, "Jensen-Shannon divergence", "μ (standard deviations)", "divergence (nats)")


def draw_gradients(axes: Axes, rows: Rows, mus: np.ndarray) -> None:
    for name, style in CURVES.items():
        logs = [exact.GRADIENTS[name](mu) for mu in mus[1:]]
        axes.plot(mus[1:], np.exp(logs), color=COLOURS[name], linestyle=style, linewidth=1.8)
    for method in TRAINED:
        scatter(axes, rows, method, "gradient")
    axes.set(yscale="log", ylim=(SMALLEST_GRADIENT, 40))
    style_axes(axes, "Gradient that the fakes' mean receives", "μ (standard deviations)",
          "|dL/dμ| (score per standard deviation)")  # fmt: skip


def draw_ratios(axes: Axes, rows: Rows, mus: np.ndarray, gp_lambda: float) -> None:
    axes.axhline(1, **REFERENCE)
    axes.plot(mus, [optimal_slope(mu, gp_lambda) for mu in mus], color=COLOURS["gp"], linewidth=1)
    axes.text(mus[-1], 1.15 * optimal_slope(mus[-1], gp_lambda), "1 + μ / 2λ", ha="right")
    shares = [dict(row, ratio=row["estimate"] / row["mu"]) for row in rows
              if row["estimate"] is not None]  # fmt: skip
    for method in ("clip", "gp", "lp"):
        scatter(axes, shares, method, "ratio")
    axes.set(yscale="log")
    axes.set_ylim(top=6)
    style_axes(axes, "Raw estimate / earth mover's distance", "μ (standard deviations)", "ratio")


def draw_amount(axes: Axes) -> None:
    shares = np.linspace(0, 1, 201)
    for distance, style in MASSES:
        moved = [exact.earth_mover_of(*exact.moved_share(p, distance)) for p in shares]
        axes.plot(shares, moved, color=BLUE, linestyle=style,
                   label=f"earth mover's, L = {distance:g}")  # fmt: skip
    js = [exact.jensen_shannon_of(*exact.moved_share(p, 1.0)) for p in shares]
    axes.plot(shares, js, color=VERMILION, linewidth=2.4, label="JS (nats), every L")  # fmt: skip
    axes.legend(frameon=False, fontsize=9)
    style_axes(axes, "Amount: a mass p at a distance L", "p", "distance (units of L)")


def draw_continuity(axes: Axes) -> None:
    thetas = np.linspace(-1, 1, 201)
    axes.plot(thetas, np.abs(thetas), color=BLUE, label="earth mover's")
    for side in (thetas[thetas < 0], thetas[thetas > 0]):
        axes.plot(side, [exact.lines_jensen_shannon(theta) for theta in side], color=VERMILION,
                  linestyle="--", label="JS (nats)" if side[0] < 0 else None)  # fmt: skip
    axes.plot(0, math.log(2), "o", color=VERMILION, markerfacecolor="w")
    axes.plot(0, 0, "o", color=VERMILION)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    style_axes(axes, "Continuity: parallel lines θ apart", "θ", "distance (units of θ)")
