"""Stopping in good order: SIGINT and SIGTERM ask the loop to save and end."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from wganbench.files import tell_ending

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Context manager that turns a signal into a request, and Ctrl-C after it into an end.

    SIGTERM only ever asks: several that come together, of a batch system or because the parent
    went too, must not break off the saving. Outside the main thread, where Python allows no
    handlers, it never asks.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {s: signal.signal(s, self._ask) for s in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        tell_ending()
