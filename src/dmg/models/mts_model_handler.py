"""The handler of multi-timescale models, under its published name."""

from dmg.models.model_handler import ModelHandler

#: A process model says how it is coupled, so one handler holds models of one and of two time steps.
MtsModelHandler = ModelHandler
__all__ = ["MtsModelHandler"]
