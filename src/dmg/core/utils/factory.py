"""Classes by name, through the registry."""

from __future__ import annotations

from typing import Any

from dmg.registry import loaders, process_models, samplers, trainers


def import_data_loader(name: str) -> type:
    """Return the loader class of that name.

    Raises
    ------
    UnknownNameError
        If there is none; the message suggests the closest name.
    """
    return loaders.get(name)


def import_data_sampler(name: str) -> type:
    """Return the sampler class of that name; errors as ``import_data_loader``."""
    return samplers.get(name)


def import_trainer(name: str) -> type:
    """Return the trainer class of that name; errors as ``import_data_loader``."""
    return trainers.get(name)


def import_phy_model(model: str, ver_name: str | None = None) -> Any:
    """Return the process model class of that name.

    Parameters
    ----------
    model
        Name of the model.
    ver_name
        Name of the class where it differs from the model's (``import_phy_model('hbv', 'Hbv')``).
    """
    return process_models.get(ver_name or model)
