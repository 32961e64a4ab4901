"""Dirac-GAN: does training converge where the equilibrium is known?

Theta and psi follow plain gradient steps of both players, exact in float64, with the data at 0, the
generator at theta and D(x) = psi x. The distance is r = sqrt(theta^2 + psi^2) after n steps.
Convergence is judged by rates over the last decade of steps, so that the budget decides nothing.

As in the paper: the game, step size 0.2, start at distance sqrt(2), 500 steps, gamma 0.3, clip
1. Differs: 5 000 steps as well; our critic is high on reals, so psi has the other sign; both
simultaneous and alternating steps; R1 for both generator objectives.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wganbench.studies.dirac.figure import dirac_figure
from wganbench.studies.dirac.game import (
    FIELD_TOLERANCE,
    SIMULTANEOUS,
    Method,
    decades_lost,
    field_error,
    kept_distance,
    methods,
    power_of_steps,
    radius,
    trajectory,
)
from wganbench.studies.study import Cell, Context, Findings, Study, register_study
from wganbench.studies.verdicts import Claim, Evidence, with_primary

Paths = dict[tuple[str, int], np.ndarray]
"""Trajectories by method and number of critic steps."""

STAYS = "share of the distance that ten times as many steps keep, 10^(d log r / d log n)"
LOSES = "decades of distance lost in 100 steps, slower half of the first steps"
PAPER = "arXiv:1801.04406"


def stays_away(name: str, text: str, source: str) -> Claim:
    return Claim(name, text, source, "comparative", STAYS, "of the distance", 0.5, exact=True)


def converges(name: str, text: str) -> Claim:
    source = f"{PAPER}, Section 4.1 and abstract"
    return Claim(name, text, source, "comparative", LOSES, "decades", 0.2, exact=True)


NOT_CONVERGENT = "Unregularised GAN training does not converge"
WGAN = "a fixed number of critic steps does not converge"
CLAIMS = with_primary("non_saturating_alternating", (
    stays_away("saturating_simultaneous", f"{NOT_CONVERGENT}: saturating, simultaneous steps",
               f"{PAPER}, Lemma 2.3"),
    stays_away("saturating_alternating", f"{NOT_CONVERGENT}: saturating, alternating steps",
               f"{PAPER}, Section 2.2"),
    stays_away("non_saturating_simultaneous",
               f"{NOT_CONVERGENT}: non-saturating, simultaneous steps", f"{PAPER}, Section 2.2"),
    stays_away("non_saturating_alternating",
               f"{NOT_CONVERGENT}: non-saturating, alternating steps", f"{PAPER}, abstract"),
    stays_away("clip", f"WGAN with clipping and {WGAN}", f"{PAPER}, abstract and Section 3"),
    stays_away("gp", f"WGAN-GP with {WGAN}", f"{PAPER}, abstract and Section 3"),
    converges("r1_saturating", "A zero-centred penalty on reals makes the saturating GAN "
              "converge, at a linear rate"),
    converges("r1_non_saturating", "A zero-centred penalty on reals makes the non-saturating "
              "GAN converge, at a linear rate"),
    Claim("non_saturating_power", "The non-saturating GAN converges only like 1 / sqrt(steps) "
          "under alternating steps", f"{PAPER}, Section 3 (sublinear); power derived here",
          "quantitative", "power a of distance = b n^a over the last decade of the steps",
          "(a power)", 0.1, stated=-0.5, exact=True),
))  # fmt: skip


def measure(context: Context) -> Findings:
    """Compute all trajectories and check the fields against the losses at every point."""
    if (device := context.settings.device) != "auto":
        context.say(f"device={device} changes nothing: this study trains no network")
    chosen = methods(context["clip_value"], context["gp_lambda"], context["r1_gamma"])
    paths = all_paths(context, chosen)
    error = max(
        field_error(method, path)
        for method in chosen
        for (name, _), path in paths.items()
        if name == method.name
    )
    if error > FIELD_TOLERANCE:
        raise ValueError(f"a closed form lies {error:.2g} from the loss it stands for")
    early = min(context["early_step"], context["steps"])
    return Findings(
        evidence(paths, early, run_notes(context)),
        table(paths, early),
        {"figure": dirac_figure(chosen, paths, early)},
        text(paths, early, error),
    )


def run_notes(context: Context) -> dict[str, str]:
    """Return by loss a note on the coefficient and the number of steps."""
    steps = f"{context['steps']} steps of {context['learning_rate']:g}"
    settings = {
        "clip": f"c = {context['clip_value']:g}, ",
        "gp": f"lambda = {context['gp_lambda']:g}, ",
        "r1": f"gamma = {context['r1_gamma']:g}, ",
    }
    return {name: f"{settings.get(name, '')}{steps}" for name in ("plain", *settings)}


def all_paths(context: Context, chosen: list[Method]) -> Paths:
    """Return simultaneous and alternating paths; for WGANs also with several critic steps."""
    start, rate = (context["theta"], context["psi"]), context["learning_rate"]
    schedules = [SIMULTANEOUS, 1, context["n_critic"]]
    return {
        (method.name, n_critic): trajectory(method, start, rate, context["steps"], n_critic)
        for method in chosen
        for n_critic in (schedules if method.name in ("clip", "gp") else schedules[:2])
    }


def evidence(paths: Paths, early: int, notes: Mapping[str, str]) -> dict[str, Evidence]:
    """Return the evidence; the schedule that supports a claim least comes first."""
    found = {}
    for objective in ("saturating", "non_saturating"):
        for word, n_critic in (("simultaneous", SIMULTANEOUS), ("alternating", 1)):
            path = paths[objective, n_critic]
            found[f"{objective}_{word}"] = Evidence([kept_distance(path)], note=notes["plain"])
        penalised = [paths[f"r1_{objective}", n][: early + 1] for n in (SIMULTANEOUS, 1)]
        losses = sorted(decades_lost(path) for path in penalised)
        note = f"{notes['r1']}, of which the first {early}"
        found[f"r1_{objective}"] = Evidence(losses, note=note)
    for name in ("clip", "gp"):
        cases = sorted(kept_distance(path) for (own, _), path in paths.items() if own == name)
        note = (
            f"{notes[name]}; the cases are simultaneous steps and alternating ones with 1 and more "
            "critic steps"
        )
        found[name] = Evidence(cases, note=note)
    power = power_of_steps(paths["non_saturating", 1])
    return found | {"non_saturating_power": Evidence([power], note=notes["plain"])}


def table(paths: Paths, early: int) -> list[Mapping[str, Cell]]:
    """Return one row per trajectory."""
    rows: list[Mapping[str, Cell]] = []
    for (name, n_critic), path in paths.items():
        distances = radius(path)
        rows.append({
            "method": name,
            "steps": "simultaneous" if n_critic == SIMULTANEOUS else "alternating",
            "n_critic": max(n_critic, 1),
            "early_step": early,
            "distance_early": float(distances[early]),
            "last_step": len(path) - 1,
            "distance_last": float(distances[-1]),
            "kept_distance": kept_distance(path),
            "steps_that_grow": float(np.mean(np.diff(distances) > 0)),
        })  # fmt: skip
    return rows


def text(paths: Paths, early: int, error: float) -> list[str]:
    """Return the results in sentences."""
    last = len(next(iter(paths.values()))) - 1

    def at(name: str, n_critic: int, step: int) -> str:
        return f"{radius(paths[name, n_critic])[step]:.3g}"

    grows = np.mean(np.diff(radius(paths["saturating", SIMULTANEOUS])) > 0)
    return [
        f"Saturating GAN: from distance 1.41 to {at('saturating', 0, early)} after {early} "
        f"simultaneous steps and {at('saturating', 0, last)} after {last}; the distance grows "
        f"at {grows:.0%} of the steps. Alternating steps cycle: {at('saturating', 1, last)}.",
        f"Non-saturating GAN: simultaneous steps end at {at('non_saturating', 0, last)}. "
        f"Alternating steps: {at('non_saturating', 1, early)} after {early}, "
        f"{at('non_saturating', 1, last)} after {last}. There the distance goes like the steps "
        f"to the power {power_of_steps(paths['non_saturating', 1]):.2f}: below 0 it converges, "
        "though slowly.",
        f"Alternating with one critic step, WGAN with clipping ends at {at('clip', 1, last)} and "
        f"WGAN-GP at {at('gp', 1, last)}. With R1 the distance after {early} steps is "
        f"{at('r1_saturating', 1, early)} (saturating) and {at('r1_non_saturating', 1, early)} "
        "(non-saturating).",
        f"Exact, in float64; the closed forms agree with the project's own losses to {error:.1g} "
        "at every point visited. It is one game with a linear critic and plain gradient steps "
        "of fixed size: it shows that failure is possible, not how networks under Adam behave.",
    ]


STUDY = register_study(
    Study(
        "dirac",
        "does GAN training converge where the equilibrium is a single known point?",
        CLAIMS,
        measure,
        "As in arXiv:1801.04406, Fig. 3: the game, the step size of 0.2, the start, 500 steps, "
        "R1's gamma of 0.3, clipping at 1. Differs: 5 000 steps too; a critic that is high on "
        "reals; simultaneous beside alternating steps; R1 for both generator objectives. "
        "Consensus optimisation and instance noise are left out.",
        {
            "train.optimizer": "the statements are about plain gradient steps",
            "loss.n_critic": "each row says how many critic steps it takes; n_critic adds a case",
        },
        version=2,
    )
)
