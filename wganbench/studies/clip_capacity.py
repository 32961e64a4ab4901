"""What does weight clipping cost?

WGAN-clip trains at c over four decades and without clipping, and WGAN-GP at several lambdas, each
with all pairs of rates. Networks, optimizer, batch, critic steps and seeds are the same. The
quality of a run is coverage x share of high quality at the end; it is 0 for a run that diverged.
The best setting of a seed is the one that is best on the other seeds, for either loss.

Three things are distinguished at the smallest c. The *scale* of the gradient is the mean over the
evaluations of log10 of grad_norm/sample (norm of dL_G/dx_i times n), at the best c less that at the
smallest, both at the best c's rates. A W-loss is free in its scale, and Adam divides by it. A
gradient *vanishes* if it falls far below its own maximum while the samples are bad. Adam's *eps*
takes a share of the update: a step of rate m / (sqrt(v) + eps) is sqrt(v) / (sqrt(v) + eps) of what
it would be without eps.

As in arXiv:1704.00028 Section 3: clipping against the penalty, c over decades. Differs: the ring
instead of images and deep critics; all layers together (its Fig. 1b is the study
layer_gradients); Adam for both instead of RMSProp for clipping. A penalised critic step takes 11
passes of the network and a plain one 7: a run has equal critic steps with either loss, and a
search equal compute, because clipping tries half as many settings again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wganbench.drawing.canvas import REFERENCE
from wganbench.errors import ConfigError
from wganbench.output import numbered
from wganbench.reports.drawing import LINES, LOSS_COLOURS, MARKERS, new_figure, style_axes
from wganbench.reports.statistics import mean_interval
from wganbench.runs.table import series
from wganbench.studies.evidence import Outcome, bounded_evidence, check_modes, outcomes
from wganbench.studies.study import Cell, Context, Findings, Study, finite, register_study
from wganbench.studies.verdicts import Claim, Evidence, with_primary
from wganbench.tags.lookup import FAR_FROM_FLOOR
from wganbench.training.run import Run


# The best setting of a search, chosen without the seed that is judged.
def left_out_best(scores: Float64[np.ndarray, "n k"]) -> Float64[np.ndarray, " n"]:
    """Return each seed's score, (n,), at the setting that is best on the other n - 1 seeds.

    Choosing and judging on the same seeds would favour the larger and the noisier search. Ties
    go to the first setting. Raises ValueError for fewer than two seeds.

    >>> left_out_best(np.array([[1.0, 0.0], [1.0, 0.0], [0.5, 0.9]]))
    array([1. , 1. , 0.5])
    """
    n = len(scores)
    if n < 2:
        raise ValueError("a setting is chosen on other seeds: two seeds are needed at least")
    others = (scores.sum(axis=0) - scores) / (n - 1)
    return np.asarray(scores[np.arange(n), others.argmax(axis=1)])


def best_setting(scores: Float64[np.ndarray, "n k"]) -> int:
    """Return the index of the setting with the best mean, the first of equal ones."""
    return int(scores.mean(axis=0).argmax())


GRADIENTS = ("grad_norm/sample", "grad_norm/critic", "critic/slope_mean")
SECTION = "arXiv:1704.00028, Section 3"
SAMPLE = "log10 of grad_norm/sample, mean over the run"

CLAIMS: tuple[Claim, ...] = (
    Claim("limits", "Clipping limits the critic: quality stays below the gradient penalty's",
          SECTION, "comparative", "coverage x high quality: best lambda less best c, chosen on "
          "other seeds", "of 1", 0.1, spread=0.1),
    Claim("scale_small", "A small c makes the gradient small: its scale", SECTION, "comparative",
          f"{SAMPLE}: best c less smallest c", "decades", 1.0, spread=0.5),
    Claim("scale_large", "A large c makes the gradient large: its scale", SECTION, "comparative",
          f"{SAMPLE}: largest finite c less best c", "decades", 1.0, spread=0.5),
    Claim("vanishing", "A small c makes the gradient vanish: it falls far below its own maximum "
          "while the samples are bad", SECTION, "comparative", "log10(largest grad_norm/sample "
          "before the end / at the end), smallest c", "decades", 2.0, spread=0.5),
    Claim("eps", "At a small c the generator's update vanishes in Adam's eps", "ours",
          "comparative",
          "-log10 of the mean of sqrt(v) / (sqrt(v) + eps) over parameters, smallest c less best c",
          "decades", 0.3, spread=0.1),
)  # fmt: skip
CLAIMS = with_primary("limits", CLAIMS)
SMALLEST = {claim.name: claim.smallest for claim in CLAIMS}


Rates = tuple[float, float]
"""The learning rates of the critic and of the generator."""


@dataclass(frozen=True)
class Search:
    """A coefficient's values in rising order, pairs of rates, and the outcomes of all runs.

    ``ended`` is indexed by value, rates and seed. ``gradients`` is indexed by tag, then seed,
    value and rates; it holds decades, the mean of log10 over a run's finite evaluations, and nan
    without any. ``fallen`` and ``eps`` are indexed likewise: the decades by which the gradient at
    the samples fell below its own maximum, nan for samples that have arrived, and the decades that
    Adam's eps takes from the update.
    """

    loss: str
    values: tuple[float, ...]
    rates: tuple[Rates, ...]
    ended: tuple[tuple[tuple[Outcome, ...], ...], ...]
    gradients: Mapping[str, Float64[np.ndarray, "n k r"]]
    fallen: Float64[np.ndarray, "n k r"]
    eps: Float64[np.ndarray, "n k r"]

    def quantity(self, name: str) -> Float64[np.ndarray, "n k r"]:
        """Return one final number of every run."""
        values = [[[getattr(o, name) for o in own] for own in some] for some in self.ended]
        return np.moveaxis(np.array(values, dtype=np.float64), -1, 0)

    @property
    def best(self) -> tuple[int, int]:
        """Return the indices of the value and of the rates with the best mean score."""
        return divmod(best_setting(flat(self.quantity("score"))), len(self.rates))

    @property
    def best_rates(self) -> Int[np.ndarray, " k"]:
        """Return for each value the index of its best rates."""
        return np.asarray(self.quantity("score").mean(axis=0).argmax(axis=1))


def flat(values: Float64[np.ndarray, "n k r"]) -> Float64[np.ndarray, "n s"]:
    return values.reshape(len(values), -1)


def arms(
    context: Context, loss: str, setting: str, values: Sequence[float], rates: Sequence[Rates]
) -> dict[str, list[str]]:
    """Return one arm per value and pair of rates; all arms of a loss share a stack."""
    every = min(context["evaluate_every_n_steps"], context["steps"])
    shared = [
        f"loss={loss}", f"data={context['data']}", "tuned=none",
        f"loss.n_critic={context['n_critic']}", "train.optimizer=adam", "train.decay=linear",
        f"train.betas={context['betas']}", f"train.steps={context['steps']}",
        f"train.batch_size={context['batch_size']}", f"precision={context['precision']}",
        f"evaluate.every_n_steps={every}", f"evaluate.n={context['evaluate_n']}",
        f"evaluate.final_n={context['final_n']}", f"log.every_n_steps={every}",
        "log.tensorboard=false", f"compile={'auto' if context['compiled'] else 'false'}",
    ]  # fmt: skip
    return {
        arm(loss, value, pair): [*shared, f"loss.{setting}={value}", f"train.critic_lr={pair[0]}",
                                 f"train.generator_lr={pair[1]}"]
        for value in values
        for pair in rates
    }  # fmt: skip


def arm(loss: str, value: float, rates: Rates) -> str:
    return f"{loss}/{value:g}/{rates[0]:g}/{rates[1]:g}"


def measure(context: Context) -> Findings:
    """Run both searches, then compute the effects seed by seed."""
    if len(context["critic_lrs"]) != len(context["generator_lrs"]):
        raise ConfigError("critic_lrs and generator_lrs are pairs: give equally many of both")
    check_modes([context["data"]])
    if len(context.seeds) < 2:
        raise ConfigError("seeds: a setting is chosen on other seeds, so give two at least")
    rates = list(zip(context["critic_lrs"], context["generator_lrs"], strict=True))
    settings = {"clip": ("clip_value", sorted(context["clip_values"])),
             "gp": ("gp_lambda", sorted(context["gp_lambdas"]))}  # fmt: skip
    planned: dict[str, list[str]] = {}
    for loss, (setting, values) in settings.items():
        planned |= arms(context, loss, setting, values, rates)
    runs = context.train(planned)
    clip, gp = (
        search(loss, values, rates, [[runs[arm(loss, v, pair)] for pair in rates] for v in values])
        for loss, (_, values) in settings.items()
    )
    return findings(clip, gp)


def search(
    loss: str,
    values: Sequence[float],
    rates: Sequence[Rates],
    runs: Sequence[Sequence[Sequence[Run]]],
) -> Search:
    """Return the outcomes of a loss's runs by value, rates and seed."""
    gradients = {}
    for tag in GRADIENTS:
        found = [[[mean_decades(run, tag) for run in own] for own in some] for some in runs]
        gradients[tag] = np.moveaxis(np.array(found), -1, 0)
    fallen, eps = (
        np.moveaxis(np.array([[[f(run) for run in own] for own in some] for some in runs]), -1, 0)
        for f in (decades_fallen, decades_to_eps)
    )
    ended = tuple(tuple(tuple(outcomes(own, math.nan, math.nan)) for own in some) for some in runs)
    return Search(loss, tuple(values), tuple(rates), ended, gradients, fallen, eps)


ADAM_EPS = 1e-8


def decades_fallen(run: Run) -> float:
    """Return log10(largest grad_norm/sample in training / at its end); nan for good samples."""
    if run.status == "diverged":
        return math.nan
    final = run.metrics
    if final["wasserstein/exact"] <= FAR_FROM_FLOOR * final["wasserstein/floor"]:
        return math.nan
    return fall(in_training(run, "grad_norm/sample"))


def fall(values: Sequence[float]) -> float:
    """Return log10(largest before the last / last); nan for fewer than two values.

    >>> fall([1.0, 10.0, 0.1])
    2.0
    """
    if len(values) < 2:
        return math.nan
    least = float(np.finfo(np.float32).tiny)
    return math.log10(max(*values[:-1], least) / max(values[-1], least))


def decades_to_eps(run: Run) -> float:
    """Return the decades that Adam's eps takes from the generator's update at the end."""
    if run.status == "diverged":
        return math.nan
    squares = run.stack.state.generator_moments["exp_avg_sq"]
    return eps_share(np.concatenate([v.double().cpu().numpy().ravel() for v in squares.values()]))


def eps_share(squares: Float64[np.ndarray, " parameters"]) -> float:
    """Return -log10 of the mean of sqrt(v) / (sqrt(v) + eps), v the running mean of g^2.

    Parameters that never had a gradient have no update to lose and are left out; nan without any
    other.

    >>> round(eps_share(np.array([1e-16, 1e-16])), 4)
    0.301
    """
    roots = np.sqrt(squares[squares > 0])
    return float(-np.log10((roots / (roots + ADAM_EPS)).mean())) if roots.size else math.nan


def mean_decades(run: Run, tag: str) -> float:
    """Return the mean of log10 over a run's evaluations; 0 counts as the smallest float."""
    return decades(in_training(run, tag))


def in_training(run: Run, tag: str) -> list[float]:
    """Return the finite values of a run after its start, where no critic has been clipped yet."""
    pairs = zip(*series(run.table, tag), strict=True)
    return [value for step, value in pairs if step > 0 and math.isfinite(value)]


def decades(values: Sequence[float]) -> float:
    """Return the mean log10 of the finite values; nan without any.

    >>> decades([0.1, 10.0, 1000.0])
    1.0
    """
    finite = np.array([value for value in values if math.isfinite(value)], dtype=np.float64)
    if not finite.size:
        return math.nan
    return float(np.log10(np.maximum(finite, np.finfo(np.float32).tiny)).mean())


def findings(clip: Search, gp: Search) -> Findings:
    """Return evidence, table and figure from the two searches."""
    return Findings(evidence(clip, gp), [*rows(clip), *rows(gp)],
                    {"figure": capacity_figure(clip, gp)}, text(clip, gp))  # fmt: skip


def evidence(clip: Search, gp: Search) -> dict[str, Evidence]:
    """Return the evidence by claim, with one value per seed."""
    gain = left_out_best(flat(gp.quantity("score"))) - left_out_best(flat(clip.quantity("score")))
    (middle, pair), sample = clip.best, clip.gradients["grad_norm/sample"]
    largest = max(k for k, value in enumerate(clip.values) if math.isfinite(value))
    at_best, note = sample[:, middle, pair], f"best c {clip.values[middle]:g}"
    ends, top = f"smallest c {clip.values[0]:g}", f"largest c {clip.values[largest]:g}"
    return {
        "limits": replace(
            bounded_evidence([float(v) for v in gain], -1.0, 1.0, SMALLEST["limits"],
                             f"{note}, best lambda {gp.values[gp.best[0]]:g}"),
            undecided=nothing_learnt(clip, gp),
        ),
        "scale_small": Evidence(known(at_best - sample[:, 0, pair]), note=f"{ends}, {note}"),
        "scale_large": Evidence(known(sample[:, largest, pair] - at_best), note=f"{top}, {note}"),
        "vanishing": Evidence(known(clip.fallen[:, 0, pair]), note=ends,
                              undecided=arrived(clip.fallen[:, 0, pair])),
        "eps": Evidence(known(clip.eps[:, 0, pair] - clip.eps[:, middle, pair]),
                        note=f"{ends}, {note}"),
    }  # fmt: skip


LEARNT = 0.5
"""The least mean score of each loss's best setting for a comparison of their best."""


def nothing_learnt(clip: Search, gp: Search) -> str:
    """Return why the best settings are not compared: a loss has learnt with none of its own.

    A loss that is slow is not yet one that is limited.
    """
    best = {found.loss: float(found.quantity("score").mean(axis=0).max()) for found in (clip, gp)}
    short = [f"{loss}'s best scores {score:.3f}" for loss, score in best.items() if score < LEARNT]
    return f"not learnt in these steps: {', '.join(short)}" if short else ""


def arrived(fallen: Float64[np.ndarray, " n"]) -> str:
    """Return why nothing is said of a gradient that vanishes: the samples were good."""
    return "" if np.isfinite(fallen).all() else "some samples are not bad, or a run diverged"


def known(values: Float64[np.ndarray, " n"]) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def rows(found: Search) -> list[dict[str, Cell]]:
    """Return one row per value of the coefficient and pair of rates."""
    return [row(found, k, r) for k in range(len(found.values)) for r in range(len(found.rates))]


def row(found: Search, k: int, r: int) -> dict[str, Cell]:
    own = found.ended[k][r]
    score = mean_interval([outcome.score for outcome in own])
    return {
        "loss": found.loss, "value": str(found.values[k]), "critic_lr": found.rates[r][0],
        "generator_lr": found.rates[r][1], "n": len(own),
        "diverged": sum(outcome.diverged for outcome in own),
        "score": score.value,
        "score_low": None if math.isnan(score.low) else score.low,
        "score_high": None if math.isnan(score.high) else score.high,
        "coverage": float(np.mean([outcome.coverage for outcome in own])),
        "high_quality": float(np.mean([outcome.high_quality for outcome in own])),
        **{f"log10_{tag}": float(found.gradients[tag][:, k, r].mean()) for tag in GRADIENTS},
        "decades_fallen": finite(found.fallen[:, k, r].mean()),
        "decades_to_eps": finite(found.eps[:, k, r].mean()),
    }  # fmt: skip


def text(clip: Search, gp: Search) -> list[str]:
    """Return the results in sentences."""
    tried = f"{len(clip.values)} c and {len(gp.values)} lambdas, each with {len(clip.rates)} pairs"
    lines = [
        f"Of {tried} of rates, best clipping: c {best_words(clip)}; best penalty: lambda "
        f"{best_words(gp)}. Means over the seeds that chose them; the verdict chooses on others.",
        "grad_norm/sample, geometric mean over the run, by c at those rates: "
        + sizes(clip, "grad_norm/sample"),
        "Mean slope at interpolates, likewise: " + sizes(clip, "critic/slope_mean"),
        "Quality is what is reached in these steps: a slow loss may not have arrived, and a best c "
        "among values that all score near 0 is hardly a best one. budget=full trains longer.",
        "Adam divides a gradient by its running size: a small gradient alone does not slow the "
        "generator down, so sizes are a scale here. Decades of the update that Adam's eps "
        "takes, by c at those rates: "
        + ", ".join(
            f"{v:g}: {e:.2g}"
            for v, e in zip(clip.values, clip.eps[:, :, clip.best[1]].mean(axis=0), strict=True)
        )
        + ".",
    ]
    failed = int(sum(outcome.diverged for some in clip.ended for own in some for outcome in own))
    if failed:
        lost = numbered(failed, "run")
        lines.append(f"{lost} of the clip search diverged and counted with quality 0.")
    return lines


def best_words(found: Search) -> str:
    """Return a sentence on the best setting and its score."""
    k, r = found.best
    coverage, high = (found.quantity(q)[:, k, r].mean() for q in ("coverage", "high_quality"))
    return (
        f"{found.values[k]:g}, rates {found.rates[r][0]:g} and {found.rates[r][1]:g}, coverage "
        f"{coverage:.2f}, high quality {high:.2f}"
    )


def sizes(found: Search, tag: str) -> str:
    pair = found.best[1]
    means = found.gradients[tag][:, :, pair].mean(axis=0)
    words = (f"{v:g}: {10**mean:.2g}" for v, mean in zip(found.values, means, strict=True))
    return ", ".join(words) + "."


register_study(
    Study(
        name="clip_capacity",
        question="what does weight clipping cost, against the best gradient penalty?",
        claims=CLAIMS,
        measure=measure,
        differs="As in the paper: clipping against the penalty, c over decades. Differs: a ring "
        "of Gaussians instead of images, Adam for both losses, all layers taken together.",
        protects={
            "loss": "clip and gp are what is compared",
            "clip_value": "the study runs over all of clip_values",
            "gp_lambda": "the study runs over all of gp_lambdas",
            "optimizer": "the share of Adam's eps is one of its claims",
        },
        version=3,
    )
)


# The figure of the clipping study: quality, coverage and gradients against the setting.
WITHOUT = 4.0
"""Position of "no clipping" on the axis, as a multiple of the largest finite value."""

WORDS = {
    "grad_norm/sample": "generator's signal at a sample (1 / data unit)",
    "grad_norm/critic": "critic's parameter gradient",
    "critic/slope_mean": "critic's slope at interpolates (1 / data unit)",
}
PARTS = ("score", "coverage", "high_quality")
LABELS = ("coverage × high quality", "coverage", "high quality")


def capacity_figure(clip: Search, gp: Search) -> Figure:
    """Draw the generator's quality above the gradients, for clipping (left) and penalty (right)."""
    figure = new_figure(11.5, 8.4, "Weight clipping over four decades, beside the gradient penalty")
    panels = figure.subplots(2, 2, sharey="row")
    for column, (found, name) in enumerate(((clip, "clip value c"), (gp, "gp_lambda"))):
        draw_quality(panels[0, column], found, name)
        draw_gradients(panels[1, column], found, name)
    best = gp.quantity("score").mean(axis=0)[gp.best]
    panels[0, 0].axhline(best, **REFERENCE)
    panels[0, 0].text(places(clip)[0], best + 0.015, "best penalty", fontsize=8.5)
    return figure


def places(found: Search) -> list[float]:
    """Return the values' positions on the axis; "no clipping" comes after the last."""
    largest = max(value for value in found.values if math.isfinite(value))
    return [min(value, WITHOUT * largest) for value in found.values]


def draw_quality(axes: Axes, found: Search, name: str) -> None:
    """Draw means over seeds at each value's best rates, with the product's 95 % interval."""
    x, color = places(found), LOSS_COLOURS[found.loss]
    for i, (part, label) in enumerate(zip(PARTS, LABELS, strict=True)):
        values = found.quantity(part)[:, range(len(x)), found.best_rates].T
        axes.plot(x, values.mean(axis=1), color=color if i == 0 else "#555555", linestyle=LINES[i],
                  marker=MARKERS[i], markersize=5, linewidth=2.2 if i == 0 else 1.3,
                  label=label)  # fmt: skip
        if i == 0:
            bounds = [mean_interval(list(own)) for own in values]
            axes.vlines(x, [b.low if math.isfinite(b.low) else b.value for b in bounds],
                        [b.high if math.isfinite(b.high) else b.value for b in bounds],
                        color=color, linewidth=2)  # fmt: skip
    axes.set_ylim(-0.05, 1.09)
    finish(axes, found, f"loss={found.loss}: at the end of training", name, "share")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")


def draw_gradients(axes: Axes, found: Search, name: str) -> None:
    """Draw geometric means over run and seeds, at the rates of the best setting."""
    x = places(found)
    for i, (tag, label) in enumerate(WORDS.items()):
        logs: Float64[np.ndarray, "n k"] = found.gradients[tag][:, :, found.best[1]]
        axes.plot(x, 10 ** logs.mean(axis=0), color=("#0072B2", "#D55E00", "#009E73")[i],
                  linestyle=LINES[i], marker=MARKERS[i], markersize=5, label=label)  # fmt: skip
    axes.set_yscale("log")
    finish(axes, found, "Gradients, mean of the logarithm over the run", name, "size")
    axes.legend(frameon=False, fontsize=8.5, loc="upper left")


def finish(axes: Axes, found: Search, title: str, name: str, unit: str) -> None:
    axes.set_xscale("log")
    style_axes(axes, title, name, unit)
    if math.isinf(found.values[-1]):
        ticks = [v for v in found.values if math.isfinite(v)][::2]
        axes.set_xticks([*ticks, places(found)[-1]], [*(f"{t:g}" for t in ticks), "none"])
        axes.minorticks_off()
