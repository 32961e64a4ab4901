"""``python -m wganbench``."""

from __future__ import annotations

from wganbench.cli.app import run

run()
