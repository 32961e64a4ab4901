"""What a stack owes its runs: to be alone, to be equal, to be measured, without a trace."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from training_configs import CPU, alike, same, tiny, trained

from wganbench.bounds import AHEAD_STEPS
from wganbench.config import RunConfig, to_dict
from wganbench.config.schema import static_settings
from wganbench.data.drawn import DrawnTarget
from wganbench.draws import keyed
from wganbench.losses import RECIPES
from wganbench.training import device as devices
from wganbench.training import optimizers
from wganbench.training import stack as stack_module
from wganbench.training.device import runs_at_once
from wganbench.training.measuring import measure_stack
from wganbench.training.optimizers import State
from wganbench.training.stack import Stack
from wganbench.training.streams import (
    Streams,
    critic_steps_before,
    n_critic_at,
    rate_factor,
)

STREAMS = ("real", "latent_critic", "latent_generator", "mixing")
ALL = ("adam", "rmsprop", "sgd")


# Neighbours.
@pytest.mark.parametrize("loss", list(RECIPES))
def test_a_run_in_a_stack_equals_the_run_alone_bit_for_bit(loss: str) -> None:
    configs = alike(loss, 3, **{"network.width": 16, "train.batch_size": 32})
    together = trained(configs, 2)
    turned = trained([configs[2], configs[0], configs[1]], 2)
    for r, config in enumerate(configs):
        alone = trained([config], 2)
        assert same(together.run_states()[r], alone.run_states()[0])
        assert same(turned.run_states()[(r + 1) % 3], alone.run_states()[0])
        assert together.scalars()[r] == alone.scalars()[0] == turned.scalars()[(r + 1) % 3]
    assert not same(together.run_states()[0], together.run_states()[1]), "the runs do differ"


@pytest.mark.parametrize("optimizer", ALL)
def test_so_it_does_with_every_optimizer_average_and_precision(optimizer: str) -> None:
    settings = {
        "train.optimizer": optimizer,
        "train.average_decay": 0.9,
        "train.decay": "cosine",
        "network.generator_normalization": "batch",
        "network.depth": 3,
    }
    configs = alike("gp", 3, **settings)
    together = trained(configs, 3)
    alone = trained(configs[1:2], 3)
    assert same(together.run_states()[1], alone.run_states()[0])


def test_equal_seeds_share_weights_and_data_whatever_the_loss() -> None:
    stacks = [trained([tiny(loss, seed=3)], 0) for loss in RECIPES]
    first = stacks[0]
    for stack in stacks[1:]:
        for network in ("critic", "generator"):
            assert same(stack.run_parameters(0, network), first.run_parameters(0, network))
        for stream in STREAMS:
            assert torch.equal(
                stack.execution.work.batch(stream, 70), first.execution.work.batch(stream, 70)
            )
    other = trained([tiny("gp", seed=4)], 0)
    assert not same(other.run_parameters(0, "critic"), first.run_parameters(0, "critic"))
    assert not torch.equal(
        other.execution.work.batch("real", 0), first.execution.work.batch("real", 0)
    )


def nan_parameters(stack: Stack) -> None:
    stack.state.critic["hidden.0.0.weight"][1, 0, 0] = math.nan


def nan_generator(stack: Stack) -> None:
    stack.state.generator["output.bias"][1] = math.nan


def nan_coefficient(stack: Stack) -> None:
    for values in stack.coefficients.values():
        values[1] = math.nan


def absurd_rate(stack: Stack) -> None:
    stack.critic_lr[1] = 1e30


POISONS: dict[Callable[[Stack], None], set[str]] = {
    nan_parameters: set(),
    nan_generator: set(),
    nan_coefficient: {"bce"},
    absurd_rate: {"clip"},
}
"""What harms one run of a stack, and the losses that it does not harm."""


@pytest.mark.parametrize("loss", ["gp", "clip", "bce"])
def test_a_poisoned_run_leaves_its_neighbours_alone(loss: str) -> None:
    configs = alike(loss, 3, **{"train.average_decay": 0.5})
    clean = trained(configs, 4)
    assert clean.diverged_at() == [-1, -1, -1]
    for poison, harmless in POISONS.items():
        poisoned = trained(configs, 1)
        poison(poisoned)
        for _ in range(3):
            poisoned.iterate()
        for r in (0, 2):
            assert same(clean.run_states()[r], poisoned.run_states()[r]), poison
            assert clean.scalars()[r] == poisoned.scalars()[r]
        assert poisoned.diverged_at() == [-1, -1 if loss in harmless else 2, -1], poison


def test_the_first_bad_step_is_kept() -> None:
    stack = trained(alike("gp", 2), 1)
    for step in range(2, 5):
        if step == 3:
            stack.state.generator["output.weight"][0] = math.inf
        stack.iterate()
        assert stack.diverged_at() == [3 if step >= 3 else -1, -1]
    assert stack.run_states()[0]["diverged_at"] == 3


# What may differ in a stack, and what may not.
def test_runs_of_one_stack_may_differ_in_seed_rates_and_coefficients_only() -> None:
    configs = alike("gp", 3)
    elsewhere = tiny("gp", name="elsewhere", output_dir="there", overwrite=True)
    assert static_settings(configs[0]) == static_settings(configs[2]) == static_settings(elsewhere)


UNLIKE: dict[str, Any] = {
    "loss.n_critic": 3,
    "network.width": 9,
    "network.activation": "tanh",
    "data.sigma": 0.5,
    "train.batch_size": 32,
    "train.optimizer": "sgd",
    "train.betas": [0.5, 0.99],
    "train.decay": "linear",
    "train.steps": 5,
    "train.average_decay": 0.5,
    "precision": "bf16",
    "evaluate.every_n_steps": 3,
    "checkpoint.every_n_steps": 3,
    "log.every_n_steps": 3,
}


@pytest.mark.parametrize("key", list(UNLIKE))
def test_unlike_runs_do_not_share_a_stack(key: str) -> None:
    with pytest.raises(ValueError, match="one stack"):
        Stack([tiny("gp"), tiny("gp", **{key: UNLIKE[key]})], CPU)


def test_unlike_losses_do_not_share_a_stack() -> None:
    # lp has gp's coefficients, names and all: only its own name tells them apart.
    with pytest.raises(ValueError, match="one stack"):
        Stack([tiny("gp"), tiny("lp")], CPU)


@pytest.mark.parametrize("loss", list(RECIPES))
def test_a_penalised_critic_has_no_batch_norm(loss: str) -> None:
    config = tiny(loss, **{"network.critic_normalization": "batch"})
    if not RECIPES[loss].needs_pointwise_critic:
        trained([config], 1)
    else:
        with pytest.raises(ValueError, match="batch norm"):
            Stack([config], CPU)


def test_tensors_of_another_network_are_refused() -> None:
    stack, other = trained([tiny("gp")], 0), trained([tiny("gp", **{"network.width": 9})], 0)
    with pytest.raises(ValueError, match="another network"):
        stack.load_run_state(0, 1, other.run_states()[0])
    averaging = trained([tiny("gp", **{"train.average_decay": 0.5})], 0)
    with pytest.raises(ValueError, match="another network"):
        averaging.load_run_state(0, 1, stack.run_states()[0])


# Schedules.
def scheduled(n_critic: int, burst: int, first: int, every: int) -> RunConfig:
    config = copy.deepcopy(tiny("gp"))
    config.loss.n_critic = n_critic
    config.train.burst_n_critic, config.train.burst_first_steps = burst, first
    config.train.burst_every_n_steps = every
    return config


@given(
    n_critic=st.integers(1, 6),
    burst=st.integers(0, 12),
    first=st.integers(0, 20),
    every=st.integers(0, 15),
    step=st.integers(0, 60),
)
@settings(max_examples=60)
def test_critic_steps_add_up(n_critic: int, burst: int, first: int, every: int, step: int) -> None:
    config = scheduled(n_critic, burst, first, every)
    total = 0
    for k in range(step):
        in_burst = burst > 0 and (k < first or (every > 0 and k % every == 0))
        assert n_critic_at(k, config) == (burst if in_burst else n_critic)
        total += burst if in_burst else n_critic
    assert critic_steps_before(step, config) == total


def test_without_bursts_there_are_n_critic_critic_steps_a_step() -> None:
    assert critic_steps_before(100, scheduled(5, 0, 0, 0)) == 500


def test_the_schedule_of_the_wgan_authors_code() -> None:
    # 100 critic steps for the first 25 generator steps, and for every 500th.
    config = scheduled(5, 100, 25, 500)
    assert critic_steps_before(25, config) == 2500
    assert critic_steps_before(500, config) == 2500 + 475 * 5
    assert critic_steps_before(501, config) == 2500 + 475 * 5 + 100


def test_the_step_counts_on_the_device_follow_the_schedule() -> None:
    bursts = {"train.burst_n_critic": 3, "train.burst_first_steps": 2, "loss.n_critic": 1}
    stack = trained([tiny("clip", **bursts)], 3)
    assert (stack.state.step.item(), stack.state.critic_step.item()) == (3, 7)
    again = Stack(stack.configs, CPU)
    again.load_run_state(0, 3, stack.run_states()[0])
    assert (again.state.step.item(), again.state.critic_step.item()) == (3, 7)


@pytest.mark.parametrize(
    ("decay", "at_0", "at_half", "at_3_quarters", "at_end"),
    [
        ("none", 1, 1, 1, 1),
        ("linear", 1, 0.5, 0.25, 0),
        ("cosine", 1, 0.5, (1 - math.sqrt(0.5)) / 2, 0),
    ],
)
def test_rates_decay(
    decay: str, at_0: float, at_half: float, at_3_quarters: float, at_end: float
) -> None:
    found = [float(rate_factor(torch.tensor(float(k)), 8, decay)) for k in (0, 4, 6, 8)]
    assert found == pytest.approx([at_0, at_half, at_3_quarters, at_end], abs=1e-6)


# Streams.
def test_a_batch_is_a_function_of_seed_stream_and_step() -> None:
    configs = alike("gp", 3)
    stack, alone = Stack(configs, CPU), Stack(configs[2:], CPU)
    latent = stack.algorithm.pair.latent.draw
    assert isinstance(stack.target, DrawnTarget)
    samplers = {"real": stack.target.draw, "mixing": lambda draws, n: draws.uniform(n)}
    for stream in STREAMS:
        sampler = samplers.get(stream, latent)
        # Forwards, over what is drawn ahead, far on, and back, as after a resume.
        for step in (*range(2 * AHEAD_STEPS + 9), 5 * AHEAD_STEPS, 2**33 + 1, 2):
            batch = stack.execution.work.batch(stream, step)
            assert batch.shape[:2] == (3, 16)
            if step > 9 and step % 7:
                continue
            for r, config in enumerate(configs):
                assert torch.equal(batch[r], sampler(keyed(config.seed, stream, step), 16))
            assert torch.equal(alone.execution.work.batch(stream, step)[0], batch[2])


def test_every_critic_step_sees_fresh_reals_and_fresh_noise() -> None:
    stack = Stack([tiny("gp", **{"loss.n_critic": 3, "train.steps": 30})], CPU)
    seen: list[tuple[Tensor, ...]] = []
    stack.execution.critic = lambda state, *batch: seen.append(batch) or ([], torch.zeros(1, 0))
    latents: list[Tensor] = []
    stack.execution.generator = lambda state, z: latents.append(z) or ([], torch.zeros(1, 0))
    for _ in range(30):
        stack.iterate()
    for batches in [*zip(*seen, strict=True), latents]:
        assert len(batches) in (30, 90)
        assert len({batch.numpy().tobytes() for batch in batches}) == len(batches)
    # Neither the two latents nor the noise of two streams repeat each other.
    assert not any(torch.equal(z, other[1]) for z in latents for other in seen)


def test_eps_is_uniform_and_one_a_point() -> None:
    eps = Stack([tiny("gp", **{"train.batch_size": 20_000})], CPU).execution.work.batch(
        "mixing", 0
    )[0]
    assert eps.shape == (20_000,)
    assert 0 <= eps.min() < 1e-3 and 0.999 < eps.max() < 1
    assert float(eps.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(eps.var()) == pytest.approx(1 / 12, abs=0.003)


# Averaging.
def test_the_average_is_an_exponential_moving_average_of_the_generator() -> None:
    stack = Stack(alike("gp", 2, **{"train.average_decay": 0.75}), CPU)
    wanted = [stack.run_parameters(r, "generator") for r in range(2)]
    for _ in range(3):
        stack.iterate()
        for r in range(2):
            new = stack.run_parameters(r, "generator")
            wanted[r] = {k: 0.75 * p + 0.25 * new[k] for k, p in wanted[r].items()}
            found = stack.run_parameters(r, "average")
            for k, p in wanted[r].items():
                torch.testing.assert_close(found[k], p, rtol=1e-5, atol=1e-7)
    assert not same(found, new)
    plain = trained(alike("gp", 2), 3)
    assert same(plain.run_parameters(1, "generator"), stack.run_parameters(1, "generator"))
    assert plain.state.average == {}


# Measuring changes nothing.
@pytest.mark.parametrize("loss", ["gp", "clip", "bce"])
def test_measuring_leaves_training_as_it_was(loss: str) -> None:
    configs = alike(loss, 2, **{"train.average_decay": 0.9})
    quiet, measured = Stack(configs, CPU), Stack(configs, CPU)
    assert measure_stack(measured, 10)[0], "measures before the first step too"
    for _ in range(3):
        quiet.iterate()
        measured.iterate()
        first, again = measured.probe(10), measured.probe(10)
        measure_stack(measured, 10)
        measured.probe(24, draw=1, averaged=True)
        measured.scalars()
        measured.run_states()
        for r in range(2):
            assert same(first[r], again[r])
            assert same(quiet.run_states()[r], measured.run_states()[r])


def test_a_probe_is_the_runs_own_and_new_at_every_step_and_draw() -> None:
    configs = alike("gp", 2)
    stack, alone = trained(configs, 1), trained(configs[1:], 1)
    assert same(stack.probe(16)[1], alone.probe(16)[0])
    reals = [stack.probe(16, draw)[1]["reals"] for draw in (0, 1)]
    stack.iterate()
    reals.append(stack.probe(16)[1]["reals"])
    reals.append(stack.probe(16)[0]["reals"])
    reals.append(stack.execution.work.batch("real", 0)[1])
    assert len({points.numpy().tobytes() for points in reals}) == len(reals)


def test_what_is_handed_out_is_a_copy() -> None:
    stack = trained([tiny("gp")], 1)
    before = stack.run_states()[0]
    for tensor in stack.run_parameters(0, "critic").values():
        tensor.zero_()
    assert same(stack.run_states()[0], before)


@pytest.mark.usefixtures("global_randomness_untouched")
def test_training_takes_nothing_from_the_global_generators() -> None:
    stack = trained(alike("gp", 2), 2)
    measure_stack(stack, 10)


def test_nor_does_seeding_them_change_it() -> None:
    stack = trained(alike("gp", 2), 2)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert same(stack.run_states()[0], trained(alike("gp", 2), 2).run_states()[0])


# A GPU without one: on device meta a stray CPU tensor raises, and so does reading a value.
class Syncs(TorchDispatchMode):
    """Counts what would make the host wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__.split(".")[0] in ("_local_scalar_dense", "is_nonzero", "nonzero", "item"):
            self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


def on_meta(configs: list[RunConfig], monkeypatch: pytest.MonkeyPatch) -> Stack:
    """A stack whose tensors are all on device meta, and whose streams draw there."""
    stack = Stack(configs, CPU)
    meta = torch.device("meta")

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: moved(item) for key, item in value.items()}
        return value.to(meta)

    stack.state = State(**{name: moved(part) for name, part in vars(stack.state).items()})
    stack.coefficients = moved(stack.coefficients)
    stack.critic_lr, stack.generator_lr = moved(stack.critic_lr), moved(stack.generator_lr)
    stack.device = meta

    stack.streams = Streams(stack.streams.seeds, meta)
    stack.execution = stack._execution()
    # As on a GPU: the step count of Adam and RMSProp stays on the device.
    monkeypatch.setattr(optimizers, "_capturable", lambda parameter: True)
    for rule in ("adam", "rmsprop"):
        module = sys.modules[f"torch.optim.{rule}"]
        monkeypatch.setattr(module, "_get_capturable_supported_devices", lambda *_, **__: ["meta"])
    return stack


@pytest.mark.parametrize("loss", list(RECIPES))
def test_every_recipe_trains_on_a_device_without_reading_from_it(
    loss: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {
        "train.optimizer": "rmsprop" if loss == "clip" else "adam",
        "train.decay": "cosine",
        "train.average_decay": 0.9,
    }
    stack = on_meta(alike(loss, 2, **settings), monkeypatch)
    with Syncs() as syncs:
        stack.iterate()
        stack.iterate()
    assert syncs.seen == []
    assert all(p.device.type == "meta" for p in stack.state.tensors().values())
    assert {table.device.type for _, table in stack._latest.values()} == {"meta"}


@pytest.mark.parametrize("part", ["coefficients", "critic_lr", "generator_lr", "diverged_at"])
def test_there_a_stray_cpu_tensor_raises(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = on_meta(alike("gp", 2), monkeypatch)
    stray = torch.ones(2)
    if part == "coefficients":
        stack.coefficients["gp_lambda"] = stray
    elif part == "diverged_at":
        stack.state.diverged_at = stray.long()
    else:
        setattr(stack, part, stray)
    with pytest.raises(RuntimeError, match="device"):
        stack.iterate()


@pytest.mark.parametrize("optimizer", ["rmsprop", "sgd"])
def test_nothing_is_read_between_logging_points(optimizer: str) -> None:
    # Eager Adam on the CPU reads its own step count, which costs nothing there: see meta.
    stack = trained(alike("gp", 2, **{"train.optimizer": optimizer}), 1)
    with Syncs() as syncs:
        stack.iterate()
        assert syncs.seen == []
        assert float(stack.state.step) == 2
        assert len(syncs.seen) == 1, "a read would have been seen"


def test_one_reading_yields_all_scalars_of_all_runs() -> None:
    stack = trained(alike("gp", 3), 1)
    rows = stack.scalars()
    assert len(rows) == 3 and len({tuple(row) for row in rows}) == 1
    assert len({row["loss/critic"] for row in rows}) == 3
    assert Stack(alike("gp", 3), CPU).scalars() == [{}, {}, {}]
    assert to_dict(stack.configs[0]) == to_dict(alike("gp", 3)[0]), "configurations stay as given"


def test_what_is_measured_does_not_depend_on_how_many_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configs = alike("gp", 2)
    whole = trained(configs, 1).probe(10)
    monkeypatch.setattr(stack_module, "POINTS_AT_ONCE", 4)
    for one, other in zip(whole, trained(configs, 1).probe(10), strict=True):
        assert one.keys() == other.keys()
        for name in one:
            torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("loss", ["gp", "bce"])
def test_runs_measured_by_turns_equal_those_measured_at_once(
    monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    stack = trained(alike(loss, 5), 1)
    whole = stack.probe(10)
    turns = [slice(0, 2), slice(2, 4), slice(4, 6)]
    monkeypatch.setattr(devices, "runs_at_once", lambda *_: turns)
    monkeypatch.setattr(stack_module, "POINTS_AT_ONCE", 4)
    for one, other in zip(whole, stack.probe(10), strict=True):
        assert one.keys() == other.keys()
        for name, values in one.items():
            torch.testing.assert_close(other[name], values, rtol=1e-5, atol=1e-7)


def test_a_gpu_measures_so_many_points_at_once_and_a_cpu_all_runs() -> None:
    gpu = [(turn.start, turn.stop) for turn in runs_at_once(10, 2**16, torch.device("cuda"))]
    assert gpu == [(0, 4), (4, 8), (8, 12)]
    assert len(list(runs_at_once(3, 2**30, torch.device("cuda")))) == 3
    assert list(runs_at_once(10**6, 4096, CPU)) == [slice(0, 10**6)]


def test_states_read_at_once_are_those_of_each_run_and_copies() -> None:
    stack = trained(alike("gp", 3), 2)
    states = stack.run_states()
    for r, state in enumerate(states):
        own = {f"critic/{name}": p for name, p in stack.run_parameters(r, "critic").items()}
        assert same(own, {name: state[name] for name in own})
    for state in states:
        for tensor in state.values():
            assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
            tensor.zero_()
    assert stack.run_states()[0]["critic/" + next(iter(stack.state.critic))].any()
    weights = stack.critic_weights()
    one = torch.cat([p.flatten() for p in stack.run_parameters(1, "critic").values()])
    assert torch.equal(weights[1], one) and len(weights) == 3
