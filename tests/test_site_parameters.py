"""Physics-only calibration: one free vector of parameters per site in the place of a network."""

import pytest
import torch
from small_run import SITES, small_config

from dmg import ModelHandler, Trainer
from dmg.core.data.batch import Batch
from dmg.errors import DataError
from dmg.models.delta_models import DplModel
from dmg.models.neural_networks import SiteParameters
from hydrodl2.models import Hymod


def calibration(sites=("a", "b", "c"), config=None, model_class=Hymod):
    process = model_class(config)
    return DplModel(phy_model=process, nn_model=SiteParameters(0, process.learnable_param_count, sites))


def weather(steps=200, sites=3):
    generator = torch.Generator().manual_seed(0)
    prcp = torch.relu(torch.randn(steps, sites, generator=generator)) * 10
    return torch.stack([prcp, torch.full_like(prcp, 2.0)], dim=-1)


def test_gradients_find_the_parameters_that_made_the_flow():
    torch.manual_seed(0)
    true, model = calibration(), calibration()
    batch = {"x_phy": weather()}
    observed = true(batch, eval=True)["streamflow"]
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    losses = []
    for _ in range(100):
        loss = ((model(batch)["streamflow"] - observed) ** 2).mean() / observed.var()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.01 * losses[0]


def test_starts_lie_all_over_the_bounds():
    torch.manual_seed(0)
    model = calibration([f"start {i}" for i in range(300)])
    found = model.physical_parameters({"x_phy": weather(2, 300)})
    for p in Hymod.parameter_table:
        share = (found[p.name] - p.low) / (p.high - p.low)
        assert 0.0 < share.min() < 0.05
        assert 0.95 < share.max() < 1.0
        assert share.mean() == pytest.approx(0.5, abs=0.06)


def test_sites_are_found_by_name():
    model = calibration(config={"nmul": 2, "dynamic_params": {"Hymod": ["Kq"]}})
    whole = model(Batch({"x_phy": weather()}, sites=["a", "b", "c"]), eval=True)["streamflow"]
    some = model(Batch({"x_phy": weather()[:, [2, 0, 2]]}, sites=["c", "a", "c"]), eval=True)["streamflow"]
    assert torch.equal(some, whole[:, [2, 0, 2]])


def test_a_model_that_takes_its_parameters_as_they_are_gets_them_between_its_bounds():
    class Bounded(Hymod):
        link = "identity"

    torch.manual_seed(0)
    model = calibration(model_class=Bounded)
    torch.manual_seed(0)
    logistic = calibration()
    batch = {"x_phy": weather()}
    torch.testing.assert_close(model(batch)["streamflow"], logistic(batch)["streamflow"])


def test_a_run_calibrates_every_site_and_predicts_none_other(tmp_path):
    phy = {"name": ["Hymod"], "forcings": ["prcp", "pet"]}
    network = {"name": "SiteParameters", "sites": SITES}
    config = small_config(tmp_path, model__phy=phy, model__nn=network, train__lr=0.3, train__epochs=4)
    trainer = Trainer(config, ModelHandler(config))
    trainer.train()
    trainer.evaluate()
    losses = list(trainer.training.losses.values())
    assert losses[-1] < losses[0]
    values = trainer.model.models["Hymod"].nn_model.values
    assert values.shape == (len(SITES), len(Hymod.parameter_table))
    fewer = small_config(tmp_path, model__phy=phy, model__nn=network | {"sites": SITES[1:]})
    with pytest.raises(DataError, match=r"1 sites were not calibrated: s0\n  where: model\.nn\.sites"):
        Trainer(fewer, ModelHandler(fewer)).evaluate()


def test_a_batch_without_ids_has_all_sites():
    with pytest.raises(DataError, match="2 sites without ids, SiteParameters has 3"):
        calibration()({"x_phy": weather(sites=2)})
