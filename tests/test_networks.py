"""Networks: how weights start, what is computed in which precision, who sees whom."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from scipy import stats
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from wganbench.networks import NETWORKS, Latent, Pair, build_pair, initial_parameters
from wganbench.networks.layers import ACTIVATIONS, Maxout
from wganbench.presets import preset_names, read_preset

EVERY = {name: read_preset("network", name)["kind"] for name in preset_names("network")}
PRESETS = [name for name, kind in EVERY.items() if NETWORKS[kind].takes((2,))]
"""The networks for points of shape (d,); those for images have a file of their own."""
SCHEMES = ("pytorch", "he", "normal")
NORMS = ("none", "layer", "batch")
both_networks = pytest.mark.parametrize("network", ["critic", "generator"])
each_preset = pytest.mark.parametrize("preset", PRESETS)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def preset_pair(preset: str, precision: str = "fp32", dimension: int = 2, **changes: Any) -> Pair:
    """A pair as in conf/network, narrowed so that tests are quick."""
    options = {k: v for k, v in read_preset("network", preset).items() if k not in ("name", "kind")}
    narrow = {k: 12 for k in options if k.endswith("width")}
    kind = read_preset("network", preset)["kind"]
    return build_pair(kind, {**options, **narrow, **changes}, (dimension,), precision)


def start(module: nn.Module, scheme: str = "he", seed: int = 0) -> dict[str, Tensor]:
    """Initial weights, with biases moved off 0 so that a forgotten bias shows."""
    rng = seeded(seed + 1)
    return {
        k: p + 0.1 * torch.randn(p.shape, generator=rng)
        for k, p in initial_parameters(module, scheme, seeded(seed)).items()
    }


# How weights start.
class Layers(nn.Module):
    """One layer of each kind that initialisation knows."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(300, 200)
        self.conv = nn.Conv2d(32, 64, 3)
        self.up_conv = nn.ConvTranspose2d(48, 40, 4, stride=2, padding=1)
        self.batch_norm = nn.BatchNorm1d(20, track_running_stats=False)
        self.layer_norm = nn.LayerNorm(20)


FAN_IN = {"linear": 300, "conv": 32 * 9, "up_conv": 48 * 4}
"""Inputs that one output sums; of the 16 taps of ``up_conv`` 4 meet in each output."""


@pytest.mark.parametrize("layer", FAN_IN)
def test_pytorch_scheme_is_uniform_within_one_over_sqrt_fan_in(layer: str) -> None:
    parameters = initial_parameters(Layers(), "pytorch", seeded())
    # For a transposed convolution PyTorch counts the outputs that an input goes to.
    bound = 1 / math.sqrt(40 * 16 if layer == "up_conv" else FAN_IN[layer])
    for part in ("weight", "bias"):
        values = parameters[f"{layer}.{part}"].double().flatten().numpy()
        assert abs(values).max() <= bound * (1 + 1e-6)
        assert stats.kstest(values, stats.uniform(-bound, 2 * bound).cdf).pvalue > 0.01
    # As nn.Linear itself starts: the largest of many is next to the bound, on both sides.
    own = getattr(Layers(), layer).weight.detach()
    ours = parameters[f"{layer}.weight"]
    for extreme in (torch.amax, torch.amin):
        assert extreme(ours).item() == pytest.approx(extreme(own).item(), rel=2e-3)


@pytest.mark.parametrize("layer", FAN_IN)
@pytest.mark.parametrize("scheme", ["he", "normal"])
def test_normal_schemes_have_their_variance_and_biases_of_zero(scheme: str, layer: str) -> None:
    parameters = initial_parameters(Layers(), scheme, seeded())
    deviation = math.sqrt(2 / FAN_IN[layer]) if scheme == "he" else 0.02
    weights = parameters[f"{layer}.weight"].double().flatten().numpy()
    assert weights.std() == pytest.approx(deviation, rel=0.02)
    assert stats.kstest(weights, stats.norm(0, deviation).cdf).pvalue > 0.01
    assert not parameters[f"{layer}.bias"].any()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_normalisation_starts_at_one_and_zero(scheme: str) -> None:
    parameters = initial_parameters(Layers(), scheme, seeded())
    for layer in ("batch_norm", "layer_norm"):
        assert parameters[f"{layer}.weight"].tolist() == [1.0] * 20
        assert parameters[f"{layer}.bias"].tolist() == [0.0] * 20


class OtherLayers(nn.Module):
    """Layers that no network of ours has, and a parameter of the module's own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(8, 16, 3)
        self.up_conv = nn.ConvTranspose1d(6, 5, 4, stride=2)
        self.bilinear = nn.Bilinear(5, 6, 40)
        self.embedding = nn.Embedding(30, 20)
        self.attention = nn.MultiheadAttention(12, 2)
        self.matrix = nn.Parameter(torch.empty(30, 20))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_weights_of_any_layer_are_drawn(scheme: str) -> None:
    """Units that start alike get equal gradients, and stay one unit."""
    parameters = initial_parameters(OtherLayers(), scheme, seeded())
    fans = {
        "conv.weight": 24,
        "up_conv.weight": 20 if scheme == "pytorch" else 12,
        "bilinear.weight": 30,
        "embedding.weight": 20,
        "attention.in_proj_weight": 12,
        "attention.out_proj.weight": 12,
        "matrix": 20,
    }
    assert {name for name, p in parameters.items() if p.ndim > 1} == fans.keys()
    for name, fan in fans.items():
        weight = parameters[name]
        assert weight.unique().numel() > 0.99 * weight.numel(), name
        variance = {"pytorch": 1 / (3 * fan), "he": 2 / fan, "normal": 0.02**2}[scheme]
        assert weight.square().mean().item() == pytest.approx(variance, rel=0.35), name
    for name in ("conv.bias", "bilinear.bias", "attention.in_proj_bias"):
        bias = parameters[name]
        assert bias.any() == (scheme == "pytorch")
        assert bias.abs().max() <= 1 / math.sqrt(fans[name.replace("bias", "weight")])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_scales_of_any_layer_start_where_they_change_nothing(scheme: str) -> None:
    layers = nn.ModuleList([nn.LayerNorm([3, 4, 4]), nn.RMSNorm([3, 4]), nn.PReLU(init=0.1)])
    parameters = initial_parameters(layers, scheme, seeded())
    for name, start in {"0.weight": 1, "0.bias": 0, "1.weight": 1, "2.weight": 0.1}.items():
        assert torch.equal(parameters[name], torch.full_like(parameters[name], start)), name


@pytest.mark.parametrize("as_buffer", [True, False])
@both_networks
def test_a_network_with_a_tensor_of_its_own_is_refused(
    network: str, as_buffer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its values would be missing: networks are built without any."""
    row = NETWORKS["mlp"]

    def build(*arguments: Any) -> Pair:
        pair, part = row.build(*arguments), nn.Linear(2, 2)
        if as_buffer:
            part.register_buffer("freq", torch.arange(1.0, 5.0))
        else:
            part.freq = torch.arange(1.0, 5.0)  # type: ignore[assignment]
        getattr(pair, network).part = part
        return pair

    monkeypatch.setitem(NETWORKS._rows, "mlp", replace(row, build=build))
    told = f"network=mlp: the {network} holds part.freq, .*make constants in forward"
    with pytest.raises(ValueError, match=told):
        preset_pair("mlp")


def nothing() -> nn.Module:
    module = nn.Linear(2, 1)
    module.register_forward_hook(lambda *_: ())
    return module


def doubled() -> nn.Module:
    module = nn.Linear(2, 2)
    module.register_forward_hook(lambda *arguments: arguments[-1].double())
    return module


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            {"critic": lambda: nn.Linear(2, 1)},
            r"the critic must map \(2, 2\) .* is \(2, 1\)",
        ),
        ({"generator": lambda: nn.Linear(2, 3)}, r"the generator must map \(2, 2\) .* is \(2, 3\)"),
        ({"critic": nothing}, "the critic must return float32; it returned tuple"),
        ({"generator": doubled}, "the generator must return float32; it returned torch.float64"),
        ({"latent": Latent("norml", (2,))}, "the latent distribution 'norml' is none of normal"),
        ({"initialization": "xavier"}, "the initialization 'xavier' is none of pytorch, he"),
    ],
)
def test_a_users_network_is_refused_for_what_it_would_do(
    spoil: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(options: Any, shape: tuple[int, ...], dtype: Any) -> Pair:
        score = nn.Sequential(nn.Linear(2, 1), nn.Flatten(0))
        own = {"critic": score, "generator": nn.Linear(2, 2), "latent": Latent("normal", (2,)),
               "initialization": "pytorch"}  # fmt: skip
        made = {name: value() if callable(value) else value for name, value in spoil.items()}
        return Pair(**own | made, critic_is_pointwise=True)

    preset = read_preset("network", "mlp")
    options = {k: v for k, v in preset.items() if k not in ("name", "kind")}
    monkeypatch.setitem(NETWORKS._rows, "mine", replace(NETWORKS["mlp"], build=build))
    with pytest.raises(ValueError, match=f"network=mine: {told}"):
        build_pair("mine", options, (2,), "fp32")


@each_preset
@both_networks
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_parameter_of_a_network_is_drawn(preset: str, network: str, scheme: str) -> None:
    module = getattr(preset_pair(preset), network)
    parameters = initial_parameters(module, scheme, seeded())
    shapes = {name: p.shape for name, p in module.named_parameters()}
    assert {name: p.shape for name, p in parameters.items()} == shapes
    for name, parameter in parameters.items():
        assert parameter.dtype == torch.float32 and parameter.device.type == "cpu"
        assert parameter.isfinite().all() and not parameter.requires_grad
        # Weights of two dimensions are random in every scheme: no value comes twice.
        assert parameter.ndim == 1 or parameter.unique().numel() > 0.99 * parameter.numel(), name
    drawn = [p.flatten()[:4].tolist() for p in parameters.values() if p.ndim > 1]
    assert len({tuple(values) for values in drawn}) == len(drawn), "two layers share their draws"


@each_preset
@both_networks
def test_modules_hold_neither_weights_nor_buffers(preset: str, network: str) -> None:
    module = getattr(preset_pair(preset), network)
    assert all(p.is_meta for p in module.parameters())
    assert not list(module.buffers())


@pytest.mark.usefixtures("global_randomness_untouched")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_weights_depend_on_the_generator_alone(scheme: str) -> None:
    critic = preset_pair("mlp").critic
    first, again, other = (initial_parameters(critic, scheme, seeded(s)) for s in (3, 3, 4))
    assert all(torch.equal(first[k], again[k]) for k in first)
    assert all(not torch.equal(first[k], other[k]) for k in first if k.endswith("weight"))
    # The precision of the computation has no part in it.
    in_bf16 = initial_parameters(preset_pair("mlp", "bf16").critic, scheme, seeded(3))
    assert all(torch.equal(first[k], in_bf16[k]) for k in first)


@pytest.mark.usefixtures("global_randomness_untouched")
def test_latents() -> None:
    normal, uniform = Latent("normal", (5,)), Latent("uniform", (5,))
    for latent, law in ((normal, stats.norm()), (uniform, stats.uniform(-1, 2))):
        z = latent.sample(2000, seeded())
        assert z.shape == (2000, 5) and z.dtype == torch.float32
        assert stats.kstest(z.double().flatten().numpy(), law.cdf).pvalue > 0.01
        assert torch.equal(z, latent.sample(2000, seeded()))
        assert not torch.equal(z, latent.sample(2000, seeded(1)))


# What networks return.
@each_preset
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_shapes_and_precision_of_outputs(preset: str, precision: str, dimension: int) -> None:
    pair = preset_pair(preset, precision, dimension)
    z = pair.latent.sample(6, seeded())
    points = functional_call(pair.generator, start(pair.generator), (z,))
    scores = functional_call(pair.critic, start(pair.critic), (points,))
    assert points.shape == (6, dimension) and points.dtype == torch.float32
    assert scores.shape == (6,) and scores.dtype == torch.float32
    assert scores.unique().numel() == 6


@each_preset
@pytest.mark.parametrize("shape", [(), (1, 8, 8), (2, 2)])
def test_points_of_another_shape_are_refused(preset: str, shape: tuple[int, ...]) -> None:
    kind = read_preset("network", preset)["kind"]
    with pytest.raises(ValueError, match=r"takes points of shape \(d,\)"):
        build_pair(kind, {}, shape, "fp32")


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
@pytest.mark.parametrize("depth", [1, 3])
def test_mlp_against_its_formula(activation: str, depth: int) -> None:
    pair = preset_pair("mlp", depth=depth, activation=activation)
    for module, inputs in ((pair.critic, 2), (pair.generator, pair.latent.shape[0])):
        weights = start(module)
        x = h = torch.randn(5, inputs, generator=seeded())
        assert len(weights) == 2 * (depth + 1)
        for i in range(depth):
            weight, bias = weights[f"hidden.{i}.0.weight"], weights[f"hidden.{i}.0.bias"]
            h = activated(activation, h @ weight.T + bias)
        out = h @ weights["output.weight"].T + weights["output.bias"]
        out = out[:, 0] if module is pair.critic else out
        torch.testing.assert_close(functional_call(module, weights, (x,)), out)


def activated(name: str, x: Tensor) -> Tensor:
    return {
        "relu": x * (x > 0),
        "leaky_relu": torch.where(x > 0, x, 0.2 * x),
        "tanh": 1 - 2 / (torch.exp(2 * x) + 1),
        "softplus": torch.log(1 + torch.exp(2 * x + 2)) / 2 - 1,
    }[name]


def test_maxout_against_brute_force() -> None:
    layer = Maxout(3, 4, 5, None)
    x = torch.randn(6, 3, generator=seeded())
    weight, bias = layer.linear.weight.detach(), layer.linear.bias.detach()
    expected = torch.empty(6, 4)
    for n in range(6):
        for unit in range(4):
            rows = range(5 * unit, 5 * unit + 5)
            expected[n, unit] = max((weight[row] @ x[n] + bias[row]).item() for row in rows)
    torch.testing.assert_close(layer(x).detach(), expected)


def test_pacgan_pair_is_the_papers() -> None:
    pair = build_pair("pacgan", {k: v for k, v in read_preset("network", "pacgan").items()
                                 if k not in ("name", "kind")}, (2,), "fp32")  # fmt: skip
    critic = {name: tuple(p.shape) for name, p in pair.critic.named_parameters()}
    assert critic["hidden.0.linear.weight"] == (200 * 5, 2)
    assert critic["hidden.2.linear.weight"] == (200 * 5, 200)
    assert critic["output.weight"] == (1, 200)
    generator = {name: tuple(p.shape) for name, p in pair.generator.named_parameters()}
    assert [generator[f"hidden.{i}.0.weight"] for i in range(4)] == [(400, 2)] + [(400, 400)] * 3
    assert all(generator[f"hidden.{i}.1.weight"] == (400,) for i in range(4))
    assert pair.initialization == "normal" and pair.latent == Latent("normal", (2,))


# Precision.
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_under_bf16_the_first_and_the_last_layer_compute_in_fp32(activation: str) -> None:
    critic = preset_pair("mlp", "bf16", depth=3, width=32, activation=activation).critic
    weights = start(critic)
    x = torch.randn(16, 2, generator=seeded())

    def by_hand(precisions: list[torch.dtype]) -> Tensor:
        names = [f"hidden.{i}.0" for i in range(3)] + ["output"]
        h = x
        for name, dtype in zip(names, precisions, strict=True):
            weight, bias = weights[f"{name}.weight"].to(dtype), weights[f"{name}.bias"].to(dtype)
            h = F.linear(h.to(dtype), weight, bias)
            h = h if name == "output" else ACTIVATIONS[activation](h)
        return h[:, 0].float()

    exact, coarse = torch.float32, torch.bfloat16
    scores = functional_call(critic, weights, (x,))
    expected = by_hand([exact, coarse, coarse, exact])
    torch.testing.assert_close(scores, expected, rtol=1e-5, atol=1e-5)
    for others in ([coarse] * 3 + [exact], [exact] + [coarse] * 3, [exact] * 4):
        assert (scores - by_hand(others)).abs().max() > 1e-3
    torch.testing.assert_close(scores, by_hand([exact] * 4), rtol=0.05, atol=0.05)


@pytest.mark.parametrize("norm", NORMS)
def test_a_network_of_one_hidden_layer_has_nothing_to_round(norm: str) -> None:
    options = {"depth": 1, "critic_normalization": norm}
    x = torch.randn(8, 2, generator=seeded())
    fp32, bf16 = (preset_pair("mlp", p, **options).critic for p in ("fp32", "bf16"))
    weights = start(fp32)
    assert torch.equal(functional_call(fp32, weights, (x,)), functional_call(bf16, weights, (x,)))


# Normalisation.
@pytest.mark.parametrize("norm", ["batch", "layer"])
@pytest.mark.parametrize("training", [True, False])
def test_normalisation_takes_the_statistics_of_the_batch_or_the_point(
    norm: str, training: bool
) -> None:
    generator = preset_pair("mlp", depth=1, generator_normalization=norm).generator.train(training)
    weights = start(generator)
    z = torch.randn(9, 2, generator=seeded())
    h = z @ weights["hidden.0.0.weight"].T + weights["hidden.0.0.bias"]
    axis = 0 if norm == "batch" else 1
    variance, mean = torch.var_mean(h, dim=axis, correction=0, keepdim=True)
    h = (h - mean) / (variance + 1e-5).sqrt()
    h = torch.relu(h * weights["hidden.0.1.weight"] + weights["hidden.0.1.bias"])
    expected = h @ weights["output.weight"].T + weights["output.bias"]
    torch.testing.assert_close(functional_call(generator, weights, (z,)), expected)
    torch.testing.assert_close(functional_call(generator, weights, (z,)), expected)


def test_the_generator_of_pacgan_sees_its_whole_batch() -> None:
    generator = preset_pair("pacgan").generator
    weights, z = start(generator), torch.randn(8, 2, generator=seeded())
    moved = z.clone()
    moved[7] += 1
    points, others = (functional_call(generator, weights, (batch,)) for batch in (z, moved))
    assert ((points - others)[:7].abs().amax(dim=1) > 1e-4).all()


def critic_jacobian(pair: Pair, n: int = 6) -> Tensor:
    """|dD(x)_i / dx_j| for all i and j."""
    weights, x = start(pair.critic), torch.randn(n, 2, generator=seeded())
    jacobian = jacrev(lambda points: functional_call(pair.critic, weights, (points,)))(x)
    return jacobian.norm(dim=2)


CRITICS = [("pacgan", {}), *[("mlp", {"critic_normalization": norm}) for norm in NORMS]]


@pytest.mark.parametrize(("preset", "options"), CRITICS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_critic_is_pointwise_where_it_says_so(
    preset: str, options: dict[str, str], precision: str
) -> None:
    """D(x)[i] depends on x[i] alone: the condition of every penalty on slopes."""
    pair = preset_pair(preset, precision, **options)
    jacobian = critic_jacobian(pair)
    assert (jacobian.diagonal() > 1e-3).all()
    others = jacobian[~torch.eye(6, dtype=torch.bool)]
    assert pair.critic_is_pointwise is (options.get("critic_normalization") != "batch")
    assert (others == 0).all().item() is pair.critic_is_pointwise


def test_normalisation_of_the_generator_leaves_the_critic_pointwise() -> None:
    assert preset_pair("mlp", generator_normalization="batch").critic_is_pointwise
    assert not preset_pair("mlp", critic_normalization="batch").critic_is_pointwise


# Many networks at once.
@each_preset
@both_networks
def test_stacked_weights_under_vmap_equal_a_loop(preset: str, network: str) -> None:
    pair = preset_pair(preset)
    module = getattr(pair, network)
    runs = [start(module, seed=10 * run) for run in range(3)]
    stacked = {k: torch.stack([run[k] for run in runs]) for k in runs[0]}
    x = torch.randn(3, 8, 2, generator=seeded())
    outputs = vmap(lambda p, x: functional_call(module, p, (x,)))(stacked, x)
    for run in range(3):
        torch.testing.assert_close(outputs[run], functional_call(module, runs[run], (x[run],)))


def test_every_kind_has_a_preset_that_builds() -> None:
    assert set(EVERY.values()) == set(NETWORKS)
    assert all(row.summary and row.source for row in NETWORKS.values())
