"""Figures as pixels, files and animations, by matplotlib's Agg without global state."""

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

from wganbench.errors import ConfigError, note_of, printable, shortened
from wganbench.files import replacing, write_atomic

DPI = 110
"""Pixels of a figure per inch."""


@contextmanager
def optional(
    name: str, note: Callable[[str], object], but: type[Exception] = ConfigError
) -> Iterator[None]:
    """Turn a failure to draw a figure in the block into a note, so that the run continues.

    ``note`` is called with a sentence on the figure and the reason. Errors of type ``but`` are
    raised.
    """
    try:
        yield
    except (but, Warning):  # a warning is raised only if it was made an error, as in our tests
        raise
    except Exception as error:
        note(f"{name} could not be drawn ({note_of(error)}).")


def figure_to_rgb(figure: Figure) -> UInt8[np.ndarray, "h w 3"]:
    """Return the figure's pixels, at its own size and resolution."""
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])


def png_bytes(figure: Figure) -> bytes:
    """Return the figure as the content of a PNG file."""
    canvas: Any = FigureCanvasAgg(figure)
    content = BytesIO()
    # zlib's default level took a fifth of a figure's time, for a file only 3 % smaller.
    canvas.print_png(content, pil_kwargs={"compress_level": 3})
    return content.getvalue()


def save_png(figure: Figure, path: str | Path) -> None:
    """Write the figure as PNG, atomically."""
    write_atomic(Path(path), png_bytes(figure))


def save_svg(figure: Figure, path: str | Path) -> None:
    """Write the figure as SVG without a date, atomically."""
    canvas: Any = FigureCanvasSVG(figure)
    with replacing(Path(path)) as file:
        canvas.print_svg(file, metadata={"Date": None})


def animation(
    frames: Sequence[UInt8[np.ndarray, "h w 3"]], path: str | Path, seconds_per_frame: float
) -> None:
    """Write frames as a GIF that repeats without end, atomically.

    All frames use the last frame's palette, so colours do not flicker. Raises ValueError
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


def panel_place(i: int, count: int, columns: int) -> tuple[int, int, int | tuple[int, int]]:
    """Return the arguments of ``add_subplot`` for panel i of ``count``, row by row.

    The last panel takes the rest of its row, so that no place stays empty.

    >>> panel_place(0, 5, 2), panel_place(4, 5, 2)
    ((3, 2, 1), (3, 2, (5, 6)))
    """
    rows = -(-count // columns)
    last = i == count - 1 and count < rows * columns
    return rows, columns, (i + 1, rows * columns) if last else i + 1


# The colours of all figures, by Okabe and Ito: distinct for colour-blind readers and in grey.
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
"""Colours of critic scores: light for high scores, all pale, so that points are visible."""

CURVES = ((BLUE, "-"), (VERMILION, "--"), (GREEN, "-."))
"""Colours and line styles of a panel's curves, in order."""

REFERENCE: dict[str, Any] = {"color": "#444444", "linestyle": ":", "linewidth": 1.6}
"""Style of the line for a reference value."""


# Text from the user in a figure: names and titles, shown literally.
LONGEST, LONGEST_LINE = 60, 80
"""Most characters of a name and of a title's line; longer text is cut in the middle."""


def literal(text: str, longest: int = LONGEST) -> str:
    """Return a line that matplotlib shows literally: no formula, not too long, not empty.

    A character that the font lacks is escaped as in Python.

    >>> print(literal("a$b$"), literal("_a"), literal("\\u732b"), literal("abcdefgh", 7))
    a\\$b\\$  _a \\u732b ab...gh
    """
    known = _characters()
    shown = "".join(c if ord(c) in known else escaped(c) for c in printable(text))
    shown = shortened(shown, longest).replace("$", r"\$") or "runs"
    return f" {shown}" if shown.startswith("_") else shown  # legends leave out a leading "_"


def heading(text: str) -> str:
    """Return a title of several lines, each shown literally, see `literal`."""
    return "\n".join(literal(line, LONGEST_LINE) for line in text.split("\n"))


def escaped(character: str) -> str:
    r"""Return the character as Python escapes it: é, \u732b, \U0001f415."""
    return character.encode("ascii", "backslashreplace").decode()


@cache
def _characters() -> frozenset[int]:
    """Return the characters that the font of figures has."""
    font: Any = get_font(findfont(FontProperties()))
    return frozenset(font.get_charmap())
