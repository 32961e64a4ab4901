"""Locking of the runs of a stack, and the step from which each resumes."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wganbench.config.check import from_dict
from wganbench.config.schema import DIGEST_DIGITS, RunConfig, digest_of_training, identity
from wganbench.errors import ConfigError, of_the_system
from wganbench.files import RunBusy, UnusableFile
from wganbench.runs.folder import ELSEWHERE, HeldRun, RunFolder, RunOutcome
from wganbench.runs.stored import identifying
from wganbench.training.checkpoint import Checkpoint, newest_checkpoint


@dataclass(frozen=True)
class Ready:
    """A locked run that has not ended; its checkpoint, and a line when one was lost."""

    number: int
    folder: HeldRun
    checkpoint: Checkpoint | None
    lost: str | None

    @property
    def step(self) -> int:
        return self.checkpoint.step if self.checkpoint else 0


class RefusedRun(Exception):
    """A run that cannot go on in its stack; the ``cause`` says why."""

    def __init__(self, run: Ready, cause: ConfigError) -> None:
        super().__init__(str(cause))
        self.run, self.cause = run, cause


Prepare = Callable[[RunConfig, HeldRun], RunOutcome | None]
"""A function that prepares a locked folder; returns the run's outcome if it has ended."""


@dataclass
class LockedRuns:
    """The runs of a stack: those to train, all at one step, and the others' outcomes by number."""

    ready: list[Ready] = field(default_factory=list)
    ended: dict[int, RunOutcome] = field(default_factory=dict)
    _held: list[HeldRun] = field(default_factory=list)

    def take(
        self, configs: Sequence[RunConfig], folders: Sequence[Path], prepare: Prepare, several: bool
    ) -> list[str]:
        """Take all runs that can be taken; return lines about those in use.

        With ``several`` a run is left out when it is in use, was trained further elsewhere or
        cannot be used. Without it such a run raises ConfigError, RunBusy, CheckpointError or
        OSError.
        """
        lines: list[str] = []
        for number, path in enumerate(folders):
            try:
                self._held.append(RunFolder(path).lock())
            except RunBusy as error:
                if not several:
                    raise
                lines.append(f"{path.name} is in use by {error.holder}: left to it")
                self.ended[number] = trained_elsewhere(path)
                continue
            except (UnusableFile, OSError) as error:
                if not several:
                    raise
                self.ended[number] = RunOutcome(
                    path, "failed", 0, {}, [f"{of_the_system(error)}."], 0.0
                )
                continue
            try:
                self._add(number, configs[number], self._held[-1], prepare)
            except (ConfigError, OSError) as error:
                if not several:
                    raise
                self.ended[number] = fail(self._held[-1], configs[number], of_the_system(error))
        self._keep_one_step(several)
        return lines

    def _add(self, number: int, config: RunConfig, folder: HeldRun, prepare: Prepare) -> None:
        outcome = prepare(config, folder)
        if outcome is not None:
            self.ended[number] = outcome
        else:
            checkpoint, lost = newest_checkpoint(folder.checkpoint)
            if checkpoint:
                check_is_of(checkpoint, digest_of_training(config), folder)
            self.ready.append(Ready(number, folder, checkpoint, lost))

    def refuse(self, refused: RefusedRun, config: RunConfig) -> None:
        """Leave out a run that cannot go on; it fails."""
        self.ready.remove(refused.run)
        self.ended[refused.run.number] = fail(refused.run.folder, config, str(refused))

    def _keep_one_step(self, several: bool) -> None:
        """Keep the runs at the most common step; another process has trained the others."""
        steps = Counter(run.step for run in self.ready)
        if len(steps) < 2:
            return
        if not several:
            raise ConfigError(f"runs of one stack stand at different steps: {sorted(steps)}")
        ((step, _),) = steps.most_common(1)
        for run in self.ready:
            if run.step != step:
                self.ended[run.number] = trained_elsewhere(run.folder.path)
        self.ready = [run for run in self.ready if run.step == step]

    def release(self) -> None:
        for folder in self._held:
            folder.release()


def check_is_of(checkpoint: Checkpoint, own: str, folder: RunFolder) -> None:
    """Raise ConfigError when a folder's checkpoint is not that of the run with the digest ``own``.

    A checkpoint from before they had one is that of any run.
    """
    if checkpoint.run not in ("", own):
        raise ConfigError(
            f"the checkpoint in {folder.path} is that of another run, with the digest "
            f"{checkpoint.run[:DIGEST_DIGITS]} instead of {own[:DIGEST_DIGITS]}: put back the one "
            "of this run, or start it afresh with --overwrite"
        )


def trained_elsewhere(path: Path) -> RunOutcome:
    """Return the outcome of a run that another process has."""
    return RunOutcome(path, ELSEWHERE, 0, {}, [], 0.0)


def fail(folder: HeldRun, config: RunConfig, reason: str) -> RunOutcome:
    """Return the outcome of a run that could not be trained, and write it to run.json.

    What the run saved before stays. The run.json of a finished run, or of a run with other
    settings, does not change.
    """
    step = 0
    with contextlib.suppress(OSError, ValueError):
        begun = folder.run_json.exists()
        known = folder.read() if begun else {}
        step = known.get("step") or 0
        if not begun:
            folder.write_status(status="failed", error=reason, **identifying(config))
        elif not folder.ended() and _is_of(known.get("config"), config):
            folder.write_status(status="failed", error=reason)
    return RunOutcome(folder.path, "failed", step, {}, [f"{reason}."], 0.0)


def _is_of(stored: object, config: RunConfig) -> bool:
    return isinstance(stored, dict) and identity(from_dict(stored)) == identity(config)
