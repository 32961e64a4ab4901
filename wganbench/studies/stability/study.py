"""How well does a loss train at settings that nobody tuned?

Every setting is a draw from the neutral space of searches (conf/tune/space.yaml): two rates,
Adam's betas, the number of critic steps, and each loss's own coefficients over four decades. The
size and the activation of the networks are drawn too. The space is centred on no loss. Every loss
runs once at every setting, for equal compute in passes of the network.

The score of a run is coverage times the share of high quality at its end, 0 if it diverged. The
profile of a loss is the share of settings whose score reaches t, for all t from 0 to 1. The claims
compare areas under profiles. The area is the mean score, so the difference of two areas is the mean
of the differences setting by setting. No threshold of success is chosen.

A claim about several pairs of losses is decided by the pair with the smallest effect. A "seed" of
this study is a setting, and is the seed of its runs.

As in arXiv:1704.00028, Table 2: random architectures, a GAN against WGAN-GP in each. Differs:
ring8 with wider modes instead of 32 x 32 ImageNet and its Inception score; shallow nets without
normalisation; rates, betas, critic steps and coefficients are drawn too; a profile instead of
thresholds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wganbench.errors import ConfigError
from wganbench.networks.layers import SMOOTH
from wganbench.registry import unknown
from wganbench.reports.drawing import LINES, LOSS_COLOURS, colours_of, new_figure, style_axes
from wganbench.reports.wording import estimate_text
from wganbench.studies.evidence import effect_interval, smallest_effect
from wganbench.studies.stability.measure import (
    Measured,
    Setting,
    draw,
    measured,
    profile,
    slope_evidence,
)
from wganbench.studies.study import Cell, Context, Findings, Study, register_study
from wganbench.studies.verdicts import Claim, Evidence, with_primary
from wganbench.tuning.analysis import band
from wganbench.tuning.space import arms_of, overrides

LOSSES = (
    "bce", "bce_saturating", "hinge", "lsgan", "bce_gp", "wasserstein", "clip", "gp", "lp",
    "bce_r1r2", "rpgan_r1r2",
)  # fmt: skip
ARMS = arms_of(LOSSES)

TABLE_2 = "arXiv:1704.00028, Table 2"
AREA = "difference of the areas under the profiles of success, over settings of the neutral space"
LEAST_OF = "smallest difference of the areas under the profiles of success: "
SCORES = (-1.0, 1.0)
"""The range of a difference of scores."""

COMPARED = {
    "gp_over_bce": (("gp", "bce"),),
    "gp_over_bce_saturating": (("gp", "bce_saturating"),),
    "constraint_of_w": (("clip", "wasserstein"), ("gp", "wasserstein")),
    "constraint_of_bce": (("bce_gp", "bce"),),
    "constraint_over_objective": (("bce_gp", "wasserstein"),),
    "unbounded_output": (("wasserstein", "bce"), ("hinge", "bce"), ("lsgan", "bce")),
    "one_sided": (("lp", "gp"),),
    "r1r2_over_bce": (("bce_r1r2", "bce"),),
    "rpgan_r1r2_over_gp": (("rpgan_r1r2", "gp"),),
}
"""By claim: pairs of the loss that is claimed to train better, and the other one."""


def compared(name: str, text: str, source: str) -> Claim:
    pairs = COMPARED[name]
    named = ", ".join(f"{one} less {other}" for one, other in pairs)
    statistic = AREA if len(pairs) == 1 else LEAST_OF + named
    return Claim(name, text, source, "comparative", statistic, "of the score", 0.1, spread=0.3)


CLAIMS = (
    compared("gp_over_bce", "WGAN-GP trains better than the GAN over settings that nobody tuned: "
             "non-saturating", TABLE_2),
    compared("gp_over_bce_saturating", "WGAN-GP trains better than the GAN over settings that "
             "nobody tuned: saturating", TABLE_2),
    compared("constraint_of_w", "The constraint makes a Wasserstein critic train stably: clipping "
             "and the penalty, each against none", "arXiv:1701.07875, Section 3"),
    compared("constraint_of_bce", "The constraint makes a BCE discriminator train stably: with the "
             "penalty against without", "arXiv:1710.08446"),
    compared("constraint_over_objective", "Stability is due to the constraint, not to the "
             "objective: BCE with the penalty against W without", "arXiv:1710.08446"),
    compared("unbounded_output", "An unbounded output makes a critic train better: W, hinge and "
             "LSGAN, each against BCE", "widely taught, after arXiv:1701.07875"),
    compared("one_sided", "The one-sided penalty is more stable than the two-sided one",
             "arXiv:1709.08894, abstract"),
    compared("r1r2_over_bce", "Zero-centred penalties on reals and fakes make BCE train stably",
             "arXiv:1801.04406"),
    compared("rpgan_r1r2_over_gp", "Relativistic pairs with R1 and R2 train more stably than "
             "WGAN-GP", "arXiv:2501.05441, Section 2"),
    Claim("balanced_updates", "The penalty makes the two networks' updates more balanced: gp "
          "against bce", "widely taught, after arXiv:1704.00028", "comparative",
          "fall of |log10(gradient norm of the critic / of the generator)|, median over steps, "
          "from bce to gp at the same setting", "decades", 0.3, spread=0.8),
    Claim("ratio_tolerance", "WGAN-GP depends less than the GAN on the balance of the two rates",
          "widely taught, after arXiv:1704.00028", "comparative",
          "rise of (score of gp - score of bce) with each decade between the two rates",
          "of the score", 0.1, spread=0.5),
)  # fmt: skip
SMALLEST = {claim.name: claim.smallest for claim in CLAIMS}


def arms(context: Context, settings: Mapping[int, Setting]) -> dict[str, list[str]]:
    """Return every loss at every setting, by ``loss/number``."""
    return {
        f"{loss}/{number}": run_words(context, loss, setting)
        for loss in context["losses"]
        for number, setting in settings.items()
    }


def run_words(context: Context, loss: str, setting: Setting) -> list[str]:
    """Return the overrides of a loss at a setting."""
    smooth = setting.activation in SMOOTH
    own = overrides(ARMS[loss], setting.trial, context["passes"], smooth)
    steps = int(own[-1].partition("=")[2])
    return [
        *own, *setting.network(), "data=ring8", f"data.sigma={context['sigma']}",
        f"train.batch_size={context['batch_size']}",
        "evaluate.every_n_steps=0", f"evaluate.final_n={context['final_n']}",
        "evaluate.floor_pairs=2", f"log.every_n_steps={max(1, steps // 20)}",
        "log.tensorboard=false", f"checkpoint.every_n_steps={steps}",
    ]  # fmt: skip


def measure(context: Context) -> Findings:
    """Draw the settings, run the losses at each, compare the profiles. Raises ConfigError."""
    for loss in context["losses"]:
        if loss not in ARMS:
            raise ConfigError(unknown("loss", loss, list(ARMS)))
    settings = {number: draw(context, number) for number in context.seeds}
    planned = arms(context, settings)
    seeds = {name: [int(name.rpartition("/")[2])] for name in planned}
    runs = context.train(planned, seeds)
    ended = {
        loss: [measured(runs[f"{loss}/{number}"][0]) for number in settings]
        for loss in context["losses"]
    }
    return findings(list(settings.values()), ended, context["thresholds"])


def findings(
    settings: Sequence[Setting],
    ended: Mapping[str, Sequence[Measured]],
    thresholds: Sequence[float],
) -> Findings:
    """Return the findings from the settings and the numbers of their runs."""
    figure = stability_figure(settings, ended, COMPARED)
    return Findings(
        evidence(settings, ended), rows(settings, ended), {"figure": figure},
        text(settings, ended, thresholds),
    )  # fmt: skip


def scores(own: Sequence[Measured]) -> list[float]:
    return [each.score for each in own]


def differences(ended: Mapping[str, Sequence[Measured]], one: str, other: str) -> list[float]:
    """Return the score of one loss less that of another, setting by setting."""
    return [a - b for a, b in zip(scores(ended[one]), scores(ended[other]), strict=True)]


def evidence(
    settings: Sequence[Setting], ended: Mapping[str, Sequence[Measured]]
) -> dict[str, Evidence]:
    """Return the evidence by claim; it is empty where a budget leaves a loss out."""
    found = {}
    for name, pairs in COMPARED.items():
        missing = not_trained(ended, {loss for pair in pairs for loss in pair})
        if missing:
            found[name] = Evidence([], note=missing)
            continue
        effects = {f"{a} less {b}": differences(ended, a, b) for a, b in pairs}
        found[name] = smallest_effect(effects, SCORES, SMALLEST[name], "a seed is a setting")
    if missing := not_trained(ended, {"gp", "bce"}):
        nothing = Evidence([], note=missing)
        return found | {"balanced_updates": nothing, "ratio_tolerance": nothing}
    found["balanced_updates"] = balance(ended)
    found["ratio_tolerance"] = slope_evidence(
        [setting.imbalance for setting in settings], differences(ended, "gp", "bce"),
        SMALLEST["ratio_tolerance"], "a seed is a setting",
    )  # fmt: skip
    return found


def not_trained(ended: Mapping[str, Sequence[Measured]], losses: set[str]) -> str:
    """Return which of some losses were not trained, as a note; empty if all were."""
    missing = sorted(losses - ended.keys())
    return f"this budget does not train {', '.join(missing)}" if missing else ""


def balance(ended: Mapping[str, Sequence[Measured]]) -> Evidence:
    """Return by how many decades gp's gradients are more balanced than bce's, by setting."""
    pairs = zip(ended["bce"], ended["gp"], strict=True)
    return Evidence(
        [
            None if a.imbalance is None or b.imbalance is None else a.imbalance - b.imbalance
            for a, b in pairs
        ],
        note="norms of the losses' gradients, before Adam, which scales both networks' updates to "
        "about their rates",
    )


def rows(
    settings: Sequence[Setting], ended: Mapping[str, Sequence[Measured]]
) -> list[dict[str, Cell]]:
    """Return one row per setting and loss."""
    return [
        {
            "setting": setting.trial, "depth": setting.depth, "width": setting.width,
            "activation": setting.activation, "critic_lr": setting.critic_lr,
            "generator_lr": setting.generator_lr, "loss": loss, "coverage": own[i].coverage,
            "high_quality": own[i].high_quality, "score": own[i].score,
            "gradient_imbalance": own[i].imbalance, "diverged": int(own[i].diverged),
        }
        for i, setting in enumerate(settings)
        for loss, own in ended.items()
    ]  # fmt: skip


def text(
    settings: Sequence[Setting],
    ended: Mapping[str, Sequence[Measured]],
    thresholds: Sequence[float],
) -> list[str]:
    """Return the results in sentences."""
    areas, shares, balances = [], [], []
    for loss, own in ended.items():
        area, failed = effect_interval(scores(own), (0.0, 1.0)), sum(e.diverged for e in own)
        areas.append(
            f"{loss} {estimate_text(area)}"
            + (f", {failed} of {len(own)} diverged" if failed else "")
        )
        shown = ", ".join(f"{share:.2f}" for share in profile(scores(own), thresholds))
        shares.append(f"{loss} {shown}")
        known = [each.imbalance for each in own if each.imbalance is not None]
        balances.append(f"{loss} {np.median(known):.2f}" if known else f"{loss} unknown")
    at = ", ".join(f"{threshold:g}" for threshold in thresholds)
    return [
        f"Area under the profile over {len(settings)} settings, with Student's interval for each "
        "loss alone: " + "; ".join(areas) + ".",
        f"Share of settings whose score reaches {at}: " + "; ".join(shares) + f". A band of "
        f"{band(len(settings)):.2f} on both sides holds a whole profile with probability 0.95.",
        "Decades between the two networks' gradient norms, median over settings: "
        + "; ".join(balances) + ".",
        "Nearly every draw is a bad one: the space spans four decades of rates, so a low area "
        "says that a loss needs a search, not that it is weak at its best. All have the same small "
        "compute, the setting passes: a loss that needs a longer run looks worse.",
    ]  # fmt: skip


register_study(
    Study(
        name="stability",
        question="how well does a loss train at settings that nobody tuned?",
        claims=with_primary("gp_over_bce", CLAIMS),
        measure=measure,
        differs="As in WGAN-GP's Table 2: random architectures, all losses in each. Differs: a "
        "ring of Gaussians instead of images and their score; shallow networks without "
        "normalisation; rates, betas, critic steps and coefficients are drawn from a space that "
        "is centred on no loss; a profile of success instead of thresholds; equal compute.",
        protects={
            "loss": "all are compared at every setting",
            "data": "the scores of another target are of another size",
        },
        version=2,
    )
)


# The figure of the stability study: profiles, areas, differences, and the two rates.
Ended = Mapping[str, Sequence[Measured]]
Compared = Mapping[str, Sequence[tuple[str, str]]]


def stability_figure(settings: Sequence[Setting], ended: Ended, compared: Compared) -> Figure:
    """Draw profiles and areas above, differences and their dependence on the rates below."""
    title = f"{len(settings)} settings that nobody tuned: how well does a loss train?"
    figure = new_figure(12.5, 9.2, title)
    panels = figure.subplots(2, 2)
    draw_profiles(panels[0, 0], ended)
    draw_areas(panels[0, 1], ended)
    draw_differences(panels[1, 0], ended, compared)
    draw_rates(panels[1, 1], settings, ended)
    return figure


def draw_profiles(axes: Axes, ended: Ended) -> None:
    """Draw the share of settings that reach a score, for each loss, and the width of the band."""
    colors = colours_of(ended)
    for i, (loss, own) in enumerate(ended.items()):
        scores, share = shares_at_least([each.score for each in own])
        axes.step(scores, share, where="post", color=colors[loss], linestyle=LINES[i % len(LINES)],
                  linewidth=1.7, label=loss)  # fmt: skip
    half = band(len(next(iter(ended.values()))))
    axes.errorbar([1.03], [0.34], yerr=[half], color="#444444", capsize=3, linewidth=1.2)
    axes.text(1.06, 0.34, "95 % band\nof a profile", fontsize=8, va="center")
    axes.set(xlim=(0, 1.26), ylim=(0, 1.04))
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.legend(frameon=False, fontsize=8.5, ncols=2, loc="upper right")
    style_axes(axes, "Profile of success", "score: coverage × share of high quality",
          "share of settings at least as good")  # fmt: skip


def shares_at_least(
    scores: Sequence[float],
) -> tuple[Float64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Return corners of the share of settings that score at least x, from x = 1 down to 0.

    The share of each corner holds until the next.

    >>> shares_at_least([0.25, 0.75])
    (array([1.  , 0.75, 0.25, 0.  ]), array([0. , 0.5, 1. , 1. ]))
    """
    falling = np.sort(np.asarray(scores, dtype=np.float64))[::-1]
    share = np.arange(1, len(falling) + 1) / len(falling)
    return np.r_[1.0, falling, 0.0], np.r_[0.0, share, 1.0]


def draw_areas(axes: Axes, ended: Ended) -> None:
    """Draw the area under each profile with its interval."""
    colors = colours_of(ended)
    for y, (loss, own) in enumerate(reversed(list(ended.items()))):
        draw_interval(axes, y, [each.score for each in own], (0.0, 1.0), colors[loss])
    axes.set_yticks(range(len(ended)), list(ended)[::-1], fontsize=9)
    axes.set_xlim(left=0)
    style_axes(axes, "Area under the profile, 95 % of each loss alone", "mean score", "")


def draw_differences(axes: Axes, ended: Ended, compared: Compared) -> None:
    """Draw the differences of each pair: a dot per setting, the mean and its interval."""
    pairs = list(dict.fromkeys(pair for own in compared.values() for pair in own))
    known = [(a, b) for a, b in pairs if a in ended and b in ended][::-1]
    for y, (one, other) in enumerate(known):
        values = [
            a.score - b.score for a, b in zip(ended[one], ended[other], strict=True)
        ]  # fmt: skip
        axes.plot(values, np.full(len(values), y - 0.22), "|", color="#999999", markersize=7)
        draw_interval(axes, y, values, (-1.0, 1.0), "#222222")
    axes.axvline(0, color="#444444", linewidth=0.9)
    axes.set_yticks(range(len(known)), [f"{one} − {other}" for one, other in known], fontsize=9)
    style_axes(axes, "Setting by setting: mean, 95 % and every setting", "difference of scores", "")


def draw_interval(
    axes: Axes, y: float, values: Sequence[float], bounds: tuple[float, float], color: str
) -> None:
    found = effect_interval(values, bounds)
    if np.isfinite(found.low):
        axes.plot([found.low, found.high], [y, y], color=color, linewidth=2.2)
    axes.plot(found.value, y, "o", color=color, markersize=7)


def draw_rates(axes: Axes, settings: Sequence[Setting], ended: Ended) -> None:
    """Draw the score of gp less that of bce against the decades between the two rates."""
    if not {"gp", "bce"} <= ended.keys():
        axes.set_axis_off()
        return
    x = [setting.imbalance for setting in settings]
    y = [a.score - b.score for a, b in zip(ended["gp"], ended["bce"], strict=True)]
    axes.plot(x, y, "o", color=LOSS_COLOURS["gp"], markersize=6, alpha=0.8)
    if len(set(x)) > 1:
        ends = np.array([min(x), max(x)])
        axes.plot(ends, np.polyval(np.polyfit(x, y, 1), ends), color="#222222", linewidth=1.5)
    axes.axhline(0, color="#444444", linewidth=0.9)
    style_axes(axes, "gp − bce, by the balance of the rates",
          "decades between the two networks' rates", "difference of scores")  # fmt: skip
