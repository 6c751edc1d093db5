"""Write the nodes of a graph as statements of Triton."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from dmg.engine.graph import Graph

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|",
    "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!=",
}  # fmt: skip
_CALL = {
    "abs": "tl.abs", "floor": "tl.floor", "exp": "tl.exp", "log": "tl.log", "sin": "tl.sin", "cos": "tl.cos",
    "where": "tl.where", "fma": "tl.fma",
}  # fmt: skip
# The plain forms are approximate in single precision, and give NaN the smaller or the larger operand.
_PRECISE = {"float32": {"div": "tl.div_rn", "sqrt": "tl.sqrt_rn"}, "float64": {"sqrt": "tl.sqrt"}}
_NAN = {"min": "tl.minimum", "max": "tl.maximum"}
_BITS = ("rint", "mantissa", "exponent", "ldexp")


@dataclass
class TritonWriter:
    """Collects the statements of a kernel; every value is a block of one length, so that nothing is broadcast.

    Parameters
    ----------
    real
        ``float32`` or ``float64``.
    lanes
        Elements of a block.
    """

    real: str
    lanes: int
    lines: list[str] = field(default_factory=list)
    constants: dict[str, str] = field(default_factory=dict)
    level: int = 1
    count: int = 0

    def do(self, statement: str) -> None:
        """Write a statement."""
        self.lines.append("    " * self.level + statement)

    def emit(self, expression: str) -> str:
        """Give an expression a name and return it."""
        self.count += 1
        self.do(f"v{self.count} = {expression}")
        return f"v{self.count}"

    def constant(self, value: float | bool) -> str:
        """Return the name of a block of equal numbers; the kernel makes them once, before its loop."""
        if isinstance(value, bool):
            text = "zero == zero" if value else "zero != zero"
        else:
            number = repr(value) if math.isfinite(value) else f'float("{value}")'
            text = f"tl.full([{self.lanes}], {number}, tl.{self.real})"
        return self.constants.setdefault(text, f"k{len(self.constants)}")


def write_graph(w: TritonWriter, graph: Graph, inputs: Mapping[str, str]) -> dict[str, str]:
    """Write a graph and return the names of its outputs."""
    values: list[str] = []
    for node in graph.nodes:
        if node.op == "input":
            values.append(inputs[node.name])
        elif node.op == "constant":
            values.append(w.constant(node.value))
        else:
            values.append(w.emit(_expression(w, node.op, [values[a] for a in node.args])))
    return {name: values[node] for name, node in graph.outputs.items()}


def _expression(w: TritonWriter, op: str, args: list[str]) -> str:
    given = ", ".join(args)
    if op in _PRECISE[w.real]:
        return f"{_PRECISE[w.real][op]}({given})"
    if op == "div":
        return f"{args[0]} / {args[1]}"
    if op in _INFIX:
        return f"{args[0]} {_INFIX[op]} {args[1]}"
    if op == "neg":
        return f"-{args[0]}"
    if op == "not":
        return f"~{args[0]}"
    if op in _NAN:
        return f"{_NAN[op]}({given}, propagate_nan=tl.PropagateNan.ALL)"
    if op in _BITS:
        return f"{op}{w.real.removeprefix('float')}({given})"
    return f"{_CALL[op]}({given})"
