"""Simulations beyond memory: chunks of sites and time go through the models and into a Zarr store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.data.batch import Batch
from dmg.core.utils.interruption import check_interruption
from dmg.errors import ConfigError
from dmg.models.fingerprint import weights_digest
from dmg.models.full_state import FullState
from dmg.trainers.progress import progress
from dmg.trainers.simulate import Simulation, simulate_sites, to_dataset
from dmg.trainers.simulation_plan import PROBE_STEPS, SLACK, SimulationPlan, measure
from dmg.trainers.simulation_store import SimulationStore

if TYPE_CHECKING:
    from dmg.core.data.samplers import BaseSampler
    from dmg.models.model_handler import ModelHandler


@dataclass(frozen=True)
class Stream:
    """A simulation that is computed chunk by chunk.

    Parameters
    ----------
    model
        The models.
    dataset
        Inputs; its first ``warmup`` steps spin the models up unless a state is given.
    sampler
        Brings the inputs of a chunk into memory.
    static, outputs, start
        As for `simulate_sites`.
    """

    model: ModelHandler
    dataset: Batch
    sampler: BaseSampler
    static: str = "held"
    outputs: Sequence[str] | None = None
    start: FullState | None = None

    @property
    def warmup(self) -> int:
        """Steps of the dataset before the first that is written."""
        if self.start is not None:
            return self.start.first_step(self.dataset.times)
        models = self.model.models.values()
        return max((getattr(getattr(m, "phy_model", m), "warmup", 0) for m in models), default=0)

    @property
    def n_times(self) -> int:
        """Number of steps that are written."""
        return self.dataset.n_times - self.warmup

    def about(self) -> dict[str, Any]:
        """Return what a continuation must share: models, weights, data and what is asked for."""
        times = self.dataset.times
        return {
            "weights": weights_digest(self.model.models),
            "data": self.dataset.fingerprint(),
            "period": [str(times[self.warmup]), str(times[-1])],
            "static": self.static,
            "outputs": None if self.outputs is None else list(self.outputs),
            "start": None if self.start is None else str(self.start.time),
        }

    def prepare(self, store: SimulationStore, memory: float, overwrite: bool) -> SimulationPlan:
        """Return the plan of an interrupted simulation, or measure a few sites and begin a new one.

        Parameters
        ----------
        store
            Where results go.
        memory
            Bytes for the tensors of a chunk.
        overwrite
            Remove unfinished results of another simulation.

        Raises
        ------
        ConfigError
            If an output that was asked for is not a series, or static parameters follow from steps to come.
        """
        constant = all(getattr(m, "has_constant_statics", True) for m in self.model.models.values())
        if self.static == "last" and not constant:
            raise ConfigError(
                "static parameters of the last step of the period are not known while it streams through memory",
                where="model.static",
                hint="set model.static=held, or sim.max_memory=null",
            )
        about = self.about()
        plan = store.resume(about, overwrite)
        if plan is not None:
            return plan
        peak, probe = measure(self._probe, self.dataset.n_sites)
        steps = min(PROBE_STEPS, self.n_times)
        whole = [name for name, series in probe.series.items() if series.ndim == 1]
        if self.outputs is not None and whole:
            raise ConfigError(
                f"{', '.join(whole)} is a number of the whole simulation, which streams through memory",
                where="model.outputs",
                hint="leave it out, or set sim.max_memory=null",
            )
        lead = 0 if self.start is not None else self.warmup
        each = SLACK * peak / (steps + lead)
        plan = SimulationPlan.within(
            memory, each, self.dataset.n_sites, self.n_times, lead, _together(self.dataset, self.n_times)
        )
        dataset = to_dataset(probe)
        coordinates = dataset.drop_vars(list(dataset.data_vars)).drop_dims(["time", "site"])
        coordinates = coordinates.assign_coords(
            time=self.dataset.times[self.warmup :], site=np.array(self.dataset.sites, dtype=object)
        )
        variables = {str(n): dict(v.attrs) for n, v in dataset.data_vars.items() if n not in whole}
        store.create(plan, about, coordinates, variables)
        return plan

    def run_chunk(
        self, store: SimulationStore, plan: SimulationPlan, number: int, done: Callable[[int], None] = lambda n: None
    ) -> None:
        """Simulate a chunk of sites from where it was interrupted to the end, and write it.

        Parameters
        ----------
        store, plan
            Where results go, and what the chunks are.
        number
            Which chunk.
        done
            Takes the number of values of a series that have been written.
        """
        columns = plan.columns(number)
        times, width = self.dataset.times, columns.stop - columns.start
        state = store.state(number)
        first = 0 if state is None else int(np.searchsorted(times, state.next_time)) - self.warmup
        done(first * width)
        cold = 0 if state is not None or self.start is not None else self.warmup
        for window in plan.windows(first):
            rows = slice(self.warmup + window.start - cold, self.warmup + window.stop)
            part = self._simulate(self.dataset.select(sites=columns, times=rows), state or self.start)
            store.write(part.series, window, columns)
            store.save_state(number, part.state)
            state, cold = part.state, 0
            done(width * (window.stop - window.start))
            check_interruption()

    def final_state(self, store: SimulationStore, plan: SimulationPlan) -> FullState:
        """Return the state of all sites after the last step."""
        parts = [store.state(number) for number in range(plan.site_chunks)]
        about = {k: getattr(parts[0], k) for k in ("time", "step", "fingerprint", "weights")}
        return FullState.join([p.models for p in parts], [site for p in parts for site in p.sites], **about)

    def _simulate(self, part: Batch, start: FullState | None) -> Simulation:
        return simulate_sites(
            self.model,
            part,
            self.sampler,
            batch_size=part.n_sites,
            static=self.static,
            outputs=self.outputs,
            start=start,
            description=None,
        )

    def _probe(self, sites: int) -> Simulation:
        rows = slice(self.warmup if self.start is not None else 0, self.warmup + min(PROBE_STEPS, self.n_times))
        return self._simulate(self.dataset.select(sites=slice(0, sites), times=rows), self.start)


def run_here(stream: Stream, store: SimulationStore, plan: SimulationPlan) -> None:
    """Compute all chunks in this process, one after the other."""
    with progress(plan.n_sites * plan.n_times, "simulating", unit="value") as bar:
        for number in range(plan.site_chunks):
            stream.run_chunk(store, plan, number, bar.update)


def without_targets(dataset: Batch) -> Batch:
    """Return the inputs of a dataset: a simulation does not read what was observed."""
    kept: Mapping[str, Any] = {key: value for key, value in dataset.stored().items() if key != "target"}
    return Batch(
        kept,
        sites=dataset.sites,
        times=dataset.times,
        names=dataset.names,
        units=dataset.units,
        holdout=dataset.holdout,
    )


def _together(dataset: Batch, n_times: int) -> int:
    """Return how many sites lie together in the store; 1 where that does not matter."""
    blocks = getattr(dataset.get("x_nn_norm"), "blocks", None)
    return 1 if blocks is None else max(len(group) for group in blocks.groups)
