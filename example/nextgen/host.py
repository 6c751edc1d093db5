"""A host as small as it can be: reads a NextGen realization, couples its modules, steps through the hours.

    python -m example.nextgen.host output/nextgen/realization_five.json
    python -m example.nextgen.host output/nextgen/realization_five.json --together

It does what NextGen does at every time step of every catchment: set each input of each module, in the order of the
list, from the forcing or from an output of a module before, converted to the unit of the input; update; hand outputs
on. With ``--together`` one instance of each module has all catchments (``bmi/pet_five.yaml``, ``bmi/dmg_five.yaml``).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.data.cf import write_cf
from dmg.core.data.quantity import convert
from dmg.core.utils.atomic import atomic_write

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from bmipy import Bmi

#: Columns of NextGen's forcing files: standard name and unit.
FORCING = {
    "precip_rate": ("atmosphere_water__liquid_equivalent_precipitation_rate", "mm s-1"),
    "TMP_2maboveground": ("land_surface_air__temperature", "K"),
    "SPFH_2maboveground": ("atmosphere_air_water~vapor__relative_saturation", "kg kg-1"),
    "PRES_surface": ("land_surface_air__pressure", "Pa"),
    "DSWRF_surface": ("land_surface_radiation~incoming~shortwave__energy_flux", "W m-2"),
    "DLWRF_surface": ("land_surface_radiation~incoming~longwave__energy_flux", "W m-2"),
    "UGRD_10maboveground": ("land_surface_wind__x_component_of_velocity", "m s-1"),
    "VGRD_10maboveground": ("land_surface_wind__y_component_of_velocity", "m s-1"),
}

Exchange = dict[str, tuple[np.ndarray, str]]
"""Name in the framework to values [N] and unit."""


@dataclass
class Module:
    """One module of a formulation: an initialized component, and what its variables are called in the framework."""

    component: Bmi
    aliases: Mapping[str, str]

    @classmethod
    def load(cls, params: Mapping[str, Any], folder: Path, catchment: str) -> Module:
        """Make and initialize the component that a module of a realization names."""
        package, _, name = params["python_type"].rpartition(".")
        component = getattr(import_module(package), name)()
        component.initialize(str(folder / params["init_config"].replace("{{id}}", catchment)))
        return cls(component, params.get("variables_names_map", {}))

    def step(self, known: Exchange, seconds: float) -> None:
        """Set every input from what is known, go on by a time step, and make the outputs known."""
        component = self.component
        for name in component.get_input_var_names():
            values, unit = known[self.aliases.get(name, name)]
            component.set_value(name, convert(values, unit, component.get_var_units(name)))
        if component.get_time_step() == seconds:
            component.update()
        else:
            component.update_until(component.get_current_time() + seconds)
        for name in component.get_output_var_names():
            values = component.get_value(name, np.empty(component.get_grid_size(component.get_var_grid(name))))
            known[self.aliases.get(name, name)] = values, component.get_var_units(name)


@dataclass
class Formulation:
    """Some catchments, the modules that are coupled for them, and their forcing, name to [T, N]."""

    catchments: Sequence[str]
    modules: Sequence[Module]
    forcing: Mapping[str, tuple[np.ndarray, str]]
    shown: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def step(self, index: int, seconds: float, outputs: Sequence[str]) -> None:
        """Run all modules over a time step and keep the outputs."""
        known: Exchange = {name: (values[index], unit) for name, (values, unit) in self.forcing.items()}
        for module in self.modules:
            module.step(known, seconds)
        for name in outputs:
            self.shown.setdefault(name, []).append(known[name][0])


def run(path: Path, together: bool = False) -> xr.Dataset:
    """Run a realization and return the output variables, dims (time, site).

    Parameters
    ----------
    path
        JSON file; paths in it are relative to its folder.
    together
        One instance of each module for all catchments instead of one for each.
    """
    import pandas as pd
    import xarray as xr

    folder, realization = path.parent, json.loads(path.read_text(encoding="utf-8"))
    clock = realization["time"]
    seconds = float(clock["output_interval"])
    times = pd.date_range(clock["start_time"], clock["end_time"], freq=pd.Timedelta(seconds=seconds))
    blocks = _blocks(realization, folder)
    params = next(iter(blocks.values()))["formulations"][0]["params"]
    groups = {"five": list(blocks)} if together else {catchment: [catchment] for catchment in blocks}
    formulations = [
        Formulation(
            catchments,
            [Module.load(module["params"], folder, name) for module in params["modules"]],
            _forcing([folder / blocks[c]["forcing"]["path"] for c in catchments], times),
        )
        for name, catchments in groups.items()
    ]
    for index in range(len(times)):
        for formulation in formulations:
            formulation.step(index, seconds, params["output_variables"])
    last = formulations[0].modules[-1].component
    found = {}
    for name in params["output_variables"]:
        values = np.concatenate([np.array(f.shown[name]) for f in formulations], axis=1)
        found[name] = ("time", "site"), values, {"units": last.get_var_units(name)}
    for module in (m for f in formulations for m in f.modules):
        module.component.finalize()
    return xr.Dataset(found, coords={"time": times, "site": [c for f in formulations for c in f.catchments]})


def _blocks(realization: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the formulations and the forcing of every catchment; a global block serves every forcing file."""
    if "catchments" in realization:
        return realization["catchments"]
    block = realization["global"]
    where = block["forcing"]["path"]
    before, after = block["forcing"]["file_pattern"].split("{{id}}")
    names = sorted(p.name for p in (folder / where).glob(f"{before}*{after}"))
    ids = [name.removeprefix(before).removesuffix(after) for name in names]
    return {c: {**block, "forcing": {"path": f"{where}/{before}{c}{after}"}} for c in ids}


def _forcing(paths: Sequence[Path], times: pd.DatetimeIndex) -> dict[str, tuple[np.ndarray, str]]:
    """Return the forcing files of some catchments, standard name to values [T, N] and unit."""
    import pandas as pd

    tables = [pd.read_csv(path, index_col="Time", parse_dates=True).loc[times] for path in paths]
    columns = [column for column in FORCING if column in tables[0]]
    return {
        FORCING[column][0]: (np.stack([t[column].to_numpy(float) for t in tables], axis=1), FORCING[column][1])
        for column in columns
    }


def write_outputs(result: xr.Dataset, folder: Path, title: str) -> None:
    """Write one table for each catchment, as NextGen does, and all of them as one CF NetCDF file."""
    for catchment in result.site.values:
        table = result.sel(site=catchment).to_dataframe()[list(result.data_vars)]
        table.insert(0, "Time", table.index.strftime("%Y-%m-%d %H:%M:%S"))
        with atomic_write(folder / f"{catchment}.csv") as temporary:
            table.reset_index(drop=True).to_csv(temporary, index_label="Time Step")
    named = {name: "".join(c if c.isalnum() else "_" for c in str(name)) for name in result.data_vars}
    for variable in result.data_vars.values():
        if str(variable.name).endswith("runoff_depth"):
            variable.attrs["cell_methods"] = "time: sum"
    write_cf(result.rename(named), folder / "catchments.nc", title=title)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a realization from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("realization", type=Path)
    parser.add_argument("--together", action="store_true", help="one instance of each module for all catchments")
    parser.add_argument("--out", type=Path, help="folder to write to; beside the realization if absent")
    words = parser.parse_args(arguments)
    result = run(words.realization, words.together)
    out = words.out or words.realization.parent / "output"
    write_outputs(result, out, f"NextGen example, {words.realization.stem}")
    days = len(result.time) / 24.0
    for catchment in result.site.values:
        depth = 1000.0 * float(result["land_surface_water__runoff_depth"].sel(site=catchment).sum())
        print(f"{catchment}: {depth:.1f} mm of runoff in {days:g} days")
    print(f"written: {out}")


if __name__ == "__main__":
    main()
