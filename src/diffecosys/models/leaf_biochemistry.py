"""Assimilation of a leaf whose intercellular CO2 was measured: the model of A-Ci curves."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from diffecosys.assimilation import gross_assimilation
from diffecosys.models import declarations as d
from diffecosys.models.leaf import GROSS_LEDGER, LeafModel
from dmg.engine.declare import Values
from dmg.registry import process_models


@process_models.register("LeafBiochemistry", "leaf_biochemistry")
class LeafBiochemistry(LeafModel):
    """Photosynthesis of C3 and C4 leaves at a measured intercellular CO2, without stomata.

    ``jmax_ratio``, ``rd_ratio`` and ``vcmaxha`` keep their defaults unless they are listed as dynamic or given; the
    default of ``rd_ratio`` is that of the pathway.

    Notes
    -----
    Sources: Farquhar et al. (1980), Collatz et al. (1992); constants as in CLM4.5.
    """

    name = "Leaf biochemistry"
    forcings = (d.PATHWAY, d.INNER_CO2, d.LIGHT, d.LEAF_TEMPERATURE, d.PRESSURE)
    parameters = (d.VCMAX25, d.JMAX_SHARE, d.RD_SHARE, d.ENERGY)
    fluxes = (d.NET, d.GROSS, d.RESPIRATION)
    ledger: ClassVar = GROSS_LEDGER

    def step(self, s: Values, x: Values, p: Values, dt: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the fluxes of a sample; there is no state."""
        leaf = self.leaf(x, p)
        ci = x.Ci * 1e-6 * leaf.pressure
        gross = gross_assimilation(ci, leaf.able, leaf.rubisco, leaf.absorbed, leaf.pressure, leaf.is_c3)
        respiration = leaf.able.respiration
        return {}, {"An": gross - respiration, "gross": gross, "respiration": respiration}
