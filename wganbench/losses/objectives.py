"""The objectives of critic and generator, as functions of scores.

Sign convention: the critic scores real points high and every function here is minimised.
A score is the critic's raw output for one point, not a probability. Scores are vectors of
shape (n,).
"""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def bce_critic_loss(score_real: Float[Tensor, " n"], score_fake: Float[Tensor, " m"]) -> Tensor:
    """Return the discriminator's binary cross-entropy, a scalar in nats.

    It is E softplus(-D(x)) + E softplus(D(G(z))), which equals -E log sigmoid(D(x)) -
    E log(1 - sigmoid(D(G(z)))) and does not overflow. It is 2 ln 2 at scores of 0.

    Raises ValueError when scores are not of shape (n,).
    Source: Goodfellow et al., arXiv:1406.2661, eq. 1.

    >>> import torch
    >>> round(float(bce_critic_loss(torch.zeros(4), torch.zeros(4))), 6)
    1.386294
    """
    _check_scores(score_real, score_fake)
    return F.softplus(-score_real).mean() + F.softplus(score_fake).mean()


def bce_generator_loss(score_fake: Float[Tensor, " n"], saturating: bool = False) -> Tensor:
    """Return the generator's binary cross-entropy, a scalar in nats.

    Non-saturating: E softplus(-D(G(z))) = -E log sigmoid(D(G(z))).
    Saturating (minimax): -E softplus(D(G(z))) = E log(1 - sigmoid(D(G(z)))), whose
    gradient vanishes when the discriminator is sure that the fake is a fake.

    Raises ValueError when scores are not of shape (n,).
    Source: Goodfellow et al., arXiv:1406.2661, eq. 1 and the remark after Algorithm 1.

    >>> import torch
    >>> score = torch.tensor([-20.0], requires_grad=True)
    >>> bce_generator_loss(score, saturating=True).backward()
    >>> f"{score.grad.item():.2e}"
    '-2.06e-09'
    """
    _check_scores(score_fake)
    if saturating:
        return -F.softplus(score_fake).mean()
    return F.softplus(-score_fake).mean()


def wasserstein_critic_loss(
    score_real: Float[Tensor, " n"], score_fake: Float[Tensor, " m"]
) -> Tensor:
    """Return E D(G(z)) - E D(x), minus the critic's estimate of the earth mover's distance.

    It is a scalar in units of the score. Raises ValueError when scores are not of
    shape (n,). Source: Arjovsky et al., arXiv:1701.07875, Algorithm 1, line 5.

    >>> import torch
    >>> float(wasserstein_critic_loss(torch.tensor([3.0]), torch.tensor([1.0])))
    -2.0
    """
    _check_scores(score_real, score_fake)
    return score_fake.mean() - score_real.mean()


def wasserstein_generator_loss(score_fake: Float[Tensor, " n"]) -> Tensor:
    """Return -E D(G(z)), the generator's loss against a Wasserstein critic.

    It is a scalar in units of the score. Raises ValueError when scores are not of
    shape (n,). Source: Arjovsky et al., arXiv:1701.07875, Algorithm 1, line 10.

    >>> import torch
    >>> float(wasserstein_generator_loss(torch.tensor([1.0, 3.0])))
    -2.0
    """
    _check_scores(score_fake)
    return -score_fake.mean()


def of_fakes(loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor | None, Tensor], Tensor]:
    """Return a function of (score_real, score_fake) that ignores the first."""
    return lambda _score_real, score_fake: loss(score_fake)


def _check_scores(*scores: Tensor) -> None:
    for score in scores:
        if score.ndim != 1:
            raise ValueError(f"scores have shape (n,), one per point; got {tuple(score.shape)}")
