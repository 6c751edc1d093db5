"""The storages of HBV models, each advanced by one step.

Units and sources are those of `processes`. ``p`` has the parameters by their published names. ``learned`` is what a
step asks for the fluxes that a network may change.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dmg.engine.declare import Values
from dmg.engine.learned_flux import Learned, as_it_is
from hydrodl2.models.hbv.processes import (
    evaporation_factor,
    melt_and_refreeze,
    rain_and_snow,
    snow_outflow,
    upper_zone,
)


class Snow(NamedTuple):
    """Snow without melt water [mm], melt water [mm], rain and water that leaves the snow [mm d-1]."""

    pack: Tensor
    meltwater: Tensor
    rain: Tensor
    released: Tensor


def snow(pack: Tensor, meltwater: Tensor, prcp: Tensor, tmean: Tensor, threshold: Tensor, p: Values, dt: float) -> Snow:
    """Accumulate, melt, refreeze and drain snow."""
    rain, snowfall = rain_and_snow(prcp, tmean, threshold)
    pack, meltwater = melt_and_refreeze(pack + snowfall * dt, meltwater, p.parCFMAX, p.parCFR, tmean - threshold, dt)
    released = snow_outflow(pack, meltwater, p.parCWH)
    return Snow(pack, meltwater - released, rain, released / dt)


class Soil(NamedTuple):
    """Soil moisture [mm], what flows over from it, evapotranspiration [mm d-1], its factor, and what the floor adds."""

    moisture: Tensor
    excess: Tensor
    evapotranspiration: Tensor
    factor: Tensor
    floor: Tensor


def soil(
    moisture: Tensor,
    gain: Tensor,
    pet: Tensor,
    p: Values,
    nearzero: float,
    dt: float,
    learned: Learned = as_it_is,
) -> Soil:
    """Wet the soil, let it flow over above field capacity, and dry it; it never falls below ``nearzero``."""
    moisture = moisture + gain * dt
    excess = torch.relu(moisture - p.parFC)
    moisture = moisture - excess
    factor = evaporation_factor(moisture, p.parFC, p.parLP, p.parBETAET)
    evaporated = torch.minimum(moisture, pet * factor * dt)
    evaporated = learned("AET_hydro", evaporated, torch.minimum(moisture, pet * dt))
    dried = moisture - evaporated
    moisture = torch.clamp(dried, min=nearzero)
    return Soil(moisture, excess / dt, evaporated / dt, factor, (moisture - dried) / dt)


class Rise(NamedTuple):
    """Soil moisture, lower zone [mm], capillary rise, and what the floors add [mm d-1]."""

    moisture: Tensor
    lower: Tensor
    rise: Tensor
    floor: Tensor


def capillary_rise(moisture: Tensor, lower: Tensor, p: Values, nearzero: float, dt: float) -> Rise:
    """Lift water from the lower zone into a soil below field capacity; neither falls below ``nearzero``.

    Source: Song et al. (2024), https://doi.org/10.5194/hess-28-3051-2024.
    """
    deficit = 1.0 - torch.clamp(moisture / p.parFC, max=1.0)
    rise = torch.minimum(lower, p.parC * lower * deficit * dt)
    wet, drained = moisture + rise, lower - rise
    moisture, lower = torch.clamp(wet, min=nearzero), torch.clamp(drained, min=nearzero)
    return Rise(moisture, lower, rise / dt, ((moisture - wet) + (lower - drained)) / dt)


class UpperZone(NamedTuple):
    """Upper zone [mm]; percolation, surface flow and interflow [mm d-1]."""

    storage: Tensor
    percolation: Tensor
    surface: Tensor
    interflow: Tensor


def percolating_upper_zone(
    storage: Tensor, inflow: Tensor, p: Values, dt: float, learned: Learned = as_it_is
) -> UpperZone:
    """Fill the upper zone, let it percolate, and drain it."""
    storage = storage + inflow * dt
    # In mm, as what is emptied elsewhere here: a rate times its step would not empty a storage to the last bit.
    percolated = learned("percolation", torch.minimum(storage, p.parPERC * dt), storage)
    storage, surface, interflow = upper_zone(storage - percolated, p.parK0, p.parK1, p.parUZL, dt)
    return UpperZone(storage, percolated / dt, surface, interflow)


class LowerZone(NamedTuple):
    """Lower zone [mm] and baseflow [mm d-1]."""

    storage: Tensor
    baseflow: Tensor


def lower_zone(storage: Tensor, p: Values, dt: float, learned: Learned = as_it_is) -> LowerZone:
    """Drain the lower zone."""
    baseflow = learned("gwflow", p.parK2 * storage, storage / dt)
    return LowerZone(storage - baseflow * dt, baseflow)


class Exchange(NamedTuple):
    """Storage [mm], the regional flow that took place, and what the floor adds [mm d-1]."""

    storage: Tensor
    moved: Tensor
    floor: Tensor


def exchange(storage: Tensor, flow: Tensor, nearzero: float, dt: float) -> Exchange:
    """Let a regional flow enter a storage, or leave it as long as there is water."""
    after = torch.clamp(storage + flow * dt, min=nearzero)
    # Each from what it depends on, not from differences of storages, which lose all digits of a floor.
    moved = torch.maximum(flow, -torch.relu(storage - nearzero) / dt)
    floor = torch.relu(nearzero - (storage + torch.relu(flow) * dt)) / dt
    return Exchange(after, moved, floor)
