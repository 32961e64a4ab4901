"""The choice of a backend that trains stacks: this machine, a Ray or a Slurm cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from wganbench.config.schema import RunConfig
from wganbench.errors import ConfigError
from wganbench.runs.folder import RunOutcome
from wganbench.sweeps.backend import Watcher
from wganbench.sweeps.plan import Slot, StackPlan

UNKNOWN_ROOM = 1 << 62
"""Bytes assumed where memory cannot be measured; a stack that does not fit is then halved."""


class Backend(Protocol):
    """Trains several stacks at the same time."""

    def slots(self, config: RunConfig) -> list[Slot]:
        """Return the slots that the settings ask for. Raises ConfigError."""

    def room(self, slots: Sequence[Slot]) -> int:
        """Return the bytes of device memory that a stack can use in any of the slots."""

    def run(
        self, stacks: Sequence[StackPlan], slots: Sequence[Slot], watcher: Watcher
    ) -> list[RunOutcome]:
        """Train the stacks and return the outcomes of the runs that began.

        After SIGINT or SIGTERM every run is saved and no further stack begins.
        """


def check_numbers(settings: Any, whole: Mapping[str, int], above: Sequence[str] = ()) -> None:
    """Check a launcher's settings: whole numbers of at least a bound, or numbers above 0.

    Raises ConfigError.
    """
    for name, least in whole.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(
                f"hydra.launcher.{name}={value}: give a whole number of at least {least}"
            )
    for name in above:
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
            raise ConfigError(f"hydra.launcher.{name}={value}: give a number above 0")


def make_backend(
    name: str = "stack", settings: Mapping[str, Any] | None = None, planning: bool = False
) -> Backend:
    """Return the backend of a launcher (``stack``, ``ray`` or ``slurm``) with its settings.

    With ``planning`` it is only asked for its slots and its room, and needs neither its package
    nor the cluster where the settings say enough. Raises ConfigError for invalid settings.
    """
    if name == "ray":
        from wganbench.sweeps.ray import RayBackend

        return RayBackend(**(settings or {}), planning=planning)
    if name == "slurm":
        from wganbench.sweeps.slurm import SlurmBackend

        return SlurmBackend(**(settings or {}), planning=planning)
    from wganbench.sweeps.local import LocalBackend

    return LocalBackend()
