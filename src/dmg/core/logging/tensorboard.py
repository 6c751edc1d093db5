"""Scalars of a run for TensorBoard (extra ``logging``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmg.core.logging.base import BaseLogger
from dmg.errors import ConfigError


class TensorBoardLogger(BaseLogger):
    """Logger that writes TensorBoard event files to `log_dir`.

    Parameters
    ----------
    log_dir
        Directory of the event files.
    config
        Configuration to record at once, as text.

    Raises
    ------
    ConfigError
        If tensorboard is not installed.
    """

    def __init__(self, log_dir: str | Path, config: Mapping[str, Any] | None = None) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                "logging: tensorboard needs the package tensorboard, which is not installed",
                where="logging",
                hint='pip install "dmg[logging]", or set logging: json',
            ) from error
        self._writer = SummaryWriter(log_dir=str(log_dir))
        if config is not None:
            self.log_config(config)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record scalars at a step."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, float(value), int(step))
        self._writer.flush()

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Record the configuration as text."""
        text = json.dumps(dict(config), indent=2, default=str)
        self._writer.add_text("config", f"```json\n{text}\n```")

    def keep_until(self, step: int) -> None:
        """Begin a file that hides later steps of the files before it."""
        self._writer.close()
        self._writer = type(self._writer)(log_dir=self._writer.log_dir, purge_step=step + 1)

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()
