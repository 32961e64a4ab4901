"""TensorBoard events, read back with TensorBoard's own readers."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from wganbench.drawing.canvas import figure_to_rgb
from wganbench.drawing.run_figure import sample_figure
from wganbench.runs.events import (
    EventLog,
    cut_events,
    event_records,
    histogram_summaries,
    image_summary,
    scalar_layout,
)
from wganbench.tags.lookup import TAGS, charts

ALL = dict.fromkeys(("scalars", "tensors", "images", "histograms"), 0)


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance=ALL).Reload()


def steps(folder: Path, tag: str) -> list[int]:
    return [event.step for event in read(folder).Scalars(tag)]


def event_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("events.out.tfevents.*"))


def age(folder: Path, seconds: int = 60) -> None:
    """Rename a folder's event files as if they were written so many seconds ago."""
    for file in event_files(folder):
        head, second, rest = re.fullmatch(r"(.*tfevents\.)(\d+)(\..*)", file.name).groups()
        file.rename(file.with_name(f"{head}{int(second) - seconds}{rest}"))


def write(folder: Path, numbers: range, purge_step: int | None = None) -> None:
    with EventLog(folder, purge_step) as log:
        for step in numbers:
            log.scalars(step, {"loss/critic": step / 7, "modes/kl": -step})


def test_scalars_survive_exactly(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=500).astype(np.float32)
    with EventLog(tmp_path) as log:
        for step, value in enumerate(values):
            log.scalars(step, {"loss/critic": value})
    events = read(tmp_path).Scalars("loss/critic")
    assert [event.step for event in events] == list(range(len(values)))
    np.testing.assert_array_equal([event.value for event in events], values)


def test_scalars_that_are_not_finite_stay_what_they_are(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        for step, value in enumerate([np.nan, np.inf, -np.inf, 1e300]):
            log.scalars(step, {"loss/critic": value})
    values = [event.value for event in read(tmp_path).Scalars("loss/critic")]
    np.testing.assert_array_equal(values, [np.nan, np.inf, -np.inf, np.inf])


def test_every_event_is_in_the_file_at_once(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.scalars(1, {"loss/critic": 1.0})
    assert steps(tmp_path, "loss/critic") == [1]
    log.close()
    log.close()
    with pytest.raises(ValueError, match="closed"):
        log.scalars(2, {"loss/critic": 1.0})


def test_cut_leaves_each_step_once_in_one_file(tmp_path: Path) -> None:
    write(tmp_path, range(0, 60, 10))
    age(tmp_path)
    write(tmp_path, range(30, 90, 10))
    assert len(event_files(tmp_path)) == 2
    cut_events(tmp_path, 40)
    assert len(event_files(tmp_path)) == 1
    for tag in ("loss/critic", "modes/kl"):
        assert steps(tmp_path, tag) == [0, 10, 20, 30, 40]
    write(tmp_path, range(50, 80, 10))
    assert steps(tmp_path, "loss/critic") == list(range(0, 80, 10))
    values = [event.value for event in read(tmp_path).Scalars("loss/critic")]
    np.testing.assert_array_equal(values, np.float32(np.arange(0, 80, 10) / 7))


def test_cut_twice_is_cut_once_and_a_cut_of_nothing_is_nothing(tmp_path: Path) -> None:
    cut_events(tmp_path, 5)
    assert not list(tmp_path.iterdir())
    write(tmp_path, range(5))
    cut_events(tmp_path, 3)
    once = event_files(tmp_path)[0].read_bytes()
    cut_events(tmp_path, 3)
    assert event_files(tmp_path)[0].read_bytes() == once


def test_cut_keeps_pictures_histograms_parameters_and_layout_once(tmp_path: Path) -> None:
    picture = np.zeros((4, 6, 3), np.uint8)
    for _ in range(2):
        age(tmp_path)
        with EventLog(tmp_path) as log:
            log.layout()
            for step in (1, 2):
                log.scalars(step, {"loss/critic": 1.0})
                summaries = [
                    image_summary("samples", picture),
                    *histogram_summaries({"weights": np.arange(5.0)}),
                ]
                log.add(event_records(step, 1.0, summaries))
            log.hparams({"seed": 0})
    cut_events(tmp_path, 1)
    events = read(tmp_path)
    assert [event.step for event in events.Images("samples")] == [1]
    assert [event.step for event in events.Histograms("histogram/weights")] == [1]
    assert len(events.Tensors("custom_scalars__config__")) == 1
    content = event_files(tmp_path)[0].read_bytes()
    assert content.count(b"_hparams_/session_start_info") == 1
    assert content.count(b"_hparams_/session_end_info") == 0
    assert content.count(b"brain.Event:2") == 1


def test_a_histogram_and_a_scalar_of_one_name_are_both_shown(tmp_path: Path) -> None:
    with EventLog(tmp_path / "run") as log:
        log.scalars(1, {"critic/score_real": 2.0})
        log.add(event_records(1, 1.0, histogram_summaries({"critic/score_real": np.arange(5.0)})))
    cut_events(tmp_path / "run", 1)
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    provider, ctx = MultiplexerDataProvider(multiplexer, str(tmp_path)), RequestContext()
    scalars = provider.list_scalars(ctx, experiment_id="", plugin_name="scalars")
    histograms = provider.list_tensors(ctx, experiment_id="", plugin_name="histograms")
    assert list(scalars["run"]) == ["critic/score_real"]
    assert list(histograms["run"]) == ["histogram/critic/score_real"]


@pytest.mark.parametrize("missing", [1, 3, 11, 25])
def test_cut_tolerates_a_truncated_last_record(tmp_path: Path, missing: int) -> None:
    write(tmp_path, range(4))
    file = event_files(tmp_path)[0]
    file.write_bytes(file.read_bytes()[:-missing])
    cut_events(tmp_path, 100)
    assert steps(tmp_path, "loss/critic") == [0, 1, 2]
    write(tmp_path, range(3, 6))
    assert steps(tmp_path, "loss/critic") == list(range(6))


def test_a_cut_that_fails_leaves_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, range(4))

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wganbench.files.os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        cut_events(tmp_path, 1)
    assert steps(tmp_path, "loss/critic") == [0, 1, 2, 3]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_cut_killed_before_it_removes_the_other_files_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, range(3))
    age(tmp_path)
    write(tmp_path, range(2, 6))
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: None)
        cut_events(tmp_path, 4)
    assert len(event_files(tmp_path)) == 2
    cut_events(tmp_path, 4)
    assert steps(tmp_path, "loss/critic") == [0, 1, 2, 3, 4]


def test_files_of_one_second_still_sort_in_the_order_of_writing(tmp_path: Path) -> None:
    write(tmp_path, range(3))
    cut_events(tmp_path, 1)
    write(tmp_path, range(2, 4))
    write(tmp_path, range(4, 6))
    assert len({file.name.split(".")[3] for file in event_files(tmp_path)}) == 3
    assert steps(tmp_path, "loss/critic") == list(range(6))


def test_what_follows_a_cut_sorts_after_it_even_if_the_clock_was_ahead(tmp_path: Path) -> None:
    write(tmp_path, range(4))
    age(tmp_path, seconds=-1000)
    cut_events(tmp_path, 1)
    (kept,) = event_files(tmp_path)
    write(tmp_path, range(2, 4))
    assert event_files(tmp_path)[0] == kept
    assert steps(tmp_path, "loss/critic") == [0, 1, 2, 3]


def test_purge_step_hides_what_came_later(tmp_path: Path) -> None:
    write(tmp_path, range(6))
    age(tmp_path)
    write(tmp_path, range(3, 5), purge_step=3)
    assert steps(tmp_path, "loss/critic") == [0, 1, 2, 3, 4]


def test_a_figure_is_shown_in_its_own_size(tmp_path: Path) -> None:
    figure = sample_figure(np.eye(2), np.eye(2), title="two points")
    with EventLog(tmp_path) as log:
        log.add(event_records(3, 1.0, [image_summary("samples", figure_to_rgb(figure))]))
    (image,) = read(tmp_path).Images("samples")
    width, height = figure.canvas.get_width_height()
    assert (image.step, image.width, image.height) == (3, width, height)


def test_histograms_take_the_finite_values_only(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        arrays = {"a": [[1.0, np.nan], [np.inf, 3.0]], "b": [np.nan], "c": []}
        log.add(event_records(1, 1.0, histogram_summaries(arrays)))
    events = read(tmp_path)
    assert events.Tags()["histograms"] == ["histogram/a"]
    histogram = events.Histograms("histogram/a")[0].histogram_value
    assert (histogram.num, histogram.min, histogram.max) == (2, 1, 3)


def hparams_page(folder: Path) -> list[Any]:
    """Session groups as TensorBoard's HParams page gets them."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder)).Reload()
    provider = MultiplexerDataProvider(multiplexer, str(folder))
    context = Context(TBContext(data_provider=provider, logdir=str(folder)))
    ctx = RequestContext()
    experiment = context.experiment_from_metadata(
        ctx, "", True, context.hparams_metadata(ctx, ""), []
    )
    columns = [api_pb2.ColParams(hparam=info.name) for info in experiment.hparam_infos] + [
        api_pb2.ColParams(metric=info.name) for info in experiment.metric_infos
    ]
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0, slice_size=100, col_params=columns, allowed_statuses=range(4)
    )
    handler = list_session_groups.Handler(ctx, context, "", request)
    return list(handler.run().session_groups)


def one_run(folder: Path, params: Mapping[str, Any], kl: float, status: str) -> None:
    with EventLog(folder) as log:
        log.layout()
        log.scalars(1, {"modes/kl": 9.0})
        log.scalars(2, {"modes/kl": kl, "fidelity/fid": kl * 2})
        log.hparams(params, status)


def test_names_that_are_not_utf_8_are_shown_and_stop_nothing(tmp_path: Path) -> None:
    one_run(tmp_path / "run", {"data.path": "caf\udce9", "data.name": "\ud800"}, 0.5, "completed")
    (group,) = hparams_page(tmp_path)
    assert group.hparams["data.path"].string_value == "caf\\xe9"
    assert group.hparams["data.name"].string_value == "?"


def test_the_hparams_page_shows_one_session_a_run_with_all_columns(tmp_path: Path) -> None:
    gp = {"loss": {"name": "gp", "gp_lambda": 0.1}, "betas": [0.5, 0.9], "deterministic": True}
    clip = {"loss": {"name": "clip", "clip_value": float("inf")}, "missing": None}
    one_run(tmp_path / "gp", gp, 0.5, "completed")
    one_run(tmp_path / "clip", clip, 0.25, "diverged")
    groups = {group.hparams["loss.name"].string_value: group for group in hparams_page(tmp_path)}
    assert set(groups) == {"gp", "clip"}
    assert groups["gp"].hparams["loss.gp_lambda"].number_value == 0.1
    assert groups["gp"].hparams["betas"].string_value == "[0.5, 0.9]"
    assert groups["gp"].hparams["deterministic"].string_value == "true"
    assert groups["clip"].hparams["loss.clip_value"].string_value == "inf"
    for name, kl, status in (("gp", 0.5, "SUCCESS"), ("clip", 0.25, "FAILURE")):
        (session,) = groups[name].sessions
        assert session.status == getattr(api_pb2, f"STATUS_{status}")
        values = {value.name.tag: value for value in session.metric_values}
        assert values["modes/kl"].value == kl
        assert values["fidelity/fid"].value == kl * 2
        assert values["fidelity/fid"].training_step == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip", "gp"]
    for folder in tmp_path.iterdir():
        (file,) = folder.iterdir()
        assert b"_hparams_/experiment" not in file.read_bytes()


def test_a_run_that_goes_on_ends_with_its_new_status(tmp_path: Path) -> None:
    one_run(tmp_path / "run", {"seed": 0}, 0.5, "failed")
    cut_events(tmp_path / "run", 1)
    one_run(tmp_path / "run", {"seed": 0}, 0.5, "completed")
    (group,) = hparams_page(tmp_path)
    assert [session.status for session in group.sessions] == [api_pb2.STATUS_SUCCESS]


def test_a_run_is_a_row_while_it_trains_and_the_same_row_when_it_has_ended(
    tmp_path: Path,
) -> None:
    with EventLog(tmp_path / "run") as log:
        log.hparams({"seed": 3}, "running")
        log.scalars(1, {"modes/kl": 1.0})
        (group,) = hparams_page(tmp_path)
        assert [session.status for session in group.sessions] == [api_pb2.STATUS_UNKNOWN]
        assert group.hparams["seed"].number_value == 3
        log.hparams({"seed": 3}, "completed")
    (group,) = hparams_page(tmp_path)
    assert [session.status for session in group.sessions] == [api_pb2.STATUS_SUCCESS]
    (file,) = (tmp_path / "run").iterdir()
    assert file.read_bytes().count(b"_hparams_/session_start_info") == 1


def test_layout_survives_and_matches_exactly_its_tags(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.layout()
    (event,) = read(tmp_path).Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    assert {category.title for category in layout.category} == set(charts())
    layers = [0, 7, 12]
    every = [name.replace("<i>", str(layer)) for name in TAGS for layer in layers]
    every += [f"{tag}_more" for tag in every] + [f"more_{tag}" for tag in every]
    for category in layout.category:
        for chart in category.chart:
            wanted = {
                name.replace("<i>", str(layer))
                for name in charts()[category.title][chart.title]
                for layer in layers
            }
            regexes = list(chart.multiline.tag)
            found = {tag for tag in every if any(re.search(regex, tag) for regex in regexes)}
            assert found == wanted


def test_the_layout_names_tags_that_exist_in_the_groups_promised() -> None:
    assert set(scalar_layout()) == {
        "Losses",
        "Images",
        "Coverage",
        "Gradient norms",
        "Estimate against exact W1",
        "Critic",
    }
    for inside in charts().values():
        for tags in inside.values():
            assert set(tags) <= set(TAGS)


def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write"):
        EventLog(tmp_path / "file" / "run")


def test_a_record_that_does_not_fit_leaves_the_earlier_ones_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full in the middle of a record, and has room again later."""
    with EventLog(tmp_path) as log:
        log.scalars(1, {"loss/critic": 1.0})
        with monkeypatch.context() as patch:
            patch.setattr(log, "_file", Filling(log._file, room=30))
            with pytest.raises(OSError, match="No space left"):
                log.scalars(2, {"loss/critic": 2.0})
        log.scalars(3, {"loss/critic": 3.0})
    assert steps(tmp_path, "loss/critic") == [1, 3]


class Filling:
    """A file on a disk that has room for a few bytes."""

    closed = False

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def fileno(self) -> int:
        return int(self._file.fileno())

    def write(self, content: memoryview) -> int:
        if not self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written, self._room = self._file.write(content[: self._room]), 0
        return int(written)
