"""What the leaf models declare in common: forcings, parameters, and which parameters the data give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diffecosys.constants import JMAX_RATIO, VCMAX
from dmg.engine import Flux, Forcing, Parameter
from dmg.engine.declare import Values
from dmg.errors import StepError, did_you_mean

PATHWAY = Forcing("c3", "-", "1 for C3 leaves, 0 for C4", 0.0, 1.0)
LEAF_TEMPERATURE = Forcing("Tleaf", "degC", "leaf temperature", -5.0, 45.0)
AIR_TEMPERATURE = Forcing("Tair", "degC", "air temperature", -5.0, 45.0)
LIGHT = Forcing("PARin", "umol m-2 s-1", "photosynthetically active photons on the leaf", 0.0, 2000.0)
PRESSURE = Forcing("Patm", "kPa", "air pressure", 60.0, 105.0)
CO2 = Forcing("CO2S", "ppm", "CO2 at the leaf surface, or in the air", 150.0, 900.0)
INNER_CO2 = Forcing("Ci", "ppm", "CO2 inside the leaf", 30.0, 1500.0)
DEFICIT = Forcing("VPD", "kPa", "vapour pressure deficit of the air", 0.05, 6.0)
BOUNDARY = Forcing("BLCond", "mol m-2 s-1", "boundary-layer conductance to water vapour", 0.3, 9.0)
LEAF_AREA = Forcing("LAI", "m2 m-2", "leaf area index; without leaves nothing is assimilated", 0.1, 6.0)

VCMAX25 = Parameter("Vcmax25", 20.0, 150.0, "umol m-2 s-1", "greatest carboxylation at 25 degC")
JMAX_SHARE = Parameter("jmax_ratio", 0.5, 3.5, "-", "Jmax25 as a multiple of Vcmax25", JMAX_RATIO)
#: Without a number of its own it has that of the pathway; see `LeafBiochemistry`.
RD_SHARE = Parameter("rd_ratio", 0.0, 0.05, "-", "Rd25 as a multiple of Vcmax25; by pathway if not learned", 0.0)
ENERGY = Parameter("vcmaxha", 40000.0, 100000.0, "J mol-1", "activation energy of Vcmax (C3)", VCMAX.energy)

NET = Flux("An", "umol m-2 s-1", "net assimilation of CO2")
GROSS = Flux("gross", "umol m-2 s-1", "gross assimilation of CO2", diagnostic=True)
RESPIRATION = Flux("respiration", "umol m-2 s-1", "leaf respiration", diagnostic=True)


def given_names(table: Sequence[Parameter], config: Mapping[str, Any], name: str) -> list[str]:
    """Return the parameters that the data give (option ``given``).

    Raises
    ------
    StepError
        For a name that is no parameter.
    """
    known = [p.name for p in table]
    for given in config.get("given") or ():
        if given not in known:
            raise StepError(
                f"{name} has no parameter '{given}' that the data could give",
                where="model.phy.given",
                hint=did_you_mean(given, known),
            )
    return list(config.get("given") or ())


def value_of(name: str, x: Values, p: Values) -> Any:
    """Return a parameter from the data, if they give it, or else from its supplier."""
    return vars(x)[name] if name in vars(x) else getattr(p, name)
