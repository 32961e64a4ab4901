"""The end of a run: final values, samples, figures, verdict, status."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from wganbench.data import Target
from wganbench.data.points import unit_of
from wganbench.drawing.canvas import optional
from wganbench.errors import of_the_system
from wganbench.files import inside, write_atomic
from wganbench.runs.folder import HeldRun, RunOutcome
from wganbench.runs.record import Status
from wganbench.tags.lookup import is_evaluated
from wganbench.training.figures import save_animation
from wganbench.training.jobs import Conclude, Concluded, Evaluate
from wganbench.training.measuring import (
    Reading,
    judge_record,
    mean_values,
    mode_count,
    read_runs,
    stack_floor,
    with_figure_data,
)
from wganbench.training.pool import Pool
from wganbench.training.process import Stopped
from wganbench.training.recorder import Recorder
from wganbench.training.stack import Stack
from wganbench.training.verdict import (
    bounds_slope,
    on_fewer_points,
    on_too_few_points,
    seen,
    verdict,
)


def finish_runs(
    stack: Stack,
    recorders: list[Recorder],
    seconds: float,
    pool: Pool,
    phase: Callable[[str], object],
    check: Callable[[], None],
) -> list[RunOutcome]:
    """End all runs, each as soon as it is measured; return their outcomes.

    Only runs that reached the end get final values. ``check`` raises after a request to stop;
    the runs that are not measured by then are interrupted. Raises OSError.
    """
    outcomes: list[RunOutcome] = []
    status: Status
    reached_end = stack.steps_done == stack.config.train.steps
    if reached_end and any(recorder.diverged_at < 0 for recorder in recorders):
        phase("measuring the result")
        with contextlib.suppress(Stopped):
            for recorder, concluded in conclusions(stack, recorders, pool, check):
                status = "completed" if concluded else "diverged"
                outcomes.append(finish_run(stack, recorder, status, concluded, seconds))
            return outcomes
        reached_end = False
    for recorder in recorders[len(outcomes) :]:
        status = "completed" if reached_end else "interrupted"
        status = "diverged" if recorder.diverged_at >= 0 else status
        outcomes.append(finish_run(stack, recorder, status, None, seconds))
    return outcomes


def conclusions(
    stack: Stack, recorders: list[Recorder], pool: Pool, check: Callable[[], None]
) -> Iterator[tuple[Recorder, Concluded | None]]:
    """Yield each run's final results in order; None for a diverged run.

    Values are means over ``evaluate.final_draws`` independent draws; samples and figures come
    from the first draw. ``check`` is called before each run and may raise to stop.
    """
    settings = stack.config.evaluate
    for n in (settings.final_n, settings.n):
        stack_floor(stack, n, check)
    first = read_runs(stack, settings.final_n, 1)
    for recorder, reading in zip(recorders, first, strict=True):
        # No loss is computed after the generator's last update: only its fakes show divergence.
        if recorder.diverged_at < 0 and not reading.finite:
            recorder.diverged_at = stack.steps_done
            recorder.take_back()
    going = [run for run, recorder in enumerate(recorders) if recorder.diverged_at < 0]
    draws = range(2, settings.final_draws + 1)
    further = [_values(stack, draw, going, pool, check) for draw in draws]
    answers = {
        run: pool.submit(_conclusion(stack, run, recorders[run], first[run])) for run in going
    }
    for run, recorder in enumerate(recorders):
        if run not in answers:
            yield recorder, None
            continue
        concluded = answers.pop(run).get(check)
        values = mean_values([concluded.values, *(draw[run] for draw in further)])
        yield recorder, replace(concluded, values=values)


def _values(
    stack: Stack, draw: int, runs: list[int], pool: Pool, check: Callable[[], None]
) -> dict[int, dict[str, float]]:
    """Return the values of one further draw, by run."""
    readings = read_runs(stack, stack.config.evaluate.final_n, draw)
    answers = {
        run: pool.submit(Evaluate(readings[run], dict(stack.floors), final=True)) for run in runs
    }
    return {run: answer.get(check).values for run, answer in answers.items()}


def _conclusion(stack: Stack, run: int, recorder: Recorder, reading: Reading) -> Conclude:
    log = recorder.config.log
    return Conclude(
        with_figure_data(stack, run, reading, between=True) if log.figure else reading,
        dict(stack.floors),
        time.time(),
        recorder.table.read(),
        _title(recorder),
        figure=log.figure,
        tensorboard=log.tensorboard,
    )


SPREAD_POINTS = 1000


def spread_of(target: Target) -> float:
    """Return the root of the reals' mean squared distance to their mean, in the data's unit."""
    points = target.sample(SPREAD_POINTS, torch.Generator().manual_seed(0)).double().flatten(1)
    squares = (points - points.mean(dim=0)).square().sum(dim=1)
    return unit_of(target) * float(squares.mean().sqrt())


def finish_run(
    stack: Stack,
    recorder: Recorder,
    status: Status,
    concluded: Concluded | None,
    seconds: float,
) -> RunOutcome:
    """Write a run's last files; return its outcome.

    ``concluded`` is None unless the run reached its end with finite values. The final values
    are those of the final evaluation; tags that only steps log keep their last logged value.
    """
    folder, config = recorder.folder, recorder.config
    metrics = dict(recorder.latest)
    sentences: list[str] = []
    step = recorder.diverged_at if status == "diverged" else stack.steps_done
    if concluded is not None:
        # A tag that the last evaluation could not measure (the KL without a good sample) has no
        # final value: an earlier value belongs to another state of the networks.
        metrics = {tag: v for tag, v in metrics.items() if not is_evaluated(tag)} | concluded.values
        table = recorder.table.read()
        modes, how = mode_count(stack.target), seen(stack.images)
        recipe, shape = stack.algorithm.recipe, stack.target.shape
        sentences = verdict(metrics, table, recipe, modes, how, shape, bounds_slope(config, recipe))
        n = config.evaluate.final_n
        sentences += on_fewer_points(metrics, n)
        if "wasserstein/excess" in metrics:
            sentences += on_too_few_points(metrics, spread_of(stack.target), n)
        _save_samples(folder, concluded.samples)
        _save_figures(recorder, concluded)
        if config.log.animation:
            with optional("samples.gif", recorder.note):
                save_animation(folder)
    elif status == "diverged":
        sentences = [f"Diverged: not finite from step {step} on; the figures are the last finite."]
    recorder.loggers.close(status, metrics)
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
    executor, shape = recorder.executor, stack.target.shape
    return RunOutcome(folder.path, status, step, metrics, sentences, seconds, executor, shape)


def fail_run(recorder: Recorder, step: int, seconds: float, error: OSError) -> RunOutcome:
    """Return the outcome of a run whose records cannot be written; its checkpoint stays."""
    with contextlib.suppress(OSError):
        recorder.close("failed", step=step, error=of_the_system(error))
    advice = "What was saved before stays; the same command goes on from there."
    path = recorder.folder.path
    return RunOutcome(
        path, "failed", step, recorder.latest, [f"{of_the_system(error)}.", advice], seconds
    )


def _title(recorder: Recorder) -> str:
    config = recorder.config
    coefficients = "".join(f", {k} {v:g}" for k, v in config.loss.coefficients.items())
    return f"{config.data.name}, loss {config.loss.name}{coefficients}, seed {config.seed}"


def _save_figures(recorder: Recorder, concluded: Concluded) -> None:
    """Write the final figures as PNG files, and those of image runs to TensorBoard too."""
    for sentence in concluded.notes:
        recorder.note(sentence)
    for name, png in concluded.figures.items():
        path = inside(recorder.folder.path, f"{name}.png")
        with optional(path.name, recorder.note):
            write_atomic(path, png)
            recorder.loggers.figure(name, path)
    if recorder.events:
        recorder.events.add(concluded.records)


def _save_samples(folder: HeldRun, content: bytes) -> None:
    write_atomic(folder.samples, content)
