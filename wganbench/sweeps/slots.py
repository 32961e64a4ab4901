"""Where stacks can train at the same time: one slot a worker process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wganbench.errors import ConfigError
from wganbench.training.cores import available_cores

__all__ = ["Slot", "available_cores", "local_slots"]


@dataclass(frozen=True)
class Slot:
    """A place for one stack: a device, and how many CPU threads its worker may use.

    ``cluster`` names where it is, empty for this machine.
    """

    device: str
    threads: int
    cluster: str = ""


def local_slots(
    devices: str | Sequence[str], stacks_per_device: int, gpus: int, cores: int
) -> list[Slot]:
    """The slots of this machine.

    One for each GPU (``stacks_per_device`` times); on a CPU one for each core, each with
    one thread: two stacks on two cores train faster than one stack on both. Raises
    ConfigError for a device that does not exist.

    >>> [slot.device for slot in local_slots("auto", 2, gpus=2, cores=8)]
    ['cuda:0', 'cuda:1', 'cuda:0', 'cuda:1']
    >>> [(slot.device, slot.threads) for slot in local_slots("cpu", 1, gpus=0, cores=2)]
    [('cpu', 1), ('cpu', 1)]
    """
    if devices == "auto":
        devices = [f"cuda:{i}" for i in range(gpus)] or ["cpu"]
    chosen: list[str] = []
    for name in [devices] if isinstance(devices, str) else devices:
        kind, _, index = name.partition(":")
        if kind == "cuda" and gpus == 0:
            raise ConfigError(f"sweep.devices={name}: no CUDA GPU is found here; use cpu or auto")
        if name == "cuda":
            chosen += [f"cuda:{i}" for i in range(gpus)]
        elif name == "cpu" or (kind == "cuda" and index.isdecimal() and int(index) < gpus):
            chosen.append(name)
        elif kind == "cuda" and index.isdecimal():
            raise ConfigError(
                f"sweep.devices={name}: this machine has {gpus} GPU(s), numbered from cuda:0"
            )
        else:
            raise ConfigError(f"sweep.devices={name} is no device; use auto, cpu, cuda or [cuda:0]")
    unique = list(dict.fromkeys(chosen))
    if not unique:
        raise ConfigError("sweep.devices is empty; use auto, cpu, cuda or [cuda:0,cuda:1]")
    threads = max(1, cores // (max(1, len(unique)) * stacks_per_device))
    devices = [device for device in unique if device != "cpu"]
    slots = [Slot(d, threads) for _ in range(stacks_per_device if devices else 0) for d in devices]
    return slots + [Slot("cpu", 1)] * (cores if "cpu" in unique else 0)
