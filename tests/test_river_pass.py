"""Simulations of units through their river: streamed, in memory, by themselves, killed and resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from small_units import AREAS, EDGES, GAUGES, UNITS, unit_store, units_config

from dmg import FullState, ModelHandler, as_config
from dmg.cli import main
from dmg.core.data.loaders import MsHydroLoader
from dmg.errors import DmgError
from dmg.trainers import MsTrainer
from dmg.trainers.river_pass import RiverPass
from dmg.trainers.simulation_plan import SimulationPlan
from hydrodl2.routing import MuskingumCunge, RiverNetwork

ROUTERS = {
    "unrouted": {"model__phy__routing": False},
    "hydrograph": {"model__phy__routing": True},
    "river": {"model__phy__router": "MuskingumCunge"},
}
DOWN = RiverNetwork.of_edges([tuple(edge) for edge in EDGES], UNITS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Weights of each router, which nobody trained, with the statistics of the data."""
    root = tmp_path_factory.mktemp("river")
    for name, router in ROUTERS.items():
        config = as_config(units_config(root, output_dir=str(root / name), **router))
        torch.manual_seed(0)
        _ = MsHydroLoader(config).train_dataset
        ModelHandler(config).save_model(1)
    return root


@pytest.fixture
def small_pieces(monkeypatch):
    """Chunks of two units and 35 days, pieces of the river of 8 days."""
    monkeypatch.setattr(
        SimulationPlan, "within", lambda m, e, sites, times, w, g=1: SimulationPlan(sites, times, 2, 35)
    )
    monkeypatch.setattr(SimulationPlan, "together", property(lambda self: (8, 2)))
    monkeypatch.setattr(RiverPass, "costs", (0.0, 2e8))


def sim(folder, name, out, **changes):
    """Return the configuration of a simulation with the weights of a router."""
    given = {"mode": "sim", "pretrained_model_dir": str(folder / name / "model"), "output_dir": str(out)}
    return units_config(folder, **ROUTERS[name] | {"model__outputs": ["SM"]} | given | changes)


def stored(out):
    return xr.open_zarr(out / "sim/simulation.zarr").load()


@pytest.mark.parametrize("name", ROUTERS)
def test_streamed_and_in_memory_are_one(folder, tmp_path, small_pieces, name):
    MsTrainer(sim(folder, name, tmp_path / "stream")).inference()
    MsTrainer(sim(folder, name, tmp_path / "memory", sim__max_memory=None)).inference()
    found, whole = stored(tmp_path / "stream"), xr.load_dataset(tmp_path / "memory/sim/simulation.nc")
    assert set(found.data_vars) == set(whole.data_vars)
    for variable in whole.data_vars:
        np.testing.assert_allclose(found[variable], whole[variable], rtol=1e-5, atol=1e-6, err_msg=variable)
        assert {"units", "long_name"} <= set(found[variable].attrs)
    assert (found["discharge"].std("time") > 0.01).all()
    assert found["discharge"].attrs == whole["discharge"].attrs
    assert found["discharge"].attrs["units"] == "m3 s-1"
    assert found["discharge"].attrs["standard_name"] == "water_volume_transport_in_river_channel"
    at = [xr.load_dataset(tmp_path / f"{kind}/sim/gauges.nc") for kind in ("stream", "memory")]
    xr.testing.assert_allclose(*at, rtol=1e-5)
    assert at[0]["site"].values.tolist() == list(GAUGES)
    discharge = found["discharge"].sel(site=list(GAUGES.values())).values
    np.testing.assert_allclose(at[0]["discharge"], discharge, rtol=1e-6)
    areas = DOWN.accumulate(AREAS)[[UNITS.index(unit) for unit in GAUGES.values()]]
    np.testing.assert_allclose(at[0]["streamflow"], discharge / areas * 86.4, rtol=1e-5)
    assert sorted(path.name for path in (tmp_path / "stream/sim").iterdir()) == ["gauges.nc", "simulation.zarr"]


def test_the_river_of_a_store_is_that_of_one_piece(folder, tmp_path, small_pieces):
    MsTrainer(sim(folder, "river", tmp_path)).inference()
    found, store = stored(tmp_path), unit_store()
    inflow = torch.from_numpy((found["streamflow"].values * AREAS / 86.4).astype(np.float32))
    parameters = {n: torch.from_numpy(found[n].values) for n in ("n", "q_spatial", "p_spatial")}
    router = MuskingumCunge(DOWN, store["reach"].values, store["bed"].values, nonnegative=True)
    with torch.no_grad():
        discharge, _ = router(inflow, parameters)
    np.testing.assert_allclose(found["discharge"], discharge, rtol=1e-5)
    assert found["n"].attrs["units"]
    assert (found["n"] > 0.015).all()


def test_unrouted_discharge_is_the_runoff_of_all_upstream(folder, tmp_path):
    MsTrainer(sim(folder, "unrouted", tmp_path)).inference()
    found = stored(tmp_path)
    expected = [DOWN.accumulate(row) for row in found["streamflow"].values * AREAS / 86.4]
    np.testing.assert_allclose(found["discharge"], expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["hydrograph", "river"])
def test_what_a_gauge_sees_is_what_the_model_was_trained_to_say(folder, tmp_path, name):
    """The state of a run at gauges starts a simulation of units: the same flow, routing included."""
    config = as_config(sim(folder, name, tmp_path, mode="test"))
    batch = MsHydroLoader(config).eval_dataset
    model = MsTrainer(config)
    model.load_weights()
    handler = model.model
    whole = handler(batch, eval=True, static="held", outputs=["streamflow"])["Hbv_2"]["streamflow"][..., 0]
    handler(batch.select(times=slice(0, 30)), eval=True, static="held", outputs=["streamflow"])
    state = FullState.join(
        [handler.get_states()],
        batch["upstream"].sites,
        time=batch.times[29],
        step=np.timedelta64(1, "D"),
        fingerprint=handler.fingerprint,
    )
    state.save(tmp_path / "state.safetensors")
    period = {"sim__start_time": "2001/04/16", "sim__end_time": "2001/04/30"}
    given = {"load_state_path": str(tmp_path / "state.safetensors")} | period
    MsTrainer(sim(folder, name, tmp_path / "s", **given)).inference()
    at = xr.load_dataset(tmp_path / "s/sim/gauges.nc")
    assert at["time"].values[0] == batch.times[30]
    np.testing.assert_allclose(at["streamflow"], whole[15:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["hydrograph", "river"])
def test_a_river_goes_on_where_another_simulation_ended(folder, tmp_path, name, capsys):
    MsTrainer(sim(folder, name, tmp_path / "whole")).inference()
    first = {"sim__end_time": "2001/03/15", "cache_states": True}
    MsTrainer(sim(folder, name, tmp_path / "a", **first)).inference()
    state = str(tmp_path / "a/model_states.safetensors")
    given = {"sim__start_time": "2001/03/16", "load_state_path": state}
    MsTrainer(sim(folder, name, tmp_path / "b", **given)).inference()
    MsTrainer(sim(folder, name, tmp_path / "c", sim__max_memory=None, **given)).inference()
    rest = stored(tmp_path / "b")["discharge"]
    whole = stored(tmp_path / "whole")["discharge"].sel(time=rest["time"])
    np.testing.assert_allclose(rest, whole, rtol=1e-5)
    np.testing.assert_allclose(xr.load_dataset(tmp_path / "c/sim/simulation.nc")["discharge"], whole, rtol=1e-5)
    again = ["route", str(tmp_path / "b"), "overwrite=true", f"load_state_path={state}"]
    assert main(again) == 0
    np.testing.assert_array_equal(stored(tmp_path / "b")["discharge"], rest)
    assert main([*again[:1], str(tmp_path / "whole"), *again[2:]]) == 1
    said = "the state is that after 2001-03-15T00:00, and the simulation begins at 2001-02-01T00:00"
    assert said in capsys.readouterr().err


def test_an_interrupted_river_goes_on_without_repeating_a_piece(folder, tmp_path, small_pieces, monkeypatch):
    MsTrainer(sim(folder, "river", tmp_path / "whole")).inference()
    run, pieces = RiverPass.run, []

    def failing(self, runoff, parameters, history):
        if len(pieces) == 4:
            raise KeyboardInterrupt
        pieces.append(runoff.copy())
        return run(self, runoff, parameters, history)

    config = sim(folder, "river", tmp_path / "s", cache_states=True)
    monkeypatch.setattr(RiverPass, "run", failing)
    with pytest.raises(KeyboardInterrupt):
        MsTrainer(config).inference()
    assert not (tmp_path / "s/sim/simulation.zarr").exists()
    assert not (tmp_path / "s/sim/gauges.nc").exists()
    before = len(np.concatenate(pieces))
    pieces.clear()
    with pytest.raises(KeyboardInterrupt):
        MsTrainer(config).inference()
    np.testing.assert_array_equal(pieces[0][0], stored(tmp_path / "whole")["streamflow"].values[before])
    monkeypatch.undo()
    MsTrainer(config).inference()
    np.testing.assert_array_equal(stored(tmp_path / "s")["discharge"], stored(tmp_path / "whole")["discharge"])
    state = FullState.load(tmp_path / "s/model_states.safetensors")
    assert state.models["Hbv_2"].process.routing["streamflow"].shape == (1, len(UNITS))


def test_a_stored_simulation_is_routed_by_itself(folder, tmp_path, capsys, small_pieces, monkeypatch):
    MsTrainer(sim(folder, "river", tmp_path / "whole")).inference()
    alone = sim(folder, "river", tmp_path / "s", observations__topology_path=None)
    MsTrainer(alone).inference()
    assert "discharge" not in stored(tmp_path / "s")
    run = str(tmp_path / "s")
    assert main(["route", run]) == 2
    assert "nothing says which unit drains into which" in capsys.readouterr().err
    network = f"observations.topology_path={folder / 'network.json'}"
    route, pieces = RiverPass.run, []

    def failing(self, runoff, parameters, history):
        if len(pieces) == 3:
            raise KeyboardInterrupt
        pieces.append(runoff)
        return route(self, runoff, parameters, history)

    with monkeypatch.context() as interrupted:
        interrupted.setattr(RiverPass, "run", failing)
        assert main(["route", run, network]) == 130
    assert "interrupted; run the same command again" in capsys.readouterr().err
    assert "discharge" not in stored(tmp_path / "s")
    assert main(["route", run, network]) == 0
    assert capsys.readouterr().out == f"results: {tmp_path / 's/sim/simulation.zarr'}\n"
    xr.testing.assert_allclose(stored(tmp_path / "s"), stored(tmp_path / "whole"), rtol=1e-6)
    at = [xr.load_dataset(tmp_path / f"{kind}/sim/gauges.nc") for kind in ("s", "whole")]
    xr.testing.assert_allclose(*at, rtol=1e-6)
    assert main(["route", run, network]) == 1
    assert "is routed already\n  hint: set overwrite=true to route it again" in capsys.readouterr().err
    assert main(["route", run, network, "overwrite=true"]) == 0
    assert sorted(path.name for path in (tmp_path / "s/sim").iterdir()) == ["gauges.nc", "simulation.zarr"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"observations__subbasin_area_name": None}, "nothing says what the areas of the units are"),
        ({"observations__reach_length_name": None}, "needs observations.reach_length_name"),
        ({"observations__topology_path": "nowhere.json"}, "no such file: nowhere.json"),
    ],
)
@pytest.mark.parametrize("max_memory", [4.0, None])
def test_a_river_that_lacks_something_is_refused_before_anything_is_simulated(
    folder, tmp_path, changes, text, max_memory
):
    with pytest.raises(DmgError, match=text):
        MsTrainer(sim(folder, "river", tmp_path, sim__max_memory=max_memory, **changes)).inference()
    assert not (tmp_path / "sim").exists()


def test_what_cannot_be_routed_is_said(folder, tmp_path, capsys):
    def route(*words):
        return main(["route", str(tmp_path), *words]), capsys.readouterr().err

    assert route() == (
        2,
        f"error: there is no config.yaml of a run\n  where: {tmp_path}\n  hint: give its output_dir\n",
    )
    MsTrainer(sim(folder, "river", tmp_path, observations__topology_path=None)).inference()
    network = f"observations.topology_path={folder / 'network.json'}"
    code, said = route(network, "sim_dir=elsewhere")
    assert code == 1
    assert "there is no simulation of units to route\n  where: elsewhere/simulation.zarr" in said
    code, said = route(network, "sim.max_memory=null")
    assert code == 2
    assert "where: sim.max_memory" in said
    store = tmp_path / "sim/simulation.zarr"
    group = zarr.open_group(store, mode="r+", zarr_format=2, use_consolidated=False)
    roughness = group["n"][:]
    group["n"][:] = np.where(np.arange(len(UNITS)) == 3, np.nan, roughness)
    code, said = route(network)
    assert code == 1
    assert "n of unit d is not finite, which would spoil everything downstream" in said
    group["n"][:] = roughness
    for path in (store / "streamflow").glob("[0-9]*"):
        path.write_bytes(b"no chunk")
    code, said = route(network)
    assert code == 1
    assert "the runoff cannot be read: RuntimeError" in said
    assert f"where: {store}\n  hint: the store is damaged" in said
    shutil.rmtree(store / "n")
    code, said = route(network)
    assert code == 1
    assert "the simulation has no n, without which it cannot be routed" in said
    assert "discharge" not in xr.open_zarr(store)
    assert not (tmp_path / "sim/gauges.nc").exists()


SCRIPT = """
import json, sys
from dmg.errors import DmgError
from dmg.trainers import MsTrainer
from dmg.trainers.river_pass import RiverPass
RiverPass.costs = 0.0, 1e15
MsTrainer(json.load(open(sys.argv[1]))).inference()
"""


@pytest.mark.slow
def test_a_killed_river_goes_on(folder, tmp_path):
    config = sim(folder, "river", tmp_path / "s")
    (tmp_path / "config.json").write_text(json.dumps(config))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "config.json")]
    state, kills = tmp_path / "s/sim/simulation.zarr.partial/simulation.zarr.river/state.safetensors", 0
    for _ in range(2):
        seen = state.stat().st_mtime_ns if state.exists() else 0
        child = subprocess.Popen(command)
        while child.poll() is None and not (state.exists() and state.stat().st_mtime_ns > seen):
            time.sleep(0.01)
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
            kills += 1
        child.wait()
    assert kills
    subprocess.run(command, check=True)
    MsTrainer(sim(folder, "river", tmp_path / "whole")).inference()
    np.testing.assert_array_equal(stored(tmp_path / "s")["discharge"], stored(tmp_path / "whole")["discharge"])
    assert not list((tmp_path / "s/sim").rglob("*.partial"))
