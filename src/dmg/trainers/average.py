"""The mean of trained runs: other seeds, other forcings, other models of the same sites."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.data.quantity import same_unit
from dmg.core.utils.atomic import write_text
from dmg.errors import DataError, RunError
from dmg.trainers import evaluate as scoring
from dmg.trainers.plots import print_scores
from dmg.trainers.run import load_run
from dmg.trainers.run_directory import RunDirectory
from dmg.trainers.simulate import Simulation, to_dataset, write_simulation

if TYPE_CHECKING:
    import xarray as xr

    from dmg.conf.config import Config


def average_runs(config: Config) -> dict[str, Any]:
    """Average the simulations of ``multimodel.members`` over their common sites and days, score and write the mean.

    Every member counts alike: Li et al. (2025) found no combination of model, forcing and seed that beats their mean.

    Returns
    -------
    dict
        What ``metrics_aggregate.json`` holds, ``{static: {target: …}}``; the targets of the members stand beside those
        of the mean as ``<member>_<target>``.

    Raises
    ------
    RunError
        If a member was not evaluated.
    DataError
        If the members have no common site or day, or another unit.

    References
    ----------
    Li, P. et al. (2025). Hydrology and Earth System Sciences 29, 6829-6861.
    """
    began = time.perf_counter()
    members = _read(config.multimodel.members)
    files = RunDirectory.of(config)
    simulation, observed = mean_of(members, config.train.target)
    scores = {simulation.static: scoring.score(simulation, observed)}
    summary = {static: scoring.aggregate(values, None) for static, values in scores.items()}
    period = [str(simulation.times[0])[:16], str(simulation.times[-1])[:16]]
    units = {name: simulation.units[name] for name in scores[simulation.static]}
    metrics = scoring.plain({"sites": simulation.sites, "period": period, "units": units, **scores})
    files.begin(config, members={name: str(path) for name, path in _names(config.multimodel.members).items()})
    write_text(files.metrics, json.dumps(metrics, allow_nan=False) + "\n")
    write_text(files.metrics_aggregate, json.dumps(summary, indent=1, allow_nan=False) + "\n")
    write_simulation(to_dataset(simulation, observed), files.simulation)
    files.note(timings={"evaluate_s": round(time.perf_counter() - began, 2)})
    print_scores(summary)
    return summary


def mean_of(members: Mapping[str, xr.Dataset], targets: Sequence[str]) -> tuple[Simulation, dict[str, np.ndarray]]:
    """Return the members and their mean as one simulation, and the observations [T, N] by target.

    Parameters
    ----------
    members
        Name to simulation: variables (time, site) named as the targets, and ``<target>_obs``.
    targets
        What is averaged.
    """
    first, *others = members.values()
    sites = [s for s in first["site"].values.tolist() if all(s in o["site"].values for o in others)]
    times = first["time"].values
    for other in others:
        times = np.intersect1d(times, other["time"].values)
    if not sites or not len(times):
        raise DataError(
            "the members have no common site" if not sites else "the members have no common day",
            where="multimodel.members",
            hint="test them on the same sites and period",
        )
    common = {name: ds.sel(site=sites, time=times) for name, ds in members.items()}
    series: dict[str, np.ndarray] = {}
    units: dict[str, str] = {}
    outputs: dict[str, str] = {}
    for target in targets:
        unit = first[target].attrs["units"]
        for name, ds in common.items():
            if not same_unit(ds[target].attrs["units"], unit):
                raise DataError(
                    f"'{target}' is in {ds[target].attrs['units']} in {name}, in {unit} in the first member",
                    where="multimodel.members",
                    hint="test them with the same model.output_unit",
                )
        values = [ds[target].values for ds in common.values()]
        series[target] = np.mean(values, axis=0, dtype=np.float64).astype(np.float32)
        labels = [f"{name}_{target}" for name in common]
        series |= dict(zip(labels, values, strict=True))
        units |= dict.fromkeys([target, *labels], unit)
        outputs |= dict.fromkeys([target, *labels], target)
    conventions = {str(ds.attrs.get("static_parameters", "held")) for ds in members.values()}
    static = conventions.pop() if len(conventions) == 1 else "mixed"
    observed = {target: next(iter(common.values()))[f"{target}_obs"].values for target in targets}
    return Simulation([str(s) for s in sites], times, series, units, static, outputs), observed


def _read(folders: Sequence[str]) -> dict[str, xr.Dataset]:
    members = {}
    for name, path in _names(folders).items():
        run = load_run(path, device="cpu")
        simulation = run.simulation.load()
        missing = [t for t in run.config.train.target if t not in simulation or f"{t}_obs" not in simulation]
        if missing:
            raise RunError(
                f"the member has no simulation of {', '.join(missing)} with observations",
                where=str(path),
                hint=f"dmg mode=test output_dir={path}",
            )
        members[name] = simulation
    return members


def _names(folders: Sequence[str]) -> dict[str, Path]:
    """Return the members by the last parts of their paths that tell them apart."""
    paths = [Path(folder).expanduser() for folder in folders]
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["_".join(path.parts[-depth:]).strip("/") for path in paths]
        if len(set(names)) == len(names):
            return dict(zip(names, paths, strict=True))
    raise DataError("a member is named twice", where="multimodel.members", hint="name each run once")
