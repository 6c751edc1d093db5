"""Training on gauges whose catchments are sets of units: data, minibatches, routing, a whole run."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from small_units import ABOVE, AREAS, GAUGES, UNITS, gauge_store, unit_store, units_config

from dmg import ModelHandler, as_config
from dmg.core.data.batch import Batch
from dmg.core.data.dataset import write_dataset
from dmg.core.data.loaders import MsHydroLoader
from dmg.core.data.samplers import MsHydroSampler
from dmg.errors import ConfigError, DataError, StepError
from dmg.trainers import MsTrainer

ROUTERS = [{"model__phy__routing": False}, {"model__phy__routing": True}, {"model__phy__router": "MuskingumCunge"}]


def test_gauges_come_with_the_units_above_them(tmp_path):
    loader = MsHydroLoader(units_config(tmp_path))
    batch = loader.train_dataset
    upstream = batch["upstream"]
    assert batch.sites == list(GAUGES)
    assert upstream.sites == UNITS
    assert batch.times[0] == upstream.units.times[0] == np.datetime64("2001-01-06")
    np.testing.assert_allclose(loader.areas, [AREAS[:3].sum(), AREAS[:5].sum(), AREAS[5:].sum(), AREAS[3]])
    for k, gauge in enumerate(GAUGES):
        one = upstream.select_sites([k])
        assert one.sites == list(ABOVE[gauge])
        assert one.sites[one.outlets[0]] == GAUGES[gauge]
    flow = gauge_store(unit_store())["streamflow"].sel(time=batch.times[7]).values
    np.testing.assert_allclose(batch["target"][7, :, 0], flow, rtol=1e-6)


def test_a_discharge_is_spread_over_the_units_above_its_gauge(tmp_path):
    config, store = units_config(tmp_path), unit_store()
    depth = MsHydroLoader(config).train_dataset["target"]
    discharge = MsHydroLoader(config, gauges=gauge_store(store, unit="m3 s-1")).train_dataset["target"]
    torch.testing.assert_close(discharge, depth, rtol=1e-5, atol=0.0, equal_nan=True)


def test_observations_may_begin_later_and_stand_in_the_store_of_the_units(tmp_path):
    config, store = units_config(tmp_path), unit_store()
    later = MsHydroLoader(config, gauges=gauge_store(store, begin=40)).train_dataset
    begins = np.searchsorted(later.times, store["time"].values[40])
    assert torch.isnan(later["target"][:begins]).all()
    assert not torch.isnan(later["target"][begins:]).all()
    flow = np.full(store["prcp"].shape, np.nan, np.float32)
    at = [UNITS.index(unit) for unit in GAUGES.values()]
    flow[:, at] = gauge_store(store)["streamflow"].values
    inside = store.assign(streamflow=(("time", "site"), flow, {"units": "mm d-1"}))
    config["observations"]["gauge_path"] = None
    target = MsHydroLoader(config, store=inside).train_dataset["target"]
    wanted = MsHydroLoader(units_config(tmp_path)).train_dataset["target"]
    torch.testing.assert_close(target, wanted, equal_nan=True)


def test_statistics_are_those_of_units_above_training_gauges(tmp_path):
    loader = MsHydroLoader(units_config(tmp_path, test__holdout_sites=["g3"]))
    train = loader.train_dataset
    assert train.sites == ["g1", "g2", "g4"]
    assert set(train["upstream"].sites) == set("abcde")
    assert loader.eval_dataset.holdout.tolist() == [False, False, True, False]
    mean = loader.normalisation.statistics["area"][2]
    assert mean == pytest.approx(AREAS[:5].mean(), rel=1e-5)


def test_masks_speak_of_gauges(tmp_path):
    mask = tmp_path / "mask.csv"
    mask.write_text("site,start,end\ng1,2001-02-01,2001-02-10\ng2,2001-02-05,2001-02-06\n")
    batch = MsHydroLoader(units_config(tmp_path, train__mask=str(mask))).train_dataset
    whole = MsHydroLoader(units_config(tmp_path)).train_dataset["target"]
    kept = torch.isfinite(batch["target"][..., 0]).sum(0)
    inside = slice(*np.searchsorted(batch.times, [np.datetime64("2001-02-01"), np.datetime64("2001-02-11")]))
    assert kept[0] == torch.isfinite(whole[inside, 0]).sum()
    assert kept[2:].sum() == 0


def test_a_large_store_is_read_by_block_with_the_same_numbers(tmp_path):
    in_memory = MsHydroLoader(units_config(tmp_path, suffix="zarr")).eval_dataset
    config = units_config(tmp_path, suffix="zarr", observations__max_memory=1e-6)
    lazily = MsHydroLoader(config).eval_dataset
    assert not isinstance(lazily["upstream"].units["x_phy"], torch.Tensor)
    one = MsHydroSampler(config).get_validation_sample(lazily, 1, 3)
    wanted = MsHydroSampler(config).get_validation_sample(in_memory, 1, 3)
    for key in ("x_phy", "xc_nn_norm", "areas"):
        torch.testing.assert_close(one["upstream"].units[key], wanted["upstream"].units[key])


def test_a_minibatch_is_one_window_of_a_sub_network(tmp_path):
    config = units_config(tmp_path, train__batch_size=2)
    dataset = MsHydroLoader(config).train_dataset
    sampler = MsHydroSampler(config)
    seen = set()
    for _ in range(30):
        batch = sampler.get_training_sample(dataset, 4, dataset.n_times)
        upstream = batch["upstream"]
        assert batch["target"].shape == (30, 2, 1)
        assert upstream.units.n_times == len(batch.times) == 45
        assert set(upstream.sites) == set("".join(ABOVE[gauge] for gauge in batch.sites))
        at = np.flatnonzero(dataset.times == batch.times[15])[0]
        wanted = dataset["target"][at : at + 30, batch["batch_sample"]]
        torch.testing.assert_close(batch["target"], wanted, equal_nan=True)
        seen.add(tuple(batch.sites))
    assert len(seen) > 4


def test_the_units_of_a_minibatch_are_limited(tmp_path):
    config = units_config(tmp_path, train__batch_size=4, train__max_units=3)
    dataset = MsHydroLoader(config).train_dataset
    sampler = MsHydroSampler(config)
    for _ in range(20):
        batch = sampler.get_training_sample(dataset, 4, dataset.n_times)
        assert len(batch["upstream"].sites) <= 3 or len(batch.sites) == 1


@pytest.mark.parametrize("router", ROUTERS)
def test_flow_at_gauges_does_not_depend_on_the_other_gauges(tmp_path, router):
    config = as_config(units_config(tmp_path, **router))
    dataset = MsHydroLoader(config).eval_dataset
    model = ModelHandler(config)
    together = model(dataset, eval=True, outputs=["streamflow"])["Hbv_2"]["streamflow"]
    assert together.shape == (30, 4, 1)
    for k in range(4):
        alone = model(dataset.select(sites=[k]), eval=True, outputs=["streamflow"])["Hbv_2"]["streamflow"]
        torch.testing.assert_close(alone[:, 0], together[:, k], rtol=1e-4, atol=1e-5)


def test_unrouted_flow_is_the_mean_by_area(tmp_path):
    config = as_config(units_config(tmp_path, model__phy__routing=False))
    dataset = MsHydroLoader(config).eval_dataset
    model = ModelHandler(config)
    at_gauges = model(dataset, eval=True, outputs=["streamflow"])["Hbv_2"]["streamflow"][..., 0]
    units = dataset["upstream"].units
    runoff = model(units, eval=True, outputs=["streamflow"])["Hbv_2"]["streamflow"][..., 0]
    for k, gauge in enumerate(GAUGES):
        at = [UNITS.index(u) for u in ABOVE[gauge]]
        weights = torch.tensor(AREAS[at] / AREAS[at].sum(), dtype=torch.float32)
        torch.testing.assert_close(at_gauges[:, k], runoff[:, at] @ weights, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("router", ROUTERS[1:])
def test_a_run_goes_on_where_another_ended(tmp_path, router):
    config = as_config(units_config(tmp_path, **router))
    dataset = MsHydroLoader(config).eval_dataset
    model = ModelHandler(config)
    whole = model(dataset, eval=True, outputs=["streamflow"])["Hbv_2"]["streamflow"]
    first = model(dataset.select(times=slice(0, 30)), eval=True, outputs=["streamflow"])["Hbv_2"]["streamflow"]
    state = model.get_states()
    rest = model(dataset.select(times=slice(30, None)), eval=True, state=state, outputs=["streamflow"])
    torch.testing.assert_close(torch.cat([first, rest["Hbv_2"]["streamflow"]]), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("router", ROUTERS)
def test_every_network_learns_from_gauges(tmp_path, router):
    config = as_config(units_config(tmp_path, **router))
    dataset = MsHydroLoader(config).train_dataset
    torch.manual_seed(0)  # other weights may leave every unit of a rectifier at zero
    model = ModelHandler(config)
    batch = MsHydroSampler(config).get_training_sample(dataset, 4, dataset.n_times)
    model(batch, outputs=["streamflow"])
    model.calc_loss(batch).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert model.models["Hbv_2"].nn_model.ann.h2o.weight.grad.abs().sum() > 0


def test_training_at_gauges_lowers_the_loss_and_is_scored_there(tmp_path):
    config = units_config(tmp_path, train__epochs=3, train__iterations=4, train__lr=0.03, **ROUTERS[2])
    trainer = MsTrainer(config)
    trainer.train()
    losses = trainer.training.losses
    assert losses[3] < losses[1]
    trainer.evaluate()
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["sites"] == list(GAUGES)
    with xr.open_dataset(tmp_path / "out/sites.nc") as table:
        assert table["n"].sizes == {"site": 4}
    assert len(metrics["held"]["streamflow"]["nse"]) == 4


def test_what_does_not_go_together_is_said(tmp_path):
    with pytest.raises(ConfigError, match="HydroSampler does not go with MsHydroLoader"):
        as_config(units_config(tmp_path, data_sampler="HydroSampler"))
    hbv = {"name": ["Hbv_1_1p"], "dynamic_params": {}, "forcings": ["prcp", "tmean", "pet"]}
    with pytest.raises(ConfigError, match="Hbv_1_1p does not bring the runoff of units to gauges"):
        as_config(units_config(tmp_path, model__phy=hbv))
    with pytest.raises(ConfigError, match="nothing says which unit drains into which"):
        MsHydroLoader(units_config(tmp_path, observations__topology_path=None))
    with pytest.raises(ConfigError, match="nothing says what their areas are"):
        _ = MsHydroLoader(units_config(tmp_path, observations__subbasin_area_name=None)).train_dataset
    river = {"model__phy__router": "MuskingumCunge"}
    with pytest.raises(ConfigError, match=r"MuskingumCunge needs observations\.reach_slope_name"):
        as_config(units_config(tmp_path, observations__reach_slope_name=None, **river))
    lumped = {"data_loader": "HydroLoader", "data_sampler": "HydroSampler", "trainer": "Trainer"}
    with pytest.raises(ConfigError, match="river between units, of which HydroLoader knows nothing"):
        as_config(units_config(tmp_path, **river, **lumped))
    config = as_config(units_config(tmp_path, **river))
    units = MsHydroLoader(config).eval_dataset["upstream"]
    bare = {k: v for k, v in units.inputs().items() if k not in ("reach_length", "xc_nn_norm")}
    with pytest.raises(StepError, match="length and slope of the reach of every unit"):
        ModelHandler(config).models["Hbv_2"].run(Batch(bare, sites=units.sites), outputs=["streamflow"])
    with pytest.raises(
        DataError, match=r"nothing says what 'streamflow' was at the gauges\n  where: observations\.gauge_path"
    ):
        _ = MsHydroLoader(units_config(tmp_path, observations__gauge_path=None)).train_dataset
    noon = gauge_store(unit_store())
    noon["time"] = noon["time"] + np.timedelta64(12, "h")
    with pytest.raises(
        DataError, match=r"time steps of the gauges, 2001-01-06T12:00 and .* are not those of the units"
    ):
        _ = MsHydroLoader(units_config(tmp_path), gauges=noon).train_dataset
    other = gauge_store(unit_store()).assign_coords(site=["x", "y", "z", "w"])
    with pytest.raises(DataError, match="none of the 4 gauges of the river network has observations"):
        MsHydroLoader(units_config(tmp_path), gauges=other)
    write_dataset(gauge_store(unit_store()), tmp_path / "gauges.nc")
