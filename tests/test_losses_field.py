"""The losses of the field against figures worked out anew: test scores, slopes, Dirac, two points.

Closed forms and loops in plain Python; nothing here is computed by the package's own formulas.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from wganbench.losses import RECIPES
from wganbench.losses.constraints import TERMS, Points, perturbed
from wganbench.losses.objectives import pairing_loss
from wganbench.losses.recipes import Wrapper, composed
from wganbench.metrics.gradients import js_estimate
from wganbench.networks.pair import packed, spectrally_normalised

R, F = (0.5, 2.0), (-0.5, 1.0)
"""Test scores of reals and fakes."""

ROW = {"r1_gamma": 1.0, "r2_gamma": 1.0, "gp_lambda": 0.35, "div_k": 2.0, "div_p": 6.0}


def scores(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def softplus(t: float) -> float:
    return math.log1p(math.exp(-abs(t))) + max(t, 0.0)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


# Test scores.
def by_hand() -> dict[str, tuple[float, float]]:
    """Critic's and generator's objective of (R, F), a number at a time."""
    averages = mean(list(R)), mean(list(F))
    bce_g = mean([softplus(-f) for f in F])
    smooth = mean([0.9 * softplus(-r) + 0.1 * softplus(r) for r in R])
    return {
        "hinge": (mean([max(0, 1 - r) for r in R]) + mean([max(0, 1 + f) for f in F]), -0.25),
        "lsgan": (
            mean([(r - 1) ** 2 / 2 for r in R]) + mean([f**2 / 2 for f in F]),
            mean([(f - 1) ** 2 / 2 for f in F]),
        ),
        "lsgan_pearson": (
            mean([(r - 1) ** 2 / 2 for r in R]) + mean([(f + 1) ** 2 / 2 for f in F]),
            mean([f**2 / 2 for f in F]),
        ),
        "rpgan": (
            mean([softplus(f - r) for r, f in zip(R, F, strict=True)]),
            mean([softplus(r - f) for r, f in zip(R, F, strict=True)]),
        ),
        "ragan": (
            mean([softplus(averages[1] - r) for r in R])
            + mean([softplus(f - averages[0]) for f in F]),
            mean([softplus(averages[0] - f) for f in F])
            + mean([softplus(r - averages[1]) for r in R]),
        ),
        "bce_smooth": (smooth + mean([softplus(f) for f in F]), bce_g),
    }


@pytest.mark.parametrize(
    ("loss", "critic", "generator"),
    [
        ("hinge", 1.5, -0.25),
        ("lsgan", 0.625, 0.5625),
        ("lsgan_pearson", 1.375, 0.3125),
        ("rpgan", 0.313262, 1.313262),
        ("ragan", 0.736164, 2.736164),
        ("bce_smooth", 1.319172, 0.643669),
    ],
)
def test_objectives_of_the_test_scores(loss: str, critic: float, generator: float) -> None:
    objective = RECIPES[loss].objective
    real, fake = scores(*R), scores(*F)
    found = objective.critic(real, fake).item(), objective.generator(real, fake).item()
    assert found == pytest.approx(by_hand()[loss], rel=1e-12)
    assert found == pytest.approx((critic, generator), abs=1e-6)


def test_hinge_stops_at_its_margins_and_its_generator_never_does() -> None:
    real, fake = scores(1.0, 1.5, 0.5), scores(-1.0, -3.0, -0.5)
    on_real, on_fake = torch.autograd.grad(
        RECIPES["hinge"].objective.critic(real, fake), (real, fake)
    )
    assert on_real.tolist() == pytest.approx([0, 0, -1 / 3])
    assert on_fake.tolist() == pytest.approx([0, 0, 1 / 3])
    (pulls,) = torch.autograd.grad(RECIPES["hinge"].objective.generator(None, fake), fake)
    assert pulls.tolist() == pytest.approx([-1 / 3] * 3)


def test_squares_at_scores_of_zero() -> None:
    objective, zero = RECIPES["lsgan"].objective, scores(0.0, 0.0)
    loss = objective.generator(None, zero)
    assert (objective.critic(zero, zero).item(), loss.item()) == (0.5, 0.5)
    assert torch.autograd.grad(loss, zero)[0].sum().item() == pytest.approx(-1)


def test_relativistic_pairs_are_pairs() -> None:
    """Each fake has its own real, and the order of the pairs counts nothing else."""
    objective, equal = RECIPES["rpgan"].objective, scores(0.3, -2.0, 5.0)
    assert objective.critic(equal, equal).item() == pytest.approx(math.log(2))
    fake = scores(*F)
    (pulls,) = torch.autograd.grad(objective.generator(scores(*R), fake), fake)
    # r - f = 1 in both pairs: the slope is -sigmoid(1) / 2.
    assert pulls.tolist() == pytest.approx([-0.365529] * 2, abs=1e-6)
    turned = objective.critic(scores(*R[::-1]), scores(*F)).item()
    assert turned == pytest.approx(mean([softplus(-2.5), softplus(0.5)]))
    with pytest.raises(ValueError, match="as many reals as fakes"):
        pairing_loss(torch.zeros(3), torch.zeros(2))
    with pytest.raises(ValueError, match="needs the scores of reals"):
        objective.generator(None, fake)


def test_a_smoothed_target_bounds_the_score_where_there_are_no_fakes() -> None:
    best = scores(math.log(9))
    far = scores(-40.0)
    loss = RECIPES["bce_smooth"].objective.critic(best, far)
    assert torch.autograd.grad(loss, best)[0].item() == pytest.approx(0, abs=1e-12)


# The linear critic with weight (3, 4), whose slope is 5 everywhere.
@pytest.mark.parametrize(
    ("term", "coefficients", "expected"),
    [
        ("gp", {"gp_lambda": 0.7}, 0.7 * 16),
        ("lp", {"gp_lambda": 0.7}, 0.7 * 16),
        ("gp0", {"gp_lambda": 0.7}, 0.7 * 25),
        ("r1", {"r1_gamma": 2.0}, 25),
        ("r2", {"r2_gamma": 2.0}, 25),
        ("dragan", {"gp_lambda": 1.0}, 16),
        ("div", {"div_k": 2.0, "div_p": 6.0}, 31250),
    ],
)
def test_terms_of_a_linear_critic(
    term: str, coefficients: dict[str, float], expected: float
) -> None:
    weight = torch.tensor([3.0, 4.0], dtype=torch.float64)
    x, x_fake, noise = (torch.randn(5, 2, dtype=torch.float64) for _ in range(3))
    eps = torch.rand(5, dtype=torch.float64)
    value = TERMS[term](lambda p: p @ weight, x, x_fake, eps, coefficients, noise)
    assert value.item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("term", list(TERMS))
def test_terms_take_slopes_where_they_say(term: str) -> None:
    """D(x) = |x|^2 / 2 has slope |x|; one point of each kind, in one dimension."""
    x, x_fake, eps = torch.tensor([[2.0], [4.0]]), torch.tensor([[8.0]] * 2), torch.full((2,), 0.5)
    noise = torch.tensor([[1.0], [0.0]])
    at = {
        Points.INTERPOLATES: [5.0, 6.0],
        Points.REALS: [2.0, 4.0],
        Points.FAKES: [8.0, 8.0],
        Points.PERTURBED: [2.5, 4.0],  # the deviation of (2, 4) is 1
    }[TERMS[term].points]
    cost: Callable[[float], float] = {
        "gp": lambda s: (s - 1) ** 2, "lp": lambda s: max(0.0, s - 1) ** 2, "gp0": lambda s: s**2,
        "r1": lambda s: s**2 / 2, "r2": lambda s: s**2 / 2, "dragan": lambda s: (s - 1) ** 2,
        "div": lambda s: s**3,
    }[term]  # fmt: skip
    coefficients = dict.fromkeys(TERMS[term].names, 1.0) | {"div_p": 3.0}
    value = TERMS[term](lambda p: p.square().sum(1) / 2, x, x_fake, eps, coefficients, noise)
    assert value.item() == pytest.approx(mean([cost(slope) for slope in at]), rel=1e-6)


def test_perturbed_reals_do_not_depend_on_the_fakes() -> None:
    assert perturbed(torch.tensor([[0.0, 4.0]]), torch.ones(1, 2)).tolist() == [[1.0, 5.0]]
    with pytest.raises(ValueError, match="needs noise"):
        TERMS["dragan"](lambda p: p[:, 0], *[torch.ones(1, 1)] * 2, torch.ones(1), ROW)


# Dirac-GAN: a Python loop of closed-form gradients, against the recipe's autograd.
def sigmoid(t: float) -> float:
    return 1 / (1 + math.exp(-t))


# Of D = psi x, reals at 0 (score 0) and the fake at theta (score s = psi theta): -dL_G/ds and
# -dL_D/ds, and the critic's pull on psi by its penalty.
Pulls = tuple[Callable[[float], float], Callable[[float], float], Callable[[float], float]]
CLOSED: dict[str, Pulls] = {
    "hinge": (lambda s: 1.0, lambda s: -1.0 if s > -1 else 0.0, lambda psi: 0.0),
    "lsgan": (lambda s: 1 - s, lambda s: -s, lambda psi: 0.0),
    "lsgan_pearson": (lambda s: -s, lambda s: -(s + 1), lambda psi: 0.0),
    "rpgan": (lambda s: sigmoid(-s), lambda s: -sigmoid(s), lambda psi: 0.0),
    "rpgan_r1r2": (lambda s: sigmoid(-s), lambda s: -sigmoid(s), lambda psi: -0.3 * psi),
    "bce_r1": (lambda s: sigmoid(-s), lambda s: -sigmoid(s), lambda psi: -0.3 * psi),
    "gp0": (lambda s: 1.0, lambda s: -1.0, lambda psi: -0.7 * psi),
    "lp": (lambda s: 1.0, lambda s: -1.0,
           lambda psi: -0.7 * max(0.0, abs(psi) - 1) * math.copysign(1, psi)),
}  # fmt: skip
GAMMAS = {"rpgan_r1r2": {"r1_gamma": 0.15, "r2_gamma": 0.15}, "bce_r1": {"r1_gamma": 0.3},
          "gp0": {"gp_lambda": 0.35}, "lp": {"gp_lambda": 0.35},
          "wgan_div": {"div_k": 2.0, "div_p": 6.0}}  # fmt: skip


def closed_radius(loss: str, alternating: bool) -> float:
    theta, psi = 1.0, -1.0
    of_generator, of_critic, of_penalty = CLOSED[loss]
    for _ in range(500):
        before = theta
        theta += 0.2 * of_generator(psi * theta) * psi
        seen = theta if alternating else before
        psi += 0.2 * (of_critic(psi * seen) * seen + of_penalty(psi))
    return math.hypot(theta, psi)


def trained(
    loss: str, alternating: bool, psi_0: float = -1.0, rate: float = 0.2, steps: int = 500
) -> tuple[float, float]:
    """Return theta and psi after the steps from (1, psi_0)."""
    recipe, coefficients = RECIPES[loss], GAMMAS.get(loss, {})
    theta, psi = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1.0, psi_0))
    real, eps = torch.zeros(1, 1, dtype=torch.float64), torch.full((1,), 0.5, dtype=torch.float64)

    def critic(x: Tensor) -> Tensor:
        weights = {"weight": psi.reshape(1, 1)}
        if recipe.wrapper is Wrapper.SPECTRAL:
            weights = spectrally_normalised(weights)
        return (x @ weights["weight"].T)[:, 0]

    def generator_pull() -> Tensor:
        loss = recipe.objective.generator(critic(real), critic(theta.reshape(1, 1)))
        return torch.autograd.grad(loss, theta)[0]

    def critic_pull() -> Tensor:
        fake = theta.detach().reshape(1, 1)
        loss = recipe.objective.critic(critic(real), critic(fake))
        if recipe.penalties:
            loss = loss + recipe.penalty(critic, real, fake, eps, coefficients)
        return torch.autograd.grad(loss, psi)[0]

    for _ in range(steps):
        pull = generator_pull()
        other = None if alternating else critic_pull()
        with torch.no_grad():
            theta.sub_(rate * pull)
        other = critic_pull() if other is None else other
        with torch.no_grad():
            psi.sub_(rate * other)
    return theta.item(), psi.item()


@pytest.mark.parametrize(
    ("loss", "simultaneous", "alternating"),
    [
        ("hinge", 1.70492, 1.39786),
        ("lsgan", 1.186, 1.18794),
        ("lsgan_pearson", 1.31795, 1.30368),
        ("rpgan", 0.640207, 0.283923),
        ("rpgan_r1r2", 2.21196e-6, 1.49942e-7),
        ("bce_r1", 2.21196e-6, 1.49942e-7),
        ("gp0", 3.8947e-12, 5.54e-17),
        ("lp", 1.64787, 1.03916),
    ],
)
def test_dirac_gan_ends_where_it_should(loss: str, simultaneous: float, alternating: float) -> None:
    for turns, radius in ((False, simultaneous), (True, alternating)):
        found = math.hypot(*trained(loss, turns))
        assert found == pytest.approx(closed_radius(loss, turns), rel=1e-6, abs=1e-16)
        assert found == pytest.approx(radius, rel=1e-3)


@pytest.mark.parametrize("alternating", [False, True])
def test_wgan_div_is_too_stiff_for_the_rate_of_the_others_on_dirac(alternating: bool) -> None:
    """The pull 12 psi^5 overshoots: its slope 60 psi^4 times the rate exceeds 2 at psi = -1.

    From there |psi| grows as its fifth power. At a rate of 0.01 the game is held.
    """
    found = trained("wgan_div", alternating, steps=20)
    assert not all(math.isfinite(value) for value in found)
    theta, psi = 1.0, -1.0
    for _ in range(3):
        before = theta
        theta += 0.2 * psi
        seen = theta if alternating else before
        psi += 0.2 * (-seen - 12 * psi**5)
    # 12 psi^5 at psi = -1 moves psi by 2.4, so that it is past 1; the fifth power does the rest.
    assert abs(psi) > 1e3
    assert trained("wgan_div", alternating, steps=3) == pytest.approx((theta, psi), rel=1e-9)
    assert math.hypot(*trained("wgan_div", alternating, rate=0.01)) < math.sqrt(2)


@pytest.mark.parametrize("psi_0", [-1.0, -3.7, 0.2])
def test_under_spectral_norm_dirac_has_a_critic_of_slope_1_that_never_turns(psi_0: float) -> None:
    """D(x) = psi / |psi| x, whose derivative in psi is 0: the fake leaves at a constant speed."""
    side = math.copysign(1, psi_0)
    (normal,) = spectrally_normalised({"weight": torch.tensor([[psi_0]])}).values()
    assert normal.item() == side
    for alternating in (False, True):
        theta, psi = trained("wasserstein_sn", alternating, psi_0)
        assert psi == pytest.approx(psi_0, abs=1e-12)
        assert theta == pytest.approx(1 + side * 0.2 * 500, rel=1e-12)
    free = trained("wasserstein", True, psi_0, steps=40)[1]
    assert abs(free - psi_0) > 0.1, "without the norm the critic turns"


# Packs of m: distances between the distributions of packs, by critics that are optimal for them.
def packs_of(atoms: list[int], size: int) -> Tensor:
    """Return all packs of ``size`` points of equally likely atoms, each as often as it is."""
    points = [float(one) for pack in itertools.product(atoms, repeat=size) for one in pack]
    return packed(torch.tensor(points, dtype=torch.float64).reshape(-1, 1), size)


def total_variation(p: list[int], q: list[int], size: int) -> float:
    """TV(P^m, Q^m) by the hinge loss: its least value is 2 - 2 TV, that of D = sign(p - q)."""

    def score(packs: Tensor) -> Tensor:
        p_shares = torch.tensor([p.count(k) / len(p) for k in range(max(*p, *q) + 1)])
        q_shares = torch.tensor([q.count(k) / len(q) for k in range(max(*p, *q) + 1)])
        at = packs.long()
        return (p_shares.double()[at].prod(1) - q_shares.double()[at].prod(1)).sign()

    loss = RECIPES["hinge"].objective.critic(score(packs_of(p, size)), score(packs_of(q, size)))
    return 1 - loss.item() / 2


@pytest.mark.parametrize(
    ("size", "lost", "uneven"),
    [(1, 0.2, 0.2), (2, 0.36, 0.24), (3, 0.488, 0.284), (4, 0.5904, 0.3392)],
)
def test_packs_tell_a_lost_part_from_an_uneven_one(size: int, lost: float, uneven: float) -> None:
    """U[0, 1] against U[0.2, 1], and against the densities 0.6 and 1.4 on the halves.

    Points alone are equally far from both, 0.2; packs see the lost part far better.
    """
    fifths = total_variation([0, 1, 2, 3, 4], [1, 2, 3, 4], size)
    assert fifths == pytest.approx(1 - 0.8**size, abs=1e-12)
    assert fifths == pytest.approx(lost, abs=1e-12)
    halves = total_variation([0, 1], [0] * 3 + [1] * 7, size)
    by_hand = sum(
        math.comb(size, k) / 2**size * abs(1 - 0.6**k * 1.4 ** (size - k)) for k in range(size + 1)
    )
    assert halves == pytest.approx(by_hand / 2, abs=1e-12)
    assert halves == pytest.approx(uneven, abs=1e-12)


@pytest.mark.parametrize(("size", "golden"), [(1, 0.496929), (2, 0.652783), (4, 0.692010)])
def test_packs_of_eight_modes_against_one_mode(size: int, golden: float) -> None:
    """JS of packs by the optimal discriminator ln p/q: p is 8^-m and q is 1 on the one mode."""
    share = 8.0**-size

    def score(packs: Tensor) -> Tensor:
        return torch.where((packs == 0).all(dim=1), math.log(share), 1000.0).double()

    found = js_estimate(score(packs_of(list(range(8)), size)), score(packs_of([0], size)))
    middle = (1 + share) / 2
    by_hand = (share * math.log(share / middle) + (1 - share) * math.log(2) - math.log(middle)) / 2
    assert found == pytest.approx(by_hand, abs=1e-12)
    assert found == pytest.approx(golden, abs=1e-6)


# Two points at a distance L and a linear critic: the slope where the loss is least.
def loss_at(
    slope: Tensor, loss: str, distance: float, coefficients: dict[str, float], centre: float
) -> Tensor:
    """The critic's loss for the critic slope x + centre, and points at -+ L/2."""
    recipe = RECIPES[loss]
    real = torch.full((1, 1), distance / 2, dtype=torch.float64)
    eps = torch.full((1,), 0.5, dtype=torch.float64)

    def critic(x: Tensor) -> Tensor:
        return slope * x[:, 0] + centre

    value = recipe.objective.critic(critic(real), critic(-real))
    if recipe.penalties:
        value = value + recipe.penalty(critic, real, -real, eps, coefficients)
    return value


def best_slope(loss: str, distance: float, coefficients: dict[str, float], centre: float) -> float:
    """By bisection on the derivative."""

    def derivative(slope: float) -> float:
        s = torch.tensor(slope, dtype=torch.float64, requires_grad=True)
        return torch.autograd.grad(loss_at(s, loss, distance, coefficients, centre), s)[0].item()

    low, high = 1e-9, 100.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if derivative(middle) < 0 else (low, middle)
    return low


@pytest.mark.parametrize("distance", [1.0, 4.0])
def test_optimal_slopes_between_two_points(distance: float) -> None:
    one = {"gp_lambda": 10.0}
    assert best_slope("lsgan", distance, {}, 0.5) == pytest.approx(1 / distance, rel=1e-9)
    assert best_slope("gp0", distance, one, 0.0) == pytest.approx(distance / 20, rel=1e-9)
    power = (distance / 12) ** (1 / 5)
    assert best_slope("wgan_div", distance, ROW, 0.0) == pytest.approx(power, rel=1e-9)
    assert power == pytest.approx({1.0: 0.608364, 4.0: 0.802742}[distance], abs=1e-6)
    least = loss_at(torch.tensor(power).double(), "wgan_div", distance, ROW, 0.0)
    assert least.item() == pytest.approx({1.0: -0.506970, 4.0: -2.675805}[distance], abs=1e-6)
    pairs = best_slope("rpgan_r1r2", distance, ROW, 0.0)
    alone = best_slope("bce_r1", distance, ROW, 0.0)
    assert pairs == pytest.approx({1.0: 0.222323, 4.0: 0.370387}[distance], abs=1e-6)
    assert alone == pytest.approx(2 * pairs, rel=1e-9)
    # 2 gamma s = L sigmoid(-s L): R1 and R2 hold a loss that sees the difference alone.
    assert 2 * pairs == pytest.approx(distance * sigmoid(-pairs * distance), rel=1e-9)


def test_a_flat_hinge_is_optimal_beyond_its_margin() -> None:
    """Two points: any slope of at least 2 / L has the loss 0."""
    objective = RECIPES["hinge"].objective
    for slope in (2.0, 2.5, 9.0):
        assert objective.critic(scores(slope / 2), scores(-slope / 2)).item() == 0
    assert objective.critic(scores(0.9), scores(-0.9)).item() == pytest.approx(0.2)


# Further penalties.
def test_further_penalties_are_those_of_the_rows() -> None:
    assert composed("rpgan", ["r1", "r2"]).penalties == RECIPES["rpgan_r1r2"].penalties
    assert composed("bce", ["r1", "r2"]).coefficients == RECIPES["bce_r1r2"].coefficients
    assert composed("bce", ["gp"]).slope_target == "1"
    assert composed("bce", ["r1"]).slope_target == RECIPES["bce_r1"].slope_target == "0"
    assert composed("rpgan", ["r1", "r2"]).slope_target == "0"
    assert composed("gp", ["r1"]).slope_target == "several"
    assert composed("hinge", ()) is RECIPES["hinge"]


def test_clipping_excludes_every_other_constraint() -> None:
    for more in ({"wrapper": Wrapper.SPECTRAL}, {"penalties": RECIPES["gp"].penalties}):
        with pytest.raises(ValueError, match="clipping excludes"):
            replace(RECIPES["clip"], **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("loss", "penalties", "words"),
    [
        ("clip", ["r1"], "exclude each other"),
        ("gp", ["lp"], "takes loss.gp_lambda"),
        ("bce_r1", ["r1"], "has the penalty r1 already"),
        ("bce", ["r2", "r2"], "has the penalty r2 already"),
        ("bce", ["r3"], "unknown penalty 'r3'"),
    ],
)
def test_nonsense_is_refused(loss: str, penalties: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        composed(loss, penalties)
