"""How the house is built: who imports whom, where the run axis lives, what lives once."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest

import wganbench
from wganbench.config import schema
from wganbench.data import DATASETS
from wganbench.losses import RECIPES
from wganbench.networks import NETWORKS
from wganbench.presets import preset_names, read_preset

PACKAGE = Path(wganbench.__file__).parent
FILES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

# Arrows point down: a part imports itself and the parts named here, at the head of a file
# or inside a function. A new part takes its place in this table.
GROUND = {
    "errors", "leftovers", "draws", "bounds", "registry", "presets", "files", "typed", "output",
    "nativecode", "plugin_files",
}  # fmt: skip
LEARNING = GROUND | {"tags", "losses", "networks", "data", "metrics"}
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "leftovers": set(),
    "draws": set(),
    "bounds": {"errors"},
    "plugin_files": {"errors"},
    "registry": {"errors", "plugin_files"},
    "typed": {"errors", "bounds"},
    "files": {"errors", "leftovers"},
    "presets": {"errors", "files", "registry", "typed", "plugin_files"},
    "output": {"errors"},
    "nativecode": {"errors", "leftovers", "files"},
    "tags": GROUND,
    "losses": {"registry", "bounds", "errors"},
    "networks": {"registry", "bounds", "draws"},
    "data": GROUND,
    "metrics": GROUND | {"tags", "losses"},
    "config": LEARNING,
    "runs": LEARNING | {"config"},
    "drawing": GROUND | {"runs"},
    "training": LEARNING | {"config", "runs", "drawing"},
    "sweeps": LEARNING | {"config", "runs", "training"},
    "reports": LEARNING | {"config", "runs", "drawing", "training", "sweeps"},
    "tuning": LEARNING | {"config", "runs", "drawing", "training", "sweeps", "reports"},
    "studies": LEARNING | {"config", "runs", "drawing", "training", "sweeps", "reports", "tuning"},
    "plugins": {"config", "files", "presets"},
}
SURFACE = {"", "__main__", "cli", "statistics"}
"""What users see, the package's own functions included; nothing else imports it."""


@cache
def tree(file: str) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def part(file: str) -> str:
    """``losses`` for losses/recipes.py, ``cli`` for cli.py, empty for the package itself."""
    top = file.split("/")[0].removesuffix(".py")
    return "" if top == "__init__" else top


def under(*parts: str) -> list[str]:
    return [file for file in FILES if file.split("/")[0] in parts or file in parts]


def imports(file: str, node: ast.AST | None = None, lazy: bool = True) -> Iterator[str]:
    """Dotted names that a file imports; without ``lazy`` only those at import time."""
    for child in ast.iter_child_nodes(node or tree(file)):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            folder = ["wganbench", *file.split("/")[:-1]]
            above = folder[: len(folder) - child.level + 1] if child.level else []
            module = ".".join([*above, *([child.module] if child.module else [])])
            yield from (f"{module}.{alias.name}" for alias in child.names)
        elif lazy or not _is_lazy(child):
            yield from imports(file, child, lazy)


def _is_lazy(node: ast.AST) -> bool:
    for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    return for_types or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)


def parts_imported(file: str) -> set[str]:
    found = set()
    for name in imports(file):
        root, *rest = name.split(".")
        if root == "wganbench":
            known = rest[0] if rest and rest[0] in MAY_IMPORT.keys() | SURFACE else ""
            found.add(known)
    return found


def test_the_walk_sees_lazy_relative_and_plain_imports() -> None:
    source = """
import a.b
from wganbench.losses import RECIPES
def f():
    from ..training import stack
if TYPE_CHECKING:
    from . import near
"""
    module = ast.parse(source)
    everything = list(imports("config/x.py", module))
    assert everything == [
        "a.b",
        "wganbench.losses.RECIPES",
        "wganbench.training.stack",
        "wganbench.config.near",
    ]
    assert list(imports("config/x.py", module, lazy=False)) == everything[:2]


# Arrows.
def test_every_part_has_its_place() -> None:
    assert {part(file) for file in FILES} <= MAY_IMPORT.keys() | SURFACE
    order = list(MAY_IMPORT)
    for name, below in MAY_IMPORT.items():
        assert all(order.index(other) < order.index(name) for other in below), "no cycles"


@pytest.mark.parametrize("file", [file for file in FILES if part(file) not in SURFACE])
def test_arrows_point_one_way(file: str) -> None:
    allowed = MAY_IMPORT[part(file)] | {part(file)}
    assert parts_imported(file) <= allowed, f"{file} imports what stands beside or above it"


def module(file: str) -> str:
    """``losses.recipes`` for losses/recipes.py, ``losses`` for its __init__.py."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def test_no_files_import_each_other_in_a_circle() -> None:
    modules = {module(file): file for file in FILES}
    needs: dict[str, set[str]] = {name: set() for name in modules}
    for name, file in modules.items():
        for imported in imports(file, lazy=False):
            inside = imported.removeprefix("wganbench.")
            found = inside if inside in modules else inside.rpartition(".")[0]
            if imported.startswith("wganbench.") and found in modules and found != name:
                needs[name].add(found)
    assert sum(map(len, needs.values())) > 500, "the walk finds them"
    list(TopologicalSorter(needs).static_order())


def test_only_the_configuration_and_the_plugins_know_hydra() -> None:
    foreign = {"hydra", "omegaconf"}
    users = {f for f in FILES if foreign & {name.split(".")[0] for name in imports(f)}}
    assert users, "the walk finds them"
    assert {part(file) for file in users} <= {"config", "plugins"}


def test_figures_are_drawn_without_the_global_state_of_pyplot() -> None:
    names = [(file, name) for file in FILES for name in imports(file)]
    assert any(name.startswith("matplotlib.figure") for _, name in names), "the walk finds them"
    assert not [file for file, name in names if name.startswith("matplotlib.pyplot")]


@pytest.mark.parametrize("file", under("config", "cli/app.py", "__init__.py", "registry.py"))
def test_torch_and_hydra_are_imported_inside_functions(file: str) -> None:
    heavy = {"torch", "hydra", "omegaconf", "numpy", "matplotlib", "scipy", "sklearn", "ot"}
    assert not heavy & {name.split(".")[0] for name in imports(file, lazy=False)}


def test_the_command_line_starts_without_torch_and_hydra() -> None:
    modules = ["wganbench.cli.app", "wganbench.presets", "wganbench.tags.lookup"]
    modules += [f"wganbench.config.{Path(f).stem}" for f in under("config") if "__" not in f]
    heavy = ["torch", "hydra", "omegaconf", "numpy", "matplotlib", "tensorboard"]
    code = f"import {', '.join(modules)}, sys; print(sorted(set({heavy}) & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stdout + result.stderr


# The run axis.
def identifiers(file: str) -> set[str]:
    names = set(imports(file))
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
    return {name.split(".")[-1] for name in names}


def test_only_the_stack_lifts_over_runs() -> None:
    lifting = {"vmap", "stack_module_state", "in_dims"}
    assert {file for file in FILES if lifting & identifiers(file)} == {"training/stack.py"}


def shapes(file: str) -> Iterator[str]:
    """The shapes in jaxtyping's annotations: "n d" of Float[Tensor, "n d"]."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
            last = node.slice.elts[-1]
            if isinstance(last, ast.Constant) and isinstance(last.value, str):
                yield last.value


@pytest.mark.parametrize("file", [f for f in FILES if f != "training/stack.py"])
def test_shapes_are_those_of_one_run(file: str) -> None:
    assert not [shape for shape in shapes(file) if {"R", "runs"} & set(shape.split())]


def test_shapes_stand_in_annotations() -> None:
    assert sum(1 for file in FILES for _ in shapes(file)) > 50


# No hidden inputs, and nothing that waits for the device in the step.
def calls(file: str) -> Iterator[tuple[str, set[str | None]]]:
    """Dotted name and keywords of every call."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {keyword.arg for keyword in node.keywords}


DRAWS = {"rand", "randn", "randint", "randperm", "normal", "multinomial", "bernoulli", "poisson"}
DRAWS_IN_PLACE = {"normal_", "uniform_", "random_", "bernoulli_", "exponential_", "cauchy_"}


@pytest.mark.parametrize("file", FILES)
def test_every_draw_names_its_generator(file: str) -> None:
    for name, keywords in calls(file):
        root, last = name.split(".")[0], name.split(".")[-1]
        draws = (root == "torch" and last in DRAWS) or last in DRAWS_IN_PLACE
        assert not draws or "generator" in keywords, f"{name} draws from the global state"
        assert name not in ("torch.manual_seed", "torch.cuda.manual_seed", "torch.seed"), name
        assert not name.startswith(("np.random.", "numpy.random.")) or last == "default_rng", name
        assert last not in {"Dropout", "dropout"}, name
    assert "random" not in {name.split(".")[0] for name in imports(file)}


HOT = under("losses", "networks", "training/step.py", "training/optimizers.py")


@pytest.mark.parametrize("file", HOT)
def test_nothing_in_a_step_waits_for_the_device(file: str) -> None:
    waits = {"item", "tolist", "numpy", "cpu", "cuda", "synchronize", "nonzero"}
    assert not waits & {name.split(".")[-1] for name, _ in calls(file)}


# Sizes and names.
@pytest.mark.parametrize("file", FILES)
def test_files_and_functions_stay_short(file: str) -> None:
    lines = (PACKAGE / file).read_text(encoding="utf-8").splitlines()
    assert sum(1 for line in lines if line.strip()) <= 400, f"{file} has more than one topic"
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 60, f"{file}: {node.name} has {length} lines"


def test_no_file_is_named_after_nothing() -> None:
    vague = {"utils", "util", "helpers", "helper", "base", "common", "misc", "manager", "core"}
    assert not {file for file in FILES if vague & set(file.removesuffix(".py").split("/"))}


def test_every_module_says_what_it_is() -> None:
    assert not [file for file in FILES if tree(file).body and not ast.get_docstring(tree(file))]


# Registries and YAML: whoever adds a row adds a file, and the other way round.
def values(group: str, name: str, *but: str) -> dict[str, Any]:
    return {k: v for k, v in read_preset(group, name).items() if k not in but}


def test_every_loss_has_its_file_and_every_file_its_loss() -> None:
    assert preset_names("loss") == sorted(RECIPES)


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_losses_file_holds_its_coefficients_and_no_others(name: str) -> None:
    loss = read_preset("loss", name)["loss"]
    assert loss.pop("name") == name
    assert loss.keys() == {"n_critic", *RECIPES[name].coefficients}


@pytest.mark.parametrize(
    ("group", "registry"), [("network", NETWORKS), ("data", DATASETS)], ids=["network", "data"]
)
def test_every_kind_has_a_file_with_all_its_options(group: str, registry: Any) -> None:
    presets = {name: read_preset(group, name) for name in preset_names(group)}
    assert {preset["kind"] for preset in presets.values()} == set(registry)
    for name, preset in presets.items():
        assert preset["name"] == name
        options = {field.name for field in dataclasses.fields(registry[preset["kind"]].options)}
        assert values(group, name, "name", "kind").keys() == options


def configuration_types() -> list[type]:
    settings = [item for item in vars(schema).values() if dataclasses.is_dataclass(item)]
    rows = [row.options for registry in (NETWORKS, DATASETS) for row in registry.values()]
    return [item for item in [*settings, *rows] if isinstance(item, type)]


@pytest.mark.parametrize("options", configuration_types(), ids=lambda options: options.__name__)
def test_code_holds_no_default_of_a_setting(options: type) -> None:
    for field in dataclasses.fields(options):
        if not field.metadata.get("flat"):
            assert field.default is dataclasses.MISSING, field.name
            assert field.default_factory is dataclasses.MISSING, field.name
