"""Tags of the critic: its scores, its slope, and what it tells the generator."""

from __future__ import annotations

from wganbench.records.tag import AT_LEAST_0, SHARE, Tag
from wganbench.records.tags_training import GAN, GP, OURS, PRINCIPLED, WGAN

SLOPE_CAVEAT = (
    "Read it against its target: 1 for gp, at most 1 for lp, some K for clip (clipping ensures "
    "some K, not 1; slopes of 3e-4 at c = .01 and 4.5 at c = .1 were measured), none for BCE."
)

# fmt: off
CRITIC = (
    Tag("critic/score_real", "mean raw output of the critic on its batch of reals", "score",
        "mean D(x)", "none", "log", f"{GAN}; {WGAN}",
        "A raw score, never a probability. Only the difference to critic/score_fake means "
        "something under a Wasserstein loss."),
    Tag("critic/score_fake", "mean raw output of the critic on its batch of fakes", "score",
        "mean D(G(z))", "none", "log", f"{GAN}; {WGAN}",
        "A raw score, never a probability."),
    Tag("critic/accuracy", "how often the discriminator is right, reals and fakes weighing the "
        "same; BCE only, else empty", "share",
        "(share of reals with score > 0 + share of fakes with score < 0) / 2",
        "none", "evaluate", PRINCIPLED,
        "1 means that the discriminator has won, .5 that it cannot tell or has collapsed: neither "
        "says that the samples are good. The zero of a Wasserstein critic means nothing.",
        bounds=SHARE),
    Tag("critic/saturation", "share of fakes that the discriminator rejects with certainty; BCE "
        "only, else empty", "share",
        "share of fakes with sigmoid(D(G(z))) < .01", "none", "evaluate", PRINCIPLED,
        "Saturation silences the saturating generator alone; the non-saturating one then gets its "
        "strongest feedback.", bounds=SHARE),
    Tag("critic/feedback", "how much of the critic's score reaches the generator",
        "loss per score",
        "mean over fakes of n |dL_G/dD(G(z))|: saturating sigmoid(s), non-saturating sigmoid(-s), "
        "W 1", "none", "evaluate", f"{GAN}; {PRINCIPLED}",
        "Always 1 for a Wasserstein loss, whatever the critic's quality. Times the slope at fakes "
        "it bounds what the generator feels.", bounds=AT_LEAST_0),
    Tag("critic/lipschitz", "largest slope of the critic that was seen", "score per data unit",
        "max |grad D|_2 over equal numbers of interpolates, reals and fakes",
        "target", "evaluate", GP,
        "A lower bound of the true Lipschitz constant: it grows with n, so n is fixed. "
        + SLOPE_CAVEAT, bounds=AT_LEAST_0),
    Tag("critic/slope_mean", "mean slope of the critic on interpolates", "score per data unit",
        "mean |grad D(x_hat)|_2, x_hat = eps x + (1 - eps) G(z)", "target", "evaluate",
        f"{GP}, eq. 3",
        SLOPE_CAVEAT + " A mean near 1 does not make the critic 1-Lipschitz.", bounds=AT_LEAST_0),
    Tag("critic/slope_std", "spread of the critic's slope on interpolates", "score per data unit",
        "standard deviation of |grad D(x_hat)|_2", "none", "evaluate", f"{GP}, eq. 3",
        "Under gp a large spread means that the penalty is not obeyed even if the mean is 1.",
        bounds=AT_LEAST_0),
    Tag("critic/slope_fake", "mean slope of the critic where the generator stands",
        "score per data unit",
        "mean |grad D(G(z))|_2", "none", "evaluate", f"{WGAN}, Fig. 2",
        "The slope that the generator climbs; multiply by critic/feedback to compare losses. "
        + SLOPE_CAVEAT, bounds=AT_LEAST_0),
    Tag("critic/direction", "whether the generator is told to move the way optimal transport "
        "would", "cosine, -1 to 1",
        "mean cosine of -dL_G/dx_i and (partner of x_i in the exact transport plan) - x_i",
        "up", "evaluate", f"{OURS}; compare arXiv:2206.07767",
        "Near the floor the partners are chance, so it falls to about 0 when all is well; a "
        "critic that is no W1 potential may still train a good generator.", bounds=(-1.0, 1.0)),
    Tag("critic/weights_at_clip", "share of the critic's parameters that sit at the clipping "
        "bound; clip only, else empty", "share",
        "share of parameters with |w| >= c", "none", "evaluate", f"{GP}, Fig. 1b",
        "Clipping piles the weights at -c and c; that bounds the slope by some K which depends on "
        "c, depth and width, and does not make the critic 1-Lipschitz.", bounds=SHARE),
)
# fmt: on
