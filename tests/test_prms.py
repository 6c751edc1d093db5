"""Segments of a PRMS model as a store: weather and geometry by segment, what has no land, what is missing."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dmg.cli import main
from dmg.core.data.dataset import open_dataset
from dmg.core.data.topology import read_topology
from dmg.errors import DataError
from hydrodl2.data.prms import read_prms

DELAWARE = Path(__file__).parents[2] / "shared" / "data" / "river_networks" / "pywatershed_drb"


@pytest.fixture
def model(tmp_path):
    """Write a model of four segments, 1 → 3 ← 2, 3 → 4, of which the third and the fourth have no land."""
    # Two units drain into the first segment, one into the second, one into none.
    into, area = [1, 1, 2, 0], [100.0, 300.0, 200.0, 50.0]
    land = {
        **{f"hru_{name}": ("nhru", np.array(values)) for name, values in
           {"area": area, "lat": [40.0, 41.0, 42.0, 0.0], "lon": [-75.0, -75.0, -76.0, 0.0],
            "elev": [10.0, 20.0, 30.0, 0.0], "slope": [0.1, 0.1, 0.2, 0.0]}.items()},
        "tosegment": ("nsegment", [3, 3, 4, 0]),
        "nhm_seg": ("nsegment", [11, 12, 13, 14]),
        "seg_length": ("nsegment", [5e3, 6e3, 7e3, 8e3]),
        "seg_slope": ("nsegment", [4e-3, 3e-3, 2e-3, 1e-3]),
        "seg_width": ("nsegment", [5.0, 6.0, 7.0, 8.0]),
    }  # fmt: skip
    xr.Dataset(land).to_netcdf(tmp_path / "parameters_dis_both.nc", engine="h5netcdf")
    channels = xr.Dataset({"hru_segment": ("nhru", into)})
    channels.to_netcdf(tmp_path / "parameters_PRMSChannel.nc", engine="h5netcdf")
    times = np.datetime64("2001-01-01", "ns") + np.arange(3) * np.timedelta64(1, "D")
    for name, values in (("prcp", [1.0, 0.0, 2.0, 9.0]), ("tmin", [32.0] * 4), ("tmax", [50.0, 50.0, 68.0, 0.0])):
        series = xr.Dataset({name: (("time", "nhm_id"), np.tile(values, (3, 1)))}, coords={"time": times})
        series.to_netcdf(tmp_path / f"{name}.nc", engine="h5netcdf")
    return tmp_path


def test_segments_have_the_weather_of_their_land(model, tmp_path):
    assert main(["data", "prms", str(model), str(tmp_path / "out.nc")]) == 0
    ds = open_dataset(tmp_path / "out.nc", require_units=True)
    assert list(ds["site"].values) == ["11", "12", "13", "14"]
    # Inches by area; the lower two have what the land above them has, all of it.
    both = (0.25 * 400 + 2.0 * 200) / 600
    np.testing.assert_allclose(ds["prcp"][0], 25.4 * np.array([0.25, 2.0, both, both]), rtol=1e-5)
    np.testing.assert_allclose(ds["tmax"][0, :2], [10.0, 20.0], rtol=1e-5)
    np.testing.assert_allclose(ds["tmin"][0], 0.0, atol=1e-5)
    acre = 0.0040468564
    np.testing.assert_allclose(ds["area"], [400 * acre, 200 * acre, 1e-3, 1e-3], rtol=1e-5)
    np.testing.assert_allclose(ds["upstream_area"][3], 600 * acre + 2e-3, rtol=1e-5)
    np.testing.assert_allclose(ds["gauge_lat"][0], (40.0 * 100 + 41.0 * 300) / 400)
    assert (ds["pet"] > 0).all()
    assert read_topology(model / "parameters_dis_both.nc").edges == [("11", "13"), ("12", "13"), ("13", "14")]


def test_missing_files_are_named(model):
    (model / "tmin.nc").unlink()
    with pytest.raises(DataError, match=r"there is no tmin\.nc"):
        read_prms(model)


def test_delaware():
    if not DELAWARE.exists():
        pytest.skip("needs ../shared/data/river_networks")
    ds = read_prms(DELAWARE)
    assert ds.sizes == {"time": 731, "site": 456}
    assert all(np.isfinite(ds[name]).all() for name in ds.data_vars)
    # At Trenton the Delaware drains 6780 square miles.
    trenton = read_topology(DELAWARE / "parameters_dis_both.nc").gauges["01463500"]
    assert float(ds["upstream_area"].sel(site=trenton)) == pytest.approx(6780 * 2.59, rel=0.02)
