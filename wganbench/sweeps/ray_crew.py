"""Stacks on a Ray cluster: one task a stack, placed by Ray, given again when a node is lost."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wganbench.config.errors import ConfigError
from wganbench.config.schema import RunConfig
from wganbench.records.folder import RunBusy, RunFolder
from wganbench.records.lock import RunLock
from wganbench.sweeps.crew import UNKNOWN_ROOM, check_numbers
from wganbench.sweeps.planning import StackPlan
from wganbench.sweeps.ray_task import Mailbox, RemoteStack, train_remotely
from wganbench.sweeps.slots import Slot, available_cores
from wganbench.sweeps.tally import Tally
from wganbench.sweeps.transfer import Changes, put
from wganbench.sweeps.watcher import Watcher
from wganbench.training.finish import RunOutcome
from wganbench.training.interrupt import StopRequest

LISTEN_SECONDS = 0.5
PROBE_SECONDS = 60.0
CONNECT_SECONDS = 5.0
OBJECT_STORE_BYTES = 200_000_000
"""Of a Ray that is started here: nothing large is kept there."""


@dataclass
class RayCrew:
    """Ray Core, started on this machine (``address: local``) or joined.

    A stack takes ``cpus_per_stack`` cores, and 1 / ``sweep.stacks_per_device`` of a GPU
    where there are GPUs. ``shared_folder``: whether all nodes see the sweep's folder
    (auto: each looks); where it is not seen, files are sent back at every checkpoint.
    """

    address: str
    cpus_per_stack: float
    shared_folder: str | bool
    gpus_per_stack: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        check_numbers(self, {}, above=["cpus_per_stack"])
        if str(self.shared_folder).lower() not in ("auto", "true", "false"):
            raise ConfigError(
                f"hydra.launcher.shared_folder={self.shared_folder}: it is auto, true or false"
            )

    def slots(self, config: RunConfig) -> list[Slot]:
        """As many as the cluster has room for at a time now."""
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
        """What every node has. Ray on this machine is not started for that."""
        ray = import_ray()
        if self.address == "local" and not ray.is_initialized():
            import torch

            gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
            return [{"CPU": available_cores(), "GPU": gpus}]
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
            raise unreachable(self.address, " ".join(str(error).split())[:160]) from error

    def room(self, slots: Sequence[Slot]) -> int:
        """The least free memory of any node's GPUs, or of its own, a stack's share of it."""
        ray = import_ray()
        self._connect()
        nodes = [node for node in ray.nodes() if node["Alive"] and self._fitting(node["Resources"])]
        if not self.gpus_per_stack:
            return int(min(n["Resources"]["memory"] / self._fitting(n["Resources"]) for n in nodes))
        probe = ray.remote(free_gpu_bytes)
        placed = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        asked = [
            probe.options(
                num_cpus=0,
                num_gpus=self.gpus_per_stack,
                scheduling_strategy=placed(node["NodeID"], soft=False),
            ).remote()
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
        """How the runs of all stacks ended."""
        self._connect()
        folder = stacks[0].jobs[0].folder.parent.resolve()
        with self._token(folder) as token, StopRequest() as stop:
            return Tasks(self, folder, token, Tally(watcher)).run(stacks, stop)

    @contextlib.contextmanager
    def _token(self, folder: Path) -> Iterator[str | None]:
        """A file by which a node sees that it sees the sweep's folder."""
        choice = str(self.shared_folder).lower()
        if choice == "false":
            yield None
            return
        # Every node is said to see the folder: let them find what is there in any case.
        name = "sweep.json" if choice == "true" else f".shared-{uuid.uuid4().hex}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
        try:
            yield name
        finally:
            if choice != "true":
                (folder / name).unlink(missing_ok=True)


@dataclass
class Task:
    """A stack that Ray has been given; whether anything was heard of it yet."""

    number: int
    stack: StackPlan
    started: bool = False


@dataclass
class Tasks:
    """The tasks of one sweep, from the first to the last."""

    crew: RayCrew
    folder: Path
    token: str | None
    tally: Tally
    tasks: dict[Any, Task] = field(default_factory=dict)
    by_number: dict[int, Task] = field(default_factory=dict)
    locks: dict[Path, RunLock] = field(default_factory=dict)

    def run(self, stacks: Sequence[StackPlan], stop: StopRequest) -> list[RunOutcome]:
        ray = import_ray()
        here = ray.get_runtime_context().get_node_id()
        placed = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        self.mailbox = (
            ray.remote(Mailbox)
            .options(num_cpus=0, scheduling_strategy=placed(here, soft=False))
            .remote()
        )
        self.stopping = False
        try:
            for stack in stacks:
                self._submit(stack)
            while self.tasks:
                done, _ = ray.wait(list(self.tasks), num_returns=1, timeout=LISTEN_SECONDS)
                self._collect()
                for reference in done:
                    self._finish(reference)
                if stop.requested and not self.stopping:
                    self._stop()
        finally:
            for lock in self.locks.values():
                lock.release()
            ray.kill(self.mailbox)
        return self.tally.outcomes

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
            self.crew.gpus_per_stack > 0,
            max(1, int(self.crew.cpus_per_stack)),
            os.getcwd(),
        )
        options = {
            "num_cpus": self.crew.cpus_per_stack,
            "num_gpus": self.crew.gpus_per_stack,
            "max_retries": 0,
        }
        reference = ray.remote(**options)(train_remotely).remote(remote, self.mailbox)
        self.tasks[reference] = self.by_number[task.number] = task

    def _collect(self) -> None:
        """Write what was sent back, and hear what was told."""
        ray = import_ray()
        for number, messages, files in ray.get(self.mailbox.collect.remote()):
            task = self.by_number[number]
            task.started = True
            for job, changed in zip(task.stack.jobs, files, strict=False):
                self._hold(job.folder)
                put(job.folder, changed)
            for message in messages:
                self.tally.hear(number, task.stack, message)

    def _hold(self, folder: Path) -> None:
        """Nobody else may train a run whose files come from far away. Raises ConfigError."""
        if folder not in self.locks:
            try:
                self.locks[folder] = RunFolder(folder).lock()
            except RunBusy as error:
                raise ConfigError(str(error)) from error

    def _finish(self, reference: Any) -> None:
        ray = import_ray()
        errors = ray.exceptions
        task = self.tasks.pop(reference)
        left: Sequence[StackPlan] | None = []
        try:
            left = self.tally.hear(task.number, task.stack, ray.get(reference))
        except errors.TaskCancelledError:
            pass
        except errors.RayError as error:
            if not self.stopping:
                how = " ".join(str(error).split(".")[0].split())[:120]
                left = self.tally.lost(task.number, task.stack, f"a Ray task was lost ({how})")
        for stack in left or []:
            self._submit(stack)

    def _stop(self) -> None:
        """Ask every task to save and end; those that wait for a place never begin."""
        ray = import_ray()
        self.stopping = True
        self.tally.watcher.say("stopping: saving every run")
        ray.get(self.mailbox.stop.remote())
        for reference, task in self.tasks.items():
            if not task.started:
                ray.cancel(reference)


def check_address(address: str) -> None:
    """Knock at HOST:PORT: Ray itself tries for many minutes. Raises ConfigError."""
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


def free_gpu_bytes() -> int | None:
    """Free memory of the GPU that a task was given; None where none can be used."""
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None


def import_ray() -> Any:
    """Ray, which is an extra. Raises ConfigError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise ConfigError("hydra/launcher=ray needs Ray: pip install 'wganbench[ray]'") from error
    return ray
