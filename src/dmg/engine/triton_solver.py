"""The loops by which a kernel of an implicit model solves a step, as statements of Triton.

A block goes on as long as one of its elements does; an element that is done keeps what it has, so that its result is
the same in any company.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dmg.engine.implicit_graph import solution_names
from dmg.engine.triton_graph import write_graph

if TYPE_CHECKING:
    from dmg.engine.triton_kernel import TritonKernelWriter


def write_solution(w: TritonKernelWriter, known: Mapping[str, str]) -> dict[str, str]:
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

    found = _repeat(w, write_graph(w, first, known), "attempt:stage", solver.attempts, attempt)
    return {name: found[register] for name, register in solution_names(w.kernel.states).items()}


def _repeat(
    w: TritonKernelWriter,
    start: dict[str, str],
    flag: str,
    limit: int,
    body: Callable[[dict[str, str]], dict[str, str]],
) -> dict[str, str]:
    """Write a loop over registers that ends when a flag is positive in no element, at last after ``limit`` turns."""
    w.count += 1
    turns, more = f"turns{w.count}", f"more{w.count}"
    names = dict(zip(start, w.carry(f"register{w.count}_", list(start.values())), strict=True))
    w.do(f"{turns} = 0")
    w.do(f"{more} = 1")
    w.do(f"while {more} > 0:")
    w.level += 1
    # Copied first: what is read must not change while the new values are computed.
    new = body({name: w.emit(variable) for name, variable in names.items()})
    for name, variable in names.items():
        w.do(f"{variable} = {new[name]}")
    w.do(f"{turns} += 1")
    w.do(f"{more} = tl.max(tl.where(({names[flag]} > zero) & ({turns} < {limit}), 1, 0), axis=0)")
    w.level -= 1
    return names
