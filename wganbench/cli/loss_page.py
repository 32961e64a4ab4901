"""The page of a loss, made from its row and its YAML files: formulas, golden values, settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wganbench.presets import choices, directories, preset_values
from wganbench.typed import as_override

if TYPE_CHECKING:
    from wganbench.losses import Recipe

Row = tuple[str, str]

REAL, FAKE, WEIGHT = (0.5, 2.0), (-0.5, 1.0), (3.0, 4.0)
"""The scores and the linear critic of the golden values; the critic's slope is 5 everywhere."""


def loss_page(name: str, config_dir: Path | None = None) -> list[Row]:
    """Return the rows (label, text) of a loss's page. Raises ConfigError for an unknown name.

    ``config_dir`` is a folder of the user's own YAML files.
    """
    from wganbench.config.check import row
    from wganbench.losses import RECIPES

    recipe: Recipe = row(RECIPES, name, "loss")
    where = directories(config_dir)
    tuned = [one for one in choices("tuned", where) if one.startswith(f"{name}-")]
    critic, generator = recipe.objective.formulas
    penalties = penalties_in_words(recipe)
    rows = [
        ("what it is", recipe.summary),
        ("critic minimises", " + ".join([text for text in (critic, *penalties) if text])),
        ("generator minimises", generator),
        ("constraint on the critic", "; ".join(holding(recipe)) or "none"),
        ("golden values", golden_values(name, recipe, where)),
        ("known for", recipe.known_for),
        ("paper's settings", settings(preset_values("loss", name, where))),
        *((f"tuned={one}", settings(preset_values("tuned", one, where))) for one in tuned),
        ("source", recipe.source),
    ]
    return [(label, text) for label, text in rows if text]


def penalties_in_words(recipe: Recipe) -> list[str]:
    """Return the formula of each penalty; of a user's own function its name."""
    from wganbench.losses.penalties import SlopePenalty

    return [
        penalty.formula
        if isinstance(penalty, SlopePenalty)
        else getattr(penalty, "__name__", type(penalty).__name__)
        for penalty in recipe.penalties
    ]


def holding(recipe: Recipe) -> list[str]:
    """Return all that bounds the critic, in words."""
    clip = ["every parameter is clipped to [-clip_value, clip_value] after each critic step"]
    wrapper = [recipe.wrapper.value] if recipe.wrapper.value else []
    penalty = [f"a penalty, {text}" for text in penalties_in_words(recipe)]
    return [*(clip if recipe.clips else []), *wrapper, *penalty]


def golden_values(name: str, recipe: Recipe, where: Sequence[Path]) -> str:
    """Return what the row's functions give for `REAL`, `FAKE` and the linear critic `WEIGHT`."""
    import torch

    real, fake = torch.tensor(REAL).double(), torch.tensor(FAKE).double()
    objective = recipe.objective
    generator = objective.generator(real if objective.paired else None, fake)
    found = [
        f"r = {REAL}, f = {FAKE}: critic {float(objective.critic(real, fake)):.6g}, "
        f"generator {float(generator):.6g}"
    ]
    settings = preset_values("loss", name, where)
    coefficients = {key: settings.get(f"loss.{key}") for key in recipe.coefficients}
    if recipe.penalties and None not in coefficients.values():
        weight, points = torch.tensor(WEIGHT), torch.ones(2, 2)
        given = {key: float(str(value)) for key, value in coefficients.items()}
        penalty = recipe.penalty(
            lambda x: x @ weight, points, 0 * points, torch.full((2,), 0.5), given, points
        )
        found.append(f"penalty of D(x) = 3 x1 + 4 x2 at the paper's settings {float(penalty):.6g}")
    return "; ".join(found)


def settings(values: dict[str, object]) -> str:
    """Return the values of a YAML file as overrides."""
    kept = {key: value for key, value in values.items() if key != "loss.name"}
    return " ".join(f"{key}={as_override(value)}" for key, value in kept.items())


def pages_markdown() -> str:
    """Return the pages of all losses that have a YAML file here, as Markdown."""
    return "\n".join(_markdown(name) for name in _in_order())


def _in_order() -> list[str]:
    from wganbench.losses import RECIPES
    from wganbench.presets import preset_names

    return [name for name in RECIPES if name in preset_names("loss")]


FORMULAS = ("critic minimises", "generator minimises")


def _markdown(name: str) -> str:
    lines = [f"### {name}", "", "| | |", "|---|---|"]
    for label, text in loss_page(name):
        code = label in FORMULAS or label.startswith("tuned=") or label.startswith("paper's")
        cell = text.replace("|", "\\|")
        lines.append(f"| {label} | {f'`{cell}`' if code else cell} |")
    return "\n".join([*lines, ""])
