"""Memory that runs use again: fresh pages cost more than the kernel that fills them."""

from __future__ import annotations

import math
from collections import defaultdict

import torch
from torch import Tensor

# Buffers of one size that are kept; more come and go with their runs.
SPARE = 2

_free: defaultdict[tuple[int, torch.dtype], list[Tensor]] = defaultdict(list)


class Loan:
    """A tensor of which the memory goes back when nobody holds the loan any more.

    Parameters
    ----------
    shape, dtype, device
        Of the tensor; its values are arbitrary. Memory of a GPU goes back to PyTorch, which knows the streams.

    Attributes
    ----------
    tensor
        The tensor; it must not outlive the loan.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        self._key = (math.prod(shape), dtype)
        spare = _free[self._key] if device.type == "cpu" else []
        self._buffer = spare.pop() if spare else torch.empty(self._key[0], dtype=dtype, device=device)
        self.tensor = self._buffer.view(shape)

    def __del__(self) -> None:
        spare = _free[self._key]
        if self._buffer.device.type == "cpu" and len(spare) < SPARE:
            spare.append(self._buffer)
