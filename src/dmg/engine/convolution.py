"""Causal convolution along time, differentiable any number of times.

Convolution and correlation are each other's gradients; both are compiled for CPUs and made of PyTorch's operations
elsewhere.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from dmg.engine.backend import reason_against


def convolve(series: Tensor, kernel: Tensor) -> Tensor:
    """Return a series convolved with a kernel.

    Parameters
    ----------
    series
        [T + L - 1, B]; the first L - 1 rows are what was before the first step.
    kernel
        [L, B] or, the same for all sites, [L, 1]; by lag.

    Returns
    -------
    Tensor
        [T, B], the sum over lags of ``kernel[lag] * series[t + L - 1 - lag]``.
    """
    # The compiled functions trust the shapes.
    return _Convolve.apply(series, kernel.expand(-1, series.shape[1]))


class _Convolve(torch.autograd.Function):
    """``out[t] = sum of kernel[lag] * series[t + L - 1 - lag]``."""

    @staticmethod
    def forward(ctx: Any, series: Tensor, kernel: Tensor) -> Tensor:
        ctx.save_for_backward(series, kernel)
        if _compiled(series, kernel):
            from dmg.engine import llvm_convolution

            return llvm_convolution.convolve(series.contiguous(), kernel.contiguous())
        length = kernel.shape[0]
        steps = series.shape[0] - length + 1
        total = kernel[0] * series[length - 1 :]
        for lag in range(1, length):
            total.addcmul_(kernel[lag], series[length - 1 - lag :][:steps])
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        series, kernel = ctx.saved_tensors
        needs_series, needs_kernel = ctx.needs_input_grad
        return (
            _spread(gradient, kernel) if needs_series else None,
            _Correlate.apply(series, gradient) if needs_kernel else None,
        )


class _Correlate(torch.autograd.Function):
    """``out[lag] = sum of weights[t] * series[t + L - 1 - lag]``."""

    @staticmethod
    def forward(ctx: Any, series: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(series, weights)
        if _compiled(series, weights):
            from dmg.engine import llvm_convolution

            return llvm_convolution.correlate(series.contiguous(), weights.contiguous())
        steps = weights.shape[0]
        length = series.shape[0] - steps + 1
        return torch.stack([(weights * series[length - 1 - lag :][:steps]).sum(0) for lag in range(length)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        series, weights = ctx.saved_tensors
        needs_series, needs_weights = ctx.needs_input_grad
        return (
            _spread(weights, gradient) if needs_series else None,
            _Convolve.apply(series, gradient) if needs_weights else None,
        )


def _spread(values: Tensor, kernel: Tensor) -> Tensor:
    """Return what every row of a series got of values [T, B] through a kernel, [T + L - 1, B]."""
    beyond = kernel.shape[0] - 1
    return _Convolve.apply(pad(values, (0, 0, beyond, beyond)), kernel.flip(0))


def _compiled(*tensors: Tensor) -> bool:
    """Return whether there is a compiled function for tensors."""
    first = tensors[0]
    known = first.dtype in (torch.float32, torch.float64) and all(t.dtype == first.dtype for t in tensors)
    return known and first.device.type == "cpu" and reason_against(first.device) is None
