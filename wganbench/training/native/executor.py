"""The C++ executor: which runs it can train, and their iterations."""

from __future__ import annotations

import ctypes
import math
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from wganbench.config.schema import RunConfig
from wganbench.losses.constraints import Cost, Penalty, Points, SlopePenalty
from wganbench.losses.recipes import Averages, Pairs, Recipe, Term, Terms, Wrapper
from wganbench.nativecode import find_compiler
from wganbench.networks import Parameters
from wganbench.training.graphs import (
    CRITIC_STREAMS,
    GENERATOR_STREAM,
    PAIRED_REALS,
    PERTURBATION,
    Noted,
    step_streams,
)
from wganbench.training.native import layout, library
from wganbench.training.native.layout import (
    NativeSampler,
    filled,
    native_sampler,
    of_points,
    packs_of,
)
from wganbench.training.native.library import Threads, has_library, native_library
from wganbench.training.optimizers import State
from wganbench.training.streams import StreamSampler

Batch = Callable[[str, int], Tensor]
"""A function from a stream and a step to the values of all runs: (R, n, ...)."""

VECTORS = ("fakes", "fake_gradients")
PROBED = (
    "fakes",
    "score_real",
    "score_fake",
    "slopes_hat",
    "slopes_real",
    "slopes_fake",
    "fake_gradients",
    "feedback",
)
"""The names that `Algorithm.probe` returns, in the order of native.cpp."""

RULES = {"adam": 0, "rmsprop": 1, "sgd": 2}
DECAYS = {"none": 0, "linear": 1, "cosine": 2}
"""The enumerations of optimizers.h."""
WHERE = {Points.INTERPOLATES: 1, Points.REALS: 2, Points.FAKES: 3, Points.PERTURBED: 4}
COSTS = {Cost.SQUARED: 0, Cost.FROM_ONE: 1, Cost.ABOVE_ONE: 2, Cost.POWER: 3}
"""The enumerations of losses.h."""
WRAPPERS = {Wrapper.NONE: 0, Wrapper.SPECTRAL: library.SPECTRAL, Wrapper.GRADIENT: 2}
"""The wrappers of plan.h."""
AGAINST: dict[type, int] = {Terms: 0, Pairs: 1, Averages: 2}
"""What the scores of an objective are compared with, as settings.h has it."""
CRITIC_SLOTS, GENERATOR_SLOTS = (*CRITIC_STREAMS, PERTURBATION), (GENERATOR_STREAM, PAIRED_REALS)
"""The order of the streams in settings.h."""


def why_not_native(config: RunConfig, device: torch.device, recipe: Recipe) -> str:
    """Return in a few words why our C++ cannot train such runs; empty when it can."""
    network = config.network.options
    normalizations = [network.get(f"{each}_normalization") for each in ("critic", "generator")]
    normalised = recipe.wrapper is Wrapper.GRADIENT
    reasons = {
        "it trains on CPUs": device.type != "cpu",
        "compile=false": config.compile == "false",
        "it computes in fp32": config.precision == "bf16",
        "it knows MLPs": config.network.kind != "mlp",
        "it knows no normalization": normalizations != ["none", "none"],
        f"it does not know activation {network.get('activation')}": str(network.get("activation"))
        not in library.NUMBERS,
        "it does not know the wrapper of the critic": recipe.wrapper not in WRAPPERS,
        "it knows no penalty of a normalised critic": normalised and bool(recipe.penalties),
        "it knows no means of normalised scores": normalised
        and isinstance(recipe.objective.terms, Averages),
        "it knows no unrolled critic": config.loss.unrolled > 0,
        "the objective does not declare its terms": recipe.objective.terms is None,
        "the penalty is not one of slopes": not all(
            isinstance(penalty, SlopePenalty) for penalty in recipe.penalties
        ),
        f"it knows {layout.MOST_PENALTIES} penalties, not more": len(recipe.penalties)
        > layout.MOST_PENALTIES,
        "it does not know the points or the cost of the penalty": any(
            isinstance(penalty, SlopePenalty)
            and (penalty.points not in WHERE or penalty.cost not in COSTS)
            for penalty in recipe.penalties
        ),
        f"it does not know optimizer {config.train.optimizer}": config.train.optimizer not in RULES,
        "there is no C++ compiler": find_compiler() is None,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def native_samplers(
    recipe: Recipe,
    samplers: Mapping[str, StreamSampler],
    seeds: Sequence[int],
    points: Sequence[int],
    latents: Sequence[int],
    device: torch.device = layout.CPU,
) -> dict[str, NativeSampler]:
    """Return the native samplers of a loss's streams, given the shapes of points and latents."""
    sizes = {"mixing": 1} | dict.fromkeys(("real", PAIRED_REALS, PERTURBATION), math.prod(points))
    streams = step_streams(recipe)
    return {
        stream: native_sampler(
            samplers[stream], stream, seeds, sizes.get(stream, math.prod(latents)), device
        )
        for stream in (*streams.critic, *streams.generator)
    }


@dataclass(frozen=True)
class Traced:
    """The settings that may differ between the runs of a stack: (R,) each."""

    coefficients: Mapping[str, Tensor]
    critic_lr: Tensor
    generator_lr: Tensor


class Native:
    """Iterations of the runs at some places of a stack, written into the stack's state.

    ``samplers`` draw the streams of critic and generator. When the C++ has no such sampler, the
    stream's batches are passed to it. It uses at most as many threads as torch has at
    the start, see `Threads`; the results do not depend on their number.
    """

    def __init__(
        self,
        config: RunConfig,
        recipe: Recipe,
        state: State,
        traced: Traced,
        samplers: Mapping[str, NativeSampler],
        places: Sequence[int],
    ) -> None:
        self._kind = library.NUMBERS[config.network.options["activation"]], WRAPPERS[recipe.wrapper]
        self._config, self._recipe, self._state, self._traced = config, recipe, state, traced
        self._samplers, self._places = samplers, places
        self._threads = Threads(torch.get_num_threads())
        self._given = [stream for stream, sampler in samplers.items() if sampler.given]
        layers = len(state.critic) // 2, len(state.generator) // 2
        self._tags = {
            "critic": critic_tags(bool(recipe.penalties), layers[0]),
            "generator": generator_tags(layers[1]),
        }
        runs = len(state.diverged_at)
        self._tables = {name: torch.zeros(runs, len(tags)) for name, tags in self._tags.items()}
        self._library: ctypes.CDLL | None = None
        self._plans: dict[int, int] = {}
        self._kept: list[object] = []

    @property
    def preparation(self) -> str:
        """The slow part of `prepare` in words; empty when there is none."""
        if self._plans or has_library(*self._kind):
            return ""
        return "building the C++ of its steps (2 to 10 s, once a machine)"

    def prepare(self) -> None:
        """Build the library and allocate memory, once. Raises NoCompiler, MemoryError."""
        if self._library is None:
            self._library = native_library(*self._kind)
            self._plan(self._threads.most)

    def _plan(self, threads: int) -> int:
        """Return the plan for a number of threads, made once. Raises MemoryError."""
        assert self._library is not None
        if threads not in self._plans:
            plan = self._library.wgan_open(ctypes.byref(self._spec(threads)))
            if not plan:
                raise MemoryError("no memory for the activations of a batch")
            weakref.finalize(self, self._library.wgan_close, plan)
            self._plans[threads] = plan
        return self._plans[threads]

    def advance(
        self, critic_step: int, n_critic: int, step: int | None, batch: Batch, spared: int = 0
    ) -> dict[str, Noted]:
        """Take ``n_critic`` critic steps from ``critic_step`` on, then generator step ``step``.

        ``batch`` gives the batches that the C++ does not draw, ``spared`` is the number of threads
        to do without. Needs `prepare` first.
        """
        assert self._library is not None
        batches = self._batches(critic_step, n_critic, step, batch) if self._given else []
        addresses = [None if values is None else values.data_ptr() for values in batches]
        pointers = (ctypes.c_void_p * len(addresses))(*addresses) if addresses else None
        number = -1 if step is None else step
        threads = self._threads.now(spared)
        plan, began = self._plan(threads), time.perf_counter()
        if self._library.wgan_advance(plan, critic_step, n_critic, number, pointers):
            raise MemoryError("no memory for threads")
        self._threads.took(threads, time.perf_counter() - began)
        done = {"critic": n_critic > 0, "generator": step is not None}
        return {name: (self._tags[name], self._tables[name]) for name in done if done[name]}

    def _batches(
        self, critic_step: int, n_critic: int, step: int | None, batch: Batch
    ) -> list[Tensor | None]:
        """Return critic steps' batches by stream, then the generator's; None if drawn in C++."""
        wanted = [(stream, critic_step + i) for i in range(n_critic) for stream in CRITIC_SLOTS]
        wanted += [] if step is None else [(stream, step) for stream in GENERATOR_SLOTS]
        return [
            batch(stream, number).contiguous() if stream in self._given else None
            for stream, number in wanted
        ]

    def probe(
        self, reals: Tensor, z: Tensor, eps: Tensor, averaged: bool
    ) -> dict[str, Float[Tensor, ...]]:
        """Return `Algorithm.probe` of the runs' points (R, n, ...); zeros for runs elsewhere.

        ``averaged`` uses the generator's average. Needs `prepare` first.
        """
        assert self._library is not None
        (runs, n, dimension), size = reals.shape, self._config.loss.packing
        packs = packs_of(n, size)
        found = {
            name: torch.zeros((runs, packs, size * dimension) if name in VECTORS else (runs, packs))
            for name in PROBED
        }
        given = [filled(values, size) for values in (reals, z, eps)]
        pointers = (ctypes.c_void_p * 4)(*(values.data_ptr() for values in given))
        to = (ctypes.c_void_p * len(PROBED))(*(values.data_ptr() for values in found.values()))
        plan = self._plan(self._threads.most)
        if self._library.wgan_probe(plan, averaged, packs, pointers, to):
            raise MemoryError("no memory to measure in")
        return {
            name: of_points(values, n, size, sums=name == "fake_gradients")
            for name, values in found.items()
        }

    # The specification.
    def _spec(self, threads: int) -> layout.Spec:
        state, traced, recipe, config = self._state, self._traced, self._recipe, self._config
        train, packs = config.train, config.train.batch_size // config.loss.packing
        clip = traced.coefficients["clip_value"] if recipe.clips else None
        return layout.Spec(
            critic=self._network(state.critic, state.critic_moments, {}),
            generator=self._network(state.generator, state.generator_moments, state.average),
            settings=settings_of(packs, recipe, traced.coefficients, self._samplers),
            optimizer=optimizer_of(config),
            places=self._numbers(self._places),
            trained=len(self._places),
            threads=threads,
            critic_rates=traced.critic_lr.data_ptr(),
            generator_rates=traced.generator_lr.data_ptr(),
            clip_values=None if clip is None else clip.data_ptr(),
            steps=train.steps,
            pack=config.loss.packing,
            decay=DECAYS[train.decay],
            average_decay=train.average_decay,
            step=state.step.data_ptr(),
            critic_step=state.critic_step.data_ptr(),
            diverged_at=state.diverged_at.data_ptr(),
            critic_scalars=self._tables["critic"].data_ptr(),
            generator_scalars=self._tables["generator"].data_ptr(),
        )

    def _network(
        self, parameters: Parameters, moments: Mapping[str, Parameters], average: Parameters
    ) -> layout.NetworkSpec:
        """Return the layout of a network of linear layers, weights and biases in turn."""
        weights = [p for name, p in parameters.items() if name.endswith("weight")]
        sizes = [weights[0].shape[2], *(w.shape[1] for w in weights)] if weights else []
        first, second = [*moments.values(), None, None][:2]
        return layout.NetworkSpec(
            layers=len(weights),
            sizes=self._numbers(sizes),
            parameters=self._addresses(parameters, parameters),
            first=self._addresses(first, parameters),
            second=self._addresses(second, parameters),
            average=self._addresses(average, parameters),
        )

    def _numbers(self, numbers: Sequence[int]) -> int:
        array = (ctypes.c_int64 * max(1, len(numbers)))(*numbers)
        self._kept.append(array)
        return ctypes.addressof(array)

    def _addresses(self, tensors: Parameters | None, names: Parameters) -> int | None:
        if not tensors:
            return None
        array = (ctypes.c_void_p * len(names))(*(tensors[name].data_ptr() for name in names))
        self._kept.append(array)
        return ctypes.addressof(array)


def optimizer_of(config: RunConfig) -> layout.Optimizer:
    """Return a run's update rule."""
    train = config.train
    betas = (ctypes.c_double * 2)(*train.betas)
    return layout.Optimizer(rule=RULES[train.optimizer], betas=betas)


def settings_of(
    batch: int,
    recipe: Recipe,
    coefficients: Mapping[str, Tensor],
    samplers: Mapping[str, NativeSampler],
) -> layout.Settings:
    """Return a loss with the coefficients (R,) and the samplers of its streams."""
    terms = recipe.objective.terms
    assert terms is not None
    layouts = [
        samplers[stream].fields if stream in samplers else layout.Sampler()
        for stream in (*CRITIC_STREAMS, *GENERATOR_SLOTS, PERTURBATION)
    ]
    penalties = [_penalty(penalty, coefficients) for penalty in recipe.penalties]
    return layout.Settings(
        batch=batch,
        against=AGAINST[type(terms)],
        penalties=len(penalties),
        **_terms(terms),
        penalty=(layout.Penalty * layout.MOST_PENALTIES)(*penalties),
        samplers=(layout.Sampler * layout.MOST_STREAMS)(*layouts),
    )


def _terms(terms: Terms | Pairs | Averages) -> dict[str, layout.Term]:
    if isinstance(terms, Pairs | Averages):
        return {"real": _term(terms.term), "generator": _term(terms.term)}
    parts = {"real": terms.real, "fake": terms.fake, "generator": terms.generator}
    return {name: _term(term) for name, term in parts.items()}


def _term(term: Term) -> layout.Term:
    return layout.Term(
        weight=term.weight,
        sign=term.sign,
        form=term.form.value,
        shift=term.shift,
        slope=term.slope,
    )


def _penalty(penalty: Penalty, coefficients: Mapping[str, Tensor]) -> layout.Penalty:
    assert isinstance(penalty, SlopePenalty)
    return layout.Penalty(
        where=WHERE[penalty.points],
        cost=COSTS[penalty.cost],
        scale=penalty.scale,
        coefficient=coefficients[penalty.coefficient].data_ptr(),
        power=None if penalty.power is None else coefficients[penalty.power].data_ptr(),
    )


def critic_tags(penalised: bool, layers: int) -> list[str]:
    scores = ["wasserstein/estimate", "critic/score_real", "critic/score_fake"]
    penalty = ["loss/penalty"] if penalised else []
    return ["loss/critic", *scores, *penalty, *_norm_tags("critic", layers)]


def generator_tags(layers: int) -> list[str]:
    return ["loss/generator", *_norm_tags("generator", layers)]


def _norm_tags(network: str, layers: int) -> list[str]:
    by_layer = [f"grad_norm/{network}_layer_{i}" for i in range(layers)]
    return [f"grad_norm/{network}", *by_layer]
