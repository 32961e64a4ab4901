"""Which runs are compared seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from reported_runs import leave_run

from wganbench.reports.comparison import compare
from wganbench.runs.record import find_runs


def contrast_is_paired(folder: Path, ours: Sequence[int], theirs: Sequence[int]) -> bool:
    """Whether gp and bce are compared in pairs; gp is better by as much on every seed."""
    for loss, seeds, modes in (("gp", ours, 8.0), ("bce", theirs, 3.0)):
        for seed in seeds:
            leave_run(folder, loss, seed, {"modes/covered": modes - 0.1 * seed})
    contrasts = compare(find_runs([folder]), metrics=["modes/covered"]).contrasts
    (paired,) = {contrast.paired for contrast in contrasts}
    return paired


def test_groups_of_equal_seeds_are_paired(tmp_path: Path) -> None:
    assert contrast_is_paired(tmp_path, range(6), range(6))


def test_groups_without_a_common_seed_are_not_however_many_there_are(tmp_path: Path) -> None:
    assert not contrast_is_paired(tmp_path, range(6), range(10, 16))


@pytest.mark.parametrize(("theirs", "common"), [(range(1, 7), 5), ([0, 1, 2, 3, 4, 6], 5)])
def test_pairs_are_made_of_common_seeds_alone(
    tmp_path: Path, theirs: Sequence[int], common: int
) -> None:
    assert contrast_is_paired(tmp_path, range(6), theirs)
    (contrast,) = compare(find_runs([tmp_path]), metrics=["modes/covered"]).contrasts
    assert contrast.met == common
