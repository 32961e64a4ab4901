"""Writes wganbench/metrics/floors.json: the floors of distances on the built-in data sets.

    python scripts/floors.py

At the default sample sizes and number of pairs, so that nobody waits for them. Every
other floor is computed when it is first needed and kept in the user's cache.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

NAMES = [
    "ring8", "ring8_veegan", "ring8_selfcond", "ring8_unequal", "grid25", "grid25_pacgan",
    "random10", "mixture", "two_gaussians", "swiss_roll", "funnels",
    "lines", "two_point_masses", "gaussian_pair", "moons", "checkerboard", "spirals", "decades",
    "grid100", "gaussian", "line_segment", "circle", "four_segments",
]  # fmt: skip
"""All that are clouds of points and need no file."""


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        os.environ["XDG_CACHE_HOME"] = cache
        from wganbench.config import compose
        from wganbench.data import load
        from wganbench.metrics import cache
        from wganbench.training.measuring import floor_key

        cache.SHIPPED.unlink(missing_ok=True)
        for name in NAMES:
            config = compose([f"data={name}"])
            for n in (config.evaluate.n, config.evaluate.final_n):
                pairs = config.evaluate.floor_pairs
                floor = cache.cached_floor(floor_key(config), load(name), n, pairs)
                print(f"{name}, n = {n}: {floor.mean:.4f}, sd {floor.sd:.4f}", flush=True)
        found = cache.floors_file()
        assert found is not None
        cache.SHIPPED.write_bytes(Path(found).read_bytes() + b"\n")


if __name__ == "__main__":
    main()
