"""A loss in one file, without a package: found by every command, never run for a stranger."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from training_configs import tiny

from wganbench import plugin_files
from wganbench.cli.app import main
from wganbench.cli.run_view import next_commands
from wganbench.cli.sweep_view import print_sweep
from wganbench.config.from_python import overrides_from
from wganbench.config.jobs import Job
from wganbench.config.overrides import parse_overrides
from wganbench.errors import ConfigError
from wganbench.presets import directories, user_files_first
from wganbench.runs.folder import RunFolder, RunOutcome
from wganbench.runs.stored import outcome_before
from wganbench.studies.settings import budgets
from wganbench.sweeps.launch import trained_by_other_code
from wganbench.training.checkpoint import Checkpoint
from wganbench.training.locked_runs import Ready
from wganbench.training.runs import code_changed

LOSS = """
from wganbench.losses import RECIPES
import dataclasses

def register():
    RECIPES.register("mine", dataclasses.replace(RECIPES["gp"], summary="a loss of mine"))
    print("the file was run")
"""
TINY = [
    "tuned=none", "device=cpu", "compile=false", "train.steps=2", "train.batch_size=16",
    "network.width=8", "evaluate.every_n_steps=0", "evaluate.final_n=20", "evaluate.floor_pairs=2",
    "log.tensorboard=false", "log.figure=false",
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with mine.py and conf/loss/mine.yaml."""
    (tmp_path / "mine.py").write_text(LOSS)
    (tmp_path / "conf" / "loss").mkdir(parents=True)
    gp = Path(__file__).parents[1] / "conf" / "loss" / "gp.yaml"
    text = gp.read_text().replace("name: gp", "name: mine")
    (tmp_path / "conf" / "loss" / "mine.yaml").write_text(text)
    return tmp_path


def wganbench(
    place: Path, *words: str, plugins: str | None = None
) -> subprocess.CompletedProcess[str]:
    named = {} if plugins is None else {plugin_files.VARIABLE: plugins}
    command = [sys.executable, "-m", "wganbench", *words]
    return subprocess.run(
        command, cwd=place, capture_output=True, text=True, env=os.environ | named
    )


@pytest.mark.slow
def test_a_loss_in_one_file_trains_is_kept_and_is_found_again(place: Path) -> None:
    trained = wganbench(place, "train", "loss=mine", "plugins=mine.py", "name=one", *TINY)
    assert trained.returncode == 0, trained.stderr
    (run,) = (place / "outputs" / "one").glob("*/")
    stored = json.loads((run / "run.json").read_text())
    digest = hashlib.sha256(LOSS.encode()).hexdigest()
    assert stored["plugins"] == {str(place / "mine.py"): digest}
    drawn = wganbench(place, "sample", str(run), "-n", "5", plugins="mine.py")
    assert drawn.returncode == 0 and "the file was run" in drawn.stdout
    drawn = wganbench(place, "sample", str(run), "-n", "5", "plugins=mine.py")
    assert drawn.returncode == 0 and "the file was run" in drawn.stdout
    unknown = wganbench(place, "sample", str(run), "-n", "5")
    assert unknown.returncode == 2 and "the file was run" not in unknown.stdout
    assert unknown.stderr.count("\n") == 1 and "'mine'" in unknown.stderr


@pytest.mark.slow
def test_a_sweep_takes_it_to_its_workers(place: Path) -> None:
    swept = wganbench(place, "sweep", "loss=mine,gp", "seed=0,1", "plugins=mine.py", *TINY)
    assert swept.returncode == 0, swept.stderr
    runs = [json.loads(path.read_text()) for path in place.glob("outputs/*/*/run.json")]
    assert [run["status"] for run in runs] == ["completed"] * 4
    assert {run["config"]["loss"]["name"] for run in runs} == {"mine", "gp"}


def test_list_shows_it(place: Path) -> None:
    listed = wganbench(place, "list", "losses", plugins=str(place / "mine.py"))
    assert "mine" in listed.stdout


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(plugin_files.VARIABLE, "")  # so that what a test sets is undone
    monkeypatch.setattr(plugin_files, "_loaded", {})


@pytest.mark.usefixtures("alone")
def test_what_is_no_file_or_fails_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"plugins=.*none.py.* no such file"):
        parse_overrides([f"plugins={tmp_path / 'none.py'}"])
    (tmp_path / "a:b.py").touch()
    with pytest.raises(ConfigError, match="the path holds ':'"):
        parse_overrides([f"plugins={tmp_path / 'a:b.py'}"])
    with pytest.raises(ConfigError, match="plugins= names no file"):
        parse_overrides(["plugins="])
    monkeypatch.setenv(plugin_files.VARIABLE, str(tmp_path / "none.py"))
    with pytest.raises(ConfigError, match=r"none.py, named by .* fails: /.*none"):
        plugin_files.load_plugin_files()
    os.mkfifo(tmp_path / "pipe.py")
    monkeypatch.setenv(plugin_files.VARIABLE, str(tmp_path / "pipe.py"))
    with pytest.raises(ConfigError, match=r"pipe.py, named by .* is not a regular file"):
        plugin_files.load_plugin_files()
    text = tmp_path / "notes.txt"
    text.write_text("not a program")
    monkeypatch.setenv(plugin_files.VARIABLE, str(text))
    with pytest.raises(ConfigError, match=r"notes.txt, named by .* must end in .py$"):
        plugin_files.load_plugin_files()
    broken = tmp_path / "broken.py"
    broken.write_text("\n1 / 0")
    monkeypatch.setenv(plugin_files.VARIABLE, str(broken))
    with pytest.raises(ConfigError, match=r"broken.py, .* fails in line 2: ZeroDivisionError"):
        plugin_files.load_plugin_files()


@pytest.mark.usefixtures("alone")
def test_commas_and_brackets_may_be_part_of_a_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["a,b/mine.py", "[c]/x.py", "y.py"]
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    found = {
        "a,b/mine.py": names[:1],
        "'a,b/mine.py'": names[:1],
        "[c]/x.py": names[1:2],
        "y.py,a,b/mine.py": [names[2], names[0]],
        "[y.py,[c]/x.py]": [names[2], names[1]],
        "a,b": ["a", "b"],
    }
    for text, own in found.items():
        assert plugin_files._names(f"plugins={text}") == own


@pytest.mark.usefixtures("alone")
def test_a_file_is_run_once_and_several_are_kept_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        text = f"import pathlib\nwith open({str(tmp_path / 'log')!r}, 'a') as f: f.write('{name}')"
        (tmp_path / f"{name}.py").write_text(text)
    words = plugin_files.use_plugins([f"plugins={tmp_path / 'a.py'},{tmp_path / 'b.py'}", "seed=1"])
    assert words == ["seed=1"]
    for _ in range(2):
        plugin_files.load_plugin_files()
    assert (tmp_path / "log").read_text() == "ab"


@pytest.mark.usefixtures("alone")
def test_a_file_that_was_edited_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it trained before was trained by other code, and a process keeps what it has loaded."""
    file = tmp_path / "mine.py"
    file.write_text("a = 1\n")
    monkeypatch.setenv(plugin_files.VARIABLE, str(file))
    plugin_files.load_plugin_files()
    then = plugin_files.plugin_digests()
    job = Job(tiny("gp"), tmp_path / "run")
    with RunFolder(job.folder).lock() as held:
        held.write_status(status="completed", step=4, verdict=["Done."], plugins=then)
        begun = [Ready(0, held, Checkpoint(2, 1.0, {}), None)]

    def told() -> list[str]:
        record = RunFolder(job.folder).record()
        notes = *trained_by_other_code([job]), *code_changed(begun)
        return [*outcome_before(record).verdict, *notes]

    assert told() == ["Done."] and overrides_from([], {"seed": 1}) == ["seed=1"]
    file.write_text("a = 2\n")
    assert told() == [
        "Done.",
        "mine.py has changed since this run was trained; --overwrite trains it again.",
        "mine.py has changed since 1 run of this sweep ended; --overwrite trains all afresh",
        "mine.py has changed: from here on its new code trains",
    ]
    assert code_changed([replace(begun[0], checkpoint=None)]) == [], "it begins with that code"
    with pytest.raises(ConfigError, match=r"mine.py was edited .*: restart the process"):
        overrides_from([], {"seed": 1})
    other = {str(tmp_path / "other.py"): "0" * 64}
    assert plugin_files.changed_plugins(other) == [], "this command does not name it"


@pytest.mark.usefixtures("alone")
def test_a_file_that_is_named_in_two_ways_is_one(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(place))
    for named in ("mine.py", "~/mine.py", str(place / "mine.py")):
        monkeypatch.setenv(plugin_files.VARIABLE, named)
        plugin_files.use_plugins(["plugins=mine.py"])
        assert plugin_files.plugin_files() == [place / "mine.py"]


@pytest.mark.usefixtures("alone")
def test_a_studys_settings_are_beside_the_file_or_in_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "budgets:\n  quick: {seeds: 5, minutes: 0.1, few: 50}\n  full: {few: 60}\n"
    (tmp_path / "mine.py").touch()
    monkeypatch.setenv(plugin_files.VARIABLE, str(tmp_path / "mine.py"))
    with pytest.raises(ConfigError, match="the study mine has no settings: .*study/mine.yaml"):
        budgets("mine")
    for folder, few in (("conf", 60), ("own", 61)):
        (tmp_path / folder / "study").mkdir(parents=True)
        (tmp_path / folder / "study" / "mine.yaml").write_text(text.replace("60", str(few)))
    assert budgets("mine")["full"] == {"seeds": 5, "minutes": 0.1, "few": 60}
    with user_files_first(directories(tmp_path / "own")):
        assert budgets("mine")["full"]["few"] == 61
        assert set(budgets("dirac")) == {"quick", "full", "paper"}
    for wrong in ("name: mine\n", "budgets: 3\n", "budgets: {quick: {few: 1}}\n"):
        (tmp_path / "conf" / "study" / "mine.yaml").write_text(wrong)
        with pytest.raises(ConfigError, match="study/mine.yaml"):
            budgets("mine")


@pytest.mark.usefixtures("alone")
def test_every_command_takes_it_and_offers_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my loss.py").write_text("raise ValueError('it was run')")
    file = "plugins=my loss.py"
    for words in (["list", "losses"], ["evaluate", "."], ["compare", ".", "--by", "seed"]):
        monkeypatch.setenv(plugin_files.VARIABLE, "")
        assert main([*words, file]) == 2
        assert "unexpected" not in capsys.readouterr().err
        assert plugin_files.plugin_files() == [tmp_path / "my loss.py"]
    outcome = RunOutcome(tmp_path / "run", "interrupted", 3, {}, [], 1.0)
    assert next_commands(outcome) == ["go on:       wganbench resume run 'plugins=my loss.py'"]
    (tmp_path / "my loss.py").write_text("")
    config = tiny()
    done = RunOutcome(tmp_path / "done", "completed", 3, {}, [], 1.0)
    print_sweep(tmp_path, [Job(config, done.path)], [done])
    assert "wganbench compare . 'plugins=my loss.py'\n" in capsys.readouterr().out
    monkeypatch.setenv(plugin_files.VARIABLE, "")
    assert next_commands(outcome) == ["go on:       wganbench resume run"]
