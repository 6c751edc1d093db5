"""Units at the file boundary: read as they are found in the wild, converted with pint, area included."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

from dmg.errors import DataError

if TYPE_CHECKING:
    import pint

WATER_DENSITY = 1000.0
"""kg m-3; turns a mass flux of water (kg m-2 s-1) into a depth per time."""

# Spellings that pint does not know, or that it knows as something else (C is the coulomb, and so on).
_SPELLINGS = {
    "": "1",
    "-": "1",
    "none": "1",
    "unitless": "1",
    "dimensionless": "1",
    "fraction": "1",
    "c": "degC",
    "°c": "degC",
    "deg c": "degC",
    "deg_c": "degC",
    "degree c": "degC",
    "degrees c": "degC",
    "degree_c": "degC",
    "degrees_c": "degC",
    "degrees celsius": "degC",
    "degrees_celsius": "degC",
    "k": "kelvin",
    "deg k": "kelvin",
    "f": "degF",
    "cfs": "ft**3/s",
    "cusec": "ft**3/s",
    "cumec": "m**3/s",
    "cumecs": "m**3/s",
    "cms": "m**3/s",
    "sqkm": "km**2",
    "degrees_north": "degree",
    "degrees_east": "degree",
    "degree_north": "degree",
    "degree_east": "degree",
}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


@lru_cache(maxsize=1)
def _registry() -> pint.UnitRegistry:
    import pint

    return pint.UnitRegistry(cache_folder=None)


@lru_cache(maxsize=512)
def parse_unit(text: str) -> pint.Unit:
    """Return the unit that a text means.

    Reads CF (``mm d-1``), algebraic (``mm/day``, ``ft^3/s``) and everyday (``cfs``, ``C``, ``gC``) spellings, and roots
    in a denominator (``s m-1/3``).

    Raises
    ------
    DataError
        If the text names no unit.
    """
    plain = " ".join(str(text).split())
    plain = _SPELLINGS.get(plain.lower(), plain)
    expression = plain.translate(_SUPERSCRIPTS).replace("·", " ").replace("^", "**").replace("°C", "degC")
    # Grams of carbon: the element says what is weighed, and pint would read a coulomb.
    expression = re.sub(r"\b([kmuµ]?g)\s*C\b", r"\1", expression)
    expression = re.sub(r"(?<=[A-Za-zµμ])\s*(-\d/\d)\b", r"**(\1)", expression)
    expression = re.sub(r"(?<=[A-Za-zµμ])\s*(-?\d)", r"**\1", expression)
    expression = re.sub(r"\s*([*/()]+)\s*", r"\1", expression.strip())
    expression = re.sub(r"\s+", "*", expression)
    try:
        return _registry().parse_units("" if expression == "1" else expression)
    except Exception as error:
        raise DataError(
            f"'{text}' is not a unit",
            hint="write it like 'mm d-1', 'ft3 s-1', 'degC' or 'W m-2'; '1' means dimensionless",
        ) from error


def unit_text(text: str) -> str:
    """Return the CF spelling of a unit: ``mm/day`` becomes ``mm d-1``, ``cfs`` becomes ``ft3 s-1``."""
    special = {"°C": "degC", "°F": "degF", "°": "degree", "deg": "degree", "a": "yr"}
    parts = []
    for name, power in sorted(parse_unit(text)._units.items(), key=lambda item: (item[1] < 0, 0)):
        symbol = _registry().get_symbol(name)
        symbol = special.get(symbol, symbol.replace("µ", "u"))
        number = Fraction(power).limit_denominator(9) if power < 0 else f"{power:g}"
        parts.append(symbol if power == 1 else f"{symbol}{number}")
    return " ".join(parts) or "1"


def same_unit(first: str, second: str) -> bool:
    """Return whether two texts mean the same unit, however they are spelled."""
    one, other = parse_unit(first), parse_unit(second)
    if one == other:
        return True
    if one.dimensionality != other.dimensionality:
        return False
    step = conversion(first, second)
    return abs(step.scale - 1.0) < 1e-12 and step.offset == 0.0


@dataclass(frozen=True)
class Conversion:
    """``y = x * scale * area**area_power + offset`` with the area in km²."""

    scale: float
    offset: float = 0.0
    area_power: int = 0

    @property
    def needs_area(self) -> bool:
        """Whether the conversion is between a volume and a depth per time."""
        return self.area_power != 0

    def __call__(self, values: Any, area: Any = None) -> Any:
        """Convert an array, tensor or number; `area` (km²) broadcasts, e.g. ``[N]`` against ``[T, N]``."""
        if not self.needs_area:
            return values if (self.scale, self.offset) == (1.0, 0.0) else values * self.scale + self.offset
        if area is None:
            raise DataError("the conversion between a volume and a depth of water needs the area of each site")
        factor = self.scale * area if self.area_power > 0 else self.scale / area
        return values * _like(factor, values)


@lru_cache(maxsize=512)
def conversion(source: str, target: str) -> Conversion:
    """Return the conversion from one unit to another.

    Beside units of one dimension it knows discharge and runoff depth (ft3 s-1, m3 s-1 ↔ mm d-1, by area), and
    mass and depth of liquid water (kg m-2 s-1 ↔ mm d-1).

    Raises
    ------
    DataError
        If the units measure different things; names both.
    """
    one, other = parse_unit(source), parse_unit(target)
    registry = _registry()
    if one.dimensionality == other.dimensionality:
        zero = registry.Quantity(0.0, one).to(other).magnitude
        return Conversion(registry.Quantity(1.0, one).to(other).magnitude - zero, zero)
    if _is_linear(one) and _is_linear(other):
        # Volume and depth differ by an area, mass and volume of water by its density; discharge and mass flux by both.
        for area_power, density_power in product((0, -1, 1), (0, -1, 1)):
            bridge = registry.km ** (2 * area_power) * (registry.kg / registry.m**3) ** density_power
            ratio = one / other * bridge
            if ratio.dimensionless:
                return Conversion(_factor(ratio) * WATER_DENSITY**density_power, 0.0, area_power)
    raise DataError(f"cannot convert '{source}' to '{target}': they measure different things")


def convert(values: Any, source: str, target: str, area: Any = None) -> Any:
    """Convert values (array, tensor, number) between units.

    Parameters
    ----------
    values
        In `source`; float64 in gives float64 out, float32 stays float32.
    source, target
        Texts of units.
    area
        Area in km² per site, only used between discharge and runoff depth.
    """
    return conversion(source, target)(values, area)


def convert_variable(
    values: Any, name: str, source: str, target: str, area: Any = None, where: str | None = None
) -> Any:
    """Convert the values of a variable, which an error names with the file."""
    try:
        return convert(values, source, target, area)
    except DataError as error:
        raise DataError(
            f"'{name}': {error.what}", where=where, hint=f"it is needed in '{target}': correct its attribute 'units'"
        ) from error


def resolve_unit(name: str, stored: str | None, given: str | None = None, where: str | None = None) -> str:
    """Return the unit of a variable: the file's own, and the given one only where the file has none.

    Raises
    ------
    DataError
        If both are there and differ (both are named), or neither is.
    """
    stored = stored if stored is not None and str(stored).strip() else None
    if stored is None and given is None:
        raise DataError(
            f"'{name}' has no unit",
            where=where,
            hint=f"give it one with a converter, as in `dmg data netcdf IN OUT --unit {name}='mm d-1'`",
        )
    if stored is not None and given is not None and not same_unit(stored, given):
        raise DataError(
            f"the unit of '{name}' is '{stored}' in the file, but '{given}' was given",
            where=where,
            hint="drop the given unit (the file's is used), or correct the file",
        )
    return str(stored if stored is not None else given)


def _like(factor: Any, values: Any) -> Any:
    """Give the factor the dtype of the values, so that float64 areas leave float32 series float32."""
    if hasattr(factor, "dtype") and hasattr(values, "dtype"):
        return factor.astype(values.dtype) if hasattr(factor, "astype") else factor.to(values.dtype)
    return factor


def _is_linear(unit: pint.Unit) -> bool:
    return not any(name.startswith("degree_") for name in unit._units)


def _factor(unit: pint.Unit) -> float:
    return float(_registry().Quantity(1.0, unit).to("dimensionless").magnitude)
