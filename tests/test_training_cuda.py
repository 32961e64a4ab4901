"""Our CUDA kernel on a CPU: the definition's numbers, for every loss, size and division.

`cuda_on_cpu.cpp` runs the kernel's threads in turn. What only a GPU can show is in test_gpu.py.
"""

from __future__ import annotations

import ctypes
import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from stepwise import (
    PLAIN,
    assert_rules_are_the_same,
    assert_steps_are_the_same,
    both_on,
    far,
    parts,
)
from torch import Tensor
from training_configs import CPU, alike, same, tiny

from wganbench.losses import RECIPES
from wganbench.losses.constraints import SlopePenalty
from wganbench.losses.recipes import Pairs, Terms, Wrapper
from wganbench.nativecode import build
from wganbench.studies.frozen import FrozenStack
from wganbench.training import execution
from wganbench.training.compiling import lacking
from wganbench.training.cuda import driver
from wganbench.training.cuda.executor import (
    FOLDER,
    SOURCE,
    Arguments,
    Kernel,
    Sizes,
    headers,
    sizes_of,
    why_no_kernel,
)
from wganbench.training.native import library
from wganbench.training.native.executor import WHERE, Traced, native_samplers, why_not_native
from wganbench.training.stack import Stack

pytestmark = pytest.mark.skipif(lacking(CPU) is not None, reason="no C++ compiler here")

KNOWN = [
    loss
    for loss, recipe in RECIPES.items()
    if isinstance(recipe.objective.terms, Terms | Pairs)
    and recipe.wrapper is Wrapper.NONE
    and not recipe.perturbs
    and all(isinstance(p, SlopePenalty) and p.points in WHERE for p in recipe.penalties)
]

EMULATOR = Path(__file__).parent / "cuda_on_cpu.cpp"


class OnCpu:
    """The kernel for some sizes, by threads that take turns."""

    def __init__(self, sizes: Sizes) -> None:
        texts = b"".join(path.read_bytes() for path in (SOURCE, *headers()))
        texts += EMULATOR.read_bytes()
        mark = f"-DMARK={int(hashlib.sha256(texts).hexdigest()[:8], 16)}"
        flags = ["-O1", "-std=gnu++17", "-DONE_LANE", f"-I{FOLDER}", mark, *sizes.macros]
        self.library = build([EMULATOR], flags)
        self.library.emulate.argtypes = [ctypes.c_void_p, *[ctypes.c_int64] * 4]

    def iterate(
        self, arguments: Arguments, runs: int, critic_step: int, n_critic: int, step: int
    ) -> None:
        place = ctypes.addressof(arguments)
        assert not self.library.emulate(place, runs, critic_step, n_critic, step)


def emulated(stack: Stack, blocks: int, wide: int) -> Sizes:
    """Let the kernel train a stack on the CPU; return its sizes."""
    config, recipe = stack.config, stack.algorithm.recipe
    shapes = stack.target.shape, stack.algorithm.pair.latent.shape
    assert not why_no_kernel(config, recipe, *shapes)
    sizes = Sizes(**vars(sizes_of(config, recipe, *shapes)) | {"blocks": blocks, "wide": wide})
    drawn = native_samplers(recipe, stack.samplers, stack.streams.seeds, *shapes)
    assert not any(sampler.given for sampler in drawn.values())
    kernel = Kernel(
        sizes,
        config,
        recipe,
        stack.state,
        Traced(stack.coefficients, stack.critic_lr, stack.generator_lr),
        drawn,
        stack.places.own,
        OnCpu(sizes),
    )
    stack.execution.advance = kernel.advance  # type: ignore[method-assign]
    return sizes


def both(loss: str, runs: int, blocks: int, wide: int, **settings: Any) -> tuple[Stack, Stack]:
    """An eager stack, and one that the kernel trains."""
    eager = Stack(alike(loss, runs, compile="false", **settings), CPU)
    other = Stack(alike(loss, runs, compile="auto", **settings), CPU)
    emulated(other, blocks, wide)
    return eager, other


SMALL = {"network.width": 16, "network.depth": 2, "train.batch_size": 37}


# The definition's numbers.
@pytest.mark.parametrize(
    ("loss", "width", "depth", "batch", "blocks", "wide"),
    [
        ("gp", 16, 2, 37, 1, 1),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                ("gp", 64, 3, 256, 1, 2),
                ("gp", 64, 3, 100, 8, 1),
                ("gp", 16, 2, 300, 2, 1),
                ("gp", 32, 1, 64, 1, 2),
                ("rpgan", 32, 2, 70, 2, 1),
                ("rpgan_r1r2", 64, 2, 64, 2, 1),
                ("clip", 16, 4, 64, 1, 1),
            ]
        ),
    ],
)
def test_every_size_and_division_steps_as_the_definition_does(
    loss: str, width: int, depth: int, batch: int, blocks: int, wide: int
) -> None:
    sizes = {"network.width": width, "network.depth": depth, "train.batch_size": batch}
    assert_steps_are_the_same(both(loss, 2, blocks, wide, **PLAIN, **sizes), 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("loss", KNOWN)
def test_every_loss_steps_as_the_definition_does(loss: str) -> None:
    stacks = both(loss, 2, 1, 1, **PLAIN, **SMALL, **{"network.activation": "leaky_relu"})
    assert_steps_are_the_same(stacks, 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("optimizer", "beta", "decay"),
    [("adam", 0.7, "cosine"), ("rmsprop", 0.0, "linear"), ("rmsprop", 0.7, "none"),
     ("sgd", 0.7, "linear")],
)  # fmt: skip
def test_every_optimizer_decay_and_average_does(optimizer: str, beta: float, decay: str) -> None:
    settings = {
        "train.optimizer": optimizer, "train.betas": [beta, 0.99], "train.decay": decay,
        "train.average_decay": 0.3 if beta else 0.9,
    }  # fmt: skip
    assert_rules_are_the_same(both("bce", 2, 1, 1, **SMALL, **settings))


@pytest.mark.slow
@pytest.mark.parametrize("latent", ["normal", "uniform"])
@pytest.mark.parametrize(
    "words",
    [
        "data=two_gaussians data.dimension=5 evaluate.protocol=chi2",
        "data=ring8 data.train_points=5000",
        "data=decades",
    ],
)
def test_other_points_and_latents_do(words: str, latent: str) -> None:
    words += " loss=gp train.betas=[0,0] network.width=16 network.latent_dim=3"
    stacks = both_on(f"{words} network.latent={latent}")
    emulated(stacks[1], 1, 1)
    assert_steps_are_the_same(stacks, 2e-5)


@pytest.mark.slow
def test_bursts_and_a_step_that_is_not_finite_do() -> None:
    bursts = {"train.burst_n_critic": 11, "train.burst_first_steps": 1, "loss.n_critic": 1}
    eager, kernel = both("gp", 3, 1, 1, **SMALL, **PLAIN, **bursts)
    for step in range(3):
        for stack in (eager, kernel):
            if step == 1:
                stack.state.critic["hidden.0.0.weight"][1, 0, 0] = math.nan
            stack.iterate()
    assert kernel.diverged_at() == eager.diverged_at() == [-1, 2, -1]
    assert kernel.state.critic_step == eager.state.critic_step == 13
    assert kernel.state.step == eager.state.step == 3
    wanted, found = parts(eager.run_states()[0]), parts(kernel.run_states()[0])
    assert all(far(found[name], wanted[name]) < 1e-3 for name in wanted if "moments" not in name)


def test_the_bits_of_a_run_do_not_depend_on_its_neighbours() -> None:
    configs = alike("gp", 2, compile="auto", **SMALL)
    stacks = [Stack(configs, CPU), Stack(configs[1:], CPU)]
    for stack in stacks:
        emulated(stack, 1, 1)
        stack.iterate()
    assert same(stacks[0].run_states()[1], stacks[1].run_states()[0])
    assert stacks[0].scalars()[1] == stacks[1].scalars()[0]


def test_the_sizes_agree_with_the_kernel() -> None:
    _, kernel = both("gp", 1, 1, 1, **PLAIN, **SMALL)
    sizes = emulated(kernel, 1, 1)
    library = OnCpu(sizes).library
    library.numbers_of.restype = ctypes.c_int64
    assert [library.numbers_of(what) for what in (0, 1)] == [sizes.room, sizes.exchanged]


# What it trains, and how it is divided.
@pytest.mark.parametrize(
    ("loss", "settings", "reason"),
    [
        ("gp", {"precision": "tf32"}, "fp32"),
        ("gp", {"compile": "false"}, "compile=false"),
        ("gp", {"network.width": 48}, "widths"),
        ("gp", {"network.depth": 5}, "hidden layers"),
        ("gp", {"network.depth": 4}, ""),
        ("gp", {"network.activation": "tanh"}, "activations"),
        ("gp", {"network.latent_dim": 9}, "latents"),
        ("gp", {"network.generator_normalization": "layer"}, "normalization"),
        ("bce", {"loss.packing": 37}, "packing"),
        ("bce", {"loss.unrolled": 1}, "unrolled"),
        ("hinge_sn", {}, "wrapper"),
        ("ragan", {}, "means of scores"),
        ("dragan", {}, "perturbed reals"),
        ("gp", {"train.optimizer": "optimistic_adam"}, "optimizer"),
        ("gp", {}, ""),
    ],
)
def test_what_it_does_not_train_it_names(loss: str, settings: dict[str, Any], reason: str) -> None:
    stack = Stack([tiny(loss, **{"compile": "auto"} | SMALL | settings)], CPU)
    shapes = stack.target.shape, stack.algorithm.pair.latent.shape
    found = why_no_kernel(stack.config, stack.algorithm.recipe, *shapes)
    assert reason in found and bool(reason) == bool(found)


def test_a_users_network_may_have_options_of_the_same_names_and_other_types() -> None:
    config = tiny("gp", compile="auto", **SMALL)
    own = {"depth": [1, 2], "width": {"first": 8}, "activation": ["relu", "tanh"]}
    network = replace(config.network, kind="mine", options=config.network.options | own)
    config, recipe = replace(config, network=network), RECIPES["gp"]
    assert why_no_kernel(config, recipe, (2,), (2,)) == "it knows MLPs"
    assert why_not_native(config, CPU, recipe) == "it knows MLPs"
    library.build_early(config)


def test_a_stack_without_a_generator_is_left_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny("gp", compile="auto", **SMALL)

    def fakes(n: int, generator: torch.Generator) -> Tensor:
        return torch.randn(n, 2, generator=generator)

    whole, frozen = Stack([config], CPU), FrozenStack([config], CPU, [fakes])
    monkeypatch.setattr(execution, "divided_for", lambda sizes, *_: sizes)
    on_gpu = [replace(stack.own_code(), device=torch.device("cuda")) for stack in (whole, frozen)]
    monkeypatch.setattr(execution.OwnCode, "_drawn", {})
    assert [own.why_no_kernel() for own in on_gpu] == [
        "",
        "it knows the networks of the configuration only",
    ]


SIZES = Sizes(0, 0, 64, 3, 2, 2, 1, 0, 256)


@pytest.mark.parametrize(
    ("runs", "hidden", "blocks", "wide"),
    [(1, 64, 8, 1), (15, 64, 8, 1), (16, 64, 4, 2), (64, 64, 2, 2), (67, 64, 1, 2),
     (9999, 64, 1, 2), (1, 16, 2, 1), (100, 16, 1, 2)],
)  # fmt: skip
def test_a_run_has_as_many_blocks_as_let_all_train_at_once(
    runs: int, hidden: int, blocks: int, wide: int
) -> None:
    clusters = {1: 132, 2: 66, 4: 30, 8: 15}  # of an H200
    sizes = replace(SIZES, hidden=hidden).divided(runs, 232448, lambda s: clusters[s.blocks])
    assert sizes is not None and (sizes.blocks, sizes.wide) == (blocks, wide)
    assert 4 * sizes.room <= 232448 and sizes.own * sizes.blocks >= 256


@pytest.mark.parametrize(("name", "asked"), [("cuda", 1), ("cuda:0", 0), ("cuda:2", 2)])
def test_the_shared_memory_is_that_of_the_gpu_that_trains(
    name: str, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Driver:
        def cuInit(self, flags: int) -> int:  # noqa: N802
            return 0

        def cuDeviceGet(self, number: Any, index: int) -> int:  # noqa: N802
            number._obj.value = 40 + index
            return 0

        def cuDeviceGetAttribute(self, found: Any, which: int, number: Any) -> int:  # noqa: N802
            found._obj.value = 1000 * number.value
            return 0

    monkeypatch.setattr(driver, "_driver", Driver)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert driver.shared_bytes_of(torch.device(name)) == 1000 * (40 + asked)


def test_what_does_not_fit_the_shared_memory_is_left_to_others() -> None:
    assert SIZES.divided(1, 100_000, lambda sizes: 132) is None


@pytest.mark.slow
def test_nvrtc_compiles_it_for_an_h100(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    flags = ["--gpu-architecture=sm_90", "-DONE_LANE", *SIZES.macros]
    try:
        code = driver.compiled(SOURCE, headers(), flags)
    except driver.NoKernel as error:
        pytest.skip(str(error))
    assert code.startswith(b"\x7fELF") and driver.is_compiled(SOURCE, headers(), flags)
    monkeypatch.setattr(driver, "_compile", lambda *_: pytest.fail("it was built before"))
    assert driver.compiled(SOURCE, headers(), flags) == code


def test_a_kernel_that_does_not_compile_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    source = tmp_path / "wrong.cu"
    source.write_text("int wrong = nothing;")
    with pytest.raises(driver.NoKernel, match=r"NVRTC") as caught:
        driver.compiled(source, [], ["--gpu-architecture=sm_90"])
    assert "\n" not in str(caught.value)


def test_without_the_kernel_a_stack_trains_by_torch_and_says_so() -> None:
    eager, stack = (Stack([tiny("gp", **SMALL)], CPU) for _ in range(2))

    class Broken:
        preparation = ""

        def prepare(self) -> None:
            raise driver.NoKernel("no driver")

    stack.execution.kernel = Broken()  # type: ignore[assignment]
    assert stack.executor == "kernel"
    with pytest.warns(UserWarning, match="no driver: training without our kernel"):
        stack.iterate()
    eager.iterate()
    assert stack.executor == "eager" and same(stack.run_states()[0], eager.run_states()[0])
