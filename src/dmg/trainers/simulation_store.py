"""A Zarr store that a simulation is written into chunk by chunk, and what is needed to go on after an interruption."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.utils.atomic import write_text
from dmg.errors import RunError
from dmg.models.full_state import FullState
from dmg.trainers.simulation_plan import SimulationPlan

if TYPE_CHECKING:
    import xarray as xr
    import zarr


class SimulationStore:
    """The unfinished store beside its place: results, plan, and the state after the last chunk of every chunk of sites.

    A chunk counts as done when the state after it is written, which is after its results are: whoever goes on repeats
    at most the chunks that were being computed, and writes the same into the same place. What is finished moves to its
    place at once.

    Parameters
    ----------
    path
        Where the store will be.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.folder = self.path.with_name(f"{self.path.name}.partial")
        self.store = self.folder / self.path.name
        self._plan = self.folder / "plan.json"

    def resume(self, about: Mapping[str, Any], overwrite: bool) -> SimulationPlan | None:
        """Return the plan of the simulation that was interrupted here; None if there is none.

        Parameters
        ----------
        about
            What the simulation is, as JSON has it.
        overwrite
            Remove the results of another one.

        Raises
        ------
        RunError
            If they are those of another one, or damaged.
        """
        if not self._plan.exists():
            self.discard()
            return None
        try:
            saved = json.loads(self._plan.read_text(encoding="utf-8"))
            plan, before = SimulationPlan(**saved["plan"]), saved["about"]
        except (ValueError, KeyError, TypeError):
            fault = f"the plan of an unfinished simulation is damaged: {self._plan.name}"
        else:
            changed = [key for key in about if before.get(key) != about[key]]
            if not changed:
                return plan
            fault = f"there are unfinished results of another simulation; different: {', '.join(changed)}"
        if not overwrite:
            raise RunError(
                fault,
                where=str(self.folder),
                hint="choose another sim_dir, or set overwrite=true",
            )
        self.discard()
        return None

    def create(
        self, plan: SimulationPlan, about: Mapping[str, Any], coordinates: xr.Dataset, variables: Mapping[str, Any]
    ) -> None:
        """Make an empty store.

        Parameters
        ----------
        plan
            How it will be written.
        about
            What the simulation is.
        coordinates
            Dataset without variables: sites, times, attributes.
        variables
            Name of a series to its attributes.
        """
        from dmg.core.data.dataset import write_zarr

        write_zarr(coordinates, self.store)
        group = open_group(self.store)
        for name, attributes in variables.items():
            add_array(group, name, (plan.n_times, plan.n_sites), plan.together, attributes)
        # Written last: a folder with a plan has a whole store.
        write_text(self._plan, json.dumps({"plan": vars(plan), "about": dict(about)}, indent=1))

    def write(self, series: Mapping[str, np.ndarray], window: slice, columns: slice) -> None:
        """Write the series [t, b] of a chunk."""
        group = open_group(self.store)
        for name, array in group.arrays():
            if name in series:
                array[window, columns] = series[name].astype(np.float32, copy=False)

    def write_static(self, name: str, values: np.ndarray, attributes: Mapping[str, Any]) -> None:
        """Write values [N] of all sites."""
        add_array(open_group(self.store), name, values.shape, values.shape, attributes)[:] = values

    def state(self, number: int) -> FullState | None:
        """Return the state after the last chunk of time of a chunk of sites; None before the first."""
        path = self._state_path(number)
        return FullState.load(path) if path.exists() else None

    def save_state(self, number: int, state: FullState) -> None:
        """Write the state after a chunk, whose results are in the store."""
        state.save(self._state_path(number))

    def finish(self) -> Path:
        """Put the complete store into its place, and return it."""
        import zarr

        for left in self.store.rglob("*.partial"):  # of a chunk that was being written when the process was killed
            left.unlink()
        zarr.consolidate_metadata(self.store, zarr_format=2)
        if self.path.exists():
            shutil.rmtree(self.path)
        self.store.replace(self.path)
        self.discard()
        return self.path

    def discard(self) -> None:
        """Remove what is unfinished."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _state_path(self, number: int) -> Path:
        return self.folder / "states" / f"{number:06d}.safetensors"


def add_array(
    group: zarr.Group, name: str, shape: Sequence[int], chunks: Sequence[int], attributes: Mapping[str, Any]
) -> zarr.Array:
    """Put an empty array over (time, site) or (site) into a store, in the place of what bears its name."""
    return group.create_array(
        name,
        shape=tuple(shape),
        chunks=tuple(chunks),
        dtype="float32",
        fill_value=np.nan,
        attributes={"_ARRAY_DIMENSIONS": ["time", "site"][-len(shape) :], **attributes},
        overwrite=True,
    )


def open_group(path: Path) -> zarr.Group:
    """Open a store to read and to write: its arrays as they are, not as they were when it was last consolidated."""
    import zarr

    return zarr.open_group(path, mode="r+", zarr_format=2, use_consolidated=False)
