"""Random streams: their seeds are a stated hash, and their format is kept with what is trained."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from training_configs import CPU, tiny

from wganbench.config import ConfigError
from wganbench.data import load
from wganbench.data.mixtures import Mixture
from wganbench.data.target import adapted
from wganbench.training import checkpoint as checkpoints
from wganbench.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    DamagedCheckpoint,
    load_checkpoint,
    newest_checkpoint,
    previous,
    save_checkpoint,
)
from wganbench.training.stack import Stack
from wganbench.training.streams import (
    STREAM_FORMAT,
    Streams,
    held_out_sampler,
    stream_generator,
    stream_seed,
    training_sampler,
)


# The hash of generators.
def test_a_seed_is_blake2b_of_seed_stream_and_step_in_this_order() -> None:
    digest = hashlib.blake2b(b"12/real/3", digest_size=8).digest()
    assert stream_seed(12, "real", 3) == int.from_bytes(digest, "little")


def test_parts_do_not_run_into_each_other() -> None:
    keys = [(1, "real", 23), (12, "real", 3), (12, "real", 23), (3, "real", 12), (23, "real", 1)]
    assert len({stream_seed(*key) for key in keys}) == len(keys)


# Targets that know words, and those that only take a generator.
class Uniform:
    """A user's own target."""

    shape = (2,)

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return torch.rand(n, 2, generator=generator)

    held_out = sample


class Shifted(Mixture):
    """A subclass whose ``sample`` is not made of ``draw``."""

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return 9 + super().sample(n, generator)


def test_a_target_without_words_is_drawn_run_by_run_from_generators() -> None:
    streams, target = Streams([3, 4], CPU), Uniform()
    for sampler, stream in (
        (training_sampler(target, 2), "real"),
        (held_out_sampler(target, 2), "held"),
    ):
        drawn = streams.draw(sampler, stream, [0, 70], 5)
        assert drawn.shape == (2, 2, 5, 2)
        for s, step in enumerate((0, 70)):
            for r, seed in enumerate((3, 4)):
                expected = target.sample(5, stream_generator(seed, stream, step))
                assert torch.equal(drawn[s, r], expected)
                assert torch.equal(streams.batch(sampler, stream, step, 5)[r], expected)


def test_a_sample_of_its_own_is_heeded() -> None:
    ring = load("ring8")
    assert isinstance(ring, Mixture)
    shifted = Shifted(ring.modes, ring.weights, ring.sigma)
    streams = Streams([0], CPU)
    assert streams.draw(training_sampler(shifted, 1), "real", [0], 9).min() > 5
    assert streams.draw(held_out_sampler(shifted, 1), "real", [0], 9).min() < 5
    assert training_sampler(ring, 1) == ring.draw


class Scarce(Uniform):
    """A target that gives no more than 8 points."""

    def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return super().sample(n, generator)[:8]

    held_out = sample


@pytest.mark.parametrize("compile", ["false", "auto"])
def test_too_few_points_of_a_batch_are_refused_whatever_trains(compile: str) -> None:
    """Our C++ would read past their end."""
    config = tiny("gp", **{"compile": compile, "train.batch_size": 16})
    stack = Stack([config], CPU, target=adapted(Scarce()))
    stack.probe(8)
    for use, method in ((stack.iterate, "sample"), (lambda: stack.probe(9), "held_out")):
        with pytest.raises(ConfigError, match=rf"Scarce\.{method}\(.*returned .*\(8, 2\)"):
            use()


# Its format, in checkpoints.
STATE = Checkpoint(3, 0.5, {"critic/w": torch.arange(6.0)})


def written(path: Path, monkeypatch: pytest.MonkeyPatch, streams: int) -> None:
    with monkeypatch.context() as other:
        other.setattr(checkpoints, "STREAM_FORMAT", streams)
        save_checkpoint(path, STATE)


def test_a_checkpoint_of_other_streams_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    written(path, monkeypatch, STREAM_FORMAT + 1)
    for read in (load_checkpoint, newest_checkpoint):
        with pytest.raises(CheckpointError) as refused:
            read(path)
        line = str(refused.value)
        assert "\n" not in line and len(line) < 480 + len(str(path))
        assert "random streams of format 3" in line and "--overwrite" in line
        assert not isinstance(refused.value, DamagedCheckpoint) and "lost" not in line


def test_an_older_checkpoint_is_not_taken_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, STATE)
    written(path, monkeypatch, STREAM_FORMAT + 1)
    assert load_checkpoint(previous(path)).step == 3
    with pytest.raises(CheckpointError, match="random streams of format 3"):
        newest_checkpoint(path)


@pytest.mark.parametrize("entry", ["format", "streams"])
@pytest.mark.parametrize("value", [torch.ones(2), "1", None, [1]])
def test_a_format_that_is_no_number_is_refused(tmp_path: Path, entry: str, value: object) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, STATE)
    torch.save(torch.load(path, weights_only=True) | {entry: value}, path)
    with pytest.raises(CheckpointError, match="format") as refused:
        load_checkpoint(path)
    assert "\n" not in str(refused.value)


def test_a_file_without_the_entry_is_of_format_1(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, STATE)
    content = torch.load(path, weights_only=True)
    assert content.pop("streams") == STREAM_FORMAT
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="random streams of format 1"):
        load_checkpoint(path)


@pytest.mark.parametrize("sampler", [training_sampler, held_out_sampler])
def test_a_users_points_are_on_the_device_of_their_generator(sampler: Any) -> None:
    class Still:
        shape = (2,)

        def sample(self, n: int, generator: torch.Generator) -> torch.Tensor:
            return torch.zeros(n, 2)

        held_out = sample

    (draw,) = sampler(adapted(Still()), 1)
    assert draw(3, SimpleNamespace(device=CPU)).shape == (3, 2)
    with pytest.raises(ConfigError, match=r"^Still\.\w+\(3, generator\) .* the generator's device"):
        draw(3, SimpleNamespace(device=torch.device("cuda", 0)))
