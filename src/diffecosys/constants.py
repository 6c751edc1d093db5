"""Constants of leaf photosynthesis, in the units of its equations: Pa, K, J, µmol m-2 s-1.

Sources: the values of FATES and CLM, as used by Aboelyazeed et al. (2023), https://doi.org/10.5194/bg-20-2671-2023.
"""

from __future__ import annotations

from typing import NamedTuple

GAS_CONSTANT = 8.3144598  # J mol-1 K-1
FREEZING_POINT = 273.15  # K
REFERENCE_TEMPERATURE = 298.15  # K

#: Mole fraction of oxygen in air.
OXYGEN = 0.209
#: Michaelis-Menten constants and CO2 compensation point at 25 degC, as shares of air pressure.
KC25, KO25, GAMMA_STAR25 = 404.9e-6, 278.4e-3, 42.75e-6

#: Electrons per absorbed photon that reach photosystem II: half of what the pigments outside it leave.
PHOTON_SHARE = 0.5 * (1.0 - 0.15)
#: Curvature of electron transport, and of co-limitation.
THETA_PSII, THETA_COLIMITATION = 0.7, 0.999
#: CO2 per absorbed photon in C4 leaves.
C4_QUANTUM_YIELD = 0.05

#: Resistance to CO2 as a multiple of that to water vapour: in the boundary layer, in stomata.
BOUNDARY_RATIO, STOMATA_RATIO = 1.4, 1.6
#: Greatest stomatal resistance [s m-1].
GREATEST_RESISTANCE = 2e8

#: Capacities at 25 degC as multiples of Vcmax25; respiration differs between C3 and C4.
JMAX_RATIO, KP_RATIO = 1.67, 20000.0
RD_RATIO_C3, RD_RATIO_C4 = 0.015, 0.025
#: Least stomatal conductance to water vapour [µmol m-2 s-1].
G0_C3, G0_C4 = 10000.0, 40000.0
#: First guess of intercellular CO2 as a share of that outside.
FIRST_GUESS_C3, FIRST_GUESS_C4 = 0.7, 0.4


class Activation(NamedTuple):
    """How a rate depends on temperature.

    Parameters
    ----------
    energy
        Activation energy Ha [J mol-1].
    deactivation
        Energy Hd of deactivation at high temperature [J mol-1].
    entropy
        Entropy S of deactivation [J mol-1 K-1].
    scale
        What makes the factor 1 at 25 degC, where it is published as a rounded number; computed if absent.
    """

    energy: float
    deactivation: float = 0.0
    entropy: float = 0.0
    scale: float | None = None


KC, KO, GAMMA_STAR = Activation(79430.0), Activation(36380.0), Activation(37830.0)
VCMAX = Activation(65330.0, 149250.0, 485.0)
JMAX = Activation(43540.0, 152040.0, 495.0)
RESPIRATION = Activation(46390.0, 150650.0, 490.0, 1.15912391)
