"""The package from Python: settings as values, runs and comparisons as tables and as HTML."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from inspect import unwrap
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import wganbench
from wganbench import bounds
from wganbench.cli.app import main
from wganbench.config import compose, composition
from wganbench.config.from_python import overrides_from
from wganbench.config.jobs import compose_all
from wganbench.reports.answer import answer
from wganbench.reports.plain_tables import groups_html, records
from wganbench.tags.lookup import shown_of
from wganbench.training.run import run_html

QUICK = [
    "tuned=none", "device=cpu", "compile=false", "train.steps=4", "train.batch_size=16",
    "network.width=8", "network.depth=2", "loss.n_critic=1", "evaluate.every_n_steps=2",
    "evaluate.n=20", "evaluate.final_n=20", "evaluate.floor_pairs=2", "log.every_n_steps=2",
    "log.tensorboard=false", "log.figure=false",
]  # fmt: skip


# Settings as values.
def test_values_become_what_one_would_type() -> None:
    assert overrides_from(["loss=gp"], {"seed": 3}) == ["loss=gp", "seed=3"]
    assert overrides_from([["loss=gp", "seed=1"]], {}) == ["loss=gp", "seed=1"]
    values = {"loss": "gp", "train.betas": [0.0, 0.9], "log.tensorboard": False, "tuned": "none"}
    assert overrides_from([values], {}) == [
        "loss=gp", "train.betas=[0.0,0.9]", "log.tensorboard=false", "tuned=none",
    ]  # fmt: skip
    assert overrides_from([], {"a": np.float64(0.5), "b": torch.tensor(2)}) == ["a=0.5", "b=2"]


def test_a_list_is_one_value_in_a_run_and_several_in_a_sweep() -> None:
    given_values = {"loss": ["gp", "clip"], "seed": range(3), "train.betas": [[0.5, 0.9], [0, 0.9]]}
    assert overrides_from([given_values], {}, several=True) == [
        "loss=gp,clip", "seed=0,1,2", "train.betas=[0.5,0.9],[0,0.9]",
    ]  # fmt: skip
    with pytest.raises(wganbench.ConfigError, match="seed: there are no values"):
        overrides_from([], {"seed": []}, several=True)


@pytest.mark.parametrize("several", [True, False])
def test_a_range_of_too_many_values_is_refused_before_it_is_counted_out(several: bool) -> None:
    for many in (range(bounds.RUNS + 1), range(10**9), range(10**30)):
        with pytest.raises(wganbench.ConfigError, match="seed has more than 1000000 values"):
            overrides_from([], {"seed": many}, several)
    assert overrides_from([], {"seed": range(3)}, several) == [
        "seed=0,1,2" if several else "seed=[0,1,2]"
    ]


def test_what_no_setting_can_be_is_refused_by_its_key() -> None:
    with pytest.raises(wganbench.ConfigError, match="seed=.* is of the type object; give a number"):
        overrides_from([], {"seed": object()})
    for part in (None, 3, Path("gp"), [{"loss": "gp"}]):
        with pytest.raises(wganbench.ConfigError, match="; give overrides such as 'loss=gp'"):
            unwrap(overrides_from)([part], {})  # its types, which tests enforce, refuse it too


def test_arrays_are_lists_of_numbers() -> None:
    """Values to sweep over come from `numpy.logspace` and the like."""
    values = {"loss.gp_lambda": np.array([0.1, 1.0]), "seed": torch.arange(3)}
    several = overrides_from([values], {}, several=True)
    assert several == ["loss.gp_lambda=0.1,1.0", "seed=0,1,2"]
    assert overrides_from([{"train.betas": np.array([0.5, 0.9])}], {}) == ["train.betas=[0.5,0.9]"]
    with pytest.raises(wganbench.ConfigError, match="seed must be a whole number"):
        wganbench.train(seed=torch.zeros(3))


def test_a_text_of_several_choices_is_read_as_on_a_command_line() -> None:
    words = overrides_from([], {"loss": "bce,gp", "seed": "range(0,2)"}, several=True)
    assert words == ["loss=bce,gp", "seed=range(0,2)"]
    assert overrides_from([], {"name": "a,b"}, several=True) == ["name='a,b'"]
    with pytest.raises(wganbench.ConfigError, match="loss=bce,gp asks for several runs"):
        wganbench.train(loss="bce,gp")


@given(st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S", "Zs")), min_size=1))
@settings(max_examples=25)
def test_a_text_comes_back_whole(text: str) -> None:
    (word,) = overrides_from([], {"output_dir": f"/tmp/{text}x"})
    if "${" not in text and "~" not in text:
        assert compose([word]).output_dir == str(Path(f"/tmp/{text}x"))


def test_a_folder_of_yaml_files_is_found(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    text = (Path(wganbench.__file__).parents[1] / "conf/loss/gp.yaml").read_text()
    (tmp_path / "loss" / "own.yaml").write_text(text.replace("gp_lambda: 10.0", "gp_lambda: 7.0"))
    own = compose(["loss=own", "tuned=none"], config_dir=tmp_path)
    assert own.loss.coefficients == {"gp_lambda": 7.0}
    with pytest.raises(wganbench.ConfigError, match="loss"):
        compose(["loss=own"])
    with pytest.raises(wganbench.ConfigError, match="config_dir=.*no such folder"):
        compose([], config_dir=tmp_path / "none")


def test_a_folder_that_does_not_exist_is_refused_by_all_who_take_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nowhere = "config_dir=nowhere: there is no such folder"
    calls: list[Callable[..., object]] = [
        wganbench.train, wganbench.sweep, partial(wganbench.study, "dirac"),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(wganbench.ConfigError, match=nowhere):
            call(config_dir="nowhere")
    for verb in ("sweep seed=0,1", "study dirac", "speedrun", "list losses", "list losses gp"):
        assert main([*verb.split(), "--config-dir=nowhere"]) == 2
        assert nowhere in capsys.readouterr().err


def test_the_folder_of_yaml_files_may_begin_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No shell expands the ~ in --config-dir=~/conf."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    file = tmp_path / "own" / "experiment" / "mine.yaml"
    file.write_text("# @package _global_\n# Mine.\nseed: 7\n")
    assert compose(["experiment=mine"], "~/own").seed == 7
    assert main(["train", "experiment=mine", "--config-dir=~/own", "--cfg", "job"]) == 0
    assert "seed: 7" in capsys.readouterr().out
    assert main(["sweep", "experiment=mine", "--config-dir=~/own", "--plan"]) == 0
    assert main(["list", "experiments", "--config-dir=~/own"]) == 0
    assert "experiment=mine" in capsys.readouterr().out


# Runs.
@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def test_the_users_file_wins_over_ours_of_the_same_name(tmp_path: Path) -> None:
    """As in the search for choices and keys, the user's folder comes first."""
    shipped = compose(["loss=gp", "data=ring8"])
    (tmp_path / "tuned").mkdir()
    file = tmp_path / "tuned" / "gp-ring8.yaml"
    file.write_text("# @package _global_\ntrain:\n  critic_lr: 0.0123\n")
    config = compose(["loss=gp", "data=ring8"], tmp_path)
    assert config.train.critic_lr == 0.0123 != shipped.train.critic_lr
    assert config.loss == compose(["loss=gp", "data=ring8", "tuned=none"]).loss
    assert compose(["loss=gp", "data=ring8"]) == shipped


def test_a_file_that_was_edited_is_read_again(tmp_path: Path) -> None:
    """In a notebook one edits a file between two cells."""
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "mine.yaml"
    for text, told in (
        ("defaults: [arm_pg]\n", "'arm_pg'"),
        ("defaults: [arm_gp]\ntrain: {steps: 7}\n", None),
        ("defaults: 3\n", "defaults must be a list"),
    ):
        file.write_text(f"# @package _global_\n{text}")
        if told is None:
            assert compose(["experiment=mine"], tmp_path).train.steps == 7
            continue
        with pytest.raises(wganbench.ConfigError, match=told):
            compose(["experiment=mine"], tmp_path)


def test_many_are_composed_as_one_by_one() -> None:
    """Values of equal choices are set on one composition; a wrong one is told as ever."""
    many = [
        ["loss=gp", "loss.gp_lambda=3", "train.betas=[0.5,0.9]"],
        ["loss=gp", "loss.gp_lambda=1e-3", "network.width=19"],
        ["loss=bce_saturating", "loss.penalties=[gp]", "+loss.gp_lambda=2", "tuned=none"],
        ["loss=clip", "data=digits", "seed=4"],
        ["experiment=pacgan_ring8", "loss.packing=2"],
        ["loss=gp"],
    ]
    assert compose_all(many) == [compose(words) for words in many]
    with pytest.raises(wganbench.ConfigError, match="loss.gp_lambdas"):
        compose_all([["loss=gp"], ["loss=gp", "loss.gp_lambdas=3"]])


def test_an_experiment_without_its_first_line_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    file = tmp_path / "experiment" / "mine.yaml"
    file.write_text("defaults:\n  - override /data: grid25\n")
    with pytest.raises(wganbench.ConfigError, match=r"experiment/mine\.yaml.*@package _global_"):
        compose(["experiment=mine"], tmp_path)


def test_studies_and_searches_refuse_what_they_do_not_know() -> None:
    with pytest.raises(wganbench.ConfigError, match="dirac"):
        wganbench.study("dirak")
    with pytest.raises(wganbench.ConfigError, match="trials="):
        wganbench.tune(loss=["gp"], trials=-1)


@pytest.fixture(scope="module")
def run(place: Path) -> wganbench.Run:
    return wganbench.train("loss=gp", QUICK, seed=3, output_dir=str(place), name="one")


def test_the_ways_to_say_a_run_are_one_run(place: Path, run: wganbench.Run) -> None:
    words = ["loss=gp", *QUICK, "seed=3", f"output_dir={place}", "name=one"]
    assert wganbench.train(words).path == run.path
    values = {"loss": "gp", "seed": 3, "output_dir": place, "name": "one"}
    assert wganbench.train(values, *QUICK).path == run.path
    assert wganbench.load_run(str(run.path)).metrics == run.metrics


def test_networks_compute_where_the_points_are(run: wganbench.Run) -> None:
    latents = torch.zeros(3, *run.networks.algorithm.pair.latent.shape)
    points = run.generator(latents)
    assert points.shape == (3, 2) and run.critic(points).shape == (3,)
    there = torch.device("meta")  # stands for a GPU: tensors of two devices do not mix
    assert run.networks.device != there
    assert run.generator(latents.to(there)).device == there
    assert run.critic(points.to(there)).device == there


def test_a_run_is_a_frame_and_has_its_figure(run: wganbench.Run) -> None:
    frame = run.frame()
    assert frame.index.name == "step" and list(frame.index) == run.table["step"]
    steps, values = run.table["step"], run.table["wasserstein/exact"]
    assert frame["wasserstein/exact"].dropna().to_dict() == {
        step: value for step, value in zip(steps, values, strict=True) if value is not None
    }
    assert set(frame.dtypes.astype(str)) == {"float64"}, "a column without a value, too"
    assert len(repr(run.table)) < 200 and "step" in repr(run.table)
    assert run.figure is None, "it was trained with log.figure=false"
    (run.path / "figure.png").write_bytes(b"a figure")
    assert run.figure == run.path / "figure.png" and "data:image/png" in run._repr_html_()
    run.figure.unlink()


def test_without_pandas_a_frame_says_what_to_install(
    run: wganbench.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(wganbench.ConfigError, match=r"pip install 'wganbench\[notebook\]'"):
        run.frame()


def test_a_run_in_a_notebook_escapes_what_its_files_say(run: wganbench.Run, tmp_path: Path) -> None:
    html = run._repr_html_()
    assert "completed at step 4" in html and "<table>" in html
    shown = shown_of("result", (2,), run.metrics)
    assert html.count("<tr>") == len(shown) and "energy distance" not in html
    folder = tmp_path / "<b>run"
    folder.mkdir()
    content = (run.path / "run.json").read_text()
    (folder / "run.json").write_text(content.replace('"verdict": [', '"verdict": ["<script>",', 1))
    assert "<script>" not in run_html(folder) and "&lt;script&gt;" in run_html(folder)
    assert "&lt;b&gt;run" in run_html(folder)


def test_threads_train_side_by_side(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hydra has one state for a whole process."""
    plain = composition.plain

    def slow(node: Any) -> dict[str, Any]:
        time.sleep(0.2)
        return plain(node)

    monkeypatch.setattr(composition, "plain", slow)

    def trained(loss: str) -> wganbench.Run:
        return wganbench.train(QUICK, loss=loss, output_dir=place, name="threads")

    with ThreadPoolExecutor(2) as threads:
        runs = list(threads.map(trained, ["gp", "clip"]))
    assert [run.config.loss.name for run in runs] == ["gp", "clip"]
    assert {run.status for run in runs} == {"completed"}


OWN_HYDRA = """
import hydra
from hydra.core.hydra_config import HydraConfig

with hydra.initialize_config_dir("{place}/theirs", version_base="1.3"):
    import wganbench
    from wganbench.sweeps.command import plan_only
    from wganbench.config.composition import hydra_to_ourselves

    run = wganbench.train({quick}, data="own", output_dir="{place}", config_dir="{place}/own")
    with hydra_to_ourselves():
        plan, _ = plan_only([*{quick}, "seed=0,1", "output_dir={place}"])
    print(run.status, run.config.data.options["modes"], len(plan.jobs), hydra.compose("mine").a)
    assert not HydraConfig.initialized()
"""


def test_a_program_that_runs_hydra_itself_trains_and_keeps_its_own(tmp_path: Path) -> None:
    """Hydra searches for plugins once, here before ours are there."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "mine.yaml").write_text("a: theirs\n")
    (tmp_path / "own" / "data").mkdir(parents=True)
    ring = (Path(wganbench.__file__).parents[1] / "conf/data/ring8.yaml").read_text()
    ring = ring.replace("name: ring8", "name: own").replace("modes: 8", "modes: 5")
    (tmp_path / "own" / "data" / "own.yaml").write_text(ring)
    script = OWN_HYDRA.format(place=tmp_path, quick=QUICK)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "completed 5 2 theirs\n", done.stderr


# Comparisons.
def test_a_run_stands_for_its_folder(run: wganbench.Run) -> None:
    for paths in (run, [run], run.path, str(run.path), [str(run.path)]):
        (row,) = wganbench.compare(paths, metrics="wasserstein/exact").rows
        assert row.cells["wasserstein/exact"].values == (run.metrics["wasserstein/exact"],)
    assert repr(wganbench.compare(run)) == "<Comparison of gp: 1 run>"


@pytest.mark.slow
def test_a_comparison_is_a_frame_and_a_table(place: Path) -> None:
    runs = wganbench.sweep(
        {"loss": ["gp", "clip"], "seed": range(2), "output_dir": place, "name": "two"}, *QUICK
    )
    assert len(runs) == 4 and {run.status for run in runs} == {"completed"}
    comparison = wganbench.compare(runs, metrics=["wasserstein/exact"])
    frame = comparison.frame()
    assert list(frame.index.names) == ["group", "metric"] and len(frame) == 2
    for loss in ("gp", "clip"):
        own = [run.metrics["wasserstein/exact"] for run in runs if run.config.loss.name == loss]
        assert frame.loc[(loss, "wasserstein/exact"), "mean"] == pytest.approx(np.mean(own))
    assert [record["seeds"] for record in records(comparison.rows, comparison.metrics)] == [2, 2]
    html = comparison._repr_html_()
    told = answer(comparison)
    assert html == groups_html(comparison.rows, comparison.metrics, told)
    assert html.count("<tr>") == 3 and f"<b>{told[0]}</b>" in html


# A notebook.
CELLS = [
    "import wganbench",
    "run = wganbench.train('loss=clip', {quick}, seed=1, output_dir={place!r}, name='note')\nrun",
    "runs = wganbench.sweep('loss=gp,clip', {quick}, seed=range(2), output_dir={place!r},\n"
    "                       name='notes')",
    "wganbench.compare(runs)",
    "run.frame()['loss/critic'].dropna().shape",
]


def outputs(cell: Any) -> str:
    return "".join(
        str(output.get("text", "")) + str(output.get("data", {})) for output in cell.outputs
    )


@pytest.mark.slow
@pytest.mark.usefixtures("without_shape_checks")
def test_a_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    words = {"quick": repr(QUICK), "place": str(tmp_path)}
    cells = [nbformat.v4.new_code_cell(text.format(**words)) for text in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    trained, swept, compared, shape = (outputs(cell) for cell in notebook.cells[1:])
    assert "text/html" in trained and "completed at step 4" in trained
    # Progress is one output that was replaced, whose last picture stays.
    assert trained.count("<progress") == 1 and "step 4/4" in trained
    assert swept.count("runs done") == 1 and "4/4 runs done" in swept
    assert "<th>group</th>" in compared
    assert "(" in shape
