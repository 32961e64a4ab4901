"""The loop that everybody writes: one WGAN-GP run, plain modules, autograd.grad, Adam.

The baseline of `bench_training.py`, `bench_images.py` and `bench_sweep.py`. It follows
arXiv:1704.00028, Algorithm 1, as in the common PyTorch tutorials.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from wganbench.data import load
from wganbench.data.mixtures import Mixture
from wganbench.training.stack import Stack

Sampler = Callable[[int], Tensor]


def mlp(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Three hidden ReLU layers."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, width),
        nn.ReLU(),
        nn.Linear(width, outputs),
    )


def dcgan_critic(width: int) -> nn.Sequential:
    """DCGAN's critic for images of 28 x 28, without batch norm."""
    return nn.Sequential(
        nn.Conv2d(1, width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(2 * width * 7 * 7, 1),
    )


def dcgan_generator(latent: int, width: int) -> nn.Sequential:
    """DCGAN's generator for images of 28 x 28."""
    return nn.Sequential(
        nn.Linear(latent, 2 * width * 7 * 7),
        nn.Unflatten(1, (2 * width, 7, 7)),
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.ConvTranspose2d(width, 1, 4, 2, 1),
        nn.Tanh(),
    )


def ring8(device: torch.device | str = "cpu") -> Sampler:
    """The built-in ring of eight Gaussians, drawn as tutorials do: a mode, and noise around it."""
    target = load("ring8")
    assert isinstance(target, Mixture)
    modes, sigma = target.modes.to(device), target.sigma

    def sample(n: int) -> Tensor:
        mode = torch.randint(len(modes), (n,), device=device)
        return modes[mode] + sigma * torch.randn(n, 2, device=device)

    return sample


class TextbookGAN:
    """Optimizers and one generator iteration of two networks."""

    def __init__(
        self,
        critic: nn.Module,
        generator: nn.Module,
        latent: int,
        sample: Sampler,
        *,
        batch_size: int,
        n_critic: int,
        gp_lambda: float,
        critic_lr: float,
        generator_lr: float,
        betas: tuple[float, float],
    ) -> None:
        self.critic, self.generator, self.latent = critic, generator, latent
        self.sample, self.batch_size, self.n_critic = sample, batch_size, n_critic
        self.gp_lambda = gp_lambda
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), critic_lr, betas)
        self.generator_optimizer = torch.optim.Adam(
            self.generator.parameters(), generator_lr, betas
        )

    def iterate(self) -> tuple[Tensor, Tensor]:
        """n_critic critic steps and one generator step; the last losses of both."""
        for _ in range(self.n_critic):
            critic_loss = self.critic_loss()
            self.critic_optimizer.zero_grad()
            critic_loss.backward()
            self.critic_optimizer.step()
        generator_loss = -self.critic(
            self.generator(torch.randn(self.batch_size, self.latent))
        ).mean()
        self.generator_optimizer.zero_grad()
        generator_loss.backward()
        self.generator_optimizer.step()
        return critic_loss, generator_loss

    def critic_loss(self) -> Tensor:
        """E D(G(z)) - E D(x) + lambda E (|grad D(x_hat)| - 1)^2."""
        x = self.sample(self.batch_size)
        x_fake = self.generator(torch.randn(self.batch_size, self.latent)).detach()
        eps = torch.rand(self.batch_size, *[1] * (x.ndim - 1))
        x_hat = (eps * x + (1 - eps) * x_fake).requires_grad_()
        (gradient,) = torch.autograd.grad(self.critic(x_hat).sum(), x_hat, create_graph=True)
        penalty = ((gradient.flatten(1).norm(2, dim=1) - 1) ** 2).mean()
        loss: Tensor = self.critic(x_fake).mean() - self.critic(x).mean() + self.gp_lambda * penalty
        return loss


def same_loss(theirs: TextbookGAN, ours: Stack, steps: int) -> None:
    """Print both sides' critic loss, means over the last half of some iterations."""
    left, right = [], []
    for step in range(steps):
        loss, _ = theirs.iterate()
        ours.iterate()
        if step >= steps // 2:
            left.append(float(loss.detach()))
            right.append(ours.scalars()[0]["loss/critic"])
    print(
        f"critic loss over steps {steps // 2}-{steps}: textbook {statistics.mean(left):.4f} "
        f"(sd {statistics.stdev(left):.4f}), wganbench {statistics.mean(right):.4f} "
        f"(sd {statistics.stdev(right):.4f})\n",
        flush=True,
    )
