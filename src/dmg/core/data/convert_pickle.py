"""``dmg data pickle``: the published layout, a pickled (forcings, target, attributes), becomes a canonical store."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.data.assemble import day, names
from dmg.core.data.converter import Converter
from dmg.core.data.sites import read_site_list
from dmg.errors import DataError
from dmg.registry import converters

if TYPE_CHECKING:
    import xarray as xr


def read_pickle(
    path: str | Path,
    *,
    gages: str | Path,
    forcings: tuple[str, ...],
    target: tuple[str, ...],
    attributes: tuple[str, ...],
    first_day: str,
    trust: bool = False,
) -> xr.Dataset:
    """Read a pickled tuple of arrays, forcings [N, T, F], target [N, T, K] and attributes [N, A].

    Parameters
    ----------
    path
        The pickle.
    gages
        ``.npy`` or list with the N ids in the order of the arrays.
    forcings, target, attributes
        Names of the last axis of each array, in order.
    first_day
        Date of the first step; steps are days.
    trust
        Allow unpickling, which runs whatever code the file holds.

    Raises
    ------
    DataError
        If it is not trusted, or shapes and names do not fit.
    """
    import xarray as xr

    path = Path(path).expanduser()
    if not trust:
        raise DataError(
            "refused to unpickle: loading a pickle runs whatever code its author put into it",
            where=str(path),
            hint="if you know where it comes from, say so with --trust-pickle; it is needed once, the store is safe",
        )
    if not path.exists():
        raise DataError(f"no such file: {path}")
    try:
        with path.open("rb") as stream:
            content = pickle.load(stream)
        arrays = [np.asarray(part, dtype=np.float32) for part in content]
    except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, TypeError, ValueError) as error:
        raise DataError(f"cannot read the pickle: {error}", where=str(path)) from error
    if len(arrays) != 3 or [a.ndim for a in arrays] != [3, 3, 2]:
        shapes = ", ".join(str(a.shape) for a in arrays)
        raise DataError(
            f"the pickle does not hold (forcings [N, T, F], target [N, T, K], attributes [N, A]) but {shapes}",
            where=str(path),
        )
    ids = read_site_list(gages)
    options = {"forcings": "forcings", "target": "target", "attributes": "attribute-names"}
    for what, given, array in zip(
        ("forcings", "target", "attributes"), (forcings, target, attributes), arrays, strict=True
    ):
        if len(given) != array.shape[-1]:
            raise DataError(
                f"{len(given)} names were given for {array.shape[-1]} {what}",
                where=str(path),
                hint=f"--{options[what]} NAME,…",
            )
        if array.shape[0] != len(ids):
            raise DataError(f"{len(ids)} ids were given for {array.shape[0]} sites of the {what}", where=str(path))
    if arrays[0].shape[1] != arrays[1].shape[1]:
        raise DataError("forcings and target have different lengths", where=str(path))
    start = day(first_day)
    data: dict[str, object] = {}
    for given, array in ((forcings, arrays[0]), (target, arrays[1])):
        data |= {name: (("time", "site"), array[:, :, i].T) for i, name in enumerate(given)}
    data |= {name: ("site", arrays[2][:, i]) for i, name in enumerate(attributes)}
    times = (start + np.arange(arrays[0].shape[1])).astype("datetime64[ns]")
    return xr.Dataset(data, coords={"time": times, "site": np.array(ids, dtype=object)})


@converters.register("pickle")
class PickleConverter(Converter):
    """The sub-command ``dmg data pickle``."""

    summary = "published pickle of (forcings, target, attributes) arrays; needs --trust-pickle"
    input_help = "pickle"

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what the arrays are: a pickle does not say."""
        parser.add_argument(
            "--gages", metavar="FILE", required=True, help="ids in the order of the arrays (.npy, text)"
        )
        parser.add_argument("--forcings", metavar="NAME,…", required=True, help="names of the forcings, in order")
        parser.add_argument("--target", metavar="NAME,…", default="streamflow", help="names of the targets, in order")
        parser.add_argument(
            "--attribute-names", metavar="NAME,…", required=True, help="names of the attributes, in order"
        )
        parser.add_argument("--first-day", metavar="DATE", required=True, help="date of the first step")
        parser.add_argument("--trust-pickle", action="store_true", help="run the code that the pickle may hold")

    def read(self, args: argparse.Namespace) -> tuple[xr.Dataset, list[str]]:
        """Unpickle, if the user trusts the source."""
        return read_pickle(
            args.input,
            gages=args.gages,
            forcings=names(args.forcings),
            target=names(args.target),
            attributes=names(args.attribute_names),
            first_day=args.first_day,
            trust=args.trust_pickle,
        ), []
