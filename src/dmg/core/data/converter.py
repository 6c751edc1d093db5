"""What every converter of ``dmg data`` is: a command line, a way to read, and the common end."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from dmg.core.data.assemble import Options, add_options, assemble, report
from dmg.core.data.dataset import write_dataset

if TYPE_CHECKING:
    import xarray as xr


class Converter(ABC):
    """Base class of converters, sub-commands ``dmg data NAME IN OUT …``; register with ``dmg.registry.converters``.

    A subclass says what it reads in ``summary`` and ``input_help``, declares its own options and reads. Selection,
    names, units, attribute tables, derived variables and writing are common to all.
    """

    summary: ClassVar[str]
    input_help: ClassVar[str]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the command line."""
        parser.add_argument("input", metavar="IN", help=self.input_help)
        parser.add_argument("output", metavar="OUT", help="store to write, .nc or .zarr")
        self.add_own_arguments(parser)
        add_options(parser)

    @abstractmethod
    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options that this converter has beside the common ones."""

    @abstractmethod
    def read(self, args: argparse.Namespace) -> tuple[xr.Dataset, list[str]]:
        """Return what the input holds, dims (time, site) and text ids, and notes for the user."""

    def options(self, args: argparse.Namespace) -> Options:
        """Return the common options; a converter that knows its data may complete them."""
        return Options.from_args(args)

    def run(self, args: argparse.Namespace) -> Path:
        """Convert, print what was written, return the path."""
        ds, notes = self.read(args)
        ds, more = assemble(ds, self.options(args), where=args.input)
        path = write_dataset(ds, args.output)
        print(report(ds, path, notes + more))
        return path
