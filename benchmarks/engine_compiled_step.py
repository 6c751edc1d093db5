"""A loop over the step of a model, compiled by PyTorch: what `engine.py` compares the fused engine with."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dmg.engine import ProcessModel, RawParameters


class _Named:
    """Values as attributes, in a form that PyTorch's compiler follows."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        for name, value in values.items():
            setattr(self, name, value)


class CompiledLoop:
    """A model's step under `torch.compile`, called once per time step, from physical parameters to runoff and back.

    Parameters
    ----------
    model
        The model.
    forcing
        [T, B, F].
    raw
        Raw parameters, scaled once beforehand.
    """

    def __init__(self, model: ProcessModel, forcing: Tensor, raw: RawParameters) -> None:
        with torch.no_grad():
            static, dynamic = model.layout.scale(raw)
        self.static = {n: v.clone().requires_grad_() for n, v in static.items()}
        self.dynamic = {n: v.clone().requires_grad_() for n, v in dynamic.items()}
        self.forcing = {f.name: forcing[..., i : i + 1].contiguous() for i, f in enumerate(model.forcings)}
        self.start = model.cold_stores(forcing.shape[1], dtype=forcing.dtype, device=forcing.device)
        self.flow: Tensor | None = None
        step, dt = model.step, model.dt

        def advance(stores: dict[str, Tensor], x: dict[str, Tensor], p: dict[str, Tensor]) -> tuple:
            new, fluxes = step(_Named(stores), _Named(x), _Named(p), dt)
            return new, fluxes["streamflow"].mean(-1)

        self.advance = torch.compile(advance, fullgraph=True)

    def run(self) -> None:
        """Run forward and backward; series are unbound once, which keeps the backward pass linear."""
        for values in (*self.static.values(), *self.dynamic.values()):
            values.grad = None
        forcings = zip(*(v.unbind(0) for v in self.forcing.values()), strict=True)
        parameters = zip(*(v.unbind(0) for v in self.dynamic.values()), strict=True)
        stores, flow = self.start, []
        for x, p in zip(forcings, parameters, strict=True):
            known = self.static | dict(zip(self.dynamic, p, strict=True))
            stores, runoff = self.advance(stores, dict(zip(self.forcing, x, strict=True)), known)
            flow.append(runoff)
        self.flow = torch.stack(flow)
        self.flow.sum().backward()
