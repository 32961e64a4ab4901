"""No verb runs code that only a stored file names, or that lies in the current folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import wganbench
from wganbench.cli.app import main
from wganbench.config import ConfigError, compose, to_dict
from wganbench.config.jobs import Job
from wganbench.metrics import load_features, reference
from wganbench.reports import figures
from wganbench.sweeps.backend import Refused, ReportingView
from wganbench.sweeps.manifest import add_jobs
from wganbench.sweeps.plan import StackPlan
from wganbench.sweeps.worker import train_stack
from wganbench.training.process import python_running
from wganbench.training.run import evaluate_run
from wganbench.training.runs import train_run

SETTINGS = [
    "data=digits", "network=dcgan8", "network.width=4", "device=cpu", "compile=false", "tuned=none",
    "train.steps=1", "train.batch_size=8", "loss.n_critic=1",
    "log.tensorboard=false", "log.figure=false", "evaluate.every_n_steps=0", "evaluate.n=20",
    "evaluate.final_n=20", "evaluate.final_draws=1",
]  # fmt: skip
CANARY = """
from pathlib import Path
Path(__file__).with_name("it_ran").touch()
def look(x):
    return x.flatten(1)[:, :2]
"""


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A completed run on images."""
    return train_run(compose(SETTINGS), tmp_path_factory.mktemp("honest") / "run").path


@pytest.fixture
def stranger(honest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its copy, which names code that lies in the current folder."""
    name = f"canary_{tmp_path.name}"  # modules are imported once in a process
    (tmp_path / f"{name}.py").write_text(CANARY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(reference, "_typed", set())
    run = tmp_path / "stolen" / "run"
    shutil.copytree(honest, run)
    change(run, **{"evaluate.features": f"{name}:look"})
    return run


def change(run: Path, **settings: object) -> None:
    content = json.loads((run / "run.json").read_text())
    for key, value in settings.items():
        group, _, name = key.rpartition(".")
        (content["config"][group] if group else content)[name] = value
    (run / "run.json").write_text(json.dumps(content))


def named(run: Path) -> str:
    return str(json.loads((run / "run.json").read_text())["config"]["evaluate"]["features"])


def ran(run: Path) -> bool:
    return (run.parent.parent / "it_ran").exists()


def refused(run: Path, *words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One line that names the key and says how to allow it; nothing ran."""
    assert main(list(words)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"evaluate.features={named(run)}" in line and f"--features {named(run)}" in line
    assert not ran(run) and str(Path.cwd()) not in sys.path


def test_evaluate(stranger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(stranger, "evaluate", str(stranger), "-n", "20", capsys=capsys)
    assert main(["evaluate", str(stranger), "-n", "20", "--features", "other:f"]) == 2
    assert not ran(stranger)
    assert main(["evaluate", str(stranger), "-n", "20", "--features", named(stranger)]) == 0
    assert ran(stranger), "the user has typed the name"


def test_resume(stranger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(stranger, status="running")
    before = (stranger / "run.json").read_bytes()
    refused(stranger, "resume", str(stranger), capsys=capsys)
    assert (stranger / "run.json").read_bytes() == before
    assert main(["resume", str(stranger), "--features", named(stranger)]) == 0
    assert ran(stranger)


def test_resume_of_a_sweep(stranger: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = compose(SETTINGS)
    config.evaluate.features = named(stranger)
    add_jobs(stranger.parent, [Job(config, stranger)])
    change(stranger, status="running")
    refused(stranger, "resume", str(stranger.parent), capsys=capsys)


def test_what_needs_no_features_goes_on_without(
    stranger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figures, "FIGURES", {"samples": figures.FIGURES["samples"]})
    assert main(["sample", str(stranger), "-n", "4"]) == 0
    assert main(["compare", str(stranger)]) == 0
    assert main(["resume", str(stranger)]) == 0, "it is finished"
    assert not ran(stranger)


def test_load_run(stranger: Path) -> None:
    run = wganbench.load_run(str(stranger))
    assert run.config.evaluate.features == named(stranger)
    assert run.sample(3).shape == (3, 1, 8, 8) and run.metrics
    with pytest.raises(ConfigError, match="named by a stored file"):
        evaluate_run(stranger, 20)
    assert not ran(stranger)
    wganbench.load_run(str(stranger), features=named(stranger))
    evaluate_run(stranger, 20)
    assert ran(stranger)


def test_a_worker_runs_what_its_sweep_has_allowed(stranger: Path) -> None:
    config = compose(SETTINGS)
    config.evaluate.features = named(stranger)
    stack = StackPlan((Job(config, stranger.parent / "other"),), 0)
    told = train_stack(stack, "cpu", ReportingView(lambda message: None, "here"))
    assert not isinstance(told, Refused) and ran(stranger)


def test_a_typed_name_is_allowed_where_it_is_typed(stranger: Path) -> None:
    with pytest.raises(ConfigError, match="named by a stored file"):
        load_features(named(stranger))
    config = compose([*SETTINGS, f"evaluate.features={named(stranger)}"])
    assert ran(stranger) and load_features(named(stranger))
    assert to_dict(config)["evaluate"]["features"] == named(stranger)


@pytest.mark.parametrize("module", ["this", "wganbench.sweeps.plan"])
def test_our_processes_import_nothing_from_the_current_folder(tmp_path: Path, module: str) -> None:
    for name in ("this", "runpy", "os", "dataclasses"):
        (tmp_path / f"{name}.py").write_text("print('it ran')")
    result = subprocess.run(
        python_running(module), cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0 and "it ran" not in result.stdout
