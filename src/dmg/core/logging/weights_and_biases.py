"""Scalars of a run for Weights & Biases (extra ``logging``)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmg.core.logging.base import BaseLogger
from dmg.errors import ConfigError

PROJECT = "dmg"
"""Project of a run where the environment variable WANDB_PROJECT names none."""


class WandbLogger(BaseLogger):
    """Logger that sends scalars to Weights & Biases, or keeps them in `log_dir` to be sent later.

    Everything that wandb reads from its environment holds: WANDB_MODE (``offline`` needs neither network nor account;
    ``wandb sync`` sends what it wrote), WANDB_PROJECT, WANDB_NAME, WANDB_ENTITY.

    Parameters
    ----------
    log_dir
        Directory under which wandb makes its own.
    config
        Configuration to record at once.

    Raises
    ------
    ConfigError
        If wandb is not installed, or does not let the run begin (no account, no network).
    """

    def __init__(self, log_dir: str | Path, config: Mapping[str, Any] | None = None) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ConfigError(
                "logging: wandb needs the package wandb, which is not installed",
                where="logging",
                hint='pip install "dmg[logging]", or set logging: json',
            ) from error
        Path(log_dir).mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(silent=True, console="off", x_disable_stats=True)
        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                dir=str(log_dir),
                settings=settings,
                reinit="create_new",
            )
        except (wandb.Error, OSError) as error:
            raise ConfigError(
                f"Weights & Biases does not begin a run: {error}",
                where="logging",
                hint="`wandb login`, or WANDB_MODE=offline in the environment, or set logging: json",
            ) from error
        if config is not None:
            self.log_config(config)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record scalars at a step."""
        self._run.log({name: float(value) for name, value in metrics.items()}, step=int(step))

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Record the configuration."""
        self._run.config.update(dict(config), allow_val_change=True)

    def close(self) -> None:
        """Write out what is pending and end the run."""
        self._run.finish()
