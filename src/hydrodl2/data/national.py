"""A synthetic store of national size: a river network, unit catchments with attributes, and daily forcing."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dmg.errors import DataError
from dmg.registry import converters
from hydrodl2.data.camels_names import CAMELS
from hydrodl2.data.sample_attributes import climate_attributes, land_attributes
from hydrodl2.data.sample_landscape import Landscape
from hydrodl2.data.sample_weather import MEMORY_OF_SPELLS, MEMORY_OF_WARMTH, Weather, autoregressive, generate_weather
from hydrodl2.data.synthetic_rivers import EXTENT, Rivers

REACHES = 180_000
"""Unit catchments of the United States in the published national model."""

_SERIES = {
    "prcp": ("mm d-1", "precipitation"),
    "tmean": ("degC", "mean air temperature"),
    "pet": ("mm d-1", "potential evapotranspiration after Hargreaves"),
}
_GEOMETRY = {
    "catchsize": ("km2", "area of the unit catchment"),
    "uparea": ("km2", "area that drains through the unit catchment, its own included"),
    "lengthkm": ("km", "length of the reach"),
    "slope": ("1", "slope of the bed of the reach"),
}
# Values of one variable that are generated at once.
_AT_ONCE = 2**19
_WAVES = 48


def write_national(
    path: str | Path, reaches: int = REACHES, *, start: str = "2000-01-01", days: int = 365, seed: int = 0
) -> Path:
    """Write the store as Zarr, a block of sites at a time; the same arguments give the same store.

    Parameters
    ----------
    path
        Where to write, ``….zarr``.
    reaches
        Number of reaches, each with a unit catchment: the sites.
    start, days
        First day and number of days.
    seed
        Seed of everything that is drawn.

    Returns
    -------
    pathlib.Path
        The store: forcings ``prcp``, ``tmean``, ``pet`` (time, site), correlated in space; ``to``, the id of the site
        downstream, 0 at an outlet; ``catchsize``, ``uparea``, ``lengthkm``, ``slope``; attributes with the names of
        CAMELS.

    Raises
    ------
    DataError
        If there is no reach or no day, or the path does not end in ``.zarr``.
    """
    import xarray as xr
    import zarr

    from dmg.core.data.dataset import CHUNK
    from dmg.core.utils.atomic import atomic_write

    path = Path(path).expanduser()
    if reaches < 1 or days < 1:
        raise DataError(f"a store of {reaches} reaches and {days} days holds nothing", hint="ask for at least one")
    if path.suffix != ".zarr":
        raise DataError(f"cannot write '{path.name}'", hint="the name of this store ends in .zarr")
    rivers = Rivers.grow(reaches, seed)
    # The mean of a year is that of the climate: a shorter record is a part of one.
    times = np.datetime64(start, "D") + np.arange(max(days, 366))
    width = min(reaches, 2048, max(64, 2 ** int(np.log2(max(1, _AT_ONCE // days)))))
    attributes = {
        "catchsize": rivers.area,
        "uparea": rivers.upstream_area,
        "lengthkm": rivers.length,
        "slope": rivers.slope,
    }
    with atomic_write(path) as temporary:
        group = zarr.open_group(temporary, mode="w", zarr_format=2)
        arrays = {
            name: group.create_array(
                name,
                shape=(days, reaches),
                chunks=(min(days, CHUNK["time"]), width),
                dtype="float32",
                fill_value=np.nan,
                attributes={"_ARRAY_DIMENSIONS": ["time", "site"], "units": unit, "long_name": text},
            )
            for name, (unit, text) in _SERIES.items()
        }
        for here, weather, about in _blocks(rivers, times, width, seed):
            for name, array in arrays.items():
                array[:, here] = getattr(weather, name)[:days].astype(np.float32)
            for name, values in about.items():
                attributes.setdefault(name, np.empty(reaches))[here] = values
        about = {n: {"units": CAMELS.units.get(n, "1")} for n in attributes} | {
            n: {"units": unit, "long_name": text} for n, (unit, text) in _GEOMETRY.items()
        }
        ids = np.arange(1, reaches + 1)
        static = xr.Dataset(
            {name: ("site", values.astype(np.float32), about[name]) for name, values in attributes.items()}
            | {"to": ("site", _below(ids, rivers), {"units": "1", "long_name": "id of the site downstream"})},
            coords={"time": times[:days].astype("datetime64[ns]"), "site": ids.astype(str).astype(object)},
            attrs={"title": "synthetic river network of national size", "seed": seed},
        )
        static["site"].attrs.update(long_name="site id", cf_role="timeseries_id")
        # Format 2, as `write_dataset`: text ids have no settled encoding in format 3 yet.
        static.to_zarr(temporary, mode="a", zarr_format=2, consolidated=True)
    return path


def _below(ids: NDArray[np.int64], rivers: Rivers) -> NDArray[np.int64]:
    """Return the id of what every site drains into, 0 at an outlet."""
    downstream = rivers.network.downstream
    return np.where(downstream >= 0, ids[downstream], 0)


def _blocks(
    rivers: Rivers, times: NDArray[np.datetime64], width: int, seed: int
) -> Iterator[tuple[slice, Weather, dict[str, NDArray[np.float64]]]]:
    """Yield blocks of sites: which they are, their weather, and their attributes."""
    land = _landscape(rivers, np.random.default_rng([seed, 0]))
    regional = {
        memory: autoregressive(len(times), 2 * _WAVES, memory, np.random.default_rng([seed, 1, stream]))
        for stream, memory in enumerate((MEMORY_OF_SPELLS, MEMORY_OF_WARMTH))
    }
    wave = _wave_vectors(np.random.default_rng([seed, 2]))
    for number, begin in enumerate(range(0, len(rivers.network), width)):
        here = slice(begin, begin + width)
        rng = np.random.default_rng([seed, 3, number])
        part = Landscape(**{f.name: getattr(land, f.name)[here] for f in fields(Landscape)})
        basis = _fields(wave, rivers.east[here], rivers.north[here])
        weather = generate_weather(part, times, rng, latent=lambda memory, basis=basis: regional[memory] @ basis)
        about = climate_attributes(weather, times) | land_attributes(part, rng)
        del about["area_gages2"]
        about["gauge_lon"] = -124.0 + 57.0 * rivers.east[here] / EXTENT[0]
        yield here, weather, about


def _landscape(rivers: Rivers, rng: np.random.Generator) -> Landscape:
    """Return the land of the unit catchments: alike where they are near each other, each property even over [0, 1]."""
    wave = _wave_vectors(rng)
    basis = _fields(wave, rivers.east, rivers.north)
    found = {f.name: rng.standard_normal(2 * _WAVES) @ basis for f in fields(Landscape)}
    found["warmth"] -= 4.0 * rivers.north / EXTENT[1]
    found["relief"] += np.log(rivers.slope)
    found["size"] = np.log(rivers.upstream_area)
    count = len(rivers.network)
    return Landscape(**{name: (values.argsort().argsort() + 0.5) / count for name, values in found.items()})


def _wave_vectors(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return wave vectors [2, K] per km: lengths of 400 to 4000 km, all directions."""
    number = 2.0 * np.pi / 400.0 * 10.0 ** -rng.uniform(0.0, 1.0, _WAVES)
    direction = rng.uniform(0.0, 2.0 * np.pi, _WAVES)
    return number * np.stack([np.cos(direction), np.sin(direction)])


def _fields(wave: NDArray[np.float64], east: NDArray[np.float64], north: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return waves at places, [2K, N]: Gaussian weights of them make a Gaussian field of variance 1."""
    phase = wave[0][:, None] * east + wave[1][:, None] * north
    return np.concatenate([np.cos(phase), np.sin(phase)]) / np.sqrt(_WAVES)


@converters.register("national")
class NationalConverter:
    """``dmg data national``: write the synthetic store."""

    summary = "a synthetic river network of national size, with attributes and forcing (for trials and benchmarks)"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command line."""
        parser.add_argument("output", metavar="OUT", help="store to write, .zarr")
        parser.add_argument("--reaches", type=int, default=REACHES, help="number of reaches (%(default)s)")
        parser.add_argument("--start", default="2000-01-01", help="first day (%(default)s)")
        parser.add_argument("--days", type=int, default=365, help="number of days (%(default)s)")
        parser.add_argument("--seed", type=int, default=0, help="seed of everything that is drawn (%(default)s)")

    def run(self, args: argparse.Namespace) -> Path:
        """Write, print what was written, return the path."""
        path = write_national(args.output, args.reaches, start=args.start, days=args.days, seed=args.seed)
        print(f"{path}: {args.reaches} reaches, {args.days} days from {args.start}")
        return path
