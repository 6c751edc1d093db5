"""Trainer of models of unit basins, observed at the gauges that they drain to."""

from __future__ import annotations

from dmg.registry import trainers
from dmg.trainers.trainer import Trainer


@trainers.register("MsTrainer")
class MsTrainer(Trainer):
    """Trains and evaluates at gauges, and simulates units, as many as there are.

    Datasets come from `MsHydroLoader`: in training and evaluation their sites are gauges, and the runoff of the units
    above them is gathered, routed and compared there. A simulation is one of units, and of the river between them where
    ``observations.topology_path`` is set; it streams through memory unless ``sim.max_memory`` is null.
    """
