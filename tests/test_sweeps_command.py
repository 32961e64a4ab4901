"""``wganbench sweep``: what it makes of a command line, what it refuses, what it shows."""

from __future__ import annotations

import dataclasses
import io
import os
import pickle
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from rich.console import Console
from training_configs import TINY, tiny

import wganbench
from wganbench.cli.app import main
from wganbench.cli.sweep_view import SweepView, print_sweep, unlike_settings
from wganbench.config import compose, run_folder, run_id, to_dict
from wganbench.config.jobs import Job, SweepTask, last_of_each_key
from wganbench.runs.folder import RunFolder, RunOutcome
from wganbench.runs.stored import FORMAT
from wganbench.sweeps import command
from wganbench.sweeps.backend import Watcher
from wganbench.sweeps.manifest import add_jobs, read_jobs
from wganbench.sweeps.plan import Slot, StackPlan

SMALL = [f"{key}={value}".replace(" ", "") for key, value in TINY.items()]


class Launched:
    """A stand-in for training: enters the jobs and gives every run the same end."""

    def __init__(self, status: str = "completed") -> None:
        self.status, self.jobs = status, list[Job]()

    def __call__(
        self, folder: Path, jobs: Sequence[Job], watcher: Watcher, plan: Any = None
    ) -> list[RunOutcome]:
        self.jobs += jobs
        add_jobs(folder, jobs)
        metrics = {"wasserstein/exact": 0.5, "wasserstein/floor": 0.25, "modes/covered": 8.0}
        for job in jobs:
            stored = {"format": FORMAT, "config": to_dict(job.config), "seconds": 1.0}
            with RunFolder(job.folder).lock() as held:
                held.write_status(status=self.status, step=4, metrics=metrics, **stored)
        return [RunOutcome(job.folder, self.status, 4, metrics, [], 1.0) for job in jobs]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Launched:
    monkeypatch.chdir(tmp_path)
    stand_in = Launched()
    monkeypatch.setattr(command, "launch", stand_in)
    return stand_in


@pytest.fixture
def no_hydra_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra's own three YAML files a job, left out where jobs are counted: 0.2 s a job."""
    monkeypatch.setattr("hydra.core.utils._save_config", lambda *_: None)


def nothing_written(folder: Path) -> bool:
    return not list(folder.rglob("*"))


# What a command line means.
@pytest.mark.slow
def test_every_combination_is_a_job_with_its_own_folder(launched: Launched) -> None:
    assert main(["sweep", "loss=bce,gp", "seed=range(0,3)", "train.steps=7"]) == 0
    assert [(j.config.loss.name, j.config.seed) for j in launched.jobs] == [
        (loss, seed) for loss in ("bce", "gp") for seed in range(3)
    ]
    for job in launched.jobs:
        # The very run that train would make of the same words, tuned settings included.
        words = [f"loss={job.config.loss.name}", f"seed={job.config.seed}", "train.steps=7"]
        assert job.config == compose(words)
        assert job.folder.resolve() == run_folder(compose(words)).resolve()
        assert job.overrides == tuple(words)
        assert sorted(p.name for p in (job.folder / ".hydra").iterdir()) == [
            *("config.yaml", "hydra.yaml", "overrides.yaml")
        ]


@pytest.mark.usefixtures("no_hydra_folders")
def test_an_experiment_brings_its_sweep_along_and_the_command_line_wins(
    launched: Launched,
) -> None:
    assert main(["sweep", "experiment=lambda_sweep", "seed=5"]) == 0
    lambdas = [job.config.loss.coefficients["gp_lambda"] for job in launched.jobs]
    assert lambdas == [0.01, 0.1, 1, 10, 100]
    assert {job.config.seed for job in launched.jobs} == {5}
    assert {job.folder.parent.name for job in launched.jobs} == {"lambda_sweep"}


@pytest.mark.usefixtures("no_hydra_folders")
def test_the_command_line_wins_over_an_experiments_sweep_beside_further_penalties(
    launched: Launched,
) -> None:
    words = ["loss.penalties=[r1]", "loss.r1_gamma=1", "loss.gp_lambda=3", "seed=0"]
    assert main(["sweep", "experiment=lambda_sweep", *words]) == 0
    (job,) = launched.jobs
    assert job.config.loss.coefficients == {"gp_lambda": 3, "r1_gamma": 1}


def test_of_a_keys_overrides_the_last_stays_and_adds_it_if_one_did() -> None:
    words = ["a=1,2", "++a=3", "+b=1,2", "b=3", "~c", "c=1", "d@x=1", "d@y=2"]
    parsed = OverridesParser.create().parse_overrides(words)
    kept = [f"{one.get_key_element()}={one.value()}" for one in last_of_each_key(parsed)]
    assert kept == ["++a=3", "++b=3", "~c=None", "c=1", "d@x=1", "d@y=2"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hydra: {sweeper: {params: {tuned: 'gp-rin8,gp-ring8'}}}\n", "'gp-rin8'"),
        ("hydra: {sweeper: {params: {seeds: 3}}}\n", "unknown key seeds; did you mean seed?"),
        ("defaults: [override /tuned: gp-rin8]\n", "'gp-rin8'"),
    ],
)
def test_mistakes_in_an_experiment_are_told_in_a_sweep_too(
    launched: Launched, tmp_path: Path, capsys: Any, text: str, told: str
) -> None:
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    for name in ("a", "b"):
        file = tmp_path / "own" / "experiment" / f"{name}.yaml"
        file.write_text(f"# @package _global_\n{text}")
    chosen = "a" if "hydra" in text else "a,b"
    words = [f"experiment={chosen}", "seed=0,1", "--config-dir", "own", "--plan"]
    assert main(["sweep", *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1 and not launched.jobs


@pytest.mark.slow
@pytest.mark.usefixtures("no_hydra_folders")
@pytest.mark.parametrize("experiment", ["lambda_sweep", "clip_sweep", "three_way"])
def test_every_shipped_sweep_has_five_seeds_an_arm(launched: Launched, experiment: str) -> None:
    assert main(["sweep", f"experiment={experiment}"]) == 0
    assert len(launched.jobs) % 5 == 0 and len(launched.jobs) >= 15
    assert {job.config.seed for job in launched.jobs} == set(range(5))


@pytest.mark.slow
@pytest.mark.usefixtures("no_hydra_folders")
def test_unlike_losses_are_swept_with_their_own_knobs(launched: Launched) -> None:
    assert main(["sweep", "experiment=glob(arm_*)", "seed=0,1"]) == 0
    assert [job.config.loss.name for job in launched.jobs] == ["bce"] * 2 + ["clip"] * 2 + [
        "gp"
    ] * 2
    assert {job.folder.parent.name for job in launched.jobs} == {"sweep"}
    assert launched.jobs[2].config.loss.coefficients == {"clip_value": 0.1}


@pytest.mark.slow
@pytest.mark.usefixtures("no_hydra_folders")
def test_jobs_composed_from_a_copy_are_those_that_hydra_composes(launched: Launched) -> None:
    words = ["loss=clip", "loss.clip_value=0.05,inf", "seed=3", "data=grid25"]
    assert main(["sweep", *words, "network=mlp512,mlp", "precision=bf16"]) == 0
    for job in launched.jobs:
        assert job.config == compose([*job.overrides])
    assert len({run_id(job.config) for job in launched.jobs}) == 4


@pytest.mark.slow
@pytest.mark.usefixtures("no_hydra_folders")
def test_choices_are_composed_once_for_all_jobs_that_share_them(
    launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed: list[list[str]] = []
    whole = ConfigLoaderImpl.load_sweep_config

    def counted(self: Any, master: Any, overrides: list[str]) -> Any:
        composed.append(overrides)
        return whole(self, master, overrides)

    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counted)
    assert main(["sweep", "loss=bce,gp", "seed=range(0,3)", "train.steps=7,8"]) == 0
    assert len(launched.jobs) == 12
    assert composed == [["loss=bce"], ["loss=gp"]]


@pytest.mark.usefixtures("no_hydra_folders")
def test_a_sweep_in_a_folder_of_the_user_s_is_judged_and_shown(
    launched: Launched, tmp_path: Path, capsys: Any
) -> None:
    launched.status = "diverged"
    words = ["seed=0,1", "train.steps=7", "hydra.sweep.dir=mine"]
    assert main(["sweep", *words]) == 3
    assert "wganbench compare mine" in capsys.readouterr().out
    assert len(read_jobs(tmp_path / "mine")) == 2 and not (tmp_path / "outputs").exists()
    found = wganbench.sweep(*words)
    assert [run.path.parent.resolve() for run in found] == [tmp_path / "mine"] * 2


def test_an_experiment_names_its_sweep_unless_it_sets_a_name(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    for file, text in {
        "plain": "seed: 1\n",
        "titled": "name: mine\n",
        "above": "defaults:\n  - titled\n  - _self_\n",
    }.items():
        (tmp_path / "experiment" / f"{file}.yaml").write_text(f"# @package _global_\n{text}")
    added = {
        name: command.named([f"experiment={name}", "seed=0,1"], [tmp_path])[2:]
        for name in ("plain", "titled", "above", "titled,plain")
    }
    assert added == {
        "plain": ["name=plain"], "titled": [], "above": [], "titled,plain": ["name=sweep"],
    }  # fmt: skip


# What it refuses.
@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("loss=clip,gp loss.gp_lambda=1,2", ["not used by loss=clip", "experiment=glob(arm_*)"]),
        ("seed=range(0,0)", ["no values", "empty"]),
        ("seed=range(0,20000)", ["20000 runs", "--yes"]),
        ("loss=gp,gpp", ["gpp", "'gp'"]),
        ("seed=0,0", ["same run", "give each value once"]),
        ("device=cpu,auto", ["same run", "device makes no other run", "not cpu and auto"]),
        ("compile=false,auto seed=0,1", ["compile makes no other run", "not false and auto"]),
        ("sweep.max_stack=1,2", ["sweep.max_stack makes no other run", "not 1 and 2"]),
        ("hydra.job.chdir=true seed=0,1", ["hydra.job.chdir=true", "stay in the folder"]),
        ("hydra/launcher=basic seed=0,1 --plan", ["hydra/launcher=basic", "2 runs trains alone"]),
        ("hydra.sweep.subdir=x seed=0,1", ["hydra.sweep.subdir", "2 runs the same folder"]),
        ("hydra.sweep.dir=x/${seed} seed=0,1", ["side by side", "hydra.sweep.dir"]),
        ("sweep.devices=[cuda:7]", ["cuda:7"]),
        ("loss.gp_lamda=1,2", ["loss.gp_lamda", "loss.gp_lambda"]),
        ("train.steps=0,5", ["train.steps", "at least 1"]),
        ("name=a,b", ["name", "cannot be swept"]),
        ("tuned=gp-rin8,gp-ring8", ["tuned", "'gp-rin8'", "gp-ring8"]),
        ("train.critic_lr=interval(0,1)", ["optimiser"]),
        ("sweep.max_stack=-1", ["sweep.max_stack"]),
        ("network.critic_normalization=batch seed=0,1", ["batch norm", "critic_normalization"]),
    ],
)
def test_a_wrong_sweep_is_one_line_and_writes_nothing(
    words: str, parts: list[str], launched: Launched, tmp_path: Path, capsys: Any
) -> None:
    assert main(["sweep", *words.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(part in line for part in parts), line
    assert nothing_written(tmp_path) and not launched.jobs


@pytest.mark.slow
def test_another_sweep_in_the_folder_is_refused_and_more_seeds_are_not(
    launched: Launched, tmp_path: Path, capsys: Any
) -> None:
    assert main(["sweep", "seed=0,1", "train.steps=7"]) == 0
    before = sorted(tmp_path.rglob("*"))
    assert main(["sweep", "seed=0,1", "train.steps=8"]) == 2
    assert "train.steps=7, this one has 8" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
    assert main(["sweep", "seed=0,1,2", "train.steps=7"]) == 0
    assert len(read_jobs(tmp_path / "outputs" / "ring8")) == 3


@pytest.mark.slow
@pytest.mark.usefixtures("no_hydra_folders")
def test_an_error_of_ours_is_not_taken_for_one_of_the_configuration(
    launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: Any) -> Any:
        raise ValueError("a defect")

    monkeypatch.setattr(command, "launch", defect)
    with pytest.raises(ValueError, match="a defect"):
        wganbench.sweep(["seed=0,1"])
    assert main(["sweep", "seed=0,1"]) == 3


@pytest.mark.usefixtures("no_hydra_folders")
@pytest.mark.parametrize(
    ("status", "code"), [("completed", 0), ("diverged", 3), ("failed", 3), ("interrupted", 130)]
)
def test_exit_codes(launched: Launched, status: str, code: int, capsys: Any) -> None:
    launched.status = status
    assert main(["sweep", "seed=0,1"]) == code
    assert ("wganbench resume outputs/ring8" in capsys.readouterr().out) == (code == 130)


def test_a_plan_trains_nothing_and_writes_nothing(
    launched: Launched, tmp_path: Path, capsys: Any
) -> None:
    assert main(["sweep", "loss=bce,gp", "seed=0,1", "--plan"]) == 0
    shown = capsys.readouterr().out
    assert "4 runs to train" in shown and "estimated time" in shown and "MB" in shown
    assert nothing_written(tmp_path) and not launched.jobs


@pytest.mark.parametrize(
    ("launcher", "package", "told"),
    [("slurm", "submitit", "8 x cuda on Slurm"), ("ray", "ray", "cpu on Ray")],
)
def test_a_cluster_s_plan_needs_no_package_and_its_launch_says_which(
    launched: Launched,
    tmp_path: Path,
    capsys: Any,
    monkeypatch: pytest.MonkeyPatch,
    launcher: str,
    package: str,
    told: str,
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    words = ["sweep", "loss=gp", "seed=0,1", f"hydra/launcher={launcher}"]
    assert main([*words, "--plan"]) == 0
    shown = capsys.readouterr().out
    assert "2 runs to train" in shown and told in shown
    assert main(words) == 2
    error = capsys.readouterr().err
    assert f"pip install 'wganbench[{launcher}]'" in error and error.count("\n") == 1
    assert nothing_written(tmp_path) and not launched.jobs


@pytest.mark.parametrize(
    ("word", "package"),
    [
        ("hydra/sweeper=ax", "hydra-ax-sweeper"),
        ("hydra/launcher=rq", "hydra-rq-launcher"),
    ],
)
def test_a_launcher_or_sweeper_of_hydra_s_that_is_missing_says_what_to_install(
    launched: Launched, capsys: Any, word: str, package: str
) -> None:
    assert main(["sweep", "loss=gp", "seed=0,1", word]) == 2
    error = capsys.readouterr().err
    assert f"{word} needs a package: pip install {package}" in error and error.count("\n") == 1


def test_a_sweeper_without_a_plan_is_refused_before_it_writes(
    launched: Launched, tmp_path: Path, capsys: Any
) -> None:
    """Hydra's own sweeper makes a folder for each job before it asks anybody."""
    assert main(["sweep", "hydra/sweeper=basic", "seed=0,1", "--plan"]) == 2
    error = capsys.readouterr().err
    assert "--plan needs hydra/sweeper=grid" in error and len(error.splitlines()) == 1
    assert nothing_written(tmp_path) and not launched.jobs


# Beside others.
@pytest.mark.slow
@pytest.mark.usefixtures("no_hydra_folders")
def test_equal_trials_of_one_batch_train_once_and_share_their_value(
    launched: Launched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[float]] = []
    launch_all = command._Session.launch

    def remembered(*arguments: Any) -> list[float]:
        told.append(launch_all(*arguments))
        return told[-1]

    monkeypatch.setattr(command._Session, "launch", remembered)
    # Hydra's own sweeper asks nobody before, as an optimiser's does not.
    assert main(["sweep", "hydra/sweeper=basic", "seed=0,1,0", "train.steps=7"]) == 0
    assert [job.config.seed for job in launched.jobs] == [0, 1]
    assert told == [[0.5, 0.5, 0.5]]
    assert len(read_jobs(tmp_path / "outputs" / "ring8")) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("no_hydra_folders")
def test_a_sweep_is_judged_by_the_runs_that_it_was_asked_for(
    launched: Launched, tmp_path: Path, capsys: Any
) -> None:
    other = compose(["seed=9", "train.steps=7"])
    add_jobs(tmp_path / "outputs" / "ring8", [Job(other, run_folder(other))])
    with RunFolder(run_folder(other)).lock():
        assert main(["sweep", "seed=0,1", "train.steps=7"]) == 0
        shown = capsys.readouterr().out
        assert "1 run in this folder: trained by another process" in shown
        assert "go on:" not in shown
        launched.status = "interrupted"
        assert main(["sweep", "seed=2,3", "train.steps=7"]) == 130


@pytest.mark.usefixtures("no_hydra_folders")
def test_the_api_returns_the_runs_that_were_asked_for_alone(launched: Launched) -> None:
    for seeds in ([8, 9], [0, 1]):
        runs = wganbench.sweep("train.steps=7", seed=seeds)
        assert [run.config.seed for run in runs] == seeds
    assert len(read_jobs(Path("outputs/ring8"))) == 4


@pytest.mark.usefixtures("no_hydra_folders")
def test_a_run_in_use_is_left_to_the_sweep_but_not_overwritten(
    launched: Launched, capsys: Any
) -> None:
    config = compose(["seed=1", "train.steps=7"])
    with RunFolder(run_folder(config)).lock() as held:
        held.write_status(status="running", format=FORMAT, config=to_dict(config))
        assert main(["sweep", "seed=0,1", "--overwrite", "train.steps=7"]) == 2
        assert f"in use by process {os.getpid()}" in capsys.readouterr().err
        assert not launched.jobs
        assert command.accept_run(config) is None


# Other launchers.
def test_a_task_survives_being_sent_to_another_process(tmp_path: Path) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("only for our launchers")

    task = SweepTask(refuse, refuse, refuse, refuse, command.train_alone)
    sent = pickle.loads(pickle.dumps(task))
    assert sent.train is command.train_alone
    from omegaconf import OmegaConf

    assert OmegaConf.has_resolver("run_id") and OmegaConf.has_resolver("sweep_folder")


@pytest.mark.slow
def test_hydras_own_launcher_trains_each_job_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["hydra/launcher=basic", "hydra/sweeper=basic", "seed=0,1", *SMALL]
    assert main(["sweep", *words]) == 0
    jobs = read_jobs(tmp_path / "outputs" / "ring8")
    assert [RunFolder(job.folder).read()["status"] for job in jobs] == ["completed"] * 2


# The whole way.
@pytest.mark.slow
@pytest.mark.usefixtures("one_core")
def test_the_api_trains_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = wganbench.sweep(["seed=0,1", "sweep.devices=cpu", *SMALL])
    assert [run.status for run in runs] == ["completed"] * 2
    assert [run.config.seed for run in runs] == [0, 1]
    assert main(["resume", "outputs/ring8"]) == 0


# What it shows.
def stacks(folder: Path) -> list[StackPlan]:
    configs = [tiny("gp", seed=seed) for seed in range(4)]
    jobs = [Job(config, folder / run_id(config)) for config in configs]
    return [StackPlan(tuple(jobs[:2]), 0), StackPlan(tuple(jobs[2:]), 0)]


def shown(folder: Path, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80, highlight=False)
    view, plans = SweepView(console), stacks(folder)
    view.begin(plans, [Slot("cuda:0", 1), Slot("cpu", 1)], finished=3)
    for slot, stack in enumerate(plans):
        view.stack_started(slot, stack, "cpu", 4, 0)
        view.stack_advanced(slot, 0, [{}, {}])
        view.stack_advanced(slot, 2, [{"modes/covered": 5.0}, {"modes/covered": 7.0}])
    view.stack_advanced(1, 3, [{"wasserstein/exact": 0.25}, {"wasserstein/exact": 0.5}])
    if terminal:
        console.print(view._table())
    done = [RunOutcome(job.folder, "completed", 4, {}, [], 1.0) for job in plans[0].jobs]
    view.stack_ended(0, done)
    view.end()
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_the_table_shows_stacks_devices_worst_figures_and_what_is_left(tmp_path: Path) -> None:
    text = shown(tmp_path, terminal=True)
    assert "3/7 runs done" in text and "left" in text
    for words in ("cuda:0", "2 x ring8 gp", "2/4", "3/4", "W1", "0.5"):
        assert words in text
    assert "FID" not in text, "no column for what is not measured"
    assert max(len(line) for line in text.splitlines()) < 200


def test_without_a_terminal_there_are_plain_lines(tmp_path: Path) -> None:
    text = shown(tmp_path, terminal=False)
    assert "\x1b" not in text
    assert text.splitlines()[0] == "7 runs, 3 finished before; 2 stacks on cuda:0, 1 CPU core"
    assert "5/7 runs done" in text.splitlines()[-1]


def test_a_stack_of_pictures_shows_its_fid_in_place_of_the_distance(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, highlight=False)
    view, (stack, _) = SweepView(console), stacks(tmp_path)
    view.begin([stack], [Slot("cpu", 1)], finished=0)
    view.stack_started(0, stack, "cpu", 4, 0)
    view.stack_advanced(0, 2, [{"fidelity/fid": 2.5}, {"fidelity/fid": 1.25}])
    console.print(table := view._table())
    view.end()
    headings = [column.header for column in table.renderables[1].columns]
    assert headings == ["device", "stack", "step", "FID"]
    assert isinstance(console.file, io.StringIO) and "2.50" in console.file.getvalue()


def test_a_view_that_begins_again_counts_afresh(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=80, highlight=False)
    view, (stack, _) = SweepView(console), stacks(tmp_path)
    for _ in range(2):
        view.begin([stack], [Slot("cpu", 1)], finished=0)
        view.stack_started(0, stack, "cpu", 4, 0)
        view.stack_ended(0, [RunOutcome(tmp_path, "completed", 4, {}, [], 1.0)] * 2)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().splitlines()[-1] == "2/2 runs done"


def test_the_summary_has_a_line_for_each_loss_and_coefficient(tmp_path: Path, capsys: Any) -> None:
    configs = [tiny("gp", seed=0), tiny("gp", seed=1), tiny("clip", **{"loss.clip_value": 0.5})]
    jobs = [Job(config, tmp_path / run_id(config)) for config in configs]
    figures = {"modes/covered": 8.0, "wasserstein/exact": 0.3, "wasserstein/floor": 0.1}
    outcomes = [
        RunOutcome(jobs[0].folder, "completed", 4, figures, [], 1.0),
        RunOutcome(jobs[1].folder, "diverged", 4, {}, [], 1.0),
        RunOutcome(jobs[2].folder, "failed", 4, {}, ["it is in use."], 1.0),
    ]
    print_sweep(tmp_path, jobs, outcomes)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["ring8", "gp", "gp_lambda=10", "1/2", "1", "8", "3.00"]
    assert lines[2].split() == ["ring8", "clip", "clip_value=0.5", "0/1", "0"]
    assert any(line.startswith("failed:") and "in use" in line for line in lines)


def test_the_summary_keeps_unlike_data_apart(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files, one of them moved, and one path whose content changed: three data sets."""
    monkeypatch.setenv("COLUMNS", "120")
    made = [("a.csv", "1" * 64), ("b.csv", "2" * 64), ("moved.csv", "1" * 64), ("b.csv", "3" * 64)]
    jobs, outcomes = [], []
    for seed, (path, digest) in enumerate(made):
        config = tiny("gp", seed=seed, **{"data.sigma": 0.1})
        config.data = dataclasses.replace(config.data, name="points", options={"path": path})
        jobs.append(Job(config, tmp_path / f"run-{seed}"))
        with RunFolder(jobs[-1].folder).lock() as held:
            held.write_status(status="completed", data_sha256=digest)
        figures = {"modes/covered": float(seed)}
        outcomes.append(RunOutcome(jobs[-1].folder, "completed", 4, figures, [], 1.0))
    print_sweep(tmp_path, jobs, outcomes)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1][3:7] == ["path=a.csv", "sha256=111111111111", "2/2", "0"]
    assert [line[3:6] for line in lines[2:4]] == [
        ["path=b.csv", f"sha256={digit * 12}", "1/1"] for digit in "23"
    ]


def test_the_summary_tells_data_of_one_name_by_their_settings(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    configs = [tiny("gp", **{"data.sigma": sigma}) for sigma in (0.1, 0.2)]
    jobs = [Job(config, tmp_path / run_id(config)) for config in configs]
    outcomes = [RunOutcome(job.folder, "completed", 4, {}, [], 1.0) for job in jobs]
    print_sweep(tmp_path, jobs, outcomes)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[3:5] for line in lines[1:3]] == [["sigma=0.1", "1/1"], ["sigma=0.2", "1/1"]]


def test_the_summary_pools_nothing_but_seeds(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packs of one and of two, two seeds each: two lines; the loss alone does not name them."""
    monkeypatch.setenv("COLUMNS", "120")
    configs = [
        tiny("hinge", seed=seed, **{"loss.packing": size, "train.critic_lr": 0.01 * size})
        for size in (1, 2)
        for seed in (0, 1)
    ]
    jobs = [Job(config, tmp_path / run_id(config)) for config in configs]
    outcomes = [RunOutcome(job.folder, "completed", 4, {}, [], 1.0) for job in jobs]
    print_sweep(tmp_path, jobs, outcomes)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert sorted(lines[1][2:5]) == ["2/2", "critic_lr=0.01", "packing=1"]
    assert sorted(lines[2][2:5]) == ["2/2", "critic_lr=0.02", "packing=2"]


def test_the_summary_names_networks_by_their_names(tmp_path: Path) -> None:
    """Settings that follow from a network's name are left out; others are not."""
    configs = [compose([f"network={name}"]) for name in ("mlp", "mlp512")]
    jobs = [Job(config, tmp_path / run_id(config)) for config in configs]
    assert unlike_settings(jobs, ["a", "a"]) == [" network=mlp", " network=mlp512"]
    wide = compose(["network=mlp512", "network.width=256"])
    jobs.append(Job(wide, tmp_path / run_id(wide)))
    told = [" network=mlp width=64", " network=mlp512 width=512", " network=mlp512 width=256"]
    assert unlike_settings(jobs, ["a"] * 3) == told


def test_the_summary_tells_penalties_apart(tmp_path: Path) -> None:
    configs = [
        compose(["loss=hinge", f"loss.penalties=[{name}]", "loss.gp_lambda=1"])
        for name in ("gp", "lp")
    ]
    jobs = [Job(config, tmp_path / run_id(config)) for config in configs]
    assert unlike_settings(jobs, ["a", "a"]) == [" penalties=[gp]", " penalties=[lp]"]
    assert unlike_settings(jobs, ["a", "b"]) == ["", ""]
