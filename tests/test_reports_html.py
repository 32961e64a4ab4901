"""The report: what it says, that nothing in it is a stranger's, and how a browser takes it."""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import UndefinedError
from PIL import Image
from reported_runs import GOOD, POOR, leave_run, spread, two_losses

import wganbench
from wganbench.cli.compare_view import print_comparison
from wganbench.reports.comparison import Comparison, compare
from wganbench.reports.figures import FigureFile, answer_caption
from wganbench.reports.groups import At
from wganbench.reports.page import SCRIPT, STYLE, TEMPLATES, Column, Entry, Line, Table
from wganbench.reports.report import title_of, write_report
from wganbench.reports.reproduce import compare_command, sweep_command, train_command
from wganbench.reports.summary import summarise
from wganbench.reports.wording import estimate_text
from wganbench.runs.folder import RunFolder
from wganbench.runs.record import find_runs

CHROMIUM = Path("/usr/bin/chromium")
METRICS = ["modes/covered", "wasserstein/exact"]
HOSTILE = "<script>alert(1)</script>"
VOID = {"br", "img", "meta"}
PACKAGE = Path(wganbench.__file__).parent


class Page(HTMLParser):
    """Elements with their attributes and text, in order; every one is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str], list[str]]] = []
        self.open: list[int] = []
        self.feed(text)
        assert not self.open, "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}, []))
        if tag not in VOID:
            self.open.append(len(self.elements) - 1)

    def handle_endtag(self, tag: str) -> None:
        assert self.elements[self.open.pop()][0] == tag

    def handle_data(self, data: str) -> None:
        for position in self.open:
            self.elements[position][2].append(data)

    def texts(self, tag: str, **attributes: str) -> list[str]:
        return [
            "".join(t) for n, a, t in self.elements if n == tag and attributes.items() <= a.items()
        ]

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes, _ in self.elements if name in attributes]


def compared(folder: Path, **options: Any) -> Comparison:
    runs = find_runs([folder])
    return compare(runs, metrics=METRICS, paths=[str(folder)], **options)


def drawn(folder: Path, *names: str) -> list[FigureFile]:
    """Stand-in figures on disk."""
    files = [FigureFile(name, f"Title of {name}", f"Caption of {name}") for name in names]
    for picture in files:
        file = picture.path(folder, "png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (1600, 700), "#d0e0f0").save(file)
    return files


def told(comparison: Comparison, files: Sequence[FigureFile] = ()) -> list[str]:
    return [sentence.text for sentence in summarise(comparison, files)]


# What the summary says in planted cases, all of it.
def test_a_clear_winner_is_named_with_its_intervals(tmp_path: Path) -> None:
    two_losses(tmp_path, 8)
    comparison = compared(tmp_path)
    gp = comparison.by_label["gp"].cells
    lines = told(comparison)
    assert lines[:4] == [
        f"gp has the best mean of modes/covered (higher is better): its interval, "
        f"{estimate_text(gp['modes/covered'].mean)}, lies beyond all others'.",
        "Run by run, gp is better in modes/covered than bce with probability 1.00 [0.63, 1.00] "
        "(Holm's p = 0.008, the only test, seeds: 8 paired).",
        f"gp has the best mean of wasserstein/exact (lower is better): its interval, "
        f"{estimate_text(gp['wasserstein/exact'].mean)}, lies beyond all others'.",
        "Run by run, gp is better in wasserstein/exact than bce with probability 1.00 "
        "[0.63, 1.00] (Holm's p = 0.008, the only test, seeds: 8 paired).",
    ]
    assert lines[4:7] == [
        "bce covers every mode in 0 of 8 finished runs (95 % interval 0.00 to 0.37).",
        "gp covers every mode in 5 of 8 finished runs (95 % interval 0.24 to 0.91).",
        "No run diverged, of 16 that finished.",
    ]
    assert lines[7:] == [f"{note[0].upper()}{note[1:]}." for note in comparison.notes]
    assert lines[7] == (
        "P-values are adjusted (Holm) within each metric: modes/covered (primary, 1 test), "
        "wasserstein/exact (secondary, 1 test)."
    )


def test_a_winner_by_few_runs_is_called_weak(tmp_path: Path) -> None:
    two_losses(tmp_path, 4)
    (first, *_) = told(compared(tmp_path))
    assert first.endswith("lies beyond all others' (weak: fewer than 5 values in a group).")


def test_nobody_is_best_where_intervals_overlap(tmp_path: Path) -> None:
    for seed in range(8):
        leave_run(tmp_path, "gp", seed, {"wasserstein/exact": 0.2 + 0.02 * (seed % 4)})
        leave_run(tmp_path, "bce", seed, {"wasserstein/exact": 0.21 + 0.02 * ((seed + 1) % 4)})
    comparison = compare(find_runs([tmp_path]), metrics=["wasserstein/exact"])
    mean = estimate_text(comparison.by_label["gp"].cells["wasserstein/exact"].mean)
    (p,) = (contrast.p for contrast in comparison.contrasts)
    assert told(comparison)[:2] == [
        f"No group is best by the intervals in wasserstein/exact: the lowest mean, {mean}, is "
        "that of gp, whose interval overlaps that of bce.",
        f"Run by run, no difference in wasserstein/exact was shown between bce and gp (Holm's p = "
        f"{p:.3f}).",
    ]
    assert not [line for line in told(comparison) if "better" in line]


def test_a_group_that_diverged_whole_has_no_means_and_gives_no_winner(tmp_path: Path) -> None:
    for seed in range(6):
        leave_run(tmp_path, "gp", seed, spread(GOOD, seed))
        leave_run(tmp_path, "wasserstein", seed, {}, status="diverged")
    lines = told(compared(tmp_path))
    share = "95 % interval 0.54 to 1.00"
    assert f"All 6 finished runs of wasserstein diverged ({share}): it has no means." in lines
    assert not [line for line in lines if "best mean" in line or "No run diverged" in line]
    assert any(
        line.endswith("is that of gp, and there is no value in wasserstein.") for line in lines
    )
    assert not [line for line in lines if "nan" in line.split()]


def test_a_winner_by_survivors_is_not_called_best(tmp_path: Path) -> None:
    two_losses(tmp_path)
    leave_run(tmp_path, "gp", 99, {}, status="diverged")
    lines = told(compared(tmp_path))
    assert lines[0].endswith("is that of gp, but a larger share of its runs diverged than of bce.")
    share = "95 % interval 0.00 to 0.58"
    means = "its means are those of the others."
    assert f"1 of 7 finished runs of gp diverged ({share}); {means}" in lines


def test_one_seed_shows_nothing_and_says_so(tmp_path: Path) -> None:
    two_losses(tmp_path, 1)
    lines = told(compared(tmp_path))
    assert lines[0] == (
        "No group is best by the intervals in modes/covered: the highest mean, 7.84 (no interval), "
        "is that of gp."
    )
    assert lines[1] == (
        "A difference in modes/covered between bce and gp could not be shown with 1 paired seed: "
        "its p cannot fall below 1.000; 6 would do."
    )
    assert any(line.startswith("Weak: fewer than 5 seeds") for line in lines)
    assert not [line for line in lines if "has the best" in line or "Holm's p" in line]


def test_ties_are_shared_and_not_called_equal(tmp_path: Path) -> None:
    for seed in range(6):
        leave_run(tmp_path, "gp", seed, GOOD)
        leave_run(tmp_path, "bce", seed, GOOD)
    comparison = compare(find_runs([tmp_path]), metrics=["modes/covered"])
    assert told(comparison)[:4] == [
        "No group is best by the intervals in modes/covered: bce and gp share the highest mean, 8.",
        "Run by run, no difference in modes/covered was shown between bce and gp (Holm's p = "
        "1.000).",
        "bce covers every mode in 6 of 6 finished runs (95 % interval 0.54 to 1.00).",
        "gp covers every mode in 6 of 6 finished runs (95 % interval 0.54 to 1.00).",
    ]


def test_one_group_and_metrics_that_do_not_rank_name_no_winner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(5):
        leave_run(tmp_path, "gp", seed, {"critic/slope_mean": 1.0 + seed / 10, **GOOD})
    (first, *_) = told(compared(tmp_path))
    assert first == "There is one group, gp: nothing to compare it with."
    for seed in range(5):
        leave_run(tmp_path, "bce", seed, {"critic/slope_mean": 9.0 + seed / 10})
    comparison = compare(find_runs([tmp_path]), metrics=["critic/slope_mean"])
    assert told(comparison)[0] == "critic/slope_mean describes the groups and ranks none of them."
    print_comparison(comparison)
    texts = capsys.readouterr().out, write_report(comparison, [], tmp_path / "out").read_text()
    caption = answer_caption(comparison, comparison.rows, "critic/slope_mean", [0])
    assert not any("is better" in text for text in (*texts, caption))


def test_what_is_better_is_said_of_metrics_that_rank(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two_losses(tmp_path)
    comparison = compared(tmp_path)
    print_comparison(comparison)
    assert "modes/covered, higher is better\n" in capsys.readouterr().out
    page = write_report(comparison, [], tmp_path / "out").read_text()
    assert "wasserstein/exact, lower is better" in page
    caption = answer_caption(comparison, comparison.rows, "wasserstein/exact", [0])
    assert " (lower is better): the large marker" in caption


def test_many_groups_are_counted(tmp_path: Path) -> None:
    for place in range(14):
        for seed in range(2):
            leave_run(tmp_path, "gp", seed, spread(GOOD, seed), **{"loss.gp_lambda": 1.0 + place})
            if place == 3:
                leave_run(tmp_path, "gp", 9, {}, status="diverged", **{"loss.gp_lambda": 4.0})
    comparison = compared(tmp_path)
    assert len(comparison.contrasts) == 2 * 91
    lines = told(comparison)
    assert len(lines) < 12
    pairs = "0 of 91 pairs of groups (Holm's p below 0.05)"
    assert f"Run by run, a difference in modes/covered was shown between {pairs}." in lines
    assert "0 of 14 groups cover every mode in all finished runs." in lines


def test_claims_point_at_the_figure_about_them(tmp_path: Path) -> None:
    two_losses(tmp_path / "runs")
    files = drawn(tmp_path, "curves-wasserstein-exact", "every-mode")
    found = {s.text: s.anchors for s in summarise(compared(tmp_path / "runs"), files)}

    def figures(beginning: str) -> list[str]:
        (anchors,) = (a for text, a in found.items() if text.startswith(beginning))
        return [anchor.target for anchor in anchors if anchor.word == "figure"]

    assert figures("gp has the best mean of wasserstein/exact") == [
        "figure-curves-wasserstein-exact"
    ]
    assert figures("gp covers every mode") == ["figure-every-mode"]
    assert figures("gp has the best mean of modes/covered") == []


# Its title.
@pytest.mark.parametrize(
    ("groups", "title"),
    [
        ([("gp", 0.1), ("gp", 1.0), ("gp", 100.0)], "gp (lambda 0.1, 1 and 100) on ring8"),
        ([("gp", 1.0), ("bce", None)], "bce and gp on ring8"),
        ([("gp", 1.0), ("gp", 2.0), ("bce", None)], "bce and gp (lambda 1 and 2) on ring8"),
        ([("gp", float(i)) for i in range(1, 9)], "gp, 8 groups of runs on ring8"),
    ],
)
def test_the_title_says_the_loss_and_names_a_key_once(
    tmp_path: Path, groups: list[tuple[str, float | None]], title: str
) -> None:
    for loss, size in groups:
        leave_run(tmp_path, loss, 0, GOOD, **({"loss.gp_lambda": size} if size else {}))
    assert title_of(compared(tmp_path)) == title


# The page.
def test_every_figure_is_in_the_page_and_every_link_leads_somewhere(tmp_path: Path) -> None:
    two_losses(tmp_path / "runs")
    names = ("intervals-modes-covered", "curves-wasserstein-exact", "odd name/<b>")
    files = [*drawn(tmp_path / "out", *names), FigureFile("missing", "Missing", "Not drawn")]
    file = write_report(compared(tmp_path / "runs"), files, tmp_path / "out")
    assert file == tmp_path / "out" / "report.html"
    page = Page(file.read_text())
    ids = page.attributes("id")
    assert len(set(ids)) == len(ids)
    links = page.attributes("href")
    assert links and all(link.startswith("#") and link[1:] in ids for link in links)
    sources = page.attributes("src")
    assert len(sources) == 3 and all(s.startswith("data:image/png;base64,") for s in sources)
    captions = page.texts("figcaption")
    assert captions[0] == f"Title of {names[0]}. Caption of {names[0]}"
    assert len(page.attributes("alt")) == 3
    assert not page.texts("link") and "http://" not in file.read_text()
    policy = next(c for c in page.attributes("content") if "default-src" in c)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'; script")


def test_without_figures_and_without_versions_it_is_whole(tmp_path: Path) -> None:
    two_losses(tmp_path / "runs", 1)
    page = Page(write_report(compared(tmp_path / "runs"), [], tmp_path / "out").read_text())
    text = "".join(page.texts("main"))
    assert "No figures were drawn." in text
    assert "The runs do not say with which versions they were made." in text
    assert "The folders do not say by which command the runs were made." in text


def test_the_table_shows_what_the_terminal_shows(tmp_path: Path) -> None:
    two_losses(tmp_path / "runs")
    leave_run(tmp_path / "runs", "gp", 50, {}, status="running")
    comparison = compared(tmp_path / "runs")
    page = Page(write_report(comparison, [], tmp_path / "out").read_text())
    cells = [row.cells[metric] for row in comparison.rows for metric in METRICS]
    assert page.texts("span", **{"class": "mean"}) == [estimate_text(c.mean) for c in cells]
    assert page.texts("span", **{"class": "iqm"}) == [estimate_text(c.iqm) for c in cells]
    assert page.texts("strong", **{"class": "best"}) == ["\N{BLACK STAR} best"] * 2
    (gp,) = page.texts("tr", id="group-1")
    assert gp.startswith("gpa7601"), "letter, runs, completed, diverged, unfinished"
    assert all(estimate_text(d.estimate) in "".join(page.texts("td")) for d in comparison.contrasts)


def test_settings_that_differ_stand_beside_each_other(tmp_path: Path) -> None:
    for seed in range(2):
        leave_run(tmp_path / "runs", "gp", seed, GOOD, **{"train.critic_lr": 0.00123456})
        leave_run(tmp_path / "runs", "bce", seed, POOR, **{"train.critic_lr": 0.00123457})
    page = Page(write_report(compared(tmp_path / "runs"), [], tmp_path / "out").read_text())
    assert "train.critic_lr0.001234570.00123456" in page.texts("tr"), "bce, then gp"
    assert any("train.batch_size16" in text for text in page.texts("details"))


# Folders of strangers.
def test_nothing_of_a_run_becomes_markup(tmp_path: Path) -> None:
    for number, status in enumerate(("completed", "<i>odd</i>")):
        stranger = tmp_path / "runs" / f"{number}<img src=x onerror=alert(1)>" / "<svg onload=x>"
        stranger.mkdir(parents=True)
        settings = {
            "loss": {"name": f"{HOSTILE}{number}", "<b>key</b>": "</style>'\"&"},
            "data": {"name": "ring8</title>"},
            "seed": number,
        }
        content = {
            "status": status,
            "metrics": GOOD,
            "versions": {HOSTILE: "<u>1</u>"},
            "device": "</script>",
            "config": settings,
        }
        (stranger / "run.json").write_text(json.dumps(content))
    (tmp_path / "runs" / "multirun.yaml").write_text(
        json.dumps({"hydra": {"overrides": {"task": [f"loss={HOSTILE}", "a='\"&<b>"]}}})
    )
    comparison = compared(tmp_path / "runs", by=["loss.name"])
    text = write_report(comparison, [], tmp_path / "out").read_text()
    page = Page(text)
    assert page.texts("script") == [SCRIPT]
    assert not {"img", "svg", "i", "u", "title/"} & {name for name, _, _ in page.elements}
    assert len(page.texts("style")) == len(page.texts("title")) == 1
    assert "alert(1)" in text and HOSTILE not in text and html.escape(HOSTILE) in text
    assert not [key for _, attributes, _ in page.elements for key in attributes if key[:2] == "on"]


def test_text_is_escaped_in_elements_and_attributes() -> None:
    hostile = "\"'><script>&{{ 7 * 7 }}"
    columns = [Column(f"{hostile}{n}") for n in range(2)]
    entry = Entry(hostile, iqm=hostile, notes=[hostile])
    parts: Any = TEMPLATES.get_template("parts.html.j2").module
    shown = parts.table(Table(hostile, columns, [Line(hostile, [entry], hostile)]))
    page = Page(shown)
    assert page.attributes("aria-label") == page.attributes("id") == [hostile]
    assert page.texts("button") == [f"{hostile}0", f"{hostile}1"]
    assert page.texts("caption") == page.texts("span", **{"class": "mean"}) == [hostile]
    assert page.texts("small") == [f"IQM {hostile}", hostile]
    assert not page.texts("script") and shown.count("&lt;script&gt;&amp;{{ 7 * 7 }}") == 9


def test_a_table_says_by_what_it_is_sorted() -> None:
    columns = [Column("name"), Column("size", number=True), Column("word")]
    entries = [Entry("1 of 3", 0.25, notes=["few"]), Entry("x", best=True)]
    table = Table("T", columns, [Line("a", entries), Line("b", [Entry("-", float("nan"))] * 2)])
    parts: Any = TEMPLATES.get_template("parts.html.j2").module
    page = Page(parts.table(table))
    cells = [(attributes, "".join(t)) for name, attributes, t in page.elements if name == "td"]
    assert cells == [
        ({"data-sort": "0.25", "class": "number"}, "1 of 3few"),
        ({}, "x\N{BLACK STAR} best"),
        ({"data-sort": "", "class": "number"}, "-"),
        ({"data-sort": ""}, "-"),
    ]
    assert page.texts("tr") == ["namesizeword", "a1 of 3fewx\N{BLACK STAR} best", "b--"]
    assert len(page.texts("button")) == 3
    still = Page(parts.table(Table("T", columns, [], sortable=False)))
    assert not still.texts("button") and still.texts("th") == ["name", "size", "word"]


@pytest.mark.parametrize("cells", [0, 2])
def test_a_row_has_a_cell_for_each_column(cells: int) -> None:
    with pytest.raises(ValueError, match="the row a"):
        Table("T", [Column("name"), Column("size")], [Line("a", [Entry("1")] * cells)])


def test_a_template_that_shows_what_there_is_not_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'title' is undefined"):
        TEMPLATES.get_template("report.html.j2").render()


def test_no_template_goes_around_the_escaping() -> None:
    files = sorted((PACKAGE / "reports" / "templates").iterdir())
    assert {"report.html.j2", "scoreboard.html.j2", "report.css", "report.js"} <= {
        file.name for file in files
    }
    for file in files:
        assert not re.search(r"\bsafe\b|autoescape|\bMarkup\b", file.read_text()), file.name
    assert "</" not in STYLE + SCRIPT, "nothing in them ends their element"


@pytest.mark.parametrize("folder", ["reports", "studies"])
def test_no_python_makes_elements(folder: str) -> None:
    files = list((PACKAGE / folder).rglob("*.py"))
    assert len(files) > 15, "the walk finds them"
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not re.search(r"</[a-z]|<[a-z]+( [a-z-]+=|>$)", node.value), file.name


@pytest.mark.parametrize(
    "content",
    [
        "- --config-dir=/tmp/evil",
        '- "loss=gp\\e[2K"',
        "- {a: 1}",
        "loss: gp",
        "!!python/object/apply:os.system [touch evil]",
        "- [",
        "\x00",
    ],
)
def test_what_is_no_override_makes_no_command(tmp_path: Path, content: str) -> None:
    file = tmp_path / "overrides.yaml"
    file.write_text(content)
    assert train_command(file) == "" and sweep_command(file) == ""


# How to make it again.
def test_versions_seeds_and_commands_appear(tmp_path: Path) -> None:
    two_losses(tmp_path / "ring8", 3)
    for number, run in enumerate(find_runs([tmp_path / "ring8"])):
        with RunFolder(run.path).lock() as held:
            held.write_status(versions={"torch": f"2.{number % 2}"}, device="cpu")
    task = ["loss=bce,gp", "seed=range(0,3)"]
    hydra = ["hydra.mode=MULTIRUN", "hydra/sweeper=optuna"]
    content = {"hydra": {"overrides": {"hydra": hydra, "task": task}}}
    (tmp_path / "ring8" / "multirun.yaml").write_text(json.dumps(content))
    for seed in range(5):
        path = leave_run(tmp_path / "alone", "clip", seed, POOR)
        (path / ".hydra").mkdir()
        (path / ".hydra" / "overrides.yaml").write_text(f"- loss=clip\n- seed={seed}\n- a='b c'\n")
    runs = find_runs([tmp_path / "ring8", tmp_path / "alone"])
    paths = [str(tmp_path / "ring8"), "my runs"]
    comparison = compare(runs, metrics=(), at=None, paths=paths)
    page = Page(write_report(comparison, [], tmp_path / "out").read_text())
    assert page.texts("pre") == [
        "wganbench sweep loss=bce,gp 'seed=range(0,3)' hydra/sweeper=optuna",
        *(f"""wganbench train loss=clip seed={seed} 'a='"'"'b c'"'"''""" for seed in range(3)),
        f"wganbench compare {tmp_path / 'ring8'} 'my runs'",
    ]
    assert "and 2 more" in page.texts("p")
    rows = page.texts("tr")
    assert "torch2.0, 2.1" in rows and "devicecpu" in rows and "clip0 to 45" in rows


def test_the_compare_command_says_what_is_not_the_default(tmp_path: Path) -> None:
    two_losses(tmp_path, 1)
    runs = find_runs([tmp_path])
    by = compare(runs, ["network.width"], ["modes/covered"], At("generator_steps", 100.0))
    assert compare_command(by) == (
        "wganbench compare --by network.width --metric modes/covered --at generator_steps=100.0"
    )
    assert compare_command(compare(runs, paths=["outputs"])) == "wganbench compare outputs"


# In a browser.
@pytest.fixture
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if not CHROMIUM.is_file():
        pytest.skip(f"needs {CHROMIUM}")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_shows_sorts_and_asks_for_nothing(tmp_path: Path, browser: Any) -> None:
    for seed in range(5):
        for loss, exact in (("bce", 10.0), ("clip", 9.0), ("gp", 0.5)):
            leave_run(tmp_path / "runs", loss, seed, spread({"wasserstein/exact": exact}, seed))
        leave_run(tmp_path / "runs", "wasserstein", seed, {}, status="diverged")
    comparison = compare(find_runs([tmp_path / "runs"]), paths=["outputs/" + "long" * 40])
    files = drawn(tmp_path / "out", "one", "two")
    file = write_report(comparison, files, tmp_path / "out")
    page = browser.new_page(viewport={"width": 380, "height": 800})
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    widths = "Array.from(document.images, image => image.naturalWidth)"
    assert page.evaluate(widths) == [1600, 1600]
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")

    def order() -> list[str]:
        return page.locator("#groups tbody th").all_inner_texts()

    header = page.locator("#groups thead th", has_text="wasserstein/exact")
    assert order() == ["bce", "clip", "gp", "wasserstein"]
    header.locator("button").click()
    assert order() == ["gp", "clip", "bce", "wasserstein"], "as numbers, what is absent last"
    assert header.get_attribute("aria-sort") == "ascending"
    header.locator("button").click()
    assert order() == ["bce", "clip", "gp", "wasserstein"], "what is absent stays last"
    assert header.get_attribute("aria-sort") == "descending"
    name = page.locator("#groups thead button", has_text="group")
    name.click()
    assert header.get_attribute("aria-sort") is None
    name.click()
    assert order() == ["wasserstein", "gp", "clip", "bce"]
    header.locator("button").click()
    assert order() == ["gp", "clip", "bce", "wasserstein"], "what is absent goes last"
    page.locator("summary").first.click()  # the sentences are folded
    page.locator(".claim a", has_text="[table]").first.click()
    assert page.url.endswith("#group-2") and page.locator("#group-2").is_visible()
    figure = page.locator("figure").first

    def width() -> float:
        return float(figure.locator("img").bounding_box()["width"])

    fitted = width()
    figure.get_by_text("full size").click()
    assert width() >= 1600 > 380 > fitted, "in a frame that scrolls"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    figure.get_by_text("fit to the page").click()
    assert width() == fitted
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [file.as_uri()]
