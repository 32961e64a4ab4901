"""What is claimed of mode collapse, written down before the deciding seeds were run."""

from __future__ import annotations

from wganbench.studies.claim import Claim

LOST = "1 - exp(-KL of all samples by nearest mode), at tuned settings"
ON_COVERAGE = "effect on coverage, seed by seed"
ORDER = "seeds in which feedback drops before modes are lost, less those in which it does not"
FEDUS = "arXiv:1710.08446"


def lost(
    name: str, text: str, source: str, kind: str, smallest: float, spread: float | None = None
) -> Claim:
    return Claim(name, text, source, kind, LOST, "of the modes", smallest, spread=spread)


def compared(name: str, text: str, source: str, spread: float) -> Claim:
    return Claim(name, text, source, "comparative", ON_COVERAGE, "of the modes", 0.25,
                 spread=spread)  # fmt: skip


def causes(name: str, text: str) -> Claim:
    source = "widely taught, after arXiv:1701.04862, Section 2"
    return Claim(name, text, source, "comparative", ORDER, "of the seeds", 0.5, spread=0.66)


CLAIMS = (
    lost("clip_eliminates", "WGAN with clipping shows no mode collapse", "arXiv:1701.07875, "
         "Section 4.3", "universal", 0.1),
    lost("gp_eliminates", "WGAN-GP eliminates mode collapse", "widely taught, after "
         "arXiv:1704.00028", "universal", 0.1),
    lost("bce_collapses", "The non-saturating GAN loses modes", "arXiv:1705.07761, Table 1",
         "comparative", 0.125, spread=0.15),
    lost("bce_saturating_collapses", "The saturating GAN loses modes", "arXiv:1705.07761, "
         "Table 1", "comparative", 0.125, spread=0.15),
    compared("penalty", "The gradient penalty prevents mode collapse, whatever the objective",
             FEDUS, 0.1),
    compared("objective", "The Wasserstein objective prevents mode collapse, with or without a "
             "penalty", "arXiv:1701.07875, Section 4.3", 0.1),
    compared("penalty_over_objective", "The penalty, not the objective, prevents mode collapse: "
             "BCE with it keeps more modes than W without", FEDUS, 0.15),
    compared("interaction", "The Wasserstein objective needs the penalty more than BCE does",
             "arXiv:1704.00028, Section 4", 0.15),
    Claim("objective_with_penalty", "With the penalty in place, the Wasserstein objective "
          "spreads samples over modes more evenly than BCE", f"{FEDUS}, against it",
          "comparative", "KL of bce_gp less KL of gp, seed by seed", "nats", 0.02, spread=0.02),
    causes("gradient_first_bce", "A vanishing gradient precedes the loss of modes: "
           "non-saturating GAN"),
    causes("gradient_first_bce_saturating", "A vanishing gradient precedes the loss of modes: "
           "saturating GAN"),
)  # fmt: skip
SMALLEST = {claim.name: claim.smallest for claim in CLAIMS}
