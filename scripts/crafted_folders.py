"""An attack on run folders: crafted ones are given to every verb that reads one.

Each case is a sound run or sweep with one to three faults of a stranger's making: links, FIFOs,
wrong types, absurd numbers, deep nesting, names of code, escapes, huge labels, bombs. The verbs
sample, evaluate, resume and compare are called on it, in a process of its own with a limit of
time and of memory. Counted are cases in which code ran (a canary), something outside the folder
changed (a victim's folder), a traceback was shown, a verb hung, or a line was longer than 500
characters. All of these must be 0. The same --seed makes the same cases.

    python scripts/crafted_folders.py --n 500 --seed 0
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import io
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from wganbench.cli.app import main as wganbench
from wganbench.config import compose
from wganbench.config.jobs import Job
from wganbench.reports import figures
from wganbench.sweeps.manifest import add_jobs
from wganbench.training.checkpoint import Checkpoint, digest
from wganbench.training.runs import train_run

IMPORTED_BY_ALL = ("ot", "wganbench.cli.compare_view", "wganbench.reports.export",
                   "wganbench.training.run", "wganbench.sweeps.launch")  # fmt: skip
LIMIT_SECONDS = 60.0
"""Of all verbs of a case. What waits for ever uses no processor: on a busy machine give more."""
LIMIT_BYTES = 12 * 2**30
LONGEST_LINE = 500
FAULTS = ("code ran", "changed outside", "traceback", "hang", "long line")
SETTINGS = [
    "network.width=8", "network.depth=1", "train.batch_size=8", "train.steps=4", "device=cpu",
    "compile=false", "loss.n_critic=1", "tuned=none", "log.figure=false", "log.animation=true",
    "log.every_n_steps=1", "evaluate.every_n_steps=2", "evaluate.n=20", "evaluate.final_n=20",
    "evaluate.final_draws=1", "evaluate.floor_pairs=2", "evaluate.projections=2",
]  # fmt: skip

DEEP = "[" * 100_000
RAW = [DEEP, "1" + "0" * 400, "NaN", "1e999", '{"a":' * 50 + "1" + "}" * 50, "{", ""]
"""What replaces a whole value as text, so that it need not be JSON."""
WEIRD: list[Any] = [
    None, True, -1, 0, 1.5, 2**53 + 1, 2**63, 10**9, 10**30, 1e308, -1e308, "", "x", "y" * 100_000,
    "a\x1b]0;owned\x07\x1b[31m\u202e\n[red]", "=1+1", "../../victim", "/dev/zero", "a\0b", [], {},
    [1], {"a": 1}, [[[[[]]]]], "canary_module:f", "inf", "\ud800",
]  # fmt: skip
NAMES = ["run.json", "metrics.csv", "checkpoint.pt", "checkpoint.previous.pt", "samples.npz",
         "generated.npy", "samples.gif", ".lock", "frames", "comparison", "comparison/figures",
         "comparison/comparison.csv", ".hydra/overrides.yaml",
         "events.out.tfevents.1.x", ".tmp-" + "0" * 32]  # fmt: skip


class Canary:
    """A pickle of it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.file}",)


# Faults: each changes a run's folder.
def stands_in_the_way(run: Path, rng: random.Random, root: Path) -> None:
    """A link, a FIFO, a folder, a device or garbage in the place of a file."""
    path = run / rng.choice(NAMES)
    path.parent.mkdir(exist_ok=True)
    content = path.read_bytes() if path.is_file() else b""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    victim = root / "victim"
    match rng.randrange(8):
        case 0:
            path.symlink_to(victim / "diary.txt")
        case 1:
            path.symlink_to(victim)
        case 2:
            path.symlink_to(victim / "new")
        case 3:
            path.symlink_to("/dev/zero")
        case 4:
            os.mkfifo(path)
        case 5:
            path.mkdir()
        case 6:
            path.write_bytes(rng.randbytes(200))
        case _:
            path.write_bytes(content[: len(content) // 2])


def leaves(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to every value in a record, inner ones included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [way] if way else []
    if isinstance(value, dict | list):
        for key, item in inner:
            found += leaves(item, (*way, key)) if isinstance(item, dict | list) else [(*way, key)]
    return found


def wrong_record(file: Path, rng: random.Random) -> None:
    """Another value at some place of a JSON file, a missing key, or a key too many."""
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return
    way = rng.choice(leaves(content))
    part = content
    for key in way[:-1]:
        part = part[key]
    mark = "@@raw@@"
    match rng.randrange(5):
        case 0:
            del part[way[-1]]
        case 1:
            part[way[-1]] = mark
        case _:
            part[way[-1]] = rng.choice(WEIRD)
    text = json.dumps(content).replace(f'"{mark}"', rng.choice(RAW))
    file.write_text(text)


def wrong_run(run: Path, rng: random.Random, root: Path) -> None:
    wrong_record(run / "run.json", rng)


def code_name(run: Path, rng: random.Random, root: Path) -> None:
    """Names of code wherever a name may stand."""
    try:
        content = json.loads((run / "run.json").read_text())
        content["config"]["evaluate"]["features"] = "canary_module:f"
        for group in rng.sample(["data", "loss", "network"], rng.randrange(2)):
            content["config"][group]["_target_"] = "canary_module.f"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return
    (run / "run.json").write_text(json.dumps(content))
    (run / ".hydra").mkdir(exist_ok=True)
    if not (run / ".hydra" / "overrides.yaml").is_symlink():
        target = f"touch {root / 'it_ran'}"
        text = rng.choice([f"!!python/object/apply:os.system ['{target}']", "a: &a [*a]", DEEP])
        (run / ".hydra" / "config.yaml").write_text(text)


def wrong_table(run: Path, rng: random.Random, root: Path) -> None:
    columns = ",".join(f"c{i}" for i in range(5000))
    rows = ["step,loss/critic\n1,1\n", "step\n" + "9" * 5000 + "\n", "a" * 100_000]
    rows += ["step,a\n1,1e308", f"step,{columns}\n", "\0\n", "step,step\n1,1\n"]
    put(run / "metrics.csv", rng.choice(rows).encode())


def wrong_checkpoint(run: Path, rng: random.Random, root: Path) -> None:
    """Signed ones of wrong content, foreign tensors, a pickle that runs."""
    step = rng.choice([10**30, -1, 0, 3, 5, 2**53])
    tensors: dict[str, Any] = rng.choice(
        [{}, {"a": torch.ones(3)}, {"diverged_at": torch.tensor(-1)}, {"a": torch.ones(1).bool()}]
    )
    content: Any = {"format": 1, "step": step, "seconds": 1.0, "tensors": tensors}
    content["sha256"] = digest(Checkpoint(step, 1.0, tensors))
    match rng.randrange(4):
        case 0:
            content = Canary(root / "it_ran")
        case 1:
            content["tensors"] = {"a": torch.zeros(1).expand(10**12)}
        case 2:
            content[rng.choice(list(content))] = rng.choice(WEIRD)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    put(run / "checkpoint.pt", buffer.getvalue())


def wrong_samples(run: Path, rng: random.Random, root: Path) -> None:
    """An archive that claims more than there is, objects, odd shapes."""
    member = io.BytesIO()
    shape = rng.choice([(10**9, 2), (3,), (0, 2), (2, 0), (3, 2, 2, 2), (-1, 2)])
    header = {"descr": rng.choice(["<f8", "|O", "<U9", "|u1", "<c16"]), "fortran_order": False}
    np.lib.format.write_array_header_1_0(member, header | {"shape": shape})
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fakes.npy", member.getvalue() + b"\0" * rng.choice([0, 48, 10**6]))
        archive.writestr("reals.npy", member.getvalue())
    put(run / "samples.npz", buffer.getvalue())


def wrong_frames(run: Path, rng: random.Random, root: Path) -> None:
    """Foreign names, and images that are none."""
    frames = run / "frames"
    if frames.is_dir() and not frames.is_symlink():
        for name in ("x.png", "\u00b2\u00b3.png", "000000099.png", "0.png", "000000000.png"):
            put(frames / name, rng.randbytes(50))


def put(path: Path, content: bytes) -> None:
    """Write where nothing stands in the way."""
    if path.is_file() and not path.is_symlink() or not os.path.lexists(path):
        path.write_bytes(content)


FAULTY: list[Callable[[Path, random.Random, Path], None]] = [
    stands_in_the_way, stands_in_the_way, wrong_run, wrong_run, wrong_run, code_name, wrong_table,
    wrong_checkpoint, wrong_samples, wrong_frames,
]  # fmt: skip


# The campaign.
def make_sound(root: Path) -> None:
    """A run that was interrupted half way, a completed one, and a sweep of both."""
    sweep = root / "sound"
    for seed, name in enumerate(("half", "whole")):
        config = compose([*SETTINGS, f"seed={seed}"])
        run = train_run(config, sweep / name).path
        if name == "half":
            content = json.loads((run / "run.json").read_text())
            (run / "run.json").write_text(json.dumps(content | {"status": "running"}))
        add_jobs(sweep, [Job(config, run)])


def make_victim(root: Path) -> None:
    (root / "victim").mkdir()
    for name in ("diary.txt", "000000001.png", "run.json", "comparison.csv", "holiday.png"):
        (root / "victim" / name).write_text(name)


def state_of(folder: Path) -> str:
    """A digest of every name and byte in a folder."""
    text = [(p.relative_to(folder).as_posix(), p.is_file() and p.read_bytes()) for p in
            sorted(folder.rglob("*"))]  # fmt: skip
    return hashlib.sha256(repr(text).encode()).hexdigest()


def make_case(root: Path, rng: random.Random) -> list[list[str]]:
    """Make the folder of a case; the verbs that read what is crafted in it."""
    case, crafted = root / "case", set()
    shutil.rmtree(case, ignore_errors=True)
    shutil.copytree(root / "sound", case)
    for _ in range(rng.randint(1, 3)):
        run = case / rng.choice(["half", "half", "whole"])
        if rng.random() < 0.15:
            wrong_record(case / "sweep.json", rng)
            crafted.add(case)
        else:
            rng.choice(FAULTY)(run, rng, root)
            crafted.add(run)
    words = [["compare", str(case)], ["ls", str(case)], ["export", str(case)]]
    words += [["diff", str(case / "half"), str(case / "whole")]]
    for path in sorted(crafted):
        if path == case:
            # Workers take seconds: only where sweep.json says what they are given.
            words += [["resume", str(case)]]
        else:
            kinds = (["sample", "-n", "5"], ["evaluate", "-n", "20"], ["resume"], ["compare"])
            words += [[*kind, str(path)] for kind in kinds]
    return [*words, ["rm", "--older", "0", "--yes", str(case)]]


def run_case(case: Path, words: list[list[str]], log: Path, limit: float) -> bool:
    """All verbs in a process of their own; whether it ended in time."""
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
            os.chdir(case)
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(out, 1)
            os.dup2(out, 2)
            sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
            sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
            for line in words:
                print(f"$ {line[0]} {line[-1][-20:]!r}", flush=True)
                wganbench(line)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def faults_of(root: Path, before: str, log: Path, ended: bool) -> list[str]:
    text = log.read_text(errors="replace") if log.exists() else ""
    return [
        *["code ran"] * (root / "it_ran").exists(),
        *["changed outside"] * (state_of(root / "victim") != before),
        *["traceback"] * ("Traceback (most recent" in text),
        *["hang"] * (not ended),
        *["long line"] * any(len(line) > LONGEST_LINE for line in text.splitlines()),
    ]


def campaign(
    n: int, seed: int, root: Path, say: Callable[[str], None], limit: float = LIMIT_SECONDS
) -> Counter[str]:
    """Run ``n`` cases below ``root``; how often each fault was seen."""
    for module in IMPORTED_BY_ALL:
        importlib.import_module(module)
    make_sound(root)
    make_victim(root)
    (root / "canary_module.py").write_text(
        f"from pathlib import Path\nPath({str(root / 'it_ran')!r}).touch()\nf = len\n"
    )
    found: Counter[str] = Counter()
    before = state_of(root / "victim")
    for number in range(n):
        # Of its own: a worker that outlives its case may still write.
        log = root / f"case-{number}.txt"
        words = make_case(root, random.Random(f"{seed} {number}"))
        shutil.copy(root / "canary_module.py", root / "case")
        faults = faults_of(root, before, log, run_case(root / "case", words, log, limit))
        if number % 50 == 49:
            say(f"{number + 1} of {n}: {dict(found) or 'nothing'}")
        found.update(faults)
        if faults:
            say(f"case {number}: {', '.join(faults)} ({log})")
            (root / "it_ran").unlink(missing_ok=True)
            shutil.rmtree(root / "victim")
            make_victim(root)
        else:
            log.unlink()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=LIMIT_SECONDS, help="seconds for a case")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    # The other figures read no files, and take most of the time.
    figures.FIGURES = {"samples": figures.FIGURES["samples"]}
    root = Path(tempfile.mkdtemp(prefix="crafted-"))
    began = time.monotonic()
    found = campaign(
        chosen.n, chosen.seed, root, lambda line: print(line, flush=True), chosen.limit
    )
    seconds = time.monotonic() - began
    print(f"{chosen.n} folders in {seconds:.0f} s: " + ", ".join(f"{k} {found[k]}" for k in FAULTS))
    if not found:
        shutil.rmtree(root)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
