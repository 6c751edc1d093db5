"""A short table of what a run is about to do."""

from __future__ import annotations

from typing import Any

from dmg.conf.config import as_config


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
        "data": f"{c.observations.name}" + (f" ({c.observations.data_path})" if c.observations.data_path else ""),
    }
    if "train" in c.mode:
        rows["training"] = (
            f"{' to '.join(c.train_time)}, {', '.join(train.target)}, {train.loss_function.name}, "
            f"{train.optimizer.name} lr {train.lr:g}, {train.epochs} epochs"
        )
    if "test" in c.mode:
        rows["test"] = " to ".join(c.test_time)
    if c.mode == "sim":
        rows["simulation"] = " to ".join(c.sim_time or [])
    rows["output"] = str(c.output_dir)
    width = max(map(len, rows))
    return "\n".join(f"{key:<{width}}  {value}" for key, value in rows.items())
