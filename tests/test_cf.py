"""CF NetCDF for other programs: layout, valid and reference time, and what the compliance checker says."""

import os
import shutil
import subprocess

import numpy as np
import pytest
import xarray as xr
from small_run import small_store

from dmg.core.data.cf import write_cf
from dmg.core.data.command import main
from dmg.core.data.dataset import write_dataset
from dmg.core.data.vocabulary import cf_standard_name
from dmg.errors import DataError

#: A program of its own, with its own dependencies; `.ci/run` has it in the environment of the BMI tools.
CHECKER = os.environ.get("COMPLIANCE_CHECKER") or shutil.which("compliance-checker")


@pytest.fixture
def forecast():
    """Three days for four instances, two sites with two members each."""
    ds = small_store(4, days=3)[["prcp", "tmean", "streamflow", "gauge_lat", "gauge_lon", "area"]]
    ds["SNOWPACK"] = ds["prcp"].assign_attrs(units="mm", long_name="snow without melt water")
    ds = ds.assign_coords(site=[f"s{i // 2}/{i % 2}" for i in range(4)])
    return ds.assign_coords(realization=("site", np.arange(4) % 2, {"units": "1"}))


def test_a_forecast_in_the_orthogonal_layout(forecast, tmp_path):
    issued = np.datetime64("1999-12-31T12:00")
    path = write_cf(forecast, tmp_path / "forecast.nc", reference_time=issued, title="a forecast")
    with xr.open_dataset(path, engine="h5netcdf") as found:
        assert found.attrs["featureType"] == "timeSeries"
        assert found.attrs["Conventions"] == "CF-1.11"
        assert found.attrs["title"] == "a forecast"
        assert found["site_id"].attrs["cf_role"] == "timeseries_id"
        assert found["site_id"].values.tolist() == forecast.site.values.tolist()
        assert set(found["streamflow"].coords) >= {
            "site_id",
            "lat",
            "lon",
            "realization",
            "lead_time",
            "reference_time",
        }
        for name in ("streamflow", "tmean", "SNOWPACK"):
            assert found[name].dims == ("site", "time")
            np.testing.assert_array_equal(found[name].values, forecast[name].values.T)
        np.testing.assert_array_equal(found["lat"].values, forecast["gauge_lat"].values)
        assert found["reference_time"].values == issued.astype("datetime64[ns]")
        assert found["lead_time"].values.tolist() == [36.0, 60.0, 84.0]
        # The first day lasts from its begin, the time of the store, to the valid time.
        np.testing.assert_array_equal(found["time_bounds"].values[:, 0], forecast.time.values)
        np.testing.assert_array_equal(found["time_bounds"].values[:, 1], found["time"].values)
        assert found["time"].values[0] == np.datetime64("2000-01-02")
        assert found["streamflow"].attrs["cell_methods"] == "time: mean"
        assert found["SNOWPACK"].attrs["cell_methods"] == "time: point"
        assert found["tmean"].attrs["standard_name"] == "air_temperature"
        assert found["realization"].attrs["standard_name"] == "realization"
        assert found["SNOWPACK"].attrs["long_name"] == "snow without melt water"


def test_a_simulation_has_no_reference_time(forecast, tmp_path):
    with xr.open_dataset(write_cf(forecast, tmp_path / "run.nc"), engine="h5netcdf") as found:
        assert not {"reference_time", "lead_time"} & set(found.variables)


def test_the_command_adds_places_and_discharge(forecast, tmp_path, capsys):
    write_dataset(forecast[["streamflow", "SNOWPACK"]].isel(site=[0, 2]), tmp_path / "simulation.nc")
    (tmp_path / "topo.csv").write_text("id,gauge_lat,gauge_lon,area_gages2\ns0/0,40,-100,864\ns1/0,41,-101,86.4\n")
    argv = ["cf", str(tmp_path / "simulation.nc"), str(tmp_path / "cf.nc"), "--attributes", str(tmp_path / "topo.csv")]
    argv += ["--convert", "streamflow=m3/s", "--area", "area_gages2", "--title", "flow"]
    assert main([*argv, "--reference-time", "1999/12/31"]) == 0
    assert "2 sites" in capsys.readouterr().out
    with xr.open_dataset(tmp_path / "cf.nc", engine="h5netcdf") as found:
        assert found["streamflow"].attrs["standard_name"] == "water_volume_transport_in_river_channel"
        expected = forecast["streamflow"].values[:, [0, 2]].T * np.array([[10.0], [1.0]])
        np.testing.assert_allclose(found["streamflow"].values, expected, rtol=1e-6)
        assert found["lat"].values.tolist() == [40.0, 41.0]
        assert found["lead_time"].values.tolist() == [48.0, 72.0, 96.0]
    assert main([*argv, "--reference-time", "soon"]) == 1
    assert "'soon' is not a date" in capsys.readouterr().err


def test_a_packed_variable_is_whole_numbers_of_its_resolution(forecast, tmp_path, capsys):
    forecast["streamflow"][1, 2] = np.nan
    store, path = tmp_path / "simulation.nc", tmp_path / "cf.nc"
    write_dataset(forecast, store)
    argv = ["cf", str(store), str(path), "--title", "flow", "--pack"]
    assert main([*argv, "streamflow=0.01"]) == 0
    with xr.open_dataset(path, engine="h5netcdf", mask_and_scale=False) as raw:
        assert raw["streamflow"].dtype == np.int32
        assert raw["streamflow"].attrs["scale_factor"] == 0.01
        assert raw["tmean"].dtype == np.float32
    with xr.open_dataset(path, engine="h5netcdf") as found:
        np.testing.assert_allclose(found["streamflow"].values, forecast["streamflow"].values.T, atol=0.00501)
    path.unlink()
    for word, text in {
        "streamflow=1e-9": "too much for whole numbers of 1e-09 in 32 bits",
        "streamflow=0": "the resolution of 'streamflow' is 0",
        "streamflow": "there is no number behind =",
        "stramflow=1": "there is no 'stramflow' to pack",
    }.items():
        assert main([*argv, word]) == 1
        assert text in capsys.readouterr().err
    assert not path.exists()


def test_a_name_is_standard_only_in_a_unit_that_measures_it():
    assert cf_standard_name("streamflow", "ft3 s-1") == "water_volume_transport_in_river_channel"
    assert cf_standard_name("streamflow", "mm d-1") is None
    assert cf_standard_name("prcp", "mm d-1") == "lwe_precipitation_rate"
    assert cf_standard_name("prcp", "kg m-2 s-1") == "precipitation_flux"
    assert cf_standard_name("nothing", "1") is None


def test_one_step_needs_its_length_and_errors_leave_nothing(forecast, tmp_path):
    one = forecast.isel(time=[0])
    with pytest.raises(DataError, match=r"(?s)one time alone does not say how long its step is\n.*time\n.*give step="):
        write_cf(one, tmp_path / "one.nc")
    path = write_cf(one, tmp_path / "step.nc", step=np.timedelta64(6, "h"))
    with xr.open_dataset(path, engine="h5netcdf") as found:
        assert found["time"].values[0] == np.datetime64("2000-01-01T06:00")
    with pytest.raises(
        DataError, match=r"(?s)the forecast was issued at 2000-01-02.*a forecast begins when it is issued"
    ):
        write_cf(forecast, tmp_path / "late.nc", reference_time=np.datetime64("2000-01-02"))
    with pytest.raises(DataError, match=r"ends in \.nc"):
        write_cf(forecast, tmp_path / "forecast.zarr")
    assert [p.name for p in tmp_path.iterdir()] == ["step.nc"]


@pytest.mark.skipif(CHECKER is None, reason="compliance-checker is not installed; set COMPLIANCE_CHECKER to its path")
@pytest.mark.parametrize(("issued", "packed"), [(None, {"streamflow": 0.01}), ("1999-12-31T12:00", None)])
def test_compliance_checker_finds_nothing(forecast, tmp_path, issued, packed):
    path = write_cf(forecast, tmp_path / "forecast.nc", reference_time=issued, packed=packed)
    command = [CHECKER, "--test", "cf:1.11", "--criteria", "strict", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "All tests passed" in done.stdout
