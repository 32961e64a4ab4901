"""Where the YAML files are, and the values in one of them, without Hydra."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from wganbench.registry import unknown


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
