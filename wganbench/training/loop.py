"""The training loop of a stack: iterate, and between steps log, measure, save."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

import torch

from wganbench.config.schema import RunConfig
from wganbench.records.pictures import optional
from wganbench.training.animation import save_frame
from wganbench.training.checkpoint import Checkpoint
from wganbench.training.compilation import wants_compilation
from wganbench.training.interrupt import Stopped, StopRequest
from wganbench.training.measuring import Measurement, measure_stack
from wganbench.training.pictures import progress_picture
from wganbench.training.recorder import Recorder
from wganbench.training.schedule import critic_steps_before
from wganbench.training.stack import Stack

Progress = Callable[[int, list[Mapping[str, float]]], None]
"""Called with the step and each run's latest values whenever they are read."""

Phase = Callable[[str], None]
"""Called with what takes long beside training, and with nothing once that is over."""


def nobody(words: str) -> None:
    """To whom no phase is told."""


class Clock:
    """Seconds of training over all sessions, and the speed since the last reading.

    It stands still while programs are compiled: ``compile_seconds``, of this session.
    """

    def __init__(self, seconds_before: float, step: int) -> None:
        self._start = time.perf_counter() - seconds_before
        self._mark = (time.perf_counter(), step)
        self.compile_seconds = 0.0

    @contextlib.contextmanager
    def standing(self) -> Iterator[None]:
        """While the block lasts no time passes, but that of compiling."""
        began = time.perf_counter()
        try:
            yield
        finally:
            stood = time.perf_counter() - began
            self.compile_seconds += stood
            self._start += stood
            self._mark = (self._mark[0] + stood, self._mark[1])

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._start

    def speed(self, step: int) -> float:
        """Steps per second since the last call."""
        then, before = self._mark
        self._mark = (time.perf_counter(), step)
        return (step - before) / max(self._mark[0] - then, 1e-9)


def train_loop(
    stack: Stack,
    recorders: list[Recorder],
    clock: Clock,
    stop: StopRequest,
    progress: Progress,
    phase: Phase = nobody,
) -> None:
    """Train to ``train.steps``, or until asked to stop or all runs have diverged.

    Between logging points nothing is read from the device. Raises OSError when records
    cannot be written; what was saved before stays.
    """
    config = stack.config
    if stack.steps_done == 0:
        _record(stack, recorders, clock, progress)
    left = stack.steps_done < config.train.steps
    if left and wants_compilation(config) and not stop.requested:
        phase("compiling (about 15 s, once)")
        with contextlib.suppress(Stopped), clock.standing():
            stack.compile(stop.check)
        phase("")
        for recorder in recorders:
            recorder.compile_seconds += clock.compile_seconds
    stopping = stop.requested
    while stack.steps_done < config.train.steps and not stopping:
        stack.iterate()
        step = stack.steps_done
        # Asked once a step: a request that comes later is met, and saved for, at the next.
        stopping = stop.requested
        last = step == config.train.steps
        if step % config.log.every_n_steps == 0 or _evaluates(step, config) or last:
            _record(stack, recorders, clock, progress)
            if all(recorder.diverged_at >= 0 for recorder in recorders):
                return
        if step % config.checkpoint.every_n_steps == 0 or last or stopping:
            save_all(stack, recorders, clock)


def save_all(stack: Stack, recorders: list[Recorder], clock: Clock) -> None:
    """Checkpoint every run of the stack."""
    for run, (recorder, diverged_at) in enumerate(zip(recorders, stack.diverged_at(), strict=True)):
        recorder.diverged_at = diverged_at
        recorder.save(Checkpoint(stack.steps_done, clock.seconds, stack.run_state(run)))


def _evaluates(step: int, config: RunConfig) -> bool:
    every = config.evaluate.every_n_steps
    return bool(every) and (step % every == 0 or step == config.train.steps)


def _record(stack: Stack, recorders: list[Recorder], clock: Clock, progress: Progress) -> None:
    """Read the device once and write a row of every run; measure where that is due."""
    step, config = stack.steps_done, stack.config
    rows, diverged_at = stack.scalars(), stack.diverged_at()
    budget = _budget(stack, clock)
    due = _evaluates(step, config)
    measured = measure_stack(stack, config.evaluate.n, final=False) if due else []
    for run, recorder in enumerate(recorders):
        values = rows[run] | budget
        if measured:
            values |= measured[run].values
            _draw(stack, run, recorder, measured[run])
        recorder.log(step, values)
        recorder.diverged_at = diverged_at[run]
    progress(step, [recorder.latest for recorder in recorders])


def _shows(step: int, config: RunConfig) -> bool:
    """Whether TensorBoard gets a picture: every so often and at the end, none of the start."""
    every = config.log.picture_every_n_steps
    return step > 0 and (step % every == 0 or step == config.train.steps)


def _draw(stack: Stack, run: int, recorder: Recorder, measured: Measurement) -> None:
    """Histograms at every evaluation; pictures of samples and critic at some, or all."""
    step, points = stack.steps_done, measured.points
    if recorder.diverged_at >= 0 or not torch.isfinite(points["fakes"]).all():
        return
    log, events = stack.config.log, recorder.events
    shows = events is not None and _shows(step, stack.config)
    if shows or log.animation:
        with optional("A picture of the samples", recorder.note):
            picture = progress_picture(stack, run, points)
            if log.animation:
                save_frame(recorder.folder, step, picture)
            if events and shows:
                events.figure("samples", picture, step)
    if events is None:
        return
    weights = torch.cat([p.flatten() for p in stack.run_parameters(run, "critic").values()])
    histograms = {
        "critic/score_real": points["score_real"],
        "critic/score_fake": points["score_fake"],
        "critic/slopes": points["slopes_hat"],
        "critic/weights": weights.cpu(),
    }
    events.histograms(step, {k: v.numpy() for k, v in histograms.items()})


def _budget(stack: Stack, clock: Clock) -> dict[str, float]:
    """What training has cost so far, as tags."""
    config, step = stack.config, stack.steps_done
    critic_steps = critic_steps_before(step, config)
    per_critic_step = 3 if stack.algorithm.recipe.penalty is not None else 1
    values: dict[str, float] = {
        "budget/critic_steps": critic_steps,
        "budget/examples": critic_steps * config.train.batch_size,
        "budget/gradient_evaluations": critic_steps * per_critic_step + step,
        "budget/seconds": clock.seconds,
    }
    if step:
        values["speed/steps_per_second"] = clock.speed(step)
    return values
