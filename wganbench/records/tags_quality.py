"""Tags of the generator's samples: distances, modes, fidelity."""

from __future__ import annotations

import math

from wganbench.records.tag import AT_LEAST_0, SHARE, Tag
from wganbench.records.tags_training import GAN, OURS, WGAN

VEEGAN = "VEEGAN, arXiv:1705.07761"
PACGAN = "PacGAN, arXiv:1712.04086"
SELF_COND = "self-conditioned GAN, arXiv:2006.10728"
PR = "arXiv:1904.06991"
DC = "arXiv:2002.09797"
FID = "arXiv:1706.08500, eq. 6, computed by torchmetrics"
KID = "arXiv:1801.01401, computed by torchmetrics"

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
        "min over plans of E|x - G(z)|_2, solved exactly on n against n points, 5 000 at most",
        "down", "evaluate", f"{WGAN}, eq. 1",
        "Exact between the samples, biased upwards between the distributions: read it beside the "
        "floor, at the same n. From dimension 8 on the bias dominates and it is no true distance.",
        bounds=AT_LEAST_0),
    Tag("wasserstein/floor", "what a perfect generator would score: the distance between two "
        "samples of reals", "data unit",
        "mean exact W1 of independent real-real pairs at the same n",
        "none", "evaluate", OURS,
        "A property of the data and n, not of the run. On mixtures it is the imbalance of mode "
        "counts: a few per cent of stray samples hide in it.", bounds=AT_LEAST_0),
    Tag("wasserstein/excess", "exact distance above the floor", "data unit",
        "wasserstein/exact - wasserstein/floor", "down", "evaluate", OURS,
        "Slightly negative values are noise, not a generator better than the data."),
    Tag("wasserstein/sliced", "mean earth mover's distance over one-dimensional projections",
        "data unit",
        "mean over random unit directions v of W1(v.x, v.G(z))", "down", "evaluate",
        "Rabin et al. 2011; Bonneel et al. 2015",
        "Smaller than exact W1 by a factor that grows with dimension; compare only values of the "
        "same dimension, n and number of projections.", bounds=AT_LEAST_0),
)

DIVERGENCE = (
    Tag("divergence/js_estimate", "the discriminator's estimate of the Jensen-Shannon divergence "
        "from held-out reals and fresh fakes; BCE only, else empty", "nat",
        "ln 2 - objective/2", "none", "evaluate", f"{GAN}, Theorem 1; {WGAN}, Fig. 4",
        "A lower bound, at most ln 2 = .693. Once it is saturated there it says nothing of how far "
        "apart the distributions are, and it need not fall as samples improve.",
        bounds=(-math.inf, math.log(2))),
)

MODES = (
    Tag("modes/covered", "modes that at least one high-quality sample hits; of pictures, classes "
        "that the judge sees in at least one", "modes",
        "#{k: some sample within 3 sigma of mode k and nearest to it}; "
        "pictures: #{k: judge(G(z)) = k for some z}",
        "up", "evaluate", f"{VEEGAN}; {PACGAN}; {SELF_COND}",
        "Nearly free: a ring without modes scores 8 of 8. Papers differ in n and in box or ball "
        "(the protocol): compare within one protocol, and read it with modes/high_quality. A "
        "judge puts every picture into some class, noise too: read it with modes/high_quality "
        "and fidelity/fid, and against modes/ceiling.", bounds=AT_LEAST_0),
    Tag("modes/coverage", "share of modes that get at least a fifth of their fair share of "
        "high-quality samples", "share",
        "#{k: high-quality samples at mode k >= n w_k / 5} / K", "up", "evaluate", OURS,
        "Stricter than modes/covered and not found in papers; verdicts rest on it. Where "
        "n w_k <= 5, as with 1 000 modes at n = 2 500, one sample is enough.", bounds=SHARE),
    Tag("modes/high_quality", "share of samples within three sigma of a mode; of pictures, of "
        "those whose class the judge is sure of", "share",
        "#{samples within 3 sigma of their nearest mode} / n; pictures: #{largest class "
        "probability of G(z) >= what 95 % of the held-out pictures reach} / n",
        "up", "evaluate", f"{VEEGAN}; {PACGAN}; for pictures {OURS}",
        "A perfect sampler scores .989 (ball) or .995 (box) in two dimensions, .95 on pictures "
        "(.857 on three stacked ones), not 1; a generator that has collapsed to one mode scores "
        "high, and a judge may be sure of what is no picture at all.", bounds=SHARE),
    Tag("modes/kl", "how unevenly the modes are hit; empty when no sample is of high quality",
        "nat",
        "KL(shares of samples by nearest mode | mixture weights), 0 log 0 = 0; pictures: shares "
        "by the judge's class | class shares of the held-out pictures, uniform for stacked ones",
        "down", "evaluate", f"{VEEGAN}; {PACGAN}; {SELF_COND}",
        "Over high-quality samples or all of them: the protocol decides; of pictures all. Its "
        "floor is about (K - 1)/(2 n), and all samples on one mode of K equal ones give ln K.",
        bounds=AT_LEAST_0, beside="modes/high_quality"),
    Tag("modes/entropy", "how many classes the fakes are spread over, as a logarithm; pictures "
        "only", "nat",
        "-sum_k p_k ln p_k over the judge's classes of n fakes, 0 ln 0 = 0",
        "none", "evaluate", OURS,
        "ln K when all classes are equally frequent, 0 on one class. High for noise too, when the "
        "judge scatters it over the classes.", bounds=AT_LEAST_0),
    Tag("modes/ceiling", "classes that the same judge sees in as many real held-out pictures; "
        "pictures only", "modes",
        "#{k: judge(x) = k for some x among n held-out reals}",
        "none", "evaluate", f"{OURS}; cf. {PACGAN}",
        "What a perfect generator would be credited with at this n, not a property of the run. A "
        "small n misses classes (of 1 000 equal ones 2 500 points hit 918 on average) and a weak "
        "judge invents some.", bounds=AT_LEAST_0),
)

FIDELITY = (
    Tag("fidelity/precision", "share of fakes that lie among the reals; of pictures, by features",
        "share",
        "share of fakes inside some real's k-nearest-neighbour ball", "up", "evaluate", PR,
        "High for a collapsed generator. Outlying reals have huge balls and inflate it. Pictures "
        "are compared by the judge's (or evaluate.features') features, at most as many as are "
        "held out, for a repeated one would be its own neighbour.", bounds=SHARE),
    Tag("fidelity/recall", "share of reals that lie among the fakes", "share",
        "share of reals inside some fake's k-nearest-neighbour ball", "up", "evaluate", PR,
        "Outlying fakes have huge balls and inflate it. Identical distributions score below 1.",
        bounds=SHARE),
    Tag("fidelity/density", "how many reals' neighbourhoods a fake lies in, on average", "ratio",
        "mean over fakes of #{reals whose k-ball holds it} / k", "up", "evaluate", DC,
        "May exceed 1; about 1 is a perfect match, above 1 fakes crowd where reals are dense.",
        bounds=AT_LEAST_0),
    Tag("fidelity/coverage", "share of reals that have a fake in their neighbourhood", "share",
        "share of reals whose k-ball holds at least one fake", "up", "evaluate", DC,
        "Identical distributions score .969 at k = 5 and equal n, not 1.", bounds=SHARE),
    Tag("fidelity/fid", "Frechet distance between Gaussians fitted to features of n held-out "
        "reals and n fakes, in float64; pictures only", "squared feature unit",
        "|mu_r - mu_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^1/2)", "down", "evaluate", FID,
        "Biased upwards at small n, and the features here are those of a judge trained on this "
        "data (or of evaluate.features), not Inception's: compare with our values at the same n "
        "and the same judge, and with its floor, never with published ones.", bounds=AT_LEAST_0),
    Tag("fidelity/fid_floor", "the same distance between real pictures: what a generator that "
        "only repeats training pictures would score", "squared feature unit",
        "FID of n training pictures, drawn with replacement, against the same n held-out reals",
        "none", "evaluate", OURS,
        "A property of the data, the judge and n, not of the run. The judge has seen the training "
        "pictures and not the held-out ones, which is part of it.", bounds=AT_LEAST_0),
    Tag("fidelity/kid", "squared maximum mean discrepancy between features of held-out reals and "
        "fakes, in float64; pictures only", "kernel unit",
        "mean k(x, x') + mean k(y, y') - 2 mean k(x, y), k(x, y) = (x.y / f + 1)^3, no point with "
        "itself; all reals that are not repeated, mean over blocks of as many, 1 000 at most",
        "down", "final", KID,
        "Without bias: equal distributions give 0 on average, slightly negative values are noise. "
        "The features are the judge's (or evaluate.features'): never compare with published "
        "values."),
    Tag("fidelity/nearest_train", "how far fakes are from the nearest training picture; "
        "pictures only", "data unit",
        "mean over at most 1 000 fakes of min over training pictures |G(z) - x|_2, all pixels in "
        "[-1, 1]; stacked: root of the sum of squares over the channels, each to its own nearest",
        "none", "final", OURS,
        "Well below fidelity/nearest_train_floor the generator repeats what it was trained on; "
        "well above it fakes do not look like the data. Pixels only: a copy moved by one pixel "
        "is far away, and blurred pictures are near to everything.", bounds=AT_LEAST_0),
    Tag("fidelity/nearest_train_floor", "how far real held-out pictures are from the nearest "
        "training picture: what new pictures score", "data unit",
        "fidelity/nearest_train of held-out pictures, each once, in place of the fakes",
        "none", "final", OURS,
        "A property of the data, not of the run.", bounds=AT_LEAST_0),
)
# fmt: on
