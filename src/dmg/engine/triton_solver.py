"""The loops by which a kernel of an implicit model solves a step, as statements of Triton.

A block goes on as long as one of its elements does; an element that is done keeps what it has, so that its result is
the same in any company.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from dmg.engine import implicit_graph
from dmg.engine.triton_graph import write_graph

if TYPE_CHECKING:
    from dmg.engine.triton_kernel import TritonKernelWriter


def write_solution(w: TritonKernelWriter, known: Mapping[str, str]) -> dict[str, str]:
    """Write the solution of a step; see `implicit_graph.write_solution`."""
    return implicit_graph.write_solution(w, known, write_graph, _repeat)


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
