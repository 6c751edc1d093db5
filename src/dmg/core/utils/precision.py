"""Networks in bfloat16, everything else in float32."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor


def network_precision(precision: str, like: Tensor) -> AbstractContextManager[object]:
    """Return the context in which a network is run.

    Under ``bf16`` matrix products and recurrences take rounded inputs (8 bits of mantissa, sums in float32); weights,
    their gradients and the optimizer's moments stay float32. Its results are the caller's to widen again before they
    become parameters of a process: a store that gains a thousandth of its content per day needs more than 8 bits.

    Parameters
    ----------
    precision
        ``float32`` or ``bf16``.
    like
        A tensor on the device of the network.
    """
    return torch.autocast(like.device.type, torch.bfloat16, enabled=precision == "bf16")
