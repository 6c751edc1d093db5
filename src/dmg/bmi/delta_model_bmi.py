"""The CSDMS Basic Model Interface 2.0 of a trained δMG model."""

from __future__ import annotations

import logging
import sys
from typing import Any

import numpy as np
from bmipy import Bmi

from dmg.bmi.config import read_bmi_config
from dmg.bmi.hosted_model import HostedModel
from dmg.bmi.serialization import Snapshot
from dmg.bmi.variable import NODES, Variable
from dmg.errors import DataError, RunError, UnknownNameError, did_you_mean

logger = logging.getLogger(__name__)


class DeltaModelBmi(Bmi):
    """A trained δMG model as a component of another framework: one catchment, or many.

    One catchment is a ``scalar`` grid of rank 0, several (or several ensemble members) are the nodes of an
    ``unstructured`` one. Time is in seconds from 0, values are float64 in one dimension.

    Examples
    --------
    >>> component = DeltaModelBmi()  # doctest: +SKIP
    >>> component.initialize("bmi_cat-1.yaml")  # doctest: +SKIP
    >>> component.set_value("land_surface_air__temperature", np.array([3.0]))  # doctest: +SKIP
    >>> component.update()  # doctest: +SKIP
    """

    def __init__(self) -> None:
        self._model: HostedModel | None = None
        self._snapshot = Snapshot(lambda: self._running.save(), lambda data: self._running.restore(data))
        # A host may ask for these before it initializes the component.
        self._protocol = {v.name: v for v in self._snapshot.variables()}

    # Control

    def initialize(self, config_file: str) -> None:
        """Read a configuration, load the model and bring it to its start."""
        self._model = HostedModel(read_bmi_config(config_file))

    def update(self) -> None:
        """Go on by one time step."""
        self._running.update()

    def update_until(self, time: float) -> None:
        """Go on to a time in whole steps; inputs keep their values on the way.

        Raises
        ------
        RunError
            If the time lies behind, or not at the end of a step.
        """
        model = self._running
        steps = (time - self.get_current_time()) / model.host_step
        whole = round(steps)
        if whole < 0 or abs(steps - whole) > 1e-6:
            raise RunError(
                f"cannot go from {self.get_current_time():g} s to {time:g} s in steps of {model.host_step:g} s",
                hint="give an absolute time ahead, a multiple of get_time_step()",
            )
        for _ in range(whole):
            model.update()

    def finalize(self) -> None:
        """Let go of the model; may be called at any time and more than once."""
        if self._model is not None:
            self._model.variables.clear()  # they refer to the model, which is to be freed now
        self._model = None
        self._snapshot.release()

    # Information

    def get_component_name(self) -> str:
        """Return what the component is."""
        return f"dMG {' '.join(self._running.run.model.models)}"

    def get_input_item_count(self) -> int:
        """Return the number of published inputs."""
        return len(self.get_input_var_names())

    def get_output_item_count(self) -> int:
        """Return the number of published outputs."""
        return len(self.get_output_var_names())

    def get_input_var_names(self) -> tuple[str, ...]:
        """Return the inputs that a host must supply."""
        return self._published("input")

    def get_output_var_names(self) -> tuple[str, ...]:
        """Return the outputs that a host may read."""
        return self._published("output")

    # Variables

    def get_var_grid(self, name: str) -> int:
        """Return the grid of a variable."""
        return self._placed(name).grid

    def get_var_type(self, name: str) -> str:
        """Return the numpy type of a variable."""
        return self._variable(name).dtype

    def get_var_units(self, name: str) -> str:
        """Return the unit of a variable."""
        return self._variable(name).units

    def get_var_itemsize(self, name: str) -> int:
        """Return the bytes of one value."""
        return int(np.dtype(self._variable(name).dtype).itemsize)

    def get_var_nbytes(self, name: str) -> int:
        """Return the bytes of all values."""
        return self.get_var_itemsize(name) * self._variable(name).size

    def get_var_location(self, name: str) -> str:
        """Return where on the grid a variable lives: at its nodes."""
        self._placed(name)
        return "node"

    # Time

    def get_current_time(self) -> float:
        """Return the time since the start."""
        model = self._running
        return float(model.steps * model.host_step)

    def get_start_time(self) -> float:
        """Return 0."""
        return 0.0

    def get_end_time(self) -> float:
        """Return the greatest number: a component runs as long as it is supplied."""
        return sys.float_info.max

    def get_time_units(self) -> str:
        """Return the unit of time."""
        return "s"

    def get_time_step(self) -> float:
        """Return the step of the host."""
        return float(self._running.host_step)

    # Values

    def get_value(self, name: str, dest: np.ndarray) -> np.ndarray:
        """Copy the values of a variable into an array and return it."""
        values = self._variable(name).values
        if np.size(dest) != values.size:
            raise DataError(
                f"the array has {np.size(dest)} values, '{name}' has {values.size}",
                hint="get_var_nbytes and get_var_itemsize say how many there are",
            )
        dest.flat[:] = values
        return dest

    def get_value_ptr(self, name: str) -> np.ndarray:
        """Return the array of a variable itself; it is always current."""
        return self._variable(name).values

    def get_value_at_indices(self, name: str, dest: np.ndarray, inds: np.ndarray) -> np.ndarray:
        """Copy some of the values of a variable into an array and return it."""
        values = self._variable(name).values
        where = self._places(name, inds, values.size)
        if np.size(dest) != where.size:
            raise DataError(f"the array has {np.size(dest)} values, {where.size} places of '{name}' were asked for")
        dest.flat[:] = values[where]
        return dest

    def set_value(self, name: str, src: np.ndarray) -> None:
        """Copy values into a variable; a name that is not known is ignored with a warning, as hosts expect."""
        variable = self._settable(name)
        if variable is None:
            return
        variable.assign(np.asarray(src).reshape(-1))

    def set_value_at_indices(self, name: str, inds: np.ndarray, src: np.ndarray) -> None:
        """Copy values to some places of a variable."""
        variable = self._settable(name)
        if variable is None:
            return
        where = self._places(name, inds, variable.size)
        given = np.asarray(src).reshape(-1)
        if given.size != where.size:
            raise DataError(f"{given.size} values were given for {where.size} places of '{name}'")
        values = variable.values.copy()
        values[where] = given
        variable.assign(values)

    # Grids

    def get_grid_rank(self, grid: int) -> int:
        """Return the number of dimensions."""
        return {"scalar": 0, "unstructured": 2, "vector": 1}[self.get_grid_type(grid)]

    def get_grid_size(self, grid: int) -> int:
        """Return the number of values."""
        self._grid(grid)
        return int(self._running.grids[grid])

    def get_grid_type(self, grid: int) -> str:
        """Return ``scalar`` for one node, ``unstructured`` for several, ``vector`` for their components."""
        self._grid(grid)
        if grid != NODES:
            return "vector"
        return "scalar" if self._running.nodes == 1 else "unstructured"

    def get_grid_shape(self, grid: int, shape: np.ndarray) -> np.ndarray:
        """Raise: only structured grids have one."""
        raise NotImplementedError("get_grid_shape: the grid is not structured")

    def get_grid_spacing(self, grid: int, spacing: np.ndarray) -> np.ndarray:
        """Raise: only uniform grids have one."""
        raise NotImplementedError("get_grid_spacing: the grid is not uniform")

    def get_grid_origin(self, grid: int, origin: np.ndarray) -> np.ndarray:
        """Raise: only uniform grids have one."""
        raise NotImplementedError("get_grid_origin: the grid is not uniform")

    def get_grid_x(self, grid: int, x: np.ndarray) -> np.ndarray:
        """Fill the longitudes of the nodes."""
        return self._coordinates(grid, "lon", x)

    def get_grid_y(self, grid: int, y: np.ndarray) -> np.ndarray:
        """Fill the latitudes of the nodes."""
        return self._coordinates(grid, "lat", y)

    def get_grid_z(self, grid: int, z: np.ndarray) -> np.ndarray:
        """Raise: nodes have no height."""
        raise NotImplementedError("get_grid_z: the nodes have longitude and latitude only")

    def get_grid_node_count(self, grid: int) -> int:
        """Return the number of nodes."""
        return self.get_grid_size(grid)

    def get_grid_edge_count(self, grid: int) -> int:
        """Return 0: nodes are not joined."""
        self._grid(grid)
        return 0

    def get_grid_face_count(self, grid: int) -> int:
        """Return 0: nodes are not joined."""
        self._grid(grid)
        return 0

    def get_grid_edge_nodes(self, grid: int, edge_nodes: np.ndarray) -> np.ndarray:
        """Return the array: there are no edges."""
        self._grid(grid)
        return edge_nodes

    def get_grid_face_edges(self, grid: int, face_edges: np.ndarray) -> np.ndarray:
        """Return the array: there are no faces."""
        self._grid(grid)
        return face_edges

    def get_grid_face_nodes(self, grid: int, face_nodes: np.ndarray) -> np.ndarray:
        """Return the array: there are no faces."""
        self._grid(grid)
        return face_nodes

    def get_grid_nodes_per_face(self, grid: int, nodes_per_face: np.ndarray) -> np.ndarray:
        """Return the array: there are no faces."""
        self._grid(grid)
        return nodes_per_face

    @property
    def _running(self) -> HostedModel:
        if self._model is None:
            raise RunError("the component is not initialized, or finalized", hint="call initialize(config_file) first")
        return self._model

    def _published(self, role: str) -> tuple[str, ...]:
        return tuple(v.name for v in self._running.variables.values() if v.role == role)

    def _variable(self, name: str) -> Variable:
        found = self._find(name)
        if found is None:
            hint = did_you_mean(name, self._running.variables)
            raise UnknownNameError(f"the component has no variable '{name}'", hint=hint)
        return found

    def _find(self, name: str) -> Variable | None:
        return self._protocol.get(name) or self._running.variables.get(name)

    def _placed(self, name: str) -> Variable:
        variable = self._variable(name)
        if variable.grid < 0:
            raise UnknownNameError(f"'{name}' is part of a protocol and lies on no grid")
        return variable

    def _settable(self, name: str) -> Variable | None:
        found = self._find(name)
        if found is None:
            hint = did_you_mean(name, self._running.variables)
            logger.warning("set_value of an unknown variable is ignored: '%s' (%s)", name, hint)
        return found

    @staticmethod
    def _places(name: str, inds: np.ndarray, size: int) -> np.ndarray:
        where = np.asarray(inds, dtype=np.int64).reshape(-1)
        if where.size and not (where.min() >= 0 and where.max() < size):
            raise DataError(f"'{name}' has {size} values, the places go from {where.min()} to {where.max()}")
        return where

    def _grid(self, grid: int) -> None:
        known = range(len(self._running.grids))
        if grid not in known:
            raise UnknownNameError(f"there is no grid {grid}", hint=f"there are grids {', '.join(map(str, known))}")

    def _coordinates(self, grid: int, key: str, out: np.ndarray) -> np.ndarray:
        if self.get_grid_type(grid) != "unstructured":
            raise NotImplementedError(f"a {self.get_grid_type(grid)} grid has no coordinates")
        config = self._running.config
        values: Any = [getattr(c, key) for c in config.catchments]
        out[:] = np.tile(np.array([np.nan if v is None else v for v in values], dtype=float), config.members)
        return out
