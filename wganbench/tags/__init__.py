"""The table of tags: what is measured, and how not to misread it."""

from wganbench.tags.lookup import TAGS
from wganbench.tags.tag import Tag

__all__ = ["TAGS", "Tag"]
