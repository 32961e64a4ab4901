"""Many runs at once: jobs become stacks, stacks go to devices, each run leaves its own folder."""

from __future__ import annotations
