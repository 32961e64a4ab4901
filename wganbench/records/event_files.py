"""The event files of a run's folder: their order, and cutting them when a run goes back."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.message import (  # type: ignore[import-untyped, unused-ignore]
    DecodeError,
)
from tensorboard.backend.event_processing import (  # type: ignore[import-untyped, unused-ignore]
    event_file_loader,
)
from tensorboard.compat.proto import (  # type: ignore[import-untyped, unused-ignore]
    event_pb2,
    summary_pb2,
)
from tensorboard.plugins.hparams import metadata  # type: ignore[import-untyped, unused-ignore]
from tensorboard.summary.writer import (  # type: ignore[import-untyped, unused-ignore]
    record_writer,
)

from wganbench.files import is_plain_file, replacing

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
