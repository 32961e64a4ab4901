"""The command line: verbs, exit codes, one-line errors, precedence, completion, start-up."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import types
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from wganbench.cli import console
from wganbench.cli.app import main
from wganbench.cli.completion import complete_override
from wganbench.config import ConfigError, RunConfig, compose, run_folder, to_dict
from wganbench.losses import RECIPES
from wganbench.runs.folder import RunFolder, RunOutcome
from wganbench.runs.stored import FORMAT
from wganbench.training import runs
from wganbench.training.optimizers import OPTIMIZERS


@dataclass
class Trained:
    """A stand-in for training: what it was asked to do, and how it is to end."""

    status: str = "completed"
    error: BaseException | None = None
    configs: list[RunConfig] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def __call__(self, config: RunConfig, folder: Path, view: Any = None) -> RunOutcome:
        self.configs.append(config)
        self.folders.append(folder)
        if self.error is not None:
            raise self.error
        return RunOutcome(folder, self.status, 5, {"modes/covered": 8.0}, ["8 of 8."], 1.0)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch, here: Path) -> Trained:
    stand_in = Trained()
    monkeypatch.setattr(runs, "train_run", stand_in)
    return stand_in


def everything_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


# Wrong input: exit code 2, one line that names the key and what was meant, nothing written.

WRONG = [
    ("loss.gp_lamda=1", "loss.gp_lamda", "loss.gp_lambda"),
    ("loss.lambda=1", "loss.lambda", "loss.gp_lambda"),
    ("loss=clip loss.lambda=1", "loss.gp_lambda", "bce_gp, dragan, gp, gp0, lp"),
    ("loss=gp loss.clip_value=0.1", "loss.clip_value", "not used by loss=gp", "clip"),
    ("experiment=wgan_clip_toy loss.gp_lambda=1", "loss.gp_lambda", "not used by loss=clip"),
    ("experiment=wgan_gp_toy loss=clip", "loss.gp_lambda", "not used by loss=clip"),
    ("+loss.clip_value=.1", "loss.clip_value", "not used by loss=gp"),
    ("network=pacgan network.width=3", "network.width", "mlp"),
    ("loss=gpp", "loss", "'gp'"),
    ("data=ring", "data", "ring8"),
    ("experiment=nothing", "experiment", "wgan_gp_toy"),
    ("tuned=nothing", "tuned", "none"),
    ("los=gp", "los", "loss"),
    ("lr=1", "lr", "train.critic_lr and train.generator_lr"),
    ("train.epochs=3", "train.epochs", "train.steps"),
    ("gp", "'gp'", "loss=gp"),
    ("seed=[", "seed must be a whole number", "'['"),
    ("train.betas=(0.5,0.9)", "train.betas must be a list such as [0.5,0.9]", "(0.5,0.9)"),
    ("train.steps=many", "train.steps", "whole number"),
    ("network.width=wide", "network.width", "whole number"),
    ("data.sigma=-1", "data.sigma", "above 0"),
    ("loss.gp_lambda=-1", "loss.gp_lambda", "at least 0"),
    ("loss=clip loss.clip_value=0", "loss.clip_value", "above 0"),
    ("loss.n_critic=0", "loss.n_critic", "at least 1"),
    ("data.train_points=100", "train.batch_size", "100 points"),
    ("data.train_seed=3", "data.train_seed=3", "data.train_points"),
    ("network.critic_normalization=batch", "network.critic_normalization", "D(x)[i]"),
    ("data=two_gaussians data.dimension=3", "evaluate.protocol", "chi2"),
    ("data=points", "data.path", "must be given"),
    ("data=points data.path=~nobody_at_all/a.csv", "data.path='~nobody_at_all/a.csv'", "home"),
    ("data=image_folder data.path=~nobody_at_all/a", "data.path='~nobody_at_all/a'", "home"),
    ("data=mnist data.root=~nobody_at_all/a", "data.root='~nobody_at_all/a'", "home"),
    ("data=cifar10 data.root=~nobody_at_all/a", "data.root='~nobody_at_all/a'", "home"),
    ("plugins=~nobody_at_all/a.py", "plugins='~nobody_at_all/a.py'", "home"),
    ("data=points data.path=no.npy", "data.path", "no.npy"),
    ("seed=0,1", "seed=0,1", "wganbench sweep"),
    ("-m seed=0", "-m", "wganbench sweep"),
    ("hydra.mode=MULTIRUN", "hydra.mode", "wganbench sweep"),
    ("device=tpu", "device", "cuda"),
    ("device=cuda:99", "device=cuda:99", "cuda"),
    ("--nonsense", "--nonsense", "no flag", "KEY=VALUE"),
    ("--config-dir nowhere", "nowhere", "there is no such folder"),
    ("--cfg job --resolve --info", "--info", "--cfg"),
    ("--cfg hydra --resolve", "--cfg hydra --resolve", "--cfg all --resolve"),
    ("data=funnels data.offset=1", "data.offset", "data=funnels, which has data.offsets"),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case[0])
def test_wrong_input(
    case: tuple[str, ...], trained: Trained, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *words = case
    assert main(["train", *command.split()]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("wganbench: ") and told.err.count("\n") == 1, told.err
    assert told.out == "" and all(word in told.err for word in words), told.err
    assert everything_in(here) == [] and trained.configs == []


def test_a_batch_norm_critic_is_fine_without_a_penalty(trained: Trained) -> None:
    assert main(["train", "loss=bce", "network.critic_normalization=batch"]) == 0


def test_an_output_folder_that_cannot_be_written(
    trained: Trained, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "file").write_text("")
    for folder in ("file", "file/deeper"):
        assert main(["train", f"output_dir={folder}"]) == 2
        assert "output_dir" in capsys.readouterr().err
    assert everything_in(here) == [here / "file"]


def test_a_full_disk_is_told_in_words(
    trained: Trained,
    capsys: pytest.CaptureFixture[str],
    room_for: Callable[[int], AbstractContextManager[None]],
) -> None:
    with room_for(0):
        assert main(["train"]) == 2
    told = "the folder of runs cannot be written: File too large; set output_dir"
    assert capsys.readouterr().err == f"wganbench: {told}\n" and trained.configs == []
    assert main(["train"]) == 0


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("trian", "train"),
        ("loss=gp", "wganbench train loss=gp"),
        ("list lossess", "losses"),
        ("resume nowhere", "nowhere"),
        ("sample nowhere", "nowhere"),
        ("sample nowhere -n 0", "-n"),
        ("evaluate", "RUN"),
    ],
)
def test_other_wrong_commands(
    command: str,
    word: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
    inspect: types.SimpleNamespace,
) -> None:
    assert main(command.split()) == 2
    told = capsys.readouterr()
    assert told.err.count("\n") == 1 and word in told.err
    assert everything_in(here) == []


# Exit codes.


@pytest.mark.parametrize(
    ("status", "code"), [("completed", 0), ("diverged", 3), ("failed", 3), ("interrupted", 130)]
)
def test_status_becomes_exit_code(
    status: str, code: int, trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    trained.status = status
    assert main(["train"]) == code
    told = capsys.readouterr().out
    assert status in told and "8 of 8." in told
    assert ("wganbench resume" in told) == (status == "interrupted")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("the run\nis busy"), 2, "wganbench: the run is busy\n"),
        (KeyboardInterrupt(), 130, ""),
        (ZeroDivisionError("a bug"), 3, "Traceback"),
        (ValueError("a bug"), 3, "Traceback"),
    ],
)
def test_error_becomes_exit_code(
    error: BaseException,
    code: int,
    said: str,
    trained: Trained,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained.error = error
    assert main(["train"]) == code
    assert capsys.readouterr().err.startswith(said)


# What train is given.


def test_the_folder_is_the_runs_and_hydra_keeps_the_overrides(trained: Trained, here: Path) -> None:
    assert main(["train", "seed=3", "train.steps=7", "output_dir=there", "name=mine"]) == 0
    (config,), (folder,) = trained.configs, trained.folders
    assert (config.seed, config.train.steps, config.overwrite) == (3, 7, False)
    assert folder.resolve() == (here / run_folder(config)).resolve()
    assert folder.parent == here / "there" / "mine"
    assert "seed=3" in (folder / ".hydra" / "overrides.yaml").read_text()
    assert Path.cwd() == here


def test_overwrite_flag(trained: Trained) -> None:
    assert main(["train", "--overwrite", "seed=3"]) == 0
    assert trained.configs[0].overwrite


def test_paper_then_tuned_then_experiment_then_command_line(trained: Trained, here: Path) -> None:
    own = here / "own"
    for group in ("tuned", "experiment", "loss"):
        (own / group).mkdir(parents=True)
    head = "# @package _global_\n"
    (own / "tuned" / "gp-ring8_selfcond.yaml").write_text(
        f"{head}train: {{critic_lr: 2, generator_lr: 2, batch_size: 22}}\nloss: {{gp_lambda: 2}}\n"
    )
    (own / "experiment" / "mine.yaml").write_text(
        f"{head}defaults: [override /loss: gp]\ntrain: {{generator_lr: 3, batch_size: 33}}\n"
    )

    def rates(*overrides: str) -> tuple[float, float, int, float]:
        assert main(["train", "--config-dir", str(own), "data=ring8_selfcond", *overrides]) == 0
        config = trained.configs[-1]
        train = config.train
        gp_lambda = config.loss.coefficients["gp_lambda"]
        return train.critic_lr, train.generator_lr, train.batch_size, gp_lambda

    assert rates("tuned=none") == (1e-4, 1e-4, 256, 10)
    assert rates() == (2, 2, 22, 2)
    assert rates("experiment=mine") == (2, 3, 33, 2)
    assert rates("experiment=mine", "train.batch_size=44") == (2, 3, 44, 2)
    assert rates("experiment=mine", "tuned=none", "train.batch_size=44") == (1e-4, 3, 44, 10)
    assert rates("loss=lp") == (1e-4, 1e-4, 256, 10)


def test_a_loss_of_the_users_own(trained: Trained, here: Path) -> None:
    (here / "own" / "loss").mkdir(parents=True)
    (here / "own" / "loss" / "strong.yaml").write_text(
        "# @package _global_\nloss: {name: gp, n_critic: 2, gp_lambda: 100}\n"
    )
    assert main(["train", "--config-dir", "own", "loss=strong"]) == 0
    assert trained.configs[0].loss.coefficients == {"gp_lambda": 100}


def test_a_registered_loss_with_a_coefficient_of_its_own(
    trained: Trained,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = dataclasses.replace(RECIPES["gp"], coefficients=("my_weight",))
    monkeypatch.setitem(RECIPES._rows, "mine", row)
    (here / "own" / "loss").mkdir(parents=True)
    (here / "own" / "loss" / "mine.yaml").write_text(
        "# @package _global_\nloss: {name: mine, n_critic: 2, my_weight: -3}\n"
    )
    command = ["train", "--config-dir", "own", "loss=mine"]
    assert main(command) == 0
    assert trained.configs[0].loss.coefficients == {"my_weight": -3.0}
    assert trained.folders[0].name.startswith("ring8-mine-my_weight=-3-seed=0-")
    assert main([*command, "loss.my_wait=1"]) == 2
    assert "loss.my_weight" in capsys.readouterr().err


def test_a_broken_yaml_is_told_in_one_line(
    trained: Trained, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "own" / "loss").mkdir(parents=True)
    (here / "own" / "loss" / "bad.yaml").write_text("loss: [1,\n")
    assert main(["train", "--config-dir", "own", "loss=bad"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (here / "outputs").exists()


# A folder that holds something already.


def stored_run(trained: Trained, change: Callable[[dict[str, Any]], None]) -> Path:
    """The folder of the run that ``train`` makes, with a changed run.json in it."""
    assert main(["train"]) == 0
    folder = trained.folders.pop()
    content = {"format": FORMAT, "config": to_dict(trained.configs.pop()), "versions": {}}
    change(content)
    (folder / "run.json").write_text(json.dumps(content))
    return folder


def nothing(content: dict[str, Any]) -> None:
    pass


def another_seed(content: dict[str, Any]) -> None:
    content["config"]["seed"] = 99


def another_version(content: dict[str, Any]) -> None:
    content["format"] = 99


def test_the_same_run_goes_on(trained: Trained) -> None:
    folder = stored_run(trained, nothing)
    assert main(["train", "device=cpu"]) == 0
    assert trained.folders == [folder]


@pytest.mark.parametrize(
    ("change", "said"), [(another_seed, "seed is 99 there"), (another_version, "another version")]
)
def test_another_run_in_the_folder_is_an_error(
    change: Callable[[dict[str, Any]], None],
    said: str,
    trained: Trained,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = stored_run(trained, change)
    (folder / ".hydra" / "overrides.yaml").write_text("untouched")
    capsys.readouterr()
    assert main(["train"]) == 2
    told = capsys.readouterr().err
    assert said in told and "--overwrite" in told and trained.configs == []
    assert (folder / ".hydra" / "overrides.yaml").read_text() == "untouched"
    assert main(["train", "--overwrite"]) == 0


def test_a_run_in_use_is_refused_before_anything_is_written(
    trained: Trained, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stored_run(trained, nothing)
    (folder / ".hydra" / "overrides.yaml").write_text("untouched")
    with RunFolder(folder).lock():
        capsys.readouterr()
        assert main(["train"]) == 2
        assert "in use" in capsys.readouterr().err
        assert main(["train", "--overwrite"]) == 2
    assert trained.configs == []
    assert (folder / ".hydra" / "overrides.yaml").read_text() == "untouched"


# The other verbs.


@pytest.fixture
def inspect(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """A stand-in for drawing and measuring; keeps its calls."""
    calls = types.SimpleNamespace(sample=[], evaluate=[])

    def evaluate_run(path: Path, n: int, seed: int) -> dict[str, float]:
        calls.evaluate.append((path, n, seed))
        return {"modes/covered": 8.0, "wasserstein/exact": 0.0625}

    def sample_run(path: Path, n: int, out: str, seed: int) -> str:
        calls.sample.append((path, n, out, seed))
        return f"{n} points in {out}"

    monkeypatch.setattr("wganbench.training.run.sample_run", sample_run)
    monkeypatch.setattr("wganbench.training.run.evaluate_run", evaluate_run)
    return calls


def test_sample_and_evaluate(
    trained: Trained, inspect: types.SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stored_run(trained, nothing)
    assert main(["sample", str(folder), "-n", "12", "--out", "x.npy"]) == 0
    assert main(["sample", str(folder)]) == 0
    assert inspect.sample == [
        (folder, 12, "x.npy", 0),
        (folder, 2500, str(folder / "generated.npy"), 0),
    ]
    assert "12 points in x.npy\n" in capsys.readouterr().out
    assert main(["evaluate", str(folder), "--seed", "2"]) == 0
    assert inspect.evaluate == [(folder, 2500, 2)]
    assert capsys.readouterr().out.split() == [
        "modes/covered", "8", "wasserstein/exact", "0.0625",
    ]  # fmt: skip


def test_resume(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stored_run(trained, nothing)
    outcome = RunOutcome(folder, "diverged", 5, {}, [], 1.0)
    monkeypatch.setattr(runs, "resume_run", lambda path, view: outcome)
    assert main(["resume", str(folder)]) == 3


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    told = capsys.readouterr().out
    for name in ("loss=bce_r1", "data=grid25", "network=pacgan", "modes/kl", "experiment=wgan"):
        assert name in told
    assert "arXiv:1704.00028" in told
    assert main(["list", "losses"]) == 0
    assert "data=grid25" not in capsys.readouterr().out


def test_doctor(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    told = capsys.readouterr().out
    for name in ("torch", "python", "device=auto", "compiler", "outputs", "cpu threads", "POT"):
        assert name in told
    assert everything_in(here) == []


# Completion.


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """What bash offers at the end of a line, words broken at ``=`` as bash breaks them."""

    def offered(line: str) -> list[str]:
        words = line.replace("=", " = ").split(" ")
        words = [word for i, word in enumerate(words) if word or i == len(words) - 1]
        monkeypatch.setenv("COMP_WORDS", "\n".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        return complete_override(words[-1])

    return offered


def test_completion_in_bash(shell: Callable[[str], list[str]]) -> None:
    assert {"gp", "clip", "bce", "lp"} <= set(shell("wganbench train loss="))
    assert shell("wganbench train seed=1 loss=c") == ["clip"]
    assert shell("wganbench train train.optimizer=") == list(OPTIMIZERS)
    assert shell("wganbench train deterministic=t") == ["true"]
    assert shell("wganbench train data=digits network.latent_dim=") == ["16"], "digits take dcgan8"
    assert shell("wganbench train data=digits network=mlp network.latent_dim=") == ["2"]
    assert shell("wganbench train loss=clip loss.c")[0] == "loss.clip_value="
    assert shell("wganbench train loss.c") == []
    assert {"train.steps=", "train.decay="} <= set(shell("wganbench train train."))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["tune", "-batch=3"], "'-batch=3' is no flag"),
        (["loss=gp", "seed=range(0,3)"], "wganbench train loss=gp 'seed=range(0,3)'"),
        (["list", "data", "foo"], "take a second word; got 'foo'"),
        (["sweep", "hydra/launcher=ray", "hydra.launcher.adress=x"], "hydra.launcher.address"),
        (["sweep", "seed=0,1", "hydra.launcher.stacks=4"], "setting of hydra/launcher=slurm:"),
        (["sweep", "seed=0,1", "hydra.launcher.cpus_per_stack=4"], "launcher=ray or slurm:"),
        (["sweep", "tuned=gp-rin8,gp-ring8", "--plan"], "'gp-rin8'"),
    ],
)
def test_wrong_words_name_what_would_be_right(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_a_key_that_the_schema_lacks_has_no_completions() -> None:
    assert complete_override("hydra.launcher.partition=") == []


def test_completion_in_shells_that_keep_words_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "wganbench train loss=c")
    assert complete_override("loss=c") == ["loss=clip"]
    assert complete_override("data=grid25") == ["data=grid25", "data=grid25_pacgan"]
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "wganbench train loss=clip loss.clip")
    assert complete_override("loss.clip") == ["loss.clip_value=", "loss.clip_value=0.01"]


def test_a_shell_gets_completions(tmp_path: Path) -> None:
    line = "wganbench train loss="
    command = [
        sys.executable,
        "-c",
        "from wganbench.cli.app import app; app(prog_name='wganbench')",
    ]
    environment = {"_WGANBENCH_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": line}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)
    assert "loss=gp" in told.stdout and told.stderr == ""


# Start-up.


def modules_after(arguments: list[str], cwd: Path) -> tuple[set[str], str]:
    program = (
        "import sys; from wganbench.cli.app import main; code = main(sys.argv[1:]);"
        "print('MODULES', *sys.modules); sys.exit(code)"
    )
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=True,
    )
    text, _, modules = told.stdout.rpartition("MODULES")
    return set(modules.split()), text


def test_help_imports_neither_torch_nor_hydra(tmp_path: Path) -> None:
    for arguments in (["--help"], ["train", "--help"], ["list", "losses"]):
        modules, text = modules_after(arguments, tmp_path)
        assert text and not modules & {"torch", "hydra", "omegaconf"}
    assert "resume" in modules_after([], tmp_path)[1]


def test_printing_the_configuration_imports_no_torch(tmp_path: Path) -> None:
    modules, text = modules_after(["train", "loss=clip", "tuned=none", "--cfg", "job"], tmp_path)
    assert "clip_value: 0.01" in text and "torch" not in modules and "hydra" in modules
    assert everything_in(tmp_path) == []


@pytest.mark.slow
@pytest.mark.usefixtures("without_shape_checks")
def test_a_finished_run_is_told_without_torch_and_another_is_not(tmp_path: Path) -> None:
    words = ["train", "loss=clip", "tuned=none", "device=cpu", "compile=false", "train.steps=2",
             "train.batch_size=16", "network.width=8", "evaluate.every_n_steps=0",
             "evaluate.final_n=20", "evaluate.floor_pairs=2", "log.tensorboard=false",
             "log.figure=false"]  # fmt: skip
    modules, first = modules_after(words, tmp_path)
    assert "torch" in modules and "completed at step 2" in first
    assert first.startswith("loading torch ...\n")
    modules, again = modules_after(words, tmp_path)
    assert "torch" not in modules and "completed at step 2" in again
    assert set(again.splitlines()[1:]) <= set(first.splitlines()), "the same values"
    modules, other = modules_after([*words, "seed=1"], tmp_path)
    assert "torch" in modules and "completed at step 2" in other


def test_loading_is_said_before_torch_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    said = []

    def check(config: object) -> None:
        said.append("checked")
        raise ConfigError("enough")

    monkeypatch.setattr("wganbench.cli.run_view.say_loading", lambda: said.append("loading"))
    monkeypatch.setattr("wganbench.config.check.check_options", check)
    assert main(["train", "name=none"]) == 2
    assert said == ["loading", "checked"], "the check of the options imports torch"


def test_no_summary_of_a_command_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:")[2]
    assert "compare " in listed and "..." not in listed


def test_a_missing_argument_leads_to_the_help_of_its_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["diff", "outputs"]) == 2
    assert capsys.readouterr().err.endswith("(wganbench diff --help)\n")
    assert main(["dif", "outputs"]) == 2
    assert capsys.readouterr().err.endswith("(wganbench --help)\n")


def test_python_m(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wganbench", "train", "seed=0,1"]
    told = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert told.returncode == 2 and "wganbench sweep" in told.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("wganbench ")


def test_the_exit_codes_cover_every_status() -> None:
    from wganbench.runs.record import STATUSES

    assert set(console.EXIT_CODES) == set(STATUSES)


def test_a_folder_of_the_user_s_is_made_only_for_a_run_that_trains(
    trained: Trained, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "train.steps=7", "hydra.run.dir=mine"]
    assert main([*words, "seed=-1"]) == 2 and not (here / "mine").exists()
    with RunFolder(run_folder(config := compose(["train.steps=7"]))).lock() as held:
        held.write_status(status="completed", step=7, format=FORMAT, config=to_dict(config))
    assert main(words) == 0 and not trained.configs and not (here / "mine").exists()
    assert "completed at step 7" in capsys.readouterr().out
    assert main([*words, "seed=1"]) == 0
    assert [folder.resolve() for folder in trained.folders] == [here / "mine"]
    assert (here / "mine" / ".hydra").is_dir()


def test_the_end_of_a_process_ends_pools_before_it_waits_for_their_processes() -> None:
    code = """
from concurrent.futures import ProcessPoolExecutor
from wganbench.cli.console import end_process

pool = ProcessPoolExecutor(1)
assert pool.submit(abs, -1).result() == 1
end_process(7)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 7
