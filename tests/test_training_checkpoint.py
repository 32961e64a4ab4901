"""Checkpoints: exact, told when damaged, and never without one before."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from training_configs import alike, same, trained

from wganbench.training import checkpoint as module
from wganbench.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    newest_checkpoint,
    previous,
    save_checkpoint,
)


def some(step: int = 7, seconds: float = 1.5) -> Checkpoint:
    """All kinds of tensors that a state may hold; marked by its step."""
    tensors = {
        "critic/weight": torch.arange(4096, dtype=torch.float32).reshape(64, 64) + step,
        "critic/bias": torch.tensor([0.1, float("nan"), float("inf"), -0.0]),
        "strided": torch.arange(12.0).reshape(3, 4).t(),
        "half": torch.tensor([1.0, 2.0], dtype=torch.bfloat16),
        "diverged_at": torch.tensor(-1),
        "empty": torch.zeros(0, 3),
    }
    return Checkpoint(step, seconds, tensors)


def flip(path: Path, marker: bytes) -> None:
    """Flip one bit of a tensor's bytes."""
    content = bytearray(path.read_bytes())
    at = content.find(marker)
    assert at > 0 and content.count(marker) == 1, "the tensor's bytes stand once in the file"
    content[at] ^= 1
    path.write_bytes(content)


def marker(checkpoint: Checkpoint) -> bytes:
    return checkpoint.tensors["critic/weight"].numpy().tobytes()[400:480]


def test_what_was_saved_comes_back_exactly(tmp_path: Path) -> None:
    path, saved = tmp_path / "checkpoint.pt", some(seconds=0.1 + 0.2)
    save_checkpoint(path, saved)
    loaded = load_checkpoint(path)
    assert (loaded.step, loaded.seconds) == (7, 0.1 + 0.2)
    assert same(loaded.tensors, saved.tensors)
    assert {k: p.shape for k, p in loaded.tensors.items()} == {
        k: p.shape for k, p in saved.tensors.items()
    }
    assert newest_checkpoint(path)[1] is None


def test_a_stack_goes_on_from_it_bit_for_bit(tmp_path: Path) -> None:
    configs = alike("gp", 2, **{"train.average_decay": 0.9, "train.optimizer": "rmsprop"})
    path, first = tmp_path / "checkpoint.pt", trained(configs, 2)
    save_checkpoint(path, Checkpoint(2, 0.0, first.run_states()[1]))
    # Into another place of another stack: alone.
    again = trained(configs[1:], 0)
    loaded = load_checkpoint(path)
    again.load_run_state(0, loaded.step, loaded.tensors)
    assert same(again.run_states()[0], first.run_states()[1])
    for stack in (first, again):
        stack.iterate()
        stack.iterate()
    assert same(again.run_states()[0], first.run_states()[1])


def test_it_loads_with_weights_only(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, Checkpoint(1, 2.0, trained(alike("clip", 2), 1).run_states()[0]))
    content = torch.load(path, weights_only=True)
    assert content["step"] == 1
    assert set(content) == {"format", "streams", "step", "seconds", "run", "tensors", "sha256"}


def test_a_flipped_bit_is_told_though_torch_loads_it(tmp_path: Path) -> None:
    path, checkpoint = tmp_path / "checkpoint.pt", some()
    save_checkpoint(path, checkpoint)
    flip(path, marker(checkpoint))
    with pytest.raises(CheckpointError, match="damaged.*checksum"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("step", 8), ("seconds", 99.0), ("run", "f00"), ("sha256", "0" * 64), ("tensors", {})],
)
def test_every_field_is_under_the_checksum(tmp_path: Path, field: str, value: Any) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, some())
    content = torch.load(path, weights_only=True)
    torch.save(content | {field: value}, path)
    with pytest.raises(CheckpointError, match="checksum"):
        load_checkpoint(path)
    torch.save(content, path)
    assert load_checkpoint(path).step == 7


def test_a_file_from_before_runs_were_named_is_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, some())
    content = torch.load(path, weights_only=True)
    del content["run"]
    torch.save(content, path)
    assert load_checkpoint(path).run == ""


def test_names_and_shapes_are_too(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, some())
    content = torch.load(path, weights_only=True)
    tensors = content["tensors"]
    reshaped = tensors | {"critic/weight": tensors["critic/weight"].reshape(32, 128)}
    renamed = {("other" if k == "half" else k): p for k, p in tensors.items()}
    retyped = tensors | {"half": tensors["half"].view(torch.float16)}
    for changed in (reshaped, renamed, retyped):
        torch.save(content | {"tensors": changed}, path)
        with pytest.raises(CheckpointError, match="checksum"):
            load_checkpoint(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_told(tmp_path: Path, share: float) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, some())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_another_format_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    monkeypatch.setattr(module, "FORMAT", 99)
    save_checkpoint(path, some())
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="format 99"):
        load_checkpoint(path)


def test_no_file_is_no_error_but_a_fresh_start(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "checkpoint.pt") == (None, None)
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "checkpoint.pt")


def test_the_one_before_is_kept_and_used(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    for step in (1, 2, 3):
        save_checkpoint(path, some(step))
    assert load_checkpoint(path).step == 3
    assert load_checkpoint(previous(path)).step == 2
    flip(path, marker(some(3)))
    found, note = newest_checkpoint(path)
    assert found is not None and found.step == 2
    assert note is not None and "step 2" in note and "checkpoint.pt is damaged" in note
    path.unlink()
    found, note = newest_checkpoint(path)
    assert found is not None and found.step == 2 and note is None


def test_with_both_damaged_the_message_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, some(1))
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="--overwrite"):
        newest_checkpoint(path)
    save_checkpoint(path, some(2))
    assert load_checkpoint(path).step == 2
    flip(path, marker(some(2)))
    with pytest.raises(CheckpointError, match="damaged.*no older checkpoint.*--overwrite"):
        newest_checkpoint(path)


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("point", ["torch.save", "os.link", "os.replace", "os.fsync"])
def test_wherever_saving_is_cut_off_a_whole_checkpoint_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    path = tmp_path / "checkpoint.pt"
    for step in (1, 2):
        save_checkpoint(path, some(step))
    owner, name = (torch, "save") if point == "torch.save" else (os, point.split(".")[1])
    action = getattr(owner, name)

    def killed(*arguments: Any, **named: Any) -> None:
        if point == "torch.save":  # in the middle of the file
            arguments[1].write(b"half a checkpoint")
        elif point != "os.fsync":
            action(*arguments, **named)
        raise Killed

    monkeypatch.setattr(owner, name, killed)
    with pytest.raises(Killed):
        save_checkpoint(path, some(3))
    monkeypatch.undo()
    found, note = newest_checkpoint(path)
    assert found is not None and found.step == 2 and note is None
    assert load_checkpoint(previous(path)).step in (1, 2)
    save_checkpoint(path, some(4))
    assert (load_checkpoint(path).step, load_checkpoint(previous(path)).step) == (4, 2)
    assert not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize("size", [0, 100, 9000, 17_000])
def test_a_full_disk_is_an_error_of_the_system_wherever_it_fills(
    tmp_path: Path, room_for: Callable[[int], AbstractContextManager[None]], size: int
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, some(1))
    with (
        room_for(size),
        pytest.raises(OSError, match=rf"cannot write {path}: File too large"),
    ):
        save_checkpoint(path, some(2))
    found, note = newest_checkpoint(path)
    assert found is not None and found.step == 1 and note is None
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "checkpoint.pt"
    for step in (1, 2, 3):
        save_checkpoint(path, some(step))
    assert (load_checkpoint(path).step, load_checkpoint(previous(path)).step) == (3, 2)


def test_a_run_of_eight_takes_no_more_room_than_one_alone(tmp_path: Path) -> None:
    sizes = []
    for runs in (1, 8):
        path = tmp_path / f"{runs}.pt"
        stack = trained(alike("gp", runs, **{"network.width": 32}), 0)
        save_checkpoint(path, Checkpoint(0, 0.0, stack.run_states()[0]))
        sizes.append(path.stat().st_size)
    assert sizes[1] < 1.05 * sizes[0]
    assert sizes[0] > 4 * sum(p.numel() for p in stack.run_states()[0].values())
