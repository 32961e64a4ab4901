"""Writes wganbench/metrics/floors.json: the floors of distances on the built-in data sets.

    python scripts/floors.py

At the default sample sizes and from 200 pairs each, so that nobody waits for them. Every other
floor is computed when it is first needed and kept in the user's cache. Floors that the file has
are not computed again (delete it to begin anew), so the script can be stopped and goes on. With
names of data sets it computes those alone.
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
    "ring8", "grid25", "ring8_veegan", "ring8_selfcond", "ring8_unequal", "grid25_pacgan",
    "random10", "mixture", "two_gaussians", "swiss_roll", "funnels",
    "lines", "two_point_masses", "gaussian_pair", "moons", "checkerboard", "spirals", "decades",
    "grid100", "gaussian", "line_segment", "circle", "four_segments",
]  # fmt: skip
"""All that are clouds of points and need no file."""


def shipped_floor(name: str, n: int) -> Floor:
    torch.set_num_threads(1)
    return transport_floor(load(name), n, SHIPPED_PAIRS, FLOOR_SEED)


def main() -> None:
    evaluate = compose([]).evaluate
    entries = json.loads(SHIPPED.read_text(encoding="utf-8"))
    wanted = [(name, n) for name in sys.argv[1:] or NAMES for n in (evaluate.final_n, evaluate.n)]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        answers = {}
        for name, n in wanted:
            entry = floor_entry(floor_key(compose([f"data={name}"])), n, SHIPPED_PAIRS)
            if entry not in entries:
                answers[entry] = name, pool.apply_async(shipped_floor, (name, n))
        for entry, (name, answer) in answers.items():
            floor = answer.get()
            print(
                f"{name}, n = {floor.n}: {floor.mean:.5f} +- {floor.standard_error:.5f}", flush=True
            )
            entries[entry] = dataclasses.asdict(floor)
            text = json.dumps(entries, indent=1, sort_keys=True) + "\n"
            write_atomic(SHIPPED, text.encode())


if __name__ == "__main__":
    main()
