"""A stage after the step that moves fluxes in time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmg.engine.convolution import convolve
from dmg.engine.declare import Parameter


class Router(nn.Module, ABC):
    """A linear causal router with a memory of ``length - 1`` steps.

    Attributes
    ----------
    parameters
        What a network must supply for it, one value per site.
    length
        Number of steps over which one step's flow is spread.
    needs_network
        Whether it moves water between sites; where it is not known where they drain to, it does nothing.
    reads
        What it reads of a batch, as a model reads attributes.
    """

    routing_parameters: tuple[Parameter, ...] = ()
    length: int = 1
    needs_network: ClassVar[bool] = False
    reads: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def kernel(self, parameters: Mapping[str, Tensor], length: int) -> Tensor:
        """Return the response [length, B] to a unit pulse."""

    def route(self, series: Tensor, kernel: Tensor, history: Tensor | None = None) -> Tensor:
        """Convolve a series with the kernel.

        Parameters
        ----------
        series
            [T, B].
        kernel
            [L, B].
        history
            Unrouted rows just before the series, at most L-1 of them are used; none means zeros.

        Returns
        -------
        Tensor
            Routed series, shaped like ``series``.
        """
        return convolve(extend(series, history, kernel.shape[0] - 1), kernel)

    def settled(self, row: Tensor, downstream: Any) -> Tensor:
        """Return what a run remembers before which one flow [1, B] has lasted for long: [L-1, B].

        Parameters
        ----------
        row
            The flow.
        downstream
            Where the sites flow to, for a router that moves water between them.
        """
        return row.expand(self.length - 1, -1)

    def content(self, history: Tensor, kernel: Tensor) -> Tensor:
        """Return what of the last unrouted rows [<= L-1, B] has not left yet, [B], as a rate times a step."""
        rows = history.shape[0]
        still = kernel.flip(0).cumsum(0).flip(0)
        return (history * still[1 : rows + 1].flip(0)).sum(0)


def extend(series: Tensor, history: Tensor | None, rows: int) -> Tensor:
    """Return the series with exactly ``rows`` rows of history before it, zeros where there are none."""
    if rows == 0:
        return series
    before = series[:0] if history is None else history[history.shape[0] - min(rows, history.shape[0]) :]
    missing = rows - before.shape[0]
    zeros = [series.new_zeros(missing, *series.shape[1:])] if missing else []
    return torch.cat([*zeros, before, series])


def latest(series: Tensor, history: Tensor | None, rows: int) -> Tensor:
    """Return the last ``rows`` rows of a series with its history, zeros where there are none."""
    steps = series.shape[0]
    return series[steps - rows :] if steps >= rows else extend(series, history, rows)[steps:]
