"""Do classes of digits collapse?

Small convolutional networks are trained on scikit-learn's digits (8 x 8 pixels, ten classes) with
four losses: the objectives {non-saturating BCE, Wasserstein}, each without and with a gradient
penalty. Rates, betas, critic steps, batch, networks and generator steps are equal; no search found
them for any of the four. A judge, a small classifier, gives each sample its class. The statistic is
the number of classes lost, 10 (1 - exp(-KL)) with the KL of the samples' classes to those of the
data: evenly kept m of ten classes give 10 - m. All samples count. The table and the figure also
show how many classes have a fifth of their fair share of images that the judge is sure of, which
falls with the quality of the images too. A run that diverged counts as the largest KL.

A claim that says "whatever the objective" is decided by the smaller of its two simple effects.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from wganbench.reports.drawing import LOSS_COLOURS, MARKERS, new_figure, style_axes
from wganbench.reports.wording import estimate_text
from wganbench.runs.table import Cell
from wganbench.studies.evidence import count_evidence, effect_interval, effects_with_room
from wganbench.studies.study import Context, Findings, Study, register_study
from wganbench.studies.verdicts import Claim, with_primary
from wganbench.training.run import Run

ARMS = ("bce", "wasserstein", "bce_gp", "gp")
CLASSES = 10
WORST_KL = math.log(CLASSES)
"""The largest KL of ten classes of about equal shares: all samples are in one."""
HALF = 0.5
"""The tolerance of a claim on lost classes: half a class."""
PENALTY = (("bce_gp", "bce"), ("gp", "wasserstein"))
OBJECTIVE = (("wasserstein", "bce"), ("gp", "bce_gp"))
FEDUS, WGAN = "arXiv:1710.08446", "arXiv:1701.07875, Section 4.3"
LOST = "10 (1 - exp(-KL))"


def effect_claim(name: str, text: str, source: str) -> Claim:
    return Claim(name, text, source, "comparative", f"smaller of two simple effects, {LOST}",
                 "classes", HALF, spread=0.8)  # fmt: skip


CLAIMS = with_primary("bce_collapses", (
    Claim("bce_collapses", "The GAN loses classes of digits",
          "widely taught, after arXiv:1406.2661, Section 6", "comparative",
          f"classes lost of ten, {LOST}", "classes", HALF, spread=0.3, count=True),
    effect_claim("penalty", "The gradient penalty keeps classes of digits, whatever the "
                 "objective", FEDUS),
    effect_claim("objective", "The Wasserstein objective keeps classes of digits, with or "
                 "without a penalty", WGAN),
))  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """A run by its judge: shares of covered classes and of sure samples, KL in nats."""

    coverage: float
    sure: float
    kl: float
    diverged: bool = False

    @property
    def lost(self) -> float:
        """The number of classes lost, 0 to 10."""
        return -CLASSES * math.expm1(-min(self.kl, WORST_KL))


def judged(run: Run) -> Judged:
    """Return the numbers of a run."""
    if run.status != "completed":
        return Judged(0.0, 0.0, WORST_KL, diverged=True)
    values = run.metrics
    return Judged(values["modes/coverage"], values["modes/high_quality"],
                  values.get("modes/kl", WORST_KL))  # fmt: skip


def measure(context: Context) -> Findings:
    runs = context.train({arm: words(context, arm) for arm in ARMS})
    return findings({arm: [judged(run) for run in own] for arm, own in runs.items()})


def words(context: Context, arm: str) -> list[str]:
    """Return the overrides of an arm; the penalty's coefficient is all in which two differ."""
    steps = context["steps"]
    return [
        f"loss={arm}", "data=digits", "tuned=none", f"loss.n_critic={context['n_critic']}",
        *([f"loss.gp_lambda={context['gp_lambda']!r}"] if arm.endswith("gp") else []),
        "train.optimizer=adam", "train.decay=linear",
        f"train.betas={str(context['betas']).replace(' ', '')}",
        f"train.critic_lr={context['critic_lr']!r}",
        f"train.generator_lr={context['generator_lr']!r}", f"train.steps={steps}",
        f"train.batch_size={context['batch_size']}", "compile=false", "evaluate.every_n_steps=0",
        f"evaluate.final_n={context['final_n']}", "log.tensorboard=false",
        f"log.every_n_steps={max(1, steps // 5)}", f"checkpoint.every_n_steps={steps}",
    ]  # fmt: skip


def findings(found: Mapping[str, Sequence[Judged]]) -> Findings:
    """Return the findings from the judged runs."""
    lost = [each.lost for each in found["bce"]]
    evidence = {"bce_collapses": count_evidence(lost, CLASSES, HALF)}
    for name, pairs in (("penalty", PENALTY), ("objective", OBJECTIVE)):
        effects = {f"{a} less {b}": kept(found, a, b) for a, b in pairs}
        room = {f"{a} less {b}": float(np.mean([run.lost for run in found[b]])) for a, b in pairs}
        evidence[name] = effects_with_room(effects, room, (-CLASSES, CLASSES), HALF)
    return Findings(evidence, rows(found), {"figure": draw(found)}, text(found))


def kept(found: Mapping[str, Sequence[Judged]], one: str, other: str) -> list[float]:
    """Return how many more classes one arm keeps than another, by seed."""
    return [b.lost - a.lost for a, b in zip(found[one], found[other], strict=True)]


def rows(found: Mapping[str, Sequence[Judged]]) -> list[dict[str, Cell | str]]:
    """Return a row for each run."""
    return [
        {"loss": arm, "place": place, "coverage": each.coverage, "sure": each.sure,
         "kl": each.kl, "diverged": int(each.diverged)}
        for arm, own in found.items()
        for place, each in enumerate(own)
    ]  # fmt: skip


def text(found: Mapping[str, Sequence[Judged]]) -> list[str]:
    """Return the results in sentences."""
    parts = []
    for arm, own in found.items():
        lost = effect_interval([each.lost for each in own], (0.0, CLASSES))
        coverage, sure = (
            float(np.mean([getattr(e, name) for e in own])) for name in ("coverage", "sure")
        )
        parts.append(
            f"{arm} {estimate_text(lost)}, with a fifth of their fair share in images that the "
            f"judge is sure of {CLASSES * coverage:.1f}, share of sure images {sure:.2f}"
        )
    return [
        f"Classes lost of ten, {LOST}: " + "; ".join(parts) + ".",
        "The judge puts every image into some class, noise too. Where it is sure of few samples, "
        "an even spread over the classes says nothing about digits.",
    ]


register_study(
    Study(
        name="digit_classes",
        question="do classes of digits collapse?",
        claims=CLAIMS,
        measure=measure,
        differs="The papers look at samples of larger images. Here the classes are counted by a "
        "judge on 8 x 8 digits, at one setting that no search found; longer in budget=full.",
        protects={
            "loss": "the four losses are the question",
            "data": "the judge's ten classes are those of the digits",
            "tuned": "the four arms share their settings",
        },
        version=2,
    )
)


# The figure.
PANELS = {
    "coverage": ("Classes with a fair share of sure images", "share of ten classes"),
    "kl": ("KL of the classes' shares", "nats"),
    "sure": ("Samples that the judge is sure of", "share"),
}


def draw(found: Mapping[str, Sequence[Judged]]) -> Figure:
    """Draw a dot per seed and the mean of each arm."""
    figure = new_figure(12, 4.4, "Do classes of digits collapse?")
    panels = figure.subplots(1, 3)
    for axes, (name, (title, label)) in zip(panels, PANELS.items(), strict=True):
        for x, (arm, own) in enumerate(found.items()):
            values = [float(getattr(each, name)) for each in own]
            color = LOSS_COLOURS[arm]
            axes.plot(x + np.linspace(-0.16, 0.16, len(values)), values, MARKERS[x], color=color,
                      alpha=0.6, markersize=5)  # fmt: skip
            axes.plot(x, np.mean(values), MARKERS[x], color=color, markersize=10,
                      markeredgecolor="#222222")  # fmt: skip
        axes.set_xticks(range(len(found)), list(found), fontsize=9)
        axes.set_ylim(bottom=-0.03)
        if name != "kl":
            axes.set_ylim(top=1.05)
        style_axes(axes, title, "", label)
    return figure
