"""The training loop of a stack: iterate, and between steps log, measure, save."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from wganbench.config.schema import RunConfig
from wganbench.training.checkpoint import Checkpoint
from wganbench.training.jobs import Evaluate, Evaluated
from wganbench.training.measuring import stack_floor
from wganbench.training.pool import Answer, Own, Pool
from wganbench.training.probing import read_runs, with_looks
from wganbench.training.process import Stopped, StopRequest
from wganbench.training.reading import Reading
from wganbench.training.recorder import Logged, Recorder, Rows, Saved
from wganbench.training.stack import Stack
from wganbench.training.streams import critic_steps_before

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
    pool: Pool | None = None,
    last_picture_only: bool = False,
) -> None:
    """Train to ``train.steps``, or until asked to stop or all runs have diverged.

    Between logging points nothing is read from the device. What is read is measured by the
    ``pool``, by default this process, while training goes on: at most `AHEAD` evaluations
    behind. A checkpoint is written after the rows of before it. Raises OSError when records
    cannot be written; what was saved before stays.
    """
    config = stack.config
    pool = pool or Own(stack)
    watch = Watch(stack, recorders, clock, progress, pool, last_picture_only)
    left = stack.steps_done < config.train.steps
    # Our C++ measures too, so it is built before the first row; torch compiles after it.
    measures = left and stack.executor == "native"
    if stack.steps_done == 0 and not measures:
        watch.record()
    preparation = stack.execution.preparation if left else ""
    if preparation and not stop.requested:
        phase(preparation)
        with contextlib.suppress(Stopped), clock.standing():
            stack.compile(stop.check)
        phase("")
        for recorder in recorders:
            recorder.compile_seconds += clock.compile_seconds
    for recorder in recorders if left else ():
        recorder.executed_by(stack.executor)
    if stack.steps_done == 0 and measures:
        watch.record()
    stopping = stop.requested
    while stack.steps_done < config.train.steps and not stopping:
        stack.iterate()
        step = stack.steps_done
        # Asked once a step: a request that comes later is met, and saved for, at the next.
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
    """What is read, measured and written between the steps of a stack."""

    stack: Stack
    recorders: list[Recorder]
    clock: Clock
    progress: Progress
    pool: Pool
    last_picture_only: bool = False

    def __post_init__(self) -> None:
        self.rows = Rows(self.recorders)
        self._diverged_at = [recorder.diverged_at for recorder in self.recorders]

    @property
    def all_diverged(self) -> bool:
        return all(step >= 0 for step in self._diverged_at)

    def record(self) -> None:
        """Read the device once and log a row of every run; have measured what is due."""
        stack, config = self.stack, self.stack.config
        alive = [step < 0 for step in self._diverged_at]
        rows, self._diverged_at = stack.scalars(), stack.diverged_at()
        budget = _budget(stack, self.clock)
        answers: list[Answer[Evaluated] | None] = [None] * len(rows)
        if _evaluates(stack.steps_done, config):
            stack_floor(stack, config.evaluate.n)  # before it is asked for: it takes longest
            for run, reading in enumerate(read_runs(stack, config.evaluate.n)):
                if alive[run]:
                    answers[run] = self.pool.submit(self._evaluation(run, reading))
        values = [
            row | budget if goes_on else None for row, goes_on in zip(rows, alive, strict=True)
        ]
        self.rows.add(Logged(stack.steps_done, values, answers))
        self.progress(stack.steps_done, [recorder.latest for recorder in self.recorders])

    def _evaluation(self, run: int, reading: Reading) -> Evaluate:
        """Histograms at every evaluation; images of samples and critic at some, or all."""
        log, floors = self.stack.config.log, dict(self.stack.floors)
        if not reading.finite:
            return Evaluate(reading, floors)
        shows = log.tensorboard and _shows(reading.step, self.stack.config, self.last_picture_only)
        if shows or log.animation:
            reading = with_looks(self.stack, run, reading)
        return Evaluate(
            reading, floors, shows=shows, frame=log.animation, histograms=log.tensorboard
        )

    def save(self) -> None:
        """Checkpoint every run as it is now, once all its rows are written."""
        write = saving(self.stack, self.recorders, self.clock, self.pool)
        self.rows.add(Saved(write))

    def end(self) -> None:
        """Wait for everything that is to be written."""
        self.rows.write_all()
        self.pool.written()
        for recorder, step in zip(self.recorders, self._diverged_at, strict=True):
            recorder.diverged_at = step


def save_all(stack: Stack, recorders: list[Recorder], clock: Clock) -> None:
    """Checkpoint every run of the stack."""
    saving(stack, recorders, clock, Own(stack))()


def saving(stack: Stack, recorders: list[Recorder], clock: Clock, pool: Pool) -> Callable[[], None]:
    """What writes checkpoints of the runs as they are now, those of a time after those before."""
    seconds, diverged_at = clock.seconds, stack.diverged_at()
    kept = [Checkpoint(stack.steps_done, seconds, state) for state in stack.run_states()]

    def write() -> None:
        pool.written()
        for recorder, step, checkpoint in zip(recorders, diverged_at, kept, strict=True):
            recorder.diverged_at = step
            pool.later(partial(recorder.save, checkpoint))

    return write


def _evaluates(step: int, config: RunConfig) -> bool:
    every = config.evaluate.every_n_steps
    return bool(every) and (step % every == 0 or step == config.train.steps)


def _shows(step: int, config: RunConfig, last_only: bool = False) -> bool:
    """Whether TensorBoard gets an image: every so often and at the end, none of the start."""
    due = step % config.log.picture_every_n_steps == 0 and not last_only
    return step > 0 and (due or step == config.train.steps)


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
