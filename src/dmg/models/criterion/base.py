"""Base class of the losses: hyper-parameters, shapes, missing observations, spread per site."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from dmg.errors import ConfigError, DataError, did_you_mean

ArrayLike = np.ndarray | Tensor

SITES_AT_ONCE = 1000
"""Sites whose observations are in memory at once while their spread is taken."""


class BaseCriterion(nn.Module):
    """A loss between predicted and observed series.

    A subclass names its hyper-parameters in ``defaults`` and computes :meth:`loss`; it registers itself with
    ``dmg.registry.losses.register(name)``.

    Parameters
    ----------
    config
        Block ``train.loss_function``: its name (ignored here) and hyper-parameters.
    device
        Where the statistics of the observations are kept.
    y_obs
        Observations of the training period, [T, sites] or [T, sites, 1], for losses that scale by their
        spread (``needs_y_obs``).
    **kwargs
        Hyper-parameters; they override those in ``config``.

    Raises
    ------
    ConfigError
        If a hyper-parameter is unknown or no number, or observations are needed and not given.
    """

    #: Hyper-parameters and their defaults; each becomes an attribute.
    defaults: ClassVar[dict[str, float]] = {}
    #: Whether the loss is scaled by the spread of each site's observations.
    needs_y_obs: ClassVar[bool] = False
    #: What is scored: one number for every target, or the kind of a head (`dmg.models.heads.Head`).
    scores: ClassVar[str] = "point"

    def __init__(
        self,
        config: Mapping[str, Any] | Any | None = None,
        device: str | torch.device | None = "cpu",
        *,
        y_obs: ArrayLike | None = None,
        **kwargs: float,
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        for key, value in self._hyper_parameters(config, kwargs).items():
            setattr(self, key, value)
        if self.needs_y_obs:
            if y_obs is None:
                raise ConfigError(
                    f"{self.name} scales by the spread of the observations and got none",
                    hint=f"{self.name}(config, device, y_obs=train_dataset['target'])",
                )
            # Some sites after the other: observations may be larger than memory, and are taken in float64.
            parts = range(0, max(y_obs.shape[1], 1), SITES_AT_ONCE)
            spread = site_spread(
                self.transform_obs(observations(y_obs[:, begin : begin + SITES_AT_ONCE], self.name)) for begin in parts
            )
            self.register_buffer("spread", torch.as_tensor(spread, device=device))

    def forward(
        self,
        y_pred: ArrayLike,
        y_obs: ArrayLike,
        sample_ids: Sequence[int] | ArrayLike | None = None,
        n_samples: Sequence[int] | ArrayLike | None = None,
    ) -> Tensor:
        """Return the loss, a scalar; a batch without any observation gives zero, with a graph.

        Parameters
        ----------
        y_pred, y_obs
            Predictions and observations, [T, B] or [T, B, 1]; NaN observations do not count.
        sample_ids
            For every column of the batch the site it comes from, as an index into the ``y_obs`` given to the
            constructor; needed by losses that scale by site, unless the batch is all sites in order.
        n_samples
            Older name of ``sample_ids``.

        Raises
        ------
        DataError
            If the shapes differ or the sites of the columns are not known.
        """
        pred, obs = self.as_pair(y_pred, y_obs)
        ids = n_samples if sample_ids is None else sample_ids
        valid = ~torch.isnan(obs)
        return self.loss(torch.where(valid, pred, 0.0), torch.where(valid, obs, 0.0), valid, ids)

    def loss(self, pred: Tensor, obs: Tensor, valid: Tensor, ids: Any) -> Tensor:
        """Return the loss of predictions and observations [T, B], of which only those in ``valid`` count.

        Both arrive as 0 where nothing was observed, so that no NaN enters the graph there.
        """
        raise TypeError(f"{type(self).__name__} does not define loss()")

    def transform_obs(self, y_obs: np.ndarray) -> np.ndarray:
        """Return the observations [T, sites] in the form whose spread scales the loss."""
        return y_obs

    def scale(self, ids: Any, pred: Tensor) -> Tensor:
        """Return the spread of the site of each column, [B], in the dtype and on the device of ``pred``."""
        n_sites, n_columns = self.spread.numel(), pred.shape[1]
        if ids is None:
            if n_columns != n_sites:
                raise DataError(
                    f"{self.name} knows {n_sites} sites and cannot tell which the {n_columns} columns are",
                    hint="pass sample_ids=batch['batch_sample']",
                )
            return self.spread.to(pred)
        index = torch.as_tensor(ids).long().reshape(-1)
        if index.numel() != n_columns:
            raise DataError(f"{self.name} got {index.numel()} sample_ids for a batch of {n_columns} columns")
        if n_columns and (int(index.min()) < 0 or int(index.max()) >= n_sites):
            raise DataError(
                f"{self.name}: sample_ids run from {int(index.min())} to {int(index.max())}, "
                f"the observations have {n_sites} sites",
                hint="give the loss the observations of the data set that the batches are drawn from",
            )
        return self.spread[index.to(self.spread.device)].to(pred)

    def as_pair(self, y_pred: ArrayLike, y_obs: ArrayLike) -> tuple[Tensor, Tensor]:
        """Return predictions and observations as floating tensors [T, B] of one dtype and device."""
        pred, obs = as_matrix(y_pred, "predictions", self.name), as_matrix(y_obs, "observations", self.name)
        if pred.shape != obs.shape:
            raise DataError(
                f"{self.name}: predictions {tuple(pred.shape)} and observations {tuple(obs.shape)} differ",
                hint="both are [time, site]; is the warm-up cut from one and not from the other?",
            )
        return pred, obs.to(pred)

    def _hyper_parameters(self, config: Any, kwargs: Mapping[str, Any]) -> dict[str, float]:
        given = {key: value for key, value in (loss_block(config) | kwargs).items() if value is not None}
        given.pop("name", None)
        for key, value in given.items():
            if key not in self.defaults:
                raise ConfigError(
                    f"{self.name} has no hyper-parameter '{key}'",
                    where="train.loss_function",
                    hint=did_you_mean(key, self.defaults) if self.defaults else "it has none; remove the key",
                )
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                raise ConfigError(f"{key} of {self.name} is no number: {value!r}", where=f"train.loss_function.{key}")
        return {key: float(given.get(key, default)) for key, default in self.defaults.items()}


def loss_block(config: Any) -> dict[str, Any]:
    """Return the loss block of nothing, a block, a whole configuration, or their typed forms."""
    if config is None:
        return {}
    plain = dict(config.model_dump() if hasattr(config, "model_dump") else config)
    if "train" in plain:
        plain = dict(plain["train"]["loss_function"])
    elif isinstance(plain.get("loss_function"), Mapping):
        plain = dict(plain["loss_function"])
    return plain


def as_matrix(values: ArrayLike, role: str, name: str) -> Tensor:
    """Return a floating tensor [T, B] of [T, B] or [T, B, 1], numpy or torch."""
    tensor = values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    tensor = tensor if tensor.is_floating_point() else tensor.double()
    if tensor.dim() == 3 and tensor.shape[-1] == 1:
        return tensor[..., 0]
    if tensor.dim() == 2:
        return tensor
    several = tensor.dim() == 3
    raise DataError(
        f"{name}: {role} of shape {tuple(tensor.shape)} are neither [time, site] nor [time, site, 1]",
        hint="one loss per target: pass values[..., k:k+1]" if several else "do not squeeze single axes",
    )


def observations(y_obs: ArrayLike, name: str) -> np.ndarray:
    """Return observations as a float64 array [T, sites]."""
    return as_matrix(y_obs, "observations", name).detach().cpu().double().numpy()


def site_spread(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Return the standard deviation over time of each site, float64, from parts [T, sites] side by side.

    A site without observations takes the mean spread of the others (1 if there is none): it may still be
    asked for by a batch, where its missing targets do not count.
    """
    found = []
    for y_obs in parts:
        known = np.isfinite(y_obs)
        count = known.sum(axis=0)
        filled = np.where(known, y_obs, 0.0)
        mean = filled.sum(axis=0) / np.maximum(count, 1)
        variance = np.where(known, (filled - mean) ** 2, 0.0).sum(axis=0) / np.maximum(count, 1)
        found.append(np.where(count > 0, np.sqrt(variance), np.nan))
    spread = np.concatenate(found)
    observed = ~np.isnan(spread)
    usual = spread[observed].mean() if observed.any() else 1.0
    return np.where(observed, spread, usual)


def mean_over(values: Tensor, valid: Tensor) -> Tensor:
    """Return the mean of the valid values, 0 (with a graph) if there is none."""
    return torch.where(valid, values, 0.0).sum() / valid.sum().clamp(min=1)


def safe_sqrt(values: Tensor) -> Tensor:
    """Return the square root, with gradient 0 instead of infinity at 0."""
    positive = values > 0
    return torch.where(positive, torch.where(positive, values, 1.0).sqrt(), 0.0)
