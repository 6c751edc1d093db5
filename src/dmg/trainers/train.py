"""The training loop, and everything that continues it exactly."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dmg.core.data.training_grid import create_training_grid
from dmg.core.utils.interruption import check_interruption
from dmg.core.utils.processes import from_main, same_weights, sum_gradients
from dmg.core.utils.stopwatch import Seconds, Stopwatch
from dmg.errors import ConfigError, RunError
from dmg.trainers.checkpoint import (
    checkpoint_path,
    find_checkpoints,
    get_random_state,
    load_checkpoint,
    save_checkpoint,
    set_random_state,
)
from dmg.trainers.guard import NonFinite, NonFiniteGuard
from dmg.trainers.optimizer import step_scheduler
from dmg.trainers.own_sites import own_sites
from dmg.trainers.progress import progress
from dmg.trainers.training_log import TrainingLog
from dmg.trainers.weights import write_best

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from dmg.conf.config import Config
    from dmg.core.data.batch import Batch
    from dmg.core.data.samplers import BaseSampler
    from dmg.core.logging import BaseLogger
    from dmg.models.model_handler import ModelHandler
    from dmg.trainers.run_directory import RunDirectory

logger = logging.getLogger(__name__)

VALIDATION = "Metric/valid_median_nse"
"""Name of the validation's score among the scalars of an epoch."""

# What may differ between a run and its continuation.
_FREE = {"epochs", "resume", "start_epoch", "save_epoch", "max_bad_batches"}


class Training:
    """One training from its first epoch, or from a checkpoint, to its last.

    Parameters
    ----------
    config
        The configuration.
    model
        The models.
    dataset
        Training dataset.
    sampler
        Draws the minibatches.
    loss_func
        The loss, or one by target.
    optimizer, scheduler
        Of the models' parameters.
    run
        Where files go; None writes nothing.
    experiment
        Logger of scalars.
    validate
        Returns the validation score (larger is better); None for no validation.
    announce
        Takes one line per epoch.
    watch
        Takes every epoch, when its files are written, and its scalars; an exception it raises ends the training.
    stopwatch
        Has run since the training began; one that continues adds what it took before, without what was lost.
    """

    def __init__(
        self,
        config: Config,
        model: ModelHandler,
        dataset: Batch,
        sampler: BaseSampler,
        loss_func: Any,
        optimizer: Optimizer,
        scheduler: LRScheduler | None,
        run: RunDirectory | None,
        experiment: BaseLogger,
        validate: Callable[[], float] | None = None,
        announce: Callable[[str], None] = logger.info,
        watch: Callable[[int, Mapping[str, float]], None] | None = None,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.config, self.model, self.dataset, self.sampler = config, model, dataset, sampler
        self.loss_func, self.optimizer, self.scheduler = loss_func, optimizer, scheduler
        self.run_dir, self.experiment, self.validate, self.announce = run, experiment, validate, announce
        self.watch = watch
        self.n_sites, self.n_batches, self.n_times = create_training_grid(dataset, config)
        self.guard = NonFiniteGuard(config.train.max_bad_batches)
        self.log = TrainingLog(run.training_log if run else None)
        self.fingerprint = dataset.fingerprint() if run else ""
        self.parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self.stopwatch = stopwatch or Stopwatch()
        self.epoch = 0
        self.added = 0  # gradients since the last step of the optimizer
        self.losses: dict[int, float] = {}
        self.scores: dict[int, float] = {}
        self.best_epoch: int | None = None
        self.waited = 0

    @property
    def stopped_early(self) -> bool:
        """Whether the validation has not improved for as long as ``valid.patience`` allows."""
        valid = self.config.valid
        return bool(valid and valid.patience and self.waited >= valid.patience)

    def run(self) -> None:
        """Train until the last epoch or until validation stops improving; files are complete after every epoch."""
        same_weights(self.model)
        if self.run_dir and self.epoch == 0:
            self._save_checkpoint()
        while self.epoch < self.config.train.epochs and not self.stopped_early:
            try:
                loss = self._run_epoch(self.epoch + 1)
            finally:
                self.log.flush()
                self.model.train_only(None)
            self.epoch += 1
            scalars = self._end_epoch(loss)
            if self.watch is not None:
                self.watch(self.epoch, scalars)

    def resume(self) -> bool:
        """Continue from a checkpoint as the configuration asks; return whether there is one to continue from.

        Raises
        ------
        RunError
            If the checkpoint of ``train.start_epoch`` is not there, or data, model or settings are not those of the
            interrupted training.
        """
        path = self._find_checkpoint() if self.run_dir else None
        path, state = from_main((path, load_checkpoint(path) if path else None))
        if path is None:
            return False
        self._restore(state, str(path))
        self.announce(f"continuing after epoch {self.epoch} ({path})")
        return True

    def _find_checkpoint(self) -> Path | None:
        """Return the checkpoint that the configuration asks to continue from; None to start afresh."""
        train, folder = self.config.train, self.run_dir.model_dir
        if not (train.resume or train.start_epoch):
            return None
        found = find_checkpoints(folder)
        if train.start_epoch and not train.resume:
            if train.start_epoch not in found:
                raise RunError(
                    f"there is no checkpoint of epoch {train.start_epoch} to continue from",
                    where=str(checkpoint_path(folder, train.start_epoch)),
                    hint=f"the newest is kept: {', '.join(map(str, found)) or 'none'}; train.resume=true takes it",
                )
            return found[train.start_epoch]
        if not found:
            logger.warning("no checkpoint in %s: training starts at epoch 1", folder)
            return None
        return found[max(found)]

    def _run_epoch(self, epoch: int) -> float:
        """Run the minibatches of an epoch and return their mean loss."""
        self.model.train_only(self.config.train.trained_in(epoch))
        self.model.train()
        losses = []
        with progress(self.n_batches, f"epoch {epoch}/{self.config.train.epochs}") as bar:
            for number in range(1, self.n_batches + 1):
                watch = Stopwatch()
                batch = self.sampler.get_training_sample(self.dataset, self.n_sites, self.n_times)
                loss, norm, fault = self._step(batch, last=number == self.n_batches)
                if fault is None:
                    losses.append(loss)
                rate = self.optimizer.param_groups[0]["lr"]
                self.log.add(epoch, number, loss, watch.read(), norm, float(rate), _gpu_memory_mb())
                self.guard.count(fault, epoch, number, getattr(batch, "sites", None))
                bar.update()
                check_interruption()
                bar.set_postfix_str(f"loss {sum(losses) / len(losses):.4f}" if losses else "loss not finite")
        if not losses:
            raise RunError(
                f"no minibatch of epoch {epoch} had a finite loss and gradient",
                hint="lower train.lr or set train.grad_clip; see training_log.csv",
            )
        return sum(losses) / len(losses)

    def _step(self, batch: Batch, last: bool) -> tuple[float, float, NonFinite | None]:
        """Add the gradient of a minibatch and, with the last of ``train.accumulate``, let the optimizer take a step.

        No step is taken if loss or gradient are not finite; what was added since the last step is dropped then.

        Returns
        -------
        loss, norm, fault
            Loss of the minibatch, norm of the gradient of the step (NaN between steps), and what was not finite.
        """
        seen = [math.nan, math.nan]

        def add_gradient() -> Tensor:
            with own_sites(batch) as part:
                self.model(part, outputs=self.model.trained_outputs)
                loss = self.model.calc_loss(batch, self.loss_func)
            seen[:] = [loss.item(), math.nan]
            self.guard.check_loss(loss)
            loss.backward()
            self.added += 1
            return loss

        def finish_gradient() -> None:
            sum_gradients(self.parameters)
            self._average()
            seen[1] = self._clip()
            self.guard.check_gradient(seen[1], self.model.named_parameters())

        def closure() -> Tensor:
            self._forget_gradient()
            loss = add_gradient()
            finish_gradient()
            return loss

        try:
            if isinstance(self.optimizer, torch.optim.LBFGS):
                self._step_with_closure(closure)
                return seen[0], seen[1], None
            if not self.added:
                self._forget_gradient()
            add_gradient()
            if last or self.added == self.config.train.accumulate:
                finish_gradient()
                self.optimizer.step()
                self._forget_gradient()
        except NonFinite as reason:
            self._forget_gradient()
            return seen[0], seen[1], reason
        return seen[0], seen[1], None

    def _step_with_closure(self, closure: Callable[[], Tensor]) -> None:
        """Take a step that evaluates the loss several times; undo it if one of them is not finite."""
        before = [p.detach().clone() for p in self.parameters]
        try:
            self.optimizer.step(closure)
        except NonFinite:
            with torch.no_grad():
                for p, old in zip(self.parameters, before, strict=True):
                    p.copy_(old)
            self.optimizer.state.clear()
            raise

    def _average(self) -> None:
        """Turn the sum of the gradients since the last step into their mean."""
        if self.added > 1:
            for p in self.parameters:
                if p.grad is not None:
                    p.grad /= self.added

    def _forget_gradient(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.added = 0

    def _clip(self) -> float:
        """Clip the gradient if asked for; return its global norm before."""
        with_grad = [p for p in self.parameters if p.grad is not None]
        limit = self.config.train.grad_clip
        if limit:
            return torch.nn.utils.clip_grad_norm_(with_grad, limit).item()
        return torch.nn.utils.get_total_norm([p.grad for p in with_grad]).item()

    def _end_epoch(self, loss: float) -> dict[str, float]:
        """Validate, step the scheduler, log, and write weights and checkpoint; return what was logged."""
        epoch, train, valid = self.epoch, self.config.train, self.config.valid
        self.losses[epoch] = loss
        score, rate = None, float(self.optimizer.param_groups[0]["lr"])
        improved = False
        if self.validate is not None and valid is not None and epoch % valid.every == 0:
            score = self.validate()
            self.scores[epoch] = score
            improved = self.best_epoch is None or score > self.scores[self.best_epoch]
            self.waited = 0 if improved else self.waited + 1
        step_scheduler(self.scheduler, loss, score, self.validate is not None)
        scalars = {"Loss/train_total": loss, "learning_rate": rate}
        scalars |= {f"Loss/{name}": value for name, value in self.model.loss_dict.items()}
        scalars |= {f"Time/{name}_s": value for name, value in self.stopwatch.read()._asdict().items()}
        if score is not None:
            scalars[VALIDATION] = score
        self.experiment.log_metrics(scalars, epoch)
        shown = f", validation NSE {score:.3f}{' (best)' if improved else ''}" if score is not None else ""
        self.announce(f"epoch {epoch}/{train.epochs}: loss {loss:.5f}{shown}")
        if self.run_dir is None:
            self.best_epoch = epoch if improved else self.best_epoch
            return scalars
        last = epoch == train.epochs or self.stopped_early
        if improved or last or epoch % train.save_epoch == 0:
            self.model.save_model(epoch, self.run_dir.model_dir)
        if improved:
            self._replace_best(epoch)
        self._save_checkpoint()
        return scalars

    def _replace_best(self, epoch: int) -> None:
        """Note the new best epoch; drop the weights of the old one unless they are kept anyhow."""
        old, self.best_epoch = self.best_epoch, epoch
        write_best(self.run_dir.model_dir, epoch, self.scores[epoch])
        if old is not None and old % self.config.train.save_epoch:
            self.model.remove_weights(old, self.run_dir.model_dir)

    def _save_checkpoint(self) -> None:
        state = {
            "epoch": self.epoch,
            "settings": self._settings(),
            "data": self.fingerprint,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict() if self.scheduler else None,
            "sampler": self.sampler.state_dict(),
            "random": get_random_state(),
            "losses": self.losses,
            "scores": self.scores,
            "best_epoch": self.best_epoch,
            "waited": self.waited,
            "seconds": self.stopwatch.read()._asdict(),
        }
        save_checkpoint(self.run_dir.model_dir, self.epoch, state)

    def _restore(self, state: Mapping[str, Any], where: str) -> None:
        """Continue from a state of a checkpoint."""
        changed = differences(state["settings"], self._settings())
        if self.run_dir and state["data"] != self.fingerprint:
            changed.append("the training data")
        if changed:
            raise RunError(
                f"the checkpoint is of another training; different: {', '.join(changed)}",
                where=where,
                hint="restore the settings to continue exactly, or start a new run with pretrained_model_dir "
                "(fine-tuning) set to this one's folder 'model'",
            )
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.scheduler is not None:
                self.scheduler.load_state_dict(state["scheduler"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise ConfigError(f"the checkpoint does not fit the model: {error}", where=where) from error
        self.sampler.load_state_dict(state["sampler"])
        set_random_state(state["random"])
        self.epoch, self.losses, self.scores = state["epoch"], dict(state["losses"]), dict(state["scores"])
        self.best_epoch, self.waited = state["best_epoch"], state["waited"]
        if "seconds" in state:
            self.stopwatch = Stopwatch(Seconds(**state["seconds"]))
        self.log.keep_until(self.epoch)
        self.experiment.keep_until(self.epoch)

    def _settings(self) -> dict[str, Any]:
        """Settings that a continuation must share."""
        dump = self.config.model_dump(
            mode="json", include={"train", "valid", "model", "multimodel_type", "multimodel", "seed"}
        )
        dump["train"] = {k: v for k, v in dump["train"].items() if k not in _FREE}
        dump["valid"] = {k: v for k, v in (dump["valid"] or {}).items() if k not in ("patience", "batch_size")}
        return dump


def differences(old: Any, new: Any, path: str = "") -> list[str]:
    """Return the keys at which two trees differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = dict.fromkeys([*old, *new])
        return [d for k in keys for d in differences(old.get(k), new.get(k), f"{path}.{k}".strip("."))]
    return [] if old == new else [path]


def _gpu_memory_mb() -> float:
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_initialized() else 0.0
