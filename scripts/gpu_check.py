"""What a real GPU says: correctness, launches, speed, whole commands.

    OUT=/tmp/check python scripts/gpu_check.py all --seconds 450         on a machine with a GPU
    DEVICE=cpu QUICK=1 python scripts/gpu_check.py all --seconds 200     a rehearsal without one
    DEVICE=cpu QUICK=1 python scripts/gpu_check.py all --only doctor costs
    python scripts/gpu_check.py bench R=64 network.width=64 profile=1    one part

In the repository's root. ``all`` runs every part within so many seconds and prints a short table
last. Each part is a process of its own, so that none takes the others down. In $OUT (a temporary
folder by default) lie table.txt, results.json and log.txt with what the parts printed; they work
in $WORK.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

# A copy of this file may lie elsewhere: its parts are those of the repository.
sys.path.append(str(Path("scripts").resolve()))

from gpu_commands import Row, Setting, Words  # noqa: E402

COMMANDS = ("doctor", "train", "deterministic", "kill", "digits", "sweep", "oom", "pytest")
SPEEDS = ("ceilings", "bench", "textbook", "costs")
LEAST_SECONDS = 5.0
"""Of time left in which a part is begun."""

PREFIX = "RESULT "


def setting_of_environment() -> Setting:
    """DEVICE (cuda), QUICK, OUT and WORK, which the processes of the parts inherit."""
    for name in ("OUT", "WORK"):
        os.environ.setdefault(name, tempfile.mkdtemp(prefix="gpu-check-"))
        Path(os.environ[name]).mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", f"{os.environ['WORK']}/inductor")
    return Setting(
        os.environ.setdefault("DEVICE", "cuda"),
        bool(os.environ.get("QUICK")),
        Path(os.environ["OUT"]),
        Path(os.environ["WORK"]),
    )


def run_part(name: str, setting: Setting, words: Words) -> None:
    """One part in this process; its rows are lines of the output."""
    import gpu_commands

    if name in COMMANDS:
        part: Callable[[Setting, Words], Iterator[Row]] = getattr(gpu_commands, name)
    else:
        import gpu_speed

        part = getattr(gpu_speed, name)
    for row in part(setting, words):
        print(PREFIX + json.dumps(row), flush=True)


# What is run.
@dataclass(frozen=True)
class Job:
    """A part with its words, and how many seconds it may take."""

    name: str
    words: tuple[str, ...] = ()
    patience: float = 60.0

    @property
    def label(self) -> str:
        return " ".join([self.name, *self.words])[:80]


@dataclass(frozen=True)
class Stage:
    """Jobs of which at most ``width`` run at a time."""

    name: str
    width: int
    jobs: tuple[Job, ...]


SPECS = (
    "R=1 network.width=64 profile=1", "R=16 network.width=64", "R=64 network.width=64 profile=1",
    "R=132 network.width=64", "R=1024 network.width=64", "R=64 network.width=16",
    "R=1 network.width=64 kernel=false profile=1", "R=64 network.width=64 kernel=false profile=1",
    "R=64 network.width=128", "R=64 network.width=64 precision=bf16",
    "R=64 network.width=64 precision=tf32",
)  # fmt: skip
"""What is timed: stacks of five sizes in our kernel, the same by torch, what only torch trains."""


def bench_jobs(setting: Setting) -> list[Job]:
    """A process for each stack that is timed."""
    specs = ("R=2 network.width=8 profile=1", "R=1 network.width=8") if setting.quick else SPECS
    return [Job("bench", (*spec.split(), setting.compiled), 45.0) for spec in specs]


def stages(setting: Setting) -> list[Stage]:
    """What is compared with other cards first and alone, then whole commands, the tests last.

    The stacks are compiled beside each other before they are timed, into the folder that torch
    keeps for all processes: then each loads what it needs.
    """
    device, benches = setting.device, bench_jobs(setting)
    compiling = [replace(job, words=(*job.words, "only=compile"), patience=75.0) for job in benches]
    halved = ("false",) if setting.quick else ("true", "false")
    commands = [
        Job("train", (device,), 60.0), Job("deterministic", (), 70.0), Job("kill", (), 90.0),
        Job("digits", ("1",), 120.0), Job("train", (device, "precision=bf16"), 60.0),
        Job("digits", ("4",), 120.0), Job("costs", ("4" if setting.quick else "64",), 45.0),
        Job("train", ("cpu",), 60.0),
    ]  # fmt: skip
    return [
        Stage("first", 2, (Job("doctor", (), 30.0), Job("ceilings", (), 40.0))),
        Stage("compile", 6, () if setting.quick else tuple(compiling)),
        Stage("timed", 1, (*benches, Job("textbook", ("64",), 25.0))),
        Stage("sweep", 1, (Job("sweep", (), 100.0),)),
        # Where the device is the CPU its run is there already.
        Stage("commands", 3, tuple(dict.fromkeys(commands))),
        # Nearly all of the card's memory is held there.
        Stage("memory", 1, tuple(Job("oom", (f"compile={c}",), 75.0) for c in halved)),
        Stage("tests", 1, (Job("pytest", (), 240.0),)),
    ]


# How it is run.
@dataclass
class Running:
    """The process of a part, where its output goes, and when it must have ended."""

    job: Job
    process: subprocess.Popen[bytes]
    path: Path
    until: float


@dataclass
class Check:
    """A run of all parts within ``limit`` seconds, and what they found."""

    setting: Setting
    limit: float
    began: float = field(default_factory=time.monotonic)
    results: list[Row] = field(default_factory=list)
    started: int = 0

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.began

    def run(self, stage: Stage) -> None:
        """The jobs of a stage in their order, the next as soon as one has ended."""
        waiting, running = list(stage.jobs), list[Running]()
        while waiting or running:
            while waiting and len(running) < stage.width:
                job = waiting.pop(0)
                if self.seconds > self.limit - LEAST_SECONDS:
                    self.keep([{"what": job.label, "skipped": "no time left"}], "")
                else:
                    running.append(self.start(job, stage.width))
            for part in running:
                if part.process.poll() is not None or self.seconds > part.until:
                    self.finish(part)
            running = [part for part in running if part.process.returncode is None]
            time.sleep(0.05)

    def start(self, job: Job, width: int) -> Running:
        """Begin a part in a process of its own, with its share of the cores to compile on."""
        self.started += 1
        path = self.setting.work / f"{self.started}-{job.name}.out"
        command = [sys.executable, __file__, job.name, *job.words]
        threads = max(1, (os.cpu_count() or 1) // width)
        own = {"TORCHINDUCTOR_COMPILE_THREADS": str(threads)}
        with path.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
                env=os.environ | own,
            )  # fmt: skip
        # A rehearsal may be on a machine that others use.
        patience = self.limit if self.setting.quick else job.patience
        return Running(job, process, path, min(self.seconds + patience, self.limit))

    def finish(self, part: Running) -> None:
        """Read the rows of a part that has ended, or end it."""
        status: int | str | None = part.process.poll()
        if status is None:
            status = "timeout"
            os.killpg(part.process.pid, signal.SIGKILL)
            part.process.wait()
        text = part.path.read_text(errors="replace")
        lines = text.splitlines()
        rows = [json.loads(line[len(PREFIX) :]) for line in lines if line.startswith(PREFIX)]
        if status != 0 or not rows:
            last = [line[-300:] for line in lines[-3:]]
            rows.append({"what": part.job.label, "FAILED": status, "tail": last})
        self.keep(rows, f"\n===== {part.job.label}: {status}\n{text[-20000:]}\n")

    def keep(self, rows: list[Row], log: str) -> None:
        """Rows and log on the disk at once: what comes after may be cut off."""
        self.results += rows
        with (self.setting.out / "log.txt").open("a") as file:
            file.write(log)
        (self.setting.out / "results.json").write_text(json.dumps(self.results, indent=1))
        for row in rows:
            print(f"[{self.seconds:4.0f}s]", json.dumps(row)[:600], flush=True)


def check_all(setting: Setting, limit: float, only: Sequence[str]) -> list[Row]:
    """Every part, or only those of some names; the table is written and printed last."""
    (setting.out / "log.txt").write_text("")

    def chosen(jobs: Sequence[Job]) -> list[Job]:
        return [job for job in jobs if not only or job.name in only]

    check = Check(setting, limit)
    for stage in stages(setting):
        check.run(replace(stage, jobs=tuple(chosen(stage.jobs))))
    (setting.out / "results.json").write_text(json.dumps(check.results, indent=1))
    text = table(check.results, check.seconds)
    (setting.out / "table.txt").write_text(text + "\n")
    print(text[-11000:], flush=True)
    return check.results


def table(rows: Sequence[Row], seconds: float) -> str:
    lines = [f"\n=== {seconds:.0f} s ==="]
    for row in rows:
        if row["what"] in ("bench", "textbook") and "ms" in row:
            lines.append(speed_line(row))
        else:
            lines.append(json.dumps(row)[:500])
    return "\n".join(lines)


def speed_line(row: Row) -> str:
    name = str(row.get("spec", f"textbook w={row.get('width')}"))
    rate = row.get("runs_x_it_per_s", round(1e3 / row["ms"]))
    parts = (
        ("compiled", "compile_s", " s"), ("first", "first_s", " s"),
        ("peak", "peak_MB", " MB"), ("skips", "cudagraph_skips", ""),
    )  # fmt: skip
    told = " ".join(f"{words} {row.get(key, '-')}{unit}" for words, key, unit in parts)
    more = f"{row.get('profile') or ''} {row.get('warnings') or ''}".strip()
    return f"{name[:70]:70s} {row['ms']:9.3f} ms/it {rate:>8} run-it/s  {told} {more}".rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", choices=["all", *COMMANDS, *SPEEDS])
    parser.add_argument("words", nargs="*", help="what one part is given, such as R=64")
    parser.add_argument("--seconds", type=float, default=450.0, help="what all parts may take")
    parser.add_argument("--only", nargs="+", default=[], choices=[*COMMANDS, *SPEEDS])
    given = parser.parse_args()
    setting = setting_of_environment()
    if given.part == "all":
        check_all(setting, given.seconds, given.only)
    else:
        run_part(given.part, setting, given.words)


if __name__ == "__main__":
    main()
