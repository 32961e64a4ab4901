"""Checkpoints: one run's state in one file, checked by a digest, the older one kept.

A checkpoint holds tensors, numbers and strings, so that it loads with
``weights_only=True``; a SHA-256 over its content tells a flipped bit, which torch.load
would let through.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wganbench.files import replacing
from wganbench.training.streams import STREAM_FORMAT

FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message says why."""


class OtherStreams(CheckpointError):
    """A checkpoint that is whole, of a version that drew other random numbers."""


@dataclass(frozen=True)
class Checkpoint:
    """State of a run after ``step`` generator steps and ``seconds`` of training."""

    step: int
    seconds: float
    tensors: dict[str, Tensor]


def previous(path: Path) -> Path:
    """Where the checkpoint before this one is kept."""
    return path.with_name("checkpoint.previous.pt")


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in one step and keep the one before it. Raises OSError."""
    content = {
        "format": FORMAT,
        "streams": STREAM_FORMAT,
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "tensors": checkpoint.tensors,
        "sha256": digest(checkpoint),
    }
    with replacing(path) as file:
        torch.save(content, file)
        if path.exists():
            _keep_as_previous(path)


def _keep_as_previous(path: Path) -> None:
    """Give the current file a second name before it is replaced; there is always one."""
    spare = path.with_name("checkpoint.spare.pt")
    with contextlib.suppress(FileNotFoundError):
        spare.unlink()
    try:
        os.link(path, spare)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, spare)
    os.replace(spare, previous(path))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and check one file.

    Raises FileNotFoundError, or CheckpointError when the file is truncated, altered or
    of another format, OtherStreams when its random streams are.
    """
    if not path.exists():
        raise FileNotFoundError(path)
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        found = content["format"]
        if found != FORMAT:
            raise CheckpointError(f"{path} has format {found}; this version reads {FORMAT}")
        check_streams(path, content)
        checkpoint = Checkpoint(
            int(content["step"]), float(content["seconds"]), dict(content["tensors"])
        )
        matches = content["sha256"] == digest(checkpoint)
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{path} is damaged and cannot be read") from error
    if not matches:
        raise CheckpointError(f"{path} is damaged: its content does not match its checksum")
    return checkpoint


def check_streams(path: Path, content: dict[str, Any]) -> None:
    """Raise OtherStreams where a run would go on with other random numbers than it began with.

    Files without the entry are of format 1.
    """
    found = content.get("streams", 1)
    if found != STREAM_FORMAT:
        raise OtherStreams(
            f"{path} has random streams of format {str(found)[:20]}, this version draws format "
            f"{STREAM_FORMAT}: go on with the version that wrote it, or start afresh with "
            "--overwrite"
        )


def newest_checkpoint(path: Path) -> tuple[Checkpoint | None, str | None]:
    """The newest checkpoint that is whole, and a line about what was lost, if anything.

    (None, None) where no checkpoint was ever written. Raises CheckpointError when
    there are files but none can be used.
    """
    problems: list[str] = []
    for candidate in (path, previous(path)):
        try:
            checkpoint = load_checkpoint(candidate)
        except FileNotFoundError:
            continue
        except OtherStreams:
            raise
        except CheckpointError as error:
            problems.append(str(error))
            continue
        if not problems:
            return checkpoint, None
        kept = f"going on from step {checkpoint.step}, kept in {candidate.name}"
        return checkpoint, f"{problems[0]}; {kept}"
    if problems:
        raise CheckpointError(
            f"{problems[0]}, and no older checkpoint is whole: the trained state is lost; "
            "start this run afresh with --overwrite"
        )
    return None, None


def digest(checkpoint: Checkpoint) -> str:
    """SHA-256 over step, seconds and every tensor's name, type, shape and bytes."""
    sha = hashlib.sha256(f"{checkpoint.step} {checkpoint.seconds!r}".encode())
    for name in sorted(checkpoint.tensors):
        tensor = checkpoint.tensors[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
