"""Variables derived from others: chains of formulas, the three methods of PET, and what is refused."""

import numpy as np
import pytest
import xarray as xr

from dmg.core.data.derive import derive, find_chain
from dmg.errors import DataError, UnknownNameError
from dmg.registry import derivations

BRUSSELS = {
    "tmin": (12.3, "degC"),
    "tmax": (21.5, "degC"),
    "swdown": (22.07 / 0.0864, "W m-2"),
    "vp": (1409.0, "Pa"),
    "wind": (10 / 3.6, "m s-1"),
    "gauge_lat": (50.80, "degree"),
    "elev_mean": (100.0, "m"),
}
"""Example 18 of FAO-56, 6 July: 3.88 mm/d."""


def store(values, step="D", steps=1, start="2001-07-06"):
    times = np.datetime64(start, "ns") + np.arange(steps) * np.timedelta64(1, step)
    attributes = ("gauge_lat", "elev_mean")
    return xr.Dataset(
        {
            name: ("site", np.full(2, value), {"units": unit})
            if name in attributes
            else (("time", "site"), np.full((steps, 2), value), {"units": unit})
            for name, (value, unit) in values.items()
        },
        coords={"time": times, "site": ["a", "b"]},
    )


def test_penman_monteith_of_a_store_converts_units_and_derives_what_is_missing():
    found = derive(store(BRUSSELS), "pet_penman_monteith")
    assert {"wind_2m", "psurf"} <= set(found)
    assert found["pet_penman_monteith"].attrs["units"] == "mm d-1"
    assert "FAO-56" in found["pet_penman_monteith"].attrs["long_name"]
    np.testing.assert_allclose(found["pet_penman_monteith"].values, 3.88, atol=0.01)
    np.testing.assert_allclose(found["psurf"].values, 100.1, atol=0.05)


def test_priestley_taylor_takes_extremes_and_the_longwave_of_the_sky_where_they_are():
    mean = {name: value for name, value in BRUSSELS.items() if name not in ("tmin", "tmax", "wind")}
    mean["tmean"] = (16.9, "degC")
    value = derive(store(mean), "pet_priestley_taylor")["pet_priestley_taylor"].values
    # 1.26 Δ/(Δ+γ) Rn/λ with Δ = 0.1221, γ = 0.0666 and Rn = 13.28 of the example.
    np.testing.assert_allclose(value, 1.26 * 0.1221 / 0.1887 * 13.28 / 2.45, rtol=0.01)
    extremes = derive(store(BRUSSELS), "pet_priestley_taylor")["pet_priestley_taylor"].values
    np.testing.assert_allclose(extremes, value, rtol=2e-3)
    # With the longwave radiation that makes the same loss of 3.71 MJ m-2 d-1 the result is the same.
    emitted = 4.903e-9 * 0.5 * ((12.3 + 273.16) ** 4 + (21.5 + 273.16) ** 4)
    sky = BRUSSELS | {"lwdown": ((emitted - 3.71) / 0.0864, "W m-2")}
    seen = derive(store(sky), "pet_priestley_taylor")["pet_priestley_taylor"].values
    np.testing.assert_allclose(seen, extremes, rtol=2e-3)


def test_a_chain_answers_step_by_step_from_what_a_host_supplies():
    host = ("swdown", "lwdown", "tmean", "qair", "psurf", "wind_u", "wind_v", "prcp")
    chain = find_chain("pet_penman_monteith_hourly", host)
    assert chain.unit == "mm d-1"
    assert set(chain.inputs) == set(host) - {"prcp"}
    chain.check_step(np.timedelta64(1, "h"))
    # Example 19 of FAO-56, 14:00 to 15:00: 0.63 mm/h; Rnl = 0.137 MJ m-2 h-1 gives the longwave radiation of the sky.
    lwdown = 4.903e-9 * (38.0 + 273.16) ** 4 - 24 * 0.137
    humidity = 0.622 * 3.445 / (101.2 - 0.378 * 3.445)
    wind = 3.3 * np.log(67.8 * 10 - 5.42) / 4.87
    given = {"swdown": 24 * 2.450, "lwdown": lwdown, "tmean": 38.0, "qair": humidity, "psurf": 101.2}
    given |= {"wind_u": 0.6 * wind, "wind_v": 0.8 * wind}
    pet = chain(np.array([274]), {name: np.full((1, 3), value) for name, value in given.items()})
    assert pet.shape == (1, 3)
    np.testing.assert_allclose(pet / 24, 0.63, atol=0.005)


@pytest.mark.parametrize("name", [n for n in derivations if n.startswith("pet")])
def test_one_step_at_a_time_gives_what_the_record_gives(name):
    rng = np.random.default_rng(0)
    tmean = rng.normal(12, 8, (30, 4))
    given = {
        "tmin": tmean - 5,
        "tmax": tmean + 5,
        "tmean": tmean,
        "swdown": rng.uniform(2, 25, (30, 4)),
        "lwdown": rng.uniform(20, 30, (30, 4)),
        "vp": rng.uniform(0.3, 0.6, (30, 4)),
        "psurf": np.full(4, 95.0),
        "wind_2m": rng.uniform(0, 6, (30, 4)),
        "gauge_lat": np.array([-89.0, -30.0, 10.0, 70.0]),
        "elev_mean": np.array([0.0, 500.0, 1000.0, 2000.0]),
    }
    chain = find_chain(name, given)
    doy = (np.arange(30) * 13) % 365 + 1
    whole = chain(doy, given)
    assert np.isfinite(whole).all()
    assert (whole >= 0).all()
    assert whole.std() > 0
    for t in range(30):
        step = {n: v[t : t + 1] if v.ndim == 2 else v for n, v in given.items()}
        np.testing.assert_array_equal(chain(doy[t : t + 1], step)[0], whole[t])


def test_the_hargreaves_of_before_has_two_names():
    assert derivations.get("pet_hargreaves") is derivations.get("pet")


def test_what_is_missing_or_does_not_fit_is_named():
    with pytest.raises(DataError, match="'wind_u' is needed to derive 'wind' and is not there") as error:
        find_chain("pet_penman_monteith", {"tmin", "tmax", "swdown", "vp", "elev_mean", "gauge_lat", "wind_3m"})
    assert "'wind' takes wind_u (m s-1), wind_v (m s-1)" in str(error.value)
    assert "or give 'wind' itself for 'wind_2m'; or give 'wind_2m' itself for 'pet_penman_monteith'" in str(error.value)
    with pytest.raises(UnknownNameError, match="did you mean 'pet_hargreaves'"):
        find_chain("pet_hargreave", set())
    with pytest.raises(DataError, match="'tmean' is derived by a formula for daily steps, and the step here is 1 h"):
        derive(store(BRUSSELS, "h", 3), "pet")
    hourly = {"swdown", "lwdown", "tmean", "psurf"}
    with pytest.raises(DataError, match="for hourly steps, and the step here is 24 h"):
        find_chain("pet_priestley_taylor_hourly", hourly).check_step(np.timedelta64(1, "D"))
