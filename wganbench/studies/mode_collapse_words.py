"""The mode collapse study in rows and in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from wganbench.studies.factorial import Effects
from wganbench.studies.mode_collapse_runs import SATURATING, Measured, lost_shares
from wganbench.studies.mode_loss import Order, precedence
from wganbench.studies.outcomes import Outcome, bounded_interval
from wganbench.studies.study import Cell

ORDERED = ("bce", SATURATING, "clip")
"""Losses whose order of events the text tells."""
QUANTITIES = ("coverage", "high_quality", "kl", "w1")


def row(part: str, what: str, quantity: str, values: Sequence[float], note: str) -> dict[str, Cell]:
    """A line of the table: mean over seeds with its interval."""
    low, high = (-1.0, 1.0) if quantity in ("coverage", "high_quality") else (-20.0, 20.0)
    found = bounded_interval(values, low, high)
    ends = (found.low, found.high) if found.method == "Student's t" else (None, None)
    return {
        "part": part, "what": what, "quantity": quantity, "n": len(values), "mean": found.value,
        "low": ends[0], "high": ends[1], "note": note or found.note,
    }  # fmt: skip


def arm_rows(measured: Measured) -> list[dict[str, Cell]]:
    """Every arm's outcomes."""
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
    """Main effects and interaction on every quantity."""
    return [
        row("effect", field.name, quantity, getattr(measured.values(quantity), field.name), "")
        for quantity in QUANTITIES
        for field in fields(Effects)
    ]


def order_rows(measured: Measured) -> list[dict[str, Cell]]:
    """Steps of the events, over the seeds in which they happened."""
    return [
        row("events", arm, f"step of {what}", steps, f"in {len(steps)} of {len(orders)} seeds")
        for arm, orders in measured.orders.items()
        for what in ("loss", "feedback", "gradient")
        if (steps := [float(s) for o in orders if (s := getattr(o, what)) is not None])
    ]


def text(measured: Measured) -> list[str]:
    """What was seen, in sentences."""
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
    """Coverage with the share of high quality, and how many diverged."""
    quality = sum(outcome.high_quality for outcome in ended) / len(ended)
    failed = sum(outcome.diverged for outcome in ended)
    words = f"{mean_of([outcome.coverage for outcome in ended])}, high quality {quality:.2f}"
    return f"{words}, {failed} diverged" if failed else words


def mean_of(values: Sequence[float]) -> str:
    """The mean with Student's interval where the seeds differ."""
    found = bounded_interval(values, -1.0, 1.0)
    if found.method != "Student's t":
        return f"{found.value:.2f} (all seeds)"
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def events(arm: str, orders: Sequence[Order]) -> str:
    """How often the signals dropped before modes were lost."""
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
