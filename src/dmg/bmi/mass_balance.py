"""The water of a component: what came in, what went out, what is stored, per node and since the start, in float64."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from dmg.bmi.stream import Stream
from dmg.core.data.quantity import conversion
from dmg.engine import ModelState, ProcessModel, RawParameters
from dmg.engine.state import content

UNIT = "m"
TERMS = ("in", "out", "stored", "leaked")


class MassBalance:
    """The ledger of a process model under a host, in metres of water.

    What was there at the start counts as having come in, so that in - out - stored - leaked = 0. What the host supplied
    within a model step that is not complete is stored, and so is what the model gave that was not shown yet. Floors of
    stores and exchanges with other catchments, which a model declares as sources, come in; nothing leaks.

    Parameters
    ----------
    model
        A process model with a ledger.
    stream
        What runs it; its state is what is stored.
    step
        Seconds of a model step.
    """

    def __init__(self, model: ProcessModel, stream: Stream, step: float) -> None:
        self.model, self.stream, self.days = model, stream, step / 86400.0
        unit = next((s.unit for s in model.states if s.name in model.ledger.stores), "mm")
        self.to_metres = conversion(unit, UNIT).scale
        forcings = [f.name for f in model.forcings]
        self.forcings = [n for n in model.ledger.sources if n in forcings]
        self.sources = [n for n in model.ledger.sources if n not in forcings]
        routed = model.routed if model.router is not None else ()
        self.rivers = [n for n in model.ledger.sinks if n in routed]
        self.entered = np.zeros(stream.nodes)
        self.left = np.zeros(stream.nodes)
        self._kernel: tuple[Tensor, Tensor] | None = None

    @staticmethod
    def of(stream: Stream, step: float) -> MassBalance | None:
        """Return the account of a stream; None for models that declare no ledger, or several side by side.

        There is none either where a coupling corrects forcings or outputs: it makes water, or loses it.
        """
        one = stream.process
        if one is None or not one.ledger:
            return None
        kept = all(getattr(model, "keeps_budget", True) for model in stream.run.model.models.values())
        return MassBalance(one, stream, step) if kept else None

    @property
    def outputs(self) -> list[str]:
        """Outputs that the account needs at every model step."""
        return [*self.sources, *self.model.ledger.sinks]

    @property
    def sinks(self) -> tuple[str, ...]:
        """Outputs that leave."""
        return self.model.ledger.sinks

    def begin(self, waiting: Mapping[str, np.ndarray]) -> None:
        """Start the account: what is there has come in.

        Parameters
        ----------
        waiting
            Sinks of the model that were not shown yet, as rates over a model step.
        """
        self.left = self._sum(waiting, self.sinks)
        self.entered = self.content() + self.left

    def add(self, forcing: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Account for a model step: what it was given, as the model saw it, and what it gave."""
        real = str(self.stream.dtype).removeprefix("torch.")
        seen = {name: forcing[name].astype(real).astype(np.float64) for name in self.forcings}
        self.entered = self.entered + self._sum(seen, self.forcings) + self._sum(outputs, self.sources)
        self.left = self.left + self._sum(outputs, self.sinks)

    def gain(self, before: np.ndarray) -> None:
        """Account for stores that were set: what they gained since they held ``before`` came in."""
        self.entered = self.entered + self.content() - before

    def terms(self, gathered: Mapping[str, np.ndarray], waiting: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the terms in metres.

        Parameters
        ----------
        gathered
            Forcings gathered in the model step that is not complete, as rates over a model step.
        waiting
            Sinks that were not shown yet, likewise.
        """
        pending, owed = self._sum(gathered, self.forcings), self._sum(waiting, self.sinks)
        found = {
            "in": self.entered + pending,
            "out": self.left - owed,
            "stored": self.content() + pending + owed,
            "leaked": np.zeros_like(self.entered),
        }
        return {name: values * self.to_metres for name, values in found.items()}

    def content(self) -> np.ndarray:
        """Return what stores and rivers hold, per node, in the unit of the stores."""
        (state,) = self.stream.state.values()
        process: ModelState = state.process
        stores = (content(process.stores[n].double()).mean(-1) for n in self.model.ledger.stores if n in process.stores)
        total = sum(stores)
        for name in self.rivers:
            history = process.routing.get(name)
            if history is not None and state.static is not None:
                in_river = self.model.router.content(history.double(), self._ordinates(state.static))
                total = total + in_river * self.model.dt
        return total.cpu().numpy() if isinstance(total, Tensor) else np.zeros(self.stream.nodes)

    def _ordinates(self, static: Tensor) -> Tensor:
        """Return the unit hydrographs, computed once for the parameters that are held."""
        if self._kernel is None or self._kernel[0] is not static:
            raw = RawParameters(static[:0], static.double())
            kernel = self.model.router.kernel(self.model.layout.scale_routing(raw), self.model.router.length)
            self._kernel = static, kernel
        return self._kernel[1]

    def _sum(self, rates: Mapping[str, np.ndarray], names: Any) -> np.ndarray:
        return sum((rates[n] * self.days for n in names if n in rates), start=np.zeros(self.stream.nodes))
