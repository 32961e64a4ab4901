"""Runs whose data have moved, were scaled, or need what is not installed; resuming a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_configs import TINY

from wganbench.cli import runs_verbs
from wganbench.cli.app import main
from wganbench.cli.runs_verbs import resume_path
from wganbench.config import (
    ConfigError,
    RunConfig,
    compose,
    identity,
    run_folder,
    run_id,
    to_dict,
)
from wganbench.config.jobs import Job
from wganbench.data.contents import contents_digest
from wganbench.runs.folder import RunFolder
from wganbench.runs.stored import FORMAT, stored_config, with_data
from wganbench.sweeps.manifest import add_jobs
from wganbench.training.run import Run, evaluate_run, load_run
from wganbench.training.runs import resume_run, train_run

CENTRE = np.array([388097.459, 5820430.359])


def cloud(scale: float = 1.0, shift: Any = 0.0, n: int = 60) -> np.ndarray:
    rng = np.random.default_rng(0)
    return scale * (rng.integers(0, 2, (n, 1)) * 2 + 0.1 * rng.normal(size=(n, 2))) + shift


def config_of(*overrides: str, **settings: Any) -> RunConfig:
    given = [f"{key}={shown(value)}" for key, value in (TINY | settings).items()]
    return compose(["data=points", "loss=gp", "tuned=none", *given, "log.figure=false", *overrides])


def shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run in a folder of its own, its data named as seen from there."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    np.save("c.npy", cloud())
    config = config_of("data.path=c.npy")
    folder = home / run_folder(config)
    assert train_run(config, folder).status == "completed"
    return folder


def test_a_run_is_looked_at_from_anywhere(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, values = load_run(trained).sample(5), evaluate_run(trained, 20)
    record = RunFolder(trained).read()
    assert record["data_shape"] == [2] and "data_units" not in record
    assert record["config"]["data"]["path"] == "c.npy"
    assert record["config"]["data"]["found_at"] == str(tmp_path / "home" / "c.npy")
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(load_run(trained).sample(5), points)
    assert evaluate_run(trained, 20) == values
    assert resume_run(trained).status == "completed"
    # Other data under the same name lie here: those of the run are still found.
    np.save("c.npy", cloud(2.0))
    assert evaluate_run(trained, 20) == values
    # All of it was moved: the name leads to the data from the folder above the outputs.
    shutil.move(tmp_path / "home", tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved")
    moved = tmp_path / "moved" / trained.relative_to(tmp_path / "home")
    assert evaluate_run(moved, 20) == values


def test_a_run_without_its_data_still_makes_points(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = load_run(trained).sample(5)
    file = tmp_path / "home" / "c.npy"
    file.unlink()
    np.testing.assert_array_equal(load_run(trained).sample(5), points)
    assert main(["sample", str(trained), "-n", "3", "--out", str(tmp_path / "x.npy")]) == 0
    assert main(["evaluate", str(trained), "-n", "20"]) == 2
    error = capsys.readouterr().err
    assert "data.path: there is no file" in error and str(file) in error
    assert error.count("\n") == 1
    np.save(file, cloud(2.0))
    assert main(["evaluate", str(trained), "-n", "20"]) == 2
    assert "holds other data than the run" in capsys.readouterr().err


def test_a_home_of_another_machine_is_passed_over(trained: Path) -> None:
    config = stored_config(trained)
    config.data.options["path"] = "~nobody_at_all/c.npy"
    assert with_data(config, trained) is config
    assert contents_digest(config.data.options | {"found_at": None}) is None


def unfinished(folder: Path) -> None:
    with RunFolder(folder).lock() as held:
        held.write_status(status="interrupted")
    for name in ("checkpoint.pt", "checkpoint.previous.pt"):
        (folder / name).unlink(missing_ok=True)


def test_resuming_without_the_data_is_refused_in_a_line(trained: Path, tmp_path: Path) -> None:
    unfinished(trained)
    (tmp_path / "home" / "c.npy").unlink()
    with pytest.raises(ConfigError, match=r"data\.path: there is no file"):
        resume_run(trained)


def test_resuming_from_elsewhere_finds_the_data(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfinished(trained)
    monkeypatch.chdir(tmp_path)
    assert resume_run(trained).status == "completed"
    stored = stored_config(trained)
    assert stored.data.options["path"] == "c.npy"
    assert with_data(stored, trained).data.options["found_at"] == str(tmp_path / "home" / "c.npy")


def change_config(folder: Path, group: str, **values: Any) -> None:
    record = json.loads((folder / "run.json").read_text())
    record["config"][group] |= values
    (folder / "run.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("group", "values", "words"),
    [
        (
            "data",
            {"kind": "heart"},
            "needs data 'heart', which no installed package and no plugin file registers",
        ),
        ("network", {"kind": "kan"}, "needs network 'kan', which no installed package"),
        ("loss", {"name": "mine"}, "needs loss 'mine', which no installed package"),
        ("network", {"width": 16}, "of another network"),
    ],
)
def test_what_is_not_installed_is_named(
    trained: Path, capsys: pytest.CaptureFixture[str], group: str, values: Any, words: str
) -> None:
    change_config(trained, group, **values)
    verbs = [["sample", str(trained), "-n", "3"], ["evaluate", str(trained), "-n", "20"]]
    if group == "data":
        verbs = verbs[1:]  # to make points their shape will do
        assert main(["sample", str(trained), "-n", "3"]) == 2
        capsys.readouterr()
    for arguments in verbs:
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
    with RunFolder(trained).lock() as held:
        held.write_status(status="interrupted")
    assert main(["resume", str(trained)]) == 2
    told = "is that of another run" if values == {"width": 16} else words
    assert told in capsys.readouterr().err


def test_runs_of_before_are_read(trained: Path) -> None:
    points = load_run(trained).sample(4)
    record = json.loads((trained / "run.json").read_text())
    for key in ("columns", "standardize", "found_at"):
        del record["config"]["data"][key]
    del record["data_shape"]
    (trained / "run.json").write_text(json.dumps(record))
    np.testing.assert_array_equal(load_run(trained).sample(4), points)
    assert run_id(stored_config(trained)) == trained.name
    again = train_run(config_of("data.path=c.npy"), trained)
    assert again.status == "completed"


def test_new_options_at_their_default_name_no_other_run(tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", cloud())
    path = f"data.path={tmp_path}/c.npy"
    plain = config_of(path)
    assert identity(plain)["data"].keys() == {
        "name", "kind", "path", "held_out_share", "train_points", "train_seed",
    }  # fmt: skip
    for other in ("data.columns=[0]", "data.standardize=true"):
        assert run_id(config_of(path, other)) != run_id(plain)


# Units.
class Shown:
    """A view that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, steps: int, done: int) -> None: ...

    def progress(self, step: int, values: Sequence[Mapping[str, float]]) -> None: ...

    def say(self, line: str) -> None:
        self.lines.append(line)

    def stop(self) -> None: ...


def test_standardized_data_are_told_in_their_own_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    outcomes, folders, views = {}, {}, {}
    for name, scale, shift in (("near", 1.0, 0.0), ("far", 1000.0, CENTRE)):
        np.save(f"{name}.npy", cloud(scale, shift))
        config = config_of(f"data.path={name}.npy", "data.standardize=true", "log.figure=true")
        folders[name], views[name] = tmp_path / run_folder(config), Shown()
        outcomes[name] = train_run(config, folders[name], views[name])
        assert views[name].lines[0].startswith("60 points in 2-D, x ")
    near, far = outcomes["near"].metrics, outcomes["far"].metrics
    for tag in ("exact", "floor", "sliced", "estimate_normalized"):
        assert far[f"wasserstein/{tag}"] == pytest.approx(
            1000 * near[f"wasserstein/{tag}"], rel=1e-3
        )
    for tag in ("critic/slope_mean", "fidelity/recall", "wasserstein/estimate"):
        assert far[tag] == pytest.approx(near[tag], rel=1e-3, abs=1e-3)
    runs = {name: load_run(folder) for name, folder in folders.items()}
    points = runs["far"].sample(8)
    assert points.dtype == np.float64
    np.testing.assert_allclose(points, 1000 * runs["near"].sample(8) + CENTRE, atol=1)
    samples = np.load(folders["far"] / "samples.npz")
    assert np.abs(samples["reals"] - CENTRE).max() < 3000
    rows = {tuple(row) for row in np.load("far.npy").round(3)}
    assert {tuple(row) for row in samples["reals"].round(3)} <= rows
    assert "times the" in " ".join(outcomes["far"].verdict)


@pytest.mark.parametrize(
    "wrong", [{"centre": [1.0], "scale": 2.0}, {"centre": [1.0, 2.0], "scale": 0}, {"scale": 1}, 7]
)
def test_units_that_do_not_fit_the_points_are_a_line(trained: Path, wrong: Any) -> None:
    def with_units(units: Any) -> Run:
        content = json.loads((trained / "run.json").read_text())
        (trained / "run.json").write_text(json.dumps(content | {"data_units": units}))
        return load_run(trained)

    plain = load_run(trained).sample(3)
    scaled = with_units({"centre": [1.0, 2.0], "scale": 2.0}).sample(3)
    np.testing.assert_allclose(scaled, 2.0 * plain.astype(float) + [1.0, 2.0])
    with pytest.raises(ConfigError, match="data_units must hold centre, 2 finite numbers, and"):
        with_units(wrong).sample(3)


@pytest.mark.usefixtures("without_shape_checks")
def test_a_number_of_points_is_a_whole_one_and_within_bounds(trained: Path) -> None:
    run = load_run(trained)
    assert run.sample(1).shape == (1, 2) and run.sample(np.int64(2)).shape == (2, 2)
    for n in (0, -1, 1.5, True, 10**12):
        with pytest.raises(ConfigError, match="n must be a whole number from 1 to 100000000; got"):
            run.sample(n)  # type: ignore[arg-type]
    for n in (9, 10**6 + 1):
        with pytest.raises(ConfigError, match=f"n must be .* from 10 to 1000000; got {n}"):
            evaluate_run(trained, n)


# A folder of runs.
def test_resume_of_a_folder_finishes_what_is_below_it(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = config_of("data.path=c.npy", "seed=3")
    second = tmp_path / "home" / run_folder(other)
    train_run(other, second)
    unfinished(second)
    broken = tmp_path / "home" / "outputs" / "broken"
    broken.mkdir()
    (broken / "run.json").write_text("{")
    outputs = tmp_path / "home" / "outputs"
    assert main(["resume", str(outputs)]) == 2
    told = capsys.readouterr()
    assert "2 to resume below" in told.out and "1 finished" in told.out
    assert "completed at step 4" in told.out and told.err.count("\n") == 1
    assert RunFolder(second).read()["status"] == "completed"
    (broken / "run.json").unlink()
    assert resume_path(outputs) == []
    assert main(["resume", str(outputs)]) == 0
    with pytest.raises(ConfigError, match="no run at"):
        resume_path(broken)
    assert resume_path(second) == ["completed"]


def test_resume_finishes_a_sweep_and_the_single_runs_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "ring8"
    for name, seed in (("swept", 0), ("alone", 1)):
        with RunFolder(folder / name).lock() as held:
            config = config_of("data=ring8", f"seed={seed}")
            held.write_status(status="interrupted", format=FORMAT, config=to_dict(config))
    add_jobs(folder, [Job(config_of("data=ring8", "seed=0"), folder / "swept")])
    told: list[Path] = []

    def one(path: Path) -> list[str]:
        told.append(path)
        return ["completed"]

    monkeypatch.setattr(runs_verbs, "resume_one", one)
    assert resume_path(folder) == ["completed"] * 2 and told == [folder, folder / "alone"]
    with RunFolder(folder / "alone").lock() as held:
        held.write_status(status="completed")
    assert resume_path(folder) == ["completed"] and told[2:] == [folder]
