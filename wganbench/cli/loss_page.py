"""The page of a loss, made from its row and its YAML files: formulas, golden values, settings.

What goes with every loss, such as packs, is a setting and has no page; `SETTINGS` names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wganbench.config.synonyms import canonical, plain
from wganbench.presets import choices, directories, preset_values, readable_values
from wganbench.typed import as_override

if TYPE_CHECKING:
    from torch import Tensor

    from wganbench.losses import Recipe
    from wganbench.losses.constraints import Critic

Row = tuple[str, str]

REAL, FAKE, WEIGHT = (0.5, 2.0), (-0.5, 1.0), (3.0, 4.0)
"""The scores and the linear critic of the golden values; the critic's slope is 5 everywhere."""

SETTINGS = {
    "loss.packing": ("packing", "packs", "pacgan"),
    "loss.unrolled": ("unrolled", "unrolling", "unrolledgan"),
    "train.optimizer": ("optimistic", "optimisticadam", "optimisticsgd", "ogda", "oadam"),
}
"""Settings that go with every loss, and the names, in the form of `plain`, that lead to them."""

WITH_EVERY_LOSS = (
    "with every loss",
    "loss.packing=2: packs of points (PacGAN); loss.unrolled=5: unrolled steps, without a penalty; "
    "train.optimizer=optimistic_adam: optimistic Adam",
)
"""The row of a list of losses for what is none."""


def setting_of(name: str) -> str | None:
    """Return the setting that goes with every loss under this name; None for a loss."""
    from wganbench.losses import RECIPES

    found = (key for key, names in SETTINGS.items() if plain(name) in names)
    return None if name in RECIPES else next(found, None)


def our_name(name: str, config_dir: Path | None = None) -> str:
    """Return the name of a loss for a common name of it, as ``loss=`` takes both."""
    from wganbench.losses import RECIPES

    return canonical("loss", name, [*{*RECIPES, *choices("loss", directories(config_dir))}])


def loss_page(name: str, config_dir: Path | None = None) -> list[Row]:
    """Return the rows (label, text) of a loss's page. Raises ConfigError for an unknown name.

    ``config_dir`` is a folder of the user's own YAML files.
    """
    from wganbench.config.check import row
    from wganbench.losses import RECIPES

    where = directories(config_dir)
    own = (
        name if name in RECIPES else str(preset_values("loss", name, where).get("loss.name", name))
    )
    recipe: Recipe = row(RECIPES, own, "loss")
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
        *((f"tuned={one}", settings(readable_values("tuned", one, where))) for one in tuned),
        ("source", recipe.source),
    ]
    return [(label, text) for label, text in rows if text]


def penalties_in_words(recipe: Recipe) -> list[str]:
    """Return the formula of each penalty; of a user's own function its name as a call."""
    from wganbench.losses.constraints import SlopePenalty

    return [
        penalty.formula
        if isinstance(penalty, SlopePenalty)
        else f"{getattr(penalty, '__name__', type(penalty).__name__)}(...)"
        for penalty in recipe.penalties
    ]


def holding(recipe: Recipe) -> list[str]:
    """Return all that bounds the critic, in words."""
    from wganbench.losses.constraints import SlopePenalty

    clip = ["every parameter is clipped to [-clip_value, clip_value] after each critic step"]
    wrapper = [recipe.wrapper.value] if recipe.wrapper.value else []
    penalty = [
        f"a penalty{'' if isinstance(one, SlopePenalty) else ' by its own function'}, {text}"
        for one, text in zip(recipe.penalties, penalties_in_words(recipe), strict=True)
    ]
    return [*(clip if recipe.clips else []), *wrapper, *penalty]


def golden_values(name: str, recipe: Recipe, where: Sequence[Path]) -> str:
    """Return what the row's functions give for `REAL`, `FAKE` and the linear critic `WEIGHT`.

    The scores are that critic's. Under a wrapper the losses are of the scores that become of them.
    """
    import torch

    from wganbench.losses.recipes import Wrapper

    weight = torch.tensor(WEIGHT).double()
    critic = wrapped(recipe, weight)
    # The scores s are those at x = s w / |w|^2.
    raw = [torch.tensor(scores).double() for scores in (REAL, FAKE)]
    real, fake = (critic(torch.outer(s, weight / weight.square().sum())) for s in raw)
    objective = recipe.objective
    generator = objective.generator(real if objective.paired else None, fake)
    scores = f"r = {REAL}, f = {FAKE}"
    if recipe.wrapper is not Wrapper.NONE:
        scores += f" of D(x) = 3 x1 + 4 x2 become r = {rounded(real)}, f = {rounded(fake)}"
    found = [
        f"{scores}: critic {float(objective.critic(real, fake)):.6g}, "
        f"generator {float(generator):.6g}"
    ]
    settings = preset_values("loss", name, where)
    coefficients = {key: settings.get(f"loss.{key}") for key in recipe.coefficients}
    if recipe.penalties and None not in coefficients.values():
        points, eps = torch.ones(2, 2), torch.full((2,), 0.5)
        given = {key: float(str(value)) for key, value in coefficients.items()}
        critic = wrapped(recipe, torch.tensor(WEIGHT))
        penalty = recipe.penalty(critic, points, 0 * points, eps, given, points)
        found.append(f"penalty of D(x) = 3 x1 + 4 x2 at the paper's settings {float(penalty):.6g}")
    return "; ".join(found)


def wrapped(recipe: Recipe, weight: Tensor) -> Critic:
    """Return the linear critic x -> weight x as the recipe wraps it."""
    from wganbench.losses.recipes import Wrapper
    from wganbench.networks.pair import gradient_normalised, spectrally_normalised

    if recipe.wrapper is Wrapper.SPECTRAL:
        weight = spectrally_normalised({"weight": weight.unsqueeze(0)})["weight"].squeeze(0)

    def linear(x: Tensor) -> Tensor:
        return x @ weight

    return gradient_normalised(linear) if recipe.wrapper is Wrapper.GRADIENT else linear


def rounded(scores: Tensor) -> str:
    return f"({', '.join(f'{float(score):.6g}' for score in scores)})"


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
