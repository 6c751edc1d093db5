"""A dataset that stays in its store trains and tests like one in memory, within a bounded memory."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import no_plots, small_config, small_store  # noqa: F401 (fixtures)

from dmg.core.data.dataset import write_dataset
from dmg.core.data.gaps import fill_forcing
from dmg.core.data.lazy_series import BlockCache, LazySeries
from dmg.core.data.loaders import HydroLoader
from dmg.core.data.normalisation import describe
from dmg.errors import DataError
from dmg.trainers import Trainer

TINY = 2e-6  # gigabytes: two blocks of the small store


def lazy_of(values, groups, steps, max_bytes=1e9):
    def read(window, places):
        return {"x": values[window][:, places]}

    sizes = {"n_times": len(values), "groups": groups, "steps": steps, "widths": {"x": values.shape[-1]}}
    blocks = BlockCache(read, **sizes, max_bytes=max_bytes)
    return LazySeries(blocks, "x"), blocks


@settings(deadline=None, max_examples=50)
@given(data=st.data(), steps=st.integers(1, 12), max_bytes=st.sampled_from([1, 200, 1e6]))
def test_any_part_is_that_of_the_array(data, steps, max_bytes):
    values = np.random.default_rng(0).random((11, 6, 2)).astype(np.float32)
    lazy, _ = lazy_of(values, [np.array([4, 0]), np.array([1, 5, 3]), np.array([2])], steps, max_bytes)
    assert lazy.shape == values.shape
    np.testing.assert_array_equal(lazy.read(), values)
    sites = np.array(data.draw(st.lists(st.integers(0, 5), min_size=1, max_size=8)))
    starts = np.array(data.draw(st.lists(st.integers(0, 7), min_size=len(sites), max_size=len(sites))))
    rows = starts + np.arange(4)[:, None]
    np.testing.assert_array_equal(lazy.windows(sites, starts, 4), values[rows, sites])
    np.testing.assert_array_equal(np.asarray(lazy[3:, sites][..., 1:]), values[3:, sites][..., 1:])
    np.testing.assert_array_equal(lazy.select_times(slice(2, 9)).select_sites(sites).to("cpu"), values[2:9, sites])


def test_the_cache_is_bounded_and_keeps_what_was_used_last():
    values = np.zeros((40, 4, 1), np.float32)
    lazy, blocks = lazy_of(values, [np.arange(4)], steps=10, max_bytes=2 * 160)
    for begin in (0, 10, 0, 20, 0):
        lazy[begin : begin + 10].read()
        assert blocks.bytes <= 320
    assert blocks.reads == 3
    lazy[10:20].read()
    assert blocks.reads == 4


@pytest.fixture
def stores(tmp_path):
    """A store with short gaps in the forcings, in chunks that windows and gaps straddle, and its sites in disorder."""
    store = small_store()
    for start, site in ((63, 0), (64, 1), (100, 3)):
        store["prcp"][start : start + 3, site] = np.nan
    write_dataset(store, tmp_path / "store.nc")
    ids = tmp_path / "sites.txt"
    ids.write_text("s3\ns0\ns4\ns1\n")
    return {"observations__subset_path": str(ids), "observations__data_path": str(tmp_path / "store.nc")}


def both(tmp_path, monkeypatch, stores, **changes):
    # Blocks of 32 days and 2 sites, whatever the small store's own chunks are.
    monkeypatch.setattr("dmg.core.data.loaders.site_data.SiteData.blocks", _small_blocks)
    return [small_config(tmp_path, observations__max_memory=memory, **stores, **changes) for memory in (None, TINY)]


def _small_blocks(self, name, columns):
    return 32, np.array_split(np.argsort(self._positions[columns]), 2)


@pytest.mark.parametrize("phy", [True, False])
def test_datasets_are_the_same(tmp_path, monkeypatch, stores, phy):
    changes = {} if phy else {"model__phy": None, "model__nn__out_size": 1, "model__flow_regime": "low"}
    one, other = (HydroLoader(config) for config in both(tmp_path, monkeypatch, stores, **changes))
    for name in ("train_dataset", "eval_dataset"):
        expected, lazy = getattr(one, name), getattr(other, name)
        assert isinstance(lazy.stored()["x_nn_norm"], LazySeries)
        assert lazy.sites == expected.sites
        for key, value in expected.stored().items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(
                    lazy.to("cpu").stored()[key],
                    value,
                    rtol=1e-6,
                    atol=1e-6,
                    equal_nan=True,
                    msg=lambda m, k=key: f"{k}: {m}",
                )
        torch.testing.assert_close(lazy["xc_nn_norm"], expected["xc_nn_norm"], rtol=1e-6, atol=1e-6)
    for name, numbers in one.normalisation.statistics.items():
        assert other.normalisation.statistics[name] == pytest.approx(numbers, rel=1e-6)


def test_training_and_test_are_the_same(tmp_path, monkeypatch, stores):
    found = []
    for number, config in enumerate(both(tmp_path, monkeypatch, stores, train__epochs=2)):
        torch.manual_seed(0)
        trainer = Trainer({**config, "output_dir": str(tmp_path / f"run{number}")})
        trainer.train()
        trainer.evaluate()
        found.append((trainer.model.state_dict(), trainer.simulation.series["streamflow"]))
    for name, value in found[0][0].items():
        torch.testing.assert_close(found[1][0][name], value, rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[1][1], found[0][1], atol=1e-4)
    blocks = trainer.train_dataset.stored()["x_phy"].blocks
    assert blocks.bytes <= TINY * 1e9
    records = [json.loads((tmp_path / f"run{n}/run.json").read_text())["data"]["train"] for n in (0, 1)]
    assert records[0] != records[1]

    # The hash of the data notices other data, so that a training is not continued with them.
    again = HydroLoader(config).train_dataset
    assert again.fingerprint() == records[1]


def test_a_long_gap_is_an_error_that_names_it(tmp_path, monkeypatch, stores):
    import xarray as xr

    store = xr.load_dataset(tmp_path / "store.nc")
    store["prcp"][150:156, 2] = np.nan
    write_dataset(store, tmp_path / "broken.nc")
    ids = tmp_path / "two.txt"
    ids.write_text("s2\ns0\n")
    given = stores | {"observations__data_path": str(tmp_path / "broken.nc"), "observations__subset_path": str(ids)}
    _, config = both(tmp_path, monkeypatch, given)
    with pytest.raises(DataError, match=r"forcing 'prcp' is missing at s2 \(2000-05-30..2000-06-04\)"):
        _ = HydroLoader(config).train_dataset


@pytest.mark.parametrize(("start", "length"), [(0, 3), (17, 3), (8, 4)])
def test_gaps_at_the_edge_of_a_part_are_left_to_its_neighbour(start, length):
    values = np.arange(20.0, dtype=np.float32)[:, None].copy()
    values[start : start + length] = np.nan
    times = np.datetime64("2000-01-01") + np.arange(20)
    about = {"name": "prcp", "sites": ["a"], "times": times, "max_gap": 3}
    with pytest.raises(DataError, match=r"missing at a|ends on"):
        fill_forcing(values, **about)
    if length > 3:
        with pytest.raises(DataError, match="missing at a"):
            fill_forcing(values, **about, goes_on=(True, True))
    else:
        np.testing.assert_array_equal(fill_forcing(values, **about, goes_on=(True, True)), values)


def test_statistics_of_parts_are_those_of_the_whole():
    values = np.random.default_rng(0).normal(3.0, 2.0, 1000)
    values[::7] = np.nan
    whole, parts = describe(values), describe(iter([values[:10], values[10:900], np.full(3, np.nan), values[900:]]))
    assert parts == pytest.approx(whole, rel=1e-12)
