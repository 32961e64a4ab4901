"""A worker process that measures: it has no device and neither reads nor writes a run's files.

`pool_processes.py` starts it with the arguments PARENT FD..., or forks it. It imports what all jobs
need, then forks a process for each further connection. Workers ignore Ctrl-C and the signals that
ask their parent to save. A worker ends when its connection or its parent has ended.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

from wganbench.config.schema import RunConfig
from wganbench.data import DATASETS, build
from wganbench.losses.recipes import RECIPES
from wganbench.metrics import (
    METRICS,
    ImageReference,
    Judge,
    allow_features,
    compiled,
    load_features,
)
from wganbench.plugin_files import load_plugin_files
from wganbench.training import jobs  # noqa: F401  (what all jobs need is imported before the split)
from wganbench.training.measuring import RebuiltSubject, Subject

PARENT_CHECK_SECONDS = 1.0
"""Seconds between an idle worker's checks that its parent is alive."""


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker needs before its first job: import path, modules, settings, judge."""

    path: list[str]
    modules: list[str]
    config: RunConfig
    judge: Judge | None

    def __call__(self) -> RebuiltSubject:
        """Build the subject. Raises the errors of imports and of building the data."""
        sys.path[:] = self.path
        load_plugin_files()
        for module in self.modules:
            importlib.import_module(module)
        RECIPES[self.config.loss.name]
        target = build(self.config.data.kind, self.config.data.options)
        subject = RebuiltSubject(self.config, target)
        if target.base is not None:
            name = self.config.evaluate.features
            allow_features(name)
            extract = None if name is None else load_features(name)
            subject.images = ImageReference(target, self.judge, extract)
        return subject


def worker_setup(subject: Subject) -> WorkerSetup:
    """Return the setup of the workers that measure this process's runs."""
    code: list[Callable[..., object]] = [metric.compute for metric in METRICS.values()]
    code += [row.build for row in DATASETS.values()]
    code += [RECIPES[subject.config.loss.name].objective.critic]
    modules = {function.__module__ for function in code}
    ours = {name for name in modules if name.split(".")[0] == "wganbench"}
    judge = subject.images.judge if subject.images else None
    path = [place for place in sys.path if place]
    return WorkerSetup(path, sorted(modules - ours), subject.config, judge)


def main(words: Sequence[str]) -> None:
    """Serve the connections that the command line names."""
    parent, *descriptors = map(int, words)
    serve_all(parent, descriptors)


def serve_all(parent: int, descriptors: Sequence[int]) -> None:
    """Serve the first connection; fork a process for each of the others."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(ImportError):
        importlib.import_module("ot")
    torch.set_num_threads(1)
    # In a copy of another process NumPy has read its number of threads long ago.
    importlib.import_module("threadpoolctl").threadpool_limits(1)
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    compiled.prepare()  # while the process that trains compiles
    first, *others = descriptors
    for descriptor in others:
        if os.fork() == 0:
            for other in {*descriptors} - {descriptor}:
                with contextlib.suppress(OSError):
                    os.close(other)
            first = descriptor
            break
        os.close(descriptor)
    serve(Connection(first), parent)


def serve(connection: Connection, parent: int) -> None:
    """Do jobs until the connection or the parent has ended."""
    subject: RebuiltSubject | None = None
    while True:
        try:
            while not connection.poll(PARENT_CHECK_SECONDS):
                os.kill(parent, 0)  # raises when the parent has ended
            question = pickle.loads(connection.recv_bytes())
            reply: tuple[bool, object]
            try:
                if isinstance(question, WorkerSetup):
                    subject = question()
                    reply = (True, sorted(METRICS))
                else:
                    assert subject is not None
                    subject.floors.update(question.floors)
                    reply = (True, question(subject))
            except Exception as error:
                reply = (False, f"{type(error).__name__}: {error}")
            connection.send_bytes(pickle.dumps(reply, protocol=5))
        except (EOFError, OSError):
            return


if __name__ == "__main__":
    # Imported under its own name, so that pickled objects have the imported classes.
    importlib.import_module("wganbench.training.pool_worker").main(sys.argv[1:])
