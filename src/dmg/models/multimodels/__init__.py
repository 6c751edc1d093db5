"""Ensembles: several models of one thing, combined into one prediction."""

from dmg.models.multimodels.combine import combine, scale_weights
from dmg.models.multimodels.ensemble import ENSEMBLE, Ensemble

__all__ = ["ENSEMBLE", "Ensemble", "combine", "scale_weights"]
