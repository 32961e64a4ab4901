"""Do gradients explode or vanish through a deep critic under clipping, and not under GP?

WGANs with 12 hidden layers in both networks train on the Swiss roll. At the end of training
||dL/dh_l|| is measured for the critic's loss L = E D(G(z)) - E D(x) and each hidden layer's
activations. The statistic of a seed is the fitted slope of log10 of that norm, in decades a layer
on the way back. For weights at +-c with random signs log10(c sqrt(width / 2)) is expected.

The claims are on early training: after 2000 critic steps in the quick and the full budget. Each run
is trained a second time for half of the steps: a number is at rest if it is the same there, and one
that is not decides nothing (`rest.movements`). Whether the decay lasts is a claim of its own, on
longer runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from wganbench.drawing.canvas import REFERENCE
from wganbench.errors import ConfigError
from wganbench.reports.drawing import (
    LINES,
    LOSS_COLOURS,
    MARKERS,
    key_below,
    new_figure,
    shade,
    style_axes,
)
from wganbench.runs.table import series
from wganbench.studies.evidence import mean_of_known
from wganbench.studies.layer_gradients.measure import (
    PAPER_WIDTH,
    activation_gradients,
    expected_slope,
    hidden_weights,
    histogram,
    scaled_clip,
    share_at,
    slope_per_layer,
    steepest_slope,
)
from wganbench.studies.rest import LOG, NOT_TRAINED, movements
from wganbench.studies.study import Cell, Context, Findings, Study, register_study
from wganbench.studies.verdicts import Claim, Evidence, with_primary
from wganbench.training.run import Run
from wganbench.training.stack import Stack
from wganbench.training.streams import stream_generator

CLIP_VALUES = (0.1, 0.01, 0.001)
"""The clip values of the paper, at width 512."""
USUAL = 0.01
"""The clip value of WGAN's paper."""
GP = "gp"
SLOPE = "slope of log10 |dL/d activations| on the way back"
FIGURE_1B = "arXiv:1704.00028, Figure 1b"
MARGIN = 0.15
"""Decades per layer; a factor of 45 over the 11 layers between the hidden ones."""
LOG_SLOPE, SHARE = f"{LOG}slope", "share"
"""What must rest: the slope, in decades a layer, and the share of weights at +-c."""
TOLERANCES = {LOG_SLOPE: MARGIN / 3, SHARE: 0.1}
"""The movements between half of the steps and all that count as none: a third of a margin."""
HALF, LONG = " half", " long"
"""The ends of the names of arms that are trained for half of the steps, and for long."""


def arm(clip_value: float) -> str:
    return f"c={clip_value:g}"


def slope_claim(clip_value: float) -> Claim:
    expected = round(expected_slope(clip_value, PAPER_WIDTH), 2)
    return Claim(
        f"slope_{arm(clip_value)}",
        f"clipped critic early in training, c = {clip_value:g} at width 512: each layer back "
        f"changes the gradient by {expected:+.2f} decades",
        f"c sqrt(width/2), weights at +-c with random signs; {FIGURE_1B}", "quantitative", SLOPE,
        "decades a layer", MARGIN, stated=expected,
    )  # fmt: skip


def steeper_claim(clip_value: float) -> Claim:
    return Claim(
        f"steeper_{arm(clip_value)}",
        f"early in training clipping at c = {clip_value:g} (width 512) makes gradients grow or "
        "decay exponentially with depth, GP does not",
        FIGURE_1B, "comparative", "|slope| under clipping less |slope| under GP", "decades a layer",
        MARGIN, spread=0.1,
    )  # fmt: skip


CLAIMS = with_primary("steeper_c=0.01", [
    *(slope_claim(clip_value) for clip_value in CLIP_VALUES),
    *(steeper_claim(clip_value) for clip_value in CLIP_VALUES),
    Claim("lasts", f"under clipping at c = {USUAL:g} (width 512) the gradient's decay with depth "
          "lasts through training", FIGURE_1B, "universal",
          "|slope| early in training less |slope| after long_steps (0 if below)",
          "decades a layer", MARGIN),
    Claim("slope_gp", "with GP the gradient keeps its size through all layers", FIGURE_1B,
          "quantitative", SLOPE, "decades a layer", 0.1, stated=0.0),
    Claim("piles", "training drives clipped weights to +-c (c = 0.1 at width 512)", FIGURE_1B,
          "comparative", "share of weights at +-c at the end less that of the clipped start",
          "of the weights", 0.3, spread=0.2),
])  # fmt: skip


@dataclass(frozen=True)
class Depth:
    """One run: norms by layer at the end and at the start, and its weights.

    ``gain`` is E D(x) - E D(G(z)), the mean over the run's logged batches after its start: above
    0 for a critic that has learnt. At the end alone it is noise if the generator has arrived.
    """

    norms: list[float]
    start: list[float]
    clipped_start: list[float]
    share: float | None
    start_share: float | None
    histogram: list[float]
    gain: float

    @property
    def slope(self) -> float | None:
        return slope_per_layer(self.norms)


Depths = Mapping[str, Sequence[Depth | None]]
"""The runs of each arm by seed; None for one that diverged."""


def measure(context: Context) -> Findings:
    """Train the arms and look at their critics. Raises ConfigError."""
    if context["depth"] < 2:
        raise ConfigError("depth must be at least 2: the slope is one over hidden layers")
    steps = context["steps"]
    if not 2 <= steps < context["long_steps"]:
        raise ConfigError(
            f"steps={steps} must be at least 2, which have a half, and below "
            f"long_steps={context['long_steps']}"
        )
    arms, halves = overrides(context, steps), overrides(context, steps // 2)
    usual, long = arm(USUAL), overrides(context, context["long_steps"])
    runs = context.train(
        arms | {name + HALF: words for name, words in halves.items()} | {usual + LONG: long[usual]}
    )
    context.say("gradients by layer")
    found = {name: [look(context, name, run) for run in runs[name]] for name in arms}
    before = {name: [look(context, name, run) for run in runs[name + HALF]] for name in arms}
    late = [look(context, usual, run) for run in runs[usual + LONG]]
    rows = list(table(context, found | {usual + LONG: late}))
    text = paragraphs(context, found, before, late)
    norms = {name: [depth.norms for depth in group if depth] for name, group in found.items()}
    shares = {name: [d.histogram for d in group if d] for name, group in found.items()}
    expected = {arm(c): expected_slope(c, PAPER_WIDTH) for c in context["clip_values"]}
    return Findings(
        evidence(found, before, late), rows, {"figure": draw(norms, shares, expected)}, text
    )


def overrides(context: Context, steps: int) -> dict[str, list[str]]:
    """Return the arms: clipping at each value, scaled to the width, and GP, all with He's start.

    Rates are constant and draws are counted, so that fewer ``steps`` are the beginning of more.
    """
    shared = [
        "data=swiss_roll", "tuned=none", "train.decay=none",
        f"train.generator_lr={context['generator_lr']!r}",
        f"train.steps={steps}", f"train.batch_size={context['batch_size']}", "loss.n_critic=5",
        f"network.width={context['width']}", f"network.depth={context['depth']}",
        "network.initialization=he", "log.tensorboard=false",
        f"log.every_n_steps={max(1, steps // 20)}", "evaluate.every_n_steps=0",
        "evaluate.final_n=500",
        "evaluate.floor_pairs=2", f"checkpoint.every_n_steps={steps}",
    ]  # fmt: skip
    arms = {}
    for clip_value in context["clip_values"]:
        scaled = scaled_clip(clip_value, context["width"])
        rate = f"train.critic_lr={context['clip_rate'] * scaled!r}"
        arms[arm(clip_value)] = [*shared, "loss=clip", f"loss.clip_value={scaled!r}", rate]
    rate = f"train.critic_lr={context['gp_rate']!r}"
    arms[GP] = [*shared, "loss=gp", f"loss.gp_lambda={context['gp_lambda']!r}", rate]
    return arms


def look(context: Context, name: str, run: Run) -> Depth | None:
    """Return the measurements of one run's critic; None if the run diverged."""
    if run.status != "completed":
        return None
    clip_value = None if name == GP else run.config.loss.coefficients["clip_value"]
    stack, fresh = run.stack, Stack([run.config], run.stack.device)
    critic, start = (s.run_parameters(0, "critic") for s in (stack, fresh))
    reach = clip_value or GP_REACH
    clipped = {k: p.clamp(-reach, reach) if clip_value else p for k, p in start.items()}
    weights, first = hidden_weights(critic), hidden_weights(clipped)
    return Depth(
        norms=gradients(context, stack, critic, run),
        start=gradients(context, stack, start, run),
        clipped_start=gradients(context, stack, clipped, run),
        share=share_at(weights, reach) if clip_value else None,
        start_share=share_at(first, reach) if clip_value else None,
        histogram=histogram(weights, reach, BINS),
        gain=mean_of_known(series(run.table, "wasserstein/estimate")[1][1:]),
    )


def gradients(context: Context, stack: Stack, critic: dict[str, Any], run: Run) -> list[float]:
    """Return norms by layer, on fresh reals and fakes of the trained generator."""
    x, x_fake = fresh_points(context, stack, run)
    return activation_gradients(stack.exact_algorithm.pair.critic, critic, x, x_fake)


def fresh_points(context: Context, stack: Stack, run: Run) -> tuple[Tensor, Tensor]:
    """Return fresh reals and fakes of the trained generator."""
    n, seed, device = context["points"], run.config.seed, stack.device
    x = stack.target.sample(n, stream_generator(seed, "layer_real", 0, device))
    z = stack.exact_algorithm.pair.latent.sample(
        n, stream_generator(seed, "layer_latent", 0, device)
    )
    with torch.no_grad():
        return x, run.generator(z)


def evidence(found: Depths, before: Depths, late: Sequence[Depth | None]) -> dict[str, Evidence]:
    """Return one number per seed for every claim, from the runs, their halves and the long ones."""
    slopes = {name: [slope_of(depth) for depth in group] for name, group in found.items()}
    untrained = not_learnt(found[GP]) or moving(found, before, GP, LOG_SLOPE)
    entries = {"slope_gp": Evidence(slopes[GP], undecided=untrained)}
    for clip_value in CLIP_VALUES:
        name = arm(clip_value)
        moves = moving(found, before, name, LOG_SLOPE)
        entries[f"slope_{name}"] = Evidence(slopes[name], undecided=moves)
        # A clipped critic need not have learnt: that its gradient decays may be the reason.
        entries[f"steeper_{name}"] = Evidence(
            [None if a is None or b is None else abs(a) - abs(b)
             for a, b in zip(slopes[name], slopes[GP], strict=True)],
            undecided=moves or untrained,
        )  # fmt: skip
    first = arm(CLIP_VALUES[0])
    piled = [None if d is None else (d.share or 0.0) - (d.start_share or 0.0) for d in found[first]]
    moves = moving(found, before, first, SHARE)
    lost = [None if a is None or b is None else max(0.0, abs(a) - abs(b))
            for a, b in zip(slopes[arm(USUAL)], map(slope_of, late), strict=True)]  # fmt: skip
    return entries | {"piles": Evidence(piled, undecided=moves),
                      "lasts": Evidence(lost, note=dead_words(late))}  # fmt: skip


def dead_words(group: Sequence[Depth | None]) -> str:
    """Return a phrase on critics that pass no gradient back through some layer, if there are."""
    dead = sum(depth is not None and depth.slope is None for depth in group)
    return f"{dead} of {len(group)} critics died: a layer passes no gradient" if dead else ""


def slope_of(depth: Depth | None) -> float | None:
    return None if depth is None else depth.slope


def not_learnt(group: Sequence[Depth | None]) -> str:
    """Return why GP's critics decide nothing: they do not tell the reals from the fakes."""
    gains = [depth.gain for depth in group if depth is not None]
    short = sum(gain <= 0 for gain in gains)
    if not short:
        return ""
    return f"{NOT_TRAINED}: {short} of {len(gains)} of GP's critics do not score reals higher"


def moved(found: Depths, before: Depths, name: str) -> dict[str, float]:
    """Return by statistic how far an arm moved from half of the steps to all of them.

    The unit is what is allowed, see `rest.movements`. A run that diverged moves without end.
    """
    now, then = (
        {LOG_SLOPE: numbers([slope_of(depth) for depth in part[name]]),
         SHARE: numbers([None if depth is None else depth.share for depth in part[name]])}
        for part in (found, before)
    )  # fmt: skip
    return movements(then, now, [name] * len(found[name]), TOLERANCES)[name]


def numbers(values: Sequence[float | None]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values])


def moving(found: Depths, before: Depths, name: str, statistic: str) -> str:
    """Return why an arm's critics decide nothing: a statistic is not at rest."""
    times = moved(found, before, name)[statistic]
    if times < 1:
        return ""
    size = f"by {times:.2g} times what is allowed" if math.isfinite(times) else "without end"
    word = "slope" if statistic == LOG_SLOPE else "share of weights at +-c"
    return f"{NOT_TRAINED}: the {word} of {name} moved {size} in the second half of the steps"


def table(context: Context, found: Depths) -> Any:
    for name, group in found.items():
        for seed, depth in zip(context.seeds, group, strict=True):
            for layer, norm in enumerate(depth.norms if depth else [], start=1):
                assert depth is not None
                row: dict[str, Cell] = {"arm": name, "seed": seed, "layer": layer}
                yield row | {
                    "gradient": norm,
                    "gradient_at_start": depth.start[layer - 1],
                    "gradient_at_clipped_start": depth.clipped_start[layer - 1],
                    "slope": slope_per_layer(depth.norms),
                    "weights_at_clip": depth.share,
                    "weights_at_clip_at_start": depth.start_share,
                }


def paragraphs(
    context: Context, found: Depths, before: Depths, late: Sequence[Depth | None]
) -> list[str]:
    """Return the results in sentences, arm by arm."""
    critic_steps = 5 * context["steps"]
    lines = [
        f"Critics of {context['depth']} hidden layers of {context['width']} units after "
        f"{critic_steps} critic steps; clip values are those of width 512, used here times "
        f"{scaled_clip(1.0, context['width']):.3f}. Slopes in decades a layer on the way back: "
        "at He's start, after clipping that start once, after half of the steps, and at the end "
        "(mean over seeds)."
    ]
    for name, group in found.items():
        known = [depth for depth in group if depth is not None]
        if not known:
            lines.append(f"{name}: every run diverged.")
            continue
        start, clipped, end = (
            mean_of_known([slope_per_layer(norms) for norms in part])
            for part in zip(*((d.start, d.clipped_start, d.norms) for d in known), strict=True)
        )
        half = mean_of_known([slope_of(depth) for depth in before[name]])
        line = f"{name}: {start:+.3f}, {clipped:+.3f}, {half:+.3f}, {end:+.3f}"
        if name == GP:
            line += f"; E D(x) - E D(G(z)) is {mean_of_known([d.gain for d in known]):.3g}"
        else:
            shares = [d.share for d in known], [d.start_share for d in known]
            line += (
                f"; {mean_of_known(shares[1]):.0%} of the weights at +-c after the first clipping, "
                f"{mean_of_known(shares[0]):.0%} at the end; {bounds(context, name)}"
            )
        lines.append(line + ".")
    lines.append(lasting(context, late))
    lines.append(
        "What it does not show: whether a clipped critic that deep still trains its generator "
        "(clip_capacity), or other widths than this one. A slope is that of a straight line; the "
        "table has each layer."
    )
    return lines


def lasting(context: Context, late: Sequence[Depth | None]) -> str:
    """Return a sentence on the long runs."""
    slopes = [slope for slope in map(slope_of, late) if slope is not None]
    shown = ", ".join(f"{slope:+.3f}" for slope in slopes) or "none"
    died = dead_words(late)
    return (
        f"{arm(USUAL)} after {5 * context['long_steps']} critic steps, by seed: {shown}"
        f"{f'; {died}' if died else ''}."
    )


def bounds(context: Context, name: str) -> str:
    """Return a sentence on the slopes of random signs, and on the largest within +-c."""
    clip_value = next(c for c in context["clip_values"] if arm(c) == name)
    most = steepest_slope(scaled_clip(clip_value, context["width"]), context["width"])
    expected = expected_slope(clip_value, PAPER_WIDTH)
    return f"random signs would give {expected:+.2f}, weights within c at most {most:+.2f}"


DIFFERS = (
    "As in arXiv:1704.00028, Figure 1b: Swiss roll, ReLU networks with 12 hidden layers and no "
    "normalisation, clip values 0.1, 0.01 and 0.001 and GP, the generator training along. "
    "Different: width 64 with the clip values scaled by sqrt(512/width); He's start in all "
    "arms, so that the start has slope 0 and what is seen comes from training; the clipped "
    "critic's rate follows c (0.02 c in the quick and the full budget, where the paper's 5e-5 is "
    "0.005 c at c = 0.01), so that weights come to rest at every c; the generator's rate is 1e-5, "
    "because at the paper's 1e-4 some of GP's critics of this depth lost sight of the generator at "
    "each rate of their own from 1e-4 to 3e-3 (seeds 100 to 104); gradients of the objective, "
    "without the penalty's; batch 64 and far fewer steps in these two. The paper does not say "
    "after how many steps its figure was drawn: here it is early in training. Later, critics of "
    "c = 0.01 die or lose most of the decay, which has a claim of its own."
)

register_study(
    Study(
        "layer_gradients",
        "do gradients explode or vanish through a deep critic under clipping, and not under GP?",
        CLAIMS,
        measure,
        DIFFERS,
        version=4,
        rule=4,
        protects={
            "clip_values": "its claims name the paper's three clip values",
            "initialization": "another start than He's has a slope of its own",
            "n_critic": "it is the paper's 5",
        },
    )
)


# The figure of `layer_gradients`: norms by layer, and where the weights lie.
BINS = 61
GP_REACH = 0.8
"""Range of the histogram of unclipped weights: [-GP_REACH, GP_REACH]."""


def draw(
    norms: Mapping[str, Sequence[Sequence[float]]],
    histograms: Mapping[str, Sequence[Sequence[float]]],
    expected: Mapping[str, float],
) -> Figure:
    """Draw ``norms`` and ``histograms`` (by arm, one list per seed) with ``expected`` slopes."""
    figure = new_figure(12.6, 4.9, "Gradients through a deep critic, and its weights")
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.5, 1, 1])
    style_axes(left, "Gradient by layer", "hidden layer (1: next to the data)",
          "norm of the critic loss's gradient\nwith respect to its activations")  # fmt: skip
    style_axes(middle, "Weights under clipping", "weight / c", "share of the weights in a bin")
    style_axes(right, "Weights under GP", "weight", "share of the weights in a bin")
    left.set_yscale("log")
    handles: list[Any] = []
    for i, (name, group) in enumerate(norms.items()):
        style = arm_style(name, i, len(norms))
        handles.append(Line2D([], [], markersize=5, **style))
        if not group:
            continue
        values = np.array(group)
        layers, centre = np.arange(1, values.shape[1] + 1), np.median(values, axis=0)
        left.plot(layers, centre, linewidth=1.8, markersize=5, **style)
        left.fill_between(layers, values.min(axis=0), values.max(axis=0), color=style["color"],
                          alpha=0.2, linewidth=0)  # fmt: skip
        if name in expected:
            left.plot(layers, centre[-1] * 10 ** (expected[name] * (layers[-1] - layers)),
                      **REFERENCE)  # fmt: skip
        reach, axes = (1.0, middle) if name in expected else (GP_REACH, right)
        shares = np.mean(np.array(histograms[name]), axis=0)
        at = (np.arange(BINS) + 0.5) / BINS * 2 * reach - reach
        axes.plot(at, shares, linewidth=1.6, color=style["color"], linestyle=style["linestyle"])
        axes.set_yscale("log")
    labels = [f"clip, {name}" if name in expected else name for name in norms]
    handles.append(Line2D([], [], **REFERENCE))
    key_below(figure, handles, [*labels, "expected of random signs: c sqrt(width/2) a layer"])
    return figure


def arm_style(name: str, i: int, arms: int) -> dict[str, Any]:
    """Return an arm's style: shades of clip's colour for its arms, and GP's own colour."""
    clip = name != "gp"
    shift = np.linspace(-0.45, 0.35, max(arms - 1, 1))[min(i, max(arms - 2, 0))]
    return {
        "color": shade(LOSS_COLOURS["clip"], float(shift)) if clip else LOSS_COLOURS["gp"],
        "linestyle": LINES[i % len(LINES)],
        "marker": MARKERS[i % len(MARKERS)],
    }
