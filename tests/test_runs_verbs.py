"""ls, rm and diff: what they tell, and that nothing else is touched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from reported_runs import leave_run

from wganbench.cli.app import main
from wganbench.cli.runs_verbs import resume_one
from wganbench.config import ConfigError
from wganbench.leftovers import machine
from wganbench.runs.folder import RunFolder, remove_run
from wganbench.sweeps.plan import resumable


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Three runs of one folder: two of gp that differ in lambda, and one that failed."""
    folder = tmp_path / "runs"
    for name, seed, weight, status, metrics in (
        ("a", 0, 0.1, "completed", {"modes/covered": 8.0}),
        ("b", 1, 10.0, "completed", {"modes/covered": 7.0}),
        ("c", 2, 10.0, "failed", {}),
    ):
        settings = {"loss.gp_lambda": weight}
        leave_run(folder, "gp", seed, metrics, status, **settings).rename(folder / name)
    return folder


def test_ls_tells_what_differs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", str(place)]) == 0
    told = capsys.readouterr().out
    lines = {line.split()[0]: line.split() for line in told.splitlines()[2:-1]}
    assert "gp_lambda=0.1" in lines and "gp_lambda=10" in lines
    assert "8" in lines["gp_lambda=0.1"] and told.splitlines()[-1].startswith("3 runs, ")
    assert all(len(line) <= 80 for line in told.splitlines()[1:-1])


def test_ls_as_json_is_strict_and_whole(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls", str(place), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [Path(row["path"]).name for row in rows] == ["a", "b", "c"]
    assert [row["status"] for row in rows] == ["completed", "completed", "failed"]
    assert [row["differs"]["loss.gp_lambda"] for row in rows] == [0.1, 10.0, 10.0]
    assert rows[0]["metrics"]["modes/covered"] == 8.0
    assert rows[0]["bytes"] == sum(f.stat().st_size for f in (place / "a").iterdir() if f.is_file())


def test_rm_lists_first_and_removes_what_was_chosen_only(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rm", str(place)]) == 2
    assert "--status failed" in capsys.readouterr().err
    assert main(["rm", str(place), "--status", "sick"]) == 2
    assert main(["rm", str(place), "--status", "failed"]) == 0
    assert "1 run would be removed" in capsys.readouterr().out
    assert (place / "c").is_dir()
    assert main(["rm", str(place), "--status", "failed", "--yes"]) == 0
    assert sorted(path.name for path in place.iterdir()) == ["a", "b"]


def test_rm_goes_by_the_last_change(place: Path) -> None:
    days = time.time() - 10 * 86_400
    os.utime(place / "a" / "run.json", (days, days))
    assert main(["rm", str(place), "--older", "9", "--yes"]) == 0
    assert sorted(path.name for path in place.iterdir()) == ["b", "c"]


def test_a_run_in_use_stays(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunFolder(place / "c").lock():
        assert main(["rm", str(place), "--status", "failed", "--yes"]) == 3
    assert "in use by" in capsys.readouterr().out and (place / "c" / "run.json").is_file()


def test_an_odd_run_is_kept_and_those_after_it_go(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "outside").write_text("mine")
    (place / "a" / ".lock").unlink()
    (place / "a" / ".lock").symlink_to(tmp_path / "outside")
    choice = ["rm", str(place), "--status", "completed"]
    assert main(choice) == 0
    told = capsys.readouterr().out
    assert "1 run would be removed" in told
    assert "kept" in told and ".lock is a link" in told
    assert main([*choice, "--yes"]) == 3
    assert ".lock is a link" in capsys.readouterr().out
    assert sorted(path.name for path in place.iterdir()) == ["a", "c"]
    assert (tmp_path / "outside").read_text() == "mine"


def test_a_run_that_turns_odd_while_it_is_removed_is_kept(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(RunFolder, "holder", lambda _: None)
    (place / "a" / ".lock").unlink()
    (place / "a" / ".lock").symlink_to(place)
    assert main(["rm", str(place), "--status", "completed", "--yes"]) == 3
    assert ".lock is a link" in capsys.readouterr().out
    assert sorted(path.name for path in place.iterdir()) == ["a", "c"]


def test_files_of_the_user_and_targets_of_links_stay(place: Path, tmp_path: Path) -> None:
    run, outside = place / "a", tmp_path / "outside"
    outside.mkdir()
    (outside / "config.yaml").write_text("mine")
    (outside / "1.png").write_text("mine")
    (run / "notes.txt").write_text("mine")
    (run / ".hydra").symlink_to(outside)
    (run / "frames").symlink_to(outside)
    (run / "figure.png").symlink_to(outside / "1.png")
    assert not remove_run(run), "the folder stays with the notes"
    assert sorted(path.name for path in run.iterdir()) == [".hydra", "frames", "notes.txt"]
    assert sorted(path.name for path in outside.iterdir()) == ["1.png", "config.yaml"]


def test_of_the_pictures_in_frames_those_of_the_run_go_with_its_leftovers(place: Path) -> None:
    frames = place / "a" / "frames"
    frames.mkdir()
    dead = f".tmp-{2**31 - 1:08x}{machine()}{'0' * 16}"
    for name in ("000000020.png", "1234567890.png", "best.png", "20.png", dead):
        (frames / name).write_text("x")
    assert not remove_run(place / "a")
    assert sorted(path.name for path in (place / "a").iterdir()) == ["frames"]
    assert sorted(path.name for path in frames.iterdir()) == ["20.png", "best.png"]


def test_a_whole_folder_goes_with_frames_and_hydras_files(place: Path) -> None:
    run = place / "a"
    exported = "scalars.csv", "scalars.parquet", "generator.pt2", "critic.pt2"
    for name in ("frames/000000020.png", ".hydra/config.yaml", ".hydra/hydra.yaml", *exported):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("x")
    assert remove_run(run) and not run.exists()


def test_ls_calls_runs_by_what_differs_in_their_folder_and_counts_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (10, 2):
        run = leave_run(tmp_path / "one", "gp", seed, {}, **{"train.steps": 50})
        run.rename(run.with_name(f"run-seed={seed}"))
    leave_run(tmp_path / "two", "gp", 0, {}, "interrupted", **{"train.steps": 900})
    leave_run(tmp_path / "two", "clip", 0, {}, **{"train.steps": 900})
    assert main(["ls", str(tmp_path)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    runs = [words for words in lines if words[0] in ("gp", "clip")]
    assert [(words[0], words[1]) for words in runs] == [
        ("gp", "2"), ("gp", "10"), ("clip", "0"), ("gp", "0"),
    ]  # fmt: skip
    assert runs[-1][3].endswith("/900"), "how far an unfinished run came"
    assert all("/" not in words[3] for words in runs[:-1])
    assert main(["ls", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["differs"]["train.steps"] for row in rows} == {50, 900}


def test_diff_prints_a_dash_for_what_a_run_has_not(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(place / "a"), str(place / "c")]) == 0
    told = capsys.readouterr().out
    assert "None" not in told and str(place / "c") in told
    assert ["modes/covered", "8", "-"] in [line.split() for line in told.splitlines()]


def test_a_folder_without_a_run_is_wrong_use(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["diff", str(place / "a"), str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert main(["rm", str(place), "--status", "running", "--yes"]) == 0
    assert capsys.readouterr().out == "no run is chosen\n"


def test_the_step_of_a_run_whose_process_died_is_that_of_its_last_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(0, {"modes/covered": 1.0}), (70, {"modes/covered": 2.0})]
    killed = leave_run(tmp_path, seed=1, status="running", step=0, rows=rows)
    leave_run(tmp_path, seed=2, status="running", step=30)
    leave_run(tmp_path, seed=3, status="interrupted", step=50, rows=rows)
    assert main(["ls", str(tmp_path), "--json"]) == 0
    steps = {row["seed"]: row["step"] for row in json.loads(capsys.readouterr().out)}
    assert steps == {1: 70, 2: 30, 3: 50}
    assert main(["rm", str(tmp_path), "--status", "interrupted"]) == 0
    assert "interrupted at step 70, " in capsys.readouterr().out
    (killed / "metrics.csv").write_text("none of ours")
    assert main(["ls", str(killed), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["step"] == 0


def test_a_run_whose_process_died_was_interrupted(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """run.json says running, and nobody holds the lock."""
    leave_run(place, "gp", 3, {}, "running", **{"loss.gp_lambda": 0.1}).rename(place / "d")
    assert main(["ls", str(place), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[3]["status"] == "interrupted"
    with RunFolder(place / "d").lock():
        assert main(["ls", str(place), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[3]["status"] == "running"
    assert main(["rm", str(place), "--status", "interrupted", "--yes"]) == 0
    assert not (place / "d").exists() and (place / "a").exists()


def test_runs_that_were_measured_otherwise_differ(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_run(place, "gp", 0, {"modes/covered": 8.0}, **{
        "loss.gp_lambda": 0.1, "evaluate.final_n": 77}).rename(place / "m")  # fmt: skip
    assert main(["diff", str(place / "a"), str(place / "m")]) == 0
    (line,) = [one for one in capsys.readouterr().out.splitlines() if "final_n" in one]
    assert line.split()[0] == "evaluate.final_n" and line.split()[-1] == "77"


def test_a_table_in_a_pipe_keeps_its_lines_whole(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    long = {"train.steps": 4000000, "loss.gp_lambda": 0.1234567891}
    leave_run(place, "bce_gp", 4, {"modes/covered": 1.5, "wasserstein/exact": 1.0}, "interrupted",
              step=1234567, **long).rename(place / "long")  # fmt: skip
    assert main(["ls", str(place)]) == 0
    (line,) = [one for one in capsys.readouterr().out.splitlines() if "1234567/4000000" in one]
    assert "bce_gp gp_lambda=0.1234567891" in line


@pytest.mark.parametrize("verb", ["export", "sample", "evaluate"])
def test_out_takes_the_place_of_files_alone(
    place: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A device or a pipe would be replaced by a file."""
    os.mkfifo(place / "fifo.csv")
    words = [verb, str(place / "a"), "--out"]
    for out, told in ((place / "fifo.csv", "it is no regular file"), ("-", "the name of a file")):
        assert main([*words, str(out)]) == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1
    assert (place / "fifo.csv").is_fifo()


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="there is no /dev/stdout")
def test_out_refuses_a_pipe_by_its_own_name(place: Path) -> None:
    command = [sys.executable, "-m", "wganbench", "export", str(place), "--out", "/dev/stdout"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and "--out /dev/stdout: it is no regular file" in ended.stderr


def test_out_writes_through_a_link(place: Path) -> None:
    leave_run(place, "gp", 5, {}, rows=[(1, {"loss/critic": 0.5})], **{"loss.gp_lambda": 0.1})
    (place / "link.csv").symlink_to("real.csv")
    assert main(["export", str(place), "--out", str(place / "link.csv")]) == 0
    assert (place / "link.csv").is_symlink() and "loss/critic" in (place / "real.csv").read_text()


def test_diff_names_what_differs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(place / "a"), str(place / "b"), "--json"]) == 0
    rows = {row["key"]: (row["one"], row["other"]) for row in json.loads(capsys.readouterr().out)}
    assert rows == {"seed": (0, 1), "loss.gp_lambda": (0.1, 10.0), "modes/covered": (8.0, 7.0)}
    assert main(["diff", str(place / "a"), str(place / "a")]) == 0
    assert capsys.readouterr().out.strip() == "they do not differ"


def test_what_cannot_be_read_is_named_by_every_verb(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, missing in (("b", "status"), ("c", "config")):
        file = place / name / "run.json"
        content = json.loads(file.read_text())
        file.write_text(json.dumps(content | {missing: None}))
    lines = [f"{place}/{name}/run.json: {key} is missing" for name, key in
             (("b", "status"), ("c", "config"))]  # fmt: skip
    for words in (["ls"], ["rm", "--status", "failed"], ["export"]):
        assert main([*words, str(place)]) == 0
        told = capsys.readouterr().out
        assert all(f"left out: {line}" in told for line in lines), words
    assert "of 1 run in" in told
    assert main(["ls", str(place), "--json"]) == 0
    told, error = capsys.readouterr()
    assert len(json.loads(told)) == 1 and error.count("left out: ") == 2
    assert sorted(path.name for path in resumable(place)[0]) == ["b", "c"]
    with pytest.raises(ConfigError, match="config is missing"):
        resume_one(place / "c")


def test_export_names_a_table_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = (leave_run(tmp_path, seed=s, rows=[(1, {"loss/critic": 2.0})]) for s in (0, 1))
    (bad / "metrics.csv").write_text("step,a,a\n1,2,3\n")
    assert main(["export", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert f"left out: {bad}/metrics.csv: the column 'a' occurs" in told
    assert "1 value of 1 run in" in told
    assert main(["export", str(good)]) == 0 and "left out" not in capsys.readouterr().out
