"""Who trains the stacks of a sweep: this machine, a Ray cluster or a Slurm cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from wganbench.config.schema import RunConfig
from wganbench.errors import ConfigError
from wganbench.runs.folder import RunOutcome
from wganbench.sweeps.backend import Watcher
from wganbench.sweeps.plan import Slot, StackPlan

UNKNOWN_ROOM = 1 << 62
"""Memory where it cannot be asked for: a stack that does not fit is halved then."""


class Backend(Protocol):
    """Trains stacks at several places at a time."""

    def slots(self, config: RunConfig) -> list[Slot]:
        """The places, as the settings ask for them. Raises ConfigError."""

    def room(self, slots: Sequence[Slot]) -> int:
        """Bytes of device memory that a stack can count on in any of the slots."""

    def run(
        self, stacks: Sequence[StackPlan], slots: Sequence[Slot], watcher: Watcher
    ) -> list[RunOutcome]:
        """How the runs of all stacks ended; those that never began are missing.

        After SIGINT or SIGTERM every run is saved and no further stack begins.
        """


def check_numbers(settings: Any, whole: Mapping[str, int], above: Sequence[str] = ()) -> None:
    """Whether settings of a launcher are whole numbers of at least a bound, or above 0.

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


def make_backend(name: str = "stack", settings: Mapping[str, Any] | None = None) -> Backend:
    """The backend of a launcher, ``stack``, ``ray`` or ``slurm``, with the launcher's settings.

    Raises ConfigError for settings that cannot be, or where its package is not installed.
    """
    if name == "ray":
        from wganbench.sweeps.ray import RayBackend

        return RayBackend(**(settings or {}))
    if name == "slurm":
        from wganbench.sweeps.slurm import SlurmBackend

        return SlurmBackend(**(settings or {}))
    from wganbench.sweeps.local import LocalBackend

    return LocalBackend()
