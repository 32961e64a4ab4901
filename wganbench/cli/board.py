"""TensorBoard for the runs in a folder, reachable from this machine only."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from wganbench.errors import ConfigError, printable, short_repr
from wganbench.output import numbered
from wganbench.runs.record import read_record
from wganbench.tags.lookup import shown_in

HOST = "127.0.0.1"
RELOAD_SECONDS = 5
SAMPLES = "scalars=10000,images=100"
"""Points per curve and images per tag that are shown; the default would leave some out."""


FIRST_PAGE = "?smoothing=0#custom_scalars&_smoothingWeight=0"
"""The page of custom scalars without smoothing, which would draw modes that no run covered."""


LOCAL_NAMES = ("localhost", HOST, "[::1]")
"""The names of this machine for itself.

A foreign web page can point its own name at this machine's address and would then read the runs;
its requests carry that name, so other names are refused."""


def serve(
    path: Path,
    port: int = 0,
    names: Sequence[str] = (),
    show: Callable[[str], None] | None = None,
) -> None:
    """Serve the runs below ``path`` until interrupted; port 0 means any free port.

    ``names`` are further host names that requests may use, such as that of a tunnel. ``show`` is
    called with the address of the page of custom scalars. Raises ConfigError without runs, for a
    malformed host name, or if the port is not available.
    """
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]", name):
            raise ConfigError(f"--host {short_repr(name)}: give a name such as lab.example.org")
    count = count_runs(path)
    check_port(port)
    address = start(path, port, names)
    print(f"TensorBoard of {printable(str(path))} ({numbered(count, 'run')}): {address}")
    print(f"Begin with {address}{FIRST_PAGE} (curves as they are, not smoothed)")
    print("Ctrl-C ends it.", flush=True)
    if show is not None:
        show(f"{address}{FIRST_PAGE}")
    threading.Event().wait()


def count_runs(path: Path) -> int:
    """Return how many folders at or below ``path`` hold event files; raises ConfigError if none."""
    from wganbench.runs.events import PREFIX

    right = "give the folder of a sweep or of a run, such as outputs/ring8"
    if not path.exists():
        raise ConfigError(f"there is no folder {path}; {right}")
    if not path.is_dir():
        raise ConfigError(f"{path} is not a folder; {right}")
    files = list(path.rglob(f"{PREFIX}*"))
    for file in files:
        if file.exists() and not (file.is_file() or file.is_dir()):  # TensorBoard would wait for it
            raise ConfigError(f"{file} is not a regular file: TensorBoard could not read past it")
    folders = {file.parent for file in files}
    if not folders:
        raise ConfigError(
            f"no run in {path} has written TensorBoard events (log.tensorboard=true does); {right}"
        )
    return len(folders)


def check_port(port: int) -> None:
    """Raise ConfigError unless a server can listen on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise ConfigError(
                f"port {port} cannot be used: {error.strerror}; "
                "give another --port, or none for any that is free"
            ) from error


def asks_for(host: str, names: Sequence[str]) -> bool:
    """Return whether a request's Host header is one of the names, with or without a port.

    >>> asks_for("localhost:6006", LOCAL_NAMES), asks_for("evil.example:6006", LOCAL_NAMES)
    (True, False)
    """
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        name = host
    return name.lower() in {known.lower() for known in names}


def only_for(names: Sequence[str]) -> Any:
    """Return a TensorBoard server class that answers 403 to requests for other host names."""
    from tensorboard import program

    class OwnServer(program.WerkzeugServer):  # type: ignore[misc, unused-ignore]
        def __init__(self, application: Any, flags: Any) -> None:
            def guarded(environ: dict[str, Any], respond: Any) -> Any:
                if asks_for(environ.get("HTTP_HOST", ""), names):
                    return application(environ, respond)
                respond("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8")])
                return [
                    b"Not a name of this server: wganbench tensorboard --host NAME allows it.\n"
                ]

            super().__init__(guarded, flags)

    return OwnServer


def start(path: Path, port: int, names: Sequence[str] = ()) -> str:
    """Start TensorBoard in a thread of its own, without its messages; return its address.

    It only answers requests for this machine's own names and for ``names``.
    """
    from tensorboard import (  # type: ignore[import-untyped, unused-ignore]
        default,
        program,
    )
    from tensorboard.plugins.hparams.hparams_plugin import (  # type: ignore[import-untyped, unused-ignore]
        HParamsPlugin,
    )

    # Otherwise a browser that closes a connection causes a traceback.
    logging.getLogger("tensorboard").setLevel(logging.CRITICAL)
    plugins = [
        arranged(plugin) if plugin is HParamsPlugin else plugin for plugin in default.get_plugins()
    ]
    board = program.TensorBoard(plugins=plugins, server_class=only_for((*LOCAL_NAMES, *names)))
    with contextlib.redirect_stderr(io.StringIO()) as said:
        board.configure(
            argv=[
                "",
                f"--logdir={path.absolute()}",
                f"--host={HOST}",
                f"--port={port}",
                f"--reload_interval={RELOAD_SECONDS}",
                f"--samples_per_plugin={SAMPLES}",
            ]
        )
        try:
            return str(board.launch())
        except program.TensorBoardServerException as error:
            raise ConfigError(f"TensorBoard does not start: {error.msg}") from error
        except SystemExit as error:
            raise ConfigError(f"TensorBoard does not start: {said.getvalue()}") from error


# TensorBoard's HParams page: the order of its columns, and the final values of finished runs.
START = "_hparams_/session_start_info"
"""The tag of TensorBoard's record of a run's settings."""

SWEPT = ("loss", "seed", "loss.", "data", "network", "train.")
"""The first columns among the settings that differ between runs.

A name that ends in a dot stands for every key of its group.
"""

CONSTANT = (
    "loss",
    "seed",
    "data",
    "network",
    "train.steps",
    "train.batch_size",
    "train.optimizer",
    "train.critic_lr",
    "train.generator_lr",
    "train.decay",
    "precision",
    "loss.",
)
"""The columns that are listed although all runs agree.

Coefficients come last, because the page's parallel coordinates leave out runs without a value of
a shown column."""


def arrange(experiment: Any, lacking: Collection[str] = ()) -> Any:
    """Return the experiment with ordered columns; the page first shows five of each kind.

    Settings that differ come before those that all runs share; of the latter only some are listed.
    Those in ``lacking`` have one value, and some runs have none: they come last.
    """
    differing = [info for info in experiment.hparam_infos if info.differs]
    shared = [
        info
        for info in experiment.hparam_infos
        if not info.differs and (info.name in lacking or place(info.name, CONSTANT) < len(CONSTANT))
    ]
    differing.sort(key=lambda info: (place(info.name, SWEPT), info.name))
    shared.sort(key=lambda info: (place(info.name, CONSTANT), info.name))
    first = tuple(tag.name for tag in shown_in("hparams"))
    metrics = sorted(experiment.metric_infos, key=lambda info: place(info.name.tag, first))
    new = type(experiment)()
    new.CopyFrom(experiment)
    del new.hparam_infos[:], new.metric_infos[:]
    new.hparam_infos.extend(differing + shared)
    new.metric_infos.extend(metrics)
    return new


def place(name: str, order: tuple[str, ...]) -> int:
    """Return the position of a name, or of its group, in an order; its length if absent.

    >>> [place(name, ("loss", "loss.")) for name in ("loss", "loss.gp_lambda", "seed")]
    [0, 1, 2]
    """
    group = name.partition(".")[0] + "."
    if name in order:
        return order.index(name)
    return order.index(group) if "." in name and group in order else len(order)


Settings = Mapping[str, Any]
"""Settings of a run by dotted key."""


def trial_names(runs: Mapping[str, Settings]) -> dict[str, str]:
    """Return a name for each run by the settings that differ, such as ``gp lambda=10 seed=3``.

    They are the fewest that tell the runs apart. A run that is not told apart keeps its name.
    """
    keys = {key for settings in runs.values() for key in settings}
    ranked = sorted(keys - {"seed"}, key=lambda key: (place(key, SWEPT), key))
    chosen: list[str] = []
    for key in [*ranked, "seed"]:
        if len(runs_by_values(runs, [*chosen, key])) > len(runs_by_values(runs, chosen)):
            chosen.append(key)
    counts = runs_by_values(runs, chosen)
    return {
        run: " ".join(trial_words(settings, chosen))
        if chosen and counts[tuple(settings.get(key) for key in chosen)] == 1
        else run
        for run, settings in runs.items()
    }


def runs_by_values(runs: Mapping[str, Settings], keys: Sequence[str]) -> Counter[tuple[Any, ...]]:
    """Return how many runs have the same values of the keys."""
    return Counter(tuple(settings.get(key) for key in keys) for settings in runs.values())


def trial_words(settings: Settings, keys: Sequence[str]) -> list[str]:
    """Return the values of keys as words; those of whole groups stand alone."""
    from wganbench.reports.groups import key_word

    found = []
    for key in keys:
        value = settings.get(key)
        if value is not None:
            shown = f"{value:g}" if isinstance(value, float) else str(value)
            named = "." in key or key == "seed"
            found.append(f"{key_word(key)}={shown}" if named else shown)
    return found


Metadata = Mapping[str, Mapping[str, bytes]]
"""TensorBoard's metadata by run and tag."""


def sessions(metadata: Metadata) -> dict[str, Any]:
    """Return the start of each run's session, a protocol buffer."""
    from tensorboard.plugins.hparams import plugin_data_pb2

    return {
        run: plugin_data_pb2.HParamsPluginData.FromString(tags[START])
        for run, tags in metadata.items()
        if START in tags
    }


def settings_in(known: Mapping[str, Any]) -> dict[str, Settings]:
    """Return the settings of each run, from the starts of their sessions."""
    return {
        run: {key: plain_value(value) for key, value in data.session_start_info.hparams.items()}
        for run, data in known.items()
    }


def lacking_settings(metadata: Metadata) -> set[str]:
    """Return the settings that some runs have and others do not, such as ``train_points=null``."""
    runs = settings_in(sessions(metadata)).values()
    counts = Counter(key for settings in runs for key in settings)
    return {key for key, count in counts.items() if count < len(runs)}


def with_names(metadata: Metadata) -> dict[str, dict[str, bytes]]:
    """Return the metadata with the runs' names as names of trials."""
    known = sessions(metadata)
    found = {run: dict(tags) for run, tags in metadata.items()}
    for run, name in trial_names(settings_in(known)).items():
        known[run].session_start_info.group_name = name
        found[run][START] = known[run].SerializeToString()
    return found


def plain_value(value: Any) -> Any:
    """Return the number, text or truth value in a protocol buffer's value; None without one."""
    kind = value.WhichOneof("kind")
    return None if kind in (None, "null_value") else getattr(value, kind)


def final_values(folder: Path) -> dict[str, float]:
    """Return a completed run's final values by tag from run.json; empty for other folders."""
    try:
        stored = read_record(folder)
    except (OSError, ValueError):
        return {}
    return stored.final if stored.status == "completed" else {}


def with_finals(last: Mapping[str, Any], final: Mapping[str, float]) -> dict[str, Any]:
    """Return the last points of a run's curves; of a completed run with its final values alone.

    A tag without a final value (the KL without a good sample) is left out: its last point is
    of an evaluation during training.
    """
    if not final:
        return dict(last)
    return {
        tag: type(point)(step=point.step, wall_time=point.wall_time, value=final[tag])
        for tag, point in last.items()
        if tag in final
    }


def arranged(plugin: Any) -> Any:
    """Return TensorBoard's class for the HParams page with our columns and final values."""
    from tensorboard.plugins.hparams.backend_context import (  # type: ignore[import-untyped, unused-ignore]
        Context,
    )

    class ArrangedContext(Context):  # type: ignore[misc, unused-ignore]
        """The source of the page, its table and its downloads."""

        def experiment_from_metadata(
            self, ctx: Any, experiment_id: Any, metrics: Any, metadata: Any, *args: Any
        ) -> Any:
            found = super().experiment_from_metadata(ctx, experiment_id, metrics, metadata, *args)
            return arrange(found, lacking_settings(metadata))

        def hparams_metadata(self, *args: Any, **kwargs: Any) -> Any:
            return with_names(super().hparams_metadata(*args, **kwargs))

        def read_last_scalars(self, *args: Any, **kwargs: Any) -> Any:
            runs, below = super().read_last_scalars(*args, **kwargs), Path(self._tb_context.logdir)
            return {run: with_finals(last, final_values(below / run)) for run, last in runs.items()}

    class ArrangedPage(plugin):  # type: ignore[misc, unused-ignore]
        """The page with our context in place of its own."""

        def __init__(self, context: Any) -> None:
            super().__init__(context)
            self._context = ArrangedContext(context)

    return ArrangedPage
