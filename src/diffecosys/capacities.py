"""What a leaf can do at its temperature: enzyme kinetics, carboxylation, electron transport, respiration."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from diffecosys import constants as c
from diffecosys.quadratic import smooth_minimum
from diffecosys.temperature import above, arrhenius, doubling, peaked


class Kinetics(NamedTuple):
    """Kinetics of Rubisco at leaf temperature, all in Pa.

    Parameters
    ----------
    michaelis_menten
        Effective Michaelis-Menten constant Kc (1 + O / Ko).
    compensation
        CO2 compensation point Γ* without respiration in light.
    """

    michaelis_menten: Tensor
    compensation: Tensor


class Capacities(NamedTuple):
    """Rates that limit a leaf, µmol m-2 s-1.

    Parameters
    ----------
    carboxylation
        Vcmax.
    electrons
        Electron transport J at the light of the sample.
    pep
        Slope of PEP carboxylation kp, for C4.
    respiration
        Rd.
    """

    carboxylation: Tensor
    electrons: Tensor
    pep: Tensor
    respiration: Tensor


def kinetics(temperature: Tensor, pressure: Tensor) -> Kinetics:
    """Return the kinetics of Rubisco at a leaf temperature [K] and air pressure [Pa]."""
    kc = c.KC25 * pressure * arrhenius(temperature, c.KC.energy)
    ko = c.KO25 * pressure * arrhenius(temperature, c.KO.energy)
    return Kinetics(
        kc * (1.0 + c.OXYGEN * pressure / ko),
        c.GAMMA_STAR25 * pressure * arrhenius(temperature, c.GAMMA_STAR.energy),
    )


def electron_transport(jmax: Tensor, absorbed: Tensor) -> Tensor:
    """Return electron transport at absorbed light [µmol photons m-2 s-1]."""
    return smooth_minimum(c.THETA_PSII, c.PHOTON_SHARE * absorbed, jmax)


def capacities(
    temperature: Tensor,
    absorbed: Tensor,
    is_c3: Tensor,
    vcmax25: Tensor,
    jmax25: Tensor,
    rd25: Tensor,
    energy: Tensor | float,
    wetness: Tensor | float,
) -> Capacities:
    """Return the capacities of a leaf.

    Parameters
    ----------
    temperature
        Of the leaf [K].
    absorbed
        Absorbed light [µmol photons m-2 s-1]; in the dark nothing but respiration goes on.
    is_c3
        True where the pathway is C3.
    vcmax25, jmax25, rd25
        Capacities at 25 degC [µmol m-2 s-1].
    energy
        Activation energy of carboxylation [J mol-1], of C3 leaves.
    wetness
        Share to which dry soil leaves carboxylation; it touches no other rate.
    """
    twice = doubling(temperature)
    c3 = vcmax25 * peaked(temperature, c.VCMAX, energy)
    c4 = vcmax25 * twice / above(temperature, 288.15, -0.2) / above(temperature, 313.15, 0.3)
    light = absorbed > 0.0
    dark = torch.zeros_like(c3)
    jmax = torch.where(light, jmax25 * peaked(temperature, c.JMAX), dark)
    return Capacities(
        carboxylation=torch.where(light, torch.where(is_c3, c3, c4), dark) * wetness,
        electrons=electron_transport(jmax, absorbed),
        pep=torch.where(light, c.KP_RATIO * vcmax25 * twice, dark),
        respiration=torch.where(
            is_c3, rd25 * peaked(temperature, c.RESPIRATION), rd25 * twice / above(temperature, 328.15, 1.3)
        ),
    )
