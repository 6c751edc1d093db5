"""Delta models: how a network and a process model are coupled."""

from dmg.models.delta_models.delta_state import DeltaState
from dmg.models.delta_models.dpl_model import DplModel
from dmg.models.delta_models.mts_dpl_model import MtsDplModel

__all__ = ["DeltaState", "DplModel", "MtsDplModel"]
