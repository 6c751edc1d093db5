"""A pointwise graph in static single assignment: what a traced step becomes before it is a kernel.

Every node is one scalar operation of the table `OPS`. Building a node folds constants, applies the exact identities
that floating point allows, and finds an equal node if there is one, so the graph is free of common subexpressions at
all times; `Graph.prune` drops what no output needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

REAL, BOOL = "real", "bool"


@dataclass(frozen=True)
class Op:
    """One operation: number of operands, kinds of operands and result, and its meaning on numpy scalars."""

    operands: tuple[str, ...]
    result: str
    fold: Callable[..., object]
    flops: int = 1


def _minimum(a: float, b: float) -> float:
    return math.nan if math.isnan(a) or math.isnan(b) else min(a, b)


def _maximum(a: float, b: float) -> float:
    return math.nan if math.isnan(a) or math.isnan(b) else max(a, b)


_R, _B = REAL, BOOL
OPS: dict[str, Op] = {
    "add": Op((_R, _R), _R, lambda a, b: a + b),
    "sub": Op((_R, _R), _R, lambda a, b: a - b),
    "mul": Op((_R, _R), _R, lambda a, b: a * b),
    "div": Op((_R, _R), _R, np.divide, 4),
    "neg": Op((_R,), _R, lambda a: -a),
    "abs": Op((_R,), _R, abs),
    "sqrt": Op((_R,), _R, np.sqrt, 6),
    "floor": Op((_R,), _R, np.floor),
    "min": Op((_R, _R), _R, _minimum),
    "max": Op((_R, _R), _R, _maximum),
    "exp": Op((_R,), _R, np.exp, 15),
    "log": Op((_R,), _R, np.log, 20),
    "expm1": Op((_R,), _R, np.expm1, 20),
    "log1p": Op((_R,), _R, np.log1p, 25),
    "pow": Op((_R, _R), _R, np.power, 40),
    "sigmoid": Op((_R,), _R, lambda a: 1.0 / (1.0 + np.exp(-a)), 20),
    # x ** (y - 1) where x ** y is known: its operands are x, y - 1 and x ** y.
    "lower_pow": Op((_R, _R, _R), _R, lambda x, y, higher: np.power(x, y), 4),
    "sin": Op((_R,), _R, np.sin, 20),
    "cos": Op((_R,), _R, np.cos, 20),
    "tanh": Op((_R,), _R, np.tanh, 25),
    "lt": Op((_R, _R), _B, lambda a, b: a < b),
    "le": Op((_R, _R), _B, lambda a, b: a <= b),
    "gt": Op((_R, _R), _B, lambda a, b: a > b),
    "ge": Op((_R, _R), _B, lambda a, b: a >= b),
    "eq": Op((_R, _R), _B, lambda a, b: a == b),
    "ne": Op((_R, _R), _B, lambda a, b: a != b),
    "and": Op((_B, _B), _B, lambda a, b: bool(a and b)),
    "or": Op((_B, _B), _B, lambda a, b: bool(a or b)),
    "not": Op((_B,), _B, lambda a: not a),
    "where": Op((_B, _R, _R), _R, lambda c, a, b: a if c else b),
    # What elementary functions are made of; see `elementary`.
    "fma": Op((_R, _R, _R), _R, lambda a, b, c: a * b + c, 2),
    "reciprocal": Op((_R,), _R, lambda a: 1.0 / a, 4),
    "rint": Op((_R,), _R, np.rint),
    "mantissa": Op((_R,), _R, lambda a: _split(a)[0]),
    "exponent": Op((_R,), _R, lambda a: _split(a)[1]),
    "ldexp": Op((_R, _R), _R, lambda a, n: math.ldexp(a, int(n))),
}


def _split(a: float) -> tuple[float, float]:
    """Return mantissa in [0.75, 1.5) and exponent of a positive number."""
    mantissa, exponent = math.frexp(a)
    return (mantissa, float(exponent)) if mantissa >= 0.75 else (2 * mantissa, float(exponent - 1))


@dataclass(frozen=True)
class Node:
    """A value of the graph; ``args`` are indices of earlier nodes, a constant or an input has none."""

    op: str
    args: tuple[int, ...] = ()
    value: float | bool | None = None
    name: str | None = None


class Graph:
    """Nodes in an order in which operands come first.

    Attributes
    ----------
    nodes
        All nodes.
    inputs
        Input name to node.
    outputs
        Output name to node.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.inputs: dict[str, int] = {}
        self.outputs: dict[str, int] = {}
        self._found: dict[Node, int] = {}

    def input(self, name: str) -> int:
        """Return the node of an input, a new one the first time."""
        if name not in self.inputs:
            self.inputs[name] = self._append(Node("input", name=name))
        return self.inputs[name]

    def constant(self, value: float | bool) -> int:
        """Return the node of a constant."""
        value = bool(value) if isinstance(value, (bool, np.bool_)) else float(value)
        # repr tells -0.0 from 0.0 and makes every NaN one key.
        return self._append(Node("constant", value=value, name=repr(value)))

    def kind(self, node: int) -> str:
        """Return REAL or BOOL."""
        found = self.nodes[node]
        if found.op == "constant":
            return BOOL if isinstance(found.value, bool) else REAL
        return REAL if found.op == "input" else OPS[found.op].result

    def add(self, op: str, *args: int) -> int:
        """Return the node of an operation, folded or shared where that is exact."""
        operands = [self.nodes[a] for a in args]
        if all(n.op == "constant" for n in operands):
            with np.errstate(all="ignore"):
                return self.constant(OPS[op].fold(*(n.value for n in operands)))
        simple = self._simplify(op, args, operands)
        return self._append(Node(op, args)) if simple is None else simple

    def _simplify(self, op: str, args: Sequence[int], operands: Sequence[Node]) -> int | None:
        """Apply identities that hold for every number, NaN and the infinities included (signs of zero aside)."""
        values = [n.value if n.op == "constant" else None for n in operands]
        if op == "mul" and 1.0 in values:
            return args[1 - values.index(1.0)]
        if op == "mul" and -1.0 in values:
            return self.add("neg", args[1 - values.index(-1.0)])
        if op == "add" and 0.0 in values:
            return args[1 - values.index(0.0)]
        if op == "sub" and values[1] == 0.0:
            return args[0]
        if op == "sub" and values[0] == 0.0:
            return self.add("neg", args[1])
        if op == "div" and values[1] == 1.0:
            return args[0]
        if op == "div" and values[1] and math.frexp(values[1])[0] in (0.5, -0.5):
            return self.add("mul", args[0], self.constant(1.0 / values[1]))
        if op == "pow" and values[1] == 1.0:
            return args[0]
        if op == "pow" and values[1] == 2.0:
            return self.add("mul", args[0], args[0])
        if op == "neg" and operands[0].op == "neg":
            return operands[0].args[0]
        if op == "add" and operands[1].op == "neg":
            return self.add("sub", args[0], operands[1].args[0])
        if op == "add" and operands[0].op == "neg":
            return self.add("sub", args[1], operands[0].args[0])
        if op == "sub" and operands[1].op == "neg":
            return self.add("add", args[0], operands[1].args[0])
        if op == "where" and args[1] == args[2]:
            return args[1]
        if op == "where" and values[0] is not None:
            return args[1] if values[0] else args[2]
        if op in ("and", "or") and None in values and any(v is not None for v in values):
            constant = values[0] if values[0] is not None else values[1]
            other = args[1] if values[0] is not None else args[0]
            absorbs = op == "or"
            return self.constant(constant) if constant is absorbs else other
        if op in ("and", "or") and args[0] == args[1]:
            return args[0]
        if op == "not" and operands[0].op == "not":
            return operands[0].args[0]
        return None

    def _append(self, node: Node) -> int:
        if node.op in ("add", "mul", "min", "max", "eq", "ne", "and", "or"):
            node = Node(node.op, tuple(sorted(node.args)))
        if node not in self._found:
            self._found[node] = len(self.nodes)
            self.nodes.append(node)
        return self._found[node]

    def needed(self, outputs: Iterable[str] | None = None) -> list[int]:
        """Return the nodes that some outputs (all if absent) need, in order."""
        wanted = self.outputs.values() if outputs is None else [self.outputs[name] for name in outputs]
        seen: set[int] = set()
        stack = list(wanted)
        while stack:
            node = stack.pop()
            if node not in seen:
                seen.add(node)
                stack.extend(self.nodes[node].args)
        return sorted(seen)

    def prune(self, outputs: Iterable[str] | None = None) -> Graph:
        """Return a graph with only these outputs and what they need."""
        names = list(self.outputs) if outputs is None else list(outputs)
        smaller, moved = Graph(), {}
        for index in self.needed(names):
            node = self.nodes[index]
            renumbered = Node(node.op, tuple(moved[a] for a in node.args), node.value, node.name)
            moved[index] = smaller._append(renumbered)
            if node.op == "input":
                smaller.inputs[node.name] = moved[index]
        smaller.outputs = {name: moved[self.outputs[name]] for name in names}
        return smaller

    def copy(self) -> Graph:
        """Return a graph that can be changed without changing this one."""
        other = Graph()
        other.nodes, other.inputs, other.outputs = list(self.nodes), dict(self.inputs), dict(self.outputs)
        other._found = dict(self._found)
        return other

    def make_input(self, node: int, name: str) -> None:
        """Turn a node into an input."""
        self.nodes[node] = Node("input", name=name)
        self.inputs[name] = node

    def count(self) -> int:
        """Return the number of operations."""
        return sum(node.op in OPS for node in self.nodes)

    def flops(self) -> int:
        """Return an estimate of the floating-point operations of one evaluation."""
        return sum(OPS[node.op].flops for node in self.nodes if node.op in OPS)
