"""Networks in bf16, process models in float32; gradients of several minibatches before a step."""

import csv

import pytest
import torch
from small_run import no_plots, small_config  # noqa: F401 (fixtures)

from dmg.conf.config import as_config
from dmg.errors import ConfigError
from dmg.models.model_handler import ModelHandler
from dmg.trainers import Trainer


def batch_of(config):
    trainer = Trainer(config, write_out=False)
    data = trainer.train_dataset
    return trainer.sampler.get_training_sample(data, data.n_sites, data.n_times)


@pytest.mark.parametrize("network", ["LstmModel", "GruModel", "MinGruModel"])
@pytest.mark.parametrize("phy", [True, False])
def test_bf16_rounds_the_network_and_nothing_else(tmp_path, network, phy):
    changes = {} if phy else {"model__phy": None, "model__nn__out_size": 1}
    config = small_config(tmp_path, model__nn__name=network, model__nn__dropout=0.0, **changes)
    batch, found = batch_of(config), {}
    for precision in ("float32", "bf16"):
        torch.manual_seed(0)
        model = ModelHandler(as_config({**config, "train": {**config["train"], "precision": precision}}))
        model.train()
        model(batch, outputs=["streamflow"])
        loss = model.calc_loss(batch)
        loss.backward()
        (output,) = model.output_dict.values()
        gradient = torch.cat([p.grad.flatten() for p in model.get_parameters()])
        assert output["streamflow"].dtype is gradient.dtype is loss.dtype is torch.float32
        evaluated = next(iter(model(batch, eval=True, outputs=["streamflow"]).values()))["streamflow"]
        found[precision] = output["streamflow"].detach(), gradient, evaluated
        if phy:
            assert {s.dtype for s in next(iter(model.state.values())).process.stores.values()} == {torch.float32}
    (exact, gradient, evaluated), (rounded, gradient2, evaluated2) = found["float32"], found["bf16"]
    # bf16 has 8 bits: a few thousandths of a value, and a gradient that still points the same way.
    assert 0 < (rounded - exact).norm() / exact.norm() < 0.02
    assert torch.nn.functional.cosine_similarity(gradient, gradient2, dim=0) > 0.99
    assert torch.equal(evaluated, evaluated2)


def test_accumulated_gradients_are_the_mean_over_minibatches(tmp_path):
    # Without Adam, whose step does not depend on the size of the gradient.
    common = {"train__optimizer": {"name": "SGD"}, "train__epochs": 1, "model__nn__dropout": 0.0}
    accumulated = Trainer(small_config(tmp_path, train__accumulate=2, train__iterations=3, **common))
    before = {k: v.clone() for k, v in accumulated.model.state_dict().items()}
    accumulated.train()

    torch.manual_seed(0)
    by_hand = Trainer(small_config(tmp_path, **common), write_out=False)
    by_hand.model.load_state_dict(before)
    by_hand.model.train()
    data, losses = by_hand.train_dataset, by_hand._make_losses(by_hand.train_dataset)
    optimizer = torch.optim.SGD(by_hand.model.get_parameters(), lr=0.01)
    for group in (2, 1):  # the last group of an epoch is what is left
        optimizer.zero_grad()
        for _ in range(group):
            batch = by_hand.sampler.get_training_sample(data, data.n_sites, data.n_times)
            by_hand.model(batch, outputs=["streamflow"])
            (by_hand.model.calc_loss(batch, losses) / group).backward()
        optimizer.step()
    for name, value in by_hand.model.state_dict().items():
        torch.testing.assert_close(accumulated.model.state_dict()[name], value, rtol=1e-6, atol=1e-7)
    rows = list(csv.DictReader((tmp_path / "out/training_log.csv").open()))
    assert [row["grad_norm"] == "nan" for row in rows] == [True, False, False]


def test_lbfgs_does_not_accumulate(tmp_path):
    with pytest.raises(ConfigError, match="LBFGS evaluates every minibatch several times"):
        as_config(small_config(tmp_path, train__accumulate=2, train__optimizer={"name": "LBFGS"}))
