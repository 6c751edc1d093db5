"""The contract of a process model, under its published path."""

from dmg.engine import ProcessModel as BasePhysicsModel

__all__ = ["BasePhysicsModel"]
