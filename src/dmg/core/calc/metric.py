"""What a metric is: a function of paired series, with what is known about its values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import Literal

import numpy as np

from dmg.core.calc.pairs import ArrayLike, Pairs
from dmg.registry import metrics

Best = Literal["max", "min", "zero"]


@dataclass(eq=False)
class Metric:
    """A registered metric; call it with predictions and observations, ``metric(pred, target) -> [n_sites]``.

    Attributes
    ----------
    name
        Name in the registry and in the files of a run.
    function
        The metric as a function of :class:`~dmg.core.calc.pairs.Pairs`.
    best
        Whether the best value is the largest, the smallest, or 0.
    perfect
        Value of a perfect prediction.
    bounds
        Smallest and largest possible value.
    unit
        ``"target"`` for the unit of the series, else a unit that pint reads.
    """

    name: str
    function: Callable[[Pairs], np.ndarray]
    best: Best
    perfect: float
    bounds: tuple[float, float]
    unit: str

    def __post_init__(self) -> None:
        # Name, module and documentation of the function, so that help() and the registry show it.
        update_wrapper(self, self.function)

    def __call__(self, pred: ArrayLike, target: ArrayLike) -> np.ndarray:
        """Return the metric of each site, float64 [n_sites].

        Parameters
        ----------
        pred, target
            Predictions and observations, [n_sites, T] (or [T] for one site); NaN observations do not count.
            A site without observations, or where the metric is undefined, gets NaN.

        Raises
        ------
        DataError
            If the shapes differ or a prediction is not finite.
        """
        return self.of(Pairs(pred, target))

    def of(self, pairs: Pairs) -> np.ndarray:
        """Return the metric of series that are paired already."""
        # An undefined value (no observation, no variation) is NaN, which the caller sees; numpy need not warn.
        with np.errstate(divide="ignore", invalid="ignore"):
            value = np.asarray(self.function(pairs), dtype=np.float64)
        return np.where(np.isfinite(value), value, np.nan)


def metric(
    name: str,
    *aliases: str,
    best: Best,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    unit: str = "target",
    perfect: float | None = None,
) -> Callable[[Callable[[Pairs], np.ndarray]], Metric]:
    """Return a decorator that registers a function of :class:`Pairs` as a metric.

    Examples
    --------
    >>> @metric("worst_error", best="min", bounds=(0, np.inf))
    ... def worst_error(pairs):
    ...     return np.nanmax(np.abs(pairs.error), axis=-1)
    """
    ideal = perfect if perfect is not None else (bounds[1] if best == "max" else 0.0)

    def decorate(function: Callable[[Pairs], np.ndarray]) -> Metric:
        made = Metric(name, function, best, ideal, bounds, unit)
        return metrics.register(name, *aliases)(made)

    return decorate
