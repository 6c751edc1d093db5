"""Evaluation and simulation: what is scored, on which days, in which unit, and which files say so."""

import errno
import json
import os

import numpy as np
import pytest
import torch
import xarray as xr
from small_run import SITES, no_plots, plots, small_config, small_store  # noqa: F401 (fixtures)

from dmg.core.calc import Metrics
from dmg.errors import DataError, RunError
from dmg.models.model_handler import ModelHandler
from dmg.trainers import Trainer
from dmg.trainers.evaluate import aggregate, median_nse, plain, score
from dmg.trainers.plots import print_scores
from dmg.trainers.simulate import Simulation

PURE = {"phy": None, "flow_regime": "high"}


def untrained(config) -> ModelHandler:
    torch.manual_seed(0)
    handler = ModelHandler(config)
    handler.epoch = 1
    return handler


def evaluated(config) -> Trainer:
    trainer = Trainer(config, untrained(config))
    trainer.evaluate()
    return trainer


def test_files_of_an_evaluation(tmp_path, plots):  # noqa: F811
    trainer = evaluated(small_config(tmp_path, test__holdout_sites=["s1", "s3"]))
    out = tmp_path / "out"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics == trainer.metrics
    assert metrics["sites"] == SITES
    assert metrics["holdout"] == [False, True, False, True, False]
    assert metrics["period"] == ["2000-11-01T00:00", "2001-02-03T00:00"]
    summary = json.loads((out / "metrics_aggregate.json").read_text())
    for static in ("last", "held"):
        nse = np.array(metrics[static]["streamflow"]["nse"])
        groups = summary[static]["streamflow"]
        assert groups["all"]["nse"]["median"] == pytest.approx(np.median(nse))
        assert groups["holdout"]["nse"]["mean"] == pytest.approx(nse[[1, 3]].mean())
        assert groups["trained"]["nse"]["n"] == 3
    assert metrics["last"] != metrics["held"]
    assert plots() == {"cdf_kge.png", "cdf_nse.png", "hydrographs.png", "map_nse.png", "parameters.png"}
    record = json.loads((out / "run.json").read_text())
    assert len(record["data"]["test"]) == 64
    assert (out / "config.yaml").exists()


def test_scores_are_those_of_the_series_in_the_file(tmp_path):
    trainer = evaluated(small_config(tmp_path))
    with xr.open_dataset(tmp_path / "out/simulation.nc") as sim:
        found = Metrics(sim.streamflow.values.T, sim.streamflow_obs.values.T)
    assert trainer.metrics["held"]["streamflow"]["kge"] == pytest.approx(found.kge.tolist(), rel=1e-5)


def test_simulation_is_cf_and_observations_stand_on_the_same_axis(tmp_path):
    evaluated(small_config(tmp_path, model__outputs=["recharge"]))
    with xr.open_dataset(tmp_path / "out/simulation.nc") as sim:
        assert set(sim.data_vars) == {"streamflow", "streamflow_obs", "recharge"}
        assert sim.streamflow.dims == sim.streamflow_obs.dims == ("time", "site")
        assert {n: v.attrs["units"] for n, v in sim.data_vars.items()} == {
            "streamflow": "mm d-1",
            "streamflow_obs": "mm d-1",
            "recharge": "mm d-1",
        }
        assert sim.attrs["Conventions"].startswith("CF-")
        assert sim.attrs["static_parameters"] == "held"
        assert sim.site.attrs["cf_role"] == "timeseries_id"
        store = small_store()
        expected = store.streamflow.sel(time=sim.time)
        assert sim.time.values[[0, -1]].astype("datetime64[D]").astype(str).tolist() == ["2000-11-01", "2001-02-03"]
        np.testing.assert_allclose(sim.streamflow_obs, expected, rtol=1e-6)


@pytest.mark.parametrize("pure", [False, True])
@pytest.mark.parametrize("unit", ["m3/s", "ft3/s"])
def test_output_unit_holds_for_hybrid_and_pure_network(tmp_path, pure, unit):
    """A model whose unit is asked for gets it, with its observations, and the same scores."""
    model = {f"model__{k}": v for k, v in PURE.items()} if pure else {}
    series, nse = {}, {}
    for asked in ("mm/d", unit):
        trainer = evaluated(small_config(tmp_path, model__output_unit=asked, **model))
        nse[asked] = trainer.metrics["held"]["streamflow"]["nse"]
        with xr.open_dataset(tmp_path / "out/simulation.nc") as sim:
            series[asked] = sim[["streamflow", "streamflow_obs"]].load()
    area = small_store()["area"].values
    factor = area * 1e6 / 86400 / 1000 / (1 if unit == "m3/s" else 0.0283168466)
    np.testing.assert_allclose(series[unit].streamflow, series["mm/d"].streamflow * factor, rtol=1e-4)
    np.testing.assert_allclose(series[unit].streamflow_obs, series["mm/d"].streamflow_obs * factor, rtol=1e-4)
    assert series[unit].streamflow.attrs["units"] == {"m3/s": "m3 s-1", "ft3/s": "ft3 s-1"}[unit]
    assert nse[unit] == pytest.approx(nse["mm/d"], rel=1e-3)


@pytest.mark.parametrize("batch_size", [1, 3, 5, 99])
def test_batches_of_sites_do_not_matter(tmp_path, batch_size):
    config = small_config(tmp_path, mode="sim", test__batch_size=batch_size)
    whole = small_config(tmp_path, mode="sim", test__batch_size=5)
    a, b = (Trainer(c, untrained(c), write_out=False).inference() for c in (config, whole))
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("pure", [False, True])
def test_one_site_and_batches_of_one(tmp_path, pure):
    model = {f"model__{k}": v for k, v in PURE.items()} if pure else {}
    config = small_config(
        tmp_path, small_store(n_sites=1), test__batch_size=1, train__batch_size=1, train__epochs=1, **model
    )
    trainer = Trainer(config)
    trainer.train()
    summary = trainer.evaluate()
    assert summary["held"]["streamflow"]["all"]["nse"]["n"] == 1
    assert trainer.simulation.series["streamflow"].shape == (95, 1)


@pytest.mark.parametrize("pure", [False, True])
def test_several_targets_are_trained_and_scored(tmp_path, plots, pure):  # noqa: F811
    model = {"model__phy": None} if pure else {}
    config = small_config(
        tmp_path,
        train__target=["streamflow", "AET_hydro"],
        train__target_weights={"AET_hydro": 0.5},
        train__epochs=1,
        valid={"start_time": "2000/08/01", "end_time": "2000/10/31"},
        **model,
    )
    trainer = Trainer(config)
    trainer.train()
    summary = trainer.evaluate()
    assert set(summary["held"]) == {"streamflow", "AET_hydro"}
    series = trainer.simulation.series
    assert not np.allclose(series["streamflow"], series["AET_hydro"])
    assert {"cdf_nse_streamflow.png", "cdf_nse_AET_hydro.png"} <= plots()
    with xr.open_dataset(tmp_path / "out/simulation.nc") as sim:
        np.testing.assert_allclose(sim.AET_hydro_obs, small_store().AET_hydro.sel(time=sim.time), rtol=1e-6)


def test_warmup_comes_from_before_the_period_where_the_record_allows(tmp_path):
    before = evaluated(small_config(tmp_path)).simulation
    inside = evaluated(small_config(tmp_path, test__warmup="inside")).simulation
    assert (len(before.times), len(inside.times)) == (95, 85)
    config = small_config(tmp_path)
    config["test"] |= {"start_time": "2000/01/04", "end_time": "2000/03/01"}
    short = evaluated(config).simulation
    assert str(short.times[0])[:10] == "2000-01-11"


def test_static_last_sees_the_future_and_held_does_not(tmp_path):
    """Changing the weather of the last day changes the first days under ``last`` only."""
    first = {}
    for changed in (False, True):
        store = small_store()
        if changed:
            store["tmean"][399] = -20.0
        config = small_config(tmp_path, store)
        # The network's statistics come from the training period, which ends before.
        data = Trainer(config, untrained(config), write_out=False)
        for static in ("last", "held"):
            run = data._simulate(data.loader.eval_dataset, 5, static, ["streamflow"])
            first[static, changed] = run.series["streamflow"][:20]
    assert str(data.eval_dataset.times[-1])[:10] == "2001-02-03"
    assert np.array_equal(first["held", False], first["held", True])
    assert not np.array_equal(first["last", False], first["last", True])


def test_a_network_alone_runs_once_and_is_reported_twice(tmp_path, monkeypatch):
    config = small_config(tmp_path, model__phy=None, test__batch_size=5)
    calls, forward = [], ModelHandler.forward
    monkeypatch.setattr(ModelHandler, "forward", lambda *a, **k: calls.append(1) or forward(*a, **k))
    trainer = Trainer(config, untrained(config), write_out=False)
    trainer.evaluate()
    assert trainer.metrics["last"] == trainer.metrics["held"]
    assert trainer.simulation.static == "held"
    alone, calls[:] = len(calls), []
    config = small_config(tmp_path, test__batch_size=5)
    Trainer(config, untrained(config), write_out=False).evaluate()
    assert len(calls) == 2 * alone


def test_simulation_needs_no_targets(tmp_path):
    config = small_config(tmp_path, small_store().drop_vars(["streamflow", "AET_hydro"]), mode="sim")
    config["train"]["target"] = ["streamflow"]
    result = Trainer(config, untrained(config)).inference()
    assert result["streamflow"].shape == (62, 5, 1)
    assert result["BFI"].shape == (5,)
    assert not (tmp_path / "out/simulation.nc").exists()  # that of a test
    with xr.open_dataset(tmp_path / "out/sim/simulation.nc") as sim:
        assert sim.time.values[0] == np.datetime64("2000-12-01")
        assert "streamflow_obs" not in sim
        assert all(v.attrs["units"] for v in sim.data_vars.values())
        assert sim.SWE.attrs["units"] == "mm"
        assert sim.BFI.attrs["units"] == "%"
        assert sim.streamflow_no_rout.attrs["units"] == "mm d-1"
    assert not (tmp_path / "out/metrics.json").exists()


@pytest.mark.parametrize("outputs", [["recharge"], ["streamflow", "SWE"]])
def test_outputs_of_a_simulation_are_selectable(tmp_path, outputs):
    config = small_config(tmp_path, mode="sim", model__outputs=outputs)
    assert set(Trainer(config, untrained(config)).inference()) == {"streamflow", *outputs}


def test_evaluation_without_observations_says_so(tmp_path):
    config = small_config(tmp_path)
    trainer = Trainer(config, untrained(config), write_out=False)
    del trainer.eval_dataset["target"]
    with pytest.raises(DataError, match="no observations to compare"):
        trainer.evaluate()


def test_site_without_observations_has_no_score_and_does_not_spoil_the_rest(tmp_path):
    store = small_store()
    store["streamflow"][300:, 2] = np.nan
    trainer = evaluated(small_config(tmp_path, store))
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["held"]["streamflow"]["nse"][2] is None
    entry = json.loads((tmp_path / "out/metrics_aggregate.json").read_text())["held"]["streamflow"]["all"]["nse"]
    assert entry["n"] == 4
    assert np.isfinite(entry["median"])
    assert trainer.simulation.series["streamflow"].shape[1] == 5


def test_prediction_that_is_not_finite_is_an_error_and_writes_nothing(tmp_path):
    config = small_config(tmp_path)
    handler = untrained(config)
    with torch.no_grad():
        next(handler.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="s0"):
        Trainer(config, handler).evaluate()
    assert not (tmp_path / "out/metrics.json").exists()


def test_full_disk_leaves_no_half_written_simulation(tmp_path, monkeypatch):
    config = small_config(tmp_path)
    evaluated(config)
    old = (tmp_path / "out/simulation.nc").read_bytes()
    replace = os.replace

    def full(source, target):
        if str(target).endswith("simulation.nc"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match=r"simulation.nc: the disk is full"):
        evaluated(config)
    assert (tmp_path / "out/simulation.nc").read_bytes() == old


def test_evaluation_leaves_the_model_in_its_mode(tmp_path):
    config = small_config(tmp_path)
    trainer = Trainer(config, untrained(config), write_out=False)
    for training in (True, False):
        trainer.model.train(training)
        trainer.evaluate()
        assert trainer.model.training is training


def test_test_mode_keeps_the_configuration_of_the_training(tmp_path):
    config = small_config(tmp_path, train__epochs=1)
    Trainer(config).train()
    kept = (tmp_path / "out/config.yaml").read_text()
    Trainer(small_config(tmp_path, mode="test", test__batch_size=3)).evaluate()
    assert (tmp_path / "out/config.yaml").read_text() == kept
    assert "mode: test\n" in (tmp_path / "out/config_test.yaml").read_text()


SERIES = np.random.default_rng(2).normal(size=(50, 3))


def simulation(**series) -> Simulation:
    return Simulation(["a", "b", "c"], np.arange(50), series, outputs={k: k.removeprefix("m_") for k in series})


def test_scores_of_several_models_are_kept_apart():
    run = simulation(q=SERIES, m_q=SERIES + 1, other=SERIES)
    scores = score(run, {"q": SERIES})
    assert set(scores) == {"q", "m_q"}
    assert scores["q"]["nse"].tolist() == [1.0, 1.0, 1.0]
    assert (scores["m_q"]["nse"] < 1).all()


def test_median_nse_averages_targets_and_ignores_sites_without_observations():
    observed = SERIES.copy()
    observed[:, 0] = np.nan
    assert median_nse(simulation(q=SERIES, m_q=SERIES), {"q": observed}) == 1.0
    with pytest.raises(DataError, match="validation period"):
        median_nse(simulation(q=SERIES), {"q": np.full((50, 3), np.nan)})


def test_aggregate_without_any_score_is_null_not_nan():
    summary = aggregate({"q": {"nse": np.full(3, np.nan)}}, holdout=None)
    assert summary == {"q": {"all": {"nse": {"median": None, "mean": None, "std": None, "n": 0}}}}
    assert plain({"a": np.array([1.0, np.inf]), "b": (True, np.nan)}) == {"a": [1.0, None], "b": [True, None]}


def test_printed_scores_have_a_column_for_every_group(capsys):
    scores = {"q": {"nse": np.array([0.5, 0.7, 0.1])}}
    summary = aggregate(scores, np.array([False, False, True]))
    print_scores({"last": summary, "held": summary})
    shown = capsys.readouterr().out
    for word in ("all (last)", "trained (held)", "holdout (held)", "0.600", "0.100"):
        assert word in shown


@pytest.mark.parametrize("pure", [False, True])
def test_a_simulation_goes_on_from_the_states_of_another(tmp_path, pure):
    """run(a + b) equals run(a), a file of states, run(b): other batches, other order of sites."""
    model = {"model__phy": None} if pure else {}

    def simulate(start, end, **changes):
        config = small_config(tmp_path, mode="sim", cache_states=True, **changes, **model)
        config["sim"] = {"start_time": start, "end_time": end}
        return Trainer(config, untrained(config)).inference()["streamflow"]

    # A run keeps the statistics of its training sites, whichever sites it simulates later.
    assert Trainer(small_config(tmp_path, **model)).train_dataset.n_sites == 5
    whole = simulate("2000/12/01", "2001/01/31")
    first = simulate("2000/12/01", "2000/12/31", test__batch_size=3)
    states = tmp_path / "out/model_states.safetensors"
    kept = states.rename(tmp_path / "kept.safetensors")
    order = ["s4", "s0", "s2"]
    (tmp_path / "order.txt").write_text("\n".join(order))
    second = simulate(
        "2001/01/01",
        "2001/01/31",
        load_state_path=str(kept),
        observations__subset_path=str(tmp_path / "order.txt"),
    )
    np.testing.assert_allclose(first, whole[:31], rtol=1e-5, atol=1e-6)
    assert second.shape == (31, 3, 1)
    np.testing.assert_allclose(second, whole[31:, [4, 0, 2]], rtol=1e-4, atol=1e-5)


def test_states_that_do_not_fit_are_refused(tmp_path):
    config = small_config(tmp_path, mode="sim", cache_states=True, load_state_path=str(tmp_path / "none"))
    with pytest.raises(RunError, match="no file of states"):
        Trainer(config, untrained(config)).inference()
    one = small_config(tmp_path, mode="sim", cache_states=True)
    Trainer(one, untrained(one)).inference()
    path = (tmp_path / "out/model_states.safetensors").rename(tmp_path / "states.safetensors")
    for start, end in (("2001/02/02", "2001/02/03"), ("2000/12/01", "2001/01/15")):
        config = small_config(tmp_path, mode="sim", load_state_path=str(path), model__warmup=0)
        config["sim"] = {"start_time": start, "end_time": end}
        with pytest.raises(DataError, match="the states are those after 2001-01-31"):
            Trainer(config, untrained(config)).inference()
    other = small_store().assign_coords(site=["s0", "x", "s2", "s3", "s4"])
    config = small_config(tmp_path, other, mode="sim", load_state_path=str(path))
    config["sim"] = {"start_time": "2001/02/01", "end_time": "2001/02/03"}
    with pytest.raises(DataError, match="no saved state of 1 sites: x"):
        Trainer(config, untrained(config)).inference()


def test_cached_states_do_not_leak_between_batches(tmp_path):
    series = []
    for batch_size in (2, 5):
        config = small_config(tmp_path, cache_states=True, test__batch_size=batch_size)
        trainer = Trainer(config, untrained(config), write_out=False)
        trainer.evaluate()
        series.append(trainer.simulation.series["streamflow"])
    np.testing.assert_allclose(*series, rtol=1e-5, atol=1e-6)
