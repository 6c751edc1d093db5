"""A formula as a BMI component of its own: potential evapotranspiration, say, for whatever component needs it."""

from __future__ import annotations

from typing import Any

from dmg.bmi.config import read_bmi_config
from dmg.bmi.delta_model_bmi import DeltaModelBmi
from dmg.bmi.hosted_derivation import DerivationConfig, HostedDerivation


class DerivationBmi(DeltaModelBmi):
    """A formula of ``dmg.registry.derivations`` as a component: what it makes from what the host supplies.

    Examples
    --------
    >>> component = DerivationBmi()  # doctest: +SKIP
    >>> component.initialize("pet_cat-1.yaml")  # doctest: +SKIP
    >>> component.get_output_var_names()  # doctest: +SKIP
    ('land_surface_water__potential_evaporation_volume_flux',)
    """

    _model: Any

    def initialize(self, config_file: str) -> None:
        """Read a configuration of the keys of `DerivationConfig`."""
        self._model = HostedDerivation(read_bmi_config(config_file, DerivationConfig))

    def get_component_name(self) -> str:
        """Return the name of the formula."""
        return f"dMG {self._running.config.derive.method}"
