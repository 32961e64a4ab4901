"""A stranger's folders: links lead nowhere, wrong content is a line, nothing hangs."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import pickle
import struct
import subprocess
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reported_runs import leave_run
from rich.table import Table
from training_configs import tiny

from wganbench.cli.app import main
from wganbench.cli.console import PlainConsole
from wganbench.config import ConfigError, compose, run_folder, to_dict
from wganbench.config.jobs import Job
from wganbench.files import UnusableFile
from wganbench.leftovers import machine
from wganbench.reports.comparison import compare
from wganbench.reports.export import as_csv
from wganbench.reports.reproduce import read_yaml
from wganbench.runs.events import PREFIX, cut_events
from wganbench.runs.folder import HYDRAS_FILES, RunFolder
from wganbench.runs.record import MOST_ITEMS, find_runs, read_record, shown
from wganbench.runs.samples import find_frames, frame_name, read_arrays, read_frame
from wganbench.runs.stored import stored_config, stored_values
from wganbench.runs.table import MetricsTable, read_table
from wganbench.sweeps.manifest import add_jobs, read_jobs
from wganbench.sweeps.ray_task import Changes, put
from wganbench.training import checkpoint as checkpoints
from wganbench.training import runs
from wganbench.training.checkpoint import (
    Checkpoint,
    CheckpointError,
    DamagedCheckpoint,
    digest,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from wganbench.training.figures import cut_frames, save_animation, save_frame
from wganbench.training.runs import resume_run, train_run
from wganbench.training.streams import STREAM_FORMAT

VALUES = {"wasserstein/exact": 0.5, "modes/covered": 8.0}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder of the user's, which must stay as it is."""
    folder = tmp_path / "victim"
    folder.mkdir()
    for name in ("diary.txt", "000000001.png", "run.json", "comparison.csv"):
        (folder / name).write_text(name)
    return folder


def untouched(victim: Path) -> bool:
    names = {path.name for path in victim.iterdir()}
    return names == {"diary.txt", "000000001.png", "run.json", "comparison.csv"} and all(
        path.read_text() == path.name for path in victim.iterdir()
    )


def png(width: int, height: int) -> bytes:
    """A white image of any size, its pixels packed: a bomb is small."""

    def part(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    rows = zlib.compress(b"\0" * (height * (1 + (width + 7) // 8)), 9)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")


# Links.
@pytest.mark.parametrize("name", ["run.json", "metrics.csv", "checkpoint.pt", ".lock", "frames"])
def test_a_run_s_files_are_not_links(tmp_path: Path, victim: Path, name: str) -> None:
    run = leave_run(tmp_path / "runs", status="running", metrics=VALUES)
    (run / "metrics.csv").unlink()
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(victim if name == "frames" else victim / "diary.txt")
    with pytest.raises(ConfigError, match="is a link"):
        resume_run(run)
    assert untouched(victim)


def test_overwrite_and_leftovers_delete_what_is_ours_alone(tmp_path: Path, victim: Path) -> None:
    run = RunFolder(tmp_path / "run").create()
    gone = subprocess.Popen(["true"])
    gone.wait()
    left = f".tmp-{gone.pid:08x}{machine()}{'0' * 16}"
    ours = [
        "run.json",
        "metrics.csv",
        "checkpoint.previous.pt",
        "classes.png",
        f"{PREFIX}1.x",
        left,
    ]
    theirs = ["notes.txt", ".tmp-mine", "photo.png"]
    for name in [*ours, *theirs]:
        (run.path / name).write_text("x")
    (run.path / "figure.png").symlink_to(victim / "diary.txt")
    (run.path / f".tmp-{'1' * 32}").mkdir()
    with run.lock() as held:
        assert not (run.path / left).exists()
        held.empty()
    kept = {path.name for path in run.path.iterdir()}
    assert kept == {*theirs, ".lock", f".tmp-{'1' * 32}"} and untouched(victim)


@pytest.mark.parametrize("left", range(1, 5))
def test_a_kill_while_a_run_is_removed_leaves_what_is_found_and_not_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    run = leave_run(tmp_path / "runs", metrics=VALUES)
    for name in ("checkpoint.pt", "checkpoint.previous.pt", "zero.txt", "samples.npz"):
        (run / name).write_text("x")
    with RunFolder(run).lock() as held:
        removed: list[str] = []
        real = Path.unlink

        def unlink(path: Path, missing_ok: bool = False) -> None:
            if len(removed) == left:
                raise KeyboardInterrupt
            removed.append(path.name)
            real(path, missing_ok)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Path, "unlink", unlink)
            held.empty()
        assert [found.path for found in find_runs([tmp_path])] == [run]
        assert left < 2 or not list(run.glob("checkpoint*"))
        held.empty()
    assert {path.name for path in run.iterdir()} == {".lock", "zero.txt"}


@pytest.mark.parametrize(
    "name", ["..", "../../victim", "a/b", "/etc", "", "a\0b", "linked", 3, None]
)
def test_a_sweep_s_folders_are_plain_names(tmp_path: Path, victim: Path, name: Any) -> None:
    sweep = tmp_path / "sweep"
    add_jobs(sweep, [Job(tiny("gp"), sweep / "run")])
    (sweep / "linked").symlink_to(victim)
    content = json.loads((sweep / "sweep.json").read_text())
    content["jobs"][0]["folder"] = name
    (sweep / "sweep.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"sweep.json is damaged: jobs\[0\]"):
        read_jobs(sweep)
    assert untouched(victim)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"jobs": []}, "jobs holds no jobs"),
        ({"jobs": 3}, "jobs holds no jobs"),
        ({"jobs": [3]}, "a job holds"),
        ({"jobs": [{"folder": "a", "overrides": [1], "config": {}}]}, "overrides must be a list"),
        ({"jobs": [{"folder": "a", "overrides": [], "config": 1}]}, "config must be a conf"),
        ({"jobs": [{"folder": "a", "overrides": [], "config": {}}]}, "is missing"),
        ({"format": 2}, "another version"),
    ],
)
def test_a_sweep_of_wrong_content_is_a_line(tmp_path: Path, change: Any, told: str) -> None:
    add_jobs(tmp_path, [Job(tiny("gp"), tmp_path / "run")])
    content = json.loads((tmp_path / "sweep.json").read_text())
    (tmp_path / "sweep.json").write_text(json.dumps(content | change))
    with pytest.raises(ConfigError, match=told):
        read_jobs(tmp_path)


def test_frames_are_those_of_our_own_names(tmp_path: Path, victim: Path) -> None:
    run = RunFolder(tmp_path / "run").lock()
    for step in (0, 10, 20):
        save_frame(run, step, b"an image")
    foreign = ["holiday.png", "²³.png", "7.png", "000000001.PNG", "00000001x.png"]
    for name in foreign:
        (run.frames / name).write_bytes(b"x")
    (run.frames / "000000015.png").symlink_to(victim / "000000001.png")
    os.mkfifo(run.frames / "000000016.png")
    assert list(find_frames(run.path)) == [0, 10, 20]
    cut_frames(run, 10)
    assert list(find_frames(run.path)) == [0, 10]
    cut_frames(run, 0)
    assert {path.name for path in run.frames.iterdir()} >= {*foreign, "000000015.png"}
    run.release()
    assert untouched(victim)


def test_a_bomb_or_a_foreign_size_is_left_out_of_the_animation(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run").lock()
    run.frames.mkdir()
    for step, size in enumerate([(30_000, 30_000), (40, 30), (41, 30), (40, 30)]):
        (run.frames / frame_name(step)).write_bytes(png(*size))
    (run.frames / frame_name(9)).write_bytes(b"no image")
    assert read_frame(run.frames / frame_name(0)) is None
    save_animation(run)
    run.release()
    from PIL import Image

    with Image.open(run.animation) as gif:
        assert gif.size == (40, 30) and gif.n_frames <= 2


@pytest.mark.parametrize("link", ["comparison", "comparison/figures"])
def test_a_comparison_is_written_into_its_own_folder(
    tmp_path: Path, victim: Path, link: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = leave_run(tmp_path / "runs", metrics=VALUES)
    (run / link).parent.mkdir(exist_ok=True)
    (run / link).symlink_to(victim)
    assert main(["compare", str(run)]) == 2
    assert "is a link" in capsys.readouterr().err.splitlines()[-1]
    assert untouched(victim)


@pytest.mark.parametrize("name", [*HYDRAS_FILES, "multirun.yaml"])
def test_hydra_writes_into_no_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setattr(runs, "train_run", lambda *_: pytest.fail("it was trained"))
    words = [f"output_dir={tmp_path}", "name=own"]
    folder = tmp_path / "own" if name == "multirun.yaml" else run_folder(compose(words))
    pipe = folder / name
    pipe.parent.mkdir(parents=True)
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # without one, a writer would wait
    try:
        assert main(["sweep" if name == "multirun.yaml" else "train", *words]) == 2
    finally:
        os.close(reader)
    assert f"{pipe} is not a regular file\n" in capsys.readouterr().err


def test_event_files_are_no_links_and_no_pipes(tmp_path: Path, victim: Path) -> None:
    (tmp_path / f"{PREFIX}1.a").symlink_to(victim / "diary.txt")
    os.mkfifo(tmp_path / f"{PREFIX}2.b")
    (tmp_path / f"{PREFIX}3.c").write_bytes(b"garbage")
    cut_events(tmp_path, 3)
    assert untouched(victim) and (tmp_path / f"{PREFIX}1.a").is_symlink()


def test_transfer_stays_in_the_folder_and_takes_nothing_from_outside(
    tmp_path: Path, victim: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "secret").symlink_to(victim / "diary.txt")
    (folder / "out").symlink_to(victim)
    os.mkfifo(folder / "pipe")
    (folder / "a").write_text("a")
    assert Changes(folder, seen=False).all() == {"a": b"a"}
    for name in ("../x", "out/diary.txt", "secret", "/x"):
        with pytest.raises(UnusableFile):
            put(folder, {name: b"changed"})
    assert untouched(victim)


def test_nothing_is_fetched_because_a_file_says_so() -> None:
    values = to_dict(tiny("gp"))
    values["data"] = {"name": "mnist", "kind": "mnist", "root": "/elsewhere", "download": True}
    assert stored_values(values).data.options["download"] is False


# Wrong content.
WRONG: list[tuple[str, Any]] = [
    ("status", "finished"), ("status", ["completed"]), ("step", -1), ("step", 2**53 + 1),
    ("step", "7"), ("step", True), ("step", 1.5), ("metrics", [1]), ("metrics", {"a": "8"}),
    ("metrics", {"a": [1]}), ("metrics", {"a": True}), ("seconds", "x"), ("seconds", -1.0),
    ("versions", "0.1"), ("versions", {"torch": 2}), ("config", [1]), ("error", {"a": 1}),
    ("verdict", "good"), ("verdict", [1]), ("judge", 3), ("data_sha256", 3), ("format", "3"),
    ("device", "x" * 20_001), ("metrics", {f"m{i}": 1 for i in range(MOST_ITEMS + 1)}),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_value_in_run_json_is_named(tmp_path: Path, key: str, value: Any) -> None:
    run = leave_run(tmp_path, metrics=VALUES)
    sound = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(sound | {key: value}))
    for read in (read_record, stored_config):
        with pytest.raises(ConfigError, match=rf"run\.json: {key} must be") as told:
            read(run)
        assert len(str(told.value)) < 480
    other = leave_run(tmp_path, seed=1, metrics=VALUES)
    runs = find_runs([tmp_path])
    assert [record.path for record in runs] == [other]
    (note, *_) = compare(runs).notes
    assert note.startswith("1 run is left out, unreadable: ") and len(note) < 500


def test_missing_values_are_none_and_null_metrics_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"metrics": {"a": null, "b": 2}}')
    stored = read_record(tmp_path)
    assert (stored.status, stored.step, stored.seconds) == (None, 0, None)
    assert stored.final == {"b": 2.0}


def test_every_unreadable_run_is_counted_and_some_are_named(tmp_path: Path) -> None:
    good = leave_run(tmp_path, metrics=VALUES)
    for name, text in [("a", "[" * 100_000), ("b", '{"step": 1e999}'), ("c", "{"), ("d", "[]")]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(text)
    os.mkfifo(good.parent / "a" / "metrics.csv")
    (tmp_path / "e").mkdir()
    os.mkfifo(tmp_path / "e" / "run.json")
    runs = find_runs([tmp_path])
    assert [run.path for run in runs] == [good] and len(runs.unreadable) == 5
    (note, *_) = compare(runs).notes
    assert note.startswith("5 runs are left out, unreadable: ") and "; and 3 more" in note
    with pytest.raises(ConfigError, match="no run can be read here"):
        find_runs([tmp_path / "a"])


def test_a_folder_without_permission_is_named_and_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good, shut = (leave_run(tmp_path / name, metrics=VALUES) for name in ("good", "shut"))
    (tmp_path / "sweep.json").write_text("{}")
    scan, read = os.scandir, os.open

    def refused(path: Any) -> PermissionError:
        return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def scandir(path: Any) -> Any:
        if Path(path) == shut:
            raise refused(path)
        return scan(path)

    def open_file(path: Any, *words: Any, **named: Any) -> int:
        if Path(path) == tmp_path / "sweep.json":
            raise refused(path)
        return read(path, *words, **named)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(os, "open", open_file)
    runs = find_runs([tmp_path, tmp_path])
    assert [run.path for run in runs] == [good]
    assert runs.unreadable == (f"{shut}: Permission denied",)
    with pytest.raises(ConfigError, match="no run can be read here: .*: Permission denied"):
        find_runs([shut])
    assert main(["compare", str(tmp_path)]) == 0
    assert "1 run is left out, unreadable: " in capsys.readouterr().out
    assert main(["ls", str(tmp_path)]) == 0
    assert f"left out: {shut}: Permission denied" in capsys.readouterr().out


def test_long_names_are_cut_and_stay_apart(tmp_path: Path) -> None:
    long = "x" * 100_000
    assert len(shown(long)) < 140 and shown(long) != shown(long + "y") and shown("gp") == "gp"
    for seed, name in enumerate([long, long + "y"]):
        run = leave_run(tmp_path, seed=seed, metrics=VALUES)
        content = json.loads((run / "run.json").read_text())
        content["config"]["loss"]["name"] = name
        (run / "run.json").write_text(json.dumps(content))
    rows = compare(find_runs([tmp_path])).rows
    assert len(rows) == 2 and max(len(row.group.label) for row in rows) < 300


def test_metrics_csv_is_a_file_of_its_columns(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text("step,other\n1,2\n" + "9" * 30 + ",1\n-4,1\n")
    assert read_table(file)["step"] == [1]
    with pytest.raises(UnusableFile, match="other columns"):
        MetricsTable(file, ["loss/critic"])
    file.unlink()
    os.mkfifo(file)
    for use in (read_table, lambda path: MetricsTable(path, ["a"])):
        with pytest.raises(UnusableFile, match="not a regular file"):
            use(file)


def test_samples_are_read_by_their_header(tmp_path: Path) -> None:
    sound = {"reals": np.arange(6.0).reshape(3, 2), "fakes": np.asfortranarray(np.eye(2, 3))}
    np.savez(tmp_path / "samples.npz", **sound)
    found = read_arrays(tmp_path, "reals", "fakes")
    assert all(np.array_equal(found[name], sound[name]) for name in sound)
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        huge, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 2)}
    )
    objects = io.BytesIO()
    np.save(objects, np.array([{}], dtype=object), allow_pickle=True)
    plain = io.BytesIO()
    np.save(plain, np.eye(2))
    torn = plain.getvalue().replace(b"(2, 2)", b"(2, 2(")
    for content in (huge.getvalue(), objects.getvalue(), torn, b"garbage"):
        with zipfile.ZipFile(tmp_path / "samples.npz", "w") as archive:
            archive.writestr("fakes.npy", content)
        assert read_arrays(tmp_path, "fakes") == {}
    (tmp_path / "samples.npz").unlink()
    os.mkfifo(tmp_path / "samples.npz")
    assert read_arrays(tmp_path, "fakes") == {}


def test_yaml_without_end_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "overrides.yaml"
    file.write_text("- loss=gp\n- 'a=*b'\n")
    assert read_yaml(file) == ["loss=gp", "a=*b"]
    file.write_text("a: &a {x: 1}\nb: [*a, *a]\n")
    assert read_yaml(file) is None
    file.write_text("!!python/object/apply:os.system ['true']\n")
    assert read_yaml(file) is None


# What is shown.
def test_what_a_terminal_or_a_spreadsheet_obeys_is_taken_out(tmp_path: Path) -> None:
    bad = "=1+1\x1b]0;x\x07\u202e[red]"
    shown_there = io.StringIO()
    console = PlainConsole(file=shown_there, width=80)
    table = Table(bad, title=bad)
    table.add_row(bad)
    console.print(bad)
    console.print(table)
    assert not {"\x1b", "\x07", "\u202e"} & set(shown_there.getvalue())
    assert shown_there.getvalue().count("[red]") == 4 and "\n" in shown_there.getvalue()
    for seed, name in enumerate([bad, "-2", "@x", "gp"]):
        run = leave_run(tmp_path, seed=seed, metrics=VALUES | {"wasserstein/exact": -0.5})
        content = json.loads((run / "run.json").read_text())
        content["config"]["loss"]["name"] = name
        (run / "run.json").write_text(json.dumps(content))
    rows = list(csv.DictReader(io.StringIO(as_csv(compare(find_runs([tmp_path]))))))
    assert {row["group"] for row in rows} == {"'=1+1?]0;x??[red]", "'-2", "'@x", "gp"}
    assert "-0.5" in {row["value"] for row in rows}, "numbers stay numbers"


@pytest.mark.parametrize("verb", ["resume", "sample", "evaluate", "compare", "tensorboard"])
def test_a_typed_path_is_told_in_a_clean_line(
    verb: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("no\x1b[31m\u202esuch", "x" * 300, "x" * 5000):
        assert main([verb, str(tmp_path / name)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.isprintable() and len(line) < 500


# Checkpoints.
def signed(step: Any, tensors: Any, seconds: Any = 1.0) -> dict[str, Any]:
    """A checkpoint whose checksum is right, whatever it holds."""
    sha256 = digest(Checkpoint(step, seconds, tensors))
    known = {"format": 1, "streams": STREAM_FORMAT, "sha256": sha256}
    return known | {"step": step, "seconds": seconds, "tensors": tensors}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (signed(10**30, {}), "step is a number"),
        (signed(-1, {}), "step is a number"),
        (signed(1, {}, float("inf")), "seconds is a time"),
        (signed(1, {}) | {"tensors": {"a": 1}}, "plain tensors"),
        (signed(1, {}) | {"tensors": {"a": torch.zeros(1).expand(10**12)}}, "plain tensors"),
        (signed(1, {}) | {"tensors": {"a": torch.zeros(2).to_sparse()}}, "plain tensors"),
        (signed(1, {}) | {"format": [1]}, "format"),
        ([1, 2], "says no format"),
    ],
    ids=range(8),
)
def test_a_checkpoint_of_wrong_content_is_a_line(tmp_path: Path, content: Any, told: str) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=told) as error:
        newest_checkpoint(path)
    assert "--overwrite" not in str(error.value)


def test_only_damage_is_called_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, Checkpoint(1, 1.0, {"a": torch.ones(3)}))

    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("this is not the place")

    for module, name in ((torch, "load"), (checkpoints, "digest")):
        monkeypatch.setattr(module, name, fails)
        with pytest.raises(CheckpointError, match="RuntimeError: this is not the place") as told:
            newest_checkpoint(path)
        assert not isinstance(told.value, DamagedCheckpoint)
        assert "overwrite" not in str(told.value) and "damaged" not in str(told.value)
        monkeypatch.undo()
    assert load_checkpoint(path).step == 1


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch canary",)


def test_no_checkpoint_runs_code_or_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "checkpoint.pt"
    torch.save({"format": 1, "tensors": Evil()}, path)
    with pytest.raises(DamagedCheckpoint):
        load_checkpoint(path)
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DamagedCheckpoint):
        load_checkpoint(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", b"\0" * 10**7)
    with pytest.raises(DamagedCheckpoint):
        load_checkpoint(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UnusableFile, match="not a regular file"):
        load_checkpoint(path)
    assert not (tmp_path / "canary").exists()


def test_a_checkpoint_that_does_not_fit_its_run_is_a_line(tmp_path: Path) -> None:
    config = tiny("gp", **{"train.steps": 2})
    run = train_run(config, tmp_path / "run").path
    saved = load_checkpoint(run / "checkpoint.pt")
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(content | {"status": "running"}))
    for step, tensors, told in [
        (2, {"a": torch.ones(2)}, "another network"),
        (2, {k: p.double() for k, p in saved.tensors.items()}, "another network"),
        (9, saved.tensors, "after train.steps"),
    ]:
        save_checkpoint(run / "checkpoint.pt", Checkpoint(step, 1.0, tensors))
        with pytest.raises(ConfigError, match=f"does not fit its run.json: .*{told}"):
            resume_run(run)
