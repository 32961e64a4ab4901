"""How often does a loss train at all, over settings that were not tuned?

Measured: random settings (depth, width, activation, both rates, Adam's first beta), each run
with bce, bce_saturating, gp and lp, with as many critic and generator steps for all. Success =
coverage x share of high quality at the end >= a threshold that stands in the YAML. Pairs of
losses are compared setting by setting: only the one, only the other, both, neither; difference
of the success rates with Newcombe's interval, exact McNemar test. A "seed" of this study is a
setting: number k is drawn from numpy's generator at (settings_seed, k), and k is the seed of
its runs.

As in arXiv:1704.00028 Table 2: random architectures, GAN against WGAN-GP in each, success above
a threshold. Differs: ring8 with wider modes instead of 32 x 32 ImageNet and its Inception score;
shallow nets without normalisation; rates and beta drawn too; n_critic equal for all. There: only
GAN 0, only WGAN-GP 147, both 42, neither 11 of 200; one- against two-sided 77 against 100, called
not significant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from wganbench.reports.statistics import share_interval
from wganbench.studies.evidence import (
    Outcome,
    Pairs,
    mcnemar,
    newcombe,
    outcomes,
    paired_evidence,
    pairs,
)
from wganbench.studies.stability.figure import stability_figure
from wganbench.studies.stability.settings import Setting, draw
from wganbench.studies.study import Cell, Context, Findings, Study, register_study
from wganbench.studies.verdicts import Claim, with_primary

LOSSES = ("bce", "bce_saturating", "gp", "lp")
PENALISED = ("gp", "lp")
WORST_KL = 0.0
"""A placeholder, because no claim of this study uses the KL."""

TABLE_2 = "arXiv:1704.00028, Table 2"
DIFFERENCE = "difference of success rates over random settings"
COMPARED = {
    "gp_over_bce": ("gp", "bce"),
    "gp_over_bce_saturating": ("gp", "bce_saturating"),
    "one_sided": ("lp", "gp"),
}
"""By claim: the loss that is claimed to succeed more often, and the other one."""

CLAIMS: tuple[Claim, ...] = (
    Claim("gp_over_bce", "WGAN-GP trains in settings where the GAN fails: non-saturating",
          TABLE_2, "comparative", DIFFERENCE, "of the settings", 0.3, spread=0.55),
    Claim("gp_over_bce_saturating", "WGAN-GP trains in settings where the GAN fails: saturating",
          TABLE_2, "comparative", DIFFERENCE, "of the settings", 0.3, spread=0.55),
    Claim("one_sided", "The one-sided penalty is more stable than the two-sided one",
          "arXiv:1709.08894, abstract", "comparative", DIFFERENCE, "of the settings", 0.1,
          spread=0.3),
)  # fmt: skip
CLAIMS = with_primary("gp_over_bce", CLAIMS)


def arms(context: Context, settings: Mapping[int, Setting]) -> dict[str, list[str]]:
    """Return every loss in every setting, by ``loss/number``."""
    return {
        f"{loss}/{number}": [*own_overrides(context, loss),
                             *setting.overrides(context["second_beta"])]
        for loss in LOSSES
        for number, setting in settings.items()
    }  # fmt: skip


def own_overrides(context: Context, loss: str) -> list[str]:
    """Return the overrides shared by all settings: data, batch, critic steps, no compilation."""
    n_critic = context["n_critic"]
    steps = max(1, context["critic_steps"] // n_critic)
    return [
        f"loss={loss}", "tuned=none", f"loss.n_critic={n_critic}", f"train.steps={steps}",
        *([f"loss.gp_lambda={context['gp_lambda']}"] if loss in PENALISED else []),
        "data=ring8", f"data.sigma={context['sigma']}", f"train.batch_size={context['batch_size']}",
        "train.optimizer=adam", "train.decay=linear", "compile=false",
        "evaluate.every_n_steps=0", f"evaluate.final_n={context['final_n']}",
        f"log.every_n_steps={steps}", "log.tensorboard=false",
    ]  # fmt: skip


def measure(context: Context) -> Findings:
    """Draw the settings, run all losses in each, count successes."""
    settings = {number: draw(context, number) for number in context.seeds}
    planned = arms(context, settings)
    seeds = {name: [int(name.rpartition("/")[2])] for name in planned}
    runs = context.train(planned, seeds)
    ended = {
        loss: [outcomes(runs[f"{loss}/{number}"], WORST_KL, 0.0)[0] for number in settings]
        for loss in LOSSES
    }
    return findings(list(settings.values()), ended, context["success"])


def findings(
    settings: Sequence[Setting], ended: Mapping[str, Sequence[Outcome]], threshold: float
) -> Findings:
    """Return the findings from the settings and the outcomes of their runs."""
    succeeded = {loss: [o.score >= threshold for o in own] for loss, own in ended.items()}
    note = f"a seed is a random setting; success: coverage x high quality at least {threshold:g}"
    smallest = {claim.name: claim.smallest for claim in CLAIMS}
    evidence = {
        name: paired_evidence(succeeded[one], succeeded[other], smallest[name], note)
        for name, (one, other) in COMPARED.items()
    }
    figure = stability_figure(settings, ended, succeeded, COMPARED.values(), threshold)
    return Findings(evidence, rows(settings, ended, succeeded), {"figure": figure},
                    text(ended, succeeded, threshold))  # fmt: skip


def rows(
    settings: Sequence[Setting],
    ended: Mapping[str, Sequence[Outcome]],
    succeeded: Mapping[str, Sequence[bool]],
) -> list[dict[str, Cell]]:
    """Return one row per setting and loss."""
    return [
        {
            "setting": number, "depth": setting.depth, "width": setting.width,
            "activation": setting.activation, "first_beta": setting.first_beta,
            "critic_lr": setting.critic_lr, "generator_lr": setting.generator_lr, "loss": loss,
            "coverage": ended[loss][number].coverage,
            "high_quality": ended[loss][number].high_quality,
            "score": ended[loss][number].score, "success": int(succeeded[loss][number]),
            "diverged": int(ended[loss][number].diverged),
        }
        for number, setting in enumerate(settings)
        for loss in ended
    ]  # fmt: skip


def text(
    ended: Mapping[str, Sequence[Outcome]],
    succeeded: Mapping[str, Sequence[bool]],
    threshold: float,
) -> list[str]:
    """Return the results in sentences."""
    rates = []
    for loss, own in succeeded.items():
        share = share_interval(sum(own), len(own))
        failed = sum(outcome.diverged for outcome in ended[loss])
        rates.append(
            f"{loss} {sum(own)} of {len(own)} [{share.low:.2f}, {share.high:.2f}]"
            + (f", {failed} of them diverged" if failed else "")
        )
    tables = [
        sentence(one, other, pairs(succeeded[one], succeeded[other]))
        for one, other in combinations(succeeded, 2)
    ]
    return [
        f"Settings in which a run reached coverage x high quality of {threshold:g}: "
        + "; ".join(rates) + ".",
        "Setting by setting: " + " ".join(tables),
        "The rates belong to this population of settings and this threshold; another range of "
        "learning rates gives others. What is compared is one against the other in the same "
        "settings.",
    ]  # fmt: skip


def sentence(one: str, other: str, counted: Pairs) -> str:
    low, high = newcombe(counted)
    return (
        f"{one} against {other}: both {counted.both}, only {one} {counted.first}, only {other} "
        f"{counted.second}, neither {counted.neither}; difference {counted.difference:.2f} "
        f"[{low:.2f}, {high:.2f}], McNemar p = {mcnemar(counted):.2g}."
    )


register_study(
    Study(
        name="stability",
        question="how often does a loss train at all, over settings that nobody tuned?",
        claims=CLAIMS,
        measure=measure,
        differs="As in WGAN-GP's Table 2: random architectures, both methods in each, success "
        "above a threshold. Differs: a ring of Gaussians instead of images and their score; "
        "shallow networks without normalisation; rates and beta are drawn too; the same "
        "n_critic for all losses.",
        protects={
            "loss": "all four are compared in every setting",
            "data": "the threshold of success was set for ring8",
        },
    )
)
