"""Writes the generated parts of the READMEs: settings, choices, tags, losses.

    python scripts/readmes.py

A part stands between ``<!-- name -->`` and ``<!-- end of name -->``. The tests compare; after a
change of the schema, of a YAML file or of the table of tags run this and commit the result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from wganbench.cli.loss_page import pages_markdown
from wganbench.config.settings import presets_markdown, settings_markdown
from wganbench.tags.lookup import glossary_markdown

ROOT = Path(__file__).resolve().parent.parent
PARTS: dict[str, dict[str, Callable[[], str]]] = {
    "conf/README.md": {"keys": settings_markdown, "choices": presets_markdown},
    "wganbench/losses/README.md": {"pages": pages_markdown},
    "wganbench/tags/README.md": {"glossary": glossary_markdown},
}


def filled(text: str, parts: Mapping[str, Callable[[], str]]) -> str:
    """A README with its parts made anew; raises ValueError where a marker is missing."""
    for name, make in parts.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"a README needs {begin} and {end}, once each")
        head, rest = text.split(begin)
        text = f"{head}{begin}\n\n{make().strip()}\n\n{end}{rest.split(end)[1]}"
    return text


def main() -> None:
    for name, parts in PARTS.items():
        file = ROOT / name
        old = file.read_text(encoding="utf-8")
        new = filled(old, parts)
        file.write_text(new, encoding="utf-8")
        print(f"{name}: {'written' if new != old else 'in step'}")


if __name__ == "__main__":
    main()
