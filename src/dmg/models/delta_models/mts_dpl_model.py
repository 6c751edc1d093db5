"""Differentiable parameter learning at two time steps: days first, then hours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dmg.core.data.upstream import Upstream
from dmg.core.utils.evaluating import evaluating
from dmg.engine import Budget, ModelState, RawParameters, account
from dmg.errors import StepError
from dmg.models.delta_models.delta_state import DeltaState
from dmg.models.delta_models.dpl_model import DplModel, Window
from dmg.registry import delta_models


@delta_models.register("MtsDplModel")
class MtsDplModel(DplModel):
    """A stack of two networks and a process model of two time steps, such as ``Hbv_2_mts``.

    The days fill the stores and the memory of the network; the hours start from both. A state belongs to the hours: a
    run that is given one needs no days, and goes on where the other ended.

    Parameters
    ----------
    phy_model_name, phy_model, nn_model, config, device
        As for `DplModel`; the network is a `StackLstmMlpModel`.
    """

    def forward(
        self,
        data_dict: Mapping[str, Any],
        eval: bool = False,
        batched: bool = False,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """Run days and hours from a cold start.

        Parameters
        ----------
        data_dict
            A batch with ``upstream``; or, as published, ``xc_nn_norm_lof``, ``xc_nn_norm_hif``, ``c_nn_norm``,
            ``c_path_norm`` and what the process model reads.
        eval
            Run in evaluation mode and without gradient.
        batched
            Accepted for compatibility.
        outputs
            Names of the outputs to compute, those at gauges if absent.

        Returns
        -------
        dict
            ``streamflow`` of the gauges [T - warmup, G, 1]; series of units [T - warmup, U, 1] if they are asked for.
        """
        if eval:
            with evaluating(self):
                return self.forward(data_dict, outputs=outputs)
        if "upstream" in data_dict:
            return self.run(data_dict, outputs=outputs)[0]
        return self.phy_model(data_dict, self.nn_model(*(data_dict[key] for key in self.nn_model.inputs)), outputs)

    def run(
        self,
        data_dict: Mapping[str, Any],
        state: DeltaState | None = None,
        *,
        static: str = "last",
        outputs: Sequence[str] | None = None,
    ) -> tuple[dict[str, Tensor], DeltaState]:
        """Run from a full state to a full state; without one, the days come first, then ``warmup`` hours.

        Parameters
        ----------
        data_dict
            A batch with ``upstream`` (`Upstream`).
        state
            Full state of the hours before the first of them.
        static
            ``held`` takes the static parameters of the state; they follow from attributes in any case.
        outputs
            Names of the outputs to compute, those at gauges if absent.

        Returns
        -------
        outputs
            As ``forward``; from the first hour if a state was given.
        state
            Full state after the last hour.

        Raises
        ------
        StepError
            If there are not the days, or not more hours, than the warm-up takes.
        """
        return self.run_window(self.window(data_dict, state, static=static, outputs=outputs), outputs)

    def run_window(self, window: Window, outputs: Sequence[str] | None = None) -> tuple[dict[str, Tensor], DeltaState]:
        """Run the hours of a window; returns what ``run`` does."""
        # Those at gauges: a series of the units has another number of columns.
        return super().run_window(window, list(self.phy_model.hif_model.gathered) if outputs is None else outputs)

    def budget(self, window: Window) -> Budget:
        """Return the budget of the hours of a window, recomputed in float64, per unit."""
        return account(self.phy_model.hif_model, window.forcing, window.raw, window.start, attributes=window.attributes)

    def window(
        self,
        data_dict: Mapping[str, Any],
        state: DeltaState | None = None,
        *,
        static: str = "last",
        outputs: Sequence[str] | None = None,
    ) -> Window:
        """Run the days, the network of the hours and their warm-up: what the process model needs for the other hours.

        Parameters
        ----------
        data_dict, state, static, outputs
            As for ``run``.
        """
        upstream: Upstream = data_dict["upstream"]
        model, hours = self.phy_model, upstream.hourly
        forcing, attributes = model.hif_model.read_forcing(hours), model.hif_model.read_attributes(hours)
        steps, warmup = forcing.shape[0], model.warmup if state is None else 0
        if warmup >= steps:
            raise StepError(
                f"the window has {steps} hours, the warm-up takes {warmup} of them",
                hint="give a longer window or a shorter model.warmup",
            )
        held = state.static if static == "held" and state is not None else None
        # Once for days and hours: dropout would make two of what is one.
        low = self.nn_model.lof_model.ann(hours["c_nn_norm"]) if held is None else None
        memory, process = (state.network, state.process) if state else self._run_days(upstream, low)
        raw, memory = self._parameters_of_hours(upstream, low, memory, held)
        raw = model.hif_model.drop_dynamics(raw)
        areas = hours["areas"] if "areas" in hours else forcing.new_ones(forcing.shape[1])
        river = {"x_phy": forcing, "areas": areas, "outlet_topo": upstream.outlet_topo}
        downstream = model.hif_model.read_downstream(river)
        if warmup:
            with torch.set_grad_enabled(model.attached and torch.is_grad_enabled()):
                first = raw.window(0, warmup)
                _, process = model.run(forcing[:warmup], first, process, attributes=attributes, downstream=downstream)
        rest = raw.window(warmup, steps)
        return Window(forcing[warmup:], attributes, rest, process, memory, downstream=downstream)

    def physical_parameters(self, data_dict: Mapping[str, Any], static: str = "last") -> dict[str, Tensor]:
        """Return the parameters of the hours in their units: static [U, M], dynamic [T, U, M]."""
        upstream: Upstream = data_dict["upstream"]
        with evaluating(self):
            days = upstream.daily.select(times=slice(0, upstream.days))
            _, memory = self.nn_model.run_low(days["xc_nn_norm"])
            low = self.nn_model.lof_model.ann(upstream.hourly["c_nn_norm"])
            raw, _ = self._parameters_of_hours(upstream, low, memory)
            return self.phy_model.hif_model.physical_parameters(raw)

    def _run_days(self, upstream: Upstream, static: Tensor) -> tuple[Any, ModelState]:
        """Return the memory of the network and the state of the process model with which the hours start."""
        days = upstream.daily.select(times=slice(0, upstream.days))
        if days.n_times < upstream.days:
            raise StepError(
                f"there are {days.n_times} of the {upstream.days} days before the hours",
                hint="let the period begin at midnight, or give a state to start from",
            )
        low = self.phy_model.lof_model
        dynamic, memory = self.nn_model.run_low(days["xc_nn_norm"])
        raw = low.drop_dynamics(RawParameters(dynamic, static))
        return memory, self.phy_model.fill(low.read_forcing(days), raw, low.read_attributes(days))

    def _parameters_of_hours(
        self, upstream: Upstream, low: Tensor | None, memory: Any, held: Tensor | None = None
    ) -> tuple[RawParameters, Any]:
        """Return the parameters of the hours; static ones that are held are not computed again."""
        network, hours = self.nn_model.hif_model, upstream.hourly
        dynamic, memory = self.nn_model.run_high(hours["xc_nn_norm"], memory)
        static = self.phy_model.shared_static(low, network.ann1(hours["c_nn_norm"])) if held is None else held
        return RawParameters(dynamic, static, paths=network.ann2(upstream.paths)), memory
