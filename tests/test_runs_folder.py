"""A run's folder: strict JSON, whole files, one writer."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from wganbench.files import RunBusy, replacing, strict_json, write_atomic
from wganbench.leftovers import TEMPORARY
from wganbench.runs.folder import KEYS, RunFolder, read_run, versions

HOLD = """
import sys, time
from wganbench.runs.folder import RunFolder
lock = RunFolder(sys.argv[1]).lock()
print("held", flush=True)
{then}
time.sleep(60)
"""


def start_holder(folder: Path, then: str = "") -> subprocess.Popen[str]:
    """A process that holds the run's lock and says so."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(then=then), str(folder)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_paths_are_the_contract_s(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    paths = (run.run_json, run.metrics_csv, run.checkpoint, run.samples, run.figure)
    names = ["run.json", "metrics.csv", "checkpoint.pt", "samples.npz", "figure.png"]
    assert [path.name for path in paths] == names
    assert {path.parent for path in paths} == {run.path}
    assert not run.path.exists()


def test_status_round_trip_keeps_what_is_not_named(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "a" / "b").lock()
    run.write_status(status="running", step=0, config={"loss": {"gp_lambda": 10.0}}, note="hi")
    run.write_status(status="completed", step=7, metrics={"modes/kl": 0.1 + 0.2})
    content = read_run(run.path)
    assert content["status"] == "completed" and content["step"] == 7
    assert content["metrics"]["modes/kl"] == 0.1 + 0.2
    assert content["config"] == {"loss": {"gp_lambda": 10.0}} and content["note"] == "hi"
    assert set(KEYS) <= set(content) and content["seconds"] is None
    assert read_run(run.run_json) == content == run.read()


def test_json_is_strict(tmp_path: Path) -> None:
    run = RunFolder(tmp_path).lock()
    run.write_status(
        metrics={"a": math.nan, "b": -math.inf, "c": np.float32("nan"), "d": np.float64(0.5)},
        config={"betas": (0.5, 0.9), "path": Path("x"), "n": np.int64(3), "array": np.arange(2)},
    )
    text = run.run_json.read_text()
    assert "NaN" not in text and "Infinity" not in text
    content = json.loads(text)
    assert content["metrics"] == {"a": None, "b": None, "c": None, "d": 0.5}
    assert content["config"] == {"betas": [0.5, 0.9], "path": "x", "n": 3, "array": [0, 1]}


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_strict_json_always_parses_and_is_idempotent(value: object) -> None:
    plain = strict_json(value)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain == strict_json(plain)


def test_bad_values_leave_the_file_alone(tmp_path: Path) -> None:
    run = RunFolder(tmp_path).lock()
    run.write_status(status="running")
    before = run.run_json.read_bytes()
    # The annotation is checked in tests, so its error comes first.
    with pytest.raises((ValueError, TypeCheckError), match="finished"):
        run.write_status(status="finished")
    with pytest.raises(TypeError, match="object"):
        run.write_status(extra=object())
    assert run.run_json.read_bytes() == before


@pytest.mark.parametrize("text", ['{"step": NaN}', '{"step":', "[1]"])
def test_what_is_not_strict_is_refused_on_reading(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ValueError, match=r"run\.json"):
        read_run(tmp_path)


def test_a_folder_without_a_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no run at .*run.json$"):
        read_run(tmp_path)


@pytest.mark.parametrize("below", ["run", "sweep/run"])
def test_a_folder_of_runs_is_no_run_and_says_how_to_list_them(tmp_path: Path, below: str) -> None:
    (tmp_path / below).mkdir(parents=True)
    (tmp_path / below / "run.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=rf"wganbench ls {tmp_path} lists those below$"):
        read_run(tmp_path)


def test_an_exception_on_the_way_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with pytest.raises(KeyError), replacing(path) as file:
        file.write(b"half")
        raise KeyError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_kill_on_the_way_leaves_the_old_content(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.lock() as held:
        held.write_status(status="running", step=1)
    code = (
        "import os, signal, sys; from wganbench import files; from wganbench.runs import folder;"
        "files.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL);"
        "folder.RunFolder(sys.argv[1]).lock().write_status(step=2)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert read_run(tmp_path)["step"] == 1
    leftovers = [path for path in tmp_path.iterdir() if path.name.startswith(TEMPORARY)]
    assert len(leftovers) == 1
    with run.lock():
        assert not leftovers[0].exists()
        assert read_run(tmp_path)["step"] == 1


def test_new_files_are_readable_as_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_atomic(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


def test_an_unwritable_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    run = RunFolder(tmp_path / "file" / "run")
    for act in (run.lock, run.create):
        with pytest.raises(OSError, match=r"cannot write .*run: Not a directory"):
            act()


def test_the_lock_refuses_another_process_and_names_it(tmp_path: Path) -> None:
    holder = start_holder(tmp_path)
    try:
        with pytest.raises(RunBusy, match=f"process {holder.pid}") as caught:
            RunFolder(tmp_path).lock()
        assert caught.value.pid == holder.pid
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        RunFolder(tmp_path).lock().release()
    finally:
        holder.kill()
        holder.communicate()


def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    fork = "import os\nif not os.fork(): print(os.getpid(), flush=True)"
    holder = start_holder(tmp_path, fork)
    assert holder.stdout is not None
    child = int(holder.stdout.readline())
    try:
        holder.kill()
        holder.wait()
        os.kill(child, 0)
        RunFolder(tmp_path).lock().release()
    finally:
        os.kill(child, signal.SIGKILL)
        holder.communicate()


def test_the_lock_is_free_after_the_block_and_not_before(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with run.lock() as lock:
        with pytest.raises(RunBusy, match=str(os.getpid())):
            run.lock()
        lock.write_status(status="running")
    lock.release()
    with pytest.raises(RuntimeError, match="does not hold it"):
        lock.write_status(status="completed")
    with pytest.raises(RuntimeError, match="does not hold it"):
        lock.empty()
    assert run.read()["status"] == "running"
    with run.lock():
        pass


def test_a_lock_that_nobody_holds_a_reference_to_stays(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.lock()
    with pytest.raises(RunBusy):
        run.lock()


def test_versions_name_what_numbers_depend_on() -> None:
    found = versions()
    assert set(found) == {"wganbench", "python", "torch", "hydra-core", "numpy"}
    assert found["numpy"] == np.__version__
