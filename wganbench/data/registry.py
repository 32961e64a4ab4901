"""The registry of data sets: a kind = its options and the function that builds it.

The builders import torch when they are called: the registry can be listed, and options
checked, without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from wganbench.data.dataset import Dataset
from wganbench.data.image_kinds import IMAGE_KINDS
from wganbench.data.options import (
    ADDED_LATER,
    GridOptions,
    MixtureOptions,
    Options,
    PointsOptions,
    RingOptions,
    SwissRollOptions,
    TwoGaussiansOptions,
    check,
)
from wganbench.data.target import Target
from wganbench.presets import preset_names, read_preset
from wganbench.registry import Registry, unknown

if TYPE_CHECKING:
    from wganbench.data.drawn import Drawn


def build(kind: str, options: Mapping[str, Any]) -> Target:
    """The target of a kind; every option must be given.

    Raises ValueError for an unknown kind and for options that are unknown, missing or wrong.
    """
    row = DATASETS[kind]
    return row.build(check(row.options, ADDED_LATER.get(kind, {}) | dict(options)))


def load(name: str, **options: Any) -> Target:
    """The target named ``name``: a preset ``conf/data/<name>.yaml``, or a kind.

    ``options`` replace a preset's values; a kind that is no preset needs all of them.
    Raises ValueError, with the nearest valid name, for an unknown name or option, and
    naming ``data.<key>`` for a value that is wrong.

    >>> import torch
    >>> target = load("ring8", sigma=0.02)
    >>> target.modes.shape, target.sigma
    (torch.Size([8, 2]), 0.02)
    >>> target.sample(256, torch.Generator().manual_seed(0)).shape
    torch.Size([256, 2])
    """
    presets = preset_names("data")
    if name not in presets:
        if name not in DATASETS:
            raise ValueError(unknown("data", name, list(dict.fromkeys([*presets, *DATASETS]))))
        return build(name, options)
    values = read_preset("data", name)
    values.pop("name")
    return build(values.pop("kind"), {**values, **options})


def with_training_set(target: Drawn, options: Options) -> Target:
    """``target`` with the fixed training set that every kind accepts."""
    from wganbench.data.finite import finite

    return finite(target, options.train_points, options.train_seed)


def build_ring(options: RingOptions) -> Target:
    from wganbench.data import toys

    return with_training_set(toys.ring(options.modes, options.radius, options.sigma), options)


def build_grid(options: GridOptions) -> Target:
    from wganbench.data import toys

    return with_training_set(toys.grid(options.side, options.spacing, options.sigma), options)


def build_two_gaussians(options: TwoGaussiansOptions) -> Target:
    from wganbench.data import toys

    return with_training_set(
        toys.two_gaussians(options.distance, options.dimension, options.sigma), options
    )


def build_mixture(options: MixtureOptions) -> Target:
    from wganbench.data import toys

    return with_training_set(toys.mixture(options.centres, options.weights, options.sigma), options)


def build_swiss_roll(options: SwissRollOptions) -> Target:
    from wganbench.data import toys

    return with_training_set(toys.SwissRoll(options.noise), options)


def build_points(options: PointsOptions) -> Target:
    from wganbench.data import points

    place = options.found_at or options.path
    read = points.read_points(place, tuple(options.columns or ()) or None, options.standardize)
    return points.Points(
        read.table,
        options.held_out_share,
        options.train_points,
        options.train_seed,
        read.units,
        read.told,
    )


DATASETS: Registry[Dataset] = Registry("data")

for row in (
    Dataset(
        "ring",
        RingOptions,
        build_ring,
        "equal Gaussians on a circle",
        "arXiv:1704.00028, Fig. 1a; arXiv:1705.07761, Sec. 4.1",
    ),
    Dataset(
        "grid",
        GridOptions,
        build_grid,
        "equal Gaussians on a square grid",
        "arXiv:1704.00028, Fig. 1a; arXiv:1705.07761, Sec. 4.1",
    ),
    Dataset(
        "two_gaussians",
        TwoGaussiansOptions,
        build_two_gaussians,
        "two equal Gaussians a distance apart, in any dimension",
        "arXiv:1701.07875, Fig. 2",
    ),
    Dataset(
        "mixture",
        MixtureOptions,
        build_mixture,
        "Gaussians at centres and with weights of your own",
        "ours",
    ),
    Dataset(
        "swiss_roll",
        SwissRollOptions,
        build_swiss_roll,
        "a noisy spiral in the plane",
        "scikit-learn make_swiss_roll, as scaled in arXiv:1704.00028, Fig. 1a",
    ),
    Dataset(
        "points",
        PointsOptions,
        build_points,
        "a cloud of points of your own, from a file such as .csv or .npy",
        "ours",
    ),
    *IMAGE_KINDS,
):
    DATASETS.register(row.kind, row)
