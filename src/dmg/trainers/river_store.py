"""The river pass over a stored simulation: piece by piece of time, resumed where it was interrupted."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.data.dataset import open_dataset
from dmg.core.utils.atomic import write_text
from dmg.core.utils.interruption import check_interruption
from dmg.core.utils.tensor_tree import read_tree, write_tree
from dmg.errors import DataError
from dmg.trainers.progress import progress
from dmg.trainers.river_pass import DESCRIPTION, DISCHARGE, UNIT, History, RiverPass, runoff_of
from dmg.trainers.simulate import cf_attributes
from dmg.trainers.simulation_plan import SLACK
from dmg.trainers.simulation_store import add_array, open_group

if TYPE_CHECKING:
    import xarray as xr
    import zarr

    from dmg.models.full_state import FullState

NUMPY_BYTES = 16
"""Per step and unit: runoff as it is read and decoded, discharge as it is encoded and written."""


class RiverStore:
    """The discharge of a stored simulation, which lies beside the store until all of it is there.

    A piece of time counts as done when the state after it is written, which is after its discharge is.

    Parameters
    ----------
    path
        The store, with the runoff of the units and the parameters of the router.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = path.with_name(f"{path.name}.river")
        self._plan, self._state = self.folder / "plan.json", self.folder / "state.safetensors"
        self._unfinished = self.folder / "river.zarr"

    def route(self, river: RiverPass, start: FullState | None, memory: float) -> History:
        """Route the runoff of the store, or go on where that was interrupted, and put the discharge into the store.

        Parameters
        ----------
        river
            What it flows through.
        start
            State of the units before the first step.
        memory
            Bytes that a piece may take.

        Returns
        -------
        History
            What the routing remembers after the last step.

        Raises
        ------
        DataError
            If the store has no runoff, no parameters, other units, or begins at another moment than the state ends.
        """
        runoff, parameters = self._read(river, start)
        fixed, each = river.costs
        most = int((memory - fixed) / (SLACK * each + NUMPY_BYTES * runoff.shape[1]))
        steps = self._begin(self._about(river, runoff, parameters, start), runoff, most)
        history, first = river.start(start), 0
        if self._state.exists():
            done = read_tree(self._state, "a state of a river", "remove the folder and route again")
            history, first = done["history"], done["next"]
        if (self._unfinished / DISCHARGE).exists():
            discharge = open_group(self._unfinished)[DISCHARGE]
            with progress(runoff.shape[0], "routing", initial=first, unit="step") as bar:
                for begin in range(first, runoff.shape[0], steps):
                    end = min(begin + steps, runoff.shape[0])
                    discharge[begin:end], history = river.run(self._rows(runoff, begin, end), parameters, history)
                    write_tree(self._state, {"next": end, "history": history}, {"format": "dmg-river"})
                    bar.update(end - begin)
                    check_interruption()
        self._publish()
        return history

    def at_gauges(self, river: RiverPass, static: str) -> xr.Dataset:
        """Return the flow at the gauges; see `RiverPass.at_gauges`."""
        discharge, times = open_group(self.path)[DISCHARGE], open_dataset(self.path)["time"].values
        return river.at_gauges(lambda units: discharge.oindex[:, units], times, static)

    def discard(self) -> None:
        """Remove what lies beside the store."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, river: RiverPass, start: FullState | None) -> tuple[zarr.Array, dict[str, np.ndarray]]:
        group, name = open_group(self.path), runoff_of(river.process)
        wanted = [name, *(p.name for p in river.process.layout.routing)]
        missing = [n for n in wanted if n not in group]
        if missing:
            raise DataError(
                f"the simulation has no {', '.join(missing)}, without which it cannot be routed",
                where=str(self.path),
                hint="simulate again, with the same model: dmg mode=sim output_dir=RUN overwrite=true",
            )
        with open_dataset(self.path) as ds:
            if ds["site"].values.tolist() != river.network.units:
                raise DataError(
                    f"the simulation has {ds.sizes['site']} units, the data {len(river.network.units)}, and they are "
                    "not the same",
                    where=str(self.path),
                    hint="give the data of the simulation, or simulate again",
                )
            if start is not None and start.next_time != (first := ds["time"].values[0]):
                raise DataError(
                    f"the state is that after {str(start.time)[:16]}, and the simulation begins at {str(first)[:16]}",
                    where="load_state_path",
                    hint="give the state that the simulation started from, or none",
                )
        return group[name], {p: np.asarray(group[p][:], np.float32) for p in wanted[1:]}

    def _rows(self, runoff: zarr.Array, begin: int, end: int) -> np.ndarray:
        try:
            return runoff[begin:end]
        except Exception as error:  # each compressor raises what it likes
            raise DataError(
                f"the runoff cannot be read: {type(error).__name__}: {error}",
                where=str(self.path),
                hint="the store is damaged: simulate again, with overwrite=true",
            ) from error

    def _about(self, river: RiverPass, runoff: Any, parameters: dict[str, np.ndarray], start: Any) -> dict[str, Any]:
        """Return what a continuation must share."""
        digest = hashlib.sha256()
        last = runoff.shape[0] - 1
        for values in (self._rows(runoff, 0, 1), self._rows(runoff, last, last + 1), *parameters.values()):
            digest.update(np.ascontiguousarray(values).data)
        return {
            "river": river.fingerprint,
            "simulation": digest.hexdigest(),
            "steps": runoff.shape[0],
            "start": None if start is None else str(start.time),
        }

    def _begin(self, about: dict[str, Any], runoff: zarr.Array, most: int) -> int:
        """Return the steps of a piece: those of what was interrupted, if it is this; else begin with that many."""
        import zarr

        if self._plan.exists():
            saved = json.loads(self._plan.read_text(encoding="utf-8"))
            if saved["about"] == about:
                return saved["steps"]
        self.discard()
        together, steps = runoff.chunks[0], max(1, min(runoff.shape[0], most))
        if steps > together:
            steps -= steps % together
        group = zarr.open_group(self._unfinished, mode="w", zarr_format=2)
        chunks = min(steps, together), runoff.chunks[1]
        add_array(group, DISCHARGE, runoff.shape, chunks, cf_attributes(DISCHARGE, UNIT, DESCRIPTION))
        write_text(self._plan, json.dumps({"about": about, "steps": steps}))
        return steps

    def _publish(self) -> None:
        """Move the discharge into the store; whoever is interrupted here does it again."""
        import zarr

        routed, place = self._unfinished / DISCHARGE, self.path / DISCHARGE
        if routed.exists():
            shutil.rmtree(place, ignore_errors=True)
            routed.replace(place)
        zarr.consolidate_metadata(self.path, zarr_format=2)
        shutil.rmtree(self._unfinished, ignore_errors=True)
