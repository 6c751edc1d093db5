"""A short table of what a run is about to do."""

from __future__ import annotations

from typing import Any

from dmg.conf.config import as_config
from dmg.conf.derive import is_timeless


def print_config(config: Any) -> None:
    """Print the settings of a run that a reader checks first."""
    print(config_table(config))


def config_table(config: Any) -> str:
    """Return the settings of a run as aligned lines of text."""
    c = as_config(config)
    phy, nn, train = c.model.phy, c.model.nn, c.train
    rows = {
        "run": f"{c.name}, mode {c.mode}, seed {c.seed}, device {c.device}",
        "process model": "none (pure network)" if phy is None else f"{', '.join(phy.name)}, {phy.nmul} component(s)",
        "network": f"{nn.name}" + (f", hidden size {nn.hidden_size}" if nn.hidden_size else ""),
        "window": f"warm-up {c.model.warmup} + {c.model.rho} steps, {train.batch_size} per minibatch",
        "data": " ".join([c.observations.name, *_files(c.observations)]),
    }
    timeless = is_timeless(c.data_loader)
    if timeless:
        rows["window"] = f"{train.batch_size} samples per minibatch"
    if "train" in c.mode:
        rows["training"] = (
            f"{', '.join(train.target)}, {train.loss_function.name}, "
            f"{train.optimizer.name} lr {train.lr:g}, {train.epochs} epochs"
        )
        rows["training"] = rows["training"] if timeless else f"{' to '.join(c.train_time)}, {rows['training']}"
    if "test" in c.mode and not timeless:
        rows["test"] = " to ".join(c.test_time)
    if c.mode == "sim" and not timeless:
        rows["simulation"] = " to ".join(c.sim_time or [])
    rows["output"] = str(c.output_dir)
    width = max(map(len, rows))
    return "\n".join(f"{key:<{width}}  {value}" for key, value in rows.items())


def _files(observations: Any) -> list[str]:
    """Return the files of a data set, as the table shows them."""
    paths = [observations.data_path] if observations.data_path else list(observations.tables.values())
    return [f"({', '.join(paths)})"] if paths else []
