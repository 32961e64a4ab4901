"""The wheel: conf/ is inside, and the command works from it in another folder."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    subprocess.run([*command, str(ROOT)], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_every_yaml_is_inside_and_nothing_else_is_added(wheel):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    conf = {f"wganbench/conf/{p.relative_to(ROOT / 'conf')}" for p in ROOT.glob("conf/**/*.yaml")}
    assert conf <= inside
    native = {f"wganbench/metrics/native/{p.name}" for p in ROOT.glob("wganbench/metrics/native/*")}
    assert native and native <= inside
    assert "wganbench/metrics/floors.json" in inside and "wganbench/py.typed" in inside
    sources = {p.name for p in (ROOT / "wganbench/training/native").glob("*.[ch]*")}
    assert "native.cpp" in sources
    assert {f"wganbench/training/native/{name}" for name in sources} <= inside
    templates = {p.name for p in (ROOT / "wganbench/reports/templates").iterdir()}
    assert {"report.html.j2", "report.css", "report.js"} <= templates
    assert {f"wganbench/reports/templates/{name}" for name in templates} <= inside
    assert {name.split("/")[0] for name in inside} == {"wganbench"}


def test_the_installed_wheel_trains_in_another_folder(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    tiny = [
        "compile=false",
        "network.width=8",
        "train.steps=3",
        "train.batch_size=16",
        "evaluate.final_n=20",
        "evaluate.final_draws=1",
        "evaluate.floor_pairs=2",
        "evaluate.every_n_steps=0",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "wganbench", "train", "loss=clip", *tiny],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "outputs" / "ring8").iterdir()
    assert (run / "figure.png").exists() and "completed" in done.stdout
    where = subprocess.run(
        [sys.executable, "-c", "import wganbench; print(wganbench.__file__)"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert str(site) in where.stdout
    planned = subprocess.run(
        [sys.executable, "-m", "wganbench", "sweep", "seed=0,1", "--plan", *tiny],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert planned.returncode == 0 and "2 runs to train" in planned.stdout, planned.stderr
