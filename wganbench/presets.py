"""The YAML files of conf/ and of the user: finding them and reading them, without Hydra."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from wganbench.errors import ConfigError, expanded, of_the_system
from wganbench.files import open_regular
from wganbench.plugin_files import plugin_folders
from wganbench.registry import unknown
from wganbench.typed import flatten


@cache
def conf_directory() -> Path:
    """Return the folder of YAML files: in the package in a wheel, beside it in a source tree."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "conf", package.parent / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise FileNotFoundError(f"no conf/config.yaml inside or beside {package}")


def preset_names(group: str) -> list[str]:
    """Return the sorted names of the YAML files of a group, such as ``"data"``, in all folders."""
    return choices(group, searched_folders())


def read_preset(group: str, name: str) -> dict[str, Any]:
    """Return the values in ``<group>/<name>.yaml``, without those for other groups.

    The first of `searched_folders` that has the file decides. Raises ValueError for an unknown
    name.
    """
    path = find_preset(group, name, searched_folders())
    if path is None:
        raise ValueError(unknown(group, name, preset_names(group)))
    values = deepcopy(read(path))
    values.pop("defaults", None)
    return values


def find_preset(group: str, name: str, where: Sequence[Path]) -> Path | None:
    """Return the file ``<group>/<name>.yaml`` in the first folder that has it, else None."""
    paths = (folder / group / f"{name}.yaml" for folder in where)
    return next((path for path in paths if path.is_file()), None)


def describe_preset(group: str, name: str) -> str:
    """Return the head comment of a YAML file of ours: its description and source."""
    return " ".join(head_lines(conf_directory() / group / f"{name}.yaml"))


def head_lines(path: Path) -> list[str]:
    """Return the comment lines at the head of a YAML file, without marks and directives."""
    head: list[str] = []
    for line in content_of(path).decode(errors="replace").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ").strip()
        if text and not text.startswith("@"):
            head.append(text)
    return head


# The choices and keys in the YAML files, read without Hydra.
PARTS = ("loss", "data", "network", "train")
"""The folders of conf/ whose keys begin with the folder's name."""

GROUPS = (*PARTS, "tuned", "experiment")
"""The folders of conf/ with choices, as in ``loss=gp``."""

OVERRIDES_NETWORK = "override /network@"
"""The entry by which the YAML file of a data set chooses a network in its defaults list."""


def user_folder(config_dir: str | Path, new: bool = False) -> Path:
    """Return the folder that the user names for YAML files, ``~`` expanded.

    Raises ConfigError unless it exists; a ``new`` one need not.
    """
    folder = expanded(config_dir, "config_dir")
    if not new and not folder.is_dir():
        raise ConfigError(f"config_dir={config_dir}: there is no such folder")
    return folder


def directories(config_dir: str | Path | None = None) -> tuple[Path, ...]:
    """Return the folders of YAML files: the user's, those of plugin files, the project's.

    Raises ConfigError if the user's does not exist.
    """
    own = () if config_dir is None else (user_folder(config_dir),)
    return (*own, *plugin_folders(), conf_directory())


def choices(group: str, where: Sequence[Path]) -> list[str]:
    """Return the sorted names that ``group=...`` accepts."""
    return sorted({path.stem for folder in where for path in (folder / group).glob("*.yaml")})


def preset_files(group: str, where: Sequence[Path]) -> list[Path]:
    """Return the YAML files of a group by name; of equal names that in the first folder."""
    files = [path for folder in reversed(where) for path in (folder / group).glob("*.yaml")]
    return sorted({path.stem: path for path in files}.values(), key=lambda path: path.stem)


def preset_values(group: str, name: str, where: Sequence[Path]) -> dict[str, Any]:
    """Return the values that ``group=name`` sets, by dotted key; empty for an unknown name."""
    path = find_preset(group, name, where)
    if path is None:
        return {}
    return dict(read_values(path, "" if is_global(path) else f"{group}."))


def readable_values(group: str, name: str, where: Sequence[Path]) -> dict[str, Any]:
    """Return what `preset_values` does; empty for a file that cannot be read.

    It is for files that nobody chose: a mistake in one of them stops no command.
    """
    try:
        return preset_values(group, name, where)
    except ConfigError:
        return {}


def base_values() -> dict[str, Any]:
    """Return the values in config.yaml itself, by dotted key."""
    return dict(read_values(conf_directory() / "config.yaml", ""))


def default_choice(group: str) -> str | None:
    """Return the default choice of a group."""
    for entry in read(conf_directory() / "config.yaml").get("defaults", []):
        if isinstance(entry, dict) and group in entry:
            return None if entry[group] is None else str(entry[group])
    return None


def chosen_keys(chosen: Mapping[str, str], where: Sequence[Path]) -> list[str]:
    """Return every key that exists under the choices ``{group: name}``, including the groups."""
    return list(dict.fromkeys([*base_values(), *GROUPS, *chosen_values(chosen, where)]))


def chosen_values(chosen: Mapping[str, str], where: Sequence[Path]) -> dict[str, Any]:
    """Return the values in YAML under the choices ``{group: name}``, by dotted key."""
    values = base_values()
    chosen = suggested_choices(chosen, where) | dict(chosen)
    for group in PARTS:
        values |= readable_values(group, chosen.get(group) or default_choice(group) or "", where)
    return values


def suggested_choices(chosen: Mapping[str, str], where: Sequence[Path]) -> dict[str, str]:
    """Return the choice of a network by the chosen data, if there is one."""
    path = find_preset("data", chosen.get("data") or default_choice("data") or "", where)
    entries = [] if path is None else defaults_of(path)
    pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
    networks = [str(name) for key, name in pairs if str(key).startswith(OVERRIDES_NETWORK)]
    return {"network": networks[-1]} if networks else {}


def all_keys(where: Sequence[Path]) -> list[str]:
    """Return every key of any choice; files that cannot be read have none."""
    keys = [*base_values(), *GROUPS]
    for group in PARTS:
        for name in choices(group, where):
            keys += readable_values(group, name, where)
    return list(dict.fromkeys(keys))


def owners(key: str, where: Sequence[Path]) -> list[str]:
    """Return the choices in a key's group with the key: losses for ``loss.gp_lambda``."""
    group = key.partition(".")[0]
    return [name for name in choices(group, where) if key in readable_values(group, name, where)]


def read(path: Path) -> dict[str, Any]:
    """Return what `read_again` does, from memory while the file has not changed since.

    The values are shared and must not be changed.
    """
    return _read_version(path, _version(path))


@cache
def _read_version(path: Path, version: tuple[int, ...]) -> dict[str, Any]:
    return read_again(path)


def _version(path: Path) -> tuple[int, ...]:
    """Return what changes with a file's content; empty for a file that cannot be read."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_mtime_ns, status.st_size, status.st_ino


def read_again(path: Path) -> dict[str, Any]:
    """Return the values of a YAML file.

    Raises ConfigError, one line with the file and the line number, for a file that holds no
    values by key or cannot be read.
    """
    text = read_text(path)
    try:
        values = yaml.load(text, WithPlaces)
    except yaml.YAMLError as error:
        raise ConfigError(of_yaml(error, str(path), text)) from error
    except RecursionError as error:  # nested too deeply
        raise ConfigError(f"{path}: {error}") from error
    if values is not None and not isinstance(values, dict):
        raise ConfigError(f"{path} must hold values by key (KEY: VALUE); it holds {values!r:.40}")
    return {str(key): value for key, value in (values or {}).items()}


class WithPlaces(yaml.SafeLoader):  # type: ignore[misc, unused-ignore]
    """YAML's safe loader, whose errors about a value, such as an impossible date, have a line."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(
                None, None, str(error), node.start_mark
            ) from error


# Hydra, which reads the same files, takes 1e-4 for a number; YAML 1.1 asks for 1.0e-4.
WithPlaces.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9][0-9_]*\.?[0-9_]*[eE][-+]?[0-9]+$"),
    [*"-+0123456789"],
)


def read_text(path: Path) -> str:
    """Return the text of a YAML file. Raises ConfigError."""
    content = content_of(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}, line {line}: this is no UTF-8; save the file as UTF-8"
        ) from error


def content_of(path: Path) -> bytes:
    """Return the bytes of a YAML file. Raises ConfigError, also for a FIFO or a device."""
    try:
        with open_regular(path, follow=True) as file:
            return file.read()
    except OSError as error:
        raise ConfigError(f"cannot read {of_the_system(error)}") from error


def of_yaml(error: yaml.YAMLError, name: str, text: str = "") -> str:
    """Return what is wrong with a YAML file in one line, with the file and the line number."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    return f"{name}, line {line}: {problem}"


def defaults_of(path: Path) -> list[Any]:
    """Return the entries of a YAML file's defaults list. Raises ConfigError if it is no list."""
    entries = read(path).get("defaults")
    if entries is not None and not isinstance(entries, list):
        raise ConfigError(
            f"{path}: defaults must be a list, such as [override /loss: gp]; got {entries!r:.40}"
        )
    return entries or []


def is_global(path: Path) -> bool:
    """Return whether a YAML file sets keys of several groups, as its first line says."""
    return _is_global_version(path, _version(path))


@cache
def _is_global_version(path: Path, version: tuple[int, ...]) -> bool:
    first = read_text(path).lstrip().partition("\n")[0]
    return "@package" in first and "_global_" in first


def read_values(path: Path, prefix: str) -> Iterator[tuple[str, Any]]:
    """Return the leaves of a YAML file by dotted key, without Hydra's own entries."""
    own = {name: value for name, value in read(path).items() if name not in ("defaults", "hydra")}
    yield from flatten(own, prefix)


# The folders of the command that runs now: the user's, then ours.
USER_FOLDERS: list[Path] = []
"""Folders that Hydra searches before ours; our search path plugin reads them."""


@contextmanager
def user_files_first(where: Sequence[Path]) -> Iterator[None]:
    """Let files in the user's folders win over ours of the same name, inside the block.

    ``where`` are the folders of a command line, the user's first and ours last. Raises
    ConfigError for a config.yaml in one of the user's, which would take the place of ours.
    """
    before, own = list(USER_FOLDERS), [one for one in where if one != conf_directory()]
    for folder in own:
        if (folder / "config.yaml").is_file():
            raise ConfigError(
                f"{folder / 'config.yaml'} would replace all settings of ours: put your own into "
                "experiment/NAME.yaml there, chosen by experiment=NAME, and remove it"
            )
    USER_FOLDERS[:] = [folder.resolve() for folder in own]
    try:
        yield
    finally:
        USER_FOLDERS[:] = before


def searched_folders() -> tuple[Path, ...]:
    """Return the folders of YAML files of the command that runs now, the user's first.

    They are those of `user_files_first`, then those of plugin files, then ours.
    """
    return tuple(dict.fromkeys((*USER_FOLDERS, *directories())))
