"""Caches of floors and judges on disk: they take long and depend on the data, not on the run."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wganbench.files import cache_folder, replacing, write_json
from wganbench.metrics.floors import Floor, Sampled, Spread, transport_floor
from wganbench.metrics.judge import Judge, JudgeNetwork, LabelledImages, calibrated, train_judge

FLOOR_VERSION = 2
"""To be raised when floors or built-in targets change: all floors are then computed again."""

FLOOR_SEED = 20170401
"""Seed of the floors. Floors belong to the measurement, so all runs use the same draws."""


SHIPPED = Path(__file__).with_name("floors.json")
"""Floors of the built-in data sets at the default sizes, written by scripts/floors.py."""

SHIPPED_PAIRS = 200
"""Pairs behind the floors that scripts/floors.py writes; they serve whoever asks for fewer too."""


def cached_floor(
    key: str, target: Sampled, n: int, pairs: int, check: Callable[[], None] = lambda: None
) -> Floor:
    """Return `transport_floor`, cached in ``$XDG_CACHE_HOME/wganbench/floors.json`` (~/.cache).

    A shipped floor is taken first; its ``pairs`` may be more than were asked for. ``key`` holds
    all that the target depends on, such as its name and options; equal keys must mean equal
    distributions. A cache that is corrupt or cannot be read or written is ignored.
    """
    shipped, own = _read_entries(SHIPPED), _read_entries(floors_file())
    for entries, count in ((shipped, max(pairs, SHIPPED_PAIRS)), (own, pairs)):
        known = _parse_floor(entries.get(floor_entry(key, n, count)), n, count)
        if known is not None:
            return known
    floor = transport_floor(target, n, pairs, FLOOR_SEED, check)
    _write_entry(floor_entry(key, n, pairs), floor)
    return floor


def draws_digest(target: Sampled, n: int) -> str:
    """Return the SHA-256 of a floor's first pair of samples: it changes with the target's code."""
    generator = torch.Generator().manual_seed(FLOOR_SEED)
    digest = hashlib.sha256()
    for points in (target.held_out(n, generator), target.sample(n, generator)):
        digest.update(points.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def floor_entry(key: str, n: int, pairs: int) -> str:
    """Return the SHA-256 under which a floor is kept: of all that it depends on."""
    identity = f"{FLOOR_VERSION}|{FLOOR_SEED}|{n}|{pairs}|{key}"
    return hashlib.sha256(identity.encode()).hexdigest()


def floors_file() -> Path | None:
    """Return the path of the cached floors; None without a home directory."""
    folder = cache_folder()
    return None if folder is None else folder / "floors.json"


def _read_entries(file: Path | None) -> dict[str, Any]:
    """Return all entries of a file; none when it is missing or invalid."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return entries if isinstance(entries, dict) else {}


def _parse_floor(entry: Any, n: int, pairs: int) -> Floor | None:
    """Return the floor of a valid entry, else None: an older one has W1's alone."""
    try:
        exact, symmetric, energy = (
            Spread(float(part["mean"]), float(part["sd"]))
            for part in (entry, entry["symmetric"], entry["energy"])
        )
        floor = Floor(exact.mean, exact.sd, entry["pairs"], entry["n"], symmetric, energy)
    except (TypeError, KeyError, ValueError):
        return None
    parts = (exact, symmetric, energy)
    finite = all(math.isfinite(part.mean) and math.isfinite(part.sd) for part in parts)
    sensible = finite and exact.mean >= 0
    return floor if sensible and (floor.pairs, floor.n) == (pairs, n) else None


def _write_entry(entry: str, floor: Floor) -> None:
    """Add an entry by replacing the file; when two processes write, the later one wins."""
    file = floors_file()
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        entries = _read_entries(file) | {entry: dataclasses.asdict(floor)}
        write_json(file, dict(sorted(entries.items())))
    except OSError:
        return


# The judge of a data set: from the cache, or trained once and kept there.
JUDGE_VERSION = 1
"""To be raised when the network or its training changes: all judges are then trained again."""


def judge_for(target: Any) -> Judge | None:
    """Return the judge of a target's single images (``base``), from the cache or trained now.

    Where a run trains on fewer images than there are, the judge is still trained on the ``whole``
    of them, so that runs with training sets of several sizes have the same judge.
    None for a target that is not made of images with at least two classes. The cache,
    ``$XDG_CACHE_HOME/wganbench/judges/<key>.pt`` (~/.cache), holds the weights; accuracy
    and threshold are measured on the held-out images each time. A cache that is corrupt,
    or cannot be read or written, is ignored. When two processes train at once, the later
    one's file stays.
    """
    pictures = getattr(target.base, "whole", target.base)
    if pictures is None or pictures.labels is None or len(pictures.class_names) < 2:
        return None
    file = judge_file(pictures)
    network = _read_network(file, pictures)
    if network is None:
        network = train_judge(pictures)
        _write_network(file, network)
    return calibrated(network, pictures, target.stacked)


def judge_key(pictures: LabelledImages) -> str:
    """Return the SHA-256 of all that a judge's training depends on."""
    digest = hashlib.sha256(f"{JUDGE_VERSION} {len(pictures.class_names)}".encode())
    lightest = pictures.scaled(torch.full_like(pictures.images[:1], 1))
    for tensor in (pictures.images, pictures.labels, lightest):
        if tensor is not None:
            values = tensor.cpu().contiguous()
            digest.update(f"{tuple(values.shape)} {values.dtype}".encode())
            digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def judge_file(pictures: LabelledImages) -> Path | None:
    """Return the path of the judge's weights; None without a home directory."""
    folder = cache_folder()
    return None if folder is None else folder / "judges" / f"{judge_key(pictures)}.pt"


def _read_network(file: Path | None, pictures: LabelledImages) -> JudgeNetwork | None:
    """Return the network in a file; None when it is missing or invalid."""
    if file is None or not file.is_file():
        return None
    with torch.device("meta"):
        network = JudgeNetwork(pictures.images.shape[1], len(pictures.class_names))
    # A damaged archive may raise any error.
    with contextlib.suppress(Exception):
        weights = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(weights, assign=True)
        if all(_sound(tensor) for tensor in network.state_dict().values()):
            return network.eval().requires_grad_(False)
    return None


def _sound(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _write_network(file: Path | None, network: JudgeNetwork) -> None:
    """Write the weights to a file atomically; errors of the disk are ignored."""
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as stream:
            torch.save(network.state_dict(), stream)
    except OSError:
        return
