"""A run's TensorBoard events: scalars, pictures, histograms, parameters, layout."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, SupportsFloat

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from tensorboard.compat.proto import (  # type: ignore[import-untyped, unused-ignore]
    summary_pb2,
)
from tensorboard.plugins.hparams import (  # type: ignore[import-untyped, unused-ignore]
    api_pb2,
    metadata,
    plugin_data_pb2,
)
from tensorboard.summary.writer import (  # type: ignore[import-untyped, unused-ignore]
    event_file_writer,
)
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard import summary as torch_summary

from wganbench.errors import printable
from wganbench.files import explained
from wganbench.records.event_files import cut_events, wait_for_a_later_name
from wganbench.records.layout import scalar_layout
from wganbench.records.pictures import figure_to_rgb

__all__ = ["EventLog", "cut_events"]

FLUSH_SECONDS = 15
SESSION_END = metadata.SESSION_END_INFO_TAG
END_STATUS = {
    "completed": api_pb2.STATUS_SUCCESS,
    "diverged": api_pb2.STATUS_FAILURE,
    "failed": api_pb2.STATUS_FAILURE,
}


@cache
def tell_once() -> None:
    """No traceback of the writer's thread when it ends with an OSError, on a full disk say.

    The writer raises the same error again at the next call, where it is told in one line.
    """
    before = threading.excepthook

    def hook(told: threading.ExceptHookArgs) -> None:
        writes = type(told.thread).__module__ == event_file_writer.__name__
        if not (writes and isinstance(told.exc_value, OSError)):
            before(told)

    threading.excepthook = hook


class EventLog:
    """Writer of one run's events, all in the run's own folder, without sub-runs.

    ``purge_step`` hides what an earlier writer left at this step and later: where the
    files were cut with `cut_events`, from a TensorBoard that is open and has read them.
    Raises OSError when the folder cannot be written.
    """

    def __init__(self, path: str | Path, purge_step: int | None = None) -> None:
        self._written: tuple[int, set[str]] = (0, set())
        self._session_started = False
        wait_for_a_later_name(Path(path))
        tell_once()
        with explained(Path(path)):
            self._writer = SummaryWriter(str(path), purge_step=purge_step, flush_secs=FLUSH_SECONDS)

    def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """One record with the values of a step, in fp32 as TensorBoard shows them."""
        if not values:
            return
        with np.errstate(over="ignore"):
            rounded = {tag: float(np.float32(float(value))) for tag, value in values.items()}
        value = [summary_pb2.Summary.Value(tag=t, simple_value=v) for t, v in rounded.items()]
        self._add(summary_pb2.Summary(value=value), step)
        before = self._written[1] if self._written[0] == step else set()
        self._written = (step, before | set(values))

    def figure(self, tag: str, picture: NDArray[np.uint8] | Figure, step: int) -> None:
        """A picture: a figure, or an array (height, width, 3) of bytes."""
        self.add(step, [picture_summary(tag, picture)])

    def histograms(self, step: int, arrays: Mapping[str, ArrayLike]) -> None:
        """A histogram of each array, see `histogram_summaries`."""
        self.add(step, histogram_summaries(arrays))

    def add(self, step: int, summaries: Iterable[bytes]) -> None:
        """Pictures and histograms of a step that are made already."""
        for summary in summaries:
            self._add(summary_pb2.Summary.FromString(summary), step)

    def hparams(
        self,
        params: Mapping[str, Any],
        metrics: Mapping[str, SupportsFloat],
        status: str = "completed",
    ) -> None:
        """What TensorBoard's HParams page shows of this run: a session with its parameters.

        ``params`` may be nested (keys are joined by dots). ``metrics`` are final values:
        the page reads them from the scalars, so they are written at the last logged step
        unless the same tag stands there already. With status running or interrupted the
        session stays open, and a later call closes it. The experiment summary is left out
        on purpose: TensorBoard takes the first run's for all of them, and columns of other
        runs vanish.
        """
        last, there = self._written
        self.scalars(last, {tag: value for tag, value in metrics.items() if tag not in there})
        if not self._session_started:
            summaries: Any = torch_summary.hparams
            _, start, _ = summaries(dict(_flat(params)), {})
            self._add(start)
            self._session_started = True
        if status in END_STATUS:
            self._add(_session_end(END_STATUS[status]))

    def layout(self) -> None:
        """Write the custom-scalars page's layout."""
        self._writer.add_custom_scalars(scalar_layout())

    def flush(self) -> None:
        """Bring everything written so far to the disk."""
        self._writer.flush()

    def close(self) -> None:
        """Flush and end the file; harmless when closed already."""
        if self._writer.all_writers is not None:
            self._writer.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _add(self, summary: Any, step: int | None = None) -> None:
        file: Any = self._writer.file_writer
        if file is None:
            raise ValueError("these events are closed")
        file.add_summary(summary, step)


def picture_summary(tag: str, picture: NDArray[np.uint8] | Figure) -> bytes:
    """A figure, or an array (height, width, 3) of bytes, as event files hold it."""
    rgb = figure_to_rgb(picture) if isinstance(picture, Figure) else picture
    make: Any = torch_summary.image
    content: bytes = make(tag, rgb, dataformats="HWC").SerializeToString()
    return content


def histogram_summaries(arrays: Mapping[str, ArrayLike]) -> list[bytes]:
    """A histogram of each array's finite values, as ``histogram/<name>``.

    The prefix keeps it apart from a scalar of the same name, of which TensorBoard would
    show only one. An array without finite values is left out.
    """
    summaries: list[bytes] = []
    make: Any = torch_summary.histogram
    for name, array in arrays.items():
        values = np.asarray(array).ravel()
        finite = values[np.isfinite(values)]
        if finite.size:
            summary = make(f"histogram/{name}", finite, _histogram_bins())
            summaries.append(summary.SerializeToString())
    return summaries


@cache
def _histogram_bins() -> list[float]:
    """Limits of bins as TensorBoard's: each a tenth wider than the one before."""
    positive, limit = list[float](), 1e-12
    while limit < 1e20:
        positive.append(limit)
        limit *= 1.1
    return [-limit for limit in reversed(positive)] + [0.0] + positive


def _flat(params: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested parameters as pairs of dotted key and a number or text that the page can show."""
    for key, value in params.items():
        value = value.item() if isinstance(value, np.generic) else value
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, bool | list | tuple):
            yield prefix + key, json.dumps(value)
        elif isinstance(value, float) and not math.isfinite(value):
            yield prefix + key, str(value)
        elif isinstance(value, str):  # a name of a file need not be UTF-8
            yield prefix + key, printable(value)
        else:
            yield prefix + key, value


def _session_end(status: int) -> Any:
    content = plugin_data_pb2.HParamsPluginData(
        session_end_info=plugin_data_pb2.SessionEndInfo(status=status),
        version=metadata.PLUGIN_DATA_VERSION,
    )
    plugin = summary_pb2.SummaryMetadata.PluginData(
        plugin_name=metadata.PLUGIN_NAME, content=content.SerializeToString()
    )
    described = summary_pb2.SummaryMetadata(plugin_data=plugin)
    return summary_pb2.Summary(
        value=[summary_pb2.Summary.Value(tag=SESSION_END, metadata=described)]
    )
