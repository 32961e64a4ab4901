"""scripts/gpu_check.py, rehearsed on a CPU: what measures a GPU must not fail when one is there."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent


def check(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    own = {"DEVICE": "cpu", "QUICK": "1", "OUT": f"{tmp_path}/out", "WORK": f"{tmp_path}/work"}
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "scripts/gpu_check.py", *words],
        cwd=ROOT, env=os.environ | own | {"PYTHONPATH": path}, capture_output=True, text=True,
        timeout=500,
    )  # fmt: skip


def rehearsed(tmp_path: Path, parts: Sequence[str]) -> tuple[list[dict[str, Any]], str]:
    """Results and table of some parts, of which none failed or was left out."""
    done = check(tmp_path, "all", "--seconds", "450", "--only", *parts)
    log = (tmp_path / "out" / "log.txt").read_text()
    assert done.returncode == 0, done.stdout + done.stderr + log
    rows = json.loads((tmp_path / "out" / "results.json").read_text())
    assert not [row for row in rows if {"FAILED", "skipped"} & row.keys()], log
    assert all(f"===== {part}" in log for part in parts), log
    return rows, (tmp_path / "out" / "table.txt").read_text()


@pytest.mark.thorough
def test_the_parts_that_measure_have_rows_in_the_table(tmp_path: Path) -> None:
    rows, table = rehearsed(tmp_path, ["doctor", "ceilings", "textbook", "bench", "costs"])
    found = {row["what"] for row in rows}
    assert {"doctor", "copy GB/s", "eager launch us", "textbook", "bench", "memory"} <= found
    assert {"save ms a run", "probe ms a run", "evaluation ms a run"} <= found
    lines = table.strip().splitlines()
    assert len(lines) == len(rows) + 1, "a line for every row, and the head"
    timed = [line for line in lines if "ms/it" in line]
    assert len(timed) == 3 and all(float(line.split(" ms/it")[0].split()[-1]) > 0 for line in timed)
    for row in rows:
        if row["what"] == "bench":
            assert row["compile_s"] >= 0 < row["first_s"] and row["runs_x_it_per_s"] > 0


@pytest.fixture
def scripts() -> Iterator[Any]:
    sys.path.append(str(ROOT / "scripts"))
    try:
        import gpu_check

        yield gpu_check
    finally:
        sys.path.remove(str(ROOT / "scripts"))


def begun(gpu_check: Any, tmp_path: Path, limit: float) -> Any:
    (tmp_path / "log.txt").write_text("")
    return gpu_check.Check(gpu_check.Setting("cpu", False, tmp_path, tmp_path), limit)


def test_a_part_that_fails_has_a_row_too(scripts: Any, tmp_path: Path) -> None:
    check_, job = begun(scripts, tmp_path, 60.0), scripts.Job("bench", ("R=1",))
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
    process.wait()
    output = tmp_path / "1-bench.out"
    output.write_text('RESULT {"what": "bench", "spec": "R=1", "ms": 2.0}\nand then it fell over\n')
    check_.finish(scripts.Running(job, process, output, 60.0))
    assert [row.get("FAILED") for row in check_.results] == [None, 7]
    table = scripts.table(check_.results, 3.0)
    assert "2.000 ms/it      500 run-it/s" in table and "and then it fell over" in table
    late = begun(scripts, tmp_path, 1.0)
    late.run(scripts.Stage("timed", 1, (scripts.Job("costs"),)))
    assert late.results == [{"what": "costs", "skipped": "no time left"}]


def test_no_part_takes_the_time_of_others_and_no_more_run_than_may(
    scripts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_, live, most = begun(scripts, tmp_path, 60.0), list[Any](), list[int]()

    def start(job: Any, width: int) -> Any:
        seconds = 60 if job.name == "digits" else 0
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", f"import time; time.sleep({seconds})"],
            start_new_session=True,
        )
        live.append(process)
        most.append(sum(each.poll() is None for each in live))
        path = tmp_path / f"{len(live)}.out"
        path.write_text(f'RESULT {{"what": "{job.name}"}}')
        return scripts.Running(job, process, path, check_.seconds + job.patience)

    monkeypatch.setattr(check_, "start", start)
    names = ["digits", "doctor", "train", "kill", "costs"]
    jobs = tuple(scripts.Job(name, (), 0.5 if name == "digits" else 30.0) for name in names)
    check_.run(scripts.Stage("commands", 2, jobs))
    assert sorted(row["what"] for row in check_.results) == sorted([*names, "digits"])
    assert [row["FAILED"] for row in check_.results if "FAILED" in row] == ["timeout"]
    assert all(each.poll() is not None for each in live), "what took too long is gone"
    assert max(most) == 2


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in (ROOT / "scripts").glob("*.py") if "jax" not in path.stem)
)
def test_every_script_finds_what_it_imports(scripts: Any, name: str) -> None:
    """Scripts are run seldom, on machines that are lent: a name that is gone would cost a turn."""
    assert importlib.import_module(name).__doc__


def test_every_part_is_run_in_both_kinds_of_check(scripts: Any, tmp_path: Path) -> None:
    for quick in (True, False):
        setting = scripts.Setting("cuda", quick, tmp_path, tmp_path)
        jobs = [job for stage in scripts.stages(setting) for job in stage.jobs]
        assert {job.name for job in jobs} == {*scripts.COMMANDS, *scripts.SPEEDS}
        assert len(set(jobs)) == len(jobs)
