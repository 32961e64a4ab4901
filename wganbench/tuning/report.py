"""What a search leaves on disk: trials as a table, figures, search.json and report.html."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from wganbench.drawing.canvas import save_png
from wganbench.files import write_atomic, write_json
from wganbench.output import numbered
from wganbench.reports.drawing import loss_styles
from wganbench.reports.page import Column, Entry, Line, Table, count, embedded, render
from wganbench.reports.rows import bounds_of
from wganbench.reports.significance import SIGNIFICANT
from wganbench.reports.statistics import mean_interval
from wganbench.reports.wording import estimate_text
from wganbench.runs.record import RunRecord
from wganbench.tags.lookup import without_others
from wganbench.tuning.analysis import (
    Curve,
    Sensitivity,
    expected_best_curve,
    sensitivities,
    success_profile,
)
from wganbench.tuning.search import Arm, Search, Trial, mean, notes_on, score_of
from wganbench.tuning.space import FIRST_TUNING_SEED

MOST_TRIALS = 40
"""Rows of trials in the report; trials.csv has all of them."""

Fresh = Mapping[Arm, Sequence[RunRecord]]
"""The runs of each winner on the fresh seeds."""

SCORE = "score"
SHOWN = (SCORE, "modes/covered", "modes/high_quality", "wasserstein/exact", "energy/distance",
         "fidelity/fid")  # fmt: skip


def drawn_scores(trials: Sequence[Trial]) -> list[float]:
    """Return the first rung's mean scores of the drawn trials: independent, all at one compute."""
    own = [trial for trial in trials if not trial.known]
    return [mean(trial.scores[0]) for trial in own]


@dataclass(frozen=True)
class Analysis:
    """What the first rung of an arm says."""

    expected: Curve
    profile: Curve
    sensitivities: list[Sensitivity]


def analysis_of(search: Search, loss: str, trials: Sequence[Trial]) -> Analysis:
    """Return the analysis of an arm's drawn trials."""
    scores = drawn_scores(trials)
    settings = [trial.settings for trial in trials if not trial.known]
    found = sensitivities(settings, scores, search.space.keys_of(loss))
    return Analysis(expected_best_curve(scores), success_profile(scores), found)


def write_report(
    search: Search, arms: Mapping[Arm, Sequence[Trial]], fresh: Fresh, command: str
) -> Path:
    """Write trials.csv, search.json, the figures and report.html; return the last.

    All lie in the search's folder. Raises OSError.
    """
    search.folder.mkdir(parents=True, exist_ok=True)
    write_atomic(search.folder / "trials.csv", trials_csv(search, arms).encode())
    analyses = {arm: analysis_of(search, arm[0], trials) for arm, trials in arms.items()}
    write_json(search.folder / "search.json", plain(search, arms, analyses, fresh, command))
    first = search.space.rungs[0]
    page = render(
        "tune.html.j2",
        title=f"The same search for {len(search.losses)} losses",
        summary=summary(search),
        command=command,
        compute=f"{100 * first.compute:.3g} %",
        searches=[section(search, data, arms, analyses, fresh) for data in search.data],
    )
    file = search.folder / "report.html"
    write_atomic(file, page.encode())
    return file


def summary(search: Search) -> str:
    """Return what the search did, in sentences."""
    rungs = ", ".join(
        f"{100 * rung.trials:.3g} % of the trials on {numbered(rung.seeds, 'seed')} at "
        f"{100 * rung.compute:.3g} % of the compute"
        for rung in search.space.rungs
    )
    return (
        f"{search.trials} trials drawn from one space ({search.space.name!r}) and "
        f"{len(search.space.known)} known ones, the same for every loss where they share a "
        f"key, at equal compute. Successive halving: {rungs}. Tuning seeds are "
        f"{FIRST_TUNING_SEED} and up; the winners were trained anew on "
        f"{numbered(search.fresh, 'fresh seed')}."
    )


def section(
    search: Search,
    data: str,
    arms: Mapping[Arm, Sequence[Trial]],
    analyses: Mapping[Arm, Analysis],
    fresh: Fresh,
) -> dict[str, Any]:
    """Return the part of the page for one data set; draws its figures into the folder."""
    own = {loss: arms[loss, data] for loss in search.losses}
    found = {loss: analyses[loss, data] for loss in search.losses}
    expected = {loss: one.expected for loss, one in found.items()}
    profile = {loss: one.profile for loss, one in found.items()}
    sensitive = {loss: one.sensitivities for loss, one in found.items()}
    figures = {
        "expected": curves_figure(expected, "trials", "expected best score", logarithmic=True),
        "profile": curves_figure(profile, "score of at least", "share of the trials"),
        "sensitivity": sensitivity_figure(sensitive),
    }
    notes = [note for loss, trials in own.items() for note in notes_on((loss, data), trials[0])]
    view: dict[str, Any] = {"name": data, "answer": " ".join([answer(expected), *notes])}
    for name, figure in figures.items():
        file = search.folder / f"{name}-{data}.png"
        save_png(figure, file)
        view[name] = embedded(file)
    view["winners"] = winners_table(search, data, arms, fresh)
    view["trials"] = trials_table(data, own)
    return view


def answer(expected: Mapping[str, Curve]) -> str:
    """Return the order of the losses by the expected best of one trial and of all of them."""

    def order(index: int) -> str:
        ranked = sorted(expected.items(), key=lambda item: -item[1].value[index])
        return ", ".join(f"{loss} {curve.value[index]:.2f}" for loss, curve in ranked)

    count_of = max(len(curve.x) for curve in expected.values())
    return (
        f"Expected score of one random trial: {order(0)}. Of the best of {count_of}: {order(-1)}."
    )


def winners_table(
    search: Search, data: str, arms: Mapping[Arm, Sequence[Trial]], fresh: Fresh
) -> Table:
    """Return a row for each loss: the winner's settings, its score, its fresh runs."""
    lines = []
    seen = {
        tag
        for own in fresh.values()
        for run in own
        for tag in without_others(measured(run), run.shape)
    }
    tags = [tag for tag in SHOWN if tag in seen]
    for loss in search.losses:
        best = arms[loss, data][0]
        runs = fresh.get((loss, data), ())
        cells = [value_entry(tag, runs) for tag in tags]
        settings = Entry(settings_text(search, loss, best))
        lines.append(Line(loss, (Entry(f"{best.last:.3f}", best.last), *cells, settings)))
    heads = [Column(f"{tag}, fresh seeds", number=True) for tag in tags]
    columns = (Column("Loss"), Column("score, tuning", number=True), *heads, Column("settings"))
    return Table("The best of each loss", columns, lines)


def measured(run: RunRecord) -> dict[str, float]:
    """Return a run's score and final metrics; a diverged run has the score 0 alone."""
    return {SCORE: score_of(run), **({} if run.diverged else run.final)}


def value_entry(tag: str, runs: Sequence[RunRecord]) -> Entry:
    """Return the mean of a metric or the score, with its interval over seeds.

    If runs have no value, because they diverged, their number follows: "7.5 [7, 8], 3 of 5".
    """
    if not runs:
        return Entry("-")
    values = [measured(run).get(tag, math.nan) for run in runs]
    bounds = (0.0, 1.0) if tag == SCORE else bounds_of(tag, runs[0].data_modes)
    found = mean_interval(values, bounds=bounds)
    some = f", {found.n} of {len(runs)}" if 0 < found.n < len(runs) else ""
    return Entry(estimate_text(found) + some, found.value)


def settings_text(search: Search, loss: str, trial: Trial) -> str:
    """Return a trial's drawn settings as text."""
    own = [key for key in search.space.keys_of(loss) if key in trial.settings]
    return " ".join(f"{key.partition('.')[2]}={trial.settings[key]}" for key in own)


def trials_table(data: str, own: Mapping[str, Sequence[Trial]]) -> Table:
    """Return the best trials of every loss, each with its score at every rung."""
    rungs = max(len(trial.scores) for trials in own.values() for trial in trials)
    lines = [
        Line(
            loss,
            (
                count(trial.number),
                Entry("known" if trial.known else "drawn"),
                *(rung_entry(trial, rung) for rung in range(rungs)),
                Entry(" ".join(f"{k.partition('.')[2]}={v}" for k, v in trial.settings.items())),
            ),
        )
        for loss, trials in own.items()
        for trial in trials[: max(1, MOST_TRIALS // len(own))]
    ]
    heads = [Column(f"rung {rung + 1}", number=True) for rung in range(rungs)]
    columns = (Column("Loss"), Column("trial", number=True), Column("origin"), *heads,
               Column("settings"))  # fmt: skip
    left = sum(map(len, own.values())) - len(lines)
    return Table(f"Trials on {data}, the best of each loss", columns, lines, left=left)


def rung_entry(trial: Trial, rung: int) -> Entry:
    if rung >= len(trial.scores):
        return Entry("-")
    value = mean(trial.scores[rung])
    return Entry(f"{value:.3f}", value)


def trials_csv(search: Search, arms: Mapping[Arm, Sequence[Trial]]) -> str:
    """Return all trials as CSV: a row for each trial, scores by rung, settings by key."""
    rungs = len(search.space.rungs)
    keys = [*search.space.fixed, *search.space.draw]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["data", "loss", "trial", "known", *(f"rung_{i + 1}" for i in range(rungs)),
                     *keys])  # fmt: skip
    for (loss, data), trials in arms.items():
        for trial in sorted(trials, key=lambda one: one.number):
            scores = [mean(own) for own in trial.scores]
            writer.writerow(
                [data, loss, trial.number, trial.known, *scores, *[""] * (rungs - len(scores)),
                 *(trial.settings.get(key, "") for key in keys)]
            )  # fmt: skip
    return text.getvalue()


def plain(
    search: Search,
    arms: Mapping[Arm, Sequence[Trial]],
    analyses: Mapping[Arm, Analysis],
    fresh: Fresh,
    command: str,
) -> dict[str, Any]:
    """Return the search and its results as plain values, for search.json."""
    return {
        "command": command,
        "space": search.space.name,
        "trials": search.trials,
        "budget": search.budget,
        "overrides": list(search.overrides),
        "arms": [
            {
                "loss": loss,
                "data": data,
                "best": dict(trials[0].settings),
                "score": trials[0].last,
                "expected_best": analyses[loss, data].expected.value.tolist(),
                "sensitivity": {
                    one.key: {"share": one.share, "p_value": one.p_value}
                    for one in analyses[loss, data].sensitivities
                },
                "fresh": [measured(run) for run in fresh.get((loss, data), ())],
            }
            for (loss, data), trials in arms.items()
        ],
    }


# Figures.
def curves_figure(
    curves: Mapping[str, Curve], xlabel: str, ylabel: str, logarithmic: bool = False
) -> Figure:
    """Return one line for each loss, with its interval as a band."""
    figure = Figure(figsize=(7.0, 4.2), layout="constrained")
    axes = figure.add_subplot()
    styles = loss_styles(curves)
    for loss, curve in curves.items():
        colour, line = styles[loss]
        axes.plot(curve.x, curve.value, color=colour, linestyle=line, label=loss)
        axes.fill_between(curve.x, curve.low, curve.high, color=colour, alpha=0.12, lw=0)
    if logarithmic:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(xlabel=xlabel, ylabel=ylabel, ylim=(0, 1.02))
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def sensitivity_figure(found: Mapping[str, Sequence[Sensitivity]]) -> Figure:
    """Return a table of colours: losses by settings, the share of variance that a setting explains.

    An asterisk marks shares that chance exceeds in fewer than one of twenty permutations; an
    empty cell is a setting that the loss does not have.
    """
    keys = list(dict.fromkeys(one.key for own in found.values() for one in own))
    shares = np.full((len(found), len(keys)), np.nan)
    figure = Figure(figsize=(2.2 + 1.0 * len(keys), 2.4 + 0.35 * len(found)), layout="constrained")
    axes = figure.add_subplot()
    for i, own in enumerate(found.values()):
        for one in own:
            j = keys.index(one.key)
            shares[i, j] = one.share
            mark = "*" if one.p_value < SIGNIFICANT else ""
            colour = "white" if one.share > 0.4 else "black"
            axes.text(j, i, f"{one.share:.2f}{mark}", ha="center", va="center", color=colour,
                      fontsize=8)  # fmt: skip
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=0.6, aspect="auto")
    axes.set_xticks(range(len(keys)), [key.partition(".")[2] for key in keys], rotation=30,
                    ha="right")  # fmt: skip
    axes.set_yticks(range(len(found)), list(found))
    figure.colorbar(image, ax=axes, label="share of variance")
    return figure
