"""A run's TensorBoard events: scalars, images, histograms, parameters, layout."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, SupportsFloat

import numpy as np
from google.protobuf.message import (  # type: ignore[import-untyped, unused-ignore]
    DecodeError,
)
from jaxtyping import UInt8
from numpy.typing import ArrayLike
from tensorboard.backend.event_processing import (  # type: ignore[import-untyped, unused-ignore]
    event_file_loader,
)
from tensorboard.compat.proto import (  # type: ignore[import-untyped, unused-ignore]
    event_pb2,
    summary_pb2,
)
from tensorboard.plugins.hparams import (  # type: ignore[import-untyped, unused-ignore]
    api_pb2,
    metadata,  # type: ignore[import-untyped, unused-ignore]
    plugin_data_pb2,
)
from tensorboard.summary.writer import (  # type: ignore[import-untyped, unused-ignore]
    event_file_writer,
    record_writer,
)
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard import summary as torch_summary

from wganbench.errors import printable
from wganbench.files import explained, is_plain_file, replacing
from wganbench.tags.lookup import charts, tag_regex
from wganbench.typed import flatten

# The event files of a run's folder: their order, and cutting them when a run goes back.
PREFIX = "events.out.tfevents."
SESSION_END = metadata.SESSION_END_INFO_TAG


def cut_events(path: str | Path, step: int) -> None:
    """Leave of a folder's event files one, with each value up to ``step`` once.

    A value is known by its step, tag and kind; the last one written stays. Parameters and
    layout (step 0) stay once, the mark of a finished session goes. A truncated last
    record is dropped. The new file appears in one step, mostly in the place of the first
    one; a process that dies on the way leaves at worst files that the next call cuts again.
    """
    files = event_files(Path(path))
    if not files:
        return
    events = [event for file in files for event in _read(file)]
    head = [event for event in events if event.file_version][:1]
    kept = _once(event for event in events if event.step <= step)
    target = _older_name(files[0])
    with replacing(target) as stream:
        writer = record_writer.RecordWriter(stream)
        for event in head + kept:
            writer.write(event.SerializeToString())
    for other in set(files) - {target}:
        other.unlink()


def event_files(folder: Path) -> list[Path]:
    """Event files in the order in which TensorBoard reads them; links and devices are none."""
    return sorted(file for file in folder.glob(f"{PREFIX}*") if is_plain_file(file))


def wait_for_a_later_name(folder: Path) -> None:
    """Wait, a second at most, until a new file's name sorts after those that are there.

    TensorBoard reads files in the order of their names, which begin with the second of
    their creation; two of one second would come in any order.
    """
    taken = [_second(file) for file in event_files(folder)]
    end = time.monotonic() + 1
    while int(time.time()) in taken and time.monotonic() < end:
        time.sleep(0.01)


def _older_name(file: Path) -> Path:
    """The file's path, or one of the past second if its own is not over yet."""
    now = int(time.time())
    if _second(file) < now:
        return file
    rest = file.name.removeprefix(PREFIX).partition(".")[2]
    return file.with_name(f"{PREFIX}{now - 1:010d}.{rest}")


def _second(file: Path) -> int:
    """The second of a file's creation, as its name says; 0 for a foreign name."""
    digits = file.name.removeprefix(PREFIX).partition(".")[0]
    return int(digits) if digits.isdecimal() else 0


def _read(file: Path) -> Iterable[Any]:
    for record in event_file_loader.RawEventFileLoader(str(file)).Load():
        try:
            yield event_pb2.Event.FromString(record)
        except DecodeError:  # whole, but no event of TensorBoard's
            continue


def _once(events: Iterable[Any]) -> list[Any]:
    """Summaries in which each (step, tag, kind) is left once, the last one, in their order."""
    seen: set[tuple[int, str, str | None]] = set()
    kept = []
    for event in reversed(list(events)):
        values = []
        for value in event.summary.value:
            key = (event.step, value.tag, value.WhichOneof("value"))
            if key not in seen and value.tag != SESSION_END:
                seen.add(key)
                values.append(value)
        if values:
            summary = summary_pb2.Summary(value=values)
            kept.append(
                event_pb2.Event(wall_time=event.wall_time, step=event.step, summary=summary)
            )
    return kept[::-1]


# How TensorBoard's custom-scalars page groups the tags.
def scalar_layout() -> dict[str, dict[str, list[object]]]:
    """The charts in the form of `SummaryWriter.add_custom_scalars`.

    TensorBoard reads each entry as a regular expression that is not anchored
    (``grad_norm/critic`` would also match every layer), so each one is anchored here.
    """
    return {
        group: {
            chart: ["Multiline", [tag_regex(tag) for tag in tags]] for chart, tags in inside.items()
        }
        for group, inside in charts().items()
    }


FLUSH_SECONDS = 15
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

    def add(self, step: int, summaries: Iterable[bytes]) -> None:
        """Images and histograms of a step that are made already."""
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
            _, start, _ = summaries(shown_parameters(params), {})
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


def picture_summary(tag: str, rgb: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The pixels of an image as event files hold it."""
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


def shown_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """Nested parameters by dotted key, as numbers or texts that the page can show."""
    return {key: shown_parameter(value) for key, value in flatten(params)}


def shown_parameter(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool | list | tuple):
        return json.dumps(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):  # a name of a file need not be UTF-8
        return printable(value)
    return value


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
