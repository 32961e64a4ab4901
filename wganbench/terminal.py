"""The one Console: what is printed is text, never markup, and its failures end nothing."""

from __future__ import annotations

from typing import Any

from rich.console import Console


class PlainConsole(Console):
    """Shows text as it is: brackets, colons and numbers in names mean nothing."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False} | settings)

    def on_broken_pipe(self) -> None:
        """Rich would end the process; whoever trains goes on unseen."""
        self.quiet = True
