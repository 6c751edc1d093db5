"""``dmg budget``: what entered, left and stayed in the stores of a trained run, site by site."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str]) -> int:
    """Run ``dmg budget RUN`` and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="dmg budget",
        description="Run the trained models of a run once more, in float64, over its test period (or over all of other "
        "data) and print the budget of every site: inflow, declared terms such as floors and exchange, outflow by "
        "term, what every store gained, and the residual, before routing; then what left the river and what is still "
        "in it.",
        allow_abbrev=False,
    )
    parser.add_argument("run", metavar="RUN", help="output_dir of a trained run")
    parser.add_argument("--data", metavar="PATH", type=Path, help="another data set, NetCDF or Zarr")
    parser.add_argument("--static", choices=("held", "last"), default="held", help="static parameters (default: held)")
    parser.add_argument(
        "--epoch", type=int, default=0, metavar="N", help="epoch of the weights (default: best or newest)"
    )
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    words = parser.parse_args(list(argv))

    from dmg.trainers import load_run

    found = load_run(words.run, epoch=words.epoch).budget(words.data, static=words.static)
    if words.json:
        print(json.dumps({budget.model: budget.plain() for budget in found}, indent=1))
    else:
        print("\n\n".join(budget.table() for budget in found))
    return 0
