"""Files that may be a stranger's: nothing is followed, nothing hangs, sizes have bounds; and ours:
whole or not there, of one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import math
import os
import subprocess
import threading
from pathlib import Path

import pytest

from wganbench.errors import (
    LONGEST_MESSAGE,
    ConfigError,
    first_line,
    note_of,
    printable,
    reason_of,
    shortened,
)
from wganbench.files import (
    DEEPEST,
    LARGEST_INTEGER,
    RunBusy,
    RunLock,
    UnusableFile,
    from_here,
    holder_of,
    inside,
    open_own,
    open_regular,
    read_json,
    read_regular,
    replacing,
    replacing_folder,
    tell_ending,
    wait_for_lock,
    wait_until_free,
    write_atomic,
    write_json,
)
from wganbench.leftovers import LEFTOVER, TEMPORARY, machine, remove_leftovers


# Names.
def test_a_plain_name_lies_inside(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    assert inside(tmp_path, "run.json") == tmp_path / "run.json"
    assert inside(tmp_path, "frames/000000001.png") == tmp_path / "frames" / "000000001.png"


@pytest.mark.parametrize("name", ["", "..", "../x", "a/../../x", "/etc/passwd", "a\0b", ".", "//x"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnusableFile, match="does not name a file inside"):
        inside(tmp_path, name)


def test_links_below_the_folder_are_refused_and_the_way_to_it_is_not(tmp_path: Path) -> None:
    real, way = tmp_path / "real", tmp_path / "way"
    real.mkdir()
    way.symlink_to(real)
    (real / "out").symlink_to(tmp_path)
    (real / "gone").symlink_to(tmp_path / "nothing")
    assert inside(way, "run.json") == way / "run.json"
    for name in ("out", "out/x", "gone"):
        with pytest.raises(UnusableFile, match="is a link"):
            inside(way, name)


def test_a_path_is_told_from_a_folder_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "outputs" / "run"
    assert from_here(run, tmp_path) == Path("outputs/run")
    assert from_here(run, tmp_path / "elsewhere") == run
    monkeypatch.chdir(tmp_path)
    assert from_here(run) == Path("outputs/run")
    assert from_here(tmp_path.parent) == tmp_path.parent


# Reading.
def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    file, link, fifo = tmp_path / "file", tmp_path / "link", tmp_path / "fifo"
    file.write_bytes(b"12345")
    link.symlink_to(file)
    os.mkfifo(fifo)
    assert read_regular(file) == b"12345"
    with open_regular(link, follow=True) as opened:
        assert opened.read() == b"12345"
    with pytest.raises(UnusableFile, match="is a link"):
        open_regular(link)
    for path in (fifo, tmp_path, Path("/dev/zero")):
        with pytest.raises(UnusableFile, match="not a regular file"):
            open_regular(path, follow=True)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


def test_a_file_is_read_up_to_its_bound_and_not_beyond(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    assert read_regular(file, 5) == b"12345"
    with pytest.raises(UnusableFile, match="larger than the 4 bytes"):
        read_regular(file, 4)


# Writing.
def test_locks_are_not_written_through_links(tmp_path: Path) -> None:
    victim = tmp_path / "diary.txt"
    victim.write_text("dear diary")
    for target in (victim, tmp_path / "new"):
        lock = tmp_path / ".lock"
        lock.symlink_to(target)
        with pytest.raises(UnusableFile, match="is a link"):
            RunLock(lock)
        lock.unlink()
    assert victim.read_text() == "dear diary" and not (tmp_path / "new").exists()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(UnusableFile, match="not a regular file"):
        open_own(tmp_path / "fifo", os.O_RDWR)


def written_by(pid: int, where: str = machine()) -> str:
    return f"{TEMPORARY}{pid:08x}{where}{'0' * 16}"


def test_temporary_files_go_with_their_writer_and_no_others(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    dead, alive = written_by(process.pid), written_by(os.getpid())
    elsewhere, old = written_by(process.pid, "00000000"), written_by(os.getpid(), "00000001")
    users = [".tmp-notes", f".tmp-{'g' * 32}", f"{dead}.txt", "x.tmp"]
    for name in (dead, alive, elsewhere, old, *users):
        (tmp_path / name).write_text("")
    os.utime(tmp_path / old, (0, 0))
    link = tmp_path / f"{dead[:-1]}1"
    link.symlink_to(tmp_path / "x.tmp")
    write_atomic(tmp_path / "file", b"")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {alive, elsewhere, link.name, *users, "file"}


def test_a_file_is_written_under_a_name_that_tells_its_writer(tmp_path: Path) -> None:
    with replacing(tmp_path / "file") as file:
        found = LEFTOVER.fullmatch(Path(file.name).name)
        assert found and int(found[1], 16) == os.getpid()
        remove_leftovers(tmp_path)
        assert Path(file.name).exists()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_error_that_only_hides_the_files_names_it_and_another_stays(tmp_path: Path) -> None:
    """torch.save raises its own where it meets that of the file."""
    path = tmp_path / "out"
    with pytest.raises(OSError, match=f"cannot write {path}: No space left"), replacing(path):
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            raise RuntimeError("unexpected pos 704 vs 598")
    with pytest.raises(RuntimeError, match="of another kind"), replacing(path):
        raise RuntimeError("of another kind")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_pictures_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    left = tmp_path / written_by(process.pid)
    left.mkdir()
    (left / "0.png").write_text("")
    (tmp_path / "out").mkdir()
    with pytest.raises(KeyError), replacing_folder(tmp_path / "out") as made:
        (made / "0.png").write_text("half")
        raise KeyError
    assert [p.name for p in tmp_path.iterdir()] == ["out"] and not any((tmp_path / "out").iterdir())
    with replacing_folder(tmp_path / "out") as made:
        (made / "0.png").write_text("whole")
    assert (tmp_path / "out" / "0.png").read_text() == "whole"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


# Locks.
def test_who_looks_whether_a_lock_is_free_takes_and_makes_nothing(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    assert holder_of(path) is None and not path.exists()
    with RunLock(path) as lock:
        busy = holder_of(path)
        assert busy is not None and busy.pid == os.getpid() and not busy.ending
        tell_ending()
        busy = holder_of(path)
        assert busy is not None and busy.pid == os.getpid() and busy.ending
        assert lock.held
    assert holder_of(path) is None and not lock.held
    with RunLock(path):
        next_one = holder_of(path)
        assert next_one is not None and not next_one.ending


def test_a_lock_is_not_refused_for_a_moments_look(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.touch()
    with path.open() as looks:
        fcntl.flock(looks, fcntl.LOCK_SH)
        threading.Timer(0.02, fcntl.flock, (looks, fcntl.LOCK_UN)).start()
        RunLock(path).release()


def test_a_lock_whose_file_was_removed_meanwhile_is_taken_on_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock = tmp_path / ".lock", fcntl.flock

    def removed_first(descriptor: int, flags: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        path.unlink()  # by its holder, which then releases it
        flock(descriptor, flags)

    monkeypatch.setattr(fcntl, "flock", removed_first)
    with RunLock(path):
        with pytest.raises(RunBusy):
            RunLock(path)
        assert path.read_bytes().startswith(str(os.getpid()).encode())
    RunLock(path).release()


def test_a_wait_for_a_lock_ends_when_it_is_free_or_patience_ends(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    assert wait_until_free(path, 0.0) and not path.exists()
    with RunLock(path):
        assert not wait_until_free(path, 0.05)
    lock = RunLock(path)
    threading.Timer(0.05, lock.release).start()
    assert wait_until_free(path, 30.0)
    with RunLock(path) as again:
        assert again.held, "who waited holds nothing"


# Records.
def nested(depth: int) -> str:
    return '{"a":' * depth + "1" + "}" * depth


def test_records_hold_bounded_numbers_and_depth(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    for text in (nested(DEEPEST), f'{{"a": {LARGEST_INTEGER}, "b": -{LARGEST_INTEGER}}}'):
        file.write_text(text)
        assert read_json(file) == json.loads(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (nested(DEEPEST + 1), "nested too deeply"),
        ("[" * 200_000, "nested too deeply"),
        (f'{{"a": {LARGEST_INTEGER + 1}}}', "of 19 digits is out of range"),
        ('{"a": -' + "9" * 400 + "}", "of 400 digits is out of range"),
        ('{"a": ' + "9" * 5000 + "}", "of 5000 digits is out of range"),
        ('{"a": NaN}', "NaN is not JSON"),
        ("[1]", "expected an object"),
        ('{"a"', "not strict JSON"),
        ("\xff", "not strict JSON"),
    ],
    ids=range(9),
)
def test_what_is_no_record_is_told_in_a_line(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(UnusableFile, match=reason) as told:
        read_json(file)
    assert str(file) in str(told.value) and len(str(told.value)) < 300


# Text.
def test_messages_hold_nothing_that_a_terminal_obeys_and_have_a_length() -> None:
    message = str(ConfigError("a\x1b[31m\u202eb\x00" + "x" * 100_000))
    assert message.isprintable() and message.startswith("a?[31m?b?xxx")
    assert len(message) == LONGEST_MESSAGE
    assert str(ConfigError("größe   日本\n one line")) == "größe 日本 one line"
    assert shortened("x" * 20, 20) == "x" * 20 and len(shortened("x" * 21, 20)) == 20
    assert printable("line\nbreak") == "line?break"
    several, none = RuntimeError("\n first  line\nsecond "), RuntimeError(" \n")
    assert [first_line(several), reason_of(several)] == ["first  line", "first line second"]
    assert first_line(none) == reason_of(none) == "RuntimeError"
    assert note_of(ValueError("a\n b\x1b")) == "ValueError: a b?"
    assert len(note_of(ValueError("x" * 300))) == 200 < len(str(ConfigError("x" * 300)))


def test_a_lock_is_waited_for_and_records_are_strict(tmp_path: Path) -> None:
    held = RunLock(tmp_path / ".lock")
    with pytest.raises(RunBusy):
        wait_for_lock(tmp_path / ".lock", patience=0.0)
    threading.Timer(0.3, held.release).start()
    with wait_for_lock(tmp_path / ".lock") as lock:
        assert lock.held
    write_json(tmp_path / "a.json", {"x": math.nan, "y": (1, math.inf)})
    assert read_json(tmp_path / "a.json") == {"x": None, "y": [1, None]}
    with pytest.raises(TypeError, match="JSON cannot hold a object"):
        write_json(tmp_path / "a.json", {"x": object()})
    assert read_json(tmp_path / "a.json")["y"] == [1, None]
