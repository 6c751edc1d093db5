"""A host that treats a Python component as ngen does: what it asks for, how it calls, what it cannot handle.

Written from the rules of its documentation (BMIconventions.md, BMI_MODELS.md) and of its adapter for Python: values
reach it through `get_value_ptr` as arrays of one dimension, double only; every published input is set at every step;
everything else goes through named variables.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping

import numpy as np

TYPES = {"float64": 8, "int32": 4, "int64": 8, "uint8": 1}
MASS = ("in", "out", "stored", "leaked")


class NgenHost:
    """One component under ngen's rules.

    Parameters
    ----------
    python_type
        ``package.module.Class``.
    init_config
        File of the component's configuration.
    """

    def __init__(self, python_type: str, init_config: str) -> None:
        from bmipy import Bmi

        module, _, name = python_type.rpartition(".")
        kind = getattr(importlib.import_module(module), name)
        assert issubclass(kind, Bmi)
        assert os.access(init_config, os.R_OK)
        self.bmi = kind()
        self.bmi.initialize(init_config)
        assert self.bmi.get_time_units() == "s"
        assert self.bmi.get_start_time() == 0.0
        assert self.bmi.get_end_time() == sys.float_info.max
        assert isinstance(self.bmi.get_time_step(), float)
        inputs, outputs = self.bmi.get_input_var_names(), self.bmi.get_output_var_names()
        assert not set(inputs) & set(outputs)
        for name in (*inputs, *outputs):
            assert self.bmi.get_var_type(name) == "float64"
            assert self.bmi.get_var_units(name) not in ("-", "", "C")
            assert self.bmi.get_var_location(name) == "node"
            assert self.bmi.get_grid_size(self.bmi.get_var_grid(name)) == self.size(name)

    def size(self, name: str) -> int:
        """Return the number of items as the adapter computes it."""
        itemsize = self.bmi.get_var_itemsize(name)
        assert np.zeros(1, dtype=self.bmi.get_var_type(name)).itemsize == itemsize
        assert TYPES[self.bmi.get_var_type(name)] == itemsize
        return self.bmi.get_var_nbytes(name) // itemsize

    def step(self, forcing: Mapping[str, float | np.ndarray], dt: float | None = None) -> None:
        """Set every published input and go on."""
        for name in self.bmi.get_input_var_names():
            src = np.empty(self.size(name), dtype=self.bmi.get_var_type(name))
            src[:] = forcing[name]
            self.bmi.set_value(name, src)
        if dt is None or dt == self.bmi.get_time_step():
            self.bmi.update()
        else:
            self.bmi.update_until(self.bmi.get_current_time() + dt)

    def get(self, name: str) -> np.ndarray:
        """Return values that are the same through every getter."""
        by_pointer = self.bmi.get_value_ptr(name)
        assert isinstance(by_pointer, np.ndarray)
        assert by_pointer.ndim == 1
        assert by_pointer.flags.c_contiguous
        assert str(by_pointer.dtype) == self.bmi.get_var_type(name)
        dest = np.empty(self.size(name), dtype=self.bmi.get_var_type(name))
        assert self.bmi.get_value(name, dest) is dest
        np.testing.assert_array_equal(dest, by_pointer)
        if dest.size:
            first = np.empty(1, dtype=dest.dtype)
            self.bmi.get_value_at_indices(name, first, np.array([0]))
            np.testing.assert_array_equal(first, dest[:1])
        return dest

    def outputs(self) -> dict[str, np.ndarray]:
        """Return every published output."""
        return {name: self.get(name) for name in self.bmi.get_output_var_names()}

    def imbalance(self) -> np.ndarray:
        """Return what the protocol of mass balance compares with its tolerance."""
        units = {self.bmi.get_var_units(f"ngen::mass_{term}") for term in MASS}
        assert len(units) == 1
        entered, left, stored, leaked = (self.get(f"ngen::mass_{term}") for term in MASS)
        return np.abs(entered - left - stored - leaked)

    def save(self) -> np.ndarray:
        """Return the state by the protocol of serialization."""
        trigger = np.zeros(1, dtype=np.int32)
        self.bmi.set_value("ngen::serialization_create", trigger)
        (size,) = self.get("ngen::serialization_size")
        state = self.get("ngen::serialization_state").copy()
        assert state.size == size > 0
        self.bmi.set_value("ngen::serialization_free", trigger)
        assert self.get("ngen::serialization_size") == 0
        return state

    def restore(self, state: np.ndarray) -> None:
        """Set a state by the protocol of serialization."""
        self.bmi.set_value("ngen::serialization_size", np.array([state.size], dtype=np.int64))
        assert self.size("ngen::serialization_state") == state.size
        self.bmi.set_value("ngen::serialization_state", state)
