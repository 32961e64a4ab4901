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

from wganbench.studies.claim import Evidence
from wganbench.studies.context import Context
from wganbench.studies.mode_collapse_claims import CLAIMS, SMALLEST
from wganbench.studies.mode_collapse_figure import collapse_figure
from wganbench.studies.mode_collapse_runs import (
    SATURATING,
    Measured,
    common_arms,
    gather,
    lost_shares,
    pacgan_arms,
    tuned_arms,
)
from wganbench.studies.mode_collapse_words import arm_rows, effect_rows, order_rows, text
from wganbench.studies.mode_loss import Order, precedence
from wganbench.studies.outcomes import bounded_evidence, sign_evidence
from wganbench.studies.study import Findings, Study, register_study


def measure(context: Context) -> Findings:
    """All runs in one go, then effects, tables and the order of events."""
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
    """By claim."""
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
    """Evidence from numbers in [low, high], one a seed."""
    return bounded_evidence(values, low, high, SMALLEST[claim])


def order_evidence(claim: str, orders: Sequence[Order]) -> Evidence:
    """Only seeds that lost modes have an order; how many did not stands in the note."""
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
