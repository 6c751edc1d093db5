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
    verdict = known.get(key)
    if verdict is None:
        verdict = known[key] = _check(model, supplied, dtype, device)
    return verdict


def copying(step: Step) -> Step:
    """Return a step, or a tendency, that works on copies, so that its writes stay its own."""

    def copied(values: Values) -> Values:
        held = {n: v.clone() if isinstance(v, Tensor) else v for n, v in vars(values).items()}
        return Values(values._kind, held)

    return lambda s, x, p, *dt: step(copied(s), copied(x), copied(p), *dt)


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
    """Return an input per number, named with its element: weights have none, forcings and attributes no component."""
    nodes = np.empty(tuple(tensor.shape), dtype=int)
    for index in np.ndindex(*nodes.shape):
        own = 0 if name.startswith("u:") else 1 if name.startswith(("x:", "a:")) else 2
        element = "".join(str(i) for i in index[:own])
        nodes[index] = graph.input(f"{element}|{name}|{index[own:]}")
    return nodes


def _check_elements(memory: SymbolicMemory, output: str, nodes: np.ndarray) -> None:
    """Check that every element's output depends on its own inputs only, and is the same function of them."""
    common, forms = Graph(), {}
    for element in np.ndindex(*nodes.shape[:2]):
        own = [int(n) for n in np.ravel(nodes[element])]
        needed = _needed(memory.graph, own)
        _check_own(memory, output, element, needed)
        moved: dict[int, int] = {}
        for index in needed:
            node = memory.graph.nodes[index]
            if node.op == "input":
                moved[index] = common.input(node.name.split("|", 1)[1])
            elif node.op == "constant":
                moved[index] = common.constant(node.value)
            else:
                moved[index] = common.add(node.op, *(moved[a] for a in node.args))
        forms[element] = [moved[n] for n in own]
    if any(form != forms[0, 0] for form in forms.values()):
        raise StepError(
            f"the step computes '{output[2:]}' in one way for one site or component, and in another for others",
            hint="what differs between sites or components is a parameter or a forcing",
        )


def _needed(graph: Graph, nodes: list[int]) -> list[int]:
    graph.outputs = {str(i): n for i, n in enumerate(nodes)}
    return graph.needed()


def _check_own(memory: SymbolicMemory, output: str, element: tuple[int, ...], needed: list[int]) -> None:
    """Check that no input of another element is needed, of another site first of all."""
    own = "".join(str(i) for i in element)
    inputs = {i: memory.graph.nodes[i].name.split("|") for i in needed if memory.graph.nodes[i].op == "input"}
    foreign = {i: (part[0] != own[0], name) for i, (part, name, _) in inputs.items() if not own.startswith(part)}
    if not foreign:
        return
    sites, name = max(foreign.values())
    what = "site" if sites else "component"
    line = _meeting_line(memory, needed, {i: part for i, (part, _, _) in inputs.items() if part})
    raise StepError(
        f"the step mixes {what}s: '{output[2:]}' of one depends on '{name[2:]}' of another",
        where=line_text(line) if line else None,
        hint=f"no mean, sum or index over {what}s in a step; give what they share as a forcing, "
        "or let a stage after the step combine them",
    )


def _meeting_line(memory: SymbolicMemory, needed: list[int], inputs: dict[int, str]) -> tuple[str, int] | None:
    """Return the line where numbers of two elements first meet, of two sites if there is one."""
    owners: dict[int, set[str]] = {i: {part} for i, part in inputs.items()}
    found: dict[str, tuple[str, int] | None] = {}
    for index in needed:
        parts = owners.setdefault(index, set())
        parts.update(*(owners[a] for a in memory.graph.nodes[index].args))
        if len({part[0] for part in parts}) > 1:
            found.setdefault("site", memory.lines.get(index))
        elif len({part for part in parts if len(part) > 1}) > 1:
            found.setdefault("component", memory.lines.get(index))
    return found.get("site") or found.get("component")
