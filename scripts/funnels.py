"""Critics against a known W1: the published benchmark's table beside ours.

    python scripts/funnels.py                                      a few minutes
    python scripts/funnels.py --steps 60000 --batch 1024 --d 2 4 16 64 128   at its budget

Critics are trained between the funnels and their source distribution, whose W1, potential and
gradient are known (``data=funnels``), with each loss's settings of its paper. A row gives the mean
over seeds and the standard deviation. The benchmark (arXiv:2206.07767) has other centres, so that
its estimates stand as shares of its own W1; its clipping is c = 0.04, on the weights alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch

from wganbench.config import compose
from wganbench.metrics.ground_truth import gradient_agreement
from wganbench.studies.frozen import FrozenStack

PUBLISHED = {
    (2, 4, "clip"): 0.031 / 0.817, (2, 4, "gp"): 0.857 / 0.817, (2, 4, "lp"): 0.885 / 0.817,
    (2, 64, "clip"): -0.005 / 0.230, (2, 64, "gp"): 0.127 / 0.230, (2, 64, "lp"): 0.224 / 0.230,
}  # fmt: skip
"""Estimates as shares of the true W1, by dimension, number of funnels and loss."""

POINTS = 20_000
"""Reals, and points of the source distribution, on which critics are measured."""

HEADS = ["d", "funnels", "W1", "loss", "estimate / W1", "published", "cosine", "L2-UVP (%)"]


def rows(d: int, clusters: int, losses: list[str], words: list[str], seeds: int) -> Iterator[str]:
    """One line of the table for each loss."""
    for loss in losses:
        base = [f"loss={loss}", "data=funnels", f"data.dimension={d}", f"data.clusters={clusters}"]
        base += ["tuned=none", "train.decay=none", *(["loss.clip_value=0.04"] * (loss == "clip"))]
        configs = [compose([*base, *words, f"seed={seed}"]) for seed in range(seeds)]
        stack = FrozenStack(configs, torch.device("cpu"))
        stack.advance(configs[0].train.steps)
        pair = stack.target.pair
        assert pair is not None
        shares, cosines, distances = [], [], []
        for points in stack.probe(POINTS):
            estimate = float((points["score_real"] - points["score_fake"]).double().mean())
            truth = pair.potential_gradient(points["fakes"].double())
            found = gradient_agreement(points["source_gradients"].double(), truth)
            shares.append(estimate / pair.distance.value)
            cosines.append(found.get("critic/potential_cosine", float("nan")))
            distances.append(found["critic/l2_uvp"])
        published = PUBLISHED.get((d, clusters, loss))
        cells = [str(d), str(clusters), f"{pair.distance.value:.3f}", loss, spread(shares, 3),
                 "" if published is None else f"{published:.3f}", spread(cosines, 3),
                 spread(distances, 1)]  # fmt: skip
        yield "| " + " | ".join(cells) + " |"


def spread(values: list[float], digits: int) -> str:
    """Mean and standard deviation."""
    numbers = torch.tensor(values, dtype=torch.float64)
    return f"{float(numbers.mean()):.{digits}f} ± {float(numbers.std(correction=0)):.{digits}f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--d", type=int, nargs="+", default=[2, 16, 128])
    parser.add_argument("--clusters", type=int, nargs="+", default=[4])
    parser.add_argument("--loss", nargs="+", default=["clip", "gp", "lp"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4000, help="critic steps")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--width", type=int, default=128, help="of the critic's hidden layers")
    parser.add_argument(
        "--set", nargs="*", default=[], help="other settings, such as loss.gp_lambda=1"
    )
    given = parser.parse_args()
    words = [f"train.steps={given.steps}", f"train.batch_size={given.batch}",
             f"network.width={given.width}", *given.set]  # fmt: skip
    print("| " + " | ".join(HEADS) + " |")
    print("|" + "---|" * len(HEADS))
    for d in given.d:
        for clusters in given.clusters:
            for line in rows(d, clusters, given.loss, words, given.seeds):
                print(line, flush=True)


if __name__ == "__main__":
    main()
