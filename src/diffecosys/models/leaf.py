"""Base of the leaf models: options, and what a leaf can do at its temperature and light."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from diffecosys import constants as c
from diffecosys.capacities import Capacities, Kinetics, capacities, kinetics
from diffecosys.models.declarations import given_names, value_of
from dmg.engine import Forcing, Ledger, Parameter, ProcessModel
from dmg.engine.declare import Values

# Forcings of zero, which no leaf sees, give finite numbers.
LEAST_PRESSURE = 1e3
GROSS_LEDGER = Ledger(sources=("gross",), sinks=("An", "respiration"), stores=())


class Leaf(NamedTuple):
    """A leaf in its surroundings.

    Parameters
    ----------
    is_c3
        True where the pathway is C3.
    pressure
        Of the air [Pa].
    absorbed
        Light [µmol photons m-2 s-1].
    able
        What limits it.
    rubisco
        Kinetics of Rubisco.
    """

    is_c3: Tensor
    pressure: Tensor
    absorbed: Tensor
    able: Capacities
    rubisco: Kinetics


class LeafModel(ProcessModel):
    """Base class of leaf models; samples are sites, and every time step is a case of its own.

    Parameters
    ----------
    config
        Besides the options of `ProcessModel`: ``given``, names of parameters that the data have as columns, in their
        units, instead of a network.
    device
        See `ProcessModel`.
    """

    options: ClassVar = ("given",)
    absorptance: float = 1.0

    def __init__(self, config: Mapping[str, Any] | None = None, device: torch.device | str | None = None) -> None:
        config = dict(config or {})
        given = given_names(self.table_for(config), config, type(self).__name__)
        self.parameter_table = tuple(p for p in self.table_for(config) if p.name not in given)
        self.forcings = self.forcings_for(config)
        super().__init__(config, device)
        #: Parameters whose value somebody supplies; the others keep their defaults.
        self.supplied = sorted({p.name for p in self.layout.parameters} | set(given))

    @classmethod
    def table_for(cls, config: Mapping[str, Any]) -> tuple[Parameter, ...]:
        """Return the parameters of a model of these options, those that the data give included."""
        return cls.parameter_table

    @classmethod
    def forcings_for(cls, config: Mapping[str, Any]) -> tuple[Forcing, ...]:
        """Return the forcings that a model of these options needs, parameters that the data give among them."""
        given = config.get("given") or ()
        columns = (p for p in cls.table_for(config) if p.name in given)
        return (*cls.forcings, *(Forcing(p.name, p.unit, p.description, p.low, p.high) for p in columns))

    def leaf(self, x: Values, p: Values, wetness: Tensor | float = 1.0) -> Leaf:
        """Return the leaf of a sample."""
        is_c3 = x.c3 > 0.5
        pressure = torch.clamp(1000.0 * x.Patm, min=LEAST_PRESSURE)
        temperature = x.Tleaf + c.FREEZING_POINT
        absorbed = self.absorptance * x.PARin
        vcmax25 = value_of("Vcmax25", x, p)
        rd_ratio = self.by_pathway("rd_ratio", c.RD_RATIO_C3, c.RD_RATIO_C4, is_c3, x, p)
        able = capacities(
            temperature,
            absorbed,
            is_c3,
            vcmax25,
            vcmax25 * value_of("jmax_ratio", x, p),
            vcmax25 * rd_ratio,
            value_of("vcmaxha", x, p),
            wetness,
        )
        return Leaf(is_c3, pressure, absorbed, able, kinetics(temperature, pressure))

    def by_pathway(self, name: str, c3: float, c4: float, is_c3: Tensor, x: Values, p: Values) -> Tensor:
        """Return a parameter that has a default for each pathway."""
        if name in self.supplied:
            return value_of(name, x, p)
        return torch.where(is_c3, c3, torch.full_like(x.c3, c4))
