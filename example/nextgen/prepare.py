"""Make a folder in which the NextGen example runs: configurations, model, forcing of five catchments, spin-up.

    python -m example.nextgen.prepare output/nextgen

The weather is that of the hourly embedded sample. A host supplies precipitation and temperature by the hour, in the
files and columns of NextGen; the spin-up is the year before, by the day.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.data.dataset import write_dataset
from dmg.core.data.derive import derive
from dmg.core.utils.atomic import atomic_write

if TYPE_CHECKING:
    import xarray as xr

HERE = Path(__file__).resolve().parent
CATCHMENTS = [f"cat-{i}" for i in range(1, 6)]
FIRST, START = np.datetime64("2000-10-01"), np.datetime64("2001-10-01")


def prepare(folder: Path, days: int = 90) -> Path:
    """Write everything into a folder and return it.

    Parameters
    ----------
    folder
        Made if it is not there.
    days
        Length of the forcing, from October 2001 on.
    """
    from hydrodl2.data.sample_hourly import generate_hourly_sample

    for name in ("bmi", "model"):
        shutil.copytree(HERE / name, folder / name, dirs_exist_ok=True)
    for path in HERE.glob("realization_*.json"):
        shutil.copy(path, folder)
    weather = generate_hourly_sample(sites=5, start=str(FIRST), end=str(START + days - 1), gaps=False)
    weather = weather.assign_coords(site=CATCHMENTS)
    write_dataset(daily(weather.sel(time=slice(None, START - np.timedelta64(1, "h")))), folder / "spin_up.nc")
    hours = weather.sel(time=slice(START, None))
    for catchment in CATCHMENTS:
        write_forcing(hours.sel(site=catchment), folder / "forcing" / f"{catchment}.csv")
    return folder


def daily(hours: xr.Dataset) -> xr.Dataset:
    """Return the days of hourly weather, with potential evapotranspiration after Hargreaves."""
    by_day = hours[["prcp", "tmean"]].resample(time="1D")
    mean, low, high = by_day.mean(), by_day.min(), by_day.max()
    days = hours[["gauge_lat"]].assign(
        prcp=(mean["prcp"] * 24.0).assign_attrs(units="mm d-1"),
        tmean=mean["tmean"].assign_attrs(units="degC"),
        tmin=low["tmean"].assign_attrs(units="degC"),
        tmax=high["tmean"].assign_attrs(units="degC"),
    )
    return derive(days.drop_vars("time", errors="ignore").assign_coords(time=mean["time"]), "pet")


def write_forcing(hours: xr.Dataset, path: Path) -> None:
    """Write the forcing of one catchment as NextGen reads it: rain in mm s-1, temperature in K."""
    table = hours[["prcp", "tmean"]].to_dataframe()[["prcp", "tmean"]].astype("float64")
    table = table.assign(prcp=table["prcp"] / 3600.0, tmean=table["tmean"] + 273.15)
    table = table.rename(columns={"prcp": "precip_rate", "tmean": "TMP_2maboveground"})
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index_label="Time", date_format="%Y-%m-%d %H:%M:%S", float_format="%.9g")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int, default=90)
    words = parser.parse_args()
    print(f"written: {prepare(words.folder, words.days)}")
