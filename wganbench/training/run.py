"""Load a trained run, sample from its generator, measure it again, show it as HTML, export it."""

from __future__ import annotations

import base64
import copy
import math
import os
from collections.abc import Callable
from functools import cached_property
from html import escape
from io import BytesIO
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from wganbench import bounds
from wganbench.config import RunConfig
from wganbench.data.points import as_given, units_from
from wganbench.data.target import KnownShape, Target
from wganbench.drawing.images import CHANNELS, save_archive, save_folder, save_grid, to_bytes
from wganbench.draws import keyed
from wganbench.errors import ConfigError, of_the_system, printable, short_repr
from wganbench.files import UnusableFile, read_regular, replacing, write_atomic
from wganbench.losses.recipes import Wrapper
from wganbench.metrics import allow_features
from wganbench.networks import Parameters
from wganbench.networks.pair import packed_shape, spectrally_normalised
from wganbench.output import numbered
from wganbench.runs.folder import RunFolder
from wganbench.runs.record import RunRecord, Status
from wganbench.runs.stored import check_contents, stored_config, with_data
from wganbench.runs.table import Table, pandas, read_table
from wganbench.tags.lookup import shown_of
from wganbench.training.checkpoint import newest_checkpoint
from wganbench.training.device import pick_device, products
from wganbench.training.measuring import measure_stack
from wganbench.training.runs import check_installed, restore_run
from wganbench.training.stack import Stack

if TYPE_CHECKING:
    import pandas as pd


REPEAT_DRAW = 1000
"""The draw number of later measurements, so that they differ from those of training."""

FEWEST_MEASURED = 10
"""The fewest points on which a run is measured, as for evaluate.n."""

SAMPLED_AT_ONCE = 1000
"""Most images made in one pass, limited by the memory for a large convolution's activations."""


class Run:
    """A run on disk: its configuration, its records and its trained generator.

    No code that its files name is imported. The exception is ``features``, given by the caller,
    when the run was measured with features of that name.
    Raises ConfigError when the folder holds no run that this version can read.
    """

    def __init__(self, path: str | Path, features: str | None = None) -> None:
        allow_features(features)
        self.path = Path(path)
        self.config: RunConfig = stored_config(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, status={self.status!r})"

    def __fspath__(self) -> str:
        """The path of its folder, wherever Python takes a path: in ``compare(runs)``."""
        return str(self.path)

    @property
    def status(self) -> Status | None:
        """running, completed, diverged, failed or interrupted; None if run.json names none."""
        return RunFolder(self.path).record().status

    @property
    def metrics(self) -> dict[str, float]:
        """The final values by tag; for a diverged run the last finite ones."""
        return RunFolder(self.path).record().final

    @property
    def record(self) -> dict[str, Any]:
        """The present content of run.json."""
        return RunFolder(self.path).read()

    @property
    def table(self) -> Table:
        """The columns of metrics.csv: ``step`` and a list for each tag, None for empty cells."""
        return read_table(RunFolder(self.path).metrics_csv)

    @property
    def figure(self) -> Path | None:
        """The figure of the result; None when there is none."""
        figure = RunFolder(self.path).figure
        return figure if figure.is_file() else None

    def frame(self) -> pd.DataFrame:
        """Return `table` as a pandas frame, by step. Raises ConfigError without pandas."""
        table = dict(self.table)
        return pandas().DataFrame(table).set_index("step").astype(float)

    def _repr_html_(self) -> str:
        return run_html(self.path)

    def sample(self, n: int, seed: int = 0) -> Float[np.ndarray, "n ..."]:
        """Return ``n`` points of the trained generator; equal seeds give equal points.

        The points are float32. For data that were centred and scaled they are float64 in the
        data's own units. Images are made in equal batches of at most 1 000; batch norm takes
        its statistics over such a batch. Raises ConfigError for ``n`` below 1 or above 10^8.
        """
        check_count(n, 1, bounds.DRAWN)
        stack = self.networks
        parts = -(-n // SAMPLED_AT_ONCE) if len(stack.target.shape) == 3 else 1
        with torch.no_grad():
            z = stack.algorithm.pair.latent.draw(keyed(seed, "sample", 0, stack.device), n)
            made = [self.generator(part).cpu() for part in z.tensor_split(parts)]
            return np.asarray(as_given(torch.cat(made), stack.target))

    def generator(self, z: Tensor) -> Tensor:
        """Return the trained generator's points (n, *shape) for latents (n, *latent).

        They are computed on the device of the latents, whichever the networks are on.
        """
        with products(z.device):
            return self.networks.exact_algorithm.generator(self._weights("generator", z))(z)

    def critic(self, x: Tensor) -> Tensor:
        """Return the trained critic's scores (n,) of points (n, *shape), on their device.

        A critic of packs scores packs that hold one point again and again.
        """
        algorithm = self.networks.exact_algorithm
        with products(x.device):
            return algorithm.critic(self._weights("critic", x))(algorithm.alone(x))

    def _weights(self, network: str, beside: Tensor) -> Parameters:
        """Return a network's parameters on the device of a tensor."""
        own = self.networks.run_parameters(0, network)
        return {name: p.to(beside.device) for name, p in own.items()}

    @cached_property
    def stack(self) -> Stack:
        """The trained networks and their data as a stack of one run, to measure it again.

        Raises ConfigError when the checkpoint or the data are missing, or when the data are not
        those that the run was trained on.
        """
        config = with_data(self.config, self.path)
        check_contents(self.path, config)
        return self._trained(config, None)

    @cached_property
    def networks(self) -> Stack:
        """The trained networks as a stack of one run. It needs the data's shape only."""
        shape = self.record.get("data_shape")
        if "stack" in self.__dict__ or shape is None:
            return self.stack
        given = self.record.get("data_units")
        units = units_from(given)
        if given is not None and (units is None or not units.fit(shape)):
            raise UnusableFile(
                f"{RunFolder(self.path).run_json}: data_units must hold centre, "
                f"{numbered(shape[0], 'finite number')}, and scale, a number above 0; "
                f"got {short_repr(given)}"
            )
        return self._trained(self.config, KnownShape(tuple(shape), units))

    def _trained(self, config: RunConfig, target: Target | None) -> Stack:
        folder = RunFolder(self.path)
        checkpoint, _ = newest_checkpoint(folder.checkpoint)
        if checkpoint is None:
            raise ConfigError(f"{self.path} has no checkpoint yet: nothing is trained")
        check_installed(config)
        try:
            stack = Stack([config], pick_device("auto"), target=target)
        except ValueError as error:
            raise ConfigError(f"{error} (the run in {self.path} needs it)") from error
        restore_run(stack, 0, folder, checkpoint)
        return stack


def load_run(path: str | Path, features: str | None = None) -> Run:
    """Return the run in a folder, see `Run`. Raises ConfigError when it cannot be read."""
    return Run(path, features)


def evaluate_run(path: Path, n: int, seed: int = 0) -> dict[str, float]:
    """Measure a trained run again on ``n`` fresh fakes and held-out reals: values by tag.

    Another ``seed`` draws other points. Raises ConfigError for ``n`` below `FEWEST_MEASURED`
    or above `bounds.SAMPLES`.
    """
    check_count(n, FEWEST_MEASURED, bounds.SAMPLES)
    return measure_stack(load_run(path).stack, n, REPEAT_DRAW + seed)[0]


def check_count(n: object, least: int, most: int) -> None:
    """Raise ConfigError unless ``n`` is a whole number from ``least`` to ``most``."""
    if isinstance(n, bool) or not isinstance(n, Integral) or not least <= int(n) <= most:
        raise ConfigError(f"n must be a whole number from {least} to {most}; got {short_repr(n)}")


# Samples of a trained generator, in a file whose suffix gives the format.
def sample_run(path: Path, n: int, out: str | Path, seed: int = 0) -> str:
    """Write ``n`` generated points to ``out``; return a line that says what was written.

    .npy holds the generator's output; .csv the same, one line for each point; .npz holds it
    under ``fakes``, images as bytes (n, h, w, c). Images can also be written as a grid in a
    .png, or as numbered PNG files in a folder: then ``out`` has no suffix or ends in a slash.
    Bytes are round((x + 1)/2 * 255), clipped.
    Raises ConfigError for another suffix, a file that cannot be written, or a folder that is
    not empty.
    """
    target, run = Path(out), load_run(path)
    shape = run.networks.target.shape
    writers = PICTURE_WRITERS if len(shape) == 3 and shape[0] in CHANNELS else POINT_WRITERS
    kind = "" if str(out).endswith(("/", os.sep)) else target.suffix
    if kind not in writers:
        raise ConfigError(f"--out {out}: {_offer(writers)}")
    points = run.sample(n, seed)
    try:
        if kind:
            with replacing(target) as file:
                writers[kind](file, points)
        else:
            writers[kind](target, points)
    except OSError as error:
        raise ConfigError(f"--out: {of_the_system(error)}") from error
    return f"{n} {'images' if writers is PICTURE_WRITERS else 'points'} in {target}"


def _offer(writers: dict[str, Writer]) -> str:
    suffixes = [suffix for suffix in writers if suffix]
    text = f"write a {', '.join(suffixes[:-1])} or {suffixes[-1]} file"
    if "" in writers:
        return f"{text}, or a folder (a name without a suffix)"
    return f"{text}; .png and folders are for images, and these are points"


def _save_npz(file: Any, points: np.ndarray) -> None:
    np.savez(file, fakes=points)


def _save_csv(file: Any, points: np.ndarray) -> None:
    digits = 9 if points.dtype == np.float32 else 17
    np.savetxt(file, points.reshape(len(points), -1), delimiter=",", fmt=f"%.{digits}g")


def _of_bytes(save: Writer) -> Writer:
    return lambda file, points: save(file, to_bytes(points))


Writer = Callable[[Any, np.ndarray], None]

POINT_WRITERS: dict[str, Writer] = {".npy": np.save, ".npz": _save_npz, ".csv": _save_csv}

PICTURE_WRITERS: dict[str, Writer] = {
    "": _of_bytes(save_folder),
    ".png": _of_bytes(save_grid),
    ".npz": _of_bytes(save_archive),
    ".npy": np.save,
    ".csv": _save_csv,
}
"""The writer for each suffix; no suffix means a folder."""


# A run as HTML for a notebook.
LARGEST_FIGURE = 2**24
"""Bytes of a figure that a notebook is given."""


def run_html(path: Path) -> str:
    """Return the HTML of the run in a folder; all its texts are escaped."""
    record = RunFolder(path).record()
    title = f"{path.name}: {record.status} at step {record.step}"
    sentences = "".join(f"<li>{_text(line)}</li>" for line in record.verdict or ())
    return (
        f"<div><p><b>{_text(title)}</b></p><table>{_rows(record)}</table>"
        f"<ul>{sentences}</ul>{_figure(RunFolder(path).figure)}</div>"
    )


def _rows(record: RunRecord) -> str:
    values = record.final
    return "".join(
        f"<tr><td>{_text(tag.title)}</td><td>{values[tag.name]:.4g}</td></tr>"
        for tag in shown_of("result", record.shape, values)
        if math.isfinite(values[tag.name])
    )


def _figure(path: Path) -> str:
    try:
        content = base64.b64encode(read_regular(path, LARGEST_FIGURE)).decode()
    except (OSError, UnusableFile):
        return ""
    return f'<img style="max-width: 100%" src="data:image/png;base64,{content}">'


def _text(text: str) -> str:
    return escape(printable(text))


# A trained network as a program that needs torch alone.
EXAMPLES = 3
"""Points of the example that is traced; any other number but 1 can be passed later."""


class Network(nn.Module):
    """A network of a run in fp32, with its trained weights; those of a spectral norm divided."""

    def __init__(self, run: Run, name: str) -> None:
        super().__init__()
        algorithm = run.networks.exact_algorithm
        # The pair has shapes only; its weights are those of the stack.
        self.network: nn.Module = copy.deepcopy(getattr(algorithm.pair, name))
        weights = run.networks.run_parameters(0, name)
        if name == "critic" and algorithm.recipe.wrapper is Wrapper.SPECTRAL:
            weights = spectrally_normalised(weights)
        own = {key: value.cpu() for key, value in weights.items()}
        self.network.load_state_dict(own, assign=True)

    def forward(self, x: Tensor) -> Tensor:
        values: Tensor = self.network(x)
        return values


def export_network(path: Path, name: str, out: Path) -> str:
    """Write a network of the run in a folder to ``out``; return a line that says what it takes.

    ``torch.export.load(out).module()`` maps latents (n, *latent) to points (n, *shape), or points
    to scores (n,), in fp32. A critic of packs takes packs, their points joined along the first
    axis. Raises ConfigError, also for a critic that is divided by its own gradient.
    """
    run = Run(path)
    stack = run.networks
    algorithm = stack.exact_algorithm
    shape, packs = algorithm.pair.latent.shape, ""
    if name == "critic":
        if algorithm.recipe.wrapper is Wrapper.GRADIENT:
            raise ConfigError(
                f"--to critic: a critic of loss={run.config.loss.name} is divided by its own "
                "gradient, which an exported program cannot be"
            )
        shape = packed_shape(stack.target.shape, algorithm.packing)
        packs = f", packs of {algorithm.packing} points" if algorithm.packing > 1 else ""
    network = Network(run, name).eval()
    example = torch.zeros(EXAMPLES, *shape)
    n = torch.export.Dim("n", min=2)
    program = torch.export.export(network, (example,), dynamic_shapes=({0: n},))
    content = BytesIO()  # torch ends the process when a write of its own fails
    torch.export.save(program, content)
    try:
        write_atomic(out, content.getvalue())
    except OSError as error:
        raise ConfigError(f"--out: {of_the_system(error)}") from error
    return f"{name} in {out}: takes (n, {', '.join(map(str, shape))}) in fp32{packs}"
