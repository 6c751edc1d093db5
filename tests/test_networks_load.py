"""A network by name, from the configuration."""

import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from dmg.errors import ConfigError, UnknownNameError
from dmg.models.neural_networks import (
    AnnCloseModel,
    AnnModel,
    BaseNetwork,
    LstmMlpModel,
    LstmModel,
    MlpModel,
    load_nn_model,
)
from dmg.registry import networks

FORCINGS, ATTRIBUTES = ["prcp", "tmean", "pet"], ["aridity", "frac_snow"]


def block(name: str, **keys) -> dict:
    return {
        "rho": 10,
        "warmup": 2,
        "phy": None,
        "nn": {"name": name, "hidden_size": 8, "forcings": FORCINGS, "attributes": ATTRIBUTES, **keys},
    }


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("LstmModel", LstmModel),
        ("CudnnLstmModel", LstmModel),
        ("MlpModel", MlpModel),
        ("AnnModel", AnnModel),
        ("AnnCloseModel", AnnCloseModel),
    ],
)
def test_every_network_can_be_named(name, cls):
    model = load_nn_model(block(name, out_size=3), device="cpu")
    assert type(model) is cls
    assert model(torch.zeros(4, 2, 5)).shape == (4, 2, 3)


def test_outputs_are_what_the_process_model_learns():
    phy = SimpleNamespace(learnable_param_count=15)
    assert load_nn_model(block("LstmModel", out_size=1), phy).ny == 15


def test_outputs_are_the_targets_of_the_whole_configuration():
    config = {"train": {"target": ["streamflow", "swe"]}, "model": block("LstmModel")}
    assert load_nn_model(config).ny == 2
    with pytest.raises(ConfigError, match="how many outputs"):
        load_nn_model(block("LstmModel"))


def test_options_of_the_block_reach_the_network():
    model = load_nn_model(block("LstmModel", dropout=0.25, cache_states=True, dpl=True, out_size=1))
    assert (model.lstm.dr, model.cache_states, model.dpl) == (0.25, True, True)
    assert load_nn_model(block("LstmModel", dropout=None, out_size=1)).lstm.dr == 0.5
    assert load_nn_model(block("MlpModel", activation="tanh", out_size=1)).activation == "tanh"
    assert load_nn_model(block("AnnCloseModel", fill_obs=False, out_size=1)).fill_obs is False


def test_pair_takes_both_widths_from_the_process_model():
    phy = SimpleNamespace(learnable_param_count=18, learnable_param_count1=3, learnable_param_count2=15)
    config = block("LstmMlpModel", lstm_hidden_size=8, mlp_hidden_size=32, lstm_dropout=0.1, mlp_dropout=0.2)
    model = load_nn_model(config, phy)
    assert isinstance(model, LstmMlpModel)
    assert (model.lstminv.nx, model.lstminv.ny, model.ann.nx, model.ann.ny) == (5, 3, 2, 15)
    assert (model.lstminv.lstm.dr, model.ann.dr) == (0.1, 0.2)
    sizes = block("LstmMlpModel", out_size1=3, out_size2=15)
    assert load_nn_model(sizes).ann.ny == 15
    with pytest.raises(ConfigError, match="static"):
        load_nn_model(block("LstmMlpModel"), SimpleNamespace(learnable_param_count=15))


def test_ensemble_network_has_one_output_per_model():
    config = {"model": "LstmModel", "hidden_size": 4, "forcings": FORCINGS, "attributes": []}
    assert load_nn_model(config, ensemble_list=["Hbv", "Hbv_1_1p"]).ny == 2


def test_unknown_name_gets_a_suggestion():
    with pytest.raises(UnknownNameError, match="did you mean 'LstmModel'"):
        load_nn_model(block("LstmModle", out_size=1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "hidden_size"),
        ({"forcings": [], "attributes": []}, "no inputs"),
        ({"name": None}, "no name"),
        ({"dropout": 1.5}, "probability"),
    ],
)
def test_incomplete_blocks_are_explained(change, message):
    with pytest.raises(ConfigError, match=message):
        load_nn_model(block(**{"name": "LstmModel", "out_size": 1, **change}))


def test_a_network_from_outside_needs_no_edit_of_the_package(monkeypatch):
    monkeypatch.setattr(networks, "_found", dict(networks._found))

    @networks.register("_TestLinear")
    class Linear(BaseNetwork):
        config_keys = {"gain": ("gain",)}  # noqa: RUF012

        def __init__(self, nx: int, ny: int, gain: float = 1.0) -> None:
            super().__init__()
            self.layer, self.gain = nn.Linear(nx, ny), gain

        def forward(self, x):
            return self.gain * self.layer(x)

    model = load_nn_model(block("_TestLinear", out_size=2, gain=3.0))
    assert type(model) is Linear  # the class itself, not a second copy of it
    assert model.gain == 3.0
    assert model(torch.zeros(2, 1, 5)).shape == (2, 1, 2)


def test_import_is_light():
    code = (
        "import sys, dmg.models.neural_networks, dmg.models.criterion; "
        "heavy = {'pandas','xarray','matplotlib','hydra','pint','pydantic','scipy'} & set(sys.modules); "
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_typed_configuration_and_plain_one_build_the_same():
    from dmg.conf.model import Model

    typed = Model.model_validate(block("MlpModel", activation="gelu", out_size=2))
    assert load_nn_model(typed).activation == "gelu"
    with pytest.raises(ConfigError, match="is a mapping"):
        load_nn_model("LstmModel")


def test_a_class_without_a_builder_and_a_block_without_network_are_explained(monkeypatch):
    monkeypatch.setattr(networks, "_found", dict(networks._found))
    networks.register("_TestBare")(type("Bare", (nn.Module,), {}))
    with pytest.raises(ConfigError, match="from_config"):
        load_nn_model(block("_TestBare", out_size=1))
    with pytest.raises(ConfigError, match="no network"):
        load_nn_model({"phy": None, "nn": None})
    with pytest.raises(ConfigError, match="needs attributes"):
        load_nn_model(block("LstmMlpModel", attributes=[], out_size1=1, out_size2=1))
