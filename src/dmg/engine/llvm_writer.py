"""Collect the instructions of an LLVM function."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

# No flag says that there are no NaN or infinities: the special cases of the elementary functions rely on them.
FLAGS = "nsz"


@dataclass(frozen=True)
class Regular:
    """Which entries of a vector the short form of a function serves, and whether it serves all."""

    lanes: str
    all: str


@dataclass
class Writer:
    """Collects the instructions of a function.

    Parameters
    ----------
    real
        ``float`` or ``double``.
    lanes
        Elements per vector.
    avx512
        Whether the instructions that split and scale numbers are there.
    """

    real: str
    lanes: int
    avx512: bool
    lines: list[str] = field(default_factory=list)
    declarations: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    logarithms: dict[str, tuple[str, str, Regular]] = field(default_factory=dict)
    count: int = 0
    labels: int = 0

    @property
    def bytes(self) -> int:
        """Size of a number."""
        return 4 if self.real == "float" else 8

    @property
    def vector(self) -> str:
        """Type of a vector of numbers."""
        return f"<{self.lanes} x {self.real}>"

    @property
    def suffix(self) -> str:
        """Suffix of intrinsics on vectors of numbers."""
        return f"v{self.lanes}{'f32' if self.real == 'float' else 'f64'}"

    def emit(self, instruction: str) -> str:
        """Write an instruction and return the name of its result."""
        self.count += 1
        self.lines.append(f"  %v{self.count} = {instruction}")
        return f"%v{self.count}"

    def do(self, instruction: str) -> None:
        """Write an instruction without result, or a label."""
        self.lines.append(instruction if instruction.endswith(":") else f"  {instruction}")

    def call(self, name: str, result: str, *operands: tuple[str, str]) -> str:
        """Call a function and declare it; an operand is its type and its name."""
        self.declarations.add(f"declare {result} @{name}({', '.join(kind for kind, _ in operands)})")
        return self.emit(f"call {result} @{name}({', '.join(f'{kind} {value}' for kind, value in operands)})")

    def integer(self, expression: str) -> str:
        """Emit an integer instruction, written without its type."""
        op, operands = expression.split(" ", 1)
        return self.emit(f"{op} i64 {operands}")

    def smaller(self, a: str, b: str) -> str:
        """Return the smaller one of two integers."""
        less = self.emit(f"icmp slt i64 {a}, {b}")
        return self.emit(f"select i1 {less}, i64 {a}, i64 {b}")

    def address(self, base: str, *terms: str) -> str:
        """Return base plus a sum of products ``a*b`` or plain terms, in numbers."""
        total = None
        for term in terms:
            value = term
            if "*" in term:
                a, b = term.split("*")
                value = self.integer(f"mul {a}, {b}")
            total = value if total is None else self.integer(f"add {total}, {value}")
        return self.emit(f"getelementptr {self.real}, ptr {base}, i64 {total}")

    def load(self, pointer: str) -> str:
        """Load a vector."""
        return self.emit(f"load {self.vector}, ptr {pointer}, align {self.bytes}")

    def store(self, value: str, pointer: str) -> None:
        """Store a vector."""
        self.do(f"store {self.vector} {value}, ptr {pointer}, align {self.bytes}")

    def splat(self, scalar: str, lanes: int | None = None) -> str:
        """Return a vector of equal entries."""
        lanes = lanes or self.lanes
        kind = f"<{lanes} x {self.real}>"
        one = self.emit(f"insertelement {kind} poison, {self.real} {scalar}, i32 0")
        return self.emit(f"shufflevector {kind} {one}, {kind} poison, <{lanes} x i32> zeroinitializer")

    def join(self, parts: list[str], size: int) -> str:
        """Return vectors of a size as one."""
        while len(parts) > 1:
            kind, both = f"<{size} x {self.real}>", ", ".join(f"i32 {i}" for i in range(2 * size))
            parts = [
                self.emit(f"shufflevector {kind} {a}, {kind} {b}, <{2 * size} x i32> <{both}>")
                for a, b in zip(parts[::2], parts[1::2], strict=True)
            ]
            size *= 2
        return parts[0]

    def constant(self, value: float | bool) -> str:
        """Return a constant vector as an operand."""
        if isinstance(value, bool):
            return f"<{', '.join([f'i1 {str(value).lower()}'] * self.lanes)}>"
        return f"<{', '.join([f'{self.real} {self.number(value)}'] * self.lanes)}>"

    def number(self, value: float) -> str:
        """Return a number in the form that keeps every bit; single precision is rounded first."""
        if self.real == "float":
            value = _to_single(value)
        return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"

    def function(self, name: str, arguments: Sequence[str], body: Callable[[], None]) -> str:
        """Return the text of a function."""
        self.lines.clear()
        self.logarithms.clear()
        self.do("entry:")
        body()
        self.do("ret void")
        written = ", ".join(a.replace("ptr ", "ptr noalias %").replace("i64 ", "i64 %") for a in arguments)
        return f"define void @{name}({written}) #0 {{\n" + "\n".join(self.lines) + "\n}\n"

    def module(self, functions: Sequence[str]) -> str:
        """Return the text of a module."""
        width = '"prefer-vector-width"="512" "min-legal-vector-width"="512"'
        attributes = f"attributes #0 = {{ nounwind {width} }}\nattributes #1 = {{ nounwind noinline cold {width} }}\n"
        weights = '!0 = !{!"branch_weights", i32 1048576, i32 1}\n'
        return "\n".join([*functions, *sorted(self.declarations), attributes, weights])


def _to_single(value: float) -> float:
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
