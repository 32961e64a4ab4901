"""The table of tags: complete, ordered, and honest."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wganbench.tags.lookup import (
    TAGS,
    charts,
    column_order,
    glossary_markdown,
    label_of,
    nearest_tag,
    shown_in,
    tag_for,
    tag_regex,
)  # fmt: skip
from wganbench.tags.tag import Cadence, Direction, Tag, View

NAMES = [
    "loss/critic",
    "loss/generator",
    "loss/penalty",
    "wasserstein/estimate",
    "wasserstein/estimate_normalized",
    "wasserstein/c_transform",
    "wasserstein/exact",
    "wasserstein/floor",
    "wasserstein/excess",
    "wasserstein/symmetric",
    "wasserstein/symmetric_floor",
    "wasserstein/symmetric_spread",
    "wasserstein/sliced",
    "energy/distance",
    "energy/floor",
    "energy/spread",
    "divergence/js_estimate",
    "critic/score_real",
    "critic/score_fake",
    "critic/accuracy",
    "critic/saturation",
    "critic/feedback",
    "critic/lipschitz",
    "critic/slope_mean",
    "critic/slope_std",
    "critic/slope_fake",
    "critic/direction",
    "critic/direction_ceiling",
    "critic/weights_at_clip",
    "critic/density_rank",
    "critic/distance_rank",
    "critic/potential_cosine",
    "critic/l2_uvp",
    "grad_norm/critic",
    "grad_norm/generator",
    "grad_norm/sample",
    "grad_norm/critic_layer_<i>",
    "grad_norm/generator_layer_<i>",
    "modes/covered",
    "modes/coverage",
    "modes/high_quality",
    "modes/kl",
    "modes/entropy",
    "modes/ceiling",
    "fidelity/precision",
    "fidelity/recall",
    "fidelity/density",
    "fidelity/coverage",
    "fidelity/fid",
    "fidelity/fid_floor",
    "fidelity/kid",
    "fidelity/nearest_train",
    "fidelity/nearest_train_floor",
    "budget/critic_steps",
    "budget/examples",
    "budget/gradient_evaluations",
    "budget/passes",
    "budget/seconds",
    "speed/steps_per_second",
]


def concrete(name: str, layer: int = 3) -> str:
    return name.replace("<i>", str(layer))


def test_the_table_holds_the_contract_s_names_in_its_order() -> None:
    assert list(TAGS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_row_is_complete(name: str) -> None:
    tag = TAGS[name]
    assert tag.name == name
    for text in (tag.meaning, tag.unit, tag.formula, tag.source):
        assert text.strip() == text != ""
    assert tag.direction in get_args(Direction)
    assert tag.cadence in get_args(Cadence)
    assert not tag.caveat or tag.caveat.endswith(".")


def test_every_view_shows_rows_in_the_order_of_their_ranks() -> None:
    for view in get_args(View):
        ranks = [tag.rank for tag in shown_in(view)]
        assert ranks and 0 not in ranks and ranks == sorted(set(ranks)), view
    headlines = ["modes/covered", "modes/high_quality", "wasserstein/exact", "energy/distance"]
    assert [tag.name for tag in shown_in("headline")] == [*headlines, "modes/kl", "fidelity/fid"]
    assert not any(tag.rank and not tag.views for tag in TAGS.values())


def test_labels_tell_tags_apart_and_a_row_without_one_has_its_name() -> None:
    labels = [label_of(name.replace("<i>", "0")) for name in TAGS]
    assert len(set(labels)) == len(labels)
    assert label_of("wasserstein/exact") == "exact W1"
    assert label_of("grad_norm/critic_layer_2") == "grad_norm/critic_layer_<i>"


def test_a_floor_is_a_tag_of_the_same_unit_that_ranks_nothing() -> None:
    floors = {tag.name: TAGS[tag.floor] for tag in TAGS.values() if tag.floor}
    assert {"wasserstein/exact", "fidelity/fid"} <= floors.keys()
    for name, floor in floors.items():
        assert (floor.unit, floor.direction) == (TAGS[name].unit, "none")


def test_a_row_that_contradicts_itself_is_refused(without_shape_checks: None) -> None:
    words = ("mine/x", "meaning", "unit", "formula", "up", "evaluate", "me")
    for wrong in ({"views": ("nowhere",)}, {"views": ("live",), "live": "no place"}):
        with pytest.raises(ValueError, match="mine/x"):
            Tag(*words, **wrong)  # type: ignore[arg-type]
    own = Tag(*words, views=("live",), live="X {:.1f} m")  # type: ignore[arg-type]
    assert (own.heading, own.number(2), own.worst([{"mine/x": 2.0}, {"mine/x": 1.0}])) == (
        "X  m", "2.0", 1.0,
    )  # fmt: skip


def test_a_chart_of_a_users_own_comes_after_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Tag("mine/x", "meaning", "unit", "formula", "up", "log", "me", chart="Mine: X")
    monkeypatch.setitem(TAGS._rows, "mine/x", own)
    assert list(charts())[-1] == "Mine" and charts()["Mine"] == {"X": ["mine/x"]}


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("critic/lipschitz", "lower bound"),
        ("critic/lipschitz", "some K, not 1"),
        ("critic/direction", "only where exact W1 exceeds two floors"),
        ("critic/direction", "ceiling, which is measured at the end of a run only"),
        ("critic/slope_mean", "but not through convolutions"),
        ("critic/l2_uvp", "No training run has it"),
        ("critic/potential_cosine", "no training run has it"),
        ("budget/gradient_evaluations", "not counted here; budget/passes has them"),
        ("critic/weights_at_clip", "not make the critic 1-Lipschitz"),
        ("wasserstein/estimate", "Not W1"),
        ("wasserstein/estimate_normalized", "never W1"),
        ("wasserstein/exact", "floor"),
        ("wasserstein/floor", "imbalance of mode"),
        ("wasserstein/symmetric", "far smaller than W1"),
        ("energy/distance", "No earth mover's distance"),
        ("grad_norm/sample", "saturating"),
        ("grad_norm/sample", "twice the floor"),
        ("loss/penalty", "at most 1"),
        ("loss/penalty", "not to the generator"),
        ("modes/covered", "Nearly free"),
        ("modes/covered", "noise too"),
        ("modes/ceiling", "weak judge"),
        ("fidelity/fid", "never with published"),
        ("fidelity/kid", "Without bias"),
        ("fidelity/nearest_train", "repeats what it was trained on"),
    ],
)
def test_what_is_often_misread_is_said(name: str, word: str) -> None:
    assert word in tag_for(name).caveat


def test_directions_that_a_reader_ranks_by() -> None:
    up = {name for name in NAMES if TAGS[name].direction == "up"}
    down = {name for name in NAMES if TAGS[name].direction == "down"}
    assert {"modes/covered", "modes/coverage", "modes/high_quality", "fidelity/recall"} <= up
    assert {"wasserstein/exact", "wasserstein/excess", "modes/kl", "fidelity/fid"} <= down
    assert TAGS["critic/lipschitz"].direction == "target"
    assert TAGS["wasserstein/estimate"].direction == "none"
    assert TAGS["fidelity/kid"].cadence == TAGS["fidelity/nearest_train"].cadence == "final"
    assert TAGS["fidelity/kid"].direction == "down"
    references = ("modes/ceiling", "fidelity/fid_floor", "fidelity/nearest_train_floor")
    assert {TAGS[name].direction for name in references} == {"none"}


@given(st.integers(0, 10**6), st.sampled_from(["critic", "generator"]))
def test_layers_resolve_to_their_pattern(layer: int, network: str) -> None:
    assert tag_for(f"grad_norm/{network}_layer_{layer}").name == f"grad_norm/{network}_layer_<i>"


@pytest.mark.parametrize("name", ["grad_norm/critic_layer_", "grad_norm/critic_layer_x", "modes"])
def test_unknown_tags_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="unknown tag"):
        tag_for(name)


def test_the_error_names_the_nearest_tag() -> None:
    with pytest.raises(ValueError, match="did you mean 'modes/high_quality'"):
        tag_for("modes/highquality")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("W1", "wasserstein/exact"),
        ("wasserstein/", "wasserstein/exact"),
        ("wasserstien", "wasserstein/exact"),
        ("fid", "fidelity/fid"),
        ("js", "divergence/js_estimate"),
        ("slope", "critic/slope_mean"),
        ("averaged/modes/kll", "modes/kl"),
        ("foo", None),
        ("a", None),
    ],
)
def test_a_word_for_a_tag_finds_it(name: str, meant: str | None) -> None:
    assert nearest_tag(name) == meant


def test_a_row_s_regex_matches_its_own_tags_only() -> None:
    import re

    every = [concrete(name, layer) for name in NAMES for layer in (0, 12)]
    every += [f"{tag}_more" for tag in every] + [f"more_{tag}" for tag in every]
    for name in NAMES:
        matched = {tag for tag in every if re.search(tag_regex(name), tag)}
        assert matched == {concrete(name, 0), concrete(name, 12)}


@given(st.permutations([concrete(name, layer) for name in NAMES for layer in (9, 10)]))
def test_columns_have_one_order_whatever_the_input(tags: list[str]) -> None:
    expected = []
    for name in NAMES:
        expected += [concrete(name, 9), concrete(name, 10)] if "<i>" in name else [name]
    assert column_order(tags) == expected


def test_a_tag_of_the_generator_has_a_row_for_averaged_weights() -> None:
    row = tag_for("averaged/modes/kl")
    assert (
        row.name == "averaged/modes/kl"
        and row.title == f"{TAGS['modes/kl'].title}, averaged weights"
    )
    assert (row.direction, row.views, row.chart) == (TAGS["modes/kl"].direction, (), "")
    assert TAGS["modes/kl"].beside and row.beside == f"averaged/{TAGS['modes/kl'].beside}"
    for name in ("averaged/loss/critic", "averaged/modes", "averaged/x", "averaged/"):
        with pytest.raises(ValueError, match="unknown tag 'averaged/"):
            tag_for(name)
    assert "`averaged/TAG`" in glossary_markdown()


def test_unknown_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown tag"):
        column_order(["loss/critic", "loss/critics"])


@pytest.mark.parametrize("field", ["direction", "cadence", "unit"])
def test_a_bad_row_is_refused(field: str, without_shape_checks: None) -> None:
    good = dict.fromkeys(["name", "meaning", "unit", "formula", "source"], "a/b")
    good |= {"direction": "up", "cadence": "log"}
    Tag(**good)
    with pytest.raises(ValueError, match="a/b"):
        Tag(**(good | {field: ""}))


def test_the_glossary_holds_each_tag_once_in_a_whole_table() -> None:
    text = glossary_markdown()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows] == NAMES
    for row in rows:
        assert row.replace("\\|", "").count("|") == 8
    for tag in TAGS.values():
        assert not tag.caveat or f"- `{tag.name}`: {tag.caveat}" in text


def test_the_table_is_cheap_to_import() -> None:
    code = (
        "import sys, wganbench.tags.lookup, wganbench.runs.folder, wganbench.runs.table;"
        "heavy = {'torch', 'tensorboard', 'matplotlib', 'numpy'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
