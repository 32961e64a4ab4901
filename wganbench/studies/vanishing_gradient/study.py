"""Does the generator's gradient vanish as the critic gets better?

A generator is frozen after little, some and much training, and a critic is trained against it from
scratch until it is at rest. g(t) = ||grad_theta L_G||_2 is measured over all fixed latents, in
float64, after t critic steps. The statistic of a seed is log10(max g before the end / g(end)), the
decades by which the gradient has fallen from its own maximum; it is below 0 where the gradient
still grows. A gradient has vanished if it fell to 1 % of its maximum while the samples are bad. The
critic's accuracy, saturation and feedback are measured beside it.

As in the paper (arXiv:1701.04862, Figure 2): three stages of training, critics from scratch, the
discriminator's own loss and rate's kind, both generator objectives. Different: see `DIFFERS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from wganbench.drawing.canvas import BLACK, GREY
from wganbench.errors import ConfigError
from wganbench.metrics import wasserstein_exact
from wganbench.reports.drawing import (
    LINES,
    LOSS_COLOURS,
    MARKERS,
    key_below,
    new_figure,
    style_axes,
)
from wganbench.studies.evidence import bounded_evidence, mean_of_known
from wganbench.studies.rest import RIGHT, untrained_rows
from wganbench.studies.study import Cell, Context, Findings, Study, log10, register_study
from wganbench.studies.vanishing_gradient.measure import (
    READ,
    Frozen,
    Record,
    decades_fallen,
    faster,
    follow,
    line_settings,
    settings,
    skew_lines,
    trained_generators,
)
from wganbench.studies.verdicts import Claim, Evidence, with_primary
from wganbench.tags.lookup import FAR_FROM_FLOOR
from wganbench.training.device import pick_device
from wganbench.training.streams import stream_generator

STAGES = ("little", "some", "much")
LINE = "line"
CASES = (*(f"bce_{stage}" for stage in STAGES), LINE)
"""The cases that decide the claims; the generators trained by GP are the second panel."""
SECOND = tuple(f"gp_{stage}" for stage in STAGES)
FLOOR = "floor"
"""Key, among the distances, of that of a perfect generator."""
CRITICS = ("bce", "clip", "gp")
CONTROLS = ("lp", "bce_gp", "bce_r1", "wasserstein")
WORDS = {
    LINE: "a line in 10 dimensions, generator on another",
    **{f"{by}_{stage}": f"ring8, generator trained {stage} by {by.upper()}"
       for by in ("bce", "gp") for stage in STAGES},
}  # fmt: skip

VANISHED = 2.0
"""Decades under its own maximum at which a gradient is called vanished: 1 %."""
PUSHED = 0.5
"""A smaller rise of the share of points near 0 and 1 is not of interest."""
EARLY = 50
"""Critic steps within which the paper's discriminators are right everywhere."""

FALLEN = "log10(largest norm of the generator's gradient before the end / norm at the end)"


def bce_claim(loss: str, case: str) -> Claim:
    saturating = loss == "bce_saturating"
    which = "saturating" if saturating else "non-saturating"
    source = "arXiv:1701.04862, Figure 2" if saturating else "courses; arXiv:1701.04862 says no"
    return Claim(
        f"{loss}_{case}",
        f"BCE, {which}: the generator's gradient vanishes as D gets better ({WORDS[case]})",
        source, "comparative", FALLEN, "decades", VANISHED, spread=SPREADS[loss, case],
    )  # fmt: skip


def critic_claim(loss: str, case: str) -> Claim:
    named = {"clip": "WGAN-clip (c 0.01)", "gp": "WGAN-GP (lambda 10)"}[loss]
    return Claim(
        f"{loss}_{case}",
        f"{named}: the generator's gradient does not vanish as D gets better ({WORDS[case]})",
        "arXiv:1701.07875, Figure 2 and section 3", "universal", FALLEN, "decades", VANISHED,
    )  # fmt: skip


def accuracy_claim(case: str) -> Claim:
    return Claim(
        f"accuracy_{case}",
        f"the discriminator is right everywhere within {EARLY} steps ({WORDS[case]})",
        "arXiv:1701.04862, Figures 1 and 2", "universal",
        f"1 - largest accuracy within {EARLY} steps", "of all points", 0.01,
    )  # fmt: skip


def pushed_claim(case: str) -> Claim:
    return Claim(
        f"pushed_{case}",
        f"the discriminator's outputs are pushed to 0 and 1 as it trains ({WORDS[case]})",
        "teaching material; arXiv:1701.04862, Figure 1", "comparative",
        "rise of the smaller of two shares: fakes below 1 % and reals above 99 %", "of the points",
        PUSHED, spread=0.05,
    )  # fmt: skip


SPREADS = {
    (loss, case): (0.6 if loss == "bce_saturating" else 0.3)
    for loss, case in product(READ["bce"], CASES)
}
"""Standard deviations between the seeds 100 to 102, in decades, rounded up."""

CLAIMS = with_primary(
    "bce_saturating_line",
    [
        *(bce_claim(loss, case) for loss, case in product(READ["bce"], CASES)),
        *(critic_claim(loss, case) for loss, case in product(("clip", "gp"), CASES)),
        *(accuracy_claim(case) for case in CASES),
        *(pushed_claim(case) for case in CASES),
    ],
)

Records = dict[tuple[str, str], list[Record]]
"""By objective and case: one record per seed."""


def measure(context: Context) -> Findings:
    device = pick_device(context.settings.device)
    for key in ("bce_stages", "gp_stages"):
        if len(set(context[key])) != len(STAGES):
            raise ConfigError(f"{key} needs {len(STAGES)} different numbers: {', '.join(STAGES)}")
    records, distances = measure_all(context, device)
    evidence = {
        **{f"{loss}_{case}": fallen(records[loss, case], loss, case, distances)
           for loss, case in product((*READ["bce"], "clip", "gp"), CASES)},
        **{f"accuracy_{case}": early_error(records["bce", case]) for case in CASES},
        **{f"pushed_{case}": pushed(records["bce", case]) for case in CASES},
    }  # fmt: skip
    rows = list(table(context, records))
    figures = draw(records, STAGES)
    return Findings(evidence, rows, figures, text(context, records, distances))


def measure_all(context: Context, device: torch.device) -> tuple[Records, dict[str, float]]:
    """Return the records of all losses and cases, and each frozen generator's distance."""
    generators = cache(lambda: ring_generators(context, device))
    about = {"settings": context.settings.values, "seeds": context.seeds}

    def all_distances() -> dict[str, float]:
        found = {case: distance(group) for case, group in generators().items()}
        return found | {FLOOR: distance(generators()["bce_much"], floor=True)}

    distances: dict[str, float] = context.remember("distances", about, all_distances)
    records: Records = {}
    for loss in (*CRITICS, *(CONTROLS if context["controls"] else ())):

        def compute(loss: str = loss) -> dict[str, list[dict[str, Record]]]:
            context.say(f"critics of {loss} against frozen generators")
            return critics(context, loss, generators(), device)

        for case, found in context.remember(loss, about | {"loss": loss}, compute).items():
            for name in READ.get(loss, (loss,)):
                records[name, case] = [entry[name] for entry in found]
    return records, distances


def ring_generators(context: Context, device: torch.device) -> dict[str, list[Frozen]]:
    """Return the frozen generators of both panels by case, one per seed."""
    found: dict[str, list[Frozen]] = {}
    for loss in ("bce", "gp"):
        context.say(f"generators trained by {loss}")
        stages = sorted(context[f"{loss}_stages"])
        config = settings(loss, context["batch_size"], f"tuned={loss}-ring8")
        trained = trained_generators(config, stages, context.seeds, device)
        found |= {f"{loss}_{stage}": g for stage, g in zip(STAGES, trained, strict=True)}
    return found


def critics(
    context: Context, loss: str, generators: Mapping[str, list[Frozen]], device: torch.device
) -> dict[str, list[dict[str, Record]]]:
    """Train one loss's critics from scratch against all generators; return records by case."""
    size, seeds, factor = context["batch_size"], list(context.seeds), context["rate_factor"]
    rest = ((context["first"], context["most"]), context["points"], device)
    ring = faster(settings(loss, size, "tuned=none"), factor)
    found = {case: follow(ring, group, seeds, *rest) for case, group in generators.items()}
    lines = [skew_lines(context["dimensions"], seed, device) for seed in seeds]
    line = faster(line_settings(loss, size, context["dimensions"]), factor)
    return found | {LINE: follow(line, lines, seeds, *rest)}


def distance(generators: Sequence[Frozen], n: int = 1000, floor: bool = False) -> float:
    """Return the mean exact W1 of n fakes and n reals; with ``floor`` of two sets of reals."""
    values = []
    for seed, frozen in enumerate(generators):
        draw = frozen.reals if floor else frozen.fakes
        fakes = draw(n, stream_generator(seed, "distance_fake", 0))
        reals = frozen.reals(n, stream_generator(seed, "distance_real", 0))
        values.append(wasserstein_exact(reals, fakes))
    return sum(values) / len(values)


def fallen(
    records: Sequence[Record], loss: str, case: str, distances: Mapping[str, float]
) -> Evidence:
    """Return the decades of fall, one per seed.

    They decide nothing for a critic that was not trained, and none for samples that have arrived:
    there a small gradient would be right.
    """
    said = "the supports have no point in common"
    arrived = ""
    if case != LINE:
        far, floor = distances[case], distances[FLOOR]
        said = f"exact W1 of these generators {far:.2f}, floor {floor:.2f}"
        arrived = "" if far > FAR_FROM_FLOOR * floor else f"the samples are not bad: {said}"
    if loss in READ["bce"]:
        said = f"the discriminator ends with accuracy {final_accuracy(records):.3f}; {said}"
    steps = records[0]["rest"]["steps"]
    values = [decades_fallen(record["norm"]) for record in records]
    note = f"{said}; {steps} critic steps"
    untrained = not_trained(records, loss)
    if not untrained and untrained_rows([record["rest"] for record in records]):
        note += ", at which the norm still moves: D is right everywhere, and its logits grow"
    return Evidence(values, note=note, undecided=untrained or arrived)


def not_trained(records: Sequence[Record], loss: str) -> str:
    """Return why nothing is decided about an optimal critic: it is neither right nor at rest."""
    if loss in READ["bce"] and final_accuracy(records) >= RIGHT:
        return ""
    return untrained_rows([record["rest"] for record in records])


def final_accuracy(records: Sequence[Record]) -> float:
    return mean_of_known([record["accuracy"][-1] for record in records])


def early_error(records: Sequence[Record]) -> Evidence:
    early = [[a for a, step in zip(r["accuracy"], r["step"], strict=True) if step <= EARLY]
             for r in records]  # fmt: skip
    return Evidence([1 - max(accuracies) for accuracies in early])


def pushed(records: Sequence[Record]) -> Evidence:
    """Return by how much the share of points near 0 and 1 rose, of fakes or reals the smaller."""
    shares = [[min(pair) for pair in zip(r["saturation"], r["saturation_real"], strict=True)]
              for r in records]  # fmt: skip
    rises = [share[-1] - share[0] for share in shares]
    found = bounded_evidence(rises, -1.0, 1.0, PUSHED)
    return replace(found, undecided=untrained_rows([r["pushed_rest"] for r in records]))


def table(context: Context, records: Records) -> Any:
    for (loss, case), found in records.items():
        for seed, record in zip(context.seeds, found, strict=True):
            for i, step in enumerate(record["step"]):
                row: dict[str, Cell] = {"case": case, "loss": loss, "seed": seed}
                bce = loss.startswith("bce")
                yield row | {
                    "critic_step": step,
                    "generator_gradient": record["norm"][i],
                    "feedback": record["feedback"][i],
                    "accuracy": record["accuracy"][i] if bce else None,
                    "saturation": record["saturation"][i] if bce else None,
                    "saturation_real": record["saturation_real"][i] if bce else None,
                    **record["rest"],
                }


def text(context: Context, records: Records, distances: Mapping[str, float]) -> list[str]:
    """Return the results in sentences, case by case."""
    lines = [
        "Decades by which the norm of the generator's gradient lies under its own maximum after "
        f"critics trained from scratch (mean of {len(context.seeds)} seeds; 2 decades, 1 %, "
        "count as vanished; below 0 it still grows), with the norm at the end and how many decades "
        "that is above the norm after step 1."
    ]
    for case in (*CASES, *SECOND):
        losses = dict.fromkeys(loss for loss, _ in records)
        parts = [in_words(loss, records[loss, case]) for loss in losses]
        accuracy = mean_of_known([r["accuracy"][-1] for r in records["bce", case]])
        saturated = mean_of_known([r["saturation"][-1] for r in records["bce", case]])
        far = "" if case == LINE else f" (exact W1 {distances[case]:.2f})"
        lines.append(
            f"{WORDS[case]}{far}: {', '.join(parts)}. The discriminator ends with accuracy "
            f"{accuracy:.3f} and {saturated:.0%} of the fakes under a probability of 1 %. "
            + resting(records, case)
        )
    lines.append(
        "Where supports overlap no discriminator is right everywhere, and what is said of ring8 "
        "holds as far as these steps have taken it: see its accuracy. Each loss is held against "
        "its own maximum, so a gradient can be small throughout and yet not vanish: see its norm."
    )
    lines.append(
        "A norm that falls shows less gradient, not less use of it: Adam rescales it until it "
        "underflows. Nothing here trains the generator on; the studies critic_strength and "
        "mode_collapse do."
    )
    return lines


def resting(records: Records, case: str) -> str:
    """Return a sentence on the steps of each loss, and on which critics are not at rest."""
    found = {loss: own[0]["rest"] for (loss, of), own in records.items() if of == case}
    parts = [f"{loss} {rest['steps']}{'' if rest['at_rest'] else ' (not at rest)'}"
             for loss, rest in found.items()]  # fmt: skip
    return f"Critic steps: {', '.join(parts)}."


def in_words(loss: str, records: Sequence[Record]) -> str:
    """Return as text the decades below the maximum, the final norm (geometric mean), its rise."""
    fallen = [decades_fallen(record["norm"]) for record in records]
    rises = [decades_fallen([record["norm"][-1], record["norm"][0]]) for record in records]
    norms = [log10(record["norm"][-1]) for record in records]
    return (
        f"{loss} {mean_of_known(fallen):.2f} (norm {10 ** mean_of_known(norms):.2g}, "
        f"{mean_of_known(rises):+.2f})"
    )


DIFFERS = (
    "As in arXiv:1701.04862, Figure 2: a generator after three lengths of training, frozen, a "
    "discriminator from scratch, batch 64. Different: ring8 and two skew lines in 10 dimensions, "
    "networks of 3 x 64 units in place of DCGANs on LSUN; the saturating and the non-saturating "
    "objective read from the same discriminators; WGAN critics beside them; gradients over 4 096 "
    "fixed latents in float64 in place of a batch in single precision; critics train until they "
    "are at rest in place of 4 000 steps; in the quick budget 1 024 latents, and five times the "
    "losses' published rates."
)

register_study(
    Study(
        "vanishing_gradient",
        "does the generator's gradient vanish as the critic gets better?",
        CLAIMS,
        measure,
        DIFFERS,
        protects={
            "loss": "its claims compare the losses",
            "dimensions": "its claims name 10 dimensions",
            "n_critic": "the generator is frozen: there are critic steps only",
            "generator_lr": "the generator is frozen",
            "precision": "gradients are read in float64; smaller ones underflow",
            "train.decay": "rest is judged at constant rates",
        },
        version=5,
    )
)


# The figures of `vanishing_gradient`: norms above, the discriminator's statistics below.
BELOW: dict[str, tuple[str, Any, str]] = {
    "accuracy": (BLACK, "-", "D"),
    "saturation": (GREY, "--", "v"),
}
"""Colour, line and marker of the lower panels' curves."""


def draw(records: Records, stages: Sequence[str]) -> dict[str, Figure]:
    """Return ``figure`` (generators trained by BCE, and the lines) and ``trained_by_gp``."""
    titles = {f"{by}_{stage}": f"ring8, {stage} training" for by in ("bce", "gp")
              for stage in stages}  # fmt: skip
    first = {f"bce_{stage}": titles[f"bce_{stage}"] for stage in stages}
    second = {f"gp_{stage}": titles[f"gp_{stage}"] for stage in stages}
    return {
        "figure": panels(records, first | {"line": "two skew lines in 10-D"},
                         "A frozen generator (trained by BCE) and critics from scratch"),
        "trained_by_gp": panels(records, second,
                                "A frozen generator (trained by GP) and critics from scratch"),
    }  # fmt: skip


def panels(records: Records, cases: Mapping[str, str], title: str) -> Figure:
    """Draw one column per case: the median seed as a line, all seeds as a band.

    The feedback below is that of the first two losses, both of BCE; a W-loss's is always 1.
    """
    figure = new_figure(3.4 * len(cases), 6.6, title)
    axes = figure.subplots(2, len(cases), sharex=True, sharey="row", squeeze=False)
    losses = list(dict.fromkeys(loss for loss, _ in records))
    for column, (case, name) in enumerate(cases.items()):
        top, bottom = axes[0, column], axes[1, column]
        left = column == 0
        style_axes(top, name, "", "norm of the generator's gradient" if left else "")
        style_axes(bottom, "", "critic steps", "share of points, or feedback" if left else "")
        top.set(xscale="log", yscale="log")
        for i, loss in enumerate(losses):
            curve(top, records[loss, case], "norm", loss_style(loss, i))
        for key, (color, line, marker) in BELOW.items():
            style = {"color": color, "linestyle": line, "marker": marker}
            curve(bottom, records["bce", case], key, style)
        for i, loss in enumerate(losses[:2]):
            curve(bottom, records[loss, case], "feedback", loss_style(loss, i))
        bottom.set_ylim(-0.03, 1.03)
    handles = [Line2D([], [], markersize=5, **loss_style(loss, i)) for i, loss in enumerate(losses)]
    handles += [
        Line2D([], [], color=color, linestyle=line, marker=marker, markersize=5)
        for color, line, marker in BELOW.values()
    ]
    names = [f"{loss} (below: feedback)" if i < 2 else loss for i, loss in enumerate(losses)]
    key_below(
        figure, handles, [*names, "accuracy of D (bce)", "share of fakes with sigmoid(D) < 0.01"]
    )
    return figure


def loss_style(loss: str, i: int) -> dict[str, Any]:
    return {
        "color": LOSS_COLOURS[loss],
        "linestyle": LINES[i % len(LINES)],
        "marker": MARKERS[i % len(MARKERS)],
    }


def curve(
    axes: Axes,
    records: Sequence[Mapping[str, Any]],
    key: str,
    style: Mapping[str, Any],
) -> None:
    """Draw the median over seeds and the range of all."""
    at = records[0]["step"]
    values = np.array([record[key] for record in records], dtype=np.float64)
    axes.plot(at, np.median(values, axis=0), linewidth=1.7, markersize=4, **style)
    axes.fill_between(at, values.min(axis=0), values.max(axis=0), color=style["color"],
                      alpha=0.15, linewidth=0)  # fmt: skip
