"""A small campaign of generated command lines, and what its script calls wrong."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from wganbench.training import runs

SCRIPT = Path(__file__).parent.parent / "scripts" / "fuzz_lines.py"


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_lines", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz_lines"] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.usefixtures("without_shape_checks")
def test_generated_lines_end_in_good_order(
    fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "argv", ["wganbench"])
    monkeypatch.setattr(runs, "train_run", runs.train_run)  # the gate is taken away afterwards
    fuzz.train_what_is_small()
    outcomes = [fuzz.Outcome(line, *fuzz.run_line(line), 0.0) for line in fuzz.make_lines(150, 7)]
    wrong = [(outcome.faults, json.dumps(outcome.line)) for outcome in outcomes if outcome.faults]
    assert wrong == []
    codes = {outcome.code for outcome in outcomes}
    assert {0, 2} <= codes, "some lines are right and some are refused"


def test_what_is_wrong_is_seen(fuzz: ModuleType) -> None:
    def faults(code: int | None, out: str = "", err: str = "") -> list[str]:
        found: list[str] = fuzz.Outcome(["train"], code, out, err, 1.0).faults
        return found

    assert faults(0, "fine\n\tas well", "a" * 500) == []
    assert faults(None) == ["hang"] and faults(1) == ["code 1"]
    assert faults(3, err="Traceback (most recent call last)") == ["traceback"]
    assert faults(2, err="a" * 501) == ["long line"]
    for mark in ("\x1b", "\u202e", "\x00", "\udce9"):
        assert faults(2, err=mark) == ["control character"]


def test_the_same_seed_gives_the_same_lines(fuzz: ModuleType) -> None:
    assert fuzz.make_lines(200, 3) == fuzz.make_lines(200, 3) != fuzz.make_lines(200, 4)
