"""Critics against a known W1, and the published benchmark's table beside ours.

    python scripts/funnels.py                                 our centres, a few minutes
    python scripts/funnels.py --pairs CLONE --d 2 4 16 64     the benchmark's pairs and budgets

Critics are trained between the funnels and their source distribution, whose W1, potential and
gradient are known (``data=funnels``). A row gives the mean over seeds, and the standard deviation.
Cosine (the mean over points) and L2-UVP compare gradients at the moved points, as the benchmark
(arXiv:2206.07767) does; the tags of a run compare them at the source, where a generator's
samples are.

``--pairs`` takes a clone of the benchmark's repository, justkolesov/Wasserstein1Benchmark, of which
it reads centres and results. Critics are then trained as there: Adam at 2e-4 with betas 0 and 0.9,
batches of 1 024, two hidden layers of max(2 d, 128), for `STEPS`. Differs: ``clip`` clips biases
too. Without it, each loss has its paper's settings (c = 0.04), and three hidden layers.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from wganbench.config import compose
from wganbench.data.target import KnownPair
from wganbench.losses.constraints import input_gradients
from wganbench.metrics.gradients import gradient_agreement
from wganbench.studies.frozen import FrozenStack, fitting_threads

STEPS = {"clip": 5_000, "wasserstein_sn": 10_000, "gp": 60_000, "lp": 60_000}
"""Critic steps of the benchmark."""

NAMES = {"clip": "wgan", "wasserstein_sn": "sn-gan", "gp": "wgan-gp", "lp": "wgan-lp"}
"""Our losses by their names there."""

POINTS = 20_000
"""Points of each distribution on which critics are measured."""

MEASURES = ("estimate / W1", "cosine", "L2-UVP (%)")
DIGITS = (3, 3, 1)


@dataclass(frozen=True)
class Published:
    """What the benchmark's repository holds of one dimension and number of funnels."""

    settings: list[str]
    rows: dict[str, tuple[float, ...]]

    @classmethod
    def read(cls, clone: Path, d: int, clusters: int) -> Published:
        """Return the pair's centres as settings, and its results by method; see `MEASURES`."""
        place = f"dim_{d}/width_{clusters}"
        pair = clone / f"benchmarks/nd/{place}/deg_8_seed_987.pt"
        state = torch.load(pair, map_location="cpu", weights_only=True)
        settings = [f"data.centres={state['net.centers'].tolist()}",
                    f"data.offsets={state['net.bias'].tolist()}",
                    "network.depth=2", f"network.width={max(2 * d, 128)}",
                    "train.batch_size=1024", "train.optimizer=adam", "train.critic_lr=2e-4",
                    "train.betas=[0,0.9]"]  # fmt: skip
        with (clone / f"metrics/metrics_nd/{place}/metrics_deg_8_seed_2.csv").open() as opened:
            found = {row[""]: row for row in csv.DictReader(opened)}
        truth = float(found["true"]["cost"])
        rows = {
            name: (float(row["cost"]) / truth, float(row["cos"]), 100 * float(row["l2"]))
            for name, row in found.items()
        }
        return cls(settings, rows)


def rows(given: argparse.Namespace, d: int, clusters: int) -> Iterator[str]:
    """One line of the table for each loss."""
    published = None if given.pairs is None else Published.read(given.pairs, d, clusters)
    for loss in given.loss:
        words = [f"loss={loss}", "data=funnels", f"data.dimension={d}", f"data.clusters={clusters}"]
        words += ["tuned=none", "train.decay=none", *(["loss.clip_value=0.04"] * (loss == "clip"))]
        words += [f"network.width={given.width}", f"train.batch_size={given.batch}"]
        words += [] if published is None else published.settings
        steps = given.steps or STEPS[loss]
        words += [f"train.steps={steps}", *given.set]
        configs = [compose([*words, f"seed={seed}"]) for seed in range(given.seeds)]
        stack = FrozenStack(configs, torch.device("cpu"))
        with fitting_threads(stack):
            stack.advance(steps)
            pair, measured = stack.target.pair, measures(stack)
        assert pair is not None
        cells = [str(d), str(clusters), f"{pair.distance.value:.3f}", loss, str(steps)]
        for k, digits in enumerate(DIGITS):
            cells.append(spread([values[k] for values in measured], digits))
            if published is not None:
                cells.append(f"{published.rows[NAMES[loss]][k]:.{digits}f}")
        yield line(cells)


def measures(stack: FrozenStack) -> list[tuple[float, ...]]:
    """`MEASURES` of each run."""
    pair = stack.target.pair
    assert pair is not None
    found = []
    for run, points in enumerate(stack.probe(POINTS)):
        critic = stack.exact_algorithm.critic(stack.run_parameters(run, "critic"))
        estimate = float((points["score_real"] - points["score_fake"]).double().mean())
        own = input_gradients(critic, points["reals"]).detach().double()
        found.append((estimate / pair.distance.value, *agreement(pair, points["reals"], own)))
    return found


def agreement(pair: KnownPair, reals: torch.Tensor, own: torch.Tensor) -> tuple[float, float]:
    """The mean cosine over points, as in the benchmark, and L2-UVP."""
    truth = pair.potential_gradient(reals.double())
    cosine = torch.nn.functional.cosine_similarity(own, truth, dim=-1)
    return float(cosine.mean()), gradient_agreement(own, truth)["critic/l2_uvp"]


def line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def spread(values: list[float], digits: int) -> str:
    """Mean, and the standard deviation of several."""
    numbers = torch.tensor(values, dtype=torch.float64)
    mean = f"{float(numbers.mean()):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {float(numbers.std()):.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=Path, help="a clone of the benchmark's repository")
    parser.add_argument("--d", type=int, nargs="+", default=[2, 16, 128])
    parser.add_argument("--clusters", type=int, nargs="+", default=[4])
    parser.add_argument("--loss", nargs="+", default=["clip", "gp", "lp"], choices=list(STEPS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="critic steps; without --pairs: 3 000")
    parser.add_argument("--batch", type=int, default=256, help="without --pairs")
    parser.add_argument("--width", type=int, default=128, help="without --pairs")
    parser.add_argument(
        "--set", nargs="*", default=[], help="other settings, such as loss.gp_lambda=1"
    )
    given = parser.parse_args()
    if given.pairs is None:
        given.steps = given.steps or 3_000
    heads = ["d", "funnels", "W1", "loss", "steps"]
    for name in MEASURES:
        heads += [name] if given.pairs is None else [name, "published"]
    print(line(heads))
    print("|" + "---|" * len(heads))
    for d in given.d:
        for clusters in given.clusters:
            for row in rows(given, d, clusters):
                print(row, flush=True)


if __name__ == "__main__":
    main()
