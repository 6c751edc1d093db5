"""The synthetic store of national size: how its rivers branch, its weather, and that a seed fixes everything."""

import numpy as np
import pytest
import xarray as xr

from dmg.cli import main
from dmg.core.data.dataset import open_dataset, series_names
from dmg.core.utils import RiverNetwork
from dmg.errors import DataError
from hydrodl2.data.national import write_national
from hydrodl2.data.synthetic_rivers import Rivers
from hydrodl2.data.tokunaga import BRANCHING, expected_reaches, grow_forest, grow_tree


@pytest.fixture(scope="module")
def rivers():
    return Rivers.grow(60_000, seed=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_national(tmp_path_factory.mktemp("national") / "store.zarr", 400, days=40, seed=3)


def strahler(network: RiverNetwork) -> np.ndarray:
    """Return the Strahler order of every reach."""
    order = np.ones(len(network), dtype=int)
    highest, equal = np.zeros(len(network), dtype=int), np.zeros(len(network), dtype=int)
    for level in network.levels:
        inner = level[highest[level] > 0]
        order[inner] = highest[inner] + (equal[inner] > 1)
        for reach in level[network.downstream[level] >= 0]:
            below = network.downstream[reach]
            if order[reach] > highest[below]:
                highest[below], equal[below] = order[reach], 1
            elif order[reach] == highest[below]:
                equal[below] += 1
    return order


def streams(network: RiverNetwork, order: np.ndarray) -> np.ndarray:
    """Return the lowest reach of every stream: one that ends, or joins one of higher order."""
    below = network.downstream
    return np.flatnonzero((below < 0) | (order[below] > order))


def growth(values: np.ndarray) -> float:
    """Return the factor from one order to the next, by least squares of the logarithm."""
    return float(np.exp(np.polyfit(np.arange(len(values)), np.log(values), 1)[0]))


def test_ratios_of_horton(rivers):
    network = rivers.network
    order = strahler(network)
    lowest = streams(network, order)
    known = range(1, 7)  # there are few streams of higher order
    numbers = np.array([np.sum(order[lowest] == j) for j in known])
    areas = np.array([rivers.upstream_area[lowest][order[lowest] == j].mean() for j in known])
    assert 1.0 / growth(numbers) == pytest.approx(2 * BRANCHING, rel=0.1)
    assert growth(areas) == pytest.approx(2 * BRANCHING, rel=0.1)
    # Side branches: the mean number of those k orders lower is (c - 1) c^(k-1).
    below = network.downstream[lowest]
    pairs = np.stack([order[lowest], np.where(below >= 0, order[below], 0)])
    for k in (1, 2, 3):
        tributaries = np.sum((pairs[0] == 4 - k) & (pairs[1] == 4))
        if k == 1:
            tributaries -= 2 * numbers[3]
        assert tributaries / numbers[3] == pytest.approx((BRANCHING - 1) * BRANCHING ** (k - 1), rel=0.15)


def test_law_of_hack(rivers):
    """The longest river above a place grows with the area above it, to the power log c / log 2c."""
    longest = rivers.length.copy()
    for level in rivers.network.levels:
        draining = level[rivers.network.downstream[level] >= 0]
        below = rivers.network.downstream[draining]
        candidate = np.zeros(len(longest))
        np.maximum.at(candidate, below, longest[draining])
        longest[below] = rivers.length[below] + candidate[below]
    bins = np.geomspace(1e3, 1e6, 8)
    place = np.digitize(rivers.upstream_area, bins)
    found = [np.log(longest[place == i]).mean() for i in range(1, 8)]
    area = [np.log(rivers.upstream_area[place == i]).mean() for i in range(1, 8)]
    exponent = np.polyfit(area, found, 1)[0]
    assert exponent == pytest.approx(np.log(BRANCHING) / np.log(2 * BRANCHING), abs=0.06)


def test_geometry_is_that_of_merit(rivers):
    assert np.median(rivers.length) == pytest.approx(7.0, rel=0.02)
    assert np.median(rivers.area) == pytest.approx(37.0, rel=0.03)
    outlets = rivers.network.outlets
    assert rivers.upstream_area[outlets].sum() == pytest.approx(rivers.area.sum())
    # One river has a good part of the land, and slopes fall downstream.
    assert 0.2 < rivers.upstream_area.max() / rivers.area.sum() < 0.75
    assert np.corrcoef(np.log(rivers.upstream_area), np.log(rivers.slope))[0, 1] < -0.5


@pytest.mark.parametrize("reaches", [1, 2, 7, 1000])
def test_forest_has_the_number_of_reaches_that_was_asked_for(reaches):
    downstream = grow_forest(reaches, np.random.default_rng(0))
    assert len(downstream) == reaches
    assert (downstream < np.arange(reaches)).all()


def test_mean_size_of_a_tree():
    rng = np.random.default_rng(5)
    sizes = [len(grow_tree(4, rng)) for _ in range(400)]
    assert np.mean(sizes) == pytest.approx(expected_reaches(4), rel=0.1)  # its standard error is 3 %


def test_seed_fixes_the_store(store, tmp_path):
    again = xr.open_zarr(write_national(tmp_path / "again.zarr", 400, days=40, seed=3), chunks=None)
    other = xr.open_zarr(write_national(tmp_path / "other.zarr", 400, days=40, seed=4), chunks=None)
    first = xr.open_zarr(store, chunks=None)
    xr.testing.assert_identical(again.load(), first.load())
    assert not np.array_equal(other["to"], first["to"])
    assert not np.array_equal(other["prcp"], first["prcp"])


def test_store_is_canonical_and_names_the_network(store):
    ds = open_dataset(store, require_units=True)
    assert sorted(series_names(ds)) == ["pet", "prcp", "tmean"]
    assert ds.sizes == {"time": 40, "site": 400}
    assert all(np.isfinite(ds[name]).all() for name in ds.data_vars)
    ids = ds["site"].values.astype(int)
    network = RiverNetwork.of_ids(ids.tolist(), ds["to"].values.tolist())
    np.testing.assert_allclose(network.accumulate(ds["catchsize"]), ds["uparea"], rtol=1e-5)


def test_neighbours_have_the_same_weather(store):
    ds = open_dataset(store)
    outlet = int(np.flatnonzero(ds["to"].values == 0)[0])
    above = np.flatnonzero(ds["to"].values == int(ds["site"].values[outlet]))[0]
    near = np.corrcoef(ds["tmean"][:, outlet], ds["tmean"][:, above])[0, 1]
    assert near > 0.95


def test_command_and_what_it_refuses(tmp_path, capsys):
    path = tmp_path / "few.zarr"
    assert main(["data", "national", str(path), "--reaches", "5", "--days", "3"]) == 0
    assert "5 reaches, 3 days" in capsys.readouterr().out
    assert open_dataset(path).sizes == {"time": 3, "site": 5}
    with pytest.raises(DataError, match=r"ends in \.zarr"):
        write_national(tmp_path / "few.nc", 5)
    with pytest.raises(DataError, match="holds nothing"):
        write_national(tmp_path / "none.zarr", 0)
