"""How long ``wganbench compare`` takes, and how much memory, on many runs.

    python scripts/bench_compare.py                    # 1 000, 3 000 and 10 000 runs
    python scripts/bench_compare.py --runs 500 --groups 50 --rows 200

Makes that many run folders in a temporary folder (run.json and a metrics.csv of ``--rows``
rows with every tag that a run of points has), in ``--groups`` groups of one sweep over
lambda, and compares them in a process of its own: seconds, those of the processor, the peak
of its memory, and the size of the report.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from wganbench.config import compose, run_id, to_dict
from wganbench.tags.lookup import TAGS, is_pattern
from wganbench.training.checkpoint import FORMAT


def make_runs(folder: Path, count: int, groups: int, rows: int) -> None:
    """Runs of a lambda sweep with figures drawn at random around their group's."""
    rng = np.random.default_rng(0)
    tags = [tag for tag in TAGS if not is_pattern(tag)]
    config = compose(["data=ring8", "loss=gp"])
    base = to_dict(config)
    for number in range(count):
        group, seed = number % groups, number // groups
        base["seed"] = config.seed = seed
        base["loss"]["gp_lambda"] = config.loss.coefficients["gp_lambda"] = 0.1 * (1 + group)
        run = folder / run_id(config)
        run.mkdir()
        final = figures(rng, group / groups, 1.0)
        record = {
            "status": "completed", "step": 8000, "metrics": final, "seconds": 60.0,
            "steps_per_second": 130.0, "versions": {"torch": "2.6"}, "device": "cpu",
            "format": FORMAT, "config": base,
        }  # fmt: skip
        (run / "run.json").write_text(json.dumps(record))
        (run / "metrics.csv").write_text(table(rng, tags, group / groups, rows))


def figures(rng: np.random.Generator, worse: float, part: float) -> dict[str, float]:
    """What a run has measured when a part of its training is over."""
    exact = 1.3 - part * (1.1 - 0.4 * worse) + 0.05 * rng.random()
    return {
        "modes/covered": float(round(8 * part * (1 - 0.4 * worse) - rng.random())),
        "modes/high_quality": float(part * (0.9 - 0.3 * worse) + 0.05 * rng.random()),
        "modes/kl": float(0.1 + worse * rng.random()),
        "wasserstein/exact": exact,
        "wasserstein/floor": 0.05,
        "wasserstein/estimate": 2 * exact,
        "wasserstein/estimate_normalized": 0.6 * exact + 0.05 * rng.random(),
        "grad_norm/generator": float(rng.lognormal()),
        "grad_norm/critic": float(rng.lognormal()),
        "budget/critic_steps": 40_000.0 * part,
        "budget/examples": 40_000.0 * 256 * part,
        "budget/gradient_evaluations": 128_000.0 * part,
        "budget/passes": 480_000.0 * part,
        "budget/seconds": 60.0 * part,
    }


def table(rng: np.random.Generator, tags: list[str], worse: float, rows: int) -> str:
    """metrics.csv; a tenth of its rows are evaluations, the others hold what is logged."""
    lines = [",".join(["step", *tags])]
    for row in range(rows):
        known = figures(rng, worse, (row + 1) / rows)
        if (row + 1) % 10 and row:
            known = {tag: v for tag, v in known.items() if TAGS[tag].cadence == "log"}
        others = {tag: 0.123456789 * row for tag in tags if TAGS[tag].cadence == "log"}
        values = others | known
        cells = [repr(values[tag]) if tag in values else "" for tag in tags]
        lines.append(",".join([str((row + 1) * 8000 // rows), *cells]))
    return "\n".join(lines) + "\n"


def measure(folder: Path, out: Path, words: list[str]) -> tuple[float, float, float]:
    """Seconds, seconds of the processor and peak megabytes of the command."""
    code = "import sys; from wganbench.cli.app import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, "compare", str(folder), "--out", str(out), *words]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"compare ended with {status}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 3000, 10_000])
    parser.add_argument("--groups", type=int, default=2)
    parser.add_argument("--rows", type=int, default=160, help="rows of each metrics.csv")
    parser.add_argument("words", nargs="*", help="further words for compare, after --")
    options = parser.parse_args()
    print(
        f"{'runs':>7} {'groups':>7} {'rows':>5} {'seconds':>8} {'CPU s':>8} {'MB':>6} "
        f"{'report MB':>10}"
    )
    for count in options.runs:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "runs"
            folder.mkdir()
            make_runs(folder, count, options.groups, options.rows)
            measured = measure(folder, Path(place) / "out", options.words)
            size = (Path(place) / "out" / "report.html").stat().st_size / 1e6
            row = f"{count:7d} {options.groups:7d} {options.rows:5d}"
            print(row, "{:8.1f} {:8.1f} {:6.0f}".format(*measured), f"{size:10.2f}", flush=True)


if __name__ == "__main__":
    main()
