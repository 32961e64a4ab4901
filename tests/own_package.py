"""A user's package, installed: a row of each registry, as the README's "Extending" says."""

from __future__ import annotations

from pathlib import Path

CODE = """
from dataclasses import dataclass


def penalty(critic, x, x_fake, eps, coefficients):
    return coefficients["my_lambda"] * critic(x).square().mean()


def losses():
    from wganbench.losses import RECIPES, Recipe
    from wganbench.losses.recipes import WASSERSTEIN

    recipe = Recipe("mine", "me", WASSERSTEIN, penalties=(penalty,), coefficients=("my_lambda",))
    RECIPES.register("mine", recipe)


def data():
    import torch
    from wganbench.data import DATASETS, Dataset
    from wganbench.data.options import Options

    @dataclass(kw_only=True)
    class LineOptions(Options):
        length: float

    class Line:
        shape = (2,)

        def __init__(self, length):
            self.length = length

        def sample(self, n, generator):
            at = torch.rand(n, generator=generator, device=generator.device)
            return torch.stack([at * self.length, torch.zeros_like(at)], dim=1)

        held_out = sample

    build = lambda options: Line(options.length)
    DATASETS.register("line", Dataset("line", LineOptions, build, "a line", "me"))


def networks():
    from wganbench.networks import NETWORKS, Network
    from wganbench.networks.mlp import MLPOptions, build_mlp

    @dataclass(kw_only=True)
    class TwinOptions:
        size: int

    def build(options, shape, dtype):
        mlp = MLPOptions(width=options.size, depth=1, activation="relu",
                         critic_normalization="none", generator_normalization="none",
                         initialization="pytorch", latent="normal", latent_dim=2)
        return build_mlp(mlp, shape, dtype)

    takes = lambda shape: len(shape) == 1
    NETWORKS.register("twins", Network(TwinOptions, build, "twins", "me", takes, "points"))


def metrics():
    from wganbench.metrics import register_metric
    from wganbench.tags import Tag

    spread = Tag("mine/spread", "how wide the fakes lie", "data unit", "sd of the fakes", "none",
                 "evaluate", "me")

    @register_metric("spread", tags=[spread], source="me")
    def measure_spread(evaluation):
        return {"mine/spread": float(evaluation.fakes.std())}
"""

ENTRY_POINTS = """
[wganbench.losses]
mine = wganbench_of_mine:losses
[wganbench.data]
mine = wganbench_of_mine:data
[wganbench.networks]
mine = wganbench_of_mine:networks
[wganbench.metrics]
mine = wganbench_of_mine:metrics
"""

YAML = {
    "loss/mine.yaml": "# @package _global_\nloss: {name: mine, n_critic: 1, my_lambda: 0.5}\n",
    "data/line.yaml": "name: line\nkind: line\nlength: 2.0\ntrain_points: null\ntrain_seed: 0\n",
    "network/twins.yaml": "name: twins\nkind: twins\nsize: 6\n",
}


def install(site: Path, code: str = CODE, entry_points: str = ENTRY_POINTS) -> None:
    """Leave the package in a folder as an installer does: its module and its dist-info."""
    info = site / "wganbench_of_mine-1.2.dist-info"
    info.mkdir(parents=True)
    metadata = "Metadata-Version: 2.1\nName: wganbench-of-mine\nVersion: 1.2\n"
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_text(entry_points)
    (site / "wganbench_of_mine.py").write_text(code)


def write_yaml(folder: Path) -> None:
    """What a folder given with --config-dir holds."""
    for name, text in YAML.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
