"""The loop that everybody writes: one WGAN-GP run, plain modules, autograd.grad, Adam.

The baseline of `bench_training.py` and `bench_sweep.py`. It follows arXiv:1704.00028,
Algorithm 1, as in the common PyTorch tutorials.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

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


class TextbookGAN:
    """Networks, optimizers and one generator iteration."""

    def __init__(
        self,
        width: int,
        sample: Sampler,
        *,
        batch_size: int,
        n_critic: int,
        gp_lambda: float,
        critic_lr: float,
        generator_lr: float,
        betas: tuple[float, float],
    ) -> None:
        self.critic, self.generator = mlp(2, width, 1), mlp(2, width, 2)
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
        generator_loss = -self.critic(self.generator(torch.randn(self.batch_size, 2))).mean()
        self.generator_optimizer.zero_grad()
        generator_loss.backward()
        self.generator_optimizer.step()
        return critic_loss, generator_loss

    def critic_loss(self) -> Tensor:
        """E D(G(z)) - E D(x) + lambda E (|grad D(x_hat)| - 1)^2."""
        x = self.sample(self.batch_size)
        x_fake = self.generator(torch.randn(self.batch_size, 2)).detach()
        eps = torch.rand(self.batch_size, 1)
        x_hat = (eps * x + (1 - eps) * x_fake).requires_grad_()
        (gradient,) = torch.autograd.grad(self.critic(x_hat).sum(), x_hat, create_graph=True)
        penalty = ((gradient.norm(2, dim=1) - 1) ** 2).mean()
        loss: Tensor = self.critic(x_fake).mean() - self.critic(x).mean() + self.gp_lambda * penalty
        return loss
