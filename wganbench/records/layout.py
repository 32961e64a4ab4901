"""How TensorBoard's custom-scalars page groups the tags."""

from __future__ import annotations

from wganbench.records.tags import tag_regex

CHARTS: dict[str, dict[str, tuple[str, ...]]] = {
    "Coverage": {
        "Modes": ("modes/covered", "modes/ceiling"),
        "Shares": ("modes/coverage", "modes/high_quality"),
        "KL to the modes' weights": ("modes/kl",),
    },
    "Estimate against exact W1": {
        "Distances": (
            "wasserstein/exact",
            "wasserstein/floor",
            "wasserstein/estimate_normalized",
        ),
        "Estimate, in units of the score": ("wasserstein/estimate",),
        "Jensen-Shannon estimate (BCE)": ("divergence/js_estimate",),
    },
    "Pictures": {
        "FID": ("fidelity/fid", "fidelity/fid_floor"),
        "Precision and recall": ("fidelity/precision", "fidelity/recall"),
        "Density and coverage": ("fidelity/density", "fidelity/coverage"),
        "Entropy of the classes": ("modes/entropy",),
    },
    "Gradient norms": {
        "Networks": ("grad_norm/critic", "grad_norm/generator"),
        "One generated point": ("grad_norm/sample",),
        "Critic by layer": ("grad_norm/critic_layer_<i>",),
        "Generator by layer": ("grad_norm/generator_layer_<i>",),
    },
    "Critic": {
        "Slope": ("critic/lipschitz", "critic/slope_mean", "critic/slope_fake"),
        "Scores": ("critic/score_real", "critic/score_fake"),
        "Saturation and feedback": ("critic/accuracy", "critic/saturation", "critic/feedback"),
        "Direction": ("critic/direction",),
        "Weights at the clipping bound": ("critic/weights_at_clip",),
    },
    "Losses": {
        "Critic": ("loss/critic", "loss/penalty"),
        "Generator": ("loss/generator",),
    },
}


def scalar_layout() -> dict[str, dict[str, list[object]]]:
    """The charts in the form of `SummaryWriter.add_custom_scalars`.

    TensorBoard reads each entry as a regular expression that is not anchored
    (``grad_norm/critic`` would also match every layer), so each one is anchored here.
    """
    return {
        group: {
            chart: ["Multiline", [tag_regex(tag) for tag in tags]] for chart, tags in charts.items()
        }
        for group, charts in CHARTS.items()
    }
