"""``dmg route``: route a stored simulation of units through their river."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dmg.errors import ConfigError


def main(argv: Sequence[str]) -> int:
    """Run ``dmg route RUN [key=value …]`` and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="dmg route",
        description="Route the runoff in simulation.zarr of a run through the river between its units, as the model "
        "was trained to: the discharge of every unit goes into the store, that at the gauges into gauges.nc. mode=sim "
        "does so by itself where observations.topology_path is set; this is for a simulation of units alone, or for "
        "another network. The same command goes on after an interruption.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="output_dir of the simulation")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the run")
    words = parser.parse_args(list(argv))
    root = words.run.expanduser()
    path = next((path for name in ("config_sim", "config") if (path := root / f"{name}.yaml").is_file()), None)
    if path is None:
        raise ConfigError("there is no config.yaml of a run", where=str(root), hint="give its output_dir")

    from dmg.cli_run import compose_again, settle
    from dmg.trainers.run_directory import read_config

    given = ["mode=sim", f"output_dir={root}"]
    if not (root / "model").is_dir():  # simulated with the weights of another run
        given.append(f"pretrained_model_dir={read_config(path).pretrained_model_dir or 'null'}")
    config = settle(compose_again(path, [*given, *words.overrides]))
    if not config.streams:
        raise ConfigError(
            "only simulation.zarr is routed by itself", where="sim.max_memory", hint="set sim.max_memory=4"
        )

    from dmg.core.utils import import_trainer
    from dmg.core.utils.interruption import interruptible
    from dmg.core.utils.lock import alone_in
    from dmg.trainers.stream_run import route_simulation

    try:
        with interruptible(), alone_in(str(config.sim_dir)):
            store = route_simulation(import_trainer(config.trainer)(config))
    except KeyboardInterrupt:
        print("\ninterrupted; run the same command again", file=sys.stderr)
        return 130
    print(f"results: {store}")
    return 0
