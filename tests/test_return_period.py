"""Water years and return periods, against the worked examples of Bulletin 17B and against scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearson3

from dmg.errors import DataError
from hydrodl2.calc.return_period import (
    fit_log_pearson3,
    outlier_deviate,
    pearson3_exceedance,
    pearson3_quantile,
    skew_error,
)
from hydrodl2.calc.water_year import annual_maxima, water_year, water_year_span

# Bulletin 17B, appendix 12: annual maxima in ft3/s.
FISHKILL = [
    2290, 1470, 2220, 2970, 3020, 1210, 2490, 3170, 3220, 1760, 8800, 8280,
    1310, 2500, 1960, 2140, 4340, 3060, 1780, 1380, 980, 1040, 1580, 3630,
]  # fmt: skip
ORESTIMBA = [
    4260, 345, 516, 1320, 1200, 2180, 3230, 115, 3440, 3070, 1880, 6450, 1290, 5970, 782, 0, 0, 335, 175, 2920, 3660,
    147, 0, 16, 5620, 1440, 10200, 5380, 448, 0, 1740, 8300, 156, 560, 128, 4200, 0, 5080, 1010, 584, 0, 1510,
]  # fmt: skip


def test_fishkill_creek():
    station = fit_log_pearson3(FISHKILL, generalised_skew=None)
    assert (station.mean, station.std, station.skew) == pytest.approx((3.3684, 0.2456, 0.7300), abs=5e-5)
    assert station.n_low == 0
    weighted = fit_log_pearson3(FISHKILL, generalised_skew=0.6)
    assert round(weighted.skew, 1) == 0.7
    # The Bulletin rounds the weighted skew to 0.7 and flows to three digits.
    assert 10 ** (station.mean + station.std * pearson3_quantile(0.99, 0.7)) == pytest.approx(11500, rel=5e-3)


def test_orestimba_creek_sets_zeros_and_the_low_outlier_aside():
    positive = np.log10([q for q in ORESTIMBA if q])
    # Mean 3.0786, standard deviation 0.6443 and K_36 = 2.639 put the threshold at 23.9 ft3/s, above one flow of 16.
    assert 10 ** (positive.mean() - outlier_deviate(36) * positive.std(ddof=1)) == pytest.approx(23.9, abs=0.1)
    fitted = fit_log_pearson3(ORESTIMBA, generalised_skew=None)
    assert (fitted.n_peaks, fitted.n_low) == (42, 7)
    # The curve of the 35 others has mean 3.1321, standard deviation 0.5665, skew -0.4396; each of its flows is
    # exceeded in 35 of 42 years as often. The synthetic curve goes through two of them, and near the third.
    kept = np.log10([q for q in ORESTIMBA if q > 16])
    assert (kept.mean(), kept.std(ddof=1)) == pytest.approx((3.1321, 0.5665), abs=5e-5)
    for p, rel in ((0.01, 1e-9), (0.5, 1e-9), (0.1, 0.02)):
        conditional = 10 ** pearson3.ppf(1 - p * 42 / 35, -0.4395689, 3.1321478, 0.5665457)
        assert fitted.quantile(1 / p) == pytest.approx(conditional, rel=max(rel, 1e-6))


@pytest.mark.parametrize(
    ("skew", "exceeded", "deviate"),  # appendix 3
    [(0.0, 0.01, 2.32635), (0.7, 0.01, 2.82359), (0.7, 0.5, -0.11578), (-1.0, 0.1, 1.12762), (2.0, 0.04, 2.21888)],
)
def test_deviates_of_the_table(skew, exceeded, deviate):
    assert pearson3_quantile(1 - exceeded, skew) == pytest.approx(deviate, abs=2e-5)


@given(st.floats(-3, 3), st.floats(0.001, 0.999))
def test_distribution_is_that_of_scipy(skew, p):
    if 0 < abs(skew) < 1e-3:  # where scipy switches to the normal distribution
        skew = 1e-3
    assert pearson3_quantile(p, skew) == pytest.approx(pearson3.ppf(p, skew), abs=2e-4)
    assert pearson3_exceedance(pearson3_quantile(p, skew), skew) == pytest.approx(1 - p, abs=1e-8)


@pytest.mark.parametrize(("n", "deviate"), [(10, 2.036), (20, 2.385), (36, 2.639), (50, 2.768), (100, 3.017)])
def test_outlier_deviates_of_the_table(n, deviate):
    assert outlier_deviate(n) == pytest.approx(deviate, abs=2e-3)


@pytest.mark.parametrize(("skew", "n", "error"), [(0.0, 10, 0.468), (0.7, 24, 0.274), (1.0, 50, 0.201)])
def test_skew_errors(skew, n, error):
    """Table 1 of the Bulletin; 0.7 and 24 lie between its entries."""
    assert skew_error(skew, n) == pytest.approx(error, abs=5e-3)


@given(st.lists(st.floats(1, 1e4), min_size=12, max_size=40, unique=True))
def test_return_period_inverts_the_quantile(peaks):
    try:
        fitted = fit_log_pearson3(peaks)
    except DataError:
        return
    periods = np.array([1.5, 5.0, 25.0, 100.0])
    assert fitted.return_period(fitted.quantile(periods)) == pytest.approx(periods, rel=1e-5)
    assert (np.diff(fitted.quantile(periods)) > 0).all()


def test_no_flow_and_no_observation():
    fitted = fit_log_pearson3([*FISHKILL, np.nan])
    assert fitted.n_peaks == 24
    assert fitted.return_period([0.0, np.nan])[0] == 1.0
    assert np.isnan(fitted.return_period(np.nan))


@pytest.mark.parametrize(
    ("peaks", "message"),
    [
        (FISHKILL[:9], "9 annual maxima are too few"),
        ([5.0] * 12, "no spread"),
        ([0.0] * 4 + FISHKILL[:10], "4 of 14 annual maxima are zero"),
    ],
)
def test_what_cannot_be_fitted_says_why(peaks, message):
    with pytest.raises(DataError, match=message):
        fit_log_pearson3(peaks)


def test_water_years():
    days = np.array(["1980-09-30", "1980-10-01", "1981-01-01", "1981-09-30"], dtype="datetime64[D]")
    assert water_year(days).tolist() == [1980, 1981, 1981, 1981]
    assert water_year(days, first_month=1).tolist() == [1980, 1980, 1981, 1981]
    assert [str(day) for day in water_year_span(1981)] == ["1980-10-01", "1981-09-30"]
    assert [str(day) for day in water_year_span(1981, first_month=1)] == ["1981-01-01", "1981-12-31"]


@given(st.integers(1900, 2100), st.integers(1, 12))
def test_a_span_holds_exactly_its_year(year, first_month):
    first, last = water_year_span(year, first_month)
    around = np.arange(first - np.timedelta64(1, "D"), last + np.timedelta64(2, "D"))
    inside = water_year(around, first_month) == year
    assert inside[1:-1].all()
    assert not inside[[0, -1]].any()


def test_annual_maxima_leave_incomplete_years_out():
    times = np.arange("1979-12-01", "1983-10-01", dtype="datetime64[D]")
    flow = np.ones((len(times), 2))
    at = int(np.searchsorted(times, np.datetime64("1981-03-05")))
    flow[at, 0] = 9.0
    flow[water_year(times) == 1982, 1] = np.nan
    found = annual_maxima(flow, times)
    assert found.years.tolist() == [1980, 1981, 1982, 1983]
    assert found.peaks[1].tolist() == [9.0, 1.0]
    assert found.positions[1, 0] == at
    assert np.isnan(found.peaks[0]).all()  # it began in December
    assert np.isnan(found.peaks[2]).tolist() == [False, True]
