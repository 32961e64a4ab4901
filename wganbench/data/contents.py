"""The pictures of a user's folder, and a digest of the data that a run was trained on."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from wganbench.errors import ConfigError, expanded, printable, shortened
from wganbench.files import open_regular
from wganbench.output import numbered

# The list of images in a folder and their classes, as in torchvision's ImageFolder.
ENDINGS = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".ppm", ".pgm", ".pbm", ".pnm", ".bmp",
    ".dib", ".tif", ".tiff", ".webp", ".gif", ".avif", ".jp2", ".j2k", ".jpx", ".tga",
)  # fmt: skip
"""Suffixes of images, all of which Pillow reads; other files are skipped."""

PART = re.compile(
    r"(?<![a-z])(train(?:ing)?|test(?:ing)?|val(?:id(?:ation)?)?|dev|eval)(?:sets?|data|images)?(?![a-z])",
    re.IGNORECASE,
)
"""The word in a folder's name (``train``, ``test_set``, ``val2017``) that makes it a part of a set
instead of a class."""

MOST_OTHERS = 100_000
"""A folder is refused if its other files exceed its images by more than this number."""

SHOWN_CLASSES, SHOWN_ENDINGS, LONGEST_NAME = 10, 5, 40


@dataclass(frozen=True)
class Found:
    """The content of a folder at any depth: paths of images, other files and folders."""

    folder: Path
    pictures: tuple[Path, ...]
    others: tuple[Path, ...]
    folders: tuple[Path, ...]

    def below(self, part: Path) -> list[Path]:
        """Return the images below a folder, in the order of `pictures`."""
        parts = part.parts
        return [file for file in self.pictures if file.parts[: len(parts)] == parts]

    @cached_property
    def inside(self) -> dict[Path, tuple[int, list[Path]]]:
        """For each folder the number of images directly in it, and its sorted subfolders."""
        direct = Counter(file.parent for file in self.pictures)
        under: dict[Path, list[Path]] = {}
        for folder in self.folders:
            under.setdefault(folder.parent, []).append(folder)
        every = [self.folder, *self.folders]
        return {folder: (direct[folder], sorted(under.get(folder, []))) for folder in every}

    @cached_property
    def filled(self) -> set[Path]:
        """The folders with an image at any depth below them."""
        return {parent for file in self.pictures for parent in file.parents}


@dataclass(frozen=True)
class ImageFiles:
    """Images in sorted order, the class folder of each ("" for none), and lines to show."""

    files: tuple[Path, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...]


def find_files(folder: Path) -> Found:
    """Return all visible files and folders below a folder; links are followed, folders once.

    Hidden files, FIFOs and devices are skipped. Raises ValueError for a folder with
    very many files that are not images.
    """
    pictures, others, folders = [], [], []
    for path, kind in walk(folder):
        if kind == "folder":
            folders.append(path)
        elif kind == "file" and path.suffix.lower() in ENDINGS:
            pictures.append(path)
        else:
            others.append(path)
            if len(others) > MOST_OTHERS + len(pictures):
                raise ValueError(
                    f"data.path: {shown(folder)!r} holds over {MOST_OTHERS:,} files that are no "
                    "images; give the folder that holds the class folders"
                )
    return Found(folder, *(tuple(sorted(paths)) for paths in (pictures, others, folders)))


def walk(folder: Path) -> Iterator[tuple[Path, Literal["folder", "file", "broken"]]]:
    """Yield what is visible below a folder: folders, regular files, and links that are broken."""
    seen: set[tuple[int, int]] = set()
    for path, names, files in os.walk(folder, followlinks=True):
        state = state_of(path)
        # Links may form a loop.
        if state is None or (state.st_dev, state.st_ino) in seen:
            names.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        names[:] = sorted(name for name in names if not name.startswith((".", "__MACOSX")))
        yield from ((Path(path, name), "folder") for name in names)
        for name in files:
            if name.startswith("."):
                continue
            state = state_of(os.path.join(path, name))
            if state is None or stat.S_ISREG(state.st_mode):
                yield Path(path, name), "broken" if state is None else "file"


def state_of(path: str) -> os.stat_result | None:
    """Return the status of a path, following links; None for broken links and denied access."""
    try:
        return os.stat(path)
    except OSError:
        return None


def find_images(folder: Path) -> ImageFiles:
    """Return the images in a folder and their classes, which are its subfolders' names.

    The class folders may lie one or more folders deeper. Raises ValueError, naming
    ``data.path``, when there are no images, images beside class folders, an empty class folder,
    or subfolders that are parts of one set.
    """
    found = find_files(folder)
    if not found.pictures:
        raise ValueError(
            f"data.path: there is no image in {shown(folder)!r} ({', '.join(ENDINGS)})"
            f"{passed_over(found.others)}"
        )
    root = innermost(found)
    files = found.below(root)
    direct, subfolders = found.inside[root]
    filled = [part for part in subfolders if part in found.filled]
    if direct and filled:
        raise ValueError(
            f"data.path: {shown(root)!r} holds images beside its subfolders ({direct}, such as "
            f"{shown(next(f for f in files if f.parent == root).name)}); with classes each one "
            "belongs in a subfolder"
        )
    check_parts(root, filled)
    if filled and len(filled) < len(subfolders):
        empty = next(part for part in subfolders if part not in found.filled)
        if same := next((part for part in filled if os.path.samefile(part, empty)), None):
            raise ValueError(
                f"data.path: the class folders {shown(same)!r} and {shown(empty)!r} are one "
                "folder, reached twice by a link: take the link away"
            )
        raise ValueError(
            f"data.path: there is no image in the class folder {shown(empty)!r}"
            f"{passed_over([file for file in found.others if empty in file.parents])}: fill it or "
            "take it away"
        )
    what = "class folders" if filled else "images"
    notes = [] if root == folder else [f"the {what} lie in {shown(root)}"]
    at = len(root.parts)
    classes = tuple(file.parts[at] if filled else "" for file in files)
    notes.insert(0, what_was_read(len(files), Counter(classes), found.others))
    notes += same_below(found, filled)
    return ImageFiles(tuple(files), classes, tuple(notes))


def innermost(found: Found) -> Path:
    """Return the folder with the classes, skipping folders that hold only one other folder."""
    root = found.folder
    while True:
        direct, subfolders = found.inside[root]
        filled = [part for part in subfolders if part in found.filled]
        if direct or len(filled) != 1:
            return root
        # A folder of images beside an empty folder is a class, not an outer folder.
        if len(subfolders) > 1 and found.inside[filled[0]][0]:
            return root
        root = filled[0]


def check_parts(root: Path, filled: list[Path]) -> None:
    """Raise ValueError when the subfolders' names are those of parts of one set.

    Several names with one word in common, such as test_a and test_b, may be classes.
    """
    words = [word[1].lower() for part in filled if (word := PART.search(part.name))]
    if len(words) == len(filled) == len(set(words)) > 1:
        names = " and ".join(shown(part.name) for part in filled)
        first = next((p for p, w in zip(filled, words, strict=True) if w[:5] == "train"), filled[0])
        raise ValueError(
            f"data.path: {names} in {shown(root)!r} are parts of one set, not classes; give "
            f"data.path={shown(first)}"
        )


def same_below(found: Found, filled: list[Path]) -> list[str]:
    """Return a warning when all class folders hold the same folders, as parts of a set do."""
    inside = [found.inside[part] for part in filled]
    below = {tuple(folder.name for folder in folders) for _, folders in inside}
    if len(filled) < 2 or len(below) > 1 or any(direct for direct, _ in inside):
        return []
    names = [shown(name) for name in min(below)]
    if len(names) < 2:
        return []
    more = ", ..." if len(names) > SHOWN_ENDINGS else ""
    return [
        f"warning: all classes hold the same folders ({', '.join(names[:SHOWN_ENDINGS])}{more}); "
        f"if these are the classes, give data.path={shown(filled[0])}"
    ]


def what_was_read(count: int, classes: Counter[str], others: Iterable[Path]) -> str:
    """Return a line such as ``45 images, 2 classes: cat 15, dog 30; passed over 2 other ...``."""
    line = f"{count} images"
    if len(classes) > 1:
        names = sorted(classes)
        parts = [f"{shown(name)} {classes[name]}" for name in names[:SHOWN_CLASSES]]
        more = f", {len(names) - SHOWN_CLASSES} more" if len(names) > SHOWN_CLASSES else ""
        line += f", {len(names)} classes: {', '.join(parts)}{more}"
    else:
        line += " without classes"
    return line + passed_over(others)


def passed_over(others: Iterable[Path]) -> str:
    """Return a phrase on the other files by suffix; empty when there are none."""
    endings = Counter(map(ending, others))
    if not endings:
        return ""
    ordered = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{name} {count}" for name, count in ordered[:SHOWN_ENDINGS]]
    more = ", ..." if len(endings) > SHOWN_ENDINGS else ""
    return f"; passed over {numbered(endings.total(), 'other file')} ({', '.join(parts)}{more})"


def ending(file: Path) -> str:
    """Return what a file is called in `passed_over`."""
    return (shown(file.suffix.lower()) or "no ending") if file.exists() else "broken link"


def shown(name: str | Path) -> str:
    """Return a name that can be shown and stored; bytes that are not UTF-8 are escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return shortened(printable(text), LONGEST_NAME if isinstance(name, str) else 200)


PIECE = 2**24
"""Number of bytes of a file that are read at once."""

FileState = tuple[Path, int, int]
"""A file, when it changed in nanoseconds, and its size in bytes."""


def states_of(files: Iterable[Path]) -> tuple[FileState, ...]:
    """Return the states of the files that exist; a file with an equal one did not change."""
    found = [(file, file.stat()) for file in files if file.is_file()]
    return tuple((file, state.st_mtime_ns, state.st_size) for file, state in found)


def contents_digest(options: Mapping[str, Any], kind: str = "image_folder") -> str | None:
    """Return the SHA-256, in hex, of the data at ``data.path``; None if there are none.

    For a file it covers the bytes. For a folder it covers name, length and bytes of every image
    that `find_files` lists; for another ``kind`` of data than images, of every visible file.
    """
    if options.get("path") is None:
        return None
    try:
        path = expanded(str(options.get("found_at") or options["path"]), "data.path")
    except ConfigError:
        return None
    if not (path.is_file() or path.is_dir()):  # reading a device might never end
        return None
    try:
        files = [path]
        if path.is_dir():
            found = find_files(path)
            others = () if kind == "image_folder" else found.others
            files = sorted([*found.pictures, *others])
        return _digest_of(path, states_of(files))
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=4)
def _digest_of(path: Path, states: tuple[FileState, ...]) -> str:
    """Return the digest of files; read once in a process unless a file changes."""
    digest = hashlib.sha256()
    for file, _, size in states:
        if file != path:
            digest.update(os.fsencode(file.relative_to(path)) + f"\0{size}\0".encode())
        with open_regular(file, follow=True) as opened:
            while part := opened.read(PIECE):
                digest.update(part)
    return digest.hexdigest()
