"""The trainer: trains, evaluates and simulates what a configuration describes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dmg.core.data.batch import Batch
from dmg.core.logging import get_exp_logger
from dmg.core.utils.atomic import write_text
from dmg.core.utils.processes import is_main, wait_for_all
from dmg.core.utils.stopwatch import Stopwatch, timings
from dmg.errors import ConfigError
from dmg.models.full_state import FullState
from dmg.registry import loaders, samplers, trainers
from dmg.trainers import evaluate as scoring
from dmg.trainers.base import BaseTrainer
from dmg.trainers.budget import site_budgets
from dmg.trainers.optimizer import make_optimizer, make_scheduler
from dmg.trainers.plots import draw_evaluation, draw_loss, print_scores
from dmg.trainers.report import write_report
from dmg.trainers.river_pass import RiverPass, gathering, runoff_of, with_parameters
from dmg.trainers.run_directory import RunDirectory
from dmg.trainers.simulate import Simulation, simulate_sites, to_dataset, write_simulation
from dmg.trainers.site_table import site_table, write_site_table
from dmg.trainers.stream_run import stream_simulation
from dmg.trainers.train import Training
from dmg.trainers.weights import load_pretrained, load_trained, read_best

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from dmg.conf.config import Config
    from dmg.core.data.loaders import BaseLoader
    from dmg.core.data.samplers import BaseSampler
    from dmg.models.model_handler import ModelHandler

logger = logging.getLogger(__name__)


@trainers.register("Trainer")
class Trainer(BaseTrainer):
    """Trains, evaluates and simulates the models of a configuration, and writes the files of the run.

    Everything that is not given is built from the configuration when it is needed.

    Parameters
    ----------
    config
        Configuration, as dict or ``Config``.
    model
        The models.
    train_dataset, eval_dataset, dataset
        What to train on, to evaluate on, and to simulate with.
    loss_func
        The loss, or a mapping of target to loss.
    optimizer, scheduler
        Of the models' parameters.
    write_out
        Write files into ``output_dir``; of several processes the first does.
    verbose
        Print a line for every epoch, and the scores.
    watch
        Called after every epoch of a training with its number and scalars (losses, learning rate, validation), when
        its files are written; an exception that it raises ends the training.

    Attributes
    ----------
    metrics
        After `evaluate`, what ``metrics.json`` holds.
    simulation
        After `evaluate` or `inference`, the series as they were simulated.

    Examples
    --------
    >>> trainer = Trainer(config)  # doctest: +SKIP
    >>> trainer.train()  # doctest: +SKIP
    >>> trainer.evaluate()["held"]["streamflow"]["all"]["nse"]["median"]  # doctest: +SKIP
    """

    def __init__(
        self,
        config: Mapping[str, Any] | Config,
        model: ModelHandler | None = None,
        train_dataset: Batch | None = None,
        eval_dataset: Batch | None = None,
        dataset: Batch | None = None,
        loss_func: Any = None,
        optimizer: Optimizer | None = None,
        scheduler: LRScheduler | None = None,
        write_out: bool = True,
        verbose: bool = False,
        watch: Callable[[int, Mapping[str, float]], None] | None = None,
    ) -> None:
        from dmg.conf.config import as_config

        self.config = as_config(config)
        self._given = {"train": train_dataset, "eval": eval_dataset, "sim": dataset}
        self.loss_func = loss_func
        self.optimizer, self.scheduler = optimizer, scheduler
        self.write_out, self.verbose = write_out, verbose and is_main()
        self.run_dir = RunDirectory.of(self.config) if write_out and is_main() else None
        self.watch = watch
        self.metrics: dict[str, Any] = {}
        self.simulation: Simulation | None = None
        self.training: Training | None = None
        self._began = False
        if model is None:
            from dmg.models.model_handler import ModelHandler

            model = ModelHandler(self.config)
        self.model = model

    @cached_property
    def loader(self) -> BaseLoader:
        """The loader of the configuration; built only if data are needed that were not given."""
        return loaders.get(self.config.data_loader)(self.config)

    @cached_property
    def sampler(self) -> BaseSampler:
        """The sampler of the configuration."""
        return samplers.get(self.config.data_sampler)(self.config)

    @cached_property
    def train_dataset(self) -> Batch:
        """What is trained on."""
        given = self.given_dataset("train")
        return self.loader.train_dataset if given is None else given

    @cached_property
    def eval_dataset(self) -> Batch:
        """What is evaluated on: the test period, warm-up before it."""
        given = self.given_dataset("eval")
        return self.loader.eval_dataset if given is None else given

    @cached_property
    def dataset(self) -> Batch:
        """What is simulated with; its first ``model.warmup`` steps spin the models up."""
        given = self.given_dataset("sim")
        return self.eval_dataset if given is None else given

    def train(self) -> ModelHandler:
        """Train the models, and return them with the weights of the last epoch or of the best, if it validates.

        Continues exactly where an interrupted training ended if ``train.resume`` is set, and starts from the
        weights in ``pretrained_model_dir`` if that is given.

        Raises
        ------
        RunError
            If losses or gradients are not finite too often, a checkpoint does not fit, or the disk is full.
        """
        stopwatch = Stopwatch()
        config, data = self.config, self.train_dataset
        self.begin(data={"train": data.fingerprint()})
        if self.loss_func is None:
            self.loss_func = self._make_losses(data)
        if self.optimizer is None:
            self.optimizer = make_optimizer(self.model.parameter_groups(), config.train)
        if self.scheduler is None:
            self.scheduler = make_scheduler(self.optimizer, config.train)
        _check_plateau(self.scheduler, config)
        name = config.logging if self.run_dir else "none"
        with get_exp_logger(name, log_dir=config.log_dir) as experiment:
            experiment.log_config(config.model_dump(mode="json"))
            self.training = training = Training(
                config,
                self.model,
                data,
                self.sampler,
                self.loss_func,
                self.optimizer,
                self.scheduler,
                self.run_dir,
                experiment,
                self._make_validation(),
                announce=_print_above_bar if self.verbose else logger.info,
                watch=self.watch,
                stopwatch=stopwatch,
            )
            if not training.resume():
                load_pretrained(self.model, config)
            training.run()
        if training.best_epoch is not None and self.write_out:
            wait_for_all()
            self.model.load_model(training.best_epoch, config.model_dir)
        self.model.epoch = training.best_epoch or training.epoch
        if self.run_dir:
            self.run_dir.note(
                **timings("train", training.stopwatch.read()),
                training={
                    "epochs": training.epoch,
                    "batches_per_epoch": training.n_batches,
                    "skipped_batches": training.guard.total,
                    "stopped_early": training.stopped_early,
                    "best_epoch": read_best(self.run_dir.model_dir) if config.valid else None,
                    "final_loss": training.losses.get(training.epoch),
                },
            )
            draw_loss(self.run_dir, training.losses, training.scores)
            if "test" not in config.mode:
                write_report(self.run_dir)
        return self.model

    def evaluate(self) -> dict[str, Any]:
        """Run the models over the test period, score them at every site, and write results and plots.

        Static parameters are taken once as published (``last``: at the end of the period) and once as a forecast
        has to (``held``: at the end of the spin-up); both are scored, ``simulation.nc`` has that of
        ``model.static``.

        Returns
        -------
        dict
            What ``metrics_aggregate.json`` holds:
            ``{static: {target: {group: {metric: {median, mean, std, n}}}}}`` with the groups ``all`` and, if sites
            are held out, ``trained`` and ``holdout``.

        Raises
        ------
        RunError
            If there are no trained weights.
        DataError
            If there are no observations, or a prediction is not finite.
        """
        stopwatch = Stopwatch()
        config, data = self.config, self.eval_dataset
        self.load_weights()
        self.begin(data={"test": data.fingerprint()})
        targets, head = list(config.train.target), self.model.head
        more = [*config.model.outputs, *(name for target in targets for name in head.reported(target))]
        start = self.initial_state()
        runs: dict[str, Simulation] = {}
        constant = all(getattr(m, "has_constant_statics", True) for m in self.model.models.values())
        for static in ("last", "held"):
            if runs and constant:
                # Without static parameters, or with such as follow from attributes, both conventions are one.
                runs[static] = replace(runs["last"], static=static)
                continue
            main = constant or static == config.model.static
            wanted = list(dict.fromkeys([*targets, *more])) if main else targets
            runs[static] = self._simulate(data, config.test.batch_size, static, wanted, start, account=main)
        self.simulation = simulation = runs[config.model.static]
        observed = scoring.observations(data, len(simulation.times))
        scores = {static: scoring.score(run, observed) for static, run in runs.items()}
        for static, run in runs.items():
            for target, values in scoring.score_quantiles(run, observed, head).items():
                scores[static][target] |= values
        budgets = site_budgets(simulation)
        summary = {static: scoring.aggregate(values, data.holdout) for static, values in scores.items()}
        self.metrics = scoring.plain(
            {
                "sites": simulation.sites,
                "holdout": np.zeros(len(simulation.sites), bool) if data.holdout is None else data.holdout,
                "period": [str(simulation.times[0])[:16], str(simulation.times[-1])[:16]],
                "units": {name: simulation.units[name] for name in scores["last"]},
                "budget": {budget.model: budget.plain() for budget in budgets},
                **scores,
            }
        )
        if self.run_dir:
            write_text(self.run_dir.metrics, json.dumps(self.metrics, allow_nan=False) + "\n")
            write_text(self.run_dir.metrics_aggregate, json.dumps(summary, indent=1, allow_nan=False) + "\n")
            write_simulation(to_dataset(simulation, observed), self.run_dir.simulation)
            self._save_state()
            table = site_table(self)
            write_site_table(table, self.run_dir.sites)
            draw_evaluation(self, runs, observed, scores, table)
            self.run_dir.note(
                **timings("evaluate", stopwatch.read()),
                budget={b.model: {"unit": b.unit, "greatest_residual": b.greatest[0]} for b in budgets},
            )
            write_report(self.run_dir)
        if self.verbose:
            print_scores(summary)
            for budget in budgets:
                print(budget.line())
        return summary

    def inference(self) -> dict[str, np.ndarray]:
        """Run the models over the simulation period; no observations are needed.

        Returns
        -------
        dict
            Name to series [T, N, 1] (or [N] for what has no time), as ``simulation.nc`` has them: the targets and
            ``model.outputs``, or everything if that is empty; of units of a river also ``discharge`` and the learned
            parameters of the routing. Where the simulation streams (``sim.max_memory``) they are variables [T, N] of
            ``simulation.zarr``, read when they are asked for.
        """
        if self.config.streams:
            return stream_simulation(self)
        stopwatch = Stopwatch()
        config, data = self.config, self.dataset
        self.load_weights()
        self.begin(data={"sim": data.fingerprint()})
        batch_size = (config.sim.batch_size if config.sim else None) or config.test.batch_size
        start = self.initial_state()
        river = RiverPass.of(config, self.model, data)
        self.simulation = self._simulate(data, batch_size, config.model.static, self.sim_outputs, start)
        if gathers := gathering(config, self.model):
            self.simulation = with_parameters(self.simulation, *gathers)
        if river:
            self.simulation = river.add(self.simulation, start)
        if self.run_dir:
            write_simulation(to_dataset(self.simulation), self.run_dir.sim_simulation)
            if river:
                write_simulation(river.gauges_of(self.simulation), self.run_dir.sim_gauges)
            self._save_state()
            self.run_dir.note(**timings("simulate", stopwatch.read()))
        return {k: v[..., None] if v.ndim == 2 else v for k, v in self.simulation.series.items()}

    @property
    def sim_outputs(self) -> list[str] | None:
        """Names of what a simulation returns, beside the targets what is named; None, if nothing is, for everything.

        What flows into a river is there in any case.
        """
        named, gathers = self.config.model.outputs, gathering(self.config, self.model)
        runoff = [runoff_of(gathers[1])] if gathers and self.config.observations.topology_path else []
        return list(dict.fromkeys([*self.config.train.target, *named, *runoff])) if named else None

    def given_dataset(self, kind: str) -> Batch | None:
        """Return the dataset ``train``, ``eval`` or ``sim`` that the trainer was given; None if it reads its own."""
        given = self._given[kind]
        return None if given is None else _as_batch(given)

    def _simulate(
        self,
        data: Batch,
        batch_size: int,
        static: str,
        outputs: list[str] | None,
        start: FullState | None = None,
        account: bool = False,
    ) -> Simulation:
        return simulate_sites(
            self.model,
            data,
            self.sampler,
            batch_size=batch_size,
            static=static,
            outputs=outputs,
            start=start,
            account=account,
            description=f"simulating ({static})",
        )

    def initial_state(self) -> FullState | None:
        """Return the state of ``load_state_path``, if it is given."""
        path = self.config.load_state_path
        return FullState.load(path) if path else None

    def _save_state(self) -> None:
        """Write the state after the last step of the simulation, if ``cache_states`` asks for it."""
        if self.config.cache_states:
            self.simulation.state.save(self.run_dir.states)

    def begin(self, **entries: Any) -> None:
        """Write the configuration and the record, once per trainer."""
        if self.run_dir is None:
            return
        if self._began:
            self.run_dir.note(**entries)
            return
        self.run_dir.begin(self.config, **entries)
        self._began = True

    def load_weights(self) -> None:
        """Load trained weights: in modes test and sim, unless the model was given with weights loaded.

        In the other modes the model is used as it is, trained here or by the caller's own loop.
        """
        if self.training is None and "train" not in self.config.mode and not self.model.epoch:
            load_trained(self.model, self.config)

    def _make_losses(self, data: Batch) -> dict[str, Any]:
        """Return one loss per target, scaled by the observations of the training period."""
        from dmg.models.criterion import load_criterion

        config = self.config
        first = np.datetime64(config.train.start)
        inside = slice(None) if data.times is None else slice(int(np.searchsorted(data.times, first)), None)
        observed = data["target"][inside]
        return {
            target: load_criterion(
                observed[..., k : k + 1], config.train.loss_function, device=config.device, head=self.model.head
            )
            for k, target in enumerate(config.train.target)
        }

    def _make_validation(self) -> Any:
        """Return the function that scores the validation period; None without one."""
        valid = self.config.valid
        if valid is None:
            return None
        data = self.loader.valid_dataset
        batch_size = valid.batch_size or self.config.test.batch_size

        def validate() -> float:
            run = self._simulate(data, batch_size, self.config.model.static, list(self.config.train.target))
            return scoring.median_nse(run, scoring.observations(data, len(run.times)))

        return validate


def _print_above_bar(line: str) -> None:
    from tqdm import tqdm

    tqdm.write(line)


def _as_batch(dataset: Mapping[str, Any]) -> Batch:
    return dataset if isinstance(dataset, Batch) else Batch(dataset)


def _check_plateau(scheduler: Any, config: Config) -> None:
    """Refuse a plateau scheduler that waits for a loss to grow."""
    plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
    if plateau and scheduler.mode == "max" and config.valid is None:
        raise ConfigError(
            "ReduceLROnPlateau with mode: max needs a score to watch, and there is no validation",
            where="train.lr_scheduler.mode",
            hint="give a block 'valid' (the median NSE is watched), or mode: min (the training loss is)",
        )
