"""Trace a step function into pointwise graphs: forward, and the vector-Jacobian product.

The step is run once on tensors of one element. A dispatch mode sees every ATen operation, the ones of the backward
pass included, and repeats it on the symbolic memory: for each storage an array of graph nodes, one per number. Views
share the array as they share the storage, so that views need no rules and in-place writes come out right.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dmg.engine.declare import Values
from dmg.engine.eager import check_names
from dmg.engine.graph import Graph
from dmg.engine.lower import RULES
from dmg.errors import StepError

if TYPE_CHECKING:
    from dmg.engine.process_model import ProcessModel

_TORCH = str(Path(torch.__file__).parent)
_HERE = str(Path(__file__).parent)
_RANDOM = {"rand", "randn", "rand_like", "randn_like", "bernoulli", "normal", "uniform", "dropout", "native_dropout"}


class UnsupportedOp(Exception):
    """An operation that no backend knows; the engine falls back to eager execution."""

    def __init__(self, op: str, line: str) -> None:
        self.op, self.line = op, line
        super().__init__(f"'{op}' at {line}")


class SymbolicMemory(TorchDispatchMode):
    """Follows every number of a computation through a graph."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self._cells: dict[int, np.ndarray] = {}
        self._alive: list[Any] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # The default would import PyTorch's compiler, a second of CPU time, to switch it off.
        return False

    def bind(self, tensor: Tensor, nodes: np.ndarray) -> None:
        """Say which nodes the numbers of a tensor are."""
        self._view(tensor, create=True)[...] = nodes

    def nodes(self, tensor: Tensor) -> np.ndarray:
        """Return the nodes of a tensor's numbers; numbers that come from nowhere are constants."""
        view = self._view(tensor, create=False)
        if view is None:
            values = tensor.detach().cpu().numpy() if tensor.ndim else np.array(tensor.item())
            return np.vectorize(self.graph.constant, otypes=[int])(values)
        return view

    def _view(self, tensor: Tensor, *, create: bool) -> np.ndarray | None:
        storage = tensor.untyped_storage()
        key = storage.data_ptr()
        if key not in self._cells:
            if not create:
                return None
            self._cells[key] = np.full(storage.nbytes() // tensor.element_size(), -1)
            self._alive.append(tensor)
        cells = self._cells[key][tensor.storage_offset() :]
        strides = [s * cells.itemsize for s in tensor.stride()]
        return np.lib.stride_tricks.as_strided(cells, tuple(tensor.shape), strides)

    def _known(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.untyped_storage().data_ptr() in self._cells

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        flat = [*args, *kwargs.values()]
        symbolic = [a for v in flat for a in (v if isinstance(v, (list, tuple)) else [v]) if self._known(a)]
        if name == "_local_scalar_dense" and symbolic:
            raise StepError(
                "the step turns a tensor into a Python number or truth value",
                where=_line(),
                hint="use torch.where instead of if, and keep values as tensors instead of .item() or float()",
            )
        if name in _RANDOM:
            raise StepError(
                "the step draws random numbers", where=_line(), hint="draw them outside and pass them as a forcing"
            )
        result = func(*args, **kwargs)
        if not symbolic or not isinstance(result, Tensor):
            return result
        in_place = name.endswith("_") and not name.endswith("__")
        aliased = result.untyped_storage().data_ptr() in self._cells
        if aliased and not in_place:
            return result
        base = name.rstrip("_") if in_place else name
        nodes = self._apply(base, args, kwargs, result)
        self._view(result, create=True)[...] = nodes
        return result

    def _apply(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Tensor) -> np.ndarray:
        if name in ARRAY_RULES:
            return ARRAY_RULES[name](self, *args, **kwargs)
        if name not in RULES:
            raise UnsupportedOp(name, _line())
        arrays = [self._operand(a) for a in args]
        keywords = {k: v for k, v in kwargs.items() if k in ("alpha", "value") and not isinstance(v, Tensor)}
        shape = tuple(result.shape)
        wide = [np.broadcast_to(a, shape) if isinstance(a, np.ndarray) else a for a in arrays]
        nodes = np.empty(shape, dtype=int)
        for index in np.ndindex(shape):
            operands = [a[index] if isinstance(a, np.ndarray) else a for a in wide]
            nodes[index] = RULES[name](self.graph, *(int(o) if o is not None else None for o in operands), **keywords)
        return nodes

    def _operand(self, value: Any) -> np.ndarray | None:
        if isinstance(value, Tensor):
            return self.nodes(value)
        if isinstance(value, (bool, int, float)):
            return np.array(self.graph.constant(value if isinstance(value, bool) else float(value)))
        return None


def _fold(memory: SymbolicMemory, nodes: Sequence[int]) -> int:
    """Add nodes up, in order."""
    total = int(nodes[0])
    for node in nodes[1:]:
        total = memory.graph.add("add", total, int(node))
    return total


def _sum(memory: SymbolicMemory, a: Tensor, dim: Any = None, keepdim: bool = False, **_: Any) -> np.ndarray:
    nodes = memory.nodes(a)
    axes = range(a.ndim) if dim is None or dim == [] else [dim] if isinstance(dim, int) else dim
    axes = sorted(d % a.ndim for d in axes)
    kept = [d for d in range(a.ndim) if d not in axes]
    moved = nodes.transpose(*kept, *axes).reshape(*(nodes.shape[d] for d in kept), -1)
    summed = np.empty(moved.shape[:-1], dtype=int)
    for index in np.ndindex(summed.shape):
        summed[index] = _fold(memory, moved[index])
    return np.expand_dims(summed, tuple(axes)) if keepdim else summed


def _mean(memory: SymbolicMemory, a: Tensor, dim: Any = None, keepdim: bool = False, **_: Any) -> np.ndarray:
    summed = _sum(memory, a, dim, keepdim)
    count = memory.graph.constant(a.numel() / max(summed.size, 1))
    return np.vectorize(lambda n: memory.graph.add("div", int(n), count), otypes=[int])(summed)


def _bmm(memory: SymbolicMemory, a: Tensor, b: Tensor) -> np.ndarray:
    left, right, g = memory.nodes(a), memory.nodes(b), memory.graph
    product = np.empty((*left.shape[:-1], right.shape[-1]), dtype=int)
    for index in np.ndindex(product.shape):
        row, column = left[index[:-1]], right[(*index[:-2], slice(None), index[-1])]
        product[index] = _fold(memory, [g.add("mul", int(x), int(y)) for x, y in zip(row, column, strict=True)])
    return product


def _addmm(memory: SymbolicMemory, bias: Tensor, a: Tensor, b: Tensor, **_: Any) -> np.ndarray:
    product = _bmm(memory, a, b)
    return np.vectorize(lambda x, y: memory.graph.add("add", int(x), int(y)), otypes=[int])(product, memory.nodes(bias))


def _cat(memory: SymbolicMemory, tensors: Sequence[Tensor], dim: int = 0) -> np.ndarray:
    return np.concatenate([memory.nodes(t) for t in tensors], axis=dim)


def _stack(memory: SymbolicMemory, tensors: Sequence[Tensor], dim: int = 0) -> np.ndarray:
    return np.stack([memory.nodes(t) for t in tensors], axis=dim)


def _flip(memory: SymbolicMemory, a: Tensor, dims: Sequence[int]) -> np.ndarray:
    return np.flip(memory.nodes(a), dims)


def _roll(memory: SymbolicMemory, a: Tensor, shifts: Any, dims: Any = ()) -> np.ndarray:
    return np.roll(memory.nodes(a), shifts, tuple(dims) or None)


def _padded(memory: SymbolicMemory, a: Tensor, pad: Sequence[int], value: float = 0.0) -> np.ndarray:
    widths = [(0, 0)] * (a.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(len(pad) - 2, -1, -2)]
    return np.pad(memory.nodes(a), widths, constant_values=memory.graph.constant(float(value or 0.0)))


def _scatter_back(fill: Callable[[np.ndarray, np.ndarray, Any], None]) -> Callable[..., np.ndarray]:
    """Return the rule of a backward operation that puts a gradient into a part of zeros."""

    def rule(memory: SymbolicMemory, grad: Tensor, sizes: Sequence[int], *where: Any) -> np.ndarray:
        nodes = np.full(tuple(sizes), memory.graph.constant(0.0))
        fill(nodes, memory.nodes(grad), where)
        return nodes

    return rule


def _into_select(nodes: np.ndarray, grad: np.ndarray, where: Any) -> None:
    dim, index = where
    nodes[(slice(None),) * (dim % nodes.ndim) + (index,)] = grad


def _into_slice(nodes: np.ndarray, grad: np.ndarray, where: Any) -> None:
    dim, start, stop, step = where
    nodes[(slice(None),) * (dim % nodes.ndim) + (slice(start, stop, step),)] = grad


ARRAY_RULES: dict[str, Callable[..., np.ndarray]] = {
    "sum": _sum,
    "mean": _mean,
    "mm": _bmm,
    "bmm": _bmm,
    "addmm": _addmm,
    "cat": _cat,
    "stack": _stack,
    "flip": _flip,
    "roll": _roll,
    "constant_pad_nd": _padded,
    "select_backward": _scatter_back(_into_select),
    "slice_backward": _scatter_back(_into_slice),
}


def _line() -> str:
    """Return the source line of the user's code that is being run."""
    for frame in reversed(traceback.extract_stack(sys._getframe(1))):
        if not frame.filename.startswith((_TORCH, _HERE)) and "<" not in frame.filename:
            return f"{frame.filename}:{frame.lineno}: {frame.line}"
    return "unknown line"


def trace_step(model: ProcessModel, supplied: Sequence[str], fluxes: Sequence[str]) -> Graph:
    """Trace one step of a model and its vector-Jacobian product.

    Parameters
    ----------
    model
        The model whose ``step`` is run, once, on tensors of one element.
    supplied
        Parameters that are inputs; the others keep their defaults.
    fluxes
        Fluxes that are outputs.

    Returns
    -------
    Graph
        Inputs ``s:<state>.<i>``, ``x:<forcing>``, ``p:<parameter>``, ``u:<weight>.<i>`` and the cotangents
        ``c:<output>``; outputs ``s:<state>.<i>``, ``f:<flux>`` and the gradients ``d:<input>``.
    """
    graph = Graph()
    example = _Example(model, supplied)
    with torch.enable_grad():
        memory = SymbolicMemory(graph)
        for name, tensor in example.inputs.items():
            memory.bind(tensor, _input_nodes(graph, name, tensor))
        with memory:
            outputs = example.outputs(fluxes)
            cotangents = {}
            for name, value in outputs.items():
                cotangents[name] = torch.ones(value.shape, dtype=value.dtype)
                memory.bind(cotangents[name], _input_nodes(graph, f"c:{name}", value))
            smooth = [n for n, v in outputs.items() if v.requires_grad]
            gradients = torch.autograd.grad(
                [outputs[n] for n in smooth],
                list(example.inputs.values()),
                [cotangents[n] for n in smooth],
                allow_unused=True,
            )
        for name, value in outputs.items():
            _set_outputs(graph, name, memory.nodes(value))
        for (name, tensor), gradient in zip(example.inputs.items(), gradients, strict=True):
            zero = np.full(tuple(tensor.shape), graph.constant(0.0))
            _set_outputs(graph, f"d:{name}", zero if gradient is None else memory.nodes(gradient))
    return graph


class _Example:
    """The inputs of one step of one element, with gradients."""

    def __init__(self, model: ProcessModel, supplied: Sequence[str]) -> None:
        def leaf(value: float, *size: int) -> Tensor:
            return torch.full((1, 1, *size), value, dtype=torch.float64, requires_grad=True)

        self.model = model
        self.states = {s.name: leaf(1.0 + s.initial, *([s.size] if s.size > 1 else [])) for s in model.states}
        self.forcings = {f.name: leaf(0.5 * (f.low + f.high)) for f in model.forcings}
        self.parameters = {p.name: leaf(0.5 * (p.low + p.high)) for p in model.parameter_table if p.name in supplied}
        self.defaults = {p.name: p.default for p in model.parameter_table if p.name not in supplied}
        self.weights = dict(model.named_parameters())
        self.inputs = {
            **{f"s:{name}": value for name, value in self.states.items()},
            **{f"x:{name}": value for name, value in self.forcings.items()},
            **{f"p:{name}": value for name, value in self.parameters.items()},
            **{f"u:{name}": value for name, value in self.weights.items()},
        }

    def outputs(self, fluxes: Sequence[str]) -> dict[str, Tensor]:
        """Run the step; outputs have one element each, or one per entry of a vector state."""
        stores, series = self.model.step(
            Values("state", self.states),
            Values("forcing", self.forcings),
            Values("parameter", self.parameters | self.defaults),
            self.model.dt,
        )
        check_names("state", stores, list(self.states))
        check_names("flux", series, fluxes, subset=True)
        named = {f"s:{name}": stores[name].expand_as(self.states[name]) for name in self.states}
        return named | {f"f:{name}": series[name].expand(1, 1) for name in fluxes}


def _input_nodes(graph: Graph, name: str, tensor: Tensor) -> np.ndarray:
    count = tensor.numel()
    names = [name] if count == 1 else [f"{name}.{i}" for i in range(count)]
    return np.array([graph.input(n) for n in names]).reshape(tuple(tensor.shape))


def _set_outputs(graph: Graph, name: str, nodes: np.ndarray) -> None:
    flat = nodes.reshape(-1)
    for i, node in enumerate(flat):
        graph.outputs[name if len(flat) == 1 else f"{name}.{i}"] = int(node)
