"""An Optuna study that survives being killed: trials in a data base, the unfinished one taken up again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmg.core.tune.space import draw_parameters
from dmg.core.utils.stopwatch import Stopwatch
from dmg.errors import ConfigError, RunError

if TYPE_CHECKING:
    import optuna

    from dmg.conf.tune import Tune

logger = logging.getLogger(__name__)

NUMBER, PLACE, INTERRUPTED, CPU = "number", "place", "interrupted", "cpu_seconds"
"""User attributes of a trial: number of its files, folder of its search, whether it was broken off, CPU time."""

Report = Callable[[int, float], None]
Objective = Callable[[int, dict[str, Any], Report], float]


class Search:
    """Search for the settings with the largest score.

    Parameters
    ----------
    settings
        The block ``tune``.
    folder
        Of the trials' files, and of ``study.db`` if ``tune.storage`` names no other data base.
    seed
        Of the draws.

    Raises
    ------
    ConfigError
        If Optuna is not installed.
    """

    name = "dmg"

    def __init__(self, settings: Tune, folder: Path, seed: int | None = None) -> None:
        try:
            import optuna
        except ImportError as error:
            raise ConfigError(
                "do_tune: true needs the package optuna, which is not installed",
                where="do_tune",
                hint='pip install "dmg[tune]"',
            ) from error
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder.mkdir(parents=True, exist_ok=True)
        storage = settings.storage or f"sqlite:///{(folder / 'study.db').resolve()}"
        self.settings, self.seed, self.place = settings, seed, str(folder.resolve())
        self.study = optuna.create_study(
            storage=storage,
            study_name=self.name,
            direction="maximize",
            load_if_exists=True,
            pruner=_pruner(settings),
        )
        self.study.sampler = self._sampler()

    @property
    def done(self) -> list[optuna.trial.FrozenTrial]:
        """Trials that were finished or pruned."""
        from optuna.trial import TrialState

        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))

    @property
    def best(self) -> optuna.trial.FrozenTrial:
        """The trial with the largest score.

        Raises
        ------
        RunError
            If no trial was finished.
        """
        try:
            return self.study.best_trial
        except ValueError as error:
            raise RunError(
                "no trial was finished, there is no best one",
                where="tune",
                hint="look at the logs of the trials, or raise tune.trials",
            ) from error

    def run(self, objective: Objective) -> None:
        """Run trials until there are ``tune.trials`` of them, or the time of the clock or of the processor is up.

        Parameters
        ----------
        objective
            Takes the number of the trial's folder, its parameters, and a function to report the score of an epoch
            with, which ends the trial by an exception if it is to be pruned; returns the score.
        """
        import optuna

        self._take_up()
        limit = None if self.settings.timeout is None else time.monotonic() + 3600.0 * self.settings.timeout

        def run_trial(trial: optuna.Trial) -> float:
            number, spent = trial.user_attrs.get(NUMBER, trial.number), Stopwatch()
            trial.set_user_attr(NUMBER, number)
            trial.set_user_attr(PLACE, self.place)

            def report(epoch: int, score: float) -> None:
                trial.report(score, epoch)
                if trial.should_prune():
                    raise optuna.TrialPruned(f"pruned after epoch {epoch}")

            try:
                return objective(number, draw_parameters(trial, self.settings.space), report)
            except KeyboardInterrupt:
                trial.set_user_attr(INTERRUPTED, True)
                raise
            finally:
                trial.set_user_attr(CPU, round(spent.read().cpu, 2))

        def after(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
            logger.info("trial %d: %s", trial.number, trial.state.name.lower())
            if trial.state is optuna.trial.TrialState.FAIL:
                self._require_progress()

        while len(self.done) < self.settings.trials and not self._is_over(limit):
            # A trial whose loss explodes tells the search something: it is the worst, not the end.
            self.study.optimize(run_trial, n_trials=1, catch=(RunError,), callbacks=[after])

    def _is_over(self, limit: float | None) -> bool:
        """Return whether the time of the clock, or that of the processor, is up."""
        if limit is not None and time.monotonic() >= limit:
            return True
        spent = sum(trial.user_attrs.get(CPU, 0.0) for trial in self.study.get_trials(deepcopy=False))
        return self.settings.cpu_timeout is not None and spent >= 3600.0 * self.settings.cpu_timeout

    def table(self) -> list[dict[str, Any]]:
        """Return the trials, finished ones with the best first, as rows for a table."""
        rows = [
            {
                "trial": trial.user_attrs.get(NUMBER, trial.number),
                "state": trial.state.name.lower(),
                "score": trial.value,
                "seconds": round(trial.duration.total_seconds(), 1) if trial.duration else None,
                CPU: trial.user_attrs.get(CPU),
                **trial.params,
            }
            for trial in self.study.trials
        ]
        return sorted(rows, key=lambda row: (row["score"] is None, -(row["score"] or 0.0)))

    def _take_up(self) -> None:
        """Queue again, under its number, what this search was at when an earlier call was interrupted or killed."""
        from optuna.trial import TrialState

        # Of several attempts at one trial the last counts.
        own = [t for t in self.study.trials if t.user_attrs.get(PLACE) == self.place]
        for trial in {t.user_attrs[NUMBER]: t for t in own}.values():
            killed = trial.state is TrialState.RUNNING
            if killed:
                self.study.tell(trial.number, state=TrialState.FAIL)
            if (killed or trial.user_attrs.get(INTERRUPTED)) and set(trial.params) == set(self.settings.space):
                self.study.enqueue_trial(trial.params, user_attrs={NUMBER: trial.user_attrs[NUMBER]})
                logger.info("trial %d was interrupted and is taken up again", trial.user_attrs[NUMBER])

    def _require_progress(self) -> None:
        """Refuse to go on where the first trials failed one after the other."""
        failed = [t for t in self.study.trials if t.state.name == "FAIL" and not t.user_attrs.get(INTERRUPTED)]
        if not self.done and len(failed) >= self.settings.startup:
            raise RunError(
                f"the first {len(failed)} trials failed",
                where="tune.space",
                hint="run one of them by itself: its configuration lies in its folder",
            )

    def _sampler(self) -> optuna.samplers.BaseSampler:
        import optuna

        # A study that goes on must not draw once more what it drew at its beginning.
        seed = None if self.seed is None else self.seed + len(self.study.trials)
        if self.settings.sampler == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=self.settings.startup)


def _pruner(settings: Tune) -> optuna.pruners.BasePruner:
    import optuna

    if settings.pruner is None:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(n_startup_trials=settings.startup, n_warmup_steps=settings.warmup_epochs)
