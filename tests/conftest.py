"""What every test shares: shapes are checked, one thread, a cache of the session's own.

The annotations of wganbench are checked at every call by jaxtyping and beartype, unless
WGANBENCH_NO_SHAPE_CHECKS is set. torch.compile cannot see through the checks: what
compiles runs in a subprocess, which has none.
"""

from __future__ import annotations

import functools
import importlib
import os
import random
import resource
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintPep3119Exception
from hypothesis import settings

SHAPE_CHECKS = not os.environ.get("WGANBENCH_NO_SHAPE_CHECKS")

# A machine that is shared by several sessions has no dependable clock.
settings.register_profile("wganbench", deadline=None)
settings.load_profile("wganbench")


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its annotations checked; an int will do for a float.

    Functions inside functions are left alone: preparing the checks takes 10 ms, and they
    are made anew at each call. So is the command line, which has no shapes: Typer hands it
    a context that is not an instance of typer.Context.
    """
    if "<locals>" in function.__qualname__ or function.__module__ == "wganbench.cli.app":
        return function
    try:
        check = beartype(function, conf=BeartypeConf(is_pep484_tower=True))
    except BeartypeDecorHintPep3119Exception:
        # A Protocol that is not runtime_checkable cannot be checked.
        return function
    if not any("random" in name or "getrandbits" in name for name in check.__kwdefaults__ or ()):
        return check

    @functools.wraps(check)
    def without_a_trace(*args: Any, **kwargs: Any) -> Any:
        # Of a list the checks look at one item, drawn from the global random state.
        state = random.getstate()
        try:
            return check(*args, **kwargs)
        finally:
            random.setstate(state)

    return without_a_trace


def pytest_configure(config: pytest.Config) -> None:
    """Before anything of wganbench is imported. Workers share the cache of who started them."""
    environment = pytest.MonkeyPatch()
    environment.setenv("OMP_NUM_THREADS", "1")
    config.add_cleanup(environment.undo)
    if not hasattr(config, "workerinput"):
        cache = tempfile.TemporaryDirectory(prefix="wganbench-tests-")
        environment.setenv("XDG_CACHE_HOME", cache.name)
        config.add_cleanup(cache.cleanup)
    torch.set_num_threads(1)
    if SHAPE_CHECKS:
        hook = jaxtyping.install_import_hook("wganbench", f"{__name__}.checked")
        config.add_cleanup(hook.uninstall)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The long ones first: what is left at the end can be shared out.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def shape_checks() -> None:
    """Skips a test about the checks where they are switched off."""
    if not SHAPE_CHECKS:
        pytest.skip("WGANBENCH_NO_SHAPE_CHECKS is set")


@pytest.fixture
def without_shape_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user sees: wganbench's own errors, not those of the annotations."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture
def room_for() -> Callable[[int], AbstractContextManager[None]]:
    """``room_for(bytes)``: no file can be longer in the block, as on a disk that is nearly full."""

    @contextmanager
    def room(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return room


@pytest.fixture
def global_randomness_untouched() -> Iterator[None]:
    """Fails when the test draws from, or seeds, the global random states."""

    def states() -> tuple[Any, ...]:
        _, keys, *position = np.random.get_state()
        return random.getstate(), keys.tolist(), position, torch.get_rng_state().tolist()

    importlib.import_module("ot")  # which draws when it is imported for the first time
    before = states()
    yield
    untouched = states() == before
    assert untouched, "the global random state has moved"


@pytest.fixture
def left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our C++ and kernel take no runs: what is tested is torch.compile."""
    execution = importlib.import_module("wganbench.training.execution")
    for name in ("why_not_native", "why_no_kernel"):
        monkeypatch.setattr(execution, name, lambda *_: "the test leaves them to torch")


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker, so one stack: each worker takes seconds to start."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
