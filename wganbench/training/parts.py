"""Measure a stack in parts that fit the device's memory, and copy them to the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from wganbench.networks import Parameters

PROBED_AT_ONCE = 2**18
"""Most points of all runs together that a GPU measures in one pass. A pass of 2^18 takes a few
milliseconds; larger passes would only need more memory."""


def runs_at_once(runs: int, points: int, device: torch.device) -> Iterator[slice]:
    """Yield slices of runs that are measured together, with ``points`` points of each run.

    On a CPU one slice holds all runs, because the rounding of an exponential depends on their
    number there.
    """
    most = max(1, PROBED_AT_ONCE // points) if device.type == "cuda" else runs
    for first in range(0, runs, most):
        yield slice(first, first + most)


def to_host(values: Tensor) -> Tensor:
    """Return a copy on the CPU; a CPU tensor itself. From a GPU, valid after `wait_for_host`."""
    if values.device.type != "cuda":
        return values.cpu()
    copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return copy.copy_(values, non_blocking=True)


def wait_for_host(device: torch.device) -> None:
    """Wait until a GPU has done all its work so far."""
    if device.type == "cuda":
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(device))
        event.synchronize()


def in_parts(
    probe: Callable[..., dict[str, Tensor]],
    networks: Sequence[Parameters],
    points: Sequence[Tensor],
    size: int,
) -> dict[str, Tensor]:
    """Return ``probe`` of all runs' ``points`` (R, n, ...), computed by parts, on the CPU.

    One pass measures ``size`` points of a run.
    """
    (runs, n), device = points[0].shape[:2], points[0].device
    rows = []
    for some in runs_at_once(runs, min(n, size), device):
        own = [{name: p[some] for name, p in network.items()} for network in networks]
        parts = []
        for i in range(0, n, size):
            part = probe(*own, *(values[some, i : i + size] for values in points))
            # The generator's loss is a mean over all n points, not over those of a part.
            part["fake_gradients"] *= part["fakes"].shape[1] / n
            parts.append({name: to_host(values) for name, values in part.items()})
        rows.append(parts)
    wait_for_host(device)
    return joined(rows)


def joined(parts: Sequence[Sequence[dict[str, Tensor]]]) -> dict[str, Tensor]:
    """Join parts, a list by runs of lists by points, into tensors (runs, points, ...)."""
    return {
        name: _cat([_cat([part[name] for part in row], dim=1) for row in parts], dim=0)
        for name in parts[0][0]
    }


def _cat(tensors: list[Tensor], dim: int) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=dim)
