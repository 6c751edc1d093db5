"""How dry soil closes stomata: the factor btran of CLM, from the wetness of soil layers and their roots."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# Saturation below which a layer counts as dry: powers of it stay finite.
LEAST_WETNESS = 1e-4


def layer_wetness(saturation: Tensor, exponent: Tensor, psi_open: Tensor, psi_closed: Tensor) -> Tensor:
    """Return to what share the water of a layer lets stomata open.

    Parameters
    ----------
    saturation
        Soil water as a share of the pores.
    exponent
        B of the water retention curve psi = psi_open * saturation^-B.
    psi_open, psi_closed
        Soil water potentials [mm, negative] at which stomata are fully open and closed.
    """
    filled = torch.clamp(saturation, min=LEAST_WETNESS)
    potential = torch.maximum(psi_open * filled ** (-exponent), psi_closed)
    return torch.clamp((psi_closed - potential) / (psi_closed - psi_open), max=1.0)


def soil_water_factor(shares: Sequence[Tensor], roots: Sequence[Tensor]) -> Tensor:
    """Return btran, the mean of the layers' shares weighted by their roots, from 0 (dry) to 1."""
    total = shares[0] * roots[0]
    for share, root in zip(shares[1:], roots[1:], strict=True):
        total = total + share * root
    return torch.clamp(total, min=0.0)
