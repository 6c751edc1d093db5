"""Splits: how an experiment separates training from test, in space and in time."""

from dmg.core.data.splits.base import SplitResult, spatial_folds
from dmg.core.data.splits.random import random_groups
from dmg.core.data.splits.regions import regions
from dmg.core.data.splits.table import table

__all__ = ["SplitResult", "random_groups", "regions", "spatial_folds", "table"]
