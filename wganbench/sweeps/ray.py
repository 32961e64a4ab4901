"""The Ray backend: connect to a cluster, count its slots, run stacks as tasks."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from wganbench.config.jobs import Job
from wganbench.config.schema import RunConfig
from wganbench.errors import ConfigError, one_line, reason_of, shortened
from wganbench.files import RunBusy
from wganbench.plugin_files import plugin_files
from wganbench.runs.folder import ELSEWHERE, RunFolder, RunOutcome
from wganbench.sweeps.backend import (
    LISTEN_SECONDS,
    SAVING_ELSEWHERE,
    UNKNOWN_ROOM,
    Collector,
    Ended,
    Watcher,
    check_numbers,
    ended_by_others,
)
from wganbench.sweeps.manifest import FILE
from wganbench.sweeps.plan import Slot, StackPlan
from wganbench.sweeps.ray_task import Changes, Mailbox, RemoteStack, put, train_remotely
from wganbench.training.process import StopRequest, available_cores

# The Ray package, which is an extra, and the cluster's address.
CONNECT_SECONDS = 5.0


def import_ray() -> Any:
    """Return the Ray module, an extra. Raises ConfigError if it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise ConfigError("hydra/launcher=ray needs Ray: pip install 'wganbench[ray]'") from error
    return ray


def check_address(address: str) -> None:
    """Check that HOST:PORT accepts connections; Ray itself would try for many minutes.

    Raises ConfigError.
    """
    if address in ("local", "auto"):
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "/" in host:
        raise ConfigError(
            f"hydra.launcher.address={address}: say local, auto or HOST:PORT, on a node of the "
            "cluster"
        )
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise unreachable(address, str(error)) from error


def unreachable(address: str, reason: str) -> ConfigError:
    return ConfigError(
        f"hydra.launcher.address={address}: no Ray cluster answers there ({reason}); local "
        "starts one on this machine"
    )


# The tasks of a sweep on Ray, in the process that starts them.
@dataclass
class Task:
    """A stack submitted to Ray; ``started`` once its first messages have arrived."""

    number: int
    stack: StackPlan
    started: bool = False
    sends_files: bool = False


@dataclass
class Tasks:
    """Submits the stacks of one sweep as tasks and collects their messages and files."""

    cpus_per_stack: float
    gpus_per_stack: float
    folder: Path
    token: str | None
    collector: Collector
    tasks: dict[Any, Task] = field(default_factory=dict)
    by_number: dict[int, Task] = field(default_factory=dict)
    stopping: bool = False
    stop: StopRequest = field(default_factory=StopRequest)

    def run(self, stacks: Sequence[StackPlan], stop: StopRequest) -> list[RunOutcome]:
        self.stop = stop
        ray = import_ray()
        here = ray.get_runtime_context().get_node_id()
        placed = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        self.mailbox = (
            ray.remote(Mailbox)
            .options(num_cpus=0, scheduling_strategy=placed(here, soft=False))
            .remote()
        )
        try:
            for stack in stacks:
                self._submit(stack)
            while self.tasks or (self.collector.elsewhere and not self.stopping):
                if self.tasks:
                    done, _ = ray.wait(list(self.tasks), num_returns=1, timeout=LISTEN_SECONDS)
                else:
                    done = []
                    time.sleep(LISTEN_SECONDS)
                self._collect()
                for reference in done:
                    self._finish(reference)
                for stack in self.collector.returned():
                    self._submit(stack)
                if stop.requested and not self.stopping:
                    self._stop()
        finally:
            for held in self.collector.held.values():
                held.release()
            ray.kill(self.mailbox)
        return self.collector.outcomes

    def _submit(self, stack: StackPlan) -> None:
        ray = import_ray()
        if self.stopping:
            return
        task = Task(len(self.by_number), stack)
        remote = RemoteStack(
            task.number,
            stack.resolved(),
            self.folder,
            self.token,
            [Changes(job.folder, seen=False).all() if stack.step else {} for job in stack.jobs],
            self.gpus_per_stack > 0,
            max(1, int(self.cpus_per_stack)),
            os.getcwd(),
            os.pathsep.join(str(file.absolute()) for file in plugin_files()),
        )
        options = {
            "num_cpus": self.cpus_per_stack,
            "num_gpus": self.gpus_per_stack,
            "max_retries": 0,
        }
        reference = ray.remote(**options)(train_remotely).remote(remote, self.mailbox)
        self.tasks[reference] = self.by_number[task.number] = task

    def _collect(self) -> None:
        """Write the files that tasks have sent back, and handle their messages."""
        ray = import_ray()
        for number, messages, files in ray.get(self.mailbox.collect.remote()):
            task = self.by_number[number]
            task.started = True
            task.sends_files = task.sends_files or bool(files)
            for job, changed in zip(task.stack.jobs, files, strict=False):
                if self._hold(job):
                    put(job.folder, changed)
            for message in messages:
                self.collector.handle(number, task.stack, message)

    def _hold(self, job: Job) -> bool:
        """Lock a run whose files arrive from another machine; return whether it is locked here.

        With ``overwrite`` the old files are deleted first. Returns False if another process has
        locked the run meanwhile: its arriving files are dropped, and the run is checked again.
        """
        if job.folder in self.collector.held:
            return True
        try:
            held = RunFolder(job.folder).lock()
        except RunBusy:
            return False
        self.collector.held[job.folder] = held
        if job.config.overwrite:
            held.empty()
        return True

    def _let_go(self, stack: StackPlan) -> None:
        """Release the locks of a stack that has ended; other processes may wait for them."""
        for job in stack.jobs:
            if job.folder in self.collector.held:
                self.collector.held.pop(job.folder).release()

    def _finish(self, reference: Any) -> None:
        ray = import_ray()
        errors = ray.exceptions
        task = self.tasks.pop(reference)
        asked = self.stopping or self.stop.requested
        left: Sequence[StackPlan] | None = []
        try:
            message = self._received(ray.get(reference), task)
        except errors.TaskCancelledError:
            pass
        except errors.RayError as error:
            if not asked:
                how = f"a Ray task was lost ({cause_of(error)})"
                left = self.collector.lost(task.number, task.stack, how)
        else:
            if ended_by_others(message) and not asked:
                how = "a Ray task was ended by others"
                left = self.collector.lost(task.number, task.stack, how)
            else:
                left = self.collector.handle(task.number, task.stack, message)
        self._let_go(task.stack)
        for stack in left or []:
            self._submit(stack)

    def _received(self, message: object, task: Task) -> object:
        """Return the message, with status `ELSEWHERE` for runs whose files were dropped here."""
        if not isinstance(message, Ended) or not task.sends_files:
            return message
        held = [job.folder in self.collector.held for job in task.stack.jobs]
        return Ended(
            [
                outcome if ours else replace(outcome, status=ELSEWHERE)
                for outcome, ours in zip(message.outcomes, held, strict=True)
            ]
        )

    def _stop(self) -> None:
        """Ask every task to save and end; cancel those that have not started."""
        ray = import_ray()
        self.stopping = True
        ray.get(self.mailbox.stop.remote())
        for reference, task in self.tasks.items():
            if not task.started:
                ray.cancel(reference)


def cause_of(error: Exception) -> str:
    """Return in a line what a task raised, else the first sentence of Ray's error."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return shortened(one_line(f"{type(cause).__name__}: {cause}"), 120)
    return one_line(str(error).split(".")[0])[:120]


PROBE_SECONDS = 60.0
OBJECT_STORE_BYTES = 200_000_000
"""Size of the object store of a Ray started here; it never holds large objects."""


@dataclass
class RayBackend:
    """Ray Core, started on this machine (``address: local``) or joined at an address.

    A stack takes ``cpus_per_stack`` cores, and 1 / ``sweep.stacks_per_device`` of a GPU if there
    are GPUs. ``shared_folder`` says whether all nodes see the sweep's folder (``auto``: each node
    checks). A node that does not see it sends files back at every checkpoint.
    """

    address: str
    cpus_per_stack: float
    shared_folder: str | bool
    planning: bool = False
    """Whether nothing is trained: then Ray is needed only to ask a cluster that runs."""
    gpus_per_stack: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        check_numbers(self, {}, above=["cpus_per_stack"])
        if str(self.shared_folder).lower() not in ("auto", "true", "false"):
            raise ConfigError(
                f"hydra.launcher.shared_folder={self.shared_folder}: it is auto, true or false"
            )

    def slots(self, config: RunConfig) -> list[Slot]:
        """Return as many slots as stacks fit the cluster at a time. Raises ConfigError."""
        kind, _, index = config.device.partition(":")
        if config.sweep.devices not in ("auto", "cpu", "cuda") or index:
            raise ConfigError(
                "Ray places the stacks: with hydra/launcher=ray, device and sweep.devices are "
                "auto, cpu or cuda"
            )
        wanted = {kind, str(config.sweep.devices)} - {"auto"}
        nodes = self._nodes()
        gpus = sum(node.get("GPU", 0) for node in nodes)
        if "cuda" in wanted and not gpus:
            raise ConfigError("the Ray cluster has no GPU; use device=auto or device=cpu")
        self.gpus_per_stack = (
            1 / config.sweep.stacks_per_device if gpus and "cpu" not in wanted else 0
        )
        count = sum(self._fitting(node) for node in nodes)
        if not count:
            cpus = sum(node.get("CPU", 0) for node in nodes)
            raise ConfigError(
                f"no stack fits the Ray cluster: it has {cpus:g} CPUs and {gpus:g} GPUs, a stack "
                f"takes {self.cpus_per_stack:g} (hydra.launcher.cpus_per_stack) and "
                f"{self.gpus_per_stack:g}"
            )
        threads = max(1, int(self.cpus_per_stack))
        return [Slot("cuda" if self.gpus_per_stack else "cpu", threads, "Ray")] * count

    def _fitting(self, node: dict[str, float]) -> int:
        fitting = node.get("CPU", 0) / self.cpus_per_stack
        if self.gpus_per_stack:
            fitting = min(fitting, node.get("GPU", 0) / self.gpus_per_stack)
        return int(fitting + 1e-9)

    def _nodes(self) -> list[dict[str, float]]:
        """Return the resources of every node; a local Ray is not started for this."""
        planned = self.planning and self.address == "local"
        if planned or (self.address == "local" and not import_ray().is_initialized()):
            from wganbench.training.device import gpu_count

            return [{"CPU": available_cores(), "GPU": gpu_count()}]
        ray = import_ray()
        self._connect()
        return [node["Resources"] for node in ray.nodes() if node["Alive"]]

    def _connect(self) -> None:
        ray = import_ray()
        if ray.is_initialized():
            return
        check_address(self.address)
        settings: dict[str, Any] = {"address": self.address}
        if self.address == "local":
            settings |= {
                "num_cpus": available_cores(),
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
            }
        try:
            ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **settings)
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            raise unreachable(self.address, reason_of(error)[:160]) from error

    def room(self, slots: Sequence[Slot]) -> int:
        """Return a stack's share, in bytes, of the least free memory of any node.

        The memory is that of the GPUs, or of the node if stacks train without GPUs.
        """
        if self.planning and self.address == "local":
            return UNKNOWN_ROOM
        ray = import_ray()
        self._connect()
        nodes = [node for node in ray.nodes() if node["Alive"] and self._fitting(node["Resources"])]
        if not self.gpus_per_stack:
            return int(min(n["Resources"]["memory"] / self._fitting(n["Resources"]) for n in nodes))
        # A process that has used a GPU would keep its memory, and train there when a later task is
        # given another GPU: after one call it must end.
        probe = ray.remote(num_cpus=0, num_gpus=self.gpus_per_stack, max_calls=1)(free_gpu_bytes)
        placed = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        asked = [
            probe.options(scheduling_strategy=placed(node["NodeID"], soft=False)).remote()
            for node in nodes
        ]
        answered, late = ray.wait(asked, num_returns=len(asked), timeout=PROBE_SECONDS)
        for reference in late:
            ray.cancel(reference)
        found = [free for free in ray.get(answered) if free is not None]
        return int(min(found) * self.gpus_per_stack) if found else UNKNOWN_ROOM

    def run(
        self, stacks: Sequence[StackPlan], slots: Sequence[Slot], watcher: Watcher
    ) -> list[RunOutcome]:
        """Train the stacks and return the outcomes of their runs."""
        self._connect()
        folder = stacks[0].jobs[0].folder.parent.resolve()
        stopping = StopRequest(lambda: watcher.say(SAVING_ELSEWHERE))
        with self._token(folder) as token, stopping as stop:
            tasks = Tasks(
                self.cpus_per_stack, self.gpus_per_stack, folder, token, Collector(watcher)
            )
            return tasks.run(stacks, stop)

    @contextlib.contextmanager
    def _token(self, folder: Path) -> Iterator[str | None]:
        """Name of a file in the sweep's folder; a node that finds it shares the folder."""
        choice = str(self.shared_folder).lower()
        if choice == "false":
            yield None
            return
        # With `true` every node sees the folder, so the token is a file that always exists.
        name = FILE if choice == "true" else f".shared-{uuid.uuid4().hex}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        try:
            yield name
        finally:
            if choice != "true":
                (folder / name).unlink(missing_ok=True)


def free_gpu_bytes() -> int | None:
    """Return the free bytes of the task's GPU; None if no GPU can be used."""
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None
