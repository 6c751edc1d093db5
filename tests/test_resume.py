"""A resumed training is bit for bit the uninterrupted one."""

import csv
import pickle
import random

import numpy as np
import pytest
import torch
from small_run import no_plots, plots, small_config, small_store  # noqa: F401 (fixtures)

from dmg.core.data.dataset import write_dataset
from dmg.core.data.samplers import HydroSampler
from dmg.core.utils import set_randomseed
from dmg.errors import RunError
from dmg.trainers import Trainer
from dmg.trainers.checkpoint import (
    find_checkpoints,
    get_random_state,
    load_checkpoint,
    save_checkpoint,
    set_random_state,
)

# Momentum, a scheduler, dropout of weights and of dynamic parameters: everything that has a state or draws.
CHANGES = {
    "train__epochs": 4,
    "train__lr_scheduler": {"name": "StepLR", "step_size": 2, "gamma": 0.5},
    "model__phy__dy_drop": 0.5,
    "model__nn__dropout": 0.4,
    "valid": {"start_time": "2000/08/01", "end_time": "2000/10/31"},
}


def rows(path):
    """Return the log without the columns that depend on the machine."""
    with path.open() as handle:
        return [{k: v for k, v in row.items() if k not in ("time_s", "cpu_s")} for row in csv.DictReader(handle)]


def state_of(trainer):
    training = trainer.training
    return {
        "weights": {k: v.clone() for k, v in trainer.model.state_dict().items()},
        "optimizer": trainer.optimizer.state_dict(),
        "scheduler": trainer.scheduler.state_dict(),
        "sampler": trainer.sampler.state_dict(),
        "torch": torch.get_rng_state(),
        "losses": training.losses,
        "scores": training.scores,
        "best": training.best_epoch,
        "log": rows(trainer.run_dir.training_log),
    }


def assert_same(a, b, path="state"):
    assert type(a) is type(b), path
    if isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    elif isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{path}[{i}]")
    else:
        assert a == b, path


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Return the folder and the final state of a training that nobody interrupted, and of one that trained on."""
    folder = tmp_path_factory.mktemp("whole")
    set_randomseed(3)
    trainer = Trainer(small_config(folder, **CHANGES))
    trainer.train()
    return folder, state_of(trainer)


def interrupt_at(monkeypatch, call):
    """Make the sampler raise KeyboardInterrupt at its n-th minibatch."""
    draw, calls = HydroSampler.get_training_sample, [0]

    def interrupted(self, *arguments):
        calls[0] += 1
        if calls[0] == call:
            raise KeyboardInterrupt
        return draw(self, *arguments)

    monkeypatch.setattr(HydroSampler, "get_training_sample", interrupted)


# Two minibatches an epoch: in the first epoch, in the middle of one, at the start of one, in the last.
@pytest.mark.parametrize("call", [2, 4, 5, 8])
def test_interrupted_and_resumed_is_bit_equal(tmp_path, monkeypatch, uninterrupted, call):
    folder, expected = uninterrupted
    changes = {**CHANGES, "observations__data_path": str(folder / "store.nc")}
    set_randomseed(3)
    trainer = Trainer(small_config(tmp_path, **changes))
    with monkeypatch.context() as patch:
        interrupt_at(patch, call)
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
    assert not list((tmp_path / "out").rglob(".writing*"))
    # What happened before the interruption is in the log, the unfinished epoch included.
    assert len(rows(tmp_path / "out/training_log.csv")) == call - 1

    set_randomseed(99)
    torch.rand(7)
    resumed = Trainer(small_config(tmp_path, train__resume=True, **changes))
    resumed.train()
    assert_same(state_of(resumed), expected)


def test_a_training_can_be_lengthened(tmp_path, uninterrupted):
    folder, expected = uninterrupted
    changes = {**CHANGES, "observations__data_path": str(folder / "store.nc")}
    set_randomseed(3)
    Trainer(small_config(tmp_path, **changes | {"train__epochs": 2})).train()
    resumed = Trainer(small_config(tmp_path, **changes, train__start_epoch=2))
    resumed.train()
    assert_same(state_of(resumed), expected)


def test_resuming_a_finished_training_trains_no_more(uninterrupted):
    folder, expected = uninterrupted
    again = Trainer(small_config(folder, train__resume=True, **CHANGES))
    again.train()
    assert again.training.epoch == 4
    assert_same(state_of(again)["weights"], expected["weights"])


def test_resume_without_checkpoint_starts_and_says_so(tmp_path, caplog):
    config = small_config(tmp_path, train__resume=True, train__epochs=1)
    Trainer(config).train()
    assert "no checkpoint" in caplog.text
    assert list(find_checkpoints(tmp_path / "out/model")) == [1]


def test_start_epoch_without_checkpoint_is_an_error(tmp_path):
    Trainer(small_config(tmp_path, train__epochs=1)).train()
    with pytest.raises(RunError, match="no checkpoint of epoch 2") as caught:
        Trainer(small_config(tmp_path, train__epochs=3, train__start_epoch=2)).train()
    assert "the newest is kept: 1" in str(caught.value)


def test_other_settings_or_data_are_not_continued(tmp_path):
    Trainer(small_config(tmp_path, train__epochs=1)).train()
    with pytest.raises(RunError, match=r"different: train.lr, model.nn.dropout"):
        Trainer(
            small_config(tmp_path, train__resume=True, train__epochs=2, train__lr=0.5, model__nn__dropout=0.0)
        ).train()
    store = small_store()
    store["prcp"][50, 0] += 1
    write_dataset(store, tmp_path / "store.nc")
    with pytest.raises(RunError, match="the training data"):
        Trainer(small_config(tmp_path, train__resume=True, train__epochs=2)).train()


def test_checkpoint_keeps_every_kind_of_value(tmp_path):
    shared = torch.arange(3.0)
    state = {
        "tensors": [shared, shared, torch.tensor(2, dtype=torch.int64), torch.zeros(0)],
        "numbers": {0: 0.1, "inf": float("inf"), "none": None, "yes": True, "big": 2**90},
        "tuple": (1, "a", [2.5]),
    }
    path = save_checkpoint(tmp_path, 3, state)
    assert_same(load_checkpoint(path), state)


def test_only_the_newest_checkpoint_is_kept(tmp_path):
    for epoch in (1, 2, 10):
        save_checkpoint(tmp_path, epoch, {"epoch": epoch})
    assert [p.name for p in tmp_path.iterdir()] == ["trainer_state_ep10.safetensors"]


def test_checkpoint_refuses_what_it_cannot_hold(tmp_path):
    save_checkpoint(tmp_path, 1, {})
    with pytest.raises(RunError, match="cannot hold function"):
        save_checkpoint(tmp_path, 2, {"scheduler": {"lr_lambda": lambda epoch: epoch}})
    assert list(find_checkpoints(tmp_path)) == [1]


def test_loading_a_checkpoint_executes_nothing(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('executed')",))

    path = tmp_path / "trainer_state_ep1.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(RunError, match="not a checkpoint"):
        load_checkpoint(path)


def test_a_truncated_checkpoint_is_one_clear_error(tmp_path):
    path = save_checkpoint(tmp_path, 1, {"a": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(RunError, match="not a checkpoint"):
        load_checkpoint(path)


def test_random_state_covers_torch_numpy_and_python(tmp_path):
    state = load_checkpoint(save_checkpoint(tmp_path, 1, get_random_state()))

    def draw():
        return torch.randn(3).tolist(), np.random.rand(3).tolist(), random.gauss(0, 1)  # noqa: NPY002

    first = draw()
    set_random_state(state)
    assert draw() == first
