"""A formula as a BMI component: what it asks for, what it shows, and when."""

import numpy as np
import pytest
import yaml
from bmi_case import NAMES, read
from ngen_host import NgenHost

from dmg.bmi import DerivationBmi
from dmg.errors import ConfigError, DataError, RunError, UnknownNameError
from hydrodl2.calc.pet import hargreaves

PET = NAMES["pet"]
CASE = {
    "derive": "pet_hargreaves",
    "start_time": "2001/07/15",  # day 196
    "time_step_seconds": 3600,
    "catchments": [{"id": "a", "lat": 45.72}, {"id": "b", "lat": -10.0}],
}


def component(folder, **changes):
    path = folder / "pet.yaml"
    path.write_text(yaml.safe_dump(CASE | changes))
    made = DerivationBmi()
    made.initialize(str(path))
    return made


def drive(bmi, temperatures):
    shown = []
    for values in temperatures:
        bmi.set_value(NAMES["tmean"], values)
        bmi.update()
        shown.append(read(bmi, PET))
    return np.array(shown)


def two_days():
    """Temperatures of 48 hours at two places; the first day at the first is that of example 20 of FAO-56."""
    wave = np.sin(np.arange(48) / 24 * 2 * np.pi)[:, None]
    return np.array([20.7, 25.0]) + np.array([5.9, 4.0]) * wave / np.abs(wave).max()


@pytest.mark.parametrize(("show", "first"), [("end", 23), ("repeat", 0)])
def test_a_day_of_hargreaves_from_hours(tmp_path, show, first):
    bmi = component(tmp_path, show=show)
    assert bmi.get_component_name() == "dMG pet_hargreaves"
    assert bmi.get_input_var_names() == (NAMES["tmean"],)
    assert bmi.get_output_var_names() == (PET,)
    assert (bmi.get_var_units(NAMES["tmean"]), bmi.get_var_units(PET)) == ("degC", "mm h-1")
    temperatures = two_days()
    shown = drive(bmi, temperatures)
    by_day = temperatures.reshape(2, 24, 2)
    expected = hargreaves(by_day.min(1), by_day.max(1), by_day.mean(1), [45.72, -10.0], [196, 197])
    assert expected[0, 0] == pytest.approx(5.0, abs=0.05)  # the example
    if show == "end":
        np.testing.assert_allclose(shown[23::24], expected, rtol=1e-12)  # 24 times that of an hour
        assert not np.delete(shown, [23, 47], axis=0).any()
        np.testing.assert_allclose(shown.reshape(2, 24, 2).mean(1), expected / 24, rtol=1e-12)
    else:
        assert not shown[:23].any()
        np.testing.assert_allclose(shown[23:47], np.broadcast_to(expected[0] / 24, (24, 2)), rtol=1e-12)
    assert bmi.get_current_time() == 48 * 3600.0
    np.testing.assert_array_equal(bmi.get_grid_y(0, np.empty(2)), [45.72, -10.0])


def test_a_formula_for_hours_answers_in_every_hour(tmp_path):
    names = {
        NAMES["tmean"]: 38.0,
        "land_surface_radiation~incoming~shortwave__energy_flux": 2.450e6 / 3600,
        "land_surface_radiation~incoming~longwave__energy_flux": (4.903e-9 * 311.16**4 / 24 - 0.137) * 1e6 / 3600,
        "land_surface_air__pressure": 101.2e3,
        "atmosphere_air_water~vapor__relative_saturation": 0.622 * 3.445 / (101.2 - 0.378 * 3.445),
        "land_surface_wind__x_component_of_velocity": 3.3 / 4.87 * np.log(672.58),
        "land_surface_wind__y_component_of_velocity": 0.0,
    }
    bmi = component(tmp_path, derive="pet_penman_monteith_hourly")
    assert set(bmi.get_input_var_names()) == set(names)
    for name, value in names.items():
        bmi.set_value(name, np.full(2, value))
    bmi.update()
    np.testing.assert_allclose(read(bmi, PET), 0.63, atol=0.005)  # example 19 of FAO-56


def test_names_and_units_of_the_host(tmp_path):
    bmi = component(
        tmp_path,
        inputs=[{"variable": "tmean", "name": "TMP_2maboveground", "units": "K"}],
        output={"variable": "pet", "name": "water_potential_evaporation_flux", "units": "kg m-2 s-1"},
    )
    assert bmi.get_input_var_names() == ("TMP_2maboveground",)
    for temperature in two_days()[:24]:
        bmi.set_value("TMP_2maboveground", temperature + 273.15)
        bmi.update()
    assert bmi.get_var_units("water_potential_evaporation_flux") == "kg m-2 s-1"
    value = read(bmi, "water_potential_evaporation_flux")[0]
    assert value * 3600 == pytest.approx(5.0, abs=0.05)  # all of the day in this hour


def test_it_is_saved_within_a_day_and_restored(tmp_path):
    def host(name, **changes):
        component(tmp_path, **changes)
        return NgenHost("dmg.bmi.DerivationBmi", str((tmp_path / "pet.yaml").rename(tmp_path / name)))

    def go_on(driven, hours):
        return [driven.step({NAMES["tmean"]: values}) or driven.get(PET) for values in hours]

    one = host("one.yaml", clock="resume")
    go_on(one, two_days()[:30])
    state = one.save()
    for clock, time in {"resume": 30 * 3600.0, "hot_start": 0.0}.items():
        other = host(f"{clock}.yaml", clock=clock)
        other.restore(state)
        assert other.bmi.get_current_time() == time
        np.testing.assert_array_equal(other.get(PET), one.get(PET))
    resumed = host("again.yaml", clock="resume")
    resumed.restore(state)
    np.testing.assert_array_equal(go_on(resumed, two_days()[30:]), go_on(one, two_days()[30:]))

    elsewhere = host("elsewhere.yaml", catchments=CASE["catchments"][::-1])
    for message, bad in {
        r"catchments of the state is \['a', 'b'\], here \['b', 'a'\]": state,
        "not the state of a component of a formula": state[:-3],
        "not the state of": np.frombuffer(b"something else entirely", dtype=np.uint8),
    }.items():
        with pytest.raises(RunError, match=message):
            elsewhere.restore(bad)
    assert elsewhere.bmi.get_current_time() == 0.0


def test_misuse_is_said_and_changes_nothing(tmp_path):
    bmi = component(tmp_path)
    drive(bmi, two_days()[:5])
    bmi.set_value(NAMES["tmean"], np.array([1.0, np.nan]))
    with pytest.raises(DataError, match=r"is missing \(NaN\) at b, in step 6\n.*the step can be repeated"):
        bmi.update()
    assert bmi.get_current_time() == 5 * 3600.0
    shown = drive(bmi, two_days()[5:24])
    expected = drive(component(tmp_path), two_days()[:24])
    np.testing.assert_array_equal(shown[-1], expected[-1])
    with pytest.raises(UnknownNameError, match="did you mean 'pet_hargreaves'"):
        component(tmp_path, derive="pet_hargreeves")
    with pytest.raises(ConfigError, match="time_step"):
        component(tmp_path, time_step=3600)
    with pytest.raises(ConfigError, match="'gauge_lat' is needed to derive"):
        component(tmp_path, catchments=[{"id": "a"}])
    with pytest.raises(ConfigError, match="no multiple of the host's 5000 s"):
        component(tmp_path, time_step_seconds=5000)
