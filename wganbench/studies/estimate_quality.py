"""Does a better estimate of W1 give a better generator?

WGAN-GP and WGAN-clip are trained on ring8 at every combination of their coefficient (lambda or c)
with a number of critic steps. Everything else is equal, the number of generator steps too. Each
run has two numbers. Its attainment is the share of the exact W1 that its critic reaches on held-out
points: the estimate divided by the critic's largest slope, over the exact W1 between the same
points, averaged over the evaluations before the end at which W1 exceeds twice its floor. Its
quality is minus the exact W1 at the end.

The W1 under the attainment and the W1 at the end belong to the same run, so the two numbers
correlate even where the estimate says nothing. The statistic of a seed is therefore a difference:
the rank correlation of the two over all settings, less the mean of what it is when the estimates
are exchanged between settings at random and everything else stays.

A positive correlation does not show a cause: the settings also change the size and the direction of
the gradient. A correlation near 0 shows that the estimate is not what matters. arXiv:1701.07875
expects that a critic nearer to optimality gives a better gradient; arXiv:2103.01678 holds that
WGANs work although, and even because, their critics estimate W1 badly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wganbench.metrics.gradients import rank_correlation
from wganbench.reports.drawing import LOSS_COLOURS, MARKERS, new_figure, style_axes
from wganbench.runs.table import Cell, series
from wganbench.studies.evidence import bounded_evidence
from wganbench.studies.study import Context, Findings, Study, register_study
from wganbench.studies.verdicts import Claim, Evidence, with_primary
from wganbench.tags.lookup import FAR_FROM_FLOOR
from wganbench.training.run import Run

LOSSES = {"gp": ("gp_lambda", "lambdas"), "clip": ("clip_value", "clip_values")}
"""By loss: its coefficient, and the setting of the study that lists its values."""
ESTIMATE, EXACT, FLOOR = (
    "wasserstein/estimate_normalized", "wasserstein/exact", "wasserstein/floor",
)  # fmt: skip
FEWEST = 5
"""The fewest settings of a seed for a rank correlation."""
SMALLEST = 0.3
EXCHANGES = 100
"""Random exchanges of the estimates between settings, for each seed."""
WGAN, AGAINST = "arXiv:1701.07875, Section 3", "arXiv:2103.01678, against it"


def claim(name: str, text: str, source: str) -> Claim:
    return Claim(name, text, source, "comparative",
                 "rank correlation over settings of the critic's attainment with minus the final "
                 "W1, less that with the estimates exchanged between settings",
                 "of a correlation", SMALLEST, spread=0.35)  # fmt: skip


CLAIMS = (
    claim("both", "A better estimate of W1 gives a better generator: WGAN-GP and WGAN-clip over "
          "their coefficients and critic steps", f"{WGAN}; {AGAINST}"),
    claim("gp", "A better estimate of W1 gives a better generator: WGAN-GP over lambda and critic "
          "steps", WGAN),
    claim("clip", "A better estimate of W1 gives a better generator: WGAN-clip over c and critic "
          "steps", WGAN),
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """A run: the estimates of its critic, its distances, and the exact W1 at the end.

    All are in data units. ``estimates`` (divided by the largest slope) and ``distances`` (exact)
    are by step, before the last one and while W1 exceeds two floors; they are empty if it never
    does. ``w1`` is None for a run that diverged.
    """

    estimates: Mapping[int, float]
    distances: Mapping[int, float]
    w1: float | None

    @property
    def attainment(self) -> float | None:
        """The mean of estimate / exact W1; None without an evaluation that counts."""
        return attainment(self.estimates, self.distances)


Points = Mapping[str, Sequence[Point]]
"""By ``loss/coefficient/n_critic``: one point per seed."""


def measure(context: Context) -> Findings:
    runs = context.train(arms(context))
    points = {name: [point(run) for run in own] for name, own in runs.items()}
    return findings(points, context.seeds)


def arms(context: Context) -> dict[str, list[str]]:
    """Return the runs by ``loss/coefficient/n_critic``."""
    return {
        f"{loss}/{value:g}/{n}": [
            f"loss={loss}", "data=ring8", "tuned=none", f"loss.{name}={value!r}",
            f"loss.n_critic={n}", *shared(context),
        ]
        for loss, (name, key) in LOSSES.items()
        for value, n in product(context[key], context["n_critics"])
    }  # fmt: skip


def shared(context: Context) -> list[str]:
    """Return the overrides that are equal for all runs."""
    steps = context["steps"]
    every = max(1, steps // context["evaluations"])
    return [
        "train.optimizer=adam", "train.betas=[0.5,0.9]", "train.decay=none",
        f"train.critic_lr={context['critic_lr']!r}",
        f"train.generator_lr={context['generator_lr']!r}", f"train.steps={steps}",
        f"train.batch_size={context['batch_size']}", f"network.width={context['width']}",
        f"evaluate.every_n_steps={every}", f"evaluate.n={context['evaluate_n']}",
        f"evaluate.final_n={context['evaluate_n']}", "evaluate.floor_pairs=4",
        "log.tensorboard=false", f"log.every_n_steps={every}",
    ]  # fmt: skip


def point(run: Run) -> Point:
    """Return the numbers of a run."""
    if run.status != "completed":
        return Point({}, {}, None)
    floor, last = run.metrics[FLOOR], run.config.train.steps
    return Point(*known_steps(run.table, floor, last), run.metrics[EXACT])


def known_steps(
    table: Mapping[str, Sequence[Cell]], floor: float, last: int
) -> tuple[dict[int, float], dict[int, float]]:
    """Return estimates and exact W1 by step, after 0, before ``last``, while W1 is large."""
    estimates = dict(zip(*series(table, ESTIMATE), strict=True))
    exact = dict(zip(*series(table, EXACT), strict=True))
    steps = [
        step
        for step in sorted(estimates.keys() & exact.keys())
        if 0 < step < last and exact[step] > FAR_FROM_FLOOR * floor
    ]
    return {step: estimates[step] for step in steps}, {step: exact[step] for step in steps}


def attainment(estimates: Mapping[int, float], distances: Mapping[int, float]) -> float | None:
    """Return the mean of estimate / distance over the steps that both have; None without one.

    >>> attainment({100: 0.5, 200: 0.3}, {100: 1.0, 200: 0.5})
    0.55
    """
    shares = [estimates[step] / distances[step] for step in distances if step in estimates]
    return float(np.mean(shares)) if shares else None


def beyond_exchange(points: Points, seed: int) -> tuple[float, float] | None:
    """Return a seed's rank correlation of attainment with minus W1, and the same by exchange.

    The second is the mean over `EXCHANGES` in which each setting has the estimates of another. A
    run that diverged is the worst: it ends behind all others, with attainment 0. Returns None for
    too few settings.
    """
    own = [each[seed] for each in points.values()]
    worst = max((each.w1 for each in own if each.w1 is not None), default=1.0) + 1.0
    known = [each for each in own if each.w1 is not None and each.distances]
    failed = sum(each.w1 is None for each in own)
    if len(known) + failed < FEWEST:
        return None
    final = [-worst] * failed + [-(each.w1 or 0.0) for each in known]

    def correlation(order: Iterable[int]) -> float:
        pairs = zip(order, known, strict=True)
        reached = [attainment(known[other].estimates, each.distances) for other, each in pairs]
        both = [(a, w) for a, w in zip([0.0] * failed + reached, final, strict=True)
                if a is not None]  # fmt: skip
        first, second = (np.asarray(column, dtype=np.float64) for column in zip(*both, strict=True))
        return rank_correlation(first, second) or 0.0

    random = np.random.default_rng(seed)
    exchanged = [correlation(random.permutation(len(known))) for _ in range(EXCHANGES)]
    return correlation(range(len(known))), float(np.mean(exchanged))


def findings(points: Points, seeds: Sequence[int]) -> Findings:
    """Return the findings from the points of all runs."""
    found = correlations(points, len(seeds))
    return Findings({name: evidence(pairs) for name, pairs in found.items()},
                    rows(points, seeds), {"figure": draw(points, found)},
                    text(points, found))  # fmt: skip


Correlations = Mapping[str, Sequence[tuple[float, float] | None]]
"""By claim: one pair of `beyond_exchange` per seed."""


def correlations(points: Points, seeds: int) -> Correlations:
    """Return the correlations by claim, one pair per seed."""
    chosen = {"both": points}
    chosen |= {
        loss: {name: own for name, own in points.items() if name.startswith(f"{loss}/")}
        for loss in LOSSES
    }
    return {
        name: [beyond_exchange(own, seed) for seed in range(seeds)] for name, own in chosen.items()
    }


def evidence(pairs: Sequence[tuple[float, float] | None]) -> Evidence:
    """Return the evidence of the differences; a seed without one leaves the claim undecided."""
    known = [pair for pair in pairs if pair is not None]
    if len(known) < len(pairs):
        return Evidence([None if pair is None else pair[0] - pair[1] for pair in pairs])
    plain, exchanged = (float(np.mean(column)) for column in zip(*known, strict=True))
    note = f"correlation {plain:.2f}, with the estimates exchanged {exchanged:.2f}"
    return bounded_evidence([first - second for first, second in known], -2.0, 2.0, SMALLEST, note)


def rows(points: Points, seeds: Sequence[int]) -> list[dict[str, str | float | int | None]]:
    """Return a row for each run."""
    table: list[dict[str, str | float | int | None]] = []
    for name, own in points.items():
        loss, coefficient, n_critic = name.split("/")
        for seed, each in zip(seeds, own, strict=True):
            table.append({"loss": loss, "coefficient": float(coefficient),
                          "n_critic": int(n_critic), "seed": seed,
                          "attainment": each.attainment, "w1": each.w1})  # fmt: skip
    return table


def text(points: Points, found: Correlations) -> list[str]:
    """Return the results in sentences."""
    lines = []
    for name, pairs in found.items():
        known = [pair for pair in pairs if pair is not None]
        shown = ", ".join(f"{plain:.2f} ({exchanged:.2f})" for plain, exchanged in known) or "none"
        lines.append(f"Rank correlation of attainment with quality, {name}, by seed, and in "
                     f"brackets with the estimates exchanged: {shown}.")  # fmt: skip
    for loss in LOSSES:
        own = [(name, mean_of(each)) for name, each in points.items() if name.startswith(loss)]
        known_w1 = [(name, *values) for name, values in own if values[1] is not None]
        if known_w1:
            best = min(known_w1, key=lambda entry: entry[2] or 0.0)
            reached = "unknown" if best[1] is None else f"{best[1]:.2f}"
            lines.append(f"The best setting of {loss} is {best[0]}: final W1 {best[2]:.3f}, "
                         f"attainment {reached}.")  # fmt: skip
    lines.append(
        "The settings have equal generator steps, not equal compute: more critic steps cost more. "
        "The estimate divided by the largest slope found is about a lower bound of W1."
    )
    return lines


def mean_of(own: Sequence[Point]) -> tuple[float | None, float | None]:
    """Return the means of attainment and W1 over the seeds that have them."""
    columns = [[p.attainment for p in own], [p.w1 for p in own]]
    known = [[value for value in column if value is not None] for column in columns]
    first, second = (float(np.mean(column)) if column else None for column in known)
    return first, second


register_study(
    Study(
        name="estimate_quality",
        question="does a better estimate of W1 give a better generator?",
        claims=with_primary("both", CLAIMS),
        measure=measure,
        version=2,
        differs="arXiv:1701.07875 states it in words; arXiv:2103.01678 compares estimates and "
        "samples of a few methods on images. Here it is a correlation over settings of the same "
        "method on ring8, where the exact W1 is known.",
        protects={
            "n_critic": "it is one of the things that the study varies; its values are n_critics",
            "loss": "the estimate of W1 is that of clip and gp",
            "decay": "a rate that falls would change the critic's attainment with time",
        },
    )
)


# The figure.
def draw(points: Points, correlations: Correlations) -> Figure:
    """Draw the runs of each loss, with a marker for each n_critic, and the correlations."""
    figure = new_figure(13, 4.6, "Does a better estimate give a better generator?")
    panels = figure.subplots(1, 3)
    for axes, loss in zip(panels, ("gp", "clip"), strict=False):
        draw_runs(axes, loss, {k: own for k, own in points.items() if k.startswith(f"{loss}/")})
    draw_correlations(panels[2], correlations)
    return figure


def draw_runs(axes: Axes, loss: str, points: Points) -> None:
    """Draw a dot per run: darker for larger coefficients, the marker by n_critic."""
    coefficients = sorted({float(name.split("/")[1]) for name in points})
    n_critics = sorted({int(name.split("/")[2]) for name in points})
    for name, own in points.items():
        _, coefficient, n_critic = name.split("/")
        place = coefficients.index(float(coefficient)) / max(len(coefficients) - 1, 1)
        marker = MARKERS[n_critics.index(int(n_critic)) % len(MARKERS)]
        known = [(p.attainment, p.w1) for p in own
                 if p.attainment is not None and p.w1 is not None]  # fmt: skip
        for reached, w1 in known:
            axes.plot(reached, w1, marker, color=LOSS_COLOURS[loss], alpha=0.25 + 0.7 * place,
                      markersize=5)  # fmt: skip
    for i, steps in enumerate(n_critics):
        axes.plot([], [], MARKERS[i % len(MARKERS)], color="#555555", linestyle="",
                  label=f"n_critic {steps}")  # fmt: skip
    if n_critics:
        axes.legend(frameon=False, fontsize=8.5)
    words = "λ" if loss == "gp" else "c"
    style_axes(axes, f"{loss}: darker for larger {words}",
               "attainment: estimate / slope / exact $W_1$",
          "exact $W_1$ at the end (data units)")  # fmt: skip


def draw_correlations(axes: Axes, correlations: Correlations) -> None:
    """Draw a dot per seed and the mean, for each claim; in grey with the estimates exchanged."""
    for x, pairs in enumerate(correlations.values()):
        known = np.array([pair for pair in pairs if pair is not None]).reshape(-1, 2)
        for column, shift, colour, mean in ((0, -0.12, "#0072B2", "#222222"),
                                            (1, 0.22, "#999999", "#777777")):  # fmt: skip
            values = known[:, column]
            places = x + shift + np.linspace(-0.1, 0.1, len(values))
            axes.plot(places, values, "o", color=colour, alpha=0.6, markersize=5)
            if len(values):
                axes.plot(x + shift, values.mean(), "D", color=mean, markersize=8)
    axes.set_xticks(range(len(correlations)), list(correlations))
    axes.axhline(0, color="#444444", linewidth=0.9)
    axes.set_ylim(-1.05, 1.05)
    style_axes(axes, "Rank correlation; grey: exchanged", "", "Spearman")
