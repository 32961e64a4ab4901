"""Stacks over the devices of this machine: a worker process a slot, none idle with work left."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait

import torch

from wganbench.config.schema import RunConfig
from wganbench.sweeps.nursery import Child, Nursery, nursery
from wganbench.sweeps.planning import StackPlan
from wganbench.sweeps.slots import Slot, available_cores, local_slots
from wganbench.sweeps.tally import Tally
from wganbench.sweeps.watcher import SAVING_ALL, Watcher
from wganbench.training.interrupt import StopRequest
from wganbench.training.outcome import RunOutcome

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
    free, _ = torch.cuda.mem_get_info(slot.device)
    return int(free) // sharing


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

    def run(self, stacks: Sequence[StackPlan]) -> list[RunOutcome]:
        """How the runs of all stacks ended; those that never began are missing.

        After SIGINT or SIGTERM every worker saves its runs and no further stack begins.
        """
        self.waiting = list(stacks)
        try:
            with StopRequest(lambda: self.tally.watcher.say(SAVING_ALL)) as stop:
                for number in range(min(len(self.slots), len(self.waiting))):
                    self.workers.append(self._start(number))
                while any(worker.stack for worker in self.workers):
                    self._listen()
                    if stop.requested and not self.stopping:
                        self._stop()
        finally:
            # One that is idle holds nothing; ending by itself would take it seconds.
            for worker in self.workers:
                worker.child.connection.close()
                worker.child.signal(signal.SIGKILL)
            for worker in self.workers:
                worker.child.wait()
        return self.tally.outcomes

    def _start(self, number: int) -> Worker:
        slot = self.slots[number]
        worker = Worker(number, self.nursery.start(slot.device, slot.threads))
        self._feed(worker)
        return worker

    def _feed(self, worker: Worker) -> None:
        """Give a worker its next stack, if one is left."""
        worker.stack = None
        if self.waiting and not self.stopping:
            worker.stack = self.waiting.pop(0)
            worker.child.connection.send(worker.stack)

    def _listen(self) -> None:
        busy = {worker.child.connection: worker for worker in self.workers if worker.stack}
        for connection in wait(list(busy), LISTEN_SECONDS):
            worker = busy[connection]  # type: ignore[index]
            try:
                self._hear(worker, worker.child.connection.recv())
            except (EOFError, OSError):
                self._bury(worker)

    def _hear(self, worker: Worker, message: object) -> None:
        assert worker.stack is not None
        left = self.tally.hear(worker.number, worker.stack, message)
        if left is not None:
            self.waiting[:0] = left
            self._feed(worker)

    def _bury(self, worker: Worker) -> None:
        """A worker died: its stack goes on in a new one."""
        assert worker.stack is not None
        worker.child.connection.close()
        how = _how_it_died(worker.child.wait())
        self.workers.remove(worker)
        if self.stopping:
            return
        self.waiting[:0] = self.tally.lost(worker.number, worker.stack, how)
        if self.waiting:
            self.workers.append(self._start(worker.number))

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
