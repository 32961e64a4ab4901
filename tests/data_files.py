"""Small files in the formats of published images, for tests: random, but of the right shape."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10

COUNT = 350
"""Images to train on: no fewer than a batch of any preset."""

HELD_OUT = 100


def picture_options(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options with which a preset finds its images, after writing them to ``folder``."""
    rng = np.random.default_rng(0)
    if name == "image_folder":
        for i in range(COUNT):
            save_picture(folder / "ab"[i % 2] / f"{i}.bmp", rng.integers(0, 256, (8, 8, 3)))
        return {"path": str(folder), "size": 8}
    if name in ("mnist", "stacked_mnist", "fashion_mnist"):
        write_mnist(folder / ("FashionMNIST" if name == "fashion_mnist" else "MNIST") / "raw")
        return {"root": str(folder)}
    if name == "cifar10":
        write_cifar10(folder, monkeypatch)
        return {"root": str(folder)}
    return {}


def save_picture(file: Path, pixels: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(file)


def write_idx(file: Path, values: Any) -> None:
    """``values`` as bytes in an IDX file, compressed when the name says so."""
    array = np.asarray(values, dtype=np.uint8)
    content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content += array.tobytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(content, 1) if file.suffix == ".gz" else content)


def write_mnist(place: Path, suffix: str = ".gz", seed: int = 0) -> dict[str, np.ndarray]:
    """The four files of MNIST; returns what they hold, by the beginning of their names."""
    rng = np.random.default_rng(seed)
    content = {}
    for part, n in (("train", COUNT), ("t10k", HELD_OUT)):
        content[f"{part}-images-idx3"] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        content[f"{part}-labels-idx1"] = np.arange(n, dtype=np.uint8) % 10
    for stem, values in content.items():
        write_idx(place / f"{stem}-ubyte{suffix}", values)
    return content


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """CIFAR-10's files, and their MD5s as if published; returns the rows of all batches."""
    folder = root / CIFAR10.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    sums, rows = {}, []
    for name, _ in [*CIFAR10.train_list, *CIFAR10.test_list]:
        n = HELD_OUT if name == "test_batch" else COUNT // 5
        rows.append(rng.integers(0, 256, (n, 3072), dtype=np.uint8))
        batch = {"data": rows[-1], "labels": [i % 10 for i in range(n)]}
        sums[name] = dump(folder / name, batch)
    names = [f"class {i}" for i in range(10)]
    meta = CIFAR10.meta | {"md5": dump(folder / "batches.meta", {"label_names": names})}
    for part in ("train_list", "test_list"):
        renewed = [[name, sums[name]] for name, _ in getattr(CIFAR10, part)]
        monkeypatch.setattr(CIFAR10, part, renewed)
    monkeypatch.setattr(CIFAR10, "meta", meta)
    return np.concatenate(rows)


def dump(file: Path, content: dict[str, Any]) -> str:
    """Pickle to a file; returns its MD5."""
    pickled = pickle.dumps(content, protocol=2)
    file.write_bytes(pickled)
    return hashlib.md5(pickled).hexdigest()
