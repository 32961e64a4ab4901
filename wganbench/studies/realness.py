"""Is the score of the critic the realness of a single sample?

Critics are often described as giving each sample a score of how real it is. Ordinary runs train on
a ring of Gaussians with unequal weights, at the best settings of each loss on the equal ring
(conf/tuned). With equal weights, density and distance would order all samples alike. At each
evaluation the scores D(x) of held-out reals and fresh fakes together are ranked, and so are two
kinds of realness: the log density of the data at x, and minus the distance from x to the nearest
mode. The statistic of a seed is Spearman's correlation of the scores with each, averaged over the
evaluations of the second half of training. A critic that scores all samples alike has the
correlation 0: it says nothing about any of them.

In theory neither holds: the optimal BCE critic is log p - log q, which is flat where the generator
q is right, and the optimal Wasserstein critic follows distances, not densities. A critic that only
tells reals from fakes as groups has a positive correlation already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from wganbench.presets import preset_names, read_preset
from wganbench.reports.drawing import LINES, LOSS_COLOURS, new_figure, style_axes
from wganbench.runs.table import Cell, series
from wganbench.studies.evidence import rank_evidence
from wganbench.studies.study import Context, Findings, Study, register_study
from wganbench.studies.verdicts import Claim, Evidence, with_primary
from wganbench.training.run import Run

NAMES = {"bce": "the discriminator of the non-saturating GAN", "clip": "WGAN-clip's critic",
         "gp": "WGAN-GP's critic"}  # fmt: skip
KINDS = {
    "density": ("critic/density_rank", "the data's density there"),
    "distance": ("critic/distance_rank", "its nearness to the data"),
}
"""By the name of their claims: the tag, and the realness in words."""
SMALLEST = 0.5
"""A rank correlation from which a score may be called a measure of realness."""


def claim(loss: str, kind: str) -> Claim:
    tag, words = KINDS[kind]
    return Claim(
        f"{kind}_{loss}", f"The score says how real a single sample is: {NAMES[loss]}, {words}",
        "widely taught, after arXiv:1701.07875", "comparative",
        f"{tag}, mean over the evaluations of the second half", "of a correlation", SMALLEST,
        spread=0.15,
    )  # fmt: skip


CLAIMS = tuple(claim(loss, kind) for loss in NAMES for kind in KINDS)

Values = Mapping[str, Mapping[str, Sequence[float | None]]]
"""By loss and kind: one value per seed, None for a run that diverged."""


def measure(context: Context) -> Findings:
    arms = {loss: words(context, loss) for loss in NAMES if has_settings(loss)}
    runs = context.train(arms)
    values = {
        loss: {kind: [late(run, tag) for run in own] for kind, (tag, _) in KINDS.items()}
        for loss, own in runs.items()
    }
    courses = {
        loss: {kind: [course(run.table, tag) for run in own] for kind, (tag, _) in KINDS.items()}
        for loss, own in runs.items()
    }
    return findings(values, courses, context.seeds)


def has_settings(loss: str) -> bool:
    return f"{loss}-ring8" in preset_names("tuned")


def words(context: Context, loss: str) -> list[str]:
    """Return the overrides of a loss: its best settings, for a share of their steps."""
    best = float(read_preset("tuned", f"{loss}-ring8")["train"]["steps"])
    steps = max(2, round(context["tuned_share"] * best))
    every = max(1, steps // context["evaluations"])
    return [
        f"loss={loss}", "data=ring8_unequal", f"tuned={loss}-ring8", f"train.steps={steps}",
        f"network.width={context['width']}", f"train.batch_size={context['batch_size']}",
        f"evaluate.every_n_steps={every}", f"evaluate.n={context['evaluate_n']}",
        f"evaluate.final_n={context['evaluate_n']}", "evaluate.floor_pairs=2",
        "log.tensorboard=false", f"log.every_n_steps={every}",
    ]  # fmt: skip


def late(run: Run, tag: str) -> float | None:
    """Return the mean of a tag over the second half of a run; None if it diverged."""
    if run.status != "completed":
        return None
    return late_mean(*course(run.table, tag), run.config.train.steps)


def course(table: Mapping[str, Sequence[Cell]], tag: str) -> Course:
    """Return a correlation at each evaluation, 0 where a flat critic has none."""
    known = dict(zip(*series(table, tag), strict=True))
    steps = sorted(series(table, "wasserstein/exact")[0])
    return steps, [known.get(step, 0.0) for step in steps]


def late_mean(steps: Sequence[int], values: Sequence[float], last: int) -> float | None:
    """Return the mean of the values after half of the steps; None without any.

    >>> late_mean([0, 50, 60, 100], [0.9, 0.8, 0.2, 0.4], 100)
    0.3
    """
    found = [value for step, value in zip(steps, values, strict=True) if step > last / 2]
    return round(float(np.mean(found)), 12) if found else None


Course = tuple[list[int], list[float]]
"""Steps, and a correlation at each."""

Courses = Mapping[str, Mapping[str, Sequence[Course]]]
"""By loss and kind: one course per seed."""


def findings(values: Values, courses: Courses, seeds: Sequence[int]) -> Findings:
    """Return the findings from the correlations of all runs."""
    evidence: dict[str, Evidence] = {}
    for loss in NAMES:
        for kind in KINDS:
            own = values.get(loss)
            evidence[f"{kind}_{loss}"] = (
                rank_evidence(own[kind], SMALLEST)
                if own
                else Evidence([], note=f"conf/tuned has no best settings of {loss} on ring8")
            )
    return Findings(evidence, rows(values, seeds), {"figure": draw(courses, KINDS)}, text(values))


def rows(values: Values, seeds: Sequence[int]) -> list[dict[str, Cell | str]]:
    """Return a row for each run."""
    return [
        {"loss": loss, "seed": seed, **{kind: column[place] for kind, column in own.items()}}
        for loss, own in values.items()
        for place, seed in enumerate(seeds)
    ]


def text(values: Values) -> list[str]:
    """Return the results in sentences."""
    lines = []
    for loss, own in values.items():
        parts = []
        for kind, column in own.items():
            known = [value for value in column if value is not None]
            shown = f"{np.mean(known):.2f}" if known else "unknown"
            parts.append(f"{shown} with {KINDS[kind][1]}")
        lines.append(f"{loss}: the score correlates {' and '.join(parts)}.")
    lines.append(
        "The correlations are over reals and fakes together, so they fall as the fakes become "
        "like the reals: a flat critic is right where the generator is. Scores of different "
        "critics cannot be compared."
    )
    return lines


register_study(
    Study(
        name="realness",
        question="is the score of the critic the realness of a single sample?",
        claims=with_primary("density_gp", CLAIMS),
        measure=measure,
        differs="Taught in words: there is no measurement to differ from. Each loss has its own "
        "best settings on ring8, found for networks of 3 x 64 and batch 256; the quick budget "
        "trains smaller ones, for a share of the steps.",
        protects={
            "data": "the density and the modes must be known",
            "loss": "its claims name the three losses",
        },
        version=2,
    )
)


# The figure.
def draw(courses: Courses, kinds: Mapping[str, tuple[str, str]]) -> Figure:
    """Draw a panel for each kind of realness: correlation against the share of training."""
    figure = new_figure(11, 4.8, "Is the score the realness of a single sample?")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (kind, (_, words)) in zip(panels, kinds.items(), strict=True):
        for place, (loss, own) in enumerate(courses.items()):
            color = LOSS_COLOURS[loss]
            for steps, values in own[kind]:
                axes.plot(shares(steps), values, color=color, linewidth=0.7, alpha=0.4)
            means = mean_course(own[kind])
            axes.plot(*means, color=color, linestyle=LINES[place], linewidth=2.3, label=loss)
        axes.axhline(0, color="#444444", linewidth=0.9)
        axes.axhline(SMALLEST, color="#444444", linestyle=":", linewidth=1)
        axes.set_ylim(-1.05, 1.05)
        style_axes(axes, f"D(x) against {words}", "share of training", "Spearman")
    panels[0].legend(frameon=False, fontsize=9, loc="lower left")
    return figure


def shares(steps: Sequence[int]) -> list[float]:
    last = max(steps, default=1) or 1
    return [step / last for step in steps]


def mean_course(courses: Sequence[Course]) -> tuple[list[float], list[float]]:
    """Return the mean over seeds at the steps that all of them have."""
    common = sorted(set.intersection(*[set(steps) for steps, _ in courses])) if courses else []
    tables = [dict(zip(steps, values, strict=True)) for steps, values in courses]
    means = [float(np.mean([table[step] for table in tables])) for step in common]
    return shares(common), means
