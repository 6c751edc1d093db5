"""Day length and potential evapotranspiration against the worked examples of FAO-56."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydrodl2.calc.day_length import day_length
from hydrodl2.calc.pet import extraterrestrial_radiation, hargreaves


def test_examples_8_and_9_of_fao_56():
    # 3 September (day 246) at 20 °S: Ra = 32.2 MJ m-2 d-1, N = 11.7 h.
    assert extraterrestrial_radiation(-20.0, 246) == pytest.approx(32.2, abs=0.05)
    assert day_length(-20.0, 246) == pytest.approx(11.7, abs=0.05)


def test_table_2_6_of_fao_56():
    # Ra at mid-month, 40 °N: January 15.0, June 41.8 MJ m-2 d-1.
    np.testing.assert_allclose(extraterrestrial_radiation(40.0, np.array([15, 166])), [15.0, 41.8], atol=0.3)


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
