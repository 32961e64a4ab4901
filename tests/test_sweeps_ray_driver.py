"""The driver of Ray's tasks: what it does with files that come back, without a cluster."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import pytest
from training_configs import tiny

from wganbench.config.jobs import Job
from wganbench.runs.folder import RunFolder
from wganbench.sweeps import ray
from wganbench.sweeps.backend import Collector, Silent
from wganbench.sweeps.plan import StackPlan
from wganbench.sweeps.ray import Task, Tasks
from wganbench.sweeps.slurm import SlurmBackend


@pytest.mark.parametrize("overwrite", [True, False])
def test_an_earlier_runs_files_go_before_new_ones_come(
    overwrite: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "generated.npy").write_text("old")
    job = Job(dataclasses.replace(tiny(), overwrite=overwrite), folder)
    parcels = [[(0, [], [{"checkpoint.pt": b"new"}])], [(0, [], [{"metrics.csv": b"later"}])]]
    mailbox = SimpleNamespace(collect=SimpleNamespace(remote=lambda: parcels.pop(0)))
    fake_ray = SimpleNamespace(get=lambda answer: answer)
    monkeypatch.setattr(ray, "import_ray", lambda: fake_ray)
    tasks = Tasks(1, 0, tmp_path, None, Collector(Silent()))
    tasks.mailbox = mailbox
    tasks.by_number[0] = Task(0, StackPlan((job,), 0))
    tasks._collect()
    tasks._collect()
    tasks._let_go(tasks.by_number[0].stack)
    left = {path.name for path in RunFolder(folder).path.iterdir()} - {".lock"}
    expected = {"checkpoint.pt", "metrics.csv"} | (set() if overwrite else {"generated.npy"})
    assert left == expected


def test_slurm_refuses_to_share_a_device(tmp_path: Path) -> None:
    backend = SlurmBackend("local", 1, 0, 1, 1.0, 5, 1, [], {})
    config = tiny()
    shared = dataclasses.replace(
        config, device="auto", sweep=dataclasses.replace(config.sweep, stacks_per_device=2)
    )
    with pytest.raises(Exception, match=r"sweep\.stacks_per_device=2.*a job of its own"):
        backend.slots(shared)
