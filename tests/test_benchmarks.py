"""What the documentation says was measured is what was measured last."""

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def benchmark(name):
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def suite():
    return benchmark("suite")


@pytest.fixture(scope="module")
def calibration():
    return benchmark("calibration")


@pytest.mark.parametrize("name", ["engine", "national", "photosynthesis", "bmi"])
def test_documentation_has_the_saved_figures_of_every_case_that_was_measured(name):
    suite = benchmark(name).SUITE
    results = suite.load()
    assert list(results) == [case for case in suite.cases if case in results] != []
    for case in results:
        for figure in suite.cases[case].figures:
            met = figure.met(results[case].get(figure.key))
            assert results[case]["met"].get(figure.key) == met
    assert benchmark("page").shown(name) == suite.table(results)


@pytest.mark.parametrize("name", benchmark("experiments").TABLES)
def test_documentation_has_the_table_of_every_experiment_that_was_run(name):
    experiments = benchmark("experiments")
    results = experiments.RESULTS / f"{name}.json"
    if results.exists():
        assert benchmark("page").shown(name) == experiments.table(name, json.loads(results.read_text("utf-8")))


def test_targets(suite):
    most, least = suite.Figure("a", "", "s", at_most=2), suite.Figure("a", "", "×", at_least=2)
    none = suite.Figure("a", "", "s")
    assert [most.met(v) for v in (2.0, 2.1, None)] == [True, False, None]
    assert [least.met(v) for v in (2.0, 1.9, None)] == [True, False, None]
    assert none.met(1.0) is None
    assert (most.target, least.target, none.target) == ("≤ 2 s", "≥ 2 ×", "")


def test_table_says_what_was_missed_and_leaves_out_what_was_not_measured():
    engine = benchmark("engine").SUITE
    line = {"case": "memory", "extra_mb": 40.0, "machine": "m", "date": "d"}
    text = engine.table({"memory": line})
    assert "| 40 MB (missed) | ≤ 32 MB |" in text
    line = {"case": "published", "speedup": 1286.0, "machine": "m", "date": "d"}
    assert "| 1290 × |" in engine.table({"published": line})
    assert "hydrodl2" not in text


def test_calibration_reached_its_target_and_stands_in_the_documentation(calibration):
    results = json.loads(calibration.RESULTS.read_text(encoding="utf-8"))
    assert [result["model"] for result in results] == list(calibration.MODELS)
    assert all(result["nse_held_out"] >= 0.75 for result in results)
    assert calibration.page.shown("calibration") == calibration.table(results)


def test_the_delaware_stands_in_the_documentation():
    delaware = benchmark("delaware")
    results = json.loads(delaware.RESULTS.read_text(encoding="utf-8"))
    assert [result["variant"] for result in results] == list(delaware.VARIANTS)
    assert delaware.page.shown("delaware") == delaware.table(results)


def test_a_short_calibration_fits_years_it_has_not_seen(calibration):
    if not calibration.DATA.exists():
        pytest.skip("the example catchments are not beside the project")
    found = calibration.calibrate("Hymod", starts=16, iterations=50)
    assert found["nse_held_out"] > 0.7
    assert found["starts_within_0.01"] > 4


def test_camels_run_reached_its_target_within_its_hour_and_stands_in_the_documentation():
    result = json.loads((ROOT / "benchmarks" / "results" / "camels_531_mingru.json").read_text(encoding="utf-8"))
    assert result["sites"] == 531
    assert result["median_nse"]["last"] >= 0.71
    assert result["cpu_minutes"] <= 2 * 60
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    shown = "**{last:.3f}** / {held:.3f}".format(**result["median_nse"])
    assert shown in page
    assert f"| {result['cpu_minutes']:g} min |" in page


def test_summary_of_a_run_reads_its_learning_curve(tmp_path):
    camels = benchmark("camels")
    about = {"seed": 1, "started": "2020-01-02T03", "git": {"dmg": "abc"}, "timings": {"train_s": 4.0}}
    about["training"] = {"epochs": 2, "batches_per_epoch": 2}
    (tmp_path / "run.json").write_text(json.dumps(about))
    found = {name: {"median": 0.5, "n": 3} for name in camels.METRICS}
    (tmp_path / "metrics_aggregate.json").write_text(json.dumps({"last": {"streamflow": {"all": found}}}))
    (tmp_path / "training_log.csv").write_text("epoch,batch,loss\n1,1,4\n1,2,2\n2,1,1\n2,2,2\n")
    result = camels.summary(tmp_path)
    assert result["loss_by_epoch"] == [3.0, 1.5]
    assert (result["sites"], result["minibatches"], result["median_nse"]) == (3, 4, {"last": 0.5})


@pytest.mark.slow
def test_networks_are_searched_trained_and_drawn_and_nothing_is_done_twice(tmp_path, capsys):
    pytest.importorskip("optuna")
    from dmg.core.data.dataset import write_dataset
    from hydrodl2.data.sample import generate_sample

    networks = benchmark("networks")
    write_dataset(generate_sample(sites=4, start="1988-01-01", end="2008-12-31"), tmp_path / "store.nc")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment/two.yaml").write_text("defaults: [networks, _self_]\nonly: [gru, dhbv_mingru]\n")
    overrides = [f"observations.data_path={tmp_path / 'store.nc'}", "observations.subset_path=null", "model.rho=30"]
    overrides += ["model.warmup=30", "model.phy.nmul=1", "train.iterations=1", "train.epochs=2", "train.batch_size=4"]
    tiny = [*overrides, "tune.space={train.lr: {low: 0.001, high: 0.01}}"]
    networks.search(tmp_path, "two", 1e-3, tiny)
    chosen = json.loads((tmp_path / "chosen.json").read_text())
    assert list(chosen) == ["gru", "dhbv_mingru"]
    assert all(found["trials"] >= 1 and 0.0005 <= found["train.lr"] <= 0.02 for found in chosen.values())
    trials = (tmp_path / "search/gru/trials.csv").read_text()
    networks.search(tmp_path, "two", 1e-3, tiny)
    assert (tmp_path / "search/gru/trials.csv").read_text() == trials
    with pytest.raises(SystemExit) as ended:
        networks.train(tmp_path, "two", [*overrides, "train.save_epoch=1"])
    assert ended.value.code == 0
    curves = (tmp_path / "runs/learning_curves.csv").read_text()
    assert [line.rpartition(",")[0].split(",")[0:2] for line in curves.splitlines()[1:3]] == [
        ["GRU", "1"],
        ["GRU", "2"],
    ]
    assert "δHBV 1.0" in curves
    assert (tmp_path / "runs/figures/learning_curves.png").is_file()


def test_network_inside_the_step_met_its_target_and_stands_in_the_documentation():
    coupling = benchmark("coupling")
    result = json.loads(coupling.RESULTS.read_text(encoding="utf-8"))
    assert all(result[name]["times_both"] <= coupling.AT_MOST for name in coupling.ACTIVATIONS)
    assert all(result[name]["gradient_difference"] < 1e-12 for name in coupling.ACTIVATIONS)
    assert benchmark("page").shown("coupling") == coupling.table(result)


def test_implicit_model_met_its_target_and_stands_in_the_documentation():
    implicit = benchmark("implicit")
    result = json.loads(implicit.RESULTS.read_text(encoding="utf-8"))
    assert result["met"]
    assert result["times_both"] <= implicit.AT_MOST
    assert implicit.page.shown("implicit") == implicit.table(result)


def test_documentation_has_the_saved_epochs_of_several_processes():
    ddp = benchmark("ddp")
    saved = json.loads(ddp.RESULTS.read_text(encoding="utf-8"))
    assert ddp.page.shown("ddp") == ddp.table(saved)


def test_a_simulation_of_units_costs_as_much_as_there_are_units():
    results = benchmark("national").SUITE.load()
    each = [results[case]["us_per_unit"] for case in ("simulation_20k", "simulation_60k", "simulation")]
    assert max(each) < 1.2 * min(each)
