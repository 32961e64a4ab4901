"""Everything that the READMEs report, measured again: searches, tables, verdicts, speeds.

    python scripts/measure.py --list              # the parts, in order, with their commands
    python scripts/measure.py                     # all of them
    python scripts/measure.py tune results        # these parts only

Each part writes ``outputs/measured/PART.txt``: machine, commit, date, its commands and what they
printed. A part that was stopped goes on where it stood, and a finished one is left alone
(``--again`` makes it anew). Tables and verdicts are results of one machine: see README.md here.
"""

from __future__ import annotations

import argparse
import datetime
import shlex
import subprocess
import sys
from pathlib import Path

from wganbench.tuning.speedrun_report import machine

MAIN = "bce,bce_saturating,clip,gp,lp,bce_gp,rpgan_r1r2,hinge"
"""The losses with 20 fresh seeds."""

REST = ("bce_smooth,bce_r1,bce_r1r2,wasserstein,wasserstein_sn,hinge_sn,hinge_gn,lsgan,"
        "lsgan_pearson,rpgan,ragan,gp0,dragan,wgan_div")  # fmt: skip
"""All others, with 10."""

SEARCH = "wganbench tune seeds=0 --into conf"
RESULTS = "python scripts/results.py --settings"
STACKED = "wganbench sweep experiment=stacked_digits 'seed=range(0,5)'"
SPACED = {losses: losses.replace(",", " ") for losses in (MAIN, REST)}

PARTS: dict[str, tuple[str, ...]] = {
    "floors": ("python scripts/floors.py",),
    "tune": (
        f"{SEARCH} trials=32 data=ring8 loss={MAIN},{REST}",
        f"{SEARCH} trials=16 data=grid25 loss={MAIN},{REST}",
        f"{SEARCH} trials=32 data=ring8 loss=bce_saturating 'loss.penalties=[gp]' name=penalised",
    ),
    "three-losses": (
        "wganbench sweep loss=bce,clip,gp 'seed=range(0,20)' name=ring8_losses",
        "wganbench compare outputs/ring8_losses",
    ),
    "results": (
        f"{RESULTS} tuned --data ring8 grid25 --seeds 20 --loss {SPACED[MAIN]}",
        f"{RESULTS} tuned --data ring8 grid25 --seeds 10 --loss {SPACED[REST]}",
        f"{RESULTS} paper median --data ring8 grid25 --seeds 10 --loss {SPACED[MAIN]}",
    ),
    "images": (
        "wganbench sweep data=digits loss=gp 'seed=range(0,5)'",
        f"{STACKED} loss=bce,clip,gp",
        f"{STACKED} loss=rpgan_r1r2 train.steps=2450 train.batch_size=64",
        f"{STACKED} loss=bce_r1r2 train.steps=2700 train.batch_size=64",
    ),
    "speedrun": (f"wganbench speedrun data=ring8 seeds=20 loss={MAIN}",),
    "studies": (
        "wganbench study all",
        "wganbench study all budget=full",
        "python scripts/scoreboard.py",
    ),
    "funnels": (
        "python scripts/funnels.py --d 2 --clusters 4 64",
        "python scripts/funnels.py --d 4 16 64 128",
    ),
    "speed": (
        "python scripts/bench_training.py --repeats 7 --steps 40",
        "python scripts/bench_sweep.py",
        "python scripts/bench_transport.py",
        "python scripts/bench_images.py",
    ),
}
"""What is measured, in this order: later parts use the settings that earlier ones find."""

PLACE = Path("outputs/measured")
FINISHED = "finished"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--list", action="store_true", help="print the commands, run nothing")
    parser.add_argument("--again", action="store_true", help="finished parts too")
    arguments = parser.parse_args()
    unknown = [part for part in arguments.parts if part not in PARTS]
    if unknown:
        parser.error(f"{unknown[0]} is no part; choose from {', '.join(PARTS)}")
    for part in arguments.parts or PARTS:
        if arguments.list:
            print(f"{part}:", *PARTS[part], sep="\n    ")
        else:
            measure(part, arguments.again)


def measure(part: str, again: bool) -> None:
    """Run the commands of a part; raises SystemExit if one of them fails."""
    PLACE.mkdir(parents=True, exist_ok=True)
    file = PLACE / f"{part}.txt"
    if file.exists() and file.read_text().rstrip().endswith(FINISHED) and not again:
        print(f"{part}: finished, see {file}")
        return
    file.write_text("", encoding="utf-8")
    with file.open("a", encoding="utf-8") as out:
        now = datetime.datetime.now(datetime.timezone.utc)
        print(f"{machine()}\n{now:%Y-%m-%d %H:%M} UTC", file=out, flush=True)
        for command in PARTS[part]:
            print(f"\n$ {command}", file=out, flush=True)
            print(f"{part}: {command}", flush=True)
            if run(command, file) != 0:
                raise SystemExit(f"{command} failed or was stopped; the same command goes on")
        print(f"\n{FINISHED}", file=out)


def run(command: str, file: Path) -> int:
    """Run a command with this Python's scripts; its output goes to the file, errors here."""
    words = shlex.split(command)
    here = Path(sys.executable).parent
    words[0] = str(here / words[0]) if words[0] == "wganbench" else sys.executable
    with file.open("a", encoding="utf-8") as out:
        return subprocess.run(words, stdout=out, check=False).returncode


if __name__ == "__main__":
    main()
