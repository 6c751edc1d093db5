"""A streamed simulation on many processes and machines, through Dask distributed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmg.errors import ConfigError
from dmg.trainers.progress import progress
from dmg.trainers.simulation_plan import SimulationPlan
from dmg.trainers.simulation_store import SimulationStore

if TYPE_CHECKING:
    from distributed import Client

    from dmg.conf.config import Config

RETRIES = 3
"""How often a chunk whose worker failed is given to another one."""

TIMEOUT = "20s"
"""How long a scheduler may take to answer."""

_open: dict[str, Any] = {}
_one_at_a_time = threading.Lock()


@contextmanager
def workers(config: Config) -> Iterator[Callable[[SimulationStore, SimulationPlan], None]]:
    """Connect to the workers of ``sim.scheduler``, and yield what computes the chunks of sites there.

    Workers read the data and write the results themselves, so that they need the same file system. A chunk whose
    worker dies goes on on another one from its last state.

    Raises
    ------
    ConfigError
        If Dask is not installed, or there is no scheduler at that address.
    """
    with _client(config) as (client, threads):
        yield partial(_run_distributed, config, client, threads)


def _run_distributed(
    config: Config, client: Client, threads: int | None, store: SimulationStore, plan: SimulationPlan
) -> None:
    from distributed import as_completed

    plain, folder = config.model_dump(mode="json"), str(store.path.resolve())
    with progress(plan.site_chunks, "simulating", unit="chunk") as bar:
        tasks = client.map(
            run_on_worker,
            range(plan.site_chunks),
            config=plain,
            path=folder,
            plan=vars(plan),
            threads=threads,
            pure=False,
            retries=RETRIES,
            key="dmg-simulation",
        )
        for task in as_completed(tasks):
            task.result()
            bar.update()


def run_on_worker(number: int, config: dict[str, Any], path: str, plan: dict[str, int], threads: int | None) -> int:
    """Compute a chunk of sites; model and data are opened once per process."""
    import torch

    from dmg.conf.config import as_config
    from dmg.registry import trainers
    from dmg.trainers.stream_run import open_stream

    with _one_at_a_time:
        if threads:
            torch.set_num_threads(threads)
        if _open.get("config") != config:
            settings = as_config(config)
            _open.update(config=config, stream=open_stream(trainers.get(settings.trainer)(settings, write_out=False)))
        _open["stream"].run_chunk(SimulationStore(Path(path)), SimulationPlan(**plan), number)
    return number


@contextmanager
def _client(config: Config) -> Iterator[tuple[Any, int | None]]:
    """Yield a client, and the threads of a worker if the cluster is one of this machine."""
    try:
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise ConfigError(
            "Dask is not installed", where="sim.scheduler", hint="pip install 'dmg[distributed]', or sim.scheduler=null"
        ) from error
    address, processes = config.sim.scheduler, config.sim.workers or os.cpu_count() or 1
    if address != "local":
        try:
            client = Client(address, timeout=TIMEOUT)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"there is no scheduler at {address}: {error}",
                where="sim.scheduler",
                hint="start `dask scheduler`, and `dask worker ADDRESS` on every machine; or sim.scheduler=local",
            ) from error
        with client:
            yield client, None
        return
    cluster = LocalCluster(
        n_workers=processes, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
    )
    with cluster, Client(cluster) as client:
        yield client, max(1, (os.cpu_count() or 1) // processes)
