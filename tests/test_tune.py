"""A search draws what it is told to, prunes, survives interruptions and leaves a configuration."""

import csv
import time

import pytest
import yaml
from small_run import no_plots, small_config  # noqa: F401 (fixtures)

from dmg.cli import main
from dmg.conf.config import as_config
from dmg.conf.tune import Space, Tune
from dmg.core.tune import Search, apply_parameters
from dmg.errors import ConfigError, RunError
from dmg.trainers.checkpoint import find_checkpoints
from dmg.trainers.train import Training

optuna = pytest.importorskip("optuna")

SPACE = {
    "train.lr": {"low": 0.001, "high": 0.1, "log": True},
    "model.nn.hidden_size": [3, 4],
    "model.phy.dynamic_params": [{"Hbv": ["parBETA"]}, {"Hbv": []}],
}


def tune_config(folder, **changes):
    given = {
        "mode": "train",
        "do_tune": True,
        "valid": {"start_time": "2000/09/01", "end_time": "2000/10/31"},
        "tune__space": SPACE,
        "tune__trials": 3,
        "tune__startup": 1,
        "train__epochs": 2,
        "train__iterations": 1,
    }
    return small_config(folder, **given | changes)


def table(folder):
    with (folder / "out/trials.csv").open() as handle:
        return list(csv.DictReader(handle))


def run(folder, config, *words):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return main(["--config-name", str(path), *words])


def test_the_command_searches_and_leaves_the_best_settings(tmp_path, capsys):
    assert run(tmp_path, tune_config(tmp_path)) == 0
    rows = table(tmp_path)
    assert sorted(row["trial"] for row in rows) == ["0", "1", "2"]
    scores = [float(row["score"]) for row in rows if row["score"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0.001 <= float(row["train.lr"]) <= 0.1 for row in rows)
    assert "train with it: dmg --config-name" in capsys.readouterr().out
    best = yaml.safe_load((tmp_path / "out/best.yaml").read_text())
    assert best["train"]["lr"] == pytest.approx(float(rows[0]["train.lr"]))
    assert best["model"]["phy"]["dynamic_params"] in SPACE["model.phy.dynamic_params"]
    assert best["do_tune"] is False
    as_config(best)
    trained = yaml.safe_load((tmp_path / f"out/trials/{int(rows[0]['trial']):03d}/config.yaml").read_text())
    assert trained["model"]["nn"]["hidden_size"] == int(rows[0]["model.nn.hidden_size"])

    # Called again it has nothing to do, and with more trials it goes on without drawing anything twice.
    assert run(tmp_path, tune_config(tmp_path)) == 0
    assert run(tmp_path, tune_config(tmp_path), "tune.trials=4") == 0
    assert len({row["train.lr"] for row in table(tmp_path)}) == 4


_set_state = optuna.storages.RDBStorage.set_trial_state_values


def _deaf_to_failure(self, trial_id, state, values=None):
    return state is not optuna.trial.TrialState.FAIL and _set_state(self, trial_id, state, values)


class Killed(BaseException):
    """Nothing in the program catches it."""


@pytest.mark.parametrize("end", [Killed, KeyboardInterrupt])
def test_a_trial_that_was_broken_off_is_taken_up_where_it_was(tmp_path, monkeypatch, end):
    end_epoch, calls = Training._end_epoch, []

    def killed(self, loss):
        scalars = end_epoch(self, loss)
        calls.append(self.epoch)
        if len(calls) == 3:
            raise end
        return scalars

    # The data base says that the trial still runs, as it does after kill -9.
    if end is Killed:
        monkeypatch.setattr(optuna.storages.RDBStorage, "set_trial_state_values", _deaf_to_failure)
    monkeypatch.setattr(Training, "_end_epoch", killed)
    config = tune_config(tmp_path, tune__trials=2, tune__pruner="none")
    if end is Killed:
        with pytest.raises(Killed):
            run(tmp_path, config)
    else:
        assert run(tmp_path, config) == 130
    monkeypatch.undo()
    monkeypatch.setattr("dmg.trainers.trainer.draw_loss", lambda *_: None)
    assert calls == [1, 2, 1]
    assert list(find_checkpoints(tmp_path / "out/trials/001/model")) == [1]
    (before,) = (row for row in _trials(tmp_path) if row["state"] == ("running" if end is Killed else "fail"))

    epochs = []
    monkeypatch.setattr(Training, "_end_epoch", lambda self, loss: epochs.append(self.epoch) or end_epoch(self, loss))
    assert run(tmp_path, config) == 0
    assert epochs == [2]
    rows = [row for row in _trials(tmp_path) if row["state"] == "complete"]
    assert [row["trial"] for row in rows] in ([0, 1], [1, 0])
    (after,) = (row for row in rows if row["trial"] == 1)
    assert after["train.lr"] == before["train.lr"]


def _trials(folder):
    return Search(Tune(space=SPACE), folder / "out").table()


def test_a_trial_worse_than_the_others_is_pruned(tmp_path):
    search = Search(Tune(space={"x": [1, 2, 3]}, trials=4, startup=2, warmup_epochs=0), tmp_path, seed=0)
    epochs = []

    def objective(number, parameters, report):
        for epoch in range(1, 4):
            epochs.append((number, epoch))
            report(epoch, -float(number))
        return -float(number)

    search.run(objective)
    assert [t.state.name for t in search.study.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "PRUNED"]
    assert [e for e in epochs if e[0] >= 2] == [(2, 1), (3, 1)]
    assert search.best.number == 0


def test_training_that_fails_is_a_failed_trial_unless_all_do(tmp_path):
    def fails(number, parameters, report):
        raise RunError("the loss is not finite")

    search = Search(Tune(space={"x": [1, 2]}, trials=3, startup=2), tmp_path, seed=0)
    with pytest.raises(RunError, match="the first 2 trials failed"):
        search.run(fails)
    with pytest.raises(RunError, match="no trial was finished"):
        _ = search.best


@pytest.mark.parametrize("space", [{"low": 2, "high": 1}, {"low": 0, "high": 1, "log": True}, [], {"low": 1}])
def test_a_space_that_has_no_values_is_refused(space):
    with pytest.raises((ConfigError, ValueError), match=r"range|choices"):
        Space.model_validate(space)


def test_blocks_of_a_space_may_be_nested():
    nested = {"train": {"lr": {"low": 0.1, "high": 0.2}}, "model": {"nn": {"hidden_size": [1, 2]}}}
    assert set(Tune(space=nested).space) == {"train.lr", "model.nn.hidden_size"}
    assert apply_parameters({"train": {"lr": 1}}, {"train.lr": 2, "model.nn.x": 3}) == {
        "train": {"lr": 2},
        "model": {"nn": {"x": 3}},
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"valid": None}, "there is no block 'valid'"),
        ({"tune__space": {}}, "tune.space, which is empty"),
        ({"tune__space": {"train.lrr": [1, 2]}}, "unknown key 'train.lrr'"),
        ({"mode": "test"}, "do_tune: true trains, and mode is test"),
    ],
)
def test_a_search_that_cannot_be_scored_is_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        as_config(tune_config(tmp_path, **changes))


def test_optuna_absent_says_what_to_install(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match=r"dmg\[tune\]"):
        Search(Tune(space={"x": [1]}), tmp_path)


def test_searches_that_share_a_data_base_leave_each_other_their_trials(tmp_path):
    settings = Tune(space={"x": [1, 2]}, trials=1, storage=f"sqlite:///{tmp_path}/both.db")
    one, two = (Search(settings, tmp_path / name, seed=0) for name in ("one", "two"))
    running = one.study.ask()
    for key, value in (("number", 0), ("place", one.place)):
        running.set_user_attr(key, value)
    two.run(lambda number, parameters, report: 0.5)
    assert [t.state.name for t in one.study.trials] == ["RUNNING", "COMPLETE"]
    assert len(one.done) == 1


def test_the_documented_search_is_a_configuration(tmp_path, monkeypatch):
    import re
    from pathlib import Path

    from dmg.conf.compose import compose

    page = Path(__file__).parents[1] / "docs" / "training_at_scale.md"
    (text,) = re.findall(r"```yaml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    (tmp_path / "tune.yaml").write_text(text)
    nested = "tune.space.train.batch_size=[16,32]"
    config = as_config(compose(str(tmp_path / "tune.yaml"), None, [f"output_dir={tmp_path}", nested]))
    assert set(config.tune.space) == {"train.lr", "model.nn.hidden_size", "model.nn.dropout", "train.batch_size"}


def test_a_budget_of_cpu_time_holds_over_several_calls(tmp_path):
    def search():
        return Search(Tune(space={"x": [1, 2, 3]}, trials=50, cpu_timeout=0.2 / 3600), tmp_path, seed=0)

    def objective(number, parameters, report):
        begin = time.process_time()
        while time.process_time() - begin < 0.15:
            pass
        return parameters["x"]

    search().run(objective)
    assert [row["cpu_seconds"] >= 0.15 for row in search().table()] == [True, True]
    search().run(objective)
    assert len(search().table()) == 2, "what earlier calls took counts"
