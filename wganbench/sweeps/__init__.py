"""Sweeps: group jobs into stacks and train the stacks on devices; each run has its own folder."""

from __future__ import annotations
