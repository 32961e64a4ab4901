"""`wganbench tensorboard`: what it serves, to whom, how it ends; its pages in a browser."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from browser import Opened, page_of
from matplotlib.figure import Figure
from tensorboard.plugins.hparams import api_pb2
from training_configs import tiny

from wganbench.cli.app import main
from wganbench.cli.board import arrange, count_runs, final_values, start, trial_names, with_finals
from wganbench.config.schema import run_id
from wganbench.runs.events import EventLog, cut_events
from wganbench.runs.folder import read_run
from wganbench.tags.lookup import charts as charts_of_tags
from wganbench.training import jobs
from wganbench.training.recorder import hyperparameters
from wganbench.training.runs import train_runs

LOSSES, SEEDS = ("bce", "clip", "gp"), (0, 1, 2)
LOCAL = {"0100007F", "00000000000000000000000001000000"}
"""127.0.0.1 and ::1 as /proc/net writes them."""


@contextmanager
def board(path: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process group of its own, and the address that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-m", "wganbench", "tensorboard", str(path), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests run in a shell's background, Ctrl-C is ignored and would stay so.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        try:
            line = process.stdout.readline()
            assert "http://" in line, line + process.stderr.read()
            yield process, line.split()[-1]
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def write_run(folder: Path) -> None:
    with EventLog(folder) as log:
        log.scalars(1, {"modes/covered": 8.0})


def answer(address: str, page: str) -> Any:
    with urllib.request.urlopen(f"{address}data/{page}", timeout=30) as content:
        return json.load(content)


def becomes(expected: Any, address: str, page: str, seconds: float = 60) -> bool:
    """Whether an answer is what is expected, within some reloads."""
    end = time.monotonic() + seconds
    while answer(address, page) != expected and time.monotonic() < end:
        time.sleep(0.5)
    return answer(address, page) == expected


def one_line(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What the command says when it is used wrongly: one line, on stderr, exit code 2."""
    assert main(["tensorboard", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("wganbench: ")
    assert said.err.count("\n") == 1
    return said.err


# Wrong use.
def test_a_folder_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["outputs"]):
        said = one_line(capsys, *arguments)
        assert "no folder outputs" in said and "outputs/ring8" in said


def test_a_folder_without_events_and_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "log.tensorboard=true" in one_line(capsys, str(tmp_path))
    (tmp_path / "metrics.csv").write_text("step\n")
    assert "not a folder" in one_line(capsys, str(tmp_path / "metrics.csv"))


def test_events_that_nobody_could_read_to_their_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "run")
    assert count_runs(tmp_path) == 1
    os.mkfifo(tmp_path / "run" / "events.out.tfevents.1.x")
    assert "tfevents.1.x is not a regular file" in one_line(capsys, str(tmp_path))


@pytest.mark.parametrize("listens", [True, False])
def test_a_port_in_use(tmp_path: Path, capsys: pytest.CaptureFixture[str], listens: bool) -> None:
    write_run(tmp_path / "run")
    with socket.create_server(("127.0.0.1", 0)) if listens else socket.socket() as other:
        if not listens:
            other.bind(("127.0.0.1", 0))
        port = str(other.getsockname()[1])
        said = one_line(capsys, str(tmp_path), "--port", port)
    assert port in said and "in use" in said and "--port" in said


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_port_that_is_none(capsys: pytest.CaptureFixture[str], port: str) -> None:
    assert "--port" in one_line(capsys, "--port", port)


@pytest.mark.parametrize("name", ["a/b", "lab:80", "http://lab", ""])
def test_a_host_that_is_no_name(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert "--host" in one_line(capsys, "--host", name)


# What it serves.
@pytest.mark.slow
def test_it_shows_what_is_added_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    write_run(tmp_path / "first")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    with board(tmp_path, "--port", str(port)) as (process, address):
        assert address == f"http://127.0.0.1:{port}/"
        assert becomes(["first"], address, "runs")
        write_run(tmp_path / "second")
        assert becomes(["first", "second"], address, "runs")
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=30) == 130
        begin, end = process.stdout.read().splitlines()
        assert begin.startswith(f"Begin with {address}?") and "#custom_scalars" in begin
        assert end == "Ctrl-C ends it." and process.stderr.read() == ""


@pytest.mark.slow
def test_a_run_that_goes_back_while_it_is_shown_has_each_step_once(tmp_path: Path) -> None:
    def write(numbers: range, value: float, purge_step: int | None = None) -> None:
        with EventLog(tmp_path / "run", purge_step) as log:
            for step in numbers:
                log.scalars(step, {"modes/kl": value})

    def shown() -> dict[int, float]:
        points = answer(address, "plugin/scalars/scalars?run=run&tag=modes/kl")
        assert len({step for _, step, _ in points}) == len(points)
        return {step: value for _, step, value in points}

    write(range(6), 1)
    with board(tmp_path) as (_, address):
        assert becomes(["run"], address, "runs")
        assert shown() == dict.fromkeys(range(6), 1)
        cut_events(tmp_path / "run", 2)
        write(range(3, 9), 2, purge_step=3)
        end = time.monotonic() + 60
        while 8 not in shown() and time.monotonic() < end:
            time.sleep(0.5)
        assert shown() == dict.fromkeys(range(3), 1) | dict.fromkeys(range(3, 9), 2)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads Linux's /proc")
def test_it_listens_on_this_machine_only(tmp_path: Path) -> None:
    write_run(tmp_path / "run")
    with board(tmp_path) as (process, address):
        heard = listening(process.pid)
        assert f"{urlsplit(address).port:04X}" in {port for _, port in heard}
        assert {host for host, _ in heard} <= LOCAL


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("localhost:{}", 200), ("127.0.0.1:{}", 200), ("[::1]:{}", 200), ("LOCALHOST", 200),
        ("localhost:7000", 200),  # the other end of a tunnel
        ("mine.example:{}", 200), ("evil.example:{}", 403), ("127.0.0.1.evil.example:{}", 403),
        ("localhost:{}@evil.example", 403), ("192.168.0.1:{}", 403), ("", 403),
    ],
)  # fmt: skip
def test_only_requests_for_this_machine_s_names_are_answered(
    guarded: int, host: str, code: int
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", guarded, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest("GET", "/data/runs", skip_host=True)
        connection.putheader("Host", host.format(guarded))
        connection.endheaders()
        answered = connection.getresponse()
        assert answered.status == code
        assert (b"--host NAME" in answered.read()) == (code == 403)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> int:
    """The port of a real TensorBoard, in a thread of this process."""
    folder = tmp_path_factory.mktemp("guarded")
    write_run(folder / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what TensorBoard brings along
        return urlsplit(start(folder, 0, ["mine.example"])).port or 0


def listening(group: int) -> list[tuple[str, str]]:
    """``(host, port)``, in hex, of each socket at which a process group listens."""
    links = set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and _group(int(folder.name)) == group:
            links |= {os.readlink(file) for file in (folder / "fd").iterdir() if file.is_symlink()}
    inodes = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            cells = line.split()
            if cells[3] == "0A" and cells[9] in inodes:
                found.append(tuple(cells[1].split(":")))
    return found


def _group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


# The HParams page's columns.
def test_settings_of_a_run_are_all_that_make_it_another() -> None:
    shown = hyperparameters(tiny("gp", seed=3))
    assert (shown["loss"], shown["data"], shown["seed"]) == ("gp", "ring8", 3)
    assert shown["loss.gp_lambda"] == 10 and shown["network.width"] == 8
    assert "loss.clip_value" not in shown and "device" not in shown


def test_what_differs_and_the_final_figures_stand_first() -> None:
    experiment = api_pb2.Experiment()
    for name in ("data", "data.radius", "loss", "loss.gp_lambda", "network.width", "seed"):
        experiment.hparam_infos.add(name=name, differs=name in ("loss", "network.width", "seed"))
    for tag in ("budget/examples", "critic/accuracy", "modes/covered", "wasserstein/exact"):
        experiment.metric_infos.add(name=api_pb2.MetricName(tag=tag))
    arranged = arrange(experiment)
    names = [info.name for info in arranged.hparam_infos]
    assert names == ["loss", "seed", "network.width", "data", "loss.gp_lambda"]
    tags = [info.name.tag for info in arranged.metric_infos]
    assert tags == ["modes/covered", "wasserstein/exact", "budget/examples", "critic/accuracy"]
    assert len(experiment.hparam_infos) == 6, "TensorBoard's own is left as it was"


def test_a_setting_that_some_runs_lack_has_a_column(tmp_path: Path) -> None:
    """TensorBoard says of train_points=null,512 that it does not differ: it sees one value."""
    for run, points in (("all", None), ("few", 512)):
        with EventLog(tmp_path / run) as log:
            log.hparams({"seed": 1, "data.radius": 2.0, "data.train_points": points})
            log.scalars(1, {"modes/covered": 8.0})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what TensorBoard brings along
        address = start(tmp_path, 0)
    assert becomes(["all", "few"], address, "runs")
    asked = f"{address}data/plugin/hparams/experiment"
    request = urllib.request.Request(asked, b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as content:
        shown = [info["name"] for info in json.load(content)["hparamInfos"]]
    assert shown == ["seed", "data.train_points"], "not the radius, which all have"


@dataclass(frozen=True)
class Point:
    step: int
    wall_time: float
    value: float


def test_finished_runs_show_their_final_figures(tmp_path: Path) -> None:
    last = {"modes/covered": Point(8, 1.5, 5.0), "loss/critic": Point(9, 2.5, -1.0)}
    last["modes/kl"] = Point(8, 1.5, 0.5)  # the final evaluation had no good sample
    final = {"modes/covered": 7.0, "loss/critic": -1.0, "unseen": 1.0}
    assert with_finals(last, final) == {
        "modes/covered": Point(8, 1.5, 7.0),
        "loss/critic": Point(9, 2.5, -1.0),
    }
    assert with_finals(last, {}) == last, "it is still training"

    def stored(content: object) -> dict[str, float]:
        (tmp_path / "run.json").write_text(json.dumps(content))
        return final_values(tmp_path)

    metrics = {"modes/covered": 7, "wasserstein/exact": None}
    assert stored({"status": "completed", "metrics": metrics}) == {"modes/covered": 7.0}
    assert stored({"status": "running", "metrics": metrics}) == {}
    assert stored({"status": "completed", "metrics": [1]}) == stored([1]) == {}
    assert stored({"status": "completed", "metrics": metrics | {"modes/kl": "<script>"}}) == {}
    (tmp_path / "run.json").write_text("{")
    assert final_values(tmp_path) == final_values(tmp_path / "no run") == {}


def test_trials_are_called_by_what_differs() -> None:
    runs = {
        f"run-{loss}-{size}-{seed}": {
            "loss": loss, "loss.gp_lambda": size, "seed": seed, "data": "ring8",
            "train.steps": 100.0, "train.critic_lr": 0.1 if loss == "gp" else 0.2,
        }
        for loss, size in (("gp", 0.1), ("gp", 10.0), ("bce", None))
        for seed in (0.0, 1.0)
    }  # fmt: skip
    names = trial_names(runs)
    assert names == {
        "run-gp-0.1-0.0": "gp lambda=0.1 seed=0",
        "run-gp-0.1-1.0": "gp lambda=0.1 seed=1",
        "run-gp-10.0-0.0": "gp lambda=10 seed=0",
        "run-gp-10.0-1.0": "gp lambda=10 seed=1",
        "run-bce-None-0.0": "bce seed=0",
        "run-bce-None-1.0": "bce seed=1",
    }
    # Trials of one name would be merged into one row.
    twins = {"a/x": {"seed": 1.0}, "b/x": {"seed": 1.0}, "b/y": {"seed": 2.0}}
    assert trial_names(twins) == {"a/x": "a/x", "b/x": "b/x", "b/y": "seed=2"}
    assert trial_names({"only": {"seed": 1.0}}) == {"only": "only"} and trial_names({}) == {}


# In a browser: three losses, three seeds each.
@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[str]]]:
    folder = tmp_path_factory.mktemp("outputs") / "ring8"
    names = []
    for loss in LOSSES:
        short = {"log.tensorboard": True, "train.steps": 4, "evaluate.every_n_steps": 2}
        configs = [tiny(loss, seed=seed, **short) for seed in SEEDS]
        with pytest.MonkeyPatch.context() as patch:
            # Painting takes longer than the runs: TensorBoard has no part in the closing figure,
            # and to its page of images one image is as good as another.
            patch.setattr(jobs, "summary_figure", lambda *_: None)
            patch.setattr(jobs, "png_bytes", lambda _: b"PNG")
            patch.setattr(jobs, "progress_figure", lambda *_: Figure())
            patch.setattr(jobs, "figure_to_rgb", lambda _: np.zeros((40, 60, 3), np.uint8))
            train_runs(configs, [folder / run_id(config) for config in configs])
        names += [run_id(config) for config in configs]
    yield folder, names
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def served(names: tuple[Path, list[str]]) -> Iterator[str]:
    with board(names[0]) as (_, address):
        yield address


def nothing_wrong(opened: Opened, address: str) -> None:
    """No error on the console, nothing fetched from anywhere else."""
    assert opened.errors == []
    asked = {urlsplit(url).netloc for url in opened.requests if url.startswith("http")}
    assert asked == {urlsplit(address).netloc}


def table_of(opened: Opened) -> list[list[str]]:
    """The HParams page's table, header first, as it is read."""
    cells = "tf-hparams-table-view vaadin-grid-cell-content"
    opened.page.locator(cells, has_text="seed=2").last.wait_for()
    texts = [text.strip() for text in opened.page.locator(cells).all_inner_texts()]
    header = texts[: texts.index("")]
    starts = [i for i, text in enumerate(texts) if re.match(r"\w+ seed=\d", text)]
    return [header, *(texts[i : i + len(header) + 1] for i in starts)]


@pytest.mark.slow
@pytest.mark.browser
def test_the_hparams_page_has_a_row_a_run_and_the_columns_that_matter(
    names: tuple[Path, list[str]], served: str
) -> None:
    with page_of(f"{served}#hparams") as opened:
        header, *table = table_of(opened)
        nothing_wrong(opened, served)
    called = {f"{loss} seed={seed}" for loss in LOSSES for seed in SEEDS}
    assert {row[0] for row in table} == called and len(table) == len(names[1])
    assert header[2:4] == ["loss", "seed"]
    assert {"modes/covered", "modes/high_quality", "wasserstein/exact"} <= set(header)
    seen = [(row[2], float(row[3])) for row in table]
    assert seen == [(loss, float(seed)) for loss in LOSSES for seed in SEEDS]
    for tag in ("modes/covered", "wasserstein/exact"):
        shown = {row[0]: float(row[header.index(tag)]) for row in table}
        final = {
            f"{loss} seed={seed}": read_run(names[0] / name)["metrics"][tag]
            for name, (loss, seed) in zip(names[1], product(LOSSES, SEEDS), strict=True)
        }
        assert shown == pytest.approx(final, rel=1e-3), "of the final evaluation"


@pytest.mark.slow
@pytest.mark.browser
def test_every_run_is_a_line_in_the_parallel_coordinates(
    names: tuple[Path, list[str]], served: str
) -> None:
    with page_of(f"{served}#hparams") as opened:
        table_of(opened)
        opened.page.get_by_text("Parallel Coordinates View").click()
        lines = opened.page.locator("tf-hparams-parallel-coords-plot g.foreground path")
        lines.first.wait_for(state="attached")
        drawn = [line.get_attribute("d") or "" for line in lines.all()]
        nothing_wrong(opened, served)
    assert sum("L" in path for path in drawn) == len(names[1])


@pytest.mark.slow
@pytest.mark.browser
def test_the_custom_scalars_page_draws_the_charts_of_the_layout(served: str) -> None:
    with page_of(f"{served}#custom_scalars") as opened:
        charts = opened.page.locator("tf-custom-scalar-multi-line-chart-card")
        charts.first.locator("path.line").first.wait_for(state="attached")
        for group, members in charts_of_tags().items():
            for title in (group, *members):
                assert opened.page.get_by_text(title, exact=True).count()
        assert charts.count() == sum(len(members) for members in charts_of_tags().values())
        distances = charts.filter(has_text="Distances").locator("path.line")
        distances.first.wait_for(state="attached")
        assert distances.count() >= 9
        nothing_wrong(opened, served)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(("dashboard", "chart"), [("scalars", "tf-scalar-card"), ("images", "img")])
def test_the_other_pages_list_the_runs(
    names: tuple[Path, list[str]], served: str, dashboard: str, chart: str
) -> None:
    with page_of(f"{served}#{dashboard}") as opened:
        for name in names[1]:
            opened.page.get_by_text(name, exact=True).first.wait_for()
        opened.page.locator(chart).first.wait_for()
        nothing_wrong(opened, served)
