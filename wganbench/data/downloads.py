"""Published sets that torchvision downloads: MNIST, Fashion-MNIST, CIFAR-10.

Runs train on the training part; the test part is held out. A set stays in memory after it is
read, so that the jobs of a sweep share it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from wganbench.data.image_files import DIGITS, read_idx
from wganbench.data.images import Images
from wganbench.errors import expanded, reason_of

SYSTEM = Path("/usr/share/datasets")
"""The folder of Debian's packages of data sets, such as dataset-fashion-mnist."""

PARTS = ("train", "t10k")
"""The prefixes of the IDX files' names, for the training and the test part."""


@dataclass(frozen=True)
class IdxSet:
    """A set in MNIST's format: its name in torchvision, and a folder that may hold its files."""

    name: str
    torchvision_name: str
    folder: str
    class_names: tuple[str, ...]
    also: str = ""
    """Another way to get it, for the error message."""


MNIST = IdxSet("mnist", "MNIST", "mnist", DIGITS)
FASHION_MNIST = IdxSet(
    "fashion_mnist",
    "FashionMNIST",
    "fashion-mnist",
    (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    ", or apt-get install dataset-fashion-mnist",
)  # fmt: skip


@lru_cache(maxsize=2)
def load_idx_set(which: IdxSet, root: str, download: bool) -> Images:
    """Return a set of 28x28 images from ``root`` or from the system's data sets.

    With ``download`` torchvision downloads missing files into ``root``. Raises ValueError when
    the set is missing, saying how to get it, and when a file is damaged.
    """
    place = find(which, expanded(root, "data.root"), download)
    (images, labels), (held_out_images, held_out_labels) = (
        read_part(which, place, part) for part in PARTS
    )
    return Images(images, held_out_images, labels, held_out_labels, which.class_names)


def find(which: IdxSet, root: Path, download: bool) -> Path:
    """Return the folder with the four files of a set, after a download if needed."""
    raw = root / which.torchvision_name / "raw"
    for place in (raw, root / which.folder, SYSTEM / which.folder):
        if all(idx_file(place, part, kind) for part in PARTS for kind in ("images", "labels")):
            return place
    if download:
        fetch(which, root)
        return raw
    raise ValueError(
        f"{which.name} is not in {raw}: data.download=true fetches it there{which.also}, or "
        "put its four .gz files there; data.root names another folder"
    )


def idx_file(place: Path, part: str, kind: str) -> Path | None:
    """Return the file of images or labels; a compressed one first, for it has a checksum."""
    stem = f"{part}-{kind}-idx{3 if kind == 'images' else 1}-ubyte"
    return next((f for f in (place / f"{stem}.gz", place / stem) if f.is_file()), None)


def fetch(which: IdxSet, root: Path) -> None:
    """Let torchvision download a set into ``root``; raises ValueError when it cannot."""
    from torchvision import datasets

    try:
        getattr(datasets, which.torchvision_name)(root, download=True)
    except (RuntimeError, OSError, ValueError, AssertionError) as error:
        raise ValueError(
            f"{which.name} could not be downloaded to {root}: {reason_of(error)}"
        ) from error


def read_part(
    which: IdxSet, place: Path, part: str
) -> tuple[UInt8[Tensor, "n 1 h w"], Int[Tensor, " n"]]:
    """Return images and labels of one part. Raises ValueError when they do not match."""
    images, labels = (idx_file(place, part, kind) for kind in ("images", "labels"))
    if images is None or labels is None:
        raise ValueError(f"{which.name}: the download left no {part} files in {place}")
    pictures = torch.from_numpy(read_idx(images, 3))
    classes = torch.from_numpy(read_idx(labels, 1)).long()
    if len(pictures) != len(classes):
        raise ValueError(f"{images} holds {len(pictures)} images, {labels} {len(classes)} labels")
    if len(classes) and int(classes.max()) >= len(which.class_names):
        raise ValueError(f"{labels} is damaged: a label is {int(classes.max())}")
    return pictures.unsqueeze(1), classes


def load_mnist(root: str, download: bool) -> Images:
    """Return MNIST, see `load_idx_set`."""
    return load_idx_set(MNIST, root, download)


def load_fashion_mnist(root: str, download: bool) -> Images:
    """Return Fashion-MNIST, see `load_idx_set`."""
    return load_idx_set(FASHION_MNIST, root, download)


@lru_cache(maxsize=1)
def load_cifar10(root: str, download: bool) -> Images:
    """Return CIFAR-10, 32x32 in colour, from ``root/cifar-10-batches-py``, checked by MD5.

    Raises ValueError when it is missing, saying how to get it, and when a file is damaged.
    """
    from torchvision.datasets import CIFAR10

    folder = expanded(root, "data.root")
    try:
        with warnings.catch_warnings():
            # The published files were pickled by an old NumPy; some newer ones warn about it.
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            train, test = (
                CIFAR10(folder, train=train, download=download) for train in (True, False)
            )
    except (RuntimeError, OSError) as error:
        raise ValueError(cifar10_trouble(folder, download, error)) from error
    images, held_out_images = (
        torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous() for part in (train, test)
    )
    labels, held_out_labels = (torch.tensor(part.targets) for part in (train, test))
    return Images(images, held_out_images, labels, held_out_labels, train.classes)


def cifar10_trouble(root: Path, download: bool, error: Exception) -> str:
    """Return a line on what is missing or damaged in a CIFAR-10 that could not be read."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    folder = root / CIFAR10.base_folder
    published = [*CIFAR10.train_list, *CIFAR10.test_list]
    published.append([CIFAR10.meta["filename"], CIFAR10.meta["md5"]])
    files = [(folder / name, md5) for name, md5 in published]
    if download:
        return f"cifar10 could not be downloaded to {root}: {reason_of(error)}"
    for file, md5 in files:
        if file.is_file() and not check_integrity(file, md5):
            return f"{file} is damaged (another MD5 than published); data.download=true mends it"
    missing = [file.name for file, _ in files if not file.is_file()]
    what = "" if len(missing) == len(files) else f" ({', '.join(missing)} missing)"
    return (
        f"cifar10 is not in {folder}{what}: data.download=true fetches it, or unpack "
        f"{CIFAR10.filename} in {root}; data.root names another folder"
    )
