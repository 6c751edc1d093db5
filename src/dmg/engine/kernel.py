"""What a compiled engine runs: the graphs of a model around the loop over time, free of any backend.

An element is one component of one site. Before the loop the *prologue* turns raw static parameters into physical
ones; each step runs *forward*; the way back runs *adjoint* in reverse and the *epilogue* once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from dmg.engine.declare import Parameter
from dmg.engine.graph import Graph
from dmg.engine.implicit_graph import Solver, build_solver, gradient_graph
from dmg.engine.trace import trace_step

if TYPE_CHECKING:
    from dmg.engine.parameters import ParameterLayout
    from dmg.engine.process_model import ProcessModel


# Worth a load from the cache instead of a second computation.
COSTLY = {"pow", "exp", "log", "log1p", "expm1", "sigmoid", "tanh", "sin", "cos", "sqrt", "div"}


@dataclass(frozen=True)
class Kernel:
    """The graphs of one model, for one choice of static and dynamic parameters and of fluxes.

    Inputs are named by kind: ``s:`` states, ``x:`` forcings, ``r:`` raw and ``p:`` physical parameters, ``u:`` weights
    of a network in the step, ``w:`` component weights of a flux, ``c:`` cotangents. Outputs: ``s:``, ``f:`` fluxes,
    ``d:`` gradients.

    Parameters
    ----------
    states, forcings, static, dynamic, fluxes
        Names without kind, in the order of the arrays that the kernel reads and writes; attributes of sites are
        the last of ``static``.
    uniforms
        Weights that all elements share.
    weighted
        Fluxes whose components are weighted instead of averaged.
    components
        Whether fluxes are returned for every component instead.
    prologue, step, epilogue
        The graphs; ``step`` has forward and adjoint outputs.
    solver
        Of an implicit model, how the new states are found: ``step`` reads them as ``n:`` and not the old ones.
    """

    states: tuple[str, ...]
    forcings: tuple[str, ...]
    static: tuple[str, ...]
    dynamic: tuple[str, ...]
    fluxes: tuple[str, ...]
    uniforms: tuple[str, ...]
    weighted: tuple[str, ...]
    components: bool
    prologue: Graph
    step: Graph
    epilogue: Graph
    solver: Solver | None = None

    @property
    def graphs(self) -> tuple[Graph, ...]:
        """All graphs."""
        return (self.prologue, self.step, self.epilogue, *(self.solver.graphs if self.solver else ()))

    @cached_property
    def forward(self) -> Graph:
        """The graph of one step."""
        return self.step.prune([f"s:{n}" for n in self.states] + [f"f:{n}" for n in self.fluxes])

    @cached_property
    def costly(self) -> tuple[int, ...]:
        """Nodes of ``step`` that a run forward computes and the way back needs again, and that are worth keeping.

        A logarithm counts although only the way back needs it: it is half of a power of the same base.
        """
        forward = set(self.step.needed([f"s:{n}" for n in self.states]))
        back = self.step.needed([name for name in self.step.outputs if name.startswith("d:")])
        bases = {self.step.nodes[i].args[0] for i in forward if self.step.nodes[i].op == "pow"}

        def is_costly(index: int) -> bool:
            node = self.step.nodes[index]
            return (node.op in COSTLY and index in forward) or (node.op == "log" and node.args[0] in bases)

        return tuple(index for index in back if is_costly(index))

    @cached_property
    def again(self) -> Graph:
        """The graph of one step forward that recomputes states and the costly nodes, ``k:<i>``."""
        graph = self.step.copy()
        graph.outputs |= {f"k:{i}": node for i, node in enumerate(self.costly)}
        return graph.prune([f"s:{n}" for n in self.states] + [f"k:{i}" for i in range(len(self.costly))])

    def adjoint(self, wanted: Sequence[str], kept: bool = False) -> Graph:
        """Return the graph of one step back.

        Parameters
        ----------
        wanted
            Inputs whose gradient is asked for besides the states, ``r:parBETA`` say.
        kept
            Whether the costly nodes are inputs ``k:<i>``.
        """
        graph = self.step.copy()
        if kept:
            for i, node in enumerate(self.costly):
                graph.make_input(node, f"k:{i}")
        return graph.prune([f"d:s:{n}" for n in self.states] + [f"d:{n}" for n in wanted])


def build_kernel(
    model: ProcessModel,
    layout: ParameterLayout,
    fluxes: Sequence[str],
    weighted: Sequence[str] = (),
    components: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Kernel:
    """Trace a model and put link and bounds of its parameters around the step."""
    traced = trace_step(model, [p.name for p in layout.parameters], fluxes, dtype)
    graph = Graph()
    states = [n.removeprefix("s:") for n in traced.inputs if n.startswith("s:")]
    # All of them in the order of the model, whatever a step goes on to use first.
    uniforms = tuple(n.removeprefix("u:") for n in traced.inputs if n.startswith("u:"))

    def physical(g: Graph) -> dict[str, int]:
        """Write what is read in other units, or under other names, than the trace has it."""
        own = {f"p:{p.name}": _scaled(g, g.input(f"r:{p.name}"), p, layout.link) for p in layout.dynamic_parameters}
        # An attribute is a static parameter without link and bounds.
        return own | {f"a:{a.name}": g.input(f"p:{a.name}") for a in model.attributes}

    solver = None
    if model.implicit:
        solver = build_solver(traced, model.states, model.dt, dtype, physical)
        solver = replace(solver, turn=_share_powers(solver.turn))
        traced = gradient_graph(traced, model.states, fluxes, model.dt)
    weights = {f"c:f:{n}": graph.add("mul", graph.input(f"c:f:{n}"), graph.input(f"w:{n}")) for n in weighted}
    moved = copy_into(graph, traced, physical(graph) | weights)
    for name, node in traced.outputs.items():
        graph.outputs[name] = moved[node]
    for n in weighted:
        flux = graph.outputs[f"f:{n}"]
        graph.outputs[f"d:w:{n}"] = graph.add("mul", graph.input(f"c:f:{n}"), flux)
        graph.outputs[f"f:{n}"] = graph.add("mul", flux, graph.input(f"w:{n}"))
    for p in layout.dynamic_parameters:
        slope = _slope(graph, graph.input(f"r:{p.name}"), p, layout.link)
        graph.outputs[f"d:r:{p.name}"] = graph.add("mul", graph.outputs.pop(f"d:p:{p.name}"), slope)
    prologue, epilogue = Graph(), Graph()
    for a in model.attributes:
        graph.outputs[f"d:p:{a.name}"] = graph.outputs.pop(f"d:a:{a.name}")
    for p in layout.static_parameters:
        prologue.outputs[f"p:{p.name}"] = _scaled(prologue, prologue.input(f"r:{p.name}"), p, layout.link)
        slope = _slope(epilogue, epilogue.input(f"r:{p.name}"), p, layout.link)
        epilogue.outputs[f"d:r:{p.name}"] = epilogue.add("mul", epilogue.input(f"d:p:{p.name}"), slope)
    for a in model.attributes:
        prologue.outputs[f"p:{a.name}"] = prologue.input(f"r:{a.name}")
        epilogue.outputs[f"d:r:{a.name}"] = epilogue.input(f"d:p:{a.name}")
    return Kernel(
        states=tuple(states),
        forcings=tuple(f.name for f in model.forcings),
        static=tuple(p.name for p in (*layout.static_parameters, *model.attributes)),
        dynamic=tuple(p.name for p in layout.dynamic_parameters),
        fluxes=tuple(fluxes),
        uniforms=uniforms,
        weighted=tuple(weighted),
        components=components,
        prologue=prologue,
        step=_share_powers(graph),
        epilogue=epilogue,
        solver=solver,
    )


def copy_into(target: Graph, source: Graph, replaced: dict[str, int]) -> list[int]:
    """Copy the nodes of a graph into another, some inputs replaced; return where each node went."""
    moved: list[int] = []
    for node in source.nodes:
        if node.op == "input":
            moved.append(replaced[node.name] if node.name in replaced else target.input(node.name))
        elif node.op == "constant":
            moved.append(target.constant(node.value))
        else:
            moved.append(target.add(node.op, *(moved[a] for a in node.args)))
    return moved


def _share_powers(graph: Graph) -> Graph:
    """Return the graph with x ** (y - 1), which gradients of x ** y have, told of x ** y."""
    powers = {node.args: index for index, node in enumerate(graph.nodes) if node.op == "pow"}
    result, moved = Graph(), []
    for node in graph.nodes:
        if node.op == "input":
            moved.append(result.input(node.name))
        elif node.op == "constant":
            moved.append(result.constant(node.value))
        else:
            args = [moved[a] for a in node.args]
            higher = powers.get((node.args[0], _one_more(graph, node.args[1]))) if node.op == "pow" else None
            known = higher is not None and higher < len(moved)
            moved.append(result.add("lower_pow", *args, moved[higher]) if known else result.add(node.op, *args))
    result.outputs = {name: moved[node] for name, node in graph.outputs.items()}
    return result


def _one_more(graph: Graph, exponent: int) -> int:
    """Return the node y if the exponent is y - 1, else -1."""
    node = graph.nodes[exponent]
    return node.args[0] if node.op == "sub" and graph.nodes[node.args[1]].value == 1.0 else -1


def _link(g: Graph, raw: int, link: str) -> int:
    return raw if link == "identity" else g.add("sigmoid", raw)


def _scaled(g: Graph, raw: int, p: Parameter, link: str) -> int:
    return g.add("add", g.constant(p.low), g.add("mul", _link(g, raw, link), g.constant(p.high - p.low)))


def _slope(g: Graph, raw: int, p: Parameter, link: str) -> int:
    width = g.constant(p.high - p.low)
    if link == "identity":
        return width
    unit = _link(g, raw, link)
    return g.add("mul", width, g.add("mul", unit, g.add("sub", g.constant(1.0), unit)))


def fingerprint(*parts: object) -> str:
    """Return a name for compiled code that depends on exactly these parts."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
