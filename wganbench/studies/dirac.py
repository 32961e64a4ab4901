"""Dirac-GAN: does training converge where the equilibrium is known?

Theta and psi follow plain gradient steps of both players, exact in float64, with the data at 0, the
generator at theta and D(x) = psi x. The distance is r = sqrt(theta^2 + psi^2) after n steps.
Convergence is judged by rates over the last decade of steps, so that the budget decides nothing;
while these rates still change so much that the verdict would, nothing is decided.

As in the paper: the game, step size 0.2, start at distance sqrt(2), 500 steps, gamma 0.3, clip
1. Differs: 5 000 steps as well; our critic is high on reals, so psi has the other sign; both
simultaneous and alternating steps; R1 for both generator objectives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from wganbench.drawing.canvas import GREY
from wganbench.errors import ConfigError
from wganbench.losses import BCE_SATURATING, RECIPES, Recipe
from wganbench.reports.drawing import LINES, LOSS_COLOURS, key_below, new_figure, shade, style_axes
from wganbench.studies.study import Cell, Context, Findings, Study, register_study
from wganbench.studies.verdicts import Claim, Evidence, with_primary

# Dirac-GAN in float64: the losses' vector fields, and plain gradient steps along them.
Move = Callable[[float, float], float]
"""The velocity of one player at (theta, psi)."""
SIMULTANEOUS = 0
"""In place of a number of critic steps: both players step at once, from the same point."""
FIELD_TOLERANCE = 1e-8
"""Tolerance between a closed form and the loss in training (softplus is exact to 2e-9)."""


@dataclass(frozen=True)
class Method:
    """A loss with its coefficients, and its vector field in closed form.

    ``generator`` is -dL_G/dtheta, ``critic`` is -dL_D/dpsi. ``clip_value`` is infinite for a loss
    without clipping.
    """

    name: str
    label: str
    colour: str
    recipe: Recipe
    generator: Move
    critic: Move
    coefficients: Mapping[str, float] = field(default_factory=dict)
    clip_value: float = math.inf


def sigmoid(t: float) -> float:
    """Return 1 / (1 + exp(-t)) without overflow."""
    return 1 / (1 + math.exp(-t)) if t >= 0 else math.exp(t) / (1 + math.exp(t))


def methods(clip_value: float, gp_lambda: float, r1_gamma: float) -> list[Method]:
    """Return every loss of the study. L_D of BCE is softplus(0) + softplus(theta psi)."""

    def minimax(theta: float, psi: float) -> float:
        return psi * sigmoid(theta * psi)

    def non_saturating(theta: float, psi: float) -> float:
        return psi * sigmoid(-theta * psi)

    def discriminate(theta: float, psi: float) -> float:
        return -theta * sigmoid(theta * psi)

    def discriminate_r1(theta: float, psi: float) -> float:
        return discriminate(theta, psi) - r1_gamma * psi

    def estimate_gp(theta: float, psi: float) -> float:
        sign = (psi > 0) - (psi < 0)
        return -theta - 2 * gp_lambda * (abs(psi) - 1) * sign

    r1 = RECIPES["bce_r1"]
    gamma = {"r1_gamma": r1_gamma}
    # fmt: off
    return [
        Method("saturating", "GAN, saturating", "bce_saturating", RECIPES["bce_saturating"],
               minimax, discriminate),
        Method("non_saturating", "GAN, non-saturating", "bce", RECIPES["bce"],
               non_saturating, discriminate),
        Method("clip", f"WGAN, clip {clip_value:g}", "clip", RECIPES["clip"],
               lambda theta, psi: psi, lambda theta, psi: -theta, clip_value=clip_value),
        Method("gp", f"WGAN-GP, λ {gp_lambda:g}", "gp", RECIPES["gp"],
               lambda theta, psi: psi, estimate_gp, {"gp_lambda": gp_lambda}),
        Method("r1_saturating", f"saturating + R1, γ {r1_gamma:g}", "bce_gp",
               replace(r1, objective=BCE_SATURATING), minimax, discriminate_r1, gamma),
        Method("r1_non_saturating", f"non-saturating + R1, γ {r1_gamma:g}", "bce_r1", r1,
               non_saturating, discriminate_r1, gamma),
    ]
    # fmt: on


def trajectory(
    method: Method, start: tuple[float, float], learning_rate: float, steps: int, n_critic: int
) -> Float64[np.ndarray, "points 2"]:
    """Return (theta, psi) before the first and after each of ``steps`` generator steps.

    With `SIMULTANEOUS` both players step from the same point; otherwise theta first, then
    psi ``n_critic`` times. Clipping follows each step of psi.
    """
    theta, psi = start
    path = np.empty((steps + 1, 2))
    path[0] = start
    for step in range(1, steps + 1):
        before = theta
        theta += learning_rate * method.generator(theta, psi)
        seen = before if n_critic == SIMULTANEOUS else theta
        for _ in range(max(n_critic, 1)):
            psi += learning_rate * method.critic(seen, psi)
            psi = max(-method.clip_value, min(method.clip_value, psi))
        path[step] = theta, psi
    return path


def recipe_field(
    recipe: Recipe, coefficients: Mapping[str, float], points: Float64[np.ndarray, "n 2"]
) -> Float64[np.ndarray, "n 2"]:
    """Return (-dL_G/dtheta, -dL_D/dpsi) at each point, by autograd through the recipe.

    The points are a batch in which each has its own psi: a loss is a mean over the batch, so
    n times its gradient holds the gradients of n games.
    """
    theta, psi = torch.from_numpy(points).unbind(dim=1)
    n, eps = len(points), torch.full_like(theta, 0.5)  # the slope is psi at every point

    def critic_loss(psi: Tensor) -> Tensor:
        def critic(x: Tensor) -> Tensor:
            return psi * x[:, 0]

        x_fake = theta.unsqueeze(1)
        x = torch.zeros_like(x_fake)
        loss = recipe.objective.critic(critic(x), critic(x_fake))
        if recipe.penalties:
            loss = loss + recipe.penalty(critic, x, x_fake, eps, coefficients)
        return loss

    def generator_loss(theta: Tensor) -> Tensor:
        return recipe.objective.generator(None, psi * theta)

    moves = -n * torch.func.grad(generator_loss)(theta), -n * torch.func.grad(critic_loss)(psi)
    return np.asarray(torch.stack(moves, dim=1).numpy())


def field_error(method: Method, points: Float64[np.ndarray, "n 2"]) -> float:
    """Return the largest difference between the closed form and the loss used in training."""
    closed = np.array([[method.generator(*p), method.critic(*p)] for p in points.tolist()])
    return float(np.abs(closed - recipe_field(method.recipe, method.coefficients, points)).max())


# Statistics of a trajectory.
def radius(path: Float64[np.ndarray, "points 2"]) -> Float64[np.ndarray, " points"]:
    """Return the distance from the equilibrium at each step."""
    return np.asarray(np.hypot(path[:, 0], path[:, 1]))


def kept_distance(path: Float64[np.ndarray, "points 2"]) -> float:
    """Return the share of the distance that ten times as many steps keep: 10^(d log r / d log n).

    It is about 1 for a cycle, above 1 for divergence and 10^-a for r = b n^-a, whatever the number
    of steps: a distance after a chosen number of steps would depend on that number.
    """
    return float(10 ** power_of_steps(path))


TIME = 100 * 0.2
"""The time, in steps times their size, of the decades lost: a rate per step depends on the size."""


def decades_lost(path: Float64[np.ndarray, "points 2"], learning_rate: float) -> float:
    """Return the decades that the distance falls in `TIME`, in the slower half of the path.

    Linear convergence gives the same number in both halves; slower convergence tends to 0.
    """
    logs, half = np.log10(radius(path)), len(path) // 2
    falls = logs[0] - logs[half], logs[half] - logs[-1]
    slower = min(falls[0] / half, falls[1] / (len(path) - 1 - half))
    return float(slower * TIME / learning_rate)


def power_of_steps(
    path: Float64[np.ndarray, "points 2"], first: float = 0.1, last: float = 1.0
) -> float:
    """Return d log r / d log n, fitted over the last decade of steps: a in r = b n^a.

    ``first`` and ``last`` are the shares of the steps between which it is fitted.
    """
    distances = radius(path)
    steps = np.arange(max(1, int(len(path) * first)), int(len(path) * last))
    return float(np.polyfit(np.log(steps), np.log(distances[steps]), 1)[0])


def unsettled(
    paths: Sequence[Float64[np.ndarray, "points 2"]], holds: Callable[[float], bool]
) -> str:
    """Return why a rule on powers decides nothing: it holds in a part of the last decade only.

    The parts are the halves of that decade, and a further half by the change between them. Players
    that have hardly moved keep their distance whatever the loss.
    """
    for path in paths:
        if len(path) <= FEWEST:
            return f"{len(path) - 1} steps are too few"
        angles = np.unwrap(np.arctan2(*path.T))
        if abs(angles[-1] - angles[0]) < math.pi:
            return f"{len(path) - 1} steps are too few: not half a turn round the equilibrium"
        before, after = power_of_steps(path, 0.1, MIDDLE), power_of_steps(path, MIDDLE, 1.0)
        powers = (power_of_steps(path), before, after, 2 * after - before)
        if len({holds(power) for power in powers}) > 1:
            return (
                f"{len(path) - 1} steps are too few: the power of the steps still changes, from "
                f"{before:.2f} to {after:.2f} in their last decade"
            )
    return ""


FEWEST = 10
"""The fewest steps whose last decade has two steps in either half."""
MIDDLE = 10**-0.5
"""The share of the steps that halves their last decade on a logarithmic scale."""


Paths = dict[tuple[str, int], np.ndarray]
"""Trajectories by method and number of critic steps."""

KEPT, POWER, MARGIN = 0.5, -0.5, 0.1
"""The share of the distance that says "does not converge"; the power of 1 / sqrt(steps), and how
far another one may be off."""
STAYS = "share of the distance that ten times as many steps keep, 10^(d log r / d log n)"
LOSES = "decades of distance lost in the time of 100 steps of 0.2, slower half of the first steps"
PAPER = "arXiv:1801.04406"


def stays_away(name: str, text: str, source: str) -> Claim:
    return Claim(name, text, source, "comparative", STAYS, "of the distance", KEPT, exact=True)


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
          "(a power)", MARGIN, stated=POWER, exact=True),
))  # fmt: skip


def measure(context: Context) -> Findings:
    """Compute all trajectories and check the fields against the losses at every point."""
    if (device := context.settings.device) != "auto":
        context.say(f"device={device} changes nothing: this study trains no network")
    early = min(context["early_step"], context["steps"])
    if early < 2 or not context["learning_rate"] > 0:
        raise ConfigError("steps and early_step must be at least 2, learning_rate above 0")
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
    return Findings(
        evidence(paths, early, context["learning_rate"], run_notes(context)),
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


def is_kept(power: float) -> bool:
    """Return whether a power of the steps keeps the distance."""
    return 10**power >= KEPT


def evidence(
    paths: Paths, early: int, learning_rate: float, notes: Mapping[str, str]
) -> dict[str, Evidence]:
    """Return the evidence; the schedule that supports a claim least comes first."""
    found = {}
    for objective in ("saturating", "non_saturating"):
        for word, n_critic in (("simultaneous", SIMULTANEOUS), ("alternating", 1)):
            path = paths[objective, n_critic]
            found[f"{objective}_{word}"] = Evidence(
                [kept_distance(path)], note=notes["plain"], undecided=unsettled([path], is_kept)
            )
        penalised = [paths[f"r1_{objective}", n][: early + 1] for n in (SIMULTANEOUS, 1)]
        losses = sorted(decades_lost(path, learning_rate) for path in penalised)
        note = f"{notes['r1']}, of which the first {early}"
        found[f"r1_{objective}"] = Evidence(losses, note=note)
    for name in ("clip", "gp"):
        own_paths = [path for (own, _), path in paths.items() if own == name]
        cases = sorted(map(kept_distance, own_paths))
        note = (
            f"{notes[name]}; the cases are simultaneous steps and alternating ones with 1 and more "
            "critic steps"
        )
        found[name] = Evidence(cases, note=note, undecided=unsettled(own_paths, is_kept))
    path = paths["non_saturating", 1]
    undecided = unsettled([path], lambda power: abs(power - POWER) <= MARGIN)
    power = Evidence([power_of_steps(path)], note=notes["plain"], undecided=undecided)
    return found | {"non_saturating_power": power}


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


register_study(
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
        rule=2,
    )
)


# The figure of the Dirac-GAN study: trajectories in the plane, distances over steps.
SHOWN = (1e-2, 8.0)
"""Limits of the distance axis; linear convergence soon falls below them."""


def dirac_figure(
    chosen: Sequence[Method], paths: Mapping[tuple[str, int], np.ndarray], early: int
) -> Figure:
    """Draw the plane of each method above its distance under both schedules."""
    figure = new_figure(11.5, 9.6, "Dirac-GAN: the data at 0, the generator at θ, D(x) = ψ x")
    grid = figure.add_gridspec(3, 6, height_ratios=[1, 1, 1.1])
    for i, method in enumerate(chosen):
        axes = figure.add_subplot(grid[i // 3, 2 * (i % 3) : 2 * (i % 3) + 2])
        draw_plane(axes, method, paths, early)
    for column, n_critic in enumerate((SIMULTANEOUS, 1)):
        axes = figure.add_subplot(grid[2, 3 * column : 3 * column + 3])
        draw_distances(axes, chosen, paths, n_critic)
    handles = [Line2D([], [], color=LOSS_COLOURS[m.colour], linestyle=LINES[i], linewidth=1.8)
               for i, m in enumerate(chosen)]  # fmt: skip
    labels = [method.label for method in chosen]
    handles += [Line2D([], [], color=GREY, linewidth=1), Line2D([], [], color="k", linewidth=1.6)]
    labels += ["planes: simultaneous steps", "planes: alternating steps"]
    key_below(figure, handles, labels)
    return figure


def draw_plane(
    axes: Axes, method: Method, paths: Mapping[tuple[str, int], np.ndarray], early: int
) -> None:
    """Draw the first steps of both schedules: simultaneous pale and thin, alternating dark."""
    color = LOSS_COLOURS[method.colour]
    styles = {SIMULTANEOUS: (shade(color, 0.35), 0.8), 1: (shade(color, -0.45), 1.4)}
    for n_critic, (own, width) in styles.items():
        path = paths[method.name, n_critic][: early + 1]
        axes.plot(path[:, 0], path[:, 1], color=own, linewidth=width)
    start = paths[method.name, 1][0]
    axes.plot(*start, "o", color="k", markersize=5)
    axes.plot(0, 0, "P", color="k", markersize=8, markeredgecolor="w", zorder=5)
    style_axes(axes, method.label, "generator θ (data units)", "critic's slope ψ")
    axes.set_aspect("equal", adjustable="datalim")


def draw_distances(
    axes: Axes,
    chosen: Sequence[Method],
    paths: Mapping[tuple[str, int], np.ndarray],
    n_critic: int,
) -> None:
    for i, method in enumerate(chosen):
        distances = radius(paths[method.name, n_critic])
        steps = np.arange(1, len(distances))
        axes.plot(steps, distances[1:], color=LOSS_COLOURS[method.colour], linestyle=LINES[i],
                  linewidth=1.8)  # fmt: skip
    axes.set(xscale="log", yscale="log")
    axes.set_ylim(SHOWN)
    word = "simultaneous steps" if n_critic == SIMULTANEOUS else "alternating, 1 critic step"
    style_axes(axes, f"Distance from the equilibrium: {word}", "generator steps",
          "sqrt(θ² + ψ²)")  # fmt: skip
