"""``dmg data cf``: a store or a simulation becomes a CF NetCDF file for other programs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dmg.core.data.assemble import assemble, report
from dmg.core.data.cf import write_cf
from dmg.core.data.converter import Converter
from dmg.core.data.dataset import open_dataset
from dmg.errors import DataError
from dmg.registry import converters

if TYPE_CHECKING:
    import xarray as xr


@converters.register("cf")
class CfConverter(Converter):
    """From a canonical store, or the simulation of a run, to the conventions."""

    summary = "a store or simulation.nc as CF NetCDF for other programs (discrete sampling geometry)"
    input_help = "canonical store, simulation.nc of a run"

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what a forecast has beside its series."""
        parser.add_argument("--reference-time", metavar="TIME", help="when the forecast was issued: 2009-01-01T06:00")
        parser.add_argument("--title", help="what the file is")
        parser.add_argument(
            "--pack",
            nargs="+",
            default=[],
            metavar="VARIABLE=RESOLUTION",
            help="write it as whole numbers of that many of its unit: streamflow=0.01",
        )

    def read(self, args: argparse.Namespace) -> tuple[xr.Dataset, list[str]]:
        """Open the store."""
        return open_dataset(args.input), []

    def run(self, args: argparse.Namespace) -> Path:
        """Write the file, print what was written, return the path."""
        ds, notes = self.read(args)
        ds, more = assemble(ds, self.options(args), where=args.input)
        packed = dict(_resolution(word) for word in args.pack)
        path = write_cf(ds, args.output, reference_time=args.reference_time, title=args.title, packed=packed)
        print(report(ds, path, notes + more))
        return path


def _resolution(word: str) -> tuple[str, float]:
    name, _, value = word.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise DataError(f"--pack {word}: there is no number behind =", hint="write --pack streamflow=0.01") from None
