"""Converters from NetCDF, tables and pickles, through the command line of ``dmg data``."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dmg.core.data.command import main
from dmg.core.data.dataset import open_dataset, site_ids

DAYS = pd.date_range("2000-01-01", "2000-12-31", freq="D")
IDS = ["01013500", "02051500", "14400000"]


def weather(seed=0):
    rng = np.random.default_rng(seed)
    season = 10 - 12 * np.cos(2 * np.pi * np.arange(len(DAYS)) / 365.25)[:, None]
    return {
        "tmin": season - 5 + rng.normal(size=(len(DAYS), 3)),
        "tmax": season + 8 + rng.normal(size=(len(DAYS), 3)),
        "rain": rng.gamma(0.5, 6.0, (len(DAYS), 3)),
        "flow": rng.gamma(2.0, 50.0, (len(DAYS), 3)),
    }


@pytest.fixture
def raw(tmp_path):
    """A file with its own names, integer-like missing marks, and attribute tables aside in another order."""
    data = weather()
    data["flow"][10, 1] = -999.0
    units = {"tmin": "degC", "tmax": "K", "rain": "mm/day", "flow": "cfs"}
    data["tmax"] = data["tmax"] + 273.15
    ds = xr.Dataset(
        {n: (("basin", "date"), v.T, {"units": units[n]}) for n, v in data.items()},
        coords={"date": DAYS, "basin": IDS},
    )
    ds["grid"] = ("layer", np.arange(4.0))
    ds.to_netcdf(tmp_path / "raw.nc", engine="h5netcdf")
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "topo.txt").write_text(
        "gauge_id;gauge_lat;area_gages2;slope [m/km]\n14400000;45;500;NA\n01013500;47;250;2.5\n02051500;36;1000;3.5\n"
    )
    (folder / "land.csv").write_text(
        "gauge_id,dom_land_cover,geol_porostiy\n"
        "1013500,Croplands,0.1\n02051500, Mixed Forests,0.2\n14400000,Croplands,0.3\n"
    )
    (folder / "readme.txt").write_text("Read me first\n\nIt is ; here\n")
    return tmp_path


def convert(raw, *extra, out="store.nc", rc=0):
    argv = [
        "netcdf",
        str(raw / "raw.nc"),
        str(raw / out),
        "--site-dim",
        "basin",
        "--time-dim",
        "date",
        *extra,
    ]
    assert main(argv) == rc
    return open_dataset(raw / out) if rc == 0 else None


FULL = ("--rename", "rain=prcp", "--rename", "flow=streamflow", "--derive", "tmean,pet,dayl")


@pytest.mark.parametrize("out", ["store.nc", "store.zarr"])
def test_netcdf_of_any_naming_becomes_canonical(raw, capsys, out):
    extra = ("--attributes", str(raw / "tables"), "--convert", "streamflow=mm/d", "--area", "area_gages2")
    ds = convert(raw, *FULL, *extra, out=out)
    assert site_ids(ds) == IDS
    assert ds["prcp"].dims == ("time", "site")
    assert {n: ds[n].attrs["units"] for n in ("prcp", "streamflow", "pet", "dayl", "slope", "area_gages2")} == {
        "prcp": "mm d-1",
        "streamflow": "mm d-1",
        "pet": "mm d-1",
        "dayl": "s",
        "slope": "m km-1",
        "area_gages2": "km2",
    }
    data = weather()
    np.testing.assert_allclose(ds["tmean"].values, 0.5 * (data["tmin"] + data["tmax"]), atol=1e-3)
    np.testing.assert_allclose(ds["gauge_lat"].values, [47, 36, 45])
    np.testing.assert_allclose(ds["streamflow"].values[0], data["flow"][0] * 2.446576 / [250, 1000, 500], rtol=1e-5)
    assert np.isnan(ds["streamflow"].values[10, 1])
    assert np.nanmin(ds["streamflow"].values) >= 0
    assert np.isnan(ds["slope"].values[2])
    np.testing.assert_allclose(ds["geol_porosity"].values, [0.1, 0.2, 0.3], rtol=1e-6)
    cover = ds["dom_land_cover"].attrs
    flags = dict(zip(cover["flag_meanings"].split(), cover["flag_values"], strict=True))
    np.testing.assert_array_equal(
        ds["dom_land_cover"].values, [flags["Croplands"], flags["Mixed_Forests"], flags["Croplands"]]
    )
    assert 500 < ds["pet"].values.sum(axis=0).min() < 1800
    printed = capsys.readouterr().out
    assert "'grid' has dims (layer), left out" in printed
    assert "unit unknown" not in printed


def test_sites_order_period_and_selection(raw):
    (raw / "list.json").write_text(json.dumps([14400000, 1013500]))
    ds = convert(
        raw,
        "--sites",
        str(raw / "list.json"),
        "--start",
        "2000/03/01",
        "--end",
        "2000-03-31",
        "--keep",
        "rain",
    )
    assert site_ids(ds) == ["14400000", "01013500"]
    assert list(ds.data_vars) == ["rain"]
    assert ds.sizes["time"] == 31
    np.testing.assert_allclose(ds["rain"].values[0], weather()["rain"][60][[2, 0]], rtol=1e-6)


def test_keep_chooses_series_and_leaves_the_attributes(raw):
    ds = convert(raw, "--keep", "rain,tmin", "--attributes", str(raw / "tables"))
    assert [n for n in ds.data_vars if "time" in ds[n].dims] == ["tmin", "rain"]
    assert "gauge_lat" in ds


def test_numbers_of_categories_do_not_depend_on_the_chosen_sites(raw):
    table = raw / "soil.csv"
    table.write_text("id,soil\n01013500,sand\n02051500,clay\n14400000,sand\n")
    every = convert(raw, "--attributes", str(table))
    one = convert(raw, "--attributes", str(table), "--sites", "01013500", out="one.nc")
    assert one["soil"].values[0] == every["soil"].values[0] == 1.0


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--sites", "01013500,99999999"), "1 of 2 sites are not in the data: 99999999"),
        (("--sites", "a,a"), "more than once: a"),
        (("--end", "2001-06-30"), "2000-01-01..2001-06-30 is not inside the record 2000-01-01..2000-12-31"),
        (("--end", "soon"), "'soon' is not a date"),
        (("--rename", "rian=prcp"), "did you mean 'rain'"),
        (("--rename", "rain"), "write --rename NAME=VALUE"),
        (("--unit", "flow=mm/d"), "is 'cfs' in the file, but 'mm/d' was given"),
        (("--convert", "flow=mm/d"), "name it: --area ATTRIBUTE"),
        (("--convert", "rain=K"), "they measure different things"),
        (("--derive", "pett"), "did you mean 'pet'"),
        (("--derive", "pet"), "'gauge_lat' is needed to derive 'pet'"),
        (("--keep", "snow"), "--keep: the data have no variable 'snow'"),
        (("--attributes", "nowhere"), "no such attribute table or folder: nowhere"),
    ],
)
def test_errors_name_what_and_how_and_leave_nothing(raw, capsys, extra, message):
    before = sorted(p.name for p in raw.iterdir())
    convert(raw, *extra, rc=1)
    assert message in capsys.readouterr().err
    assert sorted(p.name for p in raw.iterdir()) == before


def test_attribute_tables_that_lack_repeat_or_contradict_are_reported(raw, capsys):
    bad = raw / "bad.csv"
    for text, message in [
        ("id,x\n01013500,1\n02051500,2\n", "1 of 3 sites are not in the attribute table: 14400000"),
        ("id,x\n01013500,1\n01013500,2\n", "more than once: 01013500"),
    ]:
        bad.write_text(text)
        convert(raw, "--attributes", str(bad), rc=1)
        assert message in capsys.readouterr().err
    bad.write_text("id,gauge_lat\n01013500,11\n02051500,36\n14400000,45\n")
    convert(raw, "--attributes", str(bad), "--attributes", str(raw / "tables"), rc=1)
    assert "two tables disagree about 'gauge_lat'" in capsys.readouterr().err


def test_negative_precipitation_and_unknown_dims_are_refused(raw, capsys):
    with xr.open_dataset(raw / "raw.nc", engine="h5netcdf") as ds:
        ds = ds.load()
    ds["rain"][0, 3] = -1.0
    ds.to_netcdf(raw / "raw.nc", engine="h5netcdf")
    convert(raw, "--rename", "rain=prcp", rc=1)
    assert "'prcp' is negative (down to -1) at 01013500 (2000-01-04" in capsys.readouterr().err
    assert main(["netcdf", str(raw / "raw.nc"), str(raw / "o.nc"), "--site-dim", "gauge"]) == 1
    assert "has no dim 'gauge' but" in capsys.readouterr().err


def test_missing_days_are_inserted_and_forcing_that_ends_early_is_reported(raw, capsys):
    with xr.open_dataset(raw / "raw.nc", engine="h5netcdf") as ds:
        ds = ds.load()
    ds["rain"][:, 300:] = np.nan
    ds.isel(date=np.r_[0:100, 102:366]).to_netcdf(raw / "raw.nc", engine="h5netcdf")
    back = convert(raw)
    assert back.sizes["time"] == 366
    assert np.isnan(back["rain"].values[100:102]).all()
    printed = capsys.readouterr().out
    assert "2 missing time steps inserted" in printed
    assert "values in 2000-01-01..2000-10-26 only (cut with --start, --end): rain" in printed


def long_table():
    data = weather()
    frame = pd.DataFrame({"Date": np.repeat(DAYS, 3), "STAID": np.tile(IDS, len(DAYS))})
    frame["prcp (mm/day)"] = data["rain"].ravel()
    frame["Q"] = data["flow"].ravel()
    return frame


def test_long_wide_and_folder_tables_agree(tmp_path):
    frame = long_table()
    frame.sample(frac=1, random_state=1).to_csv(tmp_path / "long.csv", index=False)
    long = [
        "table",
        str(tmp_path / "long.csv"),
        str(tmp_path / "long.nc"),
        "--unit",
        "Q=m3/s",
        "--sites",
        ",".join(IDS),
    ]
    assert main(long) == 0
    wide = frame.pivot(index="Date", columns="STAID", values="prcp (mm/day)")
    wide.to_csv(tmp_path / "wide.csv", sep=";")
    argv = [
        "table",
        str(tmp_path / "wide.csv"),
        str(tmp_path / "wide.nc"),
        "--wide",
        "prcp",
        "--unit",
        "prcp=mm/d",
    ]
    assert main(argv) == 0
    (tmp_path / "each").mkdir()
    for site, part in frame.groupby("STAID"):
        part.drop(columns="STAID").to_csv(tmp_path / "each" / f"{site}.csv", index=False)
    assert main(["table", str(tmp_path / "each"), str(tmp_path / "each.nc"), "--unit", "Q=m3/s"]) == 0
    stores = [open_dataset(tmp_path / f"{name}.nc") for name in ("long", "wide", "each")]
    for ds in stores:
        assert site_ids(ds) == IDS
        assert ds["prcp"].attrs["units"] == "mm d-1"
        np.testing.assert_allclose(ds["prcp"].values, weather()["rain"], rtol=1e-6)
    np.testing.assert_allclose(stores[2]["Q"].values, weather()["flow"], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: pd.concat([f, f.iloc[:1]]), "site 01013500 has 2000-01-01 more than once"),
        (lambda f: f.assign(Q="many"), "column 'Q' holds text"),
        (lambda f: f.rename(columns={"Date": "When"}), "which column is meant by --time-column"),
        (lambda f: f.rename(columns={"STAID": "who"}), "which column is meant by --site-column"),
        (lambda f: f, "'Q' has no unit"),
    ],
)
def test_damaged_tables_are_refused(tmp_path, capsys, change, message):
    change(long_table()).to_csv(tmp_path / "long.csv", index=False)
    assert main(["table", str(tmp_path / "long.csv"), str(tmp_path / "o.nc")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "o.nc").exists()


@pytest.fixture
def pickled(tmp_path):
    data = weather()
    forcings = np.stack([data["rain"].T, data["tmin"].T], axis=2)
    target = data["flow"].T[:, :, None].copy()
    target[1, 5] = -999
    attributes = np.array([[250.0, 1.0], [1000.0, 2.0], [500.0, 3.0]])
    (tmp_path / "d.pkl").write_bytes(pickle.dumps((forcings, target, attributes)))
    np.save(tmp_path / "gages.npy", np.array([1013500, 2051500, 14400000]))
    return tmp_path


def pickle_argv(folder, *extra):
    names = [
        "--forcings",
        "prcp,tmin",
        "--attribute-names",
        "area_gages2,slope_mean",
        "--first-day",
        "2000/01/01",
    ]
    units = [part for u in ("prcp=mm/d", "tmin=degC", "streamflow=ft3/s") for part in ("--unit", u)]
    paths = ["pickle", str(folder / "d.pkl"), str(folder / "d.nc"), "--gages", str(folder / "gages.npy")]
    return [*paths, *names, *units, "--id-width", "8", *extra]


def test_published_pickle_layout(pickled):
    assert main(pickle_argv(pickled, "--trust-pickle")) == 0
    ds = open_dataset(pickled / "d.nc")
    assert site_ids(ds) == IDS
    np.testing.assert_allclose(ds["prcp"].values, weather()["rain"], rtol=1e-6)
    assert np.isnan(ds["streamflow"].values[5, 1])
    assert ds["streamflow"].attrs["units"] == "ft3 s-1"
    np.testing.assert_array_equal(ds["area_gages2"].values, [250, 1000, 500])


class Bomb:
    def __reduce__(self):
        return (open, ("exploded.txt", "w"))


def test_an_untrusted_pickle_is_never_loaded(pickled, capsys, monkeypatch):
    monkeypatch.chdir(pickled)
    (pickled / "d.pkl").write_bytes(pickle.dumps(Bomb()))
    assert main(pickle_argv(pickled)) == 1
    assert "--trust-pickle" in capsys.readouterr().err
    assert not (pickled / "exploded.txt").exists()
    assert not (pickled / "d.nc").exists()


def test_pickles_of_another_shape_are_refused(pickled, capsys):
    content = pickle.loads((pickled / "d.pkl").read_bytes())
    (pickled / "d.pkl").write_bytes(pickle.dumps(content[:2]))
    assert main(pickle_argv(pickled, "--trust-pickle")) == 1
    assert "does not hold (forcings [N, T, F]" in capsys.readouterr().err
    (pickled / "d.pkl").write_bytes(pickle.dumps((content[0][:2], content[1], content[2])))
    assert main(pickle_argv(pickled, "--trust-pickle")) == 1
    assert "3 ids were given for 2 sites of the forcings" in capsys.readouterr().err


def test_days_stamped_at_noon_become_the_day(raw, capsys):
    with xr.open_dataset(raw / "raw.nc", engine="h5netcdf") as ds:
        ds = ds.load()
    ds.assign_coords(date=DAYS + pd.Timedelta("12h")).to_netcdf(raw / "raw.nc", engine="h5netcdf")
    np.testing.assert_array_equal(convert(raw)["time"].values, DAYS.values)
    assert "not at 12:00" in capsys.readouterr().out


def test_text_that_is_not_utf_8_dates_with_a_zone_and_wrong_days(tmp_path, raw, pickled, capsys):
    table = tmp_path / "names.csv"
    table.write_bytes("id;Größe\n01013500;1\n02051500;2\n14400000;3\n".encode("latin-1"))
    assert convert(raw, "--attributes", str(table)).sizes["site"] == 3
    frame = long_table().drop(columns="Q")
    frame["Date"] = frame["Date"].dt.tz_localize("UTC")
    frame.to_csv(tmp_path / "zone.csv", index=False)
    assert main(["table", str(tmp_path / "zone.csv"), str(tmp_path / "zone.nc")]) == 0
    np.testing.assert_array_equal(open_dataset(tmp_path / "zone.nc")["time"].values, DAYS.values)
    assert main(pickle_argv(pickled, "--trust-pickle", "--first-day", "once")) == 1
    assert "'once' is not a date" in capsys.readouterr().err


def test_parquet_is_read_or_says_what_it_needs(tmp_path, capsys):
    try:
        long_table().to_parquet(tmp_path / "long.parquet")
    except ImportError:
        (tmp_path / "long.parquet").write_bytes(b"PAR1")
    rc = main(["table", str(tmp_path / "long.parquet"), str(tmp_path / "o.nc"), "--unit", "Q=m3/s"])
    if rc == 0:
        np.testing.assert_allclose(open_dataset(tmp_path / "o.nc")["prcp"].values, weather()["rain"], rtol=1e-6)
    else:
        assert "pip install pyarrow" in capsys.readouterr().err
