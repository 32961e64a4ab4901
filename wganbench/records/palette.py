"""The colours of every figure: Okabe and Ito's, told apart by colour-blind eyes and in grey."""

from __future__ import annotations

from typing import Any

from matplotlib.colors import LinearSegmentedColormap

BLACK = "#000000"
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
GREY = "#767676"

REAL = "#222222"
FAKE = VERMILION
MODE = BLUE

SCORES = LinearSegmentedColormap.from_list("scores", ["#a3bbd1", "#d3dfe9", "#fdfdfe"])
"""Critic scores: light where the critic is high; pale, so that points stand out on it."""

CURVES = ((BLUE, "-"), (VERMILION, "--"), (GREEN, "-."))
"""Colour and line style of the first, second, ... curve of a panel."""

REFERENCE: dict[str, Any] = {"color": "#444444", "linestyle": ":", "linewidth": 1.6}
"""How a value that curves are read against is drawn."""
