"""Rows of the table for critics that are held against a known truth: a density, a potential."""

from __future__ import annotations

from wganbench.tags.tag import AT_LEAST_0, Tag

BENCHMARK = "arXiv:2206.07767, Sec. 5"
CORRELATION = (-1.0, 1.0)

# fmt: off
KNOWN = (
    Tag("critic/density_rank", "whether the critic orders single samples as their density does; "
        "data with a known density only, else empty", "rank correlation, -1 to 1",
        "Spearman's correlation of D(x) with log p(x) over held-out reals and fakes together",
        "none", "evaluate", "wganbench; cf. arXiv:1810.06758",
        "Not the critic's quality: a perfect BCE critic is log p - log q, which is flat where the "
        "generator q is right, and a perfect Wasserstein critic follows distances, not densities. "
        "A critic that only tells reals from fakes already orders the two groups. Near 0 it can "
        "still train a good generator; empty where D is the same everywhere.",
        bounds=CORRELATION,
        label="order by density", chart="Critic: Order of single samples"),
    Tag("critic/distance_rank", "whether the critic orders single samples by their nearness to "
        "the data; data with a known density only, else empty", "rank correlation, -1 to 1",
        "Spearman's correlation of D(x) with -(distance to the nearest mode, or without modes to "
        "the nearest other held-out real) over held-out reals and fakes together",
        "none", "evaluate", "wganbench",
        "Blind to weights: it credits a score that sends all samples to one mode. A high value "
        "says that D can tell a bad sample from a good one, not that its gradient leads there, "
        "nor that a D(x) compares between critics.",
        bounds=CORRELATION,
        label="order by distance", chart="Critic: Order of single samples"),
    Tag("critic/potential_cosine", "how far the critic's gradient points along that of the known "
        "potential; only where the fakes are draws of a source law at a known distance, else "
        "empty", "cosine, -1 to 1",
        "E<grad D, grad D*> / (E|grad D|^2 E|grad D*|^2)^1/2 over the source law, D* the potential",
        "up", "evaluate", BENCHMARK,
        "Blind to the length of the gradient: 1 does not say that D measures W1, nor that D is "
        "1-Lipschitz. Not a mean of single cosines: steep points weigh more. Of a generator that "
        "is being trained the truth is not known, so it is empty there.",
        bounds=CORRELATION,
        label="agreement with the potential", chart="Critic: Against the known potential"),
    Tag("critic/l2_uvp", "how far the critic's gradient is from that of the known potential; only "
        "where the fakes are draws of a source law at a known distance, else empty", "per cent",
        "100 E|grad D - grad D*|^2 / E|grad D*|^2 over the source law, D* the potential",
        "down", "evaluate", f"{BENCHMARK}; the name is that of arXiv:2106.01954",
        "A critic of slope 0 has 100, so 100 is bad and not half right. It blames the length of "
        "the gradient, which a penalty of a small coefficient leaves wrong, as much as its "
        "direction. The benchmark's L2 is this by 100.", bounds=AT_LEAST_0,
        label="distance to the potential's gradient", chart="Critic: Against the known potential",
        log_scale=True),
)
# fmt: on
