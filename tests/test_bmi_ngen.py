"""The component under a host that follows the rules of ngen: steps, units, getters, mass balance, serialization."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bmi_case import NAMES, UNITS, trained, write_case
from ngen_host import NgenHost
from small_run import small_store

from dmg.bmi import DeltaModelBmi, DerivationBmi
from dmg.bmi.serialization import PREFIX
from dmg.errors import DataError, RunError

TYPE = "dmg.bmi.DeltaModelBmi"
SITES = ["s3", "s1"]
HOURLY = {"time_step_seconds": 3600}
RUNOFF = "land_surface_water__runoff_depth"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("bmi"))


def forcing(step, sites=SITES):
    values = small_store().sel(site=sites).isel(time=step % 400)
    return {name: values[v].values.astype(float) / UNITS[v] for v, name in NAMES.items()}


def drive(host, steps, sites=SITES, start=20):
    """Return every output after every step."""
    found = []
    for step in range(start, start + steps):
        host.step(forcing(step, sites))
        found.append(host.outputs())
    return {name: np.array([outputs[name] for outputs in found]) for name in found[0]}


@pytest.mark.parametrize("sites", [["s2"], SITES])
def test_a_component_keeps_the_rules(run, tmp_path, sites):
    host = NgenHost(TYPE, str(write_case(tmp_path, run, sites)))
    assert host.bmi.get_var_units(RUNOFF) == "m"
    pointer = host.bmi.get_value_ptr(RUNOFF)
    series = drive(host, 3, sites)
    assert pointer is host.bmi.get_value_ptr(RUNOFF)
    np.testing.assert_array_equal(pointer, series[RUNOFF][-1])
    assert host.bmi.get_current_time() == 3 * 86400.0
    flow = series["channel_exit_water_x-section__volume_flow_rate"]
    np.testing.assert_allclose(flow, series[RUNOFF] * 10.0e6 / 86400.0, rtol=1e-12)
    for name in host.bmi.get_input_var_names():
        np.testing.assert_array_equal(host.get(name), forcing(22, sites)[name])


def test_several_steps_at_once_keep_the_inputs_and_time_only_goes_forward(run, tmp_path):
    path = str(write_case(tmp_path, run, SITES))
    one, other = NgenHost(TYPE, path), NgenHost(TYPE, path)
    one.step(forcing(3), dt=3 * 86400.0)
    for _ in range(3):
        other.step(forcing(3))
    np.testing.assert_array_equal(one.get(RUNOFF), other.get(RUNOFF))
    assert one.bmi.get_current_time() == other.bmi.get_current_time() == 3 * 86400.0
    one.bmi.update_until(3 * 86400.0)
    for time in (2 * 86400.0, 3.5 * 86400.0):
        with pytest.raises(RunError, match="cannot go from 259200 s"):
            one.bmi.update_until(time)
    assert one.bmi.get_current_time() == 3 * 86400.0


@pytest.mark.parametrize(
    ("dtype", "tolerance", "settings", "spin_up"),
    [
        ("float64", 1e-14, HOURLY, 20),
        ("float64", 1e-14, {}, None),
        ("float32", 1e-6, HOURLY, None),
        ("float32", 1e-6, {}, 20),
    ],
)
def test_water_is_accounted_for_at_every_step_of_the_host(run, tmp_path, dtype, tolerance, settings, spin_up):
    host = NgenHost(TYPE, str(write_case(tmp_path, run, SITES, dtype=dtype, spin_up=spin_up, **settings)))
    assert host.imbalance().max() <= tolerance
    rained = 0.0
    began = host.get("ngen::mass_in")
    for step in range(50):
        supplied = forcing(20 + step)
        host.step(supplied)
        rained = rained + supplied[NAMES["prcp"]] / 1000 * (host.bmi.get_time_step() / 3600)
        assert host.imbalance().max() <= tolerance
    # What the bounds of stores add is water that enters, too.
    np.testing.assert_allclose(host.get("ngen::mass_in") - began, rained, rtol=1e-4)
    assert (host.get("ngen::mass_out") > 0).all()


def test_outputs_of_an_hourly_host_add_up_to_those_of_a_daily_one(run, tmp_path):
    daily = NgenHost(TYPE, str(write_case(tmp_path / "d", run, SITES)))
    hourly = NgenHost(TYPE, str(write_case(tmp_path / "h", run, SITES, **HOURLY)))
    days, hours = [daily.get(RUNOFF)], []
    for step in range(20, 24):
        daily.step(forcing(step))
        days.append(daily.get(RUNOFF))
        for _ in range(24):
            hourly.step(forcing(step))
            hours.append(hourly.get(RUNOFF))
    # A day is known when its last hour ends, which is the first of 24 that show it.
    np.testing.assert_allclose(np.sum(hours[:23], axis=0), days[0] * 23 / 24, rtol=1e-12)
    np.testing.assert_allclose(np.sum(hours[23:47], axis=0), days[1], rtol=1e-6)
    np.testing.assert_allclose(np.sum(hours[47:71], axis=0), days[2], rtol=1e-6)
    assert hourly.bmi.get_current_time() == 4 * 86400.0


def test_a_day_may_be_shown_in_the_hour_that_completes_it(run, tmp_path):
    daily = NgenHost(TYPE, str(write_case(tmp_path / "d", run, SITES, dtype="float64")))
    hourly = NgenHost(TYPE, str(write_case(tmp_path / "h", run, SITES, dtype="float64", show="end", **HOURLY)))
    # A rate times 24 hours, or times a day: the last bit may differ.
    np.testing.assert_allclose(hourly.get(RUNOFF), daily.get(RUNOFF), rtol=1e-15)
    for step in range(20, 22):
        daily.step(forcing(step))
        for hour in range(24):
            hourly.step(forcing(step))
            assert hourly.imbalance().max() <= 1e-14
            assert hourly.get(RUNOFF).any() == (hour == 23)
        np.testing.assert_allclose(hourly.get(RUNOFF), daily.get(RUNOFF), rtol=1e-6)
    other = NgenHost(TYPE, str(write_case(tmp_path / "r", run, SITES, dtype="float64", **HOURLY)))
    with pytest.raises(RunError, match="of other way of showing: end, here repeat"):
        other.restore(hourly.save())


@pytest.mark.slow
def test_a_restored_component_goes_on_bit_by_bit_in_another_process(run, tmp_path):
    path = write_case(tmp_path, run, SITES, clock="resume", **HOURLY)
    host = NgenHost(TYPE, str(path))
    drive(host, 30)  # with hourly steps in the second day
    host.bmi.set_value("slope", np.array([0.2, 0.7]))
    untouched = host.outputs()
    state = host.save()
    for name, values in host.outputs().items():
        np.testing.assert_array_equal(values, untouched[name])
    (tmp_path / "state.bin").write_bytes(state.tobytes())
    expected = drive(host, 25, start=50)
    subprocess.run([sys.executable, __file__, str(path), str(tmp_path)], check=True, cwd=Path(__file__).parent)
    found = np.load(tmp_path / "found.npz")
    assert found["time"] == host.bmi.get_current_time()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    for term in ("in", "out", "stored"):
        np.testing.assert_array_equal(found[term], host.get(f"ngen::mass_{term}"))


def continue_elsewhere(config: str, folder: str) -> None:
    """Go on from a state, as a new process of a host does."""
    host = NgenHost(TYPE, config)
    host.restore(np.fromfile(Path(folder) / "state.bin", dtype=np.uint8))
    series = drive(host, 25, start=50)
    series |= {term: host.get(f"ngen::mass_{term}") for term in ("in", "out", "stored")}
    np.savez(Path(folder) / "found.npz", time=host.bmi.get_current_time(), **series)


def test_a_hot_start_begins_at_zero_and_a_resumed_one_where_it_was(run, tmp_path):
    host = NgenHost(TYPE, str(write_case(tmp_path / "a", run, SITES)))
    drive(host, 5)
    state = host.save()
    for clock, expected in {"hot_start": 0.0, "resume": 5 * 86400.0}.items():
        restored = NgenHost(TYPE, str(write_case(tmp_path / clock, run, SITES, spin_up=None, clock=clock)))
        restored.restore(state)
        assert restored.bmi.get_current_time() == expected
        np.testing.assert_array_equal(restored.get(RUNOFF), host.get(RUNOFF))
        # The same from a file that the configuration names.
        (tmp_path / "state.bin").write_bytes(state.tobytes())
        path = write_case(
            tmp_path / f"{clock}_file", run, SITES, spin_up=None, clock=clock, state=str(tmp_path / "state.bin")
        )
        started = NgenHost(TYPE, str(path))
        assert started.bmi.get_current_time() == expected
        np.testing.assert_array_equal(started.get(RUNOFF), host.get(RUNOFF))


def test_one_state_is_forked_into_an_ensemble(run, tmp_path):
    host = NgenHost(TYPE, str(write_case(tmp_path / "a", run, SITES)))
    drive(host, 5)
    ensemble = NgenHost(TYPE, str(write_case(tmp_path / "b", run, SITES, spin_up=None, members=3)))
    ensemble.restore(host.save())
    assert ensemble.bmi.get_grid_size(0) == 6
    factors = np.repeat([0.5, 1.0, 2.0], 2)
    for step in range(25, 30):
        supplied = forcing(step)
        host.step(supplied)
        tiled = {name: np.tile(values, 3) for name, values in supplied.items()}
        tiled[NAMES["prcp"]] *= factors
        ensemble.step(tiled)
    members = ensemble.get(RUNOFF).reshape(3, 2)
    np.testing.assert_allclose(members[1], host.get(RUNOFF), rtol=1e-5)
    assert (members[0] < members[1]).all()
    assert (members[1] < members[2]).all()
    # An ensemble is restored as one, and one catchment of several.
    again = NgenHost(TYPE, str(write_case(tmp_path / "c", run, SITES[::-1], spin_up=None, members=3)))
    again.restore(ensemble.save())
    np.testing.assert_array_equal(again.get(RUNOFF).reshape(3, 2), members[:, ::-1])
    alone = NgenHost(TYPE, str(write_case(tmp_path / "d", run, ["s1"], spin_up=None)))
    alone.restore(host.save())
    np.testing.assert_array_equal(alone.get(RUNOFF), host.get(RUNOFF)[1:])


def damaged(state):
    flipped = state.copy()
    flipped[-5] ^= 1
    version = state.copy()
    version[8] = 99
    return {
        "truncated": state[:-10],
        "truncated or too": state[:40],
        "not the state": np.frombuffer(b"something else entirely", dtype=np.uint8),
        "not the state of": np.zeros(0, dtype=np.uint8),
        "checksum": flipped,
        "version 99": version,
    }


def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(run, tmp_path):
    host = NgenHost(TYPE, str(write_case(tmp_path / "a", run, SITES)))
    drive(host, 3)
    before, state = host.outputs(), host.save()
    for message, bad in damaged(state).items():
        with pytest.raises(RunError, match=message):
            host.restore(bad)
    host.bmi.set_value("ngen::serialization_size", np.array([state.size], dtype=np.int64))
    with pytest.raises(DataError, match=f"{state.size} bytes was announced, {state.size - 1} were given"):
        host.bmi.set_value("ngen::serialization_state", state[:-1])
    other = NgenHost(TYPE, str(write_case(tmp_path / "b", run, ["s0"])))
    with pytest.raises(DataError, match="no saved state of 1 sites: s0"):
        other.restore(state)
    hourly = NgenHost(TYPE, str(write_case(tmp_path / "c", run, SITES, **HOURLY)))
    with pytest.raises(RunError, match=r"other time step: 86400\.0, here 3600\.0"):
        hourly.restore(state)
    double = NgenHost(TYPE, str(write_case(tmp_path / "d", run, SITES, dtype="float64")))
    with pytest.raises(RunError, match="another precision"):
        double.restore(state)
    for name, values in host.outputs().items():
        np.testing.assert_array_equal(values, before[name])
    expected = NgenHost(TYPE, str(write_case(tmp_path / "e", run, SITES)))
    np.testing.assert_array_equal(drive(expected, 5)[RUNOFF][3:], drive(host, 2, start=23)[RUNOFF])


def test_a_state_of_another_model_is_refused(run, tmp_path):
    host = NgenHost(TYPE, str(write_case(tmp_path / "a", run, SITES)))
    other_run = trained(tmp_path, model__phy__nmul=3)
    other = NgenHost(TYPE, str(write_case(tmp_path / "b", other_run, SITES)))
    with pytest.raises(RunError, match="components is 2 in the file, 3 in the model"):
        other.restore(host.save())


def test_variables_of_the_protocol_lie_on_no_grid(run, tmp_path):
    host = NgenHost(TYPE, str(write_case(tmp_path, run, SITES)))
    units = {"create": "ngen::trigger", "free": "ngen::trigger", "size": "bytes", "state": "ngen::opaque"}
    for name, unit in units.items():
        assert host.bmi.get_var_units(f"ngen::serialization_{name}") == unit
        for ask in (host.bmi.get_var_grid, host.bmi.get_var_location):
            with pytest.raises(LookupError, match="no grid"):
                ask(f"ngen::serialization_{name}")


@pytest.mark.parametrize("component", [DeltaModelBmi, DerivationBmi])
def test_variables_of_the_protocol_are_there_before_the_component_is_initialized(component):
    bmi = component()
    assert bmi.get_var_units(f"{PREFIX}create") == "ngen::trigger"
    assert bmi.get_var_type(f"{PREFIX}state") == "uint8"
    assert bmi.get_value(f"{PREFIX}size", np.ones(1, np.int64)) == 0
    trigger = np.zeros(1, np.int32)
    bmi.set_value(f"{PREFIX}free", trigger)
    for name, value in (("create", trigger), ("state", np.zeros(9, np.uint8))):
        with pytest.raises(RunError, match="not initialized"):
            bmi.set_value(PREFIX + name, value)


if __name__ == "__main__":
    continue_elsewhere(*sys.argv[1:])
