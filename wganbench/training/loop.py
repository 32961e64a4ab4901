"""The training loop of a stack: iterate; between steps log, measure and save."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from wganbench.config.schema import RunConfig
from wganbench.tags.lookup import without_others
from wganbench.training.checkpoint import Checkpoint
from wganbench.training.jobs import Evaluate, Evaluated
from wganbench.training.measuring import (
    Reading,
    prepare_beside,
    read_runs,
    stack_floor,
    with_figure_data,
)
from wganbench.training.passes import step_cost
from wganbench.training.pool import Answer, InProcess, Pool
from wganbench.training.process import Stopped, StopRequest, unshown
from wganbench.training.recorder import Logged, Recorder, Rows, Saved
from wganbench.training.stack import Stack
from wganbench.training.streams import critic_steps_before

Progress = Callable[[int, list[Mapping[str, float]]], None]
"""A function that is called with the step and the latest values of each run, of the
distances the one that decides."""

Phase = Callable[[str], None]
"""A function that is called with a name for long work, and with "" when the work has ended."""


class Clock:
    """A clock of training seconds over all sessions, and of the speed since the last reading.

    It stops while programs are compiled. ``compile_seconds`` counts that time, of this session.
    """

    def __init__(self, seconds_before: float, step: int) -> None:
        self._start = time.perf_counter() - seconds_before
        self._mark = (time.perf_counter(), step)
        self.compile_seconds = 0.0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock in the block, and count its time as compiling."""
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
        """Return the steps per second since the last call."""
        then, before = self._mark
        self._mark = (time.perf_counter(), step)
        return (step - before) / max(self._mark[0] - then, 1e-9)


def train_loop(
    stack: Stack,
    recorders: list[Recorder],
    clock: Clock,
    stop: StopRequest,
    progress: Progress,
    phase: Phase = unshown,
    pool: Pool | None = None,
    last_picture_only: bool = False,
) -> None:
    """Train to ``train.steps``, or until a stop request, or until all runs have diverged.

    The device is read only at logging points. The ``pool`` (by default this process) measures
    the readings while training goes on, and may be behind it, see `Rows.add`. A checkpoint is
    written after all earlier rows. Raises OSError when records cannot be written; what was
    saved before stays.
    """
    config = stack.config
    pool = pool or InProcess(stack)
    watch = Watch(stack, recorders, clock, progress, pool, last_picture_only)
    left = stack.steps_done < config.train.steps
    # Our C++ also measures, so it is built before the first row. torch compiles after that row.
    measures = left and stack.executor == "native"
    if stack.steps_done == 0 and not measures:
        watch.record()
    preparation = stack.execution.preparation if left else ""
    if left and not stop.requested:
        prepare_beside(stack.target)
    if preparation and not stop.requested:
        phase(preparation)
        with contextlib.suppress(Stopped), clock.paused():
            stack.compile(stop.check)
        phase("")
        for recorder in recorders:
            recorder.compile_seconds += clock.compile_seconds
    stopping = stop.requested
    # After a stop while compiling no step follows, and the executor has no name yet.
    for recorder in recorders if left and not stopping else ():
        recorder.executed_by(stack.executor)
    if stack.steps_done == 0 and measures:
        watch.record()
    while stack.steps_done < config.train.steps and not stopping:
        stack.execution.spared = pool.busy
        stack.iterate()
        step = stack.steps_done
        # Checked once a step: a later request is met at the next step, which is then saved.
        stopping = stop.requested
        last = step == config.train.steps
        if step % config.log.every_n_steps == 0 or _evaluates(step, config) or last:
            watch.record()
            if watch.all_diverged:
                break
        if step % config.checkpoint.every_n_steps == 0 or last or stopping:
            watch.save()
    watch.end()


@dataclass
class Watch:
    """The reading, measuring and writing between the steps of a stack."""

    stack: Stack
    recorders: list[Recorder]
    clock: Clock
    progress: Progress
    pool: Pool
    last_picture_only: bool = False

    def __post_init__(self) -> None:
        self.rows = Rows(self.recorders, self.pool)
        self._diverged_at = [recorder.diverged_at for recorder in self.recorders]

    @property
    def all_diverged(self) -> bool:
        return all(step >= 0 for step in self._diverged_at)

    def record(self) -> None:
        """Read the device once and log a row of each run; submit evaluations that are due."""
        stack, config = self.stack, self.stack.config
        alive = [step < 0 for step in self._diverged_at]
        rows, self._diverged_at = stack.scalars(), stack.diverged_at()
        budget = _budget(stack, self.clock)
        answers: list[Answer[Evaluated] | None] = [None] * len(rows)
        held = 0
        if _evaluates(stack.steps_done, config):
            stack_floor(stack, config.evaluate.n)  # computed first, because it takes longest
            for run, reading in enumerate(read_runs(stack, config.evaluate.n)):
                if alive[run]:
                    job = self._evaluation(run, reading)
                    answers[run] = self.pool.submit(job)
                    held += job.reading.nbytes
        values = [
            row | budget if goes_on else None for row, goes_on in zip(rows, alive, strict=True)
        ]
        self.rows.add(Logged(stack.steps_done, values, answers, held))
        shape = stack.target.shape
        latest = [without_others(recorder.latest, shape) for recorder in self.recorders]
        self.progress(stack.steps_done, latest)

    def _evaluation(self, run: int, reading: Reading) -> Evaluate:
        """Return the evaluation of a run: always histograms, at some steps images too."""
        log, floors = self.stack.config.log, dict(self.stack.floors)
        wall_time = time.time()
        if not reading.finite:
            return Evaluate(reading, floors, wall_time)
        shows = log.tensorboard and _shows(reading.step, self.stack.config, self.last_picture_only)
        if shows or log.animation:
            reading = with_figure_data(self.stack, run, reading)
        return Evaluate(
            reading,
            floors,
            wall_time,
            shows=shows,
            frame=log.animation,
            histograms=log.tensorboard,
        )

    def save(self) -> None:
        """Checkpoint each run in its present state, after all its rows are written."""
        self.rows.add(saving(self.stack, self.recorders, self.clock))

    def end(self) -> None:
        """Wait until everything is written."""
        self.rows.write_all()
        for recorder, step in zip(self.recorders, self._diverged_at, strict=True):
            recorder.diverged_at = step


def saving(stack: Stack, recorders: list[Recorder], clock: Clock) -> Saved:
    """Return checkpoints of the runs' present state, yet to be written."""
    seconds, diverged_at = clock.seconds, stack.diverged_at()
    kept = [
        Checkpoint(stack.steps_done, seconds, state, digest)
        for digest, state in zip(stack.digests, stack.run_states(), strict=True)
    ]

    def write() -> None:
        for recorder, step, checkpoint in zip(recorders, diverged_at, kept, strict=True):
            recorder.diverged_at = step
            recorder.save(checkpoint)

    return Saved(write, sum(t.nbytes for own in kept for t in own.tensors.values()))


def _evaluates(step: int, config: RunConfig) -> bool:
    every = config.evaluate.every_n_steps
    return bool(every) and (step % every == 0 or step == config.train.steps)


def _shows(step: int, config: RunConfig, last_only: bool = False) -> bool:
    """Return whether TensorBoard gets an image: at regular steps and the end, not at step 0."""
    due = step % config.log.picture_every_n_steps == 0 and not last_only
    return step > 0 and (due or step == config.train.steps)


def _budget(stack: Stack, clock: Clock) -> dict[str, float]:
    """Return the cost of training so far, by tag."""
    config, step = stack.config, stack.steps_done
    critic_steps = critic_steps_before(step, config)
    per_critic_step = 1 + 2 * len(stack.algorithm.recipe.penalties)
    per_generator_step = 1 + 2 * config.loss.unrolled
    values: dict[str, float] = {
        "budget/critic_steps": critic_steps,
        "budget/examples": critic_steps * config.train.batch_size,
        "budget/gradient_evaluations": critic_steps * per_critic_step + per_generator_step * step,
        "budget/passes": step_cost(config).of_run(critic_steps, step),
        "budget/seconds": clock.seconds,
    }
    if step:
        values["speed/steps_per_second"] = clock.speed(step)
    return values
