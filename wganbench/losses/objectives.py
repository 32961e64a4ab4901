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


def smoothed_bce_critic_loss(
    score_real: Float[Tensor, " n"], score_fake: Float[Tensor, " m"], target: float
) -> Tensor:
    """Return the binary cross-entropy with ``target`` in place of 1 for reals, in nats.

    It is target E softplus(-r) + (1 - target) E softplus(r) + E softplus(f), written so that it
    does not overflow. Fakes keep the target 0. Raises ValueError when scores are not of shape (n,).
    Source: Salimans et al., arXiv:1606.03498, section 3.4.
    """
    return bce_critic_loss(score_real, score_fake) + (1 - target) * score_real.mean()


def hinge_critic_loss(score_real: Float[Tensor, " n"], score_fake: Float[Tensor, " m"]) -> Tensor:
    """Return E max(0, 1 - r) + E max(0, 1 + f): no gradient where r >= 1 and f <= -1.

    Raises ValueError when scores are not of shape (n,).
    Source: Lim and Ye, arXiv:1705.02894; Miyato et al., arXiv:1802.05957, eq. 16.

    >>> import torch
    >>> float(hinge_critic_loss(torch.tensor([0.5, 2.0]), torch.tensor([-0.5, 1.0])))
    1.5
    """
    _check_scores(score_real, score_fake)
    return F.relu(1 - score_real).mean() + F.relu(1 + score_fake).mean()


def squares_critic_loss(
    score_real: Float[Tensor, " n"], score_fake: Float[Tensor, " m"], real: float, fake: float
) -> Tensor:
    """Return E (r - real)^2 / 2 + E (f - fake)^2 / 2 for the targets ``real`` and ``fake``.

    Raises ValueError when scores are not of shape (n,).
    Source: Mao et al., arXiv:1611.04076, eq. 2.

    >>> import torch
    >>> scores = torch.tensor([0.5, 2.0]), torch.tensor([-0.5, 1.0])
    >>> float(squares_critic_loss(*scores, 1, 0)), float(squares_critic_loss(*scores, 1, -1))
    (0.625, 1.375)
    """
    _check_scores(score_real, score_fake)
    return ((score_real - real).square().mean() + (score_fake - fake).square().mean()) / 2


def squares_generator_loss(score_fake: Float[Tensor, " n"], target: float) -> Tensor:
    """Return E (f - target)^2 / 2, whose gradient grows with the distance to the target.

    Raises ValueError when scores are not of shape (n,). Source: arXiv:1611.04076, eq. 2.

    >>> import torch
    >>> float(squares_generator_loss(torch.tensor([-0.5, 1.0]), 1))
    0.5625
    """
    _check_scores(score_fake)
    return (score_fake - target).square().mean() / 2


def pairing_loss(higher: Float[Tensor, " n"], lower: Float[Tensor, " m"]) -> Tensor:
    """Return E softplus(lower - higher) over pairs i-i: the loss of who wants ``higher`` higher.

    It is ln 2 at equal scores. Raises ValueError unless both scores have the same shape (n,).
    Source: Jolicoeur-Martineau, arXiv:1807.00734, section 4.1 (RSGAN); arXiv:2501.05441, eq. 2.
    """
    _check_scores(higher, lower)
    if higher.shape != lower.shape:
        raise ValueError(
            f"relativistic pairs need as many reals as fakes; got {len(higher)} and {len(lower)}"
        )
    return F.softplus(lower - higher).mean()


def average_loss(higher: Float[Tensor, " n"], lower: Float[Tensor, " m"]) -> Tensor:
    """Return E softplus(-(higher - E lower)) + E softplus(lower - E higher).

    Raises ValueError when scores are not of shape (n,).
    Source: arXiv:1807.00734, section 4.2 (RaSGAN).
    """
    _check_scores(higher, lower)
    return F.softplus(lower.mean() - higher).mean() + F.softplus(lower - higher.mean()).mean()


def of_fakes(loss: Callable[[Tensor], Tensor]) -> Callable[[Tensor | None, Tensor], Tensor]:
    """Return a function of (score_real, score_fake) that ignores the first."""
    return lambda _score_real, score_fake: loss(score_fake)


def roles_swapped(
    loss: Callable[[Tensor, Tensor], Tensor],
) -> Callable[[Tensor | None, Tensor], Tensor]:
    """Return a paired generator's objective: ``loss`` with fakes in the place of reals."""

    def swapped(score_real: Tensor | None, score_fake: Tensor) -> Tensor:
        if score_real is None:
            raise ValueError("a relativistic generator needs the scores of reals")
        return loss(score_fake, score_real)

    return swapped


def _check_scores(*scores: Tensor) -> None:
    for score in scores:
        if score.ndim != 1:
            raise ValueError(f"scores have shape (n,), one per point; got {tuple(score.shape)}")
