"""Sweeps on Ray: a simulated cluster of two nodes with two GPUs each, none of them real."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sweep_watcher import Seen
from training_configs import tiny

from wganbench.cli.app import main
from wganbench.config import ConfigError, run_id
from wganbench.config.jobs import Job
from wganbench.runs.folder import RunOutcome, read_run
from wganbench.runs.table import read_table
from wganbench.sweeps.launch import launch, make_backend, plan_sweep
from wganbench.sweeps.ray_task import Changes, put
from wganbench.training.runs import train_runs

ray = pytest.importorskip("ray")

SETTINGS = {"train.steps": 400, "checkpoint.every_n_steps": 20, "log.every_n_steps": 20}


class TwoNodes:
    """A cluster of Ray on this machine; the second node can be lost, and comes back."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        has = {"num_cpus": 2, "num_gpus": 2, "object_store_memory": 80_000_000}
        self.has = has
        # A lost node is missed after a second, not after half a minute.
        watched = {"health_check_period_ms": 500, "health_check_failure_threshold": 2}
        head = {**has, "include_dashboard": False, "_system_config": watched}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.second = self.cluster.add_node(**has)
        self.address: str = self.cluster.address

    def lose_second(self) -> None:
        self.cluster.remove_node(self.second, allow_graceful=False)


@pytest.fixture(scope="module")
def nodes() -> Iterator[TwoNodes]:
    cluster = TwoNodes()
    yield cluster
    ray.shutdown()
    cluster.cluster.shutdown()


def jobs(folder: Path, runs: int, **settings: Any) -> list[Job]:
    every = {**SETTINGS, "device": "auto", "sweep.max_stack": 1, **settings}
    configs = [tiny("gp", seed=seed, **every) for seed in range(runs)]
    return [Job(config, folder / run_id(config)) for config in configs]


def swept(
    nodes: TwoNodes, folder: Path, every: list[Job], seen: Seen, shared: str = "auto"
) -> list[RunOutcome]:
    settings = {"address": nodes.address, "cpus_per_stack": 0.5, "shared_folder": shared}
    return launch(folder, every, seen, plan_sweep(every, make_backend("ray", settings)))


def process_of(job: Job) -> int:
    return int((job.folder / ".lock").read_text().split()[0])


def each_step_once(job: Job) -> bool:
    steps = read_table(job.folder / "metrics.csv")["step"]
    return steps == list(range(0, job.config.train.steps + 1, 20))


# Without a cluster.
@pytest.mark.usefixtures("without_shape_checks")
def test_settings_that_cannot_be_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ray.shutdown()  # another test may have joined its cluster: no address would be asked
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    for setting, told in {
        f"hydra.launcher.address=127.0.0.1:{port}": "no Ray cluster answers there",
        "hydra.launcher.address=ray://head:10001": "say local, auto or HOST:PORT",
        "hydra.launcher.adress=auto": "unknown key hydra.launcher.adress",
        "hydra.launcher.cpus_per_stack=0": "give a number above 0",
        "hydra.launcher.cpus_per_stack=many": "give a number above 0",
        "hydra.launcher.cpus_per_stack=4096": "no stack fits the Ray cluster",
        "hydra.launcher.shared_folder=maybe": "auto, true or false",
        "sweep.devices=[cpu]": "Ray places the stacks",
        "device=cuda": "the Ray cluster has no GPU",
    }.items():
        assert main(["sweep", "seed=0,1", "hydra/launcher=ray", setting]) == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1, error
    assert not list(tmp_path.iterdir())


def test_without_ray_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'wganbench\[ray\]'"):
        make_backend(
            "ray", {"address": "local", "cpus_per_stack": 1, "shared_folder": "auto"}
        ).slots(tiny("gp"))


def test_files_travel_as_they_change_and_never_outside_their_folder(tmp_path: Path) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    there.mkdir()
    (there / "metrics.csv").write_text("step\n1\n")
    changes = Changes(there, seen=False)
    assert changes.at_checkpoint() == {}, "records without a checkpoint are no use"
    (there / "checkpoint.pt").write_bytes(b"one")
    (there / "frames").mkdir()
    (there / "frames" / "1.png").write_bytes(b"frame")
    (there / ".lock").write_text("1 host")
    files = changes.at_checkpoint()
    assert list(files)[0] == "checkpoint.pt"
    assert files.keys() == {"checkpoint.pt", "metrics.csv", "frames/1.png"}
    put(here, files)
    assert (here / "frames" / "1.png").read_bytes() == b"frame"
    assert changes.all() == {}
    (there / "frames" / "1.png").unlink()
    put(here, changes.all())
    assert not (here / "frames" / "1.png").exists() and (here / "metrics.csv").exists()
    with pytest.raises(ValueError, match="does not name a file inside"):
        put(here, {"../stray": b"x"})


# On the cluster; after the rest, since this process stays joined to it.
@pytest.mark.thorough
def test_every_stack_has_a_gpu_and_neither_a_killed_worker_nor_a_lost_node_costs_a_run(
    nodes: TwoNodes, tmp_path: Path
) -> None:
    every = jobs(tmp_path, 4, **{"train.steps": 700})
    reached: dict[int, int] = {}
    done: list[str] = []

    def disturb(number: int, step: int) -> None:
        reached[number] = step
        if not done and len(reached) == 4 and min(reached.values()) >= 40:
            done.append("killed")
            os.kill(process_of(every[number]), signal.SIGKILL)
        elif len(done) == 1 and any("worker died" in line for line in seen.lines):
            # Not sooner: of a run whose node is gone too, Ray would say no more than that.
            done.append("node lost")
            threading.Thread(target=nodes.lose_second).start()

    seen = Seen(disturb)
    outcomes = swept(nodes, tmp_path, every, seen)
    assert [o.path for o in outcomes] == [job.folder for job in every]
    assert {o.status for o in outcomes} == {"completed"}, seen.lines
    # All at a time, two on a node: so a GPU's number twice is two GPUs.
    assert seen.order[:4] == ["started"] * 4
    gpus = sorted(where.partition(" ")[2] for _, where, _, _ in seen.started[:4])
    assert gpus == ["GPU 0", "GPU 0", "GPU 1", "GPU 1"]
    assert sum("training on its CPU" in line for line in seen.lines) >= 4, "no GPU is real"
    assert len(done) == 2
    lost = " ".join(line for line in seen.lines if "a Ray task was lost" in line)
    assert "worker died" in lost and "node" in lost
    assert seen.started[4:] and all(begun >= 20 for _, _, _, begun in seen.started[4:])
    assert all(each_step_once(job) for job in every)
    # The first steps of the run alone, which no decay of the rates tells from a longer one.
    (short,) = jobs(tmp_path / "alone", 1, **{"train.steps": 100})
    train_runs([short.config], [short.folder], device="cpu")
    lone = read_table(short.folder / "metrics.csv")["loss/critic"]
    assert read_table(every[0].folder / "metrics.csv")["loss/critic"][: len(lone)] == lone
    nodes.second = nodes.cluster.add_node(**nodes.has)


@pytest.mark.thorough
def test_without_a_shared_folder_files_come_back_and_go_on_after_ctrl_c(
    nodes: TwoNodes, tmp_path: Path
) -> None:
    settings = {"device": "cpu", "log.tensorboard": True, "train.steps": 600}
    every = jobs(tmp_path, 2, **settings)
    reached: dict[int, int] = {}

    def interrupt(number: int, step: int) -> None:
        reached[number] = step
        if not done and len(reached) == 2 and min(reached.values()) >= 40:
            done.append("interrupted")
            os.kill(os.getpid(), signal.SIGINT)

    done: list[str] = []
    stopped = swept(nodes, tmp_path, every, Seen(interrupt), shared="false")
    assert [o.status for o in stopped] == ["interrupted"] * 2
    assert all(40 <= o.step < 600 for o in stopped)
    seen = Seen()
    outcomes = swept(nodes, tmp_path, every, seen, shared="false")
    assert {o.status for o in outcomes} == {"completed"}
    assert {begun for _, _, _, begun in seen.started} == {o.step for o in stopped}
    for job in every:
        assert each_step_once(job)
        names = {path.name for path in job.folder.iterdir()}
        assert {"run.json", "checkpoint.pt", "figure.png", "samples.npz"} <= names
        assert sum(name.startswith("events") for name in names) == 2, "one a session, both cut"
        assert read_run(job.folder)["status"] == "completed"
