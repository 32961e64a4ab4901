"""Reaching Ray: the package, which is an extra, and the cluster's address."""

from __future__ import annotations

import os
import socket
from typing import Any

from wganbench.errors import ConfigError

CONNECT_SECONDS = 5.0


def import_ray() -> Any:
    """Ray, which is an extra. Raises ConfigError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError as error:
        raise ConfigError("hydra/launcher=ray needs Ray: pip install 'wganbench[ray]'") from error
    return ray


def check_address(address: str) -> None:
    """Knock at HOST:PORT: Ray itself tries for many minutes. Raises ConfigError."""
    if address in ("local", "auto"):
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "/" in host:
        raise ConfigError(
            f"hydra.launcher.address={address}: say local, auto or HOST:PORT, on a node of the "
            "cluster"
        )
    try:
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise unreachable(address, str(error)) from error


def unreachable(address: str, reason: str) -> ConfigError:
    return ConfigError(
        f"hydra.launcher.address={address}: no Ray cluster answers there ({reason}); local "
        "starts one on this machine"
    )
