"""How a simulation that does not fit into memory is cut into chunks of sites and of time."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dmg.core.utils.peak_memory import PeakMemory
from dmg.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dmg.trainers.simulate import Simulation

READING = 0.25
"""Share of the memory for what is read; the rest is for networks, process models and results."""

SLACK = 1.5
"""What operations take for themselves, and results on their way to the store, beside the tensors that are counted."""

CHUNK_VALUES = 2**18
"""Values of a series that lie together in the store; a pass over time that reads all sites wants few steps of each."""

FEW_SITES, FEW_STEPS = 256, 32
"""A chunk is cut in time only so far as it then has so many sites, and never into fewer steps."""

PROBES, PROBE_STEPS = (16, 144), 32
"""Numbers of sites, and of steps behind the warm-up, whose memory is measured."""


@dataclass(frozen=True)
class SimulationPlan:
    """Chunks of a simulation; a chunk of sites goes through its chunks of time one after the other.

    Parameters
    ----------
    n_sites, n_times
        Number of sites, and of time steps behind the warm-up.
    sites, steps
        Size of a chunk.
    """

    n_sites: int
    n_times: int
    sites: int
    steps: int

    @property
    def site_chunks(self) -> int:
        """Number of chunks of sites."""
        return -(-self.n_sites // self.sites)

    @property
    def together(self) -> tuple[int, int]:
        """Steps and sites that lie together in the store: a chunk of time in equal parts."""
        parts = -(-self.steps // max(FEW_STEPS, CHUNK_VALUES // self.sites))
        return -(-self.steps // parts), self.sites

    def columns(self, number: int) -> slice:
        """Return the sites of a chunk."""
        return slice(number * self.sites, min((number + 1) * self.sites, self.n_sites))

    def windows(self, begin: int = 0) -> Iterator[slice]:
        """Yield the chunks of time from a step on, with which one of them begins."""
        for start in range(begin, self.n_times, self.steps):
            yield slice(start, min(start + self.steps, self.n_times))

    @classmethod
    def within(
        cls, memory: float, bytes_each: float, n_sites: int, n_times: int, warmup: int, groups: int = 1
    ) -> SimulationPlan:
        """Return the plan that keeps the tensors of a chunk within so many bytes.

        Parameters
        ----------
        memory
            Bytes for the tensors of a chunk.
        bytes_each
            What one step of one site takes.
        n_sites, n_times, warmup
            Extent of the simulation.
        groups
            Number of sites that lie together in the store: chunks are whole multiples of it where that is possible.
        """
        most = max(1, int(memory / bytes_each))  # sites x steps
        steps = n_times
        if most // (steps + warmup) < min(FEW_SITES, n_sites):
            steps = max(min(FEW_STEPS, n_times), min(n_times, most // min(FEW_SITES, n_sites) - warmup))
        sites = max(1, min(n_sites, most // (steps + warmup)))
        if groups < sites < n_sites:
            sites -= sites % groups
        return cls(n_sites, n_times, sites, steps)


def measure(run: Callable[[int], Simulation], n_sites: int) -> tuple[float, Simulation]:
    """Return the bytes that one more site takes, and the result of a run of a few sites.

    Parameters
    ----------
    run
        Simulates so many sites.
    n_sites
        Number of sites that there are.
    """
    run(1)  # compiles
    peaks, sites = [], [min(n, n_sites) for n in PROBES]
    for n in sites:
        with PeakMemory() as memory:
            found = run(n)
        peaks.append(memory.peak)
    return max(peaks[1] - peaks[0], 0.01 * peaks[1]) / max(sites[1] - sites[0], 1), found


def room(max_memory: float) -> float:
    """Return the bytes that are left of so many gigabytes beside what the program itself takes.

    Raises
    ------
    ConfigError
        If that is hardly anything.
    """
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    left = max_memory * 1e9 - taken
    if left < 0.05 * max_memory * 1e9:
        raise ConfigError(
            f"{max_memory:g} GB are too little for a simulation: the program with its model and the attributes of all "
            f"sites takes {taken / 1e9:.2f} GB",
            where="sim.max_memory",
            hint=f"give at least {1.5 * taken / 1e9:.1f}",
        )
    return left
