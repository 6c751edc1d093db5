"""δMG: differentiable modelling in PyTorch.

A process model is a declaration and a pure step; a network supplies what is unknown; the two are trained together.
Everything here is loaded when it is first used, so that ``import dmg`` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dmg._version import __version__ as __version__
from dmg.lazy import attach

if TYPE_CHECKING:
    from dmg.conf.config import as_config as as_config
    from dmg.core import calc as calc
    from dmg.core import data as data
    from dmg.core import post as post
    from dmg.core import utils as utils
    from dmg.core.data import loaders as loaders
    from dmg.core.data import samplers as samplers
    from dmg.core.data.loaders import HydroLoader as HydroLoader
    from dmg.core.utils import initialize_config as initialize_config
    from dmg.engine import ProcessModel as ProcessModel
    from dmg.engine import simulate as simulate
    from dmg.errors import DmgError as DmgError
    from dmg.models import (
        criterion as criterion,
    )
    from dmg.models import (
        delta_models as delta_models,
    )
    from dmg.models import (
        neural_networks as neural_networks,
    )
    from dmg.models import (
        phy_models as phy_models,
    )
    from dmg.models.delta_models import DplModel as DplModel
    from dmg.models.full_state import FullState as FullState
    from dmg.models.model_handler import ModelHandler as ModelHandler
    from dmg.models.mts_model_handler import MtsModelHandler as MtsModelHandler
    from dmg.trainers import Trainer as Trainer
    from dmg.trainers import load_run as load_run

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "DmgError": "dmg.errors:DmgError",
        "DplModel": "dmg.models.delta_models:DplModel",
        "FullState": "dmg.models.full_state:FullState",
        "HydroLoader": "dmg.core.data.loaders:HydroLoader",
        "ModelHandler": "dmg.models.model_handler:ModelHandler",
        "MtsModelHandler": "dmg.models.mts_model_handler:MtsModelHandler",
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
    },
)
__all__ += ["__version__"]
