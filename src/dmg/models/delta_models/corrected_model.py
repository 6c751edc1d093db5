"""Correction of forcing and of the output at once."""

from __future__ import annotations

from typing import ClassVar

from dmg.models.delta_models.forcing_correction import ForcingCorrectionModel
from dmg.models.delta_models.residual_model import ResidualModel
from dmg.registry import delta_models


@delta_models.register("CorrectedModel")
class CorrectedModel(ForcingCorrectionModel, ResidualModel):
    """A process model with corrected forcings, whose output is corrected as well; takes the options of both."""

    options: ClassVar[tuple[str, ...]] = (*ForcingCorrectionModel.options, *ResidualModel.options)
