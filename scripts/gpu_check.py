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
from dataclasses import dataclass, field
from pathlib import Path

# A copy of this file may lie elsewhere: its parts are those of the repository.
sys.path.append(str(Path("scripts").resolve()))

from gpu_commands import Row, Setting, Words  # noqa: E402

COMMANDS = ("doctor", "train", "deterministic", "kill", "digits", "sweep", "oom", "pytest")
SPEEDS = ("ceilings", "bench", "textbook", "costs")
COMPILING = "compiling round (times not to be used)"
PREFIX = "RESULT "


def setting_of_environment() -> Setting:
    """DEVICE (cuda), QUICK, OUT and WORK, which the processes of the parts inherit."""
    for name in ("OUT", "WORK"):
        os.environ.setdefault(name, tempfile.mkdtemp(prefix="gpu-check-"))
        Path(os.environ[name]).mkdir(parents=True, exist_ok=True)
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


def bench_job(setting: Setting, *specs: str) -> Job:
    words = " + ".join(f"{spec} {setting.compiled}" for spec in specs).split()
    return Job("bench", tuple(words), 90.0)


def bench_jobs(setting: Setting) -> list[Job]:
    """Stacks of all sizes; one graph a program, one a whole iteration, none; precisions, widths."""
    if setting.quick:  # in one process
        specs = ("R=2 profile=1", "R=1 loop=0", "R=1 loop=0 graphs=whole")
        return [bench_job(setting, *(f"{spec} network.width=8" for spec in specs))]
    width, sizes, profiled = "network.width=64", (1, 8, 64, 256, 1024), (1, 64)
    return [
        bench_job(setting, f"R=1 {width} profile=1", f"R=2 {width}"),
        bench_job(
            setting,
            *(f"R={r} loop=0 {width}" + " profile=1" * (r in profiled) for r in sizes),
        ),
        bench_job(
            setting,
            *(f"R={r} loop=0 graphs=whole {width}" for r in (1, 64)),
            f"R=64 loop=0 graphs=off {width}",
        ),
        bench_job(
            setting,
            "R=64 loop=0 network.width=64 precision=bf16",
            "R=64 loop=0 network.width=128",
            "R=64 loop=0 network.width=512",
            "R=64 loop=0 tf32=0 network.width=64",
        ),
    ]


def first_jobs(setting: Setting) -> list[Job]:
    return [Job("doctor"), Job("ceilings")]


def correct_jobs(setting: Setting) -> list[Job]:
    """Correctness and whole commands, side by side; the benches too are compiled there, once."""
    device = setting.device
    jobs = [
        Job("sweep"), Job("pytest"), Job("pytest", ("nochecks",)), Job("train", (device,)),
        Job("train", (device, "asis")), Job("train", ("cpu",)),
        Job("train", (device, "precision=bf16")), Job("deterministic"), Job("kill"), Job("digits"),
    ]  # fmt: skip
    # Where the device is the CPU its run is there already.
    return [*dict.fromkeys(jobs), *([] if setting.quick else bench_jobs(setting))]


def timed_jobs(setting: Setting) -> list[Job]:
    """Alone on the card, compiled before: the times that count."""
    if setting.quick:
        return [Job("textbook"), *bench_jobs(setting), Job("costs", ("4",)), Job("oom")]
    eager = "R=1 network.width=64 {0} profile=1 + R=64 network.width=64 {0}"
    return [
        Job("textbook", ("16", "64", "128", "512")),
        *bench_jobs(setting),
        Job("bench", tuple(eager.format("compile=false").split())),
        Job("costs", ("64",), 40.0),
        Job("oom", ("compile=false",)),
        Job("oom", ("compile=true",), 80.0),
    ]


# How it is run.
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

    def together(self, jobs: Sequence[Job], patience: float) -> None:
        """Jobs side by side."""
        for job, process, path in [(job, *self.start(job)) for job in jobs]:
            self.finish(job, process, path, patience)

    def one(self, job: Job) -> None:
        """A job alone, if there is time."""
        if self.seconds > self.limit - 5:
            self.results.append({"what": job.label, "skipped": "no time left"})
        else:
            # A rehearsal may be on a machine that others use.
            patience = self.limit if self.setting.quick else job.patience
            self.finish(job, *self.start(job), patience)

    def start(self, job: Job) -> tuple[subprocess.Popen[bytes], Path]:
        self.started += 1
        path = self.setting.work / f"{self.started}-{job.name}.out"
        command = [sys.executable, __file__, job.name, *job.words]
        with path.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        return process, path

    def finish(
        self, job: Job, process: subprocess.Popen[bytes], path: Path, patience: float
    ) -> None:
        """Wait for a part, at most as long as there is time, and read its rows."""
        status: int | str
        try:
            status = process.wait(max(1.0, min(patience, self.limit - self.seconds)))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            status = "timeout"
        text = path.read_text(errors="replace")
        lines = text.splitlines()
        rows: list[Row] = [
            json.loads(line.removeprefix(PREFIX)) for line in lines if line.startswith(PREFIX)
        ]
        if status != 0 or not rows:
            rows.append({"what": job.label, "FAILED": status, "tail": lines[-3:]})
        self.keep(rows, f"\n===== {job.label}: {status}\n{text[-20000:]}\n")

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
    for job in chosen(first_jobs(setting)):
        check.one(job)
    warmed = len(check.results)
    check.together(chosen(correct_jobs(setting)), limit if setting.quick else 190.0)
    for row in check.results[warmed:]:
        if row["what"] == "bench":
            row["what"] = COMPILING
    for job in chosen(timed_jobs(setting)):
        check.one(job)
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
        elif row["what"] != COMPILING:
            lines.append(json.dumps(row)[:330])
    return "\n".join(lines)


def speed_line(row: Row) -> str:
    name = str(row.get("spec", f"textbook w={row.get('width')}"))
    rate = row.get("runs_x_it_per_s", round(1e3 / row["ms"]))
    parts = (
        ("critic", "critic_ms", ""), ("gen", "generator_ms", ""), ("draw", "draw_block_ms", ""),
        ("first", "first_s", " s"), ("peak", "peak_MB", " MB"), ("skips", "cudagraph_skips", ""),
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
