"""Jobs that compute evaluations and final figures from readings, in any process.

A job is called with a subject and returns arrays, numbers and bytes. It reads no device and
writes no file, so its result is the same in the training process and in a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Protocol, TypeVar

import numpy as np

from wganbench.data.points import as_given
from wganbench.drawing.canvas import figure_to_rgb, optional, png_bytes
from wganbench.drawing.images import are_images, channels_last, to_bytes
from wganbench.metrics import Floor
from wganbench.metrics.rows import covered_modes
from wganbench.runs.events import event_records, histogram_summaries, image_summary
from wganbench.runs.table import Cell
from wganbench.training.figures import image_figures, progress_figure, summary_figure
from wganbench.training.measuring import Reading, Subject, measure_reading

Result = TypeVar("Result", covariant=True)


class Job(Protocol[Result]):
    """Work on a subject; ``floors`` are the floors that it may need."""

    @property
    def floors(self) -> Mapping[int, Floor]: ...

    def __call__(self, subject: Subject) -> Result: ...


@dataclass(frozen=True)
class Evaluated:
    """An evaluation's values by tag, records for TensorBoard, frame, and notes on failures."""

    values: dict[str, float]
    records: list[bytes] = field(default_factory=list)
    frame: bytes | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluate:
    """An evaluation; the flags ask for an image in TensorBoard, a frame and histograms.

    ``wall_time`` is the time of the reading in TensorBoard.
    """

    reading: Reading
    floors: Mapping[int, Floor]
    wall_time: float = 0.0
    final: bool = False
    shows: bool = False
    frame: bool = False
    histograms: bool = False

    def __call__(self, subject: Subject) -> Evaluated:
        values = measure_reading(subject, self.reading, self.final)
        summaries, notes, frame = list[bytes](), list[str](), None
        if self.shows or self.frame:
            with optional("An image of the samples", notes.append):
                picture = progress_figure(subject, self.reading, values)
                frame = png_bytes(picture) if self.frame else None
                if self.shows:
                    summaries.append(image_summary("samples", figure_to_rgb(picture)))
        if self.histograms:
            summaries.extend(_histograms(self.reading))
        records = event_records(self.reading.step, self.wall_time, summaries)
        return Evaluated(values, records, frame, notes)


def _histograms(reading: Reading) -> list[bytes]:
    points = reading.points
    arrays = {
        "critic/score_real": points["score_real"],
        "critic/score_fake": points["score_fake"],
        "critic/slopes": points["slopes_hat"],
        "critic/weights": reading.weights,
    }
    return histogram_summaries({name: values.numpy() for name, values in arrays.items()})


@dataclass(frozen=True)
class Concluded:
    """A run's final values by tag, samples.npz, figures by name, records for TensorBoard."""

    values: dict[str, float]
    samples: bytes
    figures: dict[str, bytes] = field(default_factory=dict)
    records: list[bytes] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Conclude:
    """The final evaluation of a run and its last figures; ``table`` is the course of training.

    ``wall_time`` is the time of the reading in TensorBoard.
    """

    reading: Reading
    floors: Mapping[int, Floor]
    wall_time: float
    table: Mapping[str, Sequence[Cell]]
    title: str
    figure: bool = False
    tensorboard: bool = False

    def __call__(self, subject: Subject) -> Concluded:
        values = measure_reading(subject, self.reading)
        result = Concluded(values, packed_samples(subject, self.reading))
        if self.figure:
            with optional("figure.png", result.notes.append):
                picture = summary_figure(subject, self.reading, values, self.table, self.title)
                result.figures["figure"] = png_bytes(picture)
            for name, draw in image_figures(subject, self.reading, self.title).items():
                with optional(f"{name}.png", result.notes.append):
                    picture = draw()
                    result.figures[name] = png_bytes(picture)
                    if self.tensorboard:
                        summary = image_summary(name, figure_to_rgb(picture))
                        result.records.extend(
                            event_records(self.reading.step, self.wall_time, [summary])
                        )
        return result


def packed_samples(subject: Subject, reading: Reading) -> bytes:
    """Return an .npz of points in the data's units, or of images as bytes (n, h, w, c).

    Images are compressed; as bytes they take a quarter of the size of fp32. Of a mixture it has
    the ``modes`` (K, d) too, and ``mode_counts`` (K,), the high-quality fakes at each of them.
    """
    target = subject.target
    points = {name: as_given(reading.points[name], target).numpy() for name in ("reals", "fakes")}
    save: Callable[..., None] = np.savez
    if are_images(points["fakes"]):
        points = {name: channels_last(to_bytes(values)) for name, values in points.items()}
        save = np.savez_compressed
    if target.modes is not None:
        protocol = subject.config.evaluate.protocol
        found = covered_modes(target, reading.points["fakes"], protocol)
        points |= {"modes": target.modes.numpy(), "mode_counts": np.array(found.counts)}
    content = BytesIO()
    save(content, **points)
    return content.getvalue()
