"""Parts of gpu_check.py that run whole commands: train, sweep, kill and resume, out of memory.

Each part is a function of the setting and of its words, and gives rows of results.
"""

from __future__ import annotations

import collections
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Row = dict[str, Any]
Words = Sequence[str]
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Setting:
    """Where the check runs: its device, whether it is only a rehearsal, and its folders."""

    device: str
    quick: bool
    out: Path
    work: Path

    @property
    def cuda(self) -> bool:
        return self.device == "cuda"

    @property
    def compiled(self) -> str:
        """A rehearsal compiles nothing."""
        return f"compile={'false' if self.quick else 'true'}"

    @property
    def small(self) -> list[str]:
        """Words for a run of which only its training matters."""
        return [
            "evaluate.every_n_steps=0", "evaluate.final_n=200", "evaluate.floor_pairs=2",
            "log.figure=false", f"output_dir={self.work}/runs",
        ]  # fmt: skip


def wganbench(*words: str) -> Done:
    """A command in a process of its own; what it prints goes to the log."""
    return echoed(sys.executable, "-m", "wganbench", *words)


def echoed(*command: str) -> Done:
    """Run a command; what it prints is in the log at once, with seconds: it may be killed."""
    began = time.perf_counter()
    print("$", *command[1:], flush=True)
    lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def read(name: str) -> None:
        for line in getattr(process, name):
            lines[name].append(line)
            print(f"[{time.perf_counter() - began:5.1f}] {line.rstrip()[:1000]}", flush=True)

    readers = [threading.Thread(target=read, args=(name,)) for name in lines]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    texts = ["".join(lines[name]) for name in ("stdout", "stderr")]
    return subprocess.CompletedProcess(command, process.wait(), *texts)


def stored(folder: Path) -> list[Row]:
    """What the run.json of every run below a folder holds."""
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("run.json"))]


def statuses(folder: Path) -> dict[str, int]:
    return dict(collections.Counter(run["status"] for run in stored(folder)))


def same_bits(one: Path, other: Path) -> bool:
    """Whether the checkpoints of two runs hold equal tensors."""
    a, b = (
        torch.load(next(folder.rglob("checkpoint.pt")), weights_only=True)["tensors"]
        for folder in (one, other)
    )
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def doctor(setting: Setting, words: Words) -> Iterator[Row]:
    done = wganbench("doctor")
    name = torch.cuda.get_device_name() if setting.cuda else "cpu"
    yield {"what": "doctor", "rc": done.returncode, "torch": torch.__version__, "device": name}


FIGURES = (
    "wasserstein/exact", "modes/covered", "modes/high_quality", "critic/slope_mean", "loss/critic"
)  # fmt: skip


def train(setting: Setting, words: Words) -> Iterator[Row]:
    """The default run; the words are a device and more of the command."""
    device, *more = words
    folder = setting.work / "-".join(["train", device, *more])
    steps, quick = (20, setting.small[:3]) if setting.quick else (2000, [])
    began = time.perf_counter()
    done = wganbench(
        "train", "loss=gp", f"device={device}", f"train.steps={steps}", *quick,
        f"output_dir={folder}", *more,
    )  # fmt: skip
    row: Row = {"what": " ".join(["train", device, *more]), "rc": done.returncode}
    row["wall_s"] = round(time.perf_counter() - began, 1)
    row["stderr"] = [line[:200] for line in done.stderr.splitlines() if line.strip()][:3]
    for run in stored(folder)[:1]:
        metrics = run.get("metrics") or {}
        row |= {key: run.get(key) for key in ("steps_per_second", "seconds", "compile_seconds")}
        row |= {tag: round(metrics[tag], 4) for tag in FIGURES if tag in metrics}
    yield row


def repeatable(setting: Setting, steps: int) -> list[str]:
    """A run that repeats bit for bit."""
    return [
        "train", "loss=gp", f"device={setting.device}", f"train.steps={steps}",
        setting.compiled, "deterministic=true", *setting.small,
    ]  # fmt: skip


def deterministic(setting: Setting, words: Words) -> Iterator[Row]:
    """The same run twice."""
    for name in ("one", "two"):
        done = wganbench(*repeatable(setting, 6 if setting.quick else 300), f"name={name}", *words)
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:]
            yield {"what": "deterministic twice", "rc": done.returncode, "error": last}
            return
    equal = same_bits(setting.work / "runs/one", setting.work / "runs/two")
    yield {"what": "deterministic twice", "rc": 0, "equal_bit_for_bit": equal}


def kill(setting: Setting, words: Words) -> Iterator[Row]:
    """kill -9 in mid-run, resume, compare with a run that never stopped."""
    steps = 120 if setting.quick else 6000
    run = [
        *repeatable(setting, steps), f"checkpoint.every_n_steps={steps // 12}",
        f"log.every_n_steps={steps // 24}",
    ]  # fmt: skip
    runs = setting.work / "runs"
    process = subprocess.Popen(
        [sys.executable, "-m", "wganbench", *run, "name=killed"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until = time.monotonic() + 150
    while process.poll() is None and time.monotonic() < until:
        if list((runs / "killed").rglob("checkpoint.previous.pt")):
            break
        time.sleep(0.05)
    in_run = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    codes = [wganbench(*run, f"name={name}").returncode for name in ("killed", "whole")]
    row: Row = {"what": "kill -9 and resume", "killed_in_run": in_run, "rc": codes}
    yield row | {"equal_bit_for_bit": same_bits(runs / "killed", runs / "whole")}


def digits(setting: Setting, words: Words) -> Iterator[Row]:
    """Images: as many runs as the word says, one by `train`, more by `sweep`."""
    runs = int(words[0]) if words else 1
    quick = ["train.batch_size=8", "evaluate.final_n=50"] if setting.quick else []
    verb, own = "sweep", [f"seed=range(0,{runs})", f"sweep.devices={setting.device}"]
    if runs == 1:
        verb, own = "train", ["seed=0", f"device={setting.device}"]
    began = time.perf_counter()
    done = wganbench(
        verb, "data=digits", "loss=gp", *own, f"train.steps={4 if setting.quick else 100}",
        setting.compiled, f"name=digits{runs}", f"output_dir={setting.work}/runs", *quick,
    )  # fmt: skip
    ended = stored(setting.work / f"runs/digits{runs}")
    first = ended[0] if ended else {}
    yield {
        "what": f"digits R={runs}", "rc": done.returncode,
        "wall_s": round(time.perf_counter() - began, 1),
        **{key: first.get(key) for key in ("steps_per_second", "seconds", "compile_seconds")},
        "fid": [(run.get("metrics") or {}).get("fidelity/fid") for run in ended],
        "course": course(setting.work / f"runs/digits{runs}", 1),
    }  # fmt: skip


class Load:
    """The GPU's load, a value a second, as nvidia-smi tells it."""

    def __init__(self, cuda: bool) -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        self._process = (
            subprocess.Popen([*command, "-l", "1"], stdout=subprocess.PIPE, text=True)
            if cuda
            else None
        )

    def end(self) -> Row:
        if self._process is None:
            return {}
        self._process.terminate()
        busy = [int(word) for word in self._process.communicate()[0].split() if word.isdigit()]
        if not busy:
            return {}
        idle = sum(value < 5 for value in busy) / len(busy)
        mean = round(sum(busy) / len(busy))
        return {"gpu_busy_mean": mean, "gpu_idle_share": round(idle, 2)}


def sweep(setting: Setting, words: Words) -> Iterator[Row]:
    """A whole sweep, with the GPU's load beside it."""
    runs, steps = (4, 20) if setting.quick else (64, 1000)
    quick = ["evaluate.n=50", "evaluate.final_n=50", "evaluate.floor_pairs=2"]
    load, began = Load(setting.cuda), time.perf_counter()
    done = wganbench(
        "sweep", "loss=gp", "loss.gp_lambda=0.1,1,10,100", f"seed=range(0,{runs // 4})",
        f"train.steps={steps}", f"sweep.devices={setting.device}", "name=sweep",
        f"output_dir={setting.work}/runs", *(quick if setting.quick else []), *words,
    )  # fmt: skip
    row: Row = {"what": f"sweep of {runs}, whole command", "rc": done.returncode}
    row["wall_s"] = round(time.perf_counter() - began, 1)
    folder = setting.work / "runs/sweep"
    for key in ("seconds", "compile_seconds"):
        row[key] = max((run.get(key) or 0 for run in stored(folder)), default=0)
    drawn = [path.stat().st_mtime for path in folder.rglob("figure.png")]
    row["first_to_last_figure_s"] = round(max(drawn) - min(drawn), 1) if drawn else None
    row |= load.end() | {"status": statuses(folder)}
    yield row | {"course": course(folder, 5)}


def course(folder: Path, every: int) -> dict[str, float]:
    """Seconds of training at one in ``every`` logged steps of one run."""
    for path in sorted(folder.rglob("metrics.csv"))[:1]:
        head, *lines = [line.split(",") for line in path.read_text().splitlines()]
        at = head.index("budget/seconds")
        return {cells[0]: float(cells[at] or 0) for cells in lines[::every]}
    return {}


HOG = """
import time, torch
free, _ = torch.cuda.mem_get_info()
held = torch.empty(int(free - 1.6 * 2**30) // 4, device="cuda")
print("held", flush=True)
time.sleep(200)
"""
"""Holds the card's memory but for 1.6 GiB."""


def oom(setting: Setting, words: Words) -> Iterator[Row]:
    """A stack that cannot fit is halved; on a CPU everything fits."""
    runs, steps, width = (4, 2, 8) if setting.quick else (64, 5, 1024)
    name = "-".join(["oom", *words])
    hog = None
    if setting.cuda:
        command = [sys.executable, "-c", HOG]
        hog = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert hog.stdout is not None
        hog.stdout.readline()
    try:
        done = wganbench(
            "sweep", "loss=gp", f"seed=range(0,{runs})", f"sweep.max_stack={runs}",
            f"network.width={width}", f"train.steps={steps}", f"sweep.devices={setting.device}",
            "log.tensorboard=false", *setting.small, f"name={name}", *words,
        )  # fmt: skip
    finally:
        if hog is not None:
            hog.kill()
            hog.wait()
    said = re.findall(r"\d+ runs do not fit[^\n]{0,60}", done.stdout + done.stderr)[:4]
    row: Row = {"what": "oom halving", "words": list(words), "rc": done.returncode, "said": said}
    yield row | {"status": statuses(setting.work / "runs" / name)}


def pytest(setting: Setting, words: Words) -> Iterator[Row]:
    """The tests that need a GPU."""
    chosen = (
        ["-m", "gpu", "tests/test_gpu.py"]
        if setting.cuda
        else ["-m", "not gpu", "tests/test_training_compile_once.py"]
    )
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider", "-v"]
    done = echoed(*command, "--durations=10", *chosen)
    why = re.findall(r"^E   +(.*(?:Error|Warning).*)$", done.stdout, re.M)
    yield {
        "what": " ".join(["pytest", *words]), "rc": done.returncode,
        "last": done.stdout.strip().splitlines()[-1:],
        "failed": re.findall(r"^FAILED (\S+).*$", done.stdout, re.M),
        "because": sorted({line[:140] for line in why})[:4],
    }  # fmt: skip
