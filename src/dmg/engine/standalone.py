"""The published way to call a process model: a window and its parameters, no state.

Everything here serves the calling convention of the published packages; what it computes is `ProcessModel.run`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dmg.engine.parameters import RawParameters
from dmg.engine.simulate import simulate
from dmg.engine.state import ModelState
from dmg.errors import StepError, did_you_mean


class StandaloneCall:
    """Call, warm-up and cached states of a `ProcessModel` as published."""

    _loaded: ModelState | None
    _last: ModelState | None

    def forward(
        self,
        x_dict: Mapping[str, Any],
        parameters: Tensor | Sequence[Tensor] | Mapping[int, RawParameters],
        outputs: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """Run the model as the published packages do: no state given, warm-up at the start of the window.

        With ``warmup_states`` the stores are spun up on the first ``warmup`` steps without gradient, unrouted, and
        the rest of the window starts from them with an empty river; otherwise the whole window is simulated and the
        first ``warmup`` steps of every series are cut.

        Parameters
        ----------
        x_dict
            ``x_phy`` [T, B, F], the attributes that the model declares, [B] each, optionally ``muwts`` [B, M].
        parameters
            Network output [T, B, learnable_param_count]; or a list of dynamic [T, B, learnable_param_count1] and static
            parameters [B, learnable_param_count2]; or, from a network that computes only what is read, a mapping
            from each step of ``static_steps(T)`` to the parameters with the static values of that step.
        outputs
            Names to return; all if absent.

        Returns
        -------
        dict
            Name to series [T - warmup, B, 1], or to [B] for a derived quantity.
        """
        forcing, attributes = self.read_forcing(x_dict), self.read_attributes(x_dict)
        steps, sites = forcing.shape[:2]
        if self.warmup >= steps:
            raise StepError(
                f"the window has {steps} steps, the warm-up takes {self.warmup} of them",
                hint="give a longer window or a shorter model.warmup",
            )
        raw = parameters if isinstance(parameters, Mapping) else self.split(parameters, self.static_steps(steps))
        cold = self.cold_stores(sites, dtype=forcing.dtype, device=forcing.device)
        state = ModelState(cold | dict(self._loaded.stores), self._loaded.routing) if self._loaded else ModelState(cold)
        start = self.warmup if self.warmup_states else 0
        if start:
            stores = self._spin_up(forcing[:start], attributes, raw[start - 1].window(0, start), state.stores)
            state = ModelState(stores, state.routing)
        rows = max((tail.shape[0] for tail in state.routing.values()), default=0)
        series, final = self.run(
            forcing[start:],
            self.drop_dynamics(raw[steps - 1].window(start, steps)),
            state,
            attributes=attributes,
            outputs=outputs,
            weights=x_dict.get("muwts"),
            kernel_length=None if self.routes_whole else steps - start + rows,
            downstream=self.read_downstream(x_dict),
        )
        # The published memory holds only rows that were simulated: their number sets the length of the hydrograph.
        known = {name: tail[max(tail.shape[0] - (steps - start + rows), 0) :] for name, tail in final.routing.items()}
        self._last = ModelState(final.stores, known).detach()
        if self.cache_states:
            self._loaded = self._last
        trim = 0 if self.warmup_states else self.warmup
        return {name: values if name in self.derived else values[trim:, :, None] for name, values in series.items()}

    def static_steps(self, steps: int) -> tuple[int, ...]:
        """Return the steps of a window at which ``forward`` reads the static parameters."""
        if self.warmup and self.warmup_states:
            return (self.warmup - 1, steps - 1)
        return (steps - 1,)

    def split(self, raw: Tensor | Sequence[Tensor], static_steps: Sequence[int]) -> dict[int, RawParameters]:
        """Split a network output, once per step at which static parameters are read.

        Parameters
        ----------
        raw
            Dense [T, B, width]; or dynamic and static parameters apart, which are the same for every step.
        static_steps
            Steps at which static parameters are read.
        """
        if not isinstance(raw, Tensor):
            return dict.fromkeys(static_steps, self.layout.join(raw))
        return {step: self.layout.split(raw, step) for step in static_steps}

    @torch.no_grad()
    def _spin_up(
        self,
        forcing: Tensor,
        attributes: Mapping[str, Tensor],
        raw: RawParameters,
        stores: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        layout = self.layout
        if self.warmup_is_static:
            layout, raw = layout.frozen(raw, -1)
        return simulate(
            self, forcing, raw, stores, attributes=attributes, layout=layout, fluxes=(), engine=self.engine
        ).stores

    def get_states(self) -> tuple[Tensor, ...] | None:
        """Return the stores after the last call, in the order of ``states``; None before the first."""
        return None if self._last is None else tuple(self._last.stores[s.name] for s in self.states)

    def load_states(self, states: Sequence[Tensor]) -> None:
        """Start the next calls from these stores, in the order of ``states``.

        Raises
        ------
        StepError
            If their number or shape does not fit; nothing is changed then.
        """
        states = [torch.as_tensor(value).detach() for value in states]
        names = [s.name for s in self.states]
        if len(states) != len(names) or any(v.ndim < 2 or v.shape[1] != self.nmul for v in states):
            raise StepError(
                f"the states have shapes {[tuple(v.shape) for v in states]}, "
                f"{type(self).__name__} needs [site, {self.nmul}] for each of {', '.join(names)}",
                hint="load what get_states() of the same model gave",
            )
        routing = self._loaded.routing if self._loaded else {}
        self._loaded = ModelState(dict(zip(names, states, strict=True)), routing)

    def get_routing_state(self) -> dict[str, Tensor] | None:
        """Return the unrouted rows that still influence the future, published name to [<= L-1, B]."""
        if self._last is None or not self._last.routing:
            return None
        return {self.tail_names.get(name, name): tail for name, tail in self._last.routing.items()}

    def load_routing_state(self, state: Mapping[str, Tensor] | None) -> None:
        """Start the next calls with these rows in the river; None empties it.

        Raises
        ------
        StepError
            If a routed flux is missing; nothing is changed then.
        """
        names = {self.tail_names.get(name, name): name for name in self.routed} if state is not None else {}
        for name in names:
            if name not in state:
                raise StepError(f"the routing state has no '{name}'", hint=did_you_mean(name, state))
        routing = {names[name]: torch.as_tensor(state[name]).detach() for name in names}
        self._loaded = ModelState(self._loaded.stores if self._loaded else {}, routing)

    def reset_states(self) -> None:
        """Forget loaded and cached states: the next call is a cold start."""
        self._loaded = None
        self._last = None
