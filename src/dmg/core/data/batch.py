"""The mapping of tensors that travels from the loader to the models, with its names, units, sites and times."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmg.core.data.lazy_series import in_memory
from dmg.errors import DataError, did_you_mean

TIMED = ("x_phy", "x_nn", "x_nn_norm", "xc_nn_norm", "target")
"""Keys of the tensors with dimensions [time, site, variable]."""

STATIC = ("c_phy", "c_nn", "c_nn_norm", "batch_sample")
"""Keys of the tensors with the dimensions [site, ...]."""

_JOINED = "xc_nn_norm"


class Batch(MutableMapping[str, Any]):
    """Tensors under the published keys, and what they mean.

    A batch is the mapping that published code indexes (``batch["x_phy"]``). ``xc_nn_norm``, the network's input of
    normalised forcings followed by normalised attributes, is built when it is read and never stored, so that
    attributes are not repeated in memory along a whole record.

    Parameters
    ----------
    values
        Tensors float32: ``x_phy`` [T, B, Fp], ``c_phy`` [B, Ap], ``x_nn`` and ``x_nn_norm`` [T, B, Fn], ``c_nn`` and
        ``c_nn_norm`` [B, An], ``target`` [T, B, K] (NaN where there is no observation); training batches add
        ``batch_sample`` (int64 array [B]), the position of each column in the training dataset. Other entries are
        kept: those of three dimensions are taken as [T, B, ·], those whose first dimension is B as per site; an object
        follows with its own ``select_sites``, ``select_times``, ``to`` and ``fingerprint``.
    sites
        Ids of the sites, in the order of the columns.
    times
        datetime64 [T]; in a training batch, whose columns start at different times, [T, B].
    names
        Names along the last axis, by key: ``{"x_phy": ("prcp", "tmean", "pet")}``.
    units
        Unit of every variable, by its name.
    holdout
        Bool [B], true where the site took no part in training; None where that is not known.
    """

    def __init__(
        self,
        values: Mapping[str, Any],
        *,
        sites: Sequence[str] | None = None,
        times: np.ndarray | None = None,
        names: Mapping[str, Sequence[str]] | None = None,
        units: Mapping[str, str] | None = None,
        holdout: np.ndarray | None = None,
    ) -> None:
        self._values = dict(values)
        self.sites = None if sites is None else [str(site) for site in sites]
        self.times = None if times is None else np.asarray(times)
        self.names = {key: tuple(value) for key, value in (names or {}).items()}
        if _JOINED not in self.names and "x_nn_norm" in self.names:
            self.names[_JOINED] = self.names["x_nn_norm"] + self.names.get("c_nn_norm", ())
        self.units = dict(units or {})
        self.holdout = None if holdout is None else np.asarray(holdout, dtype=bool)

    def __getitem__(self, key: str) -> Any:
        if key == _JOINED and key not in self._values and "x_nn_norm" in self._values:
            return self._joined()
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        yield from self._values
        if "x_nn_norm" in self._values and _JOINED not in self._values:
            yield _JOINED

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, key: object) -> bool:
        return key in self._values or (key == _JOINED and "x_nn_norm" in self._values)

    # Tensors have no truth value: two batches are equal only if they are the same object.
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        lines = [f"Batch of {self.n_sites} sites, {self.n_times} time steps"]
        for key, value in self._values.items():
            shape = tuple(value.shape) if hasattr(value, "shape") else type(value).__name__
            lines.append(f"  {key}: {shape} {' '.join(self.names.get(key, ()))}".rstrip())
        return "\n".join(lines)

    def stored(self) -> dict[str, Any]:
        """Return the entries that are in memory, without what is built when it is read."""
        return dict(self._values)

    @property
    def n_sites(self) -> int:
        """Number of sites (columns)."""
        if self.sites is not None:
            return len(self.sites)
        return next((v.shape[1] for k, v in self._values.items() if k in TIMED), 0)

    @property
    def n_times(self) -> int:
        """Number of time steps of the inputs."""
        if self.times is not None:
            return len(self.times)
        return max((v.shape[0] for k, v in self._values.items() if k in TIMED), default=0)

    def select(
        self,
        sites: Sequence[str] | Sequence[int] | slice | np.ndarray | None = None,
        times: slice | Sequence[int] | np.ndarray | None = None,
    ) -> Batch:
        """Return a batch of some of the sites and time steps; tensors are views where slices are asked for.

        Parameters
        ----------
        sites
            Ids, positions, a slice of positions or a bool mask.
        times
            A slice of positions, a slice of dates (both ends included) or an array of positions. A target that is
            shorter than the inputs (training batches) is aligned with their end.

        Raises
        ------
        DataError
            If an id is not among the sites, or the dates select nothing.
        """
        columns = self._columns(sites)
        rows = self._rows(times)
        values = {key: self._pick(key, value, columns, rows) for key, value in self._values.items()}
        stamps = self.times
        if stamps is not None and rows is not None:
            stamps = stamps[rows]
        if stamps is not None and stamps.ndim == 2 and columns is not None:
            stamps = stamps[:, columns]
        kept, holdout = self.sites, self.holdout
        if columns is not None:
            kept = None if kept is None else list(np.asarray(kept, dtype=object)[columns])
            holdout = None if holdout is None else holdout[columns]
        return Batch(values, sites=kept, times=stamps, names=self.names, units=self.units, holdout=holdout)

    def to(self, device: str | torch.device, non_blocking: bool = False) -> Batch:
        """Return the batch with its tensors on a device; arrays and functions stay as they are."""
        values = {
            key: value.to(device, non_blocking=non_blocking) if hasattr(value, "to") else value
            for key, value in self._values.items()
        }
        return Batch(
            values, sites=self.sites, times=self.times, names=self.names, units=self.units, holdout=self.holdout
        )

    def having(self, **values: Any) -> Batch:
        """Return the batch with some entries replaced; their columns keep their names."""
        return Batch(
            self._values | values,
            sites=self.sites,
            times=self.times,
            names=self.names,
            units=self.units,
            holdout=self.holdout,
        )

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Batch:
        """Return the batch with a function applied to every stored tensor."""
        values = {k: function(v) if isinstance(v, Tensor) else v for k, v in self._values.items()}
        return Batch(
            values, sites=self.sites, times=self.times, names=self.names, units=self.units, holdout=self.holdout
        )

    def fingerprint(self) -> str:
        """Return a hash of the sites, times, names and tensors: equal data, equal hash."""
        digest = hashlib.sha256()
        for part in (self.sites, sorted(self.names.items()), sorted(self.units.items())):
            digest.update(repr(part).encode())
        if self.times is not None:
            digest.update(self.times.astype("datetime64[s]").astype(np.int64).tobytes())
        for key in sorted(self._values):
            value = self._values[key]
            if isinstance(value, Tensor):
                digest.update(f"{key}{tuple(value.shape)}".encode())
                digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).data)
            elif hasattr(value, "fingerprint"):
                digest.update(f"{key}{value.fingerprint()}".encode())
        return digest.hexdigest()

    def _joined(self) -> Tensor:
        forcings, attributes = self._values["x_nn_norm"], self._values.get("c_nn_norm")
        if attributes is None or attributes.shape[-1] == 0:
            return forcings
        forcings = in_memory(forcings)
        repeated = attributes.unsqueeze(0).expand(forcings.shape[0], -1, -1)
        return torch.cat((forcings, repeated), dim=-1)

    def _columns(self, sites: Any) -> Any:
        if sites is None or isinstance(sites, slice):
            return sites
        wanted = np.asarray(sites)
        if wanted.dtype == bool:
            return np.flatnonzero(wanted)
        if wanted.dtype.kind in "iu" or wanted.size == 0:
            return wanted.astype(np.int64)
        position = {site: i for i, site in enumerate(self.sites or [])}
        unknown = [str(site) for site in wanted if str(site) not in position]
        if unknown:
            raise DataError(
                f"{len(unknown)} sites are not in this dataset: {', '.join(unknown[:10])}",
                hint=did_you_mean(unknown[0], position),
            )
        return np.array([position[str(site)] for site in wanted], dtype=np.int64)

    def _rows(self, times: Any) -> Any:
        if not isinstance(times, slice):
            return None if times is None else np.asarray(times, dtype=np.int64)
        if all(bound is None or isinstance(bound, int | np.integer) for bound in (times.start, times.stop)):
            return times
        if self.times is None or self.times.ndim != 1:
            raise DataError("dates cannot select from a batch whose columns start at different times")
        first, last = _as_date(times.start), _as_date(times.stop)
        begin = 0 if first is None else int(np.searchsorted(self.times, first, side="left"))
        end = len(self.times) if last is None else int(np.searchsorted(self.times, last, side="right"))
        if begin >= end:
            raise DataError(
                f"no time step between {times.start} and {times.stop}",
                hint=f"the data cover {self.times[0]} to {self.times[-1]}",
            )
        return slice(begin, end, times.step)

    def _pick(self, key: str, value: Any, columns: Any, rows: Any) -> Any:
        if columns is not None and hasattr(value, "select_sites"):
            value = value.select_sites(columns)
        if rows is not None and hasattr(value, "select_times"):
            value = value.select_times(rows)
        if not isinstance(value, Tensor | np.ndarray):
            return value
        timed = key in TIMED or (key not in STATIC and value.ndim == 3)
        if timed:
            if rows is not None:
                value = value[_shifted(rows, self.n_times, self.n_times - value.shape[0])]
            return value if columns is None else value[:, columns]
        if columns is not None and value.ndim and (key in STATIC or value.shape[0] == self.n_sites):
            return value[columns]
        return value


def _as_date(bound: Any) -> np.datetime64 | None:
    return None if bound is None else np.datetime64(str(bound).replace("/", "-"))


def _shifted(rows: Any, length: int, lead: int) -> Any:
    """Move rows that count from the first of `length` inputs to a series that starts `lead` steps later."""
    if not lead:
        return rows
    if isinstance(rows, slice):
        rows = np.arange(length)[rows]
    return rows[rows >= lead] - lead
