"""Simulations that stream through memory: the same numbers, within the memory, going on after a kill."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from small_units import UNITS, unit_store, units_config

from dmg import as_config
from dmg.core.data.dataset import write_dataset
from dmg.core.utils.peak_memory import PeakMemory
from dmg.errors import ConfigError, RunError
from dmg.trainers import MsTrainer, load_run
from dmg.trainers import stream as streaming
from dmg.trainers.simulation_plan import SimulationPlan

NAMES = ["streamflow", "SM", "AET_hydro"]
GIVEN = {"mode": "sim", "model__outputs": NAMES[1:], "cache_states": True}


@pytest.fixture
def trained(tmp_path):
    """Weights, the simulation in memory, and a plan of four chunks of sites and three of time."""
    MsTrainer(units_config(tmp_path)).train()
    config = units_config(tmp_path, sim__max_memory=None, output_dir=str(tmp_path / "whole"), **weights(tmp_path))
    trainer = MsTrainer(config)
    return trainer.inference(), trainer.simulation


def weights(folder, **more):
    return GIVEN | {"pretrained_model_dir": str(folder / "out/model")} | more


@pytest.fixture
def small_chunks(monkeypatch):
    def within(memory, each, n_sites, n_times, warmup, groups=1):
        assert each > 0
        assert memory > 0
        return SimulationPlan(n_sites, n_times, 2, 35)

    monkeypatch.setattr(SimulationPlan, "within", within)


@pytest.mark.usefixtures("small_chunks")
def test_chunks_are_what_the_whole_simulation_is(tmp_path, trained):
    whole, simulation = trained
    trainer = MsTrainer(units_config(tmp_path, suffix="zarr", output_dir=str(tmp_path / "s"), **weights(tmp_path)))
    found = trainer.inference()
    assert set(found) == set(whole) >= {*NAMES, "discharge", "route_a"}
    for name, values in simulation.series.items():
        np.testing.assert_allclose(found[name].values, values, rtol=1e-5, atol=1e-6)
    store = xr.open_zarr(tmp_path / "s/sim/simulation.zarr")
    assert store.site.values.tolist() == UNITS
    np.testing.assert_array_equal(store.time, simulation.times)
    assert store["SM"].attrs["units"] == "mm"
    assert not (tmp_path / "s/sim/simulation.zarr.partial").exists()
    from dmg import FullState

    states = [FullState.load(tmp_path / f"{folder}/model_states.safetensors") for folder in ("s", "whole")]
    assert states[0].sites == UNITS
    stores = [state.models["Hbv_2"].process.stores["SM"] for state in states]
    torch.testing.assert_close(*stores, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("small_chunks")
def test_an_interrupted_simulation_goes_on_without_repeating_a_chunk(tmp_path, trained, monkeypatch):
    whole, _ = trained
    config = units_config(tmp_path, output_dir=str(tmp_path / "s"), **weights(tmp_path))
    calls, run = [], streaming.simulate_sites

    def failing(model, dataset, *args, **kwargs):
        if len(calls) == 6:
            raise KeyboardInterrupt
        calls.append((tuple(dataset.sites), dataset.times[-1]))
        return run(model, dataset, *args, **kwargs)

    monkeypatch.setattr(streaming, "simulate_sites", failing)
    with pytest.raises(KeyboardInterrupt):
        MsTrainer(config).inference()
    assert not (tmp_path / "s/sim/simulation.zarr").exists()
    done = calls[3:]  # the first ones measure
    calls.clear()
    with pytest.raises(KeyboardInterrupt):
        MsTrainer(config).inference()
    assert not set(done) & set(calls)
    monkeypatch.setattr(streaming, "simulate_sites", run)
    found = MsTrainer(config).inference()
    np.testing.assert_allclose(found["SM"].values, whole["SM"][..., 0], rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("small_chunks")
def test_unfinished_results_of_another_simulation_are_kept(tmp_path, trained, monkeypatch):
    config = units_config(tmp_path, output_dir=str(tmp_path / "s"), **weights(tmp_path))
    run = streaming.simulate_sites
    monkeypatch.setattr(streaming.Stream, "run_chunk", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        MsTrainer(config).inference()
    monkeypatch.undo()
    assert streaming.simulate_sites is run
    other = units_config(tmp_path, output_dir=str(tmp_path / "s"), **weights(tmp_path, model__outputs=["SUZ"]))
    with pytest.raises(RunError, match="unfinished results of another simulation; different: outputs"):
        MsTrainer(other).inference()
    found = set(MsTrainer({**other, "overwrite": True}).inference())
    assert {"SUZ", "streamflow"} <= found
    assert "SM" not in found
    assert load_run(tmp_path / "s").simulation["SUZ"].dims == ("time", "site")


def test_a_state_starts_a_simulation_that_streams(tmp_path, trained):
    whole, simulation = trained
    first = weights(tmp_path, sim__end_time="2001/03/15", output_dir=str(tmp_path / "a"))
    MsTrainer(units_config(tmp_path, **first)).inference()
    rest = weights(tmp_path, sim__start_time="2001/03/16", output_dir=str(tmp_path / "b"))
    rest["load_state_path"] = str(tmp_path / "a/model_states.safetensors")
    found = MsTrainer(units_config(tmp_path, **rest)).inference()
    length = found["SM"].shape[0]
    assert simulation.times[-length] == np.datetime64("2001-03-16")
    np.testing.assert_allclose(found["SM"].values, whole["SM"][-length:, :, 0], rtol=1e-5, atol=1e-6)


def test_what_cannot_stream_is_said(tmp_path, trained, monkeypatch):
    bfi = units_config(tmp_path, output_dir=str(tmp_path / "s"), **weights(tmp_path, model__outputs=["BFI", "gwflow"]))
    with pytest.raises(ConfigError, match="BFI is a number of the whole simulation"):
        MsTrainer(bfi).inference()
    last = units_config(tmp_path, output_dir=str(tmp_path / "s"), **weights(tmp_path, model__static="last"))
    assert "SM" in MsTrainer(last).inference()  # static parameters of this network follow from attributes
    monkeypatch.setattr("dmg.models.delta_models.DplModel.has_constant_statics", False)
    with pytest.raises(ConfigError, match="static parameters of the last step of the period are not known"):
        MsTrainer({**last, "overwrite": True}).inference()
    tight = units_config(tmp_path, output_dir=str(tmp_path / "s"), sim__max_memory=0.05, **weights(tmp_path))
    with pytest.raises(ConfigError, match="are too little for a simulation"):
        MsTrainer(tight).inference()
    with pytest.raises(ConfigError, match=r"sim\.workers are processes of this machine"):
        as_config(units_config(tmp_path, sim__workers=2))
    with pytest.raises(ConfigError, match="shares out a simulation that streams"):
        as_config(units_config(tmp_path, sim__scheduler="local", sim__max_memory=None))


def test_a_scheduler_that_is_not_there_is_named_before_anything_is_written(tmp_path, trained, monkeypatch):
    away = {"output_dir": str(tmp_path / "s"), "sim__scheduler": "tcp://127.0.0.1:9"}
    config = units_config(tmp_path, **weights(tmp_path, **away))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "distributed", None)
        with pytest.raises(ConfigError, match="Dask is not installed"):
            MsTrainer(config).inference()
    assert not (tmp_path / "s").exists()
    pytest.importorskip("distributed")
    monkeypatch.setattr("dmg.trainers.distribute.TIMEOUT", "1s")
    with pytest.raises(ConfigError, match=r"there is no scheduler at tcp://127\.0\.0\.1:9"):
        MsTrainer(config).inference()
    assert not (tmp_path / "s").exists()


def test_a_damaged_plan_is_named(tmp_path, trained):
    config = units_config(tmp_path, output_dir=str(tmp_path / "s"), **weights(tmp_path))
    partial = tmp_path / "s/sim/simulation.zarr.partial"
    partial.mkdir(parents=True)
    (partial / "plan.json").write_text('{"plan": {"sites": 3}}')
    with pytest.raises(RunError, match="the plan of an unfinished simulation is damaged"):
        MsTrainer(config).inference()
    assert "SM" in MsTrainer({**config, "overwrite": True}).inference()


@pytest.mark.parametrize("memory", [1e6, 1e8, 1e10])
@pytest.mark.parametrize(("sites", "times", "warmup"), [(7, 30, 0), (5000, 365, 365), (180000, 7300, 730)])
def test_a_plan_keeps_within_the_memory(memory, sites, times, warmup):
    plan = SimulationPlan.within(memory, 2000.0, sites, times, warmup, groups=64)
    assert 1 <= plan.sites <= sites
    assert 1 <= plan.steps <= times
    fits = plan.sites * (plan.steps + warmup) * 2000.0 <= memory
    assert fits or plan.sites == 1
    covered = [plan.columns(k) for k in range(plan.site_chunks)]
    assert (covered[0].start, covered[-1].stop) == (0, sites)
    assert [w.stop for w in plan.windows()][-1] == times


def test_memory_of_tensors_is_counted_while_they_live():
    with PeakMemory() as memory:
        a = torch.zeros(1000)
        b = a + 1
        del a
        c = (b * 2).reshape(10, 100)
        assert c is not None
    assert memory.peak == 8000
    assert memory.now == 8000
    with PeakMemory() as memory:
        d = c[:, :50]
    assert (memory.peak, d.shape) == (0, (10, 50))


SCRIPT = """
import sys, json
sys.path.insert(0, sys.argv[2])
from dmg.trainers.simulation_plan import SimulationPlan
SimulationPlan.within = lambda memory, each, n_sites, n_times, warmup, groups=1: SimulationPlan(n_sites, n_times, 1, 5)
from dmg.trainers import MsTrainer
MsTrainer(json.load(open(sys.argv[1]))).inference()
print("finished")
"""


@pytest.mark.slow
def test_a_killed_simulation_goes_on(tmp_path, trained):
    whole, _ = trained
    config = units_config(tmp_path, output_dir=str(tmp_path / "s"), **weights(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "config.json"), str(Path(__file__).parent)]
    states = tmp_path / "s/sim/simulation.zarr.partial/states"
    kills = 0
    for at_least in (1, 4):
        child = subprocess.Popen(command, stdout=subprocess.PIPE)
        while child.poll() is None and len(list(states.glob("*.safetensors"))) < at_least:
            pass
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.communicate()
    assert kills
    assert b"finished" in subprocess.run(command, capture_output=True, check=True).stdout
    found = xr.open_zarr(tmp_path / "s/sim/simulation.zarr")
    np.testing.assert_allclose(found["SM"].values, whole["SM"][..., 0], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed(tmp_path, trained):
    distributed = pytest.importorskip("distributed")
    whole, _ = trained
    many = xr.concat([unit_store().assign_coords(site=[f"{u}{k}" for u in UNITS]) for k in range(20)], "site")
    write_dataset(many, tmp_path / "many.zarr")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
    ) as cluster:
        given = {"output_dir": str(tmp_path / "s"), "sim__scheduler": cluster.scheduler_address}
        given |= {"observations__topology_path": None, "observations__gauge_path": None}
        given["observations__data_path"] = str(tmp_path / "many.zarr")
        config = units_config(tmp_path, **weights(tmp_path, **given))
        states = tmp_path / "s/sim/simulation.zarr.partial/states"
        killer = subprocess.Popen(
            [sys.executable, "-c", KILLER, str(states), str(next(iter(cluster.workers.values())).pid)]
        )
        original = SimulationPlan.within
        SimulationPlan.within = staticmethod(
            lambda m, e, n_sites, n_times, w, g=1: SimulationPlan(n_sites, n_times, 5, 9)
        )
        try:
            found = MsTrainer(config).inference()
        finally:
            SimulationPlan.within = original
        assert killer.wait(60) == 0
    for k in range(20):
        values = found["SM"].sel(site=[f"{u}{k}" for u in UNITS]).values
        np.testing.assert_allclose(values, whole["SM"][..., 0], rtol=1e-5, atol=1e-6)


KILLER = """
import os, signal, sys, time
from pathlib import Path
for _ in range(1200):
    if len(list(Path(sys.argv[1]).glob("*"))) > 2:
        os.kill(int(sys.argv[2]), signal.SIGKILL)
        sys.exit(0)
    time.sleep(0.05)
sys.exit(1)
"""
