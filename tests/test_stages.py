"""Learning rates of parts of a model, and training in stages."""

import pytest
import torch
from small_run import no_plots, plots, small_config, small_store  # noqa: F401 (fixtures)

from dmg import ModelHandler, Trainer
from dmg.core.utils import set_randomseed
from dmg.errors import ConfigError, DmgError

# Every part that can be trained apart but the ensemble.
PARTS = {
    "model__phy__global_params": {"Hbv": ["parFC"]},
    "model__coupling": {"name": "ResidualModel", "network": {"name": "MlpModel", "hidden_size": 3}},
    "train__optimizer": {"name": "SGD", "momentum": 0.5},
    "train__lr": 0.1,
    "train__iterations": 1,
}


def trained(folder, stop=None, epochs=3, **changes):
    """Train, in two goes if ``stop`` says after which epoch the first ends; return the weights after every epoch."""
    folder.mkdir(exist_ok=True)
    seen = []

    def watch(epoch, scalars):
        seen.append({key: value.clone() for key, value in trainer.model.state_dict().items()})

    for last in [n for n in (stop, 3) if n]:
        set_randomseed(1)
        given = PARTS | changes | {"train__epochs": min(last, epochs), "train__resume": True}
        config = small_config(folder, small_store(), **given)
        trainer = Trainer(config, watch=watch)
        if not seen:
            seen.append({key: value.clone() for key, value in trainer.model.state_dict().items()})
        trainer.train()
    return trainer, seen


def moved(before, after):
    """Return which parts of the model changed."""
    kinds = {"nn_model": "network", "phy_model": "process"}
    names = [key for key in before if not torch.equal(before[key], after[key])]
    return {kinds.get(name.split(".")[2], "correction") for name in names}


STAGES = [{"epochs": 1, "train": "network"}, {"epochs": 1, "train": ["process", "correction"]}]


def test_stages_train_what_they_say_and_resume_exactly(tmp_path):
    trainer, seen = trained(tmp_path / "whole", train__stages=STAGES)
    assert moved(seen[0], seen[1]) == {"network"}
    assert moved(seen[1], seen[2]) == {"process", "correction"}
    assert moved(seen[2], seen[3]) == {"network", "process", "correction"}
    assert all(weight.requires_grad for weight in trainer.model.parameters())
    again, _ = trained(tmp_path / "stopped", 1, train__stages=STAGES)
    for key, value in again.model.state_dict().items():
        assert torch.equal(value, seen[-1][key]), key


def test_a_frozen_network_drops_nothing(tmp_path):
    model = ModelHandler(small_config(tmp_path, model__nn__dropout=0.5, **PARTS))
    model.train_only(["process"])
    model.train()
    assert not model.models["Hbv"].nn_model.training
    assert model.models["Hbv"].phy_model.training
    model.train_only(None)
    model.train()
    assert model.models["Hbv"].nn_model.training


def test_parts_have_rates_of_their_own(tmp_path):
    once = {"epochs": 1, "train__optimizer": {"name": "SGD"}}
    _, plain = trained(tmp_path / "a", **once)
    rates = {"process": 0.01, "correction": 0.2}
    _, other = trained(tmp_path / "b", train__branch_lr=rates, **once)
    for key, start in plain[0].items():
        factor = {"phy_model": 0.1, "nn_model": 1.0}.get(key.split(".")[2], 2.0)
        step, scaled = plain[1][key] - start, other[1][key] - start
        torch.testing.assert_close(scaled, factor * step, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"train__branch_lr": {"procss": 0.1}}, "train.branch_lr"),
        ({"train__stages": [{"train": ["physics"], "epochs": 1}]}, "train.stages"),
        ({"train__stages": [{"train": "network"}, {"train": "process"}]}, "a stage without epochs goes on to the end"),
    ],
)
def test_unknown_parts_are_refused(tmp_path, changes, text):
    with pytest.raises(DmgError, match=text):
        ModelHandler(small_config(tmp_path, **changes))


@pytest.mark.parametrize(
    "changes", [{"train__branch_lr": {"process": 0.1}}, {"train__stages": [{"epochs": 1, "train": ["process"]}]}]
)
def test_a_part_without_weights_is_refused(tmp_path, changes):
    with pytest.raises(ConfigError, match="the models have no weights that are 'process'"):
        Trainer(small_config(tmp_path, small_store(), **changes)).train()
