"""Thresholds of the HBV equations, sharp as they are published, or smoothed.

Sharp thresholds leave kinks in which a gradient is one-sided. Smoothed ones are differentiable everywhere; away from
the thresholds they give the same to rounding, or nearly so.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from hydrodl2.models.hbv.processes import at_most_one, rain_and_snow

#: Width of a smoothed threshold of a store or rate [mm, mm d-1], and of one of temperature [degC].
WIDTH, WARMTH_WIDTH = 0.1, 0.1
#: Curvature of a smoothed minimum; 1 is sharp.
CURVATURE = 0.999


class Thresholds(Protocol):
    """The five forms in which thresholds occur."""

    def rain_and_snow(self, prcp: Tensor, tmean: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
        """Split precipitation at the threshold temperature."""

    def positive(self, x: Tensor) -> Tensor:
        """Return what is above zero."""

    def smaller(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the smaller of two numbers that are not negative."""

    def at_most_one(self, x: Tensor) -> Tensor:
        """Return a number that is not negative, one at most."""

    def limited(self, rate: Tensor, store: Tensor) -> Tensor:
        """Return a rate that only smoothing can make larger than its store."""


class Sharp:
    """Thresholds as published."""

    rain_and_snow = staticmethod(rain_and_snow)
    positive = staticmethod(torch.relu)
    smaller = staticmethod(torch.minimum)
    at_most_one = staticmethod(at_most_one)

    def limited(self, rate: Tensor, store: Tensor) -> Tensor:
        """Return the rate: it is smaller already."""
        return rate


class Logistic:
    """Thresholds that switch by a logistic function.

    A positive part is the integral of that function, ``w ln(1 + exp(x / w))``. A minimum is the smaller root m of
    ``c m² - (a + b) m + a b = 0``, which is zero where a or b is: an empty store loses nothing.

    Source: Kavetski and Kuczera (2007), https://doi.org/10.1029/2006WR005195, for smoothing; Thornley and Johnson
    (1990), Plant and Crop Modelling, for the non-rectangular hyperbola.
    """

    def rain_and_snow(self, prcp: Tensor, tmean: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
        """Split precipitation gradually around the threshold temperature."""
        rain = prcp * torch.sigmoid((tmean - threshold) / WARMTH_WIDTH)
        return rain, prcp - rain

    def positive(self, x: Tensor) -> Tensor:
        """Return what is above zero, and a little below."""
        return WIDTH * torch.nn.functional.softplus(x / WIDTH)

    def smaller(self, a: Tensor, b: Tensor) -> Tensor:
        """Return a little less than the smaller of two numbers that are not negative."""
        # The root in a form without cancellation; the last term keeps its gradient finite where both are zero.
        root = torch.sqrt((a - b) ** 2 + 4.0 * (1.0 - CURVATURE) * a * b + 1e-12)
        return 2.0 * a * b / (a + b + root)

    def at_most_one(self, x: Tensor) -> Tensor:
        """Return a little less than the number, or than one."""
        return self.smaller(x, torch.ones_like(x))

    def limited(self, rate: Tensor, store: Tensor) -> Tensor:
        """Return a rate that is no larger than its store."""
        return self.smaller(rate, store)


#: The choices of the option ``smoothing``.
SMOOTHING: dict[str, Thresholds] = {"none": Sharp(), "logistic": Logistic()}
