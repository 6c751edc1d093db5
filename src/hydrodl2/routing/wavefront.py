"""Muskingum-Cunge routing as a wave front: every reach at a time of its own, so that all advance in one operation.

With a reach delayed by its distance to the headwater end of the network, what drains into it was computed one operation
earlier. T steps of a network that is L reaches deep take T + L operations on all reaches, instead of T * L on a few:
the form for a GPU, which has room for all reaches and loses time between operations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from dmg.core.utils.river_network import RiverNetwork
from dmg.engine.declare import Values
from hydrodl2.routing.muskingum_cunge_reach import MuskingumCungeReach


class WaveFront:
    """The steps of all reaches of a network, skewed in time.

    Parameters
    ----------
    network
        Reaches and where they drain to.
    """

    def __init__(self, network: RiverNetwork) -> None:
        to_outlet = network.to_outlet(np.ones(len(network))).astype(np.int64) - 1
        self.depth = int(to_outlet.max(initial=0))
        # The reach farthest from its outlet goes first, and every reach one operation before the one it drains into.
        self.delay = torch.from_numpy(self.depth - to_outlet)
        draining = np.flatnonzero(network.downstream >= 0)
        self.upstream = torch.from_numpy(draining)
        self.into = torch.from_numpy(network.downstream[draining])

    def run(
        self,
        reach: MuskingumCungeReach,
        lateral: Tensor,
        parameters: Mapping[str, Tensor],
        attributes: Mapping[str, Tensor],
        state: Tensor,
        fluxes: Sequence[str],
        *,
        substeps: int,
        block: int,
        every_substep: bool,
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Route, block after block; the way back runs each again, so that its memory is that of a block.

        Parameters
        ----------
        reach
            The step.
        lateral
            Lateral inflow [T, N].
        parameters, attributes
            Of the reaches [N], in their units.
        state
            Discharge [N] before the first step.
        fluxes
            Names of those that are returned.
        substeps
            Routing steps in a step of the lateral inflow.
        block
            Steps of the lateral inflow in a block.
        every_substep
            Return values of every routing step, not means over the steps of the lateral inflow.

        Returns
        -------
        fluxes
            [T * substeps, N] or [T, N] each.
        state
            Discharge [N] after the last step.
        """

        def part(begin: int, state: Tensor) -> tuple[Tensor, ...]:
            hourly = lateral[begin : begin + block].repeat_interleave(substeps, dim=0)
            series, state = self._block(reach, hourly, parameters, attributes, state, fluxes)
            if not every_substep:
                series = [values.unflatten(0, (-1, substeps)).mean(1) for values in series]
            return (*series, state)

        parts = []
        for begin in range(0, len(lateral), block):
            *series, state = checkpoint(part, begin, state, use_reentrant=False)
            parts.append(series)
        return {n: torch.cat(list(v)) for n, v in zip(fluxes, zip(*parts, strict=True), strict=True)}, state

    def _block(
        self,
        reach: MuskingumCungeReach,
        lateral: Tensor,
        parameters: Mapping[str, Tensor],
        attributes: Mapping[str, Tensor],
        state: Tensor,
        fluxes: Sequence[str],
    ) -> tuple[list[Tensor], Tensor]:
        """Run the steps of ``lateral`` [S, N]; return the fluxes [S, N] and the state after them."""
        steps = len(lateral)
        delay, upstream, into = (t.to(lateral.device) for t in (self.delay, self.upstream, self.into))
        here = torch.arange(lateral.shape[1], device=lateral.device)
        known = Values("parameter", dict(parameters))
        outflow, kept, earlier = torch.zeros_like(state), state, state
        front: list[list[Tensor]] = [[] for _ in fluxes]
        for operation in range(steps + self.depth):
            own = operation - delay
            running = (own >= 0) & (own < steps)
            x = {
                "inflow": torch.zeros_like(state).index_add(0, into, outflow[upstream]),
                "inflow_before": torch.zeros_like(state).index_add(0, into, earlier[upstream]),
                "lateral": lateral[own.clamp(0, steps - 1), here],
            }
            _, found = reach.step(
                Values("state", {"discharge": kept}), Values("forcing", {**x, **attributes}), known, reach.dt
            )
            outflow = torch.where(running, found["outflow"], outflow)
            earlier, kept = kept, torch.where(running, found["discharge_kept"], kept)
            for values, name in zip(front, fluxes, strict=True):
                values.append(found[name])
        own_time = torch.arange(steps, device=lateral.device)[:, None] + delay
        return [torch.stack(values)[own_time, here] for values in front], kept
