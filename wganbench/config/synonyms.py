"""Common names for our choices: ``loss=wgan-gp`` is ``loss=gp``."""

from __future__ import annotations

from collections.abc import Sequence

VALUES: dict[str, dict[str, str]] = {
    "loss": {
        "wgangp": "gp",
        "improvedwgan": "gp",
        "wgan": "clip",
        "wganclip": "clip",
        "clipping": "clip",
        "weightclipping": "clip",
        "wganlp": "lp",
        "gan": "bce",
        "vanilla": "bce",
        "vanillagan": "bce",
        "dcgan": "bce",
        "standard": "bce",
        "nsgan": "bce",
        "nonsaturating": "bce",
        "minimax": "bce_saturating",
        "mmgan": "bce_saturating",
        "saturating": "bce_saturating",
        "r1": "bce_r1",
        "ganr1": "bce_r1",
        "gangp": "bce_gp",
        "r3gan": "rpgan_r1r2",
        "sngan": "hinge_sn",
        "gngan": "hinge_gn",
    },
    "data": {
        "8gaussians": "ring8",
        "eightgaussians": "ring8",
        "25gaussians": "grid25",
        "100gaussians": "grid100",
        "twomoons": "moons",
        "2spirals": "spirals",
        "twospirals": "spirals",
        "dirac": "two_point_masses",
        "fmnist": "fashion_mnist",
        "cifar": "cifar10",
        "csv": "points",
        "pictures": "image_folder",
        "images": "image_folder",
    },
    "network": {"fc": "mlp", "dense": "mlp", "resnet": "resnet32"},
    "tuned": {"paper": "none", "papers": "none", "null": "none", "false": "none", "off": "none"},
}
"""By group: common names, in the form of `plain`, and our names."""


def plain(name: str) -> str:
    """Return a name in lower case without separators between its words.

    >>> plain("WGAN-GP"), plain("swiss_roll")
    ('wgangp', 'swissroll')
    """
    return name.lower().translate(str.maketrans("", "", "-_ ."))


def canonical(group: str, name: str, choices: Sequence[str]) -> str:
    """Return our name for a common name of a choice, else the name unchanged.

    The first match counts: an existing choice, a choice that differs only in case or separators,
    a name in `VALUES`.
    """
    if name in choices:
        return name
    same = [choice for choice in choices if plain(choice) == plain(name)]
    ours = same[0] if len(same) == 1 else VALUES.get(group, {}).get(plain(name), name)
    return ours if ours in choices else name
