"""``dmg data camels-us``: the raw text files of CAMELS-US become a canonical store."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dmg.core.data.assemble import Options
from dmg.core.data.converter import Converter
from dmg.core.data.sites import match_sites, read_site_list
from dmg.errors import DataError, did_you_mean
from dmg.registry import converters
from hydrodl2.data.pet_derivations import is_mean_repeated

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_UNITS = {
    "dayl": "s",
    "prcp": "mm d-1",
    "srad": "W m-2",
    "swe": "mm",
    "tmax": "degC",
    "tmin": "degC",
    "vp": "Pa",
}


class Basin(NamedTuple):
    """The forcing of one basin with the header of its file."""

    latitude: float
    elevation: float
    area: float
    series: pd.DataFrame


def read_forcing(path: Path) -> Basin:
    """Read a forcing file: latitude (degrees), elevation (m), area (m2), then one line a day.

    Raises
    ------
    DataError
        If header or columns are not as published.
    """
    import pandas as pd

    try:
        with path.open() as stream:
            latitude, elevation, area = (float(stream.readline()) for _ in range(3))
            titles = stream.readline().split()
            table = pd.read_csv(stream, sep=r"\s+", header=None, names=titles)
    except (ValueError, pd.errors.ParserError) as error:
        raise DataError(f"not a CAMELS-US forcing file: {error}", where=str(path)) from error
    # Titles carry a unit and differ in case from product to product: Dayl(s), PRCP(mm/day).
    table.columns = [re.sub(r"\(.*", "", title).lower() for title in titles]
    if not {"year", "day", "prcp"} <= set(table.columns):
        raise DataError(f"columns {', '.join(titles)} are not those of CAMELS-US", where=str(path))
    month = "mnth" if "mnth" in table.columns else "month"
    dates = {"year": table["year"], "month": table[month], "day": table["day"]}
    table.index = pd.DatetimeIndex(pd.to_datetime(dates), name="time")
    return Basin(latitude, elevation, area / 1e6, table[[n for n in _UNITS if n in table.columns]])


def read_streamflow(path: Path) -> pd.Series:
    """Read a streamflow file in ft3 s-1 (``id year month day flow flag``); −999 is missing."""
    import pandas as pd

    names = ["id", "year", "month", "day", "flow", "flag"]
    try:
        table = pd.read_csv(path, sep=r"\s+", header=None, names=names, dtype={"id": str, "flag": str})
        index = pd.DatetimeIndex(pd.to_datetime(table[["year", "month", "day"]]), name="time")
        flow = table["flow"].astype(np.float64)
    except (ValueError, KeyError) as error:
        raise DataError(f"not a CAMELS-US streamflow file: {error}", where=str(path)) from error
    return pd.Series(flow.where(flow > -998.0).to_numpy(), index=index, name="streamflow")


def read_camels_us(root: str | Path, product: str, sites: Sequence[str] | None = None) -> xr.Dataset:
    """Read forcing and streamflow of the basins below `root`.

    Parameters
    ----------
    root
        Folder with ``basin_mean_forcing/<product>`` and ``usgs_streamflow``, with or without the two-digit folders of
        the hydrologic units, itself or in ``basin_dataset_public_v1p2``.
    product
        ``daymet``, ``nldas``, ``maurer``, ``maurer_extended`` …: the name of the folder.
    sites
        Ids; by default every basin that has forcing.

    Returns
    -------
    xarray.Dataset
        Over the union of the periods; streamflow in ft3 s-1; ``gauge_lat``, ``forcing_header_elevation`` and
        ``forcing_header_area`` (km2) from the headers.
    """
    import pandas as pd
    import xarray as xr

    root = _root(Path(root).expanduser())
    forcing = _by_id(_product(root, product), "*_forcing_leap.txt")
    flow = _by_id(root / "usgs_streamflow", "*_streamflow_qc.txt")
    available = sorted(forcing)
    if sites is None:
        ids = available
    else:
        ids = [available[i] for i in match_sites(sites, available, what=f"the {product} forcing", where=str(root))]
    without = [site for site in ids if site not in flow]
    if without:
        raise DataError(
            f"no streamflow file for {len(without)} basins: {', '.join(without[:5])}",
            where=str(root / "usgs_streamflow"),
            hint="leave them out with --sites",
        )
    basins = {site: read_forcing(forcing[site]) for site in ids}
    tables = {site: basins[site].series.join(read_streamflow(flow[site]), how="outer") for site in ids}
    for site, table in tables.items():
        if table.index.has_duplicates:
            day = table.index[table.index.duplicated()][0]
            raise DataError(f"basin {site} has {day:%Y-%m-%d} more than once", where=str(root))
    low = min(table.index[0] for table in tables.values())
    high = max(table.index[-1] for table in tables.values())
    days = pd.date_range(low, high, freq="D")
    names = [n for n in (*_UNITS, "streamflow") if any(n in table for table in tables.values())]
    blocks = {site: table.reindex(index=days, columns=names).to_numpy(np.float32) for site, table in tables.items()}
    cube = np.stack([blocks[site] for site in ids], axis=1)
    units = _UNITS | {"streamflow": "ft3 s-1"}
    data: dict[str, object] = {
        name: (("time", "site"), np.ascontiguousarray(cube[:, :, i]), {"units": units[name]})
        for i, name in enumerate(names)
    }
    header = {"gauge_lat": "degree", "forcing_header_elevation": "m", "forcing_header_area": "km2"}
    for name, field in zip(header, ("latitude", "elevation", "area"), strict=True):
        values = np.array([getattr(basins[site], field) for site in ids], dtype=np.float32)
        data[name] = ("site", values, {"units": header[name], "long_name": f"{field} in the forcing file"})
    attrs = {
        "title": f"CAMELS-US, {product} forcing",
        "references": "doi:10.5065/D6MW2F4D, doi:10.5065/D6G73C3Q",
    }
    return xr.Dataset(data, coords={"time": days, "site": np.array(ids, dtype=object)}, attrs=attrs)


@converters.register("camels-us")
class CamelsUsConverter(Converter):
    """The sub-command ``dmg data camels-us``."""

    summary = "raw CAMELS-US folders (basin_mean_forcing, usgs_streamflow), with PET by Hargreaves"
    input_help = "folder with basin_mean_forcing and usgs_streamflow"

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare which product is read, and the unit of the flow."""
        parser.add_argument("--forcing", metavar="PRODUCT", default="daymet", help="daymet, nldas, maurer_extended …")
        parser.add_argument(
            "--flow-unit",
            choices=("mm/d", "ft3/s"),
            default="mm/d",
            help="mm/d divides by --area (default: area_gages2 with --attributes, else forcing_header_area)",
        )

    def read(self, args: argparse.Namespace) -> tuple[xr.Dataset, list[str]]:
        """Read the files of the sites; PET can be derived unless the product repeats the mean temperature."""
        ds = read_camels_us(args.input, args.forcing, read_site_list(args.sites) if args.sites else None)
        if args.attributes:
            # The tables have the latitude of the gauge; the header's is another point of the basin.
            ds = ds.drop_vars("gauge_lat")
        self._usual, notes = ["tmean", "pet"], []
        if is_mean_repeated(ds["tmin"].values, ds["tmax"].values):
            self._usual = ["tmean"]
            notes = [f"no PET, the {args.forcing} files give one temperature as minimum and maximum"]
        return ds, notes

    def options(self, args: argparse.Namespace) -> Options:
        """Return the options with the mean temperature, PET, the area and the unit of the flow."""
        options = Options.from_args(args)
        depth = {"streamflow": "mm d-1"} if args.flow_unit == "mm/d" else {}
        return replace(
            options,
            sites=None,  # chosen already, in the order of the list
            derive=tuple(dict.fromkeys((*self._usual, *options.derive))),
            convert=depth | dict(options.convert),
            area=options.area or ("area_gages2" if args.attributes else "forcing_header_area"),
        )


def _root(root: Path) -> Path:
    for place in (root, root / "basin_dataset_public_v1p2"):
        if (place / "basin_mean_forcing").is_dir() and (place / "usgs_streamflow").is_dir():
            return place
    raise DataError(
        f"no CAMELS-US in {root}",
        hint="the folder holds basin_mean_forcing/ and usgs_streamflow/, as unpacked",
    )


def _product(root: Path, name: str) -> Path:
    folder = root / "basin_mean_forcing" / name
    if not folder.is_dir():
        known = [f.name for f in folder.parent.iterdir() if f.is_dir()]
        raise DataError(f"no forcing '{name}'", where=str(folder.parent), hint=did_you_mean(name, known))
    return folder


def _by_id(folder: Path, pattern: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted([*folder.glob(pattern), *folder.glob(f"[0-9][0-9]/{pattern}")]):
        site = path.name.split("_")[0]
        if site in found:
            raise DataError(f"basin {site} has two files: {found[site]} and {path}")
        found[site] = path
    if not found:
        raise DataError(f"no files {pattern} in {folder}, nor in its hydrologic-unit folders")
    return found
