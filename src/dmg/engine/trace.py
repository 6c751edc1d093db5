"""Trace a step function into pointwise graphs: forward, and the vector-Jacobian product.

The step is run once on tensors of one element. A dispatch mode sees every ATen operation, the ones of the backward
pass included, and repeats it on the symbolic memory: for each storage an array of graph nodes, one per number. Views
share the array as they share the storage, so that views need no rules and in-place writes come out right.
"""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from dmg.engine.declare import Values
from dmg.engine.eager import check_names
from dmg.engine.graph import Graph
from dmg.engine.implicit import UNCONVERGED
from dmg.engine.lower import RULES, as_bool, as_real
from dmg.engine.state import content
from dmg.errors import StepError

if TYPE_CHECKING:
    from dmg.engine.process_model import ProcessModel

_TORCH = str(Path(torch.__file__).parent)
_HERE = str(Path(__file__).parent)
# What they return does not depend on the numbers that they are given: constants like any other.
_NEW = {
    "empty_like", "zeros_like", "ones_like", "full_like",
    "new_empty", "new_zeros", "new_ones", "new_full", "new_empty_strided",
}  # fmt: skip


class UnsupportedOp(Exception):
    """An operation that no backend knows; the engine falls back to eager execution."""

    def __init__(self, op: str, line: str) -> None:
        self.op, self.line = op, line
        super().__init__(f"'{op}' at {line}")


class SymbolicMemory(TorchDispatchMode):
    """Follows every number of a computation through a graph.

    Parameters
    ----------
    graph
        Receives the operations.
    dtype
        The one real dtype of the computation.

    Attributes
    ----------
    lines
        Node to the file and line of the user's code that made it.
    written
        Storages that were written in place.
    backward
        What is said to be at fault where no line of the user's code is run any more.
    """

    def __init__(self, graph: Graph, dtype: torch.dtype) -> None:
        super().__init__()
        self.graph, self.dtype = graph, dtype
        self.lines: dict[int, tuple[str, int]] = {}
        self.written: set[int] = set()
        self.backward: str | None = None
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
            return self._constants(tensor)
        return view

    def _constants(self, tensor: Tensor) -> np.ndarray:
        return np.vectorize(self.graph.constant, otypes=[int])(tensor.detach().cpu().numpy())

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

    def knows(self, value: Any) -> bool:
        """Return whether the numbers of a tensor are followed."""
        return isinstance(value, Tensor) and value.untyped_storage().data_ptr() in self._cells

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        flat = [*args, *kwargs.values()]
        symbolic = [a for v in flat for a in (v if isinstance(v, (list, tuple)) else [v]) if self.knows(a)]
        if name == "_local_scalar_dense" and symbolic:
            raise number_taken(self.where())
        if torch.Tag.nondeterministic_seeded in func.tags:
            raise StepError(
                "the step draws random numbers", where=self.where(), hint="draw them outside and pass them as a forcing"
            )
        result = func(*args, **kwargs)
        if not symbolic or name in _NEW:
            return result
        if not isinstance(result, Tensor):
            if all(self.knows(r) for r in result if isinstance(r, Tensor)):
                return result
            raise UnsupportedOp(name, self.where())
        in_place = name.endswith("_") and not name.endswith("__")
        known = self.knows(result)
        if known and not in_place:
            return result
        self._check_dtype(name, result)
        first = len(self.graph.nodes)
        nodes = self._apply(name.rstrip("_") if in_place else name, args, kwargs, result)
        if in_place:
            self.written.add(result.untyped_storage().data_ptr())
            if not known:
                self._bind_constants(result)
        self._view(result, create=True)[...] = self._of_kind(nodes, result.dtype)
        self.lines.update(dict.fromkeys(range(first, len(self.graph.nodes)), user_line()))
        return result

    def where(self) -> str:
        """Return the line of the user's code that is being run, or what stands for it."""
        return self.backward or line_text(user_line())

    def _bind_constants(self, tensor: Tensor) -> None:
        """Take in the storage of a constant that is written in place: what is not overwritten keeps its value."""
        count = tensor.untyped_storage().nbytes() // tensor.element_size()
        whole = tensor.detach().as_strided((count,), (1,), 0)
        self._view(whole, create=True)[...] = self._constants(whole)

    def _check_dtype(self, name: str, result: Tensor) -> None:
        if result.dtype in (self.dtype, torch.bool):
            return
        if result.dtype.is_floating_point:
            raise StepError(
                f"the step mixes {str(self.dtype).removeprefix('torch.')} with "
                f"{str(result.dtype).removeprefix('torch.')}",
                where=self.where(),
                hint="one real dtype, that of the forcing: make constants with dtype=x.<forcing>.dtype",
            )
        raise UnsupportedOp(f"{name} to {str(result.dtype).removeprefix('torch.')}", self.where())

    def _of_kind(self, nodes: np.ndarray, dtype: torch.dtype) -> np.ndarray:
        """Return nodes that are what the dtype says: truth values or numbers."""
        convert = as_bool if dtype == torch.bool else as_real
        return np.vectorize(lambda n: convert(self.graph, int(n)), otypes=[int])(nodes)

    def _apply(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], result: Tensor) -> np.ndarray:
        if name in ARRAY_RULES:
            return ARRAY_RULES[name](self, *args, **kwargs)
        if name not in RULES:
            raise UnsupportedOp(name, self.where())
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
    """Add nodes up, in order; true counts as one."""
    total = as_real(memory.graph, int(nodes[0]))
    for node in nodes[1:]:
        total = memory.graph.add("add", total, as_real(memory.graph, int(node)))
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
    # A negative width cuts off.
    cut = tuple(slice(max(-low, 0), size - max(-high, 0)) for size, (low, high) in zip(a.shape, widths, strict=True))
    widths = [(max(low, 0), max(high, 0)) for low, high in widths]
    return np.pad(memory.nodes(a)[cut], widths, constant_values=memory.graph.constant(float(value or 0.0)))


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


def user_line() -> tuple[str, int]:
    """Return file and line of the user's code that is being run."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_TORCH, _HERE)) and "<" not in file:
            return file, frame.f_lineno
        frame = frame.f_back
    return "unknown line", 0


def raised_line(error: BaseException) -> tuple[str, int]:
    """Return file and line of the user's code from which an exception came."""
    found, trace = ("unknown line", 0), error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        found = found if file.startswith((_TORCH, _HERE)) or "<" in file else (file, trace.tb_lineno)
        trace = trace.tb_next
    return found


def line_text(line: tuple[str, int]) -> str:
    """Return a line of code as errors show it."""
    return f"{line[0]}:{line[1]}: {linecache.getline(*line).strip()}"


def number_taken(where: str) -> StepError:
    """Return the error of a step that needs the value of a tensor while it runs."""
    return StepError(
        "the step turns a tensor into a Python number or truth value",
        where=where,
        hint="use torch.where instead of if, and keep values as tensors instead of .item() or float()",
    )


def settings_of(model: ProcessModel) -> tuple[object, ...]:
    """Return what a trace depends on beside the step: numbers and constant tensors that the model carries."""
    found: list[object] = []
    for module in model.modules():
        for n, v in vars(module).items():
            if isinstance(v, (bool, int, float, str)):
                found.append((n, v))
            elif type(v) in (list, tuple) and n != "variables":
                found.append((n, repr(v)))
        found += [(n, v.shape, v.numpy(force=True).tobytes()) for n, v in module.named_buffers(recurse=False)]
    return tuple(found)


def trace_step(
    model: ProcessModel, supplied: Sequence[str], fluxes: Sequence[str], dtype: torch.dtype = torch.float64
) -> Graph:
    """Trace one step of a model and its vector-Jacobian product.

    Parameters
    ----------
    model
        The model whose ``step`` is run, once, on tensors of one element.
    supplied
        Parameters that are inputs; the others keep their defaults.
    fluxes
        Fluxes, and states as series, that are outputs.
    dtype
        Of the tensors.

    Returns
    -------
    Graph
        Inputs ``s:<state>.<i>``, ``x:<forcing>``, ``a:<attribute>``, ``p:<parameter>``, ``u:<weight>.<i>`` and the
        cotangents ``c:<output>``; outputs ``s:<state>.<i>``, ``f:<flux>`` and the gradients ``d:<input>``. Of an
        implicit model the tendency is traced, and outputs ``s:`` are rates.
    """
    graph = Graph()
    # Weights are where the user put them; everything else is traced beside them.
    home = next((w.device for w in (*model.parameters(), *model.buffers())), torch.device("cpu"))
    example = Example(model, supplied, dtype, home)
    memory = SymbolicMemory(graph, dtype)
    with torch.inference_mode(False), torch.enable_grad(), _differentiable(example.weights.values()):
        for name, tensor in example.inputs.items():
            memory.bind(tensor, _input_nodes(graph, name, tensor))
        with memory:
            outputs = example.outputs(fluxes)
            cotangents = {}
            for name, value in outputs.items():
                cotangents[name] = torch.ones(value.shape, dtype=value.dtype, device=value.device)
                memory.bind(cotangents[name], _input_nodes(graph, f"c:{name}", value))
            smooth = [n for n, v in outputs.items() if v.requires_grad]
            memory.backward = f"the gradient of {type(model).__name__}.step"
            seed = _Seed.apply([cotangents[n] for n in smooth], *(outputs[n] for n in smooth))
            leaves = list(example.inputs.values())
            gradients = torch.autograd.grad(seed, leaves, allow_unused=True) if smooth else [None] * len(leaves)
        for name, value in outputs.items():
            _set_outputs(graph, name, memory.nodes(value))
        for (name, tensor), gradient in zip(example.inputs.items(), gradients, strict=True):
            zero = np.full(tuple(tensor.shape), graph.constant(0.0))
            _set_outputs(graph, f"d:{name}", zero if gradient is None else memory.nodes(gradient))
    return graph


@contextmanager
def _differentiable(weights: Iterable[Tensor]) -> Iterator[None]:
    """Have gradients of weights that are frozen at present: the trace is that of all weights."""
    frozen = [w for w in weights if not w.requires_grad]
    for weight in frozen:
        weight.requires_grad_()
    try:
        yield
    finally:
        for weight in frozen:
            weight.requires_grad_(False)


class _Seed(torch.autograd.Function):
    """A number whose gradients are those it is given; given to PyTorch's own function, they would load SymPy."""

    @staticmethod
    def forward(ctx: Any, cotangents: list[Tensor], *outputs: Tensor) -> Tensor:
        ctx.cotangents = cotangents
        return torch.zeros(())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.cotangents


class Example:
    """The inputs of one step of a few elements, with gradients.

    Parameters
    ----------
    model
        The model.
    supplied
        Parameters that are inputs.
    dtype, device
        Of the tensors.
    sites, components
        Number of elements.
    """

    def __init__(
        self,
        model: ProcessModel,
        supplied: Sequence[str],
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
        sites: int = 1,
        components: int = 1,
    ) -> None:
        def leaf(value: float, *size: int) -> Tensor:
            return torch.full((sites, *size), value, dtype=dtype, device=device, requires_grad=True)

        self.model, self.shape = model, (sites, components)
        middle = {p.name: 0.5 * (p.low + p.high) for p in model.parameter_table}
        first = {s.name: middle[s.initial] if isinstance(s.initial, str) else s.initial for s in model.states}
        tail = {s.name: [s.size] if s.size > 1 else [] for s in model.states}
        self.states = {n: leaf(1.0 + value, components, *tail[n]) for n, value in first.items()}
        self.forcings = {f.name: leaf(0.5 * (f.low + f.high), 1) for f in model.forcings}
        self.attributes = {a.name: leaf(0.5 * (a.low + a.high), 1) for a in model.attributes}
        self.parameters = {n: leaf(value, components) for n, value in middle.items() if n in supplied}
        self.supplied = list(supplied)
        self.weights = dict(model.named_parameters())
        self.inputs = {
            **{f"s:{name}": value for name, value in self.states.items()},
            **{f"x:{name}": value for name, value in self.forcings.items()},
            **{f"a:{name}": value for name, value in self.attributes.items()},
            **{f"p:{name}": value for name, value in self.parameters.items()},
            **{f"u:{name}": value for name, value in self.weights.items()},
        }
        self.given: list[Tensor] = []

    def outputs(self, fluxes: Sequence[str]) -> dict[str, Tensor]:
        """Run the step, or the tendency; outputs have one number per element, or one per entry of a vector state."""
        given = (
            Values("state", self._free(self.states)),
            Values("forcing", self._free(self.forcings | self.attributes)),
            Values("parameter", self._free(self.parameters) | self.model.unsupplied(self.supplied)),
        )
        model = self.model
        stores, series = model.tendency(*given) if model.implicit else model.step(*given, model.dt)
        if model.implicit:
            # The new states, and whether there are any, are known after the solution only.
            fluxes = [n for n in fluxes if n != UNCONVERGED.name and n not in self.states]
        check_names("rate of the state" if model.implicit else "state", stores, list(self.states))
        check_names("flux", series, [name for name in fluxes if name not in self.states], subset=True)
        stores = {name: stores[name].expand_as(self.states[name]) for name in self.states}
        # A state that is asked for as a series is one more flux: the new value of the state.
        asked = {name: content(stores[name]) if name in stores else series[name] for name in fluxes}
        named = {f"s:{name}": value for name, value in stores.items()}
        return named | {f"f:{name}": value.expand(self.shape) for name, value in asked.items()}

    def _free(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return copies: the step may write into them."""
        copies = {name: value.clone() for name, value in values.items()}
        self.given += copies.values()
        return copies


def _input_nodes(graph: Graph, name: str, tensor: Tensor) -> np.ndarray:
    count = tensor.numel()
    names = [name] if count == 1 else [f"{name}.{i}" for i in range(count)]
    return np.array([graph.input(n) for n in names]).reshape(tuple(tensor.shape))


def _set_outputs(graph: Graph, name: str, nodes: np.ndarray) -> None:
    flat = nodes.reshape(-1)
    for i, node in enumerate(flat):
        graph.outputs[name if len(flat) == 1 else f"{name}.{i}"] = int(node)
