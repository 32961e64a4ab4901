"""A stack's measurements in parts: how many runs at once, and from the device to the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from wganbench.networks import Parameters

PROBED_AT_ONCE = 2**18
"""Points of all runs together that a GPU measures in one pass, at most: a pass of 2^18 takes it a
few milliseconds, and more of them would only need more memory."""


def runs_at_once(runs: int, points: int, device: torch.device) -> Iterator[slice]:
    """The runs by turns, as many in each as may be measured at once, ``points`` of each.

    On a CPU all: how an exponential rounds there depends on the number of runs.
    """
    most = max(1, PROBED_AT_ONCE // points) if device.type == "cuda" else runs
    for first in range(0, runs, most):
        yield slice(first, first + most)


def to_host(values: Tensor) -> Tensor:
    """A copy on the CPU, of a GPU's tensor not there before `wait_for_host`; on a CPU itself."""
    if values.device.type != "cuda":
        return values.cpu()
    copy = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return copy.copy_(values, non_blocking=True)


def wait_for_host(device: torch.device) -> None:
    """Wait until everything that was asked of a GPU so far is done."""
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
    """What ``probe`` measures of all runs' ``points`` (R, n, ...), by parts, on the CPU.

    ``size`` points of a run are measured in one pass.
    """
    (runs, n), device = points[0].shape[:2], points[0].device
    rows = []
    for some in runs_at_once(runs, min(n, size), device):
        own = [{name: p[some] for name, p in network.items()} for network in networks]
        parts = []
        for i in range(0, n, size):
            part = probe(*own, *(values[some, i : i + size] for values in points))
            # The generator's loss is a mean over all n.
            part["fake_gradients"] *= part["fakes"].shape[1] / n
            parts.append({name: to_host(values) for name, values in part.items()})
        rows.append(parts)
    wait_for_host(device)
    return joined(rows)


def joined(parts: Sequence[Sequence[dict[str, Tensor]]]) -> dict[str, Tensor]:
    """Parts by runs, and in these by points, as whole tensors: runs first, then points."""
    return {
        name: _cat([_cat([part[name] for part in row], dim=1) for row in parts], dim=0)
        for name in parts[0][0]
    }


def _cat(tensors: list[Tensor], dim: int) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, dim=dim)
