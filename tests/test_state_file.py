"""The full state in a file: a run goes on in another process where this one ended, and nowhere else."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from small_run import no_plots, small_config, small_store  # noqa: F401 (fixture)
from state_cases import NAMES, SITES, coupled, first_half

import dmg
from dmg.errors import DataError, RunError
from dmg.models.fingerprint import fingerprint, first_difference
from dmg.models.full_state import FullState
from dmg.models.model_handler import ModelHandler
from dmg.testing import step_models
from dmg.trainers import Trainer
from hydrodl2.models.hbv.hbv import Hbv

HERE = Path(__file__).parent
SAVED = "Hbv-fused-LstmModel"


@pytest.fixture(scope="module")
def halves(tmp_path_factory):
    """Return the folder of all states, and the second halves of uninterrupted runs; a new process went on."""
    folder = tmp_path_factory.mktemp("states")
    expected = {name: first_half(name, folder) for name in NAMES}
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(HERE / "state_cases.py"), str(folder)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, expected


@pytest.mark.parametrize("name", NAMES)
def test_a_new_process_goes_on_exactly(halves, name):
    folder, expected = halves
    found = load_file(folder / f"{name}.after.safetensors")
    assert found.keys() == expected[name].keys()
    for output, values in expected[name].items():
        # The networks multiply matrices of other shapes in a shorter run: rounding, amplified by the stores.
        torch.testing.assert_close(found[output], values, rtol=1e-9, atol=1e-10, msg=lambda m, n=output: f"{n}: {m}")


def test_the_file_is_named_and_typed(halves):
    folder, _ = halves
    path = folder / f"{SAVED}.state.safetensors"
    with safe_open(path, framework="pt") as handle:
        about, names = handle.metadata(), set(handle.keys())
    assert (about["format"], about["version"]) == ("dmg-state", "1")
    process = json.loads(about["fingerprint"])["models"]["model"]["process"]
    assert process["class"] == "Hbv"
    assert ["parBETA", [1.0, 6.0, "-"]] in process["parameters"]
    assert {f"/models/model/stores/{s.name}" for s in Hbv.states} < names
    assert "/models/model/routing/streamflow" in names
    state = FullState.load(path)
    assert state.sites == SITES
    assert state.next_time == np.datetime64("2001-01-24")
    assert state.models["model"].process.stores["SM"].dtype == torch.float64


def rewritten(path, tmp_path, **about):
    """Return a copy of a state file with a changed header."""
    with safe_open(path, framework="pt") as handle:
        metadata = handle.metadata() | about
    save_file(load_file(path), tmp_path / "changed.safetensors", metadata=metadata)
    return tmp_path / "changed.safetensors"


def test_truncated_foreign_and_newer_files_are_refused(halves, tmp_path):
    path = halves[0] / f"{SAVED}.state.safetensors"
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match="not a whole file of states"):
        FullState.load(cut)
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(RunError, match="holds no states"):
        FullState.load(tmp_path / "foreign.safetensors")
    with pytest.raises(RunError, match="has version 2, this program reads version 1"):
        FullState.load(rewritten(path, tmp_path, version="2"))
    with pytest.raises(RunError, match="no file of states"):
        FullState.load(tmp_path / "none.safetensors")
    with safe_open(path, framework="pt") as handle:
        header = handle.metadata()["state"].replace('{"list": ["a", "b", "c"]}', '{"list": ["a", "b"]}')
    with pytest.raises(RunError, match="names 2 sites and holds numbers of 3"):
        FullState.load(rewritten(path, tmp_path, state=header))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"nmul": 4}, "model: process: components is 2 in the file, 4 in the model"),
        ({"dynamic_params": {"Hbv": ["parFC"]}}, "parameters: parBETAET is in the file, not in the model"),
        ({"dynamic_params": {"Hbv": ["parFC", "parBETAET"]}}, "dynamic is parBETA, parK0"),
        ({"routing": False}, "routing is"),
    ],
)
def test_a_state_of_another_model_is_refused_with_the_first_difference(halves, config, message):
    state = FullState.load(halves[0] / f"{SAVED}.state.safetensors")
    names = [p.name for p in Hbv.parameter_table]
    model, _ = coupled(SAVED)
    model.phy_model = Hbv({"nmul": 2, "dynamic_params": {"Hbv": names[::2]}} | config)
    with pytest.raises(RunError, match=message) as raised:
        state.require(fingerprint({"model": model}))
    assert "load_state_path" in str(raised.value)


def test_fingerprints_differ_by_what_they_name():
    a = {"models": {"m": {"x": [["k", [1, 2, "d"]]], "n": 1}}}
    assert first_difference(a, a) is None
    changes = {
        "m: x: k is 1, 2, d in the file, 1, 3, d in the model": {"x": [["k", [1, 3, "d"]]], "n": 1},
        "m: n is 1 in the file, 2 in the model": {"x": [["k", [1, 2, "d"]]], "n": 2},
        "m: y is in the model, not in the file": {"x": [["k", [1, 2, "d"]]], "y": 0, "n": 1},
        "m: n is in the file, not in the model": {"x": [["k", [1, 2, "d"]]]},
    }
    for text, changed in changes.items():
        assert first_difference(a, {"models": {"m": changed}}) == text
    ordered = ({"p": [["a", []], ["b", []]]}, {"p": [["b", []], ["a", []]]})
    assert first_difference(*ordered) == "the order of p is another"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the folder of a trained run."""
    folder = tmp_path_factory.mktemp("trained")
    Trainer(small_config(folder, train__epochs=1)).train()
    return folder


def test_prediction_goes_on_from_a_state(trained, tmp_path):
    run = dmg.load_run(trained / "out")
    store = small_store()
    whole, end = run.predict(store, return_state=True, outputs=["streamflow", "SM"])
    first, state = run.predict(store.isel(time=slice(0, 200)), return_state=True, outputs=["streamflow", "SM"])
    path = state.save(tmp_path / "state.safetensors")
    order = [3, 0]
    for later in (store.isel(time=slice(200, None), site=order), store.isel(site=order)):
        second, after = run.predict(later, state=path, return_state=True, outputs=["streamflow", "SM"])
        assert second.time.values[0] == state.next_time
        for name in ("streamflow", "SM"):
            joined = np.concatenate([first[name].values[:, order], second[name].values])
            np.testing.assert_allclose(joined, whole[name].values[:, order], rtol=1e-4, atol=1e-4)
        assert after.time == end.time == store.time.values[-1]
    step = run.predict(store.isel(time=slice(200, 201)), state=state)
    xr.testing.assert_allclose(step.SWE, run.predict(store).SWE.isel(time=[190]), rtol=1e-4)


def test_a_prediction_refuses_a_state_that_does_not_fit(trained):
    run = dmg.load_run(trained / "out")
    store = small_store()
    _, state = run.predict(store.isel(time=slice(0, 200)), return_state=True)
    with pytest.raises(DataError, match="the states are those after 2000-07-18"):
        run.predict(store.isel(time=slice(201, None)), state=state)
    other = store.isel(time=slice(200, None)).assign_coords(site=["s0", "x", "s2", "s3", "s4"])
    with pytest.raises(DataError, match="no saved state of 1 sites: x"):
        run.predict(other, state=state)
    hourly = state.next_time + np.arange(30).astype("timedelta64[h]")
    with pytest.raises(DataError, match="steps of 1 day"):
        run.predict(store.isel(time=slice(0, 30)).assign_coords(time=hourly + np.timedelta64(1, "h")), state=state)


def test_a_simulation_refuses_the_state_of_another_network(trained, tmp_path):
    run = dmg.load_run(trained / "out")
    _, state = run.predict(small_store().isel(time=slice(0, 200)), return_state=True)
    state.save(tmp_path / "state.safetensors")
    path = str(tmp_path / "state.safetensors")
    config = small_config(trained, mode="sim", load_state_path=path, model__nn__hidden_size=9)
    model = ModelHandler(config)
    model.epoch = 1
    with pytest.raises(RunError, match=r"network: weights: linear_in.weight is 8, 5 in the file, 9, 5 in the model"):
        Trainer(config, model, write_out=False).inference()
    assert not (trained / "out/sim").exists()


def test_other_weights_are_noticed(trained, caplog):
    run = dmg.load_run(trained / "out")
    store = small_store()
    _, state = run.predict(store.isel(time=slice(0, 200)), return_state=True)
    with torch.no_grad():
        next(run.model.parameters()).add_(0.1)
    run.predict(store.isel(time=slice(200, 210)), state=state)
    assert "made with other weights" in caplog.text


def test_every_registered_process_model_with_memory_is_among_the_cases():
    without = {"LeafBiochemistry", "LeafPhotosynthesis"}
    assert {name.split("-")[0] for name in NAMES} == set(step_models()) - without
