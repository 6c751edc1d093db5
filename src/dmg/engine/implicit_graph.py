"""What kernels of an implicit model are made of: graphs of Newton's method, and of the gradient at the solution.

Everything follows from the trace of the tendency and of its vector-Jacobian product; entries of the Jacobian that are
zero by structure are never computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from dmg.engine import newton
from dmg.engine.declare import State
from dmg.engine.graph import Graph
from dmg.engine.implicit import UNCONVERGED, algebraic_entries, method_for
from dmg.engine.linear_graph import copy_linear, solve
from dmg.engine.trace import SymbolicMemory

#: Writes the physical parameters that change in time into a graph, by the names of inputs.
Physical = Callable[[Graph], dict[str, int]]


@dataclass(frozen=True)
class Solver:
    """The graphs by which a kernel solves a step, in two nested loops over registers.

    Inputs are those of a step and registers, ``attempt:`` and ``iterate:``; outputs are registers. A loop goes on as
    long as its register ``attempt:stage`` or ``iterate:status`` is positive in some element.

    Parameters
    ----------
    first_attempt, judge
        Start and turn of the outer loop.
    first_iterate, turn
        Start and turn of the inner loop.
    attempts, turns
        Greatest numbers of turns of the two.
    """

    first_attempt: Graph
    first_iterate: Graph
    turn: Graph
    judge: Graph
    attempts: int
    turns: int

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """All graphs."""
        return (self.first_attempt, self.first_iterate, self.turn, self.judge)


def solution_names(states: Sequence[str]) -> dict[str, str]:
    """Return what a step reads of the solution, ``n:<state>`` and ``n:unconverged``, to the register that has it."""
    found = {f"n:{name}": f"attempt:stores.{i}" for i, name in enumerate(states)}
    return found | {f"n:{UNCONVERGED.name}": "attempt:failed"}


def write_solution(
    w: Any,
    known: Mapping[str, str],
    write_graph: Callable[[Any, Graph, Mapping[str, str]], dict[str, str]],
    repeat: Callable[[Any, dict[str, str], str, int, Callable[[dict[str, str]], dict[str, str]]], dict[str, str]],
) -> dict[str, str]:
    """Write the solution of a step and return what the step reads of it; nothing if the model is not implicit.

    Parameters
    ----------
    w
        Writer of the kernel, of any backend.
    known
        Old states, forcings and parameters by the names of graphs.
    write_graph
        Writes a graph and returns its outputs.
    repeat
        Writes a loop over registers that ends when a flag is positive nowhere, at last after a number of turns.
    """
    solver = w.kernel.solver
    if solver is None:
        return {}
    first, begin, turn, judge = (w.prepared(graph) for graph in solver.graphs)

    def attempt(registers: dict[str, str]) -> dict[str, str]:
        here = {**known, **registers}
        start = write_graph(w, begin, here)
        found = repeat(w, start, "iterate:status", solver.turns, lambda now: write_graph(w, turn, here | now))
        return write_graph(w, judge, here | found)

    found = repeat(w, write_graph(w, first, known), "attempt:stage", solver.attempts, attempt)
    return {name: found[register] for name, register in solution_names(w.kernel.states).items()}


def build_solver(traced: Graph, declared: Sequence[State], dt: float, dtype: torch.dtype, physical: Physical) -> Solver:
    """Return the graphs that solve a step of a traced tendency."""
    graphs = {name: Graph() for name in ("first_attempt", "first_iterate", "turn", "judge")}
    states, algebraic, method = entry_names(declared), algebraic_entries(declared), method_for(declared)
    count = len(states)
    guess = [s.initial for s in declared for _ in range(s.size)]
    kind = type(method.first_iterate(newton.first_attempt(torch.zeros(count, 1))))

    def old(g: Graph) -> np.ndarray:
        start = zip(states, algebraic, guess, strict=True)
        return np.array([[g.constant(first) if fixed else g.input(f"s:{n}")] for n, fixed, first in start])

    g = graphs["first_attempt"]
    _set_registers(g, _inline(g, method.first_attempt, old(g)))
    g = graphs["first_iterate"]
    _set_registers(g, _inline(g, method.first_iterate, _registers(g, newton.Attempt, count)))
    g = graphs["judge"]
    attempt, iterate = _registers(g, newton.Attempt, count), _registers(g, kind, count)
    _set_registers(g, _inline(g, method.judge, attempt, iterate, old(g)))

    g = graphs["turn"]
    attempt, iterate = _registers(g, newton.Attempt, count), _registers(g, kind, count)
    stores = _inline(g, method.trial, iterate)
    here = {f"s:{n}": int(stores[i, 0]) for i, n in enumerate(states)} | physical(g)
    rates = copy_linear(g, traced.prune([f"s:{n}" for n in states]), here)
    span = g.add("mul", int(attempt.share[0]), g.constant(dt))
    packed = np.array([[rates[f"s:{n}"]] for n in states])
    fixed = torch.tensor(algebraic)[:, None]
    lacking = _inline(g, lambda *a: newton.residual(*a, fixed), stores, attempt.base, packed, np.array([span]))
    matrix = _matrix(g, traced, states, algebraic, here, span)
    found = solve(g, matrix, [int(node) for node in lacking[:, 0]])
    correction = np.array([[node] for node in found])
    tolerance = newton.TOLERANCE[dtype]
    _set_registers(g, _inline(g, lambda *a: method.turn(*a, tolerance), iterate, stores, lacking, correction))
    return Solver(
        **{name: graph.prune() for name, graph in graphs.items()}, attempts=method.ATTEMPTS, turns=method.TURNS
    )


def gradient_graph(traced: Graph, declared: Sequence[State], fluxes: Sequence[str], dt: float) -> Graph:
    """Return the graph of a step whose solution is known, with inputs ``n:`` and otherwise those of `trace_step`.

    ``fluxes`` may also be states, as series of their new values.

    With cotangents v of the new state, those of the fluxes included, and A = I - dt df/dS at the solution, the
    gradient of the old state is u = A^-T v, and of everything else that of the fluxes and dt u of the rates. The row
    of an algebraic state has no 1, and its old value no gradient.
    """
    g = Graph()
    states, algebraic = entry_names(declared), algebraic_entries(declared)
    series = {n: [e for e in states if n in (e, e.rpartition(".")[0])] for n in fluxes}
    own = [n for n in fluxes if n != UNCONVERGED.name and not series[n]]
    here: dict[str, int | None] = {f"s:{n}": g.input(f"n:{n}") for n in states}
    values = copy_linear(g, traced.prune([f"f:{n}" for n in own]), here)
    g.outputs = {f"s:{n}": here[f"s:{n}"] for n in states} | {f"f:{n}": values[f"f:{n}"] for n in own}
    if UNCONVERGED.name in fluxes:
        g.outputs[f"f:{UNCONVERGED.name}"] = g.input(f"n:{UNCONVERGED.name}")
    given = {n: g.input(f"c:s:{n}") for n in states}
    for name, entries in series.items():
        for k, entry in enumerate(entries):
            before = g.outputs[f"f:{name}"] if k else g.constant(0.0)
            g.outputs[f"f:{name}"] = g.add("add", before, here[f"s:{entry}"])
            given[entry] = g.add("add", given[entry], g.input(f"c:f:{name}"))

    none = {f"c:s:{n}": None for n in states}
    of_fluxes = copy_linear(g, traced.prune([f"d:s:{n}" for n in states]), here | none)
    more = {n: of_fluxes[f"d:s:{n}"] for n in states}
    cotangents = [given[n] if more[n] is None else g.add("add", given[n], more[n]) for n in states]
    matrix = _matrix(g, traced, states, algebraic, here, g.constant(dt))
    found = solve(g, {(j, i): node for (i, j), node in matrix.items()}, cotangents)
    weights = {f"c:s:{n}": g.add("mul", found[i], g.constant(dt)) for i, n in enumerate(states)}
    others = [n for n in traced.outputs if n.startswith("d:") and not n.startswith("d:s:")]
    gradients = copy_linear(g, traced.prune(others), here | weights)
    g.outputs |= {f"d:s:{n}": g.constant(0.0) if algebraic[i] else found[i] for i, n in enumerate(states)}
    g.outputs |= {n: g.constant(0.0) if node is None else node for n, node in gradients.items()}
    return g


def entry_names(states: Sequence[State]) -> list[str]:
    """Return the names of the entries of the states, as a trace has them."""
    return [s.name if s.size == 1 else f"{s.name}.{i}" for s in states for i in range(s.size)]


def _matrix(
    g: Graph,
    traced: Graph,
    states: Sequence[str],
    algebraic: Sequence[bool],
    here: Mapping[str, int | None],
    span: int,
) -> dict[tuple[int, int], int]:
    """Write I - span * df/dS at the states ``here``, without the 1 in algebraic rows."""
    backward = traced.prune([f"d:s:{n}" for n in states])
    matrix = {}
    for i, row in enumerate(states):
        # The vector-Jacobian product with a unit vector is a row of the Jacobian.
        seeds = {n: None for n in backward.inputs if n.startswith("c:")} | {f"c:s:{row}": g.constant(1.0)}
        slopes = copy_linear(g, backward, {**here, **seeds})
        for j, column in enumerate(states):
            slope, unit = slopes[f"d:s:{column}"], g.constant(1.0 if i == j and not algebraic[i] else 0.0)
            if slope is not None and g.nodes[slope].value != 0.0:
                matrix[i, j] = g.add("sub", unit, g.add("mul", span, slope))
            elif i == j:
                matrix[i, j] = unit
    return matrix


def _registers(g: Graph, kind: type[Any], count: int) -> Any:
    """Return the registers of a loop as inputs: vectors [n, 1] and numbers [1]."""
    prefix = kind.__name__.lower()

    def nodes(field: str) -> np.ndarray:
        if field in ("stores", "base", "correction"):
            return np.array([[g.input(f"{prefix}:{field}.{i}")] for i in range(count)])
        return np.array([g.input(f"{prefix}:{field}")])

    return kind(*(nodes(field) for field in kind._fields))


def _set_registers(g: Graph, values: Any) -> None:
    """Make the outputs of a graph the registers of a loop."""
    prefix = type(values).__name__.lower()
    for field, nodes in zip(values._fields, values, strict=True):
        if nodes.ndim == 1:
            g.outputs[f"{prefix}:{field}"] = int(nodes[0])
        else:
            g.outputs |= {f"{prefix}:{field}.{i}": int(node) for i, node in enumerate(nodes[:, 0])}


def _inline(g: Graph, function: Callable[..., Any], *operands: Any) -> Any:
    """Write what a function of tensors computes into a graph; operands and results are arrays of nodes."""
    memory = SymbolicMemory(g, torch.float64)

    def tensor(nodes: np.ndarray) -> torch.Tensor:
        made = torch.ones(nodes.shape, dtype=torch.float64)
        memory.bind(made, nodes)
        return made

    def each(function: Callable[[Any], Any], value: Any) -> Any:
        return type(value)(*map(function, value)) if isinstance(value, tuple) else function(value)

    with torch.inference_mode(False), torch.no_grad():
        given = [each(tensor, operand) for operand in operands]
        with memory:
            result = function(*given)
        return each(lambda value: memory.nodes(value).copy(), result)
