"""What the daily and the hourly embedded sample share beside land and weather."""

from __future__ import annotations

import numpy as np

from dmg.errors import DataError

NOISE = 0.05
"""Standard deviation of the logarithm of the error of observed flow."""

PREFIX = "true_"
"""What the names of the true parameters begin with."""


def check_request(sites: int, start: str, end: str) -> tuple[str, str]:
    """Return first and last day as ``YYYY-MM-DD``, or say why there is no such sample."""
    first, last = (np.datetime64(str(day).replace("/", "-"), "D") for day in (start, end))
    if last < first:
        raise DataError(f"the sample ends ({end}) before it begins ({start})", where="observations.sample")
    if sites < 1:
        raise DataError(f"a sample of {sites} sites is empty", where="observations.sample.sites")
    return str(first), str(last)


def site_names(sites: int) -> list[str]:
    """Return the ids S001, S002, …."""
    width = max(3, len(str(sites)))
    return [f"S{i + 1:0{width}d}" for i in range(sites)]


def observe(flow: np.ndarray, noise: float, gaps: bool, rng: np.random.Generator) -> np.ndarray:
    """Return the flow with a multiplicative error, and NaN in spells of about 30 steps, one in 1095 steps."""
    observed = flow * np.exp(noise * rng.standard_normal(flow.shape) - noise**2 / 2.0)
    if not gaps:
        return observed
    steps, sites = flow.shape
    for site, count in enumerate(rng.poisson(steps / 1095.0, sites)):
        for begin, length in zip(rng.integers(0, steps, count), rng.geometric(1.0 / 30.0, count), strict=True):
            observed[begin : begin + length, site] = np.nan
    return observed
