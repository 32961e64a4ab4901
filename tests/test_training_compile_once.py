"""Programs that several processes need: each compiled by one of them, the others go on."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from training_configs import CPU, alike, same, trained

from wganbench.training import compiling
from wganbench.training.compiling import compile_once
from wganbench.training.stack import Stack

LONG = 30.0
NAMES = ("critic", "generator")
HOLDER = """
import os, sys
from pathlib import Path
from wganbench.training.compiling import compile_once

def hold():
    print("held", flush=True)
    sys.stdin.readline()

compile_once({"critic": hold}, "key", Path(sys.argv[1]))
"""


def noted(calls: list[str]) -> dict[str, Callable[[], object]]:
    return {name: lambda name=name: calls.append(name) for name in NAMES}


@contextmanager
def another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that compiles the critic until it reads a line, or dies."""
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_alone_programs_are_called_once_and_in_order(tmp_path: Path) -> None:
    calls: list[str] = []
    for _ in range(2):
        compile_once(noted(calls), "key", tmp_path)
    assert calls == [*NAMES, *NAMES]


def test_what_another_process_is_at_comes_last_and_after_it(tmp_path: Path) -> None:
    calls: list[str] = []
    with another_process(tmp_path) as process, ThreadPoolExecutor() as pool:
        ours = pool.submit(compile_once, noted(calls), "key", tmp_path)
        compile_once(noted(others := []), "another key", tmp_path)
        assert others == [*NAMES], "other programs wait for nobody"
        with pytest.raises(TimeoutError):
            ours.result(timeout=1)
        assert calls == ["generator"]
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
        ours.result(timeout=LONG)
    assert calls == ["generator", "critic"]


def test_a_process_that_is_killed_gives_its_lock_up(tmp_path: Path) -> None:
    calls: list[str] = []
    with another_process(tmp_path) as process, ThreadPoolExecutor() as pool:
        ours = pool.submit(compile_once, noted(calls), "key", tmp_path)
        process.kill()
        ours.result(timeout=LONG)
    assert sorted(calls) == sorted(NAMES)


def test_those_who_waited_do_not_wait_for_each_other(tmp_path: Path) -> None:
    together = threading.Barrier(3)  # as many as wait: each is only passed once all are there
    found_it_taken = [threading.Event() for _ in range(3)]
    with another_process(tmp_path) as process, ThreadPoolExecutor() as pool:
        all_ours = [
            pool.submit(
                compile_once,
                {"critic": lambda: together.wait(LONG), f"its own {i}": found.set},
                "key",
                tmp_path,
            )
            for i, found in enumerate(found_it_taken)
        ]
        assert all(found.wait(LONG) for found in found_it_taken)
        process.kill()
        for ours in all_ours:
            ours.result(timeout=LONG)


def test_patience_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "PATIENCE_SECONDS", 0.2)
    calls: list[str] = []
    with another_process(tmp_path):
        compile_once(noted(calls), "key", tmp_path)
    assert calls == ["generator", "critic"]


def test_without_locks_programs_are_called_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    calls: list[str] = []
    compile_once(noted(calls), "key", tmp_path / "file")
    assert calls == [*NAMES]


def test_a_program_that_fails_gives_its_lock_up(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        compile_once({"critic": lambda: 1 / 0}, "key", tmp_path)
    calls: list[str] = []
    compile_once(noted(calls), "key", tmp_path)
    assert calls == [*NAMES]


@pytest.mark.usefixtures("left_to_torch")
@pytest.mark.filterwarnings("ignore:no C.. compiler found")
def test_compiling_early_leaves_training_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiling, "lacking", lambda _: "no C++ compiler found")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    stack = Stack(alike("gp", 2, compile="true"), CPU)
    calls: list[str] = []
    for name in NAMES:
        program = getattr(stack.execution, name)

        def told(*arguments: object, name: str = name, program: Callable = program) -> object:
            calls.append(name)
            return program(*arguments)

        monkeypatch.setattr(stack.execution, name, told)
    for step in range(3):
        stack.compile()
        assert calls == [*NAMES], step
        stack.iterate()
        calls.clear()
    eager = Stack(alike("gp", 2, compile="false"), CPU)
    eager.compile()
    for _ in range(3):
        eager.iterate()
    assert all(same(stack.run_states()[r], eager.run_states()[r]) for r in range(2))
    assert stack.scalars() == eager.scalars()
    assert same(eager.run_states()[0], trained(alike("gp", 2), 3).run_states()[0])
