"""Command lines by the thousand: right, nearly right and absurd; each must end in good order.

    python scripts/fuzz_lines.py --lines 5000 --seed 0 --processes 2

A line is wrong when it leaves a traceback, takes more than LIMIT seconds of a processor (or
WALL_LIMIT by the clock, for one that waits), prints a line of more
than LONGEST characters to stderr or a control character anywhere, or ends with a code other than
0, 2, 3 and 130. Lines run in worker processes in a folder of their own. Nothing of the command
line is replaced but `train_run`: it trains what is two small steps and passes over the rest, so
what is measured is the command line, not hours of training. Exit code 1 where a line was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import selectors
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIMIT, WALL_LIMIT, LONGEST = 20.0, 300.0, 500
CODES = (0, 2, 3, 130)
START = 300.0
"""Seconds for a worker's first line, which imports everything."""

TINY = [
    "train.steps=2", "train.batch_size=8", "compile=false", "device=cpu", "log.figure=false",
    "log.tensorboard=false", "evaluate.n=20", "evaluate.final_n=20", "evaluate.floor_pairs=2",
    "evaluate.projections=2", "evaluate.every_n_steps=0", "network.width=8",
]  # fmt: skip

VALUES = [
    "0", "1", "-1", "2", "0.5", "1e-4", "1e39", "-1e308", "1e308", "1e400", "nan", "inf", "-inf",
    "1e18", "1e12", "10000", "9" * 25, "9" * 4000, "9" * 5000, "9223372036854775808", "true",
    "null", "none", "''", "", " ", "a", "a,b", "1,2,3", "range(0,3)", "range(0,1000000000)",
    "range(0,5,0)", "range(5,0)", "range(0,inf)", "shuffle(range(0,9))", "choice(1,2)", "glob(*)",
    "interval(0,1)", "[0.5,0.9]", "(0.5,0.9)", "[", "]", "{", "{a:1}", "[[0,0],[1,1]]", "[nan]",
    "[" * 30, "${", "${seed}", "${nope}", "${oc.env:NOPE}", "${hydra:x}", "???", "\\", "'", '"',
    "it's", "cloud (1).csv", "seed=0.csv", "josé.csv", "日本", "größe", "\U0001f600", "\u202eabc",
    "\x1b[31mred", "a\tb", "a\nb", "\x00", "\udce9", "../..", "/proc/self/mem", "/dev/null", "~",
    "~nobody/x", "#", "a#b", "&", ";", "$HOME", "%s", "{0}", "[bold]x[/bold]", "[/x]", "a" * 300,
    "é" * 300, "a" * 5000, "a" * 25_000, "0x10", "1_000", "1e", "--", "-", "0..4", "yes", "cuda:9",
]  # fmt: skip
CHOICES = {
    "loss": ["gp", "clip", "bce", "WGAN-GP", "wgan", "vanilla", "hinge", "GP", "r1", "lp"],
    "data": ["ring8", "grid25", "8gaussians", "MNIST", "points", "swissroll", "mixture", "ring"],
    "network": ["mlp", "pacgan", "dcgan8", "ResNet", "fc"],
    "tuned": ["none", "paper", "null", "gp-ring8"],
    "experiment": ["null", "clip_sweep", "three_way", "nothing"],
}
OTHER_KEYS = (
    "lr", "epochs", "seeds", "foo", "foo.bar", "loss.lambda", "train.", ".x", "a..b", "", "é",
    "hydra.run.dir", "hydra/launcher", "hydra/sweeper", "hydra.mode", "data.path", "loss@x.y",
)  # fmt: skip
FLAGS = [
    "--overwrite", "--plan", "--yes", "--cfg", "job", "hydra", "-p", "-c", "-m", "-h", "--help",
    "--seed", "3", "--lr", "1e-4", "-precision=bf16", "-width", "--config-dir", "nowhere",
    "--config-dir=.", "--experimental-rerun", "x.pickle", "--version", "--info", "--resolve",
    "--shell-completion", "-n", "--out", "--by", "--metric", "--at", "--run", "--hydra-help",
]  # fmt: skip
VERBS = ["train"] * 9 + ["sweep"] * 5 + [
    "resume", "compare", "sample", "evaluate", "study", "list", "doctor", "trian", "", "loss=gp",
]  # fmt: skip


def keys() -> list[str]:
    from wganbench.presets import all_keys, directories

    return all_keys(directories())


def make_lines(count: int, seed: int) -> list[list[str]]:
    """The same lines for the same seed."""
    draw, known = random.Random(seed), [*keys(), *OTHER_KEYS]
    return [make_line(draw, known) for _ in range(count)]


def make_line(draw: random.Random, known: list[str]) -> list[str]:
    verb = draw.choice(VERBS)
    if verb in ("train", "sweep"):
        words = [make_override(draw, known) for _ in range(draw.choice([0, 1, 1, 1, 2, 3]))]
        words += draw.sample(FLAGS, draw.choice([0, 0, 0, 1, 2]))
        draw.shuffle(words)
        words = [*TINY, *words] if draw.random() < 0.8 else words
        return [verb, *words, *(["--plan"] if verb == "sweep" else [])]
    words = [draw.choice(VALUES) for _ in range(draw.choice([0, 1, 1, 2]))]
    if verb in ("sample", "evaluate", "compare", "list", "study", "resume"):
        words += draw.sample(FLAGS, draw.choice([0, 1, 2]))
        words += [draw.choice(VALUES)] if draw.random() < 0.5 else []
        named = {"study": "nothing", "list": "metrics"}.get(verb, "no run")
        words = [named, *words]  # no study is begun
    return [verb, *words] if verb else words


def make_override(draw: random.Random, known: list[str]) -> str:
    group = draw.choice(list(CHOICES))
    kind = draw.random()
    if kind < 0.25:
        return f"{group}={draw.choice(CHOICES[group])}"
    if kind < 0.30:
        return f"{group}={draw.choice(VALUES)}"
    prefix = draw.choices(["", "+", "++", "~"], [20, 2, 1, 2])[0]
    key = draw.choice(known)
    if draw.random() < 0.1 and key:  # a slip of the finger
        at = draw.randrange(len(key))
        key = key[:at] + draw.choice("abcxyz._") + key[at + 1 :]
    return prefix + key if draw.random() < 0.05 else f"{prefix}{key}={draw.choice(VALUES)}"


@dataclass(frozen=True)
class Outcome:
    """What a line did: ``code`` is None where it had to be killed."""

    line: list[str]
    code: int | None
    out: str
    err: str
    seconds: float

    @property
    def faults(self) -> list[str]:
        """What is wrong with it."""
        found = []
        if self.code is None:
            return ["hang"]
        if self.code not in CODES:
            found.append(f"code {self.code}")
        if "Traceback" in self.err or "Traceback" in self.out:
            found.append("traceback")
        if any(len(line) > LONGEST for line in self.err.splitlines()):
            found.append("long line")
        if any(is_control(mark) for mark in self.out + self.err):
            found.append("control character")
        return found


def is_control(mark: str) -> bool:
    return unicodedata.category(mark) in ("Cc", "Cf", "Cs") and mark not in "\n\t"


def run_line(line: list[str]) -> tuple[int, str, str]:
    """A command line in this process: its exit code and what it printed."""
    from wganbench.cli.app import main

    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", errors="surrogatepass") for _ in range(2)]
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            code = main(line)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException as error:
            print(f"Traceback: {error!r} left main", file=sys.stderr)
            code = 1
    for stream in streams:
        stream.flush()
    out, err = (s.buffer.getvalue().decode("utf-8", "surrogatepass") for s in streams)  # type: ignore[attr-defined]
    return code, out, err


def train_what_is_small() -> None:
    """Put a gate before `train_run`: two small steps are trained, anything else is not."""
    from wganbench.runs.folder import RunOutcome
    from wganbench.training import runs

    train = runs.train_run

    def gate(config: Any, folder: Path, view: Any = None) -> RunOutcome:
        small = config.train.steps <= 2 and config.train.batch_size <= 8
        small &= config.loss.n_critic <= 8 and config.evaluate.final_n <= 20
        small &= config.network.options.get("width", 99) <= 8 and not config.log.animation
        small &= config.data.kind in ("ring", "grid", "swiss_roll", "mixture")
        small &= config.evaluate.n <= 20 and config.evaluate.final_draws <= 2
        small &= config.evaluate.floor_pairs <= 2 and config.evaluate.projections <= 128
        small &= config.train.burst_n_critic <= 8 and not config.log.figure
        if small:
            return train(config, folder, view)
        return RunOutcome(folder, "completed", 0, {}, ["Not trained."], 0.0)

    runs.train_run = gate


def work() -> None:
    """A worker: a line of JSON in, a line of JSON out."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.argv = ["wganbench"]
    train_what_is_small()
    for text in sys.stdin:
        code, out, err = run_line(json.loads(text))
        print(json.dumps([code, out[-4000:], err[-8000:]]), file=answers, flush=True)


def processor_seconds(pid: int) -> float:
    """What a process has used, all its threads; it is the same on an idle and a busy machine."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Worker:
    """A process that runs lines one after the other, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), "--worker"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, cwd=folder, env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"},
        )  # fmt: skip
        self.line: list[str] | None = None
        self.began, self.used = 0.0, 0.0
        self.limit, self.wall = START, 10 * START

    def give(self, line: list[str]) -> None:
        assert self.process.stdin is not None
        self.line, self.began, self.used = (
            line,
            time.monotonic(),
            processor_seconds(self.process.pid),
        )
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()

    def take(self) -> Outcome:
        assert self.process.stdout is not None and self.line is not None
        text = self.process.stdout.readline()
        seconds = processor_seconds(self.process.pid) - self.used
        if self.limit == START:
            seconds = 0.0  # it imported everything
        self.limit, self.wall = LIMIT, WALL_LIMIT
        if not text:
            return Outcome(self.line, self.process.wait() or 1, "", "Traceback: it died", seconds)
        code, out, err = json.loads(text)
        return Outcome(self.line, code, out, err, seconds)

    @property
    def late(self) -> bool:
        if self.line is None:
            return False
        used = processor_seconds(self.process.pid) - self.used
        return used > self.limit or time.monotonic() - self.began > self.wall

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def run_lines(lines: list[list[str]], processes: int, folder: Path) -> list[Outcome]:
    """All lines, each in whichever worker is free."""
    left, outcomes = list(reversed(lines)), []
    selector = selectors.DefaultSelector()

    def begin() -> Worker:
        worker = Worker(folder)
        selector.register(worker.process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
        return worker

    workers = [begin() for _ in range(processes)]
    try:
        while left or any(worker.line is not None for worker in workers):
            for worker in workers:
                if worker.line is None and left:
                    worker.give(left.pop())
            for key, _ in selector.select(timeout=1.0):
                done = key.data.take()
                outcomes.append(done)
                key.data.line = None
                if key.data.process.poll() is not None:
                    selector.unregister(key.fileobj)
                    workers[workers.index(key.data)] = begin()
            for i, worker in enumerate(workers):
                if worker.late and worker.line is not None:
                    outcomes.append(Outcome(worker.line, None, "", "", worker.limit))
                    selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
                    worker.end()
                    workers[i] = begin()
    finally:
        for worker in workers:
            worker.end()
    return outcomes


def report(outcomes: list[Outcome]) -> int:
    """The figures; the number of lines that were wrong."""
    faults = Counter(fault for outcome in outcomes for fault in outcome.faults)
    wrong = [outcome for outcome in outcomes if outcome.faults]
    for outcome in wrong:
        last = outcome.err.strip().splitlines()[-1:] or [""]
        print(f"{outcome.faults} {json.dumps(outcome.line)[:400]}\n    {last[0][:200]!r}")
    codes = Counter(outcome.code for outcome in outcomes)
    slowest = max((outcome.seconds for outcome in outcomes if outcome.code is not None), default=0)
    print(f"{len(outcomes)} lines, {len(wrong)} wrong {dict(faults)}; codes {dict(codes)}")
    print(f"slowest {slowest:.1f} s")
    return len(wrong)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--lines", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work()
        return 0
    with tempfile.TemporaryDirectory(prefix="wganbench-fuzz-") as folder:
        lines = make_lines(arguments.lines, arguments.seed)
        return int(report(run_lines(lines, arguments.processes, Path(folder))) > 0)


if __name__ == "__main__":
    sys.exit(main())
