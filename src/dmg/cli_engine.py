"""``dmg engine``: what the fused engine makes of a process model."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict

from dmg.errors import ConfigError, did_you_mean


def main(argv: Sequence[str]) -> int:
    """Run ``dmg engine MODEL`` and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="dmg engine",
        description="Show what the fused engine makes of a process model: operations, flops and bytes of a step "
        "forward and back, time to compile, or the source of its kernels.",
        allow_abbrev=False,
    )
    parser.add_argument("model", metavar="MODEL", help="registered name of a process model, such as Hbv")
    parser.add_argument("--nmul", type=int, default=1, metavar="N", help="components (default: 1)")
    parser.add_argument("--dynamic", type=_names, default=[], metavar="NAME,…", help="parameters that vary in time")
    parser.add_argument("--fluxes", type=_names, metavar="NAME,…", help="outputs (default: all but the diagnostic)")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    parser.add_argument("--source", metavar="FORM", help="print the kernels instead: llvm, assembly or triton")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    words = parser.parse_args(list(argv))
    if words.nmul < 1:
        parser.error("--nmul takes a positive number")

    import torch

    from dmg.engine import ProcessModel
    from dmg.engine.describe import SOURCES, describe, source
    from dmg.registry import process_models

    if words.source is not None and words.source not in SOURCES:
        raise ConfigError(f"unknown form of source '{words.source}'", hint=did_you_mean(words.source, SOURCES))
    build = process_models.get(words.model)
    if not issubclass(build, ProcessModel):
        parts = ", ".join(getattr(build, "part_names", {}).values())
        raise ConfigError(
            f"{words.model} couples process models and has no step of its own",
            hint=f"ask for {parts}" if parts else None,
        )
    # The class gives the key of its dynamic parameters; another name may be an alias.
    model = build({"nmul": words.nmul, "dynamic_params": {build.__name__: words.dynamic}})
    dtype = getattr(torch, words.dtype)
    if words.source is None:
        found = describe(model, words.fluxes, dtype)
        print(json.dumps(asdict(found), indent=2) if words.json else found)
        return 0
    texts = source(model, words.source, words.fluxes, dtype)
    if words.json:
        print(json.dumps(texts, indent=2))
        return 0
    mark = ";" if words.source == "llvm" else "#"
    for name, text in texts.items():
        print(f"{mark} {name}\n{text}")
    return 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
