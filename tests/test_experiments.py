"""Experiments: their runs, what is held out, what is done again, and the table."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
from safetensors.torch import load_file as read_weights
from small_run import SITES, no_plots, plots, small_config, small_store  # noqa: F401 (fixtures)

from dmg.cli import main
from dmg.conf.experiment import read_experiment
from dmg.core.calc.metrics import Metrics
from dmg.core.data.dataset import write_dataset
from dmg.core.data.samplers import HydroSampler
from dmg.errors import ConfigError
from dmg.experiments import make_plan

LSTM = {"model.phy": None, "model.nn.out_size": 1}
TINY = {
    "title": "Leaky buckets",
    "base": "base",
    "forcing": "made up",
    "models": {
        "lstm": {"label": "LSTM", "settings": LSTM},
        "hbv": {"label": "δHBV", "settings": {"train.lr": 0.02}},
    },
    "seeds": [1, 2],
    "ensembles": {"both": {"label": "LSTM + δHBV", "models": ["lstm", "hbv"]}},
    "metrics": ["nse", "kge"],
    "published": [
        {"label": "Theirs", "forcing": "other", "split": "elsewhere", "scores": {"nse": 0.5}, "sites": 9},
        {
            "label": "By site",
            "forcing": "other",
            "split": "elsewhere",
            "path": "theirs.csv",
            "site_column": "basin",
            "columns": {"nse": "NSE"},
        },
    ],
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a store, a configuration of a run and an experiment; what is changed in it is written anew."""
    monkeypatch.chdir(tmp_path)
    base = small_config(tmp_path, train__epochs=2, observations__data_path=str(tmp_path / "store.nc"))
    base.pop("output_dir")
    Path("base.yaml").write_text(yaml.safe_dump(base))
    Path("experiment").mkdir()

    def write(**changes):
        Path("experiment/tiny.yaml").write_text(yaml.safe_dump({**TINY, **changes}, sort_keys=False))

    write()
    return write


def run(*words):
    return main(["--config-path", ".", "experiment=tiny", *words])


def plan(*overrides, experiment=()):
    return make_plan(read_experiment("tiny", ".", experiment), "out", overrides, None, ".")


def rows(root="output/experiments/tiny"):
    with (Path(root) / "table.csv").open(encoding="utf-8") as handle:
        head, *lines = csv.reader(handle)
    return {line[0]: dict(zip(head[1:], line[1:], strict=True)) for line in lines}


def weights(member):
    (path,) = (Path(member.config.model_dir)).glob("hbv_ep2.safetensors")
    return read_weights(path)


# The runs.


def test_every_model_and_seed_is_a_run_with_its_settings(place):
    members = plan().members
    assert [m.name for m in members] == [
        "runs/lstm/seed_1", "runs/hbv/seed_1", "runs/lstm/seed_2", "runs/hbv/seed_2",
    ]  # fmt: skip
    assert [m.config.seed for m in members] == [1, 1, 2, 2]
    assert members[0].config.model.phy is None
    assert members[1].config.train.lr == 0.02
    assert members[1].config.name == "hbv"


def test_the_command_line_has_the_last_word(place):
    members = plan("train.lr=0.5", "model.phy.nmul=3", experiment=["seeds=[7]"]).members
    assert [m.config.train.lr for m in members] == [0.5, 0.5]
    assert members[0].config.model.phy is None  # what concerns a process model is nothing to a network alone
    assert members[1].config.model.phy.nmul == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["experiment=tiny", "seed=3"], "'seed' is chosen by the experiment"),
        (["experiment=tiny", "exp_name=x"], "'exp_name' is chosen by the experiment"),
        (["experiment=tinny"], "did you mean 'tiny'"),
        (["experiment=tiny", "experiment.seed=[1]"], "did you mean 'seeds'"),
        (["experiment=tiny", "experiment.only=[lstn]"], "did you mean 'lstm'"),
        (["experiment=tiny", "train.epoch=1"], "did you mean 'train.epochs'"),
        (["experiment=tiny", "mode=train"], "trains and tests; the mode is train"),
        (["experiment=tiny", "experiment=other"], "two experiments are named"),
        (["experiment=tiny", "experiment.splits=[{name: randon}]"], "did you mean 'random'"),
        (["experiment=tiny", "experiment.splits=[{name: random, fold: 2}]"], "did you mean 'folds'"),
        (["experiment=tiny", "experiment.splits=[{name: table}]"], "needs path, column"),
        (["experiment=tiny", "experiment.splits=[{name: random, folds: 9}]"], "5 sites cannot be divided into 9"),
    ],
)
def test_wrong_words_end_before_anything_runs(place, capsys, words, message):
    assert main(["--config-path", ".", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(Path("output").rglob("config.yaml")) if Path("output").exists() else True


def test_a_forcing_that_ends_too_early_is_refused_before_the_first_run(place, capsys):
    store = small_store()
    store["prcp"].values[370:] = np.nan
    write_dataset(store, Path("store.nc"))
    assert run() == 1
    assert "'prcp' ends on 2001-01-04 at every site, the period goes to 2001-02-03" in capsys.readouterr().err
    assert not list(Path("output").rglob("config.yaml"))


def test_config_show_tells_what_the_runs_share_and_what_each_has(place, capsys):
    words = ["experiment=tiny", "experiment.splits=[{name: random}]", "train.epochs=7"]
    assert main(["config", "show", "--config-path", ".", *words]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# 4 runs, each of them for every fold of the splits; `dmg experiment=tiny 'experiment.sp")
    shown = yaml.safe_load(text)
    assert shown["experiment"]["title"] == "Leaky buckets"
    assert shown["shared"]["train.epochs"] == 7
    assert list(shown["runs"]) == [m.name for m in plan().members]
    hbv = shown["runs"]["runs/hbv/seed_2"]
    assert (hbv["seed"], hbv["train.lr"], hbv["model.phy.nmul"]) == (2, 0.02, 2)
    assert shown["runs"]["runs/lstm/seed_1"]["model.phy"] is None
    assert not Path("output").exists()


# Table and figures.


def test_table_and_figures(place, capsys):
    Path("theirs.csv").write_text("basin,NSE\ns4,0.1\ns0,0.3\ns2,\n")
    assert run("experiment.published_dir=.") == 0
    shown = capsys.readouterr().out
    table = rows()
    labels = ["LSTM", "LSTM, ensemble", "δHBV", "δHBV, ensemble", "LSTM + δHBV", "Theirs", "By site"]
    assert list(table["forcing"]) == labels
    assert list(table["forcing"].values()) == ["made up"] * 5 + ["other"] * 2
    assert table["split"]["δHBV"] == "train 2000-02-01 to 2000-10-31, test 2000-11-01 to 2001-02-03"
    assert table["sites"] == dict(zip(labels, "5555593", strict=True))
    assert table["median nse"]["Theirs"] == "0.500"
    assert table["median nse"]["By site"] == "0.200"
    assert table["runs"]["LSTM + δHBV"] == "mean of 4 simulations"
    # What the table says is what the runs left.
    root = Path("output/experiments/tiny")
    found, medians = {}, []
    for model in ("lstm", "hbv"):
        for seed in (1, 2):
            folder = root / f"runs/{model}/seed_{seed}"
            found[model, seed] = xr.open_dataset(folder / "simulation.nc", engine="h5netcdf").load()
            scores = json.loads((folder / "metrics_aggregate.json").read_text())
            if model == "hbv":
                medians.append(scores["held"]["streamflow"]["all"]["nse"]["median"])
    assert table["median nse"]["δHBV"] == f"{np.mean(medians):.3f} ± {np.std(medians, ddof=1):.3f}"
    observed = found["hbv", 1]["streamflow_obs"].values.T
    mean = np.mean([d["streamflow"].values for d in found.values()], axis=0).T
    assert table["median nse"]["LSTM + δHBV"] == f"{np.median(Metrics(mean, observed).nse):.3f}"
    # By site: common are s0 and s4, s2 has no score.
    assert "median nse at the 3 sites in common" in table
    text = (root / "table.md").read_text(encoding="utf-8")
    assert text in shown
    assert text.startswith("# Leaky buckets\n")
    assert "Made with dmg" in text
    links = re.findall(r"\[(\S+?)\]\((\S+?)\)", text)
    assert [name for name, _ in links] == ["lstm/seed_1", "hbv/seed_1", "lstm/seed_2", "hbv/seed_2"]
    assert all((root / path).is_file() for _, path in links)
    figures = {path.name for path in (root / "figures").iterdir()}
    assert {"cdf_nse.png", "map_nse_lstm.png", "map_nse_both.png", "map_nse_hbv_ensemble.png"} <= figures
    scores = (root / "site_scores.csv").read_text(encoding="utf-8").splitlines()
    assert scores[0] == "label,site,nse,kge"
    assert len(scores) == 1 + 5 * 5 + 3


@pytest.mark.parametrize(("folder", "text"), [("nowhere", "no folder of published scores"), (".", "theirs.csv")])
def test_published_scores_that_are_not_there_are_refused_before_the_first_run(place, capsys, folder, text):
    assert run(f"experiment.published_dir={folder}") == 1
    assert text in capsys.readouterr().err
    assert not Path("output/experiments/tiny/runs").exists()


def test_published_scores_by_site_are_left_out_without_their_folder(place):
    assert run("experiment.seeds=[1]", "experiment.only=[lstm]", "train.epochs=1") == 0
    table = rows()
    assert list(table["forcing"]) == ["LSTM", "Theirs"]
    text = Path("output/experiments/tiny/table.md").read_text(encoding="utf-8")
    assert "By site: left out, experiment.published_dir does not say where theirs.csv is" in text
    assert "Not finished: 1 of 2 runs (runs/hbv/seed_1)" in text


# Interruption.


@pytest.fixture
def drawn(monkeypatch):
    """Count the minibatches, and interrupt at one of them if asked to."""
    draw = HydroSampler.get_training_sample

    class Drawn:
        count, interrupt_at = 0, 0

    def counted(self, *arguments):
        Drawn.count += 1
        if Drawn.count == Drawn.interrupt_at:
            raise KeyboardInterrupt
        return draw(self, *arguments)

    monkeypatch.setattr(HydroSampler, "get_training_sample", counted)
    return Drawn


def test_what_is_finished_is_not_done_again_and_what_was_interrupted_continues(place, drawn, capsys):
    words = ["experiment.only=[hbv]", "output_dir=whole"]
    assert run(*words) == 0
    assert drawn.count == 8  # two seeds, two epochs of two minibatches
    # The second run is interrupted in its second epoch.
    drawn.count, drawn.interrupt_at = 0, 8
    words[1] = "output_dir=parts"
    assert run(*words) == 130
    assert "the same command continues" in capsys.readouterr().err
    drawn.count, drawn.interrupt_at = 0, 0
    assert run(*words) == 0
    assert drawn.count == 2  # one epoch of the second run
    assert scores("parts") == scores("whole")
    for one, other in zip(*(make_members(root) for root in ("whole", "parts")), strict=True):
        assert all((a == weights(other)[key]).all() for key, a in weights(one).items())
    # Everything is finished: nothing is trained, the table is written anew.
    drawn.count = 0
    (Path("parts") / "table.csv").unlink()
    assert run(*words) == 0
    assert drawn.count == 0
    assert scores("parts") == scores("whole")


def scores(root):
    """Return the table without what a clock says."""
    return {name: row for name, row in rows(root).items() if not name.startswith("CPU minutes")}


def make_members(root):
    experiment = read_experiment("tiny", ".")
    return make_plan(experiment, root, (), None, ".").of("hbv")


def test_other_settings_are_not_mixed_with_what_is_there(place, capsys):
    words = ["experiment.only=[lstm]", "experiment.seeds=[1]", "train.epochs=1"]
    assert run(*words) == 0
    assert run(*words, "train.lr=0.3") == 1
    message = capsys.readouterr().err
    assert "runs/lstm/seed_1 was run with other settings: train.lr" in message
    assert "overwrite=true" in message
    assert run(*words, "train.lr=0.3", "overwrite=true") == 0


# Learning curves.


def test_learning_curves_are_taken_from_the_saved_weights_once(place, monkeypatch):
    words = ["experiment.curves=true", "experiment.only=[hbv]", "train.save_epoch=1", "output_dir=curves"]
    assert run(*words) == 0
    with Path("curves/learning_curves.csv").open() as handle:
        points = list(csv.DictReader(handle))
    assert [(p["label"], p["epoch"]) for p in points] == [("δHBV", "1"), ("δHBV", "2")]
    seconds = [float(p["cpu_s"]) for p in points]
    assert 0 < seconds[0] < seconds[1]
    # The last point is what the table has of the finished runs.
    assert rows("curves")["median nse"]["δHBV"].startswith(f"{float(points[1]['nse']):.3f} ±")
    assert float(rows("curves")["CPU minutes of a training"]["δHBV"]) == pytest.approx(seconds[1] / 60, abs=0.05)
    assert Path("curves/figures/learning_curves.png").is_file()
    assert "δHBV: best median NSE" in Path("curves/table.md").read_text()

    def refuse(*_, **__):
        raise AssertionError("scored again")

    monkeypatch.setattr("dmg.experiments.learning_curve.simulate_sites", refuse)
    assert run(*words) == 0


# What is held out.

FOLDS = "experiment.splits=[{name: random, folds: 2, seed: 4}]"


def test_every_site_is_held_out_once(place):
    members = plan(experiment=[FOLDS.removeprefix("experiment."), "only=[hbv]", "seeds=[1]"]).of("hbv")
    assert [m.name for m in members] == ["runs/hbv/fold_0/seed_1", "runs/hbv/fold_1/seed_1"]
    from dmg.core.data.loaders import HydroLoader

    loaders = [HydroLoader(m.config) for m in members]
    held = [loader.eval_dataset.sites for loader in loaders]
    assert sorted(held[0] + held[1]) == SITES
    assert {len(sites) for sites in held} == {2, 3}
    for loader in loaders:
        assert set(loader.train_dataset.sites) == set(SITES) - set(loader.eval_dataset.sites)


def test_held_out_sites_change_nothing_in_training(place):
    words = [FOLDS, "experiment.only=[hbv]", "experiment.seeds=[1]"]
    assert run(*words, "output_dir=before") == 0
    table = rows("before")
    assert table["split"]["δHBV"].endswith("PUB in 2 folds")
    assert table["sites"]["δHBV"] == "5"
    with xr.open_dataset("before/runs/hbv/fold_0/seed_1/simulation.nc", engine="h5netcdf") as simulated:
        held = [str(site) for site in simulated["site"].values]
    store = small_store()
    for name in ("prcp", "pet", "streamflow", "area", "slope"):
        store[name].loc[{"site": held}] *= 3
    write_dataset(store, Path("store.nc"))
    assert run(*words, "output_dir=after") == 0
    one, other = (weights_of(Path(root) / "runs/hbv/fold_0/seed_1") for root in ("before", "after"))
    assert all((one[key] == other[key]).all() for key in one)
    statistics = [
        json.loads(Path(root, "runs/hbv/fold_0/seed_1/model/normalization_statistics.json").read_text())
        for root in ("before", "after")
    ]
    assert {k: v for k, v in statistics[0].items() if isinstance(v, list)} == {
        k: v for k, v in statistics[1].items() if isinstance(v, list)
    }
    # The other fold trains on them.
    one, other = (weights_of(Path(root) / "runs/hbv/fold_1/seed_1") for root in ("before", "after"))
    assert any((one[key] != other[key]).any() for key in one)


def weights_of(folder):
    (path,) = (folder / "model").glob("hbv_ep2.safetensors")
    return read_weights(path)


def test_an_experiment_is_a_file_anywhere(place, tmp_path):
    shutil.copy("experiment/tiny.yaml", tmp_path / "mine.yaml")
    experiment = read_experiment(str(tmp_path / "mine.yaml"), None, ["seeds=[5]"])
    assert experiment.seeds == [5]
    with pytest.raises(ConfigError, match="seeds: 5 is there twice"):
        read_experiment(str(tmp_path / "mine.yaml"), None, ["seeds=[5, 5]"])
