"""Experiment loggers record what they are given."""

import json
import sys

import pytest

from dmg.core.logging import NullLogger, TensorBoardLogger, get_exp_logger
from dmg.errors import ConfigError, UnknownNameError


def test_json_lines_hold_every_step(tmp_path):
    with get_exp_logger("json", log_dir=tmp_path / "log", config={"seed": 3}) as logger:
        logger.log_metrics({"Loss/train_total": 0.5, "learning_rate": 1e-3}, step=1)
        logger.log_metrics({"Loss/train_total": 0.25}, step=2)
        lines = [json.loads(line) for line in (tmp_path / "log/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert lines[0]["Loss/train_total"] == 0.5
    assert lines[0]["learning_rate"] == 1e-3
    assert json.loads((tmp_path / "log/config.json").read_text()) == {"seed": 3}


def test_a_second_logger_appends(tmp_path):
    for step in (1, 2):
        with get_exp_logger(log_dir=tmp_path) as logger:
            logger.log_metrics({"a": step}, step=step)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_run_that_continues_forgets_later_steps_and_half_lines(tmp_path):
    with get_exp_logger(log_dir=tmp_path) as logger:
        for step in (1, 2, 3):
            logger.log_metrics({"a": step}, step=step)
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 1, "a"')
    with get_exp_logger(log_dir=tmp_path) as logger:
        logger.keep_until(1)
        logger.log_metrics({"a": 20}, step=2)
    assert [json.loads(line)["a"] for line in path.read_text().splitlines()] == [1, 20]


def test_tensorboard_writes_the_scalars(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with get_exp_logger("tensorboard", log_dir=tmp_path, config={"seed": 3}) as logger:
        logger.log_metrics({"Loss/train_total": 0.5}, step=7)
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("Loss/train_total")
    assert [(e.step, e.value) for e in events] == [(7, 0.5)]


def test_tensorboard_forgets_later_steps_of_a_run_that_continues(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with get_exp_logger("tensorboard", log_dir=tmp_path) as logger:
        for step in (1, 2, 3):
            logger.log_metrics({"a": step}, step=step)
        logger.keep_until(1)
        logger.log_metrics({"a": 20}, step=2)
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("a")
    assert [(e.step, e.value) for e in events] == [(1, 1), (2, 20)]


def test_tensorboard_absent_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"dmg\[logging\]"):
        TensorBoardLogger(tmp_path)


@pytest.mark.parametrize("name", [None, "none"])
def test_no_logger_leaves_no_file(tmp_path, name):
    with get_exp_logger(name, log_dir=tmp_path / "log") as logger:
        logger.log_metrics({"a": 1.0}, step=1)
        logger.log_config({})
    assert isinstance(logger, NullLogger)
    assert list(tmp_path.iterdir()) == []


def test_unknown_logger_is_named():
    with pytest.raises(UnknownNameError, match="did you mean 'tensorboard'"):
        get_exp_logger("tensorbord")


def test_wandb_keeps_an_offline_run(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with get_exp_logger("wandb", log_dir=tmp_path, config={"seed": 41}) as logger:
        logger.log_metrics({"Loss/train_total": 0.53125}, step=7)
    (path,) = tmp_path.rglob("run-*.wandb")  # what `wandb sync` sends: records one after the other, uncompressed
    kept = path.read_bytes()
    assert b"Loss/train_total" in kept
    assert b"0.53125" in kept
    assert b"seed" in kept


def test_wandb_absent_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"dmg\[logging\]"):
        get_exp_logger("wandb", log_dir=tmp_path)
