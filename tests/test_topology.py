"""River networks from JSON graphs, GeoPackages and NetCDF files."""

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from dmg.core.data.gauge_network import GaugeNetwork
from dmg.core.data.topology import read_topology
from dmg.errors import DataError

DATA = Path(__file__).parents[2] / "shared" / "data" / "river_networks"
WANTED = [("a", "c"), ("b", "c"), ("c", "d")]


def hydrofabric(path, gauges=True):
    """Write what a GeoPackage of a hydrofabric has beside its geometry."""
    with sqlite3.connect(path) as base:
        base.execute("CREATE TABLE flowpaths (id TEXT, toid TEXT, realized_catchment TEXT)")
        base.execute("CREATE TABLE nexus (id TEXT, toid TEXT, poi_type TEXT, poi_value TEXT)")
        for unit, to in (("a", 1), ("b", 1), ("c", 2), ("d", 3)):
            base.execute("INSERT INTO flowpaths VALUES (?, ?, ?)", (f"wb-{unit}", f"nex-{to}", f"cat-{unit}"))
        for nexus, to in ((1, "wb-c"), (2, "wb-d"), (3, "wb-0")):
            base.execute("INSERT INTO nexus VALUES (?, ?, ?, ?)", (f"nex-{nexus}", to, None, None))
        if gauges:
            base.execute("UPDATE nexus SET poi_type = 'Gages', poi_value = '01' WHERE id = 'nex-2'")
    base.close()


def test_a_hydrofabric_has_paths_through_its_nexuses(tmp_path):
    hydrofabric(tmp_path / "fabric.gpkg")
    found = read_topology(tmp_path / "fabric.gpkg")
    assert found.edges == [(f"wb-{above}", f"wb-{below}") for above, below in WANTED]
    assert found.gauges == {"01": "wb-c"}
    for prefix in ("wb-", "cat-", ""):
        network = GaugeNetwork.read(tmp_path / "fabric.gpkg", [f"{prefix}{u}" for u in "abcd"])
        assert network.reach().tolist() == [[1, 1, 1, 0]]


def test_columns_of_reaches_and_segments(tmp_path):
    link = {"link": ("reach", [10, 20, 30, 40]), "to": ("reach", [30, 30, 40, 0])}
    link["gages"] = "reach", np.array([b"", b"", b"             01", b""], "S15")
    xr.Dataset(link).to_netcdf(tmp_path / "link.nc", engine="h5netcdf")
    network = GaugeNetwork.read(tmp_path / "link.nc", ["40", "10", "20", "30"])
    assert network.gauges == {"01": "30"}
    assert network.reach().tolist() == [[0, 1, 1, 1]]
    segments = {"tosegment": ("segment", [3, 3, 4, 0]), "nhm_seg": ("segment", [10, 20, 30, 40])}
    segments |= {"poi_gage_id": ("gauge", ["01"]), "poi_gage_segment": ("gauge", [3])}
    xr.Dataset(segments).to_netcdf(tmp_path / "segments.nc", engine="h5netcdf")
    assert GaugeNetwork.read(tmp_path / "segments.nc", ["40", "10", "20", "30"]).reach().tolist() == [[0, 1, 1, 1]]


def test_a_store_says_itself_where_its_sites_drain_to(tmp_path):
    sites = xr.Dataset({"to": ("site", [3, 3, 4, 0])}, coords={"site": ["1", "2", "3", "4"]})
    sites.to_zarr(tmp_path / "units.zarr", zarr_format=2)
    network = GaugeNetwork.read(tmp_path / "units.zarr", ["1", "2", "3", "4"])
    assert network.gauges == {"4": "4"}
    assert network.reach().tolist() == [[1, 1, 1, 1]]


def test_gauges_above_which_units_are_missing_are_left_out(tmp_path, caplog):
    link = {"link": ("reach", [10, 20, 30, 40]), "to": ("reach", [30, 30, 40, 0])}
    link["gages"] = "reach", np.array([b"00", b"", b"01", b"02"], "S15")
    xr.Dataset(link).to_netcdf(tmp_path / "link.nc", engine="h5netcdf")
    assert list(GaugeNetwork.read(tmp_path / "link.nc", ["10", "30", "40"]).gauges) == ["00"]
    assert "2 of 3 gauges are left out" in caplog.text
    with pytest.raises(DataError, match="has no gauge"):
        GaugeNetwork.read(tmp_path / "link.nc", ["40"])


def test_files_that_are_no_river_network_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_topology(tmp_path / "none.json")
    (tmp_path / "a.json").write_text(json.dumps({"edges": [["a", "b"]]}))
    with pytest.raises(DataError, match="not a river network"):
        read_topology(tmp_path / "a.json")
    (tmp_path / "a.gpkg").write_text("text")
    with pytest.raises(DataError, match="not a GeoPackage"):
        read_topology(tmp_path / "a.gpkg")
    with sqlite3.connect(tmp_path / "b.gpkg") as base:
        base.execute("CREATE TABLE flowpaths (id TEXT)")
    with pytest.raises(DataError, match="the layer 'flowpaths' has no column toid"):
        read_topology(tmp_path / "b.gpkg")
    (tmp_path / "b.json").write_text(json.dumps({"edges": [["a", "x"]], "gage_hf": {"01": "a"}}))
    with pytest.raises(DataError, match=r"there is no unit 'x'\n  where: .*b.json\n  hint: known: a, b"):
        GaugeNetwork.read(tmp_path / "b.json", ["a", "b"])
    xr.Dataset({"x": ("y", [1.0])}).to_netcdf(tmp_path / "a.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="says not which reach drains into which"):
        read_topology(tmp_path / "a.nc")


@pytest.mark.parametrize(
    ("segments", "text"),
    [
        ({"tosegment": [2, 9, 0]}, "'tosegment' says 9, and there are 3 segments"),
        ({"tosegment": [2.0, np.nan, 0.0]}, "'tosegment' says nan"),
        ({"tosegment": [2, 3, 0], "poi_gage_segment": [4, 0, 0]}, "'poi_gage_segment' says 4"),
        ({"tosegment": [2, 3, 0], "poi_gage_segment": None}, "there is no 'poi_gage_segment'"),
    ],
)
def test_segments_that_are_not_there_are_refused(tmp_path, segments, text):
    given = {name: ("segment", values) for name, values in segments.items() if values is not None}
    if "poi_gage_segment" in segments:
        given["poi_gage_id"] = "segment", ["01", "02", "03"]
    xr.Dataset(given).to_netcdf(tmp_path / "segments.nc", engine="h5netcdf")
    with pytest.raises(DataError, match=text):
        GaugeNetwork.read(tmp_path / "segments.nc", ["1", "2", "3"])


def test_water_that_runs_in_a_circle_is_named(tmp_path):
    link = {"link": ("reach", [10, 20, 30]), "to": ("reach", [20, 30, 10]), "gages": ("reach", ["", "", "01"])}
    xr.Dataset(link).to_netcdf(tmp_path / "link.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="in a circle: 10 → 20 → 30 → 10"):
        GaugeNetwork.read(tmp_path / "link.nc", ["10", "20", "30"])


@pytest.mark.skipif(not DATA.is_dir(), reason="the river networks are not beside the project")
def test_published_networks():
    fabric = read_topology(DATA / "t-route" / "gauge_01069700.gpkg")
    assert fabric.gauges == {"01069700": "wb-10237"}
    assert ("wb-10236", "wb-10237") in fabric.edges
    colorado = read_topology(DATA / "t-route" / "LowerColorado_TX_RouteLink.nc")
    assert len(colorado.edges) > 11000
    delaware = read_topology(DATA / "pywatershed_drb" / "parameters_dis_both.nc")
    assert (len(delaware.edges), len(delaware.gauges)) == (450, 168)
