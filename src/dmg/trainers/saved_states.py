"""The states of all sites at the end of a simulation, in a file and back: a run goes on where another ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmg.engine import ModelState
from dmg.errors import DataError, RunError
from dmg.models.delta_models import DeltaState
from dmg.trainers.checkpoint import load_checkpoint, write_tree


@dataclass(frozen=True)
class SavedStates:
    """States of several sites after one moment.

    Parameters
    ----------
    states
        Name of a model to its full state.
    sites
        Ids in the order of the states.
    time
        The last step that was simulated.
    """

    states: dict[str, DeltaState]
    sites: list[str]
    time: np.datetime64

    @classmethod
    def join(cls, parts: Sequence[dict[str, DeltaState]], sites: Sequence[str], time: np.datetime64) -> SavedStates:
        """Return the states of batches of sites, one after the other, as one."""
        joined = {
            name: _combine(lambda tensors, axis: torch.cat(tensors, dim=axis), [part[name] for part in parts])
            for name in parts[0]
        }
        return cls(joined, list(sites), time)

    def of(self, sites: Sequence[str], device: torch.device | str) -> dict[str, DeltaState]:
        """Return the states of these sites, in this order.

        Raises
        ------
        DataError
            If there are none of some of them; lists them.
        """
        position = {site: i for i, site in enumerate(self.sites)}
        missing = [site for site in sites if site not in position]
        if missing:
            raise DataError(
                f"there is no saved state of {len(missing)} sites: {', '.join(missing[:10])}",
                where="load_state_path",
                hint="start without states (load_state_path=null): the warm-up spins the models up",
            )
        rows = torch.tensor([position[site] for site in sites])

        def pick(tensors: list[Tensor], axis: int) -> Tensor:
            return tensors[0].index_select(axis, rows).to(device)

        return {name: _combine(pick, [state]) for name, state in self.states.items()}

    def first_step(self, times: np.ndarray) -> int:
        """Return the position in `times` of the step after the state.

        Raises
        ------
        DataError
            If the times end before it, or begin later.
        """
        begin = int(np.searchsorted(times, self.time, side="right"))
        step = times[1] - times[0] if len(times) > 1 else np.timedelta64(1, "D")
        if begin == len(times) or times[begin] != self.time + step:
            raise DataError(
                f"the states are those after {self.time}, the data cover {times[0]} to {times[-1]}",
                where="load_state_path",
                hint="start the period one step after the states",
            )
        return begin

    def save(self, path: Path) -> None:
        """Write the states atomically."""
        states = {
            name: {
                "network": state.network,
                "static": state.static,
                "stores": dict(state.process.stores) if state.process else None,
                "routing": dict(state.process.routing) if state.process else None,
            }
            for name, state in self.states.items()
        }
        time = str(self.time.astype("datetime64[s]"))
        write_tree(path, {"version": 1, "time": time, "sites": self.sites, "states": states})

    @classmethod
    def load(cls, path: str | Path) -> SavedStates:
        """Read states.

        Raises
        ------
        RunError
            If there is no such file or it holds no states.
        """
        path = Path(path).expanduser()
        if not path.is_file():
            raise RunError(
                "there is no file of states", where=str(path), hint="cache_states=true writes one after a simulation"
            )
        tree = load_checkpoint(path)
        if tree.get("version") != 1:
            raise RunError("the file holds no states of sites", where=str(path))
        states = {
            name: DeltaState(
                state["network"],
                state["static"],
                None if state["stores"] is None else ModelState(state["stores"], state["routing"]),
            )
            for name, state in tree["states"].items()
        }
        return cls(states, tree["sites"], np.datetime64(tree["time"]))


def _combine(function: Callable[[list[Tensor], int], Tensor], states: list[DeltaState]) -> DeltaState:
    """Apply a function to the tensors of several states, with the axis of the sites."""
    process = states[0].process
    stores = [s.process.stores for s in states] if process else []
    routing = [s.process.routing for s in states] if process else []
    return DeltaState(
        network=_combine_memory(function, [s.network for s in states]),
        static=None if states[0].static is None else function([s.static.detach().cpu() for s in states], 0),
        process=process
        and ModelState(
            {k: function([s[k].detach().cpu() for s in stores], 0) for k in stores[0]},
            {k: function([r[k].detach().cpu() for r in routing], 1) for k in routing[0]},
        ),
    )


def _combine_memory(function: Callable[[list[Tensor], int], Tensor], memories: list[Any]) -> Any:
    """Do so with the memory of networks: tensors [layer, B, hidden] or [B, hidden], also in tuples."""
    first = memories[0]
    if isinstance(first, Tensor):
        return function([m.detach().cpu() for m in memories], max(first.ndim - 2, 0))
    if isinstance(first, list | tuple):
        return tuple(_combine_memory(function, list(items)) for items in zip(*memories, strict=True))
    return None
