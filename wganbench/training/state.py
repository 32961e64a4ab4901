"""What training changes, for all runs of a stack."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from wganbench.networks import Parameters
from wganbench.training.optimizers import Moments


@dataclass
class State:
    """Everything that training changes, stacked over runs; what a checkpoint holds."""

    critic: Parameters
    generator: Parameters
    average: Parameters
    critic_moments: Moments
    generator_moments: Moments
    step: Tensor
    critic_step: Tensor
    diverged_at: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """All per-run tensors by a flat name, each with leading axis R."""
        flat = {"diverged_at": self.diverged_at}
        for part in ("critic", "generator", "average"):
            flat |= {f"{part}/{name}": p for name, p in getattr(self, part).items()}
        for part in ("critic_moments", "generator_moments"):
            for moment, tensors in getattr(self, part).items():
                flat |= {f"{part}/{moment}/{name}": p for name, p in tensors.items()}
        return flat
