"""Samplers: from a dataset to minibatches."""

from dmg.core.data.samplers.base import BaseSampler
from dmg.core.data.samplers.hydro_sampler import HydroSampler

__all__ = ["BaseSampler", "HydroSampler"]
