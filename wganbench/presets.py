"""Where the YAML files are, and the values in one of them, without Hydra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from wganbench.registry import unknown
from wganbench.typed import flatten


@cache
def conf_directory() -> Path:
    """The folder of YAML files: inside the package in a wheel, beside it in a source tree."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "conf", package.parent / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise FileNotFoundError(f"no conf/config.yaml inside or beside {package}")


def preset_names(group: str) -> list[str]:
    """Names of the YAML files of a group, such as ``"data"``, sorted."""
    return sorted(path.stem for path in (conf_directory() / group).glob("*.yaml"))


def read_preset(group: str, name: str) -> dict[str, Any]:
    """Values of ``conf/<group>/<name>.yaml``, without what it asks of other groups.

    Raises ValueError for an unknown name.
    """
    path = conf_directory() / group / f"{name}.yaml"
    if not path.is_file():
        raise ValueError(unknown(group, name, preset_names(group)))
    values = dict(yaml.safe_load(path.read_text()) or {})
    values.pop("defaults", None)
    return values


def describe_preset(group: str, name: str) -> str:
    """The comment lines at the head of a YAML file: what it is and where it comes from."""
    return " ".join(head_lines(conf_directory() / group / f"{name}.yaml"))


def head_lines(path: Path) -> list[str]:
    """The comment lines at the head of a YAML file, without their marks and directives."""
    head: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("# ").strip()
        if text and not text.startswith("@"):
            head.append(text)
    return head


# Which choices and keys the YAML files offer, read without Hydra.
GROUPS = ("loss", "data", "network", "train", "tuned", "experiment")
"""The folders of conf/ that hold choices, as in ``loss=gp``."""

OVERRIDES_NETWORK = "override /network@"
"""How the YAML of a data set chooses a network in its own defaults list."""


def directories(config_dir: str | Path | None = None) -> tuple[Path, ...]:
    """Where YAML files are looked for: the user's own folder first, then the project's."""
    own = () if config_dir is None else (Path(config_dir),)
    return (*own, conf_directory())


def choices(group: str, where: Sequence[Path]) -> list[str]:
    """The names that ``group=...`` accepts, sorted."""
    return sorted({path.stem for folder in where for path in (folder / group).glob("*.yaml")})


def preset_values(group: str, name: str, where: Sequence[Path]) -> dict[str, Any]:
    """What choosing ``group=name`` sets, by dotted key; nothing for an unknown name."""
    for folder in where:
        path = folder / group / f"{name}.yaml"
        if path.is_file():
            return dict(read_values(path, "" if is_global(path) else f"{group}."))
    return {}


def base_values() -> dict[str, Any]:
    """What config.yaml itself sets, by dotted key."""
    return dict(read_values(conf_directory() / "config.yaml", ""))


def default_choice(group: str) -> str | None:
    """The choice of a group where the user makes none."""
    for entry in read(conf_directory() / "config.yaml").get("defaults", []):
        if isinstance(entry, dict) and group in entry:
            return None if entry[group] is None else str(entry[group])
    return None


def chosen_keys(chosen: Mapping[str, str], where: Sequence[Path]) -> list[str]:
    """Every key that exists under the choices ``{group: name}``, groups themselves included."""
    keys = [*base_values(), *GROUPS]
    chosen = suggested_choices(chosen, where) | dict(chosen)
    for group in ("loss", "data", "network", "train"):
        name = chosen.get(group) or default_choice(group) or ""
        keys += preset_values(group, name, where)
    return list(dict.fromkeys(keys))


def suggested_choices(chosen: Mapping[str, str], where: Sequence[Path]) -> dict[str, str]:
    """The network that the chosen data asks for, where it does."""
    data = chosen.get("data") or default_choice("data")
    for folder in where:
        path = folder / "data" / f"{data}.yaml"
        if path.is_file():
            entries = read(path).get("defaults", [])
            pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
            networks = [str(name) for key, name in pairs if key.startswith(OVERRIDES_NETWORK)]
            return {"network": networks[-1]} if networks else {}
    return {}


def all_keys(where: Sequence[Path]) -> list[str]:
    """Every key of any choice."""
    keys = [*base_values(), *GROUPS]
    for group in ("loss", "data", "network", "train"):
        for name in choices(group, where):
            keys += preset_values(group, name, where)
    return list(dict.fromkeys(keys))


def owners(key: str, where: Sequence[Path]) -> list[str]:
    """The choices of a key's group that have the key: those of loss for ``loss.gp_lambda``."""
    group = key.partition(".")[0]
    return [name for name in choices(group, where) if key in preset_values(group, name, where)]


@cache
def read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {})


@cache
def is_global(path: Path) -> bool:
    first = path.read_text(encoding="utf-8").lstrip().partition("\n")[0]
    return "@package" in first and "_global_" in first


def read_values(path: Path, prefix: str) -> Iterator[tuple[str, Any]]:
    """Leaves of a YAML file by dotted key, Hydra's own entries left out."""
    own = {name: value for name, value in read(path).items() if name not in ("defaults", "hydra")}
    yield from flatten(own, prefix)
