"""Algorithm 1 written out in plain autograd, float64 and torch.optim: the stack must equal it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from training_configs import CPU, alike, same, tiny, trained

from wganbench.config import RunConfig
from wganbench.losses import RECIPES
from wganbench.training.optimizers import directions, initial_moments
from wganbench.training.stack import Stack
from wganbench.training.streams import Streams, mixing, training_sampler

# float32 keeps 7 digits; a few steps of Adam multiply the rounding by some tens. Adam and
# RMSProp also blow a gradient that is nothing but rounding up to a full step. A ReLU unit
# that is on at every point has such a gradient under the Wasserstein loss, and so has a
# bias under batch norm: there the oracle meets SGD, and elsewhere tanh.
ROUNDING = {"rtol": 2e-4, "atol": 5e-6}


# The losses, transcribed once more from the papers.
Critic = Callable[[Tensor], Tensor]


def cross_entropy(scores: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, label))


def bce_critic(real: Tensor, fake: Tensor) -> Tensor:
    return cross_entropy(real, 1.0) + cross_entropy(fake, 0.0)


def bce_generator(fake: Tensor) -> Tensor:
    return cross_entropy(fake, 1.0)


def minimax_generator(fake: Tensor) -> Tensor:
    return torch.log(1 - torch.sigmoid(fake)).mean()


def w_critic(real: Tensor, fake: Tensor) -> Tensor:
    return fake.mean() - real.mean()


def w_generator(fake: Tensor) -> Tensor:
    return -fake.mean()


def smooth_critic(real: Tensor, fake: Tensor) -> Tensor:
    return cross_entropy(real, 0.9) + cross_entropy(fake, 0.0)


def hinge_critic(real: Tensor, fake: Tensor) -> Tensor:
    return -torch.minimum(real - 1, real * 0).mean() - torch.minimum(-1 - fake, fake * 0).mean()


def squares_critic(real: Tensor, fake: Tensor) -> Tensor:
    return 0.5 * F.mse_loss(real, torch.ones_like(real)) + 0.5 * (fake**2).mean()


def squares_generator(fake: Tensor) -> Tensor:
    return 0.5 * F.mse_loss(fake, torch.ones_like(fake))


def pearson_critic(real: Tensor, fake: Tensor) -> Tensor:
    return 0.5 * ((real - 1) ** 2).mean() + 0.5 * ((fake + 1) ** 2).mean()


def pearson_generator(fake: Tensor) -> Tensor:
    return 0.5 * (fake**2).mean()


def pairs_critic(real: Tensor, fake: Tensor) -> Tensor:
    return cross_entropy(real - fake, 1.0)


def pairs_generator(real: Tensor, fake: Tensor) -> Tensor:
    return cross_entropy(fake - real, 1.0)


def average_critic(real: Tensor, fake: Tensor) -> Tensor:
    return cross_entropy(real - fake.mean(), 1.0) + cross_entropy(fake - real.mean(), 0.0)


def average_generator(real: Tensor, fake: Tensor) -> Tensor:
    return cross_entropy(fake - real.mean(), 1.0) + cross_entropy(real - fake.mean(), 0.0)


def slopes(critic: Critic, points: Tensor) -> Tensor:
    points = points.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(points).sum(), points, create_graph=True)
    return gradient.pow(2).sum(dim=1).sqrt()


def mixed(x: Tensor, x_fake: Tensor, eps: Tensor) -> Tensor:
    return torch.stack([e * a + (1 - e) * b for e, a, b in zip(eps, x, x_fake, strict=True)])


def gp(critic: Critic, x: Tensor, x_fake: Tensor, eps: Tensor, c: dict[str, float]) -> Tensor:
    return c["gp_lambda"] * ((slopes(critic, mixed(x, x_fake, eps)) - 1) ** 2).mean()


def lp(critic: Critic, x: Tensor, x_fake: Tensor, eps: Tensor, c: dict[str, float]) -> Tensor:
    return c["gp_lambda"] * (F.relu(slopes(critic, mixed(x, x_fake, eps)) - 1) ** 2).mean()


def r1(critic: Critic, x: Tensor, x_fake: Tensor, eps: Tensor, c: dict[str, float]) -> Tensor:
    return c["r1_gamma"] / 2 * (slopes(critic, x) ** 2).mean()


def r1r2(critic: Critic, x: Tensor, x_fake: Tensor, eps: Tensor, c: dict[str, float]) -> Tensor:
    on_fakes = c["r2_gamma"] / 2 * (slopes(critic, x_fake) ** 2).mean()
    return r1(critic, x, x_fake, eps, c) + on_fakes


def gp0(critic: Critic, x: Tensor, x_fake: Tensor, eps: Tensor, c: dict[str, float]) -> Tensor:
    return c["gp_lambda"] * (slopes(critic, mixed(x, x_fake, eps)) ** 2).mean()


def div(critic: Critic, x: Tensor, x_fake: Tensor, eps: Tensor, c: dict[str, float]) -> Tensor:
    return c["div_k"] * (slopes(critic, mixed(x, x_fake, eps)) ** c["div_p"]).mean()


def dragan(critic: Critic, x: Tensor, noise: Tensor, eps: Tensor, c: dict[str, float]) -> Tensor:
    """Takes noise in the place of fakes."""
    moved = x + 0.5 * float(np.std(x.numpy())) * noise
    return c["gp_lambda"] * ((slopes(critic, moved) - 1) ** 2).mean()


Penalty = Callable[[Critic, Tensor, Tensor, Tensor, dict[str, float]], Tensor]
ORACLES: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor], Penalty | None]] = {
    "bce": (bce_critic, bce_generator, None),
    "bce_saturating": (bce_critic, minimax_generator, None),
    "clip": (w_critic, w_generator, None),
    "gp": (w_critic, w_generator, gp),
    "lp": (w_critic, w_generator, lp),
    "bce_gp": (bce_critic, bce_generator, gp),
    "bce_r1": (bce_critic, bce_generator, r1),
    "wasserstein": (w_critic, w_generator, None),
    "wasserstein_sn": (w_critic, w_generator, None),
    "gp0": (w_critic, w_generator, gp0),
    "wgan_div": (w_critic, w_generator, div),
    "bce_smooth": (smooth_critic, bce_generator, None),
    "bce_r1r2": (bce_critic, bce_generator, r1r2),
    "dragan": (bce_critic, bce_generator, dragan),
    "hinge": (hinge_critic, w_generator, None),
    "hinge_sn": (hinge_critic, w_generator, None),
    "hinge_gn": (hinge_critic, w_generator, None),
    "lsgan": (squares_critic, squares_generator, None),
    "lsgan_pearson": (pearson_critic, pearson_generator, None),
    "rpgan": (pairs_critic, pairs_generator, None),
    "ragan": (average_critic, average_generator, None),
    "rpgan_r1r2": (pairs_critic, pairs_generator, r1r2),
}
SPECTRAL, GRADIENT = ("wasserstein_sn", "hinge_sn"), ("hinge_gn",)
PAIRED = ("rpgan", "ragan", "rpgan_r1r2")
"""Losses whose generator compares its fakes with reals of the stream ``real_generator``."""


# The networks and optimizers, from torch.nn and torch.optim.
class Maxout(nn.Linear):
    def __init__(self, inputs: int, width: int, pieces: int) -> None:
        super().__init__(inputs, width * pieces)
        self.pieces = pieces

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).view(len(input), -1, self.pieces).max(dim=2).values


def norm(name: str, width: int) -> list[nn.Module]:
    batch = nn.BatchNorm1d(width, track_running_stats=False)
    return {"none": [], "layer": [nn.LayerNorm(width)], "batch": [batch]}[name]


ACTIVATIONS: dict[str, nn.Module] = {
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(0.2),
    "tanh": nn.Tanh(),
}


def mlp(
    inputs: int, width: int, depth: int, out: int, normalization: str, activation: str
) -> nn.Sequential:
    modules: list[nn.Module] = []
    for i in range(depth):
        modules += [nn.Linear(width if i else inputs, width), *norm(normalization, width)]
        modules += [ACTIVATIONS[activation]]
    return nn.Sequential(*modules, nn.Linear(width, out))


def plain_networks(config: RunConfig) -> tuple[nn.Sequential, nn.Sequential]:
    o = config.network.options
    if config.network.kind == "pacgan":
        sizes = [2] + [o["critic_width"]] * o["critic_depth"]
        hidden = [Maxout(i, o["critic_width"], o["critic_pieces"]) for i in sizes[:-1]]
        critic = nn.Sequential(*hidden, nn.Linear(sizes[-1], 1))
        size = (o["generator_width"], o["generator_depth"])
        generator = mlp(o["latent_dim"], *size, 2, "batch", "relu")
        return critic, generator
    size = (o["width"], o["depth"])
    return (
        mlp(2, *size, 1, o["critic_normalization"], o["activation"]),
        mlp(o["latent_dim"], *size, 2, o["generator_normalization"], o["activation"]),
    )


def optimistic(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """Daskalakis et al., Algorithm 1: w_(t+1) = w_t + lr (2 d_t - d_(t-1)), d the plain step."""

    class Optimistic(kind):  # type: ignore[misc, valid-type]
        def step(self, closure: None = None) -> None:  # type: ignore[override]
            (group,) = self.param_groups
            rate, before = group["lr"], [p.detach().clone() for p in group["params"]]
            for p in group["params"]:
                p.data.zero_()  # so that the step is not rounded by the weight
            group["lr"] = 1.0
            super().step()
            group["lr"] = rate
            plain = [p.detach().clone() for p in group["params"]]
            earlier = getattr(self, "earlier", plain)
            for p, old, d, d_before in zip(group["params"], before, plain, earlier, strict=True):
                p.data.copy_(old + rate * (2 * d - d_before))
            self.earlier = plain

    return Optimistic


def plain_optimizer(config: RunConfig, module: nn.Module, lr: float) -> torch.optim.Optimizer:
    first, second = config.train.betas
    parameters = module.parameters()
    if config.train.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=lr, betas=(first, second))
    if config.train.optimizer == "optimistic_adam":
        return optimistic(torch.optim.Adam)(parameters, lr=lr, betas=(first, second))  # type: ignore[call-arg]
    if config.train.optimizer == "optimistic_sgd":
        return optimistic(torch.optim.SGD)(parameters, lr=lr, momentum=first)  # type: ignore[call-arg]
    if config.train.optimizer == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=lr, alpha=second, momentum=first)
    return torch.optim.SGD(parameters, lr=lr, momentum=first)


def norms(network: str, module: nn.Sequential) -> dict[str, float]:
    """The gradient's norm, total and by layer: a linear map and the norm that follows it."""
    layers: list[list[Tensor]] = []
    for child in module:
        own = [p.grad for p in child.parameters() if p.grad is not None]
        if isinstance(child, nn.Linear):
            layers.append(own)
        elif own:
            layers[-1] += own
    flat = [torch.cat([g.flatten() for g in layer]) for layer in layers]
    by_layer = {f"grad_norm/{network}_layer_{i}": float(g.norm()) for i, g in enumerate(flat)}
    return {f"grad_norm/{network}": float(torch.cat(flat).norm())} | by_layer


def divided(layer: nn.Linear, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight / torch.linalg.matrix_norm(layer.weight, ord=2), layer.bias)


class Oracle:
    """One run, trained as a textbook would."""

    def __init__(self, config: RunConfig, stack: Stack, run: int) -> None:
        self.config, self.target, self.latent = config, stack.target, stack.algorithm.pair.latent
        self.critic, self.generator = (n.double() for n in plain_networks(config))
        for name in ("critic", "generator"):
            start = stack.run_parameters(run, name).values()
            with torch.no_grad():
                for p, value in zip(getattr(self, name).parameters(), start, strict=True):
                    assert p.shape == value.shape
                    p.copy_(value)
        self.critic_rate, self.generator_rate = config.train.critic_lr, config.train.generator_lr
        self.critic_optimizer = plain_optimizer(config, self.critic, self.critic_rate)
        self.generator_optimizer = plain_optimizer(config, self.generator, self.generator_rate)
        self.critic_steps = self.steps = 0
        self.scalars: dict[str, float] = {}

    def draw(self, stream: str, k: int) -> Tensor:
        real = training_sampler(self.target, 1)
        samplers = {"real": real, "real_generator": real, "mixing": mixing}
        samplers["perturbation"] = lambda draws, n: draws.uniform(n, *self.target.shape)
        streams, size = Streams([self.config.seed], CPU), self.config.train.batch_size
        return streams.draw(samplers.get(stream, self.latent.draw), stream, [k], size)[
            0, 0
        ].double()

    def score(self, x: Tensor) -> Tensor:
        """D(x), of the critic as the loss wraps it."""
        if self.config.loss.name in SPECTRAL:
            for layer in self.critic:
                x = divided(layer, x) if isinstance(layer, nn.Linear) else layer(x)
            return x.squeeze(1)
        if self.config.loss.name in GRADIENT:
            x = x if x.requires_grad else x.detach().clone().requires_grad_()
            scores = self.critic(x).squeeze(1)
            (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
            return scores / (gradient.pow(2).sum(dim=1).sqrt() + scores.abs())
        return self.critic(x).squeeze(1)

    def decayed(self) -> float:
        progress = self.steps / self.config.train.steps
        return {
            "none": 1.0,
            "linear": 1 - progress,
            "cosine": (1 + math.cos(math.pi * progress)) / 2,
        }[self.config.train.decay]

    def n_critic(self) -> int:
        train = self.config.train
        every = train.burst_every_n_steps
        if self.steps < train.burst_first_steps or (every and self.steps % every == 0):
            return train.burst_n_critic
        return self.config.loss.n_critic

    def iterate(self) -> None:
        for _ in range(self.n_critic()):
            self.critic_step()
        self.generator_step()

    def critic_step(self) -> None:
        critic_loss, _, penalty = ORACLES[self.config.loss.name]
        x, z, eps = (self.draw(s, self.critic_steps) for s in ("real", "latent_critic", "mixing"))
        with torch.no_grad():
            x_fake = self.generator(z)
        real, fake = self.score(x), self.score(x_fake)
        loss = critic_loss(real, fake)
        scalars = {
            "wasserstein/estimate": (real.mean() - fake.mean()).item(),
            "critic/score_real": real.mean().item(),
            "critic/score_fake": fake.mean().item(),
        }
        if penalty:
            if self.config.loss.name == "dragan":
                x_fake = self.draw("perturbation", self.critic_steps)
            term = penalty(self.score, x, x_fake, eps, self.config.loss.coefficients)
            scalars["loss/penalty"] = term.item()
            loss = loss + term
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.scalars |= scalars | {"loss/critic": loss.item()} | norms("critic", self.critic)
        self.critic_optimizer.param_groups[0]["lr"] = self.critic_rate * self.decayed()
        self.critic_optimizer.step()
        if self.config.loss.name == "clip":
            c = self.config.loss.coefficients["clip_value"]
            with torch.no_grad():
                for p in self.critic.parameters():
                    p.clamp_(-c, c)
        self.critic_steps += 1

    def generator_step(self) -> None:
        _, generator_loss, _ = ORACLES[self.config.loss.name]
        z = self.draw("latent_generator", self.steps)
        scores = [self.score(self.generator(z))]
        if self.config.loss.name in PAIRED:
            scores.insert(0, self.score(self.draw("real_generator", self.steps)))
        loss = generator_loss(*scores)
        self.generator_optimizer.zero_grad()
        loss.backward()
        self.scalars |= {"loss/generator": loss.item()} | norms("generator", self.generator)
        self.generator_optimizer.param_groups[0]["lr"] = self.generator_rate * self.decayed()
        self.generator_optimizer.step()
        self.steps += 1


def assert_equals_oracle(configs: list[RunConfig], steps: int) -> None:
    """Every run's parameters and scalars, after every generator step."""
    stack = Stack(configs, CPU)
    oracles = [Oracle(config, stack, r) for r, config in enumerate(configs)]
    start = stack.run_states()[0]
    for _ in range(steps):
        stack.iterate()
        scalars = stack.scalars()
        for r, oracle in enumerate(oracles):
            oracle.iterate()
            assert scalars[r] == pytest.approx(oracle.scalars, rel=2e-4, abs=5e-6)
            for network in ("critic", "generator"):
                found = list(stack.run_parameters(r, network).values())
                wanted = [p.detach().float() for p in getattr(oracle, network).parameters()]
                for a, b in zip(found, wanted, strict=True):
                    torch.testing.assert_close(a, b, **ROUNDING)
    # The comparison says something only where training moved the weights far beyond rounding.
    end = stack.run_states()[0]
    for weight in ("critic/output.weight", "generator/output.weight"):
        assert (end[weight] - start[weight]).abs().max() > 1e-3


SGD: dict[str, Any] = {
    "train.optimizer": "sgd",
    "train.betas": [0.5, 0.0],
    "train.critic_lr": 3e-2,
    "train.generator_lr": 0.3,
}
CLIP: dict[str, Any] = {"loss.clip_value": 0.1, "train.generator_lr": 3.0}


@pytest.mark.parametrize("loss", list(RECIPES))
@pytest.mark.parametrize("rule", [SGD, {"network.activation": "tanh"}], ids=["sgd", "adam"])
def test_every_recipe_trains_as_algorithm_1_says(loss: str, rule: dict[str, Any]) -> None:
    assert loss in ORACLES, "a new loss needs a transcription in ORACLES"
    clip = CLIP if loss == "clip" and rule is SGD else {}
    if loss in PAIRED:  # the last bias moves no difference of scores: its gradient is rounding
        rule = SGD | rule
    assert_equals_oracle(alike(loss, 2, **(rule | clip)), steps=2)


@pytest.mark.parametrize(
    ("optimizer", "betas", "rate", "decay", "n_critic"),
    [
        ("adam", [0.0, 0.9], 5e-3, "linear", 3),
        ("adam", [0.5, 0.999], 5e-3, "cosine", 1),
        ("rmsprop", [0.0, 0.9], 2e-3, "cosine", 3),
        ("rmsprop", [0.6, 0.99], 1e-3, "linear", 1),
        ("sgd", [0.0, 0.0], 5e-2, "linear", 1),
        ("sgd", [0.9, 0.0], 2e-2, "cosine", 3),
        ("optimistic_adam", [0.5, 0.9], 5e-3, "linear", 2),
        ("optimistic_sgd", [0.0, 0.0], 5e-2, "cosine", 1),
    ],
)
def test_every_optimizer_equals_torchs_own(
    optimizer: str, betas: list[float], rate: float, decay: str, n_critic: int
) -> None:
    settings = {
        "loss.n_critic": n_critic,
        "loss.gp_lambda": 0.5,
        "network.activation": "tanh",
        "train.optimizer": optimizer,
        "train.betas": betas,
        "train.critic_lr": rate,
        "train.generator_lr": rate,
        "train.decay": decay,
        "train.steps": 4,
    }
    assert_equals_oracle(alike("gp", 2, **settings), steps=3)


@pytest.mark.parametrize(
    ("rule", "saturating", "radius"),
    [("sgd", False, 25636.0), ("optimistic_sgd", False, 3.47074e-5),
     ("optimistic_sgd", True, 0.117029)],
)  # fmt: skip
def test_optimistic_steps_converge_where_plain_ones_diverge(
    rule: str, saturating: bool, radius: float
) -> None:
    """W without a constraint on the Dirac-GAN, from (1, -1), h = 0.2, 500 simultaneous steps.

    The critic minimises psi theta, the generator -psi theta; a plain step multiplies the radius
    by sqrt(1 + h^2). With the saturating loss both slopes have the factor sigmoid(psi theta).
    """
    h, point = 0.2, {"psi": torch.tensor(1.0, dtype=torch.float64)}
    point["theta"] = -point["psi"]
    moments = initial_moments(rule, point)
    for step in range(500):
        share = torch.sigmoid(point["psi"] * point["theta"]) if saturating else 1.0
        slopes = {"psi": share * point["theta"], "theta": -share * point["psi"]}
        taken = torch.tensor(float(step))
        moved = directions(rule, point, slopes, moments, taken, [0.0, 0.0])
        point = {name: value + h * moved[name] for name, value in point.items()}
    assert math.hypot(point["psi"], point["theta"]) == pytest.approx(radius, rel=1e-4)


def test_bursts_of_critic_steps_come_when_they_should() -> None:
    bursts = {
        "train.burst_n_critic": 3,
        "train.burst_first_steps": 1,
        "train.burst_every_n_steps": 3,
        "loss.n_critic": 1,
    }
    assert_equals_oracle(alike("clip", 1, **(SGD | CLIP | bursts)), steps=4)


@pytest.mark.parametrize(
    ("loss", "critic_norm", "generator_norm"),
    [("gp", "layer", "batch"), ("wasserstein", "batch", "layer")],
)
def test_normalised_networks_too(loss: str, critic_norm: str, generator_norm: str) -> None:
    settings = {
        "network.activation": "leaky_relu",
        "network.critic_normalization": critic_norm,
        "network.generator_normalization": generator_norm,
    }
    assert_equals_oracle(alike(loss, 2, **SGD, **settings), steps=2)


def test_pacgans_networks_too() -> None:
    configs = alike("bce_gp", 2, **SGD)
    sizes = {"generator_width": 8, "generator_depth": 2, "critic_width": 6, "critic_depth": 2}
    latent = {"latent": "uniform", "latent_dim": 3, "initialization": "pytorch"}
    for config in configs:
        config.network.kind = "pacgan"
        config.network.options = sizes | latent | {"critic_pieces": 3}
    assert_equals_oracle(configs, steps=2)


def test_clipping_holds_at_every_generator_step_and_spares_the_generator() -> None:
    configs = alike("clip", 2, **{"loss.clip_value": 0.02, "train.critic_lr": 0.1})
    stack = Stack(configs, CPU)
    seen: list[list[float]] = []
    step = stack.execution.generator

    def watched(*arguments: Any) -> Any:
        seen.append(
            [
                max(float(p.abs().max()) for p in stack.run_parameters(r, "critic").values())
                for r in range(2)
            ]
        )
        return step(*arguments)

    stack.execution.generator = watched
    for _ in range(3):
        stack.iterate()
    bounds = [torch.tensor(c.loss.coefficients["clip_value"]).item() for c in configs]
    assert seen == [bounds] * 3, "rates this large drive some weight to the bound in each run"
    for r in range(2):
        generator = stack.run_parameters(r, "generator")
        assert max(float(p.abs().max()) for p in generator.values()) > 0.3
        assert all(p.requires_grad is False for p in generator.values())


def test_an_infinite_clip_value_is_no_clipping() -> None:
    # Where the loss is the same but for the clamp, so are the runs.
    clip = tiny("clip", **{"loss.clip_value": math.inf})
    free = tiny("wasserstein")
    assert same(trained([clip], 2).run_states()[0], trained([free], 2).run_states()[0])


@pytest.mark.parametrize("loss", list(RECIPES))
def test_each_step_moves_its_own_network_only(loss: str) -> None:
    stack = trained([tiny(loss)], 1)
    before = stack.run_states()[0]
    with torch.no_grad():
        stack._critic_update(stack.state, *stack.execution.work.critic_batch(2))
    between = stack.run_states()[0]
    with torch.no_grad():
        stack._generator_update(stack.state, *stack.execution.work.generator_batch(1))
    after = stack.run_states()[0]

    def changed(a: dict[str, Tensor], b: dict[str, Tensor]) -> set[str]:
        return {name.split("/")[0] for name in a if not torch.equal(a[name], b[name])}

    assert changed(before, between) == {"critic", "critic_moments"}
    assert changed(between, after) == {"generator", "generator_moments"}


def test_bf16_stays_near_fp32_and_keeps_its_parameters_in_fp32() -> None:
    settings = {"network.depth": 3, "network.width": 16}
    exact = trained([tiny("gp", **settings)], 3)
    rough = trained([tiny("gp", precision="bf16", **settings)], 3)
    a, b = exact.run_states()[0], rough.run_states()[0]
    assert not same(a, b), "bf16 was not used at all"
    floats = {k: p for k, p in b.items() if k != "diverged_at"}
    assert {p.dtype for p in floats.values()} == {torch.float32}
    for network in ("critic", "generator"):
        gap = torch.cat([(a[k] - b[k]).flatten() for k in a if k.startswith(f"{network}/")]).abs()
        rate = getattr(exact.config.train, f"{network}_lr")
        assert gap.mean() < rate, "bf16 keeps 3 digits: the paths part slowly"
    assert rough.scalars()[0]["critic/score_real"] == pytest.approx(
        exact.scalars()[0]["critic/score_real"], abs=0.05
    )
    assert rough.probe(4)[0]["score_real"].dtype == torch.float32
