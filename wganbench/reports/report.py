"""The report: a comparison as one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from wganbench.errors import printable
from wganbench.files import write_atomic
from wganbench.output import numbered
from wganbench.reports.comparison import Comparison
from wganbench.reports.figures import Picture
from wganbench.reports.groups import Group, text
from wganbench.reports.page import (
    Column,
    Entry,
    Line,
    Markup,
    block,
    count,
    element,
    folded,
    fragment,
    items,
    page,
    table,
)
from wganbench.reports.reproduce import (
    compare_command,
    seeds_text,
    sweep_commands,
    train_commands,
    versions_of,
)
from wganbench.reports.summary import (
    DUELS,
    SHOWN_DUELS,
    TABLE,
    Anchor,
    Sentence,
    figure_id,
    name,
    named,
    summarise,
)
from wganbench.reports.tables import (
    duels_table,
    groups_table,
    metric_meanings,
    settings_tables,
)
from wganbench.reports.wording import listed

SHOWN_COMMANDS, SHOWN_RUNS, SHOWN_GROUPS = 3, 200, 6

READING = (
    "Intervals speak of new seeds: the unit is the run, and 95 % is how often intervals made "
    "this way hold what very many seeds would come to (Student's t for means, a bootstrap for "
    "interquartile means and duels, Clopper and Pearson's for shares). With few seeds they "
    "are wide, and where none could be made, nothing is claimed.",
    "A diverged run has no figures: means are of the runs that completed, and the share that "
    "diverged stands beside them. Where runs are compared one by one, a diverged run is worse "
    "than every other, and so is one that completed without a value. The last checkpoint of a run "
    "counts, never its best.",
    "What the critic estimates (wasserstein/estimate) is not the distance: it scales with the "
    "critic's slope and cannot be compared between losses. wasserstein/exact can. "
    "A p-value is adjusted for all duels of its metric together (Holm): one family a metric. The "
    "first metric is the primary one; p-values of the secondary ones are not adjusted for how "
    "many metrics were looked at. Runs of one seed are compared in pairs, by a sign test: n pairs "
    "give no p below 2 / 2^n.",
)


def write_report(
    comparison: Comparison, pictures: Sequence[Picture], folder: Path, notes: Sequence[str] = ()
) -> Path:
    """Write folder/report.html in one step; pictures are those under ``folder/figures``.

    ``notes`` say which figures are missing. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "report.html"
    moment = datetime.now(timezone.utc)
    write_atomic(file, report(comparison, pictures, folder, moment, notes).encode())
    return file


def report(
    comparison: Comparison,
    pictures: Sequence[Picture],
    folder: Path,
    moment: datetime,
    notes: Sequence[str] = (),
) -> str:
    """The whole file. A picture that is not on disk is left out."""
    drawn = [picture for picture in pictures if picture.file(folder, "png").is_file()]
    groups = [row.group for row in comparison.rows]
    sections = [
        section("summary", "Summary", summary(summarise(comparison, drawn))),
        section(TABLE, "Groups", groups_table(comparison), star_note(comparison)),
        section(DUELS, "Duels", *duels(comparison)),
        section("figures", "Figures", *figures(drawn, folder), *missing(notes)),
        section("settings", "Settings", settings_tables(groups)),
        section("reproduce", "How to reproduce it", *reproduction(comparison)),
        section("reading", "How to read it", *reading(comparison)),
    ]
    title = title_of(comparison)
    return page(title, *opening(comparison, title, moment), element("main", *sections))


def section(anchor: str, title: str, *content: str) -> Markup:
    return element("section", element("h2", title), *content, id=anchor)


# The head of the page.
def title_of(comparison: Comparison) -> str:
    """The losses, what varies in each, and the data, as far as they fit in a line."""
    data = sorted({str(run.settings.get("data.name", "")) for run in comparison.runs} - {""})
    parts: dict[str, list[Group]] = {}
    for row in comparison.rows:
        parts.setdefault(row.group.loss, []).append(row.group)
    told = f"{len(comparison.rows)} groups of runs"
    if len(comparison.rows) <= SHOWN_GROUPS:
        told = listed([loss_and_knobs(loss, groups) for loss, groups in parts.items()])
    elif len(parts) == 1 and (loss := next(iter(parts))):
        told = f"{loss}, {told}"
    return f"{told} on {listed(data)}" if data else told


def loss_and_knobs(loss: str, groups: Sequence[Group]) -> str:
    """A loss and its groups, a single key named once: ``gp (gp_lambda 0.1, 1 and 10)``."""
    rest = [
        [(key, value) for key, value in group.values if key != "loss.name" and value is not None]
        for group in groups
    ]
    keys = {key for pairs in rest for key, _ in pairs}
    if not keys:
        return loss or listed([named(group.label) for group in groups])
    if len(keys) == 1 and all(rest) and not keys & {"data.name"}:
        (key,) = keys
        knobs = f"{key.rpartition('.')[2]} {listed([text(pairs[0][1]) for pairs in rest])}"
        return f"{loss} ({knobs})" if loss else knobs
    labels = listed([named(group.label) for group in groups])
    inside = any(key == "loss.name" for group in groups for key, _ in group.values)
    return labels if inside or not loss else f"{loss} ({labels})"


def opening(comparison: Comparison, title: str, moment: datetime) -> list[Markup]:
    """Title, what was compared, when, from where, and where to go."""
    runs, rows = comparison.runs, comparison.rows
    keys = [key for key, _ in rows[0].group.values]
    amount = f"{numbered(len(runs), 'run')} in {numbered(len(rows), 'group')} by {listed(keys)}"
    paths = [element("code", printable(path)) for path in comparison.paths]
    origin = [", from ", *separated(paths)] if paths else []
    links = {
        "summary": "Summary", TABLE: "Groups", DUELS: "Duels", "figures": "Figures",
        "settings": "Settings", "reproduce": "Reproduce", "reading": "How to read it",
    }  # fmt: skip
    return [
        element(
            "header",
            element("h1", title),
            element("p", f"{amount}, compared in {listed(comparison.metrics)}."),
            element("p", f"Compared on {moment:%d %B %Y, %H:%M} UTC", *origin, class_="about"),
            element("nav", *(element("a", word, href=f"#{to}") for to, word in links.items())),
        )
    ]


def separated(parts: Iterable[str]) -> list[str]:
    return [word for part in parts for word in (", ", part)][1:]


# What was found.
def summary(sentences: Iterable[Sentence]) -> Markup:
    """A list a topic."""
    topics: dict[str, list[Sentence]] = {}
    for sentence in sentences:
        topics.setdefault(sentence.topic, []).append(sentence)
    return fragment(
        part
        for topic, told in topics.items()
        for part in (
            *([element("h3", topic if "/" in topic else topic.capitalize())] if topic else []),
            items(map(claim, told)),
        )
    )


def claim(sentence: Sentence) -> Markup:
    return element("span", sentence.text, *map(link, sentence.anchors), class_="claim")


def link(anchor: Anchor) -> Markup:
    return fragment([" ", element("a", f"[{anchor.word}]", href=f"#{anchor.target}")])


def star_note(comparison: Comparison) -> Markup:
    """What the star says; what its absence says."""
    if any(row.best for row in comparison.rows):
        told = "\N{BLACK STAR} best: the interval of the mean lies beyond all others', and no "
        told += "other group had a smaller share of runs diverge."
    elif len(comparison.rows) > 1:
        told = "No group is best beyond doubt in any metric: none is marked."
    else:
        return Markup("")
    return element("p", told, class_="about")


def duels(comparison: Comparison) -> list[Markup]:
    found = comparison.duels
    if not found:
        return [element("p", "There are no two groups to compare in a metric that ranks.")]
    told = "How probable it is that a run of the first group is better than one of the second; "
    told += "0.5 is a toss-up, and an interval that holds 0.5 shows no difference."
    left = len(found) - SHOWN_DUELS
    more = [element("p", f"And {left} more in comparison.json.")] if left > 0 else []
    return [element("p", told), duels_table(found), *more]


def figures(pictures: Sequence[Picture], folder: Path) -> list[Markup]:
    if not pictures:
        return [element("p", "No figures were drawn.")]
    return [figure(picture, picture.file(folder, "png").read_bytes()) for picture in pictures]


def missing(notes: Sequence[str]) -> list[Markup]:
    """Which figures could not be drawn."""
    return [element("p", note, class_="about") for note in notes]


def figure(picture: Picture, png: bytes) -> Markup:
    source = "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    title = element("b", f"{picture.title.rstrip('.')}.")
    image = element("img", src=source, alt=picture.title)
    caption = element("figcaption", title, " ", picture.caption)
    return element("figure", image, caption, id=figure_id(picture))


# How to make it again, and how to read it.
def reproduction(comparison: Comparison) -> list[Markup]:
    sweeps = sweep_commands(comparison.runs, comparison.paths)
    trained = train_commands(comparison.runs, sweeps)
    told: list[Markup] = []
    if sweeps:
        told.append(element("p", "Train: the last sweep in ", *separated(map(code_path, sweeps))))
        told += limited([block(command) for command in sweeps.values()])
    if trained:
        told.append(element("p", "Train the runs outside of sweeps:" if sweeps else "Train:"))
        told += limited([block(command) for command in trained])
    if not told:
        told.append(element("p", "The folders do not say by which command the runs were made."))
    told += [element("p", "Compare:"), block(compare_command(comparison))]
    return [*told, seeds_table(comparison), versions_table(comparison), runs_table(comparison)]


def code_path(path: Path) -> Markup:
    return element("code", printable(str(path)))


def limited(parts: Sequence[Markup]) -> list[Markup]:
    """A few of them, and how many more there are."""
    left = len(parts) - SHOWN_COMMANDS
    more = [element("p", f"and {left} more")] if left > 0 else []
    return [*parts[:SHOWN_COMMANDS], *more]


def seeds_table(comparison: Comparison) -> Markup:
    lines = [
        Line(
            name(row),
            [Entry(seeds_text(run.seed for run in row.group.runs)), count(len(row.group.runs))],
        )
        for row in comparison.rows
    ]
    columns = [Column("group"), Column("seeds"), Column("runs", number=True)]
    return table("Seeds of every group", columns, lines, sortable=False)


def versions_table(comparison: Comparison) -> Markup:
    found = versions_of(comparison.runs)
    if not found:
        return element("p", "The runs do not say with which versions they were made.")
    lines = [Line(package, [Entry(", ".join(known))]) for package, known in found.items()]
    columns = [Column("package"), Column("versions")]
    return table("Versions in the runs' run.json", columns, lines, sortable=False)


def runs_table(comparison: Comparison) -> Markup:
    """Every run's folder and status, folded."""
    lines = [
        Line(run.name, [Entry(name(row)), count(run.seed), Entry(str(run.status)), count(run.step)])
        for row in comparison.rows
        for run in row.group.runs
    ]
    columns = [
        Column("run"), Column("group"), Column("seed", number=True), Column("status"),
        Column("step", number=True),
    ]  # fmt: skip
    left = len(lines) - SHOWN_RUNS
    more = [element("p", f"And {left} more.")] if left > 0 else []
    shown = table("Runs", columns, lines[:SHOWN_RUNS])
    return folded(numbered(len(lines), "run"), shown, *more)


def reading(comparison: Comparison) -> list[Markup]:
    paragraphs = [element("p", text) for text in READING]
    return [*paragraphs, element("h3", "Metrics"), metric_meanings(comparison.metrics)]
