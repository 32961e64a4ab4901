"""What prevents lost modes, the objective or the penalty?

Measured: four arms {BCE, W} x {no penalty, gradient penalty} (losses bce, wasserstein, bce_gp,
gp) with the same n_critic, optimizer, rates, batch, steps, networks and, at equal critic step,
the same real data. Per seed, with y the outcome of an arm:
penalty = ((y_bce_gp + y_gp) - (y_bce + y_wasserstein)) / 2, objective likewise,
interaction = (y_gp - y_wasserstein) - (y_bce_gp - y_bce), of coverage (share of modes with at
least a fifth of their fair share), KL of the modes' shares, and exact W1. A run that diverged
counts as coverage 0 and the largest KL, ln K for equal modes; none is dropped. KL is over all
samples by nearest mode (protocol box): coverage also falls where modes are blurred, KL does not.
Beside them every loss at its tuned setting (conf/tuned), with equal compute for all; the
unconstrained W has none. And in those runs the order of events: the first lasting loss of a
mode against the first drop of critic/feedback, or of grad_norm/sample, under half of its running
median; with equal settings BCE never has the modes that it could lose.

As in the papers: the losses. Differs: arXiv:1701.07875 saw "no evidence of mode collapse" on
images and arXiv:1710.08446 compared scores on images; here the modes are known. Shorter runs
than those papers' unless ``budget=paper``, which adds arXiv:1712.04086's ring protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from wganbench.studies.evidence import Outcome, bounded_evidence, bounded_interval, sign_evidence
from wganbench.studies.mode_collapse.figure import collapse_figure
from wganbench.studies.mode_collapse.measure import (
    SATURATING,
    Effects,
    Measured,
    Order,
    common_arms,
    gather,
    lost_shares,
    pacgan_arms,
    precedence,
    tuned_arms,
)
from wganbench.studies.study import Cell, Context, Findings, Study, register_study
from wganbench.studies.verdicts import Claim, Evidence, with_primary

# The claims on mode collapse, written down before the deciding seeds were run.
LOST = "1 - exp(-KL of all samples by nearest mode), at tuned settings"
ON_COVERAGE = "effect on coverage, seed by seed"
ORDER = "seeds in which feedback drops before modes are lost, less those in which it does not"
FEDUS = "arXiv:1710.08446"


def lost(
    name: str, text: str, source: str, kind: str, smallest: float, spread: float | None = None
) -> Claim:
    return Claim(name, text, source, kind, LOST, "of the modes", smallest, spread=spread)


def compared(name: str, text: str, source: str, spread: float) -> Claim:
    return Claim(name, text, source, "comparative", ON_COVERAGE, "of the modes", 0.25,
                 spread=spread)  # fmt: skip


def causes(name: str, text: str) -> Claim:
    source = "widely taught, after arXiv:1701.04862, Section 2"
    return Claim(name, text, source, "comparative", ORDER, "of the seeds", 0.5, spread=0.66)


CLAIMS: tuple[Claim, ...] = (
    lost("clip_eliminates", "WGAN with clipping shows no mode collapse", "arXiv:1701.07875, "
         "Section 4.3", "universal", 0.1),
    lost("gp_eliminates", "WGAN-GP eliminates mode collapse", "widely taught, after "
         "arXiv:1704.00028", "universal", 0.1),
    lost("bce_collapses", "The non-saturating GAN loses modes", "arXiv:1705.07761, Table 1",
         "comparative", 0.125, spread=0.15),
    lost("bce_saturating_collapses", "The saturating GAN loses modes", "arXiv:1705.07761, "
         "Table 1", "comparative", 0.125, spread=0.15),
    compared("penalty", "The gradient penalty prevents mode collapse, whatever the objective",
             FEDUS, 0.1),
    compared("objective", "The Wasserstein objective prevents mode collapse, with or without a "
             "penalty", "arXiv:1701.07875, Section 4.3", 0.1),
    compared("penalty_over_objective", "The penalty, not the objective, prevents mode collapse: "
             "BCE with it keeps more modes than W without", FEDUS, 0.15),
    compared("interaction", "The Wasserstein objective needs the penalty more than BCE does",
             "arXiv:1704.00028, Section 4", 0.15),
    Claim("objective_with_penalty", "With the penalty in place, the Wasserstein objective "
          "spreads samples over modes more evenly than BCE", f"{FEDUS}, against it",
          "comparative", "KL of bce_gp less KL of gp, seed by seed", "nats", 0.02, spread=0.02),
    causes("gradient_first_bce", "A vanishing gradient precedes the loss of modes: "
           "non-saturating GAN"),
    causes("gradient_first_bce_saturating", "A vanishing gradient precedes the loss of modes: "
           "saturating GAN"),
)  # fmt: skip
CLAIMS = with_primary("penalty", CLAIMS)
SMALLEST = {claim.name: claim.smallest for claim in CLAIMS}


# The results of the study as rows and as sentences.
ORDERED = ("bce", SATURATING, "clip")
"""The losses whose order of events the text describes."""
QUANTITIES = ("coverage", "high_quality", "kl", "w1")


def row(part: str, what: str, quantity: str, values: Sequence[float], note: str) -> dict[str, Cell]:
    """Return a row of the table: the mean over seeds with its interval."""
    low, high = (-1.0, 1.0) if quantity in ("coverage", "high_quality") else (-20.0, 20.0)
    found = bounded_interval(values, low, high)
    ends = (found.low, found.high) if found.method == "Student's t" else (None, None)
    return {
        "part": part, "what": what, "quantity": quantity, "n": len(values), "mean": found.value,
        "low": ends[0], "high": ends[1], "note": note or found.note,
    }  # fmt: skip


def arm_rows(measured: Measured) -> list[dict[str, Cell]]:
    """Return rows with every arm's outcomes."""
    parts = {"equal settings": measured.common, "tuned": measured.tuned, "pacgan": measured.pacgan}
    found = []
    for part, arms in parts.items():
        for arm, ended in arms.items():
            failed = sum(outcome.diverged for outcome in ended)
            note = f"{failed} diverged, counted as the worst case" if failed else ""
            for quantity in QUANTITIES:
                values = [getattr(outcome, quantity) for outcome in ended]
                found.append(row(part, arm, quantity, values, note))
    return found


def effect_rows(measured: Measured) -> list[dict[str, Cell]]:
    """Return rows with main effects and interaction for every quantity."""
    return [
        row("effect", field.name, quantity, getattr(measured.values(quantity), field.name), "")
        for quantity in QUANTITIES
        for field in fields(Effects)
    ]


def order_rows(measured: Measured) -> list[dict[str, Cell]]:
    """Return rows with the steps of the events, over the seeds in which they happened."""
    return [
        row("events", arm, f"step of {what}", steps, f"in {len(steps)} of {len(orders)} seeds")
        for arm, orders in measured.orders.items()
        for what in ("loss", "feedback", "gradient")
        if (steps := [float(s) for o in orders if (s := getattr(o, what)) is not None])
    ]


def text(measured: Measured) -> list[str]:
    """Return the results in sentences."""
    share = measured.values("coverage")
    return [
        "With equal settings, coverage at the end: "
        + "; ".join(f"{arm} {shown(ended)}" for arm, ended in measured.common.items())
        + ". A run that diverged counts as coverage 0 and KL "
        + f"{measured.worst_kl:.2f}.",
        f"Effect on coverage: penalty {mean_of(share.penalty)}, Wasserstein objective "
        f"{mean_of(share.objective)}, interaction {mean_of(share.interaction)}; with the penalty "
        f"in place the objective changes it by {mean_of(share.objective_with_penalty)}.",
        "At tuned settings, share of modes lost whatever the samples' quality, 1 - exp(-KL): "
        + ("; ".join(tuned_words(*item) for item in measured.tuned.items()) or "not run")
        + ".",
        *(events(arm, orders) for arm, orders in measured.orders.items() if arm in ORDERED),
        "A mode is lost only by a run that had it: a run that is collapsed from the start has no "
        "order of events. That a drop comes first does not show that it causes the loss; where it "
        "does not come first it cannot be the cause. The unconstrained W arm shows only what "
        "these rates do.",
    ]


def tuned_words(arm: str, ended: Sequence[Outcome]) -> str:
    return f"{arm} {mean_of(lost_shares(ended))}, coverage {shown(ended)}"


def shown(ended: Sequence[Outcome]) -> str:
    """Return coverage, high-quality share and number of diverged runs as text."""
    quality = sum(outcome.high_quality for outcome in ended) / len(ended)
    failed = sum(outcome.diverged for outcome in ended)
    words = f"{mean_of([outcome.coverage for outcome in ended])}, high quality {quality:.2f}"
    return f"{words}, {failed} diverged" if failed else words


def mean_of(values: Sequence[float]) -> str:
    """Return the mean as text, with Student's interval if the seeds differ."""
    found = bounded_interval(values, -1.0, 1.0)
    if found.method != "Student's t":
        return f"{found.value:.2f} (all seeds)"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def events(arm: str, orders: Sequence[Order]) -> str:
    """Return a sentence on how often the signals dropped before modes were lost."""
    lossy = [order for order in orders if order.loss is not None]
    first = {
        name: sum(precedence(o.loss, getattr(o, name)) == 1 for o in lossy)
        for name in ("feedback", "gradient")
    }
    return (
        f"{arm} as tuned: {len(lossy)} of {len(orders)} seeds lost a mode for good that "
        f"they had; before that, critic/feedback had dropped under half of its running median in "
        f"{first['feedback']} of them, grad_norm/sample in {first['gradient']}."
    )


def measure(context: Context) -> Findings:
    """Train all runs together, then compute effects, tables and the order of events."""
    groups = {
        "common": common_arms(context),
        "tuned": tuned_arms(context),
        "pacgan": pacgan_arms(context),
    }
    arms = {f"{group}/{arm}": o for group, own in groups.items() for arm, o in own.items()}
    measured = gather(context.train(arms))
    figure = collapse_figure(measured.common, measured.tuned, measured.orders, measured.runs)
    rows = [*arm_rows(measured), *effect_rows(measured), *order_rows(measured)]
    return Findings(evidence(measured), rows, {"figure": figure}, text(measured))


def evidence(measured: Measured) -> dict[str, Evidence]:
    """Return the evidence by claim."""
    share, worst = measured.values("coverage"), measured.worst_kl
    found = {
        name: judged(name, getattr(share, name), -1.0, 1.0)
        for name in ("penalty", "objective", "penalty_over_objective")
    }
    found["interaction"] = judged("interaction", share.interaction, -2.0, 2.0)
    better = [-value for value in measured.values("kl").objective_with_penalty]
    found["objective_with_penalty"] = judged("objective_with_penalty", better, -worst, worst)
    for loss in ("clip", "gp"):
        found[f"{loss}_eliminates"] = Evidence(lost_shares(measured.tuned.get(loss, [])))
    for loss in ("bce", SATURATING):
        shares = lost_shares(measured.tuned.get(loss, []))
        found[f"{loss}_collapses"] = judged(f"{loss}_collapses", shares, 0.0, 1.0)
        orders = measured.orders.get(loss, [])
        found[f"gradient_first_{loss}"] = order_evidence(f"gradient_first_{loss}", orders)
    return found


def judged(claim: str, values: Sequence[float], low: float, high: float) -> Evidence:
    """Return evidence from numbers in [low, high], one per seed."""
    return bounded_evidence(values, low, high, SMALLEST[claim])


def order_evidence(claim: str, orders: Sequence[Order]) -> Evidence:
    """Return evidence on the order of events; the note counts seeds that lost no modes."""
    signs = [precedence(order.loss, order.feedback) for order in orders]
    kept = sum(sign is None for sign in signs)
    ties = sum(sign == 0 for sign in signs)
    note = f"{kept} of {len(signs)} seeds lost no mode after having it, {ties} are ties"
    return sign_evidence([sign for sign in signs if sign is not None], SMALLEST[claim], note)


register_study(
    Study(
        name="mode_collapse",
        question="what prevents lost modes, the objective or the penalty?",
        claims=CLAIMS,
        measure=measure,
        differs="As in the papers: the losses, and in budget=paper PacGAN's ring protocol. "
        "Differs: modes that are known instead of images; equal settings for the four arms, "
        "which are the tuned ones of gp and bce_gp; shorter runs in the quick budget.",
        protects={
            "loss": "the four losses are the question",
            "tuned": "the four arms share their settings; every loss as tuned is run beside them",
        },
    )
)
