"""HBV 2.0 by the hour."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dmg.engine import Parameter
from dmg.engine.declare import Values
from dmg.registry import process_models
from hydrodl2.models.hbv.declarations import CAPILLARY, CORE, REGIONAL, SHAPE_OF_EVAPOTRANSPIRATION
from hydrodl2.models.hbv.hourly import HourlyHbv, Infiltration
from hydrodl2.models.hbv.processes import infiltration_capacity, soil_wetness


@process_models.register("Hbv_2_hourly", "hbv_2_hourly")
class Hbv_2_hourly(HourlyHbv):
    """HBV 2.0 by the hour: water beyond the infiltration capacity of the soil runs off at once.

    The capacity falls from F0 (dry) to FMIN·F0 (wet) with the power ALPHA of the deficit; see `HourlyHbv` for options.

    Source: Song et al. (2025), https://doi.org/10.1029/2024WR038928.
    """

    name = "HBV 2.0 Hourly"
    parameters = (
        *CORE,
        SHAPE_OF_EVAPOTRANSPIRATION,
        CAPILLARY,
        *REGIONAL,
        Parameter("parF0", 120.0, 2880.0, "mm d-1", "infiltration capacity of a dry soil"),
        Parameter("parFMIN", 0.0, 1.0, "-", "infiltration capacity of a wet soil over that of a dry one"),
        Parameter("parALPHA", 0.5, 5.0, "-", "shape of the infiltration capacity"),
    )

    def infiltrate(self, moisture: Tensor, water: Tensor, p: Values) -> Infiltration:
        """Let in what the capacity of the soil allows."""
        excess = torch.zeros_like(water)
        if self.infiltration:
            capacity = infiltration_capacity(moisture, p.parFC, p.parF0, p.parFMIN * p.parF0, p.parALPHA)
            excess = torch.relu(water - capacity)
            water = torch.minimum(water, capacity)
        recharge = water * soil_wetness(moisture, p.parFC, p.parBETA)
        return Infiltration(recharge, water - recharge, excess)

    def quick_flow(
        self, s: Mapping[str, Tensor], excess: Tensor, p: Values, dt: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Let the excess run off within the hour."""
        return excess, {}
