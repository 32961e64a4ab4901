"""Does the critic's loss say how far apart the distributions are?

The estimate E D(x) - E D(G(z)), raw and divided by the largest slope seen, is held against the
exact W1: through the training of ordinary runs on ring8, and for critics that were trained to rest
against distributions whose distance is known. On funnels the critic's gradient is known too.
The BCE discriminator's estimate of the Jensen-Shannon divergence is the control. Statistics are
rank correlations of changes between evaluations, since any two falling curves correlate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import REFERENCE
from wganbench.reports.drawing import LOSS_COLOURS, key_below, new_figure, shade, style_axes
from wganbench.studies.estimate_vs_distance.measure import (
    FUNNELS,
    NOT_KNOWN,
    POINTS,
    RING,
    Row,
    change_correlation,
    course,
    level_correlation,
    optimal_gp_estimate,
    step_correlation,
    trained_on_known,
)
from wganbench.studies.evidence import LEAST_LEARNT, learnt, mean_of_known, paired_differences
from wganbench.studies.rest import untrained_rows
from wganbench.studies.study import Context, Findings, Study, register_study
from wganbench.studies.verdicts import Claim, Evidence, with_primary
from wganbench.training.run import Run

# The results of the study `estimate_vs_distance` in sentences.
ESTIMATES = (("gp", "raw"), ("gp", "normalised"), ("clip", "raw"), ("clip", "normalised"),
             ("bce", "js"), ("bce_saturating", "js"))  # fmt: skip


def paragraphs(rows: Sequence[Row]) -> list[str]:
    """Return sentences on correlations in training, then on estimates of known distances."""
    training = [row for row in rows if row["part"] == "training"]
    lines = ["Through training on ring8: Spearman's correlation with the exact W1, mean over runs, "
             "of changes between evaluations, of levels within a run (any two falling curves "
             "correlate), and of all runs' ends."]  # fmt: skip
    for loss, key in ESTIMATES:
        own = [row for row in training if row["loss"] == loss]
        runs = [
            [row for row in own if (row["seed"], row["generator_lr"]) == which]
            for which in dict.fromkeys((row["seed"], row["generator_lr"]) for row in own)
        ]
        changes = mean_of_known([change_correlation(run, key) for run in runs])
        levels = mean_of_known([level_correlation(run, key) for run in runs])
        ends = mean_of_known([level_correlation([run[-1] for run in runs], key)])
        lines.append(f"- {loss}, {key} estimate: {changes:+.2f}, {levels:+.2f}, {ends:+.2f}.")
    lines.append("Against known distances, means over seeds: exact W1, then each critic's raw "
                 "estimate and, in brackets, that divided by the largest slope seen.")  # fmt: skip
    lines += known_lines([row for row in rows if row["part"] == "known"])
    lines.append(
        "What it does not show: other data, networks that are deeper or wider, clipping at the "
        "paper's rate. Measured distances are those of finite samples, which lie a little above "
        "the distributions' own; the largest slope is the largest of the points seen."
    )
    return lines


def known_lines(rows: Sequence[Row]) -> list[str]:
    lines = []
    for distribution, size in dict.fromkeys((row["distribution"], row["size"]) for row in rows):
        own = [row for row in rows if (row["distribution"], row["size"]) == (distribution, size)]
        exact = mean_of_known([row["exact"] for row in own])
        line = f"- {distribution} {size:g}: {exact:.3g}"
        for loss, value in dict.fromkeys((row["loss"], row["coefficient"]) for row in own):
            group = [r for r in own if (r["loss"], r["coefficient"]) == (loss, value)]
            js, raw, normal, cosine = (
                mean_of_known([row[key] for row in group])
                for key in ("js", "raw", "normalised", "cosine")
            )
            if loss == "bce":
                line += f"; bce JS {js:.3g} of at most 0.693"
                continue
            line += f"; {loss} {value:g}: {raw:.3g} ({normal:.3g})"
            if distribution == FUNNELS:
                line += f", cosine {cosine:.2f}"
            if not all(row["at_rest"] for row in group):
                line += f", not at rest after {group[0]['step']} steps"
            if distribution == "points" and loss == "gp":
                line += f", optimum {optimal_gp_estimate(exact, value):.3g}"
        lines.append(line + ".")
    return lines


FIGURES = "arXiv:1701.07875, Figures 3 and 4"
KEYS = {"gp": "raw", "clip": "raw", "bce": "js", "bce_saturating": "js"}
"""The estimate of each loss that is compared with the distance."""
NAMES = {"gp": "GP", "clip": "clip", "bce": "BCE (non-saturating)",
         "bce_saturating": "BCE (saturating)"}  # fmt: skip
PAIRS = [(w, b) for w in ("gp", "clip") for b in ("bce", "bce_saturating")]
RATIOS = [
    ("gp", 10.0, "GP, lambda 10"),
    ("gp", 0.1, "GP, lambda 0.1"),
    ("clip", 0.01, "clip, c 0.01"),
]
KINDS = {"raw": "the critic's loss", "normalised": "the loss divided by the largest slope"}


def changes_claim(loss: str, control: str) -> Claim:
    return Claim(
        f"changes_{loss}_{control}",
        f"{NAMES[loss]}'s loss follows sample quality as the JS estimate of {NAMES[control]} "
        "does not: changes between evaluations", FIGURES, "comparative",
        "correlation of changes of estimate and W1, less that of the JS estimate", "Spearman's rho",
        0.2, spread=0.3,
    )  # fmt: skip


def step_claim(loss: str) -> Claim:
    return Claim(
        f"step_{loss}", f"within a run {NAMES[loss]}'s loss tells more than the step's number",
        FIGURES, "comparative",
        "correlation of estimate and W1, less that of minus the step and W1", "Spearman's rho",
        0.1, spread=0.15,
    )  # fmt: skip


def ratio_claim(loss: str, value: float, words: str, key: str) -> Claim:
    return Claim(
        f"{key}_{loss}_{value:g}",
        f"{KINDS[key]} equals the earth mover's distance ({words}), ring8 against ring8 with noise",
        "arXiv:1701.07875, section 3; arXiv:1704.00028, section 2.2", "quantitative",
        "estimate / exact W1, mean over the noises", "ratio", 0.2, stated=1.0,
    )  # fmt: skip


FUNNELS_SOURCE = "arXiv:1701.07875, section 3; arXiv:2206.07767 says no"


def funnels_claim(loss: str, value: float, words: str) -> Claim:
    return Claim(
        f"funnels_{loss}_{value:g}",
        f"the critic's loss equals the known earth mover's distance of funnels ({words})",
        FUNNELS_SOURCE, "quantitative", "estimate / W1 of the distributions", "ratio",
        0.2, stated=1.0,
    )  # fmt: skip


def cosine_claim(loss: str, value: float, words: str) -> Claim:
    return Claim(
        f"cosine_{loss}_{value:g}",
        f"the critic's gradient is that of the optimal critic ({words}), funnels",
        FUNNELS_SOURCE, "quantitative", "mean cosine with the potential's gradient at the fakes",
        "of a cosine", 0.1, stated=1.0,
    )  # fmt: skip


CLAIMS = [
    *(changes_claim(*pair) for pair in PAIRS),
    *(step_claim(loss) for loss in ("gp", "clip")),
    *(ratio_claim(*ratio, key) for key in KINDS for ratio in RATIOS),
    *(make(*ratio) for make in (funnels_claim, cosine_claim) for ratio in RATIOS),
    Claim("two_points_gp", "for two point masses GP (lambda 10) estimates L + L^2/(2 lambda)",
          "the least of GP's loss on the segment, arXiv:1704.00028, equation 3", "quantitative",
          "raw estimate / (L + L^2/(2 lambda)), mean over L", "ratio", 0.05, stated=1.0),
]  # fmt: skip


CLAIMS = list(with_primary("raw_gp_10", CLAIMS))


def measure(context: Context) -> Findings:
    arms = {
        f"{loss} {rate!r}": overrides(context, loss, rate)
        for loss in KEYS
        for rate in context["generator_lrs"]
    }
    rows: list[Row] = []
    for name, group in context.train(arms).items():
        rows += [row for run in group for row in training_rows(name.split()[0], run)]
    for loss, setting, values in (
        ("gp", "gp_lambda", sorted({*context["lambdas"], 0.1, 10.0})),
        ("clip", "clip_value", sorted({*context["clip_values"], 0.01})),
        ("bce", "", [0.0]),
    ):
        for value in values:
            context.say(f"critics with {loss} {value:g} against known distances, until at rest")
            about = {"loss": loss, "value": value, "seeds": context.seeds,
                     "settings": dict(context.settings.values)}  # fmt: skip
            compute = partial(trained_on_known, context, loss, setting, value)
            rows += context.remember(loss, about, compute)
    return Findings(evidence(rows), rows, {"figure": draw(rows)}, paragraphs(rows))


def training_rows(loss: str, run: Run) -> list[Row]:
    """Return the evaluations of a run; empty for a diverged run, which then has no value."""
    coefficients = list(run.config.loss.coefficients.values())
    about = {
        "part": "training", "loss": loss, "coefficient": coefficients[0] if coefficients else 0.0,
        "distribution": RING, "size": None, "generator_lr": run.config.train.generator_lr,
        "seed": run.config.seed,
    }  # fmt: skip
    found = course(run) if run.status == "completed" else []
    return [about | row for row in found or [LOST]]


LOST: Row = {"step": 0, "exact": None, "raw": None, "normalised": None, "js": None, **NOT_KNOWN}


def evidence(rows: Sequence[Row]) -> dict[str, Evidence]:
    training = [row for row in rows if row["part"] == "training"]
    by = {loss: by_seed([row for row in training if row["loss"] == loss]) for loss in KEYS}
    changes = {loss: per_seed(by[loss], change_correlation, KEYS[loss]) for loss in KEYS}
    found: dict[str, Evidence] = {}
    for loss, control in PAIRS:
        found[f"changes_{loss}_{control}"] = Evidence(
            paired_differences(changes[loss], changes[control]),
            undecided=never_learnt(by[loss], loss) or never_learnt(by[control], control),
        )
    for loss in ("gp", "clip"):
        levels = per_seed(by[loss], level_correlation, KEYS[loss])
        steps = per_seed(by[loss], lambda group, _: step_correlation(group), "")
        found[f"step_{loss}"] = Evidence(paired_differences(levels, steps))
    known = [row for row in rows if row["part"] == "known"]
    for key in KINDS:
        for loss, value, _ in RATIOS:
            found[f"{key}_{loss}_{value:g}"] = from_known(known, loss, value, RING, key)
    for loss, value, _ in RATIOS:
        found[f"funnels_{loss}_{value:g}"] = from_known(known, loss, value, FUNNELS, "raw")
        found[f"cosine_{loss}_{value:g}"] = from_known(known, loss, value, FUNNELS, "cosine")
    found["two_points_gp"] = from_known(known, "gp", 10.0, POINTS, "raw", optimal=True)
    return found


def never_learnt(runs: Mapping[int, Sequence[Sequence[Row]]], loss: str) -> str:
    """Return why changes of quality decide nothing: in the mean a loss's generator learns none."""
    falls = [learnt([row["exact"] for row in group if row["exact"] is not None])
             for groups in runs.values() for group in groups]  # fmt: skip
    mean = mean_of_known(falls)
    if mean >= LEAST_LEARNT:
        return ""
    return f"with {loss} the exact W1 falls by {mean:.2f} of its start: nothing to follow"


def from_known(
    rows: Sequence[Row], loss: str, value: float, distribution: str, key: str, optimal: bool = False
) -> Evidence:
    """Return one number per seed from critics against a known distribution.

    It is the cosine, or the estimate / distance (``optimal``: / GP's optimum), as a mean over
    sizes. Critics whose number is not at rest decide nothing; of a cosine the estimate must rest
    too.
    """
    own = [
        r
        for r in rows
        if (r["loss"], r["coefficient"], r["distribution"]) == (loss, value, distribution)
    ]
    found: dict[int, list[float | None]] = {}
    for row in own:
        truth = optimal_gp_estimate(row["exact"], value) if optimal else row["exact"]
        scale = 1.0 if key == "cosine" else truth
        found.setdefault(row["seed"], []).append(None if row[key] is None else row[key] / scale)
    steps = sorted({row["step"] for row in own})
    note = f"{' to '.join(map(str, dict.fromkeys((steps[0], steps[-1]))))} critic steps"
    values = [mean_of_all(group) for group in found.values()]
    rests = ("raw", key) if key == "cosine" else (key,)
    return Evidence(values, note=note, undecided=untrained_rows(own, *rests))


def by_seed(rows: Sequence[Row]) -> dict[int, list[list[Row]]]:
    """Return the runs of each seed, one for each of the generator's rates."""
    runs: dict[int, dict[float, list[Row]]] = {}
    for row in rows:
        runs.setdefault(row["seed"], {}).setdefault(row["generator_lr"], []).append(row)
    return {seed: list(groups.values()) for seed, groups in runs.items()}


def per_seed(runs: Mapping[int, Sequence[Sequence[Row]]], statistic: Any, key: str) -> list[Any]:
    """Return the statistic's mean over the runs of each seed; None if one run has none."""
    values = [[statistic(group, key) for group in groups] for groups in runs.values()]
    return [mean_of_all(seed) for seed in values]


def mean_of_all(values: Sequence[float | None]) -> float | None:
    """Return the mean; None if a value is missing."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def overrides(context: Context, loss: str, rate: float) -> list[str]:
    """Return an arm's overrides: equal for all losses except the generator's rate."""
    settings = {"gp": ["gp_lambda"], "clip": ["clip_value"]}.get(loss, [])
    return [
        f"loss={loss}", "data=ring8", "tuned=none", "train.decay=none",
        "train.optimizer=adam", "train.betas=[0.5,0.9]", f"train.generator_lr={rate!r}",
        *(f"loss.{setting}={context[setting]!r}" for setting in settings),
        *(f"train.{key}={context[key]!r}" for key in ("steps", "batch_size", "critic_lr")),
        *(f"network.{key}={context[key]}" for key in ("width", "depth")),
        f"loss.n_critic={context['n_critic']}", "log.tensorboard=false",
        f"log.every_n_steps={context['every_n_steps']}",
        f"evaluate.every_n_steps={context['every_n_steps']}", f"evaluate.n={context['n']}",
        f"evaluate.final_n={context['n']}", "evaluate.floor_pairs=2",
        f"checkpoint.every_n_steps={context['steps']}",
    ]  # fmt: skip


DIFFERS = (
    "As in arXiv:1701.07875, Figures 3 and 4: the critic's estimate and, of a GAN, the JS estimate "
    "ln 2 - loss/2 are held against sample quality through training. Different: quality is the "
    "exact W1 on ring8 and not the look of images; every loss has the same optimizer, rates "
    "and number of critic steps, BCE too (5 a generator step; without its own tuning BCE "
    "hardly learns here, and its row speaks of that setting); the estimates are those of "
    "held-out reals at evaluations; the statistic is a correlation of changes. The clip value in "
    "training is 0.1, with Adam, since at the paper's 0.01 and 5e-5 nothing is learnt in so few "
    "steps; critics against known distances have 0.01 too."
)

register_study(
    Study(
        "estimate_vs_distance",
        "does the critic's loss say how far apart the distributions are?",
        CLAIMS,
        measure,
        DIFFERS,
        protects={
            "loss": "it compares gp and clip with the BCE discriminator as the control",
            "data": "the claims are about ring8 and distributions whose distance is known",
            "train.decay": "rest is judged at constant rates",
        },
        version=4,
        rule=2,
    )
)


# The figure of `estimate_vs_distance`: through training, at the ends, at known distances.
LOSSES: dict[str, tuple[str, str, str, Any]] = {"gp": ("GP, E D(x) - E D(G(z))", "raw", "o", "-"),
          "clip": ("clip, E D(x) - E D(G(z))", "raw", "s", (0, (5, 1.5))),
          "bce": ("BCE, JS estimate", "js", "^", (0, (5, 1.5, 1, 1.5))),
          "bce_saturating": ("saturating BCE, JS estimate", "js", "D", ":")}  # fmt: skip
FAMILIES = {
    "points": "points\n$L$ =",
    "gaussians": "Gaussians\n$\\mu$ =",
    "ring8": "ring8\nnoise",
    "funnels": "funnels\n$K$ =",
}


def draw(rows: Sequence[Row]) -> Figure:
    figure = new_figure(13.4, 4.9, "Does the critic's estimate follow the earth mover's distance?")
    changes, ends, known = figure.subplots(1, 3, width_ratios=[1, 1, 1.3])
    style_axes(changes, "Changes between evaluations, all runs",
          "change of exact $W_1$ (rank in its run)",
          "change of the estimate (rank in its run)")  # fmt: skip
    style_axes(ends, "Ends of runs", "exact $W_1$ (data units)", "estimate / its mean over runs")
    style_axes(known, "Known distances, ratio to $W_1$", "", "estimate / exact $W_1$")
    training = [row for row in rows if row["part"] == "training" and row["exact"] is not None]
    for loss, (_, key, marker, line) in LOSSES.items():
        own = [row for row in training if row["loss"] == loss]
        style: dict[str, Any] = {"color": LOSS_COLOURS[loss], "marker": marker, "markersize": 5}
        draw_changes(changes, own, key, style | {"linestyle": line})
        last = max((row["step"] for row in own), default=0)
        pairs = [(r["exact"], r[key]) for r in own if r["step"] == last and r[key] is not None]
        if pairs:
            x, y = np.array(pairs).T
            ends.plot(x, y / abs(y.mean()), linestyle="", alpha=0.8, **style)
    draw_known(known, [row for row in rows if row["part"] == "known"])
    handles = [
        Line2D([], [], color=LOSS_COLOURS[loss], marker=marker, linestyle=line, markersize=5)
        for loss, (_, _, marker, line) in LOSSES.items()
    ]
    labels = [words for words, _, _, _ in LOSSES.values()]
    key_below(figure, [*handles, Line2D([], [], **REFERENCE)],
              [*labels, "what a perfect estimate would give"])  # fmt: skip
    return figure


def draw_changes(axes: Axes, rows: Sequence[Row], key: str, style: dict[str, Any]) -> None:
    """Draw the mean rank of the estimate's change in five bins of the distance's change."""
    found = []
    for which in dict.fromkeys((row["seed"], row["generator_lr"]) for row in rows):
        own = [r for r in rows if (r["seed"], r["generator_lr"]) == which and r[key] is not None]
        if len(own) > 2:
            ranks = [np.diff([r[k] for r in own]).argsort().argsort() for k in ("exact", key)]
            found.append(np.array(ranks) / (len(own) - 2))
    if found:
        x, y = np.concatenate(found, axis=1)
        bins = np.minimum((x * 5).astype(int), 4)
        present = [b for b in range(5) if (bins == b).any()]
        means = [[v[bins == b].mean() for b in present] for v in (x, y)]
        axes.plot(means[0], means[1], linewidth=1.6, **style)
    axes.plot([0, 1], [0, 1], **REFERENCE)
    axes.set(xlim=(0, 1), ylim=(0, 1))


def draw_known(axes: Axes, rows: Sequence[Row]) -> None:
    """Draw raw estimates filled and normalised ones hollow, one column per distribution."""
    shown = list(dict.fromkeys((row["distribution"], row["size"]) for row in rows))
    kinds = [k for k in dict.fromkeys((r["loss"], r["coefficient"]) for r in rows) if k[0] != "bce"]
    for i, (loss, value) in enumerate(kinds):
        color = shade(LOSS_COLOURS[loss], -0.35 if i % 2 else 0.1)
        for key, face in (("raw", color), ("normalised", "white")):
            groups = [[r[key] / r["exact"] for r in rows if (r["distribution"], r["size"]) == one
                       and (r["loss"], r["coefficient"]) == (loss, value) and r[key] is not None]
                      for one in shown]  # fmt: skip
            middle = [np.mean(group) if group else np.nan for group in groups]
            setting = r"$\lambda$" if loss == "gp" else "$c$"
            places = np.arange(len(shown)) + 0.16 * (i - (len(kinds) - 1) / 2)
            label = f"{loss}, {setting} = {value:g}" if key == "raw" else None
            axes.plot(places, middle, linestyle="", marker=("o", "P", "s", "X")[i % 4],
                      color=color, markerfacecolor=face, markersize=6.5, label=label)  # fmt: skip
    axes.axhline(1, **REFERENCE)
    axes.set_yscale("log")
    axes.set_xticks(range(len(shown)), [f"{FAMILIES[name]} {size:g}" for name, size in shown],
                    fontsize=8)  # fmt: skip
    axes.legend(frameon=False, fontsize=8.5, title="filled: raw; hollow: / largest slope",
                title_fontsize=8.5)  # fmt: skip
