"""R runs trained at once: the only module with a run axis.

Parameters, optimizer moments, batches and coefficients carry a leading axis of R
runs; `torch.func.vmap` lifts the one-run functions of `step.py` over it. One run is
a stack of R = 1. Runs share a stack when their static settings are equal; their
rates, coefficients and seeds may differ.

The rounding of an exponential may depend on R and on a run's place, because the remainder
of a vector is computed by other instructions. A resumed run therefore keeps its place in a
stack of the same size. Copies fill the places of runs that are elsewhere; they are not
visible outside this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor
from torch.func import grad_and_value, vmap

from wganbench.bounds import Precision
from wganbench.config.check import check_pointwise, recipe_of, typed_rows
from wganbench.config.schema import RunConfig, digest_of_training, static_settings
from wganbench.data import Target, build
from wganbench.errors import ConfigError
from wganbench.losses.recipes import Wrapper
from wganbench.metrics import Floor, ImageReference
from wganbench.networks import Pair, Parameters, build_pair, initial_parameters
from wganbench.runs.stored import Places
from wganbench.training.device import in_parts, products, to_host
from wganbench.training.execution import Execution, OwnCode, Work
from wganbench.training.graphs import PAIRED_REALS, PERTURBATION, Noted, step_streams
from wganbench.training.native.executor import Traced
from wganbench.training.optimizers import State, directions, initial_moments
from wganbench.training.process import unstopped
from wganbench.training.step import Algorithm, Scalars, Unrolled, clipped, gradient_norms, layers
from wganbench.training.streams import (
    Streams,
    StreamSampler,
    critic_steps_before,
    held_out_sampler,
    mixing,
    n_critic_at,
    perturbation,
    rate_factor,
    stream_generator,
    training_sampler,
)

POINTS_AT_ONCE, PICTURES_AT_ONCE = 4096, 1024
"""Largest number measured in one pass. Batch norm takes its statistics over one pass."""


def pair_of(config: RunConfig, target: Target, on_gpu: bool) -> Callable[[Precision], Pair]:
    """Return what makes the networks of a run in a precision, in the form for its device."""
    network, packing = config.network, config.loss.packing
    return lambda precision: build_pair(
        network.kind, network.options, target.shape, precision, packing, on_gpu
    )


class Stack:
    """R runs with equal static settings, trained as one program.

    ``places`` are the places of the given runs; by default the runs fill the stack. ``target``
    is the data; by default it is built from the configuration. ``pair(precision)`` makes the
    networks, by default those of the configuration. ``samplers`` replace the usual samplers of
    the streams that they name. Raises ValueError when the static settings differ or a penalised
    critic mixes points.
    """

    def __init__(
        self,
        configs: list[RunConfig],
        device: torch.device,
        places: Places | None = None,
        target: Target | None = None,
        pair: Callable[[Precision], Pair] | None = None,
        samplers: Mapping[str, StreamSampler] | None = None,
    ) -> None:
        for config in configs:
            typed_rows(config)
        config = configs[0]
        if any(static_settings(other) != static_settings(config) for other in configs):
            raise ValueError("runs of one stack share every setting but seed, rates, coefficients")
        self.configs, self.config, self.device = configs, config, device
        self.places = places or Places.all_of(len(configs))
        own = dict(zip(self.places.own, configs, strict=True))
        self._everywhere = [own.get(place, config) for place in range(self.places.size)]
        self.target: Target = target or build(config.data.kind, config.data.options)
        recipe = recipe_of(config)
        make = pair or pair_of(config, self.target, on_gpu=device.type == "cuda")
        packing = config.loss.packing
        self.algorithm = Algorithm(make(config.precision), recipe, packing)
        self.exact_algorithm = Algorithm(make("fp32"), recipe, packing)
        steps, train = config.loss.unrolled, config.train
        unrolled = Unrolled(self.algorithm, steps, train.optimizer, train.betas)
        self.unrolled = unrolled if steps else None
        networks = self.algorithm.pair
        self._layers = {n: layers(getattr(networks, n)) for n in ("critic", "generator")}
        check_pointwise(config, recipe, networks)
        self.coefficients = {
            name: self._traced([c.loss.coefficients[name] for c in self._everywhere])
            for name in recipe.coefficients
        }
        self.critic_lr = self._traced([c.train.critic_lr for c in self._everywhere])
        self.generator_lr = self._traced([c.train.generator_lr for c in self._everywhere])
        self.state = self._initial_state()
        self.floors: dict[int, Floor] = {}
        self.images: ImageReference | None = None
        self._latest: dict[str, Noted] = {}
        self.streams = Streams([c.seed for c in self._everywhere], device)
        self.samplers = self._samplers() | dict(samplers or {})
        self.execution = self._execution()
        self.steps_done = 0

    # Setting up.
    def _traced(self, values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self.device)

    def _initial_state(self) -> State:
        pair = self.algorithm.pair

        def start(network: torch.nn.Module, stream: str) -> Parameters:
            runs = [
                initial_parameters(
                    network, pair.initialization, stream_generator(c.seed, stream, 0)
                )
                for c in self._everywhere
            ]
            return {k: torch.stack([run[k] for run in runs]).to(self.device) for k in runs[0]}

        critic = start(pair.critic, "weights_critic")
        generator = start(pair.generator, "weights_generator")
        averaging = self.config.train.average_decay > 0
        optimizer = self.config.train.optimizer
        return State(
            critic=critic,
            generator=generator,
            average={k: p.clone() for k, p in generator.items()} if averaging else {},
            critic_moments=initial_moments(optimizer, critic),
            generator_moments=initial_moments(optimizer, generator),
            step=torch.zeros((), dtype=torch.float32, device=self.device),
            critic_step=torch.zeros((), dtype=torch.float32, device=self.device),
            diverged_at=torch.full((self.places.size,), -1, dtype=torch.int64, device=self.device),
        )

    # The two programs: a critic step and a generator step of all runs.
    def _critic_update(
        self, state: State, x: Tensor, z: Tensor, eps: Tensor, *noise: Tensor
    ) -> Noted:
        algorithm, train, groups = self.algorithm, self.config.train, self._layers["critic"]

        def one_run(
            critic: Parameters,
            generator: Parameters,
            x: Tensor,
            z: Tensor,
            eps: Tensor,
            coefficients: dict[str, Tensor],
            *noise: Tensor,
        ) -> tuple[Parameters, Scalars]:
            gradients, (_, scalars) = grad_and_value(algorithm.critic_loss, has_aux=True)(
                critic, generator, x, z, eps, coefficients, *noise
            )
            return gradients, {**scalars, **gradient_norms("critic", gradients, groups)}

        gradients, scalars = vmap(one_run)(
            state.critic, state.generator, x, z, eps, self.coefficients, *noise
        )
        moves = directions(
            train.optimizer,
            state.critic,
            gradients,
            state.critic_moments,
            state.critic_step,
            train.betas,
        )
        rates = self.critic_lr * rate_factor(state.step, train.steps, train.decay)
        moved = vmap(_moved)(state.critic, moves, rates)
        if algorithm.recipe.clips:
            moved = vmap(clipped)(moved, self.coefficients["clip_value"])
        _assign(state.critic, moved)
        state.critic_step.add_(1)
        return self._note_divergence(state, scalars)

    def _generator_update(self, state: State, z: Tensor, *x: Tensor) -> Noted:
        train, groups = self.config.train, self._layers["generator"]
        decayed = rate_factor(state.step, train.steps, train.decay)
        loss: Callable[..., tuple[Tensor, Scalars]] = self.algorithm.generator_loss
        critics: tuple[Any, ...] = ()
        if self.unrolled:
            loss, taken = self.unrolled.generator_loss, state.critic_step.expand(self.places.size)
            rates = self.critic_lr * decayed
            critics = (state.critic_moments, taken, rates, self.coefficients)

        def one_run(
            generator: Parameters, critic: Parameters, *batch: Any
        ) -> tuple[Parameters, Scalars]:
            gradients, (_, scalars) = grad_and_value(loss, has_aux=True)(generator, critic, *batch)
            return gradients, {**scalars, **gradient_norms("generator", gradients, groups)}

        gradients, scalars = vmap(one_run)(state.generator, state.critic, z, *x, *critics)
        moves = directions(
            train.optimizer,
            state.generator,
            gradients,
            state.generator_moments,
            state.step,
            train.betas,
        )
        _assign(state.generator, vmap(_moved)(state.generator, moves, self.generator_lr * decayed))
        for name, average in state.average.items():
            average.lerp_(state.generator[name], 1 - train.average_decay)
        noted = self._note_divergence(state, scalars)
        state.step.add_(1)
        return noted

    def _note_divergence(self, state: State, scalars: Scalars) -> Noted:
        """Return tags and a table (R, tags); record each run's first non-finite step."""
        table = torch.stack(list(scalars.values()), dim=1)
        first = (state.diverged_at < 0) & ~table.isfinite().all(dim=1)
        step = (state.step + 1).to(torch.int64)
        state.diverged_at.copy_(torch.where(first, step, state.diverged_at))
        return list(scalars), table

    # Training.
    def why_not_ours(self) -> str:
        """Return in a few words why our own code cannot train these runs; empty when it can."""
        own = self.own_code()
        return own.why_no_kernel() if self.device.type == "cuda" else own.why_not_native()

    def own_code(self) -> OwnCode:
        """Return the runs as our own code sees them."""
        return OwnCode(
            self.config,
            self.algorithm.recipe,
            self.state,
            Traced(self.coefficients, self.critic_lr, self.generator_lr),
            self.samplers,
            self.streams.seeds,
            self.places.own,
            (self.target.shape, self.algorithm.pair.latent.shape),
            self.device,
        )

    def _execution(self) -> Execution:
        work = Work(
            self.config,
            self.device,
            self.state,
            self.streams,
            self.samplers,
            self._critic_update,
            self._generator_update,
            self.places.size,
            pictures=len(self.target.shape) == 3,
            drawn=step_streams(self.algorithm.recipe, self.config.loss.unrolled),
            # The SVD of a spectral norm waits for the host.
            recordable=self.algorithm.recipe.wrapper is not Wrapper.SPECTRAL,
        )
        own = self.own_code()
        return Execution(work, own.native(), own.kernel())

    @property
    def executor(self) -> str:
        """The name of the executor of the steps, see `Execution.name`."""
        return self.execution.name

    def compile(self, check: Callable[[], None] = unstopped) -> None:
        """Build the executor before it is needed; the state of training does not change.

        ``check`` is called between the parts and may raise to stop the build.
        """
        self.execution.prepare(self.steps_done, check)

    def iterate(self) -> None:
        """Take one generator step of all runs, after its critic steps."""
        step = self.steps_done
        first = critic_steps_before(step, self.config)
        self.advance_by(first, n_critic_at(step, self.config), step)
        self.steps_done = step + 1

    def advance_by(self, critic_step: int, n_critic: int, step: int | None) -> None:
        """Take ``n_critic`` critic steps from ``critic_step`` on, then generator step ``step``."""
        self._latest |= self.execution.advance(critic_step, n_critic, step)

    def _samplers(self) -> dict[str, StreamSampler]:
        """Return the sampler of each stream."""
        latent, runs = self.algorithm.pair.latent, self.places.size
        real = training_sampler(self.target, runs)
        return {
            "real": real,
            PAIRED_REALS: real,
            "latent_critic": latent.draw,
            "latent_generator": latent.draw,
            "mixing": mixing,
            PERTURBATION: partial(perturbation, self.target.shape),
            "evaluate_real": held_out_sampler(self.target, runs),
        }

    # Reading.
    def scalars(self) -> list[dict[str, float]]:
        """Return the latest scalars of each run by tag, in one read from the device."""
        tags = [tag for noted in self._latest.values() for tag in noted[0]]
        tables = [noted[1] for noted in self._latest.values()]
        if not tables:
            return [{} for _ in self.configs]
        rows = torch.cat(tables, dim=1).tolist()
        return [dict(zip(tags, rows[place], strict=True)) for place in self.places.own]

    def diverged_at(self) -> list[int]:
        """Return the first non-finite step of each run, -1 when there is none."""
        steps: list[int] = self.state.diverged_at.tolist()
        return [steps[place] for place in self.places.own]

    @property
    def probed_points(self) -> int:
        """The largest number of points of a run that are measured in one pass."""
        return POINTS_AT_ONCE if len(self.target.shape) == 1 else PICTURES_AT_ONCE

    def probe(self, n: int, draw: int = 0, averaged: bool = False) -> list[dict[str, Tensor]]:
        """Return the point-by-point measurements of each run at this step, on the CPU.

        Held-out reals and fresh latents come from the run's evaluation streams, so
        that measuring does not change training's draws. ``draw`` numbers repetitions.
        """
        generator = self.state.average if averaged else self.state.generator

        def draws(stream: str, kind: str) -> Tensor:
            name, steps = f"{stream}/{draw}", [self.steps_done]
            return self.streams.draw(self.samplers[kind], name, steps, n)[0]

        reals = draws("evaluate_real", "evaluate_real")
        z = draws("evaluate_latent", "latent_critic")
        eps = draws("evaluate_mixing", "mixing")
        drawn = {"reals": to_host(reals), "eps": to_host(eps)}
        if native := self.execution.built():
            points = native.probe(reals, z, eps, averaged) | drawn
        else:
            probe, networks = vmap(self.exact_algorithm.probe), (self.state.critic, generator)
            with torch.no_grad(), products(self.device):
                points = in_parts(probe, networks, (reals, z, eps), self.probed_points) | drawn
        return [{name: v[place] for name, v in points.items()} for place in self.places.own]

    def run_parameters(self, run: int, network: str) -> Parameters:
        """Return a copy of one run's parameters: ``critic``, ``generator`` or ``average``."""
        place = self.places.own[run]
        return {k: p[place].detach().clone() for k, p in getattr(self.state, network).items()}

    def critic_weights(self) -> Tensor:
        """Return all critic weights on the CPU: one row for each run."""
        weights = torch.cat([p.detach().flatten(1) for p in self.state.critic.values()], dim=1)
        return weights.cpu()[list(self.places.own)]

    # Saving and restoring.
    @cached_property
    def digests(self) -> list[str]:
        """The digest of each run's training, which its checkpoints hold."""
        return [digest_of_training(config) for config in self.configs]

    def run_states(self) -> list[dict[str, Tensor]]:
        """Return the tensors of each run on the CPU: the content of its checkpoint."""
        on_cpu = {name: p.detach().cpu() for name, p in self.state.tensors().items()}
        return [{k: p[place].clone() for k, p in on_cpu.items()} for place in self.places.own]

    def load_run_state(self, run: int, step: int, tensors: dict[str, Tensor]) -> None:
        """Load what `run_states` returned. Raises ConfigError when tensors or step do not fit."""
        own = self.state.tensors()
        needed = {name: (tensor.shape[1:], tensor.dtype) for name, tensor in own.items()}
        if needed != {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}:
            raise ConfigError("the saved tensors are those of another network or optimizer")
        if step > self.config.train.steps:
            raise ConfigError(f"it was saved at step {step}, after train.steps, the run's last one")
        copies = set(range(self.places.size)) - set(self.places.own) if run == 0 else set()
        for place in {self.places.own[run], *copies}:
            for name, tensor in own.items():
                tensor[place].copy_(tensors[name])
        self.steps_done = step
        self.state.step.fill_(step)
        self.state.critic_step.fill_(critic_steps_before(step, self.config))


def _moved(parameters: Parameters, moves: Parameters, rate: Tensor) -> Parameters:
    return {name: p + rate * moves[name] for name, p in parameters.items()}


def _assign(parameters: Parameters, values: Parameters) -> None:
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
