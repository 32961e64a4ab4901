"""A row of each registry from an installed package, as the README says: it trains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import own_package
import pytest

from wganbench import registry
from wganbench.cli.app import main
from wganbench.config import ConfigError, compose
from wganbench.metrics import METRICS, check_tags, measure, register_metric
from wganbench.metrics.evaluation import Metric
from wganbench.plugin_files import package_folders
from wganbench.registry import Registry, load_entry_points
from wganbench.tags import TAGS, Tag

TWO_STEPS = [
    "tuned=none", "train.steps=2", "train.batch_size=16", "compile=false", "device=cpu",
    "log.every_n_steps=1", "log.figure=false", "log.tensorboard=false", "evaluate.n=10",
    "evaluate.final_n=10", "evaluate.floor_pairs=2", "evaluate.every_n_steps=1",
]  # fmt: skip

COMMANDS = {
    "losses": ["loss=mine", "loss.my_lambda=2"],
    "data": ["data=line", "data.length=3"],
    "networks": ["network=twins"],
    "metrics": ["network.width=8"],
}

DRIVER = """
import json, sys
from wganbench.cli.app import main
from wganbench.tags.lookup import TAGS
commands = json.loads(sys.argv[1])
print("CODES", json.dumps({name: main(words) for name, words in commands.items()}))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The package installed, and a run of two steps for each of its rows, in one process."""
    folder = tmp_path_factory.mktemp("own")
    own_package.install(folder / "site")
    own_package.write_yaml(folder / "conf")
    place = [f"output_dir={folder}/out", "--config-dir", str(folder / "conf")]
    commands = {
        kind: ["train", *words, *TWO_STEPS, f"name={kind}", *place]
        for kind, words in COMMANDS.items()
    } | {"list": ["list", "metrics"]}
    path = os.pathsep.join([str(folder / "site"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, json.dumps(commands)],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, timeout=300,
    )  # fmt: skip
    codes = [line for line in done.stdout.splitlines() if line.startswith("CODES ")]
    assert codes, done.stdout + done.stderr
    runs = {run.parent.parent.name: run.parent for run in (folder / "out").rglob("run.json")}
    return {
        "codes": json.loads(codes[0].removeprefix("CODES ")), "runs": runs,
        "told": done.stdout + done.stderr,
    }  # fmt: skip


def rows_of(trained: dict[str, Any], kind: str) -> list[list[str]]:
    """metrics.csv of the run of a kind, its two steps done."""
    assert trained["codes"][kind] == 0, trained["told"]
    lines = (trained["runs"][kind] / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "0", "1", "2"]
    return [line.split(",") for line in lines]


def stored(trained: dict[str, Any], kind: str) -> dict[str, Any]:
    return dict(json.loads((trained["runs"][kind] / "run.json").read_text()))


@pytest.mark.slow
def test_a_loss_of_ones_own_trains(trained: dict[str, Any]) -> None:
    head, *rows = rows_of(trained, "losses")
    assert stored(trained, "losses")["config"]["loss"]["my_lambda"] == 2
    # Its penalty is added to the critic's loss.
    assert float(rows[-1][head.index("loss/penalty")]) > 0


def test_data_of_ones_own_are_trained_on(trained: dict[str, Any]) -> None:
    rows_of(trained, "data")
    run = stored(trained, "data")
    assert run["config"]["data"]["length"] == 3 and run["metrics"]["wasserstein/exact"] > 0


def test_networks_of_ones_own_train(trained: dict[str, Any]) -> None:
    head, *_ = rows_of(trained, "networks")
    assert stored(trained, "networks")["config"]["network"]["size"] == 6
    layers = [name for name in head if name.startswith("grad_norm/critic_layer_")]
    assert len(layers) == 2, "one hidden layer and the last"


def test_a_metric_of_ones_own_has_its_column(trained: dict[str, Any]) -> None:
    head, *rows = rows_of(trained, "metrics")
    values = [float(row[head.index("mine/spread")]) for row in rows]
    assert len(values) == 3 and all(value > 0 for value in values)
    assert stored(trained, "metrics")["metrics"]["mine/spread"] > 0
    assert trained["codes"]["list"] == 0 and "how wide the fakes lie [data unit]" in trained["told"]


# What is wrong with a metric is told before anything is trained.
@pytest.fixture
def own_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that a test adds go with it."""
    for rows in (METRICS, TAGS):
        monkeypatch.setattr(rows, "_rows", dict(rows._rows))


SPREAD = Tag("mine/spread", "how wide", "data unit", "sd", "none", "evaluate", "me")


@pytest.mark.usefixtures("own_rows")
@pytest.mark.parametrize("tag", ["mine/spread", "grad_norm/critic_layer_<i>"])
def test_a_tag_without_a_column_is_told_in_one_line(
    tag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register_metric("mine", tags=(tag,), source="me")(lambda evaluation: {})
    assert main(["train", *TWO_STEPS, f"output_dir={tmp_path}/out"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and len(told) < 480
    assert f"the metric 'mine' gives '{tag}'" in told and "Tag(" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("own_rows")
def test_a_tag_of_the_metric_or_of_the_table_has_a_column() -> None:
    register_metric("mine", tags=[SPREAD, "modes/kl"], source="me")(lambda evaluation: {})
    check_tags()
    assert TAGS["mine/spread"] is SPREAD
    assert METRICS["mine"].tags == ("mine/spread", "modes/kl")
    assert compose(["tuned=none", "sweep.objective=mine/spread"]).sweep.objective == "mine/spread"


@pytest.mark.usefixtures("own_rows", "without_shape_checks")
def test_a_tag_that_is_given_but_not_named_is_told() -> None:
    row = Metric("mine", (), lambda evaluation: {"mine/other": 1.0}, lambda evaluation: True, "me")
    METRICS._rows.clear()
    METRICS.register("mine", row)
    with pytest.raises(ConfigError, match="'mine' gave 'mine/other', which is not among"):
        measure(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["spread", "mine/a,b", "mine/a b", "/spread", "mine/<i>"])
def test_a_tags_name_is_a_group_and_a_quantity(name: str) -> None:
    with pytest.raises(ValueError, match="group/quantity"):
        Tag(name, "how wide", "data unit", "sd", "none", "evaluate", "me")


# A package that cannot be loaded.
def test_a_package_that_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_shape_checks: None
) -> None:
    code = "def losses():\n    raise RuntimeError('no such\\nthing')\n"
    points = "[wganbench.of_a_test]\nmine = wganbench_of_mine:losses\n"
    own_package.install(tmp_path, code, points)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(registry, "_waiting", {})
    rows: Registry[int] = Registry("of_a_test")
    rows.register("built-in", 1)
    assert rows["built-in"] == 1, "what is built in needs no package"
    for _ in range(2):
        with pytest.raises(ConfigError) as told:
            list(rows)
        line = str(told.value)
        assert "wganbench-of-mine cannot add to wganbench.of_a_test" in line and "\n" not in line
        assert "mine = wganbench_of_mine:losses" in line and "RuntimeError: no such thing" in line


def test_entry_points_are_loaded_once_for_all_registries_of_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "calls = []\ndef add():\n    calls.append(1)\n"
    own_package.install(tmp_path, code, "[wganbench.of_a_test]\nmine = wganbench_of_mine:add\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "wganbench_of_mine", raising=False)
    monkeypatch.setattr(registry, "_waiting", {})
    own, other = Registry[int]("of_a_test"), Registry[int]("others", group="of_a_test")
    assert "x" not in own and "x" not in other and list(own) == list(other) == []
    load_entry_points("of_a_test")
    assert sys.modules["wganbench_of_mine"].calls == [1]


def test_a_package_may_bring_its_yaml_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The entry point names a package, which is not imported; its conf/ is searched."""
    package = tmp_path / "gan_extras"
    (package / "conf" / "experiment").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    text = "# @package _global_\ntrain:\n  steps: 17\n"
    (package / "conf" / "experiment" / "short.yaml").write_text(text)
    info = tmp_path / "gan_extras-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: gan-extras\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wganbench.conf]\nmine = gan_extras\n")
    monkeypatch.syspath_prepend(tmp_path)
    package_folders.cache_clear()
    try:
        assert compose(["experiment=short"]).train.steps == 17
        (info / "entry_points.txt").write_text("[wganbench.conf]\nmine = gan_extra\n")
        package_folders.cache_clear()
        with pytest.raises(ConfigError, match=r"wganbench\.conf: mine = 'gan_extra' is no package"):
            compose([])
    finally:
        monkeypatch.undo()
        package_folders.cache_clear()
