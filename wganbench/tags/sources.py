"""Where the quantities of the table of tags come from."""

from __future__ import annotations

GAN = "arXiv:1406.2661"
WGAN = "arXiv:1701.07875"
GP = "arXiv:1704.00028"
PRINCIPLED = "arXiv:1701.04862"
VEEGAN = "VEEGAN, arXiv:1705.07761"
PACGAN = "PacGAN, arXiv:1712.04086"
SELF_COND = "self-conditioned GAN, arXiv:2006.10728"
PR = "arXiv:1904.06991"
DC = "arXiv:2002.09797"
FID = "arXiv:1706.08500, eq. 6, computed by torchmetrics"
KID = "arXiv:1801.01401, computed by torchmetrics"
ENERGY_OF = "Szekely & Rizzo 2013; the Cramer GAN, arXiv:1705.10743"
OURS = "wganbench"
