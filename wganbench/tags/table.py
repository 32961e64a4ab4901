"""The table of tags: every quantity a run records, how to read it, and where it is shown."""

from __future__ import annotations

from wganbench.tags.distances import DIVERGENCE, ENERGY, KNOWN, WASSERSTEIN
from wganbench.tags.tag import (
    AT_LEAST_0,
    DC,
    EVERYWHERE,
    FID,
    GAN,
    GP,
    KID,
    OURS,
    PACGAN,
    PR,
    PRINCIPLED,
    SELF_COND,
    SHARE,
    VEEGAN,
    WGAN,
    Tag,
)

SLOPE_CAVEAT = (
    "Read it against its target: 1 for gp and, around the reals, for dragan; at most 1 for lp; 0 "
    "for gp0, for R1 at the reals and for R2 at the fakes; some K for clip (clipping ensures some "
    "K, not 1; the study `lipschitz` measured 4e-4 at c = 0.01 and up to 6 at c = 0.1); none for "
    "BCE. Spectral norm bounds it by 1 in an MLP without another norm, but not through "
    "convolutions; gradient normalisation where the critic is piecewise linear. A packed critic's "
    "is that of a whole pack."
)

# fmt: off
LOSS = (
    Tag("loss/critic", "what the critic minimises on its batch, penalty included", "loss",
        "objective(D(x), D(G(z))) + loss/penalty",
        "none", "log", f"{GAN}; {WGAN}, Algorithm 1; {GP}, Algorithm 1",
        "No measure of sample quality, and no common scale: never compare it between losses.",
        label="critic's loss", chart="Losses: Critic"),
    Tag("loss/generator", "what the generator minimises on its batch", "loss",
        "BCE softplus(-D(G(z))), saturating -softplus(D(G(z))), W and hinge -D(G(z)); mean over z; "
        "of others: wganbench list losses NAME",
        "none", "log", f"{GAN}; {WGAN}, Algorithm 1",
        "A Wasserstein critic is free up to a constant, so the level means nothing and a falling "
        "curve need not mean better samples. A relativistic loss sees differences of scores alone: "
        "at ln 2 the critic cannot tell the pairs apart, well trained or not.",
        label="generator's loss", chart="Losses: Generator"),
    Tag("loss/penalty", "the penalty as added to the critic's loss, coefficient included; empty "
        "for a loss without one", "loss",
        "gp: lambda E(|grad D(x_hat)| - 1)^2; lp: lambda E max(0, |grad D(x_hat)| - 1)^2; "
        "R1: gamma/2 E|grad D(x)|^2; several are added",
        "none", "log", f"{GP}, eq. 3; arXiv:1709.08894; arXiv:1801.04406",
        "The two-sided formula (gp) asks for slope 1, the one-sided (lp) for at most 1. It is "
        "added to what the critic minimises; it applies to the critic, not to the generator.",
        bounds=AT_LEAST_0,
        label="penalty", chart="Losses: Critic"),
)

CRITIC = (
    Tag("critic/score_real", "mean raw output of the critic on its batch of reals", "score",
        "mean D(x)", "none", "log", f"{GAN}; {WGAN}",
        "A raw score, never a probability. Only the difference to critic/score_fake means "
        "something under a Wasserstein loss.",
        label="score of reals", chart="Critic: Scores"),
    Tag("critic/score_fake", "mean raw output of the critic on its batch of fakes", "score",
        "mean D(G(z))", "none", "log", f"{GAN}; {WGAN}",
        "A raw score, never a probability.",
        label="score of fakes", chart="Critic: Scores"),
    Tag("critic/accuracy", "how often the discriminator is right, reals and fakes weighing the "
        "same; BCE only, else empty", "share",
        "(share of reals with score > 0 + share of fakes with score < 0) / 2",
        "none", "evaluate", PRINCIPLED,
        "1 means that the discriminator has won, 0.5 that it cannot tell or has collapsed: neither "
        "says that the samples are good. The zero of a Wasserstein critic means nothing.",
        bounds=SHARE,
        label="accuracy", chart="Critic: Saturation and feedback"),
    Tag("critic/saturation", "share of fakes that the discriminator rejects with certainty; BCE "
        "only, else empty", "share",
        "share of fakes with sigmoid(D(G(z))) < 0.01", "none", "evaluate", PRINCIPLED,
        "Saturation silences the saturating generator alone; the non-saturating one then gets its "
        "strongest feedback.", bounds=SHARE,
        label="saturation", chart="Critic: Saturation and feedback"),
    Tag("critic/feedback", "how strongly the generator's loss reacts to the score of one fake",
        "loss per score",
        "mean over fakes of n |dL_G/dD(G(z))|: saturating sigmoid(s), non-saturating sigmoid(-s), "
        "W 1", "none", "evaluate", f"{GAN}; {PRINCIPLED}",
        "Always 1 for a Wasserstein loss, whatever the critic's quality. For each fake, feedback "
        "times slope is the gradient that reaches it; the mean of these products is "
        "grad_norm/sample.", bounds=AT_LEAST_0,
        label="feedback", chart="Critic: Saturation and feedback"),
    Tag("critic/lipschitz", "largest slope of the critic that was seen", "score per data unit",
        "max |grad D|_2 over equal numbers of interpolates, reals and fakes",
        "target", "evaluate", GP,
        "A lower bound of the true Lipschitz constant: it grows with n, so n is fixed. "
        + SLOPE_CAVEAT, bounds=AT_LEAST_0,
        label="largest slope seen", chart="Critic: Slope"),
    Tag("critic/slope_mean", "mean slope of the critic on interpolates", "score per data unit",
        "mean |grad D(x_hat)|_2, x_hat = eps x + (1 - eps) G(z)", "target", "evaluate",
        f"{GP}, eq. 3",
        SLOPE_CAVEAT + " A mean near 1 does not make the critic 1-Lipschitz.", bounds=AT_LEAST_0,
        label="critic's slope", chart="Critic: Slope", rank=20, views=("result", "hparams")),
    Tag("critic/slope_std", "spread of the critic's slope on interpolates", "score per data unit",
        "standard deviation of |grad D(x_hat)|_2", "none", "evaluate", f"{GP}, eq. 3",
        "Under gp a large spread means that the penalty is not obeyed even if the mean is 1.",
        bounds=AT_LEAST_0,
        label="spread of the slope"),
    Tag("critic/slope_fake", "mean slope of the critic where the generator stands",
        "score per data unit",
        "mean |grad D(G(z))|_2", "none", "evaluate", f"{WGAN}, Fig. 2",
        "The slope that the generator climbs. To compare losses read grad_norm/sample, which has "
        "the loss's feedback in it. "
        + SLOPE_CAVEAT, bounds=AT_LEAST_0,
        label="slope at fakes", chart="Critic: Slope"),
    Tag("critic/direction", "whether the critic sends the generator the way optimal transport "
        "would", "cosine, -1 to 1",
        "mean cosine of -dL_G/dx_i and (partner of x_i in the exact transport plan) - x_i",
        "none", "evaluate", f"{OURS}; compare arXiv:2206.07767",
        "Read it only where exact W1 exceeds two floors: nearer the partners are chance, so it "
        "falls to about 0 when all is well, and a lower value ranks nothing. Even above them "
        "compare it with its ceiling, which is measured at the end of a run only. A critic that is "
        "no W1 potential may still train a good generator.",
        bounds=(-1.0, 1.0),
        label="agreement with transport", chart="Critic: Direction"),
    Tag("critic/direction_ceiling", "about what the exact potential would score in "
        "critic/direction on these samples; empty below two floors of exact W1",
        "cosine, -1 to 1",
        "of two halves of the samples: square root of the mean cosine, over fakes x_i, of (partner "
        "in its own half's plan) - x_i and (the real that the other half's exact potential "
        "chooses for x_i) - x_i; 0 where the mean is negative",
        "none", "final", f"{OURS}; compare Spearman 1910",
        "From halves, so in the plane slightly too low; in many dimensions too high. It is a "
        "property of the samples, not of the critic.", bounds=SHARE,
        label="ceiling of the agreement", chart="Critic: Direction"),
    Tag("critic/weights_at_clip", "share of the critic's parameters that sit at the clipping "
        "bound; clip only, else empty", "share",
        "share of parameters with |w| >= c", "none", "evaluate", f"{GP}, Fig. 1b",
        "Clipping piles the weights at -c and c; that bounds the slope by some K which depends on "
        "c, depth and width, and does not make the critic 1-Lipschitz.", bounds=SHARE,
        label="weights at the clipping bound", chart="Critic: Weights at the clipping bound"),
)

GRAD_NORM = (
    Tag("grad_norm/critic", "norm of the gradient of the critic's loss with respect to the "
        "critic's parameters", "loss per parameter unit",
        "|dL_D/dw|_2", "none", "log", GP,
        "Scales with the loss: compare its course within a run, not its level between losses.",
        bounds=AT_LEAST_0,
        label="critic's gradient norm", chart="Gradient norms: Networks", rank=31,
        views=("curves",), log_scale=True),
    Tag("grad_norm/generator", "norm of the gradient of the generator's loss with respect to the "
        "generator's parameters", "loss per parameter unit",
        "|dL_G/dtheta|_2", "none", "log", f"{PRINCIPLED}, Fig. 2",
        "Small means vanished only while the samples are still bad; otherwise it means converged.",
        bounds=AT_LEAST_0,
        label="generator's gradient norm", chart="Gradient norms: Networks", rank=30,
        views=("curves",), log_scale=True),
    Tag("grad_norm/sample", "how strongly the critic tells one generated point to move",
        "loss per data unit",
        "mean_i n |dL_G/dx_i|_2", "none", "evaluate", f"{PRINCIPLED}, Fig. 2; {WGAN}, Fig. 2",
        "Vanished is said only if it is under 1 % of the run's own maximum while exact W1 exceeds "
        "twice the floor. \"BCE's gradient vanishes\" was measured for the saturating generator on "
        "two lines that do not overlap, not on ring8; that of the non-saturating one did not fall.",
        bounds=AT_LEAST_0,
        label="gradient norm at one sample", chart="Gradient norms: One generated point"),
    Tag("grad_norm/critic_layer_<i>", "norm of the gradient of the critic's loss with respect to "
        "the parameters of layer i (0 is nearest to the data)", "loss per parameter unit",
        "|dL_D/dw_i|_2", "none", "log", f"{GP}, Fig. 1b",
        "The paper's figure shows gradients with respect to activations, this the parameters.",
        bounds=AT_LEAST_0,
        chart="Gradient norms: Critic by layer"),
    Tag("grad_norm/generator_layer_<i>", "norm of the gradient of the generator's loss with "
        "respect to the parameters of layer i (0 is nearest to the noise)",
        "loss per parameter unit",
        "|dL_G/dtheta_i|_2", "none", "log", GP,
        "Layers of different width hold different numbers of parameters.", bounds=AT_LEAST_0,
        chart="Gradient norms: Generator by layer"),
)

MODES = (
    Tag("modes/covered", "modes that at least one high-quality sample hits; of images, classes "
        "that the judge sees in at least one", "modes",
        "#{k: some sample within 3 sigma of mode k and nearest to it}; "
        "images: #{k: judge(G(z)) = k for some z}",
        "up", "evaluate", f"{VEEGAN}; {PACGAN}; {SELF_COND}",
        "Nearly free: a ring without modes scores 8 of 8. Papers differ in n and in box or ball "
        "(the protocol): compare within one protocol, and read it with modes/high_quality. A "
        "judge puts every image into some class, noise too: read it with modes/high_quality "
        "and fidelity/fid, and against modes/ceiling.", bounds=AT_LEAST_0,
        label="modes covered", chart="Coverage: Modes", rank=1,
        views=EVERYWHERE, live="modes {:.0f}", of_generator=True),
    Tag("modes/coverage", "share of modes that get at least a fifth of their fair share of "
        "high-quality samples", "share",
        "#{k: high-quality samples at mode k >= n w_k / 5} / K", "up", "evaluate", OURS,
        "Stricter than modes/covered and not found in papers; verdicts rest on it. Where "
        "n w_k <= 5, as with 1 000 modes at n = 2 500, one sample is enough.", bounds=SHARE,
        label="modes with a fair share", chart="Coverage: Shares", rank=2, views=("hparams",),
        of_generator=True),
    Tag("modes/high_quality", "share of samples within three sigma of a mode; of images, of "
        "those whose class the judge is sure of", "share",
        "#{samples within 3 sigma of their nearest mode} / n; images: #{largest class "
        "probability of G(z) >= what 95 % of the held-out images reach} / n",
        "up", "evaluate", f"{VEEGAN}; {PACGAN}; for images {OURS}",
        "A perfect sampler scores 0.989 (ball) or 0.995 (box) in two dimensions, 0.95 on images "
        "(0.857 on three stacked ones), not 1; a generator that has collapsed to one mode scores "
        "high, and a judge may be sure of what is no image at all.", bounds=SHARE,
        label="high quality", chart="Coverage: Shares", rank=3,
        views=("result", "headline", "hparams", "curves"), of_generator=True),
    Tag("modes/kl", "how unevenly the modes are hit; empty for points when no sample is of high "
        "quality",
        "nat",
        "KL(shares of samples by nearest mode | mixture weights), 0 log 0 = 0; images: shares "
        "by the judge's class | class shares of the held-out images, uniform for stacked ones",
        "down", "evaluate", f"{VEEGAN}; {PACGAN}; {SELF_COND}",
        "Over high-quality samples or all of them: the protocol decides; of images all. Its "
        "floor is about (K - 1)/(2 n), and all samples on one mode of K equal ones give ln K.",
        bounds=AT_LEAST_0, beside="modes/high_quality",
        label="KL of the modes' shares", chart="Coverage: KL to the modes' weights", rank=13,
        views=("result", "headline", "hparams"), of_generator=True),
    Tag("modes/entropy", "how many classes the fakes are spread over, as a logarithm; images "
        "only", "nat",
        "-sum_k p_k ln p_k over the judge's classes of n fakes, 0 ln 0 = 0",
        "none", "evaluate", OURS,
        "ln K when all classes are equally frequent, 0 on one class. High for noise too, when the "
        "judge scatters it over the classes.", bounds=AT_LEAST_0,
        label="entropy of the classes", chart="Images: Entropy of the classes", rank=16,
        views=("hparams",), of_generator=True),
    Tag("modes/ceiling", "classes that the same judge sees in as many real held-out images; "
        "images only", "modes",
        "#{k: judge(x) = k for some x among n held-out reals}",
        "none", "evaluate", f"{OURS}; cf. {PACGAN}",
        "What a perfect generator would be credited with at this n, not a property of the run. A "
        "small n misses classes (of 1 000 equal ones 2 500 points hit 918 on average) and a weak "
        "judge invents some.", bounds=AT_LEAST_0,
        label="the judge's ceiling", chart="Coverage: Modes", rank=4, views=("result",),
        of_generator=True),
)

FIDELITY = (
    Tag("fidelity/precision", "share of fakes that lie among the reals; of images, by features",
        "share",
        "share of fakes inside some real's k-nearest-neighbour ball", "up", "evaluate", PR,
        "High for a collapsed generator. Outlying reals have huge balls and inflate it. Images "
        "are compared by the judge's (or evaluate.features') features, at most as many as are "
        "held out, for a repeated one would be its own neighbour.", bounds=SHARE,
        label="precision", chart="Images: Precision and recall", rank=18, views=("hparams",),
        of_generator=True),
    Tag("fidelity/recall", "share of reals that lie among the fakes", "share",
        "share of reals inside some fake's k-nearest-neighbour ball", "up", "evaluate", PR,
        "Outlying fakes have huge balls and inflate it. Identical distributions score below 1.",
        bounds=SHARE,
        label="recall", chart="Images: Precision and recall", rank=19, views=("hparams",),
        of_generator=True),
    Tag("fidelity/density", "how many reals' neighbourhoods a fake lies in, on average", "ratio",
        "mean over fakes of #{reals whose k-ball holds it} / k", "up", "evaluate", DC,
        "May exceed 1; about 1 is a perfect match, above 1 fakes crowd where reals are dense.",
        bounds=AT_LEAST_0,
        label="density", chart="Images: Density and coverage", of_generator=True),
    Tag("fidelity/coverage", "share of reals that have a fake in their neighbourhood", "share",
        "share of reals whose k-ball holds at least one fake", "up", "evaluate", DC,
        "Identical distributions score 0.969 at k = 5 and equal n, not 1.", bounds=SHARE,
        label="coverage", chart="Images: Density and coverage", of_generator=True),
    Tag("fidelity/fid", "Frechet distance between Gaussians fitted to features of n held-out "
        "reals and n fakes, in float64; images only", "squared feature unit",
        "|mu_r - mu_f|^2 + tr(S_r + S_f - 2 (S_r S_f)^1/2)", "down", "evaluate", FID,
        "Biased upwards at small n, and the features here are those of a judge trained on this "
        "data (or of evaluate.features), not Inception's: compare with our values at the same n "
        "and the same judge, and with its floor, never with published ones.", bounds=AT_LEAST_0,
        label="FID", chart="Images: FID", rank=14, views=EVERYWHERE,
        live="FID {:.2f}", floor="fidelity/fid_floor", log_scale=True, of_generator=True),
    Tag("fidelity/fid_floor", "the same distance between real images: what a generator that "
        "only repeats training images would score", "squared feature unit",
        "FID of n training images, drawn with replacement, against the same n held-out reals",
        "none", "evaluate", OURS,
        "A property of the data, the judge and n, not of the run. The judge has seen the training "
        "images and not the held-out ones, which is part of it.", bounds=AT_LEAST_0,
        label="floor of FID", chart="Images: FID", rank=15, views=("result",), of_generator=True),
    Tag("fidelity/kid", "squared maximum mean discrepancy between features of held-out reals and "
        "fakes, in float64; images only", "kernel unit",
        "mean k(x, x') + mean k(y, y') - 2 mean k(x, y), k(x, y) = (x.y / f + 1)^3, no point with "
        "itself; all reals that are not repeated, mean over blocks of as many, 1 000 at most",
        "down", "final", KID,
        "Without bias: equal distributions give 0 on average, slightly negative values are noise. "
        "The features are the judge's (or evaluate.features'): never compare with published "
        "values.",
        label="KID", rank=17, views=("hparams",), of_generator=True),
    Tag("fidelity/nearest_train", "how far fakes are from the nearest training image; "
        "images only", "data unit",
        "mean over at most 1 000 fakes of min over training images |G(z) - x|_2, all pixels in "
        "[-1, 1]; stacked: root of the sum of squares over the channels, each to its own nearest",
        "none", "final", OURS,
        "Well below fidelity/nearest_train_floor the generator repeats what it was trained on; "
        "well above it fakes do not look like the data. Pixels only: a copy moved by one pixel "
        "is far away, and blurred images are near to everything.", bounds=AT_LEAST_0,
        label="distance to the nearest training image", floor="fidelity/nearest_train_floor",
        of_generator=True),
    Tag("fidelity/nearest_train_floor", "how far real held-out images are from the nearest "
        "training image: what new images score", "data unit",
        "fidelity/nearest_train of held-out images, each once, in place of the fakes",
        "none", "final", OURS,
        "A property of the data, not of the run.", bounds=AT_LEAST_0,
        label="that of held-out images", of_generator=True),
)

BUDGET = (
    Tag("budget/critic_steps", "critic steps so far", "steps",
        "sum of n_critic over generator steps", "none", "log", f"{WGAN}, Algorithm 1",
        "n_critic differs between losses: equal generator steps are not equal cost.",
        bounds=AT_LEAST_0,
        label="critic steps"),
    Tag("budget/examples", "real examples shown to the critic so far, repeats counted", "examples",
        "budget/critic_steps x batch_size", "none", "log", OURS, bounds=AT_LEAST_0,
        label="real examples shown to the critic"),
    Tag("budget/gradient_evaluations", "gradients computed so far, so that losses can be compared "
        "at equal cost", "gradients",
        "critic steps (times 1 + 2 for each penalty: slopes at its points and their derivative) + "
        "generator steps (times 1 + 2 unrolled)", "none", "log", OURS,
        "A count, not a time: a penalised step costs more than two plain ones on some machines. "
        "The slopes by which gradient normalisation divides are not counted here; budget/passes "
        "has them.",
        bounds=AT_LEAST_0,
        label="gradient evaluations"),
    Tag("budget/passes", "passes of one network over one batch so far, forward or backward: the "
        "compute by which searches and speedruns are equal", "passes",
        "(7 + 4 a penalty) x critic steps + 5 x generator steps, of a piecewise linear critic of "
        "single points; training/passes.py has packs, smooth activations, critics divided by "
        "their gradient, compared scores and unrolled steps", "none", "log", OURS,
        "Counted from the products that a step executes, for networks of equal size.",
        bounds=AT_LEAST_0,
        label="passes of a network"),
    Tag("budget/seconds", "time this run has trained so far, over all its sessions", "s",
        "wall-clock time", "none", "log", OURS,
        "Runs of one stack train at the same time and share it: compare machines with it, "
        "not losses. Compiling is not in it: compile_seconds of run.json.", bounds=AT_LEAST_0,
        label="training time (s)"),
)

SPEED = (
    Tag("speed/steps_per_second", "generator steps per second since the last logged step", "1/s",
        "steps / seconds", "up", "log", OURS,
        "Says nothing of quality; time of compiling is not in it.",
        bounds=AT_LEAST_0,
        label="steps per second", rank=40, views=("live", "result"), live="{:.4g} steps/s"),
)

ROWS: tuple[Tag, ...] = (
    *LOSS, *WASSERSTEIN, *ENERGY, *DIVERGENCE, *CRITIC, *KNOWN, *GRAD_NORM, *MODES, *FIDELITY,
    *BUDGET,
    *SPEED,
)
# fmt: on
"""All rows in the order of the columns of metrics.csv."""
