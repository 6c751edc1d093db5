"""Gradients that cannot be differentiated again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dmg.errors import StepError


class _Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, what: str, hint: str, *gradients: Tensor) -> tuple[Tensor, ...]:
        ctx.what, ctx.hint = what, hint
        return tuple(g.view_as(g) for g in gradients)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        raise StepError(f"{ctx.what} has no second derivatives", hint=ctx.hint)


def only_once(gradients: Sequence[Tensor | None], what: str, hint: str) -> tuple[Tensor | None, ...]:
    """Return gradients that refuse, where PyTorch records how they are made, to be differentiated."""
    if not torch.is_grad_enabled():
        return tuple(gradients)
    refused = iter(_Once.apply(what, hint, *(g.requires_grad_() for g in gradients if g is not None)))
    return tuple(g if g is None else next(refused) for g in gradients)
