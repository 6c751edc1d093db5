"""Unseen extremes: train on ordinary water years, test on those with a rarer peak."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.data.splits.base import SplitResult
from dmg.core.data.time_window import as_span
from dmg.core.utils.atomic import write_text
from dmg.errors import DataError
from dmg.registry import splits
from hydrodl2.calc.return_period import fit_log_pearson3
from hydrodl2.calc.water_year import AnnualMaxima, annual_maxima, water_year_span

if TYPE_CHECKING:
    from dmg.core.data.loaders.site_data import SiteData

logger = logging.getLogger(__name__)

_PERIODS = "site,start,end"
_EVENTS = f"{_PERIODS},water_year,day,peak,return_period,trained"


@splits.register("extremes")
def extremes(
    data: SiteData,
    folder: Path,
    *,
    target: str = "streamflow",
    threshold: float = 5.0,
    train: tuple[int, int] = (1991, 2008),
    test: tuple[int, int] = (1981, 2008),
    record: tuple[int, int] = (1981, 2014),
    max_missing: float = 0.1,
) -> SplitResult:
    """Train on water years whose peak returns within the threshold, test on every year with a rarer one.

    Return periods come from the annual maxima of daily flow (:func:`~hydrodl2.calc.return_period.fit_log_pearson3`), by
    site. A site whose maxima cannot be fitted takes no part.

    Parameters
    ----------
    data, folder
        The selected sites, and where the tables go.
    target
        The flow.
    threshold
        Years.
    train, test, record
        First and last water year of training, of test, and of the maxima that the distribution is fitted to; of the
        last as many as there are.
    max_missing
        Share of a water year that may be missing from the record; a year with more is neither trained on nor tested.

    Returns
    -------
    SplitResult
        Masks and periods of training and test, and the events of the test period.

    Raises
    ------
    DataError
        If the record has no year of the training or the test, or no year of a site is as rare.
    """
    maxima, window = _maxima(data, target, record, max_missing)
    periods, left_out = _return_periods(data, maxima)
    sites = [site for site in data.sites if site not in left_out]
    in_train, in_test = (_between(maxima.years, years) for years in (train, test))
    for name, years, inside in (("training", train, in_train), ("test", test, in_test)):
        if not inside.any():
            raise DataError(
                f"the record has none of the water years {years[0]} to {years[1]} of the {name}; "
                f"it has {maxima.years[0]} to {maxima.years[-1]}",
                where=data.where,
            )
    with np.errstate(invalid="ignore"):
        trained = in_train[:, None] & (periods <= threshold)
        tested = in_test[:, None] & (periods > threshold)
    if not tested.any() or not trained.any():
        raise DataError(
            f"no water year has a peak of {'at most' if tested.any() else 'more than'} {threshold:g} years",
            where=data.where,
            hint="choose another threshold, or a longer record",
        )
    masks = {
        name: _write_periods(folder / f"{name}_mask.csv", data, maxima.years, chosen)
        for name, chosen in (("train", trained), ("test", tested))
    }
    events = folder / "events.csv"
    _write_events(events, data, maxima, periods, in_test[:, None] & ~np.isnan(periods), trained, data.times[window])
    settings = {}
    for name, years in (("train", train), ("test", test)):
        settings |= {
            f"{name}.start_time": _slashes(water_year_span(years[0])[0]),
            f"{name}.end_time": _slashes(water_year_span(years[1])[1]),
            f"{name}.mask": str(masks[name]),
        }
    if left_out:
        listed = folder / "sites.txt"
        write_text(listed, "\n".join(sites) + "\n")
        settings["observations.subset_path"] = str(listed)
    return SplitResult(settings, events, _notes(data, maxima, left_out, trained, tested, threshold))


def _maxima(data: SiteData, target: str, record: tuple[int, int], max_missing: float) -> tuple[AnnualMaxima, slice]:
    """Return the annual maxima of the record's water years, and its positions on the time axis."""
    first, after = as_span(str(water_year_span(record[0])[0]), str(water_year_span(record[1])[1]))
    begin, stop = np.searchsorted(data.times, [first, after])
    if begin >= stop:
        raise DataError(f"the record has none of the water years {record[0]} to {record[1]}", where=data.where)
    window = slice(int(begin), int(stop))
    flow = data.target(target, window, np.arange(len(data.sites)))
    return annual_maxima(flow, data.times[window], max_missing=max_missing), window


def _return_periods(data: SiteData, maxima: AnnualMaxima) -> tuple[np.ndarray, dict[str, str]]:
    """Return the return period of every year's peak [Y, N], and the sites without one, with the reason."""
    periods, left_out = np.full(maxima.peaks.shape, np.nan), {}
    for i, site in enumerate(data.sites):
        try:
            periods[:, i] = fit_log_pearson3(maxima.peaks[:, i]).return_period(maxima.peaks[:, i])
        except DataError as error:
            left_out[site] = error.what
    if len(left_out) == len(data.sites):
        raise DataError(f"no site has return periods: {next(iter(left_out.values()))}", where=data.where)
    for site, reason in left_out.items():
        logger.warning("site %s takes no part: %s", site, reason)
    return periods, left_out


def _write_periods(path: Path, data: SiteData, years: np.ndarray, chosen: np.ndarray) -> Path:
    rows = [f"{data.sites[i]},{_days(years[row])}" for i, row in np.argwhere(chosen.T)]
    write_text(path, "\n".join([_PERIODS, *rows]) + "\n")
    return path


def _write_events(
    path: Path,
    data: SiteData,
    maxima: AnnualMaxima,
    periods: np.ndarray,
    wanted: np.ndarray,
    trained: np.ndarray,
    times: np.ndarray,
) -> None:
    rows = []
    for i, row in np.argwhere(wanted.T):
        year, day = maxima.years[row], times[maxima.positions[row, i]].astype("datetime64[D]")
        values = f"{maxima.peaks[row, i]:.6g},{periods[row, i]:.6g},{int(trained[row, i])}"
        rows.append(f"{data.sites[i]},{_days(year)},{year},{day},{values}")
    write_text(path, "\n".join([_EVENTS, *rows]) + "\n")


def _notes(
    data: SiteData,
    maxima: AnnualMaxima,
    left_out: dict[str, str],
    trained: np.ndarray,
    tested: np.ndarray,
    threshold: float,
) -> tuple[str, ...]:
    counts = np.isfinite(maxima.peaks).sum(axis=0)
    kept = [i for i, site in enumerate(data.sites) if site not in left_out]
    return (
        f"Return periods: Bulletin 17B, annual maxima of daily flow of the water years {maxima.years[0]} to "
        f"{maxima.years[-1]}, {counts[kept].min()} to {counts[kept].max()} complete ones a site",
        f"Extremes: trained on {trained.sum()} water years with a peak of at most {threshold:g} years, tested on "
        f"{tested.sum()} with a rarer one ({trained.sum(axis=0)[kept].mean():.1f} and "
        f"{tested.sum(axis=0)[kept].mean():.1f} a site)",
        *(f"Site {site} takes no part: {reason}" for site, reason in left_out.items()),
    )


def _between(years: np.ndarray, bounds: tuple[int, int]) -> np.ndarray:
    return (years >= bounds[0]) & (years <= bounds[1])


def _days(year: int) -> str:
    return ",".join(str(day) for day in water_year_span(int(year)))


def _slashes(day: np.datetime64) -> str:
    return str(day).replace("-", "/")
