"""HYMOD, a probability-distributed soil store before quick and slow reservoirs."""

from __future__ import annotations

import torch
from torch import Tensor

from dmg.engine import Flux, Forcing, Ledger, Parameter, ProcessModel, State
from dmg.engine.declare import Values
from dmg.registry import process_models

#: Share of its greatest content that a full soil is taken to lack, where the slope of the critical capacity has a pole;
#: single precision tells no smaller one from none.
BRIM = 1e-7


@process_models.register("Hymod", "hymod", "HYMOD")
class Hymod(ProcessModel):
    """HYMOD: a probability-distributed soil store, three quick reservoirs in series beside a slow one; lumped.

    The storage capacities of the points of a catchment follow the Pareto distribution F(c) = 1 - (1 - c / Cmax)^bexp.
    Rain beyond the greatest capacity goes to the quick reservoirs; of the other excess they get the share alpha.
    Evapotranspiration is potential as long as the soil has water (published variants reduce it earlier). Snow is not
    modelled.

    Sources: Moore (1985), https://doi.org/10.1080/02626668509490989, for the soil; Boyle (2001), PhD thesis, University
    of Arizona; Wagener et al. (2001), https://doi.org/10.5194/hess-5-13-2001; bounds as in Vrugt et al. (2003),
    https://doi.org/10.1029/2002WR001642.
    """

    name = "HYMOD"
    forcings = (
        Forcing("prcp", "mm d-1", "precipitation", 0.0, 40.0),
        Forcing("pet", "mm d-1", "potential evapotranspiration", 0.0, 8.0),
    )
    parameters = (
        Parameter("Cmax", 1.0, 500.0, "mm", "greatest storage capacity in the catchment"),
        Parameter("bexp", 0.1, 2.0, "-", "shape of the distribution of capacities"),
        Parameter("alpha", 0.1, 0.99, "-", "share of the excess that flows quickly"),
        Parameter("Ks", 0.0, 0.1, "d-1", "recession of the slow reservoir"),
        Parameter("Kq", 0.1, 0.99, "d-1", "recession of each quick reservoir"),
    )
    states = (
        State("soil", "mm", description="soil moisture"),
        State("slow", "mm", description="slow reservoir"),
        State("quick1", "mm", description="first quick reservoir"),
        State("quick2", "mm", description="second quick reservoir"),
        State("quick3", "mm", description="third quick reservoir"),
    )
    fluxes = (
        Flux("streamflow", "mm d-1", "streamflow"),
        Flux("quick_flow", "mm d-1", "outflow of the last quick reservoir"),
        Flux("slow_flow", "mm d-1", "outflow of the slow reservoir"),
        Flux("AET_hydro", "mm d-1", "actual evapotranspiration"),
        Flux("excess", "mm d-1", "water that the soil does not take"),
    )
    ledger = Ledger(
        sources=("prcp",),
        sinks=("AET_hydro", "streamflow"),
        stores=("soil", "slow", "quick1", "quick2", "quick3"),
    )

    def step(self, s: Values, x: Values, p: Values, dt: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One step; see the class for the declaration."""
        soil, overflow, excess = wet_soil(s.soil, x.prcp * dt, p.Cmax, p.bexp)
        evaporated = torch.minimum(x.pet * dt, soil)
        slow, slow_flow = drain(s.slow + (1.0 - p.alpha) * excess, p.Ks, dt)
        quick1, passed = drain(s.quick1 + overflow + p.alpha * excess, p.Kq, dt)
        quick2, passed = drain(s.quick2 + passed * dt, p.Kq, dt)
        quick3, quick_flow = drain(s.quick3 + passed * dt, p.Kq, dt)
        stores = {"soil": soil - evaporated, "slow": slow, "quick1": quick1, "quick2": quick2, "quick3": quick3}
        fluxes = {
            "streamflow": quick_flow + slow_flow,
            "quick_flow": quick_flow,
            "slow_flow": slow_flow,
            "AET_hydro": evaporated / dt,
            "excess": (overflow + excess) / dt,
        }
        return stores, fluxes


def wet_soil(soil: Tensor, rain: Tensor, greatest: Tensor, shape: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Let rain fall on a soil whose capacities follow a Pareto distribution (Moore, 1985).

    With the greatest content S_max = Cmax / (1 + b), the content S fills every point up to the capacity
    C = Cmax (1 - (1 - S / S_max)^(1 / (1 + b))).

    Parameters
    ----------
    soil
        Content [mm].
    rain
        Rain of the step [mm].
    greatest
        Greatest capacity Cmax [mm].
    shape
        Shape b of the distribution [-].

    Returns
    -------
    soil, overflow, excess
        Content after the rain; rain beyond the greatest capacity; rain on points that are full by now [mm].
    """
    power = 1.0 + shape
    full = greatest / power
    before = greatest * (1.0 - torch.clamp(1.0 - soil / full, min=BRIM) ** (1.0 / power))
    overflow = torch.relu(rain + before - greatest)
    entering = rain - overflow
    lacking = torch.relu(1.0 - (before + entering) / greatest) ** power
    excess = torch.relu(entering - (full * (1.0 - lacking) - soil))
    return soil + entering - excess, overflow, excess


def drain(content: Tensor, recession: Tensor, dt: float) -> tuple[Tensor, Tensor]:
    """Return a linear reservoir after a step [mm] and its outflow [mm d-1]."""
    outflow = recession * content
    return content - outflow * dt, outflow
