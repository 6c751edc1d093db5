"""Routing of runoff to streamflow."""

from hydrodl2.routing.unit_hydrograph import GammaUnitHydrograph

__all__ = ["GammaUnitHydrograph"]
