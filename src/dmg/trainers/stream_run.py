"""Mode ``sim`` of a run whose simulation streams through memory: where it reads, writes, and goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dmg.core.data.dataset import open_dataset
from dmg.core.data.loaders.changed import changed
from dmg.core.utils.processes import world
from dmg.core.utils.stopwatch import Stopwatch, timings
from dmg.errors import ConfigError
from dmg.registry import loaders
from dmg.trainers.distribute import run_distributed
from dmg.trainers.run_directory import RunDirectory
from dmg.trainers.simulation_plan import READING
from dmg.trainers.simulation_store import SimulationStore
from dmg.trainers.stream import Stream, run_here, without_targets

if TYPE_CHECKING:
    from dmg.trainers.trainer import Trainer


def stream_simulation(trainer: Trainer) -> dict[str, Any]:
    """Simulate into ``simulation.zarr``, or go on where that was interrupted; return the variables of the store."""
    stopwatch, config = Stopwatch(), trainer.config
    if world() > 1:
        raise ConfigError(
            "a simulation that streams is not shared out by torchrun",
            where="sim.max_memory",
            hint="start one process, and set sim.scheduler for several",
        )
    stream = open_stream(trainer)
    files = trainer.run_dir or RunDirectory.of(config)
    store = SimulationStore(files.sim_stream)
    trainer.begin(data={"sim": stream.dataset.fingerprint()})
    plan = stream.prepare(store, config.sim.max_memory, config.overwrite)
    if config.sim.scheduler is None:
        run_here(stream, store, plan)
    else:
        run_distributed(config, store, plan)
    if config.cache_states:
        stream.final_state(store, plan).save(files.states)
    store.finish()
    if trainer.run_dir:
        trainer.run_dir.note(**timings("simulate", stopwatch.read()))
    return dict(open_dataset(files.sim_stream).data_vars)


def open_stream(trainer: Trainer) -> Stream:
    """Return the simulation of a trainer as one that is computed chunk by chunk."""
    config = trainer.config
    trainer.load_weights()
    data = trainer.given_dataset("sim")
    if data is None:
        kept = config.sim.max_memory * READING / 2  # as much again is on its way there
        data = loaders.get(config.data_loader)(changed(config, observations={"max_memory": kept})).eval_dataset
    return Stream(
        trainer.model,
        without_targets(data),
        trainer.sampler,
        config.model.static,
        trainer.sim_outputs,
        trainer.initial_state(),
    )
