"""The directory of a run: which file lies where, and the record of what made it."""

from __future__ import annotations

import json
import platform
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmg.core.utils.atomic import write_text

if TYPE_CHECKING:
    from dmg.conf.config import Config


class RunDirectory:
    """Paths of a run and its record.

    Parameters
    ----------
    root
        The directory, ``output_dir`` of the configuration.
    model_dir, plot_dir, log_dir, sim_dir
        Folders of weights, plots, logs and simulations of other periods; ``model``, ``plots``, ``logs`` and ``sim``
        below the root if absent.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        model_dir: str | Path | None = None,
        plot_dir: str | Path | None = None,
        log_dir: str | Path | None = None,
        sim_dir: str | Path | None = None,
    ) -> None:
        self.root = Path(root)
        self.model_dir = Path(model_dir or self.root / "model")
        self.plot_dir = Path(plot_dir or self.root / "plots")
        self.log_dir = Path(log_dir or self.root / "logs")
        self.config = self.root / "config.yaml"
        self.record = self.root / "run.json"
        self.training_log = self.root / "training_log.csv"
        self.simulation = self.root / "simulation.nc"
        self.sim_simulation = Path(sim_dir or self.root / "sim") / "simulation.nc"
        self.sim_stream = self.sim_simulation.with_suffix(".zarr")
        self.sim_gauges = self.sim_simulation.with_name("gauges.nc")
        self.states = self.root / "model_states.safetensors"
        self.sites = self.root / "sites.nc"
        self.report = self.root / "report.html"
        self.metrics = self.root / "metrics.json"
        self.metrics_aggregate = self.root / "metrics_aggregate.json"

    @classmethod
    def of(cls, config: Config) -> RunDirectory:
        """Return the directory of a configuration's run."""
        return cls(
            str(config.output_dir),
            model_dir=config.model_dir,
            plot_dir=config.plot_dir,
            log_dir=config.log_dir,
            sim_dir=config.sim_dir,
        )

    def begin(self, config: Config, **entries: Any) -> None:
        """Write the resolved configuration, and versions, seed, device and git commits into the record.

        A test or simulation with a trained run leaves the configuration of its training as it is and goes to
        ``config_<mode>.yaml``.
        """
        path = self.config
        if "train" not in config.mode and path.exists():
            path = path.with_name(f"config_{config.mode}.yaml")
        if read_config(path) != config:
            import yaml

            write_text(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
        self.note(
            mode=config.mode,
            seed=config.seed,
            device=config.device,
            started=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            versions=_versions(),
            git=_commits(),
            **entries,
        )

    def read_record(self) -> dict[str, Any]:
        """Return what ``run.json`` holds, {} if there is none."""
        return json.loads(self.record.read_text(encoding="utf-8")) if self.record.exists() else {}

    def note(self, **entries: Any) -> None:
        """Add entries to ``run.json``; those that are dicts are merged with what is there."""
        record = self.read_record()
        for key, value in entries.items():
            old = record.get(key)
            record[key] = {**old, **value} if isinstance(old, dict) and isinstance(value, dict) else value
        write_text(self.record, json.dumps(record, indent=2) + "\n")


def elsewhere(device: str = "auto") -> dict[str, Any]:
    """Return what changes in the configuration of a run when it is used again, wherever it lies now."""
    folders = ("output_dir", "model_dir", "plot_dir", "sim_dir", "log_dir", "run_dir", "pretrained_model_dir")
    return {**dict.fromkeys((*folders, "load_state_path")), "overwrite": False, "device": device}


def read_config(path: Path, **changes: Any) -> Config | None:
    """Return the configuration in a file of a run, with some keys changed; None if there is no file."""
    import yaml

    from dmg.conf.config import as_config

    if not path.exists():
        return None
    return as_config({**yaml.safe_load(path.read_text(encoding="utf-8")), **changes})


def _versions() -> dict[str, str]:
    import numpy
    import torch

    from dmg._version import __version__

    return {
        "dmg": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
    }


def _commits() -> dict[str, str | None]:
    """Return the git commits of the package's source, if it runs from a checkout, and of the working directory."""
    source = Path(__file__).resolve().parent
    tracked = _git(source, "ls-files", "--error-unmatch", Path(__file__).name)
    return {
        "dmg": _git(source, "rev-parse", "HEAD") if tracked else None,
        "project": _git(Path.cwd(), "rev-parse", "HEAD"),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
