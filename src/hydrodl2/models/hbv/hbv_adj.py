"""The implicit HBV: the equations of HBV as one system of differential equations, solved by backward Euler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from dmg.engine import Ledger
from dmg.engine.declare import Values
from dmg.errors import StepError, did_you_mean
from dmg.registry import process_models
from hydrodl2.models.hbv.declarations import (
    CAPILLARY,
    CAPILLARY_RISE,
    CORE,
    DEFICIT,
    FLUXES,
    SHAPE_OF_EVAPOTRANSPIRATION,
    STATES,
    STORES,
)
from hydrodl2.models.hbv.family import DailyHbv
from hydrodl2.models.hbv.processes import evaporation_factor, snow_outflow, soil_wetness
from hydrodl2.models.hbv.thresholds import SMOOTHING

#: Least soil moisture in the equations [mm]: powers of it stay differentiable.
LEAST_MOISTURE = 1e-8


@process_models.register("HbvAdj", "hbv_adj")
class HbvAdj(DailyHbv):
    """Implicit HBV: five stores that exchange water all at once, solved by backward Euler; daily, lumped.

    All processes see the same stores, those at the end of the day, so there is no order of processes. Gradients are
    those of the solution (the discrete adjoint). Stores start empty.

    Parameters
    ----------
    config
        Besides the options of `ProcessModel`: ``capillary`` (false; true adds capillary rise and its parameters
        ``parC`` and ``parNDC``), ``smoothing`` (none; logistic smooths the thresholds).
    device
        See `ProcessModel`.

    Notes
    -----
    Limits by a store are rates as well: a store that is limiting loses its content per day.

    Source: Song et al. (2024), https://doi.org/10.5194/hess-28-3051-2024.
    """

    name = "HBV Adjoint"
    options: ClassVar = ("capillary", "smoothing")

    parameters = (*CORE, SHAPE_OF_EVAPOTRANSPIRATION)
    states = tuple(replace(state, initial=0.0) for state in STATES)
    fluxes = FLUXES
    ledger = Ledger(sources=("prcp",), sinks=("AET_hydro", "streamflow"), stores=STORES)
    warmup_is_static: ClassVar = True
    routes_whole: ClassVar = True

    def __init__(self, config: Mapping[str, Any] | None = None, device: torch.device | str | None = None) -> None:
        config = dict(config or {})
        capillary, smoothing = bool(config.get("capillary") or False), str(config.get("smoothing") or "none")
        if smoothing not in SMOOTHING:
            raise StepError(f"unknown smoothing '{smoothing}'", hint=did_you_mean(smoothing, SMOOTHING))
        if capillary:
            self.parameter_table = (*type(self).parameter_table, CAPILLARY, DEFICIT)
            self.fluxes = (*type(self).fluxes, CAPILLARY_RISE)
        super().__init__(config, device)
        self.capillary, self.smoothing = capillary, smoothing

    def tendency(self, s: Values, x: Values, p: Values) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the rates of the five stores; see the class for the declaration."""
        threshold = SMOOTHING[self.smoothing]
        snowpack, meltwater, upper, lower = (
            torch.clamp(store, min=0.0) for store in (s.SNOWPACK, s.MELTWATER, s.SUZ, s.SLZ)
        )
        soil = torch.clamp(s.SM, min=LEAST_MOISTURE)

        rain, snow = threshold.rain_and_snow(x.prcp, x.tmean, p.parTT)
        potential = p.parCFMAX * (x.tmean - p.parTT)
        melt = threshold.smaller(threshold.positive(potential), snowpack)
        refreezing = threshold.smaller(threshold.positive(-p.parCFR * potential), meltwater)
        released = threshold.limited(snow_outflow(snowpack, meltwater, p.parCWH, threshold.positive), meltwater)

        learned = self.learned(s, x, p)
        infiltration = rain + released
        wetness = soil_wetness(soil, p.parFC, p.parBETA, threshold.at_most_one)
        recharge = learned("recharge", infiltration * wetness, infiltration)
        excess = threshold.positive(soil - p.parFC)
        factor = evaporation_factor(soil, p.parFC, p.parLP, p.parBETAET, threshold.at_most_one)
        evapotranspiration = threshold.smaller(soil, x.pet * factor)
        evapotranspiration = learned("AET_hydro", evapotranspiration, threshold.smaller(soil, x.pet))

        percolation = learned("percolation", threshold.smaller(upper, p.parPERC), upper)
        surface = threshold.limited(p.parK0 * threshold.positive(upper - p.parUZL), upper)
        interflow = p.parK1 * upper
        baseflow = learned("gwflow", p.parK2 * lower, lower)

        rates = {
            "SNOWPACK": snow + refreezing - melt,
            "MELTWATER": melt - refreezing - released,
            "SM": infiltration - recharge - excess - evapotranspiration,
            "SUZ": recharge + excess - percolation - surface - interflow,
            "SLZ": percolation - baseflow,
        }
        fluxes = {
            "streamflow": surface + interflow + baseflow,
            "srflow": surface,
            "ssflow": interflow,
            "gwflow": baseflow,
            "AET_hydro": evapotranspiration,
            "PET_hydro": x.pet,
            "SWE": s.SNOWPACK,
            "recharge": recharge,
            "excs": excess,
            "evapfactor": factor,
            "tosoil": released,
            "percolation": percolation,
        }
        if self.capillary:
            rise = p.parC * lower * (1.0 - threshold.at_most_one(soil / (p.parNDC * p.parFC)))
            rates["SM"], rates["SLZ"] = rates["SM"] + rise, rates["SLZ"] - rise
            fluxes["capillary"] = rise
        return rates, fluxes
