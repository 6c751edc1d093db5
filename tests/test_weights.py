"""Weights: those of the published layout load, those of this program carry what they mean nothing without."""

import json
import pickle
import shutil
from collections import OrderedDict

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_run import no_plots, small_config, small_store  # noqa: F401 (fixture)

import dmg
from dmg.errors import DataError, RunError
from dmg.models.model_handler import ModelHandler
from dmg.trainers import Trainer

H, NX = 8, 5
STATISTICS = {name: [0.0, 9.0, 3.0, 2.0] for name in ("prcp", "tmean", "pet", "area", "slope")}


def published(ny, seed=0):
    """Return a state dict as the published δHBV and LSTM have it: names and shapes of their files."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "linear_in.weight": (H, NX),
        "linear_in.bias": (H,),
        "lstm.w_ih": (4 * H, H),
        "lstm.w_hh": (4 * H, H),
        "lstm.b_ih": (4 * H,),
        "lstm.b_hh": (4 * H,),
        "linear_out.weight": (ny, H),
        "linear_out.bias": (ny,),
    }
    return OrderedDict((f"nn_model.{k}", 0.3 * torch.randn(s, generator=generator)) for k, s in shapes.items())


def pretrained(folder, name, weights):
    """Write a folder of published weights: a state dict and the statistics, and return it."""
    folder.mkdir(exist_ok=True)
    torch.save(weights, folder / name)
    (folder / "normalization_statistics.json").write_text(json.dumps(STATISTICS))
    return folder


def config_of(tmp_path, folder, network="CudnnLstmModel", **changes):
    return small_config(tmp_path, mode="sim", pretrained_model_dir=str(folder), model__nn__name=network, **changes)


def test_published_weights_of_a_hybrid_run_through_the_configuration(tmp_path):
    weights = published(ny=12 * 2 + 2)
    folder = pretrained(tmp_path / "published", "hbv_ep50.pt", weights)
    trainer = Trainer(config_of(tmp_path, folder))
    trainer.inference()
    for key, value in trainer.model.models["Hbv"].state_dict().items():
        assert torch.equal(value, weights[key])
    with xr.open_dataset(tmp_path / "out/sim/simulation.nc") as simulated:
        assert np.isfinite(simulated.streamflow).all()


def test_published_weights_of_a_network_alone(tmp_path):
    folder = pretrained(tmp_path / "published", "cudnnlstmmodel_ep300.pt", published(ny=1))
    handler = ModelHandler(config_of(tmp_path, folder, model__phy=None))
    handler.load_model(300, folder)
    assert torch.equal(handler.models["CudnnLstmModel"].nn_model.lstm.w_hh, published(ny=1)["nn_model.lstm.w_hh"])


def test_published_weights_of_two_networks_side_by_side(tmp_path):
    """δHBV with an LSTM for dynamic and a perceptron for static parameters: ``lstminv`` and ``ann``."""
    lstm = {k.replace("nn_model.", "nn_model.lstminv."): v for k, v in published(ny=2).items()}
    sizes = {"i2h": (H, 2), **{f"h2h{i}": (H, H) for i in range(1, 7)}, "h2o": (11 * 2 + 2, H)}
    ann = {f"nn_model.ann.{n}.weight": torch.randn(s) for n, s in sizes.items()}
    ann |= {f"nn_model.ann.{n}.bias": torch.randn(s[0]) for n, s in sizes.items()}
    folder = pretrained(tmp_path / "published", "hbv_ep100.pt", lstm | ann)
    changes = {"model__phy__dynamic_params": {"Hbv": ["parBETA"]}}
    handler = ModelHandler(config_of(tmp_path, folder, network="LstmMlpModel", **changes))
    handler.load_model(100, folder)
    weights = handler.models["Hbv"].state_dict()
    assert all(torch.equal(weights[k], v) for k, v in (lstm | ann).items())


def bomb():
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('executed')",))

    return pickle.dumps(Bomb(), protocol=2)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: w | {"nn_model.linear_out.bias": torch.zeros(9)}, r"linear_out.bias' has shape \(9,\) in the file"),
        (lambda w: {k: v for k, v in w.items() if "w_hh" not in k}, "the weights have no 'nn_model.lstm.w_hh'"),
        (lambda w: w | {"wnn.bias": torch.zeros(1)}, "the weights have 'wnn.bias', the model has not"),
        (lambda w: {"epoch": 3, "state": w}, "no named tensors but a mapping of epoch, state"),
        (lambda w: torch.zeros(3), "no named tensors but Tensor"),
    ],
)
def test_published_weights_that_do_not_fit_are_refused(tmp_path, spoil, message):
    folder = pretrained(tmp_path / "published", "hbv_ep50.pt", spoil(dict(published(ny=26))))
    handler = ModelHandler(config_of(tmp_path, folder))
    before = {k: v.clone() for k, v in handler.state_dict().items()}
    with pytest.raises(RunError, match=message):
        handler.load_model(50, folder)
    assert all(torch.equal(v, before[k]) for k, v in handler.state_dict().items())


@pytest.mark.parametrize("content", [bomb(), b"", b"text", "half"], ids=["code", "empty", "text", "half"])
def test_loading_weights_executes_nothing(tmp_path, content):
    folder = pretrained(tmp_path / "published", "hbv_ep50.pt", published(ny=26))
    path = folder / "hbv_ep50.pt"
    path.write_bytes(path.read_bytes()[:900] if content == "half" else content)
    with pytest.raises(RunError, match="not a whole file of weights"):
        ModelHandler(config_of(tmp_path, folder)).load_model(50, folder)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a training."""
    folder = tmp_path_factory.mktemp("weights")
    Trainer(small_config(folder, train__epochs=1)).train()
    return folder


def test_weights_carry_their_configuration_and_statistics(trained):
    path = trained / "out/model/hbv_ep1.safetensors"
    with safe_open(path, framework="pt") as handle:
        about = handle.metadata()
    assert (about["format"], about["model"], about["epoch"]) == ("dmg-weights", "Hbv", "1")
    assert json.loads(about["config"])["model"]["nn"]["hidden_size"] == 8
    beside = (trained / "out/model/normalization_statistics.json").read_text()
    assert json.loads(about["normalisation"]) == json.loads(beside)


def test_a_file_of_weights_is_all_that_is_needed(trained, tmp_path):
    expected = dmg.load_run(trained / "out").predict(small_store(), outputs=["streamflow"])
    alone = shutil.copy(trained / "out/model/hbv_ep1.safetensors", tmp_path)
    run = dmg.load_run(alone)
    xr.testing.assert_equal(run.predict(small_store(), outputs=["streamflow"]), expected)
    assert run.epoch == 1
    assert [path.name for path in tmp_path.iterdir()] == ["hbv_ep1.safetensors"]


def test_published_weights_alone_are_no_run(tmp_path):
    folder = pretrained(tmp_path / "published", "hbv_ep50.pt", published(ny=26))
    with pytest.raises(RunError, match="carries no configuration"):
        dmg.load_run(folder / "hbv_ep50.pt")
    (folder / "normalization_statistics.json").unlink()
    with pytest.raises(DataError, match="with the trained weights, which mean nothing without it"):
        Trainer(config_of(tmp_path, folder)).inference()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model__phy__nmul": 4}, "model: process: components is 2 in the file, 4 in the model"),
        # Shapes do not tell these two.
        ({"model__phy__dynamic_params": {"Hbv": ["parFC"]}}, "process: dynamic is parBETA in the file, parFC in the"),
        ({"model__nn__attributes": ["slope", "area"]}, "inputs: attributes is area, slope in the file, slope, area"),
        ({"model__nn__hidden_size": 9}, "network: weights: linear_in.weight is 8, 5 in the file, 9, 5 in the model"),
        ({"model__nn__name": "MinGruModel"}, "network: class is LstmModel in the file, MinGruModel in the model"),
    ],
)
def test_weights_of_another_configuration_are_refused_with_the_first_difference(trained, changes, message):
    folder = trained / "out/model"
    handler = ModelHandler(small_config(trained, **changes))
    before = {k: v.clone() for k, v in handler.state_dict().items()}
    with pytest.raises(RunError, match=message) as raised:
        handler.load_model(1, folder)
    assert "hbv_ep1.safetensors" in str(raised.value)
    assert all(torch.equal(v, before[k]) for k, v in handler.state_dict().items())


def test_statistics_of_another_training_beside_the_weights_are_refused(trained, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(trained / "out/model", folder)
    path = folder / "normalization_statistics.json"
    statistics = json.loads(path.read_text())
    path.write_text(json.dumps(statistics | {"prcp": [0, 1, 2, 3]}))
    with pytest.raises(RunError, match="other statistics than lie beside them: prcp is"):
        ModelHandler(small_config(trained)).load_model(1, folder)
    path.unlink()
    ModelHandler(small_config(trained)).load_model(1, folder)


def test_damaged_and_newer_weights_are_refused(trained, tmp_path):
    path = tmp_path / "hbv_ep1.safetensors"
    whole = (trained / "out/model/hbv_ep1.safetensors").read_bytes()
    path.write_bytes(whole[:-10])
    handler = ModelHandler(small_config(trained))
    with pytest.raises(RunError, match="not a whole file of weights"):
        handler.load_model(1, tmp_path)
    path.write_bytes(whole)
    with safe_open(path, framework="pt") as handle:
        about = handle.metadata()
    save_file(load_file(path), path, metadata=about | {"version": "2"})
    with pytest.raises(RunError, match="has version 2, this program reads version 1"):
        handler.load_model(1, tmp_path)
