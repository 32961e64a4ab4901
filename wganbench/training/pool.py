"""The pool that does measuring jobs: worker processes beside a GPU, else the training process.

Measuring occupies a core, and a GPU would wait for it. For a stack on a GPU, worker processes
without CUDA therefore do the jobs, and a thread writes rows and checkpoints. For few runs on a GPU
a thread of the training process measures: processes would take longer to start than it does. On a
CPU the training process does all itself: in a thread beside our C++ when it has several cores,
which then does without one of them, else at once. The code and the results are the same.
"""

from __future__ import annotations

import contextlib
import pickle
import queue
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, Generic, Protocol, TypeVar

import torch

from wganbench.metrics import METRICS
from wganbench.training.device import one_thread
from wganbench.training.jobs import Job
from wganbench.training.measuring import Subject, stack_reference
from wganbench.training.pool_processes import processes_of
from wganbench.training.pool_worker import WorkerSetup, worker_setup
from wganbench.training.process import unstopped

Result = TypeVar("Result")
Given = TypeVar("Given", covariant=True)

UNWRITTEN = 32
"""Most writes that may wait; each holds a row or a checkpoint of every run."""

AHEAD = 2
"""Most evaluations of a stack, of any size, that may be unmeasured while training goes on."""

AHEAD_OF_PROCESSES = 8
"""The same for worker processes, while the readings are small: a GPU should not wait for them.
A stop waits for all of them before it saves."""

FEW_RUNS = 3
"""Most runs on a GPU that a thread of the training process measures."""

STOP_CHECK_SECONDS = 0.2
"""Seconds between two checks for a stop request while waiting for an answer."""


class Answer(Protocol[Given]):
    """The future result of a job."""

    @property
    def ready(self) -> bool:
        """Whether `get` returns without waiting."""

    def get(self, check: Callable[[], None] = unstopped) -> Given:
        """Return the result. ``check`` is called before and during the wait; it may raise."""


class Pool(Protocol):
    """A pool that does jobs and writes files, at once or later.

    ``ahead``: most evaluations of a stack that may be unmeasured while training goes on.
    """

    ahead: int

    @property
    def busy(self) -> int:
        """The number of the training process's cores that jobs occupy now."""

    def submit(self, job: Job[Result]) -> Answer[Result]: ...

    def write_later(self, write: Callable[[], None]) -> None:
        """Write files, in the order of the calls. Raises the error of an earlier write."""

    def wait_for_writes(self) -> None:
        """Wait until all files are written. Raises the error of a write."""

    def close(self) -> None:
        """Drop unfinished jobs and pending writes; a write in progress is completed."""


def measurers(device: torch.device, runs: int, cores: int) -> int:
    """Return the number of worker processes; 0: the training process measures.

    0 for a CPU, a single core and `FEW_RUNS`. For a GPU, all ``cores`` that the training has but
    the one that trains, at most two for each run.
    """
    if device.type != "cuda" or runs <= FEW_RUNS:
        return 0
    return min(max(0, cores - 1), 2 * runs)


@contextlib.contextmanager
def pool_for(
    subject: Subject, count: int, say: Callable[[str], None], beside: bool = False
) -> Iterator[Pool]:
    """Yield a pool of ``count`` workers, or this process for 0; ``say`` reports lost workers.

    ``beside`` lets this process measure while it trains.
    """
    if count:
        pool: Pool = ProcessPool(subject, count, say)
    else:
        pool = MeasuringThread(subject) if beside else InProcess(subject)
    try:
        yield pool
    finally:
        pool.close()


class InProcess:
    """The training process as a pool: `get` does the job, and files are written at once."""

    ahead = AHEAD

    def __init__(self, subject: Subject) -> None:
        self._subject = subject

    @property
    def busy(self) -> int:
        return 0

    def submit(self, job: Job[Result]) -> Answer[Result]:
        return _Immediate(job, self._subject)

    def write_later(self, write: Callable[[], None]) -> None:
        write()

    def wait_for_writes(self) -> None: ...

    def close(self) -> None: ...


class _Immediate(Generic[Result]):
    ready = True

    def __init__(self, job: Job[Result], subject: Subject) -> None:
        self._job, self._subject = job, subject

    def get(self, check: Callable[[], None] = unstopped) -> Result:
        check()
        return self._job(self._subject)


class MeasuringThread(InProcess):
    """A thread of the training process that does the jobs, one after the other."""

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self._thread = ThreadPoolExecutor(1, "measuring", partial(torch.set_num_threads, 1))
        self._last: Future[Any] | None = None
        # The thread that trains needs Python for microseconds between two calls of our C++.
        self._interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)

    @property
    def busy(self) -> int:
        return int(self._last is not None and not self._last.done())

    def submit(self, job: Job[Result]) -> Answer[Result]:
        future = self._thread.submit(job, self._subject)
        self._last = future
        return _Measured(future)

    def close(self) -> None:
        sys.setswitchinterval(self._interval)
        self._thread.shutdown(cancel_futures=True)


SWITCH_SECONDS = 1e-4
"""Seconds after which a thread that runs Python must let another one do so; usually 5e-3."""


class _Measured(Generic[Result]):
    def __init__(self, future: Future[Result]) -> None:
        self._future = future

    @property
    def ready(self) -> bool:
        return self._future.done()

    def get(self, check: Callable[[], None] = unstopped) -> Result:
        wait_for(self._future, check)
        return self._future.result()


def wait_for(future: Future[Any], check: Callable[[], None]) -> None:
    """Wait for a future's end; ``check`` is called before and meanwhile, and may raise."""
    check()
    while not wait([future], STOP_CHECK_SECONDS).done:
        check()


class WorkerLost(Exception):
    """A worker process has ended or cannot do these jobs; the message says why."""


class ProcessPool:
    """Worker processes. A job that a worker cannot do is done in this process."""

    busy = 0
    ahead = AHEAD_OF_PROCESSES

    def __init__(self, subject: Subject, count: int, say: Callable[[str], None]) -> None:
        self.subject, self._say = subject, say
        self._reported: set[str] = set()
        self._processes = processes_of(count)
        self._idle: queue.SimpleQueue[_Worker | None] = queue.SimpleQueue()
        for connection in self._processes.connections[:count]:
            self._idle.put(_Worker(connection))
        self._count = self._left = count
        self._counting = threading.Lock()
        self._setup: WorkerSetup | None = None
        self._asking = ThreadPoolExecutor(count, "asking")
        self._writing = ThreadPoolExecutor(1)
        self._files: deque[Future[None]] = deque()
        self._spoiled = False

    def submit(self, job: Job[Result]) -> Answer[Result]:
        if self._setup is None:
            stack_reference(self.subject)  # for images: finds the judge, which is sent along
            self._setup = worker_setup(self.subject)
        return _Pending(self, job, self._asking.submit(self._ask, job))

    def _ask(self, job: Job[Result]) -> Result:
        """Send a job to an idle worker; called in a thread.

        Raises WorkerLost, or the job's error.
        """
        worker = self._idle.get()
        if worker is None:
            self._idle.put(None)
            raise WorkerLost("no process is left that measures")
        assert self._setup is not None
        try:
            result: Result = worker.ask(job, self._setup)
        except WorkerLost:
            with self._counting:
                self._left -= 1
                last = not self._left
            if last:
                self._idle.put(None)
            raise
        except BaseException:
            self._idle.put(worker)
            raise
        self._idle.put(worker)
        return result

    def report(self, line: str) -> None:
        """Report a line, unless it has been reported."""
        if line not in self._reported:
            self._reported.add(line)
            self._say(line)

    def write_later(self, write: Callable[[], None]) -> None:
        while len(self._files) >= UNWRITTEN or (self._files and self._files[0].done()):
            self._files.popleft().result()
        self._files.append(self._writing.submit(self._write, write))

    def _write(self, write: Callable[[], None]) -> None:
        """Write files, unless an earlier write failed: nothing may be written past a gap."""
        if not self._spoiled:
            self._spoiled = True
            write()
            self._spoiled = False

    def wait_for_writes(self) -> None:
        while self._files:
            self._files.popleft().result()

    def close(self) -> None:
        self._asking.shutdown(wait=False, cancel_futures=True)
        idle = self._idle.qsize() == self._left == self._count
        stay = self._processes.kept and idle  # none is dead or at work
        if not stay:
            self._processes.kill()
        self._idle.put(None)
        self._asking.shutdown()
        self._writing.shutdown(cancel_futures=True)
        if not stay:  # closed last: two threads must not close a connection, or one that waits
            self._processes.end()


class _Worker:
    """The connection to a worker process; sends it the `WorkerSetup` before its first job."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._begun = connection, False

    def ask(self, job: Job[Result], begin: WorkerSetup) -> Result:
        try:
            if not self._begun:
                names = self._exchange(begin)
                if names != sorted(METRICS):
                    raise WorkerLost("it knows other metrics")
                self._begun = True
            result: Result = self._exchange(job)  # type: ignore[assignment]
        except (EOFError, OSError) as error:
            raise WorkerLost("it was killed") from error
        return result

    def _exchange(self, question: object) -> object:
        self._connection.send_bytes(pickle.dumps(question, protocol=5))
        done, answer = pickle.loads(self._connection.recv_bytes())
        if not done:
            raise (WorkerLost if not self._begun else RuntimeError)(answer)
        return answer


class _Pending(Generic[Result]):
    """The result of a worker, or of this process when the worker gives none."""

    def __init__(self, pool: ProcessPool, job: Job[Result], future: Future[Result]) -> None:
        self._pool, self._job, self._future = pool, job, future

    @property
    def ready(self) -> bool:
        return self._future.done()

    def get(self, check: Callable[[], None] = unstopped) -> Result:
        wait_for(self._future, check)
        try:
            return self._future.result()
        except WorkerLost as lost:
            self._pool.report(
                f"a process that measured is gone ({lost}): its work is done by the one that trains"
            )
        except Exception:  # noqa: S110  (doing the job here raises its own error again)
            pass
        return self._here()

    def _here(self) -> Result:
        with one_thread():
            return self._job(self._pool.subject)
