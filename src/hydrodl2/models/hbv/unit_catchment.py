"""What HBV 2.x have in common: models of the unit catchments of a river network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from dmg.engine import ProcessModel
from hydrodl2.models.hbv.declarations import ELEVATION, UPSTREAM_AREA


class UnitCatchmentModel(ProcessModel):
    """Base of HBV 2.x: regional flow by upstream area, a snow threshold by elevation, parameters in [0, 1].

    Their network ends in a logistic. There is no spin-up of its own: ``warmup`` steps are simulated with gradient and
    cut. The unit hydrograph of a unit is off unless the configuration asks for it.
    """

    attributes = (UPSTREAM_AREA, ELEVATION)
    link: ClassVar = "identity"

    def __init__(self, config: Mapping[str, Any] | None = None, device: torch.device | str | None = None) -> None:
        given = {key: value for key, value in (config or {}).items() if value is not None}
        super().__init__({"routing": False} | given | {"warmup_states": False}, device)
