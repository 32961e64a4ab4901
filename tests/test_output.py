"""What shows does not decide what is done: streams that fail, views that raise."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_architecture import FILES, tree
from test_cli import Trained, here, trained  # noqa: F401
from training_configs import tiny

from wganbench.cli.app import main
from wganbench.cli.console import PlainConsole
from wganbench.output import Stream, guarded, unbreakable
from wganbench.training.runs import train_run


class Failing(io.StringIO):
    """A stream on a full disk, or that nobody reads."""

    def __init__(self, number: int, at: str = "write") -> None:
        super().__init__()
        self.number, self.at = number, at

    def write(self, text: str) -> int:
        if self.at == "write":
            raise OSError(self.number, os.strerror(self.number))
        return super().write(text)

    def flush(self) -> None:
        if self.at == "flush":
            raise OSError(self.number, os.strerror(self.number))


NO_SPACE, BROKEN_PIPE = 28, 32
FAILURES = [(NO_SPACE, "write"), (NO_SPACE, "flush"), (BROKEN_PIPE, "write"),
            (BROKEN_PIPE, "flush")]  # fmt: skip


# Streams.
@pytest.mark.parametrize(("number", "at"), FAILURES)
def test_a_stream_never_fails_its_writer(number: int, at: str) -> None:
    stream = Stream(Failing(number, at))
    for _ in range(3):
        print("word", file=stream, flush=True)  # type: ignore[arg-type]
    assert isinstance(stream.failure, OSError) and stream.failure.errno == number


def test_after_a_failure_the_descriptor_leads_nowhere() -> None:
    read, write = os.pipe()
    with os.fdopen(write, "w") as file:
        stream = Stream(file)
        stream.write("first")
        os.close(read)
        stream.flush()
        assert isinstance(stream.failure, BrokenPipeError)
        # What a compiler of ours would print, and what Python flushes at its end.
        assert os.write(write, b"more") == 4
        file.flush()


def test_characters_that_the_encoding_lacks_are_written_with_backslashes() -> None:
    raw = io.BytesIO()
    stream = Stream(io.TextIOWrapper(raw, encoding="ascii"))
    stream.write("gr\xf6\xdfe \udce9")
    stream.flush()
    assert raw.getvalue() == b"gr\\xf6\\xdfe \\udce9" and stream.failure is None


def test_streams_that_are_whole_are_left_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with unbreakable() as output:
        print("out")
        print("err", file=sys.stderr)
    assert (sys.stdout, sys.stderr) == before and output.lost is None
    assert capsys.readouterr() == ("out\n", "err\n")


def test_no_stream_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with unbreakable() as output:
        print("out")
        print("err", file=sys.stderr)
    assert output.lost is None and sys.stdout is None


# Commands.
@pytest.mark.parametrize(("number", "at"), FAILURES)
@pytest.mark.parametrize("words", [["list", "losses"], ["--help"], ["--version"]])
def test_a_command_whose_result_is_its_output(
    words: list[str],
    number: int,
    at: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdout", Failing(number, at))
    code, told = main(words), capsys.readouterr().err
    if number == BROKEN_PIPE:
        assert (code, told) == (0, "")
    else:
        reason = "wganbench: the output could not be written: No space left on device\n"
        assert (code, told) == (3, reason)


@pytest.mark.parametrize(("number", "at"), FAILURES)
@pytest.mark.parametrize(("status", "code"), [("diverged", 3)])
def test_a_run_goes_on_unseen(
    status: str,
    code: int,
    number: int,
    at: str,
    trained: Trained,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained.status = status
    monkeypatch.setattr(sys, "stdout", Failing(number, at))
    assert main(["train"]) == code and len(trained.configs) == 1
    assert capsys.readouterr().err == ""


def test_an_error_that_cannot_be_told_keeps_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Failing(NO_SPACE))
    assert main(["train", "los=gp"]) == 2


def test_a_process_whose_reader_has_left_ends_without_a_word(tmp_path: Path) -> None:
    # Closed, full and broken at once: what Python itself would print at its end counts too.
    program = f"{sys.executable} -m wganbench list"
    script = f"{program} | head -n 1; echo ${{PIPESTATUS[0]}}; {program} >&-; echo $?; "
    script += f"{program} >/dev/full; echo $?"
    told = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path)
    assert told.stdout.splitlines() == ["losses", "0", "0", "3"]
    assert told.stderr.splitlines() == [
        "wganbench: the output could not be written: No space left on device"
    ]


# Views.
class Broken:
    """A view that fails at everything it is asked to show."""

    def __init__(self, error: BaseException) -> None:
        self.error, self.asked = error, list[str]()

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any) -> None:
            self.asked.append(name)
            raise self.error

        return fail


@pytest.mark.parametrize("error", [TypeError("bad [/markup]\x1b"), SystemExit(1), OSError(5, "x")])
def test_a_view_that_fails_ends_no_run(
    error: BaseException, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    view = Broken(error)
    outcome = train_run(tiny("gp", **{"train.steps": 2}), tmp_path, view)
    assert outcome.status == "completed" and outcome.verdict
    assert {"start", "progress", "stop"} <= set(view.asked)
    (told,) = capsys.readouterr().err.splitlines()
    assert type(error).__name__ in told and "training continues" in told and "\x1b" not in told


def test_ctrl_c_goes_through_a_guarded_view() -> None:
    with pytest.raises(KeyboardInterrupt):
        guarded(Broken(KeyboardInterrupt())).say("a line")


def test_a_console_shows_text_as_it_is_and_does_not_end_the_process() -> None:
    shown = io.StringIO()
    PlainConsole(file=shown, width=80).print("m[/x] [red]a :smile: 'b' 12")
    assert shown.getvalue() == "m[/x] [red]a :smile: 'b' 12\n"
    console = PlainConsole(file=Failing(BROKEN_PIPE))
    console.print("one")
    console.print("two")


@pytest.mark.parametrize(("columns", "width"), [("0", 80), ("120", 120)])
def test_a_terminal_that_does_not_say_its_width_shows_what_is_printed(
    monkeypatch: pytest.MonkeyPatch, columns: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    console = PlainConsole(file=io.StringIO())
    assert console.width == width
    console.print("a line")
    assert console.file.getvalue() == "a line\n"  # type: ignore[attr-defined]


def test_there_is_one_console() -> None:
    made = {
        file
        for file in FILES
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Console"
    }
    assert not made, "wganbench.cli.console.PlainConsole is the one that cannot fail its caller"
