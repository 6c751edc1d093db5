"""Normalisation of inputs and targets, with statistics of the training sites and the training period only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from dmg.core.utils.atomic import write_text
from dmg.errors import DataError

Values = TypeVar("Values", np.ndarray, torch.Tensor)

FILE_NAME = "normalization_statistics.json"
"""Name of the statistics file beside the weights."""

STD_FLOOR = 0.001
"""Least standard deviation, so that a constant variable does not divide by zero."""

SAMPLE = 100_000
"""Values of each of several parts that the percentiles are taken from."""

_ABOUT = "_about"


def carried_statistics(folder: str | Path) -> tuple[str, Path] | None:
    """Return the text of the statistics that weights in a folder carry, and the file; None if none does."""
    from dmg.core.utils.weights_file import weights_about

    for path in sorted(Path(folder).glob("*_ep*.safetensors")):
        if text := weights_about(path).get("normalisation"):
            return text, path
    return None


class NoValueError(DataError):
    """Statistics are asked for where nothing is known."""


def log_sqrt(x: Values) -> Values:
    """Return log10(√x + 0.1), which draws skewed amounts such as rain and flow towards a normal distribution."""
    if isinstance(x, torch.Tensor):
        return torch.log10(torch.sqrt(x) + 0.1)
    return np.log10(np.sqrt(x) + 0.1)


def inverse_log_sqrt(y: Values) -> Values:
    """Return the amount of which `y` is the `log_sqrt`; 0 below the least value that an amount can have."""
    if isinstance(y, torch.Tensor):
        return torch.clamp(torch.pow(10.0, y) - 0.1, min=0.0) ** 2
    return np.maximum(10.0**y - 0.1, 0.0) ** 2


def describe(parts: np.ndarray | Iterable[np.ndarray]) -> list[float]:
    """Return [p10, p90, mean, std] of the finite values; the population std is at least 0.001.

    Parameters
    ----------
    parts
        The values, or parts of them that are looked at one after the other: mean and std are those of the whole
        (Chan et al. 1979), the percentiles, which nothing is normalised by, those of a sample of each part.
    """
    if isinstance(parts, np.ndarray):
        parts = [parts]
    count, mean, squares, seen = 0, 0.0, 0.0, []
    for part in parts:
        finite = np.asarray(part, dtype=np.float64).ravel()
        finite = finite[np.isfinite(finite)]
        if not finite.size:
            continue
        total, off = count + finite.size, finite.mean() - mean
        squares += finite.var() * finite.size + off**2 * count * finite.size / total
        mean += off * finite.size / total
        count = total
        if len(seen) == 1:  # a single part is looked at as a whole
            seen[0] = _thinned(seen[0])
        seen.append(_thinned(finite) if seen else finite)
    if not count:
        raise NoValueError("no value to take statistics of")
    low, high = np.percentile(np.concatenate(seen), [10, 90])
    return [float(low), float(high), float(mean), max(float(np.sqrt(squares / count)), STD_FLOOR)]


@dataclass(frozen=True)
class Normalisation:
    """Statistics by variable, and the transform that goes with them: z = (t(x) − mean) / std.

    Parameters
    ----------
    statistics
        ``{variable: [p10, p90, mean, std]}`` of t(x).
    log
        Variables with t(x) = log10(√x + 0.1); for the others t is the identity.
    about
        What the statistics were taken from; kept in the file, compared before they are used again.
    """

    statistics: dict[str, list[float]]
    log: frozenset[str] = frozenset()
    about: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def fit(
        cls,
        values: Mapping[str, np.ndarray | Iterable[np.ndarray]],
        *,
        log: Iterable[str] = (),
        about: dict[str, Any] | None = None,
    ) -> Normalisation:
        """Take statistics of every variable, pooled over time and sites; NaN does not count.

        Values may come in parts, as `describe` takes them.

        Raises
        ------
        DataError
            If a variable has no value, or one that is normalised by its logarithm is negative.
        """
        skewed, statistics = frozenset(log), {}
        for name, array in values.items():
            parts = [array] if isinstance(array, np.ndarray) else array
            try:
                statistics[name] = describe(_transformed(name, part, name in skewed) for part in parts)
            except NoValueError as error:
                raise DataError(
                    f"'{name}' has no value at the training sites in the training period",
                    hint="choose another period or other sites, or leave the variable out",
                ) from error
        return cls(statistics, skewed & set(values), dict(about or {}))

    def apply(self, name: str, x: Values) -> Values:
        """Return the normalised values; NaN stays NaN.

        Raises
        ------
        DataError
            If there are no statistics of that variable, or a value to be taken the logarithm of is negative.
        """
        mean, std = self._moments(name)
        if name in self.log:
            if isinstance(x, np.ndarray):
                _refuse_negative(name, x)
            x = log_sqrt(x)
        return (x - mean) / std

    def invert(self, name: str, z: Values) -> Values:
        """Return the values of which `z` are the normalised ones."""
        mean, std = self._moments(name)
        y = z * std + mean
        return inverse_log_sqrt(y) if name in self.log else y

    def lacks(self, names: Iterable[str], log: Iterable[str] = ()) -> list[str]:
        """Return what keeps these statistics from being used for the variables, in words; empty if they fit."""
        names, log = list(names), set(log)
        missing = [f"no statistics of '{name}'" for name in names if name not in self.statistics]
        if "log" in self.about:
            changed = sorted((log ^ self.log) & set(names))
            missing += [f"'{name}' was {'not ' * (name in log)}log-normalised" for name in changed]
        return missing

    def changed_units(self, units: Mapping[str, str]) -> dict[str, str]:
        """Return the variables whose unit is not the one that the statistics were taken in, with the unit now."""
        from dmg.core.data.quantity import same_unit

        then = self.about.get("units", {})
        return {name: now for name, now in units.items() if now and name in then and not same_unit(now, then[name])}

    def save(self, path: str | Path) -> None:
        """Write the statistics as JSON ``{variable: [p10, p90, mean, std]}``, whole or not at all."""
        about = {**self.about, "log": sorted(self.log)}
        write_text(path, json.dumps({**self.statistics, _ABOUT: about}, indent=2))

    @classmethod
    def load(cls, path: str | Path, log: Iterable[str] = ()) -> Normalisation:
        """Read statistics; `log` names the log-normalised variables where the file does not say (published files).

        Raises
        ------
        DataError
            If the file is not a statistics file.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise _no_statistics(error, str(path)) from error
        return cls.parse(text, log, where=str(path))

    @classmethod
    def parse(cls, text: str, log: Iterable[str] = (), *, where: str) -> Normalisation:
        """Return the statistics of a file's text; ``where`` names it in errors."""
        try:
            content = json.loads(text)
            content = json.loads(content) if isinstance(content, str) else content
            about = dict(content.pop(_ABOUT, {}))
            statistics = {str(name): [float(v) for v in values] for name, values in content.items()}
            if any(len(values) != 4 for values in statistics.values()):
                raise ValueError("a variable has not four numbers")
        except (ValueError, AttributeError, TypeError) as error:
            raise _no_statistics(error, where) from error
        return cls(statistics, frozenset(about.get("log", log)), about)

    def _moments(self, name: str) -> tuple[float, float]:
        if name not in self.statistics:
            raise DataError(
                f"no normalisation statistics of '{name}'", hint=f"there are some of {', '.join(self.statistics)}"
            )
        return self.statistics[name][2], self.statistics[name][3]


def _no_statistics(error: Exception, where: str) -> DataError:
    return DataError(
        f"not a file of normalisation statistics: {error}",
        where=where,
        hint="delete it and train again, or point pretrained_model_dir at the directory of a trained model",
    )


def _thinned(values: np.ndarray) -> np.ndarray:
    return values[:: max(1, values.size // SAMPLE)]


def _transformed(name: str, values: np.ndarray, skewed: bool) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if skewed:
        _refuse_negative(name, values)
        return log_sqrt(values)
    return values


def _refuse_negative(name: str, array: np.ndarray) -> None:
    if np.any(array < 0):
        raise DataError(
            f"'{name}' has negative values (least {np.nanmin(array):.4g}) and cannot be log-normalised",
            where="model.use_log_norm",
            hint="take it off that list, or correct the data",
        )
