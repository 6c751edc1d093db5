"""Observations into the states and forcings of trained models."""

from dmg.assimilation.controls import Controls
from dmg.assimilation.hindcast import Hindcast, hindcast
from dmg.assimilation.variational import Analysis, assimilate, cost_by_site

__all__ = ["Analysis", "Controls", "Hindcast", "assimilate", "cost_by_site", "hindcast"]
