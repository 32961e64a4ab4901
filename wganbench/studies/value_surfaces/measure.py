"""Critics trained against data plus unit noise, and measurements of their value surfaces."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.config import RunConfig, compose
from wganbench.data import Target, build
from wganbench.losses.constraints import input_slopes, interpolate
from wganbench.metrics import wasserstein_exact
from wganbench.studies.frozen import FrozenStack, critic_in_double, fitting_threads, noisy
from wganbench.studies.rest import Reading, train_to_rest
from wganbench.studies.study import finite
from wganbench.training.device import pick_device
from wganbench.training.streams import stream_generator

DATA = ("ring8", "grid25", "swiss_roll")
GRID, REACH = 128, 3.0
"""The paper's surfaces: 128 x 128 points over [-3, 3]^2."""
NOISE = 1.0
"""The fixed generator of the paper: samples of the data plus N(0, I)."""
DIGITS = 4
"""Decimals of a surface that is kept for the figure, in standard deviations of D."""

Critic = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Arm:
    """A loss with one coefficient."""

    loss: str
    value: float

    @property
    def name(self) -> str:
        return f"{self.loss} {self.value:g}"


def target_of(data: str) -> Target:
    config = compose([f"data={data}", "evaluate.protocol=veegan"]).data
    return build(config.kind, config.options)


def train_arms(
    arms: Sequence[Arm], seeds: Sequence[int], settings: Mapping[str, Any], device: str
) -> list[dict[str, Any]]:
    """Return a row per arm of one loss, data set and seed, trained to rest; the first seed's have a
    surface.

    All data sets train in one stack, in which each run has its own distributions.
    """
    runs = [(arm, data, seed) for arm in arms for data in DATA for seed in seeds]
    targets = {data: target_of(data) for data in DATA}
    stack = FrozenStack(
        [configure(arm, seed, settings) for arm, _, seed in runs],
        pick_device(device),
        [noisy(targets[data].sample, NOISE) for _, data, _ in runs],
        [targets[data].sample for _, data, _ in runs],
    )
    clouds = {(d, s): Clouds.draw(targets[d], s, settings["points"]) for d in DATA for s in seeds}

    def read() -> Reading:
        critics = [critic_in_double(stack, run) for run in range(len(runs))]
        found = [statistics(c, clouds[d, s]) for c, (_, d, s) in zip(critics, runs, strict=True)]
        return {name: [one[name] for one in found] for name in found[0]}

    groups = [(arm.name, data) for arm, data, _ in runs]
    with fitting_threads(stack):
        rests = train_to_rest(stack, read, groups, settings["first"], settings["most"], TOLERANCES)
    diverged, rows = stack.diverged_at(), []
    for run, (arm, data, seed) in enumerate(runs):
        critic, cloud = critic_in_double(stack, run), clouds[data, seed]
        lost = diverged[run] >= 0
        row = {"arm": arm.name, "data": data, "seed": seed, "diverged": lost}
        rows.append(row | measured(critic, cloud, seed == seeds[0], lost) | rests[run].row()
                    | rests[run].by_statistic())  # fmt: skip
    return rows


SHARES = ("higher_moments", "beyond_gaussian", "attainment")
TOLERANCES = dict.fromkeys(SHARES, 0.01)
"""Movements of the shares that count as none: a tenth of the smallest effect of interest."""


def statistics(critic: Critic, cloud: Clouds) -> dict[str, float]:
    """Return what must come to rest: the estimate, and the three shares of the claims.

    The slope in the attainment is the largest at the points, without the grid.
    """
    estimate = cloud.estimate(critic)
    shown = torch.cat([cloud.reals, cloud.fakes])
    slope = float(input_slopes(critic, torch.cat([shown, cloud.between])).max())
    return {
        "estimate": estimate,
        "higher_moments": unexplained(shown, critic(shown)) if slope else math.nan,
        "beyond_gaussian": beyond_gaussian(critic, cloud) if estimate else math.nan,
        "attainment": estimate / (slope * cloud.distance) if slope else math.nan,
    }


def configure(arm: Arm, seed: int, settings: Mapping[str, Any]) -> RunConfig:
    """The paper's settings of a loss, with the study's network, rate and steps."""
    clips = arm.loss == "clip"
    rate = settings["clip_lr_per_value"] * arm.value if clips else settings["gp_lr"]
    config = compose([
        f"loss={arm.loss}", "tuned=none", f"data={DATA[0]}", "train.decay=none",
        f"loss.{'clip_value' if clips else 'gp_lambda'}={arm.value}",
        f"network.width={settings['width']}", f"network.depth={settings['depth']}",
        f"train.batch_size={settings['batch_size']}",
        f"train.critic_lr={rate}", f"compile={'auto' if settings['compile'] else 'false'}",
    ])  # fmt: skip
    config = copy.deepcopy(config)
    config.seed = seed
    return config


# Measuring.
@dataclass(frozen=True)
class Clouds:
    """Reals, fakes, interpolates between them, and the exact distance of the two clouds.

    ``matched``: points of a Gaussian with the reals' own mean and covariance.
    """

    reals: Float[Tensor, "n 2"]
    fakes: Float[Tensor, "n 2"]
    between: Float[Tensor, "n 2"]
    matched: Float[Tensor, "n 2"]
    distance: float

    @staticmethod
    def draw(target: Target, seed: int, n: int) -> Clouds:
        """Return points that training has not seen, the same for all arms of a seed."""
        source = stream_generator(seed, "value_surfaces", 0)
        reals = target.held_out(n, source).double()
        fakes = noisy(target.sample, NOISE)(n, source).double()
        eps = torch.rand(n, generator=source, dtype=torch.float64)
        between = interpolate(reals, fakes, eps)
        normals = torch.randn(n, 2, generator=source, dtype=torch.float64)
        distance = wasserstein_exact(reals, fakes)
        return Clouds(reals, fakes, between, moment_matched(normals, reals), distance)

    def estimate(self, critic: Critic) -> float:
        """E D(x) - E D(y)."""
        return float(critic(self.reals).mean() - critic(self.fakes).mean())


def moment_matched(
    points: Float[Tensor, "n 2"], like: Float[Tensor, "m 2"]
) -> Float[Tensor, "n 2"]:
    """``points`` moved and stretched so that mean and covariance are exactly those of ``like``."""
    own, wanted = (torch.linalg.cholesky(torch.cov(cloud.T)) for cloud in (points, like))
    white = torch.linalg.solve_triangular(own, (points - points.mean(dim=0)).T, upper=False)
    moved: Tensor = (wanted @ white).T + like.mean(dim=0)
    return moved


def measured(critic: Critic, cloud: Clouds, keep_surface: bool, diverged: bool) -> dict[str, Any]:
    """Return all measurements of one critic; None for those that a diverged critic lacks."""
    points = torch.cat([cloud.reals, cloud.fakes])
    estimate = cloud.estimate(critic)
    scores, on_grid = critic(points), surface_points()
    slope = float(input_slopes(critic, torch.cat([points, cloud.between, on_grid])).max())
    flat = diverged or not slope > 0
    shape = (critic(on_grid) - scores.mean()) / scores.std()
    return {
        "higher_moments": None if flat else unexplained(points, scores),
        "beyond_gaussian": None if flat else beyond_gaussian(critic, cloud),
        "attainment": None if flat else estimate / (slope * cloud.distance),
        "estimate": finite(estimate),
        "lipschitz": finite(slope),
        "distance": cloud.distance,
        "surface": rounded(shape) if keep_surface and not flat else None,
    }


def unexplained(x: Float[Tensor, "n 2"], scores: Float[Tensor, " n"]) -> float:
    """Return the share of D's variance that no quadratic in x explains.

    It is 1 - R^2 of the least squares of D on 1, x1, x2, x1^2, x1 x2, x2^2: the part of D that
    depends on moments above the second. It is 0 for a quadratic critic and at most 1.
    """
    a, b = x.unbind(dim=1)
    columns = torch.stack([torch.ones_like(a), a, b, a * a, a * b, b * b], dim=1)
    # Scaled: a clipped critic's scores span as little as 1e-5.
    values = (scores - scores.mean()) / scores.std(correction=0)
    fit = torch.linalg.lstsq(columns, values.unsqueeze(1)).solution
    return float((values - (columns @ fit).squeeze(1)).square().mean())


def beyond_gaussian(critic: Critic, cloud: Clouds) -> float:
    """Return the share of the estimate that comes from the reals' moments above the second.

    It is (E D(x) - E D(g)) / (E D(x) - E D(y)) with g Gaussian of the reals' mean and covariance;
    it is exactly 0 for a quadratic critic.
    """
    gap = critic(cloud.reals).mean() - critic(cloud.matched).mean()
    return float(gap) / cloud.estimate(critic)


def surface_points() -> Float[Tensor, "n 2"]:
    """The paper's grid, row by row."""
    line = torch.linspace(-REACH, REACH, GRID, dtype=torch.float64)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([columns, rows], dim=2).reshape(-1, 2)


def rounded(values: Float[Tensor, " n"]) -> list[float]:
    return [round(value, DIGITS) for value in values.tolist()]
