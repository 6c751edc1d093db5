"""Days and hours coupled: training, evaluation, going on from a state."""

import json

import numpy as np
import pytest
import torch
from small_mts import hourly_store, mts_config
from small_run import no_plots  # noqa: F401 (a fixture that every test here takes)

from dmg import MtsModelHandler, load_run
from dmg.cli import main
from dmg.core.data.loaders import MtsHydroLoader
from dmg.core.data.samplers import MtsHydroSampler
from dmg.models.delta_models import MtsDplModel
from dmg.trainers import Trainer
from dmg.trainers.report import write_report


@pytest.mark.parametrize("network", [False, True], ids=["lumped", "network"])
def test_training_learns_from_the_flow_at_gauges(tmp_path, network):
    config = mts_config(tmp_path, network=network, train__iterations=10, train__lr=0.03)
    torch.manual_seed(0)
    trainer = Trainer(config)
    assert type(trainer.model.models["Hbv_2_mts"]) is MtsDplModel
    data = trainer.train_dataset
    batch = MtsHydroSampler(config | {"seed": 9}).get_training_sample(data, data.n_sites, data.n_times)

    def loss():
        trainer.model(batch, eval=True)
        return float(trainer.model.calc_loss(batch))

    before = loss()
    trainer.train()
    assert loss() < before
    summary = trainer.evaluate()
    gauges = 2 if network else 4
    assert summary["held"]["streamflow"]["all"]["nse"]["n"] == gauges
    assert summary["held"] == summary["last"]
    scored = json.loads((tmp_path / "out/metrics.json").read_text())
    assert scored["period"] == ["2001-01-26T00:00", "2001-02-08T23:00"]
    page = write_report(trainer.run_dir).read_text(encoding="utf-8")
    assert '"step":3600000,"length":336,' in page
    assert "tested 2001-01-26 to 2001-02-08T23:00" in page
    assert scored["units"] == {"streamflow": "mm/h"}
    budget = scored["budget"]["Hbv_2_mts"]
    assert budget["sites"] == ["a", "b", "c", "d"]
    # Rounding in float64, of two weeks taken as a year.
    assert abs(budget["greatest_residual"]["value"]) < 1e-8
    run = load_run(tmp_path / "out")
    assert run.simulation["streamflow"].shape == (14 * 24, gauges)
    np.testing.assert_array_equal(run.simulation["time"][0], np.datetime64("2001-01-26"))


@pytest.fixture
def coupled(tmp_path):
    """Return a handler in evaluation mode, the evaluation dataset of a network and a sampler."""
    config = mts_config(tmp_path, network=True)
    torch.manual_seed(1)
    handler = MtsModelHandler(config).eval()
    with torch.no_grad():
        # So that the memory that the days hand over counts.
        handler.models["Hbv_2_mts"].nn_model.h_transfer.weight.normal_()
    data = MtsHydroLoader(config).eval_dataset
    return handler, data, MtsHydroSampler(config)


def test_the_hours_go_on_from_a_state_without_days(coupled):
    handler, data, _ = coupled
    whole = handler(data, eval=True)["Hbv_2_mts"]["streamflow"]
    first = handler(data.select(times=slice(0, 100)), eval=True)["Hbv_2_mts"]["streamflow"]
    rest = data.select(times=slice(100, None))
    second = handler(rest, eval=True, state=handler.get_states())["Hbv_2_mts"]["streamflow"]
    torch.testing.assert_close(torch.cat((first, second)), whole, rtol=1e-5, atol=1e-7)


def test_a_gauge_does_not_depend_on_the_others(coupled):
    handler, data, sampler = coupled
    whole = handler(data, eval=True)["Hbv_2_mts"]["streamflow"]
    for k in range(data.n_sites):
        one = handler(sampler.get_validation_sample(data, k, k + 1), eval=True)["Hbv_2_mts"]["streamflow"]
        torch.testing.assert_close(one[:, 0], whole[:, k], rtol=1e-5, atol=1e-7)


def test_days_matter_for_the_hours_after_them(coupled):
    handler, data, _ = coupled
    wet = handler(data, eval=True)["Hbv_2_mts"]["streamflow"]
    data["upstream"].daily["x_phy"][..., 0] = 0.0
    dry = handler(data, eval=True)["Hbv_2_mts"]["streamflow"]
    assert (dry[:24].mean(0) < wet[:24].mean(0)).all()


@pytest.mark.parametrize("handover", ["detached", "attached"])
def test_the_network_of_the_days_is_trained(tmp_path, handover):
    config = mts_config(tmp_path, model__phy__lof_model={"warmup": 5, "handover": handover})
    handler, data = MtsModelHandler(config), MtsHydroLoader(config).train_dataset
    batch = MtsHydroSampler(config).get_training_sample(data, data.n_sites, data.n_times)
    handler(batch, outputs=["streamflow"])
    handler.calc_loss(batch).backward()
    network = handler.models["Hbv_2_mts"].nn_model
    dynamic = network.lof_model.lstminv.linear_out.weight.grad
    # The dynamic parameters of the days act on the stores alone; static ones are those of the hours as well.
    assert (dynamic is not None and bool(dynamic.abs().sum() > 0)) == (handover == "attached")
    assert network.lof_model.ann.h2o.weight.grad.abs().sum() > 0
    assert network.hif_model.ann2.h2o.weight.grad.abs().sum() > 0


def test_dropout_leaves_days_and_hours_the_same_static_parameters(tmp_path, monkeypatch):
    config = mts_config(tmp_path, model__nn__dropout=0.5)
    handler, data = MtsModelHandler(config).train(), MtsHydroLoader(config).train_dataset
    model, seen = handler.models["Hbv_2_mts"], []
    fill = model.phy_model.fill
    monkeypatch.setattr(model.phy_model, "fill", lambda x, raw, a: seen.append(raw.static) or fill(x, raw, a))
    batch = MtsHydroSampler(config).get_training_sample(data, data.n_sites, data.n_times)
    hours = model.window(batch).raw.static
    torch.testing.assert_close(hours[:, : seen[0].shape[1]], seen[0], rtol=0, atol=0)


def test_a_simulation_goes_on_where_a_test_ended(tmp_path):
    early = {"start_time": "2001/01/26", "end_time": "2001/01/31", "batch_size": 1}
    config = mts_config(tmp_path, network=True, test=early, cache_states=True)
    trainer = Trainer(config)
    trainer.train()
    trainer.evaluate()
    later = {
        "mode": "sim",
        "sim": {"start_time": "2001/02/01", "end_time": "2001/02/05"},
        "load_state_path": str(tmp_path / "out/model_states.safetensors"),
    }
    on = Trainer(config | later).inference()["streamflow"]
    long = {"mode": "sim", "sim": {"start_time": "2001/01/26", "end_time": "2001/02/05"}, "overwrite": True}
    whole = Trainer(config | long).inference()["streamflow"]
    assert on.shape == (5 * 24, 2, 1)
    np.testing.assert_allclose(on, whole[-len(on) :], rtol=1e-5, atol=1e-7)


def test_the_published_call_takes_series_of_both_time_steps(coupled):
    handler, data, _ = coupled
    model, upstream = handler.models["Hbv_2_mts"], data["upstream"]
    hours, days = upstream.hourly, upstream.daily.select(times=slice(0, upstream.days))
    published = {
        "x_phy_lof": days["x_phy"],
        "x_phy_hif": hours["x_phy"],
        "xc_nn_norm_lof": days["xc_nn_norm"],
        "xc_nn_norm_hif": hours["xc_nn_norm"],
        "c_nn_norm": hours["c_nn_norm"],
        "c_path_norm": upstream.paths,
        "outlet_topo": upstream.outlet_topo,
        **{key: hours[key] for key in ("ac_all", "elev_all", "areas")},
    }
    out = model(published, eval=True)
    assert out["Qs"].shape == (data.n_times, 4, 1)
    ours = model(data, eval=True)["streamflow"]
    torch.testing.assert_close(out["streamflow"][-len(ours) :], ours, rtol=1e-5, atol=1e-7)


def test_a_trained_run_predicts_for_other_hours(tmp_path):
    Trainer(mts_config(tmp_path)).train()
    store = hourly_store(begin="2005-03-01T00")
    found = load_run(tmp_path / "out").predict(store)
    # Five days and 24 hours of 40 days spin the models up.
    assert found["streamflow"].shape == (34 * 24, 4)
    assert found["time"].values[0] == np.datetime64("2005-03-07")
    assert np.isfinite(found["streamflow"]).all()


@pytest.mark.slow
def test_the_packaged_run_works_from_the_command_line(tmp_path):
    words = ["train.epochs=1", "train.iterations=2", "observations.sample.sites=3", "device=cpu"]
    assert main(["--config-name", "mts_hourly", f"output_dir={tmp_path}/run", *words]) == 0
    assert (tmp_path / "run/metrics.json").is_file()
