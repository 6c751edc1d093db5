"""Weights of models, and what the models give together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Outputs = Mapping[str, Tensor]


def scale_weights(raw: Tensor, scaling: str, mosaic: bool = False) -> Tensor:
    """Return the weights [T, B, M] of M models from the output of a network.

    Parameters
    ----------
    raw
        [T, B, M].
    scaling
        ``softmax``: over the models, so that the weights add up to 1. ``sigmoid``: each for itself; their sum is free,
        and a range-bound loss keeps it near 1.
    mosaic
        Take the model with the largest weight alone, at every site and step. The gradient is that of the weights
        before the choice, which has none itself (straight-through).
    """
    weights = torch.softmax(raw, dim=-1) if scaling == "softmax" else torch.sigmoid(raw)
    if not mosaic:
        return weights
    chosen = torch.nn.functional.one_hot(weights.argmax(dim=-1), weights.shape[-1]).to(weights)
    return chosen + (weights - weights.detach())


def combine(members: Sequence[Outputs], weights: Tensor | None = None) -> dict[str, Tensor]:
    """Return every series that all members have: their mean, or their sum under weights.

    Parameters
    ----------
    members
        Outputs of each model, name to series [T, B, 1]; what has no time axis is left out.
    weights
        [T, B, M]; equal ones that add up to 1 if absent.
    """
    shared = [name for name in members[0] if all(name in outputs for outputs in members)]
    found = {}
    for name in shared:
        if members[0][name].ndim != 3:
            continue
        stacked = torch.cat([outputs[name] for outputs in members], dim=-1)
        weighted = stacked.mean(-1, keepdim=True) if weights is None else (stacked * weights).sum(-1, keepdim=True)
        found[name] = weighted
    return found
