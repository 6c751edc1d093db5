"""Trainer of models of samples: scores are taken over samples, not over time."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from dmg.core.post import plot_scatter
from dmg.core.utils.atomic import write_text
from dmg.core.utils.stopwatch import Stopwatch, timings
from dmg.errors import DataError
from dmg.registry import trainers
from dmg.trainers import evaluate as scoring
from dmg.trainers.plots import print_scores
from dmg.trainers.report import write_report
from dmg.trainers.samples import to_samples, write_samples
from dmg.trainers.simulate import Simulation
from dmg.trainers.trainer import Trainer

#: Metrics that mean something for samples in no order.
METRICS = ("nse", "corr", "rmse", "mae", "bias", "pbias")
#: The static parameters of a single step are those of that step.
STATIC = "last"


@trainers.register("TableTrainer")
class TableTrainer(Trainer):
    """Trains as `Trainer` does; evaluates and simulates tables of samples.

    Parameters
    ----------
    config
        Configuration with ``data_loader: TableLoader``; the rest is as for `Trainer`.
    """

    def evaluate(self) -> dict[str, Any]:
        """Run the models over all samples, score them together and by group, and write results and plots.

        Returns
        -------
        dict
            What ``metrics_aggregate.json`` holds: ``{last: {target: {set: {metric: {median, mean, std, n}}}}}`` with
            the sets ``all`` and, if samples are held out, ``trained`` and ``holdout``; a set has one score over its
            samples. ``metrics.json`` has a score for every group as well.

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
        wanted = list(dict.fromkeys([*config.train.target, *config.model.outputs]))
        self.simulation = run = self._simulate(data, config.test.batch_size, STATIC, wanted)
        observed = scoring.observations(data, 1)
        sets = scoring.groups(data.holdout, len(run.sites))
        summary = {STATIC: _summaries(_scores(run, observed, sets))}
        groups = data.get("group")
        members = {"all": sets["all"]} if groups is None else {g: groups == g for g in sorted(set(groups))}
        by_group = _scores(run, observed, members)
        self.metrics = scoring.plain(
            {
                "samples": len(run.sites),
                "sites": list(members),
                "holdout": [bool(data.holdout is not None and data.holdout[m].all()) for m in members.values()],
                "units": {name: run.units[name] for name in by_group},
                STATIC: {name: {m: found[m] for m in METRICS} for name, found in by_group.items()},
            }
        )
        if self.run_dir:
            write_text(self.run_dir.metrics, json.dumps(self.metrics, allow_nan=False) + "\n")
            write_text(self.run_dir.metrics_aggregate, json.dumps(summary, indent=1, allow_nan=False) + "\n")
            write_samples(to_samples(run, data.get("group"), observed), self.run_dir.simulation)
            for name in run.series:
                target = run.outputs.get(name, name)
                if target in observed:
                    plot_scatter(
                        observed[target][0],
                        run.series[name][0],
                        data.holdout,
                        label=f"{name} ({run.units[name]})",
                        save_path=self.run_dir.plot_dir / f"scatter_{name}.png",
                    )
            self.run_dir.note(**timings("evaluate", stopwatch.read()))
            write_report(self.run_dir)
        if self.verbose:
            print_scores(summary)
        return summary

    def inference(self) -> dict[str, np.ndarray]:
        """Run the models over all samples, ``sim.batch_size`` at once; no observations are needed.

        Returns
        -------
        dict
            Name to values [N], as ``sim/simulation.nc`` has them: the targets and ``model.outputs``, or every flux if
            that is empty.
        """
        stopwatch = Stopwatch()
        config, data = self.config, self.dataset
        self.load_weights()
        self.begin(data={"sim": data.fingerprint()})
        size = (config.sim.batch_size if config.sim else None) or config.test.batch_size
        outputs = config.model.outputs and list(dict.fromkeys([*config.train.target, *config.model.outputs]))
        self.simulation = run = self._simulate(data, size, STATIC, outputs or None)
        if self.run_dir:
            write_samples(to_samples(run, data.get("group")), self.run_dir.sim_simulation)
            self.run_dir.note(**timings("simulate", stopwatch.read()))
        return {name: values[0] if values.ndim == 2 else values for name, values in run.series.items()}


def _scores(
    run: Simulation, observed: dict[str, np.ndarray], members: dict[str, np.ndarray]
) -> dict[str, dict[str, np.ndarray]]:
    """Return metric values by prediction, one for each set of samples, and the number ``n`` of its observations."""
    from dmg.core.calc.metrics import Metrics

    scores: dict[str, dict[str, np.ndarray]] = {}
    for name, predicted in run.series.items():
        target = run.outputs.get(name, name)
        if target not in observed or not members:
            continue
        known = observed[target][0]
        if not np.isfinite(known).any():
            raise DataError(f"no sample has an observation of '{target}'", where="train.target")
        rows = [np.where(mask, known, np.nan) for mask in members.values()]
        found = Metrics(np.tile(predicted, (len(rows), 1)), np.stack(rows), sites=list(members), names=METRICS)
        scores[name] = {metric: np.asarray(getattr(found, metric)) for metric in METRICS}
        scores[name]["n"] = np.array([np.isfinite(row).sum() for row in rows], dtype=float)
        scores[name]["set"] = np.array(list(members), dtype=object)
    return scores


def _summaries(scores: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    """Return scores over sets of samples as the summaries of other trainers have them."""
    result: dict[str, Any] = {}
    for target, found in scores.items():
        result[target] = {
            str(name): {m: _single(found[m][k], found["n"][k]) for m in METRICS} for k, name in enumerate(found["set"])
        }
    return result


def _single(value: float, count: float) -> dict[str, Any]:
    known = float(value) if np.isfinite(value) else None
    return {"median": known, "mean": known, "std": None if known is None else 0.0, "n": int(count)}
