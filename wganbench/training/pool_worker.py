"""A process that measures beside training: it has no device, opens no file of a run, writes none.

Started by `pool.py` with the words PARENT FD...: it imports what all jobs need, and under Linux
one process is split for every further connection. It ignores the terminal's Ctrl-C and the
signals that ask its parent to save; it ends when its connection does, or its parent is gone.
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
from wganbench.metrics import METRICS, Judge, PictureReference, allow_features, load_features
from wganbench.training import jobs  # noqa: F401  (what all jobs need is imported before the split)
from wganbench.training.measuring import Apart, Subject

ASK_SECONDS = 1.0
"""How often one that has nothing to do looks whether its parent is there."""


@dataclass(frozen=True)
class Beginning:
    """What a process needs before its first job: where code lies, the settings, the judge."""

    path: list[str]
    modules: list[str]
    config: RunConfig
    judge: Judge | None

    def __call__(self) -> Apart:
        """The subject. Raises what cannot be built or imported here."""
        sys.path[:] = self.path
        for module in self.modules:
            importlib.import_module(module)
        RECIPES[self.config.loss.name]
        target = build(self.config.data.kind, self.config.data.options)
        subject = Apart(self.config, target)
        if target.base is not None:
            name = self.config.evaluate.features
            allow_features(name)
            extract = None if name is None else load_features(name)
            subject.pictures = PictureReference(target, self.judge, extract)
        return subject


def beginning(subject: Subject) -> Beginning:
    """The beginning of processes that measure what this one trains."""
    code: list[Callable[..., object]] = [metric.compute for metric in METRICS.values()]
    code += [row.build for row in DATASETS.values()]
    code += [RECIPES[subject.config.loss.name].objective.critic]
    modules = {function.__module__ for function in code}
    ours = {name for name in modules if name.split(".")[0] == "wganbench"}
    judge = subject.pictures.judge if subject.pictures else None
    path = [place for place in sys.path if place]
    return Beginning(path, sorted(modules - ours), subject.config, judge)


def main(words: Sequence[str]) -> None:
    """Be the process of the first connection, and split for every other."""
    parent, *descriptors = map(int, words)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)
    with contextlib.suppress(ImportError):
        importlib.import_module("ot")
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
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
    """Do jobs until nobody asks any more."""
    subject: Apart | None = None
    while True:
        try:
            while not connection.poll(ASK_SECONDS):
                os.kill(parent, 0)  # raises where it is gone
            question = pickle.loads(connection.recv_bytes())
            reply: tuple[bool, object]
            try:
                if isinstance(question, Beginning):
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
    # Under its own name, so that what is sent is of the classes that were imported.
    importlib.import_module("wganbench.training.pool_worker").main(sys.argv[1:])
