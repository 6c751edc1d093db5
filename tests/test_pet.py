"""Day length, radiation, humidity and potential evapotranspiration against the worked examples of FAO-56."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydrodl2.calc.day_length import day_length
from hydrodl2.calc.humidity import (
    air_pressure,
    psychrometric_constant,
    saturation_slope,
    saturation_vapour_pressure,
    vapour_pressure,
)
from hydrodl2.calc.pet import hargreaves, penman_monteith, penman_monteith_hourly, priestley_taylor, wind_at_2m
from hydrodl2.calc.radiation import clear_sky_radiation, extraterrestrial_radiation, net_longwave_loss, net_radiation


def test_examples_8_and_9_of_fao_56():
    # 3 September (day 246) at 20 °S: Ra = 32.2 MJ m-2 d-1, N = 11.7 h.
    assert extraterrestrial_radiation(-20.0, 246) == pytest.approx(32.2, abs=0.05)
    assert day_length(-20.0, 246) == pytest.approx(11.7, abs=0.05)


def test_table_2_6_of_fao_56():
    # Ra at mid-month, 40 °N: January 15.0, June 41.8 MJ m-2 d-1.
    np.testing.assert_allclose(extraterrestrial_radiation(40.0, np.array([15, 166])), [15.0, 41.8], atol=0.3)


def test_examples_2_and_3_of_fao_56():
    # 1800 m: 81.8 kPa and 0.054 kPa °C-1; 24.5 and 15 °C: 3.075 and 1.705 kPa.
    assert air_pressure(1800.0) == pytest.approx(81.8, abs=0.05)
    assert psychrometric_constant(air_pressure(1800.0)) == pytest.approx(0.054, abs=5e-4)
    np.testing.assert_allclose(saturation_vapour_pressure([24.5, 15.0]), [3.075, 1.705], atol=5e-4)


def test_examples_11_12_and_14_of_fao_56():
    # Rio de Janeiro, May: 19.1 and 25.1 °C, 2.1 kPa, 14.5 of 18.8 MJ m-2 d-1: Rnl = 3.5, Rn = 7.6; 3.2 m/s at 10 m.
    loss = net_longwave_loss(19.1, 25.1, 2.1, 14.5 / 18.8)
    assert loss == pytest.approx(3.5, abs=0.05)
    assert net_radiation(14.5, loss) == pytest.approx(7.6, abs=0.05)
    assert wind_at_2m(3.2) == pytest.approx(2.4, abs=0.05)


def test_penman_monteith_example_17_of_fao_56():
    # Bangkok, April: Rn = 14.33, G = 0.14 MJ m-2 d-1, 25.6 and 34.8 °C, 2 m/s, 2.85 kPa, at 2 m: 5.72 mm d-1.
    et = penman_monteith(14.33, 25.6, 34.8, 2.0, 2.85, air_pressure(2.0), 0.14)
    assert et == pytest.approx(5.72, abs=0.01)


def test_penman_monteith_example_18_of_fao_56():
    # Brussels, 6 July, 50°48' N, 100 m: Rs = 22.07 MJ m-2 d-1, 12.3 and 21.5 °C, 2.078 m/s at 2 m, 1.409 kPa.
    clear = clear_sky_radiation(extraterrestrial_radiation(50.80, 187), 100.0)
    loss = net_longwave_loss(12.3, 21.5, 1.409, 22.07 / clear)
    net = net_radiation(22.07, loss)
    np.testing.assert_allclose([clear, loss, net], [30.90, 3.71, 13.28], atol=0.01)
    assert penman_monteith(net, 12.3, 21.5, 2.078, 1.409, 100.1) == pytest.approx(3.88, abs=0.01)


@pytest.mark.parametrize(
    ("hour", "temperature", "wind", "vapour", "shortwave", "relative", "net", "expected"),
    [
        ("02:00 to 03:00", 28.0, 1.9, 3.402, 0.0, 0.8, -0.100, 0.00),
        ("14:00 to 15:00", 38.0, 3.3, 3.445, 2.450, 0.922, 1.749, 0.63),
    ],
)
def test_penman_monteith_example_19_of_fao_56(hour, temperature, wind, vapour, shortwave, relative, net, expected):
    """N'Diaye in Senegal, 1 October, at 8 m; its energies are in MJ m-2 h-1, its result in mm h-1."""
    rate = net_radiation(24 * shortwave, net_longwave_loss(temperature, temperature, vapour, relative))
    assert rate / 24 == pytest.approx(net, abs=0.002)
    et = penman_monteith_hourly(rate, temperature, wind, vapour, air_pressure(8.0))
    assert et / 24 == pytest.approx(expected, abs=0.005)


@given(st.floats(0, 30), st.floats(-20, 40), st.floats(60, 102))
def test_without_wind_and_deficit_only_energy_evaporates(net, temperature, pressure):
    """Then Penman–Monteith is the equilibrium evaporation, of which Priestley–Taylor is 1.26 times as much."""
    saturated = saturation_vapour_pressure(temperature)
    calm = penman_monteith(net, temperature, temperature, 0.0, saturated, pressure)
    assert priestley_taylor(net, temperature, pressure) == pytest.approx(1.26 * calm, rel=1e-12)
    slope, gamma = saturation_slope(temperature), psychrometric_constant(pressure)
    assert calm == pytest.approx(net / 2.45 * slope / (slope + gamma), rel=1e-12)


@given(st.floats(-40, 45), st.floats(0, 1), st.floats(0, 15), st.floats(-10, 30))
def test_a_drier_air_evaporates_more_and_nothing_is_negative(temperature, humidity, wind, net):
    saturated = saturation_vapour_pressure(temperature)
    dry, moist = (
        penman_monteith_hourly(net, temperature, wind, share * humidity * saturated, 100.0) for share in (0.5, 1.0)
    )
    assert dry >= moist >= 0
    assert priestley_taylor(net, temperature, 100.0) >= 0


@given(st.floats(-40, 45))
def test_slope_is_that_of_the_curve(temperature):
    step = 1e-4
    low, high = saturation_vapour_pressure([temperature - step, temperature + step])
    # 4098 is 17.27 × 237.3 = 4098.17, as printed.
    assert saturation_slope(temperature) == pytest.approx((high - low) / (2 * step), rel=1e-4)


@given(st.floats(1e-5, 0.04), st.floats(60, 105))
def test_vapour_pressure_inverts_specific_humidity(q, pressure):
    e = vapour_pressure(q, pressure)
    assert 0.622 * e / (pressure - 0.378 * e) == pytest.approx(q, rel=1e-12)


def test_hargreaves_example_20_of_fao_56():
    # 45°43' N, July (day 196), 14.8 and 26.6 °C: 5.0 mm d-1.
    pet = hargreaves(np.array([[14.8]]), np.array([[26.6]]), np.array([[20.7]]), np.array([45.72]), np.array([196]))
    assert pet.item() == pytest.approx(5.0, abs=0.05)


@given(st.floats(-90, 90), st.integers(1, 366))
def test_day_and_night_fill_24_hours_and_hemispheres_mirror(latitude, doy):
    day = day_length(latitude, doy)
    assert 0 <= day <= 24
    assert day + day_length(-latitude, doy) == pytest.approx(24.0, abs=1e-9)
    assert extraterrestrial_radiation(latitude, doy) >= -1e-9


@given(st.floats(-40, 45), st.floats(0, 25), st.floats(0, 60), st.integers(1, 366))
def test_hargreaves_is_finite_nonnegative_and_grows_with_the_range(mean, spread, latitude, doy):
    def pet(width):
        return hargreaves(
            np.array([[mean - width / 2]]),
            np.array([[mean + width / 2]]),
            np.array([[mean]]),
            [latitude],
            [doy],
        ).item()

    assert np.isfinite(pet(spread))
    assert 0 <= pet(spread) <= pet(spread + 1)


def test_wrong_order_of_extremes_and_deep_frost_give_zero():
    one = np.ones((1, 1))
    assert hargreaves(5 * one, 3 * one, 4 * one, [40.0], [100]).item() == 0.0
    assert hargreaves(-30 * one, -20 * one, -25 * one, [40.0], [100]).item() == 0.0
