"""A training in a process of its own that is killed: by itself at one of its writes, or from outside."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from pathlib import Path

#: Moments of a write at which a process can die: the file lies beside its place, or has just been moved there.
BEFORE, AFTER = "before", "after"

IMPORTED = (
    *("torch._dynamo", "xarray", "h5netcdf", "hydra", "pint", "pandas", "safetensors.torch"),
    *("dmg.cli_run", "dmg.conf.compose", "dmg.conf.config", "dmg.trainers", "dmg.models.model_handler"),
    *("dmg.core.data.loaders", "dmg.core.data.samplers", "dmg.engine.cpu", "hydrodl2.models"),
)


def start(config: Path, fault: tuple[str, int] | None = None, *overrides: str) -> multiprocessing.Process:
    """Start ``dmg --config-name CONFIG train.resume=true``, which is to kill itself before or after its n-th write.

    The process is forked from a server that has imported everything and computed nothing: it starts at once, and no
    thread of this process is missing in it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED])
    process = context.Process(target=_run, args=(str(config), fault, overrides))
    process.start()
    return process


def _run(config: str, fault: tuple[str, int] | None, overrides: tuple[str, ...]) -> None:
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
    from dmg.cli import main
    from dmg.core.utils import atomic
    from dmg.trainers import trainer

    trainer.draw_evaluation = trainer.draw_loss = trainer.write_report = lambda *_: None
    if fault is not None:
        _die_at(atomic, *fault)
    sys.exit(main(["--config-name", config, "train.resume=true", *overrides]))


def _die_at(atomic: object, moment: str, number: int) -> None:
    replace, count = atomic._replace, [0]

    def dying(*paths: Path) -> None:
        count[0] += 1
        if moment == AFTER:
            replace(*paths)
        if count[0] == number:
            os.kill(os.getpid(), signal.SIGKILL)
        if moment == BEFORE:
            replace(*paths)

    atomic._replace = dying
