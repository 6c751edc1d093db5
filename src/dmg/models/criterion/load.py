"""Build the loss that a configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from dmg.errors import ConfigError
from dmg.models.criterion.base import ArrayLike, BaseCriterion, loss_block
from dmg.models.heads.base import Head
from dmg.registry import losses


def load_criterion(
    y_obs: ArrayLike | None,
    config: Mapping[str, Any] | Any | None,
    name: str | None = None,
    device: str | torch.device | None = "cpu",
    head: Head | None = None,
) -> BaseCriterion:
    """Build the loss of a block ``train.loss_function``.

    Parameters
    ----------
    y_obs
        Observations of the training period, [T, sites] or [T, sites, 1]; None for losses that need none.
    config
        The block: ``name`` and hyper-parameters.
    name
        The loss, if the block does not name it; it overrides the block.
    device
        Where the loss is computed.
    head
        What the network says of a target; a loss that scores its distribution is told what it is (levels …).

    Raises
    ------
    UnknownNameError
        If no loss of that name is registered.
    ConfigError
        If no name or an unknown hyper-parameter is given.
    """
    block = loss_block(config)
    name = name or block.get("name")
    if not name:
        raise ConfigError("the loss has no name", where="train.loss_function.name", hint="name: RmseCombLoss")
    loss = losses.get(name)
    told = head.loss_arguments if head is not None and getattr(loss, "scores", "point") == head.kind else {}
    return loss(block, device, y_obs=y_obs, **told)
