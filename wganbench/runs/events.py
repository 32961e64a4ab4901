"""A run's TensorBoard events: scalars, images, histograms, parameters, layout."""

from __future__ import annotations

import io
import json
import math
import os
import socket
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
    record_writer,
)
from torch.utils.tensorboard import summary as torch_summary

from wganbench.errors import printable
from wganbench.files import append_whole, explained, is_plain_file, open_own, replacing
from wganbench.runs.record import Status
from wganbench.tags.lookup import charts, tag_regex
from wganbench.typed import flatten

# The event files of a run's folder: their order, and cutting them at the step of a resume.
PREFIX = "events.out.tfevents."
FILE_VERSION = "brain.Event:2"
SESSION_END = metadata.SESSION_END_INFO_TAG


def cut_events(path: str | Path, step: int) -> None:
    """Merge a folder's event files into one that holds each value up to ``step`` once.

    Values are equal if step, tag and kind are; the last one written is kept. Parameters and
    layout (step 0) are kept once; the mark of a finished session is removed. A truncated last
    record is dropped. The new file is written atomically, usually under the name of the first
    one. If the process dies meanwhile, the next call cuts the remaining files again.
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
    """Return the event files in TensorBoard's order, without links and devices."""
    return sorted(file for file in folder.glob(f"{PREFIX}*") if is_plain_file(file))


def wait_for_a_later_name(folder: Path) -> None:
    """Wait up to one second until the name of a new file sorts after the existing ones.

    TensorBoard reads files in the order of their names, which begin with the second of their
    creation. The order of two files of the same second would be arbitrary.
    """
    taken = [_second(file) for file in event_files(folder)]
    end = time.monotonic() + 1
    while int(time.time()) in taken and time.monotonic() < end:
        time.sleep(0.01)


def _older_name(file: Path) -> Path:
    """Return the file's path, or one named after the last second if its own is not over."""
    now = int(time.time())
    if _second(file) < now:
        return file
    rest = file.name.removeprefix(PREFIX).partition(".")[2]
    return file.with_name(f"{PREFIX}{now - 1:010d}.{rest}")


def _second(file: Path) -> int:
    """Return the second of a file's creation from its name; 0 for a foreign name."""
    digits = file.name.removeprefix(PREFIX).partition(".")[0]
    return int(digits) if digits.isdecimal() else 0


def _read(file: Path) -> Iterable[Any]:
    for record in event_file_loader.RawEventFileLoader(str(file)).Load():
        try:
            yield event_pb2.Event.FromString(record)
        except DecodeError:  # a complete record, but not a TensorBoard event
            continue


def _once(events: Iterable[Any]) -> list[Any]:
    """Return events that hold only the last value of each (step, tag, kind), in order."""
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


# The groups of tags on TensorBoard's custom-scalars page.
def scalar_layout() -> dict[str, dict[str, list[object]]]:
    """Return the charts in the form of `SummaryWriter.add_custom_scalars`.

    TensorBoard reads each entry as a regular expression without anchors (``grad_norm/critic``
    would also match every layer), so each entry is anchored here.
    """
    return {
        group: {
            chart: ["Multiline", [tag_regex(tag) for tag in tags]] for chart, tags in inside.items()
        }
        for group, inside in charts().items()
    }


END_STATUS = {
    "completed": api_pb2.STATUS_SUCCESS,
    "diverged": api_pb2.STATUS_FAILURE,
    "failed": api_pb2.STATUS_FAILURE,
}


class EventLog:
    """Writer of one run's events, all in the run's own folder, without sub-runs.

    Every event is in the file when its call returns. ``purge_step`` hides the values of an
    earlier writer from this step on. After `cut_events`, this is for an open TensorBoard that has
    already read them. Raises OSError if the folder cannot be written.
    """

    def __init__(self, path: str | Path, purge_step: int | None = None) -> None:
        self._session_started = False
        folder = Path(path)
        wait_for_a_later_name(folder)
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
            name = f"{PREFIX}{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._file = os.fdopen(open_own(folder / name, flags), "ab", buffering=0)
        self._append(_record(event_pb2.Event(wall_time=time.time(), file_version=FILE_VERSION)))
        if purge_step is not None:
            started = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            event = event_pb2.Event(wall_time=time.time(), step=purge_step, session_log=started)
            self._append(_record(event))

    def scalars(self, step: int, values: Mapping[str, SupportsFloat]) -> None:
        """Write one record with the values of a step, in fp32 as TensorBoard shows them."""
        self.rows([(step, values, ())])

    def rows(
        self, rows: Iterable[tuple[int, Mapping[str, SupportsFloat], Iterable[bytes]]]
    ) -> None:
        """Write steps, all at once: images and histograms as `event_records`, and values."""
        records: list[bytes] = []
        for step, values, images in rows:
            records += images
            if values:
                records.append(_event_record(_scalar_summary(values), step))
        if records:
            self._append(b"".join(records))

    def add(self, records: Iterable[bytes]) -> None:
        """Write images and histograms, given as `event_records`."""
        self._append(b"".join(records))

    def hparams(self, params: Mapping[str, Any], status: Status = "completed") -> None:
        """Write this run's session for TensorBoard's HParams page.

        ``params`` may be nested; keys are joined by dots. With status running or interrupted the
        session stays open, and a later call closes it. No experiment summary is written, on
        purpose: TensorBoard would use the first run's for all runs and lose the columns of the
        others.
        """
        if not self._session_started:
            summaries: Any = torch_summary.hparams
            _, start, _ = summaries(shown_parameters(params), {})
            self._add(start)
            self._session_started = True
        if status in END_STATUS:
            self._add(_session_end(END_STATUS[status]))

    def layout(self) -> None:
        """Write the layout of the custom-scalars page."""
        summary: Any = torch_summary.custom_scalars
        self._add(summary(scalar_layout()))

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self._file.close()

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _add(self, summary: Any) -> None:
        """Write a summary that belongs to no step."""
        self._append(_event_record(summary, 0))

    def _append(self, record: bytes) -> None:
        """Write whole records, or nothing if that fails: later records stay readable."""
        if self._file.closed:
            raise ValueError("these events are closed")
        append_whole(self._file, record)


def _scalar_summary(values: Mapping[str, SupportsFloat]) -> Any:
    with np.errstate(over="ignore"):
        rounded = np.array([float(v) for v in values.values()]).astype(np.float32).tolist()
    return summary_pb2.Summary(
        value=[
            summary_pb2.Summary.Value(tag=tag, simple_value=number)
            for tag, number in zip(values, rounded, strict=True)
        ]
    )


def _event_record(summary: Any, step: int) -> bytes:
    return _record(event_pb2.Event(wall_time=time.time(), step=step, summary=summary))


def event_records(step: int, wall_time: float, summaries: Iterable[bytes]) -> list[bytes]:
    """Return serialized summaries as records for an `EventLog`, with their checksums.

    TensorBoard computes a checksum at five million bytes a second, so it is not left to the
    process that trains.
    """
    events = (
        event_pb2.Event(
            wall_time=wall_time, step=step, summary=summary_pb2.Summary.FromString(summary)
        )
        for summary in summaries
    )
    return [_record(event) for event in events]


def _record(event: Any) -> bytes:
    """Return an event as a record of an event file: length, content and their checksums."""
    content = io.BytesIO()
    record_writer.RecordWriter(content).write(event.SerializeToString())
    return content.getvalue()


def image_summary(tag: str, rgb: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """Return an image as a serialized summary, see `event_records`."""
    make: Any = torch_summary.image
    content: bytes = make(tag, rgb, dataformats="HWC").SerializeToString()
    return content


def histogram_summaries(arrays: Mapping[str, ArrayLike]) -> list[bytes]:
    """Return a histogram of each array's finite values, with the tag ``histogram/<name>``.

    The prefix separates it from a scalar of the same name: TensorBoard would show only one of
    the two. An array without finite values is left out.
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
    """Return TensorBoard's bin limits: each bin is a tenth wider than the one before."""
    positive, limit = list[float](), 1e-12
    while limit < 1e20:
        positive.append(limit)
        limit *= 1.1
    return [-limit for limit in reversed(positive)] + [0.0] + positive


def shown_parameters(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested parameters by dotted key, as numbers or texts that the page can show."""
    return {key: shown_parameter(value) for key, value in flatten(params)}


def shown_parameter(value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool | list | tuple):
        return json.dumps(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):  # the name of a file may not be UTF-8
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
