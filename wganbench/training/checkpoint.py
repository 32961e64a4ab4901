"""Checkpoints: one run's state in a file with a digest; the previous checkpoint is kept.

A checkpoint holds tensors, numbers and strings, so that it loads with
``weights_only=True``. A SHA-256 over its content detects a flipped bit, which torch.load
does not.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import pickle
import shutil
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from wganbench.errors import ConfigError, short_repr
from wganbench.files import open_regular, replacing
from wganbench.runs.table import LARGEST_STEP
from wganbench.training.streams import STREAM_FORMAT

FORMAT = 1


class CheckpointError(ConfigError):
    """A checkpoint that cannot be used; the message says why."""


class DamagedCheckpoint(CheckpointError):
    """A checkpoint whose bytes have changed since it was written: its state is lost."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after ``step`` generator steps and ``seconds`` of training.

    ``run`` is the digest of the run's settings; empty in a file from before it was written.
    """

    step: int
    seconds: float
    tensors: dict[str, Tensor]
    run: str = ""


def previous(path: Path) -> Path:
    """Return the path of the previous checkpoint."""
    return path.with_name("checkpoint.previous.pt")


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically and keep the previous one. Raises OSError."""
    content = {
        "format": FORMAT,
        "streams": STREAM_FORMAT,
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "run": checkpoint.run,
        "tensors": checkpoint.tensors,
        "sha256": digest(checkpoint),
    }
    with replacing(path) as file:
        torch.save(content, file)
        if path.exists():
            _keep_as_previous(path)


def _keep_as_previous(path: Path) -> None:
    """Give the current file a second name before it is replaced, so that one always exists."""
    spare = path.with_name("checkpoint.spare.pt")
    with contextlib.suppress(FileNotFoundError):
        spare.unlink()
    try:
        os.link(path, spare)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, spare)
    os.replace(spare, previous(path))


def load_checkpoint(path: Path) -> Checkpoint:
    """Read and check one file, which is not trusted.

    Raises FileNotFoundError; UnusableFile when it is not a regular file; DamagedCheckpoint when
    it is truncated or altered; CheckpointError, with the cause, when it has another format,
    holds values that no run has, or cannot be loaded for another reason.
    """
    with open_regular(path) as file:
        if not _is_archive(file):
            raise DamagedCheckpoint(f"{path} is damaged and cannot be read")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the error says what is wrong
                content = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            if isinstance(error, pickle.UnpicklingError) or not _is_archive(file, checked=True):
                raise DamagedCheckpoint(f"{path} is damaged and cannot be read") from error
            raise CheckpointError(f"{path} cannot be loaded: {_cause(error)}") from error
    checkpoint, sha256 = _typed(path, content)
    try:
        matches = sha256 == digest(checkpoint)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be checked: {_cause(error)}") from error
    if not matches:
        raise DamagedCheckpoint(f"{path} is damaged: its content does not match its checksum")
    return checkpoint


def _is_archive(file: BinaryIO, checked: bool = False) -> bool:
    """Return whether the file is an archive of uncompressed parts, as our checkpoints are.

    Compressed parts are refused, because they grow when they are read. With ``checked`` the
    checksum of each part must be right as well.
    """
    file.seek(0)
    try:
        with zipfile.ZipFile(file) as archive:
            stored = all(p.compress_type == zipfile.ZIP_STORED for p in archive.infolist())
            return stored and not (checked and archive.testzip())
    except Exception:  # zipfile raises errors of many kinds for garbage
        return False
    finally:
        file.seek(0)


def _cause(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _typed(path: Path, content: Any) -> tuple[Checkpoint, str]:
    """Return the checkpoint in a loaded file and its digest, after checks of type and range."""
    if not isinstance(content, dict) or "format" not in content:
        raise CheckpointError(f"{path} is no checkpoint of a run: it says no format")
    found = content["format"]
    if type(found) is not int or found != FORMAT:
        raise CheckpointError(f"{path} has format {short_repr(found)}; this version reads {FORMAT}")
    check_streams(path, content)
    step: Any = content.get("step")
    seconds: Any = content.get("seconds")
    tensors, sha256 = content.get("tensors"), content.get("sha256")
    run: Any = content.get("run", "")
    if type(step) is not int or not 0 <= step <= LARGEST_STEP:
        raise CheckpointError(f"{path}: step is a number of steps from 0 on; got {step!r}")
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise CheckpointError(f"{path}: seconds is a time from 0 on; got {seconds!r}")
    if not isinstance(tensors, dict) or not all(map(_plain, tensors, tensors.values())):
        raise CheckpointError(f"{path}: tensors holds more than plain tensors by name")
    if not isinstance(run, str):
        raise CheckpointError(f"{path}: run is not the text of a digest")
    if not isinstance(sha256, str):
        raise CheckpointError(f"{path}: sha256 is not the text of a checksum")
    return Checkpoint(step, float(seconds), tensors, run), sha256


def check_streams(path: Path, content: dict[str, Any]) -> None:
    """Raise CheckpointError when the run began with another format of random streams.

    Files without the entry have format 1.
    """
    found = content.get("streams", 1)
    if type(found) is not int or found != STREAM_FORMAT:
        raise CheckpointError(
            f"{path} has random streams of format {short_repr(found)}, this version draws format "
            f"{STREAM_FORMAT}: go on with the version that wrote it, or start afresh with "
            "--overwrite"
        )


def _plain(name: Any, tensor: Any) -> bool:
    """Return whether this is a named dense CPU tensor with storage for all its elements."""
    return (
        isinstance(name, str)
        and type(tensor) is Tensor
        and tensor.layout is torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
    )


def newest_checkpoint(path: Path) -> tuple[Checkpoint | None, str | None]:
    """Return the newest intact checkpoint, and a line about what was lost, if anything.

    (None, None) when no checkpoint was written. Raises DamagedCheckpoint when all files are
    damaged, and CheckpointError when one cannot be used for another reason; no state is lost
    then.
    """
    problems: list[str] = []
    for candidate in (path, previous(path)):
        try:
            checkpoint = load_checkpoint(candidate)
        except FileNotFoundError:
            continue
        except DamagedCheckpoint as error:
            problems.append(str(error))
            continue
        if not problems:
            return checkpoint, None
        kept = f"going on from step {checkpoint.step}, kept in {candidate.name}"
        return checkpoint, f"{problems[0]}; {kept}"
    if problems:
        raise DamagedCheckpoint(
            f"{problems[0]}, and no older checkpoint is whole: the trained state is lost; "
            "start this run afresh with --overwrite"
        )
    return None, None


def digest(checkpoint: Checkpoint) -> str:
    """Return the SHA-256 of step, seconds, run and the name, type, shape and bytes of tensors."""
    run = f" {checkpoint.run}" if checkpoint.run else ""
    sha = hashlib.sha256(f"{checkpoint.step} {checkpoint.seconds!r}{run}".encode())
    for name in sorted(checkpoint.tensors):
        tensor = checkpoint.tensors[name].contiguous()
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        sha.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()
