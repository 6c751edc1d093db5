"""GR4J, the daily rainfall-runoff model with four parameters."""

from __future__ import annotations

import torch
from torch import Tensor

from dmg.engine import Flux, Forcing, Ledger, Parameter, ProcessModel, State
from dmg.engine.declare import Values
from dmg.errors import StepError
from dmg.registry import process_models

#: Greatest time base X4 of the unit hydrographs [d]: UH1 has as many ordinates, UH2 twice as many.
DAYS = 20


@process_models.register("Gr4j", "gr4j", "GR4J")
class Gr4j(ProcessModel):
    """GR4J: a production store, two unit hydrographs and a routing store, with exchange of groundwater; daily, lumped.

    The unit hydrographs lie between the stores, so their water is kept as vector states: entry k leaves in k + 1 days.
    The exchange is a source of the budget; it is negative where the catchment loses water, and never takes more than
    there is. Stores start empty: give a warm-up. Snow is not modelled.

    The bounds enclose the 80 % intervals of the paper's Table 1 (X1 100 to 1200 mm, X2 -5 to 3 mm, X3 20 to 300 mm,
    X4 1.1 to 2.9 d) with room for unusual catchments; X4 ends where the vectors do.

    Source: Perrin, Michel and Andréassian (2003), https://doi.org/10.1016/S0022-1694(03)00225-7.
    """

    name = "GR4J"
    forcings = (
        Forcing("prcp", "mm d-1", "precipitation", 0.0, 40.0),
        Forcing("pet", "mm d-1", "potential evapotranspiration", 0.0, 8.0),
    )
    parameters = (
        Parameter("X1", 10.0, 2000.0, "mm", "capacity of the production store"),
        Parameter("X2", -10.0, 10.0, "mm d-1", "exchange of groundwater when the routing store is full"),
        Parameter("X3", 1.0, 500.0, "mm", "reference capacity of the routing store"),
        Parameter("X4", 0.5, float(DAYS), "d", "time base of the unit hydrograph UH1"),
    )
    states = (
        State("production", "mm", description="production store"),
        State("uh1", "mm", size=DAYS - 1, description="water in the unit hydrograph UH1, by day of leaving"),
        State("uh2", "mm", size=2 * DAYS - 1, description="water in the unit hydrograph UH2, by day of leaving"),
        State("routing", "mm", description="routing store"),
    )
    fluxes = (
        Flux("streamflow", "mm d-1", "streamflow"),
        Flux("routed_flow", "mm d-1", "outflow of the routing store"),
        Flux("direct_flow", "mm d-1", "flow that passes by the routing store"),
        Flux("AET_hydro", "mm d-1", "actual evapotranspiration"),
        Flux("percolation", "mm d-1", "percolation from the production store"),
        Flux("effective_rainfall", "mm d-1", "water that reaches the unit hydrographs"),
        Flux("exchange", "mm d-1", "water gained from outside the catchment"),
    )
    ledger = Ledger(
        sources=("prcp", "exchange"),
        sinks=("AET_hydro", "streamflow"),
        stores=("production", "uh1", "uh2", "routing"),
    )

    def step(self, s: Values, x: Values, p: Values, dt: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One day; numbers in brackets are the equations of the paper."""
        if dt != 1.0:
            raise StepError(
                f"the equations of GR4J are integrals over one day, dt is {dt:g} days", hint="use daily data"
            )
        wet, dry = torch.relu(x.prcp - x.pet), torch.relu(x.pet - x.prcp)  # (1), (2)
        filling, wetting, drying = s.production / p.X1, torch.tanh(wet / p.X1), torch.tanh(dry / p.X1)
        stored = p.X1 * (1.0 - filling**2) * wetting / (1.0 + filling * wetting)  # (3)
        evaporated = s.production * (2.0 - filling) * drying / (1.0 + (1.0 - filling) * drying)  # (4)
        production = s.production - evaporated + stored  # (5)
        percolation = released(production, 4.0 / 9.0 * production / p.X1)  # (6)
        effective = percolation + (wet - stored)  # (8)

        ordinates1, ordinates2 = unit_hydrographs(p.X4)  # (9) to (17)
        coming, uh1 = pass_through(s.uh1, 0.9 * effective, ordinates1)
        direct, uh2 = pass_through(s.uh2, 0.1 * effective, ordinates2)

        ratio = s.routing / p.X3
        potential = p.X2 * ratio * to_five_halves(ratio)  # (18)
        routing = torch.relu(s.routing + coming + potential)  # (19)
        exchange = routing - s.routing - coming
        routed = released(routing, routing / p.X3)  # (20)
        direct_flow = torch.relu(direct + potential)  # (22)
        exchange = exchange + (direct_flow - direct)

        stores = {"production": production - percolation, "uh1": uh1, "uh2": uh2, "routing": routing - routed}
        fluxes = {
            "streamflow": routed + direct_flow,  # (23)
            "routed_flow": routed,
            "direct_flow": direct_flow,
            "AET_hydro": torch.minimum(x.prcp, x.pet) + evaporated,
            "percolation": percolation,
            "effective_rainfall": effective,
            "exchange": exchange,
        }
        return stores, fluxes


def released(content: Tensor, ratio: Tensor) -> Tensor:
    """Return what a store loses in a day, S (1 - (1 + ratio^4)^(-1/4)) [mm].

    With q^4 = 1 + ratio^4, the factor is ratio^4 / (q (q + 1) (q^2 + 1)): no digit is lost where it is small.
    """
    fourth = (ratio * ratio) ** 2
    square = torch.sqrt(1.0 + fourth)
    root = torch.sqrt(square)
    return content * fourth / (root * (root + 1.0) * (square + 1.0))


def to_five_halves(ratio: Tensor) -> Tensor:
    """Return r^(5/2) of a number that is not negative, by a square root, whose slope at zero is kept finite."""
    safe = torch.clamp(ratio, min=1e-8)
    return safe * safe * torch.sqrt(safe)


def unit_hydrographs(time_base: Tensor) -> tuple[Tensor, Tensor]:
    """Return the daily ordinates of UH1 [B, M, DAYS] and UH2 [B, M, 2 DAYS]; each sums to one.

    They are the daily increments of the S-curves SH1(t) = r^(5/2) up to r = 1, and
    SH2(t) = r^(5/2) / 2 up to r = 1, 1 - (2 - r)^(5/2) / 2 up to r = 2, with r = t / X4; one from there on.
    """
    days = torch.arange(1, 2 * DAYS + 1, dtype=time_base.dtype, device=time_base.device)
    ratio = days / time_base.unsqueeze(-1)
    rising = to_five_halves(torch.clamp(ratio[..., :DAYS], max=1.0))
    falling = to_five_halves(torch.clamp(2.0 - ratio, max=1.0))
    # Before its peak the falling limb is 1, after it the rising limb is: one formula serves both.
    both = torch.cat([rising, torch.ones_like(rising)], dim=-1) / 2 + (1.0 - falling) / 2
    return _increments(rising), _increments(both)


def _increments(curve: Tensor) -> Tensor:
    """Return the differences of a curve that starts at zero."""
    return torch.cat([curve[..., :1], curve[..., 1:] - curve[..., :-1]], dim=-1)


def pass_through(waiting: Tensor, inflow: Tensor, ordinates: Tensor) -> tuple[Tensor, Tensor]:
    """Spread the inflow of a day over the coming days.

    Parameters
    ----------
    waiting
        Water of former days by day of leaving, [B, M, n - 1].
    inflow
        Inflow of the day [B, M].
    ordinates
        Shares of it that leave today, tomorrow, …, [B, M, n].

    Returns
    -------
    outflow, waiting
        What leaves today [B, M] and what waits then [B, M, n - 1].
    """
    spread = inflow.unsqueeze(-1) * ordinates
    full = torch.cat([waiting, torch.zeros_like(waiting[..., :1])], dim=-1) + spread
    return full[..., 0], full[..., 1:]
