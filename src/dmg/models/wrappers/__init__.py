"""Wrappers that let a plain network stand where a coupled model stands."""

from dmg.models.wrappers.nn_model import NnModel

__all__ = ["NnModel"]
