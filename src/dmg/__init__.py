"""δMG: differentiable modelling in PyTorch.

A process model is a declaration and a pure step; a network supplies what is unknown; the two are trained together.
Everything here is loaded when it is first used, so that ``import dmg`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dmg._version import __version__

if TYPE_CHECKING:
    from dmg.conf.config import as_config
    from dmg.core import calc, data, post, utils
    from dmg.core.data import loaders, samplers
    from dmg.core.data.loaders import HydroLoader
    from dmg.core.utils import initialize_config
    from dmg.engine import ProcessModel, simulate
    from dmg.errors import DmgError
    from dmg.models import criterion, delta_models, neural_networks, phy_models
    from dmg.models.delta_models import DplModel
    from dmg.models.model_handler import ModelHandler
    from dmg.trainers import Trainer, load_run

_HOMES = {
    "DmgError": "dmg.errors:DmgError",
    "DplModel": "dmg.models.delta_models:DplModel",
    "HydroLoader": "dmg.core.data.loaders:HydroLoader",
    "ModelHandler": "dmg.models.model_handler:ModelHandler",
    "ProcessModel": "dmg.engine:ProcessModel",
    "Trainer": "dmg.trainers:Trainer",
    "as_config": "dmg.conf.config:as_config",
    "calc": "dmg.core.calc",
    "criterion": "dmg.models.criterion",
    "data": "dmg.core.data",
    "delta_models": "dmg.models.delta_models",
    "initialize_config": "dmg.core.utils:initialize_config",
    "load_run": "dmg.trainers:load_run",
    "loaders": "dmg.core.data.loaders",
    "neural_networks": "dmg.models.neural_networks",
    "phy_models": "dmg.models.phy_models",
    "post": "dmg.core.post",
    "samplers": "dmg.core.data.samplers",
    "simulate": "dmg.engine:simulate",
    "utils": "dmg.core.utils",
}

__all__ = [
    "DmgError",
    "DplModel",
    "HydroLoader",
    "ModelHandler",
    "ProcessModel",
    "Trainer",
    "__version__",
    "as_config",
    "calc",
    "criterion",
    "data",
    "delta_models",
    "initialize_config",
    "load_run",
    "loaders",
    "neural_networks",
    "phy_models",
    "post",
    "samplers",
    "simulate",
    "utils",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dmg' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    found = import_module(module)
    value = getattr(found, attribute) if attribute else found
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
