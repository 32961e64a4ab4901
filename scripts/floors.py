"""Writes wganbench/metrics/floors.json: the floors of distances on the built-in data sets.

    python scripts/floors.py

At the default sample sizes and from 200 pairs each, so that nobody waits for them. Every other
floor is computed when it is first needed and kept in the user's cache. It takes some 40 minutes
of two cores; with names of data sets it computes those alone and keeps the rest of the file.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import sys

import torch

from wganbench.config import compose
from wganbench.data import load
from wganbench.files import write_atomic
from wganbench.metrics.cache import FLOOR_SEED, SHIPPED, SHIPPED_PAIRS, floor_entry
from wganbench.metrics.floors import Floor, transport_floor
from wganbench.training.measuring import floor_key

NAMES = [
    "ring8", "ring8_veegan", "ring8_selfcond", "ring8_unequal", "grid25", "grid25_pacgan",
    "random10", "mixture", "two_gaussians", "swiss_roll", "funnels",
    "lines", "two_point_masses", "gaussian_pair", "moons", "checkerboard", "spirals", "decades",
    "grid100", "gaussian", "line_segment", "circle", "four_segments",
]  # fmt: skip
"""All that are clouds of points and need no file."""




def shipped_floor(name: str, n: int) -> tuple[str, str, Floor]:
    """Return the floor of a data set, with its name and its entry in the file."""
    torch.set_num_threads(1)
    entry = floor_entry(floor_key(compose([f"data={name}"])), n, SHIPPED_PAIRS)
    return name, entry, transport_floor(load(name), n, SHIPPED_PAIRS, FLOOR_SEED)


def main() -> None:
    names = sys.argv[1:]
    evaluate = compose([]).evaluate
    wanted = [(name, n) for n in (evaluate.final_n, evaluate.n) for name in names or NAMES]
    entries = json.loads(SHIPPED.read_text(encoding="utf-8")) if names else {}
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for name, entry, floor in pool.starmap(shipped_floor, wanted, chunksize=1):
            error = f"{floor.standard_error:.4f}"
            print(f"{name}, n = {floor.n}: {floor.mean:.4f} +- {error}, sd {floor.sd:.4f}")
            entries[entry] = dataclasses.asdict(floor)
    text = json.dumps(entries, indent=1, sort_keys=True) + "\n"
    write_atomic(SHIPPED, text.encode())


if __name__ == "__main__":
    main()
