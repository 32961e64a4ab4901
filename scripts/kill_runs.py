"""Kill commands at random moments, finish them, and look for what was lost.

    python scripts/kill_runs.py --kills 200 --seed 0
    python scripts/kill_runs.py --kills 12 --only parent server
    python scripts/kill_runs.py --kills 200 --compile false    # eager instead of our C++

Each trial is one of `TRIALS`: something that trains, or reads what was trained, gets SIGKILL
(the command itself, a worker of a sweep, the fork server of its workers, one that measures)
and is then finished, by the same command or by ``resume``. Half of the kills come at any moment,
half once there is something to lose. Afterwards every run must hold bit for bit the final
checkpoint of one that nobody disturbed, and the same metrics.csv but for times; files of ``sample``
and the table of ``compare`` must be the same bytes. Printed, and the exit code unless all are 0:
runs that are lost (not completed, or with an error), unequal ones, commands that are stuck
(`PATIENCE` seconds) or end with another code than 0, and temporary files that are left over.
Runs are tiny, trained by our C++ unless ``--compile false``, and of ``loss=bce`` with 16 points a
batch, where rounding depends on a run's place in its stack. Needs Linux, to find the processes of
a sweep.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

from wganbench.runs.folder import read_run
from wganbench.runs.table import read_table

SETTINGS = (
    "loss=bce", "network.width=8", "network.depth=1", "train.batch_size=16",
    "device=cpu", "log.figure=false", "log.every_n_steps=10", "train.steps=400",
    "checkpoint.every_n_steps=10", "evaluate.every_n_steps=100", "evaluate.n=20",
    "evaluate.final_n=20", "evaluate.floor_pairs=2", "evaluate.projections=2", "tuned=none",
)  # fmt: skip
SEEDS = 4
PATIENCE = 1800.0
TIMES = ("budget/seconds", "speed/steps_per_second")
"""Columns that differ between equal runs."""


@dataclass
class Campaign:
    """The undisturbed results, and what was found so far."""

    folder: Path
    dice: random.Random
    compile: str
    kills: int = 0
    found: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)

    def undisturbed(self) -> None:
        """Train, draw and compare in peace, and note how long each takes."""
        for verb in (Campaign.train, Campaign.sweep, Campaign.sample, Campaign.compare):
            began = time.monotonic()
            words = verb(self, "peace")
            subprocess.run(words, cwd=self.folder, check=True, stdout=subprocess.DEVNULL)
            self.seconds[words[3]] = time.monotonic() - began

    # Command lines.
    @property
    def settings(self) -> tuple[str, ...]:
        return (*SETTINGS, f"compile={self.compile}")

    def train(self, place: str) -> list[str]:
        return command("train", *self.settings, "seed=0", f"output_dir={place}", "name=one")

    def measured_beside(self, place: str) -> list[str]:
        """`train` with a process that measures beside it, as there is beside a GPU."""
        return [sys.executable, "-c", BESIDE, *self.train(place)[3:]]

    def sweep(self, place: str) -> list[str]:
        seeds = f"seed=range(0,{SEEDS})"
        return command("sweep", *self.settings, seeds, f"output_dir={place}", "name=many")

    def sample(self, place: str) -> list[str]:
        return command("sample", str(self.one()), "--out", str(self.made(place) / "drawn.csv"))

    def compare(self, place: str) -> list[str]:
        return command("compare", "peace/many", "--out", str(self.made(place) / "compared"))

    def one(self) -> Path:
        (run,) = runs(self.folder / "peace" / "one")
        return run

    def made(self, place: str) -> Path:
        (self.folder / place).mkdir(exist_ok=True)
        return self.folder / place

    # One trial after another.
    def disturb(self, kind: str, number: int) -> None:
        """One trial: kill up to three times, finish, compare."""
        place = f"{number:03d}-{kind}"
        verb, victim, arguments = TRIALS[kind]
        words = arguments(self, place)
        log = self.made(place) / "output.log"
        times = self.dice.choice((1, 2, 3))
        if victim is itself:
            for _ in range(times):
                with started(words, self.folder, log) as process:
                    self.kill(process, verb, victim, self.folder / place)
                    process.kill()
            self.finish(words, verb, place, log, kind)
        else:
            with started(words, self.folder, log) as process:
                for _ in range(times):
                    self.kill(process, verb, victim, self.folder / place)
                if not self.ends(process, kind):
                    process.kill()
        self.judge(verb, place, kind)

    def kill(
        self, process: subprocess.Popen[bytes], verb: str, victim: Victim, place: Path
    ) -> None:
        """Send SIGKILL at a random moment; a process that has ended before is left alone."""
        if self.dice.random() < 0.5:
            wait_until(lambda: any(place.rglob("run.json")) or process.poll() is not None)
            time.sleep(self.dice.random() * 1.5)
        else:
            time.sleep(self.dice.random() * self.seconds[verb])
        wait_until(lambda: victim(process.pid) is not None or process.poll() is not None)
        if process.poll() is None and (pid := victim(process.pid)):
            os.kill(pid, signal.SIGKILL)
            self.kills += 1

    def ends(self, process: subprocess.Popen[bytes], kind: str) -> bool:
        """Whether a command comes to its end by itself, as it should; stuck and failed ones are
        counted."""
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.note("stuck", kind)
            return False
        if code:
            self.note(f"exit code {code}", kind)
        return True

    def finish(self, words: list[str], verb: str, place: str, log: Path, kind: str) -> None:
        """The same command again, or ``resume`` where there is something to go on with."""
        sweeps = verb == "sweep" and (self.folder / place / "many" / "sweep.json").exists()
        begun = [run for run in runs(self.folder / place / "one") if (run / "run.json").exists()]
        if sweeps and self.dice.random() < 0.5:
            words = command("resume", f"{place}/many")
        elif begun and self.dice.random() < 0.5:
            words = command("resume", str(begun[0]))
        with started(words, self.folder, log) as process:
            if not self.ends(process, kind):
                process.kill()

    def judge(self, verb: str, place: str, kind: str) -> None:
        """Compare what a trial left with what nobody disturbed."""
        for left in (self.folder / place).rglob(".tmp-*"):
            self.note(f"leftover {left.relative_to(self.folder)}", kind)
        peace, here = self.folder / "peace", self.folder / place
        files = {"sample": "drawn.csv", "compare": "compared/comparison.csv"}
        if verb in files:
            if (peace / files[verb]).read_bytes() != (here / files[verb]).read_bytes():
                self.note("unequal file", kind)
            return
        name = "one" if verb == "train" else "many"
        for run in runs(peace / name):
            other = here / name / run.name
            if not is_completed(other):
                self.note(f"lost {other.relative_to(self.folder)}", kind)
            elif (reason := difference(run, other)) is not None:
                self.note(f"unequal {reason} {other.relative_to(self.folder)}", kind)

    def note(self, what: str, kind: str) -> None:
        self.found[what.split()[0]] += 1
        print(f"{kind}: {what}", flush=True)


# Processes.
Victim = Callable[[int], int | None]
"""From a command's process to the one that is killed, None where it is not there yet."""


def itself(pid: int) -> int | None:
    return pid


def server(pid: int) -> int | None:
    found = [child for child in children(pid) if b"sweeps.fork_server" in words_of(child)]
    return found[0] if found else None


def worker(pid: int) -> int | None:
    above = server(pid)
    found = children(above) if above else []
    return found[0] if found else None


def measurer(pid: int) -> int | None:
    found = [child for child in children(pid) if b"training.pool_worker" in words_of(child)]
    return found[0] if found else None


def children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def words_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


TRIALS: dict[str, tuple[str, Victim, Callable[[Campaign, str], list[str]]]] = {
    "run": ("train", itself, Campaign.train),
    "beside": ("train", itself, Campaign.measured_beside),
    "measurer": ("train", measurer, Campaign.measured_beside),
    "parent": ("sweep", itself, Campaign.sweep),
    "worker": ("sweep", worker, Campaign.sweep),
    "server": ("sweep", server, Campaign.sweep),
    "sample": ("sample", itself, Campaign.sample),
    "compare": ("compare", itself, Campaign.compare),
}
"""What is killed: the verb of its command, which of its processes, and its arguments."""


BESIDE = """
import sys
from wganbench.training import runs
runs.measurers = lambda *_: 1
from wganbench.cli.app import main
sys.exit(main())
"""


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "wganbench", *words]


def started(words: list[str], folder: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as file:
        return subprocess.Popen(words, cwd=folder, stdout=file, stderr=subprocess.STDOUT)


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)


# Results.
def runs(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/.hydra"))


def is_completed(run: Path) -> bool:
    try:
        record = read_run(run)
    except (OSError, ValueError):
        return False
    return record["status"] == "completed" and not record["error"] and bool(record["config"])


def difference(one: Path, other: Path) -> str | None:
    """What of two runs is not the same, bit for bit."""
    left, right = (
        torch.load(run / "checkpoint.pt", weights_only=True)["tensors"] for run in (one, other)
    )
    if left.keys() != right.keys() or any(
        left[k].numpy().tobytes() != right[k].numpy().tobytes() for k in left
    ):
        return "checkpoint"
    tables = [read_table(run / "metrics.csv") for run in (one, other)]
    rows = [{tag: repr(t[tag]) for tag in t if tag not in TIMES} for t in tables]
    return None if rows[0] == rows[1] else "metrics"


def kinds(dice: random.Random, only: list[str]) -> Iterator[str]:
    while True:
        yield from dice.sample(only, len(only))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=TRIALS, default=list(TRIALS))
    parser.add_argument("--compile", choices=("auto", "false"), default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wganbench-kills-") as folder:
        campaign = Campaign(Path(folder), random.Random(options.seed), options.compile)
        campaign.undisturbed()
        began = time.monotonic()
        for number, kind in enumerate(kinds(campaign.dice, options.only)):
            if campaign.kills >= options.kills:
                break
            campaign.disturb(kind, number)
            print(f"{campaign.kills} kills, {time.monotonic() - began:.0f} s", flush=True)
    found = ", ".join(f"{count} {what}" for what, count in campaign.found.items())
    print(f"{campaign.kills} kills in {number} trials: {found or '0 lost, unequal, stuck, left'}")
    return 1 if campaign.found else 0


if __name__ == "__main__":
    sys.exit(main())
