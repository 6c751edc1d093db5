"""Trainers: training, evaluation and simulation of the models of a configuration, and the files of a run."""

from dmg.trainers.base import BaseTrainer
from dmg.trainers.ms_trainer import MsTrainer
from dmg.trainers.run import Run, load_run
from dmg.trainers.run_directory import RunDirectory
from dmg.trainers.table_trainer import TableTrainer
from dmg.trainers.trainer import Trainer

__all__ = ["BaseTrainer", "MsTrainer", "Run", "RunDirectory", "TableTrainer", "Trainer", "load_run"]
