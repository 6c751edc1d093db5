"""HBV 2.1 by the hour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dmg.engine import Ledger, Parameter, State
from dmg.engine.declare import Values
from dmg.registry import process_models
from hydrodl2.models.hbv.declarations import CAPILLARY, CORE, REGIONAL, SHAPE_OF_EVAPOTRANSPIRATION, STATES
from hydrodl2.models.hbv.hourly import HourlyHbv, Infiltration
from hydrodl2.models.hbv.processes import soil_wetness, unsaturated_excess

EXCESS_STORES = (
    State("SIE1", "mm", 0.001, description="infiltration excess, first store"),
    State("SIE2", "mm", 0.001, description="infiltration excess, second store"),
)


@process_models.register("Hbv_2_1_hourly", "hbv_2_1_hourly")
class Hbv_2_1_hourly(HourlyHbv):
    """HBV 2.1 by the hour: infiltration capacities vary within a unit, and the excess passes two linear stores.

    States may be loaded without the two stores of the excess, which then start at their initial value; see `HourlyHbv`
    for options.

    Source: Song et al. (2025), https://doi.org/10.1029/2024WR038928.
    """

    name = "HBV 2.1 Hourly"
    states = (*STATES, *EXCESS_STORES)
    parameters = (
        *(replace(p, high=12.0) if p.name == "parK0" else p for p in CORE),
        SHAPE_OF_EVAPOTRANSPIRATION,
        CAPILLARY,
        *REGIONAL,
        Parameter("parF0", 120.0, 2880.0, "mm d-1", "greatest infiltration capacity"),
        Parameter("parALPHA", 0.5, 1.0, "-", "shape of the distribution of infiltration capacities"),
        Parameter("parKS", 0.05, 10.0, "d-1", "recession of the infiltration excess"),
    )
    ledger = Ledger(
        HourlyHbv.ledger.sources, HourlyHbv.ledger.sinks, (*HourlyHbv.ledger.stores, *(s.name for s in EXCESS_STORES))
    )

    def infiltrate(self, moisture: Tensor, water: Tensor, p: Values) -> Infiltration:
        """Recharge from the saturated share of the area; elsewhere let in what the points allow."""
        if not self.infiltration:
            recharge = water * soil_wetness(moisture, p.parFC, p.parBETA)
            return Infiltration(recharge, water - recharge, torch.zeros_like(water))
        saturated = soil_wetness(torch.clamp(moisture, max=(1.0 - 1e-4) * p.parFC), p.parFC, p.parBETA)
        dry = 1.0 - saturated
        excess = unsaturated_excess(water, dry, p.parF0, p.parALPHA)
        return Infiltration(torch.relu(water) * saturated, torch.relu(water * dry - excess), excess)

    def quick_flow(
        self, s: Mapping[str, Tensor], excess: Tensor, p: Values, dt: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Drain the excess through two linear stores, which stand still where there is none."""
        if not self.infiltration:
            return torch.zeros_like(excess), {store.name: s[store.name] for store in EXCESS_STORES}
        rate = 2.0 * p.parKS
        first = s["SIE1"] + excess * dt
        between = torch.minimum(rate * first * dt, first) / dt
        second = s["SIE2"] + between * dt
        quick = torch.minimum(rate * second * dt, second) / dt
        return quick, {"SIE1": first - between * dt, "SIE2": second - quick * dt}

    def load_states(self, states: Sequence[Tensor]) -> None:
        """Start the next calls from these stores; those of the infiltration excess may be left out."""
        if len(states) == len(STATES):
            states = [*states, *(torch.full_like(torch.as_tensor(states[0]), s.initial) for s in EXCESS_STORES)]
        super().load_states(states)
