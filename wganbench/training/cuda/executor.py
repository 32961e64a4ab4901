"""Our kernel as the executor of a stack on a GPU: which runs it can train, and their iterations."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from ctypes import c_double, c_int32, c_int64, c_void_p
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from wganbench.config.schema import RunConfig
from wganbench.losses.constraints import SlopePenalty
from wganbench.losses.recipes import Averages, Pairs, Recipe, Wrapper
from wganbench.networks import Parameters
from wganbench.networks.layers import SMOOTH
from wganbench.training.cuda import driver
from wganbench.training.graphs import Noted
from wganbench.training.native import layout
from wganbench.training.native.executor import (
    COSTS,
    DECAYS,
    RULES,
    WHERE,
    Traced,
    critic_tags,
    generator_tags,
    optimizer_of,
    settings_of,
)
from wganbench.training.native.layout import NativeSampler
from wganbench.training.native.library import NUMBERS
from wganbench.training.optimizers import State

# What the kernel is compiled for: the sizes of sizes.h, and how a run is divided on a GPU.
THREADS = 256
TALL = 8
WIDTHS = (16, 32, 64)
MOST_LAYERS = 4
MOST_NUMBERS = 8
"""The largest size of a point and of a latent."""

MOST_BLOCKS = 8
"""Blocks of a cluster that every GPU with clusters has."""

AT_ONCE = 8
"""Critic steps whose fakes and rates the kernel computes before them."""

CLUSTERS = (9, 0)
"""The compute capability from which GPUs have clusters of blocks."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of a stack's runs, in the words of sizes.h."""

    activation: int
    rule: int
    hidden: int
    layers: int
    point: int
    latent: int
    penalties: int
    pairs: int
    batch: int
    blocks: int = 1
    wide: int = 2

    @property
    def macros(self) -> list[str]:
        """The compiler's flags that name the sizes."""
        own = {each.name.upper(): getattr(self, each.name) for each in fields(self)}
        fixed = {
            "THREADS": THREADS,
            "TALL": TALL,
            "AT_ONCE": AT_ONCE,
            "MOST_LAYERS": MOST_LAYERS,
        }
        return [f"-D{name}={value}" for name, value in (own | fixed).items()]

    @property
    def tile(self) -> int:
        """Points of a tile."""
        return self.wide * THREADS * TALL // self.hidden

    @property
    def own(self) -> int:
        """Points of a block."""
        return -(-self.batch // self.blocks)

    @property
    def critic(self) -> list[tuple[int, ...]]:
        """The shapes of the critic's weights and biases in turn."""
        return self._shapes(self.point, 1)

    @property
    def generator(self) -> list[tuple[int, ...]]:
        """The shapes of the generator's weights and biases in turn."""
        return self._shapes(self.latent, self.point)

    def _shapes(self, inputs: int, outputs: int) -> list[tuple[int, ...]]:
        rows = [inputs, *[self.hidden] * self.layers, outputs]
        layers = zip(rows, rows[1:], strict=False)
        return [shape for a, b in layers for shape in ((b, a), (b,))]

    @property
    def parameters(self) -> int:
        """Parameters of the larger network."""
        return max(sum(map(math.prod, shapes)) for shapes in (self.critic, self.generator))

    @property
    def _sums(self) -> int:
        return 5 + self.layers + 1

    @property
    def exchanged(self) -> int:
        """Numbers of global memory in which a block passes its gradient to others."""
        return self.parameters + self._sums

    @property
    def room(self) -> int:
        """Numbers of a block's shared memory, as in sizes.h."""
        hidden, layers, inputs = self.hidden, self.layers, max(self.point, self.latent)
        losses = 2 + self.penalties
        columns = (3 if self.pairs and losses < 3 else losses) * self.tile + 2
        weights = (layers - 1) * hidden**2 + hidden * (inputs + self.point + layers) + self.point
        shares = (layers - 1) * THREADS * 16
        lines = (layers + inputs + 2 * self.point) * THREADS
        kept = shares + lines + self._sums * (THREADS + 16)
        activations = max(layers * hidden * columns, kept)
        return (
            -(-weights // 4) * 4 + (inputs + self.point) * columns + activations + 4 * (AT_ONCE + 1)
        )

    def divided(
        self, runs: int, shared_bytes: int, at_once: Callable[[Sizes], int]
    ) -> Sizes | None:
        """Return the sizes with the blocks of a run and columns of a thread for a GPU.

        A run has as many blocks as leave none of them without a tile of points, and as let all
        ``runs`` train at the same time: ``at_once`` says how many a GPU trains of some sizes. None
        when the shared memory is too small.
        """
        for each in self._divisions():
            fits = each.own >= each.tile and 4 * each.room <= shared_bytes
            if fits and (each.blocks == 1 or runs <= at_once(each)):
                return each
        smallest = replace(self, blocks=1, wide=1)
        return smallest if 4 * smallest.room <= shared_bytes else None

    def _divisions(self) -> Iterator[Sizes]:
        blocks = MOST_BLOCKS
        while blocks:
            for wide in (2, 1):
                yield replace(self, blocks=blocks, wide=wide)
            blocks //= 2


FOLDER = Path(__file__).parent
SOURCE, PROBE = FOLDER / "iteration.cu", FOLDER / "probe.cu"
BUILD_TIME = "5 to 8 s"
"""The time in which NVRTC compiles the kernel."""
MOST_TENSORS = 2 * (MOST_LAYERS + 1)


def headers() -> list[Path]:
    """Return the files that the kernel includes."""
    return [*sorted(FOLDER.glob("*.h")), *sorted((FOLDER.parent / "native").glob("*.h"))]


def why_no_kernel(
    config: RunConfig, recipe: Recipe, points: Sequence[int], latents: Sequence[int]
) -> str:
    """Return in a few words why the kernel cannot train such runs; empty when it can.

    ``points`` and ``latents`` are the shapes of a point and of a latent.
    """
    network = config.network.options
    normalizations = [network.get(f"{each}_normalization") for each in ("critic", "generator")]
    penalties = recipe.penalties
    reasons = {
        "compile=false": config.compile == "false",
        "it computes in fp32": config.precision != "fp32",
        "it knows MLPs": config.network.kind != "mlp",
        "it knows no normalization": normalizations != ["none", "none"],
        f"it knows widths {WIDTHS}": network.get("width") not in WIDTHS,
        f"it knows 1 to {MOST_LAYERS} hidden layers": network.get("depth")
        not in range(1, MOST_LAYERS + 1),
        "it knows piecewise linear activations": network.get("activation") in SMOOTH,
        f"it knows points and latents of at most {MOST_NUMBERS} numbers": max(
            math.prod(points), math.prod(latents)
        )
        > MOST_NUMBERS,
        "it knows no wrapper of the critic": recipe.wrapper is not Wrapper.NONE,
        "it knows no packing": config.loss.packing > 1,
        "it knows no unrolled critic": config.loss.unrolled > 0,
        "the objective does not declare its terms": recipe.objective.terms is None,
        "it knows no means of scores": isinstance(recipe.objective.terms, Averages),
        "it knows no perturbed reals": recipe.perturbs,
        f"it knows {layout.MOST_PENALTIES} penalties, not more": len(penalties)
        > layout.MOST_PENALTIES,
        "it does not know the points or the cost of the penalty": not all(
            isinstance(each, SlopePenalty) and each.points in WHERE and each.cost in COSTS
            for each in penalties
        ),
        f"it does not know optimizer {config.train.optimizer}": config.train.optimizer not in RULES,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def sizes_of(
    config: RunConfig, recipe: Recipe, points: Sequence[int], latents: Sequence[int]
) -> Sizes:
    """Return the sizes of runs that the kernel can train."""
    network = config.network.options
    return Sizes(
        activation=NUMBERS[network["activation"]],
        rule=RULES[config.train.optimizer],
        hidden=network["width"],
        layers=network["depth"],
        point=math.prod(points),
        latent=math.prod(latents),
        penalties=len(recipe.penalties),
        pairs=int(isinstance(recipe.objective.terms, Pairs)),
        batch=config.train.batch_size,
    )


class Tensors(ctypes.Structure):
    _fields_ = [
        (name, c_void_p * MOST_TENSORS) for name in ("parameters", "first", "second", "average")
    ]


class Arguments(ctypes.Structure):
    """What every launch gets, as in iteration.cu."""

    _fields_ = [
        ("critic", Tensors),
        ("generator", Tensors),
        ("settings", layout.Settings),
        ("optimizer", layout.Optimizer),
        ("places", c_void_p),
        ("critic_rates", c_void_p),
        ("generator_rates", c_void_p),
        ("clip_values", c_void_p),
        ("steps", c_int64),
        ("decay", c_int32),
        ("unused", c_int32),
        ("average_decay", c_double),
        ("step", c_void_p),
        ("critic_step", c_void_p),
        ("diverged_at", c_void_p),
        ("critic_scalars", c_void_p),
        ("generator_scalars", c_void_p),
        ("fakes", c_void_p),
        ("exchanged", c_void_p),
    ]


class Launcher(Protocol):
    """What starts the kernel: a GPU, or a test's threads."""

    def iterate(
        self, arguments: Arguments, runs: int, critic_step: int, n_critic: int, step: int
    ) -> None:
        """Take the steps of so many runs, then count them."""
        ...


class OnGpu:
    """The kernel for some sizes on a GPU. Raises NoKernel when it cannot be built or loaded."""

    def __init__(self, sizes: Sizes, device: torch.device) -> None:
        self._blocks, self._bytes = sizes.blocks, 4 * sizes.room
        code = driver.compiled(SOURCE, headers(), options(sizes, device))
        self._module = driver.Module(code, device)
        self._iterate = self._module.function("iterate", self._bytes)
        self._count = self._module.function("count")

    def iterate(
        self, arguments: Arguments, runs: int, critic_step: int, n_critic: int, step: int
    ) -> None:
        numbers = [c_int64(each) for each in (critic_step, n_critic, step)]
        blocks = runs * self._blocks
        self._module.launch(self._iterate, blocks, THREADS, self._bytes, [arguments, *numbers])
        counted = [c_int64(n_critic), c_int64(step >= 0)]
        self._module.launch(self._count, 1, 1, 0, [arguments, *counted])


def options(sizes: Sizes, device: torch.device) -> list[str]:
    """Return NVRTC's options for some sizes on a device."""
    return [architecture(device), "-DONE_LANE", *sizes.macros]


def architecture(device: torch.device) -> str:
    """Return NVRTC's option for a device's kind."""
    major, minor = torch.cuda.get_device_capability(device)
    return f"--gpu-architecture=sm_{major}{minor}"


def divided_for(sizes: Sizes, runs: int, device: torch.device) -> Sizes | None:
    """Return how a GPU divides so many runs; None when the kernel does not suit it.

    GPUs without clusters train few runs faster by CUDA graphs. Raises NoKernel.
    """
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < CLUSTERS:
        return None
    probe = driver.Module(driver.compiled(PROBE, [], [architecture(device)]), device)
    most = driver.shared_bytes_of(device)

    def at_once(each: Sizes) -> int:
        # A block takes all registers of a processor; in the probe it takes all shared memory.
        return driver.clusters_at_once(probe, "probe", each.blocks, THREADS, most)

    return sizes.divided(runs, most, at_once)


class Kernel:
    """Iterations of the runs at some places of a stack, written into the stack's state.

    ``samplers`` draw the streams of critic and generator, with tensors on the stack's device.
    ``launcher`` starts the kernel, by default on that device.
    """

    def __init__(
        self,
        sizes: Sizes,
        config: RunConfig,
        recipe: Recipe,
        state: State,
        traced: Traced,
        samplers: Mapping[str, NativeSampler],
        places: Sequence[int],
        launcher: Launcher | None = None,
    ) -> None:
        self._sizes, self._state, self._launcher = sizes, state, launcher
        self._device, self._trained = state.diverged_at.device, len(places)
        runs, layers = len(state.diverged_at), sizes.layers + 1
        tags = {
            "critic": critic_tags(bool(recipe.penalties), layers),
            "generator": generator_tags(layers),
        }
        self._noted: dict[str, Noted] = {
            name: (each, torch.zeros(runs, len(each), device=self._device))
            for name, each in tags.items()
        }
        self._kept: list[object] = [traced, samplers]
        self._arguments = self._arguments_of(config, recipe, traced, samplers, places)

    @property
    def preparation(self) -> str:
        """The slow part of `prepare` in words; empty when there is none."""
        if self._launcher is not None:
            return ""
        built = driver.is_compiled(SOURCE, headers(), options(self._sizes, self._device))
        return "" if built else f"building the kernel of its steps ({BUILD_TIME}, once a machine)"

    def prepare(self) -> None:
        """Build and load the kernel, once. Raises NoKernel."""
        if self._launcher is None:
            self._launcher = OnGpu(self._sizes, self._device)

    def advance(self, critic_step: int, n_critic: int, step: int | None) -> dict[str, Noted]:
        """Take ``n_critic`` critic steps from ``critic_step`` on, then generator step ``step``.

        Needs `prepare` first.
        """
        assert self._launcher is not None
        number = -1 if step is None else step
        self._launcher.iterate(self._arguments, self._trained, critic_step, n_critic, number)
        done = {"critic": n_critic > 0, "generator": step is not None}
        return {name: noted for name, noted in self._noted.items() if done[name]}

    # The arguments.
    def _arguments_of(
        self,
        config: RunConfig,
        recipe: Recipe,
        traced: Traced,
        samplers: Mapping[str, NativeSampler],
        places: Sequence[int],
    ) -> Arguments:
        state, train, sizes = self._state, config.train, self._sizes
        clip = traced.coefficients["clip_value"] if recipe.clips else None
        fakes = (self._trained, AT_ONCE, sizes.batch, sizes.point)
        return Arguments(
            critic=_tensors(state.critic, state.critic_moments, {}),
            generator=_tensors(state.generator, state.generator_moments, state.average),
            settings=settings_of(train.batch_size, recipe, traced.coefficients, samplers),
            optimizer=optimizer_of(config),
            places=self._keep(torch.tensor(places, dtype=torch.int64, device=self._device)),
            critic_rates=traced.critic_lr.data_ptr(),
            generator_rates=traced.generator_lr.data_ptr(),
            clip_values=None if clip is None else clip.data_ptr(),
            steps=train.steps,
            decay=DECAYS[train.decay],
            average_decay=train.average_decay,
            step=state.step.data_ptr(),
            critic_step=state.critic_step.data_ptr(),
            diverged_at=state.diverged_at.data_ptr(),
            critic_scalars=self._noted["critic"][1].data_ptr(),
            generator_scalars=self._noted["generator"][1].data_ptr(),
            fakes=self._keep(torch.zeros(fakes, device=self._device)),
            exchanged=self._keep(
                torch.zeros(self._trained, sizes.blocks, sizes.exchanged, device=self._device)
            ),
        )

    def _keep(self, tensor: Tensor) -> int:
        self._kept.append(tensor)
        return tensor.data_ptr()


def _tensors(
    parameters: Parameters, moments: Mapping[str, Parameters], average: Parameters
) -> Tensors:
    """Return the layout of a network of linear layers, weights and biases in turn."""

    def addresses(tensors: Parameters | None) -> ctypes.Array[c_void_p]:
        found = [tensors[name].data_ptr() for name in parameters] if tensors else []
        return (c_void_p * MOST_TENSORS)(*found)

    first, second = [*moments.values(), None, None][:2]
    return Tensors(addresses(parameters), addresses(first), addresses(second), addresses(average))
