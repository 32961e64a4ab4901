"""Networks for images: shapes, ranges, precision, who sees whom, and the penalty's gradient."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap
from training_configs import CPU, alike, trained

from wganbench.config import ConfigError, RunConfig, compose, to_dict
from wganbench.config.check import from_dict
from wganbench.losses import gradient_penalty
from wganbench.networks import NETWORKS, Pair, build_pair, initial_parameters
from wganbench.networks.conv_layers import Conv, PictureLayerNorm, UpConv, use_patches
from wganbench.networks.pair import fan_in
from wganbench.networks.resnet import Block, doubled, halved
from wganbench.presets import preset_names, read_preset
from wganbench.training.stack import Stack

KINDS = ("dcgan", "resnet")
SIZES = (8, 28, 32)
PRESETS = [
    name for name in preset_names("network") if read_preset("network", name)["kind"] in KINDS
]
each_kind = pytest.mark.parametrize("kind", KINDS)
each_size = pytest.mark.parametrize("size", SIZES)
each_norm = pytest.mark.parametrize("norm", ["none", "layer", "batch"])
each_precision = pytest.mark.parametrize("precision", ["fp32", "bf16"])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pair_of(
    kind: str, shape: tuple[int, ...] = (1, 8, 8), precision: str = "fp32", **changes: Any
) -> Pair:
    """A narrow pair, otherwise as in conf/network."""
    preset = read_preset("network", {"dcgan": "dcgan8", "resnet": "resnet32"}[kind])
    options = {k: v for k, v in preset.items() if k not in ("name", "kind")}
    return build_pair(kind, {**options, "width": 6, "latent_dim": 5, **changes}, shape, precision)


def start(module: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """He weights, with biases moved off 0 so that a forgotten bias shows."""
    rng = seeded(seed + 1)
    return {
        k: p + 0.1 * torch.randn(p.shape, generator=rng)
        for k, p in initial_parameters(module, "he", seeded(seed)).items()
    }


def pictures(*shape: int, seed: int = 2) -> Tensor:
    return torch.rand(shape, generator=seeded(seed)) * 2 - 1


# What networks return.
@each_kind
@each_size
@each_precision
@pytest.mark.parametrize("channels", [1, 3])
def test_shapes_ranges_and_precision(kind: str, size: int, precision: str, channels: int) -> None:
    pair = pair_of(kind, (channels, size, size), precision)
    points = functional_call(
        pair.generator, start(pair.generator), (pair.latent.sample(4, seeded()),)
    )
    assert points.shape == (4, channels, size, size) and points.dtype == torch.float32
    assert points.abs().max() <= 1 and points.std() > 0.05
    assert len({point.numpy().tobytes() for point in points}) == 4
    scores = functional_call(pair.critic, start(pair.critic), (points,))
    assert scores.shape == (4,) and scores.dtype == torch.float32 and scores.unique().numel() == 4


@each_kind
def test_the_output_fills_its_range_and_no_more(kind: str) -> None:
    pair = pair_of(kind)
    weights = start(pair.generator)
    weights["output.bias"] += 100
    z = pair.latent.sample(3, seeded())
    assert (functional_call(pair.generator, weights, (z,)) == 1).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_builds_at_its_size_in_full(preset: str) -> None:
    values = read_preset("network", preset)
    size = int("".join(filter(str.isdigit, preset)))
    options = {k: v for k, v in values.items() if k not in ("name", "kind")}
    pair = build_pair(values["kind"], options, (3, size, size), "fp32")
    for module in (pair.critic, pair.generator):
        assert all(p.is_meta for p in module.parameters()) and not list(module.buffers())
    assert pair.critic_is_pointwise


def test_dcgan32_halves_to_4_and_doubles_its_channels() -> None:
    pair = build_pair(
        "dcgan",
        {k: v for k, v in read_preset("network", "dcgan32").items() if k not in ("name", "kind")},
        (3, 32, 32),
        "fp32",
    )
    critic = {k: tuple(p.shape) for k, p in pair.critic.named_parameters()}
    widths = [(64, 3, 4, 4), (128, 64, 4, 4), (256, 128, 4, 4)]
    assert [critic[f"hidden.{i}.0.weight"] for i in range(3)] == widths
    assert critic["output.weight"] == (1, 256 * 4 * 4)
    generator = {k: tuple(p.shape) for k, p in pair.generator.named_parameters()}
    assert generator["hidden.0.0.linear.weight"] == (256 * 4 * 4, 128)
    ups = ["hidden.1.0.weight", "hidden.2.0.weight", "output.weight"]
    assert [generator[k] for k in ups] == [(256, 128, 4, 4), (128, 64, 4, 4), (64, 3, 4, 4)]


def test_resnet32_has_as_many_parameters_as_the_papers_code() -> None:
    # Counted by hand from gan_cifar_resnet.py: 3x3 convolutions of 128 channels have 147 584.
    conv, short, norm = 128 * 128 * 9 + 128, 128 * 128 + 128, 256
    up = 2 * (conv + norm) + short
    generator = 128 * 2048 + 2048 + 3 * up + norm + 128 * 3 * 9 + 3
    first = 3 * 128 * 9 + 128 + conv + 3 * 128 + 128
    critic = first + (2 * conv + short) + 2 * 2 * conv + 129
    options = read_preset("network", "resnet32")
    options = {k: v for k, v in options.items() if k not in ("name", "kind")}
    pair = build_pair("resnet", options, (3, 32, 32), "fp32")
    assert sum(p.numel() for p in pair.generator.parameters()) == generator
    assert sum(p.numel() for p in pair.critic.parameters()) == critic


# As products of patches, the form for a GPU.
def learned(layer: nn.Module, weights: dict[str, Tensor], x: Tensor) -> tuple[Tensor, ...]:
    """A layer's output, and the gradient by weights and points of a penalty on its slopes."""

    def total(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        value: Tensor = functional_call(layer, weights, (x,)).pow(3).sum()
        return value

    def penalty(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return total(weights, x) + grad(total, argnums=1)(weights, x).square().sum()

    by_weights, by_points = grad(penalty, argnums=(0, 1))(weights, x)
    return functional_call(layer, weights, (x,)), by_points, *by_weights.values()


@pytest.mark.parametrize(
    ("layer", "height", "width"),
    [
        (Conv(3, 2, 4, None, stride=2), 6, 8),
        (Conv(1, 2, 4, None, stride=2), 8, 8),
        (Conv(2, 3, 3, None), 5, 4),
        (Conv(3, 2, 1, None), 4, 3),
        (UpConv(3, 2, None), 3, 2),
        (UpConv(2, 5, None), 2, 2),
    ],
)
def test_a_product_of_patches_is_the_convolution(layer: nn.Module, height: int, width: int) -> None:
    layer = copy.deepcopy(layer).double()
    runs, channels = 3, layer.in_channels
    x = pictures(runs, 2, channels, height, width).double()
    weights = {
        name: torch.randn(runs, *p.shape, generator=seeded(i), dtype=torch.float64)
        for i, (name, p) in enumerate(layer.named_parameters())
    }
    expected = vmap(lambda w, x: learned(layer, w, x))(weights, x)
    use_patches(layer)
    found = vmap(lambda w, x: learned(layer, w, x))(weights, x)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape and other.abs().max() > 0.1
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@each_kind
def test_the_networks_of_a_gpu_are_the_same_functions(kind: str) -> None:
    preset = read_preset("network", f"{kind}32")
    options = {k: v for k, v in preset.items() if k not in ("name", "kind")} | {"width": 6}
    here, there = (
        build_pair(kind, options, (3, 32, 32), "fp32", on_gpu=on_gpu) for on_gpu in (False, True)
    )
    layers = [m for m in there.critic.modules() if isinstance(m, nn.Conv2d)]
    layers += [m for m in there.generator.modules() if isinstance(m, Conv | UpConv)]
    assert len(layers) > 5 and all(layer.by_patches for layer in layers)
    for name, given in (
        ("critic", pictures(2, 3, 32, 32)),
        ("generator", here.latent.sample(2, seeded())),
    ):
        weights = start(getattr(here, name))
        found = functional_call(getattr(there, name), weights, (given,))
        expected = functional_call(getattr(here, name), weights, (given,))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


# Layers against their formulas.
def test_convolutions_against_sums_by_hand() -> None:
    x = pictures(2, 3, 4, 4).double()
    conv, up = Conv(3, 2, 4, None, stride=2).double(), UpConv(3, 2, None).double()
    for layer in (conv, up):
        for p in layer.parameters():
            p.requires_grad_(False)
    padded = F.pad(x, (1, 1, 1, 1))
    expected = torch.empty(2, 2, 2, 2).double()
    for i in range(2):
        for j in range(2):
            patch = padded[:, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
            expected[:, :, i, j] = torch.einsum("ncij,ocij->no", patch, conv.weight) + conv.bias
    torch.testing.assert_close(conv(x), expected)
    spread = torch.zeros(2, 2, 10, 10).double()
    for i in range(4):
        for j in range(4):
            spread[:, :, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += torch.einsum(
                "nc,coij->noij", x[:, :, i, j], up.weight
            )
    torch.testing.assert_close(up(x), spread[:, :, 1:-1, 1:-1] + up.bias[:, None, None])


@pytest.mark.parametrize(
    ("layer", "torchs"),
    [
        (Conv(1, 6, 4, None, 2), lambda x, w, b: F.conv2d(x, w, b, 2, 1)),
        (Conv(1, 6, 3, None), lambda x, w, b: F.conv2d(x, w, b, 1, 1)),
        (UpConv(5, 1, None), lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1)),
        (UpConv(5, 3, None), lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1)),
    ],
    ids=["halving", "of 3", "to grey", "to colours"],
)
def test_products_of_patches_are_torchs_convolutions(
    layer: Conv | UpConv, torchs: Callable[..., Tensor]
) -> None:
    """Values, and the gradient of a gradient penalty, which is a second derivative."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(3, layer.in_channels, 8, 8, generator=draw, dtype=torch.float64)
    weights = {
        name: torch.randn(p.shape, generator=draw, dtype=torch.float64)
        for name, p in layer.named_parameters()
    }

    def ours(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(layer, weights, (x,))

    def theirs(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return torchs(x, weights["weight"], weights["bias"])

    def penalty_of(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def penalty(weights: dict[str, Tensor]) -> Tensor:
            slopes = grad(lambda x: function(weights, x).pow(3).sum())(x)
            return (slopes.flatten(1).norm(dim=1) - 1).square().mean()

        return penalty

    torch.testing.assert_close(ours(weights, x), theirs(weights, x))
    found = grad(penalty_of(ours))(weights)
    torch.testing.assert_close(found, grad(penalty_of(theirs))(weights))
    assert all(gradient.abs().max() > 0 for gradient in found.values())


def test_fan_in_is_what_one_output_sums() -> None:
    for layer in (Conv(5, 7, 4, None, stride=2), UpConv(5, 7, None), Conv(5, 7, 3, None)):
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
        inner = layer(torch.ones(1, 5, 8, 8)).detach()[0, 0]
        assert fan_in(layer, layer.weight) == inner[len(inner) // 2, len(inner) // 2].item()


def test_he_keeps_the_scale_of_a_signal_through_the_generator() -> None:
    """Mean squares before each ReLU are 2 |z|^2 / d: what He's variance is made for."""
    pair = pair_of("dcgan", (1, 28, 28), width=48, latent_dim=64, generator_normalization="none")
    weights = initial_parameters(pair.generator, "he", seeded())
    squares = []
    hidden = [block[0] for block in pair.generator.hidden]  # type: ignore[union-attr,index]
    hooks = [layer.register_forward_hook(lambda *a: squares.append(a[2].square().mean()))
             for layer in [*hidden, pair.generator.output]]  # fmt: skip
    functional_call(pair.generator, weights, (pair.latent.sample(64, seeded()),))
    for hook in hooks:
        hook.remove()
    assert len(squares) == 3
    # The border lacks a fourth of the taps in one of seven rows: a little below 2.
    assert all(1.4 < float(square) < 2.5 for square in squares)


def test_layer_norm_of_pictures_is_group_norm_with_one_group() -> None:
    layer = PictureLayerNorm(3)
    weight, bias = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.1, 0.2, -3.0])
    x = 5 + 3 * pictures(4, 3, 6, 6)
    found = functional_call(layer, {"weight": weight, "bias": bias}, (x,))
    torch.testing.assert_close(found, F.group_norm(x, 1, weight, bias), rtol=1e-5, atol=1e-5)


def test_resampling() -> None:
    x = pictures(2, 3, 4, 6)
    assert torch.equal(doubled(x), F.interpolate(x, scale_factor=2))
    torch.testing.assert_close(halved(x), F.avg_pool2d(x, 2))
    torch.testing.assert_close(halved(doubled(x)), x)


@pytest.mark.parametrize("resize", ["up", "down", "none"])
def test_residual_block_against_its_formula(resize: str) -> None:
    block = Block(4, resize, "none", None)
    x = pictures(2, 4, 6, 6)
    first, second = [layer for layer in block.modules() if isinstance(layer, Conv)][:2]
    down, up = resize == "down", resize == "up"
    resized = F.interpolate(x, scale_factor=2) if up else x
    h = F.conv2d(F.interpolate(F.relu(x), scale_factor=2) if up else F.relu(x),
                 first.weight, first.bias, padding=1)  # fmt: skip
    h = F.conv2d(F.relu(h), second.weight, second.bias, padding=1)
    short = resized if resize == "none" else block.short(resized)
    if down:
        h, short = F.avg_pool2d(h, 2), F.avg_pool2d(short, 2)
    torch.testing.assert_close(block(x), h + short, rtol=1e-5, atol=1e-5)


@each_kind
def test_in_bf16_what_touches_the_data_stays_exact(kind: str) -> None:
    networks = {p: pair_of(kind, precision=p) for p in ("fp32", "bf16")}
    dtypes = {
        name: [
            layer.compute_dtype
            for layer in getattr(networks["bf16"], name).modules()
            if hasattr(layer, "compute_dtype")
        ]
        for name in ("critic", "generator")
    }
    assert dtypes["critic"][0] is None and dtypes["critic"][-1] is None
    assert dtypes["generator"][0] is None and dtypes["generator"][-1] is None
    assert torch.bfloat16 in dtypes["critic"] and torch.bfloat16 in dtypes["generator"]
    weights, x = start(networks["fp32"].critic), pictures(8, 1, 8, 8)
    exact, coarse = (functional_call(networks[p].critic, weights, (x,)) for p in ("fp32", "bf16"))
    assert 1e-4 < float((exact - coarse).abs().max()) < 0.05 * float(exact.abs().max()) + 0.05


# Who sees whom.
@each_kind
@each_norm
@each_precision
def test_a_critic_is_pointwise_where_it_says_so(kind: str, norm: str, precision: str) -> None:
    pair = pair_of(kind, precision=precision, critic_normalization=norm)
    weights, x = start(pair.critic), pictures(4, 1, 8, 8)
    jacobian = jacrev(lambda points: functional_call(pair.critic, weights, (points,)))(x)
    reach = jacobian.flatten(2).norm(dim=2)
    assert (reach.diagonal() > 1e-4).all()
    assert pair.critic_is_pointwise is (norm != "batch")
    assert (reach[~torch.eye(4, dtype=torch.bool)] == 0).all().item() is pair.critic_is_pointwise


@each_kind
def test_batch_norm_under_a_penalty_is_refused(kind: str) -> None:
    preset = {"dcgan": "dcgan8", "resnet": "resnet32"}[kind]
    settings = ["data=digits", f"network={preset}", "network.critic_normalization=batch"]
    with pytest.raises(ConfigError, match="use layer or none"):
        compose([*settings, "loss=gp"])
    assert compose([*settings, "loss=bce"]).loss.name == "bce"


@each_kind
@pytest.mark.parametrize("shape", [(2,), (8, 8), (1, 8, 9), (1, 10, 10), (3, 64, 64), ()])
def test_points_that_are_no_pictures_of_its_size_are_refused(
    kind: str, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"takes square images \(c, s, s\) of 8, 28 or 32 p"):
        build_pair(kind, {}, shape, "fp32")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["data=digits", "network=mlp"],
         r"network=mlp takes points of shape \(d,\), the data has \(1, 8, 8\): try network=dcgan8"),
        (["data=ring8", "network=dcgan8"],
         r"takes square images .*, the data has \(2,\): try network=mlp"),
    ],
)  # fmt: skip
def test_the_line_names_a_network_that_fits(arguments: list[str], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        compose(arguments)


# The penalty.
@each_kind
@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize("one_sided", [False, True])
def test_the_penalty_and_its_gradient_equal_the_textbooks(
    kind: str, norm: str, one_sided: bool
) -> None:
    pair = pair_of(kind, width=4, critic_normalization=norm)
    weights = {k: 2 * p.double() for k, p in start(pair.critic).items()}
    x, x_fake = (pictures(5, 1, 8, 8, seed=s).double() for s in (4, 5))
    eps = torch.rand(5, generator=seeded()).double()
    gradients = []
    for textbook in (False, True):
        leaves = {k: p.clone().requires_grad_() for k, p in weights.items()}

        def critic(points: Tensor, leaves: dict[str, Tensor] = leaves) -> Tensor:
            scores: Tensor = functional_call(pair.critic, leaves, (points,))
            return scores

        if textbook:
            mix = eps.view(5, 1, 1, 1)
            x_hat = (mix * x + (1 - mix) * x_fake).requires_grad_()
            (slope,) = torch.autograd.grad(critic(x_hat).sum(), x_hat, create_graph=True)
            excess = slope.flatten(1).norm(dim=1) - 1
            penalty = ((F.relu(excess) if one_sided else excess) ** 2).mean()
        else:
            penalty = gradient_penalty(critic, x, x_fake, eps, one_sided)
        assert float(penalty.detach()) > 1e-3
        penalty.backward()
        gradients.append({k: p.grad for k, p in leaves.items() if p.grad is not None})
    ours, theirs = gradients
    for name, gradient in theirs.items():
        if name in ours:
            torch.testing.assert_close(ours[name], gradient, rtol=1e-9, atol=1e-11)
        else:
            assert not gradient.any(), name
    assert any(gradient.abs().max() > 1e-3 for gradient in ours.values())


# Many networks at once.
@cache
def composed(loss: str, preset: str) -> RunConfig:
    return compose([f"loss={loss}", "data=digits", f"network={preset}", "tuned=none"])


def digits(loss: str, runs: int, kind: str, **settings: Any) -> list[RunConfig]:
    preset = {"dcgan": "dcgan8", "resnet": "resnet32"}[kind]
    chosen = copy.deepcopy(to_dict(composed(loss, preset)))
    configs = []
    for config in alike(loss, runs):
        values = to_dict(config) | {part: chosen[part] for part in ("data", "network")}
        values["network"] |= {"width": 8, "latent_dim": 5}
        values["network"] |= settings
        # Adam would turn a gradient that is nothing but rounding into a whole step.
        values["train"]["optimizer"] = "sgd"
        configs.append(from_dict(values))
    return configs


@each_kind
@pytest.mark.parametrize("loss", ["gp", "clip", "bce_r1"])
def test_a_run_in_a_stack_equals_the_run_alone(kind: str, loss: str) -> None:
    """Up to rounding: a stack computes one convolution of R groups, a run one of a single group."""
    configs = digits(loss, 3, kind)
    together = trained(configs, 1)
    for r, config in enumerate(configs):
        alone = trained([config], 1)
        assert together.scalars()[r] == pytest.approx(alone.scalars()[0], rel=1e-3, abs=1e-5)
        for network in ("critic", "generator"):
            left, right = together.run_parameters(r, network), alone.run_parameters(0, network)
            for k in right:
                torch.testing.assert_close(left[k], right[k], rtol=1e-4, atol=1e-6)
    first, second = together.run_parameters(0, "critic"), together.run_parameters(1, "critic")
    assert any(not torch.allclose(first[k], second[k], rtol=1e-2) for k in first)


@each_kind
@each_size
def test_gradients_in_a_stack_equal_those_alone_to_1e_5(kind: str, size: int) -> None:
    pair = pair_of(kind, (1, size, size), critic_normalization="layer")
    runs = [start(pair.critic, seed=10 * run) for run in range(3)]
    stacked = {k: torch.stack([run[k] for run in runs]) for k in runs[0]}
    x, x_fake = pictures(3, 4, 1, size, size), pictures(3, 4, 1, size, size, seed=3)
    eps = torch.rand(3, 4, generator=seeded())

    def loss(weights: dict[str, Tensor], x: Tensor, x_fake: Tensor, eps: Tensor) -> Tensor:
        def critic(points: Tensor) -> Tensor:
            scores: Tensor = functional_call(pair.critic, weights, (points,))
            return scores

        return critic(x).mean() + gradient_penalty(critic, x, x_fake, eps)

    together = vmap(grad(loss))(stacked, x, x_fake, eps)
    for run in range(3):
        alone = grad(loss)(runs[run], x[run], x_fake[run], eps[run])
        for k, gradient in alone.items():
            scale = float(gradient.abs().max())
            torch.testing.assert_close(together[k][run], gradient, rtol=1e-5, atol=1e-5 * scale)


@each_kind
def test_a_poisoned_run_leaves_its_neighbours_alone(kind: str) -> None:
    stack, clean = trained(digits("gp", 2, kind), 0), trained(digits("gp", 2, kind), 0)
    next(iter(stack.state.critic.values()))[1].fill_(math.nan)
    for each in (stack, clean):
        each.iterate()
    assert stack.diverged_at() == [-1, 1] and clean.diverged_at() == [-1, -1]
    assert stack.scalars()[0] == clean.scalars()[0]


@pytest.mark.parametrize("kind", list(NETWORKS))
def test_every_kind_trains_two_steps(kind: str) -> None:
    if kind not in KINDS:
        assert NETWORKS[kind].takes((2,)) and not NETWORKS[kind].takes((1, 8, 8))
        return
    stack = trained(digits("gp", 1, kind, critic_normalization="layer"), 2)
    assert stack.diverged_at() == [-1] and isinstance(stack, Stack) and stack.device == CPU
    names = [k for k in stack.scalars()[0] if k.startswith("grad_norm/critic_layer_")]
    layers = [m for m in stack.algorithm.pair.critic.modules()
              if isinstance(m, nn.Linear | nn.Conv2d)]  # fmt: skip
    assert len(names) == len(layers)
