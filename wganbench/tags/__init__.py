"""The table of tags: what is measured, and how not to misread it."""

from wganbench.records.tags import TAGS, Tag

__all__ = ["TAGS", "Tag"]
