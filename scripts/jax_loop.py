"""The same training in JAX, as a strong user would write it: a whole chunk of steps in one jit.

The peer of `bench_training.py`; it needs the extra ``bench``. WGAN-GP on ring8 by Algorithm 1 of
arXiv:1704.00028, three hidden ReLU layers, Adam. `jax.lax.scan` goes over iterations, `jax.vmap`
over runs.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from wganbench.data import load
from wganbench.data.mixtures import Mixture

BATCH, N_CRITIC, GP_LAMBDA = 256, 5, 0.1
CRITIC_LR, GENERATOR_LR, BETAS, EPS = 5e-3, 1e-3, (0.5, 0.9), 1e-8

Layers = list[tuple[jax.Array, jax.Array]]
Run = dict[str, Any]
"""The state of one run: networks, moments, steps taken, the key of its draws."""

TARGET = load("ring8")
assert isinstance(TARGET, Mixture)
MODES, SIGMA = jnp.asarray(TARGET.modes.numpy()), TARGET.sigma


def initial(key: jax.Array, sizes: list[int]) -> Layers:
    """torch's default: uniform in +-1/sqrt(inputs)."""
    layers = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        key, weights, biases = jax.random.split(key, 3)
        draw = partial(
            jax.random.uniform, minval=-1 / math.sqrt(inputs), maxval=1 / math.sqrt(inputs)
        )
        layers.append((draw(weights, (inputs, outputs)), draw(biases, (outputs,))))
    return layers


def mlp(layers: Layers, x: jax.Array) -> jax.Array:
    for weights, bias in layers[:-1]:
        x = jax.nn.relu(x @ weights + bias)
    weights, bias = layers[-1]
    return x @ weights + bias


def critic_loss(critic: Layers, generator: Layers, key: jax.Array) -> jax.Array:
    """E D(G(z)) - E D(x) + lambda E (|grad D(x_hat)| - 1)^2."""
    of_mode, of_noise, of_latent, of_eps = jax.random.split(key, 4)
    mode = jax.random.randint(of_mode, (BATCH,), 0, len(MODES))
    x = MODES[mode] + SIGMA * jax.random.normal(of_noise, (BATCH, 2))
    x_fake = jax.lax.stop_gradient(mlp(generator, jax.random.normal(of_latent, (BATCH, 2))))
    eps = jax.random.uniform(of_eps, (BATCH, 1))
    slopes = jax.grad(lambda points: mlp(critic, points).sum())(eps * x + (1 - eps) * x_fake)
    penalty = ((jnp.linalg.norm(slopes, axis=1) - 1) ** 2).mean()
    scores = mlp(critic, jnp.concatenate([x, x_fake]))
    return scores[BATCH:].mean() - scores[:BATCH].mean() + GP_LAMBDA * penalty


def generator_loss(generator: Layers, critic: Layers, key: jax.Array) -> jax.Array:
    return -mlp(critic, mlp(generator, jax.random.normal(key, (BATCH, 2)))).mean()


def adam(
    layers: Layers, gradients: Layers, moments: tuple[Any, Any], taken: jax.Array, lr: float
) -> tuple[Layers, tuple[Any, Any]]:
    first, second = BETAS
    step = taken + 1
    mean = jax.tree.map(lambda m, g: first * m + (1 - first) * g, moments[0], gradients)
    square = jax.tree.map(lambda v, g: second * v + (1 - second) * g * g, moments[1], gradients)

    def moved(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        return p - lr * (m / (1 - first**step)) / (jnp.sqrt(v / (1 - second**step)) + EPS)

    return jax.tree.map(moved, layers, mean, square), (mean, square)


def beginning(key: jax.Array, width: int) -> Run:
    of_critic, of_generator, of_draws = jax.random.split(key, 3)
    hidden = [width] * 3
    networks = {
        "critic": initial(of_critic, [2, *hidden, 1]),
        "generator": initial(of_generator, [2, *hidden, 2]),
    }
    zeros = {name: jax.tree.map(jnp.zeros_like, layers) for name, layers in networks.items()}
    moments = {name: (zero, zero) for name, zero in zeros.items()}
    return {"networks": networks, "moments": moments, "step": jnp.float32(0), "key": of_draws}


def iterate(run: Run, _: None) -> tuple[Run, jax.Array]:
    """n_critic critic steps and one generator step; the last critic loss."""
    generator = run["networks"]["generator"]
    key, of_generator, *of_critic = jax.random.split(run["key"], N_CRITIC + 2)

    def critic_step(carried: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        critic, moments, taken = carried
        loss, gradients = jax.value_and_grad(critic_loss)(critic, generator, key)
        critic, moments = adam(critic, gradients, moments, taken, CRITIC_LR)
        return (critic, moments, taken + 1), loss

    start = run["networks"]["critic"], run["moments"]["critic"], run["step"] * N_CRITIC
    (critic, moments, _), losses = jax.lax.scan(critic_step, start, jnp.stack(of_critic))
    gradients = jax.grad(generator_loss)(generator, critic, of_generator)
    generator, own = adam(
        generator, gradients, run["moments"]["generator"], run["step"], GENERATOR_LR
    )
    after = {
        "networks": {"critic": critic, "generator": generator},
        "moments": {"critic": moments, "generator": own},
        "step": run["step"] + 1,
        "key": key,
    }
    return after, losses[-1]


class JaxGAN:
    """Some runs at once, advanced some steps at a time; every number of steps compiles once."""

    def __init__(self, width: int, runs: int, seed: int = 0) -> None:
        keys = jax.random.split(jax.random.key(seed), runs)
        self.runs = jax.vmap(lambda key: beginning(key, width))(keys)
        self.losses = jnp.zeros((runs, 0))

        @partial(jax.jit, static_argnums=1, donate_argnums=0)
        def train(runs: Run, steps: int) -> tuple[Run, jax.Array]:
            return jax.vmap(lambda run: jax.lax.scan(iterate, run, None, length=steps))(runs)

        self._train = train

    def advance(self, steps: int) -> None:
        self.runs, self.losses = self._train(self.runs, steps)
        self.losses.block_until_ready()
