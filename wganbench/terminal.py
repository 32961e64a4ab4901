"""The one Console: what is printed is text, never markup, and its failures end nothing."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from wganbench.errors import printable


class PlainConsole(Console):
    """Shows text as it is: brackets, colons and numbers in names mean nothing.

    What a terminal would obey is taken out of it, in lines, tables and titles alike.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, "highlight": False} | settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Rich asks for every text here."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **settings)

    def on_broken_pipe(self) -> None:
        """Rich would end the process; whoever trains goes on unseen."""
        self.quiet = True
