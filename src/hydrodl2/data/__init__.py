"""Hydrological data: converters, names, derived variables and the water balance, registered when imported."""

from hydrodl2.data import (
    camels_names,
    camels_us,
    cf_names,
    csdms_names,
    derivations,
    national,
    pet_derivations,
    prms,
    water_balance,
)

__all__ = [
    "camels_names",
    "camels_us",
    "cf_names",
    "csdms_names",
    "derivations",
    "national",
    "pet_derivations",
    "prms",
    "water_balance",
]
