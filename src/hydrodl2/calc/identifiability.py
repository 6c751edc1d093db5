"""How well learned parameters rank sites as the true ones do, where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dmg.errors import DataError


def spearman_of_parameters(
    true: Mapping[str, Any],
    learned: Mapping[str, Any],
    sites: Sequence[int] | np.ndarray | None = None,
) -> dict[str, float]:
    """Return the rank correlation over sites between true and learned values of every parameter that both have.

    Parameters
    ----------
    true
        True value per site, [N], by parameter; a table (``pandas.DataFrame``) with one column each does as well.
    learned
        Learned values by parameter: [N], [N, M], or [T, N, M]. Time and components are averaged.
    sites
        Positions or bool mask of the sites to compare; all if absent.

    Returns
    -------
    dict
        Parameter to Spearman correlation; NaN where one of the two is the same at every site.

    Raises
    ------
    DataError
        If there is no common parameter, the numbers of sites differ, or fewer than three are compared.
    """
    common = [str(name) for name in true if name in learned]
    if not common:
        raise DataError(
            "no parameter is both true and learned",
            hint=f"true: {', '.join(map(str, true)) or 'none'}; learned: {', '.join(map(str, learned)) or 'none'}",
        )
    return {name: _spearman(name, true[name], learned[name], sites) for name in common}


def _spearman(name: str, true: Any, learned: Any, sites: Any) -> float:
    x, y = _array(true).reshape(-1), _site_mean(_array(learned))
    if len(x) != len(y):
        raise DataError(f"'{name}': true values of {len(x)} sites, learned ones of {len(y)}")
    if sites is not None:
        x, y = x[np.asarray(sites)], y[np.asarray(sites)]
    if len(x) < 3:
        raise DataError(f"'{name}': {len(x)} sites are too few to rank", hint="compare at least three")
    ranks = _ranks(x), _ranks(y)
    if np.ptp(ranks[0]) == 0.0 or np.ptp(ranks[1]) == 0.0:
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])


def _site_mean(values: np.ndarray) -> np.ndarray:
    if values.ndim == 3:
        values = values.mean(axis=0)
    return values.mean(axis=-1) if values.ndim == 2 else values


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return ranks from 0; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts) - 1
    return (last - (counts - 1) / 2.0)[inverse]


def _array(values: Any) -> np.ndarray:
    values = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    return np.asarray(values, dtype=np.float64)
