"""A run of a forest of sites: segments of time, and the share of every thread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import torch
from torch import Tensor

from dmg.engine.forest import Forest, Indices
from dmg.engine.forest_plan import ForestPlan
from dmg.engine.pipeline import Task, run_pipeline
from dmg.errors import StepError

# Memory of the tapes of all segments that are under way.
TAPE_BYTES = 48 * 2**20
# Blocks that are worth a thread.
BLOCKS_PER_THREAD = 16


def threads_for(forest: Forest) -> int:
    """Return how many threads share a forest."""
    return max(1, min(torch.get_num_threads(), forest.blocks // BLOCKS_PER_THREAD))


def ring_of(threads: int, back: bool) -> int:
    """Return how many segments are under way: the way back of one begins where the last worker is done with it."""
    return 2 * threads - 1 if back else min(2, threads)


def span_for(plan: ForestPlan, forest: Forest, substeps: int, steps: int, back: bool) -> int:
    """Return the steps of the forcing in a segment: as many as its tapes have room for, and threads have work for."""
    threads = threads_for(forest)
    numbers = ring_of(threads, back) * forest.blocks * plan.width(back) * substeps
    longest = -(-steps // (4 * threads)) if threads > 1 else steps
    return max(1, min(TAPE_BYTES // (numbers * plan.dtype.itemsize), longest))


class ForestRun:
    """A run of a plan over time: segments, the share of every thread, and the arrays of a forest.

    Parameters
    ----------
    plan, forest
        What is run, and where.
    substeps
        Steps in one step of the forcing.
    forcing
        [F, T, N].
    static
        Raw static parameters and attributes, [S, elements].
    back
        Whether this is the way back, which needs more of a segment, and has more of them under way.
    span
        Steps of the forcing in a segment.
    """

    def __init__(
        self,
        plan: ForestPlan,
        forest: Forest,
        substeps: int,
        forcing: Tensor,
        static: Tensor,
        *,
        back: bool,
        span: int,
    ) -> None:
        self.plan, self.forest, self.substeps, self.forcing, self.static = plan, forest, substeps, forcing, static
        self.total, self.span, self.threads = forcing.shape[1], span, threads_for(forest)
        self.bounds = [forest.blocks * i // self.threads for i in range(self.threads + 1)]
        self.ring, self.segments = ring_of(self.threads, back), -(-self.total // span)
        self.tapes, self.stride = self.new_tapes(plan.width(back))
        self.lane_site = torch.from_numpy(forest.site.astype("int32"))

    def new_tapes(self, width: int) -> tuple[Tensor, int]:
        """Return tapes [ring, (blocks + 1) * stride]; the lanes after the last block give and owe nothing."""
        stride = self.span * self.substeps * width
        if (self.forest.blocks + 1) * stride >= 2**31:
            raise StepError(
                f"{self.substeps} steps of {self.forest.sites} sites are more than a tape can hold",
                hint="give the forcing in shorter steps, with fewer substeps",
            )
        tapes = torch.empty(self.ring, (self.forest.blocks + 1) * stride, dtype=self.plan.dtype)
        tapes[:, self.forest.blocks * stride :] = 0.0
        return tapes, stride

    def on_tape(self, lanes: Indices, stride: int) -> Tensor:
        """Return where on a tape the numbers of lanes begin."""
        width = self.forest.lanes
        return torch.from_numpy((lanes // width * stride + lanes % width).astype("int32"))

    def common(self, worker: int, segment: int) -> dict[str, int | Tensor]:
        """Return the arguments that all functions take."""
        begin = segment * self.span
        return {
            "first": self.bounds[worker], "last": self.bounds[worker + 1],
            "begin": begin, "steps": min(self.span, self.total - begin), "substeps": self.substeps,
            "total": self.total, "sites": self.forest.sites, "elements": self.forest.elements,
            "forcing": self.forcing, "static": self.static, "lane_site": self.lane_site,
            "tape": self.tapes[segment % self.ring], "stride": self.stride,
        }  # fmt: skip

    @cached_property
    def above(self) -> dict[str, Tensor]:
        """What the functions that run forward take besides."""
        forest = self.forest
        return {"rows": torch.from_numpy(forest.first), "upstream": self.on_tape(forest.upstream, self.stride)}

    def needs(self, counts: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        """Return what is left of the needs of a task without those of workers that there are not."""
        return {(way, p): n for (way, p), n in counts.items() if 0 <= p < self.threads}

    def forward(self, states: Tensor, flux: Tensor) -> None:
        """Run.

        Parameters
        ----------
        states
            [K, S, elements] with the initial states in row 0; receives those after segment k in row (k + 1) % K.
        flux
            Receives [fluxes, T, N], or with every step [fluxes, T * substeps, N].
        """

        def task(p: int, k: int) -> Task:
            def run() -> None:
                start, end = states[k % len(states)], states[(k + 1) % len(states)]
                self.plan.forward(**self.common(p, k), **self.above, start=start, end=end, flux=flux)

            # What the worker before has done; and the worker after has read the tape that is used again.
            return run, ("on", p), self.needs({("on", p - 1): k + 1, ("on", p + 1): k + 1 - self.ring})

        run_pipeline([[task(p, k) for k in range(self.segments)] for p in range(self.threads)])

    def backward(self, states: Tensor, gradients: Mapping[str, Tensor | None]) -> None:
        """Walk back: every segment is run again from its first states, then back.

        Parameters
        ----------
        states
            States before each segment [segments, S, elements].
        gradients
            ``grad_flux``, shaped as the fluxes; ``grad_state`` [S, elements] of the final states, which becomes that of
            the initial ones; ``grad_static`` [parameters, elements], zeros to which is added; ``grad_forcing`` as the
            forcing, or None.
        """
        owed, owed_stride = self.new_tapes(len(self.plan.passing.above) * self.plan.lanes)
        below, end = self.on_tape(self.forest.below, owed_stride), torch.empty_like(states[0])
        back = self.plan.adjoint(gradients["grad_static"] is not None, gradients["grad_forcing"] is not None)

        def again(p: int, k: int) -> Task:
            def run() -> None:
                segment = self.segments - 1 - k
                arguments = self.common(p, segment) | {"tape": self.tapes[k % self.ring]}
                self.plan.again(**arguments, **self.above, start=states[segment], end=end, flux=None)

            return run, ("on", p), self.needs({("on", p - 1): k + 1})

        def backwards(p: int, k: int) -> Task:
            def run() -> None:
                arguments = self.common(p, self.segments - 1 - k) | {"tape": self.tapes[k % self.ring]}
                back(**arguments, below=below, owed=owed[k % self.ring], owed_stride=owed_stride, **gradients)

            return run, ("back", p), self.needs({("back", p + 1): k + 1, ("back", p - 1): k + 1 - self.ring})

        def tasks(p: int) -> Iterator[Task]:
            # What runs ahead is as much as the way to the last worker and back takes.
            ahead = 2 * (self.threads - 1 - p)
            for k in range(self.segments + ahead):
                if k < self.segments:
                    yield again(p, k)
                if k >= ahead:
                    yield backwards(p, k - ahead)

        run_pipeline([tasks(p) for p in range(self.threads)])
