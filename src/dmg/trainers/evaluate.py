"""Scores of a simulation: by site, and over groups of sites."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.calc.metrics import Metrics
from dmg.core.calc.quantiles import central_intervals, coverage, quantile_crps
from dmg.core.data.lazy_series import in_memory
from dmg.errors import DataError

if TYPE_CHECKING:
    from dmg.core.data.batch import Batch
    from dmg.models.heads import Head
    from dmg.trainers.simulate import Simulation

Scores = dict[str, dict[str, np.ndarray]]


def observations(dataset: Batch, length: int) -> dict[str, np.ndarray]:
    """Return the observations of every target, [T, N], in the output unit, on the axis of the predictions.

    Parameters
    ----------
    dataset
        Evaluation dataset; ``target`` [T + warm-up, N, K].
    length
        Number of time steps that were predicted; the last ones of the dataset.

    Raises
    ------
    DataError
        If the dataset has no target.
    """
    if "target" not in dataset:
        raise DataError("there are no observations to compare with", hint="mode sim needs none, mode test does")
    target = in_memory(dataset["target"][-length:])
    names = dataset.names.get("target") or tuple(f"target{k}" for k in range(target.shape[-1]))
    convert = dataset.get("obs_convert_fn")
    found = {}
    for k, name in enumerate(names):
        values = target[..., k]
        found[name] = (values if convert is None else convert(values, name)).cpu().numpy()
    return found


def score(simulation: Simulation, observed: dict[str, np.ndarray], names: list[str] | None = None) -> Scores:
    """Return metric values [N] by prediction and metric name.

    Parameters
    ----------
    simulation
        Predictions; with several models, every ``<model>_<target>`` is scored.
    observed
        Target to observations [T, N].
    names
        Metrics; all registered ones if absent.
    """
    scores: Scores = {}
    for name, predicted in simulation.series.items():
        target = simulation.outputs.get(name, name)
        if target in observed:
            found = Metrics(predicted.T, observed[target].T, sites=simulation.sites, names=names)
            scores[name] = {metric: np.asarray(getattr(found, metric)) for metric in found.names}
    return scores


def score_quantiles(simulation: Simulation, observed: dict[str, np.ndarray], head: Head) -> Scores:
    """Return the scores [N] of the quantiles of every target: the CRPS, and the coverage of central intervals."""
    scores: Scores = {}
    for target, series in observed.items():
        names = [name for name in head.reported(target) if name in simulation.series]
        if not names:
            continue
        quantiles = np.stack([simulation.series[name] for name in names])
        with np.errstate(invalid="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a site without observations has no score
            found = {"crps": np.nanmean(quantile_crps(quantiles, head.levels, series), axis=0)}
        for share, (low, high) in central_intervals(head.levels).items():
            found[f"coverage_{share:g}"] = coverage(quantiles[low], quantiles[high], series)
        scores[target] = found
    return scores


def median_nse(simulation: Simulation, observed: dict[str, np.ndarray]) -> float:
    """Return the median Nash–Sutcliffe efficiency over sites, averaged over targets.

    Of several models it is that of their ensemble, or the mean of theirs where they are not combined.

    Raises
    ------
    DataError
        If no site has an observation in the period.
    """
    scores = score(simulation, observed, ["nse"])
    scores = {name: values for name, values in scores.items() if name in observed} or scores
    known = [values["nse"][np.isfinite(values["nse"])] for values in scores.values()]
    if not all(values.size for values in known):
        raise DataError(
            "the validation period has no observation to score", where="valid", hint="choose another period"
        )
    return float(np.mean([np.median(values) for values in known]))


def groups(holdout: np.ndarray | None, n_sites: int) -> dict[str, np.ndarray]:
    """Return the groups of sites that are summarised: all, and trained and held-out ones apart if there are any."""
    found = {"all": np.ones(n_sites, dtype=bool)}
    if holdout is not None and holdout.any() and not holdout.all():
        found |= {"trained": ~holdout, "holdout": holdout}
    return found


def aggregate(scores: Scores, holdout: np.ndarray | None) -> dict[str, Any]:
    """Return ``{target: {group: {metric: {median, mean, std, n}}}}``; sites without a score are left out of it."""
    result: dict[str, Any] = {}
    for target, metrics in scores.items():
        n_sites = len(next(iter(metrics.values())))
        result[target] = {
            group: {name: _summary(values[mask]) for name, values in metrics.items()}
            for group, mask in groups(holdout, n_sites).items()
        }
    return result


def plain(tree: Any) -> Any:
    """Return a tree of what JSON can hold: arrays become lists, values that are not finite become None."""
    if isinstance(tree, dict):
        return {key: plain(value) for key, value in tree.items()}
    if isinstance(tree, np.ndarray):
        return plain(tree.tolist())
    if isinstance(tree, list | tuple):
        return [plain(value) for value in tree]
    if isinstance(tree, float) and not np.isfinite(tree):
        return None
    return tree


def _summary(values: np.ndarray) -> dict[str, Any]:
    known = values[np.isfinite(values)]
    if not known.size:
        return {"median": None, "mean": None, "std": None, "n": 0}
    return {
        "median": float(np.median(known)),
        "mean": float(known.mean()),
        "std": float(known.std()),
        "n": int(known.size),
    }
