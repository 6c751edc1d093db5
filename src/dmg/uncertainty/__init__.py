"""How sure a prediction is: ensembles by dropout, intervals that are calibrated, and how reliable they are."""

from dmg.core.calc.quantiles import coverage, quantile_crps, quantile_reliability
from dmg.uncertainty.conformal import Conformal
from dmg.uncertainty.dropout_ensemble import dropout_ensemble
from dmg.uncertainty.intervals import ensemble_interval, relative_width
from dmg.uncertainty.reliability import Reliability, probability_integral_transform, reliability
from dmg.uncertainty.run_ensemble import run_ensemble

__all__ = [
    "Conformal",
    "Reliability",
    "coverage",
    "dropout_ensemble",
    "ensemble_interval",
    "probability_integral_transform",
    "quantile_crps",
    "quantile_reliability",
    "relative_width",
    "reliability",
    "run_ensemble",
]
