"""``dmg data prms``: the stream segments of a PRMS model, with the forcing of the land that drains into them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dmg.core.data.assemble import Options
from dmg.core.data.converter import Converter
from dmg.core.utils.river_network import RiverNetwork
from dmg.errors import DataError
from dmg.registry import converters

if TYPE_CHECKING:
    import xarray as xr

GEOMETRY, CHANNELS = "parameters_dis_both.nc", "parameters_PRMSChannel.nc"
_KM2_PER_ACRE, _MM_PER_INCH = 0.0040468564224, 25.4
# Area of a segment into which no land drains: a gauge above it is then still one.
_NO_AREA = 1e-3
_ABOUT = {
    "area": ("km2", "area that drains straight into the segment"),
    "upstream_area": ("km2", "area that drains through the segment"),
    "gauge_lat": ("degree", "latitude of the land"),
    "gauge_lon": ("degree", "longitude of the land"),
    "elev_mean": ("m", "mean elevation of the land"),
    "slope_mean": ("1", "mean slope of the land"),
    "reach_length": ("m", "length of the segment"),
    "reach_slope": ("1", "slope of its bed"),
    "reach_width": ("m", "bankfull width of its channel"),
}


def read_prms(folder: str | Path) -> xr.Dataset:
    """Read segments as sites: the forcing of their land, averaged by area, and their geometry.

    Parameters
    ----------
    folder
        Holds ``parameters_dis_both.nc``, ``parameters_PRMSChannel.nc``, and ``prcp.nc`` (inches), ``tmin.nc`` and
        ``tmax.nc`` (degrees Fahrenheit) by day, as pywatershed writes them. ``parameters_dis_both.nc`` is also a file
        for ``observations.topology_path``.

    Returns
    -------
    xarray.Dataset
        ``prcp``, ``tmin``, ``tmax`` (time, site) and attributes. A segment into which no land drains has the weather
        and the land of the one below it, or else of those above.

    Raises
    ------
    DataError
        If a file is missing.
    """
    import xarray as xr

    folder = Path(folder).expanduser()
    for name in (GEOMETRY, CHANNELS, "prcp.nc", "tmin.nc", "tmax.nc"):
        if not (folder / name).exists():
            raise DataError(f"there is no {name}", where=str(folder), hint="take the folder of a pywatershed model")
    with xr.open_dataset(folder / GEOMETRY) as land, xr.open_dataset(folder / CHANNELS) as channels:
        geometry = {name: land[name].values for name in land.variables}
        into = channels["hru_segment"].values.astype(np.int64) - 1
    names = geometry["nhm_seg"].astype(str).astype(object)
    network = RiverNetwork(geometry["tosegment"].astype(np.int64) - 1, list(names))
    own, share = _shares(into, geometry["hru_area"] * _KM2_PER_ACRE, network, str(folder))
    attributes = {
        "area": np.maximum(own, _NO_AREA),
        "upstream_area": network.accumulate(np.maximum(own, _NO_AREA)),
        "gauge_lat": share @ geometry["hru_lat"],
        "gauge_lon": share @ geometry["hru_lon"],
        "elev_mean": share @ geometry["hru_elev"],
        "slope_mean": share @ geometry["hru_slope"],
        "reach_length": geometry["seg_length"],
        "reach_slope": geometry["seg_slope"],
        "reach_width": geometry["seg_width"],
    }
    variables = {
        name: ("site", values, dict(zip(("units", "long_name"), _ABOUT[name], strict=True)))
        for name, values in attributes.items()
    }
    for name, unit in (("prcp", "mm d-1"), ("tmin", "degC"), ("tmax", "degC")):
        with xr.open_dataset(folder / f"{name}.nc") as file:
            values, times = file[name].values.astype(np.float64), file["time"].values
        values = values * _MM_PER_INCH if name == "prcp" else (values - 32.0) / 1.8
        variables[name] = (("time", "site"), values @ share.T, {"units": unit})
    return xr.Dataset(variables, coords={"time": times, "site": names}, attrs={"title": "segments of a PRMS model"})


def _shares(
    into: NDArray[np.int64], area: NDArray[np.float64], network: RiverNetwork, where: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the area [S] that drains into segments, and the share [S, H] of every unit of land in it."""
    known = into >= 0
    share = np.zeros((len(network), len(into)))
    share[into[known], np.flatnonzero(known)] = area[known]
    own = share.sum(axis=1)
    empty, downstream = own == 0.0, network.downstream
    for reach in (r for level in network.levels[::-1] for r in level if empty[r] and downstream[r] >= 0):
        share[reach] = share[downstream[reach]]
    for reach in (r for level in network.levels for r in level if not share[r].any()):
        share[reach] = share[downstream == reach].sum(axis=0)
    if not share.any(axis=1).all():
        alone = network.ids[int(np.argmin(share.any(axis=1)))]
        raise DataError(f"no land drains into segment {alone}, nor next to it", where=where)
    return own, share / share.sum(axis=1, keepdims=True)


@converters.register("prms")
class PrmsConverter(Converter):
    """The sub-command ``dmg data prms``."""

    summary = "stream segments of a PRMS model (pywatershed), with the forcing of their land and PET by Hargreaves"
    input_help = f"folder with {GEOMETRY}, {CHANNELS}, prcp.nc, tmin.nc and tmax.nc"

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Nothing beside the common options."""

    def read(self, args: argparse.Namespace) -> tuple[xr.Dataset, list[str]]:
        """Read the segments."""
        return read_prms(args.input), []

    def options(self, args: argparse.Namespace) -> Options:
        """Return the options with mean temperature and PET."""
        options = Options.from_args(args)
        return replace(options, derive=tuple(dict.fromkeys(("tmean", "pet", *options.derive))))
