"""Comparing runs: which belong together, what they come to, and what is never said."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reported_runs import GOOD, POOR, leave_run, spread, two_losses
from rich.console import Console

import wganbench
from wganbench.cli.app import main
from wganbench.cli.compare_view import print_comparison
from wganbench.config import ConfigError
from wganbench.reports.comparison import Comparison, compare
from wganbench.reports.export import as_csv, write_files
from wganbench.reports.groups import (
    At,
    Group,
    choose_keys,
    differing,
    group_runs,
    parse_at,
    values_at,
)
from wganbench.reports.plain_tables import as_text, notes_text
from wganbench.reports.statistics import Estimate, mean_interval
from wganbench.reports.wording import decimals, estimate_text
from wganbench.runs.folder import RunFolder
from wganbench.runs.record import RunRecord, find_runs
from wganbench.sweeps.manifest import add_jobs, not_begun


def shown(comparison: Comparison) -> str:
    console = Console(width=80, record=True, file=io.StringIO())
    print_comparison(comparison, console)
    return console.export_text()


def test_python_compares_as_the_command_does_and_writes_nothing(tmp_path: Path) -> None:
    two_losses(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    ours = wganbench.compare(tmp_path, metrics=["modes/covered"], baseline="bce")
    theirs = compare(find_runs([tmp_path]), metrics=["modes/covered"], baseline="bce")
    assert [row.group.label for row in ours.rows] == ["bce", "gp"]
    assert [c.p for c in ours.contrasts] == [c.p for c in theirs.contrasts] and ours.contrasts
    one = wganbench.compare(tmp_path, by="loss.name", metrics="modes/covered")
    assert one.metrics == ("modes/covered",) and list(one.by_label) == ["bce", "gp"]
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(wganbench.ConfigError, match="does not exist"):
        wganbench.compare([tmp_path / "nowhere"])


# Which runs belong together.
def test_groups_are_found_by_what_differs_the_seed_apart(tmp_path: Path) -> None:
    for seed in range(2):
        leave_run(tmp_path, "gp", seed, GOOD, **{"loss.gp_lambda": 1.0})
        leave_run(tmp_path, "gp", seed, GOOD, **{"loss.gp_lambda": 10.0})
        leave_run(tmp_path, "bce", seed, POOR, **{"train.critic_lr": 1e-3})
    runs = find_runs([tmp_path])
    assert {"loss.name", "loss.gp_lambda", "train.critic_lr"} <= set(differing(runs))
    # The rate goes with the loss and needs no mention.
    assert choose_keys(runs) == ["loss.name", "loss.gp_lambda"]
    groups, mixed = group_runs(runs)
    assert [g.label for g in groups] == ["bce", "gp gp_lambda=1", "gp gp_lambda=10"]
    assert [[run.seed for run in g.runs] for g in groups] == [[0, 1]] * 3 and not mixed


def test_a_key_that_is_asked_for_pools_the_rest_and_says_so(tmp_path: Path) -> None:
    two_losses(tmp_path, 2)
    leave_run(tmp_path, "gp", 7, GOOD, **{"network.width": 16})
    groups, mixed = group_runs(find_runs([tmp_path]), ["network.width"])
    assert [(g.label, len(g.runs)) for g in groups] == [("width=8", 4), ("width=16", 1)]
    assert "loss.name" in mixed
    by_name, _ = group_runs(find_runs([tmp_path]), ["loss"])
    assert [group.values for group in by_name] == [(("loss.name", "bce"),), (("loss.name", "gp"),)]
    notes = compare(find_runs([tmp_path]), by=["network.width"]).notes
    assert any(note.startswith("pooled, although they differ: loss.name") for note in notes)


def test_runs_without_any_of_the_keys_have_a_name(tmp_path: Path) -> None:
    key = "loss.gp_lambda"
    groups = [Group(((key, value), ("loss.r1_gamma", None)), ()) for value in (None, 0.5)]
    assert [group.title for group in groups] == ["without lambda, r1_gamma", "lambda = 0.5"]
    assert [group.label for group in groups] == ["without gp_lambda, r1_gamma", "gp_lambda=0.5"]
    assert Group((), ()).title == ""
    network = Group((("network.name", "mlp"),), ())
    assert (network.title, network.label) == ("network = mlp", "network=mlp")


def test_unlike_data_is_refused_unless_asked_for(tmp_path: Path) -> None:
    leave_run(tmp_path, "gp", 0, GOOD)
    leave_run(tmp_path, "gp", 0, GOOD, **{"data.name": "other"})
    with pytest.raises(ConfigError, match=r"unlike data \(other, ring8\)"):
        compare(find_runs([tmp_path]))
    asked = compare(find_runs([tmp_path]), by=["data.name", "loss.name"])
    assert [row.group.label for row in asked.rows] == ["other gp", "ring8 gp"]


def on_points(folder: Path, path: str, digest: str | None, seed: int, exact: float) -> None:
    """A run on a file of points, as training leaves it."""
    run = leave_run(folder / f"{path}-{digest}", "gp", seed, {"wasserstein/exact": exact})
    stored = RunFolder(run).read()["config"]
    stored["data"] = {"name": "points", "kind": "points", "path": path, "held_out_share": 0.2,
                      "train_points": None, "train_seed": 0}  # fmt: skip
    with RunFolder(run).lock() as held:
        held.write_status(config=stored, data_sha256=digest)


@pytest.mark.parametrize(
    ("second", "key", "shown"),
    [
        (("kilo.csv", "b" * 64), "data.path", "kilo.csv, plain.csv"),
        (("plain.csv", "b" * 64), "data.sha256", "aaaaaaaaaaaa, bbbbbbbbbbbb"),
        (("plain.csv", None), "data.sha256", "none, aaaaaaaaaaaa"),
    ],
)
def test_other_contents_are_other_data(
    tmp_path: Path, second: tuple[str, str | None], key: str, shown: str
) -> None:
    on_points(tmp_path, "plain.csv", "a" * 64, 0, 1.0)
    on_points(tmp_path, *second, 1, 10_000.0)
    with pytest.raises(ConfigError) as caught:
        compare(find_runs([tmp_path]))
    assert f"unlike data ({key} {shown}), " in str(caught.value)
    assert f"--by {key} --by loss.name" in str(caught.value)
    with pytest.raises(ConfigError, match="unlike data"):
        compare(find_runs([tmp_path]), by=["loss.name"])
    asked = compare(find_runs([tmp_path]), by=[key, "loss.name"])
    assert [len(row.group.runs) for row in asked.rows] == [1, 1]


def test_data_that_moved_are_the_same_data(tmp_path: Path) -> None:
    on_points(tmp_path, "here/cloud.csv", "a" * 64, 0, 1.0)
    on_points(tmp_path, "there/cloud.csv", "a" * 64, 1, 2.0)
    (row,) = compare(find_runs([tmp_path])).rows
    assert row.cells["wasserstein/exact"].mean.value == 1.5 and row.group.label == "gp"


def test_other_settings_of_the_data_are_other_data_but_for_the_training_set(
    tmp_path: Path,
) -> None:
    leave_run(tmp_path / "a", "gp", 0, GOOD, **{"data.train_points": 100})
    leave_run(tmp_path / "a", "gp", 1, GOOD, **{"data.train_points": 200, "data.train_seed": 3})
    assert len(compare(find_runs([tmp_path / "a"])).rows) == 2
    leave_run(tmp_path / "b", "gp", 0, GOOD, **{"data.sigma": 0.01})
    leave_run(tmp_path / "b", "gp", 1, GOOD, **{"data.sigma": 0.5})
    with pytest.raises(ConfigError, match=r"unlike data \(data.sigma 0.01, 0.5\)"):
        compare(find_runs([tmp_path / "b"]))
    assert len(compare(find_runs([tmp_path / "b"]), by=["data.sigma"]).rows) == 2


def test_runs_of_several_versions_of_a_plugin_are_told(tmp_path: Path) -> None:
    def trained(digest: str, seed: int) -> None:
        file = leave_run(tmp_path, "gp", seed, GOOD) / "run.json"
        content = json.loads(file.read_text()) | {"plugins": {"/at/mine.py": digest * 64}}
        file.write_text(json.dumps(content))

    def told() -> list[str]:
        return [note for note in compare(find_runs([tmp_path])).notes if "mine.py" in note]

    for seed in range(2):
        trained("a", seed)
    assert told() == []
    trained("b", 2)
    text = "mine.py changed between the runs: 2 versions of it trained 2, 1 of them"
    assert told() == [text]


def test_a_comparison_of_several_judges_says_so(tmp_path: Path) -> None:
    def judged(sha256: str, loss: str, **settings: Any) -> None:
        file = leave_run(tmp_path, loss, 0, GOOD, **settings) / "run.json"
        content = json.loads(file.read_text()) | {"judge": {"sha256": sha256 * 64}}
        file.write_text(json.dumps(content))

    judged("a", "gp")
    judged("a", "bce")
    notes = compare(find_runs([tmp_path])).notes
    assert not any("judge" in note for note in notes)
    judged("b", "clip", **{"data.train_points": 100})
    (note,) = [note for note in compare(find_runs([tmp_path])).notes if "judge" in note]
    assert note.startswith("the runs have 2 judges (aaaaaaaaaaaa of bce, gp; bbbbbbbbbbbb of clip")
    assert note.endswith("fidelity and modes are comparable only with the same judge")


# Which runs count.
def test_a_run_in_several_folders_counts_once(tmp_path: Path) -> None:
    for seed in range(4):
        for name in ("a", "b"):
            leave_run(tmp_path / name, "gp", seed, spread(GOOD, seed))
            leave_run(tmp_path / name, "bce", seed, spread(POOR, seed), **{"log.every_n_steps": 7})
    leave_run(tmp_path / "b", "gp", 4, GOOD)
    twice, once = compare(find_runs([tmp_path])), compare(find_runs([tmp_path / "a"]))
    assert [len(row.group.runs) for row in twice.rows] == [4, 5], "other seeds do count"
    tag = "wasserstein/exact"
    assert twice.by_label["bce"].cells[tag].mean == once.by_label["bce"].cells[tag].mean
    (note,) = [note for note in twice.notes if "repeats" in note]
    assert note.startswith("8 runs are left out, with the seed and settings of a run that counts: ")
    assert str(tmp_path / "b") in note and note.endswith("and 6 more")
    assert not any("repeats" in note or "differ" in note for note in once.notes)


def test_of_a_repeated_run_the_one_that_ended_counts(tmp_path: Path) -> None:
    leave_run(tmp_path / "a", "gp", 0, {}, status="interrupted")
    leave_run(tmp_path / "b", "gp", 0, GOOD)
    (row,) = compare(find_runs([tmp_path])).rows
    assert [run.status for run in row.group.runs] == ["completed"]


def test_one_training_measured_in_two_ways_is_one_sample(tmp_path: Path) -> None:
    for seed in range(2):
        leave_run(tmp_path, "gp", seed, GOOD)
        leave_run(tmp_path, "gp", seed, POOR, **{"evaluate.final_n": 77})
    found = compare(find_runs([tmp_path]))
    assert [len(row.group.runs) for row in found.rows] == [2]
    (note,) = [note for note in found.notes if "repeats" in note]
    assert "measured with another evaluate.final_n: --by evaluate.final_n shows both" in note
    both = compare(find_runs([tmp_path]), by=["evaluate.final_n"])
    assert [len(row.group.runs) for row in both.rows] == [2, 2]
    assert not any("repeats" in note or "other values of" in note for note in both.notes)


def test_runs_that_were_measured_otherwise_are_pooled_with_a_note(tmp_path: Path) -> None:
    leave_run(tmp_path, "gp", 0, GOOD)
    leave_run(tmp_path, "gp", 1, GOOD, **{"evaluate.protocol": "box"})
    notes = compare(find_runs([tmp_path])).notes
    assert "pooled, although they differ: evaluate.protocol" in notes
    leave_run(tmp_path / "x", "gp", 0, GOOD)
    leave_run(tmp_path / "x", "bce", 0, GOOD, **{"evaluate.protocol": "box"})
    notes = compare(find_runs([tmp_path / "x"])).notes
    assert "the groups are measured with other values of evaluate.protocol" in notes
    assert not any(note.startswith("pooled") for note in notes)


# What they come to.
def test_means_are_over_seeds_and_survivors_with_the_diverged_beside_them(tmp_path: Path) -> None:
    for seed, exact in enumerate([0.1, 0.2, 0.3]):
        leave_run(tmp_path, "gp", seed, {"wasserstein/exact": exact, "modes/covered": 8.0})
    leave_run(tmp_path, "gp", 3, {"wasserstein/exact": 9.0}, status="diverged")
    leave_run(tmp_path, "gp", 4, {"wasserstein/exact": 9.0}, status="running")
    (row,) = compare(find_runs([tmp_path])).rows
    cell = row.cells["wasserstein/exact"]
    assert cell.mean.value == pytest.approx(0.2) and cell.mean.n == 3
    # Student's t with 2 degrees of freedom: 4.302653 sd / sqrt(3).
    assert cell.mean.high - 0.2 == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-5)
    assert row.diverged == 1 and row.unfinished == 1
    assert sum(map(math.isnan, cell.values)) == 1, "it counts, as worst, where runs are compared"
    assert row.all_modes is not None and row.all_modes.value == 0.75 and row.all_modes.n == 4


def test_best_is_marked_only_where_the_intervals_allow_it(tmp_path: Path) -> None:
    two_losses(tmp_path)
    rows = compare(find_runs([tmp_path])).by_label
    assert rows["gp"].best == {"modes/covered", "modes/high_quality", "wasserstein/exact"}
    assert not rows["bce"].best
    # The same means, from seeds that scatter: nobody is best.
    for seed, factor in enumerate([0.0, 6.0]):
        leave_run(tmp_path, "bce", 90 + seed, {t: v * factor for t, v in POOR.items()})
    assert not any(
        row.best for row in compare(find_runs([tmp_path]), metrics=["modes/covered"]).rows
    )


def test_a_group_that_loses_runs_is_never_best_by_its_survivors(tmp_path: Path) -> None:
    two_losses(tmp_path)
    leave_run(tmp_path, "gp", 99, {}, status="diverged")
    comparison = compare(find_runs([tmp_path]))
    assert not comparison.by_label["gp"].best
    (contrast,) = (d for d in comparison.contrasts if d.metric == "modes/covered")
    # Seed 99 has no partner; the six others remain pairs.
    assert (contrast.paired, contrast.met, contrast.seeds) == (True, 6, 7)
    assert (contrast.first, contrast.second, contrast.estimate.value) == ("bce", "gp", 0.0)


def test_matching_seeds_are_compared_in_pairs_and_p_values_are_adjusted(tmp_path: Path) -> None:
    two_losses(tmp_path)
    for seed in range(6):
        leave_run(tmp_path, "clip", seed, spread(POOR, seed))
    comparison = compare(find_runs([tmp_path]))
    assert all(contrast.paired for contrast in comparison.contrasts)
    assert len(comparison.contrasts) == 3 * 3
    raw = 2 / 2**6
    won = [d for d in comparison.contrasts if {d.first, d.second} == {"bce", "gp"}]
    assert all(d.estimate.value in (0.0, 1.0) and raw < d.p <= 1 for d in won)
    assert all(d.estimate.low < d.estimate.high for d in won), "no certainty from six pairs"


# Equal budgets.
def with_budget(folder: Path, loss: str, n_critic: int) -> Path:
    rows = [
        (step, {"budget/critic_steps": step * n_critic, "wasserstein/exact": 1.0 / step})
        for step in (10, 20, 40)
    ]
    final = {"budget/critic_steps": 40.0 * n_critic, "wasserstein/exact": 0.01}
    return leave_run(folder, loss, 0, final, rows=rows, step=40, **{"loss.n_critic": n_critic})


def test_a_budget_is_described_without_costs_that_some_losses_do_not_have() -> None:
    """A step's passes depend on loss, packs and activations; gradients are 1 + 2 per penalty."""
    assert At("passes", 7.0).sentence() == (
        "at 7 passes of a network over a batch, by the last evaluation until then"
    )
    assert "(1 a step, 2 more for each penalty and each unrolled step)" in (
        At("gradient_evaluations", 9.0).sentence()
    )


def test_at_an_equal_budget_the_last_evaluation_within_it_counts(tmp_path: Path) -> None:
    with_budget(tmp_path, "bce", 1)
    with_budget(tmp_path, "gp", 5)
    runs = find_runs([tmp_path])
    bce, gp = runs if runs[0].settings["loss.name"] == "bce" else runs[::-1]
    at = parse_at("critic_steps", runs)
    assert at == At("critic_steps", 40.0), "the most that all completed runs have spent"

    def exact(run: RunRecord, at: At | None) -> float | None:
        return values_at(run, ("wasserstein/exact",), at)[0]["wasserstein/exact"]

    assert exact(bce, at) == pytest.approx(1 / 40)
    assert exact(gp, at) is None, "its first row is at 50"
    assert exact(gp, At("critic_steps", 100.0)) == pytest.approx(1 / 20)
    assert exact(bce, At("critic_steps", 100.0)) is None, "never so far"
    assert exact(gp, None) == 0.01


def test_the_share_that_covers_all_is_that_at_the_budget(tmp_path: Path) -> None:
    for seed, counts in enumerate([(8, 8), (3, 8), (3, 8)]):
        rows = [
            (step, {"budget/critic_steps": float(step), "modes/covered": float(count)})
            for step, count in zip((10, 20), counts, strict=True)
        ]
        final = {"budget/critic_steps": 20.0, "modes/covered": 8.0}
        leave_run(tmp_path, "gp", seed, final, rows=rows, step=20)
    runs = find_runs([tmp_path])
    shares = [
        compare(runs, at=at).rows[0].all_modes
        for at in (None, At("critic_steps", 10), At("critic_steps", 20), At("critic_steps", 99))
    ]
    assert [share and (share.value, share.n) for share in shares] == [
        (1, 3), (pytest.approx(1 / 3), 3), (1, 3), None,
    ]  # fmt: skip


def test_budgets_that_differ_are_told(tmp_path: Path) -> None:
    with_budget(tmp_path, "bce", 1)
    with_budget(tmp_path, "gp", 5)
    runs = find_runs([tmp_path])
    note = compare(runs).notes[-1]
    assert "equal generator steps" in note and "critic steps 40 to 200" in note
    assert (
        compare(runs, at=parse_at("critic_steps", runs)).notes[-1].startswith("at 40 critic steps")
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("steps", "generator_steps"),
        ("examples=many", "above 0"),
        ("examples=-1", "above 0"),
        ("critic_steps=1e9", "the most is 40"),
        ("critic_steps=inf", "the most is 40"),
    ],
)
def test_a_budget_that_cannot_be_is_told(tmp_path: Path, text: str, told: str) -> None:
    with_budget(tmp_path, "bce", 1)
    with pytest.raises(ConfigError, match=told):
        parse_at(text, find_runs([tmp_path]))


@pytest.mark.parametrize("values", [(1.2345671e-4, 1.2345674e-4), (20, 20.0000000000001)])
def test_groups_that_differ_in_late_digits_stay_apart(
    tmp_path: Path, values: tuple[float, float]
) -> None:
    """The first 12 digits are written; groups that are still alike are numbered."""
    key = "train.critic_lr" if values[0] < 1 else "loss.gp_lambda"
    for seed in range(8):
        leave_run(tmp_path, "gp", seed, spread(GOOD, seed), **{key: values[0]})
        leave_run(tmp_path, "gp", seed, spread(POOR, seed + 1), **{key: values[1]})
    found = compare(find_runs([tmp_path]))
    assert len(found.by_label) == len(found.rows) == 2
    best = {row.group.label for row in found.rows if "wasserstein/exact" in row.best}
    assert best == {found.rows[0].group.label}
    (base, other) = found.by_label
    against = compare(find_runs([tmp_path]), baseline=base)
    assert {c.first for c in against.contrasts} | {c.second for c in against.contrasts} == {
        base, other}  # fmt: skip


def test_a_metric_that_is_given_twice_is_the_primary_once(tmp_path: Path) -> None:
    two_losses(tmp_path)
    runs = find_runs([tmp_path])
    twice = compare(runs, metrics=["modes/covered", "modes/covered"])
    assert twice.metrics == ("modes/covered",)
    assert twice.notes == compare(runs, metrics=["modes/covered"]).notes


def test_markdown_holds_no_html_of_a_stranger(tmp_path: Path) -> None:
    two_losses(tmp_path, 2)
    found = compare(find_runs([tmp_path]))
    group = replace(found.rows[0].group, values=(("loss.name", "<b onclick=x>|</b>"),))
    evil = replace(found, rows=(replace(found.rows[0], group=group), *found.rows[1:]))
    table = as_text(evil, "markdown")
    assert "<" not in table and "&lt;b onclick=x&gt;\\|&lt;/b&gt;" in table
    assert notes_text(["<i>"], "markdown") == "\n- &lt;i&gt;"


# What is never said.
def test_equal_values_one_run_and_missing_tags_get_words_not_certainty(tmp_path: Path) -> None:
    for seed in range(3):
        leave_run(tmp_path, "gp", seed, {"modes/covered": 8.0, "wasserstein/exact": 0.1 + seed})
    leave_run(tmp_path, "bce", 0, {"modes/covered": 2.0})
    comparison = compare(find_runs([tmp_path]))
    text = shown(comparison)
    assert "8 (no interval)" in text and "2 (no interval)" in text
    assert "nan" not in text.lower()
    assert any("weak: fewer than 5 seeds" in note for note in comparison.notes)
    assert any(note == "wasserstein/exact: no value in bce" for note in comparison.notes)


def test_all_diverged_is_a_result(tmp_path: Path) -> None:
    for seed in range(5):
        leave_run(tmp_path, "gp", seed, GOOD)
        leave_run(tmp_path, "wasserstein", seed, {}, status="diverged")
    comparison = compare(find_runs([tmp_path]))
    assert comparison.by_label["wasserstein"].diverged == 5
    assert "nan" not in shown(comparison).lower()
    contrast = next(d for d in comparison.contrasts if d.metric == "modes/covered")
    assert contrast.estimate.value == 1.0 and contrast.first == "gp"


def test_figures_show_what_their_interval_leaves_certain() -> None:
    assert estimate_text(Estimate(0.123456, 0.1, 0.15, 5, "t")) == "0.123 [0.100, 0.150]"
    assert estimate_text(Estimate(math.nan, math.nan, math.nan, 0, "t")) == "-"
    assert decimals(0) == 4
    near = Estimate(1000.0000012, 1000.0, 1000.0000024, 5, "t")
    assert estimate_text(near) == "1000.000001 [1000.000000, 1000.000002]"
    assert estimate_text(Estimate(1.3e-8, 1.1e-8, 1.5e-8, 5, "t")) == "1.3e-08 [1.1e-08, 1.5e-08]"
    assert "[" in estimate_text(mean_interval([1.0, 2.0, 3.0]))


# Files, and folders that are not in order.
def test_csv_and_json_hold_the_same_figures(tmp_path: Path) -> None:
    two_losses(tmp_path / "runs")
    comparison = compare(find_runs([tmp_path / "runs"]))
    write_files(comparison, tmp_path / "out")
    stored = json.loads((tmp_path / "out" / "comparison.json").read_text())
    gp = next(group for group in stored["groups"] if group["label"] == "gp")
    mean = comparison.by_label["gp"].cells["modes/covered"].mean
    assert gp["metrics"]["modes/covered"]["mean"]["low"] == mean.low
    assert len(gp["metrics"]["modes/covered"]["values"]) == 6
    lines = [line.split(",") for line in as_csv(comparison).splitlines()]
    row = next(line for line in lines if line[:2] == ["gp", "modes/covered"])
    assert float(row[7]) == mean.value and float(row[8]) == mean.low


def test_a_table_without_its_end_and_a_run_of_a_stranger(tmp_path: Path) -> None:
    path = with_budget(tmp_path, "bce", 1)
    whole = (path / "metrics.csv").read_text()
    (path / "metrics.csv").write_text(whole[:-7])
    (run,) = find_runs([tmp_path])
    assert run.table.dropped == 1 and run.curve("wasserstein/exact")[0] == [10, 20]
    assert any("broken line" in n for n in compare([run], at=At("generator_steps", 40)).notes)
    stranger = tmp_path / "x" / "\x1b[31m<b>"
    stranger.mkdir(parents=True)
    data = RunFolder(path).read()["config"]["data"]
    settings = {"loss": {"name": "\x1b]0;owned\x07[red]gp"}, "data": data, "seed": 0}
    content = {"status": "completed", "metrics": {"modes/covered": 8}, "config": settings}
    (stranger / "run.json").write_text(json.dumps(content))
    runs = find_runs([tmp_path])
    text = shown(compare(runs, by=["loss.name"]))
    assert "\x1b" not in text and "\x07" not in text and "[red]gp" in text


def test_jobs_that_never_began_are_counted(tmp_path: Path) -> None:
    from training_configs import tiny

    from wganbench.config import run_id
    from wganbench.config.jobs import Job

    leave_run(tmp_path, "gp", 0, GOOD)
    jobs = [Job(tiny("gp", seed=s), tmp_path / run_id(tiny("gp", seed=s))) for s in range(3)]
    add_jobs(tmp_path, jobs)
    runs = find_runs([tmp_path])
    assert not_begun([tmp_path], runs) == 2
    assert "2 of 3 runs have not finished" in compare(runs, missing=2).notes[0]


# The command.
def test_the_command_prints_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    two_losses(tmp_path / "ring8")
    assert main(["compare", str(tmp_path / "ring8"), "--metric", "modes/covered"]) == 0
    printed = capsys.readouterr().out
    assert "gp *" in printed and "every mode covered" in printed
    assert max(map(len, printed.splitlines()[:-3])) <= 80
    assert (tmp_path / "ring8" / "comparison" / "comparison.json").is_file()
    # Its own files are no runs.
    assert main(["compare", str(tmp_path / "ring8"), "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "comparison.csv").is_file()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nowhere"], "does not exist"),
        (["empty"], "there is no run in"),
        (["ring8", "--metric", "modes/coverd"], "did you mean 'modes/covered'"),
        (["ring8", "--metric", "mine/spread"], "the runs have mine/spread, which no"),
        (["ring8", "--metric", "mine/spreads"], "unknown tag 'mine/spreads' ("),
        (["ring8", "--by", "loss.gp_lamda"], "did you mean loss.gp_lambda"),
        (["ring8", "--by", "lr"], "did you mean train.critic_lr and train.generator_lr"),
        (["ring8", "--at", "steps=3"], "generator_steps"),
        (["running"], "no run of 1 has finished"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    two_losses(tmp_path / "ring8", 1)
    leave_run(tmp_path / "ring8", "lp", 0, {"modes/covered": 8.0, "mine/spread": 1.0})
    leave_run(tmp_path / "running", "gp", 0, {}, status="running")
    assert main(["compare", *words]) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1
