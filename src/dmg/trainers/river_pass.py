"""Runoff of simulated units through their river: the discharge at the lower end of every unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dmg.core.data.batch import Batch
from dmg.core.data.catchments import Catchments
from dmg.core.data.gauge_network import GaugeNetwork
from dmg.core.data.quantity import convert
from dmg.core.utils.peak_memory import PeakMemory
from dmg.engine import Flux, ModelState, RawParameters
from dmg.errors import ConfigError, RunError
from dmg.models.full_state import FullState
from dmg.registry import loaders
from dmg.trainers.simulate import Simulation, to_dataset

if TYPE_CHECKING:
    import xarray as xr

    from dmg.conf.config import Config
    from dmg.models.model_handler import ModelHandler

DISCHARGE = "discharge"
UNIT = "m3 s-1"
DESCRIPTION = "discharge at the lower end of the unit"

History = Mapping[str, Tensor] | None
"""What the routing remembers; None before the first step."""

_PROBED = 4
"""Steps more, whose memory is measured; there are so many others that what the routing remembers does not count."""


@dataclass(frozen=True)
class RiverPass:
    """The river of all units of a simulation, as the model routes through it.

    What a gauge at the lower end of a unit would see is computed for every unit: by Muskingum-Cunge, a unit hydrograph
    of the mean parameters above it, or on the day, as the model was trained to. Without a state to start from, the
    river is one into which the runoff of the first step has been flowing for long.

    Parameters
    ----------
    name, process
        The model of the units.
    network
        Where the units drain to, and the gauges.
    downstream
        The same, with areas and reaches, as the model sees it.
    areas
        Area that drains through every unit, km² [U].
    fingerprint
        Hash of network, areas and reaches.
    device
        Where it is routed.
    """

    name: str
    process: Any
    network: GaugeNetwork
    downstream: Any
    areas: np.ndarray
    fingerprint: str
    device: torch.device | str = "cpu"

    @classmethod
    def of(cls, config: Config, model: ModelHandler, units: Batch) -> RiverPass | None:
        """Return the river of a simulation of units; None if it is one of units alone.

        Raises
        ------
        DmgError
            If network, areas or reaches are not such as the model needs. A few steps are routed to see.
        """
        found, path = gathering(config, model), config.observations.topology_path
        if found is None or path is None:
            return None
        if "areas" not in units:
            raise ConfigError(
                "the discharge of a river is runoff times area, and nothing says what the areas of the units are",
                where="observations.subbasin_area_name",
                hint="name the attribute, or simulate the units alone: observations.topology_path=null",
            )
        network = GaugeNetwork.read(path, units.sites)
        known = {key: value for key, value in units.stored().items() if isinstance(value, Tensor) and value.ndim == 1}
        whole = Catchments(Batch(known, sites=units.sites), network.rivers, np.arange(units.n_sites)).inputs()
        name, process = found
        downstream = process.read_downstream(whole.to(config.device))
        areas = network.rivers.accumulate(units["areas"].cpu().numpy())
        river = cls(name, process, network, downstream, areas, whole.fingerprint(), config.device)
        _ = river.costs
        return river

    @property
    def flux(self) -> Flux:
        """What flows out of the units."""
        return next(flux for flux in self.process.fluxes if flux.name == self.process.total)

    @cached_property
    def costs(self) -> tuple[float, float]:
        """Bytes that tensors take in any case, and those of one more step."""
        units = len(self.network.units)
        middle = {p.name: np.full(units, 0.5 * (p.low + p.high), np.float32) for p in self.process.layout.routing}
        few, peaks = 2 * getattr(self.process.router, "length", 1), []
        for steps in (few, few + _PROBED):
            with PeakMemory() as memory:
                self.run(np.zeros((steps, units), np.float32), middle, None)
            peaks.append(memory.peak)
        each = (peaks[1] - peaks[0]) / _PROBED
        return peaks[0] - few * each, each

    def start(self, state: FullState | None) -> History:
        """Return what the routing remembers of a state, if it does."""
        if state is None:
            return None
        memory, name = state.of(self.network.units)[self.name].process.routing, self.flux.name
        return {name: memory[name]} if name in memory else None

    def run(
        self, runoff: np.ndarray, parameters: Mapping[str, np.ndarray], history: History
    ) -> tuple[np.ndarray, History]:
        """Route a piece of time.

        Parameters
        ----------
        runoff
            Unrouted flow of the units [t, U], in the unit of the model.
        parameters
            Those of the router, name to values [U] in their units.
        history
            What the routing remembers before the first step.

        Returns
        -------
        discharge
            At the lower end of every unit [t, U], m3 s-1.
        history
            What the routing remembers after the last step.

        Raises
        ------
        RunError
            If runoff or a parameter is not finite; says where.
        """
        for name, values in {"runoff": runoff, **parameters}.items():
            if not np.isfinite(values.sum(dtype=np.float64)):
                unit = self.network.units[np.argwhere(~np.isfinite(values))[0][-1]]
                raise RunError(
                    f"{name} of unit {unit} is not finite, which would spoil everything downstream",
                    hint="look at the forcings and attributes of the unit, and at the weights of the model",
                )
        flux = self.flux
        values = {flux.name: torch.from_numpy(runoff).to(self.device)}
        of_units = {name: torch.from_numpy(each).to(self.device) for name, each in parameters.items()}
        before = None if history is None else {name: rows.to(self.device) for name, rows in history.items()}
        with torch.no_grad():
            series, after = self.process.gather(values, of_units, before, self.downstream)
        discharge = convert(series[flux.name].cpu().numpy(), flux.unit, UNIT, self.areas)
        return discharge, {name: rows.cpu() for name, rows in after.items()}

    def add(self, simulation: Simulation, start: FullState | None) -> Simulation:
        """Return a simulation of the units, in memory, with the discharge, and its state with the river."""
        parameters = {p.name: simulation.series[p.name] for p in self.process.layout.routing}
        discharge, history = self.run(simulation.series[runoff_of(self.process)], parameters, self.start(start))
        return replace(
            simulation,
            series=simulation.series | {DISCHARGE: discharge},
            units=simulation.units | {DISCHARGE: UNIT},
            descriptions=simulation.descriptions | {DISCHARGE: DESCRIPTION},
            state=self.remember(simulation.state, history),
        )

    def remember(self, state: FullState, history: History) -> FullState:
        """Return the state of the units with what the routing through the river remembers."""
        own = state.models[self.name]
        process = ModelState(own.process.stores, {**own.process.routing, **(history or {})})
        return replace(state, models=state.models | {self.name: replace(own, process=process)})

    def gauges_of(self, simulation: Simulation) -> xr.Dataset:
        """Return the flow at the gauges of a simulation in memory; see `at_gauges`."""
        discharge = simulation.series[DISCHARGE]
        return self.at_gauges(lambda units: discharge[:, units], simulation.times, simulation.static)

    def at_gauges(self, read: Callable[[np.ndarray], np.ndarray], times: np.ndarray, static: str) -> xr.Dataset:
        """Return the flow at the gauges as a data set whose sites they are.

        Parameters
        ----------
        read
            Takes positions of units, in increasing order, and returns the discharge there [T, ·].
        times, static
            As of a `Simulation`.
        """
        outlets, flux = self.network.outlets, self.flux
        units, place = np.unique(outlets, return_inverse=True)
        discharge = read(units)[:, place]
        return to_dataset(
            Simulation(
                sites=list(self.network.gauges),
                times=times,
                series={DISCHARGE: discharge, flux.name: convert(discharge, UNIT, flux.unit, self.areas[outlets])},
                units={DISCHARGE: UNIT, flux.name: flux.unit},
                static=static,
                descriptions={DISCHARGE: DISCHARGE, flux.name: f"{flux.description}, as a depth over the catchment"},
            )
        )


def gathering(config: Config, model: ModelHandler) -> tuple[str, Any] | None:
    """Return name and process model of a simulation of units whose runoff a model brings to gauges; None of others."""
    if not getattr(loaders.get(config.data_loader), "units_apart", False) or len(model.models) > 1:
        return None
    name, coupled = next(iter(model.models.items()))
    process = getattr(coupled, "phy_model", None)
    return (name, process) if getattr(process, "gathers_units", False) else None


def runoff_of(process: Any) -> str:
    """Return the name of the series that flows out of units, before any routing."""
    routed = process.router is not None and not process.router.needs_network
    return f"{process.total}_no_rout" if routed else process.total


def routing_parameters(process: Any, static: Tensor) -> dict[str, np.ndarray]:
    """Return the learned parameters of the router, name to values [U] in their units, of raw static ones."""
    found = process.layout.scale_routing(RawParameters(static[None, :, :0], static))
    return {name: values.numpy().astype(np.float32) for name, values in found.items()}


def with_parameters(simulation: Simulation, name: str, process: Any) -> Simulation:
    """Return the simulation of a model with the parameters of its router."""
    declared = process.layout.routing
    return replace(
        simulation,
        series=simulation.series | routing_parameters(process, simulation.state.models[name].static),
        units=simulation.units | {p.name: p.unit for p in declared},
        descriptions=simulation.descriptions | {p.name: p.description for p in declared},
    )
