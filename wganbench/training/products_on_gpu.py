"""Matrix products of a stack, rewritten for a GPU in the graph that torch.compile lowers.

The products of small networks are too small for cuBLAS: it starts too few blocks for a long sum
over the batch, and takes longer for two columns than for sixty-four. This pass rewrites three kinds
of products; the sums have the same terms in another order. Times on an H200 in fp32, for one run
and for 64 runs of width 64:

- A thin product, one size of which is at most `THIN`, becomes a sum that Triton fuses with its
  neighbours. cuBLAS takes 11.0 us for the gradient of one run's weights of two inputs.
- A long sum is divided into parts: over 512 points 6.2 us become 3.2, and 12.6 become 10.1.
- The rows of a single run's product are divided: for 256 points 9.8 us become 3.6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

# An internal module of torch, which may change; seen in torch 2.11 and 2.14, November 2026. Without
# it `compiling` leaves the products as they are.
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files
from torch.fx import Graph, Node

aten = torch.ops.aten

THIN = 4
"""Largest size of a product that is written as a sum."""

TILE = 64
"""Rows and columns of a product that one block of a GPU computes."""

BLOCKS = 256
"""Blocks of a product above which its sums are not divided; about two for each processor."""

LEAST_TERMS = 32
"""Fewest terms of a part of a divided sum."""

PARTS_OF_ROWS, MOST_COLUMNS = 4, 64
"""Parts into which the rows of a single product are divided, and up to how many columns."""

Call = Callable[..., Node]
"""A function that adds a call of an operation to a graph, given its arguments."""

Sizes = tuple[int, int, int, int]
"""Of a product (r, m, k) @ (r, k, n)."""


class SmallProducts(CustomGraphPass):
    """Rewrites the products of a graph in place; torch keeps what it compiled by `uuid`."""

    def __call__(self, graph: Graph) -> None:
        for node in list(graph.nodes):
            if node.op == "call_function" and node.target in PRODUCTS:
                _rewrite(graph, node)

    def uuid(self) -> Any:
        return get_hash_for_files((__file__,))


PRODUCTS = (aten.mm.default, aten.bmm.default)


def _rewrite(graph: Graph, node: Node) -> None:
    a, b = (argument for argument in node.args if isinstance(argument, Node))
    (*_, m, k), n = a.meta["val"].shape, b.meta["val"].shape[-1]
    r = a.meta["val"].shape[0] if a.meta["val"].ndim == 3 else 1
    if not all(isinstance(size, int) for size in (r, m, k, n)):
        return
    with graph.inserting_before(node):
        result = _rewritten(_adding_to(graph), a, b, (r, m, k, n))
        if result is not None:
            own = list(node.meta["val"].shape)
            node.replace_all_uses_with(_adding_to(graph)(aten.reshape.default, result, own))
            graph.erase_node(node)


def _rewritten(call: Call, a: Node, b: Node, sizes: Sizes) -> Node | None:
    """Return the product in another form, or None when it stays."""
    r, m, k, n = sizes
    parts = parts_of_sum(sizes)
    # Triton is slow for a long sum of several runs: 63 us for the gradient of 64 runs' weights of
    # two inputs, for which cuBLAS takes 11.5.
    if min(m, k, n) <= THIN and (r == 1 or k <= max(m, n)):
        return _as_sum(call, a, b)
    if parts > 1:
        return _by_terms(call, a, b, sizes, parts)
    if r == 1 and n <= MOST_COLUMNS and m % (PARTS_OF_ROWS * LEAST_TERMS) == 0:
        return _by_rows(call, a, b, sizes)
    return None


def parts_of_sum(sizes: Sizes) -> int:
    """Return into how many parts the sums of a product are divided, a power of two.

    Only sums over the batch are divided: they are longer than the result is wide.
    """
    r, m, k, n = sizes
    blocks, parts = r * -(-m // TILE) * -(-n // TILE), 1
    while (
        k > max(m, n)
        and k % (2 * parts) == 0
        and k // (2 * parts) >= LEAST_TERMS
        and 2 * parts * blocks <= BLOCKS
    ):
        parts *= 2
    return parts


def _as_sum(call: Call, a: Node, b: Node) -> Node:
    terms = call(aten.mul.Tensor, call(aten.unsqueeze.default, a, -1), _above(call, b))
    return call(aten.sum.dim_IntList, terms, [-2])


def _above(call: Call, b: Node) -> Node:
    return call(aten.unsqueeze.default, b, -3)


def _by_terms(call: Call, a: Node, b: Node, sizes: Sizes, parts: int) -> Node:
    r, m, k, n = sizes
    left = call(aten.reshape.default, a, [r, m, parts, k // parts])
    left = call(aten.permute.default, left, [0, 2, 1, 3])
    left = call(aten.reshape.default, left, [r * parts, m, k // parts])
    right = call(aten.reshape.default, b, [r * parts, k // parts, n])
    sums = call(aten.reshape.default, call(aten.bmm.default, left, right), [r, parts, m, n])
    return call(aten.sum.dim_IntList, sums, [1])


def _by_rows(call: Call, a: Node, b: Node, sizes: Sizes) -> Node:
    _, m, k, n = sizes
    rows = call(aten.reshape.default, a, [PARTS_OF_ROWS, m // PARTS_OF_ROWS, k])
    every = call(
        aten.expand.default, call(aten.reshape.default, b, [1, k, n]), [PARTS_OF_ROWS, k, n]
    )
    return call(aten.bmm.default, rows, every)


def _adding_to(graph: Graph) -> Call:
    def call(target: Any, *arguments: Any) -> Node:
        node = graph.call_function(target, arguments)
        values = [a.meta["val"] if isinstance(a, Node) else a for a in arguments]
        node.meta["val"] = target(*values)
        return node

    return call
