"""What a compiled engine runs: the graphs of a model around the loop over time, free of any backend.

An element is one component of one site. Before the loop the *prologue* turns raw static parameters into physical
ones; each step runs *forward*; the way back runs *adjoint* in reverse and the *epilogue* once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from dmg.engine.declare import Parameter
from dmg.engine.graph import Graph
from dmg.engine.trace import trace_step

if TYPE_CHECKING:
    from dmg.engine.parameters import ParameterLayout
    from dmg.engine.process_model import ProcessModel


@dataclass(frozen=True)
class Kernel:
    """The graphs of one model, for one choice of static and dynamic parameters and of fluxes.

    Inputs are named by kind: ``s:`` states, ``x:`` forcings, ``r:`` raw and ``p:`` physical parameters, ``u:`` weights
    of a network in the step, ``w:`` component weights of a flux, ``c:`` cotangents. Outputs: ``s:``, ``f:`` fluxes,
    ``d:`` gradients.

    Parameters
    ----------
    states, forcings, static, dynamic, fluxes
        Names without kind, in the order of the arrays that the kernel reads and writes.
    uniforms
        Weights that all elements share.
    weighted
        Fluxes whose components are weighted instead of averaged.
    components
        Whether fluxes are returned for every component instead.
    prologue, step, epilogue
        The graphs; ``step`` has forward and adjoint outputs.
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

    @cached_property
    def forward(self) -> Graph:
        """The graph of one step."""
        return self.step.prune([f"s:{n}" for n in self.states] + [f"f:{n}" for n in self.fluxes])

    def adjoint(self, wanted: Sequence[str]) -> Graph:
        """Return the graph of one step back: gradients of the states and of the wanted inputs, ``r:parBETA`` say."""
        return self.step.prune([f"d:s:{n}" for n in self.states] + [f"d:{n}" for n in wanted])


def build_kernel(
    model: ProcessModel,
    layout: ParameterLayout,
    fluxes: Sequence[str],
    weighted: Sequence[str] = (),
    components: bool = False,
) -> Kernel:
    """Trace a model and put link and bounds of its parameters around the step."""
    traced = trace_step(model, [p.name for p in layout.parameters], fluxes)
    graph = Graph()
    states = [n.removeprefix("s:") for n in traced.inputs if n.startswith("s:")]
    physical = {
        f"p:{p.name}": _scaled(graph, graph.input(f"r:{p.name}"), p, layout.link) for p in layout.dynamic_parameters
    }
    weights = {f"c:f:{n}": graph.add("mul", graph.input(f"c:f:{n}"), graph.input(f"w:{n}")) for n in weighted}
    moved = copy_into(graph, traced, physical | weights)
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
    for p in layout.static_parameters:
        prologue.outputs[f"p:{p.name}"] = _scaled(prologue, prologue.input(f"r:{p.name}"), p, layout.link)
        slope = _slope(epilogue, epilogue.input(f"r:{p.name}"), p, layout.link)
        epilogue.outputs[f"d:r:{p.name}"] = epilogue.add("mul", epilogue.input(f"d:p:{p.name}"), slope)
    return Kernel(
        states=tuple(states),
        forcings=tuple(f.name for f in model.forcings),
        static=tuple(p.name for p in layout.static_parameters),
        dynamic=tuple(p.name for p in layout.dynamic_parameters),
        fluxes=tuple(fluxes),
        uniforms=tuple(n.removeprefix("u:") for n in traced.inputs if n.startswith("u:")),
        weighted=tuple(weighted),
        components=components,
        prologue=prologue,
        step=graph,
        epilogue=epilogue,
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


def _link(g: Graph, raw: int, link: str) -> int:
    if link == "identity":
        return raw
    return g.add("div", g.constant(1.0), g.add("add", g.constant(1.0), g.add("exp", g.add("neg", raw))))


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
