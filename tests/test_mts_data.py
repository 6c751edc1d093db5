"""Hours with the days before them: loader and sampler."""

import numpy as np
import pytest
import torch
from small_mts import UNITS, hourly_store, mts_config

from dmg import as_config
from dmg.conf.compose import compose
from dmg.core.data.loaders import MtsHydroLoader
from dmg.core.data.samplers import MtsHydroSampler
from dmg.errors import ConfigError, DataError

HOUR = np.timedelta64(1, "h")


def test_hours_begin_at_midnight_behind_the_days(tmp_path):
    store = hourly_store()
    loader = MtsHydroLoader(mts_config(tmp_path, store))
    batch = loader.train_dataset
    upstream = batch["upstream"]
    # Training begins on 8 January: 24 hours of warm-up before it, five days before those.
    assert batch.times[0] == np.datetime64("2001-01-07")
    assert batch.times[-1] == np.datetime64("2001-01-25T23")
    assert upstream.daily.times[0] == np.datetime64("2001-01-02")
    assert upstream.days == 5
    assert batch.sites == UNITS
    np.testing.assert_array_equal(upstream.outlet_topo, np.eye(4))
    hours = store["prcp"].sel(time=slice(batch.times[0], batch.times[-1])).values
    np.testing.assert_allclose(upstream.hourly["x_phy"][..., 0], hours, rtol=1e-6)
    days = store["prcp"].sel(time="2001-01-04").values.sum(axis=0)
    np.testing.assert_allclose(upstream.daily["x_phy"][2, :, 0], days, rtol=1e-5)
    flow = store["streamflow"].sel(time=batch.times[5]).values
    np.testing.assert_allclose(batch["target"][5, :, 0], flow, rtol=1e-6)
    torch.testing.assert_close(upstream.hourly["elev_all"], torch.tensor([900.0, 700.0, 400.0, -2.0]))


def test_days_and_hours_have_statistics_of_their_own(tmp_path):
    loader = MtsHydroLoader(mts_config(tmp_path))
    batch = loader.train_dataset
    assert (tmp_path / "out/model/normalization_statistics.json").is_file()
    assert (tmp_path / "out/model/daily/normalization_statistics.json").is_file()
    hourly, daily = loader.hourly.normalisation, loader.daily.normalisation
    assert daily.statistics["prcp"][2] == pytest.approx(24 * hourly.statistics["prcp"][2], rel=0.05)
    assert daily.statistics["prcp"][3] < 24 * hourly.statistics["prcp"][3]
    seen = batch["upstream"].daily["x_nn_norm"][6:, :, 0]
    assert abs(float(seen.mean())) < 0.05
    assert float(seen.std()) == pytest.approx(1.0, abs=0.05)


def test_the_evaluation_scores_every_hour_of_its_period(tmp_path):
    batch = MtsHydroLoader(mts_config(tmp_path)).eval_dataset
    assert batch.times[24] == np.datetime64("2001-01-26")
    assert batch["upstream"].daily.times[5] == batch.times[0]
    later = batch.select(times=slice(48, None))
    assert later["upstream"].daily.times[5] == later.times[0] == batch.times[48]
    assert later["upstream"].hourly.n_times == later.n_times == batch.n_times - 48


def test_windows_bring_the_days_before_them(tmp_path):
    config = mts_config(tmp_path, train__batch_size=32)
    data, sampler = MtsHydroLoader(config).train_dataset, MtsHydroSampler(config)
    batch = sampler.get_training_sample(data, data.n_sites, data.n_times)
    upstream = batch["upstream"]
    assert batch["target"].shape == (48, 32, 1)
    assert upstream.hourly["x_phy"].shape == (72, 32, 3)
    assert upstream.daily["x_phy"].shape == (5, 32, 3)
    begins = upstream.hourly.times[0]
    assert (begins == begins.astype("datetime64[D]")).all()
    np.testing.assert_array_equal(upstream.daily.times[-1] + 24 * HOUR, begins)
    assert len(np.unique(begins)) > 5
    assert begins.min() == data.times[0]
    assert upstream.hourly.times[-1].max() == data.times[-1]
    for k, (site, begin) in enumerate(zip(batch["batch_sample"], begins, strict=True)):
        at = int((begin - data.times[0]) / HOUR)
        torch.testing.assert_close(batch["target"][:, k], data["target"][at + 24 : at + 72, site], equal_nan=True)
        torch.testing.assert_close(upstream.hourly["x_phy"][:, k], data["upstream"].hourly["x_phy"][at : at + 72, site])
    again = MtsHydroSampler(config).get_training_sample(data, data.n_sites, data.n_times)
    torch.testing.assert_close(again["target"], batch["target"], equal_nan=True)


def test_a_gauge_sees_the_units_above_it(tmp_path):
    loader = MtsHydroLoader(mts_config(tmp_path, network=True))
    batch = loader.eval_dataset
    upstream = batch["upstream"]
    assert batch.sites == ["g1", "g2"]
    assert upstream.hourly.sites == UNITS
    np.testing.assert_array_equal(upstream.outlet_topo, [[1, 1, 1, 0], [0, 0, 0, 1]])
    flow = hourly_store()["streamflow"].sel(time=slice(batch.times[0], batch.times[-1]), site=["c", "d"]).values
    np.testing.assert_allclose(batch["target"][..., 0], flow, rtol=1e-6)
    # The way from a to g1 leads through a (50 km²) and c (20 km²).
    c = upstream.hourly["c_nn_norm"]
    torch.testing.assert_close(upstream.paths[0], (50 * c[0] + 20 * c[2]) / 70, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(upstream.paths[2:], c[2:], rtol=1e-5, atol=1e-5)
    one = batch.select(sites=["g1"])["upstream"]
    assert one.hourly.sites == one.daily.sites == ["a", "b", "c"]
    torch.testing.assert_close(one.paths, upstream.paths[:3])


def test_a_gauge_drawn_twice_has_its_units_twice(tmp_path):
    config = mts_config(tmp_path, network=True, train__batch_size=5)
    data = MtsHydroLoader(config).train_dataset
    batch = MtsHydroSampler(config).get_training_sample(data, data.n_sites, data.n_times)
    upstream = batch["upstream"]
    above = {0: ["a", "b", "c"], 1: ["d"]}
    assert upstream.hourly.sites == [unit for gauge in batch["batch_sample"] for unit in above[int(gauge)]]
    for k, gauge in enumerate(batch["batch_sample"]):
        own = [unit for unit, there in zip(upstream.hourly.sites, upstream.outlet_topo[k], strict=True) if there]
        assert own == above[int(gauge)]
        columns = np.flatnonzero(upstream.outlet_topo[k])
        assert (upstream.hourly.times[0, columns] == batch.times[0, k]).all()
    assert upstream.paths.shape[0] == upstream.outlet_topo.sum()


def test_training_does_not_see_what_drains_to_held_out_gauges_only(tmp_path):
    loader = MtsHydroLoader(mts_config(tmp_path, network=True, test__holdout_sites=["g1"]))
    assert loader.train_dataset.sites == ["g2"]
    assert loader.train_dataset["upstream"].hourly.sites == ["d"]
    assert loader.hourly.normalisation.statistics["area"][2] == pytest.approx(80.0)
    assert loader.daily.normalisation.statistics["area"][2] == pytest.approx(80.0)
    np.testing.assert_array_equal(loader.eval_dataset.holdout, [True, False])
    assert loader.eval_dataset.sites == ["g1", "g2"]
    lumped = MtsHydroLoader(mts_config(tmp_path, test__holdout_sites=["b"]))
    assert lumped.train_dataset.sites == ["a", "c", "d"]
    np.testing.assert_array_equal(lumped.eval_dataset.holdout, [False, True, False, False])


def test_a_record_that_begins_at_noon_loses_half_a_day(tmp_path):
    store = hourly_store(begin="2001-01-01T12")
    batch = MtsHydroLoader(mts_config(tmp_path, store, model__phy__lof_model={"warmup": 8})).train_dataset
    # The first whole day is 2 January; eight days and the hours follow.
    assert batch["upstream"].daily.times[0] == np.datetime64("2001-01-02")
    assert batch.times[0] == np.datetime64("2001-01-10")


def test_data_that_do_not_fit_are_refused(tmp_path):
    daily = hourly_store().isel(time=slice(0, None, 24))
    with pytest.raises(DataError, match="not hourly"):
        MtsHydroLoader(mts_config(tmp_path, daily))
    with pytest.raises(DataError, match="not longer than 45 days and 24 hours"):
        _ = MtsHydroLoader(mts_config(tmp_path, hourly_store(), model__phy__lof_model={"warmup": 45})).eval_dataset
    config = mts_config(tmp_path, network=True)
    (tmp_path / "network.json").write_text('{"edges": [["a", "x"]], "gage_hf": {"g": "a"}}')
    with pytest.raises(DataError, match="no unit 'x'"):
        MtsHydroLoader(config)
    (tmp_path / "network.json").write_text("[]")
    with pytest.raises(DataError, match=r"not a river network[\s\S]*gage_hf"):
        MtsHydroLoader(config)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model__warmup": 30}, "model.warmup: 30 hours are no whole days"),
        ({"train__stride": 25}, "train.stride: 25 hours are no whole days"),
        ({"data_loader": "HydroLoader"}, "data_loader: HydroLoader does not go with Hbv_2_mts"),
        ({"data_sampler": "HydroSampler"}, "set data_sampler=MtsHydroSampler"),
        ({"model__nn__name": "LstmModel"}, "set model.nn.name=StackLstmMlpModel"),
        (
            {"model__phy": {"name": ["Hbv"], "forcings": ["prcp", "tmean", "pet"]}},
            "MtsHydroLoader does not go with Hbv, which has one time step",
        ),
        ({"model__phy__lof_model": {"warm": 3}}, "unknown key 'model.phy.lof_model.warm'"),
        ({"model__phy__lof_model": {"handover": "cut"}}, "model.phy.lof_model.handover"),
        ({"model__nn__hif_model": {"hidden": 3}}, "unknown key 'model.nn.hif_model.hidden'"),
    ],
)
def test_configurations_that_do_not_fit_are_refused(tmp_path, changes, text):
    with pytest.raises(ConfigError) as caught:
        as_config(mts_config(tmp_path, **changes))
    assert text in str(caught.value)


def test_the_packaged_configuration_is_valid():
    config = as_config(compose("mts_hourly"))
    assert config.model.phy.lof_model.warmup == 365
    assert config.train.stride == 24
