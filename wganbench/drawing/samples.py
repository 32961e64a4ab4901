"""A panel that shows the generator's samples beside the data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import ScalarFormatter

from wganbench.drawing.canvas import BLACK, FAKE, GREY, MODE, REAL, SCORES

POINTS_DRAWN = 2500
BINS = 80
LEVELS = 12
MARGIN = 0.2
POINT: dict[str, Any] = {"marker": "o", "linestyle": "", "markeredgewidth": 0}
DOTS: dict[str, dict[str, Any]] = {
    "generated": POINT | {"color": FAKE, "markersize": 3.6},
    "real": POINT | {"color": REAL, "markersize": 1.8},
    "mode": POINT | {"color": MODE, "markersize": 11, "fillstyle": "none", "markeredgewidth": 1.3},
}
KEY_SIZES = {"real": 5, "generated": 6, "mode": 11}
"""Sizes of the legend's markers, which are larger than the drawn points."""
ARROW_SHARE, MOST_SHARE = 0.12, 0.24
"""Lengths of an arrow for a gradient of 1 and of the longest one, as shares of the panel's width.

The scale is the same in all figures, so that arrows of two steps or two runs can be compared."""
RISING_SHARE = 0.06
"""Length of an arrow towards rising density, as a share of the panel's width."""

FADED = 0.25
"""Opacity of arrows whose direction is chance."""


DENSITY_SHARES = (0.99, 0.9, 0.5)
"""Shares of the data inside the contours of a known density, the outermost first."""

DENSITY_POINTS = 200
"""Points of the grid that the outermost contour must hold: a smaller one would look torn."""


class CriticGrid(NamedTuple):
    """The critic's scores on a grid: score[j, i] belongs to the point (x[i], y[j]).

    ``density`` holds the data's log density there, and its levels at the contours that hold
    `DENSITY_SHARES` of the data; None where it is not known.
    """

    x: Float[np.ndarray, " nx"]
    y: Float[np.ndarray, " ny"]
    score: Float[np.ndarray, "ny nx"]
    density: tuple[Float[np.ndarray, "ny nx"], Float[np.ndarray, " k"]] | None = None


class Arrows(NamedTuple):
    """Generated points, and the directions in which the generator's loss moves them.

    ``by_chance`` says that the points lie on the data already (W1 below two floors): their
    directions are then chance, and the arrows are drawn faintly. ``rising`` holds the gradients of
    the data's log density at the points; None where it is not known.
    """

    points: Float[np.ndarray, "k 2"]
    directions: Float[np.ndarray, "k 2"]
    by_chance: bool = False
    rising: Float[np.ndarray, "k 2"] | None = None


ALONE = 16
"""The most arrows where there are no modes."""


def mean_arrows(
    points: Float[np.ndarray, "n 2"],
    directions: Float[np.ndarray, "n 2"],
    modes: Float[np.ndarray, "K 2"] | None,
    by_chance: bool = False,
) -> Arrows:
    """Return one arrow for each mode that points are nearest to: means of their places and moves.

    Without modes it is one for each of the first points.
    """
    sound = np.isfinite(points).all(1) & np.isfinite(directions).all(1)
    points, directions = np.asarray(points)[sound], np.asarray(directions)[sound]
    if modes is None:
        return Arrows(points[:ALONE], directions[:ALONE], by_chance)
    nearest = ((points[:, None] - np.asarray(modes)) ** 2).sum(2).argmin(1)
    parts = [nearest == mode for mode in np.unique(nearest)]
    places, moves = ([part[own].mean(0) for own in parts] for part in (points, directions))
    return Arrows(np.reshape(places, (-1, 2)), np.reshape(moves, (-1, 2)), by_chance)


def draw_samples(
    axes: Axes,
    reals: Float[np.ndarray, "n ..."],
    fakes: Float[np.ndarray, "m ..."],
    modes: Float[np.ndarray, "K d"] | None,
    critic_grid: CriticGrid | None,
    arrows: Arrows | None,
) -> None:
    """Draw reals and fakes: a histogram for d = 1, points for d = 2, principal axes for d > 2.

    In the plane the critic's contours lie below and the arrows above the points. The
    window fits the data, so fakes far away are counted in a note and not drawn.
    """
    real, fake = _flat(reals), _flat(fakes)
    broken = int((~np.isfinite(fake).all(1)).sum())
    fake = fake[np.isfinite(fake).all(1)]
    centres = None if modes is None else np.asarray(modes, dtype=float)
    if real.shape[1] == 1:
        outside = _histogram(axes, real[:, 0], fake[:, 0], centres)
    elif real.shape[1] == 2:
        low, high = _window(real, centres, critic_grid)
        if critic_grid is not None:
            _contours(axes, critic_grid)
            _density(axes, critic_grid)
        outside = _cloud(axes, real, fake, centres, low, high)
        if arrows is not None:
            _rising(axes, arrows, float(high[0] - low[0]))
            _arrows(axes, arrows, float(high[0] - low[0]))
        axes.set(xlabel="$x_1$", ylabel="$x_2$")
    else:
        outside = _principal(axes, real, fake, centres)
    _notes(axes, len(fake) + broken, outside, broken)


def _flat(points: np.ndarray) -> Float[np.ndarray, "n d"]:
    array = np.asarray(points, dtype=float)
    return array.reshape(len(array), -1)


def _window(
    real: np.ndarray, centres: np.ndarray | None, grid: CriticGrid | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper corner of the window: of the grid if given, else of the data."""
    if grid is not None:
        return np.array([grid.x[0], grid.y[0]]), np.array([grid.x[-1], grid.y[-1]])
    shown = real if centres is None else np.concatenate([real, centres])
    low, high = shown.min(0), shown.max(0)
    edge = MARGIN * max(float((high - low).max()), 1e-6)
    return low - edge, high + edge


def _contours(axes: Axes, grid: CriticGrid) -> None:
    score = np.ma.masked_invalid(np.asarray(grid.score, dtype=float))
    if score.count() == 0:
        return
    if np.ptp(score.compressed()) == 0:
        axes.text(0.02, 0.98, f"critic score {score.compressed()[0]:.3g} everywhere",
                  transform=axes.transAxes, va="top", fontsize=8, color=GREY)  # fmt: skip
        return
    filled = axes.contourf(grid.x, grid.y, score, levels=LEVELS, cmap=SCORES, zorder=0)
    axes.contour(filled, colors="white", linewidths=0.5, zorder=0.5)
    figure = axes.get_figure()
    if figure is not None:
        bar = axes.inset_axes((1.02, 0.075, 0.04, 0.85))
        scale = ScalarFormatter()
        scale.set_powerlimits((-2, 4))  # scores of an unconstrained critic have any size
        figure.colorbar(filled, cax=bar, label="critic score", format=scale)


def _density(axes: Axes, grid: CriticGrid) -> None:
    """Draw the contours of the data's density, unless they are too small for the grid."""
    if grid.density is None:
        return
    values, levels = grid.density
    if (values >= levels[0]).sum() < DENSITY_POINTS or (np.diff(levels) <= 0).any():
        return
    axes.contour(grid.x, grid.y, values, levels, colors=MODE, linewidths=1, linestyles="--",
                 zorder=3.5)  # fmt: skip
    shares = ", ".join(f"{share:g}" for share in DENSITY_SHARES)
    axes.plot([], [], color=MODE, linewidth=1, linestyle="--", label=f"{shares}\nof the data")


def _cloud(
    axes: Axes,
    real: np.ndarray,
    fake: np.ndarray,
    centres: np.ndarray | None,
    low: np.ndarray,
    high: np.ndarray,
) -> int:
    """Draw points in the plane; return the number of fakes outside the window."""
    axes.plot(*fake[:POINTS_DRAWN].T, **DOTS["generated"], alpha=0.7, zorder=2)
    axes.plot(*real[:POINTS_DRAWN].T, **DOTS["real"], alpha=0.6, zorder=3)
    if centres is not None:
        axes.plot(*centres.T, **DOTS["mode"], zorder=4)
    for name, size in KEY_SIZES.items():
        if name != "mode" or centres is not None:
            axes.plot([], [], **DOTS[name] | {"markersize": size, "label": name})
    axes.set_aspect("equal")
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    return int(((fake < low) | (fake > high)).any(1).sum())


def _rising(axes: Axes, arrows: Arrows, width: float) -> None:
    """Draw where the data's density rises from the points, in arrows of one length.

    Points that lie on the data have no such direction but by chance.
    """
    if arrows.rising is None or arrows.by_chance:
        return
    lengths = np.linalg.norm(arrows.rising, axis=1, keepdims=True)
    sound = (np.isfinite(lengths) & (lengths > 0))[:, 0]
    if not sound.any():
        return
    moves = arrows.rising[sound] / lengths[sound] * (RISING_SHARE * width)
    axes.quiver(*arrows.points[sound].T, *moves.T, angles="xy", scale_units="xy", scale=1,
                color=MODE, width=0.003, zorder=4.5)  # fmt: skip
    axes.plot([], [], color=MODE, linestyle="", marker=r"$\rightarrow$", markersize=13,
              label="rising density")  # fmt: skip


def _arrows(axes: Axes, arrows: Arrows, width: float) -> None:
    """Draw arrows on the common scale; longer ones are cut, and the legend says so."""
    points, directions = (np.asarray(part, dtype=float) for part in arrows[:2])
    sound = np.isfinite(points).all(1) & np.isfinite(directions).all(1)
    lengths = np.linalg.norm(directions[sound], axis=1, keepdims=True)
    if not lengths.any():
        return
    most = MOST_SHARE / ARROW_SHARE
    scaled = directions[sound] * (ARROW_SHARE * width)
    scaled /= np.maximum(lengths / most, 1)
    axes.quiver(*points[sound].T, *scaled.T, angles="xy", scale_units="xy", scale=1, color=BLACK,
                width=0.004, zorder=5, alpha=FADED if arrows.by_chance else 1)  # fmt: skip
    cut = f", cut at {most:g}" if (lengths > most).any() else ""
    meaning = f"(slope 1: {ARROW_SHARE:.0%} wide{cut})"
    meaning = "(chance: W1 < 2 floors)" if arrows.by_chance else meaning
    axes.plot([], [], color=BLACK, linestyle="", marker=r"$\rightarrow$", markersize=13,
              alpha=FADED if arrows.by_chance else 1,
              label=f"direction of the generator's loss\n{meaning}")  # fmt: skip


def _histogram(axes: Axes, real: np.ndarray, fake: np.ndarray, centres: np.ndarray | None) -> int:
    low, high = (corner[0] for corner in _window(real[:, None], centres, None))
    edges = np.linspace(low, high, BINS + 1)
    axes.hist(real, list(edges), density=True, color=REAL, alpha=0.35, label="real")
    inside = fake[(fake >= low) & (fake <= high)]
    if inside.size:
        axes.hist(inside, list(edges), density=True, histtype="step", color=FAKE, linewidth=1.6,
                  label="generated")  # fmt: skip
    for i, centre in enumerate([] if centres is None else centres.ravel()):
        axes.axvline(centre, color=MODE, linestyle=":", linewidth=1.2,
                     label="mode" if i == 0 else None)  # fmt: skip
    axes.set(xlabel="$x$", ylabel="density", xlim=(low, high))
    return len(fake) - len(inside)


def _principal(axes: Axes, real: np.ndarray, fake: np.ndarray, centres: np.ndarray | None) -> int:
    mean = real.mean(0)
    _, spread, directions = np.linalg.svd(real - mean, full_matrices=False)
    shares = spread**2 / max(float((spread**2).sum()), 1e-30)
    plane = directions[:2].T
    shown, shown_fake = (real - mean) @ plane, (fake - mean) @ plane
    shown_modes = None if centres is None else (centres.reshape(len(centres), -1) - mean) @ plane
    outside = _cloud(axes, shown, shown_fake, shown_modes, *_window(shown, shown_modes, None))
    names = [f"principal axis {i + 1} ({shares[i]:.0%} of the reals' variance)" for i in (0, 1)]
    axes.set(xlabel=names[0], ylabel=names[1])
    return outside


def _notes(axes: Axes, total: int, outside: int, broken: int) -> None:
    notes = [f"{outside} of {total} generated points lie outside"] * (outside > 0)
    notes += [f"{broken} of {total} generated points are not finite"] * (broken > 0)
    if notes:
        axes.text(0.02, 0.02, "\n".join(notes), transform=axes.transAxes, fontsize=9,
                  zorder=6, bbox={"facecolor": "white", "edgecolor": GREY, "alpha": 0.9,
                                  "boxstyle": "round,pad=0.3"})  # fmt: skip
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), borderaxespad=4.6, ncols=5,
                frameon=False, fontsize=9, columnspacing=0.8, handletextpad=0.3)  # fmt: skip
