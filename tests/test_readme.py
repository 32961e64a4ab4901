"""The READMEs say what the code says, and their examples run."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from wganbench.losses import RECIPES
from wganbench.training.cuda.executor import BUILD_TIME

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
READMES = sorted(
    path.relative_to(ROOT).as_posix()
    for place in (".", "conf", "outputs", "scripts", "wganbench")
    for path in (ROOT / place).glob("README.md" if place in (".", "outputs") else "**/README.md")
)
FOLDERS = (
    "conf", "conf/tuned", "outputs", "scripts", "wganbench", "wganbench/losses",
    "wganbench/metrics", "wganbench/reports", "wganbench/studies", "wganbench/sweeps",
    "wganbench/tags", "wganbench/training", "wganbench/tuning",
)  # fmt: skip
COMMANDS = (
    "python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/wganbench train loss=gp",
    ".venv/bin/pip install -e '.[test]' && .venv/bin/pytest",
)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return re.sub(r"(?ms)^```.*?^```", "", text)


def generated() -> Any:
    """scripts/readmes.py as a module."""
    spec = importlib.util.spec_from_file_location("readmes", ROOT / "scripts" / "readmes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_folder_has_its_readme() -> None:
    expected = ["README.md", *(f"{folder}/README.md" for folder in FOLDERS)]
    assert sorted(expected) == READMES


def test_the_first_readme_is_a_door() -> None:
    text = read("README.md")
    assert text.count("\n") < 200
    lines = text.splitlines()
    assert all(command in lines for command in COMMANDS)
    assert [name for name in RECIPES if f"`{name}`" not in text] == []
    assert "tuned=none" in text and "critic" in text.split("\n## ")[0]


def test_generated_parts_are_in_step() -> None:
    module = generated()
    stale = [
        name
        for name, parts in module.PARTS.items()
        if module.filled(read(name), parts) != read(name)
    ]
    assert stale == [], "run: python scripts/readmes.py"


def test_a_readme_without_its_markers_is_refused() -> None:
    module = generated()
    assert module.filled("a <!-- x --> old <!-- end of x --> b", {"x": lambda: "new"}) == (
        "a <!-- x -->\n\nnew\n\n<!-- end of x --> b"
    )
    for text in ("a", "<!-- x -->", "<!-- x --> <!-- x --> <!-- end of x -->"):
        with pytest.raises(ValueError, match="once each"):
            module.filled(text, {"x": lambda: "new"})


# Links, and paths of files.
def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"(?m)^#+ (.*)$", without_code(text))
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def links(name: str) -> Iterator[tuple[str, str]]:
    """``(target, anchor)`` of every link of a README to something of the project."""
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(read(name))):
        if not link.startswith(("http://", "https://")):
            target, _, anchor = link.partition("#")
            yield target, anchor


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name: str) -> None:
    here = (ROOT / name).parent
    for target, anchor in links(name):
        path = (here / target).resolve() if target else ROOT / name
        assert path.exists() and path.is_relative_to(ROOT), f"{name}: {target}"
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), f"{name}: {target}#{anchor}"


def files_named(name: str) -> Iterator[str]:
    """The project's Python files that a README names in its text."""
    yield from re.findall(r"`([\w./-]+\.py)`", without_code(read(name)))


@pytest.mark.parametrize("name", READMES)
def test_files_named_in_a_readme_exist(name: str) -> None:
    own = {file for file, _ in examples()}
    places = [ROOT, ROOT / "wganbench", (ROOT / name).parent]
    missing = {
        file
        for file in files_named(name)
        if file not in own and not any((place / file).is_file() for place in places)
    }
    assert not missing


def test_every_readme_is_linked_and_no_number_lacks_its_zero() -> None:
    seen = {(ROOT / "README.md").resolve()}
    waiting = list(seen)
    while waiting:
        page = waiting.pop()
        for target, _ in links(page.relative_to(ROOT).as_posix()):
            path = (page.parent / target).resolve()
            if path.name == "README.md" and path not in seen:
                seen.add(path)
                waiting.append(path)
    assert {path.relative_to(ROOT).as_posix() for path in seen} == set(READMES)
    for name in READMES:
        text = without_code(read(name).split("<!-- glossary -->")[0])
        assert re.findall(r"(?<![\w./])\.\d+", text) == [], name


# What must be named where.
def test_the_kernel_is_built_in_the_time_that_the_command_says() -> None:
    text = read("wganbench/training/README.md")
    assert "our own CUDA kernel (`cuda/`)" in text and f"machine, in {BUILD_TIME} |" in text


def test_every_script_every_part_and_every_folder_is_named() -> None:
    scripts = {path.name for path in (ROOT / "scripts").glob("*.py")}
    assert scripts - set(re.findall(r"`([\w.]+)`", read("scripts/README.md"))) == set()
    arrows = read("wganbench/README.md").split("## Which part imports which")[1].split("\n## ")[0]
    parts = {path.stem for path in (ROOT / "wganbench").iterdir() if path.name[0] not in "_."}
    assert parts - {"README", "py"} - set(re.findall(r"`(\w+)`", arrows)) == set()
    linked = {(ROOT / target).resolve() for target, _ in links("README.md")}
    assert {name for name in READMES if (ROOT / name).resolve() not in linked} <= {"README.md"}


@cache
def members() -> dict[str, set[str]]:
    """The names in the body of each class of the package, and those set on ``self``."""
    found: dict[str, set[str]] = {}
    for path in (ROOT / "wganbench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                text = ast.unparse(node)
                own = set(re.findall(r"(?m)^    (?:def )?(\w+)", text))
                found.setdefault(node.name, set()).update(own, re.findall(r"self\.(\w+)", text))
    return found


@pytest.mark.parametrize("name", READMES)
def test_members_named_in_a_readme_exist(name: str) -> None:
    known = members()
    spans = re.findall(r"`([A-Z]\w+)\.(\w+)`", without_code(read(name)))
    assert [pair for pair in spans if pair[0] in known and pair[1] not in known[pair[0]]] == []


# Examples.
def examples() -> list[tuple[str, str]]:
    """``(file, text)`` of the complete files that wganbench/README.md shows."""
    found = re.findall(r"(?ms)^`([\w./]+)`:\n```\w+\n(.*?)^```", read("wganbench/README.md"))
    assert len(found) == len(dict(found)) > 8
    return found


def install(site: Path, project: dict[str, Any], files: dict[str, str]) -> None:
    """What pip would leave of a package of modules: the files and their metadata."""
    name, version = project["name"].replace("-", "_"), project["version"]
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    groups = [
        "\n".join([f"[{group}]", *(f"{key} = {value}" for key, value in rows.items())])
        for group, rows in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n\n".join(groups) + "\n")
    for file, text in files.items():
        (site / file).write_text(text)


CALLS = """
import sys
from wganbench.cli.app import main
for line in sys.stdin.read().splitlines():
    code = main(line.split())
    print(f"<{line}> {code}", flush=True)
"""
TINY = (
    "compile=false device=cpu train.steps=3 train.batch_size=16 evaluate.final_n=20 evaluate.n=20 "
    "evaluate.floor_pairs=2 log.every_n_steps=1 log.tensorboard=false log.figure=false"
)


LISTED = {
    "drift": ("losses", "loss=drift  |  WGAN-GP with a drift term"),
    "heart": ("data", "data=heart  |  Points on a heart-shaped curve"),
    "quadratic": ("networks", "network=quadratic  |  A quadratic critic"),
    "spread": ("metrics", "mine/spread  |  how far the fakes lie from their own mean"),
    "floor_falls": ("studies", "floor_falls  |  Does the floor of the exact distance fall"),
}
"""What `list` says of the row that each module adds."""
TRAIN = f"train loss=drift data=heart network=quadratic {TINY} --config-dir my_conf"
STUDY = "study floor_falls --config-dir my_conf"


def write_examples(folder: Path) -> tuple[dict[str, str], dict[str, Any]]:
    """Write the YAML files; return the modules by file name, and what pyproject.toml says."""
    files = dict(examples())
    project = tomllib.loads(files.pop("pyproject.toml"))
    for file in [file for file in files if file.endswith(".yaml")]:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(files.pop(file))
    modules = project["tool"]["setuptools"]["py-modules"]
    assert sorted(files) == sorted(f"{module}.py" for module in modules)
    return files, project["project"]


def printed_by(folder: Path, lines: Sequence[str], *packages: Path) -> str:
    """Run the commands in one new process; return what it printed. Each must end with code 0."""
    path = os.pathsep.join([*map(str, packages), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", CALLS], cwd=folder, input="\n".join(lines), capture_output=True,
        text=True, env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    for line in lines:
        assert f"<{line}> 0\n" in done.stdout, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder in which the examples were installed and used, and what was printed."""
    folder = tmp_path_factory.mktemp("extended")
    files, project = write_examples(folder)
    install(folder / "site", project, files)
    lists = [f"list {what} --config-dir my_conf" for what, _ in LISTED.values()]
    return folder, printed_by(folder, [TRAIN, *lists, "list networks", STUDY], folder / "site")


@pytest.fixture(scope="module")
def plugged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples as files, without a package."""
    folder = tmp_path_factory.mktemp("plugged")
    for file, text in write_examples(folder)[0].items():
        (folder / file).write_text(text)
    return folder


def test_each_example_is_listed(extended: tuple[Path, str]) -> None:
    for _, line in LISTED.values():
        assert line in extended[1]


def test_each_example_is_listed_as_a_plugin_file(plugged: Path) -> None:
    others = {module: row for module, row in LISTED.items() if module != "floor_falls"}
    words = f"--config-dir my_conf plugins={','.join(f'{module}.py' for module in others)}"
    printed = printed_by(plugged, [f"list {what} {words}" for what, _ in others.values()])
    assert [line for _, line in others.values() if line not in printed] == []


@pytest.mark.slow
def test_the_examples_train_as_plugin_files(plugged: Path) -> None:
    files = ",".join(f"{module}.py" for module in LISTED if module != "floor_falls")
    assert "completed at step 3" in printed_by(plugged, [f"{TRAIN} plugins={files}"])


def test_the_study_runs_as_a_plugin_file(plugged: Path) -> None:
    """In a process of its own, in which the file is run while our studies are imported."""
    what, expected = LISTED["floor_falls"]
    words = "--config-dir my_conf plugins=floor_falls.py"
    lines = [f"study floor_falls {words} seeds=2", f"list {what} {words}"]
    printed = printed_by(plugged, lines)
    assert "n = 2" in printed and expected in printed


def test_the_loss_of_the_first_readme_is_that_of_the_package() -> None:
    assert f"```python\n{dict(examples())['drift.py']}```" in read("README.md")


def test_a_loss_a_data_set_and_a_network_of_the_readme_train(extended: tuple[Path, str]) -> None:
    folder, printed = extended
    (run,) = (folder / "outputs" / "heart").iterdir()
    header, *rows = (run / "metrics.csv").read_text().splitlines()
    assert "loss/penalty" in header and len(rows) >= 3
    assert "completed at step 3" in printed
    assert "network.kind=quadratic  |  a quadratic critic" in printed


def test_a_study_of_the_readme_reaches_its_verdict(extended: tuple[Path, str]) -> None:
    folder, printed = extended
    study = folder / "outputs" / "studies" / "floor_falls"
    assert (study / "figure.png").is_file() and (study / "verdict.json").is_file()
    assert "supported   The distance between two samples" in printed


def test_a_metric_of_the_readme_is_measured(extended: tuple[Path, str]) -> None:
    (run,) = (extended[0] / "outputs" / "heart").iterdir()
    header, *rows = (run / "metrics.csv").read_text().splitlines()
    column = header.split(",").index("mine/spread")
    assert float(rows[-1].split(",")[column]) > 0
