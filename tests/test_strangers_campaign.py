"""A small campaign of scripts/crafted_folders.py: no fault in any crafted folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from wganbench.reports import figures

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
import crafted_folders  # noqa: E402

FOLDERS = 6


@pytest.mark.slow
def test_crafted_folders_do_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "FIGURES", {"samples": figures.FIGURES["samples"]})
    told: list[str] = []
    assert not crafted_folders.campaign(FOLDERS, 1, tmp_path, told.append, limit=300), "\n".join(
        told
    )


def test_the_campaign_sees_each_fault(tmp_path: Path) -> None:
    crafted_folders.make_victim(tmp_path)
    before, log = crafted_folders.state_of(tmp_path / "victim"), tmp_path / "log"
    log.write_text("one line\n")
    assert crafted_folders.faults_of(tmp_path, before, log, ended=True) == []
    (tmp_path / "it_ran").touch()
    (tmp_path / "victim" / "diary.txt").write_text("")
    log.write_text("Traceback (most recent call last):\n" + "x" * 501)
    found = crafted_folders.faults_of(tmp_path, before, log, ended=False)
    assert found == list(crafted_folders.FAULTS)
