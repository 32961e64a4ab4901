"""Tables of points as people have them: what is read, what is refused, what is said of it."""

from __future__ import annotations

import gzip
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wganbench.data import load
from wganbench.data.points import Points, Units, read_points, read_table_file, units_from

ROWS = np.random.default_rng(0).normal(size=(30, 2)).round(6)


def lines(
    separator: str = ",", head: str | None = "x,y", rows: Any = ROWS, form: str = "{:.6f}"
) -> str:
    body = [separator.join(form.format(value) for value in row) for row in rows]
    return "\n".join([*([head] if head is not None else []), *body]) + "\n"


def numbered(first: int, head: str, quote: str = "", last: bool = False) -> str:
    body = []
    for i, (x, y) in enumerate(ROWS):
        number, point = f"{quote}{first + i}{quote}", f"{x:.6f},{y:.6f}"
        body.append(f"{point},{number}" if last else f"{number},{point}")
    return "\n".join([head, *body]) + "\n"


GERMAN = lines(";", "x;y").replace(".", ",")

READ = {
    "plain.csv": lines(),
    "no names.csv": lines(head=None),
    "pandas.csv": numbered(0, ",x,y"),
    "pandas again.csv": numbered(0, "Unnamed: 0,x,y"),
    "named.csv": numbered(7, "index,x,y"),
    "last.csv": numbered(1, "x,y,idx", last=True),
    "write.csv.csv": numbered(1, '"","x","y"', quote='"'),
    "write.table.txt": numbered(1, '"x" "y"', quote='"').replace(",", " "),
    "r.csv": numbered(1, "x,y"),
    "shuffled.csv": ",x,y\n" + "".join(sorted(numbered(0, "").splitlines(keepends=True)[1:])[::-1]),
    "numbers.csv": lines(head="0,1"),
    "both.csv": numbered(0, ",0,1"),
    "units.csv": lines(head="x,y\nm,m"),
    "semicolon.csv": lines(";", "x;y"),
    "german.csv": GERMAN,
    "german.txt": GERMAN.replace(";", "\t"),
    "tab.tsv": lines("\t", "x\ty"),
    "blanks.txt": lines("   ", "# x y"),
    "quoted.csv": lines(head='"x","y"', form='"{:.6f}"'),
    "excel.csv": "sep=;\n" + lines(";", "x;y"),
    "utf16.csv": lines("\t", "x\ty").encode("utf-16"),
    "mark.csv": b"\xef\xbb\xbf" + lines().encode(),
    "latin.csv": lines(head="gr\xf6\xdfe,y").encode("latin-1"),
    "blank first.csv": "\n\n" + lines(),
    "trailing.csv": lines(head="x,y,").replace("\n", ",\n").replace(",,", ","),
    "trailing body.csv": lines(head=None).replace("\n", ",\n"),
    "carriage.csv": lines().replace("\n", "\r\n").encode(),
    "old mac.csv": lines().replace("\n", "\r").encode(),
    "comment.csv": "# made by hand\n" + lines(),
    "packed.csv.gz": gzip.compress(lines().encode()),
    "spaced.csv": lines(", ", "x, y"),
    "words.csv": "#N/Awkward, by hand\n" + lines() + "#N/As, to be measured\n",
    "excel comment.csv": lines() + "# #N/A,1\n",
    "last comment.csv": lines(head=None).replace("\n", " # first\n", 1),
    "aligned.txt": lines("   ", head=None).replace(".", ","),
    "title.csv": "Station 7, north\n".replace(",", ";") + lines(),
    "title and blank.csv": "Station 7\n\n" + lines(),
    "bars.csv": lines("|", "x|y"),
    "broken line.csv": '{},"{}\n"'.format(*lines().rstrip().rsplit(",", 1)),
    "typeset.csv": lines().replace("-", "\u2212"),
    "gaps.csv": "index,x,y\n" + "".join(f"{3 * i},{x},{y}\n" for i, (x, y) in enumerate(ROWS)),
    "german names.txt": "x y\n" + GERMAN.replace(";", " ").partition("\n")[2],
}  # fmt: skip


def write(file: Path, content: str | bytes) -> Path:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


def as_trained_on(path: Path, **options: Any) -> Any:
    return read_points(str(path), **options).table.numpy()


@pytest.mark.parametrize("name", READ)
def test_what_is_unambiguous_is_read(tmp_path: Path, name: str) -> None:
    found = as_trained_on(write(tmp_path / name, READ[name]))
    expected = ROWS[::-1] if name == "shuffled.csv" else ROWS
    if name == "shuffled.csv":
        found, expected = np.sort(found, axis=0), np.sort(expected, axis=0)
    np.testing.assert_array_equal(found, expected.astype(np.float32))


def test_a_title_or_a_line_of_units_is_told_by_its_number(tmp_path: Path) -> None:
    units = lines().replace("x,y\n", "x,y\nm,kg\n", 1)
    for text, told in (("\nSite 7\n" + lines(), "line 2 (Site 7)"), (units, "line 2 (m, kg)")):
        write(tmp_path / "a.csv", text)
        first, note = read_points(str(tmp_path / "a.csv")).notes
        assert note == f"{told} was passed over" and "30 points in 2-D, x -" in first


def test_numpys_own_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    np.savez(tmp_path / "one.npz", cloud=ROWS)
    np.savez(tmp_path / "ours.npz", fakes=ROWS, reals=0 * ROWS)
    np.savez(tmp_path / "two.npz", a=ROWS, b=ROWS)
    named = np.zeros(30, dtype=[("x", "f8"), ("y", "f8")])
    named["x"], named["y"] = ROWS.T
    np.save(tmp_path / "fields.npy", named)
    for name in ("a.npy", "one.npz", "ours.npz", "fields.npy"):
        np.testing.assert_array_equal(as_trained_on(tmp_path / name), ROWS.astype(np.float32))
    with pytest.raises(ValueError, match=r"data\.path.*2 arrays \(a, b\)"):
        as_trained_on(tmp_path / "two.npz")


def test_a_damaged_or_encrypted_file_of_numpys_is_refused_in_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    np.savez(tmp_path / "a.npz", ROWS)
    whole, packed = ((tmp_path / name).read_bytes() for name in ("a.npy", "a.npz"))
    central = packed.index(b"PK\x01\x02")
    cases = {
        "torn.npy": (whole.replace(b"(30, 2)", b"(30, 2("), "its header is damaged"),
        "secret.npz": (with_byte(with_byte(packed, 6, 1), central + 8, 1), "is encrypted"),
        "odd.npz": (with_byte(packed, central + 10, 77), "compression method"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"^data\.path: cannot read .*{message}") as caught:
            load("points", path=str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_an_array_of_something_else_is_refused_in_our_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "objects.npy", ROWS.astype(object))
    write(tmp_path / "text.npy", lines())
    np.savez_compressed(tmp_path / "bomb.npz", np.zeros((5_000, 2)))
    np.savez(tmp_path / "large.npz", np.zeros((5_000, 2)))
    np.savez(tmp_path / "none.npz")
    write(tmp_path / "empty.npy", "")
    with zipfile.ZipFile(tmp_path / "zipped.npz", "w") as packed:
        packed.writestr("a.csv", lines())
    monkeypatch.setattr("wganbench.data.points.LARGEST", 50_000)
    for name, message in {
        "objects.npy": r"holds Python objects; save it as array\.astype\(float\)",
        "text.npy": "it is no file of NumPy's",
        "bomb.npz": r"unpacks to more than 50,000 bytes; save it as \.npy",
        "none.npz": "it holds no array: save one alone",
        "empty.npy": "No data left in file",
        "zipped.npz": r"it must hold numbers of shape \(n, d\)",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            read_points(str(tmp_path / name))
        assert "pickle" not in str(caught.value)
    assert len(as_trained_on(tmp_path / "large.npz")) == 5_000, "its size is that on the disk"


def with_byte(content: bytes, at: int, value: int) -> bytes:
    return content[:at] + bytes([value]) + content[at + 1 :]


def test_a_mark_inside_a_name_begins_no_comment(tmp_path: Path) -> None:
    for head, names in {
        "x #1,y #2": ("x #1", "y #2"),
        "x,y # in metres": ("x", "y"),
        "# x,y": ("x", "y"),
        "1,2 # a point": ("x", "y"),
    }.items():
        table = read_table_file(str(write(tmp_path / "a.csv", lines(head=head))))
        assert table.names == names
        assert len(table.values) == len(ROWS) + head.startswith("1")


def test_a_field_without_numbers_is_refused_or_left_out(tmp_path: Path) -> None:
    dated = np.zeros(30, dtype=[("a", "f4"), ("b", "M8[D]"), ("c", "f8")])
    dated["a"], dated["c"] = ROWS.T
    np.save(tmp_path / "dated.npy", dated)
    with pytest.raises(ValueError, match=r"data\.path.*field b holds datetime.*columns=\[a,c\]"):
        as_trained_on(tmp_path / "dated.npy")
    found = as_trained_on(tmp_path / "dated.npy", columns=("c", "a"))
    np.testing.assert_array_equal(found, ROWS[:, ::-1].astype(np.float32))


def test_a_table_on_its_side_gets_a_hint(tmp_path: Path) -> None:
    np.save(tmp_path / "side.npy", ROWS.T)
    with pytest.raises(ValueError, match=r"too few.*of 2.*shape \(2, 30\).*transposed"):
        load("points", path=str(tmp_path / "side.npy"))
    np.save(tmp_path / "flat.npy", ROWS[:, 0])
    with pytest.raises(ValueError, match=r"reshape\(-1, 1\)"):
        load("points", path=str(tmp_path / "flat.npy"))
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).normal(size=(15, 40)))
    assert any("array.T" in line for line in read_points(str(tmp_path / "wide.npy")).notes)


REFUSED = {
    "empty": (
        lines().replace(lines().split("\n")[5], "1.5,"),
        r"line 6, column y, is empty \(1 such cell in all\); fill it or delete the line",
    ),
    "excel": ("x,y\n#N/A,1\n" + "2,3\n" * 9, r"line 2, column x, is '#N/A', which"),
    "excel, no names": ("#DIV/0!,1\n" + "2,3\n" * 9, r"line 1, column x, is '#DIV/0!'"),
    "excel, blanks": ("2 3\n" * 9 + "#REF! 1\n", r"line 10, column x, is '#REF!'"),
    "excel, last": ("x,y\n" + "2,3\n" * 9 + "4, #name?\n", r"line 11, column y, is '#name\?'"),
    "nan": (lines().replace(lines().split("\n")[9], "nan,2"), r"line 10, column x, is 'nan'"),
    "blank line before": ("\n" + lines() + "1,NA\n", r"line 33, column y, is 'NA'"),
    "short": (lines() + "1\n", r"line 32 has 1 cell, line 2 2"),
    "long": (lines() + "1,2,3\n", r"line 32 has 3 cells"),
    "text": (
        "x,y,label\n" + "".join(f"{x},{y},cat\n" for x, y in ROWS),
        r"line 2, column label, is 'cat'.*data\.columns=\[x,y\]",
    ),
    "no names": (
        "".join(f"cat,{x},{y}\n" for x, y in ROWS),
        r"line 1, column x, is 'cat'.*data\.columns=\[1,2\]",
    ),
    "years": (lines(head="2019,2020"), r"line 1 \(2019,2020\).*data\.columns=\[2019,2020\]"),
    "nameless": (lines(head=",y"), r"column 0 has no name.*data\.columns=\[0,1\]"),
    "thousands": ("\n".join(["1,234\t5,678"] * 9), r"'1,234'.*thousands"),
    "mixed": ("x;y\n" + "1.234,5;2\n" * 9, r"'1\.234,5'"),
    "one comma": ("3\n4\n5\n1,2\n6\n", r"line 4, column x, is '1,2'"),
    "words": ("hello\nworld\n", r"no finite number|no numbers"),
    "zeros": (b"\0" * 50, r"no text"),
    "far": ("x,y\n" + "1e39,1\n" * 9, r"1e\+39 in x.*float32"),
    "names alone": ("x,y\n", r"names and no numbers"),
    "json": ('{"a": 1, "b": 2}\n', r"names and no numbers"),
    "blanks or thousands": ("1 100,0\n1 101,1\n" * 9, r"line 1 \(1 100,0\) is one number .* or 2"),
    "the same, named": ("x\n1 100,0\n2 101,1\n", r"line 2 \(1 100,0\) is one number .* or 2"),
    "no row names": ("x\n12 1,5\n1 2,5\n", r"column 0 has no name"),
    "too few names": ("x\n" + "1,5\n1,7\n" * 9, r"no name \(1 name for 2 columns\) and"),
    "repeated numbers": ("index,x,y\n" + "1,2,cat\n" * 9, r"data\.columns=\[index,x\] takes"),
    "units": ("x,y\n" + "1%,2%\n" * 9, r"'1%'.*write numbers such as .* without units"),
    "open quotes": ('x,y\n1,2\n"3,4\n' + "5,6\n" * 9, r"line 3: a quotation mark opens and never"),
    "odd names": (
        '"x (m)","a,b",c\n' + "1,2,cat\n" * 9,
        r"; 'data\.columns=\[x \(m\),\"a,b\"\]' takes the columns",
    ),
    "gzip": (gzip.compress(lines().encode()), r"compressed by gzip: .* \.gz"),
    "spreadsheet": (b"PK\x03\x04" + lines().encode(), r"zip archive or a spreadsheet"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_rest_is_refused_with_line_and_remedy(tmp_path: Path, name: str) -> None:
    content, message = REFUSED[name]
    file = write(tmp_path / "a.csv", content)
    with pytest.raises(ValueError, match=message) as caught:
        as_trained_on(file)
    assert str(caught.value).startswith("data.path: ") and "\n" not in str(caught.value)


def test_columns_are_chosen_by_name_or_number(tmp_path: Path) -> None:
    body = "".join(f"{i},c,{x},{y}\n" for i, (x, y) in enumerate(ROWS))
    file = write(tmp_path / "a.csv", "id,label,x,y\n" + body)
    expected = ROWS.astype(np.float32)
    np.testing.assert_array_equal(as_trained_on(file, columns=("x", "y")), expected)
    np.testing.assert_array_equal(as_trained_on(file, columns=("3", "x")), expected[:, ::-1])
    target = load("points", path=str(file), columns=["x", 3])
    assert target.shape == (2,)
    for columns in (("z",), ("4",), ("x", "x"), ("x", "2")):
        with pytest.raises(ValueError, match=r"data\.columns"):
            as_trained_on(file, columns=columns)
    years = write(tmp_path / "years.csv", lines(head="2019,2020"))
    assert len(as_trained_on(years, columns=("2019", "2020"))) == len(ROWS)
    np.save(tmp_path / "a.npy", ROWS)
    np.testing.assert_array_equal(
        as_trained_on(tmp_path / "a.npy", columns=("1",)), expected[:, 1:]
    )


def test_what_was_read_is_told(tmp_path: Path) -> None:
    told = read_points(str(write(tmp_path / "a.csv", numbered(0, ",x,y")))).notes
    low, high = ROWS.min(axis=0), ROWS.max(axis=0)
    assert told[0] == (
        f"30 points in 2-D, x {low[0]:.3g} to {high[0]:.3g}, y {low[1]:.3g} to {high[1]:.3g}"
    )
    assert told[1:] == ("a column without a name was left out: row numbers",)
    times = "t,y\n" + "".join(f"{5 + i},{y}\n" for i, (_, y) in enumerate(ROWS))
    told = read_points(str(write(tmp_path / "times.csv", times))).notes
    assert told[0].startswith("30 points in 2-D, t 5 to 34, ") and "t counts up by 1" in told[1]
    hidden = read_points(str(write(tmp_path / "esc.csv", lines(head="x\x1b[31m,y")))).notes
    assert "\x1b" not in "".join(hidden)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    for path in (tmp_path / "pipe.csv", tmp_path / "a.csv"):
        with pytest.raises(ValueError, match=r"data\.path"):
            read_points(str(path))
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "folder").mkdir()
    for name, message in (("zero.csv", "not a regular file"), ("folder.csv", "is a folder: give a"),
                          ("folder", "is a folder: give a file of points")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            read_points(str(tmp_path / name))
    (tmp_path / "link.csv").symlink_to(write(tmp_path / "real.csv", lines()))
    assert len(as_trained_on(tmp_path / "link.csv")) == 30


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", lines())
    assert len(as_trained_on(file)) == 30
    write(file, lines(rows=ROWS[:20]))
    assert len(as_trained_on(file)) == 20


# Units.
UTM = np.array([388097.459, 5820430.359])


def test_what_float32_would_merge_is_refused_and_scaled_on_request(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = UTM + (5 * rng.normal(size=(400, 2))).round(3)
    file = write(tmp_path / "utm.csv", lines(rows=rows, form="{:.3f}"))
    with pytest.raises(ValueError, match=r"of 400 different points.*data\.standardize=true"):
        read_points(str(file))
    read = read_points(str(file), standardize=True)
    assert isinstance(read.units, Units)
    table = read.table.double()
    torch.testing.assert_close(table.mean(0), torch.zeros(2).double(), atol=1e-6, rtol=0)
    assert float(table.square().mean()) == pytest.approx(1, abs=1e-6)
    back = read.units.restored(read.table)
    assert back.dtype == torch.float64
    np.testing.assert_allclose(back.numpy(), rows, atol=2e-6)
    assert len(np.unique(back.numpy().round(3), axis=0)) == len(np.unique(rows, axis=0))
    assert units_from(read.units.record()) == read.units
    assert units_from({"scale": 1}) is None and units_from(None) is None


@pytest.mark.parametrize(
    ("scale", "shift", "warned"),
    [
        (1, 0, False),
        (1, 50, False),
        (900, 0, False),
        (1, 150, True),
        (1e-9, 0, True),
        (5e3, 0, True),
    ],
)
def test_data_far_from_unit_scale_are_warned_of(
    tmp_path: Path, scale: float, shift: float, warned: bool
) -> None:
    np.save(tmp_path / "a.npy", scale * (ROWS + shift))
    told = read_points(str(tmp_path / "a.npy")).notes
    assert any("data.standardize=true" in line for line in told) == warned
    told = read_points(str(tmp_path / "a.npy"), standardize=True).notes
    assert not any(line.startswith("warning") for line in told)
    assert "centred and divided by" in told[0]


def test_unlike_units_are_warned_of(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS * [1, 1e5])
    notes = read_points(str(tmp_path / "a.npy")).notes
    assert any("give both like units" in line for line in notes)


def test_a_column_of_one_value_is_named_and_has_no_unit(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.column_stack([ROWS, np.full(len(ROWS), 0.1)]))
    (warning,) = read_points(str(tmp_path / "a.npy")).notes[1:]
    assert warning.startswith("warning: z: one value in all rows; data.columns")
    np.save(tmp_path / "a.npy", np.zeros((30, 6)))
    (warning,) = read_points(str(tmp_path / "a.npy")).notes[1:]
    assert "column 3 and 2 more: one value" in warning
    np.save(tmp_path / "a.npy", np.zeros((30, 4)))
    (warning,) = read_points(str(tmp_path / "a.npy")).notes[1:]
    assert "column 3: one value" in warning
    np.save(tmp_path / "a.npy", np.column_stack([ROWS * [1, 1e5], np.ones(len(ROWS))]))
    notes = read_points(str(tmp_path / "a.npy"), standardize=True).notes[1:]
    assert len(notes) == 2 and "as much as x" in notes[1]


def test_many_plain_numbers_are_not_taken_for_merged(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(50_000, 1)))
    assert len(read_points(str(tmp_path / "a.npy")).table) == 50_000


def test_held_out_rows_stay_those_of_the_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ROWS)
    plain, moved = (
        load("points", path=str(tmp_path / "a.npy"), standardize=s) for s in (False, True)
    )
    assert isinstance(plain, Points) and isinstance(moved, Points) and moved.units is not None
    torch.testing.assert_close(
        moved.units.restored(moved.held_out_points).float(), plain.held_out_points
    )


# Mixtures.
def test_equal_centres_are_refused_and_near_ones_warned_of() -> None:
    def told(centres: list[list[float]], sigma: float = 0.1) -> tuple[str, ...]:
        return load("mixture", centres=centres, weights=None, sigma=sigma).notes

    with pytest.raises(ValueError, match=r"data\.centres\[0\] and data\.centres\[2\] are equal"):
        told([[0, 0], [1, 0], [0, 0]])
    with pytest.raises(ValueError, match=r"data\.centres"):
        told([[1e8], [1e8 + 1]])  # equal in float32
    assert told([[0, 0], [0.61, 0]]) == ()
    (line,) = told([[0, 0], [0.59, 0]])
    assert "5.9 sigma" in line
    assert told([[0, 0]]) == () and load("ring8").notes == () and load("grid25").notes == ()
    assert "pairs" in load("ring8", modes=200).notes[0]


def test_a_mixture_out_of_reach_or_on_a_coarse_grid_is_warned_of() -> None:
    def told(
        sigma: float, *centres: list[float], weights: list[float] | None = None
    ) -> tuple[str, ...]:
        return load("mixture", centres=list(centres), weights=weights, sigma=sigma).notes

    far, coarse = told(0.1, [388_097.0, 5_820_430.0], [388_099.0, 5_820_430.0])
    assert "mean 3.88e+05, 5.82e+06, spread" in far and "another unit and origin" in far
    assert "at 5.82e+06 numbers of float32 lie 0.5 apart" in coarse
    (small,) = told(1e-9, [0.0, 0.0], [1e-8, 0.0])
    assert small.startswith("warning: mean 5e-09, 0, spread 3.") and "float32" not in small
    (coarse,) = told(1e-6, [1.0, 0.0], [-1.0, 0.0])
    assert "at 1 numbers of float32 lie 1.2e-07 apart" in coarse
    assert told(2e-6, [1.0, 0.0], [-1.0, 0.0]) == () == told(0.01, [1.4, 0.0])
    small, near = told(1e-9, [0.0, 0.0], [1e-9, 0.0])
    assert "far from where networks begin" in small and "1 sigma apart" in near
    (wide,) = told(5e3, [0.0, 0.0])
    assert wide.startswith("warning: mean 0, 0, spread 5e+03: far from")
    apart = [200.0, 0.0], [0.0, 0.0]
    assert told(0.1, *apart, weights=[0.0, 1.0]) == (), "no point lies at 200"
    (mean,) = told(0.1, *apart, weights=[0.99999, 0.00001])
    assert mean.startswith("warning: mean 200, 0, spread 0.4")
    assert told(0.1, *apart) == (), "one lies within a spread of the mean"
