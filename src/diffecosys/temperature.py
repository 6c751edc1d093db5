"""How rates of leaves depend on temperature: Arrhenius, deactivation by heat, doubling per ten kelvin."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffecosys.constants import GAS_CONSTANT, REFERENCE_TEMPERATURE, Activation


def arrhenius(temperature: Tensor, energy: Tensor | float) -> Tensor:
    """Return the factor of a rate relative to 25 degC; temperature in K, activation energy in J mol-1."""
    return torch.exp(energy / (GAS_CONSTANT * REFERENCE_TEMPERATURE) * (1.0 - REFERENCE_TEMPERATURE / temperature))


def heat(temperature: Tensor | float, rate: Activation) -> Tensor | float:
    """Return (S T - Hd) / (R T), whose exponential says how much of an enzyme heat has stopped."""
    return (rate.entropy * temperature - rate.deactivation) / (GAS_CONSTANT * temperature)


def peaked(temperature: Tensor, rate: Activation, energy: Tensor | float | None = None) -> Tensor:
    """Return the factor of a rate that heat deactivates, 1 at 25 degC; ``energy`` replaces that of the rate."""
    active = arrhenius(temperature, rate.energy if energy is None else energy)
    scale = rate.scale or 1.0 + math.exp(heat(REFERENCE_TEMPERATURE, rate))
    return active * scale / (1.0 + torch.exp(heat(temperature, rate)))


def doubling(temperature: Tensor) -> Tensor:
    """Return the factor of a rate that doubles with ten kelvin, 1 at 25 degC."""
    return torch.exp(math.log(2.0) * (temperature - REFERENCE_TEMPERATURE) / 10.0)


def above(temperature: Tensor, middle: float, slope: float) -> Tensor:
    """Return 1 + exp(slope (T - middle)), by which heat (or cold, with a negative slope) divides a C4 rate."""
    return 1.0 + torch.exp(slope * (temperature - middle))
