"""The cache of floors: it saves time and never costs a run."""

from __future__ import annotations

import json
import math
import os

import pytest
import torch

from wganbench.metrics import Floor, cached_floor, transport_floor
from wganbench.metrics import cache as floors


class Normal:
    """A target that counts how often it is drawn from."""

    def __init__(self):
        self.draws = 0

    def sample(self, n, generator):
        self.draws += 1
        return torch.randn(n, 2, generator=generator)

    held_out = sample


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "wganbench" / "floors.json"


def draws(key="normal", n=5, pairs=2):
    """How many draws a call needed, and what it returned."""
    target = Normal()
    floor = cached_floor(key, target, n, pairs)
    assert floor == transport_floor(Normal(), n, pairs, floors.FLOOR_SEED)
    return target.draws


def test_the_second_call_reads(cache):
    assert draws() == 4
    assert draws() == 0
    written = [file for file in cache.parent.iterdir() if file.is_file()]  # C++ has a folder
    assert written == [cache]


@pytest.mark.parametrize("other", [{"key": "normal2"}, {"n": 6}, {"pairs": 3}])
def test_anything_else_is_another_floor(other):
    assert draws() == 4
    assert draws(**other) > 0
    assert draws() == draws(**other) == 0


def test_a_new_version_forgets(monkeypatch):
    assert draws() == 4
    monkeypatch.setattr(floors, "FLOOR_VERSION", floors.FLOOR_VERSION + 1)
    assert draws() == 4


@pytest.mark.parametrize("text", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_corrupt_cache_is_computed_anew_and_mended(cache, text):
    cache.parent.mkdir(parents=True)
    cache.write_bytes(text)
    assert draws() == 4
    assert draws() == 0


@pytest.mark.parametrize(
    "entry",
    [
        None,
        3,
        {},
        {"mean": "x", "sd": 0, "pairs": 2, "n": 5},
        {"mean": float("nan"), "sd": 0.1, "pairs": 2, "n": 5},
        {"mean": -1.0, "sd": 0.1, "pairs": 2, "n": 5},
        {"mean": 1.0, "sd": 0.1, "pairs": 2, "n": 7},
        {"mean": 1.0, "sd": 0.1, "pairs": 2, "n": 5},  # of a version that had W1 alone
        {
            "mean": 1.0,
            "sd": 0.1,
            "pairs": 2,
            "n": 5,
            "symmetric": {"mean": 0.0, "sd": 0.1},
            "energy": {"mean": math.inf, "sd": 0.1},
        },
    ],
)
def test_an_entry_that_makes_no_sense_is_computed_anew(cache, entry):
    draws()
    (key,) = json.loads(cache.read_text())
    cache.write_text(json.dumps({key: entry}))
    assert draws() == 4
    assert draws() == 0


def test_other_entries_are_kept(cache):
    draws("a")
    draws("b")
    assert len(json.loads(cache.read_text())) == 2


def test_a_cache_that_cannot_be_written_is_ignored(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert draws() == draws() == 4


def test_a_write_that_fails_leaves_nothing_behind(cache, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full)
    assert draws() == draws() == 4
    assert list(cache.parent.iterdir()) == []


@pytest.mark.parametrize("configured", [None, "", "relative/path"])
def test_without_an_absolute_cache_home_it_is_the_users_own(tmp_path, monkeypatch, configured):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    if configured is None:
        monkeypatch.delenv("XDG_CACHE_HOME")
    else:
        monkeypatch.setenv("XDG_CACHE_HOME", configured)
    assert draws() == 4
    assert (tmp_path / ".cache" / "wganbench" / "floors.json").is_file()


def test_without_a_home_there_is_no_cache(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(floors.Path, "home", homeless)
    assert draws() == draws() == 4


def test_a_floor_survives_the_disk_bit_for_bit():
    first = cached_floor("k", Normal(), 5, 2)
    assert isinstance(first, Floor)
    assert cached_floor("k", Normal(), 5, 2) == first
