"""``dmg data`` as a command: help, plug-ins, ``info``."""

import json

import numpy as np
import pytest
import xarray as xr

from dmg.core.data.command import main
from dmg.core.data.dataset import write_dataset


@pytest.fixture
def store(tmp_path):
    times = np.arange("2000-01-01", "2001-12-31", dtype="datetime64[D]").astype("datetime64[ns]")
    n = len(times)
    prcp = np.full((n, 2), 4.0, np.float32)
    flow = np.full((n, 2), 2.0, np.float32)
    flow[:100, 0] = np.nan
    flow[200:210, 0] = np.nan
    flow[300:305, 0] = np.nan
    ds = xr.Dataset(
        {
            "prcp": (("time", "site"), prcp, {"units": "mm d-1"}),
            "pet": (("time", "site"), prcp / 2, {"units": "mm d-1"}),
            "streamflow": (("time", "site"), flow, {"units": "mm d-1"}),
            "slope": ("site", [1.0, np.nan], {"units": "m km-1"}),
        },
        coords={"time": times, "site": ["a", "b"]},
    )
    return write_dataset(ds, tmp_path / "s.nc")


def test_info_as_json_holds_periods_gaps_units_ranges_and_the_balance(store, capsys):
    assert main(["info", str(store), "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert info["period"] == ["2000-01-01", "2001-12-30"]
    assert info["step_hours"] == 24.0
    assert info["variables"]["prcp"] | {"record": None} == {
        "unit": "mm d-1",
        "min": 4.0,
        "mean": 4.0,
        "max": 4.0,
        "missing": 0.0,
        "record": None,
    }
    assert info["variables"]["slope"]["missing"] == 0.5
    a = info["sites"]["a"]
    assert a["streamflow"]["record"] == ["2000-04-10", "2001-12-30"]
    assert (a["streamflow"]["gaps"], a["streamflow"]["longest"]) == (2, 10)
    assert a["streamflow"]["missing"] == pytest.approx(115 / 730)
    assert a["P_mm_yr"] == pytest.approx(1461.0)
    assert a["runoff_ratio"] == pytest.approx(0.5)
    assert a["aridity"] == pytest.approx(0.5)


def test_info_as_text_shows_what_differs_between_sites(store, capsys):
    assert main(["info", str(store)]) == 0
    text = capsys.readouterr().out
    assert "2 sites, 2000-01-01..2001-12-30, 730 steps of 24 h" in text
    site_table = text.split("\nsite")[1]
    assert "prcp" not in site_table.splitlines()[0]
    assert "2000-04-10..2001-12-30, 2 gaps, longest 10" in site_table
    assert "complete" in site_table


def test_balance_of_discharge_needs_and_uses_the_area(store, tmp_path, capsys):
    with xr.open_dataset(store, engine="h5netcdf") as ds:
        ds = ds.load()
    ds["streamflow"].attrs["units"] = "m3 s-1"
    for area in (None, 86.4):
        if area:
            ds["area_gages2"] = ("site", [area, area], {"units": "km2"})
        path = write_dataset(ds, tmp_path / "q.nc")
        assert main(["info", str(path), "--json"]) == 0
        site = json.loads(capsys.readouterr().out)["sites"]["b"]
        assert site.get("runoff_ratio") == (pytest.approx(0.5) if area else None)


def test_help_lists_the_converters_of_other_packages(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for name in ("netcdf", "table", "pickle", "camels-us", "info"):
        assert name in text


def test_errors_go_to_stderr_with_exit_code_1(tmp_path, capsys):
    assert main(["info", str(tmp_path / "none.nc")]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: no such file")
    with pytest.raises(SystemExit) as stop:
        main(["netcfd", "a", "b"])
    assert stop.value.code == 2
