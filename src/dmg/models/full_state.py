"""The full state of a run after one moment, in memory, in a file and back: a run goes on where another ended."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmg.core.data.members import member_ids
from dmg.core.utils.tensor_tree import read_about, read_tree, write_tree
from dmg.engine import ModelState
from dmg.errors import DataError, RunError
from dmg.models.delta_models import DeltaState
from dmg.models.fingerprint import Fingerprint, as_json, first_difference

FORMAT = "dmg-state"
VERSION = 1
_HINT = "write one with cache_states=true, or start without (load_state_path=null): the warm-up spins the models up"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FullState:
    """Stores, rivers, hidden states and held static parameters of all models at all sites, and the clock.

    Parameters
    ----------
    models
        Name of a model to its state, the sites in the order of ``sites``.
    sites
        Ids.
    time
        The last step that was run.
    step
        Length of a step.
    fingerprint
        What the models are; see `dmg.models.fingerprint`.
    weights
        Hash of their weights, empty if it is not known.

    Examples
    --------
    >>> state = FullState.load("model_states.safetensors")  # doctest: +SKIP
    >>> state.models["Hbv"].process.stores["SNOWPACK"].mean(-1)  # doctest: +SKIP
    """

    models: dict[str, DeltaState]
    sites: list[str]
    time: np.datetime64
    step: np.timedelta64
    fingerprint: Fingerprint
    weights: str = ""

    @classmethod
    def join(
        cls,
        parts: Sequence[dict[str, DeltaState]],
        sites: Sequence[str],
        *,
        time: np.datetime64,
        step: np.timedelta64,
        fingerprint: Fingerprint,
        weights: str = "",
    ) -> FullState:
        """Return the states of batches of sites, one after the other, as one, on the CPU and without gradient."""
        joined = {name: _combine(_cat, [part[name] for part in parts]) for name in parts[0]}
        return cls(joined, [str(site) for site in sites], time, step, fingerprint, weights)

    @property
    def next_time(self) -> np.datetime64:
        """The step with which a run goes on."""
        return self.time + self.step

    def of(self, sites: Sequence[str], device: torch.device | str = "cpu") -> dict[str, DeltaState]:
        """Return the states of these sites, in this order, name of the model to state.

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

        return {name: _combine(pick, [state]) for name, state in self.models.items()}

    def fork(self, members: int) -> FullState:
        """Return the state of an ensemble that begins here: that of every site once for each member.

        The sites are ``<site>/<member>``, as `dmg.core.data.members.as_members` names those of the forcings.
        """
        rows = list(self.sites) * members
        return replace(self, models=self.of(rows), sites=member_ids(self.sites, members))

    def require(self, fingerprint: Fingerprint, weights: str = "", where: str = "load_state_path") -> None:
        """Refuse to go on with other models than those that made the state; warn if only their weights are others.

        Raises
        ------
        RunError
            With the first difference.
        """
        difference = first_difference(self.fingerprint, as_json(fingerprint))
        if difference:
            raise RunError(
                f"the state is that of another model: {difference}",
                where=where,
                hint="use the configuration of the run that wrote it, or start without states",
            )
        if weights and self.weights and weights != self.weights:
            logger.warning(
                "the state was made with other weights (%s): the run will need some time to forget it", where
            )

    def first_step(self, times: np.ndarray) -> int:
        """Return the position in `times` of the step after the state.

        Raises
        ------
        DataError
            If the times end before it, begin later, or have another step.
        """
        begin = int(np.searchsorted(times, self.time, side="right"))
        if begin == len(times) or times[begin] != self.next_time:
            raise DataError(
                f"the states are those after {self.time}, steps of {_length(self.step)}; "
                f"the data cover {times[0]} to {times[-1]}",
                where="load_state_path",
                hint=f"start the period one step after the states, at {self.next_time}",
            )
        return begin

    def save(self, path: str | Path) -> Path:
        """Write the state atomically as one safetensors file with a versioned header."""
        about = {
            "format": FORMAT,
            "version": str(VERSION),
            "fingerprint": json.dumps(self.fingerprint),
            "weights": self.weights,
        }
        return write_tree(Path(path), self.tree(), about)

    def tree(self) -> dict[str, Any]:
        """Return the state but for its fingerprint as a tree of tensors, numbers and text."""
        models = {
            name: {
                "network": state.network,
                "static": state.static,
                "stores": dict(state.process.stores) if state.process else None,
                "routing": dict(state.process.routing) if state.process else None,
            }
            for name, state in self.models.items()
        }
        return {
            "time": str(self.time.astype("datetime64[s]")),
            "step": int(self.step / np.timedelta64(1, "s")),
            "sites": self.sites,
            "models": models,
        }

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any], fingerprint: Fingerprint, weights: str, where: str) -> FullState:
        """Return the state that `tree` returned; ``where`` names its source in errors.

        Raises
        ------
        RunError
            If it holds numbers of other sites than it names.
        """
        models = {
            name: DeltaState(
                state["network"],
                state["static"],
                None if state["stores"] is None else ModelState(state["stores"], state["routing"]),
            )
            for name, state in tree["models"].items()
        }
        time, step = np.datetime64(tree["time"]), np.timedelta64(tree["step"], "s")
        found = cls(models, tree["sites"], time, step, fingerprint, weights)
        for state in models.values():
            _combine(lambda tensors, axis: _whole(tensors[0], axis, len(found.sites), where), [state])
        return found

    @classmethod
    def load(cls, path: str | Path) -> FullState:
        """Read a state.

        Raises
        ------
        RunError
            If there is no such file, it is damaged or of another kind, or another version wrote it.
        """
        path = Path(path).expanduser()
        if not path.is_file():
            raise RunError("there is no file of states", where=str(path), hint=_HINT)
        about = read_about(path, "a whole file of states", _HINT)
        if about.get("format") != FORMAT:
            raise RunError("the file holds no states of models", where=str(path), hint=_HINT)
        if about.get("version") != str(VERSION):
            raise RunError(
                f"the file of states has version {about.get('version')}, this program reads version {VERSION}",
                where=str(path),
                hint="read it with the program that wrote it, or simulate again with cache_states=true",
            )
        tree = read_tree(path, "a whole file of states", _HINT)
        return cls.from_tree(tree, json.loads(about["fingerprint"]), about.get("weights", ""), str(path))


def _cat(tensors: list[Tensor], axis: int) -> Tensor:
    return torch.cat(tensors, dim=axis)


def _whole(tensor: Tensor, axis: int, sites: int, where: str) -> Tensor:
    if tensor.shape[axis] != sites:
        raise RunError(
            f"the file of states names {sites} sites and holds numbers of {tensor.shape[axis]}",
            where=where,
            hint=_HINT,
        )
    return tensor


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


def _length(step: np.timedelta64) -> str:
    hours = step / np.timedelta64(1, "h")
    return "1 day" if hours == 24 else f"{hours:g} h"
