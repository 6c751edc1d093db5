"""Samplers: from a dataset to minibatches."""

from dmg.core.data.samplers.base import BaseSampler
from dmg.core.data.samplers.hydro_sampler import HydroSampler
from dmg.core.data.samplers.ms_hydro_sampler import MsHydroSampler
from dmg.core.data.samplers.mts_hydro_sampler import MtsHydroSampler
from dmg.core.data.samplers.table_sampler import TableSampler

__all__ = ["BaseSampler", "HydroSampler", "MsHydroSampler", "MtsHydroSampler", "TableSampler"]
