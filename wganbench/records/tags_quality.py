"""Tags of the generator's samples: distances, modes, fidelity."""

from __future__ import annotations

from wganbench.records.tag import Tag
from wganbench.records.tags_training import GAN, OURS, WGAN

VEEGAN = "VEEGAN, arXiv:1705.07761"
PACGAN = "PacGAN, arXiv:1712.04086"
SELF_COND = "self-conditioned GAN, arXiv:2006.10728"
PR = "arXiv:1904.06991"
DC = "arXiv:2002.09797"

# fmt: off
WASSERSTEIN = (
    Tag("wasserstein/estimate", "how far the critic holds reals and fakes apart on its batch",
        "score",
        "E D(x) - E D(G(z)), without the penalty", "none", "log", f"{WGAN}, Algorithm 1 and Fig. 3",
        "Not W1: it scales with the critic's slope (c L under clipping, L + L^2/(2 lambda) under "
        "gp for two points L apart), and under BCE it is a difference of logits. Compare its "
        "course within a run only."),
    Tag("wasserstein/estimate_normalized", "the estimate with the critic rescaled to slope 1; "
        "empty for BCE", "data unit",
        "(E D(x) - E D(G(z))) / critic/lipschitz, on held-out reals and fresh fakes",
        "down", "evaluate", "arXiv:2103.01678; arXiv:2206.07767",
        "Roughly a lower bound on W1, never W1 itself: the critic is not optimal, and the largest "
        "slope seen is smaller than the true one."),
    Tag("wasserstein/exact", "earth mover's distance between held-out reals and fakes",
        "data unit",
        "min over plans of E|x - G(z)|_2, solved exactly on n against n points",
        "down", "evaluate", f"{WGAN}, eq. 1",
        "Exact between the samples, biased upwards between the distributions: read it beside the "
        "floor, at the same n. From dimension 8 on the bias dominates and it is no true distance."),
    Tag("wasserstein/floor", "what a perfect generator would score: the distance between two "
        "samples of reals", "data unit",
        "mean exact W1 of independent real-real pairs at the same n",
        "none", "evaluate", OURS,
        "A property of the data and n, not of the run. On mixtures it is the imbalance of mode "
        "counts: a few per cent of stray samples hide in it."),
    Tag("wasserstein/excess", "exact distance above the floor", "data unit",
        "wasserstein/exact - wasserstein/floor", "down", "evaluate", OURS,
        "Slightly negative values are noise, not a generator better than the data."),
    Tag("wasserstein/sliced", "mean earth mover's distance over one-dimensional projections",
        "data unit",
        "mean over random unit directions v of W1(v.x, v.G(z))", "down", "evaluate",
        "Rabin et al. 2011; Bonneel et al. 2015",
        "Smaller than exact W1 by a factor that grows with dimension; compare only values of the "
        "same dimension, n and number of projections."),
)

DIVERGENCE = (
    Tag("divergence/js_estimate", "the discriminator's estimate of the Jensen-Shannon divergence "
        "from held-out reals and fresh fakes; BCE only, else empty", "nat",
        "ln 2 - objective/2", "none", "evaluate", f"{GAN}, Theorem 1; {WGAN}, Fig. 4",
        "A lower bound, at most ln 2 = .693. Once it is saturated there it says nothing of how far "
        "apart the distributions are, and it need not fall as samples improve."),
)

MODES = (
    Tag("modes/covered", "modes that at least one high-quality sample hits", "modes",
        "#{k: some sample within 3 sigma of mode k and nearest to it}", "up", "evaluate",
        f"{VEEGAN}; {PACGAN}; {SELF_COND}",
        "Nearly free: a ring without modes scores 8 of 8. Papers differ in n and in box or ball "
        "(the protocol): compare within one protocol, and read it with modes/high_quality."),
    Tag("modes/coverage", "share of modes that get at least a fifth of their fair share of "
        "high-quality samples", "share",
        "#{k: high-quality samples at mode k >= n w_k / 5} / K", "up", "evaluate", OURS,
        "Stricter than modes/covered and not found in papers; verdicts rest on it."),
    Tag("modes/high_quality", "share of samples within three sigma of a mode", "share",
        "#{samples within 3 sigma of their nearest mode} / n", "up", "evaluate",
        f"{VEEGAN}; {PACGAN}",
        "A perfect sampler scores .989 (ball) or .995 (box) in two dimensions, not 1; a generator "
        "that has collapsed to one mode scores high."),
    Tag("modes/kl", "how unevenly the modes are hit; empty when no sample is of high quality",
        "nat",
        "KL(shares of samples by nearest mode | mixture weights), 0 log 0 = 0",
        "down", "evaluate", f"{PACGAN}; {SELF_COND}",
        "Over high-quality samples or all of them: the protocol decides. Its floor is "
        "(K - 1)/(2 n), and all samples on one mode of K equal ones give ln K."),
)

FIDELITY = (
    Tag("fidelity/precision", "share of fakes that lie among the reals", "share",
        "share of fakes inside some real's k-nearest-neighbour ball", "up", "evaluate", PR,
        "High for a collapsed generator. Outlying reals have huge balls and inflate it."),
    Tag("fidelity/recall", "share of reals that lie among the fakes", "share",
        "share of reals inside some fake's k-nearest-neighbour ball", "up", "evaluate", PR,
        "Outlying fakes have huge balls and inflate it. Identical distributions score below 1."),
    Tag("fidelity/density", "how many reals' neighbourhoods a fake lies in, on average", "ratio",
        "mean over fakes of #{reals whose k-ball holds it} / k", "up", "evaluate", DC,
        "May exceed 1; about 1 is a perfect match, above 1 fakes crowd where reals are dense."),
    Tag("fidelity/coverage", "share of reals that have a fake in their neighbourhood", "share",
        "share of reals whose k-ball holds at least one fake", "up", "evaluate", DC,
        "Identical distributions score .969 at k = 5 and equal n, not 1."),
    Tag("fidelity/fid", "Frechet distance between Gaussians fitted to features of reals and fakes; "
        "images only", "squared feature unit",
        "|mu_r - mu_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^1/2)", "down", "final", "arXiv:1706.08500",
        "Biased upwards at small n, and the features here are our own, not Inception's: compare "
        "with our values at the same n, never with published ones."),
)
# fmt: on
