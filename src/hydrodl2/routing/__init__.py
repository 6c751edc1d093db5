"""Routing of runoff to streamflow."""

from dmg.core.utils.river_network import RiverNetwork
from hydrodl2.routing.gauges import Gauges
from hydrodl2.routing.lagged_unit_hydrograph import LaggedUnitHydrograph
from hydrodl2.routing.linear_routers import Hayami, LinearMuskingum, LinearReservoir, NashCascade, PureLag
from hydrodl2.routing.muskingum_cunge import MuskingumCunge
from hydrodl2.routing.muskingum_cunge_reach import MuskingumCungeReach
from hydrodl2.routing.river import River
from hydrodl2.routing.river_router import RiverRouter
from hydrodl2.routing.unit_hydrograph import GammaUnitHydrograph, HourlyUnitHydrograph

__all__ = [
    "GammaUnitHydrograph",
    "Gauges",
    "Hayami",
    "HourlyUnitHydrograph",
    "LaggedUnitHydrograph",
    "LinearMuskingum",
    "LinearReservoir",
    "MuskingumCunge",
    "MuskingumCungeReach",
    "NashCascade",
    "PureLag",
    "River",
    "RiverNetwork",
    "RiverRouter",
]
