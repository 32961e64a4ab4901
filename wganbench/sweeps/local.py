"""The local backend: one worker process per slot of this machine takes stacks from a queue."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import wait

import torch

from wganbench.config.memory import machine_bytes
from wganbench.config.schema import RunConfig
from wganbench.runs.folder import RunOutcome
from wganbench.sweeps.backend import SAVING_ALL, Collector, Watcher, ended_by_others
from wganbench.sweeps.plan import Slot, StackPlan, local_slots
from wganbench.sweeps.workers import Worker, Workers, workers_in_use
from wganbench.training.cuda.executor import CLUSTERS
from wganbench.training.device import gpu_count
from wganbench.training.execution import may_compile
from wganbench.training.process import StopRequest, available_cores

RECEIVE_SECONDS = 0.5
"""How long to wait for a message before signals and locks are checked again."""


class LocalBackend:
    """The devices of this machine, with one worker process per slot."""

    def slots(self, config: RunConfig) -> list[Slot]:
        """Return the slots of this machine that the settings ask for. Raises ConfigError."""
        key = "sweep.devices" if config.device == "auto" else "device"
        devices = config.sweep.devices if config.device == "auto" else config.device
        each = config.sweep.stacks_per_device
        return local_slots(devices, each, gpu_count(), available_cores(), key)

    def room(self, slots: Sequence[Slot]) -> int:
        """Return the bytes that a stack can use; slots of one device share its memory."""
        return min(free_bytes(slot, slots) for slot in slots)

    def run(
        self, stacks: Sequence[StackPlan], slots: Sequence[Slot], watcher: Watcher
    ) -> list[RunOutcome]:
        """Train the stacks and return the outcomes of their runs."""
        with workers_in_use() as workers:
            return Pool(slots, Collector(watcher), workers).run(stacks)


def free_bytes(slot: Slot, slots: Sequence[Slot]) -> int:
    sharing = sum(other.device == slot.device for other in slots)
    if slot.device == "cpu":
        return machine_bytes(swap=False) // sharing
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


ASK_CAPABILITY = """
import ctypes, sys

cuda, at = ctypes.CDLL("libcuda.so.1"), ctypes.byref
device, major, minor = (ctypes.c_int() for _ in range(3))
failed = [
    cuda.cuInit(0),
    cuda.cuDeviceGet(at(device), int(sys.argv[1])),
    cuda.cuDeviceGetAttribute(at(major), 75, device),
    cuda.cuDeviceGetAttribute(at(minor), 76, device),
]
print(major.value, minor.value)
sys.exit(any(failed))
"""


def _answer(question: str, index: int) -> list[int]:
    """Return the numbers that a process of its own prints about a GPU.

    Raises OSError, ValueError or SubprocessError if it gives no answer.
    """
    command = [sys.executable, "-I", "-S", "-c", question, str(index)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return [int(word) for word in done.stdout.split()]


def free_gpu_bytes(index: int) -> int:
    """Return the free bytes of a GPU, read in a process of its own.

    A process that reads them holds 0.5 GB of the GPU until it ends, and this process lives as
    long as the sweep.
    """
    try:
        (free,) = _answer(ASK_DRIVER, index)
        return free
    except (OSError, ValueError, subprocess.SubprocessError):
        free, _ = torch.cuda.mem_get_info(index)
        return int(free)


@cache
def has_clusters(device: str) -> bool:
    """Return whether a GPU of this machine has clusters of blocks; True if that is not known.

    It is read in a process of its own, as `free_gpu_bytes` is.
    """
    if device == "cpu":
        return True
    index = int(device.partition(":")[2] or 0)
    try:
        major, minor = _answer(ASK_CAPABILITY, index)
    except (OSError, ValueError, subprocess.SubprocessError):
        return True
    return (major, minor) >= CLUSTERS


@dataclass
class Assignment:
    """A worker process of a slot and the stack it trains; None while it is idle."""

    slot: int
    worker: Worker
    stack: StackPlan | None = None


@dataclass
class Pool:
    """Trains stacks on slots and collects the outcomes of the runs."""

    slots: Sequence[Slot]
    collector: Collector
    workers: Workers
    waiting: list[StackPlan] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)
    stopping: bool = False
    stop: StopRequest = field(default_factory=StopRequest)

    def run(self, stacks: Sequence[StackPlan]) -> list[RunOutcome]:
        """Train the stacks and return the outcomes of the runs that began.

        After SIGINT or SIGTERM every worker saves its runs and no further stack begins.
        """
        self.waiting = list(stacks)
        try:
            with StopRequest(lambda: self.collector.watcher.say(SAVING_ALL)) as self.stop:
                self._assign()
                while self._goes_on():
                    self._receive()
                    if self.stop.requested and not self.stopping:
                        self._stop()
        finally:
            # All workers are idle now. They are killed, as a normal exit would take seconds.
            for assignment in self.assignments:
                assignment.worker.connection.close()
                assignment.worker.signal(signal.SIGKILL)
            for assignment in self.assignments:
                assignment.worker.wait()
        return self.collector.outcomes

    def _assign(self) -> None:
        """Give waiting stacks to idle workers, and to new workers on free slots."""
        for assignment in self.assignments:
            if assignment.stack is None:
                self._send_next(assignment)
        taken = {assignment.slot for assignment in self.assignments}
        for number in [n for n in range(len(self.slots)) if n not in taken]:
            if self.waiting and not self._is_asked():
                slot = self.slots[number]
                kind = torch.device(slot.device).type
                compiled = any(may_compile(stack.jobs[0].config, kind) for stack in self.waiting)
                worker = self.workers.start(slot.device, slot.threads, compiled)
                self.assignments.append(Assignment(number, worker))
                self._send_next(self.assignments[-1])

    def _send_next(self, assignment: Assignment) -> None:
        """Send a worker its next stack, if any is left."""
        if self.waiting and not self._is_asked():
            assignment.stack = self.waiting.pop(0)
            # A worker that has died is replaced when its connection is read.
            with contextlib.suppress(OSError):
                assignment.worker.connection.send(assignment.stack)

    def _goes_on(self) -> bool:
        """Return whether runs still train, here or in another process that may release them."""
        waits = bool(self.collector.elsewhere) and not self._is_asked()
        if waits:
            self.waiting += self.collector.returned()
            self._assign()
            waits = bool(self.collector.elsewhere)
        return waits or any(assignment.stack for assignment in self.assignments)

    def _is_asked(self) -> bool:
        """Return whether a stop was requested."""
        return self.stopping or self.stop.requested

    def _receive(self) -> None:
        """Wait up to `RECEIVE_SECONDS` for messages of workers and handle them."""
        busy = {a.worker.connection: a for a in self.assignments if a.stack}
        if not busy:
            time.sleep(RECEIVE_SECONDS)
        for connection in wait(list(busy), RECEIVE_SECONDS) if busy else ():
            assignment = busy[connection]  # type: ignore[index]
            try:
                message = assignment.worker.connection.recv()
            except (EOFError, OSError):
                self._replace(assignment)
            else:
                self._handle(assignment, message)

    def _handle(self, assignment: Assignment, message: object) -> None:
        assert assignment.stack is not None
        if ended_by_others(message) and not self._is_asked():
            assignment.worker.signal(signal.SIGKILL)
            self._replace(assignment)
            return
        left = self.collector.handle(assignment.slot, assignment.stack, message)
        if left is not None:
            self.waiting[:0] = left
            assignment.stack = None
            self._assign()

    def _replace(self, assignment: Assignment) -> None:
        """Remove a worker that has ended, and continue its stack in a new one."""
        assert assignment.stack is not None
        assignment.worker.connection.close()
        how = _how_it_died(assignment.worker.wait())
        self.assignments.remove(assignment)
        if not self.stopping:
            self.waiting[:0] = self.collector.lost(assignment.slot, assignment.stack, how)
            self._assign()

    def _stop(self) -> None:
        """Ask every worker to save and end."""
        self.stopping = True
        for assignment in self.assignments:
            if assignment.stack:
                assignment.worker.signal(signal.SIGTERM)


def _how_it_died(code: int | None) -> str:
    if code is None:
        return "a worker died"
    return f"a worker died ({f'signal {-code}' if code < 0 else f'exit code {code}'})"
