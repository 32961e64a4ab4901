"""What prevents lost modes, the objective or the penalty?

Six arms are trained: the objectives non-saturating BCE, saturating BCE and Wasserstein, each
without and with a gradient penalty. They run at settings drawn from the neutral space of searches
(rates, betas, critic steps, the penalty's coefficient), equal for all six and for equal compute;
and each arm runs at the best settings that its own search found (conf/tuned), for its full length.
The data are the ring, the grid, and a ring with unequal modes.

A claim that says "whatever the objective" is decided by its smallest simple effect, not by an
average. Each effect is a difference of two arms with the same setting or seed, averaged over the
data sets. It is judged twice: by coverage, the share of modes with at least a fifth of their fair
share of high-quality samples, and by the lost mass, 1 - exp(-KL) of the modes' shares over all
samples by nearest mode. Coverage also falls where modes are blurred; the lost mass does not. A run
that diverged counts as coverage 0 and the largest KL.

The cause is examined by an intervention. Runs are stopped, and from the same weights
one twin goes on under the saturating loss and the other under the non-saturating one. The twins'
gradients at the samples are compared at the swap: unless the saturating one is the smaller, the
intervention has not changed what it was to change, and its claims are undecided. On the ring the
saturating gradient is weaker by a factor of two or so and has not vanished, so the claims are about
a weaker gradient.

As in the papers: the losses. Differs: arXiv:1701.07875 saw "no evidence of mode collapse" on
images and arXiv:1710.08446 compared scores on images; here the modes are known. ``budget=paper``
adds the ring protocol of arXiv:1712.04086.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wganbench.reports.drawing import LINES, LOSS_COLOURS, OTHERS, new_figure, style_axes
from wganbench.studies.evidence import (
    Outcome,
    count_evidence,
    effect_interval,
    effects_with_room,
    of_all,
    smallest_effect,
)
from wganbench.studies.mode_collapse.arms import (
    COVERAGE,
    LOST,
    OBJECTIVE,
    PENALTY,
    PENALTY_OVER_OBJECTIVE,
    Ended,
    Pairs,
    check_settings,
    controls_lose,
    drawn_arms,
    ended,
    few,
    lost_shares,
    pacgan_arms,
    shortened,
    simple_effects,
    tuned_arms,
    untuned,
)
from wganbench.studies.mode_collapse.intervention import (
    LOSSES,
    Branch,
    branches,
    drop_at_swap,
    modes_kept,
)
from wganbench.studies.study import Cell, Context, Findings, Study, register_study
from wganbench.studies.verdicts import Claim, Evidence, Kind, with_primary
from wganbench.training.run import Run

FEDUS, WGAN = "arXiv:1710.08446", "arXiv:1701.07875, Section 4.3"
TAUGHT = "widely taught, after arXiv:1701.04862, Section 2"
HALF = 0.5
"""The tolerance of a claim on lost modes: half a mode, whatever their number."""
LEAST_DROP = 0.2
"""An intervention counts if the gradient at the samples is smaller by a factor of 1.6. On the
seeds 100 to 102 the drop was 0.1 to 0.65 decades, and 0.3 to 1 with n_critic 5, which had lost
nearly all modes before."""
BY = {COVERAGE: "by coverage", LOST: "by the lost mass, 1 - exp(-KL)"}


@dataclass(frozen=True)
class Question:
    """A statement on simple effects, judged by coverage and by KL, drawn or tuned."""

    text: str
    source: str
    pairs: Pairs
    tuned: bool = False


QUESTIONS = {
    "penalty": Question("The gradient penalty prevents mode collapse, whatever the objective",
                        FEDUS, PENALTY),
    "objective": Question("The Wasserstein objective prevents mode collapse, with or without a "
                          "penalty", WGAN, OBJECTIVE),
    "penalty_over_objective": Question("The penalty, not the objective, prevents mode collapse: "
                                       "BCE with it against W without", FEDUS,
                                       PENALTY_OVER_OBJECTIVE),
    "tuned_penalty": Question("At each arm's best settings the gradient penalty prevents mode "
                              "collapse, whatever the objective", FEDUS, PENALTY, True),
    "tuned_objective": Question("At each arm's best settings the Wasserstein objective prevents "
                                "mode collapse, with or without a penalty", WGAN, OBJECTIVE, True),
}  # fmt: skip
"""By the name of their claims, which end with the quantity."""


def effect_claim(name: str, quantity: str) -> Claim:
    question = QUESTIONS[name]
    where = "best settings" if question.tuned else "drawn settings"
    effects = f"smallest of {len(question.pairs)} simple effects" if len(question.pairs) > 1 else (
        "difference"
    )  # fmt: skip
    return Claim(
        f"{name}_{quantity}", f"{question.text} ({BY[quantity]})", question.source, "comparative",
        f"{effects} at {where}, {BY[quantity]}, mean over the data sets", "of the modes", 0.1,
        spread=0.1 if question.tuned else 0.25, seeds="tuned_seeds" if question.tuned else "",
    )  # fmt: skip


def lost_claim(name: str, text: str, source: str, kind: Kind) -> Claim:
    return Claim(name, text, source, kind, "modes lost at best settings, K (1 - exp(-KL)), the "
                 "largest over the data sets", "modes", HALF,
                 spread=None if kind == "universal" else 0.6, seeds="tuned_seeds",
                 count=kind == "comparative")  # fmt: skip


def swap_claim(name: str, text: str, quantity: str) -> Claim:
    return Claim(
        f"{name}_{quantity}", f"{text} ({BY[quantity]})", TAUGHT, "comparative",
        "modes that the non-saturating twin ends with beyond the saturating one, "
        f"{BY[quantity]}, from the same weights", "modes", HALF, spread=0.7, seeds="swap_seeds",
    )  # fmt: skip


SWAPS = {
    "weaker_loses": ("bce", "The weaker gradient of the saturating loss causes the loss of modes: "
                     "a non-saturating run that is made saturating"),
    "stronger_keeps": ("bce_saturating", "The stronger gradient of the non-saturating loss keeps "
                       "modes: a saturating run that is made non-saturating"),
}  # fmt: skip
"""By the name of their claims: the loss before the swap, and the statement."""

CLAIMS = (
    *(effect_claim(name, quantity) for name in QUESTIONS for quantity in BY),
    lost_claim("clip_eliminates", "WGAN with clipping shows no mode collapse", WGAN, "universal"),
    lost_claim("gp_eliminates", "WGAN-GP eliminates mode collapse", "widely taught, after "
               "arXiv:1704.00028", "universal"),
    lost_claim("bce_collapses", "The non-saturating GAN loses modes", "arXiv:1705.07761, Table 1",
               "comparative"),
    lost_claim("bce_saturating_collapses", "The saturating GAN loses modes",
               "arXiv:1705.07761, Table 1", "comparative"),
    *(swap_claim(name, text, quantity) for name, (_, text) in SWAPS.items() for quantity in BY),
)  # fmt: skip
SMALLEST = {claim.name: claim.smallest for claim in CLAIMS}
AT_BEST = [claim.name for claim in CLAIMS if claim.seeds == "tuned_seeds"]
RING = 8
"""The modes of the intervention's data."""


@dataclass(frozen=True)
class Measured:
    """The outcomes at drawn and at best settings and of PacGAN's protocol, and the branches."""

    drawn: Ended
    tuned: Ended
    pacgan: Ended
    branches: Sequence[Branch]
    untuned: Sequence[str] = ()
    shortened: str = ""
    """Why the arms at best settings decide nothing: see `arms.shortened`."""


def measure(context: Context) -> Findings:
    """Train all runs together, then the twins; compute effects and tables."""
    check_settings(context)
    drawn, tuned, pacgan = drawn_arms(context), tuned_arms(context), pacgan_arms(context)
    seeds: dict[str, tuple[int, ...]] = {
        f"drawn/{name}": (int(name.rpartition("/")[2]),) for name in drawn
    }
    some = few(context.seeds, context["tuned_seeds"])
    seeds |= {f"tuned/{name}": some for name in tuned} | {f"pacgan/{n}": some for n in pacgan}
    words = {f"drawn/{name}": own for name, own in drawn.items()}
    words |= {f"tuned/{name}": own for name, own in tuned.items()}
    words |= {f"pacgan/{name}": own for name, own in pacgan.items()}
    runs = context.train(words, seeds)
    settings = dict(context.settings.values)
    own = {key: settings[key] for key in settings if key.startswith(("swap_", "evaluate"))}
    own |= {key: settings[key] for key in ("width", "batch_size")}
    swapped = few(context.seeds, own.pop("swap_seeds"))
    followed = context.remember(
        "intervention", {"settings": own, "seeds": swapped},
        lambda: [asdict(b) for b in branches(own, swapped, context.settings.device)],
    )  # fmt: skip
    found = Measured(
        ended(by_data(runs, "drawn", list(context["data"]))),
        ended(by_data(runs, "tuned", list(context["tuned_data"]))),
        ended({"ring8_veegan": {name: runs[f"pacgan/{name}"] for name in pacgan}}),
        [Branch(**values) for values in followed],
        untuned(context),
        shortened(context),
    )
    return findings(found)


def by_data(
    runs: Mapping[str, list[Run]], group: str, data: Sequence[str]
) -> dict[str, dict[str, list[Run]]]:
    """Return the runs of a group by data set and arm, those of several settings in order."""
    found: dict[str, dict[str, list[Run]]] = {name: {} for name in data}
    for name, own in runs.items():
        head, *rest = name.split("/")
        if head == group:
            found[rest[0]].setdefault(rest[1], []).extend(own)
    return found


def findings(found: Measured) -> Findings:
    """Return the findings from the outcomes."""
    figure = collapse_figure(found.drawn, found.tuned, found.branches)
    return Findings(evidence(found), rows(found), {"figure": figure}, text(found))


def evidence(found: Measured) -> dict[str, Evidence]:
    """Return the evidence by claim."""
    result = {}
    for name, question in QUESTIONS.items():
        outcomes = found.tuned if question.tuned else found.drawn
        for quantity in BY:
            effects = simple_effects(outcomes, question.pairs, quantity)
            room = controls_lose(outcomes, question.pairs, quantity)
            claim = f"{name}_{quantity}"
            found_all = effects_with_room(effects, room, (-1.0, 1.0), SMALLEST[claim])
            result[claim] = of_all(found_all, len(question.pairs) - len(effects), SMALLEST[claim])
    for loss in ("clip", "gp"):
        result[f"{loss}_eliminates"] = Evidence(found.tuned.modes_lost(loss))
    for loss in LOSSES:
        lost, most = found.tuned.modes_lost(loss), max(found.tuned.modes.values(), default=1)
        result[f"{loss}_collapses"] = count_evidence(lost, float(most), HALF)
    for name, (before, _) in SWAPS.items():
        for quantity in BY:
            result[f"{name}_{quantity}"] = swap_evidence(found.branches, before, quantity)
    for name in AT_BEST:
        reason = result[name].undecided or found.shortened
        result[name] = replace(result[name], undecided=reason)
    return result


def swap_evidence(found: Sequence[Branch], before: str, quantity: str) -> Evidence:
    """Return the evidence of an intervention; empty if it did not weaken the gradient."""
    if not found:
        return Evidence([])
    drop = drop_at_swap(found, before)
    note = f"at the swap the saturating gradient at the samples is smaller by {drop:.2f} decades"
    if not drop >= LEAST_DROP:
        return Evidence([], note=f"{note}: too few for an intervention")
    kept = modes_kept(found, before, quantity, RING)
    return smallest_effect({before: kept}, (-RING, RING), HALF, note)


QUANTITIES = ("coverage", "high_quality", "kl", "w1")


def rows(found: Measured) -> list[dict[str, Cell]]:
    """Return a row for each part, data set, arm and quantity, and for each simple effect."""
    parts = {"drawn": found.drawn, "tuned": found.tuned, "pacgan": found.pacgan}
    table = []
    for part, outcomes in parts.items():
        for data, arms in outcomes.outcomes.items():
            for arm, own in arms.items():
                failed = sum(outcome.diverged for outcome in own)
                note = f"{failed} diverged, counted as the worst case" if failed else ""
                for quantity in QUANTITIES:
                    values = [float(getattr(outcome, quantity)) for outcome in own]
                    table.append(row(part, data, arm, quantity, values, note))
    for name, question in QUESTIONS.items():
        outcomes = found.tuned if question.tuned else found.drawn
        for quantity in BY:
            of = {"mean": outcomes} | {data: outcomes.on(data) for data in outcomes.outcomes}
            for data, found_there in of.items():
                for pair, values in simple_effects(found_there, question.pairs, quantity).items():
                    table.append(row(name, data, pair, quantity, values, ""))
    for branch in found.branches:
        what = f"{branch.before}, then {branch.after}"
        for quantity in ("coverage", "kl", "gradient"):
            last = [own[-1] for own in getattr(branch, quantity)]
            table.append(row("intervention", "ring8", what, quantity, last, "at the end"))
    table += [row("tuned", name.split(" on ")[1], name.split(" on ")[0], "none", [],
                  "no file of best settings") for name in found.untuned]  # fmt: skip
    return table


def row(
    part: str, data: str, what: str, quantity: str, values: Sequence[float], note: str
) -> dict[str, Cell]:
    """Return a row of the table: the mean with Student's interval if the values differ."""
    bounds = (0.0, 1.0) if quantity in ("coverage", "high_quality") else (-np.inf, np.inf)
    spread = len(values) > 1 and float(np.ptp(values)) > 0
    if part in QUESTIONS:
        bounds = (-1.0, 1.0)
    interval = effect_interval(values, bounds) if spread else None
    return {
        "part": part, "data": data, "what": what, "quantity": quantity, "n": len(values),
        "mean": float(np.mean(values)) if values else None,
        "low": interval.low if interval else None, "high": interval.high if interval else None,
        "note": note,
    }  # fmt: skip


def text(found: Measured) -> list[str]:
    """Return the results in sentences."""
    lines = []
    for data, arms in found.drawn.outcomes.items():
        shown = "; ".join(f"{arm} {described(own)}" for arm, own in arms.items())
        lines.append(f"Drawn settings, {data}, mean coverage, high quality and lost mass: {shown}.")
    for data, arms in found.tuned.outcomes.items():
        shown = "; ".join(f"{arm} {described(own)}" for arm, own in arms.items())
        lines.append(f"Best settings, {data}: {shown}.")
    if found.untuned:
        lines.append("No file of best settings, so not run there: " + ", ".join(found.untuned)
                     + ".")  # fmt: skip
    for before, words in (("bce", "non-saturating"), ("bce_saturating", "saturating")):
        if found.branches:
            kept = modes_kept(found.branches, before, COVERAGE, RING)
            lines.append(
                f"From {words} weights, the twin that goes on under the non-saturating loss ends "
                f"with {np.mean(kept):+.2f} modes beyond its saturating twin ({len(kept)} seeds); "
                f"at the swap the saturating gradient is smaller by "
                f"{drop_at_swap(found.branches, before):.2f} decades."
            )
    lines.append(
        "Most drawn settings are bad for every arm, so their effects are small; the drawn part "
        "says what a change of loss does at settings that nobody chose. Best settings were found "
        "for networks of 3 x 64 and batch 256; in the quick budget width and batch are half of "
        "that, and the settings near the best only. Adam divides a gradient by its own size, so a "
        "gradient that is smaller for all samples alike changes little: the twins differ in which "
        "samples move."
    )
    return lines


def described(own: Sequence[Outcome]) -> str:
    coverage, quality = (
        np.mean([getattr(each, name) for each in own]) for name in ("coverage", "high_quality")
    )
    failed = sum(each.diverged for each in own)
    words = f"{coverage:.2f}, {quality:.2f}, {np.mean(lost_shares(own)):.2f}"
    return f"{words} ({failed} of {len(own)} diverged)" if failed else words


register_study(
    Study(
        name="mode_collapse",
        question="what prevents lost modes, the objective or the penalty?",
        claims=with_primary("penalty_coverage", CLAIMS),
        measure=measure,
        differs="As in the papers: the losses, and in budget=paper PacGAN's ring protocol. "
        "Differs: modes that are known instead of images; six arms at equal settings drawn from a "
        "neutral space, and each at its own best; the cause by an intervention.",
        protects={
            "loss": "the six arms are the question",
            "tuned": "the arms share drawn settings; each at its own best is run beside them",
        },
        version=3,
        rule=2,
    )
)


# The figure of the mode collapse study: simple effects, every arm at its best, the twins.
SHOWN = {COVERAGE: ("coverage", "#222222", "o", 0.16), LOST: ("1 − lost mass", "#D55E00", "s",
                                                                 -0.16)}  # fmt: skip
SHORT = {"bce": "NS", "bce_saturating": "saturating", "wasserstein": "W", "bce_gp": "NS + gp",
         "bce_saturating_gp": "saturating + gp", "gp": "W + gp", "clip": "W + clip"}  # fmt: skip
"""The names of arms by objective and constraint."""


def collapse_figure(drawn: Ended, tuned: Ended, branches: Sequence[Branch]) -> Figure:
    """Draw effects at drawn and at best settings above, arms at their best and twins below."""
    figure = new_figure(13, 9.6, "What prevents lost modes, the objective or the penalty?")
    panels = figure.subplots(2, 2)
    draw_effects(panels[0, 0], drawn, "Drawn settings, equal for all: simple effects")
    draw_effects(panels[0, 1], tuned, "Each arm at its best: simple effects")
    draw_arms(panels[1, 0], tuned)
    draw_twins(panels[1, 1], branches)
    return figure


def draw_effects(axes: Axes, found: Ended, title: str) -> None:
    """Draw each simple effect with its interval, by coverage and by the lost mass."""
    names: list[str] = []
    for quantity, (label, color, marker, shift) in SHOWN.items():
        effects = simple_effects(found, (*PENALTY, *OBJECTIVE), quantity)
        names = list(effects)
        for place, values in enumerate(effects.values()):
            y = len(effects) - 1 - place + shift
            interval = effect_interval(values, (-1.0, 1.0))
            if np.isfinite(interval.low):
                axes.plot([interval.low, interval.high], [y, y], color=color, linewidth=1.8)
            axes.plot(interval.value, y, marker, color=color, markersize=6,
                      label=label if place == 0 else None)  # fmt: skip
    shown = [" − ".join(SHORT[arm] for arm in name.split(" less ")) for name in names]
    axes.set_yticks(range(len(shown)), shown[::-1], fontsize=9)
    axes.axvline(0, color="#444444", linewidth=0.9)
    if names:
        axes.legend(frameon=False, fontsize=8.5, loc="best")
    style_axes(axes, title, "more modes kept, share (95 %)", "")


def draw_arms(axes: Axes, tuned: Ended) -> None:
    """Draw the modes that each arm lost at its best, a dot per seed, by data set."""
    arms = list(dict.fromkeys(arm for own in tuned.outcomes.values() for arm in own))
    for i, data in enumerate(tuned.outcomes):
        shift = (i - (len(tuned.outcomes) - 1) / 2) * 0.3
        for x, arm in enumerate(arms):
            if arm not in tuned.outcomes[data]:
                continue
            values = [tuned.modes[data] * (1 - c) for c in tuned.values(data, arm, COVERAGE)]
            spread = np.linspace(-0.08, 0.08, len(values))
            axes.plot(x + shift + spread, values, "o^sD"[i % 4], markersize=5, alpha=0.75,
                      color=LOSS_COLOURS.get(arm, OTHERS[0]))  # fmt: skip
        axes.plot([], [], "o^sD"[i % 4], color="#444444", linestyle="", label=data)
    axes.set_xticks(range(len(arms)), [SHORT[arm] for arm in arms], fontsize=8.5)
    axes.axhline(0.5, color="#444444", linestyle=":", linewidth=1)
    axes.set_ylim(bottom=-0.3)
    if tuned.outcomes:
        axes.legend(frameon=False, fontsize=8.5)
    style_axes(axes, "Each arm at its best: a dot per seed", "", "modes not covered")


def draw_twins(axes: Axes, branches: Sequence[Branch]) -> None:
    """Draw the mean coverage of the twins from the swap on, with a thin line per seed."""
    styles: Mapping[str, str] = {"bce": LOSS_COLOURS["bce"],
                                 "bce_saturating": LOSS_COLOURS["bce_saturating"]}  # fmt: skip
    for branch in branches:
        color = styles[branch.after]
        line = LINES[0] if branch.before == "bce" else LINES[1]
        for own in branch.coverage:
            axes.plot(branch.steps, own, color=color, linestyle=line, linewidth=0.6, alpha=0.35)
        axes.plot(branch.steps, np.mean(branch.coverage, axis=0), color=color, linestyle=line,
                  linewidth=2.2,
                  label=f"{SHORT[branch.before]}, then {SHORT[branch.after]}")  # fmt: skip
    if branches:
        axes.legend(frameon=False, fontsize=8.5, loc="best")
    axes.set_ylim(-0.03, 1.05)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    style_axes(axes, "Intervention: the generator's loss is swapped", "generator steps",
          "modes with a fair share (share)")  # fmt: skip
