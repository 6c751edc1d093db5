"""Choice of the experiment logger by name."""

from __future__ import annotations

from typing import Any

from dmg.core.logging.base import BaseLogger
from dmg.core.logging.json_lines import JsonLinesLogger
from dmg.core.logging.null import NullLogger
from dmg.core.logging.tensorboard import TensorBoardLogger
from dmg.core.logging.weights_and_biases import WandbLogger
from dmg.errors import UnknownNameError, did_you_mean

LOGGERS: dict[str, type[BaseLogger]] = {
    "json": JsonLinesLogger,
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
    "none": NullLogger,
}


def get_exp_logger(name: str | None = "json", **kwargs: Any) -> BaseLogger:
    """Return the experiment logger of that name.

    Parameters
    ----------
    name
        ``json`` (the default), ``tensorboard``, ``wandb`` or ``none``; None is ``none``.
    **kwargs
        ``log_dir`` and optionally ``config``; a logger that keeps nothing ignores them.

    Raises
    ------
    UnknownNameError
        If there is no logger of that name.
    """
    key = (name or "none").lower()
    if key not in LOGGERS:
        raise UnknownNameError(f"unknown logger '{name}'", where="logging", hint=did_you_mean(key, LOGGERS))
    return NullLogger() if key == "none" else LOGGERS[key](**kwargs)
