"""Experiments on CAMELS-US: scores and cost of their runs, as tables of docs/benchmarks.md.

    dmg experiment=NAME observations.data_path=camels.zarr experiment.forcing="Maurer extended"
    python benchmarks/experiments.py NAME output/experiments/NAME   # writes results/NAME.json
    python benchmarks/experiments.py NAME --docs                    # puts its table into docs/benchmarks.md

CPU minutes are those that the runs recorded; `--cpu-minutes MODEL=MINUTES …` says them for runs that did not.
"""

from __future__ import annotations

import argparse
import csv
import json
from itertools import zip_longest
from pathlib import Path
from typing import Any

import page
from camels import summary

RESULTS = Path(__file__).with_name("results")
PEAK = "median peak error, "
TABLES = {
    "camels_531_hour": ("median nse", "mean nse", "median kge", "median fhv", "sites with nse < 0"),
    "camels_extremes_hour": tuple(PEAK + years for years in ("1–5", "5–25", "25–50", "50–100", "100+")),
    "networks": ("median nse", "mean nse", "median kge"),
}
"""Rows of an experiment's table that become columns of the page."""


def measure(name: str, root: Path, minutes: dict[str, float]) -> dict[str, Any]:
    """Return what the finished runs of an experiment reached, and what was published for the same forcing."""
    models: dict[str, Any] = {}
    for member in json.loads((root / "members.json").read_text(encoding="utf-8")):
        run = root / member["run"]
        if not (run / "metrics_aggregate.json").exists():
            continue
        found = summary(run)
        models[member["model"]] = found | {"cpu_minutes": minutes.get(member["model"], found["cpu_minutes"])}
    with (root / "table.csv").open(encoding="utf-8", newline="") as lines:
        rows = {row[""].removesuffix(" years"): row for row in csv.DictReader(lines)}
    columns = {column: {score: rows[score][column] for score in TABLES[name]} for column in rows["source"] if column}
    ours = {column: scores for column, scores in columns.items() if rows["source"][column] == "this run"}
    forcing = rows["forcing"][next(iter(ours))]
    same = {forcing: "", "not stated": " (forcing not stated)"}
    published = {
        column + same[rows["forcing"][column]]: scores
        for column, scores in columns.items()
        if column not in ours and rows["forcing"][column] in same and any(scores.values())
    }
    return {"models": models, "columns": ours, "published": published, "machine": page.machine()}


def table(name: str, found: dict[str, Any]) -> str:
    """Return the scores as Markdown."""
    scores = TABLES[name]
    rows = [f"| model | {' | '.join(scores)} | CPU |", "|---" * (len(scores) + 2) + "|"]
    rows[0] = rows[0].replace(PEAK, "")
    spent = [f"{model['cpu_minutes']:.0f} min" for model in found["models"].values()]
    for (label, values), cpu in zip_longest(found["columns"].items(), spent, fillvalue=""):
        rows.append(f"| {label} | {' | '.join(values[s] for s in scores)} | {cpu} |")
    rows += [f"| {label} | {' | '.join(v[s] for s in scores)} | |" for label, v in found["published"].items()]
    date = max(model["date"] for model in found["models"].values())
    return "\n".join([*rows, "", f"{found['machine']}, one thread each, {date}."]) + "\n"


def main() -> None:
    """Read an experiment, or put what was read into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=TABLES, help="the experiment")
    parser.add_argument("folder", nargs="?", type=Path, help="folder of the experiment")
    parser.add_argument("--cpu-minutes", nargs="*", default=[], metavar="MODEL=MINUTES")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/benchmarks.md")
    words = parser.parse_args()
    results = RESULTS / f"{words.name}.json"
    if words.docs:
        page.put(words.name, table(words.name, json.loads(results.read_text(encoding="utf-8"))))
        return
    if words.folder is None:
        parser.error("give the folder of the experiment")
    minutes = {model: float(value) for model, _, value in (word.partition("=") for word in words.cpu_minutes)}
    result = measure(words.name, words.folder, minutes)
    results.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(words.name, result))


if __name__ == "__main__":
    main()
