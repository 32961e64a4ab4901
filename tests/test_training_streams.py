"""Random streams: their seeds are a stated hash, and their format is kept with what is trained."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from training_configs import CPU, tiny

from wganbench.training import checkpoint as checkpoints
from wganbench.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    DamagedCheckpoint,
    load_checkpoint,
    newest_checkpoint,
    previous,
    save_checkpoint,
)
from wganbench.training.stack import Stack
from wganbench.training.streams import STREAM_FORMAT, draw_block, stream_generator, stream_seed


# The hash.
def test_a_seed_is_blake2b_of_seed_stream_and_block_in_this_order() -> None:
    digest = hashlib.blake2b(b"12/real/3", digest_size=8).digest()
    assert stream_seed(12, "real", 3) == int.from_bytes(digest, "little")


@pytest.mark.parametrize(
    ("seed", "stream", "block", "expected"),
    [
        (0, "real", 0, 807362273397937028),
        (12, "latent_critic", 3, 7226737434057904502),
        (3, "mixing", 12, 15742377839054840563),
    ],
)
def test_seeds_are_those_of_format_1(seed: int, stream: str, block: int, expected: int) -> None:
    assert stream_seed(seed, stream, block) == expected and STREAM_FORMAT == 1


def test_parts_do_not_run_into_each_other() -> None:
    keys = [(1, "real", 23), (12, "real", 3), (12, "real", 23), (3, "real", 12), (23, "real", 1)]
    assert len({stream_seed(*key) for key in keys}) == len(keys)


def test_a_step_is_a_row_of_its_block_of_64() -> None:
    config = tiny(seed=3)
    stack = Stack([config], CPU)
    for step, block, row in ((0, 0, 0), (63, 0, 63), (64, 1, 0), (130, 2, 2)):
        drawn = draw_block(stack.target.sample, 3, "real", block, config.train.batch_size, CPU)
        assert torch.equal(stack._batch("real", step)[0], drawn[row])
    one = stack.target.sample(64 * config.train.batch_size, stream_generator(3, "real", 1))
    assert torch.equal(stack._batch("real", 64)[0], one[: config.train.batch_size])


# Its format, in checkpoints.
STATE = Checkpoint(3, 0.5, {"critic/w": torch.arange(6.0)})


def written(path: Path, monkeypatch: pytest.MonkeyPatch, streams: int) -> None:
    with monkeypatch.context() as other:
        other.setattr(checkpoints, "STREAM_FORMAT", streams)
        save_checkpoint(path, STATE)


def test_a_checkpoint_of_other_streams_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    written(path, monkeypatch, STREAM_FORMAT + 1)
    for load in (load_checkpoint, newest_checkpoint):
        with pytest.raises(CheckpointError) as refused:
            load(path)
        line = str(refused.value)
        assert "\n" not in line and len(line) < 480 + len(str(path))
        assert "random streams of format 2" in line and "--overwrite" in line
        assert not isinstance(refused.value, DamagedCheckpoint) and "lost" not in line


def test_an_older_checkpoint_is_not_taken_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, STATE)
    written(path, monkeypatch, STREAM_FORMAT + 1)
    assert load_checkpoint(previous(path)).step == 3
    with pytest.raises(CheckpointError, match="random streams of format 2"):
        newest_checkpoint(path)


@pytest.mark.parametrize("entry", ["format", "streams"])
@pytest.mark.parametrize("value", [torch.ones(2), "1", None, [1]])
def test_a_format_that_is_no_number_is_refused(tmp_path: Path, entry: str, value: object) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, STATE)
    torch.save(torch.load(path, weights_only=True) | {entry: value}, path)
    with pytest.raises(CheckpointError, match="format") as refused:
        load_checkpoint(path)
    assert "\n" not in str(refused.value)


def test_a_file_without_the_entry_is_of_format_1(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, STATE)
    content = torch.load(path, weights_only=True)
    assert content.pop("streams") == STREAM_FORMAT
    torch.save(content, path)
    found = load_checkpoint(path)
    assert found.step == 3 and torch.equal(found.tensors["critic/w"], STATE.tensors["critic/w"])
