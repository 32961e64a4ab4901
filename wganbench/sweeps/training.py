"""A stack of a sweep where it trains: in a worker process, a Ray task, a Slurm job."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from wganbench.errors import ConfigError, ran_out
from wganbench.sweeps.messages import Ended, Message, OutOfMemory, Refused, Said, TellingView
from wganbench.sweeps.planning import StackPlan


def usable_device(gpu: bool, where: str, tell: Callable[[Message], None]) -> str:
    """``cuda`` where a GPU was given and can be used; the CPU takes its place, and says so."""
    import torch

    if gpu and not torch.cuda.is_available():
        tell(Said(f"{where}: no CUDA device is usable, training on its CPU"))
    return "cuda" if gpu and torch.cuda.is_available() else "cpu"


def train_stack(stack: StackPlan, device: str, view: TellingView) -> Message:
    """Train the jobs of a stack on a device; how they ended, or why they could not be trained.

    Whoever sent the stack has seen that the user typed the names of code in it. Afterwards
    nothing of the stack is left in this process.
    """
    from wganbench.training.compilation import forget_programs

    try:
        return _trained(stack, device, view)
    finally:
        forget_programs()


def _trained(stack: StackPlan, device: str, view: TellingView) -> Message:
    from wganbench.metrics import allow_features
    from wganbench.training.runs import train_runs

    configs, folders = [job.config for job in stack.jobs], [job.folder for job in stack.jobs]
    allow_features(*(config.evaluate.features for config in configs))
    try:
        return Ended(train_runs(configs, folders, view, device, stack.places, several=True))
    except ConfigError as error:
        return Refused(str(error))
    except Exception as error:
        if not ran_out(error):
            traceback.print_exc()
            return Refused(f"{type(error).__name__}: {error}")
        return OutOfMemory(next(iter(str(error).splitlines()), "memory ran out"))
