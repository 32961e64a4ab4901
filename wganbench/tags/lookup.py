"""The table of tags: every quantity a run records, and how not to misread it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from wganbench.errors import told
from wganbench.registry import Registry, UnknownName
from wganbench.tags.table import (
    BUDGET,
    CRITIC,
    DIVERGENCE,
    FIDELITY,
    GRAD_NORM,
    LOSS,
    MODES,
    SPEED,
    WASSERSTEIN,
    Tag,
)

LAYER = "<i>"
BETTER = {"up": "higher", "down": "lower", "target": "at its target", "none": "neither"}
WHEN = {"log": "every logged step", "evaluate": "every evaluation", "final": "at the end"}

TAGS: Registry[Tag] = Registry("tags", group="metrics")
"""What metrics of a user's own bring is registered with them, see `metrics.register_metric`."""

for _group in (
    LOSS, WASSERSTEIN, DIVERGENCE, CRITIC, GRAD_NORM, MODES, FIDELITY, BUDGET, SPEED
):  # fmt: skip
    for _tag in _group:
        TAGS.register(_tag.name, _tag)


def is_pattern(name: str) -> bool:
    """Whether a row stands for one tag per layer."""
    return LAYER in name


def tag_regex(name: str) -> str:
    """Anchored regular expression that matches the tags of a row and nothing else.

    >>> tag_regex("modes/kl"), tag_regex("grad_norm/critic_layer_<i>")
    ('^modes/kl$', '^grad_norm/critic_layer_[0-9]+$')
    """
    return "^" + "[0-9]+".join(re.escape(part) for part in name.split(LAYER)) + "$"


def tag_for(name: str) -> Tag:
    """The row of a tag; ``grad_norm/critic_layer_3`` finds its pattern's row.

    Raises UnknownName (a ValueError) with the nearest name that exists.
    """
    if name in TAGS:
        return TAGS[name]
    for row in filter(is_pattern, TAGS):
        if re.fullmatch(tag_regex(row), name):
            return TAGS[row]
    group = [tag for tag in TAGS if tag.startswith(f"{name}/")]
    judged = [tag for tag in group if TAGS[tag].direction in ("up", "down")]
    first = f"{name}/exact" if f"{name}/exact" in group else next(iter(judged), None)
    near = [first] if first else difflib.get_close_matches(name, list(TAGS), n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise UnknownName(f"unknown tag {told(name)}{hint} (`wganbench list metrics` shows all)")


def column_order(tags: Iterable[str]) -> list[str]:
    """Tags without repeats in the table's order, layers by number; raises for unknown ones.

    >>> column_order(["modes/kl", "grad_norm/critic_layer_10", "grad_norm/critic_layer_9"])
    ['grad_norm/critic_layer_9', 'grad_norm/critic_layer_10', 'modes/kl']
    """
    rank = {name: position for position, name in enumerate(TAGS)}

    def key(tag: str) -> tuple[int, int, str]:
        row = tag_for(tag).name
        layer = re.search(r"[0-9]+$", tag) if is_pattern(row) else None
        return rank[row], int(layer.group()) if layer else -1, tag

    return sorted(set(tags), key=key)


def glossary_markdown() -> str:
    """The table of tags as Markdown: a section per group, a table, then the caveats."""
    groups: dict[str, list[Tag]] = {}
    for tag in TAGS.values():
        groups.setdefault(tag.name.split("/")[0], []).append(tag)
    return "\n".join(_section(group, tags) for group, tags in groups.items())


def _section(group: str, tags: list[Tag]) -> str:
    lines = [
        f"### {group}",
        "",
        "| tag | meaning | formula | unit | better | measured | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for tag in tags:
        cells = [f"`{tag.name}`", tag.meaning, f"`{tag.formula}`", tag.unit]
        cells += [BETTER[tag.direction], WHEN[tag.cadence], tag.source]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    caveats = [f"- `{tag.name}`: {tag.caveat}" for tag in tags if tag.caveat]
    if caveats:
        lines += ["", "How not to misread them:", "", *caveats]
    return "\n".join([*lines, ""])


# What is shown of runs while they train: one table, for a run's line and a sweep's table.
#
# Workers tell these tags and no others; views show these and no others.
@dataclass(frozen=True)
class Shown:
    """A figure: its tag, words with a place for the number, and how many digits that has."""

    tag: str
    words: str
    form: str

    @property
    def heading(self) -> str:
        """The words without the number, for the head of a column."""
        return self.words.replace("{}", "").strip()

    def number(self, value: float) -> str:
        return format(value, self.form)

    def sentence(self, value: float) -> str:
        """
        >>> LIVE[0].sentence(8)
        'modes 8'
        """
        return self.words.format(self.number(value))

    def best(self, runs: Iterable[Mapping[str, float]]) -> float | None:
        """The best value of any run; None where none has one."""
        return self._extreme(runs, largest=self._up)

    def worst(self, runs: Iterable[Mapping[str, float]]) -> float | None:
        """The worst value of any run; None where none has one."""
        return self._extreme(runs, largest=not self._up)

    @property
    def _up(self) -> bool:
        return TAGS[self.tag].direction == "up"

    def _extreme(self, runs: Iterable[Mapping[str, float]], largest: bool) -> float | None:
        found = [run[self.tag] for run in runs if self.tag in run]
        return (max(found) if largest else min(found)) if found else None


LIVE = (
    Shown("modes/covered", "modes {}", ".0f"),
    Shown("wasserstein/exact", "W1 {}", ".3g"),
    Shown("fidelity/fid", "FID {}", ".2f"),
    Shown("speed/steps_per_second", "{} steps/s", ".4g"),
)


def live_values(values: Mapping[str, float]) -> dict[str, float]:
    """Of a run's values those that a view shows."""
    return {shown.tag: values[shown.tag] for shown in LIVE if shown.tag in values}
