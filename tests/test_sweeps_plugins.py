"""Hydra's plugins by others: an optimiser as sweeper, a launcher that is not ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from training_configs import TINY

from wganbench.cli.app import main
from wganbench.config import to_dict
from wganbench.config.jobs import Job
from wganbench.runs.folder import RunFolder, RunOutcome, read_run
from wganbench.runs.stored import FORMAT
from wganbench.sweeps import command
from wganbench.sweeps.backend import Watcher
from wganbench.sweeps.manifest import add_jobs, read_jobs

SMALL = [f"{key}={value}".replace(" ", "") for key, value in TINY.items()]

pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.slow
def test_optuna_proposes_and_our_launcher_answers_with_the_objective(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    monkeypatch.chdir(tmp_path)
    launches: list[list[float]] = []

    def launch(folder: Path, jobs: Sequence[Job], watcher: Watcher, plan: Any) -> list[RunOutcome]:
        add_jobs(folder, jobs)
        outcomes = []
        for job in jobs:
            far = abs(job.config.loss.coefficients["gp_lambda"] - 3.0)
            stored = {"format": FORMAT, "config": to_dict(job.config), "seconds": 1.0}
            metrics = {"wasserstein/exact": far}
            with RunFolder(job.folder).lock() as held:
                held.write_status(status="completed", step=4, metrics=metrics, **stored)
            outcomes.append(RunOutcome(job.folder, "completed", 4, metrics, [], 1.0))
        launches.append([o.metrics["wasserstein/exact"] for o in outcomes])
        return outcomes

    monkeypatch.setattr(command, "launch", launch)
    words = [
        "loss=gp", "loss.gp_lambda=interval(0.1,10)", "hydra/sweeper=optuna",
        "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=3", "hydra.sweeper.sampler.seed=1",
    ]  # fmt: skip
    assert main(["sweep", *words]) == 0
    assert [len(batch) for batch in launches] == [3, 3]
    jobs = read_jobs(tmp_path / "outputs" / "ring8")
    lambdas = [job.config.loss.coefficients["gp_lambda"] for job in jobs]
    assert len(set(lambdas)) == 6 and all(0.1 <= value <= 10 for value in lambdas)
    found = yaml.safe_load((tmp_path / "outputs/ring8/optimization_results.yaml").read_text())
    assert found["best_value"] == pytest.approx(min(min(batch) for batch in launches))


@pytest.mark.thorough
def test_joblib_trains_each_run_in_a_process_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    words = ["loss=gp", "seed=0,1", *SMALL, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    # In a process without the tests' checks of shapes, which cannot be pickled.
    command = [sys.executable, "-m", "wganbench", "sweep", *words]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=300)
    jobs = read_jobs(tmp_path / "outputs" / "ring8")
    assert sorted(job.config.seed for job in jobs) == [0, 1]
    assert {read_run(job.folder)["status"] for job in jobs} == {"completed"}
