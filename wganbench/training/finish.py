"""The end of a run: final figures, samples, picture, verdict, status."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from wganbench.data.units import as_given
from wganbench.files import replacing
from wganbench.records.figure import save_png
from wganbench.records.folder import HeldRun
from wganbench.records.image_grid import are_pictures, channels_last, to_bytes
from wganbench.records.pictures import optional
from wganbench.records.table import Table, read_table
from wganbench.records.tags import tag_for
from wganbench.training.animation import save_animation
from wganbench.training.image_pictures import final_pictures
from wganbench.training.measuring import Measurement, judge_record, mode_count
from wganbench.training.outcome import RunOutcome
from wganbench.training.pictures import final_picture
from wganbench.training.recorder import Recorder
from wganbench.training.stack import Stack
from wganbench.training.verdict import on_fewer_points, verdict
from wganbench.training.verdict_pictures import seen


def finish_run(
    stack: Stack,
    run: int,
    recorder: Recorder,
    status: str,
    measured: Measurement | None,
    seconds: float,
) -> RunOutcome:
    """Write a run's last files. ``measured`` is None unless the run reached its end finite.

    The final values by tag are those of the final evaluation, beside the last ones logged of
    what is logged at every step.
    """
    folder, config = recorder.folder, recorder.config
    metrics = dict(recorder.latest)
    sentences: list[str] = []
    step = recorder.diverged_at if status == "diverged" else stack.steps_done
    if measured is not None:
        # What the last evaluation could not tell, as the KL of no good sample, is unknown now:
        # an earlier value would be another checkpoint's.
        metrics = {tag: v for tag, v in metrics.items() if not evaluated(tag)} | measured.values
        table = read_table(folder.metrics_csv)
        modes, how = mode_count(stack.target), seen(stack.pictures)
        sentences = verdict(metrics, table, stack.algorithm.recipe, modes, how)
        sentences += on_fewer_points(metrics, config.evaluate.final_n)
        _save_samples(folder, measured, stack.target)
        if config.log.figure:
            _draw(stack, run, recorder, measured.points, table)
        if config.log.animation:
            with optional("samples.gif", recorder.note):
                save_animation(folder)
    elif status == "diverged":
        sentences = [f"Diverged: not finite from step {step} on; the figures are the last finite."]
    sentences = [*sentences, *recorder.notes]
    judge = judge_record(stack, metrics)
    recorder.close(
        status,
        **({"judge": judge} if judge else {}),
        step=step,
        metrics=metrics,
        seconds=seconds,
        steps_per_second=stack.steps_done / seconds if seconds else None,
        verdict=sentences,
    )
    return RunOutcome(folder.path, status, step, metrics, sentences, seconds)


def evaluated(tag: str) -> bool:
    """Whether a tag is measured at evaluations, and not at every logged step."""
    return tag_for(tag.removeprefix("averaged/")).cadence != "log"


def fail_run(recorder: Recorder, step: int, seconds: float, error: OSError) -> RunOutcome:
    """A run whose records cannot be written, on a full disk say; its checkpoint stays."""
    with contextlib.suppress(OSError):
        recorder.close("failed", step=step, error=str(error))
    advice = "What was saved before stays; the same command goes on from there."
    path = recorder.folder.path
    return RunOutcome(path, "failed", step, recorder.latest, [f"{error}.", advice], seconds)


def _title(recorder: Recorder) -> str:
    config = recorder.config
    coefficients = "".join(f", {k} {v:g}" for k, v in config.loss.coefficients.items())
    return f"{config.data.name}, loss {config.loss.name}{coefficients}, seed {config.seed}"


def _draw(
    stack: Stack, run: int, recorder: Recorder, points: Mapping[str, Tensor], table: Table
) -> None:
    """The final figure, and of image runs the panels, in TensorBoard as well."""
    folder, title = recorder.folder, _title(recorder)
    with optional(folder.figure.name, recorder.note):
        save_png(final_picture(stack, run, points, table, title), folder.figure)
    for name, draw in final_pictures(stack, run, points, title).items():
        with optional(folder.picture(name).name, recorder.note):
            picture = draw()
            save_png(picture, folder.picture(name))
            if recorder.events:
                recorder.events.figure(name, picture, stack.steps_done)


def _save_samples(folder: HeldRun, measured: Measurement, target: object) -> None:
    """Points in the data's units; pictures as bytes (n, h, w, c), a quarter of the size, packed."""
    points = {name: as_given(measured.points[name], target).numpy() for name in ("reals", "fakes")}
    with replacing(folder.samples) as file:
        if are_pictures(points["fakes"]):
            reals, fakes = (channels_last(to_bytes(points[name])) for name in ("reals", "fakes"))
            np.savez_compressed(file, reals=reals, fakes=fakes)
        else:
            np.savez(file, reals=points["reals"], fakes=points["fakes"])
