"""The README says what the code says."""

from __future__ import annotations

from pathlib import Path

from wganbench.losses import RECIPES
from wganbench.records.tags import glossary_markdown

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_the_glossary_is_the_table_of_tags():
    assert README.split("<!-- glossary -->")[1].strip() == glossary_markdown().strip()


def test_every_loss_is_named():
    assert [name for name in RECIPES if f"`{name}`" not in README and name not in README] == []


def test_pictures_exist():
    links = [part.split(")")[0] for part in README.split("](")[1:]]
    local = [link for link in links if not link.startswith(("http", "#"))]
    assert local
    missing = [link for link in local if not (Path(__file__).parent.parent / link).exists()]
    assert missing == []
