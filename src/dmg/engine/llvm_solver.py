"""The loops by which a kernel of an implicit model solves a step, as LLVM instructions.

A block goes on as long as one of its lanes does; a lane that is done keeps what it has, so that its result is the same
in any company.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dmg.engine import implicit_graph
from dmg.engine.llvm_graph import write_graph

if TYPE_CHECKING:
    from dmg.engine.llvm_kernel import KernelWriter


def write_solution(w: KernelWriter, known: Mapping[str, str]) -> dict[str, str]:
    """Write the solution of a step; see `implicit_graph.write_solution`."""
    return implicit_graph.write_solution(w, known, write_graph, _repeat)


def _repeat(
    w: KernelWriter,
    start: dict[str, str],
    flag: str,
    limit: int,
    body: Callable[[dict[str, str]], dict[str, str]],
) -> dict[str, str]:
    """Write a loop over registers that ends when a flag is positive in no lane, at last after ``limit`` turns."""
    w.labels += 1
    n = w.labels
    w.do(f"br label %before{n}")
    w.do(f"before{n}:")
    w.do(f"br label %body{n}")
    w.do(f"body{n}:")
    now = {name: f"%c{n}_{k}" for k, name in enumerate(start)}
    first = len(w.lines)
    for _ in range(len(start) + 1):
        w.do("")
    # What the body computes is unknown after it.
    known, w.logarithms = w.logarithms, dict(w.logarithms)
    new = body(now)
    w.logarithms = known
    more = w.emit(f"fcmp ogt {w.vector} {new[flag]}, {w.constant(0.0)}")
    some = w.call(f"llvm.vector.reduce.or.v{w.lanes}i1", "i1", (f"<{w.lanes} x i1>", more))
    turns = w.integer(f"add %i{n}, 1")
    fewer = w.emit(f"icmp slt i64 {turns}, {limit}")
    again = w.emit(f"and i1 {some}, {fewer}")
    w.do(f"br label %latch{n}")
    w.do(f"latch{n}:")
    w.do(f"br i1 {again}, label %body{n}, label %done{n}")
    w.lines[first] = f"  %i{n} = phi i64 [ 0, %before{n} ], [ {turns}, %latch{n} ]"
    for k, name in enumerate(start):
        phi = f"phi {w.vector} [ {start[name]}, %before{n} ], [ {new[name]}, %latch{n} ]"
        w.lines[first + 1 + k] = f"  {now[name]} = {phi}"
    w.do(f"done{n}:")
    return new
