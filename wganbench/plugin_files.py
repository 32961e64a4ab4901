"""Plugins in single files: Python files of the user that add losses, data, networks or metrics.

The user names them, by ``plugins=FILE`` on the line of any command or by the environment variable
WGANBENCH_PLUGINS (several are separated as in PATH). They are never taken from a run's folder,
which may come from a stranger. The variable reaches the processes that a command starts.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from traceback import extract_tb

from wganbench.errors import ConfigError, expanded, of_the_system, short_repr

VARIABLE = "WGANBENCH_PLUGINS"
WORD = "plugins="
UNREGISTERED = (
    "which no installed package and no plugin file registers: name it by plugins=FILE, in Python "
    f"by {VARIABLE}"
)
"""The end of a message about a name of a plugin that is in a run's folder."""

CONF_GROUP = "wganbench.conf"
"""The group of entry points that name a package with YAML files of its own."""

_loaded: dict[Path, str] = {}
"""The digest of each file that was loaded in this process."""


def plugin_files() -> list[Path]:
    """Return the absolute paths of the files that the user named. Raises ConfigError."""
    named = os.environ.get(VARIABLE, "")
    return [expanded(name, "plugins").absolute() for name in named.split(os.pathsep) if name]


def use_plugins(words: Sequence[str]) -> list[str]:
    """Take ``plugins=FILE,FILE`` out of the words of a command line, and return the others.

    Raises ConfigError for a file that does not exist, and for a word that names none.
    """
    given = [_names(word) for word in words if word.startswith(WORD)]
    if not all(given):
        raise ConfigError("plugins= names no file: give plugins=mine.py, several with a comma")
    names = [name for own in given for name in own]
    files = [expanded(name, "plugins").absolute() for name in names]
    for file in files:
        if os.pathsep in str(file):
            raise ConfigError(
                f"plugins={short_repr(str(file))}: the path holds {os.pathsep!r}, which separates "
                f"the files in {VARIABLE}"
            )
        if not file.is_file():
            raise ConfigError(f"plugins={short_repr(str(file))}: there is no such file")
    if files:
        every = dict.fromkeys([*plugin_files(), *files])
        os.environ[VARIABLE] = os.pathsep.join(map(str, every))
    return [word for word in words if not word.startswith(WORD)]


def _names(word: str) -> list[str]:
    """Return the names in ``plugins=A,B`` or ``plugins=[A,B]``.

    Where a file of that name exists, commas, brackets and quotes are part of it.
    """
    text = word.removeprefix(WORD)
    if _is_file(text):
        return [text]
    parts, names = text.strip("[]").split(","), list[str]()
    while parts:
        joined = (",".join(parts[:count]).strip("'\" ") for count in range(len(parts), 1, -1))
        name = next(filter(_is_file, joined), parts[0].strip("'\" "))
        names += [name] if name else []
        del parts[: name.count(",") + 1]
    return names


def _is_file(name: str) -> bool:
    try:
        return bool(name) and Path(name).expanduser().is_file()
    except (OSError, ValueError, RuntimeError):
        return False


def load_plugin_files() -> None:
    """Run each file once in this process. Raises ConfigError for one that fails."""
    for file in plugin_files():
        if file not in _loaded:
            _loaded[file] = _load(file)


def digest_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def check_unedited() -> None:
    """Raise ConfigError if a file was edited after it was loaded: its old code is still here."""
    for file in plugin_files():
        if file in _loaded and file.is_file() and digest_of(file) != _loaded[file]:
            raise ConfigError(
                f"the plugin {file} was edited after this process had loaded it: restart the "
                "process, in a notebook the kernel"
            )


def changed_plugins(then: Mapping[str, str]) -> list[str]:
    """Return the names of the files that the user named whose digest was another one then."""
    files = [file for file in plugin_files() if str(file) in then and file.is_file()]
    return [file.name for file in files if digest_of(file) != then[str(file)]]


def _load(file: Path) -> str:
    """Run a file as a module, and its function ``register`` if it has one; return its digest."""
    place = f"the plugin {file}, named by {WORD} or {VARIABLE},"
    if file.exists() and not file.is_file():
        raise ConfigError(f"{place} is not a regular file")
    if file.suffix != ".py":
        raise ConfigError(f"{place} is no Python file: its name must end in .py")
    try:
        digest = digest_of(file)
        name = f"wganbench_plugin_{digest[:12]}"
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        register = getattr(module, "register", None)
        if register is not None:
            register()
    except OSError as error:
        raise ConfigError(f"{place} fails: {of_the_system(error)}") from error
    except (Exception, SystemExit) as error:
        own = [f.lineno for f in extract_tb(error.__traceback__) if f.filename == str(file)]
        line = f" in line {own[-1]}" if own else ""
        raise ConfigError(f"{place} fails{line}: {type(error).__name__}: {error}") from error
    return digest


def plugin_digests() -> dict[str, str]:
    """Return the SHA-256 of each loaded file by its path, for run.json."""
    return {str(file): digest for file, digest in _loaded.items()}


def plugin_folders() -> tuple[Path, ...]:
    """Return the folders of YAML files of plugins: ``conf`` beside a file and in a package."""
    folders = dict.fromkeys(file.parent / "conf" for file in plugin_files())
    return (*(folder for folder in folders if folder.is_dir()), *package_folders())


@cache
def package_folders() -> tuple[Path, ...]:
    """Return the folder ``conf`` of each package that an entry point of `CONF_GROUP` names.

    The package is found and not imported. Raises ConfigError if it has no such folder.
    """
    found = []
    for entry_point in entry_points(group=CONF_GROUP):
        try:
            spec = importlib.util.find_spec(entry_point.value)
        except (ImportError, ValueError):
            spec = None
        places = list(spec.submodule_search_locations or ()) if spec else []
        folders = [Path(place) / "conf" for place in places if (Path(place) / "conf").is_dir()]
        if not folders:
            named = f"{entry_point.name} = {short_repr(entry_point.value)}"
            raise ConfigError(f"{CONF_GROUP}: {named} is no package with a folder conf")
        found += folders
    return tuple(found)
