"""Between what a model is trained on and the physical quantity in the unit that the user asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np
import torch

from dmg.core.data.normalisation import Normalisation
from dmg.errors import DataError

Values = TypeVar("Values", np.ndarray, torch.Tensor)


@dataclass(frozen=True)
class TargetScale:
    """The way from a model's targets back to physical values in the output unit, per site.

    Called with values [T, B, K], [T, B, 1] or [T, B], it returns values of the same shape. Two instances of it are the
    published entries ``denorm_fn`` (predictions: undo the normalisation, then convert the unit) and
    ``obs_convert_fn`` (observations, which are physical: convert the unit).

    Parameters
    ----------
    names
        Names of the targets, in the order of the last axis.
    factors
        By target, what the physical value is multiplied by, per site [B]; absent means 1.
    divisors
        By target, what the physical value was divided by before it was normalised, per site [B]; absent means 1.
    normalisation
        Statistics of the targets; None if they are not normalised.
    units
        Unit of the result, by target.
    """

    names: tuple[str, ...]
    factors: dict[str, np.ndarray] = field(default_factory=dict)
    divisors: dict[str, np.ndarray] = field(default_factory=dict)
    normalisation: Normalisation | None = None
    units: dict[str, str] = field(default_factory=dict)

    def __call__(self, values: Values, name: str | None = None) -> Values:
        """Return physical values in the output unit.

        Parameters
        ----------
        values
            One column per target, or a single one.
        name
            Target of a single column; the first one if None.

        Raises
        ------
        DataError
            If the number of columns or of sites is not that of the dataset.
        """
        if values.ndim == 2:
            return self._one(values[..., None], name or self.names[0])[..., 0]
        if values.shape[-1] == 1:
            return self._one(values, name or self.names[0])
        if values.shape[-1] != len(self.names):
            raise DataError(f"{values.shape[-1]} columns for the {len(self.names)} targets {', '.join(self.names)}")
        columns = [self._one(values[..., k : k + 1], target) for k, target in enumerate(self.names)]
        return torch.cat(columns, -1) if isinstance(values, torch.Tensor) else np.concatenate(columns, -1)

    def select_sites(self, columns: slice | np.ndarray | Sequence[int]) -> TargetScale:
        """Return the scale of some of the sites, by position."""
        return replace(
            self,
            factors={name: factor[columns] for name, factor in self.factors.items()},
            divisors={name: divisor[columns] for name, divisor in self.divisors.items()},
        )

    def inverse(self, values: np.ndarray, name: str) -> np.ndarray:
        """Return what the model is trained on: physical values [T, B] divided and normalised (NaN stays NaN)."""
        if name in self.divisors:
            values = values / self.divisors[name]
        if self.normalisation is None:
            return values
        if name in self.normalisation.log:
            values = np.maximum(values, 0.0)
        return self.normalisation.apply(name, values)

    def _one(self, values: Values, name: str) -> Values:
        if name not in self.names:
            raise DataError(f"'{name}' is not a target", hint=f"the targets are {', '.join(self.names)}")
        if self.normalisation is not None:
            values = self.normalisation.invert(name, values)
        for by_site in (self.divisors.get(name), self.factors.get(name)):
            if by_site is not None:
                values = values * _as_column(by_site, values)
        return values


def _as_column(by_site: np.ndarray, values: Values) -> Values:
    if len(by_site) != values.shape[1]:
        raise DataError(
            f"values of {values.shape[1]} sites, the dataset has {len(by_site)}",
            hint="take the function from the batch that the values come from, or use batch.select",
        )
    if isinstance(values, torch.Tensor):
        return torch.as_tensor(by_site, dtype=values.dtype, device=values.device)[:, None]
    return np.asarray(by_site, dtype=values.dtype)[:, None]
