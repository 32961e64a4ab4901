"""The figures that are reported: means over the independent draws of the final evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_configs import CPU, tiny

from wganbench.runs.folder import RunFolder
from wganbench.training.finish import conclusions
from wganbench.training.jobs import Concluded
from wganbench.training.measuring import measure_stack, read_runs
from wganbench.training.pool import InProcess
from wganbench.training.process import unstopped
from wganbench.training.recorder import Recorder, columns
from wganbench.training.stack import Stack


def concluded(stack: Stack, folder: Path) -> list[Concluded | None]:
    """What is reported of the runs at this step."""
    recorders = [
        Recorder(RunFolder(folder / str(run)).lock(), config, columns(stack), 0)
        for run, config in enumerate(stack.configs)
    ]
    return [found for _, found in conclusions(stack, recorders, InProcess(stack), unstopped)]


def test_the_final_figures_are_means_over_the_draws(tmp_path: Path) -> None:
    settings = {"evaluate.final_draws": 3, "log.figure": False}
    stack = Stack([tiny(seed=seed, **settings) for seed in (0, 1)], CPU)
    before = stack.run_states()
    draws = [measure_stack(stack, 10, draw) for draw in (1, 2, 3)]
    for run, final in enumerate(concluded(stack, tmp_path)):
        singles = [draw[run] for draw in draws]
        assert final is not None and final.values.keys() == singles[0].keys()
        for tag, value in final.values.items():
            assert value == pytest.approx(sum(single[tag] for single in singles) / 3), tag
        distances = {single["wasserstein/exact"] for single in singles}
        assert len(distances) == 3 and final.values["wasserstein/exact"] not in distances
        after = stack.run_states()[run]
        assert all(torch.equal(after[name], values) for name, values in before[run].items())


def test_the_draws_are_none_that_training_was_watched_with(tmp_path: Path) -> None:
    stack = Stack([tiny(**{"log.figure": False})], CPU)
    (final,) = concluded(stack, tmp_path)
    watched = measure_stack(stack, 10)[0]
    assert final is not None and final.values["wasserstein/exact"] != watched["wasserstein/exact"]
    assert not torch.equal(
        read_runs(stack, 10)[0].points["reals"], read_runs(stack, 10, 1)[0].points["reals"]
    )
