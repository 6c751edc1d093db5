"""Build the network that a configuration names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from dmg.errors import ConfigError
from dmg.models.heads import make_head
from dmg.models.neural_networks.base import BaseNetwork
from dmg.registry import networks


def load_nn_model(
    config: Mapping[str, Any] | Any,
    phy_model: Any | None = None,
    ensemble_list: Sequence[str] | None = None,
    device: str | torch.device | None = None,
) -> nn.Module:
    """Build the network of a model block.

    Inputs are the forcings followed by the attributes; outputs are as many as the process model learns,
    else what the head needs for ``nn.out_size`` targets, or for those that there are (known if the whole configuration
    is given).

    Parameters
    ----------
    config
        ``config['model']`` (or the typed ``Config.model``), the whole configuration, or the block
        ``config['multimodel']`` together with ``ensemble_list``.
    phy_model
        The process model whose parameters the network supplies; None for a pure network.
    ensemble_list
        Names of the models that an ensemble network weighs; one output for each.
    device
        Where the network goes; where torch creates it if None.

    Raises
    ------
    UnknownNameError
        If no network of that name is registered.
    ConfigError
        If a size is not given.
    """
    config = _plain(config)
    targets: Sequence[str] = ()
    if "nn" not in config and isinstance(config.get("model"), Mapping):
        targets = (config.get("train") or {}).get("target") or ()
        config = config["model"]
    config_nn = config.get("nn") or (config if ensemble_list else None)
    if not config_nn:
        raise ConfigError(
            "the model has no network", where="model.nn", hint="give model.nn.name and model.nn.hidden_size"
        )
    name = config_nn.get("name") or (config_nn.get("model") if ensemble_list else None)
    if not name:
        raise ConfigError("the network has no name", where="model.nn.name", hint="name: LstmModel, say")

    n_forcings, n_attributes = (len(config_nn.get(key) or ()) for key in ("forcings", "attributes"))
    network = networks.get(name)
    if n_forcings + n_attributes == 0 and getattr(network, "inputs", None) != ():
        raise ConfigError(
            "the network has no inputs",
            where="model.nn.forcings",
            hint="list the variables it sees under model.nn.forcings and model.nn.attributes",
        )
    count = len(ensemble_list) if ensemble_list else getattr(phy_model, "learnable_param_count", None)
    ny = count or (config_nn.get("out_size") or len(targets)) * make_head(config.get("head")).width
    if not ny and not (config_nn.get("out_size1") and config_nn.get("out_size2")):
        raise ConfigError(
            f"nothing says how many outputs {name} has",
            where="model.nn.out_size",
            hint="give a process model (model.phy.name) or, for a pure network, model.nn.out_size",
        )
    build = getattr(network, "from_config", None)
    if build is None:
        raise ConfigError(
            f"network '{name}' cannot be built from a configuration",
            hint=f"derive it from {BaseNetwork.__module__}.{BaseNetwork.__name__}, "
            "or give it a classmethod from_config(config_nn, nx, ny, **context)",
        )
    model = build(config_nn, n_forcings + n_attributes, int(ny or 0), phy_model=phy_model, n_attributes=n_attributes)
    return model if device is None else model.to(device)


def _plain(config: Any) -> Mapping[str, Any]:
    """Return a mapping of what may be a typed configuration."""
    if isinstance(config, Mapping):
        return config
    if hasattr(config, "model_dump"):
        return config.model_dump(by_alias=False)
    raise ConfigError(
        f"a configuration is a mapping, got {type(config).__name__}",
        hint="pass config['model'] of what load_config() returns",
    )
