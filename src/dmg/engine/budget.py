"""The budget of a run: what entered a model, what left it, what its stores gained, and what is not accounted for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dmg.engine.parameters import RawParameters
from dmg.engine.state import ModelState, content
from dmg.errors import StepError

if TYPE_CHECKING:
    from dmg.engine.process_model import ProcessModel

# Steps that are run at once: bounds the memory of long records.
CHUNK = 4096
GROUPS = ("inflow", "declared", "outflow", "storage", "routed", "river", "in_river")


@dataclass(frozen=True)
class Budget:
    """Terms of a ledger per site [B], in the unit of the stores, summed over a run; means over components.

    Routing comes behind the ledger: its sinks are what leaves the stores, ``routed`` is what of it left the river.

    Parameters
    ----------
    inflow
        Forcings that enter.
    declared
        Fluxes that enter: floors of stores, exchange with other sites, whatever the model declares among its sources.
    outflow
        Fluxes that leave, before routing.
    storage
        What each store gained.
    routed
        What of a routed sink left the river during the run.
    river
        What each river gained.
    in_river
        What is still in the river after the run and will leave it.
    steps
        Number of time steps.
    unit
        Of every term.
    """

    inflow: Mapping[str, Tensor]
    declared: Mapping[str, Tensor]
    outflow: Mapping[str, Tensor]
    storage: Mapping[str, Tensor]
    routed: Mapping[str, Tensor]
    river: Mapping[str, Tensor]
    in_river: Mapping[str, Tensor]
    steps: int
    unit: str

    @property
    def residual(self) -> Tensor:
        """What the declared terms do not account for [B]: sources less sinks less what the stores gained."""
        gained = _total(chain(self.inflow.values(), self.declared.values()))
        return gained - _total(self.outflow.values()) - _total(self.storage.values())

    @property
    def unrouted(self) -> Tensor:
        """What the rivers do not give back [B]: what entered them less what left and what they gained."""
        entered = _total(self.outflow[name] for name in self.routed)
        return entered - _total(self.routed.values()) - _total(self.river.values())

    def map(self, function: Callable[[Tensor], Tensor]) -> Budget:
        """Return the budget with the function applied to every term."""
        mapped = {g: {n: function(v) for n, v in getattr(self, g).items()} for g in GROUPS}
        return replace(self, **mapped)

    @classmethod
    def join(cls, parts: Sequence[Budget]) -> Budget:
        """Return the budgets of batches of sites, one after the other, as one."""
        joined = {
            group: {
                name: torch.cat([getattr(part, group)[name] for part in parts]) for name in getattr(parts[0], group)
            }
            for group in GROUPS
        }
        return replace(parts[0], **joined)


@torch.no_grad()
def account(
    model: ProcessModel,
    forcing: Tensor,
    raw: RawParameters,
    state: ModelState | None = None,
    *,
    attributes: Mapping[str, Tensor] | None = None,
) -> Budget:
    """Run a model once more, in float64, and return the budget of the run.

    Parameters
    ----------
    model
        A model that declares a ledger.
    forcing
        [T, B, F] in the order of ``model.forcings``.
    raw
        Network output before link and bounds.
    state
        Full state before the first step, a cold start if absent.
    attributes
        Name to values [B] of those that the model declares.

    Raises
    ------
    StepError
        If the model declares no ledger.
    """
    ledger = model.ledger
    if ledger is None:
        raise StepError(
            f"{type(model).__name__} declares no ledger, so nothing says what its budget is",
            hint="declare ledger = Ledger(sources=…, sinks=…, stores=…)",
        )
    model = _in_double(model)
    forcing, raw = forcing.double(), raw.map(Tensor.double)
    state = (state or model.cold_state(forcing.shape[1], device=forcing.device)).map(Tensor.double)
    state = ModelState(model.complete_stores(state.stores, raw, model.layout), state.routing)
    attributes = {name: values.double() for name, values in (attributes or {}).items()}
    columns = {f.name: forcing[..., i] for i, f in enumerate(model.forcings)}
    names = [*ledger.sources, *ledger.sinks]
    has_kernel = model.router is not None and not model.router.needs_network
    routed = [n for n in ledger.sinks if n in model.routed and has_kernel]
    asked = {n: f"{n}_no_rout" if n in model.routed else n for n in names if n not in columns}
    start, steps = state, len(forcing)
    sums = {n: columns[n].sum(0) * model.dt if n in columns else forcing.new_zeros(forcing.shape[1]) for n in names}
    left = {n: forcing.new_zeros(forcing.shape[1]) for n in routed}
    for begin in range(0, steps, CHUNK):
        end = min(begin + CHUNK, steps)
        series, state = model.run(
            forcing[begin:end],
            raw.window(begin, end),
            state,
            attributes=attributes,
            outputs=list(dict.fromkeys([*asked.values(), *routed])),
        )
        for name, output in asked.items():
            sums[name] = sums[name] + series[output].sum(0) * model.dt
        for name in routed:
            left[name] = left[name] + series[name].sum(0) * model.dt
    before, after = _rivers(model, raw, start, routed), _rivers(model, raw, state, routed)
    unit = next((s.unit for s in model.states if s.name in ledger.stores), "")
    gained = {n: (content(state.stores[n]) - content(start.stores[n])).mean(-1) for n in ledger.stores}
    return Budget(
        inflow={n: sums[n] for n in ledger.sources if n in columns},
        declared={n: sums[n] for n in ledger.sources if n not in columns},
        outflow={n: sums[n] for n in ledger.sinks},
        storage=gained,
        routed=left,
        river={n: after[n] - before[n] for n in routed},
        in_river=after,
        steps=steps,
        unit=unit,
    )


def _in_double(model: ProcessModel) -> ProcessModel:
    """Return a model whose weights, if it has any, are in float64."""
    narrow = any(w.is_floating_point() and w.dtype != torch.float64 for w in (*model.parameters(), *model.buffers()))
    return deepcopy(model).double() if narrow else model


def _rivers(model: ProcessModel, raw: RawParameters, state: ModelState, routed: Sequence[str]) -> dict[str, Tensor]:
    """Return what is in the river [B] and will leave it, by routed flux."""
    if not routed:
        return {}
    kernel = model.router.kernel(model.layout.scale_routing(raw), model.router.length)
    empty = kernel.new_zeros(0, kernel.shape[1])
    return {n: model.router.content(state.routing.get(n, empty), kernel) * model.dt for n in routed}


def _total(terms: Iterable[Tensor]) -> Tensor:
    return sum(terms, start=torch.zeros((), dtype=torch.float64))
