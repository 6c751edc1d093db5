"""Gross assimilation of CO2 by C3 and C4 leaves at a given intercellular CO2.

Sources: Farquhar et al. (1980), Collatz et al. (1991, 1992), with co-limitation as in CLM4.5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from diffecosys.capacities import Capacities, Kinetics
from diffecosys.constants import C4_QUANTUM_YIELD, THETA_COLIMITATION
from diffecosys.quadratic import smooth_minimum


def c3_assimilation(ci: Tensor, leaf: Capacities, rubisco: Kinetics) -> Tensor:
    """Return what Rubisco and electron transport allow together, µmol m-2 s-1; ci in Pa."""
    available = torch.clamp(ci - rubisco.compensation, min=0.0)
    by_rubisco = leaf.carboxylation * available / (ci + rubisco.michaelis_menten)
    by_light = leaf.electrons * available / (4.0 * ci + 8.0 * rubisco.compensation)
    return smooth_minimum(THETA_COLIMITATION, by_rubisco, by_light)


def c4_assimilation(ci: Tensor, leaf: Capacities, absorbed: Tensor, pressure: Tensor) -> Tensor:
    """Return what Rubisco, light and PEP carboxylation allow together, µmol m-2 s-1; ci and pressure in Pa."""
    by_pep = leaf.pep * torch.clamp(ci, min=0.0) / pressure
    by_rubisco_and_light = smooth_minimum(THETA_COLIMITATION, leaf.carboxylation, C4_QUANTUM_YIELD * absorbed)
    return smooth_minimum(THETA_COLIMITATION, by_rubisco_and_light, by_pep)


def gross_assimilation(
    ci: Tensor, leaf: Capacities, rubisco: Kinetics, absorbed: Tensor, pressure: Tensor, is_c3: Tensor
) -> Tensor:
    """Return the assimilation of the sample's pathway; nothing in the dark."""
    c3 = c3_assimilation(ci, leaf, rubisco)
    grown = torch.where(is_c3, c3, c4_assimilation(ci, leaf, absorbed, pressure))
    return torch.where(absorbed > 0.0, grown, torch.zeros_like(grown))
