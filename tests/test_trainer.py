"""Training: every optimizer and scheduler, the guard, validation, fine-tuning, files."""

import csv
import errno
import json
import os
import sys

import numpy as np
import pytest
import torch
from small_run import no_plots, plots, small_config, small_store  # noqa: F401 (fixtures)

from dmg.conf.config import as_config
from dmg.core.data.batch import Batch
from dmg.errors import ConfigError, RunError
from dmg.models.criterion import MseLoss
from dmg.models.model_handler import ModelHandler
from dmg.trainers import Trainer
from dmg.trainers.guard import NonFinite, NonFiniteGuard
from dmg.trainers.optimizer import make_optimizer, make_scheduler, step_scheduler
from dmg.trainers.progress import progress
from dmg.trainers.weights import choose_epoch, read_best


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.get_parameters()])


def log_rows(folder) -> list[dict[str, str]]:
    with (folder / "out/training_log.csv").open() as handle:
        return list(csv.DictReader(handle))


def test_training_from_the_configuration_alone_leaves_its_files(tmp_path, plots):  # noqa: F811
    config = small_config(tmp_path, train__save_epoch=2)
    trainer = Trainer(config)
    before = weights(trainer)
    trainer.train()
    assert not torch.equal(before, weights(trainer))
    out = tmp_path / "out"
    assert sorted(p.name for p in (out / "model").iterdir()) == [
        "hbv_ep2.safetensors",
        "hbv_ep3.safetensors",
        "normalization_statistics.json",
        "trainer_state_ep3.safetensors",
    ]
    rows = log_rows(tmp_path)
    assert [(r["epoch"], r["batch"]) for r in rows] == [(str(e), str(b)) for e in (1, 2, 3) for b in (1, 2)]
    assert all(float(r["loss"]) > 0 and float(r["grad_norm"]) > 0 and float(r["time_s"]) > 0 for r in rows)
    assert sum(float(r["cpu_s"]) for r in rows) > 0
    record = json.loads((out / "run.json").read_text())
    assert record["seed"] == 1
    assert record["versions"]["torch"] == torch.__version__
    assert len(record["data"]["train"]) == 64
    assert record["training"]["epochs"] == 3
    assert record["timings"]["train_s"] > 0
    assert record["cpu_timings"]["train_s"] > 0
    scalars = [json.loads(line) for line in (out / "logs/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in scalars] == [1, 2, 3]
    epoch_loss = np.mean([float(r["loss"]) for r in rows[:2]])
    assert scalars[0]["Loss/train_total"] == pytest.approx(epoch_loss)
    assert plots() == {"loss_plot.png", "loss_plot_log.png"}


def test_training_lowers_the_loss(tmp_path):
    config = small_config(tmp_path, train__epochs=12, train__iterations=4, train__lr=0.05, model__nn__dropout=0.0)
    trainer = Trainer(config, write_out=False)
    trainer.train()
    losses = list(trainer.training.losses.values())
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_without_output_nothing_is_written(tmp_path):
    config = small_config(tmp_path, mode="test")
    trainer = Trainer(config, ModelHandler(config), write_out=False)
    trainer.model.epoch = 1
    trainer.evaluate()
    assert [p.name for p in tmp_path.iterdir()] == ["store.nc"]


@pytest.mark.parametrize("name", ["Adadelta", "SGD", "AdamW", "RMSprop", "NAdam", "Adagrad", "Rprop", "LBFGS"])
def test_every_optimizer_trains(tmp_path, name):
    config = small_config(tmp_path, train__epochs=1, train__iterations=1, train__optimizer={"name": name})
    trainer = Trainer(config, write_out=False)
    before = weights(trainer)
    trainer.train()
    assert type(trainer.optimizer).__name__ == name
    assert not torch.equal(before, weights(trainer))


def test_optimizer_takes_its_arguments(tmp_path):
    optimizer = {"name": "SGD", "momentum": 0.7, "nesterov": True}
    config = as_config(small_config(tmp_path, train__optimizer=optimizer))
    made = make_optimizer([torch.nn.Parameter(torch.zeros(2))], config.train)
    assert made.param_groups[0]["momentum"] == 0.7
    assert made.param_groups[0]["lr"] == 0.01
    with pytest.raises(ConfigError, match="no trainable parameters"):
        make_optimizer([], config.train)


@pytest.mark.parametrize(
    ("scheduler", "expected"),
    [
        # Published files list step_size and gamma for every scheduler; nulls count as not given.
        ({"name": "ExponentialLR", "gamma": 0.5, "step_size": None}, [0.01, 0.005, 0.0025]),
        ({"name": "StepLR", "step_size": 2, "gamma": 0.1}, [0.01, 0.01, 0.001]),
        ({"name": "CosineAnnealingLR", "T_max": 2, "gamma": None}, [0.01, 0.005, 0.0]),
        ({"name": "MultiStepLR", "milestones": [1]}, [0.01, 0.001, 0.001]),
        (None, [0.01, 0.01, 0.01]),
    ],
)
def test_every_scheduler_steps_once_per_epoch(tmp_path, scheduler, expected):
    Trainer(small_config(tmp_path, train__lr_scheduler=scheduler)).train()
    rates = [float(r["learning_rate"]) for r in log_rows(tmp_path) if r["batch"] == "1"]
    assert rates == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("mode", "validates", "score", "reductions"),
    [("min", False, None, 1), ("min", True, 0.5, 1), ("max", True, 0.5, 1), ("min", True, None, 0)],
)
def test_plateau_watches_the_score_or_the_loss(tmp_path, mode, validates, score, reductions):
    plateau = {"name": "ReduceLROnPlateau", "factor": 0.1, "patience": 0, "mode": mode}
    config = as_config(small_config(tmp_path, train__lr_scheduler=plateau))
    optimizer = make_optimizer([torch.nn.Parameter(torch.zeros(1))], config.train)
    scheduler = make_scheduler(optimizer, config.train)
    for _ in range(2):
        step_scheduler(scheduler, loss=1.0, score=score, validates=validates)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 0.1**reductions)


def test_plateau_that_waits_for_a_growing_loss_is_refused(tmp_path):
    plateau = {"name": "ReduceLROnPlateau", "mode": "max"}
    with pytest.raises(ConfigError, match="needs a score to watch"):
        Trainer(small_config(tmp_path, train__lr_scheduler=plateau)).train()


class Sabotaged(torch.nn.Module):
    """A loss that fails from a given call on: in its value, or only in its gradient."""

    def __init__(self, kind: str, calls: range) -> None:
        super().__init__()
        self.kind, self.calls, self.n = kind, calls, 0

    def forward(self, y_pred, y_obs, sample_ids=None):
        self.n += 1
        loss = MseLoss()(y_pred, y_obs)
        if self.n not in self.calls:
            return loss
        if self.kind == "loss":
            return loss * float("nan")
        zero = (y_pred * 0).sum().clamp(min=0)
        return loss + torch.sqrt(zero)  # finite, with an infinite slope times zero behind it


@pytest.mark.parametrize("optimizer", ["Adam", "LBFGS"])
@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_a_batch_that_is_not_finite_is_skipped_and_not_counted(tmp_path, kind, optimizer):
    config = small_config(tmp_path, train__epochs=1, train__iterations=3, train__optimizer={"name": optimizer})
    calls = range(2, 3) if optimizer == "Adam" else range(2, 4)
    trainer = Trainer(config, loss_func=Sabotaged(kind, calls))
    trainer.train()
    rows = log_rows(tmp_path)
    good = [float(r["loss"]) for r in rows if np.isfinite(float(r["loss"])) and np.isfinite(float(r["grad_norm"]))]
    assert trainer.training.guard.total >= 1
    assert len(good) == 3 - trainer.training.guard.total
    assert trainer.training.losses[1] == pytest.approx(np.mean(good), rel=1e-5)
    assert torch.isfinite(weights(trainer)).all()


@pytest.mark.parametrize("kind", ["loss", "gradient"])
def test_too_many_bad_batches_end_the_run(tmp_path, kind):
    config = small_config(tmp_path, train__iterations=5, train__max_bad_batches=3)
    trainer = Trainer(config, loss_func=Sabotaged(kind, range(1, 99)))
    before = weights(trainer)
    with pytest.raises(RunError, match="3 minibatches in a row") as caught:
        trainer.train()
    assert "epoch 1, batch 3, sites s" in str(caught.value)
    assert "train.grad_clip" in str(caught.value)
    assert torch.equal(before, weights(trainer))
    assert [row["batch"] for row in log_rows(tmp_path)] == ["1", "2", "3"]


def test_guard_forgives_after_a_good_batch():
    guard = NonFiniteGuard(2)
    for _ in range(3):
        guard.count(NonFinite("the loss is nan"), 1, 1, None)
        guard.count(None, 1, 2, None)
    assert (guard.in_a_row, guard.total) == (0, 3)


def test_gradient_is_clipped(tmp_path):
    optimizer = {"name": "SGD"}
    changes = {"train__epochs": 1, "train__iterations": 1, "train__optimizer": optimizer, "train__lr": 1.0}
    moved = {}
    for limit in (0.0, 1e-5):
        torch.manual_seed(0)
        trainer = Trainer(small_config(tmp_path, train__grad_clip=limit, **changes), write_out=False)
        before = weights(trainer)
        trainer.train()
        moved[limit] = (weights(trainer) - before).norm().item()
    assert moved[0.0] > 2e-5
    assert moved[1e-5] == pytest.approx(1e-5, rel=0.05)


VALID = {"start_time": "2000/08/01", "end_time": "2000/10/31"}


def test_validation_stops_early_and_keeps_the_best(tmp_path, monkeypatch):
    scores = iter([0.1, 0.5, 0.4, 0.3, 0.2])
    monkeypatch.setattr("dmg.trainers.evaluate.median_nse", lambda *_: next(scores))
    config = small_config(tmp_path, valid={**VALID, "patience": 2}, train__epochs=9, train__save_epoch=100)
    trainer = Trainer(config)
    trainer.train()
    model_dir = tmp_path / "out/model"
    assert trainer.training.epoch == 4
    assert read_best(model_dir) == trainer.model.epoch == 2
    # Those of epoch 1, the best until epoch 2, are gone; those of the end are kept.
    assert sorted(p.name for p in model_dir.glob("hbv*")) == ["hbv_ep2.safetensors", "hbv_ep4.safetensors"]
    assert choose_epoch(model_dir, ["Hbv"]) == 2
    best = ModelHandler(config)
    best.load_model(2)
    assert all(torch.equal(a, b) for a, b in zip(best.parameters(), trainer.model.parameters(), strict=True))
    assert json.loads((tmp_path / "out/run.json").read_text())["training"]["stopped_early"] is True


def test_validation_score_is_the_median_over_training_sites(tmp_path):
    config = small_config(tmp_path, valid={**VALID, "every": 2}, test__holdout_sites=["s0"])
    trainer = Trainer(config)
    trainer.train()
    assert list(trainer.training.scores) == [2]
    # The same period, tested: the scores of the trained sites have this median.
    tested = small_config(tmp_path, test__holdout_sites=["s0"])
    tested["test"] |= VALID
    again = Trainer(tested, trainer.model, write_out=False)
    again.model.load_model(2, tmp_path / "out/model")
    summary = again.evaluate()["held"]["streamflow"]
    assert summary["trained"]["nse"]["n"] == 4
    assert summary["trained"]["nse"]["median"] == pytest.approx(trainer.training.scores[2], abs=1e-5)


def test_fine_tuning_starts_from_weights_and_statistics(tmp_path):
    Trainer(small_config(tmp_path)).train()
    first = tmp_path / "out/model"
    # Other training years have other statistics: the fine-tuned run must keep the pretrained ones.
    config = small_config(
        tmp_path,
        output_dir=str(tmp_path / "tuned"),
        pretrained_model_dir=str(first),
        train__start_time="2000/05/01",
        train__epochs=1,
        train__lr=1e-12,
    )
    trainer = Trainer(config)
    trainer.train()
    pretrained = ModelHandler(config)
    pretrained.load_model(3, first)
    old = torch.cat([p.detach().flatten() for p in pretrained.parameters()])
    torch.testing.assert_close(weights(trainer), old, rtol=0, atol=1e-9)
    statistics = json.loads((first / "normalization_statistics.json").read_text())
    assert trainer.loader.normalisation.statistics["prcp"] == statistics["prcp"]


def test_published_weights_are_read_without_executing_code(tmp_path):
    config = small_config(tmp_path)
    handler = ModelHandler(config)
    folder = tmp_path / "published"
    folder.mkdir()
    torch.save(handler.models["Hbv"].state_dict(), folder / "hbv_ep7.pt")
    assert choose_epoch(folder, ["Hbv"]) == 7
    other = ModelHandler(config)
    other.load_model(7, folder)
    assert all(torch.equal(a, b) for a, b in zip(handler.parameters(), other.parameters(), strict=True))


def test_missing_weights_say_what_there_is(tmp_path):
    config = small_config(tmp_path, mode="test")
    with pytest.raises(RunError, match="there are no weights of Hbv") as caught:
        Trainer(config).evaluate()
    assert "pretrained_model_dir" in str(caught.value)
    Trainer(small_config(tmp_path)).train()
    with pytest.raises(RunError, match="no weights of epoch 9") as caught:
        Trainer(small_config(tmp_path, mode="test", test__test_epoch=9)).evaluate()
    assert "epochs 1, 2, 3" in str(caught.value)


def test_given_parts_are_used(tmp_path):
    config = small_config(tmp_path, train__epochs=1)
    reference = Trainer(config, write_out=False)
    plain = dict(reference.train_dataset)
    model = ModelHandler(config)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    trainer = Trainer(config, model, plain, optimizer=optimizer, loss_func=MseLoss(), write_out=False)
    before = weights(trainer)
    trainer.train()
    assert isinstance(trainer.train_dataset, Batch)
    assert trainer.optimizer is optimizer
    assert torch.equal(before, weights(trainer))
    # get_parameters leaves the module's own method alone.
    model.get_parameters()
    assert len(list(model.parameters())) == len(model.state_dict())


def test_losses_scale_by_the_training_period_without_its_warmup(tmp_path):
    store = small_store()
    store["streamflow"][:31] = 1e6  # January, the warm-up before the training period
    trainer = Trainer(small_config(tmp_path, store), write_out=False)
    losses = trainer._make_losses(trainer.train_dataset)
    target = trainer.train_dataset["target"][10:]
    spread = np.nanstd(target[:, 0, 0].numpy())
    found = losses["streamflow"](target[:, :1] + 1, target[:, :1], sample_ids=np.array([0]))
    assert found.item() == pytest.approx(1 / (spread + 0.1) ** 2, rel=1e-4)


def test_full_disk_ends_training_and_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    config = small_config(tmp_path)
    replace = os.replace

    def full(source, target):
        if "ep2" in str(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match="disk is full"):
        Trainer(config).train()
    names = {p.name for p in (tmp_path / "out/model").iterdir()}
    assert names == {"hbv_ep1.safetensors", "normalization_statistics.json", "trainer_state_ep1.safetensors"}


def test_progress_is_quiet_without_a_terminal(capsys):
    with progress(3, "epoch 1/1") as bar:
        bar.update(3)
    assert capsys.readouterr().err == ""


def test_progress_is_quiet_where_the_environment_says_so(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with progress(3, "epoch 1/1") as bar:
        bar.refresh()
    assert capsys.readouterr().err == ""


def test_progress_shows_loss_and_remaining_time_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress(10, "epoch 1/1") as bar:
        bar.update(5)
        bar.set_postfix_str("loss 0.5000")
        bar.refresh()
    shown = capsys.readouterr().err
    assert "loss 0.5000" in shown
    assert "5/10" in shown
    assert "<" in shown  # elapsed<remaining
