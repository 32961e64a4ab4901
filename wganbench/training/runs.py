"""Whole runs: from configurations and folders to trained, measured, recorded results."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any, Protocol

import torch

from wganbench.config import ConfigError
from wganbench.config.identity import identity
from wganbench.config.schema import RunConfig, from_dict
from wganbench.config.stored import check_contents, with_data
from wganbench.data import DATASETS
from wganbench.data.target import told
from wganbench.losses import RECIPES
from wganbench.networks import NETWORKS
from wganbench.records.folder import RunBusy, RunFolder
from wganbench.training.checkpoint import Checkpoint, CheckpointError, newest_checkpoint
from wganbench.training.device import fitting_cpu, pick_device, prepare
from wganbench.training.finish import fail_run, finish_run
from wganbench.training.interrupt import StopRequest
from wganbench.training.loop import Clock, Progress, train_loop
from wganbench.training.measuring import measure_final
from wganbench.training.outcome import RunOutcome
from wganbench.training.recorder import FINISHED, FORMAT, Recorder, columns
from wganbench.training.stack import Stack


class View(Protocol):
    """What shows a person that training goes on."""

    def start(self, steps: int, done: int) -> None: ...

    @property
    def progress(self) -> Progress: ...

    def say(self, line: str) -> None: ...

    def stop(self) -> None: ...


def train_run(config: RunConfig, folder: Path, view: View | None = None) -> RunOutcome:
    """Train one run, or go on with it, or report it when it is finished.

    Raises ConfigError for a folder that holds another run, is in use, or cannot be used.
    """
    return train_runs([config], [folder], view, announce=True)[0]


def resume_run(path: Path, view: View | None = None) -> RunOutcome:
    """Finish the run in a folder; a finished one is reported as it is.

    Raises ConfigError when there is no run there.
    """
    return train_run(stored_config(path), path, view)


def stored_config(path: Path) -> RunConfig:
    """The configuration that run.json holds, to go on with: ``overwrite`` is off.

    Raises ConfigError when it cannot be used.
    """
    try:
        stored = RunFolder(path).read()
    except (FileNotFoundError, ValueError) as error:
        raise ConfigError(str(error)) from error
    if stored.get("format") != FORMAT or not isinstance(stored.get("config"), dict):
        writer = (stored.get("versions") or {}).get("wganbench", "unknown")
        raise ConfigError(
            f"{path} was written by another version of wganbench ({writer}): read it with "
            "that version, or start afresh with --overwrite"
        )
    return dataclasses.replace(from_dict(stored["config"]), overwrite=False)


def train_runs(
    configs: list[RunConfig],
    folders: list[Path],
    view: View | None = None,
    device: str | None = None,
    announce: bool = False,
) -> list[RunOutcome]:
    """Train runs of equal static settings and equal step as one stack.

    ``device`` is where, by default what the configuration says. With ``announce`` the view is
    told how the data were read, which a sweep tells once for all its stacks. Finished runs are
    reported as they are. Raises ConfigError as `train_run`.
    """
    held = [RunFolder(folder) for folder in folders]
    locks = []
    try:
        for folder in held:
            locks.append(folder.lock())
        configs = [
            config if config.overwrite else with_data(config, folder.path)
            for config, folder in zip(configs, held, strict=True)
        ]
        for config, folder in zip(configs, held, strict=True):
            _claim(config, folder)
        ended = {i: _finished(folder) for i, folder in enumerate(held)}
        finished = {i: outcome for i, outcome in ended.items() if outcome is not None}
        left = [i for i in range(len(held)) if i not in finished]
        if left:
            check_installed(configs[left[0]])
            place = pick_device(device or configs[0].device)
            chosen = [configs[i] for i in left], [held[i] for i in left]
            trained = _train(*chosen, view, place, announce)
            finished |= dict(zip(left, trained, strict=True))
        return [finished[i] for i in range(len(held))]
    except (RunBusy, CheckpointError, OSError) as error:
        raise ConfigError(str(error)) from error
    finally:
        for lock in locks:
            lock.release()


def _claim(config: RunConfig, folder: RunFolder) -> None:
    """Make a locked folder ready: emptied with overwrite, else its run must be this one."""
    if config.overwrite:
        folder.empty()
    elif folder.run_json.exists() and identity(stored_config(folder.path)) != identity(config):
        raise ConfigError(
            f"{folder.path} holds a run with other settings; give another name=..., "
            "or --overwrite to start afresh"
        )
    if folder.run_json.exists():
        check_contents(folder.path, config)


def _finished(folder: RunFolder) -> RunOutcome | None:
    """The outcome of a run that has ended; None when there is something left to do."""
    if not folder.run_json.exists() or folder.read()["status"] not in FINISHED:
        return None
    return finished_outcome(folder.path)


def finished_outcome(path: Path) -> RunOutcome:
    """How the run in a folder ended, as its run.json tells."""
    stored = RunFolder(path).read()
    return RunOutcome(
        path,
        stored["status"],
        stored["step"] or 0,
        stored["metrics"] or {},
        stored.get("verdict") or ([f"{stored['error']}."] if stored.get("error") else []),
        stored["seconds"] or 0.0,
    )


def _train(
    configs: list[RunConfig],
    folders: list[RunFolder],
    view: View | None,
    device: torch.device,
    announce: bool,
) -> list[RunOutcome]:
    config = configs[0]
    prepare(config, device)
    try:
        stack = Stack(configs, device)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    seconds, notes = _restore(stack, folders)
    tags = columns(stack)
    recorders = [
        Recorder(folder, own, tags, stack.steps_done)
        for folder, own in zip(folders, configs, strict=True)
    ]
    for recorder in recorders:
        recorder.running(describe_device(device), stack.target)
    if view:
        view.start(config.train.steps, stack.steps_done)
        for note in [*(told(stack.target) if announce else ()), *notes]:
            view.say(note)
    clock = Clock(seconds, stack.steps_done)
    try:
        with StopRequest() as stop, fitting_cpu(stack):
            train_loop(stack, recorders, clock, stop, view.progress if view else _silent)
            trained = clock.seconds
            return _finish(stack, recorders, trained, view)
    except OSError as error:
        # On a stack's way to its end some runs may have reached theirs.
        return [
            _finished(recorder.folder) or fail_run(recorder, stack.steps_done, clock.seconds, error)
            for recorder in recorders
        ]
    except BaseException as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        for recorder in recorders:
            with contextlib.suppress(OSError):
                recorder.close(status, step=stack.steps_done, error=str(error))
        raise
    finally:
        if view:
            view.stop()


def check_installed(config: RunConfig) -> None:
    """Raise ConfigError for a run whose loss, data or network no package here has."""
    for what, registry, name in (
        ("loss", RECIPES, config.loss.name),
        ("data", DATASETS, config.data.kind),
        ("network", NETWORKS, config.network.kind),
    ):
        if name not in registry:
            raise ConfigError(
                f"this run needs {what} {name!r}, which no installed package registers"
            )


def load_state(stack: Stack, run: int, checkpoint: Checkpoint, folder: RunFolder) -> None:
    """Put a checkpoint into a stack; raises ConfigError for one of another network."""
    try:
        stack.load_run_state(run, checkpoint.step, checkpoint.tensors)
    except ValueError as error:
        raise ConfigError(f"{folder.checkpoint}: {error}") from error


def _silent(step: int, values: Any) -> None:
    """No progress is shown."""


def describe_device(device: torch.device) -> str:
    """The device by name, for the record."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _restore(stack: Stack, folders: list[RunFolder]) -> tuple[float, list[str]]:
    """Load the checkpoints, if there are any; all runs must stand at the same step."""
    seconds, notes, steps = 0.0, [], set()
    for run, folder in enumerate(folders):
        checkpoint, lost = newest_checkpoint(folder.checkpoint)
        steps.add(checkpoint.step if checkpoint else 0)
        if lost:
            notes.append(lost)
            # Else the next save would keep it in the place of the one that is whole.
            folder.checkpoint.unlink()
        if checkpoint:
            load_state(stack, run, checkpoint, folder)
            seconds = max(seconds, checkpoint.seconds)
    if len(steps) > 1:
        raise ConfigError(f"runs of one stack stand at different steps: {sorted(steps)}")
    return seconds, notes


def _finish(
    stack: Stack, recorders: list[Recorder], seconds: float, view: View | None
) -> list[RunOutcome]:
    """Final figures of runs that reached the end; the status of all."""
    reached_end = stack.steps_done == stack.config.train.steps
    alive = any(recorder.diverged_at < 0 for recorder in recorders)
    if reached_end and alive and view:
        view.say("measuring the result")
    final = measure_final(stack) if reached_end and alive else [None] * len(recorders)
    outcomes = []
    for run, recorder in enumerate(recorders):
        status = "completed" if reached_end else "interrupted"
        # The generator's last update has no later loss that could tell.
        measured = final[run]
        if measured and recorder.diverged_at < 0 and not measured.points["fakes"].isfinite().all():
            recorder.diverged_at = stack.steps_done
        if recorder.diverged_at >= 0:
            status = "diverged"
        kept = measured if status == "completed" else None
        outcomes.append(finish_run(stack, run, recorder, status, kept, seconds))
    return outcomes
