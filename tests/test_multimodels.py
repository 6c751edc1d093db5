"""Ensembles: weights over models, losses that act, members trained before or together, runs averaged."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import no_plots, plots, small_config  # noqa: F401 (fixtures)

from dmg.cli import main
from dmg.conf.config import as_config
from dmg.engine import Flux, Forcing, Ledger, Parameter, ProcessModel, State
from dmg.errors import ConfigError, DataError, RunError
from dmg.models.model_handler import ModelHandler
from dmg.models.multimodels import combine, scale_weights
from dmg.registry import process_models
from dmg.trainers import Trainer
from dmg.trainers.average import mean_of


class Bucket(ProcessModel):
    """A leaky bucket: a second model of streamflow, which needs rain alone."""

    forcings = (Forcing("prcp", unit="mm d-1"),)
    parameters = (Parameter("k", 1.0, 50.0, unit="d"),)
    states = (State("storage", unit="mm", initial=0.001),)
    fluxes = (Flux("streamflow", unit="mm d-1"),)
    ledger = Ledger(sources=("prcp",), sinks=("streamflow",), stores=("storage",))

    def step(self, s, x, p, dt):
        full = s.storage + x.prcp * dt
        out = full / (p.k + dt)
        return {"storage": full - out * dt}, {"streamflow": out}


@pytest.fixture(autouse=True)
def bucket(monkeypatch):
    process_models.get("Hbv")  # what is installed is found before the copy
    monkeypatch.setattr(process_models, "_found", dict(process_models._found))
    process_models.register("Bucket")(Bucket)


def ensemble_config(folder, kind, **changes):
    both = {"model__phy__name": ["Hbv", "Bucket"], "multimodel_type": kind, "multimodel__hidden_size": 4}
    return small_config(folder, **both | changes)


def draw(config):
    trainer = Trainer(config, write_out=False)
    data = trainer.train_dataset
    return trainer.model, trainer.sampler.get_training_sample(data, data.n_sites, data.n_times)


@settings(deadline=None)
@given(
    raw=st.lists(st.floats(-5, 5), min_size=12, max_size=12),
    scaling=st.sampled_from(["softmax", "sigmoid"]),
    mosaic=st.booleans(),
)
def test_weights_are_over_models(raw, scaling, mosaic):
    values = torch.tensor(raw, dtype=torch.float64).reshape(2, 2, 3)
    weights = scale_weights(values, scaling, mosaic)
    assert ((weights >= 0) & (weights <= 1)).all()
    if mosaic:
        assert torch.equal(weights.max(-1).values, torch.ones(2, 2, dtype=torch.float64))
    if mosaic or scaling == "softmax":
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, dtype=torch.float64))
    else:
        torch.testing.assert_close(weights, torch.sigmoid(values))


def test_the_choice_of_a_mosaic_has_the_gradient_of_its_weights():
    raw = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    factor = torch.randn(3, 2, 2, dtype=torch.float64)
    found = [torch.autograd.grad((scale_weights(raw, "softmax", mosaic) * factor).sum(), raw)[0] for mosaic in (0, 1)]
    torch.testing.assert_close(found[0], found[1])


def test_what_is_combined_is_what_all_members_have():
    a = {"q": torch.full((4, 2, 1), 1.0), "et": torch.ones(4, 2, 1), "bfi": torch.ones(2)}
    b = {"q": torch.full((4, 2, 1), 3.0), "bfi": torch.ones(2)}
    assert list(combine([a, b])) == ["q"]
    assert torch.equal(combine([a, b])["q"], torch.full((4, 2, 1), 2.0))
    weights = torch.tensor([0.75, 0.5]).expand(4, 2, 2)
    torch.testing.assert_close(combine([a, b], weights)["q"], torch.full((4, 2, 1), 2.25))


@pytest.mark.parametrize("kind", ["avg", "nn_parallel"])
def test_a_run_trains_and_scores_members_and_ensemble(tmp_path, kind, plots):  # noqa: F811
    config = ensemble_config(tmp_path, kind, train__epochs=1, multimodel__learning_rate=0.02)
    trainer = Trainer(config)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    trainer.train()
    assert all(not torch.equal(before[n], v) for n, v in trainer.model.state_dict().items() if "weight" in n)
    summary = trainer.evaluate()["held"]
    assert set(summary) == {"streamflow", "Hbv_streamflow", "Bucket_streamflow"}
    weighs = kind == "nn_parallel"
    assert (tmp_path / "out/model/ensemble_ep1.safetensors").exists() == weighs
    assert [g["lr"] for g in trainer.optimizer.param_groups] == ([0.01, 0.02] if weighs else [0.01])
    with xr.open_dataset(tmp_path / "out/simulation.nc") as ds:
        members = np.stack([ds["Hbv_streamflow"], ds["Bucket_streamflow"]])
        if not weighs:
            np.testing.assert_allclose(ds["streamflow"], members.mean(0), rtol=1e-6)
        assert (ds["streamflow"] <= members.max(0) + 1e-5).all()
        assert (ds["streamflow"] >= members.min(0) - 1e-5).all()
        assert ds["streamflow"].attrs["units"] == "mm d-1"
    assert {"hydrographs_streamflow.png", "hydrographs_Hbv_streamflow.png"} <= plots()
    again = ModelHandler(config)
    again.load_model(1, tmp_path / "out/model")
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    if weighs:
        # The weights of the ensemble are those of its members in their order.
        swapped = ModelHandler(
            {**config, "model": {**config["model"], "phy": config["model"]["phy"] | {"name": ["Bucket", "Hbv"]}}}
        )
        with pytest.raises(RunError, match="members"):
            swapped.load_model(1, tmp_path / "out/model")


def test_sequential_members_are_trained_before_and_stay_as_they_are(tmp_path):
    Trainer(ensemble_config(tmp_path, None, train__epochs=1)).train()
    trained = str(tmp_path / "out/model")
    config = ensemble_config(tmp_path, "nn_sequential", pretrained_model_dir=trained, output_dir=str(tmp_path / "two"))
    trainer = Trainer(config)
    trainer.train()
    members = ModelHandler(as_config(ensemble_config(tmp_path, None)))
    members.load_model(1, trained)
    for name, value in members.models.state_dict().items():
        assert torch.equal(trainer.model.models.state_dict()[name], value)
    trainer.model.train()
    assert trainer.model.ensemble.training
    assert not any(module.training for module in trainer.model.models.modules())
    assert set(trainer.training.model.loss_dict) >= {"ensemble"}
    assert trainer.model.loss_dict["Hbv"] == 0.0
    with pytest.raises(ConfigError, match="weights of members that are trained already"):
        as_config(ensemble_config(tmp_path, "nn_sequential"))


def test_range_bound_reaches_the_network(tmp_path):
    block = {"scaling_function": "sigmoid", "hidden_size": 4, "loss_lower_bound": 1.4, "loss_upper_bound": 1.6}
    found = {}
    for factor in (0.0, 2.0):
        torch.manual_seed(0)
        config = ensemble_config(tmp_path, "nn_parallel", multimodel=block | {"loss_factor": factor})
        model, batch = draw(config)
        model.train()
        torch.manual_seed(1)
        model(batch, outputs=["streamflow"])
        loss = model.calc_loss(batch)
        loss.backward()
        found[factor] = (
            loss.item(),
            model.ensemble.nn_model.linear_out.bias.grad.clone(),
            model.loss_dict["range_bound"],
        )
    assert found[2.0][0] == pytest.approx(found[0.0][0] + found[2.0][2], rel=1e-5)
    # Sums near 1 lie below the range: the penalty pulls both weights up.
    assert (found[2.0][1] < found[0.0][1]).all()
    softmax, _ = draw(ensemble_config(tmp_path, "nn_parallel"))
    assert softmax.ensemble.range_loss() is None


def test_state_of_the_ensemble_is_carried(tmp_path):
    model, batch = draw(ensemble_config(tmp_path, "nn_parallel", model__nn__dropout=0.0))
    model.eval()
    with torch.no_grad():
        # Held parameters: those of the spin-up, whatever the window.
        whole = model(batch, static="held")["ensemble"]["streamflow"]
        first = model(batch.select(times=slice(0, 18)), static="held")["ensemble"]["streamflow"]
        rest = model(batch.select(times=slice(18, None)), state=model.get_states(), static="held")
    joined = torch.cat([first, rest["ensemble"]["streamflow"]])
    torch.testing.assert_close(joined, whole, rtol=1e-5, atol=1e-5)


def test_weights_may_see_less_than_the_members(tmp_path):
    model, batch = draw(
        ensemble_config(tmp_path, "nn_parallel", multimodel__forcings=["pet"], multimodel__attributes=["slope"])
    )
    assert model.ensemble.nn_model.nx == 2
    before = model(batch, eval=True)["ensemble"]["streamflow"]
    weights = model.ensemble.weights
    batch["x_nn_norm"] = batch["x_nn_norm"].clone()
    batch["x_nn_norm"][..., 0] += 1.0  # prcp, which the members see
    assert not torch.equal(model(batch, eval=True)["ensemble"]["streamflow"], before)
    assert torch.equal(model.ensemble.weights, weights)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__phy__name": ["Hbv"]}, "combines several models, and model.phy.name has 1"),
        ({"multimodel__members": ["a"]}, "set multimodel_type=avg and mode=test"),
        ({"multimodel__forcings": ["prpc"]}, "did you mean 'prcp'"),
        ({"multimodel__name": "LstmModl"}, "did you mean 'LstmModel'"),
        ({"multimodel__depth": 3}, "unknown key 'multimodel.depth'"),
        ({"multimodel_type": "average"}, "is not one of"),
    ],
)
def test_what_cannot_be_an_ensemble_is_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        as_config(ensemble_config(tmp_path, "nn_parallel", **changes))


def test_runs_of_other_seeds_are_averaged(tmp_path):
    config = small_config(tmp_path, train__epochs=1)
    folders = [str(tmp_path / name) for name in ("seed1", "seed2")]
    for seed, folder in enumerate(folders, 1):
        torch.manual_seed(seed)
        trainer = Trainer({**config, "seed": seed, "output_dir": folder})
        trainer.train()
        trainer.evaluate()
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config))
    words = ["mode=test", "multimodel_type=avg", f"multimodel.members=[{','.join(folders)}]"]
    assert main(["--config-name", str(path), *words, f"output_dir={tmp_path}/mean"]) == 0
    with xr.open_dataset(tmp_path / "mean/simulation.nc") as mean:
        each = [xr.load_dataset(f"{folder}/simulation.nc")["streamflow"] for folder in folders]
        np.testing.assert_allclose(mean["streamflow"], (each[0] + each[1]) / 2, rtol=1e-6)
        np.testing.assert_array_equal(mean["seed2_streamflow"], each[1])
    (by_target,) = json.loads((tmp_path / "mean/metrics_aggregate.json").read_text()).values()
    assert by_target["streamflow"]["all"]["nse"]["n"] == 5


def test_members_must_have_something_in_common():
    def simulation(sites, unit="mm d-1"):
        times = np.datetime64("2000-01-01", "ns") + np.arange(3).astype("timedelta64[D]")
        values = (("time", "site"), np.ones((3, len(sites))), {"units": unit})
        return xr.Dataset({"q": values, "q_obs": values}, coords={"time": times, "site": sites})

    mean, _ = mean_of({"a": simulation(["x", "y"]), "b": simulation(["y", "z"], "mm/day")}, ["q"])
    assert mean.sites == ["y"]
    with pytest.raises(DataError, match="no common site"):
        mean_of({"a": simulation(["x"]), "b": simulation(["z"])}, ["q"])
    with pytest.raises(DataError, match="'q' is in m3 s-1 in b, in mm d-1 in the first member"):
        mean_of({"a": simulation(["x"]), "b": simulation(["x"], "m3 s-1")}, ["q"])
