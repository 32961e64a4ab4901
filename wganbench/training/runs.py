"""Train, measure and record whole runs, given their configurations and folders."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import torch

from wganbench.config import ConfigError
from wganbench.config.schema import RunConfig, identity
from wganbench.data import DATASETS
from wganbench.errors import UnwritableFolder, of_the_system
from wganbench.losses import RECIPES
from wganbench.metrics import check_allowed
from wganbench.networks import NETWORKS
from wganbench.output import guarded
from wganbench.plugin_files import UNREGISTERED, changed_plugins
from wganbench.presets import base_values
from wganbench.runs.folder import (
    HeldRun,
    RunFolder,
    RunOutcome,
    outcome_of,
    wait_while_ending,
)
from wganbench.runs.record import Status
from wganbench.runs.stored import (
    Places,
    check_contents,
    outcome_before,
    place_of,
    stored_config,
    with_data,
)
from wganbench.runs.table import MetricsTable
from wganbench.training.checkpoint import Checkpoint
from wganbench.training.device import (
    fitting_cpu,
    here_or_auto,
    pick_device,
    precision_notes,
    prepare,
)
from wganbench.training.finish import fail_run, finish_runs
from wganbench.training.locked_runs import LockedRuns, Ready, RefusedRun, check_is_of
from wganbench.training.loop import Clock, Progress, train_loop
from wganbench.training.pool import measurers, pool_for
from wganbench.training.process import SAVING, StopRequest, allow_open_files, unshown
from wganbench.training.recorder import Recorder, columns
from wganbench.training.stack import Stack


class View(Protocol):
    """The display of training's progress."""

    def start(self, steps: int, done: int) -> None: ...

    @property
    def progress(self) -> Progress: ...

    def phase(self, words: str) -> None:
        """Show long work other than training in ``words``; empty words: it has ended."""

    def say(self, line: str) -> None: ...

    def stopping(self) -> None:
        """Show that a signal asked to save and end; called from a separate thread."""

    def stop(self) -> None: ...


def train_run(config: RunConfig, folder: Path, view: View | None = None) -> RunOutcome:
    """Train or resume one run; return its outcome, also when it has already finished.

    Waits for a process that was asked to save and end. Raises ConfigError when the folder
    holds another run, is in use, or cannot be used.
    """
    return train_runs([config], [folder], view)[0]


def _about(stack: Stack) -> list[str]:
    """Return the lines that a single run prints before training."""
    notes = precision_notes(stack.config, stack.device.type)
    return [*stack.target.notes, *notes, *_other_code(stack)]


def _other_code(stack: Stack) -> list[str]:
    """Return a line when our own code was wanted for points and cannot train them."""
    reason = stack.why_not_ours()
    if not reason or len(stack.target.shape) > 1 or stack.config.compile == "false":
        return []
    code = "CUDA kernel" if stack.device.type == "cuda" else "C++"
    return [f"trained by torch, slower than by our {code}: {reason}"]


def resume_run(path: Path, view: View | None = None) -> RunOutcome:
    """Finish the run in a folder; return its outcome, also when it has already finished.

    Raises ConfigError when the folder holds no run.
    """
    config = stored_config(path)
    here = here_or_auto(config.device)
    if here != config.device and view:
        view.say(f"device={config.device} is not found here: device=auto")
    return train_run(replace(config, device=here), path, view)


def train_runs(
    configs: list[RunConfig],
    folders: list[Path],
    view: View | None = None,
    device: str | None = None,
    places: Places | None = None,
    several: bool = False,
) -> list[RunOutcome]:
    """Train runs of equal static settings and equal step as one stack.

    ``device`` defaults to that of the configuration; ``places`` are the runs' places in the
    stack. Finished runs keep their outcome. Raises ConfigError as `train_run` does. With
    ``several`` (a sweep) a run that is in use or cannot be used does not stop the others: its
    outcome is ``elsewhere`` or ``failed``. The sweep then reports how the data were read.
    """
    taken = LockedRuns()
    allow_open_files(len(folders))
    try:
        if not several:
            wait_while_ending(map(RunFolder, folders), view.say if view else unshown)
        configs = [
            config if config.overwrite else with_data(config, folder)
            for config, folder in zip(configs, folders, strict=True)
        ]
        for line in taken.take(configs, folders, _prepare_folder, several):
            if view:
                view.say(line)
        outcomes = taken.ended
        if taken.ready:
            place = pick_device(device or configs[0].device)
            outcomes |= _train_usable(configs, taken, view, place, places, several)
        return [outcomes[i] for i in range(len(folders))]
    except OSError as error:
        raise UnwritableFolder(of_the_system(error)) from error
    finally:
        taken.release()


def _prepare_folder(config: RunConfig, folder: HeldRun) -> RunOutcome | None:
    """Prepare a locked folder; return the outcome of its run, None when it has not ended.

    With ``overwrite`` the folder is emptied; else it must hold the same run or none.
    """
    if config.overwrite:
        folder.empty()
    elif folder.run_json.exists() and identity(stored_config(folder.path)) != identity(config):
        raise ConfigError(
            f"{folder.path} holds a run with other settings; give another name=..., "
            "or --overwrite to start afresh"
        )
    if folder.run_json.exists():
        check_contents(folder.path, config)
    record = folder.ended()
    if record is None:
        check_installed(config)
    return outcome_before(record) if record else None


def _train_usable(
    configs: list[RunConfig],
    taken: LockedRuns,
    view: View | None,
    device: torch.device,
    places: Places | None,
    several: bool,
) -> dict[int, RunOutcome]:
    """Train the runs that are ready; return their outcomes by number.

    With ``several`` a run that cannot go on in the stack fails, and the stack begins without it.
    """
    while runs := taken.ready:
        own = [configs[run.number] for run in runs]
        kept = places.of([run.number for run in runs]) if places else None
        try:
            outcomes = _train(own, runs, view, device, kept, several)
        except RefusedRun as refused:
            if not several:
                raise refused.cause from None
            taken.refuse(refused, configs[refused.run.number])
        else:
            return {run.number: outcome for run, outcome in zip(runs, outcomes, strict=True)}
    return {}


def _train(
    configs: list[RunConfig],
    runs: list[Ready],
    view: View | None,
    device: torch.device,
    places: Places | None,
    several: bool,
) -> list[RunOutcome]:
    config, shown = configs[0], guarded(view or SilentView())
    check_allowed(config.evaluate.features)
    prepare(config, device)
    places, notes = _places(runs, device, places)
    try:
        stack = Stack(configs, device, places)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    tags = columns(stack)
    seconds = _restore(stack, runs, tags)
    notes += [*(run.lost for run in runs if run.lost), *code_changed(runs)]
    folders = [run.folder for run in runs]
    recorders = [
        Recorder(folder, own, tags, stack.steps_done)
        for folder, own in zip(folders, configs, strict=True)
    ]
    for recorder, place in zip(recorders, stack.places.own, strict=True):
        recorder.running(describe_device(device), stack.places.size, place, stack.target)
    shown.start(config.train.steps, stack.steps_done)
    for note in [*([] if several else _about(stack)), *notes]:
        shown.say(note)
    clock = Clock(seconds, stack.steps_done)
    try:
        # A sweep's worker has its slot's share of the cores as torch's threads.
        count = measurers(device, len(runs), torch.get_num_threads())
        ours = stack.executor == "native" and torch.get_num_threads() > 1
        beside = ours or device.type == "cuda"
        with (
            StopRequest(shown.stopping) as stop,
            fitting_cpu(stack),
            pool_for(stack, count, shown.say, beside) as pool,
        ):
            few = several and only_last_picture(config)
            train_loop(stack, recorders, clock, stop, shown.progress, shown.phase, pool, few)
            trained = clock.seconds
            return finish_runs(stack, recorders, trained, pool, shown.phase, stop.check)
    except OSError as error:
        # Some runs of the stack may already have ended.
        return [
            outcome_of(record)
            if (record := recorder.folder.ended())
            else fail_run(recorder, stack.steps_done, clock.seconds, error)
            for recorder in recorders
        ]
    except BaseException as error:
        status: Status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        for recorder in recorders:
            with contextlib.suppress(OSError):
                recorder.close(status, step=stack.steps_done, error=of_the_system(error))
        raise
    finally:
        shown.stop()


def code_changed(runs: Sequence[Ready]) -> list[str]:
    """Return a line on each plugin file that has changed since these runs were stopped."""
    begun = (run.folder for run in runs if run.checkpoint)
    records = [folder.record() for folder in begun if folder.run_json.exists()]
    names = (name for record in records for name in changed_plugins(record.plugins or {}))
    return [
        f"{name} has changed: from here on its new code trains" for name in dict.fromkeys(names)
    ]


class SilentView:
    """The view of a run that was not started at a terminal; it only answers Ctrl-C."""

    def start(self, steps: int, done: int) -> None: ...

    def progress(self, step: int, values: Sequence[Mapping[str, float]]) -> None: ...

    def phase(self, words: str) -> None: ...

    def say(self, line: str) -> None: ...

    def stopping(self) -> None:
        print(SAVING, file=sys.stderr, flush=True)

    def stop(self) -> None: ...


def only_last_picture(config: RunConfig) -> bool:
    """Return whether a sweep's run sends TensorBoard its last samples only.

    It does while ``log.picture_every_n_steps`` has the value of config.yaml."""
    return bool(config.log.picture_every_n_steps == base_values()["log.picture_every_n_steps"])


def check_installed(config: RunConfig) -> None:
    """Raise ConfigError when no installed package has the run's loss, data or network."""
    for what, registry, name in (
        ("loss", RECIPES, config.loss.name),
        ("data", DATASETS, config.data.kind),
        ("network", NETWORKS, config.network.kind),
    ):
        if name not in registry:
            raise ConfigError(f"this run needs {what} {name!r}, {UNREGISTERED}")


def describe_device(device: torch.device) -> str:
    """Return the device's name for run.json."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


def _places(
    runs: list[Ready], device: torch.device, wanted: Places | None
) -> tuple[Places, list[str]]:
    """Return the runs' places in their stack, and a line when results may differ for it.

    A single run resumes at its first place, on a device of the same kind.
    """
    before = [place_of(run.folder) for run in runs]
    same_kind = all(_kind(run.folder) in (None, device.type) for run in runs)
    if wanted is None and len(runs) == 1:
        wanted = before[0]
    places = wanted if wanted and same_kind else Places.all_of(len(runs))
    moved = sum(
        run.step > 0 and known is not None and known != Places(places.size, (own,))
        for run, known, own in zip(runs, before, places.own, strict=True)
    )
    if not moved:
        return places, []
    return places, [
        f"{moved} of {len(runs)} runs go on in another stack than they began in: their last "
        "digits may differ from those of undisturbed runs"
    ]


def _kind(folder: RunFolder) -> str | None:
    """Return the kind of device of the last training, ``cpu`` or ``cuda``; None before any."""
    device = folder.record().device if folder.run_json.exists() else None
    return device and ("cpu" if device == "cpu" else "cuda")


def _restore(stack: Stack, runs: list[Ready], tags: list[str]) -> float:
    """Load the checkpoints that exist; return the seconds of training so far.

    Raises RefusedRun for a run whose checkpoint does not fit, or whose table has other columns.
    """
    for number, run in enumerate(runs):
        try:
            MetricsTable(run.folder.metrics_csv, tags)
            if run.checkpoint:
                restore_run(stack, number, run.folder, run.checkpoint)
        except ConfigError as error:
            raise RefusedRun(run, error) from error
    for run in runs:
        if run.lost:
            # Otherwise the next save would keep it instead of the intact one.
            run.folder.checkpoint.unlink()
    return max((run.checkpoint.seconds for run in runs if run.checkpoint), default=0.0)


def restore_run(stack: Stack, run: int, folder: RunFolder, checkpoint: Checkpoint) -> None:
    """Load the checkpoint of a folder into a run of a stack.

    Raises ConfigError for one that does not fit or was saved by a run with other settings.
    """
    try:
        stack.load_run_state(run, checkpoint.step, checkpoint.tensors)
    except ConfigError as error:
        raise ConfigError(
            f"the checkpoint in {folder.path} does not fit its run.json: {error}"
        ) from error
    check_is_of(checkpoint, stack.digests[run], folder)
