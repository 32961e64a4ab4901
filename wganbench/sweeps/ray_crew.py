"""Stacks on a Ray cluster: what it has room for, and how it is reached."""

from __future__ import annotations

import contextlib
import logging
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wganbench.config.schema import RunConfig
from wganbench.errors import ConfigError
from wganbench.sweeps.crew import UNKNOWN_ROOM, check_numbers
from wganbench.sweeps.planning import StackPlan
from wganbench.sweeps.ray_connection import check_address, import_ray, unreachable
from wganbench.sweeps.ray_driver import Tasks
from wganbench.sweeps.slots import Slot, available_cores
from wganbench.sweeps.tally import Tally
from wganbench.sweeps.watcher import SAVING_ELSEWHERE, Watcher
from wganbench.training.interrupt import StopRequest
from wganbench.training.outcome import RunOutcome

PROBE_SECONDS = 60.0
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
        stopping = StopRequest(lambda: watcher.say(SAVING_ELSEWHERE))
        with self._token(folder) as token, stopping as stop:
            tasks = Tasks(self.cpus_per_stack, self.gpus_per_stack, folder, token, Tally(watcher))
            return tasks.run(stacks, stop)

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


def free_gpu_bytes() -> int | None:
    """Free memory of the GPU that a task was given; None where none can be used."""
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else None
