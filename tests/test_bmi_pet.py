"""Forcings that a component computes from what its host supplies, by formulas that the configuration names."""

import numpy as np
import pytest
from bmi_case import NAMES, component, read, trained, write_case
from small_run import small_store

from dmg.bmi.config import Derived
from dmg.bmi.derived_inputs import DerivedInputs
from dmg.bmi.exchange import input_links
from dmg.core.data.dataset import write_dataset
from dmg.errors import ConfigError, UnknownNameError
from hydrodl2.calc.pet import hargreaves

SITES, HOURS = ["s3", "s1"], 24
LATITUDES = np.array([40.0, 41.0])  # of write_case
RUNOFF = "land_surface_water__runoff_depth"
HARGREAVES = {"derive": {"pet": "pet_hargreaves"}, "time_step_seconds": 3600, "start_time": "2000/06/29"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("bmi"))


def hourly(rng, days=3):
    """Rain (mm/h) and temperature (°C) of the hours of some days, [day, hour, site]."""
    rain = rng.gamma(0.5, 0.5, (days, HOURS, 2))
    wave = np.sin(np.arange(HOURS) / 24 * 2 * np.pi)[None, :, None]
    return rain, 15 + rng.normal(0, 3, (days, 1, 2)) + 6 * wave + rng.normal(0, 0.3, (days, HOURS, 2))


def drive(bmi, *series):
    """Set series (name, values [step, site]) step by step, return the runoff of every step in m."""
    shown = []
    for values in zip(*(v for _, v in series), strict=True):
        for (name, _), value in zip(series, values, strict=True):
            bmi.set_value(name, value)
        bmi.update()
        shown.append(read(bmi, RUNOFF))
    return np.array(shown)


def test_hargreaves_from_the_hours_of_a_day_is_that_given_by_the_day(run, tmp_path):
    rain, temperature = hourly(np.random.default_rng(0))
    derived = component(write_case(tmp_path / "hours", run, SITES, **HARGREAVES))
    assert set(derived.get_input_var_names()) == {NAMES["prcp"], NAMES["tmean"]}
    hours = drive(derived, (NAMES["prcp"], rain.reshape(-1, 2)), (NAMES["tmean"], temperature.reshape(-1, 2)))

    doy = np.array([181, 182, 183])  # from 29 June of a leap year on
    low, high, mean = temperature.min(1), temperature.max(1), temperature.mean(1)
    pet = hargreaves(low, high, mean, LATITUDES, doy) / 24
    given = component(write_case(tmp_path / "days", run, SITES, start_time="2000/06/29"))
    days = drive(given, (NAMES["prcp"], rain.mean(1)), (NAMES["tmean"], mean), (NAMES["pet"], pet))
    np.testing.assert_allclose(hours[23::24] * 24, days, rtol=1e-5)
    # A day's depth is handed out from the hour that completes it, until the next is complete.
    np.testing.assert_array_equal(hours[23:47], np.broadcast_to(hours[23], (24, 2)))


def test_what_the_host_must_supply_follows_from_the_formula(run, tmp_path):
    def inputs(folder, **how):
        case = write_case(tmp_path / folder, run, SITES, derive={"pet": how}, time_step_seconds=3600, spin_up=None)
        text = case.read_text().replace("area_km2: 10.0", "attributes: {elev_mean: 300.0}")
        case.write_text(text)
        return set(component(case).get_input_var_names())

    radiation = "land_surface_radiation~incoming~{}__energy_flux"
    common = {NAMES["prcp"], NAMES["tmean"], radiation.format("shortwave")}
    humidity = "atmosphere_air_water~vapor__relative_saturation"
    everything = inputs("all", method="pet_penman_monteith")
    wind = {f"land_surface_wind__{axis}_component_of_velocity" for axis in "xy"}
    pressure = {"land_surface_air__pressure"}
    assert everything == common | wind | pressure | {humidity, radiation.format("longwave")}
    fewer = inputs("few", method="pet_priestley_taylor", without=["lwdown", "psurf"])
    assert fewer == common | {humidity}


def test_a_day_of_priestley_taylor(run, tmp_path):
    """The flow with PET of the hours' means, computed by hand, is the flow of the component."""
    from dmg.core.data.derive import find_chain

    rng = np.random.default_rng(1)
    rain, temperature = hourly(rng, days=2)
    sun = np.maximum(np.sin((np.arange(24) - 6) / 12 * np.pi), 0)[None, :, None] * rng.uniform(400, 800, (2, 1, 2))
    humidity = np.full((2, 24, 2), 0.006)
    case = write_case(
        tmp_path / "hours",
        run,
        SITES,
        time_step_seconds=3600,
        derive={"pet": {"method": "pet_priestley_taylor", "without": ["lwdown", "psurf"]}},
    )
    case.write_text(case.read_text().replace("area_km2: 10.0", "attributes: {elev_mean: 300.0}"))
    names = (
        NAMES["prcp"],
        NAMES["tmean"],
        "land_surface_radiation~incoming~shortwave__energy_flux",
        "atmosphere_air_water~vapor__relative_saturation",
    )
    hours = drive(
        component(case),
        *((n, v.reshape(-1, 2)) for n, v in zip(names, (rain, temperature, sun, humidity), strict=True)),
    )

    given = {"tmin": temperature.min(1), "tmax": temperature.max(1), "tmean": temperature.mean(1)}
    given |= {"swdown": sun.mean(1) * 0.0864, "qair": humidity.mean(1)}
    given |= {"gauge_lat": LATITUDES, "elev_mean": np.full(2, 300.0)}
    pet = find_chain("pet_priestley_taylor", given)(np.array([1, 2]), given)
    days = drive(
        component(write_case(tmp_path / "days", run, SITES)),
        (NAMES["prcp"], rain.mean(1)),
        (NAMES["tmean"], given["tmean"]),
        (NAMES["pet"], pet / 24),
    )
    np.testing.assert_allclose(hours[23::24] * 24, days, rtol=1e-5)


def test_an_hourly_model_under_its_own_names():
    """The model calls temperature Temp, the formula tmean; the host knows one name for both and supplies it once."""
    forcings = {"P": "mm h-1", "Temp": "degC", "PET": "mm h-1"}
    names = ("swdown", "lwdown", "qair", "psurf", "wind_u", "wind_v")
    hour = np.timedelta64(1, "h")
    wanted = {"PET": Derived(method="pet_penman_monteith_hourly")}
    derived = DerivedInputs(wanted, forcings, {}, [], count=1, step=hour)
    assert set(derived.supplied) == {"P", "Temp", *names}
    links = input_links([], derived.supplied, 3600.0)
    rules = derived.rules(links)
    assert rules["tmean"].source == rules["Temp"].source == NAMES["tmean"]
    # Example 19 of FAO-56, 14:00 to 15:00, in the units of the host.
    host = {
        "P": 1.5,
        "Temp": 38.0,
        "tmean": 38.0,
        "swdown": 2.450e6 / 3600,
        "lwdown": (4.903e-9 * 311.16**4 / 24 - 0.137) * 1e6 / 3600,
        "psurf": 101.2e3,
        "qair": 0.622 * 3.445 / (101.2 - 0.378 * 3.445),
        "wind_u": 0.0,
        "wind_v": -3.3 / 4.87 * np.log(672.58),
    }
    values = derived({name: np.full(3, host[name]) for name in rules}, links, None, np.datetime64("2001-10-01T14"))
    assert list(values) == ["P", "Temp", "PET"]
    np.testing.assert_allclose(values["PET"], 0.63, atol=0.005)
    np.testing.assert_array_equal(values["P"], 1.5)


def test_members_share_the_attributes_of_their_catchment(run, tmp_path):
    rain, temperature = (values[:1].reshape(-1, 2) for values in hourly(np.random.default_rng(3)))
    alone = component(write_case(tmp_path / "alone", run, SITES, **HARGREAVES))
    together = component(write_case(tmp_path / "together", run, SITES, members=2, **HARGREAVES))
    expected = drive(alone, (NAMES["prcp"], rain), (NAMES["tmean"], temperature))
    twice = [(name, np.tile(values, 2)) for name, values in ((NAMES["prcp"], rain), (NAMES["tmean"], temperature))]
    np.testing.assert_allclose(drive(together, *twice), np.tile(expected, 2), rtol=1e-5)


def test_a_spin_up_without_the_forcing_derives_it(run, tmp_path):
    store = small_store().sel(site=SITES).isel(time=slice(0, 20))
    store["tmin"], store["tmax"] = (
        (store["tmean"] - 5).assign_attrs(units="degC"),
        (store["tmean"] + 5).assign_attrs(units="degC"),
    )
    doy = store.time.dt.dayofyear.values
    pet = hargreaves(store["tmin"], store["tmax"], store["tmean"], LATITUDES, doy)
    flows = []
    for folder, changed in {
        "without": store.drop_vars("pet"),
        "with": store.assign(pet=store["pet"].copy(data=pet)),
    }.items():
        case = write_case(tmp_path / folder, run, SITES, **HARGREAVES)
        write_dataset(changed.drop_vars("gauge_lat"), tmp_path / folder / "spin_up.nc")
        flows.append(read(component(case), RUNOFF))
    np.testing.assert_allclose(flows[0], flows[1], rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        (
            {"derive": {"pets": "pet_hargreaves"}},
            ConfigError,
            r"the model reads no 'pets'\n  where: derive\n.*did you mean 'pet'",
        ),
        ({"derive": {"pet": "pet_hargreave"}}, UnknownNameError, "did you mean 'pet_hargreaves'"),
        ({"derive": {"pet": "pet_hargreaves"}, "time_step_seconds": 86400}, ConfigError, "'tmin' is needed to derive"),
        ({"derive": {"pet": "pet_penman_monteith"}, "time_step_seconds": 3600}, ConfigError, r"'elev_mean' is needed"),
        (
            {"derive": {"pet": {"method": "pet_priestley_taylor_hourly"}}, "time_step_seconds": 3600},
            ConfigError,
            r"for hourly steps, and the step here is 24 h\n  where: derive.pet",
        ),
        ({"derive": {"pet": {"methods": "x"}}}, ConfigError, "methods"),
    ],
)
def test_what_cannot_be_derived_is_said(run, tmp_path, settings, error, message):
    with pytest.raises(error, match=message):
        component(write_case(tmp_path, run, SITES, spin_up=None, **settings))
