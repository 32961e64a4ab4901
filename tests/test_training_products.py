"""Products rewritten for a GPU: the same numbers, in the form that each size asks for."""

from __future__ import annotations

import pytest
import torch
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from wganbench.training.products_on_gpu import SmallProducts, parts_of_sum

aten = torch.ops.aten
TRANSPOSED = [(False, False), (True, False), (False, True), (True, True)]


def factors(
    r: int, m: int, k: int, n: int, flipped: tuple[bool, bool], single: bool
) -> list[torch.Tensor]:
    """Two factors in memory as they are or transposed, of a stack or of a single product."""
    generator = torch.Generator().manual_seed(0)

    def drawn(rows: int, columns: int, flip: bool) -> torch.Tensor:
        shape = (r, columns, rows) if flip else (r, rows, columns)
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        values = values.mT if flip else values
        return values[0] if single else values

    return [drawn(m, k, flipped[0]), drawn(k, n, flipped[1])]


def rewritten(*given: torch.Tensor) -> GraphModule:
    product = aten.mm.default if given[0].ndim == 2 else aten.bmm.default
    graph: GraphModule = make_fx(lambda a, b: product(a, b), tracing_mode="fake")(*given)
    SmallProducts()(graph.graph)
    graph.graph.lint()
    graph.recompile()
    return graph


def operations(graph: GraphModule) -> set[str]:
    return {str(node.target).split(".")[1] for node in graph.graph.nodes if node.op[0] == "c"}


@pytest.mark.parametrize("flipped", TRANSPOSED)
@pytest.mark.parametrize(
    ("sizes", "single", "expected"),
    [
        # Thin: a point of two numbers, a score, the gradients of both layers' weights.
        ((64, 512, 2, 64), False, "sum"),
        ((64, 512, 64, 1), False, "sum"),
        ((1, 64, 512, 2), False, "sum"),
        ((1, 1, 512, 64), False, "sum"),
        ((1, 512, 2, 64), True, "sum"),
        # Sums over the batch.
        ((1, 64, 512, 64), True, "terms"),
        ((64, 64, 512, 2), False, "terms"),
        ((64, 1, 512, 64), False, "terms"),
        ((1, 64, 768, 64), False, "terms"),
        ((64, 16, 256, 16), False, "terms"),
        ((3, 64, 256, 48), False, "terms"),
        # A single product with many rows.
        ((1, 256, 64, 64), True, "rows"),
        ((1, 128, 16, 16), False, "rows"),
        # The others are left to cuBLAS.
        ((64, 512, 64, 64), False, "same"),
        ((1, 256, 128, 128), True, "same"),
        ((1, 250, 64, 64), True, "same"),
        ((256, 64, 256, 64), False, "same"),
        ((1, 64, 509, 64), True, "same"),
    ],
)
def test_a_product_takes_the_form_of_its_size_and_stays_what_it_is(
    sizes: tuple[int, int, int, int], single: bool, flipped: tuple[bool, bool], expected: str
) -> None:
    a, b = factors(*sizes, flipped, single)
    graph, product = rewritten(a, b), a @ b
    found = graph(a, b)
    assert found.shape == product.shape and found.dtype == product.dtype
    torch.testing.assert_close(found, product, rtol=1e-12, atol=1e-12)
    done = operations(graph)
    if expected == "sum":
        assert {"mul", "sum"} <= done and not done & {"mm", "bmm"}
    elif expected == "terms":
        assert {"bmm", "sum"} <= done and "mul" not in done
    elif expected == "rows":
        assert {"bmm", "expand"} <= done and "sum" not in done
    else:
        assert done <= {"mm", "bmm"}


def test_sums_are_divided_as_far_as_blocks_and_terms_allow() -> None:
    assert parts_of_sum((1, 64, 512, 64)) == 16, "32 terms are the fewest"
    assert parts_of_sum((1, 64, 768, 64)) == 16, "48 terms, which no further half divides"
    assert parts_of_sum((64, 64, 512, 64)) == 4, "256 blocks"
    assert parts_of_sum((256, 64, 512, 64)) == 1
    assert parts_of_sum((64, 128, 512, 128)) == 1, "four tiles each"
    assert parts_of_sum((1, 512, 64, 64)) == 1, "not a sum over the batch"


def test_torch_keeps_what_it_compiled_by_the_text_of_the_rewriting() -> None:
    assert SmallProducts().uuid() == SmallProducts().uuid() is not None
