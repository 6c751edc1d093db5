"""The examples package: its configurations, and the sample that the first example takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dmg.conf.config import as_config
from dmg.core.data.batch import Batch
from dmg.errors import ConfigError
from example import load_config, take_data_sample


@pytest.fixture
def config():
    return load_config("config_dhbv", ["model.warmup=3"])


@pytest.mark.parametrize(
    "path",
    ["../example/conf/config_dhbv.yaml", "example/conf/config_dhbv.yaml", "conf/config_dhbv.yaml", "config_dhbv"],
)
@pytest.mark.parametrize("place", ["tmp", "package", "root"])
def test_load_config_works_from_any_folder(path: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = Path(__file__).parents[1]
    monkeypatch.chdir({"tmp": tmp_path, "package": root / "example", "root": root}[place])
    assert load_config(path)["model"]["phy"]["name"] == ["Hbv"]
    assert not list(tmp_path.iterdir())


def test_a_file_where_the_user_stands_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = (Path(__file__).parents[1] / "example/conf/config_dhbv.yaml").read_text()
    (tmp_path / "config_dhbv.yaml").write_text(text.replace("epochs: 100", "epochs: 7"))
    monkeypatch.chdir(tmp_path)
    assert load_config("config_dhbv.yaml")["train"]["epochs"] == 7


def test_unknown_file_names_the_closest():
    with pytest.raises(ConfigError, match="did you mean 'config_dhbv'"):
        load_config("conf/config_dhvb.yaml")


def test_an_override_replaces_a_map_and_completes_a_block():
    config = load_config(
        "config_dhbv", ["model.phy.dynamic_params={}", "train.lr_scheduler={name: StepLR, gamma: 0.1}"]
    )
    assert config["model"]["phy"]["dynamic_params"] == {}
    assert config["train"]["lr_scheduler"]["step_size"] == 10
    assert config["train"]["lr_scheduler"]["gamma"] == 0.1


def test_dhbv_has_the_published_settings():
    c = as_config(load_config("config_dhbv"))
    assert (c.seed, c.mode, c.observations.name) == (111111, "train", "sample")
    assert (c.train.optimizer.name, c.train.lr, c.train.lr_scheduler) == ("Adadelta", 1.0, None)
    assert (c.train.batch_size, c.train.epochs, c.train.save_epoch) == (100, 100, 5)
    assert (c.test.batch_size, c.test.test_epoch) == (25, 50)
    assert c.train.loss_function.name == "RmseCombLoss"
    assert (c.model.rho, c.model.warmup, c.model.use_log_norm) == (365, 365, ["prcp"])
    assert (c.model.phy.nmul, c.model.phy.dynamic_params) == (16, {"Hbv": ["parBETA", "parBETAET"]})
    assert (c.model.nn.name, c.model.nn.hidden_size, c.model.nn.dropout) == ("CudnnLstmModel", 256, 0.5)
    assert c.train_time + c.test_time == ["1999/10/01", "2008/09/30", "1989/10/01", "1999/09/30"]
    assert len(c.model.nn.attributes) == 35


def test_dhbv_1_1p_has_the_published_settings():
    c = as_config(load_config("config_dhbv_1_1p"))
    assert (c.model.phy.name, c.model.phy.nmul, c.model.phy.warmup_states) == (["Hbv_1_1p"], 16, False)
    assert c.model.phy.dynamic_params["Hbv_1_1p"] == ["parBETA", "parK0", "parBETAET"]
    assert (c.train.loss_function.name, c.model.use_log_norm, c.test.test_epoch) == ("NseBatchLoss", [], 50)


def test_lstm_has_the_published_settings():
    c = as_config(load_config("config_lstm"))
    assert c.model.phy is None
    assert (c.model.nn.out_size, c.model.flow_regime) == (1, "high")
    assert c.model.nn.forcings == ["dayl", "prcp", "srad", "tmean", "vp"]
    assert (c.train.loss_function.name, c.train.epochs, c.train.save_epoch) == ("NseBatchLoss", 300, 50)
    assert c.name == "CudnnLstmModel"


@pytest.mark.parametrize("observations", ["camels_531", "camels_671"])
def test_observations_can_be_exchanged(observations: str):
    c = as_config(load_config("config_dhbv", [f"observations={observations}"]))
    assert c.observations.name == observations
    assert (c.observations.start_time, c.observations.end_time) == ("1980/10/01", "2014/09/30")
    assert c.observations.data_path is None
    assert set(c.model.nn.attributes) == set(c.observations.all_attributes)


def _series(days: int = 10, sites: int = 4) -> dict[str, torch.Tensor]:
    time = torch.arange(days, dtype=torch.float64).reshape(-1, 1, 1)
    site = torch.arange(sites, dtype=torch.float64).reshape(1, -1, 1)
    series = time + site / 10
    return {"x_phy": series, "xc_nn_norm": series, "target": series.clone(), "c_nn": site[0]}


def test_sample_cuts_the_warmup_from_the_target_once(config):
    data = _series()
    sample = take_data_sample(config, data, days=8, basins=2)
    assert sample["x_phy"].shape == (8, 2, 1)
    assert sample["xc_nn_norm"].shape == (8, 2, 1)
    assert sample["c_nn"].shape == (2, 1)
    torch.testing.assert_close(sample["target"], data["x_phy"][3:8, :2].float())
    assert {v.dtype for v in sample.values()} == {torch.float32}
    assert data["target"].shape == (10, 4, 1)


def test_sample_of_a_batch_keeps_its_names(config):
    data = _series()
    values = {k: v.float() for k, v in data.items() if k != "xc_nn_norm"}
    times = np.datetime64("2000-01-01") + np.arange(10)
    batch = Batch(values, sites=list("abcd"), times=times, names={"x_phy": ("prcp",)})
    sample = take_data_sample(config, batch, days=8, basins=2)
    assert (sample.sites, sample.names["x_phy"], len(sample.times)) == (["a", "b"], ("prcp",), 8)
    torch.testing.assert_close(sample["target"], data["x_phy"][3:8, :2].float())
    again = take_data_sample(config, sample, days=8, basins=2)
    torch.testing.assert_close(again["target"], sample["target"])
    assert batch["target"].shape == (10, 4, 1)


def test_sample_takes_numpy_and_leaves_the_rest(config):
    data = {"x_phy": _series()["x_phy"].numpy(), "denorm_fn": len}
    sample = take_data_sample(config, data, days=8, basins=100)
    assert sample["x_phy"].shape == (8, 4, 1)
    assert sample["denorm_fn"] is len


def test_a_sample_shorter_than_the_warmup_is_refused(config):
    with pytest.raises(ConfigError, match="warm-up of 3"):
        take_data_sample(config, _series(), days=3)
