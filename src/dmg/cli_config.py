"""``dmg config``: the configuration as a run would see it, and the table of all keys."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path


def main(argv: Sequence[str]) -> int:
    """Run ``dmg config show`` or ``dmg config docs`` and return the exit code."""
    parser = argparse.ArgumentParser(prog="dmg config", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="print the configuration as a run would see it; a file to start from")
    docs = commands.add_parser("docs", help="print every key with its type, default and meaning, as Markdown")
    docs.add_argument("--write", metavar="FILE", help="write the table to a file instead")

    from dmg.cli_run import add_config_options

    add_config_options(show)
    words, rest = parser.parse_known_args(list(argv))
    if rest:
        parser.error(f"unknown words: {' '.join(rest)}")
    return _show(words) if words.command == "show" else _docs(words)


def _show(words: argparse.Namespace) -> int:
    if any(text.startswith("experiment=") for text in words.overrides):
        from dmg.cli_experiment import show

        return show(words)
    import yaml

    from dmg.cli_run import compose_words
    from dmg.conf.config import as_config
    from dmg.conf.derive import underived

    tree = compose_words(words)
    config = as_config(tree)
    shown = underived(config.model_dump(mode="json"), config.name)
    shown["device"] = tree.get("device") or "auto"  # another machine has another
    print("# Saved in a file, `dmg --config-name FILE.yaml` runs it.")
    print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True), end="")
    return 0


def _docs(words: argparse.Namespace) -> int:
    from dmg.conf.docs import schema_table

    text = schema_table()
    if words.write:
        Path(words.write).write_text(text, encoding="utf-8")
    else:
        print(text, end="")
    return 0
