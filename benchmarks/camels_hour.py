"""Models of 531 basins of CAMELS-US under one small budget: scores and cost of the runs of an experiment.

    dmg experiment=camels_531_hour observations.data_path=camels.zarr experiment.forcing="Maurer extended"
    python benchmarks/camels_hour.py output/experiments/camels_531_hour   # writes results/camels_531_hour.json
    python benchmarks/camels_hour.py --docs                               # puts its table into docs/benchmarks.md

CPU minutes are those that the runs recorded; `--cpu-minutes MODEL=MINUTES …` says them for runs that did not.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import page
from camels import summary

RESULTS = Path(__file__).with_name("results") / "camels_531_hour.json"
SCORES = ("median nse", "mean nse", "median kge", "median fhv", "sites with nse < 0")


def measure(root: Path, minutes: dict[str, float]) -> dict[str, Any]:
    """Return what the finished runs of an experiment reached."""
    models: dict[str, Any] = {}
    for member in json.loads((root / "members.json").read_text(encoding="utf-8")):
        run = root / member["run"]
        if not (run / "metrics_aggregate.json").exists():
            continue
        found = summary(run)
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        recorded = sum(record.get("cpu_timings", {}).values()) / 60
        models[member["model"]] = found | {"cpu_minutes": round(minutes.get(member["model"], recorded), 1)}
    with (root / "table.csv").open(encoding="utf-8", newline="") as lines:
        rows = {row[""]: row for row in csv.DictReader(lines)}
    columns = {name: {score: rows[score][name] for score in SCORES} for name in rows["source"] if name}
    ours = {name: scores for name, scores in columns.items() if rows["source"][name] == "this run"}
    theirs = {name: scores for name, scores in columns.items() if rows["forcing"][name] == "Maurer extended"}
    return {"models": models, "columns": ours, "published": {k: v for k, v in theirs.items() if k not in ours}} | {
        "machine": page.machine()
    }


def table(found: dict[str, Any]) -> str:
    """Return the scores as Markdown."""
    spent = [f"{model['cpu_minutes']:.0f} min" for model in found["models"].values()]
    rows = [f"| model | {' | '.join(SCORES)} | CPU |", "|---" * (len(SCORES) + 2) + "|"]
    for i, (name, scores) in enumerate(found["columns"].items()):
        rows.append(f"| {name} | {' | '.join(scores[s] for s in SCORES)} | {spent[i] if i < len(spent) else ''} |")
    rows += [f"| {name} | {' | '.join(scores[s] for s in SCORES)} | |" for name, scores in found["published"].items()]
    date = max(model["date"] for model in found["models"].values())
    return "\n".join([*rows, "", f"{found['machine']}, one thread each, {date}."]) + "\n"


def main() -> None:
    """Read an experiment, or put what was read into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", nargs="?", type=Path, help="folder of the experiment")
    parser.add_argument("--cpu-minutes", nargs="*", default=[], metavar="MODEL=MINUTES")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/benchmarks.md")
    words = parser.parse_args()
    if words.docs:
        page.put("camels_hour", table(json.loads(RESULTS.read_text(encoding="utf-8"))))
        return
    if words.experiment is None:
        parser.error("give the folder of the experiment")
    minutes = {name: float(value) for name, _, value in (word.partition("=") for word in words.cpu_minutes)}
    result = measure(words.experiment, minutes)
    RESULTS.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(result))


if __name__ == "__main__":
    main()
