"""Experiment loggers: where the scalars of a training run go while it runs."""

from dmg.core.logging.base import BaseLogger
from dmg.core.logging.factory import get_exp_logger
from dmg.core.logging.json_lines import JsonLinesLogger
from dmg.core.logging.null import NullLogger
from dmg.core.logging.tensorboard import TensorBoardLogger
from dmg.core.logging.weights_and_biases import WandbLogger

__all__ = ["BaseLogger", "JsonLinesLogger", "NullLogger", "TensorBoardLogger", "WandbLogger", "get_exp_logger"]
