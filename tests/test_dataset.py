"""The canonical dataset."""

import numpy as np
import pytest
import xarray as xr

from dmg.core.data.dataset import (
    attribute_names,
    check_dataset,
    open_dataset,
    open_file,
    select_variables,
    series_names,
    site_ids,
    write_dataset,
)
from dmg.errors import DataError


@pytest.fixture
def store():
    rng = np.random.default_rng(0)
    times = np.arange("2000-01-01", "2000-02-10", dtype="datetime64[D]").astype("datetime64[ns]")
    prcp = rng.random((40, 3)).astype(np.float32)
    prcp[5, 1] = np.nan
    return xr.Dataset(
        {
            "prcp": (("time", "site"), prcp, {"units": "mm d-1"}),
            "elev": ("site", np.float32([1, 2, 3]), {"units": "m"}),
        },
        coords={"time": times, "site": ["01013500", "2", "x"]},
    )


@pytest.mark.parametrize("name", ["s.nc", "s.zarr"])
def test_written_and_opened_again_nothing_changes(store, tmp_path, name):
    path = write_dataset(store, tmp_path / name)
    write_dataset(store, path)
    with open_dataset(path) as back:
        assert site_ids(back) == ["01013500", "2", "x"]
        assert series_names(back) == ["prcp"]
        assert attribute_names(back) == ["elev"]
        assert back["prcp"].attrs["units"] == "mm d-1"
        assert back.attrs["Conventions"].startswith("CF-")
        assert not back["prcp"].variable._in_memory
        assert back["prcp"].dtype == np.float32
        np.testing.assert_array_equal(back["prcp"].values, store["prcp"].values)
        np.testing.assert_array_equal(back["time"].values, store["time"].values)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_zarr_format_3_hourly_and_units_of_time_are_read(store, tmp_path):
    hourly = store.assign_coords(time=np.datetime64("2000-01-01", "ns") + np.arange(40) * np.timedelta64(1, "h"))
    hourly["dayl"] = hourly["prcp"].assign_attrs(units="s")
    hourly = hourly.assign_coords(site=np.array([11, 2, 3]))
    hourly.to_zarr(tmp_path / "v3.zarr", zarr_format=3, consolidated=False)
    back = open_dataset(tmp_path / "v3.zarr")
    assert site_ids(back) == ["11", "2", "3"]
    assert back["dayl"].dtype == np.float32
    write_dataset(back, tmp_path / "copy.nc")
    np.testing.assert_array_equal(open_dataset(tmp_path / "copy.nc")["time"].values, hourly["time"].values)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda ds: ds.isel(time=[0, 1, 3]), r"not regular: 2000-01-02 is followed by 2000-01-04"),
        (lambda ds: ds.isel(time=[0, 1, 1, 2]), "does not increase after 2000-01-02"),
        (lambda ds: ds.assign_coords(site=["a", "b", "a"]), "more than once: a"),
        (lambda ds: ds.assign_coords(site=["a", "", "c"]), "empty id"),
        (lambda ds: ds.assign_coords(time=np.arange(40)), "not datetime64"),
        (lambda ds: ds.isel(time=[]), "'time' is empty"),
        (lambda ds: ds.rename(site="basin"), "no coordinate 'site'"),
        (lambda ds: ds.assign(prcp=ds["prcp"].drop_attrs()), "no unit on: prcp"),
        (lambda ds: ds.assign(word=("site", ["a", "b", "c"])), "'word' is not numeric"),
        (lambda ds: ds.assign(deep=(("site", "layer"), np.ones((3, 2)))), "'deep' has dims"),
    ],
)
def test_what_is_not_canonical_is_refused(store, damage, message):
    check_dataset(store)
    with pytest.raises(DataError, match=message):
        check_dataset(damage(store))


def test_a_refused_dataset_leaves_no_file(store, tmp_path):
    with pytest.raises(DataError):
        write_dataset(store.isel(time=[0, 1, 3]), tmp_path / "s.nc")
    with pytest.raises(DataError, match=r"ends in \.nc or \.zarr"):
        write_dataset(store, tmp_path / "s.csv")
    assert not list(tmp_path.iterdir())


def test_files_that_cannot_be_opened_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"dmg data pickle .*data\.pkl .*data\.nc .*--trust-pickle"):
        open_dataset(tmp_path / "data.pkl")
    with pytest.raises(DataError, match=r"no such file: .*none\.nc"):
        open_dataset(tmp_path / "none.nc")
    (tmp_path / "bad.nc").write_text("site,prcp")
    with pytest.raises(DataError, match="cannot read it as NetCDF-4"):
        open_file(tmp_path / "bad.nc")
    with pytest.raises(DataError, match="not a Zarr store"):
        open_file(tmp_path)


def test_a_missing_variable_suggests_the_closest(store):
    assert list(select_variables(store, ["elev", "prcp"])) == ["elev", "prcp"]
    with pytest.raises(DataError, match="did you mean 'prcp'"):
        select_variables(store, ["prpc"])
