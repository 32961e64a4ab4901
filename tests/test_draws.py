"""Words of (key, step, element): the published answers, their samplers, and no state."""

from __future__ import annotations

import hashlib
import math
import random

import numpy as np
import pytest
import torch
from scipy import stats

from wganbench import draws as module
from wganbench.draws import (
    MASK,
    Draws,
    Generated,
    Keyed,
    Resident,
    keyed,
    keys_of,
    philox,
    stream_key,
)
from wganbench.reports.significance import holm

PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0)


# Philox.
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((0, 0, 0, 0, 0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((MASK,) * 6, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (PI, "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_the_known_answers_of_random123(given: tuple[int, ...], expected: str) -> None:
    c0, c1, c2, c3, k0, k1 = (torch.tensor(word) for word in given)
    words = philox((c0, c1, c2, c3), (k0, k1))
    assert " ".join(f"{int(word):08x}" for word in words) == expected


def by_hand(counter: tuple[int, ...], key: tuple[int, int]) -> list[int]:
    """Philox4x32-10 in Python's integers."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        a, b = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b & MASK, (a >> 32) ^ c3 ^ k1, a & MASK
        k0, k1 = (k0 + 0x9E3779B9) & MASK, (k1 + 0xBB67AE85) & MASK
    return [c0, c1, c2, c3]


@pytest.mark.parametrize("step", [0, 7, 2**32 + 5])
def test_the_counter_is_element_and_step(step: int) -> None:
    key = stream_key(3, "real")
    words = keyed(3, "real", step).words(10).tolist()
    halves = (key & MASK, key >> 32)
    wanted = [by_hand((i, 0, step & MASK, step >> 32), halves) for i in range(3)]
    assert words == sum(wanted, [])[:10]


def test_a_key_is_blake2b_of_seed_and_stream_in_this_order() -> None:
    digest = hashlib.blake2b(b"12/real", digest_size=8).digest()
    assert stream_key(12, "real") == int.from_bytes(digest, "little")
    keys = {stream_key(seed, stream) for seed in (1, 12, 123) for stream in ("real", "2/real", "3")}
    assert len(keys) == 9


# Runs and steps at once.
def test_all_runs_and_steps_at_once_are_each_alone() -> None:
    keys = keys_of([stream_key(seed, "real") for seed in range(3)])
    for take in ("uniform", "normal"):
        at_once = getattr(Keyed(keys, torch.arange(4).unsqueeze(-1)), take)(5, 3)
        assert at_once.shape == (4, 3, 5, 3)
        for step in range(4):
            for seed in range(3):
                alone = getattr(keyed(seed, "real", step), take)(5, 3)
                assert torch.equal(at_once[step, seed], alone)


def test_many_words_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = keyed(0, "real").normal(999)
    monkeypatch.setattr(module, "AT_ONCE", 7)
    assert torch.equal(keyed(0, "real").normal(999), whole)


def test_a_draw_takes_none_of_the_words_of_another() -> None:
    draws = keyed(0, "real")
    parts = [draws.words(n) for n in (1, 5, 8, 3)]
    words = torch.cat(parts).tolist()
    assert len(set(words)) == len(words) == 17
    again = keyed(0, "real")
    assert again.words(1).tolist() + again.words(5).tolist() == words[:6]


def test_more_draws_begin_with_the_same() -> None:
    for take in ("words", "normal", "uniform"):
        few, many = (getattr(keyed(5, "mixing", 2), take)(n) for n in (6, 4000))
        assert torch.equal(many[:6], few)


# Samplers.
def sources() -> list[Draws]:
    return [keyed(1, "sampler"), Generated(torch.Generator().manual_seed(1))]


@pytest.mark.parametrize("which", [0, 1])
def test_laws(which: int) -> None:
    draws, n = sources()[which], 100_000
    uniform, normal = draws.uniform(n).double().numpy(), draws.normal(n, 2).double().numpy()
    assert uniform.min() >= 0 and uniform.max() < 1
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    for column in normal.T:
        assert stats.kstest(column, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(normal.T)[0, 1]) < 4 / math.sqrt(n)
    assert abs(np.corrcoef(np.abs(normal.T))[0, 1]) < 4 / math.sqrt(n)
    counts = torch.bincount(draws.below(7, n), minlength=7).numpy()
    assert len(counts) == 7 and stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
def test_orders(which: int) -> None:
    draws = sources()[which]
    first = torch.stack([draws.order(4) for _ in range(6000)])
    assert first.sort(dim=1).values.unique(dim=0).tolist() == [[0, 1, 2, 3]]
    _, counts = first.unique(dim=0, return_counts=True)
    assert len(counts) == 24 and stats.chisquare(counts.numpy()).pvalue > 1e-3
    rows = draws.each_once(5, 12)
    assert rows[:5].sort().values.tolist() == rows[5:10].sort().values.tolist() == list(range(5))
    assert len(rows) == 12


class Fixed(Draws):
    """Given words."""

    def __init__(self, *words: int) -> None:
        self.lead, self.device, self.given = (), torch.device("cpu"), torch.tensor(words)

    def words(self, n: int) -> torch.Tensor:
        return self.given[:n]


def test_the_largest_and_the_smallest_words() -> None:
    assert Fixed(0, MASK).uniform(2).tolist() == [0.0, 1 - 2.0**-24]
    assert Fixed(0, MASK, MASK >> 1).below(3, 3).tolist() == [0, 2, 1]
    assert Fixed(MASK).below(2**31, 1).tolist() == [2**31 - 1]
    # Box and Muller: radius sqrt(-2 ln u), angle 2 pi v.
    extreme = Fixed(0, 0).normal(2)
    assert extreme.tolist() == pytest.approx([math.sqrt(2 * 33 * math.log(2)), 0])
    assert Fixed(MASK, 0).normal(2).abs().max() == 0
    assert Fixed(2**31, 2**30).normal(2).tolist() == pytest.approx(
        [0, math.sqrt(2 * math.log(2))], abs=1e-6
    )


def test_a_resident_tensor_is_copied_once() -> None:
    tensor, meta = torch.arange(3), torch.device("meta")
    resident = Resident(tensor)
    assert resident.on(tensor.device) is tensor
    assert resident.on(meta) is resident.on(meta) and resident.on(meta).device == meta


def test_the_checks_of_shapes_leave_the_global_random_state_alone() -> None:
    """Of a list they look at one item, which they draw."""
    random.seed(3)
    before = random.getstate()
    for _ in range(5):
        assert holm([0.01, 0.02, 0.04]) == pytest.approx([0.03, 0.04, 0.04])
    assert random.getstate() == before
