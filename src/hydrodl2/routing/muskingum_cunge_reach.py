"""One reach by the nonlinear Muskingum-Cunge method, as a step of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from dmg.engine import Attribute, Flux, Forcing, Parameter, ProcessModel, State
from dmg.engine.declare import Values

#: Least discharge [m3 s-1]: depth and celerity of an empty reach are not defined.
MINIMUM_DISCHARGE = 1e-4


class MuskingumCungeReach(ProcessModel):
    """Muskingum-Cunge routing through a reach, coefficients from the discharge of the step before.

    Top width and depth follow w = p d^q (Leopold and Maddock); the depth comes from Manning's equation for a wide
    channel, the celerity is 5/3 of the velocity in a trapezoid of that width. The weight of the inflow, X, is constant.

    Parameters
    ----------
    dt
        Time step [s].
    nonnegative
        Keep all coefficients at or above zero: X gives way where the Courant number asks for it, and a reach that is
        shorter than half a step's travel passes its inflow on. As published, coefficients may be negative, which
        shows as dips and oscillations.
    engine
        ``auto``, ``eager`` or ``fused``.

    Sources: Cunge (1969), https://doi.org/10.1080/00221686909500264; Bindas et al. (2024),
    https://doi.org/10.1029/2023WR035337.
    """

    forcings = (
        Forcing("inflow", "m3 s-1", "discharge of the reaches upstream at the end of the step", 0.01, 20.0),
        Forcing("inflow_before", "m3 s-1", "discharge of the reaches upstream at its beginning", 0.01, 20.0),
        Forcing("lateral", "m3 s-1", "what the reach's own catchment adds", 0.01, 5.0),
    )
    attributes = (
        Attribute("length", "m", "length of the reach", 500.0, 20000.0),
        Attribute("slope", "m m-1", "slope of the bed", 1e-3, 0.05),
        Attribute("weight", "-", "weight of the inflow, X", 0.1, 0.4),
    )
    parameters = (
        Parameter("n", 0.015, 0.25, "s m-1/3", "Manning's roughness"),
        Parameter("q_spatial", 0.0, 1.0, "-", "exponent of the width: 0 rectangular, 1 triangular"),
        Parameter("p_spatial", 1.0, 200.0, "m", "top width at a depth of 1 m"),
    )
    states = (State("discharge", "m3 s-1", MINIMUM_DISCHARGE, description="at the end of the step"),)
    fluxes = (
        Flux("outflow", "m3 s-1", "discharge before it is kept above the minimum"),
        Flux("discharge_kept", "m3 s-1", "discharge at the end of the step"),
        Flux("negative", "-", "whether a coefficient is negative", diagnostic=True),
        Flux("clamped", "-", "whether discharge was below the minimum", diagnostic=True),
        Flux("added", "m3 s-1", "what keeping discharge and lateral inflow above the minimum adds", diagnostic=True),
    )
    #: What a forcing is the sum of over the reaches upstream: a flux of the same step, or a state before it.
    above: ClassVar = (("inflow", "outflow"), ("inflow_before", "discharge"))
    link: ClassVar = "identity"

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        device: torch.device | str | None = None,
        *,
        dt: float = 3600.0,
        nonnegative: bool = False,
    ) -> None:
        super().__init__(config, device)
        self.dt, self.nonnegative = dt, nonnegative

    def step(self, s: Values, x: Values, p: Values, dt: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One step."""
        travel = x.length / celerity(s.discharge, p.n, p.q_spatial, p.p_spatial, x.slope)
        weight = x.weight
        if self.nonnegative:
            travel = torch.clamp(travel, min=0.5 * dt)
            courant = 0.5 * dt / travel
            weight = torch.minimum(weight, torch.minimum(courant, 1.0 - courant))
        denominator = 2.0 * travel * (1.0 - weight) + dt
        c1 = (dt - 2.0 * travel * weight) / denominator
        c2 = (dt + 2.0 * travel * weight) / denominator
        c3 = (2.0 * travel * (1.0 - weight) - dt) / denominator
        lateral = torch.clamp(x.lateral, min=MINIMUM_DISCHARGE)
        outflow = c1 * x.inflow + c2 * x.inflow_before + c3 * s.discharge + (2.0 * dt / denominator) * lateral
        kept = torch.clamp(outflow, min=MINIMUM_DISCHARGE)
        one, zero = torch.ones_like(c1), torch.zeros_like(c1)
        fluxes = {
            "outflow": outflow,
            "discharge_kept": kept,
            "negative": torch.where(torch.minimum(c1, c3) < -1e-6, one, zero),  # by more than rounding
            "clamped": torch.where(outflow < MINIMUM_DISCHARGE, one, zero),
            "added": kept - outflow + (lateral - x.lateral),
        }
        return {"discharge": kept}, fluxes


def celerity(discharge: Tensor, roughness: Tensor, exponent: Tensor, width: Tensor, slope: Tensor) -> Tensor:
    """Return the celerity [m s-1] of a flood wave.

    Parameters
    ----------
    discharge
        Discharge [m3 s-1], positive.
    roughness
        Manning's n [s m-1/3].
    exponent, width
        q and p of the top width p d^q.
    slope
        Slope of the bed.
    """
    exponent = exponent + 1e-6
    root = torch.sqrt(slope)
    wide = discharge * roughness * (exponent + 1.0) / (width * root + 1e-8)
    depth = torch.clamp(wide ** (3.0 / (5.0 + 3.0 * exponent)), min=0.01)
    top = width * depth**exponent
    side = torch.clamp(top * exponent / (2.0 * depth), 0.5, 50.0)
    bottom = torch.clamp(top - 2.0 * side * depth, min=0.01)
    area = 0.5 * (top + bottom) * depth
    perimeter = bottom + 2.0 * depth * torch.sqrt(1.0 + side * side)
    velocity = (area / perimeter) ** (2.0 / 3.0) * root / roughness
    return (5.0 / 3.0) * torch.clamp(velocity, 0.01, 15.0)
