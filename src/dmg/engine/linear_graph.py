"""Linear algebra of constant, small size in a graph: derivatives without their zeros, and sparse elimination."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dmg.engine.graph import Graph

#: Entries that are not zero by structure, (row, column) to node.
Matrix = Mapping[tuple[int, int], int]


def copy_linear(target: Graph, source: Graph, replaced: Mapping[str, int | None]) -> dict[str, int | None]:
    """Copy a graph that is linear in some inputs into another, those replaced by None being zero.

    Returns
    -------
    dict
        Output name to node; None where all that it depends on linearly is zero.
    """
    moved: list[int | None] = []
    for node in source.nodes:
        if node.op == "input":
            moved.append(replaced[node.name] if node.name in replaced else target.input(node.name))
        elif node.op == "constant":
            moved.append(target.constant(node.value))
        else:
            moved.append(_product(target, node.op, [moved[a] for a in node.args]))
    return {name: moved[node] for name, node in source.outputs.items()}


def _product(g: Graph, op: str, args: Sequence[int | None]) -> int | None:
    """Return the node of an operation whose operands may be zero by structure."""
    if None not in args:
        return g.add(op, *args)
    if (op == "mul" or all(a is None for a in args[-2:])) and op in ("mul", "add", "sub", "where"):
        return None
    if op in ("neg", "div") and args[0] is None:
        return None
    if op == "add":
        return args[0] if args[1] is None else args[1]
    if op == "sub":
        return args[0] if args[1] is None else g.add("neg", args[1])
    return g.add(op, *(g.constant(0.0) if a is None else a for a in args))


def solve(g: Graph, matrix: Matrix, right: Sequence[int | None]) -> list[int | None]:
    """Return the solution of linear equations, eliminated without exchange of rows.

    The order of elimination keeps zeros: each pivot on the diagonal is the one that fills in fewest. Matrices of
    backward Euler have the identity on the diagonal and, for stores that lose to each other, need no other pivots.
    """
    entries, values, order = dict(matrix), list(right), []
    left = set(range(len(values)))
    inverse: dict[int, int] = {}
    while left:
        pivot = min(left, key=lambda k: (_fill(entries, left, k), k))
        left.discard(pivot)
        order.append(pivot)
        inverse[pivot] = g.add("div", g.constant(1.0), entries[pivot, pivot])
        columns = [j for j in left if (pivot, j) in entries]
        for i in sorted(left):
            if (i, pivot) not in entries:
                continue
            factor = g.add("mul", entries.pop((i, pivot)), inverse[pivot])
            for j in columns:
                entries[i, j] = _less(g, entries.get((i, j)), g.add("mul", factor, entries[pivot, j]))
            if values[pivot] is not None:
                values[i] = _less(g, values[i], g.add("mul", factor, values[pivot]))
    solution: list[int | None] = [None] * len(values)
    for step, pivot in reversed(list(enumerate(order))):
        value = values[pivot]
        for j in order[step + 1 :]:
            if (pivot, j) in entries and solution[j] is not None:
                value = _less(g, value, g.add("mul", entries[pivot, j], solution[j]))
        solution[pivot] = None if value is None else g.add("mul", value, inverse[pivot])
    return solution


def _fill(entries: Matrix, left: set[int], pivot: int) -> int:
    """Return how many entries elimination by a pivot touches."""
    others = left - {pivot}
    rows = sum((i, pivot) in entries for i in others)
    return rows * (1 + sum((pivot, j) in entries for j in others))


def _less(g: Graph, a: int | None, b: int) -> int:
    return g.add("neg", b) if a is None else g.add("sub", a, b)
