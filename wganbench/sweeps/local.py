"""Stacks over the devices of this machine: a worker process a slot, none idle with work left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait

import torch

from wganbench.config.schema import RunConfig
from wganbench.runs.folder import RunOutcome
from wganbench.sweeps.backend import SAVING_ALL, Ended, Tally, Watcher
from wganbench.sweeps.plan import Slot, StackPlan, local_slots
from wganbench.sweeps.workers import Child, Nursery, nursery
from wganbench.training.process import StopRequest, available_cores

LISTEN_SECONDS = 0.5


class LocalCrew:
    """The devices of this machine, a worker process a slot."""

    def slots(self, config: RunConfig) -> list[Slot]:
        """The slots of this machine that a sweep's settings ask for. Raises ConfigError."""
        devices = config.sweep.devices if config.device == "auto" else config.device
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return local_slots(devices, config.sweep.stacks_per_device, gpus, available_cores())

    def room(self, slots: Sequence[Slot]) -> int:
        """Memory that a stack can count on, its share where others use the same device."""
        return min(free_bytes(slot, slots) for slot in slots)

    def run(
        self, stacks: Sequence[StackPlan], slots: Sequence[Slot], watcher: Watcher
    ) -> list[RunOutcome]:
        """How the runs of all stacks ended."""
        with nursery() as begun:
            return Pool(slots, Tally(watcher), begun).run(stacks)


def free_bytes(slot: Slot, slots: Sequence[Slot]) -> int:
    sharing = sum(other.device == slot.device for other in slots)
    if slot.device == "cpu":
        pages = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return int(pages) // sharing
    return free_gpu_bytes(int(slot.device.partition(":")[2] or 0)) // sharing


ASK_DRIVER = """
import ctypes, sys

cuda, at = ctypes.CDLL("libcuda.so.1"), ctypes.byref
device, context, free, total = (ctypes.c_size_t() for _ in range(4))
failed = [
    cuda.cuInit(0),
    cuda.cuDeviceGet(at(device), int(sys.argv[1])),
    cuda.cuDevicePrimaryCtxRetain(at(context), ctypes.c_int(device.value)),
    cuda.cuCtxSetCurrent(context),
    cuda.cuMemGetInfo_v2(at(free), at(total)),
]
print(free.value)
sys.exit(any(failed))
"""


def free_gpu_bytes(index: int) -> int:
    """Free memory of a GPU, asked in a process of its own: whoever asks holds half a gigabyte of
    it from then on, and this process lives as long as the sweep."""
    command = [sys.executable, "-I", "-S", "-c", ASK_DRIVER, str(index)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        return int(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        free, _ = torch.cuda.mem_get_info(index)
        return int(free)


@dataclass
class Worker:
    """A worker process and the stack it trains, None while it has none."""

    number: int
    child: Child
    stack: StackPlan | None = None


@dataclass
class Pool:
    """Trains stacks on slots and gathers how every run ended."""

    slots: Sequence[Slot]
    tally: Tally
    nursery: Nursery
    waiting: list[StackPlan] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    stopping: bool = False
    stop: StopRequest = field(default_factory=StopRequest)

    def run(self, stacks: Sequence[StackPlan]) -> list[RunOutcome]:
        """How the runs of all stacks ended; those that never began are missing.

        After SIGINT or SIGTERM every worker saves its runs and no further stack begins.
        """
        self.waiting = list(stacks)
        try:
            with StopRequest(lambda: self.tally.watcher.say(SAVING_ALL)) as self.stop:
                self._employ()
                while self._goes_on():
                    self._listen()
                    if self.stop.requested and not self.stopping:
                        self._stop()
        finally:
            # One that is idle holds nothing; ending by itself would take it seconds.
            for worker in self.workers:
                worker.child.connection.close()
                worker.child.signal(signal.SIGKILL)
            for worker in self.workers:
                worker.child.wait()
        return self.tally.outcomes

    def _employ(self) -> None:
        """Give every stack that waits to an idle worker, or to a new one where a slot is free."""
        for worker in self.workers:
            if worker.stack is None:
                self._feed(worker)
        taken = {worker.number for worker in self.workers}
        for number in [n for n in range(len(self.slots)) if n not in taken]:
            if self.waiting and not self._is_asked():
                slot = self.slots[number]
                worker = Worker(number, self.nursery.start(slot.device, slot.threads))
                self.workers.append(worker)
                self._feed(worker)

    def _feed(self, worker: Worker) -> None:
        """Give a worker its next stack, if one is left."""
        if self.waiting and not self._is_asked():
            worker.stack = self.waiting.pop(0)
            # One that is gone already is buried when it is listened to.
            with contextlib.suppress(OSError):
                worker.child.connection.send(worker.stack)

    def _goes_on(self) -> bool:
        """Whether a run is trained here, or by another process, which may let go of it yet."""
        waits = bool(self.tally.elsewhere) and not self._is_asked()
        if waits:
            self.waiting += self.tally.returned()
            self._employ()
            waits = bool(self.tally.elsewhere)
        return waits or any(worker.stack for worker in self.workers)

    def _is_asked(self) -> bool:
        """Whether to save and end, or soon."""
        return self.stopping or self.stop.requested

    def _listen(self) -> None:
        busy = {worker.child.connection: worker for worker in self.workers if worker.stack}
        if not busy:
            time.sleep(LISTEN_SECONDS)
        for connection in wait(list(busy), LISTEN_SECONDS) if busy else ():
            worker = busy[connection]  # type: ignore[index]
            try:
                message = worker.child.connection.recv()
            except (EOFError, OSError):
                self._bury(worker)
            else:
                self._hear(worker, message)

    def _hear(self, worker: Worker, message: object) -> None:
        assert worker.stack is not None
        if isinstance(message, Ended) and self._was_ended_by_others(message):
            worker.child.signal(signal.SIGKILL)
            self._bury(worker)
            return
        left = self.tally.hear(worker.number, worker.stack, message)
        if left is not None:
            self.waiting[:0] = left
            worker.stack = None
            self._employ()

    def _was_ended_by_others(self, message: Ended) -> bool:
        """Whether a worker saved and ended unasked: what had begun it is gone, say."""
        interrupted = any(outcome.status == "interrupted" for outcome in message.outcomes)
        return interrupted and not self._is_asked()

    def _bury(self, worker: Worker) -> None:
        """A worker is gone: its stack goes on in a new one."""
        assert worker.stack is not None
        worker.child.connection.close()
        how = _how_it_died(worker.child.wait())
        self.workers.remove(worker)
        if not self.stopping:
            self.waiting[:0] = self.tally.lost(worker.number, worker.stack, how)
            self._employ()

    def _stop(self) -> None:
        """Ask every worker to save and end."""
        self.stopping = True
        for worker in self.workers:
            if worker.stack:
                worker.child.signal(signal.SIGTERM)


def _how_it_died(code: int | None) -> str:
    if code is None:
        return "a worker died"
    return f"a worker died ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
