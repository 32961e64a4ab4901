"""A study from its settings to its files, with a measurement whose result is known."""

from __future__ import annotations

import csv
import dataclasses
import importlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from wganbench.cli.app import main
from wganbench.errors import ConfigError
from wganbench.presets import preset_names, read_preset
from wganbench.registry import Registry
from wganbench.studies import (
    STUDIES,
    Claim,
    Evidence,
    Findings,
    Study,
    record,
    scoreboard,
    settings,
)
from wganbench.studies import study as study_module
from wganbench.studies.record import read_verdicts
from wganbench.studies.settings import budgets, read_seeds, read_settings
from wganbench.studies.study import Context
from wganbench.sweeps.backend import Silent

ROOT = Path(__file__).parents[1]
YAML = {"budgets": {"quick": {"seeds": 5, "minutes": 1, "steps": 10, "rates": [0.1, 1.0]},
                    "full": {"seeds": 10}}}  # fmt: skip
CLAIM = Claim("grows", "it grows", "nobody", "comparative", "growth", "m", 0.5, spread=0.1)
CALLS: list[str] = []


def measure(context: Context) -> Findings:
    def compute() -> list[float]:
        CALLS.append(context.study)
        return [1.0 + 0.1 * seed for seed in context.seeds]

    values = context.remember(
        "growth", {"seeds": context.seeds, "steps": context["steps"]}, compute
    )
    rows = [{"seed": s, "growth": v} for s, v in zip(context.seeds, values, strict=True)]
    figure = Figure(figsize=(1, 1))
    return Findings({"grows": Evidence(values)}, rows, {"figure": figure}, ["It grew."])


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """One study, named ``planted``, in a folder of its own."""
    study = Study("planted", "does it grow?", [CLAIM], measure, "Invented.", {"rule": "it is law"})
    registry: Registry[Study] = Registry("studies")
    registry.register("planted", study)
    for module in (record, scoreboard, study_module):
        monkeypatch.setattr(module, "STUDIES", registry)
    monkeypatch.setattr("wganbench.studies.STUDIES", registry)
    monkeypatch.setattr(settings, "read_preset", lambda group, name: YAML)
    monkeypatch.chdir(tmp_path)
    CALLS.clear()
    return tmp_path / "outputs" / "studies" / "planted"


def test_a_study_leaves_its_files_and_remembers(planted: Path) -> None:
    assert main(["study", "planted"]) == 0
    record: dict[str, Any] = json.loads((planted / "verdict.json").read_text())
    (entry,) = record["verdicts"]
    assert entry["verdict"] == "supported" and entry["value"] == pytest.approx(1.2)
    assert entry["n"] == 5 and entry["interval"][0] > 0.5
    assert {"figure.png", "figure.svg", "table.csv", "summary.md"} <= {
        path.name for path in planted.iterdir()
    }
    with (planted / "table.csv").open() as lines:
        assert [float(row["growth"]) for row in csv.DictReader(lines)] == pytest.approx(
            [1.0, 1.1, 1.2, 1.3, 1.4]
        )
    assert "It grew." in (planted / "summary.md").read_text()
    assert CALLS == ["planted"]
    assert main(["study", "planted"]) == 0
    assert CALLS == ["planted"], "measured once"
    assert main(["study", "planted", "steps=11"]) == 0
    assert CALLS == ["planted"] * 2, "other settings, another measurement"
    assert main(["study", "planted", "budget=full"]) == 0
    assert (planted.parent / "planted-full" / "verdict.json").is_file()


def test_a_stored_part_that_is_none_is_measured_again_and_no_link_is_followed(
    planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "planted"]) == 0
    (part,) = (planted / "parts").iterdir()
    for count, make in enumerate(
        (
            lambda: part.write_text("{"),
            lambda: part.write_text("[" * 200_000),
            lambda: os.mkfifo(part),
        ),
        2,
    ):
        part.unlink()
        make()
        assert main(["study", "planted"]) == 0
        assert ["planted"] * count == CALLS and json.loads(part.read_text())[0] == 1.0
    (tmp_path / "elsewhere").mkdir()
    shutil.rmtree(planted / "parts")
    (planted / "parts").symlink_to(tmp_path / "elsewhere")
    capsys.readouterr()
    assert main(["study", "planted"]) == 2
    error = capsys.readouterr().err
    assert "parts is a link" in error and error.count("\n") == 1
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_scoreboard_does_without_a_figure_that_could_not_be_drawn(planted: Path) -> None:
    assert main(["study", "planted"]) == 0
    assert "data:image/png" in scoreboard_of(planted)
    (planted / "figure.png").unlink()
    assert "data:image/png" not in scoreboard_of(planted)


def scoreboard_of(planted: Path) -> str:
    """The page, made anew of what the study left."""
    return scoreboard.write_scoreboard(planted.parents[1]).read_text()


def test_all_of_them_end_in_a_scoreboard(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "all", "seeds=3"]) == 0
    page = (planted.parent / "scoreboard.html").read_text()
    assert "it grows" in page and "data:image/png;base64," in page and "://" not in page
    shown = capsys.readouterr().out
    assert "1 claims in 1 studies: 1 supported" in shown
    words = "Holm&#39;s correction runs over 1 primary claim: planted.grows"
    assert words.replace("&#39;", "'") in shown and words in page
    *_, row = (planted.parent / "scoreboard.md").read_text().strip().splitlines()
    assert row.startswith("| planted | **it grows**: ") and row.endswith("| supported |")
    assert "| 1.1 [" in row and row.count(" | ") == 3


def test_a_study_with_a_fault_does_not_stop_the_others(
    planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(context: Context) -> Findings:
        raise AttributeError("no such part")

    faulty = Study("faulty", "does it divide?", [CLAIM], broken, "Invented.")
    rows = scoreboard.STUDIES._rows
    rows.update({"faulty": faulty, "planted": rows.pop("planted")})  # the faulty one first
    assert main(["study", "all", "seeds=3"]) == 3
    shown = capsys.readouterr()
    assert "failed: faulty: AttributeError: no such part" in shown.out
    assert "Traceback" in shown.err and "no scoreboard: it needs all studies" in shown.out
    assert CALLS == ["planted"] and (planted / "verdict.json").is_file()


def test_the_scoreboards_of_both_budgets_stand_side_by_side(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    script = importlib.import_module("scoreboard")
    for budget in ("quick", "full"):
        assert main(["study", "planted", f"budget={budget}"]) == 0
    ((quick, full),) = found = script.pairs(planted.parents[1])
    assert quick.word == full.word == "supported" and script.change(found[0]) == "alike"
    for one, other, kind in (
        ("supported", "refuted", "against"), ("not refuted", "refuted", "against"),
        ("not refuted", "supported", "alike"), ("undecided", "refuted", "full"),
        ("supported", "undecided", "quick"), ("undecided", "undecided", "neither"),
    ):  # fmt: skip
        pair = dataclasses.replace(quick, word=one), dataclasses.replace(full, word=other)
        assert script.change(pair) == kind
    row = script.primaries(found).splitlines()[2]
    assert row.startswith("| `planted` | ") and row.count("| supported |") == 2
    assert script.value_text(quick) in row and script.value_text(full) in row
    assert "nowhere" in script.opposed(found)
    against = [(quick, dataclasses.replace(full, word="refuted"))]
    assert len(script.opposed(against).splitlines()) == 3
    assert "against each other: 1" in script.summaries(against)


def test_a_scoreboard_names_studies_that_were_run_with_other_settings(
    planted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["study", "planted"]) == 0
    assert "other settings" not in scoreboard_of(planted)
    for word, key in (("seeds=4", "seeds"), ("steps=11", "steps")):
        assert main(["study", "planted", word]) == 0
        sentence = f"Run with other settings than this budget's: planted ({key})."
        assert sentence in scoreboard_of(planted).replace("&#39;", "'")
        assert sentence in (planted.parent / "scoreboard.md").read_text()
    newer = dataclasses.replace(scoreboard.STUDIES["planted"], version=2)
    monkeypatch.setitem(scoreboard.STUDIES._rows, "planted", newer)
    with pytest.raises(ConfigError, match="of another version: planted"):
        scoreboard.read_scoreboard(planted.parents[1])


def test_no_scoreboard_is_made_of_a_part(planted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["study", "planted"]) == 0
    other = Study("absent", "is it there?", [CLAIM], measure, "Invented.")
    scoreboard.STUDIES.register("absent", other)
    with pytest.raises(ConfigError, match="missing.*: absent; run wganbench study all$"):
        scoreboard.read_scoreboard(planted.parents[1])
    # The claims of the study have changed since it ran.
    del scoreboard.STUDIES._rows["absent"]
    assert scoreboard.read_scoreboard(planted.parents[1])
    entry = planted / "verdict.json"
    entry.write_text(entry.read_text().replace('"smallest": 0.5', '"smallest": 0.4'))
    with pytest.raises(ConfigError, match="planted"):
        scoreboard.read_scoreboard(planted.parents[1])


def test_a_stored_verdict_is_one_of_the_four_words(planted: Path) -> None:
    assert main(["study", "planted"]) == 0
    entry = planted / "verdict.json"
    entry.write_text(entry.read_text().replace('"verdict": "supported"', '"verdict": "proven"'))
    with pytest.raises(ConfigError, match="not what a study writes: verdict is one of supported"):
        read_verdicts(planted)


def test_one_claim_of_a_study_is_primary() -> None:
    two = [CLAIM, dataclasses.replace(CLAIM, name="second")]
    with pytest.raises(ValueError, match="0 are marked"):
        Study("s", "q", two, measure, "d")
    marked = [dataclasses.replace(claim, primary=True) for claim in two]
    with pytest.raises(ValueError, match="2 are marked"):
        Study("s", "q", marked, measure, "d")
    assert Study("s", "q", [marked[0], two[1]], measure, "d").claims[0].primary
    assert Study("s", "q", [CLAIM], measure, "d").claims[0].primary, "the only one"
    with pytest.raises(ValueError, match="two claims of one name"):
        Study("s", "q", [CLAIM, CLAIM], measure, "d")


def test_seeds_that_were_looked_at_are_passed_over_and_refused() -> None:
    seen = (0, 1, 2, 4)
    assert read_seeds(3, seen) == (3, 5, 6) and read_seeds([3, 9], seen) == (3, 9)
    with pytest.raises(ConfigError, match="2 was looked at.*from 5 on"):
        read_seeds([3, 2], seen)
    assert read_settings("layer_gradients", {}, []).seeds[0] not in range(5)


@pytest.mark.parametrize("name", list(STUDIES))
def test_larger_budgets_have_seeds_of_their_own(name: str) -> None:
    """Those budgets were sized with the quick results in sight."""
    quick = set(read_settings(name, {}, []).seeds)
    for budget in ("full", "paper"):
        seeds = read_settings(name, {}, [f"budget={budget}"]).seeds
        assert not quick & set(seeds), f"{budget} repeats seeds of quick"
        values = budgets(name)[budget]["seeds"]
        assert len(seeds) == (values if isinstance(values, int) else len(values))
    assert read_seeds(3, (0,), (1, 3)) == (2, 4, 5), "the first that are left"


def test_the_list_says_what_it_costs(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--list"]) == 0
    shown = capsys.readouterr().out
    assert "planted: does it grow?" in shown and "1 claim, 5 seeds, about 1 min" in shown
    assert main(["study", "--list", "planted", "seeds=1"]) == 0
    assert "1 claim, 1 seed, about 1 min" in capsys.readouterr().out
    for words, message in (("budget=ful", "did you mean 'full'"), ("plant", "'planted'")):
        assert main(["study", "--list", words]) == 2
        assert message in capsys.readouterr().err


def test_the_list_says_for_what_the_seeds_are_too_few(
    planted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "--list"]) == 0
    assert "underpowered" not in capsys.readouterr().out
    monkeypatch.setattr("wganbench.studies.verdicts.POWER", 1.1)
    assert main(["study", "--list"]) == 0
    assert "underpowered (seeds that it takes): grows (more than" in capsys.readouterr().out


def test_a_claim_that_has_fewer_seeds_is_planned_with_those() -> None:
    few = dataclasses.replace(CLAIM, seeds="some")
    assert few.seeds_of((1, 2, 3), {"some": 2}) == 2 and few.seeds_of((1, 2), {"some": 5}) == 2
    assert CLAIM.seeds_of((1, 2, 3), {"some": 2}) == 3
    claims = {claim.name: claim for claim in STUDIES["mode_collapse"].claims}
    quick = read_settings("mode_collapse", {}, [])
    counts = {n: c.seeds_of(quick.seeds, quick.values) for n, c in claims.items()}
    assert counts["penalty_coverage"] == len(quick.seeds) == 8
    assert counts["tuned_penalty_lost"] == counts["gp_eliminates"] == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sed=3", "did you mean 'seeds'"),
        ("budget=huge", "unknown budget 'huge'"),
        ("seeds=100,101", "seeds"),
        ("seeds=[100]", "decide nothing"),
        ("seeds=[1,1]", "seeds=[1,1]: give at least one seed, and none twice"),
        ("seeds=0", "seeds must be at least 1; got 0"),
        ("seeds=100000000000", "seeds must be at most 100; got 100000000000"),
        ("seeds=1,2", "seeds='1,2': give how many, such as seeds=5, or which"),
        ("seeds=true", "seeds='True': give how many"),
        ("seeds=[]", "give at least one seed"),
        ("steps=many", "a whole number"),
        ("steps=1.5", "a whole number"),
        ("steps=-1", "at least 1"),
        ("steps=0", "at least 1"),
        ("steps=1e20", "at most 16000000"),
        ("rates=1e308", "at most 1e+18"),
        ("output_dir=", "output_dir is empty"),
        ("output_dir=~nobody_at_all/x", "output_dir="),
        ("device=foo", "device must be auto, cpu"),
        ("steps=2026-13-45", "is no value"),
        ("rates=[]", "empty"),
        ("rule=3", "it is law"),
        ("loss.gp_lambda=3", "belongs to a run"),
        ("steps", "KEY=VALUE"),
    ],
)
def test_a_wrong_setting_is_one_line(
    planted: Path, override: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", "planted", override]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1
    assert not planted.exists()


def test_a_folder_that_cannot_be_made_is_told_in_words(
    planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("")
    assert main(["study", "planted", "output_dir=file/x"]) == 2
    assert capsys.readouterr().err == "wganbench: file/x/studies/planted: Not a directory\n"
    assert main(["study", "planted", "output_dir=folder/x"]) == 0


def test_an_unknown_study_is_one_line(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "plantd"]) == 2
    assert "did you mean 'planted'" in capsys.readouterr().err


def test_a_single_value_is_a_list_of_one(planted: Path) -> None:
    found = read_settings("planted", {}, ["rates=2", "seeds=[4,7]"])
    assert found.values["rates"] == [2.0] and found.seeds == (4, 7)
    assert read_seeds(3) == (0, 1, 2)


def test_the_folder_of_a_study_may_begin_at_home(
    planted: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_settings("planted", {}, ["output_dir=~/x"]).output_dir == tmp_path / "x"


def test_numbers_that_fail_under_ones_own_settings_are_one_line() -> None:
    failing = settings.numbers_that_fail
    with (
        pytest.raises(ConfigError, match="study dirac cannot be measured with steps=1: no"),
        failing("dirac", ["steps=1", "device=cpu"]),
    ):
        raise ArithmeticError("no")
    with pytest.raises(ArithmeticError), failing("dirac", ["device=cpu"]):
        raise ArithmeticError("no")


def test_evidence_must_match_the_claims(planted: Path) -> None:
    study = Study("s", "q", [CLAIM], measure, "d")
    with pytest.raises(ValueError, match="evidence"):
        record.judge_all(study, Findings({}, [], {}, []))


def test_two_processes_do_not_share_a_folder(planted: Path) -> None:
    from wganbench.files import RunLock

    planted.mkdir(parents=True)
    with RunLock(planted / ".lock"), pytest.raises(ConfigError, match="in use"):
        record.run_study("planted", [], Silent())


def test_a_setting_that_is_negative_may_stay_so() -> None:
    assert read_settings("dirac", {}, ["psi=-2"]).values["psi"] == -2.0
    with pytest.raises(ConfigError, match="theta must be at least 0"):
        read_settings("dirac", {}, ["theta=-2"])


# Every study that there is.
@pytest.mark.parametrize("name", list(STUDIES))
def test_every_study_has_its_budgets_and_its_source(name: str) -> None:
    study = STUDIES[name]
    assert study.claims and study.question.endswith("?") and study.differs
    known = budgets(name)
    assert set(known) == {"quick", "full", "paper"}
    keys = {tuple(sorted(values)) for values in known.values()}
    assert len(keys) == 1, "a larger budget has no setting of its own"
    assert {"seeds", "minutes"} <= set(known["quick"])


def test_the_full_budgets_take_two_hours_in_all() -> None:
    assert sum(budgets(name)["full"]["minutes"] for name in STUDIES) <= 120


def test_every_yaml_is_a_study() -> None:
    assert set(preset_names("study")) == set(STUDIES)
    for name in STUDIES:
        assert read_preset("study", name)["name"] == name
