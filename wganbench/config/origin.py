"""Which file a run's settings come from: those that were tuned, or the paper's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wganbench.config.schema import RunConfig, to_dict
from wganbench.presets import preset_values, readable_values
from wganbench.typed import flatten


def settings_line(config: RunConfig, where: Sequence[Path], chosen: str | None = None) -> str:
    """Return one line: tuned settings, with what the paper has instead, or the paper's own.

    Settings that are neither are named. ``where`` are the searched folders of YAML files, and
    ``chosen`` is the NAME of ``tuned=NAME`` if it was given.
    """
    own_name = f"{config.loss.name}-{config.data.name}"
    name = own_name if chosen in (None, "none") else str(chosen)
    tuned = readable_values("tuned", name, where)
    of_loss = readable_values("loss", config.loss.name, where)
    paper = preset_values("train", "default", where) | of_loss
    own = dict(flatten(to_dict(config)))
    kept = {key for key, value in tuned.items() if own.get(key) == value}
    if not any(tuned[key] != paper.get(key) for key in kept):
        whose = "the paper's" if of_loss else "those"
        return f"settings: {whose} of loss={config.loss.name}{_but_for(own, of_loss)}"
    but = _but_for(own, tuned)
    return f"settings: tuned/{name}{but} ({_against(kept, own, paper)}tuned=none: the paper's)"


def _but_for(own: Mapping[str, Any], named: Mapping[str, Any]) -> str:
    """Return in words which settings of a file the run does not have."""
    changed = sorted(key for key, value in named.items() if own.get(key) != value)
    return f", but for {', '.join(changed)}" if changed else ""


def _against(kept: set[str], own: Mapping[str, Any], paper: Mapping[str, Any]) -> str:
    """Return the coefficients of the loss that differ from the paper's, each with the paper's."""
    differing = [
        f"{key.removeprefix('loss.')} {own[key]:g}, the paper's {paper[key]:g}; "
        for key in sorted(kept)
        if key.startswith("loss.") and key in paper and own[key] != paper[key]
    ]
    return "".join(differing)
