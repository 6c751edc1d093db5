"""What a run reaches in the test after how much CPU time: the weights of every saved epoch, scored."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dmg.core.utils.atomic import write_text
from dmg.registry import trainers
from dmg.trainers.evaluate import median_nse, observations
from dmg.trainers.simulate import simulate_sites
from dmg.trainers.weights import saved_epochs

if TYPE_CHECKING:
    from dmg.experiments.plan import Member


class Point(NamedTuple):
    """Median NSE of the test after an epoch and so many CPU seconds of training, validation not counted."""

    epoch: int
    cpu_s: float
    nse: float


def learning_curve(member: Member) -> list[Point]:
    """Return the test scores of a finished run by saved epoch.

    They are kept in ``curve.json`` of the run: an epoch that was scored is not scored again.

    Parameters
    ----------
    member
        Of an experiment.
    """
    files = member.files
    path = files.root / "curve.json"
    known = {int(k): v for k, v in json.loads(path.read_text(encoding="utf-8")).items()} if path.is_file() else {}
    config = member.config.model_copy(update={"mode": "test"})
    trainer = trainers.get(config.trainer)(config, write_out=False)
    epochs = saved_epochs(files.model_dir, list(trainer.model.models))
    for epoch in (e for e in epochs if e not in known):
        trainer.model.load_model(epoch, files.model_dir)
        data = trainer.eval_dataset
        run = simulate_sites(
            trainer.model,
            data,
            trainer.sampler,
            batch_size=config.test.batch_size,
            static=config.model.static,
            outputs=list(config.train.target),
            description=f"scoring epoch {epoch}",
        )
        known[epoch] = median_nse(run, observations(data, len(run.times)))
        write_text(path, json.dumps(known) + "\n")
    seconds = _cpu_seconds(files.training_log)
    return [Point(epoch, seconds[epoch], known[epoch]) for epoch in epochs if epoch in seconds]


def mean_curve(curves: Sequence[Sequence[Point]]) -> list[Point]:
    """Return the mean of several runs, over the epochs that all of them have."""
    by_epoch = [{point.epoch: point for point in curve} for curve in curves]
    common = sorted(set.intersection(*(set(points) for points in by_epoch)))
    mean = [[tuple(points[epoch]) for points in by_epoch] for epoch in common]
    return [Point(epoch, *np.mean(points, axis=0)[1:].tolist()) for epoch, points in zip(common, mean, strict=True)]


def as_csv(curves: Mapping[str, Sequence[Point]]) -> str:
    """Return the curves, by label, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label", *Point._fields])
    for label, points in curves.items():
        writer.writerows([label, p.epoch, f"{p.cpu_s:.3f}", f"{p.nse:.4f}"] for p in points)
    return text.getvalue()


def notes(curves: Mapping[str, Sequence[Point]]) -> list[str]:
    """Return what each curve reaches and when, and when it passes the best of the first one."""
    found, (first, *_) = [], curves.items()
    goal = max(first[1], key=lambda p: p.nse)
    for label, points in curves.items():
        best = max(points, key=lambda p: p.nse)
        text = f"{label}: best median NSE {best.nse:.3f} after {best.cpu_s / 60:.1f} CPU min (epoch {best.epoch})"
        if points is not first[1]:
            passed = next((p for p in points if p.nse >= goal.nse), None)
            share = f"{passed.cpu_s / goal.cpu_s:.2f} of the CPU time" if passed else "at none of its epochs"
            text += f"; reaches the best of {first[0]} {'with ' if passed else ''}{share}"
        found.append(text)
    return found


def _cpu_seconds(log: object) -> dict[int, float]:
    """Return the CPU seconds of the training up to the end of every epoch; {} of a log without them."""
    total, found = 0.0, {}
    with open(log, encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle):
            if not row.get("cpu_s"):
                return {}
            total += float(row["cpu_s"])
            found[int(row["epoch"])] = total
    return found
