"""scripts/gpu_check.py, rehearsed on a CPU: what measures a GPU must not fail when one is there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
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


@pytest.mark.slow
def test_the_parts_that_measure_have_rows_in_the_table(tmp_path: Path) -> None:
    rows, table = rehearsed(tmp_path, ["doctor", "ceilings", "textbook", "bench", "costs"])
    found = {row["what"] for row in rows}
    assert {"doctor", "copy GB/s", "eager launch us", "textbook", "bench", "memory"} <= found
    assert {"save ms a run", "probe ms a run", "evaluation ms a run"} <= found
    lines = table.strip().splitlines()
    assert len(lines) == len(rows) + 1, "a line for every row, and the head"
    timed = [line for line in lines if "ms/it" in line]
    assert len(timed) == 4 and all(float(line.split(" ms/it")[0].split()[-1]) > 0 for line in timed)
    for row in rows:
        if row["what"] == "bench":
            assert row["critic_ms"] > 0 < row["generator_ms"] and row["runs_x_it_per_s"] > 0


def test_a_part_that_fails_has_a_row_too(tmp_path: Path) -> None:
    sys.path.append(str(ROOT / "scripts"))
    try:
        import gpu_check
        from gpu_commands import Setting
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    setting = Setting("cpu", True, tmp_path, tmp_path)
    run = gpu_check.Check(setting, 60.0)
    (tmp_path / "log.txt").write_text("")
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])
    output = tmp_path / "1-bench.out"
    output.write_text('RESULT {"what": "bench", "spec": "R=1", "ms": 2.0}\nand then it fell over\n')
    run.finish(gpu_check.Job("bench", ("R=1",)), process, output, 60.0)
    assert [row.get("FAILED") for row in run.results] == [None, 7]
    table = gpu_check.table(run.results, 3.0)
    assert "2.000 ms/it      500 run-it/s" in table and "and then it fell over" in table
    waited = gpu_check.Check(setting, 1.0)
    waited.one(gpu_check.Job("costs"))
    assert waited.results == [{"what": "costs", "skipped": "no time left"}]


def test_every_part_is_run_in_both_kinds_of_check(tmp_path: Path) -> None:
    sys.path.append(str(ROOT / "scripts"))
    try:
        import gpu_check
        from gpu_commands import Setting
    finally:
        sys.path.remove(str(ROOT / "scripts"))
    for quick in (True, False):
        setting = Setting("cuda", quick, tmp_path, tmp_path)
        jobs = [
            *gpu_check.first_jobs(setting),
            *gpu_check.correct_jobs(setting),
            *gpu_check.timed_jobs(setting),
        ]
        assert {job.name for job in jobs} == {*gpu_check.COMMANDS, *gpu_check.SPEEDS}
