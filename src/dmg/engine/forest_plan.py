"""The kernels of a model whose sites pass on to each other."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dmg.engine.cache import sources
from dmg.engine.cpu import REALS, host_has, kernel_key, load_object, target
from dmg.engine.fused import Plans
from dmg.engine.geometry import LANES
from dmg.engine.kernel import Kernel, build_kernel, fingerprint
from dmg.engine.llvm_forest import ADJOINT, FORWARD, ForestWriter, Passing, write_adjoint, write_forward
from dmg.engine.trace import settings_of
from dmg.errors import StepError

if TYPE_CHECKING:
    from dmg.engine.process_model import ProcessModel


class ForestPlan:
    """The kernels of a model on a forest, compiled when first used.

    Parameters
    ----------
    model
        Its parameters are static and it has one component.
    passing
        How sites pass on, and what is returned.
    dtype
        float32 or float64.
    """

    def __init__(self, model: ProcessModel, passing: Passing, dtype: torch.dtype) -> None:
        _check(model, passing)
        self.model, self.passing, self.dtype = model, passing, dtype
        passed = [g for _, g in passing.above if g not in [s.name for s in model.states]]
        self.kernel: Kernel = build_kernel(
            model, model.layout, list(dict.fromkeys([*passed, *passing.fluxes])), dtype=dtype
        )
        self.static = tuple(p.name for p in model.layout.static_parameters)
        self._adjoints: dict[tuple[bool, bool], Any] = {}

    @property
    def lanes(self) -> int:
        """Sites of a block."""
        return LANES[self.dtype]

    def width(self, keep: bool) -> int:
        """Return the numbers of a block and a step on the tape."""
        return len(self.passing.slots(self.kernel, keep)) * self.lanes

    @cached_property
    def forward(self) -> Any:
        """The function of a run without gradient."""
        return self._compiled("forward", FORWARD, lambda w: write_forward(w, False), False)

    @cached_property
    def again(self) -> Any:
        """The function of a run that keeps what the way back needs."""
        return self._compiled("forward", FORWARD, lambda w: write_forward(w, True), True)

    def adjoint(self, static: bool, forcing: bool) -> Any:
        """Return the function of the way back, with the gradients that are asked for."""
        key, names = (static, forcing), self.static if static else ()
        if key not in self._adjoints:
            self._adjoints[key] = self._compiled("adjoint", ADJOINT, lambda w: write_adjoint(w, names, forcing), *key)
        return self._adjoints[key]

    def _compiled(
        self, name: str, arguments: Sequence[str], write: Callable[[ForestWriter], str], *what: object
    ) -> Any:
        def text() -> str:
            writer = ForestWriter(self.kernel, self.passing, REALS[self.dtype], self.lanes, host_has("avx512f"))
            return writer.module([write(writer)])

        key = (kernel_key(self.kernel), self.passing, str(self.dtype), name, *what)
        engine = load_object(fingerprint(sources(), "forest", *key, *target()), text)
        kinds = [ctypes.c_int64 if a.startswith("i64") else ctypes.c_void_p for a in arguments]
        call = ctypes.CFUNCTYPE(None, *kinds)(engine.get_function_address(name))
        names = [a.split()[1] for a in arguments]

        def function(**values: int | Tensor | None) -> None:
            call(*(v.data_ptr() if isinstance(v, Tensor) else v or 0 for v in (values[n] for n in names)))

        return function


def plan_for(model: ProcessModel, passing: Passing, dtype: torch.dtype) -> ForestPlan:
    """Return the plan of a model, made once."""
    plans = model.__dict__.setdefault("_plans", Plans())
    key = ("forest", passing, dtype, settings_of(model))
    if key not in plans:
        plans[key] = ForestPlan(model, passing, dtype)
    return plans[key]


def _check(model: ProcessModel, passing: Passing) -> None:
    """Refuse a model that cannot be run on a forest."""
    layout = model.layout
    forcings, given = {f.name for f in model.forcings}, {f.name for f in (*model.fluxes, *model.states)}
    pairs = [pair for to, source in passing.above for pair in ((to, forcings), (source, given))]
    wrong = [name for name, known in pairs if name not in known]
    reason = None
    if wrong:
        reason = f"'{wrong[0]}' is neither a forcing nor what a site passes on"
    elif layout.dynamic_parameters or layout.components > 1:
        reason = "its parameters vary in time or it has parallel components"
    elif model.implicit or any(s.size > 1 for s in model.states) or next(model.parameters(), None) is not None:
        reason = "it is implicit, has vector states, or has weights of its own"
    if reason:
        raise StepError(f"{type(model).__name__} cannot run on a forest: {reason}")
