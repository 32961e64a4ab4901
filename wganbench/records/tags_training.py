"""Tags of the training itself: losses, gradient norms, what it cost, how fast it went."""

from __future__ import annotations

from wganbench.records.tag import AT_LEAST_0, Tag

GAN = "arXiv:1406.2661"
WGAN = "arXiv:1701.07875"
GP = "arXiv:1704.00028"
PRINCIPLED = "arXiv:1701.04862"
OURS = "wganbench"

# fmt: off
LOSS = (
    Tag("loss/critic", "what the critic minimises on its batch, penalty included", "loss",
        "objective(D(x), D(G(z))) + loss/penalty",
        "none", "log", f"{GAN}; {WGAN}, Algorithm 1; {GP}, Algorithm 1",
        "No measure of sample quality, and no common scale: never compare it between losses."),
    Tag("loss/generator", "what the generator minimises on its batch", "loss",
        "BCE softplus(-D(G(z))), saturating -softplus(D(G(z))), W -D(G(z)); mean over z",
        "none", "log", f"{GAN}; {WGAN}, Algorithm 1",
        "A Wasserstein critic is free up to a constant, so the level means nothing and a falling "
        "curve need not mean better samples."),
    Tag("loss/penalty", "the penalty as added to the critic's loss, coefficient included; empty "
        "for a loss without one", "loss",
        "gp: lambda E(|grad D(x_hat)| - 1)^2; lp: lambda E max(0, |grad D(x_hat)| - 1)^2; "
        "R1: gamma/2 E|grad D(x)|^2",
        "down", "log", f"{GP}, eq. 3; arXiv:1709.08894; arXiv:1801.04406",
        "The two-sided formula (gp) asks for slope 1, the one-sided (lp) for at most 1. It is "
        "added to what the critic minimises; it applies to the critic, not to the generator.",
        bounds=AT_LEAST_0),
)

GRAD_NORM = (
    Tag("grad_norm/critic", "norm of the gradient of the critic's loss with respect to the "
        "critic's parameters", "loss per parameter unit",
        "|dL_D/dw|_2", "none", "log", GP,
        "Scales with the loss: compare its course within a run, not its level between losses.",
        bounds=AT_LEAST_0),
    Tag("grad_norm/generator", "norm of the gradient of the generator's loss with respect to the "
        "generator's parameters", "loss per parameter unit",
        "|dL_G/dtheta|_2", "none", "log", f"{PRINCIPLED}, Fig. 2",
        "Small means vanished only while the samples are still bad; otherwise it means converged.",
        bounds=AT_LEAST_0),
    Tag("grad_norm/sample", "how strongly the critic tells one generated point to move",
        "loss per data unit",
        "mean_i n |dL_G/dx_i|_2", "none", "evaluate", f"{PRINCIPLED}, Fig. 2; {WGAN}, Fig. 2",
        "Vanished is said only if it is under 1 % of the run's own maximum while exact W1 exceeds "
        "twice the floor. \"BCE's gradient vanishes\" holds for the saturating generator; that of "
        "the non-saturating one, which everybody trains, grows.", bounds=AT_LEAST_0),
    Tag("grad_norm/critic_layer_<i>", "norm of the gradient of the critic's loss with respect to "
        "the parameters of layer i (0 is nearest to the data)", "loss per parameter unit",
        "|dL_D/dw_i|_2", "none", "log", f"{GP}, Fig. 1b",
        "The paper's figure shows gradients with respect to activations, this the parameters.",
        bounds=AT_LEAST_0),
    Tag("grad_norm/generator_layer_<i>", "norm of the gradient of the generator's loss with "
        "respect to the parameters of layer i (0 is nearest to the noise)",
        "loss per parameter unit",
        "|dL_G/dtheta_i|_2", "none", "log", GP,
        "Layers of different width hold different numbers of parameters.", bounds=AT_LEAST_0),
)

BUDGET = (
    Tag("budget/critic_steps", "critic steps so far", "steps",
        "sum of n_critic over generator steps", "none", "log", f"{WGAN}, Algorithm 1",
        "n_critic differs between losses: equal generator steps are not equal cost.",
        bounds=AT_LEAST_0),
    Tag("budget/examples", "real examples shown to the critic so far, repeats counted", "examples",
        "budget/critic_steps x batch_size", "none", "log", OURS, bounds=AT_LEAST_0),
    Tag("budget/gradient_evaluations", "gradients computed so far, so that losses can be compared "
        "at equal cost", "gradients",
        "critic steps (times 3 with a penalty: slope at x_hat and its derivative) + "
        "generator steps", "none", "log", OURS,
        "A count, not a time: a penalised step costs more than two plain ones on some machines.",
        bounds=AT_LEAST_0),
    Tag("budget/seconds", "time this run has trained so far, over all its sessions", "s",
        "wall-clock time", "none", "log", OURS,
        "Runs of one stack train at the same time and share it: compare machines with it, "
        "not losses. Compiling is not in it: compile_seconds of run.json.", bounds=AT_LEAST_0),
)

SPEED = (
    Tag("speed/steps_per_second", "generator steps per second since the last logged step", "1/s",
        "steps / seconds", "up", "log", OURS,
        "Says nothing of quality; time of compiling is not in it.",
        bounds=AT_LEAST_0),
)
# fmt: on
