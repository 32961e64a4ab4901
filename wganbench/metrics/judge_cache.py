"""The judge of a data set: from the cache, or trained once and kept there."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wganbench.files import cache_folder, replacing
from wganbench.metrics.judge import Judge, JudgeNetwork, Pictures, examined
from wganbench.metrics.judge_training import train_judge

JUDGE_VERSION = 1
"""Raise when the network or its training changes: every judge is then trained anew."""


def judge_for(target: Any) -> Judge | None:
    """The judge of a target's single pictures (its ``base``), from the cache or trained now.

    None for a target that is not made of pictures with at least two classes. The cache,
    ``$XDG_CACHE_HOME/wganbench/judges/<key>.pt`` (~/.cache), holds the weights; accuracy
    and threshold are measured on the held-out pictures each time. A cache that is corrupt,
    or cannot be read or written, is ignored; of two processes that train at once the later
    one's file stays.
    """
    pictures = getattr(target, "base", None)
    if pictures is None or pictures.labels is None or len(pictures.class_names) < 2:
        return None
    file = judge_file(pictures)
    network = _read_network(file, pictures)
    if network is None:
        network = train_judge(pictures)
        _write_network(file, network)
    return examined(network, pictures, target.stacked)


def judge_key(pictures: Pictures) -> str:
    """SHA-256 over all that a judge's training depends on."""
    digest = hashlib.sha256(f"{JUDGE_VERSION} {len(pictures.class_names)}".encode())
    lightest = pictures.scaled(torch.full_like(pictures.images[:1], 1))
    for tensor in (pictures.images, pictures.labels, lightest):
        if tensor is not None:
            values = tensor.cpu().contiguous()
            digest.update(f"{tuple(values.shape)} {values.dtype}".encode())
            digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def judge_file(pictures: Pictures) -> Path | None:
    """Where the judge's weights are kept; None when there is no home directory."""
    folder = cache_folder()
    return None if folder is None else folder / "judges" / f"{judge_key(pictures)}.pt"


def _read_network(file: Path | None, pictures: Pictures) -> JudgeNetwork | None:
    """The network a file holds, or None when it is missing or makes no sense."""
    if file is None or not file.is_file():
        return None
    with torch.device("meta"):
        network = JudgeNetwork(pictures.images.shape[1], len(pictures.class_names))
    # A damaged archive raises whatever its damage leads the reader into.
    with contextlib.suppress(Exception):
        weights = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(weights, assign=True)
        if all(_sound(tensor) for tensor in network.state_dict().values()):
            return network.eval().requires_grad_(False)
    return None


def _sound(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _write_network(file: Path | None, network: JudgeNetwork) -> None:
    """Keep the weights in a file that appears whole or not at all."""
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as stream:
            torch.save(network.state_dict(), stream)
    except (OSError, RuntimeError):
        # A full disk reaches torch.save as a RuntimeError.
        return
