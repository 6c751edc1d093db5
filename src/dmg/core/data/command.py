"""The sub-command ``dmg data``: make canonical stores, and look at them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from dmg.core.data import convert_cf, convert_netcdf, convert_pickle, convert_table
from dmg.errors import DmgError
from dmg.registry import converters

__all__ = ["convert_cf", "convert_netcdf", "convert_pickle", "convert_table", "main"]


def main(argv: Sequence[str]) -> int:
    """Run ``dmg data ARGV`` and return the exit code (0, or 1 after an error that was printed).

    Converters are found in ``dmg.registry.converters``: objects with ``summary``, ``add_arguments(parser)`` and
    ``run(args) -> path``.
    """
    parser = argparse.ArgumentParser(
        prog="dmg data",
        description="Make a canonical store (time, site) from other formats, or describe one.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in converters.names():
        converter = converters.get(name)()
        sub = commands.add_parser(name, help=converter.summary, description=converter.summary)
        converter.add_arguments(sub)
        sub.set_defaults(run=converter.run)
    info = commands.add_parser("info", help="periods, gaps, units, ranges and balances of a store")
    info.add_argument("path", metavar="STORE")
    info.add_argument("--json", action="store_true", help="everything, as JSON")
    info.add_argument("--series", metavar="NAME,…", help="series whose records are listed by site (default: all)")
    info.add_argument("--all", action="store_true", help="list every site, not the first 20")
    info.set_defaults(run=_info)
    args = parser.parse_args(list(argv))
    try:
        args.run(args)
    except (DmgError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _info(args: argparse.Namespace) -> None:
    from dmg.core.data.dataset import open_dataset, select_variables
    from dmg.core.data.info import as_text, describe

    ds = open_dataset(args.path)
    chosen = args.series.split(",") if args.series else None
    if chosen:
        select_variables(ds, chosen)
    found = describe(ds, chosen)
    print(json.dumps(found, indent=2) if args.json else as_text(found, len(found["sites"]) if args.all else 20))
