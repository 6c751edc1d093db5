"""The loops by which a kernel of an implicit model solves a step, as LLVM instructions.

A block goes on as long as one of its lanes does; a lane that is done keeps what it has, so that its result is the same
in any company.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dmg.engine.implicit_graph import solution_names
from dmg.engine.llvm_graph import write_graph

if TYPE_CHECKING:
    from dmg.engine.llvm_kernel import KernelWriter


def write_solution(w: KernelWriter, known: Mapping[str, str]) -> dict[str, str]:
    """Write the solution of a step and return what the step reads of it; nothing if the model is not implicit.

    Parameters
    ----------
    w
        Writer of the kernel.
    known
        Old states, forcings and parameters by the names of graphs.
    """
    solver = w.kernel.solver
    if solver is None:
        return {}
    first, begin, turn, judge = (w.prepared(graph) for graph in solver.graphs)

    def attempt(registers: dict[str, str]) -> dict[str, str]:
        here = {**known, **registers}
        start = write_graph(w, begin, here)
        found = _repeat(w, start, "iterate:status", solver.turns, lambda now: write_graph(w, turn, here | now))
        return write_graph(w, judge, here | found)

    start = write_graph(w, first, known)
    found = _repeat(w, start, "attempt:stage", solver.attempts, attempt)
    return {name: found[register] for name, register in solution_names(w.kernel.states).items()}


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
