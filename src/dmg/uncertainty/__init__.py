"""How sure a prediction is: ensembles by dropout, intervals that are calibrated, and how reliable they are."""

from dmg.uncertainty.conformal import Conformal
from dmg.uncertainty.dropout_ensemble import dropout_ensemble
from dmg.uncertainty.intervals import coverage, ensemble_interval, relative_width
from dmg.uncertainty.reliability import Reliability, probability_integral_transform, reliability

__all__ = [
    "Conformal",
    "Reliability",
    "coverage",
    "dropout_ensemble",
    "ensemble_interval",
    "probability_integral_transform",
    "relative_width",
    "reliability",
]
