"""Delta models: how a network and a process model are coupled."""

from dmg.models.delta_models.corrected_model import CorrectedModel
from dmg.models.delta_models.delta_state import DeltaState
from dmg.models.delta_models.dpl_model import DplModel
from dmg.models.delta_models.forcing_correction import ForcingCorrectionModel
from dmg.models.delta_models.mts_dpl_model import MtsDplModel
from dmg.models.delta_models.residual_model import ResidualModel

__all__ = ["CorrectedModel", "DeltaState", "DplModel", "ForcingCorrectionModel", "MtsDplModel", "ResidualModel"]
