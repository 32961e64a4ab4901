"""The error that a user can correct."""

from __future__ import annotations


class ConfigError(ValueError):
    """A wrong configuration or use, told in one readable line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))
