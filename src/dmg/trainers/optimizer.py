"""Optimizer and learning-rate scheduler by their names in PyTorch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from dmg.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from dmg.conf.train import Train


def make_optimizer(parameters: Iterable[torch.nn.Parameter | dict[str, Any]], train: Train) -> torch.optim.Optimizer:
    """Return the optimizer ``train.optimizer`` names, with its arguments and ``train.lr``.

    Parameters
    ----------
    parameters
        Parameters, or groups of them that may have a learning rate of their own; those that are frozen are left out.
    train
        The block ``train``.

    Raises
    ------
    ConfigError
        If torch.optim has no such optimizer, it refuses its arguments, or there is nothing to train.
    """
    given = list(parameters)
    groups = given if given and isinstance(given[0], dict) else [{"params": given}]
    groups = [group | {"params": [p for p in group["params"] if p.requires_grad]} for group in groups]
    if not any(group["params"] for group in groups):
        raise ConfigError("the model has no trainable parameters", where="model", hint="unfreeze some")
    name = train.optimizer.name
    cls = getattr(torch.optim, name, None)
    if not (isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)):
        known = [n for n in dir(torch.optim) if n[0].isupper() and n != "Optimizer"]
        raise ConfigError(f"unknown optimizer '{name}'", where="train.optimizer.name", hint=did_you_mean(name, known))
    try:
        return cls([g for g in groups if g["params"]], lr=train.lr, **train.optimizer.arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} refuses its arguments: {error}", where="train.optimizer") from error


def make_scheduler(optimizer: torch.optim.Optimizer, train: Train) -> LRScheduler | None:
    """Return the scheduler ``train.lr_scheduler`` names, with exactly the arguments given; None for none.

    Raises
    ------
    ConfigError
        If torch.optim.lr_scheduler has no such scheduler or it refuses its arguments.
    """
    if train.lr_scheduler is None:
        return None
    name = train.lr_scheduler.name
    cls = getattr(torch.optim.lr_scheduler, name, None)
    if not (isinstance(cls, type) and issubclass(cls, LRScheduler)):
        known = [n for n in dir(torch.optim.lr_scheduler) if n.endswith("LR") or "Reduce" in n]
        raise ConfigError(
            f"unknown scheduler '{name}'", where="train.lr_scheduler.name", hint=did_you_mean(name, known)
        )
    try:
        return cls(optimizer, **train.lr_scheduler.arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name} refuses its arguments: {error}", where="train.lr_scheduler") from error


def step_scheduler(scheduler: LRScheduler | None, loss: float, score: float | None, validates: bool) -> None:
    """Step a scheduler at the end of an epoch.

    `ReduceLROnPlateau` watches the validation score where there is a validation, and steps only in epochs that have
    one: the median NSE if its mode is ``max``, 1 − NSE if it is ``min``. Without validation it watches the training
    loss.

    Parameters
    ----------
    scheduler
        Any scheduler, or None.
    loss
        Mean training loss of the epoch.
    score
        Validation score of the epoch, or None if this epoch was not validated.
    validates
        Whether the run validates at all.
    """
    if scheduler is None:
        return
    if not isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step()
    elif not validates:
        scheduler.step(-loss if scheduler.mode == "max" else loss)
    elif score is not None:
        scheduler.step(score if scheduler.mode == "max" else 1.0 - score)
