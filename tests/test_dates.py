"""Periods, dates, and names of resampling intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmg.conf.period import Period
from dmg.core.utils import Dates, format_resample_interval
from dmg.errors import ConfigError

PERIOD = {"start_time": "1999/10/01", "end_time": "2000/09/30"}


def test_both_ends_belong_to_the_period():
    dates = Dates(PERIOD)
    assert dates.n_days == len(dates.daily_time_range) == 366
    assert dates.daily_time_range[0] == pd.Timestamp("1999-10-01")
    assert dates.daily_time_range[-1] == pd.Timestamp("2000-09-30")


def test_hours_reach_to_the_end_of_the_last_day():
    hours = Dates({"start_time": "2000/01/01", "end_time": "2000/01/02"}).hourly_time_range
    assert len(hours) == 48
    assert Dates({"start_time": "2000/01/01", "end_time": "2000/01/02 06:00"}).hourly_time_range[-1].hour == 6


def test_the_batch_range_leaves_out_the_window():
    dates = Dates(PERIOD, rho=365)
    assert list(dates.batch_daily_time_range) == [pd.Timestamp("2000-09-30")]
    assert len(Dates(PERIOD).batch_daily_time_range) == 366


def test_numbers_count_from_1980():
    assert Dates.date_to_int("1980/01/01") == 0
    assert Dates.date_to_int("1980/12/31") == 365
    numbers = Dates(PERIOD).numerical_time_range
    assert numbers[0] == Dates.date_to_int("1999/10/01")
    np.testing.assert_array_equal(np.diff(numbers), 1)


@given(st.dates(), st.integers(1, 20000))
def test_numbers_and_days_agree(start, length: int):
    end = start + pd.Timedelta(days=length).to_pytimedelta() if start.year < 9900 else start
    dates = Dates([start, end])
    assert dates.numerical_time_range[-1] == Dates.date_to_int(end)
    assert len(dates.numerical_time_range) == dates.n_days == (end - start).days + 1


def test_period_may_be_a_block_or_a_list():
    expected = Dates(PERIOD).daily_time_range
    assert Dates(Period(**PERIOD)).daily_time_range.equals(expected)
    assert Dates(list(PERIOD.values())).daily_time_range.equals(expected)


@pytest.mark.parametrize(
    ("period", "rho", "words"),
    [
        (None, None, "no period"),
        (["2000/02/30", "2001/01/01"], None, "'2000/02/30' is no date"),
        (["2001/01/01", "2000/01/01"], None, "backwards"),
        (["2000/01/01", "2000/01/10"], 11, "11 days is longer than the 10 days"),
    ],
)
def test_impossible_periods(period, rho, words: str):
    with pytest.raises(ConfigError, match=words):
        Dates(period, rho)


@pytest.mark.parametrize(
    ("given_name", "offset"), [("D", "D"), ("3d", "3D"), ("M", "ME"), ("monthly", "ME"), ("Y", "YE"), ("2h", "2h")]
)
def test_intervals_are_what_pandas_understands(given_name: str, offset: str):
    assert format_resample_interval(given_name) == offset
    pd.Series([1.0], index=pd.to_datetime(["2000-01-01"])).resample(offset).mean()


def test_unknown_interval():
    with pytest.raises(ConfigError, match="did you mean 'monthly'"):
        format_resample_interval("montly")
