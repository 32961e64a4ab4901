"""Rows of the table of tags: distances between samples, divergences, the critic against them."""

from __future__ import annotations

import math

from wganbench.tags.tag import AT_LEAST_0, ENERGY_OF, EVERYWHERE, GAN, OURS, WGAN, Tag

# fmt: off
WASSERSTEIN = (
    Tag("wasserstein/estimate", "how far the critic holds reals and fakes apart on its batch",
        "score",
        "E D(x) - E D(G(z)), without the penalty", "none", "log", f"{WGAN}, Algorithm 1 and Fig. 3",
        "Not W1: it scales with the critic's slope (c L under clipping, L + L^2/(2 lambda) under "
        "gp for two points L apart, L^2/(2 lambda) under gp0), and under BCE and relativistic "
        "losses it is a difference of logits. Hinge holds it near 2 and least squares near 1 (2 "
        "for -1/1) while the critic wins, whatever the distance. Compare its course within a run "
        "only.",
        label="critic's estimate",
        chart="Estimate against exact W1: Estimate, in units of the score"),
    Tag("wasserstein/estimate_normalized", "the estimate with the critic rescaled to slope 1; "
        "empty for BCE and for packs", "data unit",
        "(E D(x) - E D(G(z))) / critic/lipschitz, on held-out reals and fresh fakes",
        "none", "evaluate", "arXiv:2103.01678; arXiv:2206.07767",
        "Roughly a lower bound on W1, never W1 itself: the critic is not optimal, and the largest "
        "slope seen is smaller than the true one. Any function rescaled to slope 1 gives such a "
        "bound, so a critic of another loss has one too; a poor bound says nothing of its samples.",
        label="critic's estimate, slope 1", chart="Estimate against exact W1: Distances"),
    Tag("wasserstein/c_transform", "the part of exact W1 that the critic's scores of reals prove; "
        "empty for BCE and for packs", "data unit",
        "E D(x) + E D^c(G(z)) with D^c(y) = min over reals of |x - y|_2 - D(x)",
        "none", "evaluate", "arXiv:1910.03875",
        "At most wasserstein/exact of the same points, whatever the critic's slope, and equal to "
        "it for a Kantorovich potential: what is missing is the critic's fault, not the "
        "generator's. With slopes far below 1, as under clip, it is near the mean distance to the "
        "nearest real; with slopes far above 1 it is negative. Empty above 5 000 points.",
        label="W1 proved by the critic", chart="Estimate against exact W1: Distances"),
    Tag("wasserstein/exact", "earth mover's distance between held-out reals and fakes",
        "data unit",
        "min over plans of E|x - G(z)|_2, solved exactly on n against n points, 5 000 at most",
        "down", "evaluate", f"{WGAN}, eq. 1",
        "Exact between the samples, biased upwards between the distributions: read it beside the "
        "floor, at the same n. From dimension 4 on the bias decides, and it is no true distance.",
        bounds=AT_LEAST_0,
        label="exact W1", chart="Estimate against exact W1: Distances", rank=5,
        views=EVERYWHERE, live="W1 {:.3g}",
        floor="wasserstein/floor", of_generator=True),
    Tag("wasserstein/floor", "what a perfect generator would score: the distance between two "
        "samples of reals", "data unit",
        "mean exact W1 of pairs of a held-out and a fresh sample of reals at the same n",
        "none", "evaluate", OURS,
        "A property of the data and n, not of the run. On mixtures it is the imbalance of mode "
        "counts: a few per cent of stray samples hide in it. Held-out samples of mixtures have "
        "the modes' exact proportions. data.train_points has no part in it where training points "
        "are drawn from the target; from a file the fresh sample repeats those that are trained "
        "on.", bounds=AT_LEAST_0,
        label="floor of W1", chart="Estimate against exact W1: Distances", rank=11,
        views=("result", "hparams")),
    Tag("wasserstein/excess", "exact distance above the floor; below dimension 4 only",
        "data unit",
        "wasserstein/exact - wasserstein/floor", "down", "evaluate", OURS,
        "Slightly negative values are noise, not a generator better than the data.",
        label="exact W1 above its floor", rank=9, views=("hparams",), of_generator=True),
    Tag("wasserstein/symmetric", "exact distance without what two samples of the data have too",
        "data unit",
        "W(x, G(z)) - [W(x, x') + W(G(z), G(z'))] / 2, of halves of n reals and n fakes, both "
        "pairings averaged", "down", "final", f"{OURS}; in the form of arXiv:1706.00292",
        "0 in expectation for a perfect generator in any dimension, and somewhat below 0 on "
        "mixtures, whose held-out modes have exact proportions: read it against its floor and "
        "spread, and take slightly negative values for noise. It orders generators rightly where "
        "exact W1 in floors does not, but in many dimensions it is far smaller than W1.",
        label="symmetric W1", rank=10, views=("result", "hparams"),
        floor="wasserstein/symmetric_floor", of_generator=True),
    Tag("wasserstein/symmetric_floor", "what a perfect generator would score on average in the "
        "symmetric distance", "data unit",
        "mean wasserstein/symmetric of pairs of a held-out and a fresh sample of reals at the "
        "same n",
        "none", "final", OURS,
        "A property of the data and n, not of the run. 0 but for noise, and somewhat below 0 on "
        "mixtures, whose held-out modes have exact proportions.",
        label="floor of symmetric W1"),
    Tag("wasserstein/symmetric_spread", "how much a perfect generator's symmetric distance varies "
        "from one sample to the next", "data unit",
        "standard deviation of wasserstein/symmetric over the pairs of its floor",
        "none", "final", OURS,
        "That of one evaluation; the mean of k final draws varies 1/sqrt(k) as much.",
        bounds=AT_LEAST_0, label="spread of symmetric W1's floor"),
    Tag("wasserstein/sliced", "mean earth mover's distance over one-dimensional projections",
        "data unit",
        "mean over random unit directions v of W1(v.x, v.G(z))", "down", "evaluate",
        "Rabin et al. 2011; Bonneel et al. 2015",
        "Smaller than exact W1 by a factor that grows with dimension; compare only values of the "
        "same dimension, n and number of projections.", bounds=AT_LEAST_0,
        label="sliced W1", rank=12, views=("result", "hparams"), of_generator=True),
)

ENERGY = (
    Tag("energy/distance", "energy distance between held-out reals and fakes", "data unit",
        "2 E|x - G(z)|_2 - E|x - x'|_2 - E|G(z) - G(z')|_2, over pairs of different points",
        "down", "evaluate", ENERGY_OF,
        "Without bias in any dimension: a perfect generator scores 0 on average, and somewhat "
        "below 0 on mixtures, whose held-out modes have exact proportions; slightly negative "
        "values are noise. No earth mover's distance: two points at distance L have 2 L, "
        "and narrow errors in many dimensions count little.",
        label="energy distance", chart="Estimate against exact W1: Energy distance", rank=6,
        views=EVERYWHERE, live="energy {:.3g}", floor="energy/floor", of_generator=True),
    Tag("energy/floor", "what a perfect generator would score on average in the energy distance",
        "data unit",
        "mean energy/distance of pairs of a held-out and a fresh sample of reals at the same n",
        "none", "evaluate", OURS,
        "A property of the data and n, not of the run. 0 but for noise, and somewhat below 0 on "
        "mixtures, whose held-out modes have exact proportions: what matters is the spread beside "
        "it.",
        label="floor of the energy distance",
        chart="Estimate against exact W1: Energy distance", rank=7, views=("result",)),
    Tag("energy/spread", "how much a perfect generator's energy distance varies from one sample "
        "to the next", "data unit",
        "standard deviation of energy/distance over the pairs of its floor",
        "none", "evaluate", OURS,
        "A distance within about two spreads of the floor cannot be told from that of a perfect "
        "generator at this n.", bounds=AT_LEAST_0,
        label="spread of the energy distance's floor", rank=8, views=("result",)),
)

DIVERGENCE = (
    Tag("divergence/js_estimate", "the discriminator's estimate of the Jensen-Shannon divergence "
        "from held-out reals and fresh fakes; BCE only, else empty", "nat",
        "ln 2 - objective/2", "none", "evaluate", f"{GAN}, Theorem 1; {WGAN}, Fig. 4",
        "A lower bound, at most ln 2 = 0.693. Once it is saturated there it says nothing of how "
        "far apart the distributions are, and it need not fall as samples improve. With packs it "
        "is that of the packs' distributions, which is larger. Smoothed and relativistic losses "
        "have none.",
        bounds=(-math.inf, math.log(2)),
        label="Jensen-Shannon estimate",
        chart="Estimate against exact W1: Jensen-Shannon estimate (BCE)"),
)
# fmt: on


BENCHMARK = "arXiv:2206.07767, Sec. 5"
CORRELATION = (-1.0, 1.0)

# fmt: off
KNOWN = (
    Tag("critic/density_rank", "whether the critic orders single samples as their density does; "
        "data with a known density only and no packs, else empty", "rank correlation, -1 to 1",
        "Spearman's correlation of D(x) with log p(x) over held-out reals and fakes together",
        "none", "evaluate", f"{OURS}; cf. arXiv:1810.06758",
        "Not the critic's quality: a perfect BCE critic is log p - log q, which is flat where the "
        "generator q is right, and a perfect Wasserstein critic follows distances, not densities. "
        "A critic that only tells reals from fakes already orders the two groups. Near 0 it can "
        "still train a good generator; empty where D is the same everywhere.",
        bounds=CORRELATION,
        label="order by density", chart="Critic: Order of single samples"),
    Tag("critic/distance_rank", "whether the critic orders single samples by their nearness to "
        "the data; data with a known density only and no packs, else empty",
        "rank correlation, -1 to 1",
        "Spearman's correlation of D(x) with -(distance to the nearest mode, or without modes to "
        "the nearest other held-out real) over held-out reals and fakes together",
        "none", "evaluate", OURS,
        "Blind to weights: it credits a score that sends all samples to one mode. A high value "
        "says that D can tell a bad sample from a good one, not that its gradient leads there, "
        "nor that a D(x) compares between critics.",
        bounds=CORRELATION,
        label="order by distance", chart="Critic: Order of single samples"),
    Tag("critic/potential_cosine", "how far the critic's gradient points along that of the known "
        "potential; only where the fakes are draws of a source at a known distance, else "
        "empty", "cosine, -1 to 1",
        "E<grad D, grad D*> / (E|grad D|^2 E|grad D*|^2)^1/2 over the source, D* the potential",
        "up", "evaluate", BENCHMARK,
        "Blind to the length of the gradient: 1 does not say that D measures W1, nor that D is "
        "1-Lipschitz. Not a mean of single cosines: steep points weigh more. Of a generator that "
        "is being trained the truth is not known, so no training run has it: it is measured from "
        "Python, as in scripts/funnels.py.",
        bounds=CORRELATION,
        label="agreement with the potential", chart="Critic: Against the known potential"),
    Tag("critic/l2_uvp", "how far the critic's gradient is from that of the known potential; only "
        "where the fakes are draws of a source at a known distance, else empty", "per cent",
        "100 E|grad D - grad D*|^2 / E|grad D*|^2 over the source, D* the potential",
        "down", "evaluate", f"{BENCHMARK}; the name is that of arXiv:2106.01954",
        "A critic of slope 0 has 100, so 100 is bad and not half right. It blames the length of "
        "the gradient, which a penalty of a small coefficient leaves wrong, as much as its "
        "direction. The benchmark's L2 is this by 100. No training run has it: it is measured from "
        "Python, as in scripts/funnels.py.", bounds=AT_LEAST_0,
        label="distance to the potential's gradient", chart="Critic: Against the known potential",
        log_scale=True),
)
# fmt: on
