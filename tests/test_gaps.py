"""Missing values."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dmg.core.data.gaps import (
    SENTINELS,
    encode_categories,
    fill_attribute,
    fill_forcing,
    find_gaps,
    mask_sentinels,
    mask_target,
    require_nonnegative,
)
from dmg.errors import DataError

TIMES = np.arange("2000-01-01", "2000-01-11", dtype="datetime64[D]")
WHO = {"name": "prcp", "sites": ["a", "b"], "times": TIMES}


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
def test_every_sentinel_becomes_nan_and_the_input_stays(dtype):
    marks = [m for m in SENTINELS if dtype is not np.int32 or float(m).is_integer()]
    values = np.array([*marks, 0, -998, 7], dtype=dtype)
    before = values.copy()
    masked = mask_sentinels(values)
    np.testing.assert_array_equal(values, before)
    assert np.isnan(masked[: len(marks)]).all()
    np.testing.assert_array_equal(masked[len(marks) :], [0, -998, 7])


def test_fill_values_infinities_and_extra_sentinels():
    masked = mask_sentinels(np.array([9.96921e36, np.inf, -np.inf, -99.0, 1.0]), extra=[-99.0])
    np.testing.assert_array_equal(np.isnan(masked), [True, True, True, True, False])
    assert not np.isnan(mask_sentinels([-99.0])).any()
    assert np.isnan(mask_target(np.array([-999.0]))).all()


@given(arrays(bool, (12, 3)))
def test_gaps_describe_exactly_the_missing_values(missing):
    rebuilt = np.zeros_like(missing)
    for gap in find_gaps(np.where(missing, np.nan, 1.0)):
        assert not rebuilt[gap.start : gap.start + gap.length, gap.site].any()
        rebuilt[gap.start : gap.start + gap.length, gap.site] = True
    np.testing.assert_array_equal(rebuilt, missing)


@given(st.integers(1, 3), st.integers(1, 6))
def test_short_gaps_are_linear_in_time(length, start):
    line = np.stack([np.arange(10.0), 3 - 2 * np.arange(10.0)], axis=1)
    holes = line.copy()
    holes[start : start + length, 1] = np.nan
    np.testing.assert_allclose(fill_forcing(holes, **WHO), line)


def test_filling_is_logged_and_does_not_touch_the_input(caplog):
    values = np.ones((10, 2))
    values[4:6, 0] = np.nan
    with caplog.at_level(logging.WARNING, logger="dmg"):
        filled = fill_forcing(values, **WHO)
    assert np.isnan(values).sum() == 2
    assert not np.isnan(filled).any()
    assert "'prcp': 2 missing values at 1 sites" in caplog.text


@pytest.mark.parametrize("rows", [slice(2, 6), slice(0, 1), slice(9, 10)])
def test_long_and_outer_gaps_name_variable_site_and_dates(rows):
    values = np.ones((10, 2))
    values[rows, 1] = np.nan
    first, last = TIMES[rows][[0, -1]]
    with pytest.raises(DataError, match=rf"'prcp' is missing at b \({first}\.\.{last}\)"):
        fill_forcing(values, **WHO)


def test_attributes_are_an_error_or_the_mean_of_the_training_sites():
    values = np.array([1.0, np.nan, 3.0, 100.0], dtype=np.float32)
    who = {"name": "slope", "sites": list("abcd")}
    with pytest.raises(DataError, match="'slope' is missing at b"):
        fill_attribute(values, **who)
    train = np.array([True, True, True, False])
    np.testing.assert_array_equal(fill_attribute(values, policy="train_mean", train=train, **who), [1, 2, 3, 100])
    with pytest.raises(DataError, match="every training site"):
        fill_attribute(values, policy="train_mean", train=np.array([False, True, False, False]), **who)
    with pytest.raises(DataError, match="unknown policy"):
        fill_attribute(values, policy="zero", **who)


def test_categories_have_explicit_numbers():
    codes, table = encode_categories([" Forest", "Grass", "NA", "Forest", None])
    assert table == {"Forest": 0, "Grass": 1}
    np.testing.assert_array_equal(codes, [0, 1, np.nan, 0, np.nan])
    again, _ = encode_categories(["Grass"], table)
    assert again[0] == 1
    with pytest.raises(DataError, match="Rock"):
        encode_categories(["Rock"], table)


def test_negative_values_are_named():
    values = np.ones((10, 2))
    values[3, 0] = -0.5
    with pytest.raises(DataError, match=r"'prcp' is negative \(down to -0.5\) at a \(2000-01-04"):
        require_nonnegative(values, **WHO)
    values[3, 0] = np.nan
    require_nonnegative(values, **WHO)
