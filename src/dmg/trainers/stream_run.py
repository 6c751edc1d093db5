"""Mode ``sim`` of a run whose simulation streams through memory: where it reads, writes, and goes on."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.data.dataset import open_dataset
from dmg.core.data.loaders.changed import changed
from dmg.core.utils.processes import world
from dmg.core.utils.stopwatch import Stopwatch, timings
from dmg.errors import ConfigError, RunError
from dmg.registry import loaders
from dmg.trainers.distribute import workers
from dmg.trainers.river_pass import DISCHARGE, RiverPass, gathering, routing_parameters
from dmg.trainers.river_store import RiverStore
from dmg.trainers.run_directory import RunDirectory
from dmg.trainers.simulate import cf_attributes, write_simulation
from dmg.trainers.simulation_plan import READING, SimulationPlan, room
from dmg.trainers.simulation_store import SimulationStore
from dmg.trainers.stream import Stream, run_here, without_targets

if TYPE_CHECKING:
    from pathlib import Path

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
    river = RiverPass.of(config, trainer.model, stream.dataset)
    memory = (1 - READING) * room(config.sim.max_memory)
    files = trainer.run_dir or RunDirectory.of(config)
    store = SimulationStore(files.sim_stream)
    with workers(config) if config.sim.scheduler else nullcontext(partial(run_here, stream)) as run:
        plan = stream.prepare(store, memory, config.overwrite)
        trainer.begin(data={"sim": stream.dataset.fingerprint()})
        run(store, plan)
    _write_parameters(trainer, store, plan)
    routed = RiverStore(store.store)
    history = routed.route(river, stream.start, memory) if river else None
    if config.cache_states:
        state = stream.final_state(store, plan)
        (river.remember(state, history) if river else state).save(files.states)
    if river:
        write_simulation(routed.at_gauges(river, config.model.static), files.sim_gauges)
    store.finish()
    if trainer.run_dir:
        trainer.run_dir.note(**timings("simulate", stopwatch.read()))
    return dict(open_dataset(files.sim_stream).data_vars)


def route_simulation(trainer: Trainer) -> Path:
    """Route the units of ``simulation.zarr`` through their river, and return the store.

    Raises
    ------
    DmgError
        If there is no such simulation, nothing says where the units drain to, or it is routed already and ``overwrite``
        is not set.
    """
    config, files = trainer.config, RunDirectory.of(trainer.config)
    if not files.sim_stream.exists():
        raise RunError(
            "there is no simulation of units to route",
            where=str(files.sim_stream),
            hint="make one with mode=sim and sim.max_memory, or name its folder: sim_dir=…",
        )
    stream = open_stream(trainer)
    river = RiverPass.of(config, trainer.model, stream.dataset)
    if river is None:
        raise ConfigError(
            "nothing says which unit drains into which"
            if gathering(config, trainer.model)
            else "the model does not bring the runoff of units to gauges",
            where="observations.topology_path",
            hint="give the river network that the model was trained with",
        )
    routed = RiverStore(files.sim_stream)
    if DISCHARGE in open_dataset(files.sim_stream) and not (config.overwrite or routed.folder.exists()):
        raise RunError(f"{files.sim_stream} is routed already", hint="set overwrite=true to route it again")
    routed.route(river, stream.start, (1 - READING) * room(config.sim.max_memory))
    write_simulation(routed.at_gauges(river, config.model.static), files.sim_gauges)
    routed.discard()
    return files.sim_stream


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


def _write_parameters(trainer: Trainer, store: SimulationStore, plan: SimulationPlan) -> None:
    """Write the learned parameters of the routing, with which the units can be routed."""
    gathers = gathering(trainer.config, trainer.model)
    if gathers is None or not gathers[1].layout.routing:
        return
    name, process = gathers
    parts = [routing_parameters(process, store.state(k).models[name].static) for k in range(plan.site_chunks)]
    for p in process.layout.routing:
        values = np.concatenate([part[p.name] for part in parts])
        store.write_static(p.name, values, cf_attributes(p.name, p.unit, p.description))
