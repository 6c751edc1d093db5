"""Errors of the peaks of events, by return period."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.data.text_files import read_table
from dmg.core.data.time_window import as_span

if TYPE_CHECKING:
    import xarray as xr

COLUMNS = ["site", "start", "end", "day", "peak", "return_period", "trained"]


def peak_errors(
    simulated: xr.DataArray, events: Path, bins: Sequence[float], *, spatial: bool = False
) -> dict[str, np.ndarray]:
    """Return |simulated − observed| / observed peak of the events that the training did not see, by class.

    The simulated peak is the largest flow of the event's period. An event counts where its day was simulated and its
    peak is not zero.

    Parameters
    ----------
    simulated
        Flow over (time, site), in the unit of the events.
    events
        Table of a split: ``site``, ``start``, ``end``, ``day``, ``peak``, ``return_period``, ``trained``.
    bins
        Return periods that separate the classes.
    spatial
        Whether each site was held out in its simulation, so that no event of it was seen.
    """
    table = read_table(events, COLUMNS)
    times = simulated["time"].values
    flow = simulated.transpose("time", "site").values
    column = {str(site): i for i, site in enumerate(simulated["site"].values)}
    largest: dict[tuple[str, str], np.ndarray] = {}
    edges = sorted(bins)
    errors: list[list[float]] = [[] for _ in range(len(edges) + 1)]
    for site, start, end, day, peak, period, trained in zip(*(table[name] for name in COLUMNS), strict=True):
        if site not in column or (trained != "0" and not spatial) or float(peak) <= 0:
            continue
        first, after = as_span(start, end)
        if not times[0] <= np.datetime64(day) <= times[-1]:
            continue
        if (start, end) not in largest:
            begin, stop = np.searchsorted(times, [first, after])
            largest[start, end] = flow[begin:stop].max(axis=0)
        error = abs(float(largest[start, end][column[site]]) - float(peak)) / float(peak)
        # A class ends with its upper bound: five years are not a rare event.
        errors[int(np.searchsorted(edges, float(period), side="left"))].append(error)
    return {name: np.array(values) for name, values in zip(class_names(edges), errors, strict=True)}


def class_names(bins: Sequence[float]) -> list[str]:
    """Return the names of the classes that some return periods separate, such as ``1–5``, ``5–25``, ``25+``."""
    edges = sorted(bins)
    return [f"{low:g}–{high:g}" for low, high in zip([1, *edges[:-1]], edges, strict=True)] + [f"{edges[-1]:g}+"]
