"""metrics.csv: exact, one row a step, sound after a crash."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wganbench.files import UnusableFile
from wganbench.runs.table import MetricsTable, Table, read_table, series

TAGS = ["loss/critic", "modes/kl"]


def written(folder: Path, steps: range = range(0, 50, 10)) -> Path:
    path = folder / "metrics.csv"
    table = MetricsTable(path, TAGS)
    for step in steps:
        table.extend([(step, {"loss/critic": step / 7})])
    return path


def test_a_row_is_text_a_person_can_read(tmp_path: Path) -> None:
    table = MetricsTable(tmp_path / "metrics.csv", TAGS)
    table.extend([(5, {"modes/kl": 0.1})])
    table.extend([(10, {"loss/critic": math.nan, "modes/kl": -math.inf})])
    table.extend([(15, {"loss/critic": np.float32(0.5), "modes/kl": np.int64(8)})])
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == ["step,loss/critic,modes/kl", "5,,0.1", "10,nan,-inf", "15,0.5,8"]


@settings(max_examples=50)
@given(values=st.lists(st.none() | st.floats(), min_size=1, max_size=8))
def test_values_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, values: list[float | None]
) -> None:
    path = tmp_path_factory.mktemp("table") / "metrics.csv"
    table = MetricsTable(path, ["loss/critic"])
    for step, value in enumerate(values):
        table.extend([(step, {} if value is None else {"loss/critic": value})])
    back = read_table(path)
    assert back["step"] == list(range(len(values))) and back.dropped == 0
    for value, cell in zip(values, back["loss/critic"], strict=True):
        assert repr(value) == repr(cell)


def test_every_row_is_on_the_disk_at_once(tmp_path: Path) -> None:
    table = MetricsTable(tmp_path / "metrics.csv", TAGS)
    for step in range(3):
        table.extend([(step, {})])
        assert read_table(table.path)["step"][-1] == step


@pytest.mark.parametrize("wrong", [(1, {}), (3, {"no/column": 0.0})])
def test_of_rows_of_which_one_is_wrong_none_is_written(tmp_path: Path, wrong: Any) -> None:
    table = MetricsTable(tmp_path / "metrics.csv", TAGS)
    with pytest.raises(ValueError, match="follows step|column"):
        table.extend([(1, {}), (2, {}), wrong])
    assert read_table(table.path)["step"] == []
    table.extend([(1, {}), (2, {})])
    assert read_table(table.path)["step"] == [1, 2]


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_truncated_last_line_is_left_out_and_counted(tmp_path: Path, cut: int) -> None:
    path = written(tmp_path)
    content = path.read_bytes()
    last = content.splitlines()[-1]
    path.write_bytes(content[:-cut])
    table = read_table(path)
    assert table["step"] == [0, 10, 20, 30] and table["loss/critic"][-1] == 30 / 7
    assert table.dropped == 1 and len(last) > cut


def test_going_on_after_a_truncated_line_does_not_glue_rows(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:-6])
    MetricsTable(path, TAGS).extend([(40, {"loss/critic": 1.0})])
    table = read_table(path)
    assert table["step"] == [0, 10, 20, 30, 40] and table["loss/critic"][-1] == 1.0
    assert table.dropped == 0


def test_broken_lines_in_the_middle_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path)
    lines = path.read_text().splitlines()
    lines[2:4] = ["10,1.0", "20,x,"]
    path.write_text("\n".join(lines) + "\n")
    table = read_table(path)
    assert table["step"] == [0, 30, 40] and table.dropped == 2


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_spreadsheets_mark_and_line_ends_are_no_part_of_it(
    tmp_path: Path, mark: str, end: str
) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(f"{mark}step,a,b{end}1,0.5,{end}2,,3{end}".encode())
    table = read_table(path)
    assert table == {"step": [1, 2], "a": [0.5, None], "b": [None, 3.0]} and not table.dropped
    MetricsTable(path, ["a", "b"]).extend([(3, {"a": 1.0})])
    assert path.read_text() == "step,a,b\n1,0.5,\n2,,3\n3,1.0,\n"


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ("step,a,a", "the column 'a' occurs more than once"),
        ("a,b", "its first column must be step; it is 'a'"),
        ("a,step", "its first column must be step; it is 'a'"),
    ],
)
def test_a_head_that_is_none_is_a_line(tmp_path: Path, head: str, told: str) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text(f"{head}\n1,2\n")
    for only in (None, ["b"]):
        with pytest.raises(UnusableFile, match=f"metrics.csv: {told}"):
            read_table(path, only)


@pytest.mark.parametrize("step", [-1, 0, 19, 20, 1000])
def test_cut_keeps_rows_up_to_the_step(tmp_path: Path, step: int) -> None:
    path = written(tmp_path)
    lines = path.read_text().splitlines()
    table = MetricsTable(path, TAGS)
    table.cut(step)
    kept = [line for line in lines[1:] if int(line.split(",")[0]) <= step]
    assert path.read_text().splitlines() == [lines[0], *kept]
    table.extend([(max(step, 40) + 1, {"modes/kl": 0.0})])
    assert len(read_table(path)["step"]) == len(kept) + 1


def test_after_a_cut_the_same_steps_may_come_again_but_not_without(tmp_path: Path) -> None:
    path = written(tmp_path)
    table = MetricsTable(path, TAGS)
    for step in (30, 40):
        with pytest.raises(ValueError, match="follows step 40"):
            table.extend([(step, {})])
    table.cut(20)
    table.extend([(30, {})])
    assert read_table(path)["step"] == [0, 10, 20, 30]


def test_a_kill_before_the_rename_cuts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path)
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    table = MetricsTable(path, TAGS)
    monkeypatch.setattr("wganbench.files.os.fsync", fail)
    with pytest.raises(OSError, match=r"metrics\.csv: No space left"):
        table.cut(10)
    assert path.read_bytes() == before


def test_other_columns_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(ValueError, match="only there modes/kl; only here modes/covered"):
        MetricsTable(path, ["loss/critic", "modes/covered"])
    with pytest.raises(ValueError, match="another order"):
        MetricsTable(path, TAGS[::-1])
    with pytest.raises(ValueError, match="did you mean 'modes/kl'"):
        MetricsTable(path, TAGS).extend([(99, {"modes/kll": 1.0})])


@pytest.mark.parametrize("columns", [["a,b"], ["a\nb"], ["step"], ["a", "a"]])
def test_columns_that_would_break_the_file_are_refused(tmp_path: Path, columns: list[str]) -> None:
    with pytest.raises(ValueError, match="not usable"):
        MetricsTable(tmp_path / "metrics.csv", columns)
    assert not list(tmp_path.iterdir())


def test_a_table_without_rows_has_its_columns(tmp_path: Path) -> None:
    MetricsTable(tmp_path / "metrics.csv", TAGS)
    assert read_table(tmp_path / "metrics.csv") == {"step": [], "loss/critic": [], "modes/kl": []}
    (tmp_path / "empty.csv").write_bytes(b"")
    assert read_table(tmp_path / "empty.csv") == {}


def test_series_skips_empty_cells_and_keeps_nan() -> None:
    table = Table(step=[1, 2, 3], a=[None, 2.0, math.nan])
    steps, values = series(table, "a")
    assert steps == [2, 3] and values[0] == 2.0 and math.isnan(values[1])
    assert series(table, "b") == ([], [])
