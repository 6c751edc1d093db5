"""Leaf photosynthesis with stomata and dry soil: intercellular CO2 is what diffusion and assimilation agree on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from diffecosys import constants as c
from diffecosys.assimilation import gross_assimilation
from diffecosys.conductance import CONDUCTANCE, resistance, saturation_pressure
from diffecosys.models import declarations as d
from diffecosys.models.declarations import value_of
from diffecosys.models.leaf import GROSS_LEDGER, Leaf, LeafModel
from diffecosys.soil_water import layer_wetness, soil_water_factor
from dmg.engine import Flux, Forcing, Ledger, Parameter, State
from dmg.engine.declare import Values
from dmg.errors import StepError, did_you_mean
from dmg.registry import process_models

#: Where the CO2 of the data was measured.
CO2_AT = ("leaf", "air")
#: Share of the light that leaves absorb, by published variant.
ABSORPTANCE = {"2023": 1.0, "2025": 0.85}
# Bounds of what is divided by; the data of leaves never reach them, but for the deficit.
LEAST_OUTSIDE, LEAST_CO2, LEAST_BOUNDARY, LEAST_DEFICIT = 0.1, 1e-6, 1e3, 0.05

G0 = Parameter("g0", 8000.0, 48000.0, "umol m-2 s-1", "least stomatal conductance; by pathway if not learned", 0.0)
G1 = {
    "medlyn": Parameter("g1", 0.5, 10.0, "kPa^0.5", "slope of stomatal conductance"),
    "ball_berry": Parameter("g1", 2.0, 18.0, "-", "slope of stomatal conductance"),
}
BTRAN = Parameter("btran", 0.0, 1.0, "-", "share to which the soil lets stomata open", 1.0)
PSI_OPEN = Forcing("psi_open", "mm", "soil water potential at which stomata are open", -83000.0, -66000.0)
PSI_CLOSED = Forcing("psi_closed", "mm", "soil water potential at which stomata are closed", -428000.0, -255000.0)


@process_models.register("LeafPhotosynthesis", "leaf_photosynthesis")
class LeafPhotosynthesis(LeafModel):
    """Photosynthesis and stomatal conductance of C3 and C4 leaves, with stress by dry soil.

    Intercellular CO2 is the solution of one equation per sample, found by Newton's method between bounds with
    bisection where that fails; gradients are those of the solution.

    Parameters
    ----------
    config
        Besides the options of `LeafModel`: ``co2`` (leaf; air where CO2S is that of the air outside the boundary
        layer), ``conductance`` (medlyn; ball_berry), ``layers`` (0; number of soil layers: the data then give
        ``wetness_1``, ``root_1``, ``psi_open`` and ``psi_closed``, and there is a parameter ``B_1`` for each layer
        instead of ``btran``), ``variant`` (2023; with 2025 leaves absorb 85 % of the light, and one that only
        respires keeps the first guess of its intercellular CO2: what diffuses into it is not what it assimilates).
    device
        See `ProcessModel`.

    Notes
    -----
    Parameters with a default keep it unless they are listed as dynamic or given; the default of ``g0`` and
    ``rd_ratio`` is that of the pathway.

    Sources: Aboelyazeed et al. (2023), https://doi.org/10.5194/bg-20-2671-2023; Aboelyazeed et al. (2025),
    https://doi.org/10.1029/2024JG008552.
    """

    name = "Leaf photosynthesis"
    options: ClassVar = (*LeafModel.options, "co2", "conductance", "layers", "variant")
    forcings = (
        d.PATHWAY,
        d.CO2,
        d.LIGHT,
        d.LEAF_TEMPERATURE,
        d.AIR_TEMPERATURE,
        d.PRESSURE,
        d.DEFICIT,
        d.BOUNDARY,
        d.LEAF_AREA,
    )
    parameters = (d.VCMAX25, G1["medlyn"], G0, BTRAN, d.JMAX_SHARE, d.RD_SHARE, d.ENERGY)
    # A multiple of the first guess, so that one number starts every search.
    states = (State("ci_ratio", "-", 1.0, description="intercellular CO2", algebraic=True, bounds=(0.0, 1e7)),)
    fluxes = (
        d.NET,
        Flux("gs", "mol m-2 s-1", "stomatal conductance to water vapour"),
        Flux("ci", "Pa", "intercellular CO2"),
        d.GROSS,
        d.RESPIRATION,
        Flux("uptake", "umol m-2 s-1", "CO2 that diffuses into the leaf", diagnostic=True),
        Flux("vcmax", "umol m-2 s-1", "greatest carboxylation at leaf temperature", diagnostic=True),
        Flux("electrons", "umol m-2 s-1", "electron transport", diagnostic=True),
        Flux("stress", "-", "share to which the soil lets stomata open", diagnostic=True),
    )
    ledger: ClassVar = Ledger(sources=("uptake",), sinks=("An",), stores=())

    def __init__(self, config: Mapping[str, Any] | None = None, device: torch.device | str | None = None) -> None:
        config = dict(config or {})
        self.co2 = _one_of(CO2_AT, config, "co2", "leaf")
        self.conductance = _one_of(CONDUCTANCE, config, "conductance", "medlyn")
        self.layers = int(config.get("layers") or 0)
        self.variant = _one_of(ABSORPTANCE, config, "variant", "2023")
        self.absorptance = ABSORPTANCE[self.variant]
        #: Whether a leaf that only respires keeps the first guess.
        self.pins_first_guess = self.variant == "2025"
        if self.pins_first_guess:
            self.ledger = GROSS_LEDGER
        super().__init__(config, device)

    @classmethod
    def table_for(cls, config: Mapping[str, Any]) -> tuple[Parameter, ...]:
        """Return the parameters of these options: the slope of the stomatal model, an exponent for each layer."""
        slope = G1[_one_of(CONDUCTANCE, config, "conductance", "medlyn")]
        layers = range(1, int(config.get("layers") or 0) + 1)
        table = (slope if p.name == "g1" else p for p in cls.parameter_table if not layers or p.name != "btran")
        return (*table, *(Parameter(f"B_{i}", 0.0, 1.0, "-", f"water retention of soil layer {i}") for i in layers))

    @classmethod
    def forcings_for(cls, config: Mapping[str, Any]) -> tuple[Forcing, ...]:
        """Return the forcings of these options: of soil layers wetness and roots, and when stomata close."""
        layers = range(1, int(config.get("layers") or 0) + 1)
        water = (Forcing(f"wetness_{i}", "-", f"saturation of soil layer {i}", 0.0, 1.0) for i in layers)
        roots = (Forcing(f"root_{i}", "-", f"share of the roots in soil layer {i}", 0.0, 1.0) for i in layers)
        soil = (PSI_OPEN, PSI_CLOSED, *water, *roots) if layers else ()
        return (*super().forcings_for(config), *soil)

    def tendency(self, s: Values, x: Values, p: Values) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return by how much diffusion would change intercellular CO2, and the fluxes."""
        stress = self.soil_stress(x, p)
        leaf = self.leaf(x, p, stress)
        outside = torch.clamp(x.CO2S * 1e-6 * leaf.pressure, min=LEAST_OUTSIDE)
        guess = torch.where(leaf.is_c3, c.FIRST_GUESS_C3, torch.full_like(outside, c.FIRST_GUESS_C4)) * outside
        ci = s.ci_ratio * guess
        # In the dark leaves respire in any case, as published.
        grows = (x.LAI > 0.0) | (leaf.absorbed <= 0.0)
        gross = gross_assimilation(ci, leaf.able, leaf.rubisco, leaf.absorbed, leaf.pressure, leaf.is_c3)
        gross = torch.where(grows, gross, torch.zeros_like(gross))
        respiration = torch.where(grows, leaf.able.respiration, torch.zeros_like(gross))
        net = gross - respiration
        gs, air, through = self.diffusion(net, outside, stress, leaf, x, p)
        change = (air - net * leaf.pressure * through) / guess - s.ci_ratio
        if self.pins_first_guess:
            change = torch.where(net < 0.0, 1.0 - s.ci_ratio, change)
        fluxes = {
            "An": net,
            "gs": gs * 1e-6,
            "ci": ci,
            "gross": gross,
            "respiration": respiration,
            "uptake": (air - ci) / (leaf.pressure * through),
            "vcmax": leaf.able.carboxylation,
            "electrons": leaf.able.electrons,
            "stress": stress + torch.zeros_like(net),
        }
        return {"ci_ratio": change}, fluxes

    def soil_stress(self, x: Values, p: Values) -> Tensor | float:
        """Return btran, from the soil layers if there are any."""
        if not self.layers:
            return value_of("btran", x, p)
        numbers = range(1, self.layers + 1)
        wet = [
            layer_wetness(getattr(x, f"wetness_{i}"), value_of(f"B_{i}", x, p), x.psi_open, x.psi_closed)
            for i in numbers
        ]
        return soil_water_factor(wet, [getattr(x, f"root_{i}") for i in numbers])

    def diffusion(
        self, net: Tensor, outside: Tensor, stress: Tensor | float, leaf: Leaf, x: Values, p: Values
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return stomatal conductance [µmol m-2 s-1], CO2 of the air [Pa] and the resistance between it and the leaf.

        CO2 of the data is that at the leaf or in the air; the other follows from what passes the boundary layer.
        """
        boundary = torch.clamp(1e6 * x.BLCond, min=LEAST_BOUNDARY)
        passes = c.BOUNDARY_RATIO * net * leaf.pressure / boundary
        if self.co2 == "leaf":
            surface, air = outside, torch.clamp(outside + passes, min=LEAST_CO2)
        else:
            surface, air = torch.clamp(outside - passes, min=LEAST_CO2), outside
        molar = leaf.pressure * 1e9 / (1e3 * c.GAS_CONSTANT * (x.Tair + c.FREEZING_POINT))
        least = torch.maximum(
            molar / c.GREATEST_RESISTANCE, self.by_pathway("g0", c.G0_C3, c.G0_C4, leaf.is_c3, x, p) * stress
        )
        deficit = torch.clamp(x.VPD, min=LEAST_DEFICIT)
        if self.conductance == "ball_berry":
            deficit = torch.clamp(1.0 - deficit / saturation_pressure(x.Tleaf), min=0.0)
        slope = value_of("g1", x, p)
        gs = CONDUCTANCE[self.conductance](net, surface, least, slope, boundary, deficit, leaf.pressure)
        return gs, air, resistance(gs, boundary)


def _one_of(known: Any, config: Mapping[str, Any], key: str, default: str) -> str:
    value = str(config.get(key) or default)
    if value not in known:
        raise StepError(f"unknown {key} '{value}'", where=f"model.phy.{key}", hint=did_you_mean(value, known))
    return value
