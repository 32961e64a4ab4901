"""Native code: built once, found again, never anybody else's, and refused in one line."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from wganbench import nativecode
from wganbench.nativecode import NoCompiler, build, find_compiler

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C++ compiler here")

ANSWER = 'extern "C" int answer() { return %s; }\n'

IN_ANOTHER_PROCESS = """
import sys
from pathlib import Path
from wganbench.nativecode import build
print(build([Path(sys.argv[1])]).answer())
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(nativecode, "_built", {})
    return tmp_path / "cache" / "wganbench" / "native"


@pytest.fixture
def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that notes each of its calls in the file given here, a line each."""
    compiler, calls = tmp_path / "compiler", tmp_path / "calls"
    compiler.write_text(f'#!/bin/sh\necho "$@" >> {calls}\nexec {find_compiler()} "$@"\n')
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(compiler))
    return calls


def source(folder: Path, value: str = "42") -> Path:
    file = folder / "answer.cpp"
    file.write_text(ANSWER % value)
    return file


def forget() -> None:
    nativecode._built.clear()


@needs_compiler
def test_it_is_compiled_once_and_again_for_other_content_flags_and_headers(
    tmp_path: Path, counted: Path, own_cache: Path
) -> None:
    file = source(tmp_path)
    assert build([file]).answer() == 42
    forget()
    assert build([file]).answer() == 42
    assert len(counted.read_text().splitlines()) == 1
    forget()
    assert build([source(tmp_path, "6 * 9")]).answer() == 54
    assert build([source(tmp_path, "FROM_FLAG")], ["-DFROM_FLAG=7"]).answer() == 7
    (tmp_path / "value.h").write_text("#define FROM_HEADER 8\n")
    forget()
    file.write_text('#include "value.h"\n' + ANSWER % "FROM_HEADER")
    assert build([file]).answer() == 8
    (tmp_path / "value.h").write_text("#define FROM_HEADER 9\n")
    forget()
    assert build([file]).answer() == 9
    assert len(counted.read_text().splitlines()) == 5
    assert len(list(own_cache.glob("*.so"))) == 5 and not list(own_cache.glob(".tmp-*"))


@needs_compiler
def test_processes_and_threads_that_build_at_once_compile_once(
    tmp_path: Path, counted: Path
) -> None:
    file = source(tmp_path)
    command = [sys.executable, "-c", IN_ANOTHER_PROCESS, str(file)]
    others = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(build([file]).answer())) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [other.communicate()[0] for other in others] == ["42\n", "42\n"] and found == [42, 42]
    assert len(counted.read_text().splitlines()) == 1


@needs_compiler
def test_two_sources_are_compiled_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, run = threading.Barrier(2), nativecode._compile

    def together(*words: Any) -> None:
        both.wait(60)  # fails unless the other compiler begins too
        run(*words)

    monkeypatch.setattr(nativecode, "_compile", together)
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    files = [source(folder, f"{50 + i}") for i, folder in enumerate(folders)]
    files = [file.rename(file.with_name(f"{file.parent.name}.cpp")) for file in files]
    found: dict[Path, int] = {}
    threads = [
        threading.Thread(target=lambda file=file: found.update({file: build([file]).answer()}))
        for file in files
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {files[0]: 50, files[1]: 51}


@needs_compiler
def test_a_file_that_cannot_be_loaded_is_made_anew(tmp_path: Path, own_cache: Path) -> None:
    file = source(tmp_path, "43")
    name = f"answer-{nativecode._identity((file,), (), str(find_compiler()))}.so"
    own_cache.mkdir(parents=True)
    (own_cache / name).write_bytes(b"no library")
    assert build([file]).answer() == 43


@needs_compiler
@pytest.mark.parametrize("cache", ["/proc/nowhere", "a file"])
def test_a_cache_that_cannot_be_written_gives_way_to_a_folder_of_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str
) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
    monkeypatch.setattr(nativecode.tempfile, "gettempdir", lambda: str(tmp_path))
    assert build([source(tmp_path, "44")]).answer() == 44
    own = tmp_path / f"wganbench-native-{os.getuid()}"
    assert stat.S_IMODE(own.stat().st_mode) == 0o700 and len(list(own.glob("*.so"))) == 1


@needs_compiler
@pytest.mark.parametrize("kind", ["link", "open to all"])
def test_a_temporary_folder_that_others_could_fill_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    monkeypatch.setattr(nativecode.tempfile, "gettempdir", lambda: str(tmp_path))
    theirs, planted = tmp_path / "theirs", tmp_path / f"wganbench-native-{os.getuid()}"
    theirs.mkdir()
    if kind == "link":
        planted.symlink_to(theirs)
    else:
        planted.mkdir()
        planted.chmod(0o777)
    assert build([source(tmp_path, "45")]).answer() == 45
    assert not list(theirs.iterdir()) and not list(planted.iterdir())


@needs_compiler
def test_what_the_compiler_refuses_is_told_in_one_line_and_not_tried_again(
    tmp_path: Path, counted: Path
) -> None:
    file = source(tmp_path, "not C++")
    for _ in range(2):
        with pytest.raises(NoCompiler, match="refused native code: .*error") as caught:
            build([file])
        assert "\n" not in str(caught.value)
    assert len(counted.read_text().splitlines()) == 2, "with and without -march=native, once"


@needs_compiler
def test_a_compiler_that_does_not_know_the_processor_builds_for_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "old"
    refuse = 'case "$*" in *-march=native*) echo "error: -march" >&2; exit 1;; esac'
    compiler.write_text(f'#!/bin/sh\n{refuse}\nexec {find_compiler()} "$@"\n')
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(compiler))
    assert build([source(tmp_path, "46")]).answer() == 46


def test_without_a_compiler_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(NoCompiler, match=r"no C\+\+ compiler was found: install g\+\+"):
        build([source(tmp_path)])
    with pytest.raises(NoCompiler, match="cannot be read"):
        monkeypatch.setenv("PATH", os.defpath)
        monkeypatch.setattr(nativecode, "find_compiler", lambda: sys.executable)
        build([tmp_path / "missing.cpp"])
