"""Run folders between machines without a shared disk: their files as bytes."""

from __future__ import annotations

import contextlib
from pathlib import Path

from wganbench.files import inside, is_plain_file, open_regular, write_atomic

Files = dict[str, bytes | None]
"""Content by path inside the folder; None for a file that is no more."""


class Changes:
    """What changed in a run's folder since it was asked last; hidden files are left out.

    What lies there at the beginning counts as a change unless it was ``seen``.
    """

    def __init__(self, folder: Path, seen: bool = True) -> None:
        self.folder = folder
        self._seen = self._state() if seen else {}

    def at_checkpoint(self) -> Files:
        """All changes, but only once the run was saved anew: without that they are no use."""
        saved = "checkpoint.pt"
        return self.all() if self._state().get(saved) != self._seen.get(saved) else {}

    def all(self) -> Files:
        """All changes, the checkpoint read first: records may run ahead of it, never behind."""
        now = self._state()
        changed = [name for name, state in now.items() if state != self._seen.get(name)]
        files: Files = dict.fromkeys(self._seen.keys() - now.keys())
        for name in sorted(changed, key=lambda name: not name.endswith(".pt")):
            path = self.folder / name
            with contextlib.suppress(FileNotFoundError), open_regular(path) as file:
                files[name] = file.read()
        self._seen = now
        return files

    def _state(self) -> dict[str, tuple[int, int]]:
        state = {}
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder)
            if is_plain_file(path) and not any(part.startswith(".") for part in name.parts):
                found = path.stat()
                state[name.as_posix()] = (found.st_mtime_ns, found.st_size)
        return state


def put(folder: Path, files: Files) -> None:
    """Bring a folder up to date, the checkpoint last. Raises UnusableFile for a path outside."""
    for name, content in sorted(files.items(), key=lambda item: item[0].endswith(".pt")):
        path = inside(folder, name)
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, content)
