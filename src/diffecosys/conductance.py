"""Stomatal conductance to water vapour, µmol m-2 s-1, and the diffusion of CO2 through it.

The equations hold at the leaf surface; humidity there follows from that of the air and both conductances, so that
each model is a quadratic equation. No conductance is less than ``least``, and a leaf that only respires has that one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffecosys.constants import BOUNDARY_RATIO, STOMATA_RATIO
from diffecosys.quadratic import EPSILON, larger_root


def medlyn(
    assimilation: Tensor, cs: Tensor, least: Tensor, slope: Tensor, boundary: Tensor, deficit: Tensor, pressure: Tensor
) -> Tensor:
    """Return the conductance of the unified optimal model (Medlyn et al., 2011).

    Parameters
    ----------
    assimilation
        Net assimilation [µmol m-2 s-1].
    cs
        CO2 at the leaf surface [Pa].
    least, boundary
        Least conductance, and that of the boundary layer [µmol m-2 s-1].
    slope
        g1 [kPa^0.5].
    deficit
        Vapour pressure deficit of the air [kPa].
    pressure
        Of the air [Pa].

    Notes
    -----
    This is the larger root of the published quadratic equation; written out, no digits cancel in its discriminant.
    """
    unit = STOMATA_RATIO * torch.clamp(assimilation, min=0.0) * pressure / cs
    share = slope * slope * unit / (boundary * deficit)
    spread = slope * slope * (1.0 + (least + unit) / boundary) / deficit + 0.25 * share * share
    open_ = least + unit + 0.5 * unit * share + torch.sqrt(unit * unit * spread + 0.25 * EPSILON)
    return torch.where(assimilation < 0.0, least, open_)


def ball_berry(
    assimilation: Tensor, cs: Tensor, least: Tensor, slope: Tensor, boundary: Tensor, humidity: Tensor, pressure: Tensor
) -> Tensor:
    """Return the conductance of Ball, Woodrow and Berry (1987), least + slope * assimilation * humidity / CO2.

    ``humidity`` is the vapour pressure of the air as a share of that inside the leaf, ``slope`` has no unit; the rest
    is as for `medlyn`.
    """
    unit = slope * torch.clamp(assimilation, min=0.0) * pressure / cs
    return larger_root(1.0, boundary - least - unit, -boundary * (least + unit * humidity))


def saturation_pressure(temperature: Tensor) -> Tensor:
    """Return the saturation vapour pressure [kPa] over water at a temperature [degC] (Buck, 1981)."""
    return 0.61121 * torch.exp(17.502 * temperature / (temperature + 240.97))


def resistance(stomata: Tensor, boundary: Tensor) -> Tensor:
    """Return the resistance to CO2 from the air to the inside of the leaf, m2 s µmol-1."""
    return BOUNDARY_RATIO / boundary + STOMATA_RATIO / stomata


#: Stomatal models by name.
CONDUCTANCE: dict[str, Callable[..., Tensor]] = {"medlyn": medlyn, "ball_berry": ball_berry}
