"""The folders of YAML files that a command line searches: the user's, then ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from wganbench.presets import conf_directory

USER_FOLDERS: list[Path] = []
"""Folders that Hydra searches before ours; our search path plugin reads them."""


@contextmanager
def user_files_first(where: Sequence[Path]) -> Iterator[None]:
    """Let files in the user's folders win over ours of the same name, inside the block.

    ``where`` are the folders of a command line, the user's first and ours last.
    """
    before = list(USER_FOLDERS)
    USER_FOLDERS[:] = [folder.resolve() for folder in where if folder != conf_directory()]
    try:
        yield
    finally:
        USER_FOLDERS[:] = before


def searched_folders() -> tuple[Path, ...]:
    """Return the folders of YAML files of the command that runs now, the user's first."""
    return (*USER_FOLDERS, conf_directory())
