"""The processes that the members of the HBV family share, each a pure function of tensors.

Storages are in mm, rates in mm per day, temperatures in degrees Celsius, ``dt`` in days.

Sources: Bergström (1976, 1992); Seibert and Vis (2012), https://doi.org/10.5194/hess-16-3315-2012; Feng et al. (2022),
https://doi.org/10.1029/2022WR032404.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def rain_and_snow(prcp: Tensor, tmean: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
    """Split precipitation at the threshold temperature; at the threshold it rains."""
    is_rain = tmean >= threshold
    nothing = torch.zeros_like(prcp)
    return torch.where(is_rain, prcp, nothing), torch.where(is_rain, nothing, prcp)


def melt_and_refreeze(
    snowpack: Tensor, meltwater: Tensor, degree_day: Tensor, refreezing: Tensor, warmth: Tensor, dt: float
) -> tuple[Tensor, Tensor]:
    """Move water between snow and melt water.

    Parameters
    ----------
    snowpack, meltwater
        Stores [mm].
    degree_day
        Degree-day factor CFMAX [mm degC-1 d-1].
    refreezing
        Refreezing coefficient CFR [-].
    warmth
        Temperature above the threshold [degC].
    dt
        Time step [d].

    Returns
    -------
    snowpack, meltwater
        Stores after melt and refreezing [mm].
    """
    melt = torch.minimum(torch.relu(degree_day * warmth) * dt, snowpack)
    meltwater = meltwater + melt
    snowpack = snowpack - melt
    refrozen = torch.minimum(torch.relu(refreezing * degree_day * -warmth) * dt, meltwater)
    return snowpack + refrozen, meltwater - refrozen


def snow_outflow(
    snowpack: Tensor, meltwater: Tensor, holding_capacity: Tensor, positive: Callable[[Tensor], Tensor] = torch.relu
) -> Tensor:
    """Return the melt water beyond what the snow holds [mm]."""
    return positive(meltwater - holding_capacity * snowpack)


def at_most_one(x: Tensor) -> Tensor:
    """Return a number that is not negative, one at most."""
    return torch.clamp(x, 0.0, 1.0)


def soil_wetness(
    soil: Tensor, field_capacity: Tensor, shape: Tensor, bounded: Callable[[Tensor], Tensor] = at_most_one
) -> Tensor:
    """Return the share of infiltrating water that recharges the groundwater [-]."""
    return bounded((soil / field_capacity) ** shape)


def evaporation_factor(
    soil: Tensor,
    field_capacity: Tensor,
    limit: Tensor,
    shape: Tensor | float,
    bounded: Callable[[Tensor], Tensor] = at_most_one,
) -> Tensor:
    """Return actual over potential evapotranspiration [-]; ``limit`` is the share of field capacity where it is 1."""
    return bounded((soil / (limit * field_capacity)) ** shape)


def upper_zone(upper: Tensor, k0: Tensor, k1: Tensor, threshold: Tensor, dt: float) -> tuple[Tensor, Tensor, Tensor]:
    """Drain the upper zone: surface flow above a threshold, then interflow.

    Returns
    -------
    upper, surface, interflow
        Store [mm] and rates [mm d-1].
    """
    surface = k0 * torch.relu(upper - threshold)
    upper = upper - surface * dt
    interflow = k1 * upper
    return upper - interflow * dt, surface, interflow


def snow_threshold(elevation: Tensor, threshold: Tensor) -> Tensor:
    """Return the threshold temperature of snow: that of the model below 2000 m, and 4 degrees Celsius from there on."""
    return torch.where(elevation >= 2000.0, 4.0, threshold)


def regional_flow(area: Tensor, turning_area: Tensor, greatest: Tensor) -> Tensor:
    """Return the regional groundwater flow that a site asks for [mm d-1], positive into its lower zone.

    Small catchments lose water and larger ones gain it, up to 2500 km²; beyond, the gain fades with area.

    Parameters
    ----------
    area
        Area that drains through the site [km2].
    turning_area
        Area AC at which the flow changes its direction [km2].
    greatest
        Greatest flow RT [mm d-1].
    """
    growing = torch.clamp((area - turning_area) / 1000.0, -1.0, 1.0)
    fading = torch.exp(torch.clamp((2500.0 - area) / 50.0, -10.0, 0.0))
    return torch.where(area < 2500.0, growing, fading) * greatest


def infiltration_capacity(soil: Tensor, field_capacity: Tensor, dry: Tensor, wet: Tensor, shape: Tensor) -> Tensor:
    """Return the greatest rate at which water enters the soil [mm d-1]: ``dry`` F0 if it is dry, down to ``wet``."""
    wetness = torch.clamp(soil / field_capacity, 0.0, 0.99)
    return wet + (dry - wet) * (1.0 - wetness) ** shape


def unsaturated_excess(water: Tensor, dry_share: Tensor, capacity: Tensor, shape: Tensor) -> Tensor:
    """Return the infiltration excess [mm d-1] of an area whose capacities vary from point to point.

    Parameters
    ----------
    water
        Rain and melt [mm d-1].
    dry_share
        Share of the area that is not saturated [-].
    capacity
        Greatest infiltration capacity F0 [mm d-1].
    shape
        Exponent ALPHA of their distribution [-].
    """
    exceeded = torch.clamp((torch.relu(water) / capacity) ** (1.0 / shape), 0.0, 1.0)
    return torch.relu(dry_share * (water * exceeded - capacity * exceeded ** (shape + 1.0) / (shape + 1.0)))
