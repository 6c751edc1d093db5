"""All metrics of a set of series, their statistics over sites, and the files that keep them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dmg.core.calc import correlation, efficiency, errors, flow_duration, peaks  # noqa: F401 (they register)
from dmg.core.calc.metric import Metric
from dmg.core.calc.pairs import ArrayLike, Pairs
from dmg.errors import did_you_mean
from dmg.registry import metrics as registered

Stats = dict[str, dict[str, float]]


class Metrics:
    """Every registered metric of predictions against observations, each an attribute [n_sites].

    Parameters
    ----------
    pred, target
        Predictions and observations, [n_sites, T] (or [T] for one site), in the same unit. NaN observations do
        not count; a site without any, or where a metric is undefined, gets NaN.
    sites
        Names of the sites; they appear in messages and in ``metrics.json``.
    names
        The metrics wanted; all registered ones by default.

    Raises
    ------
    DataError
        If the shapes differ or a prediction is not finite.

    Examples
    --------
    >>> Metrics([[1.0, 2.0, 3.0]], [[1.0, 2.0, 4.0]]).mae
    array([0.33333333])
    """

    def __init__(
        self,
        pred: ArrayLike,
        target: ArrayLike,
        sites: Sequence[str] | None = None,
        names: Iterable[str] | None = None,
    ) -> None:
        pairs = Pairs(pred, target, sites)
        self.pred, self.target = pairs.all_pred, pairs.target
        self.sites = None if sites is None else [str(site) for site in sites]
        self._values = {name: _evaluate(name, pairs) for name in (names or registered.names())}

    def __getattr__(self, name: str) -> np.ndarray:
        values = self.__dict__.get("_values", {})
        if name not in values:
            raise AttributeError(f"no metric '{name}': {did_you_mean(name, values)}")
        return values[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._values]

    @property
    def names(self) -> list[str]:
        """Names of the metrics."""
        return list(self._values)

    def calc_stats(self) -> Stats:
        """Return median, mean and standard deviation over sites of every metric, NaN left out."""
        return {name: _stats(values) for name, values in self._values.items()}

    def model_dump(self) -> dict[str, list[float]]:
        """Return the metrics as plain lists, one value per site."""
        return {name: values.tolist() for name, values in self._values.items()}

    def model_dump_json(self, indent: int | None = None) -> str:
        """Return the metrics as JSON, {metric: [one value per site]}; NaN becomes null."""
        return json.dumps(_without_nan(self._named()), indent=indent, allow_nan=False)

    def model_dump_agg_stats(self, path: str | Path) -> None:
        """Write the statistics over sites to a ``.json`` or ``.csv`` file.

        Raises
        ------
        ValueError
            If the file has another suffix.
        """
        stats = self.calc_stats()
        match Path(path).suffix:
            case ".json":
                text = json.dumps(_without_nan(stats), indent=2, allow_nan=False)
            case ".csv":
                rows = [f"{name},{s['median']!r},{s['mean']!r},{s['std']!r}" for name, s in stats.items()]
                text = "\n".join(["metric,median,mean,std", *rows])
            case suffix:
                raise ValueError(f"statistics are written to .json or .csv, not '{suffix}': {path}")
        _write(path, text + "\n")

    def dump_metrics(self, path: str | Path) -> None:
        """Write ``metrics.json`` and ``metrics_aggregate.json`` into a directory, which is made if need be."""
        folder = Path(path)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "metrics.json", self.model_dump_json() + "\n")
        self.model_dump_agg_stats(folder / "metrics_aggregate.json")

    def print_summary(self) -> None:
        """Print median, mean and standard deviation over sites of every metric."""
        print(f"{'metric':<16}{'median':>12}{'mean':>12}{'std':>12}   ({len(self.target)} sites)")
        for name, s in self.calc_stats().items():
            print(f"{name:<16}{s['median']:>12.4g}{s['mean']:>12.4g}{s['std']:>12.4g}")

    def _named(self) -> dict[str, list[Any]]:
        return ({"site": self.sites} if self.sites is not None else {}) | self.model_dump()


def _evaluate(name: str, pairs: Pairs) -> np.ndarray:
    function = registered.get(name)
    if isinstance(function, Metric):
        return function.of(pairs)
    return np.asarray(function(pairs.all_pred, pairs.target), dtype=np.float64)


def _stats(values: np.ndarray) -> dict[str, float]:
    known = values[np.isfinite(values)]
    if known.size == 0:
        return {"median": float("nan"), "mean": float("nan"), "std": float("nan")}
    return {"median": float(np.median(known)), "mean": float(known.mean()), "std": float(known.std())}


def _without_nan(tree: Any) -> Any:
    """Return the tree with None for every NaN, which JSON does not know."""
    if isinstance(tree, dict):
        return {key: _without_nan(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_without_nan(value) for value in tree]
    return None if isinstance(tree, float) and not np.isfinite(tree) else tree


def _write(path: str | Path, text: str) -> None:
    from dmg.core.utils.atomic import atomic_write

    with atomic_write(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
