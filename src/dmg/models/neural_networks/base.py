"""Base class of the networks: how one is built from a configuration."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from torch import nn

from dmg.errors import ConfigError


class BaseNetwork(nn.Module):
    """A network that the configuration can name.

    A subclass registers itself with ``dmg.registry.networks.register(name)`` and is then known to
    ``model.nn.name``; nothing else has to be told about it.
    """

    #: Batch entries that ``forward`` takes, in order.
    inputs: ClassVar[tuple[str, ...]] = ("xc_nn_norm",)
    #: Constructor argument → keys of ``model.nn`` that set it; the first key that is present counts.
    config_keys: ClassVar[dict[str, tuple[str, ...]]] = {
        "hidden_size": ("hidden_size",),
        "dr": ("dropout",),
    }
    #: Whether the outputs are in (0, 1), so that a process model applies no logistic to them.
    bounded: bool = False
    #: Keys of ``model.nn`` that only this network knows; the configuration refuses others.
    options: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def from_config(cls, config_nn: Mapping[str, Any], nx: int, ny: int, **context: Any) -> Self:
        """Build the network that a block ``model.nn`` describes.

        Parameters
        ----------
        config_nn
            The block, with the published keys.
        nx, ny
            Numbers of inputs (forcings and attributes) and of outputs.
        **context
            What else is known of the model: ``phy_model`` (or None) and ``n_attributes``.
        """
        return cls(nx, ny, **cls.arguments(config_nn))

    @classmethod
    def arguments(cls, config_nn: Mapping[str, Any]) -> dict[str, Any]:
        """Return the constructor arguments that the block sets.

        Raises
        ------
        ConfigError
            If an argument without default is not set.
        """
        found: dict[str, Any] = {}
        needed = inspect.signature(cls).parameters
        for argument, keys in cls.config_keys.items():
            value = next((config_nn[key] for key in keys if config_nn.get(key) is not None), None)
            if value is not None:
                found[argument] = value
            elif argument in needed and needed[argument].default is inspect.Parameter.empty:
                raise ConfigError(
                    f"{cls.__name__} needs model.nn.{keys[0]}",
                    where="model.nn",
                    hint=f"set model.nn.{keys[0]}=64, for example",
                )
        return found


def check_dropout(dr: float, network: str) -> float:
    """Return the dropout probability as a float, or say why it is none."""
    if not 0.0 <= float(dr) < 1.0:
        raise ConfigError(
            f"{network}: dropout {dr} is not a probability below 1",
            where="model.nn.dropout",
            hint="0 switches dropout off, 0.5 is the published value",
        )
    return float(dr)


def check_width(n_found: int, n_expected: int, network: str) -> None:
    """Refuse an input whose last axis has another width than the network was built for."""
    if n_found != n_expected:
        raise ConfigError(
            f"{network} takes {n_expected} inputs per step, the batch has {n_found}",
            where="model.nn.forcings, model.nn.attributes",
            hint="the network was built for another list of forcings and attributes than the data have",
        )
