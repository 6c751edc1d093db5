"""The rules for a step, the same on every engine: each element for itself, no numbers taken out, one real dtype.

A step is run once on four small elements, two sites with two components each, and every number is followed. What an
element returns may depend on what is its own and on weights, and must do so in the same way as for every other element.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dmg.engine.declare import Values
from dmg.engine.graph import Graph
from dmg.engine.trace import (
    Example,
    SymbolicMemory,
    UnsupportedOp,
    line_text,
    number_taken,
    raised_line,
    settings_of,
    user_line,
)
from dmg.errors import DmgError, StepError

if TYPE_CHECKING:
    from dmg.engine.parameters import ParameterLayout
    from dmg.engine.process_model import ProcessModel

Step = Callable[..., tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]


@dataclass(frozen=True)
class Verdict:
    """What is known about a step that breaks no rule.

    Parameters
    ----------
    untraceable
        Why the step cannot be followed, if it cannot.
    writes
        Whether it may write into what it is given.
    """

    untraceable: str | None
    writes: bool


def check_step(
    model: ProcessModel, layout: ParameterLayout, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> Verdict:
    """Check the step of a model, once for every choice of parameters, precision and settings.

    Raises
    ------
    StepError
        With the line and the remedy, if the step breaks a rule.
    """
    supplied = tuple(p.name for p in layout.parameters)
    key = (supplied, dtype, str(device), settings_of(model))
    known = model.__dict__.setdefault("_verdicts", {})
    if key not in known:
        known[key] = _check(model, supplied, dtype, device)
    return known[key]


def copying(step: Step) -> Step:
    """Return a step that works on copies, so that its writes stay its own."""

    def copied(values: Values) -> Values:
        held = {n: v.clone() if isinstance(v, Tensor) else v for n, v in vars(values).items()}
        return Values(values._kind, held)

    return lambda s, x, p, dt: step(copied(s), copied(x), copied(p), dt)


def _check(model: ProcessModel, supplied: tuple[str, ...], dtype: torch.dtype, device: torch.device | str) -> Verdict:
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and weight.dtype != dtype:
            raise StepError(
                f"the weight '{name}' of {type(model).__name__} is {weight.dtype}, the forcing {dtype}",
                hint=f"one real dtype: call model.to({dtype}), or give the forcing as {weight.dtype}",
            )
    graph = Graph()
    example = Example(model, supplied, dtype, device, sites=2, components=2)
    memory = SymbolicMemory(graph, dtype)
    try:
        # With gradients, so that a step which asks for what gradients forbid fails here too.
        with torch.inference_mode(False), torch.enable_grad():
            for name, tensor in example.inputs.items():
                memory.bind(tensor, _named_nodes(graph, name, tensor))
            with memory, _NoNumbers(memory):
                outputs = example.outputs([f.name for f in model.fluxes])
    except UnsupportedOp as op:
        return Verdict(f"no kernel can be made of {op}", True)
    except DmgError:
        raise
    except Exception as error:  # Whatever it is, the run itself will say it again.
        return Verdict(f"its step fails on four elements: {error} ({line_text(raised_line(error))})", True)
    for name, value in outputs.items():
        _check_elements(memory, name, memory.nodes(value))
    given = {tensor.untyped_storage().data_ptr() for tensor in example.given}
    return Verdict(None, bool(memory.written & given))


class _NoNumbers(TorchFunctionMode):
    """Refuses the ways from tensors to Python numbers, also those that no dispatch sees."""

    _WAYS = (
        Tensor.__bool__, Tensor.__float__, Tensor.__int__, Tensor.__index__, Tensor.__array__,
        Tensor.item, Tensor.tolist, Tensor.numpy,
    )  # fmt: skip

    def __init__(self, memory: SymbolicMemory) -> None:
        super().__init__()
        self.memory = memory

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in self._WAYS and self.memory.knows(args[0]):
            raise number_taken(line_text(user_line()))
        return func(*args, **(kwargs or {}))


def _named_nodes(graph: Graph, name: str, tensor: Tensor) -> np.ndarray:
    """Return an input per number, named with its element: weights have none, forcings no component."""
    nodes = np.empty(tuple(tensor.shape), dtype=int)
    for index in np.ndindex(*nodes.shape):
        own = 0 if name.startswith("u:") else 1 if name.startswith("x:") else 2
        element = "".join(str(i) for i in index[:own])
        nodes[index] = graph.input(f"{element}|{name}|{index[own:]}")
    return nodes


def _check_elements(memory: SymbolicMemory, output: str, nodes: np.ndarray) -> None:
    """Check that every element's output depends on its own inputs only, and is the same function of them."""
    common, forms = Graph(), {}
    for site, component in np.ndindex(*nodes.shape[:2]):
        own = np.ravel(nodes[site, component])
        moved: dict[int, int] = {}
        for index in _needed(memory.graph, own):
            node = memory.graph.nodes[index]
            if node.op == "input":
                element, name, rest = node.name.split("|")
                if element and not f"{site}{component}".startswith(element):
                    _raise_mixed(memory, own, index, element[0] != str(site), output, name)
                moved[index] = common.input(f"{name}|{rest}")
            elif node.op == "constant":
                moved[index] = common.constant(node.value)
            else:
                moved[index] = common.add(node.op, *(moved[a] for a in node.args))
        forms[site, component] = [moved[int(n)] for n in own]
    if any(form != forms[0, 0] for form in forms.values()):
        raise StepError(
            f"the step computes '{output[2:]}' in one way for one site or component, and in another for others",
            hint="what differs between sites or components is a parameter or a forcing",
        )


def _needed(graph: Graph, nodes: np.ndarray) -> list[int]:
    graph.outputs = {str(i): int(n) for i, n in enumerate(nodes)}
    return graph.needed()


def _raise_mixed(memory: SymbolicMemory, own: np.ndarray, foreign: int, sites: bool, output: str, name: str) -> None:
    """Raise the error of mixed elements, with the line where the foreign number comes in."""
    graph, reached, line = memory.graph, {foreign}, None
    for index in _needed(graph, own):
        if reached.intersection(graph.nodes[index].args):
            reached.add(index)
            line = line or memory.lines.get(index)
    what = "site" if sites else "component"
    raise StepError(
        f"the step mixes {what}s: '{output[2:]}' of one depends on '{name[2:]}' of another",
        where=line_text(line) if line else None,
        hint=f"no mean, sum or index over {what}s in a step; give what they share as a forcing, "
        "or let a stage after the step combine them",
    )
