"""What must not change unseen, as text: the makers of tests/golden/*.txt.

    python tests/goldens.py            writes all of them
    python tests/goldens.py help       writes tests/golden/help.txt

Run it after a change that is meant, and read the difference in review. test_golden.py makes
them anew and compares. Names, order, words, whole numbers and hashes must be equal to the
letter. Numbers that a processor computes are written as ``+1.23456789e+00``, and only they are
compared as numbers: another processor, or another build of torch, adds in another order, and
rounded text is not equal where two values lie at the two sides of an edge.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from wganbench.studies.study import Context

FOLDER = Path(__file__).with_name("golden")

SMALL = [
    "tuned=none", "network.width=16", "network.depth=2", "train.batch_size=16",
    "train.betas=[0.5,0.9]", "train.decay=none", "loss.n_critic=2", "compile=false",
    "device=cpu", "evaluate.floor_pairs=2", "evaluate.n=64",
]  # fmt: skip
"""A run that takes a moment, for the figures of a few steps."""

RATES = {"sgd": (0.1, 0.05), "adam": (5e-3, 2e-3), "rmsprop": (5e-3, 2e-3)}
"""Critic's and generator's, by optimizer."""

STEPPED = (("bce", "adam"), ("bce", "rmsprop"), ("bce_gp", "adam"))
"""Losses with the other optimizers, which divide a gradient by its size. The bias of a W-critic's
last layer has gradient 0: they would make whole steps of its rounding error."""

VERBS = ("train", "sweep", "resume", "compare", "sample", "evaluate", "ls", "rm", "diff", "export",
         "new", "tensorboard", "study", "tune", "speedrun", "list", "demo", "doctor")  # fmt: skip


def number(value: float) -> str:
    """A computed number: nine significant digits tell every fp32 value from its neighbours."""
    return f"{value:+.8e}"


# Losses.
def losses() -> Iterator[str]:
    """Every loss: all scalars of three steps, and one evaluation."""
    from wganbench.losses import RECIPES

    for name in sorted(RECIPES):
        yield from three_steps(name, "sgd", evaluated=True)
    for name, optimizer in STEPPED:
        yield from three_steps(name, optimizer, evaluated=False)


def three_steps(loss: str, optimizer: str, evaluated: bool) -> Iterator[str]:
    from wganbench.training.measuring import measure_stack

    critic_lr, generator_lr = RATES[optimizer]
    stack = small_stack(
        f"loss={loss}", f"train.optimizer={optimizer}", f"train.critic_lr={critic_lr}",
        f"train.generator_lr={generator_lr}",
    )  # fmt: skip
    for _ in range(3):
        stack.iterate()
        yield from figures(f"{loss} {optimizer} step {stack.steps_done}", stack.scalars()[0])
    if evaluated:
        yield from figures(f"{loss} evaluated", measure_stack(stack, 64)[0])


def small_stack(*words: str) -> Any:
    from wganbench.config import compose
    from wganbench.training.stack import Stack

    return Stack([compose(["data=ring8", *SMALL, *words])], torch.device("cpu"))


def figures(head: str, values: dict[str, float]) -> Iterator[str]:
    yield head
    yield from (f"  {tag} {number(value)}" for tag, value in values.items())


# Streams.
TRAINING = ("real", "latent_critic", "latent_generator", "mixing")
STARTS = ("weights_critic", "weights_generator")
AT_ONCE = (
    "evaluate_real/0", "evaluate_latent/0", "evaluate_mixing/0", "sample", "picture_real",
    "picture_latent", "picture_interpolation", "funnel_centres", "funnel_shifts",
)  # fmt: skip
"""Streams of measurements, figures and funnels: their number is a step, or 0."""
BY_GENERATORS = (
    "figure", "value_surfaces", "layer_real",
    "layer_latent", "climb", "skew_lines", "fixed_latent", "fixed_real", "distance_fake",
    "distance_real", "known_mixing", "nearby", "place_real", "place_fake", "place_mixing",
)  # fmt: skip
"""Streams of studies, drawn from generators."""


def streams() -> Iterator[str]:
    """Seeds and first words of every stream, first batches of training, first weights."""
    from wganbench.draws import keyed, stream_key
    from wganbench.training.streams import stream_generator, stream_seed

    for name in (*TRAINING, *AT_ONCE):
        for seed, step in ((0, 0), (0, 1), (12, 3)):
            words = keyed(seed, name, step).words(5).tolist()
            yield f"{name} seed {seed} step {step}: {stream_key(seed, name)} {words}"
    for name in (*STARTS, *BY_GENERATORS):
        for seed, step in ((0, 0), (0, 1), (12, 3)):
            generator = stream_generator(seed, name, step)
            words = torch.empty(2, dtype=torch.int64).random_(generator=generator).tolist()
            yield f"{name} seed {seed} step {step}: {stream_seed(seed, name, step)} {words}"
    yield from batches()
    yield from seeds_of_measurements()
    yield from draws_of_data()


def batches() -> Iterator[str]:
    """What a stack draws at some steps, and the weights that it starts with."""
    stack = small_stack("loss=gp", "seed=3")
    for name in TRAINING:
        for step in (0, 1, 64):
            yield line(f"{name} seed 3 step {step}", stack.execution.work.batch(name, step)[0, :2])
    for network in ("critic", "generator"):
        for name, weights in stack.run_parameters(0, network).items():
            yield line(f"{network} {name} seed 3", weights.flatten()[:2])
    for name, points in stack.probe(8, draw=1)[0].items():
        if name in ("reals", "eps", "fakes"):
            yield line(f"evaluation 1, {name} seed 3", points[:2])


def seeds_of_measurements() -> Iterator[str]:
    """Seeds that are the same for every run, for they are part of the measurement."""
    from wganbench.metrics import cache, judge, reference, rows

    yield f"sliced distance's lines {rows.LINES_SEED}"
    yield f"floors {cache.FLOOR_SEED} of version {cache.FLOOR_VERSION}"
    yield f"judge {judge.JUDGE_SEED}"
    yield f"reference {reference.REFERENCE_SEED}"


def draws_of_data() -> Iterator[str]:
    """The first draws of the built-in data sets, and of latents."""
    from wganbench.data import load
    from wganbench.networks import Latent

    def source() -> torch.Generator:
        return torch.Generator().manual_seed(5)

    with own_cloud() as cloud:
        for name, options in data_sets(cloud):
            target = load(name, **options)
            words = " ".join([name, *(f"{k}={v}" for k, v in options.items() if k != "path")])
            for kind in ("sample", "held_out"):
                points = getattr(target, kind)(6, source()).flatten(1)
                # Of an image five pixels of the middle: its border is empty.
                middle = max(0, points.shape[1] // 2 - 2)
                yield line(f"{words}: {kind}", points[:3, middle : middle + 5])
    for distribution in ("normal", "uniform"):
        yield line(f"latent {distribution}", Latent(distribution, (2,)).sample(3, source()))


def data_sets(cloud: Path) -> list[tuple[str, dict[str, Any]]]:
    """Those that need neither a download nor an extra, by name, with options."""
    names = [
        "ring8", "ring8_veegan", "ring8_selfcond", "ring8_unequal", "grid25", "grid25_pacgan",
        "random10", "mixture", "two_gaussians", "swiss_roll", "digits", "stacked_digits", "funnels",
        "lines", "two_point_masses", "gaussian_pair", "moons", "checkerboard", "spirals",
        "decades", "grid100", "line_segment", "circle", "four_segments",
    ]  # fmt: skip
    finite: dict[str, Any] = {"train_points": 10}
    more = [("points", {"path": str(cloud)}), ("ring8", finite), ("digits", finite)]
    return [*((name, {}) for name in names), *more]


@contextlib.contextmanager
def own_cloud() -> Iterator[Path]:
    """A user's file of points, in the current folder for a while."""
    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            cloud = Path("cloud.csv")
            cloud.write_text("x,y\n" + "".join(f"{i / 8},{i * i % 7}\n" for i in range(400)))
            yield cloud
        finally:
            os.chdir(here)


def line(head: str, values: Tensor) -> str:
    return " ".join([head, *map(number, values.flatten().tolist())])


# Configurations.
CONFIGURATIONS = (
    "", "seed=7", "loss=bce", "loss=bce_saturating", "loss=clip", "loss=lp", "loss=bce_gp",
    "loss=bce_r1 tuned=none", "loss=wasserstein", "loss=gp loss.gp_lambda=0.1",
    "loss=clip loss.clip_value=inf tuned=none", "data=grid25", "data=random10 train.steps=100",
    "data=two_gaussians data.dimension=3 evaluate.protocol=chi2", "data=stacked_digits",
    "data=points data.path=cloud.csv", "network=mlp512 precision=bf16",
    "network=pacgan data=grid25_pacgan loss=bce", "experiment=wgan_gp_toy",
    "deterministic=true device=cpu name=mine output_dir=elsewhere seed=2",
)  # fmt: skip


def run_ids() -> Iterator[str]:
    """The name of a run's folder, by what was typed."""
    from wganbench.config import compose, run_id

    with own_cloud():
        for words in CONFIGURATIONS:
            yield f"{run_id(compose(words.split()))}  {words}".rstrip()


def columns() -> Iterator[str]:
    """Columns of metrics.csv, and names on TensorBoard's HParams page."""
    from wganbench.config import compose
    from wganbench.runs.events import shown_parameters
    from wganbench.training.recorder import columns, hyperparameters
    from wganbench.training.stack import Stack

    tiny = ["tuned=none", "train.batch_size=2", "compile=false", "device=cpu"]
    for words in (
        "loss=gp data=ring8 network.width=4",
        "loss=bce data=ring8 network.width=4 network.depth=5 train.average_decay=0.9",
        "loss=clip data=digits network.width=4",
    ):
        config = compose([*words.split(), *tiny])
        yield f"metrics.csv of {words}"
        yield from (f"  {name}" for name in columns(Stack([config], torch.device("cpu"))))
        yield f"HParams of {words}"
        yield from (f"  {name}" for name in shown_parameters(hyperparameters(config)))


# The command line.
def help_texts() -> Iterator[str]:
    """``--help`` of every verb, 80 characters wide."""
    from wganbench.cli.app import app

    before = {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR", "TERM")}
    os.environ.update(COLUMNS="80", NO_COLOR="1", TERM="dumb")
    try:
        for words in ([], *([verb] for verb in VERBS)):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                app([*words, "--help"], prog_name="wganbench", standalone_mode=False)
            yield " ".join(["$ wganbench", *words, "--help"])
            yield from (text.rstrip() for text in out.getvalue().splitlines())
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


# Claims.
def exact_claims() -> Iterator[str]:
    """The claims that are computed and not trained: statistic, verdict and value."""
    from wganbench.studies import STUDIES, judge
    from wganbench.studies.verdicts import Evidence

    evidence: dict[str, dict[str, Evidence]] = {
        "dirac": dirac_evidence(),
        "two_gaussians": two_gaussians_evidence(),
    }
    for study in STUDIES.values():
        for claim in study.claims:
            if not claim.exact:
                continue
            found = evidence[study.name][claim.name]
            verdict = judge(study.name, claim, found)
            yield f"{study.name} {claim.name}: {verdict.word}, {claim.rule}"
            yield f"  {claim.text} ({claim.source})"
            yield " ".join([f"  {claim.statistic}", *map(number, known(found.values))])
    yield from known_distances()


def known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def dirac_evidence() -> dict[str, Any]:
    from wganbench.studies import dirac
    from wganbench.studies.dirac import methods

    context = settings_of("dirac")
    chosen = methods(context["clip_value"], context["gp_lambda"], context["r1_gamma"])
    return dirac.evidence(
        dirac.all_paths(context, chosen),
        context["early_step"],
        context["learning_rate"],
        dirac.run_notes(context),
    )


def two_gaussians_evidence() -> dict[str, Any]:
    from wganbench.studies.two_gaussians import study as two_gaussians

    return two_gaussians.exact_evidence(settings_of("two_gaussians")["largest_mu"])


def settings_of(study: str) -> Context:
    """What a study measures with by default."""
    from wganbench.studies import STUDIES
    from wganbench.studies.settings import read_settings
    from wganbench.studies.study import Context
    from wganbench.sweeps.backend import Silent

    settings = read_settings(study, STUDIES[study].protects, [])
    return Context(study, STUDIES[study].version, Path(), settings, Silent())


def known_distances() -> Iterator[str]:
    """Distances that are known by a formula, against which estimates are held."""
    from wganbench.config import compose
    from wganbench.studies.estimate_vs_distance.measure import (
        known_distributions,
        optimal_gp_estimate,
    )
    from wganbench.studies.two_gaussians import exact

    context = settings_of("estimate_vs_distance")
    every = known_distributions(context, compose(["data=ring8"]))
    for sampler in (one for family in every.values() for one in family):
        distance = "by samples" if sampler.distance is None else number(sampler.distance)
        yield f"known {sampler.family} {sampler.size:g}: {distance}"
    for distance in context["points"]:
        best = number(optimal_gp_estimate(distance, 10.0))
        yield f"best GP estimate of two points {distance:g} apart: {best}"
    for mu in (0.5, 1.0, 4.0, 20.0):
        distances = number(exact.earth_mover(mu)), number(exact.jensen_shannon(mu))
        yield " ".join([f"N(0, 1) and N({mu:g}, 1), W1 and JS:", *distances])
        for name, gradient in exact.GRADIENTS.items():
            yield f"  ln of the gradient, {name}: {number(gradient(mu))}"


GOLDENS: dict[str, Callable[[], Iterator[str]]] = {
    "losses": losses,
    "streams": streams,
    "run_ids": run_ids,
    "columns": columns,
    "help": help_texts,
    "exact_claims": exact_claims,
}
"""Each file of tests/golden without its ending, and what makes it."""


def text_of(name: str) -> str:
    return "\n".join(GOLDENS[name]()) + "\n"


if __name__ == "__main__":
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    for chosen in sys.argv[1:] or GOLDENS:
        (FOLDER / f"{chosen}.txt").write_text(text_of(chosen), encoding="utf-8")
