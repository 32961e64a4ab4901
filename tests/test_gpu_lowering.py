"""The programs of a stack, lowered for a GPU that is not there: whole, on it alone, in few kernels.

torch 2.11 dies here of loop reordering and the foreach Adam, where `GPU_OPTIONS` does not switch
that off: it left single runs' generators eager. torch 2.14 does not.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from lowering import PROGRAMS, golden

from wganbench.losses import RECIPES

pytest.importorskip("triton")
TESTS = Path(__file__).parent
FIRST = 1
"""Of the golden stacks: those that ``-m slow`` lowers, half a minute of a core."""

OTHER_VERSIONS = 0.05
"""By what share other versions of torch may need more kernels."""

KERNELS = golden()


def lowered(spec: str) -> dict[str, dict[str, Any]]:
    """What became of each program, in a process that is told of a GPU and has no shape checks."""
    own = {"TORCHINDUCTOR_COMPILE_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "tests/lowering.py", spec], env=os.environ | own,
        cwd=TESTS.parent, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = map(json.loads, done.stdout.splitlines())
    return {row["program"]: row for row in rows if row["spec"] == spec}


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(s, marks=pytest.mark.thorough if i >= FIRST else pytest.mark.slow)
        for i, s in enumerate(KERNELS)
    ],
)
def test_every_program_is_one_graph_on_the_gpu_in_few_kernels(spec: str) -> None:
    found = lowered(spec)
    assert list(found) == list(PROGRAMS)
    for name, row in found.items():
        assert "failed" not in row, f"{name} would be left eager: {row['failed']}"
        assert row["graphs"] == 1, f"{name} is in parts"
        assert row["devices"] == ["cuda"], f"a part of {name} is on another device"
        assert row["skips"] is None, f"{name} cannot be recorded: {row['skips']}"
        most = (1 + OTHER_VERSIONS) * KERNELS[spec][name]
        assert 0 < row["kernels"] <= most, f"{name}: {row['calls']}"
        if name in ("critic", "generator"):
            # Sums in parts are rounded once more, to 8 bits in bf16.
            bound = 2e-2 if "bf16" in spec else 1e-4
            assert row["rewriting"] < bound, f"other products in {name}"


def test_every_loss_size_and_precision_has_a_golden_number() -> None:
    words = [word for spec in KERNELS for word in spec.split()]
    assert {f"loss={name}" for name in RECIPES} <= set(words)
    assert {"1", "2", "8", "precision=bf16", "data=digits"} <= set(words)
    assert all(count > 0 for counts in KERNELS.values() for count in counts.values())
