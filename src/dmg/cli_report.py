"""``dmg report``: write the report of a run anew."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str]) -> int:
    """Run ``dmg report RUN`` and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="dmg report",
        description="Write report.html of a run anew from its files: scores, map, series, parameters, budget, course "
        "of the training, configuration; one page that needs nothing beside it and no network.",
        allow_abbrev=False,
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="output_dir of a run")
    words = parser.parse_args(list(argv))

    from dmg.trainers.report import write_report
    from dmg.trainers.run_directory import RunDirectory

    for run in words.runs:
        print(write_report(RunDirectory(Path(run).expanduser())))
    return 0
