"""A plug-in outside the package is found, obeys the laws and trains."""

from pathlib import Path

import pytest
import torch

from dmg.models.delta_models import DplModel
from dmg.models.neural_networks import LstmModel
from dmg.registry import Registry
from dmg.testing import LAWS

PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture
def linear_store(monkeypatch):
    """The class, found through the entry point of its distribution."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    return Registry("process_models").get("LinearStore")


def test_plugin_is_small():
    source = (PLUGIN / "linear_store_plugin.py").read_text().splitlines()
    assert len(source) <= 40


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_plugin_obeys(linear_store, law):
    law(linear_store)


def test_plugin_trains(linear_store):
    """A network learns the residence time of sites from an attribute that determines it."""
    torch.manual_seed(0)
    prcp = torch.relu(torch.randn(80, 12, 1) * 6)
    attribute = torch.linspace(-1, 1, 12)
    residence = 20 + 15 * attribute
    store = linear_store({"warmup": 10})
    raw = torch.logit((residence - 1) / 49).expand(80, 12).unsqueeze(-1)
    with torch.no_grad():
        observed = store({"x_phy": prcp}, raw)["streamflow"]
    batch = {"x_phy": prcp, "xc_nn_norm": torch.stack([(prcp[..., 0] - 3) / 4, attribute.expand(80, 12)], -1)}
    model = DplModel(phy_model=store, nn_model=LstmModel(2, store.learnable_param_count, 8, dr=0.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        loss = ((model.run(batch)[0]["streamflow"] - observed) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    learned = model.physical_parameters(batch)["k"][:, 0]
    assert losses[-1] < 0.05 * losses[0]
    assert torch.allclose(learned, residence, atol=4.0)
