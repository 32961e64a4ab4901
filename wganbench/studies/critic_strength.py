"""The better the discriminator, the worse the feedback?

Ordinary runs on ring8 take n_critic of 1 to 25 critic steps before each generator step, at equal
generator steps and rates. Over the second half of training these are measured: the feedback
mean |dL_G/dscore|, the gradient that a sample gets, its direction against the exact transport plan,
quality and coverage. The statistic of a seed is the slope of such a number over log2(n_critic): its
change with each doubling.

The direction is read only while the exact W1 exceeds two floors: near the floor even the optimal
push meets the transport plan of two samples by chance (its ceiling stands in the table). Two claims
of another kind are judged on the same runs: whether the discriminator outperforms the generator at
equal steps, and whether the generator stops learning with the strongest discriminator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.reports.drawing import (
    LINES,
    LOSS_COLOURS,
    MARKERS,
    key_below,
    new_figure,
    style_axes,
)
from wganbench.studies.evidence import LEAST_LEARNT, learnt, mean_of_known, stopped_evidence
from wganbench.studies.study import Cell, Context, Findings, Study, log10, register_study
from wganbench.studies.verdicts import Claim, Evidence, with_primary
from wganbench.tags.lookup import FAR_FROM_FLOOR
from wganbench.training.run import Run

LOSSES = ("bce_saturating", "bce", "clip", "gp")
NAMES = {
    "bce_saturating": "BCE, saturating",
    "bce": "BCE, non-saturating",
    "clip": "WGAN-clip",
    "gp": "WGAN-GP",
}
FEEDBACK, SAMPLE, DIRECTION = "critic/feedback", "grad_norm/sample", "critic/direction"
DISTANCE, FLOOR, CEILING = "wasserstein/exact", "wasserstein/floor", "critic/direction_ceiling"
ACCURACY = "critic/accuracy"
LEARNT = "learnt"
"""Not a tag: see `evidence.learnt`."""
LOGARITHMIC = (FEEDBACK, SAMPLE)
"""Tags that span decades and are measured as logarithms."""
TAGS = (FEEDBACK, SAMPLE, DIRECTION, "modes/high_quality", "modes/coverage", DISTANCE)

HALVING = 0.3
"""log10 2: a doubling of n_critic that halves the feedback."""
LEAST_DECADES = 0.1
"""A smaller fall per doubling does not count as a weaker gradient: a factor of 3 in all."""
LEAST_COSINE = 0.05
"""A smaller change of direction per doubling is not of interest: 0.23 from n_critic 1 to 25."""
LEAST_DISTANCE = 0.04
"""A smaller change of the exact W1 is not of interest: 0.19 in all, twice its floor here."""

MOST_LEARNT = 0.1
"""A generator whose exact W1 falls by less of that at the start has stopped learning."""
EQUAL = 1
"""The n_critic at which both networks take equally many steps."""
ABOVE_CHANCE = 0.25
"""An accuracy less far above one half does not count as outperforming."""

GAN = "arXiv:1701.04862, introduction"
WGAN = "arXiv:1701.07875, section 3"

SPREADS = {
    "feedback": {"bce_saturating": 0.35, "bce": 0.05},
    "direction": {"bce_saturating": 0.08, "bce": 0.06, "clip": 0.03, "gp": 0.04},
    "distance": {"bce_saturating": 0.02, "bce": 0.02, "clip": 0.025, "gp": 0.025},
}
"""Standard deviations of the slopes between the seeds 100 to 102, rounded up."""


def is_bce(loss: str) -> bool:
    return loss.startswith("bce")


def feedback_claim(loss: str) -> Claim:
    """Return the claim of a loss: BCE's feedback weakens; a W-loss's gradient does not."""
    if is_bce(loss):
        return Claim(
            f"feedback_{loss}", f"{NAMES[loss]}: the better the discriminator, the weaker its "
            "feedback to the generator", GAN, "comparative",
            "fall of log10(feedback) with each doubling of n_critic", "decades",
            HALVING, spread=SPREADS["feedback"][loss],
        )  # fmt: skip
    return Claim(
        f"gradient_{loss}", f"{NAMES[loss]}: a better critic does not weaken the gradient that "
        "samples get", WGAN, "universal",
        "fall of log10(gradient per sample) with each doubling of n_critic", "decades",
        LEAST_DECADES,
    )  # fmt: skip


def direction_claim(loss: str) -> Claim:
    better = not is_bce(loss)
    which, word = ("rise", "better") if better else ("fall", "worse")
    return Claim(
        f"direction_{loss}",
        f"{NAMES[loss]}: the better the critic, the {word} the direction in which it sends samples",
        WGAN if better else GAN, "comparative",
        f"{which} of the cosine with the transport plan with each doubling of n_critic",
        "of a cosine", LEAST_COSINE, spread=SPREADS["direction"][loss],
    )  # fmt: skip


def distance_claim(loss: str) -> Claim:
    better = not is_bce(loss)
    which, word = ("fall", "closer to") if better else ("rise", "farther from")
    return Claim(
        f"distance_{loss}",
        f"{NAMES[loss]}: the better the critic, the {word} the data the generator is after equal "
        "generator steps",
        WGAN if better else GAN, "comparative",
        f"{which} of the exact W1 with each doubling of n_critic", "data units", LEAST_DISTANCE,
        spread=SPREADS["distance"][loss],
    )  # fmt: skip


def outperforms_claim(loss: str) -> Claim:
    return Claim(
        f"outperforms_{loss}",
        f"{NAMES[loss]}: the discriminator outperforms the generator at equal steps (n_critic "
        f"{EQUAL})",
        "teaching material", "comparative", "accuracy of the discriminator less one half, second "
        "half of training", "of the points", ABOVE_CHANCE, spread=0.05,
    )  # fmt: skip


def stops_claim(loss: str) -> Claim:
    return Claim(
        f"stops_{loss}",
        f"{NAMES[loss]}: with the strongest critic the generator stops learning",
        "teaching material; arXiv:1701.04862, introduction", "quantitative",
        "fall of the exact W1 through training, as a share of that at the start (0 where it "
        "rises), largest n_critic",
        "of the start", MOST_LEARNT, stated=0.0,
    )  # fmt: skip


CLAIMS = with_primary(
    "feedback_bce_saturating",
    [
        *(make(loss) for make, loss in
          product((feedback_claim, direction_claim, distance_claim), LOSSES)),
        *(outperforms_claim(loss) for loss in ("bce_saturating", "bce")),
        *(stops_claim(loss) for loss in LOSSES),
    ],
)  # fmt: skip

Values = dict[tuple[str, int], list[dict[str, float | None]]]
"""By loss and n_critic: the late values by tag, one entry per seed."""


def measure(context: Context) -> Findings:
    arms = {f"{loss} {n}": overrides(context, loss, n)
            for loss, n in product(LOSSES, context["n_critics"])}  # fmt: skip
    runs = context.train(arms)
    values = {
        (loss, n): [late_values(run) for run in runs[f"{loss} {n}"]]
        for loss, n in product(LOSSES, context["n_critics"])
    }
    slopes = all_slopes(values, len(context.seeds))
    rows = list(table(context, values))
    words = text(context, slopes, values)
    return Findings(evidence(slopes, values), rows, {"figure": draw(values, NAMES)}, words)


def overrides(context: Context, loss: str, n_critic: int) -> list[str]:
    """Return an arm's overrides; network, optimizer, rates and generator steps are all equal."""
    steps = context["steps"]
    coefficient = {"clip": "clip_value", "gp": "gp_lambda"}.get(loss)
    return [
        "data=ring8", "tuned=none", f"loss={loss}", f"loss.n_critic={n_critic}",
        *([f"loss.{coefficient}={context[coefficient]!r}"] if coefficient else []),
        f"train.steps={steps}", f"train.batch_size={context['batch_size']}",
        "train.optimizer=adam", "train.betas=[0.5,0.9]", "train.decay=none",
        f"train.critic_lr={context['critic_lr']!r}",
        f"train.generator_lr={context['generator_lr']!r}",
        "log.tensorboard=false", f"log.every_n_steps={max(1, steps // 10)}",
        f"evaluate.every_n_steps={max(1, steps // 5)}", "evaluate.n=500", "evaluate.final_n=500",
        "evaluate.floor_pairs=4", f"checkpoint.every_n_steps={steps}",
    ]  # fmt: skip


def late_values(run: Run) -> dict[str, float | None]:
    """Return means over the evaluations of a run's second half; None if it diverged.

    For tags that span decades it is the mean of log10. The direction counts only at evaluations
    with an exact W1 above two floors, and is None without any.
    """
    if run.status != "completed":
        return dict.fromkeys((*TAGS, ACCURACY, FLOOR, LEARNT, CEILING))
    steps, found = run.table["step"], {}
    for tag in (*TAGS, ACCURACY, FLOOR):
        column = run.table.get(tag, [None] * len(steps))
        late = [
            value for i, (step, value) in enumerate(zip(steps, column, strict=True))
            if value is not None and step is not None and step > run.config.train.steps / 2
            and (tag != DIRECTION or is_far(run.table, i))
        ]  # fmt: skip
        scale: Callable[[float], float] = log10 if tag in LOGARITHMIC else float
        found[tag] = float(np.mean([scale(value) for value in late])) if late else None
    distances = [value for value in run.table[DISTANCE] if value is not None]
    found[LEARNT] = learnt(distances)
    found[CEILING] = run.metrics.get(CEILING)
    return found


def is_far(table: Mapping[str, Sequence[float | None]], i: int) -> bool:
    """Return whether an evaluation's exact W1 exceeds two floors."""
    distance, floor = table[DISTANCE][i], table[FLOOR][i]
    return distance is not None and floor is not None and distance > FAR_FROM_FLOOR * floor


def all_slopes(values: Values, seeds: int) -> dict[tuple[str, str], list[float | None]]:
    """Return, by loss and tag, each seed's change per doubling of n_critic."""
    n_critics = sorted({n for _, n in values})
    return {
        (loss, tag): [
            slope_per_doubling(n_critics, [values[loss, n][seed][tag] for n in n_critics])
            for seed in range(seeds)
        ]
        for loss, tag in product(LOSSES, TAGS)
    }


def slope_per_doubling(n_critics: Sequence[int], values: Sequence[float | None]) -> float | None:
    """Return the least-squares slope over log2(n_critic); None if a value is not finite.

    >>> slope_per_doubling([1, 2, 4], [3.0, 2.5, 2.0])
    -0.5
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if len(known) < len(values) or len(set(n_critics)) < 2:
        return None
    return round(float(np.polyfit(np.log2(n_critics), known, 1)[0]), 12)


def evidence(
    slopes: Mapping[tuple[str, str], Sequence[float | None]], values: Values
) -> dict[str, Evidence]:
    """Return the slopes with the sign that supports each claim, and numbers at one n_critic."""
    found = {}
    for loss in LOSSES:
        first, tag = ("feedback", FEEDBACK) if is_bce(loss) else ("gradient", SAMPLE)
        found[f"{first}_{loss}"] = Evidence(turned(slopes[loss, tag]))
        sign = turned if is_bce(loss) else list
        found[f"direction_{loss}"] = Evidence(
            sign(slopes[loss, DIRECTION]),
            undecided=arrived(values, loss) or out_of_reach(values, loss, DIRECTION),
        )
        nearer = list if is_bce(loss) else turned
        found[f"distance_{loss}"] = Evidence(
            nearer(slopes[loss, DISTANCE]), undecided=out_of_reach(values, loss, DISTANCE)
        )
        strongest = max(n for _, n in values)
        falls = [entry[LEARNT] for entry in values[loss, strongest]]
        found[f"stops_{loss}"] = stopped_evidence(
            falls, MOST_LEARNT, f"n_critic {strongest}", never_learnt(values, loss)
        )
        if is_bce(loss):
            right = [entry[ACCURACY] for entry in values.get((loss, EQUAL), [])]
            found[f"outperforms_{loss}"] = Evidence(
                [None if a is None else a - 0.5 for a in right],
                note=f"n_critic {EQUAL}" if right else f"n_critics lack {EQUAL}: no equal steps",
            )
    return found


def never_learnt(values: Values, loss: str) -> str:
    """Return why "it stops learning" is undecided: it learns with no critic in these steps."""
    means = [mean_of_known([each[LEARNT] for each in own]) for (of, _), own in values.items()
             if of == loss]  # fmt: skip
    most = max((mean for mean in means if math.isfinite(mean)), default=0.0)
    if most >= LEAST_LEARNT:
        return ""
    return f"with no n_critic does the exact W1 fall by more than {most:.2f} of its start"


def out_of_reach(values: Values, loss: str, tag: str) -> str:
    """Return why an improvement is undecided: the weakest critic leaves no room for it.

    A Wasserstein critic's cosine can rise to its ceiling, and W1 can fall to its floor.
    """
    if is_bce(loss):
        return ""
    numbers = sorted(n for of, n in values if of == loss)
    weakest = values[loss, numbers[0]]
    now, best = (
        mean_of_known([each[name] for each in weakest])
        for name in (tag, CEILING if tag == DIRECTION else FLOOR)
    )
    least = LEAST_COSINE if tag == DIRECTION else LEAST_DISTANCE
    needed = least * math.log2(numbers[-1] / numbers[0])
    room = best - now if tag == DIRECTION else now - best
    if not room < needed:
        return ""
    return (
        f"with n_critic {numbers[0]} it is {now:.3g} already and {best:.3g} at best: a change of "
        f"{needed:.2g} in all is out of reach"
    )


def arrived(values: Values, loss: str) -> str:
    """Return why a direction is undecided: in some runs no late evaluation is far from the data."""
    own = [entry for (of, _), found in values.items() if of == loss for entry in found]
    near = sum(entry[DIRECTION] is None and entry[DISTANCE] is not None for entry in own)
    return f"in {near} of {len(own)} runs the samples lie within two floors" if near else ""


def turned(values: Sequence[float | None]) -> list[float | None]:
    return [None if value is None else -value for value in values]


def table(context: Context, values: Values) -> Any:
    for (loss, n), found in values.items():
        for seed, entry in zip(context.seeds, found, strict=True):
            row: dict[str, Cell] = {"loss": loss, "n_critic": n, "seed": seed}
            shown = {(f"log10 {t}" if t in LOGARITHMIC else t): v for t, v in entry.items()}
            yield row | shown


def text(
    context: Context, slopes: Mapping[tuple[str, str], Sequence[float | None]], values: Values
) -> list[str]:
    """Return the results in sentences, loss by loss."""
    lines = [
        f"Changes with each doubling of n_critic, from {min(context['n_critics'])} to "
        f"{max(context['n_critics'])}, over the second half of {context['steps']} generator steps "
        f"(mean of {len(context.seeds)} seeds). Feedback and gradient per sample in decades."
    ]
    for loss in LOSSES:
        parts = [f"{words} {mean_of_known(slopes[loss, tag]):+.3f}" for tag, words in SHORT.items()]
        lines.append(f"{NAMES[loss]}: {', '.join(parts)}. {ends(values, loss)}")
    lines.append(
        "More critic steps cost more: at equal generator steps n_critic 25 has seen 25 times the "
        "critic batches of n_critic 1, so a W1 that falls is no gain for equal work. A "
        "better discriminator here is one trained for longer between generator steps, not an "
        "optimal one (vanishing_gradient trains it against a frozen generator)."
    )
    return lines


def ends(values: Values, loss: str) -> str:
    """Return quality and coverage with the weakest and the strongest critic, as text.

    High quality with low coverage is mode collapse.
    """
    parts = []
    for n in (min(n for _, n in values), max(n for _, n in values)):
        quality, coverage = (
            mean_of_known([entry[tag] for entry in values[loss, n]])
            for tag in ("modes/high_quality", "modes/coverage")
        )
        parts.append(f"n_critic {n}: high quality {quality:.2f}, coverage {coverage:.2f}")
    return "; ".join(parts) + "."


SHORT = {
    FEEDBACK: "feedback",
    SAMPLE: "gradient per sample",
    DIRECTION: "direction (cosine)",
    "modes/high_quality": "high quality",
    "modes/coverage": "coverage",
    DISTANCE: "exact W1",
}


DIFFERS = (
    'arXiv:1701.04862 states it of GANs in words ("as the discriminator gets better, the updates '
    'to the generator get consistently worse") and shows it with frozen generators; '
    "arXiv:1701.07875, section 3, states the opposite of WGANs. Here both networks train, on ring8 "
    "with 3 x 64 units, and n_critic alone differs within a loss. All losses have the same "
    "optimizer and rates, which suit none of them best."
)

register_study(
    Study(
        "critic_strength",
        "the better the discriminator, the worse the feedback?",
        CLAIMS,
        measure,
        DIFFERS,
        protects={
            "loss": "its claims compare the four losses",
            "n_critic": "it is what the study varies; its values are n_critics",
            "decay": "a rate that falls would hide what the critic's strength does",
        },
        version=3,
    )
)


# The figure of `critic_strength`: each measure against n_critic, a curve a loss.
PANELS = {
    "critic/feedback": ("Feedback", "mean |dL_G/dscore|", True),
    "grad_norm/sample": ("Gradient per sample", "mean |dL_G/dx| (1 / data unit)", True),
    "critic/direction": ("Direction", "cosine with the transport plan", False),
    "modes/high_quality": ("Quality", "share of high quality", False),
    "modes/coverage": ("Coverage", "share of modes with a fair share", False),
    "wasserstein/exact": ("Distance", "exact $W_1$ (data units)", False),
}
"""By tag: title, axis label, and whether the value is a log10."""


def draw(values: Values, names: Mapping[str, str]) -> Figure:
    """Draw the mean over seeds as a line, and each seed as a dot."""
    figure = new_figure(12, 7, "A stronger critic: n_critic from weak to strong")
    axes = figure.subplots(2, 3, sharex=True)
    n_critics = sorted({n for _, n in values})
    for panel, (tag, (title, label, is_log)) in zip(axes.flat, PANELS.items(), strict=True):
        style_axes(panel, title, "n_critic" if panel in axes[1] else "", label)
        panel.set_xscale("log", base=2)
        panel.set_xticks(n_critics, [str(n) for n in n_critics])
        panel.minorticks_off()
        if is_log:
            panel.set_yscale("log")
        for i, loss in enumerate(names):
            curve(panel, i, loss, n_critics, values, tag, is_log)
    handles = [
        Line2D([], [], color=LOSS_COLOURS[loss], linestyle=LINES[i], marker=MARKERS[i],
               markersize=5.5, linewidth=1.8)
        for i, loss in enumerate(names)
    ]  # fmt: skip
    key_below(figure, handles, list(names.values()))
    return figure


def curve(
    axes: Axes,
    i: int,
    loss: str,
    n_critics: Sequence[int],
    values: Values,
    tag: str,
    is_log: bool,
) -> None:
    color, shift = LOSS_COLOURS[loss], 2 ** (0.05 * (i - 1.5))
    found = np.array([[entry[tag] for entry in values[loss, n]] for n in n_critics], dtype=float)
    shown = 10**found if is_log else found
    at = np.array(n_critics) * shift
    known = ~np.isnan(found).all(axis=1)
    centre = np.array([np.nanmean(row) if row_known else np.nan
                       for row, row_known in zip(found, known, strict=True)])  # fmt: skip
    axes.plot(at, 10**centre if is_log else centre, color=color, linestyle=LINES[i],
              marker=MARKERS[i], markersize=5.5, linewidth=1.8)  # fmt: skip
    axes.plot(at, shown, linestyle="", marker=".", markersize=3.5, color=color, alpha=0.6)
