"""Figures as pixels, files and moving images; matplotlib's Agg, no global state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from PIL import Image

from wganbench.errors import ConfigError, printable, shortened
from wganbench.files import replacing, write_atomic


@contextmanager
def optional(
    name: str, note: Callable[[str], object], but: type[Exception] = ConfigError
) -> Iterator[None]:
    """Draw a figure in the block: one that fails costs a note, never what it was to show.

    ``note`` is called with a sentence that names the figure and the reason; ``but`` goes through.
    """
    try:
        yield
    except (but, Warning):  # a warning is an error where one wants it so, as our tests do
        raise
    except Exception as error:
        reason = shortened(printable(" ".join(f"{type(error).__name__}: {error}".split())), 200)
        note(f"{name} could not be drawn ({reason}).")


def figure_to_rgb(figure: Figure) -> UInt8[np.ndarray, "h w 3"]:
    """The figure's pixels, at its own size and resolution."""
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def png_bytes(figure: Figure) -> bytes:
    """The figure as the content of a PNG file."""
    canvas: Any = FigureCanvasAgg(figure)
    content = BytesIO()
    # At zlib's own level packing took a fifth of a figure's time, for a file 3 % smaller.
    canvas.print_png(content, pil_kwargs={"compress_level": 3})
    return content.getvalue()


def save_png(figure: Figure, path: str | Path) -> None:
    """Write the figure as PNG; the file appears whole or not at all."""
    write_atomic(Path(path), png_bytes(figure))


def save_svg(figure: Figure, path: str | Path) -> None:
    """Write the figure as SVG, without a date; the file appears whole or not at all."""
    canvas: Any = FigureCanvasSVG(figure)
    with replacing(Path(path)) as file:
        canvas.print_svg(file, metadata={"Date": None})


def animation(
    frames: Sequence[UInt8[np.ndarray, "h w 3"]], path: str | Path, seconds_per_frame: float
) -> None:
    """Write frames as a GIF that repeats for ever; the file appears whole or not at all.

    All frames share the last one's palette, so colours do not flicker. Raises ValueError
    without frames or when their sizes differ.
    """
    if not frames or len({frame.shape for frame in frames}) != 1:
        raise ValueError("an animation takes one or more frames, all of one size")
    pictures = [Image.fromarray(frame) for frame in frames]
    palette = pictures[-1].quantize(256)
    first, *others = (
        picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures
    )
    with replacing(Path(path)) as file:
        first.save(
            file,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=round(1000 * seconds_per_frame),
            loop=0,
        )


# The colours of every figure: Okabe and Ito's, told apart by colour-blind eyes and in grey.
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


# Text on a figure that comes from the user: names and titles, shown as they are written.
LONGEST, LONGEST_LINE = 60, 80
"""Characters of a name and of a line of a title; what is longer is cut in the middle."""


def literal(text: str, longest: int = LONGEST) -> str:
    """One line as matplotlib shall show it: no formula, no box, not too long, never empty.

    A character that the font lacks is written as in Python.

    >>> print(literal("a$b$"), literal("_a"), literal("\\u732b"), literal("abcdefgh", 7))
    a\\$b\\$  _a \\u732b ab...gh
    """
    known = _characters()
    shown = "".join(c if ord(c) in known else escaped(c) for c in printable(text))
    shown = shortened(shown, longest).replace("$", r"\$") or "runs"
    return f" {shown}" if shown.startswith("_") else shown  # else no legend would show it


def heading(text: str) -> str:
    """A title of a few lines of ours, which hold names of the user's: each line literally."""
    return "\n".join(literal(line, LONGEST_LINE) for line in text.split("\n"))


def escaped(character: str) -> str:
    r"""The character as Python writes it: é, \u732b, \U0001f415."""
    return character.encode("ascii", "backslashreplace").decode()


@cache
def _characters() -> frozenset[int]:
    """What the font of figures can show."""
    font: Any = get_font(findfont(FontProperties()))
    return frozenset(font.get_charmap())
