"""``dmg models``: the registered process models, in short or as a page."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from dmg.errors import ConfigError


def main(argv: Sequence[str]) -> int:
    """Run ``dmg models`` or ``dmg models docs`` and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="dmg models",
        description="List the registered process models; `docs` prints what they declare, as Markdown.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="the list as JSON")
    commands = parser.add_subparsers(dest="command")
    docs = commands.add_parser("docs", help="print declarations and measured figures as Markdown")
    docs.add_argument("--measured", metavar="FILE", required=True, help="JSON file that benchmarks/models.py wrote")
    docs.add_argument("--write", metavar="FILE", help="write the page to a file instead")
    words = parser.parse_args(list(argv))
    return _docs(words) if words.command == "docs" else _list(words.json)


def _list(as_json: bool) -> int:
    from dmg.engine.document import scheme
    from dmg.registry import process_models

    rows = []
    for name in process_models:
        model = process_models.get(name)()
        about = (type(model).__doc__ or "").strip().partition("\n")[0].replace("``", "`")
        forcings = [forcing.name for forcing in getattr(model, "forcings", ())]
        rows.append({"name": name, "scheme": scheme(model), "forcings": forcings, "about": about})
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        print(f"{row['name']:{width}}  {row['about']}")
        print(f"{'':{width}}  {row['scheme']}; needs {', '.join(row['forcings'])}")
    return 0


def _docs(words: argparse.Namespace) -> int:
    from dmg.core.utils.atomic import write_text
    from dmg.engine.document import model_page
    from dmg.registry import process_models

    path = Path(words.measured)
    try:
        measured = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"no measured figures in '{path}': {error}", hint="python benchmarks/models.py") from error
    text = model_page({name: process_models.get(name) for name in process_models}, measured)
    if not words.write:
        print(text, end="")
        return 0
    write_text(words.write, text)
    return 0
