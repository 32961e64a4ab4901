"""`wganbench new`: what it writes trains and passes its own test."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from test_plugin_files import TINY

from wganbench.cli.app import main
from wganbench.cli.new import KINDS, filled
from wganbench.files import write_atomic

CHOICE = {"metric": "loss=gp"}


@pytest.mark.parametrize("kind", KINDS)
def test_files_are_named_after_it_and_nothing_is_overwritten(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", kind, "mine", "--into", str(tmp_path)]) == 0
    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert written == set(filled(kind, "mine")) >= {"mine.py", "test_mine.py"}
    for path in written:
        text = (tmp_path / path).read_text()
        assert "NAME" not in text and "===" not in text and text.endswith("\n")
    (tmp_path / "mine.py").write_text("changed")
    assert main(["new", kind, "mine", "--into", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "mine.py").read_text() == "changed"


@pytest.mark.parametrize("words", [["song", "mine"], ["loss", "My Loss"], ["loss", "class"]])
def test_what_cannot_be_is_refused_in_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *words, "--into", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_a_full_disk_leaves_no_file_that_the_next_try_finds(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    room_for: Callable[[int], AbstractContextManager[None]],
) -> None:
    words = ["new", "loss", "mine", "--into", str(tmp_path)]

    def write(path: Path, content: bytes) -> None:
        with room_for(0 if path.name == "test_mine.py" else 10_000):
            write_atomic(path, content)

    with room_for(0):
        assert main(words) == 2
    with monkeypatch.context() as patch:
        patch.setattr("wganbench.cli.new.write_atomic", write)
        assert main(words) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert "--into: cannot write" in first and "mine.py: File too large" in first
    assert "test_mine.py: File too large" in second
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert main(words) == 0


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["loss", "gp"], "there is a loss gp already"),
        (["data", "ring8"], "there is a data ring8 already"),
        (["network", "mlp"], "there is a network mlp already"),
        (["metric", "modes"], "there is a metric modes already"),
        (["loss", "torch"], "would hide the installed module torch"),
        (["data", "random"], "would hide the installed module random"),
        (["loss", "class"], "no word of Python's"),
        (["loss", "a" * 42], "up to 41 small letters"),
    ],
)
def test_a_name_that_is_taken_is_refused(
    words: list[str], why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", *words, "--into", str(tmp_path)]) == 2
    assert why in capsys.readouterr().err and not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_what_it_writes_trains_and_passes_its_test(kind: str, tmp_path: Path) -> None:
    assert main(["new", kind, "mine", "--into", str(tmp_path)]) == 0
    words = [CHOICE.get(kind, f"{kind}=mine"), "plugins=mine.py", *TINY]
    if kind == "network":
        words.remove("network.width=8")
    for command in (
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"],
        ["-m", "wganbench", "train", *words],
    ):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, env=os.environ
        )
        assert done.returncode == 0, done.stdout + done.stderr
