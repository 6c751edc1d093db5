"""One seed for every random number of a run."""

from __future__ import annotations


def set_randomseed(seed: int | None = 0) -> None:
    """Seed the generators of Python, NumPy and torch, and ask torch for deterministic kernels where it has them.

    Parameters
    ----------
    seed
        The seed; None leaves every generator as it is, for runs that shall differ.
    """
    if seed is None:
        return
    import random

    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - users' plug-ins draw from the global generator
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
