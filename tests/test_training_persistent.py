"""The kernel of a whole iteration, interpreted on the CPU: equal to `step.py` step by step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from training_configs import tiny

from wganbench.training import persistent
from wganbench.training.persistent import Tiling, tiling, why_not, why_not_on

# A process of its own: whether Triton interprets is settled when it is imported, and it does not
# compile functions that the shape checks have wrapped. Each iteration starts from the stack's
# own state, so that rounding does not add up; numbers that Adam or RMSprop move by rounding alone
# are left out. Of a run that diverges only the step is compared.
CHILD = """
import json, sys
import torch
from training_configs import alike
from wganbench.training.persistent import Persistent, Tiling
from wganbench.training.schedule import critic_steps_before
from wganbench.training.stack import Stack


def draws(stack):
    first = critic_steps_before(stack.steps_done, stack.config)
    batches = [stack._critic_batch(first + i) for i in range(stack.config.loss.n_critic)]
    critic = [torch.stack(part).contiguous() for part in zip(*batches)]
    return [*critic, stack._batch("latent_generator", stack.steps_done).contiguous()]


def difference(a, b, among=None):
    if not torch.equal(a.isfinite(), b.isfinite()):
        return float("inf")
    error = (a - b).nan_to_num(0, 0, 0).abs()
    if among is not None:
        error = error[among]
    scale = a.nan_to_num(0, 0, 0).abs().max().clamp(min=1e-6)
    return float(error.max() / scale) if len(error) else 0.0


def compared(loss, settings, steps, tiles, diverges):
    small = {"network.width": 16, "train.batch_size": 32, "network.depth": 2, "loss.n_critic": 1}
    settings = {**small, **settings}
    slow, fast = (Stack(alike(loss, 2, **settings), device) for _ in range(2))
    if diverges:
        for stack in (slow, fast):
            stack.critic_lr[1] = 1e30
    persistent = Persistent(
        fast.config, fast.state, fast.critic_lr, fast.generator_lr, fast.coefficients,
        fast.target.shape, "ieee", Tiling(*tiles) if tiles else None,
    )
    errors = {}
    seconds = {"adam": "exp_avg_sq", "rmsprop": "square_avg"}
    # The gradient of the last bias is then nothing but rounding, and shifts all scores.
    shifts = fast.config.train.optimizer != "sgd" and not fast.algorithm.recipe.objective.bce
    unsettled = [("generator", "loss/generator")] if shifts else []
    assert not shifts or fast.config.loss.n_critic == 1

    def note(name, error):
        errors[name] = max(errors.get(name, 0.0), error)

    for _ in range(steps):
        before = {name: tensor.clone() for name, tensor in slow.state.tensors().items()}
        batch = draws(slow)
        slow.iterate()
        noted = persistent.iterate(*batch)
        assert fast.state.step == slow.state.step
        assert fast.state.critic_step == slow.state.critic_step
        for network, (tags, table) in slow._latest.items():
            assert noted[network][0] == tags, (noted[network][0], tags)
            rows = 1 if diverges else 2
            for i, tag in enumerate(tags):
                if (network, tag) in unsettled:
                    continue
                note(f"{network}/{tag}", difference(table[:rows, i], noted[network][1][:rows, i]))
        there, here = slow.state.tensors(), fast.state.tensors()
        for name, tensor in there.items():
            if name == "diverged_at":
                note(name, 0.0 if torch.equal(tensor, here[name]) else 1.0)
                continue
            part, _, rest = name.partition("/")
            second = seconds.get(fast.config.train.optimizer)
            among = None
            if not part.endswith("moments"):
                network = part.replace("average", "generator")
                if second:
                    size = there[f"{network}_moments/{second}/{rest}"].sqrt()
                    among = size > 1e-5
                moved = float((tensor - before[name]).nan_to_num(0, 0, 0).abs().max())
                assert moved > 0 or part == "critic", name
            among = among if among is None else among[:rows]
            note(part, difference(tensor[:rows], here[name][:rows], among))
            here[name].copy_(tensor)
    return errors


torch.set_grad_enabled(False)
device = torch.device(sys.argv[2])
print(json.dumps([compared(*case) for case in json.loads(sys.argv[1])]))
"""
# A clip value that some weights exceed; far smaller ones make all scores equal.
CLIP = {"loss.clip_value": 0.2, "train.optimizer": "rmsprop", "train.betas": [0.0, 0.99]}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gp sgd": ("gp", {"train.optimizer": "sgd", "network.depth": 3, "loss.n_critic": 2}),
    "gp sgd momentum 0": ("gp", {"train.optimizer": "sgd", "train.betas": [0.0, 0.9]}),
    "gp adam linear": ("gp", {"train.decay": "linear", "train.betas": [0.0, 0.9]}),
    "lp leaky": ("lp", {"network.activation": "leaky_relu"}),
    "bce": ("bce", {"network.depth": 4, "train.average_decay": 0.9, "loss.n_critic": 2}),
    "bce_saturating": ("bce_saturating", {"network.latent_dim": 17, "train.batch_size": 64}),
    "clip": ("clip", CLIP),
    "rmsprop momentum": ("bce", {"train.optimizer": "rmsprop", "network.depth": 1}),
    "bce_gp padded": ("bce_gp", {"network.width": 48, "train.batch_size": 48}),
    "bce_r1": ("bce_r1", {"train.optimizer": "sgd", "network.activation": "leaky_relu"}),
    "wasserstein cosine": ("wasserstein", {"train.decay": "cosine", "train.optimizer": "sgd"}),
    "tiles": ("gp", {"train.optimizer": "sgd", "train.batch_size": 64}),
    "diverges": ("gp", {"train.optimizer": "sgd"}),
}


TILES = {"tiles": (16, 4)}


def compared(cases: list[Any], device: str) -> list[dict[str, float]]:
    folder = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONPATH": folder}
    environment["TRITON_INTERPRET"] = "1" if device == "cpu" else "0"
    result = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(cases), device],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    found: list[dict[str, float]] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def errors() -> dict[str, dict[str, float]]:
    pytest.importorskip("triton")
    cases = [
        (
            loss,
            settings,
            2 if "sgd" in name else 1,
            (16, 4) if name == "tiles" else None,
            name == "diverges",
        )
        for name, (loss, settings) in CASES.items()
    ]
    return dict(zip(CASES, compared(cases, "cpu"), strict=True))


@pytest.mark.parametrize("name", list(CASES))
def test_an_iteration_is_that_of_the_definition(
    errors: dict[str, dict[str, float]], name: str
) -> None:
    found = errors[name]
    assert {"critic", "generator", "diverged_at", "critic/loss/critic"} <= found.keys()
    assert {part: error for part, error in found.items() if error > 1e-5} == {}


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["gp sgd", "bce_gp padded"])
def test_compiled_on_a_card_too(name: str) -> None:
    loss, settings = CASES[name]
    (found,) = compared([[loss, settings, 2, None, False]], "cuda")
    assert {part: error for part, error in found.items() if error > 1e-5} == {}


# Which runs it is for.
POINT = (2,)


@pytest.mark.parametrize("loss", ["bce", "bce_saturating", "clip", "gp", "lp", "bce_gp", "bce_r1"])
def test_it_takes_every_loss(loss: str) -> None:
    assert why_not(tiny(loss, **{"network.width": 64}), POINT) is None


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"network.width": 24}, "width"),
        ({"network.width": 144}, "width"),
        ({"network.depth": 5}, "depth"),
        ({"network.activation": "tanh"}, "activation"),
        ({"network.critic_normalization": "layer"}, "critic_normalization"),
        ({"network.generator_normalization": "batch"}, "generator_normalization"),
        ({"network.latent_dim": 65}, "latent_dim"),
        ({"train.batch_size": 24}, "batch_size"),
        ({"precision": "bf16"}, "precision"),
    ],
)
def test_it_says_in_a_line_what_it_does_not_take(settings: dict[str, Any], word: str) -> None:
    reason = why_not(tiny(**{"network.width": 64, **settings}), POINT)
    assert reason is not None and word in reason and "\n" not in reason


def test_a_cpu_is_refused() -> None:
    assert why_not_on(torch.device("cpu")) == "device=cpu: only CUDA"


def test_points_of_many_dimensions_are_refused() -> None:
    assert why_not(tiny(**{"network.width": 64}), (16,)) is None
    assert "16" in str(why_not(tiny(**{"network.width": 64}), (17,)))


@pytest.mark.parametrize("width", [16, 64, 80, 128])
@pytest.mark.parametrize("batch", [16, 48, 64, 100 * 16, 256])
@pytest.mark.parametrize("precision", persistent.PRECISIONS)
def test_tiles_divide_the_batch(width: int, batch: int, precision: str) -> None:
    tiles = tiling(width, batch, precision)
    assert batch % tiles.rows == 0 and tiles.rows >= 16
    assert isinstance(tiles, Tiling)


def test_triton_is_not_needed_to_ask() -> None:
    heads = Path(persistent.__file__).read_text(encoding="utf-8").split("\nclass ")[0]
    assert "persistent_kernel import" not in heads and "triton" not in heads.split('"""')[2]
