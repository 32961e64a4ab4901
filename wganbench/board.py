"""TensorBoard for the runs in a folder, seen from this machine only."""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wganbench.errors import ConfigError, printable
from wganbench.output import numbered

HOST = "127.0.0.1"
RELOAD_SECONDS = 5
SAMPLES = "scalars=10000,images=100"
"""How many points of a curve and how many pictures are shown; fewer would leave some out."""


LOCAL_NAMES = ("localhost", HOST, "[::1]")
"""What this machine calls itself. A web page elsewhere can give its own name this machine's
address, and would read the runs; its requests carry that name."""


def serve(path: Path, port: int = 0, names: Sequence[str] = ()) -> None:
    """Serve the runs below ``path`` until interrupted; port 0 is any that is free.

    ``names``: further names by which a browser may ask, such as that of a tunnel.
    Raises ConfigError where there are no runs or the port cannot be had.
    """
    count = count_runs(path)
    check_port(port)
    address = start(path, port, names)
    print(f"TensorBoard of {printable(str(path))} ({numbered(count, 'run')}): {address}")
    print("Ctrl-C ends it.", flush=True)
    threading.Event().wait()


def count_runs(path: Path) -> int:
    """How many folders at or below ``path`` hold event files; raises ConfigError if none."""
    from wganbench.records.event_files import PREFIX

    right = "give the folder of a sweep or of a run, such as outputs/ring8"
    if not path.exists():
        raise ConfigError(f"there is no folder {path}; {right}")
    if not path.is_dir():
        raise ConfigError(f"{path} is not a folder; {right}")
    folders = {file.parent for file in path.rglob(f"{PREFIX}*")}
    if not folders:
        raise ConfigError(
            f"no run in {path} has written TensorBoard events (log.tensorboard=true does); {right}"
        )
    return len(folders)


def check_port(port: int) -> None:
    """Raise ConfigError unless the port can be listened at."""
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
    """Whether a request's Host header has one of the names, before a port if it says one.

    >>> asks_for("localhost:6006", LOCAL_NAMES), asks_for("evil.example:6006", LOCAL_NAMES)
    (True, False)
    """
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        name = host
    return name.lower() in {known.lower() for known in names}


def only_for(names: Sequence[str]) -> Any:
    """TensorBoard's server class, made to answer 403 to whoever asks for another name."""
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
    """Start TensorBoard in a thread of its own, without its chatter; its address.

    It answers requests for this machine's own names and for ``names``, and no others.
    """
    from tensorboard import (  # type: ignore[import-untyped, unused-ignore]
        default,
        program,
    )
    from tensorboard.plugins.hparams.hparams_plugin import (  # type: ignore[import-untyped, unused-ignore]
        HParamsPlugin,
    )

    from wganbench.records.hparams_page import arranged

    # A browser that closes a connection is told with a traceback otherwise.
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
