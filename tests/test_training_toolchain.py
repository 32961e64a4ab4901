"""The C++ compiler behind torch.compile: what is asked of it, and that it is ready early."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from wganbench.training import compiling
from wganbench.training.compiling import lacking, prepare_toolchain

CPU = torch.device("cpu")
needs_compiler = pytest.mark.skipif(lacking(CPU) is not None, reason="no C++ compiler here")

FOUND = """
import torch._inductor.compile_fx
from torch._inductor import config, cpu_vec_isa
from wganbench.training.compiling import _knows_vector_instructions

known = _knows_vector_instructions()
with config.patch({"cpp.vec_isa_ok": True}):
    claimed = cpu_vec_isa.pick_vec_isa()
cpu_vec_isa.valid_vec_isa_list.cache_clear()
print(known, str(claimed) == str(cpu_vec_isa.pick_vec_isa()))
"""

PREPARED = """
import glob, os, threading
from wganbench.training.compiling import prepare_toolchain

print(sorted(prepare_toolchain()), prepare_toolchain() is prepare_toolchain())
for thread in threading.enumerate():
    if thread.daemon:
        thread.join(100)
print(len(glob.glob(os.environ["TMPDIR"] + "/**/*.gch", recursive=True)))
"""

COMPILED = """
import glob, os, torch
from wganbench.training.compiling import prepare_toolchain

double = torch.compile(lambda x: x.sin() @ x * 2, options=prepare_toolchain())
x = torch.arange(4096.0).reshape(64, 64)
same = torch.allclose(double(x), x.sin() @ x * 2)
print(len(glob.glob(os.environ["TMPDIR"] + "/**/*.gch", recursive=True)), same)
"""


def output(program: str, tmp_path: Path, **environment: str) -> list[str]:
    """What a program prints in a process with caches of its own."""
    own = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "compiled"), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=os.environ | own | environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split()


@needs_compiler
@pytest.mark.thorough
def test_the_flags_tell_what_torch_finds_out_by_building(tmp_path: Path) -> None:
    known, same = output(FOUND, tmp_path)
    assert known == "False" or same == "True"


@needs_compiler
@pytest.mark.thorough
def test_programs_are_compiled_without_openssl(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("c++", "g++", "gcc", "as", "ld", "clang++", "sh"):
        if path := shutil.which(name):
            (programs / name).symlink_to(path)
    assert output(COMPILED, tmp_path, PATH=str(programs)) == ["0", "True"]


@needs_compiler
@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("openssl") is None, reason="headers are not compiled here")
def test_the_header_of_all_programs_is_compiled_before_there_is_one(tmp_path: Path) -> None:
    *_, once, headers = output(PREPARED, tmp_path)
    assert once == "True" and headers == "1"
    assert output(COMPILED, tmp_path) == ["1", "True"], "it is the one that they include"


@pytest.mark.parametrize("answer", [0, 1])
def test_a_compiler_that_refuses_a_flag_is_left_to_torch(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: int
) -> None:
    from torch._inductor import config, cpp_builder, cpu_vec_isa

    compiler = tmp_path / "c++"
    compiler.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\nexit {answer}\n')
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", lambda: str(compiler))
    monkeypatch.setattr(cpu_vec_isa, "x86_isa_checker", lambda: ["avx2", "avx512"])
    with config.patch({"cpp.vec_isa_ok": None}):
        assert compiling._knows_vector_instructions() is (answer == 0)
        asked = (tmp_path / "asked").read_text().split()
        assert "-mavx2" in asked and "-mavx512f" in asked and "-mamx-tile" not in asked
        # A processor without such extensions, and what the environment says, are not overruled.
        monkeypatch.setattr(cpu_vec_isa, "x86_isa_checker", list)
        assert not compiling._knows_vector_instructions()
        monkeypatch.setattr(cpu_vec_isa, "x86_isa_checker", lambda: ["avx2", "avx512"])
    with config.patch({"cpp.vec_isa_ok": False}):
        assert not compiling._knows_vector_instructions()


def test_a_torch_that_works_otherwise_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> bool:
        raise AttributeError("no such thing in this torch")

    monkeypatch.setattr(compiling, "_knows_vector_instructions", gone)
    prepare_toolchain.cache_clear()
    assert prepare_toolchain() == {}
    prepare_toolchain.cache_clear()


@pytest.mark.parametrize(
    ("capability", "names", "missing"),
    [
        ((9, 0), ["gcc"], None),
        ((7, 0), ["clang"], None),
        ((9, 0), ["g++"], "no C compiler found"),
        ((6, 1), ["gcc"], "this GPU is too old for Triton"),
    ],
)
def test_on_a_gpu_triton_needs_a_c_compiler_too(
    capability: tuple[int, int],
    names: list[str],
    missing: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in names:
        (tmp_path / name).write_text("#!/bin/sh")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    device = torch.device("cuda")
    assert lacking(device) == missing
    assert (lacking(CPU) is None) is ("g++" in names)
    monkeypatch.setenv("CC", str(tmp_path / names[0]))
    assert (lacking(device) is None) is (capability[0] >= 7), "the user's own word"
