"""The figures that are reported: means over the independent draws of the final evaluation."""

from __future__ import annotations

import pytest
import torch
from training_configs import CPU, tiny

from wganbench.training.measuring import measure_final, measure_stack
from wganbench.training.stack import Stack


def test_the_final_figures_are_means_over_the_draws() -> None:
    stack = Stack([tiny(seed=seed, **{"evaluate.final_draws": 3}) for seed in (0, 1)], CPU)
    draws = [measure_stack(stack, 10, draw) for draw in (1, 2, 3)]
    for run, final in enumerate(measure_final(stack)):
        singles = [draw[run].values for draw in draws]
        assert final.values.keys() == singles[0].keys()
        for tag, value in final.values.items():
            assert value == pytest.approx(sum(single[tag] for single in singles) / 3), tag
        distances = {single["wasserstein/exact"] for single in singles}
        assert len(distances) == 3 and final.values["wasserstein/exact"] not in distances
        assert torch.equal(final.points["fakes"], draws[0][run].points["fakes"])


def test_the_draws_are_none_that_training_was_watched_with() -> None:
    stack = Stack([tiny(**{"evaluate.final_draws": 1})], CPU)
    watched, final = measure_stack(stack, 10)[0], measure_final(stack)[0]
    assert not torch.equal(watched.points["reals"], final.points["reals"])
