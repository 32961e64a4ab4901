"""A trained generator or critic as a program that needs torch alone: torch.export's .pt2."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from wganbench.errors import ConfigError
from wganbench.files import replacing
from wganbench.training.run import Run

EXAMPLES = 3
"""Points of the example that is traced; any other number but 1 can be passed later."""


class Network(nn.Module):
    """A network of a run in fp32, with its trained weights."""

    def __init__(self, run: Run, name: str) -> None:
        super().__init__()
        # The pair has shapes only; its weights are those of the stack.
        self.network: nn.Module = copy.deepcopy(getattr(run.networks.exact_algorithm.pair, name))
        weights = run.networks.run_parameters(0, name)
        own = {key: value.cpu() for key, value in weights.items()}
        self.network.load_state_dict(own, assign=True)

    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = self.network(x)
        return values


def export_network(path: Path, name: str, out: Path) -> str:
    """Write a network of the run in a folder to ``out``; return a line that says what it takes.

    ``torch.export.load(out).module()`` maps latents (n, *latent) to points (n, *shape), or points
    to scores (n,), in fp32. Raises ConfigError.
    """
    run = Run(path)
    stack = run.networks
    shape = stack.algorithm.pair.latent.shape if name == "generator" else stack.target.shape
    network = Network(run, name).eval()
    example = torch.zeros(EXAMPLES, *shape)
    n = torch.export.Dim("n", min=2)
    program = torch.export.export(network, (example,), dynamic_shapes=({0: n},))
    try:
        with replacing(out) as file:
            torch.export.save(program, file)
    except OSError as error:
        raise ConfigError(f"--out: {error}") from error
    return f"{name} in {out}: takes (n, {', '.join(map(str, shape))}) in fp32"
