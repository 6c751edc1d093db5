"""The raw CAMELS-US layout, and the archive of 671 basins in NetCDF."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from dmg.core.data.command import main
from dmg.core.data.dataset import open_dataset, site_ids
from dmg.errors import DataError
from hydrodl2.data.camels_us import read_camels_us

SHARED = Path(__file__).parents[2] / "shared" / "data"
RAW = SHARED / "camels_us_raw_sample"
EXTENDED = SHARED / "camels_us_maurer_ext"
ATTRIBUTES = EXTENDED / "camels_attributes_v2.0"
IDS = ["01022500", "01547700", "02064000", "03015500"]

raw_only = pytest.mark.skipif(not RAW.exists(), reason="the raw CAMELS-US sample is not there")
extended_only = pytest.mark.skipif(not EXTENDED.exists(), reason="the CAMELS-US archive is not there")


@pytest.fixture
def with_units(tmp_path):
    """The sample sorted into folders of hydrologic units, as in the full archive."""
    for folder in ("basin_mean_forcing/daymet", "usgs_streamflow"):
        for path in (RAW / folder).iterdir():
            place = tmp_path / "basin_dataset_public_v1p2" / folder / path.name[:2]
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    return tmp_path


@raw_only
@pytest.mark.parametrize("product", ["daymet", "nldas", "maurer_extended"])
def test_every_product_is_read_as_written(product):
    ds = read_camels_us(RAW, product)
    assert site_ids(ds) == IDS
    path = next((RAW / "basin_mean_forcing" / product).glob("01022500*"))
    line = path.read_text().splitlines()[5].split()
    day = ds.sel(site="01022500").isel(time=1)
    read = [float(day[name]) for name in ("dayl", "prcp", "srad", "swe", "tmax", "tmin", "vp")]
    np.testing.assert_allclose(read, [float(v) for v in line[4:]], rtol=1e-6)
    assert float(ds["forcing_header_area"][0]) == pytest.approx(587.675987, rel=1e-6)
    assert float(day["streamflow"]) == 272.0
    assert ds["streamflow"].attrs["units"] == "ft3 s-1"


@raw_only
def test_hydrologic_unit_folders_make_no_difference(with_units):
    flat, nested = read_camels_us(RAW, "daymet"), read_camels_us(with_units, "daymet")
    assert flat.identical(nested)


@raw_only
def test_missing_flow_is_nan_and_never_negative(with_units):
    path = next(with_units.rglob("01022500_streamflow_qc.txt"))
    path.write_text(path.read_text().replace("   255.00 A:e", "  -999.00 M", 1))
    flow = read_camels_us(with_units, "daymet")["streamflow"].values
    assert np.isnan(flow[0, 0])
    assert np.nanmin(flow) >= 0


@raw_only
@extended_only
def test_command_makes_a_store_for_the_published_observations(tmp_path, capsys):
    argv = [
        "camels-us",
        str(RAW),
        str(tmp_path / "o.nc"),
        "--forcing",
        "maurer_extended",
        "--attributes",
        str(ATTRIBUTES),
    ]
    assert main([*argv, "--sites", "03015500,01022500"]) == 0
    ds = open_dataset(tmp_path / "o.nc")
    assert site_ids(ds) == ["03015500", "01022500"]
    assert {"prcp", "tmean", "pet", "dayl", "srad", "vp", "streamflow"} <= set(ds.data_vars)
    # The header area of a basin is not area_gages2: the table's one was used.
    raw = read_camels_us(RAW, "maurer_extended", ["01022500"])["streamflow"].values[0, 0]
    depth = ds["streamflow"].sel(site="01022500").values[0]
    assert depth == pytest.approx(raw * 2.4465755 / float(ds["area_gages2"][1]), rel=1e-5)
    assert main([*argv, "--sites", "99999999"]) == 1
    assert "not in the maurer_extended forcing: 99999999" in capsys.readouterr().err


@raw_only
def test_without_tables_the_header_area_is_used_or_the_flow_stays(tmp_path):
    for unit in ("mm/d", "ft3/s"):
        assert main(["camels-us", str(RAW), str(tmp_path / "o.zarr"), "--flow-unit", unit]) == 0
        flow = open_dataset(tmp_path / "o.zarr")["streamflow"]
        assert flow.attrs["units"] == {"mm/d": "mm d-1", "ft3/s": "ft3 s-1"}[unit]
        factor = 2.4465755 / 587.675987 if unit == "mm/d" else 1.0
        assert flow.values[0, 0] == pytest.approx(255.0 * factor, rel=1e-5)


@raw_only
def test_a_product_that_repeats_the_mean_temperature_gives_no_pet(tmp_path, capsys):
    assert main(["camels-us", str(RAW), str(tmp_path / "o.nc"), "--forcing", "nldas"]) == 0
    assert "pet" not in open_dataset(tmp_path / "o.nc")
    assert "no PET" in capsys.readouterr().out
    assert main(["camels-us", str(RAW), str(tmp_path / "p.nc"), "--forcing", "nldas", "--derive", "pet"]) == 1
    assert not (tmp_path / "p.nc").exists()


@raw_only
def test_wrong_roots_products_and_files_are_named(with_units, tmp_path):
    with pytest.raises(DataError, match="no CAMELS-US in"):
        read_camels_us(tmp_path / "basin_dataset_public_v1p2" / "usgs_streamflow", "daymet")
    with pytest.raises(DataError, match="no forcing 'daymett'") as caught:
        read_camels_us(with_units, "daymett")
    assert "did you mean 'daymet'" in str(caught.value)
    next(with_units.rglob("03015500_lump*")).write_text("a table\n")
    with pytest.raises(DataError, match="not a CAMELS-US forcing file"):
        read_camels_us(with_units, "daymet", ["03015500"])
    next(with_units.rglob("01022500_streamflow_qc.txt")).unlink()
    with pytest.raises(DataError, match="no streamflow file for 1 basins: 01022500"):
        read_camels_us(with_units, "daymet")


@extended_only
def test_the_archive_of_671_basins_converts(tmp_path, capsys):
    sites = np.loadtxt(SHARED / "benchmarks" / "531_basin_list.txt", dtype=str)[::25]
    source = EXTENDED / "camels_us_671_maurer_ext.nc"
    argv = [
        "netcdf",
        str(source),
        str(tmp_path / "c.zarr"),
        "--site-dim",
        "basin",
        "--attributes",
        str(ATTRIBUTES),
    ]
    argv += ["--derive", "tmean,pet,dayl", "--sites", ",".join(sites)]
    assert main(argv) == 0
    ds = open_dataset(tmp_path / "c.zarr")
    assert site_ids(ds) == sites.tolist()
    for name in ("prcp", "tmean", "pet", "dayl", "srad", "vp"):
        assert not np.isnan(ds[name].sel(time=slice(None, "2008-12-31")).values).any()
    assert "2008-12-31 only (cut with --start, --end): prcp" in capsys.readouterr().out
    annual = 365.25 * np.nanmean(ds["pet"].values, axis=0)
    assert annual.min() > 500
    assert annual.max() < 1800
    # A flow in mm/d over the area of the table: the mean of the water years 1990 to 2009 is that of the table.
    flow = ds["streamflow"].sel(time=slice("1989-10-01", "2009-09-30")).mean("time").values
    np.testing.assert_allclose(flow, ds["q_mean"].values, rtol=1e-3)
    assert float(ds["geol_2nd_class"].min()) >= 0
