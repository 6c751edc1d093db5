"""Experiments: lists of runs that are compared with each other and with published scores."""

from __future__ import annotations

from dmg.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Member": "dmg.experiments.plan:Member",
        "Plan": "dmg.experiments.plan:Plan",
        "make_plan": "dmg.experiments.plan:make_plan",
        "run_plan": "dmg.experiments.runner:run_plan",
        "summarise": "dmg.experiments.summary:summarise",
    },
)
