"""tests/golden/*.txt is what today's code makes: what changes there changes in a review."""

from __future__ import annotations

import ast
import difflib
import math
import re
from pathlib import Path

import goldens
import pytest

import wganbench

COMPUTED = re.compile(r"[-+]\d\.\d{8}e[-+]\d\d\d?")
"""What `goldens.number` writes. Everything else is compared to the letter."""

RELATIVE, ABSOLUTE = 3e-5, 1e-6
"""How far a computed number may lie from the file's. Scalar code, AVX2 and AVX-512 of torch and
MKL's COMPATIBLE path differed after three steps by up to 9e-6 of a value, or 1e-7 where the value
is smaller than 0.01; a critic's rate that is wrong by a thousandth moves half of them by 3e-4."""

OF_RANKS, OF_RANKS_ABSOLUTE = "_rank ", 1e-4
"""In these lines two points whose order rounding decides move a number by a step of 7e-5."""


def difference(name: str, there: str, here: str) -> str:
    """What a reader has to see; empty where the texts agree."""
    layouts = [COMPUTED.sub("#", text).splitlines() for text in (there, here)]
    if layouts[0] != layouts[1]:
        return "\n".join(difflib.unified_diff(*layouts, f"golden/{name}.txt", "now", lineterm=""))
    pairs = zip(there.splitlines(), here.splitlines(), strict=True)
    return "\n".join(f"- {old}\n+ {new}" for old, new in pairs if not close(old, new))


def close(old: str, new: str) -> bool:
    absolute = OF_RANKS_ABSOLUTE if OF_RANKS in old else ABSOLUTE
    return all(
        math.isclose(float(a), float(b), rel_tol=RELATIVE, abs_tol=absolute)
        for a, b in zip(COMPUTED.findall(old), COMPUTED.findall(new), strict=True)
    )


@pytest.mark.parametrize("name", goldens.GOLDENS)
@pytest.mark.usefixtures("without_shape_checks")  # which make it twice as long
def test_what_the_code_makes_is_what_the_file_says(name: str) -> None:
    there = (goldens.FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    found = difference(name, there, goldens.text_of(name))
    assert not found, f"{found}\nif that is meant: python tests/goldens.py {name}"


def test_no_file_is_missing_and_none_is_left_over() -> None:
    found = {path.name for path in goldens.FOLDER.iterdir()}
    of_lowering = {"gpu_kernels.txt"}  # lowering.py makes it
    assert found == {f"{name}.txt" for name in goldens.GOLDENS} | of_lowering


# The comparison itself.
def test_a_number_may_move_by_rounding_and_no_further() -> None:
    text = "loss/critic +1.37695026e+00\n"
    assert not difference("x", text, "loss/critic +1.37695030e+00\n")
    assert "+ loss/critic +1.37705026e+00" in difference("x", text, "loss/critic +1.37705026e+00\n")
    assert not difference("x", "a -1.00000000e-09\n", "a +0.00000000e+00\n"), "nearly nothing"


@pytest.mark.parametrize("other", ["b +1.00000000e+00", "a +1.00000000e+00 +1.00000000e+00", "a 1",
                                   "a +nan", ""])  # fmt: skip
def test_names_and_whole_numbers_are_equal_to_the_letter(other: str) -> None:
    assert difference("x", "a +1.00000000e+00\n", f"{other}\n")
    assert difference("x", "block 64\n", "block 32\n")


# Nothing is left out.
def test_every_stream_that_the_code_names_is_there() -> None:
    """Names in calls of the functions that draw, and those of a stack's draws."""
    functions = {
        "stream_generator",
        "stream_seed",
        "_draws",
        "keyed",
        "draws",
        "draw",
        "start",
    }
    names = set()
    for path in Path(wganbench.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in functions:
                names |= {a.value for a in node.args if isinstance(a, ast.Constant)}
    named = {name for name in names if isinstance(name, str)}
    numbered = {name.removesuffix("/0") for name in goldens.AT_ONCE}
    listed = {*numbered, *goldens.TRAINING, *goldens.STARTS, *goldens.BY_GENERATORS}
    assert {"picture_real", "climb", "weights_critic", "evaluate_real"} <= named, "it finds them"
    assert named <= listed, "a stream that no golden holds"


def test_every_verb_and_every_exact_claim_is_there() -> None:
    from wganbench.cli.app import app
    from wganbench.studies import STUDIES

    commands = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    assert commands == set(goldens.VERBS)
    text = (goldens.FOLDER / "exact_claims.txt").read_text(encoding="utf-8")
    for study in STUDIES.values():
        for claim in study.claims:
            assert (f"{study.name} {claim.name}: " in text) == claim.exact
