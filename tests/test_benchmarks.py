"""What the documentation says of the engine is what was measured last."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def engine():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import engine

        return engine
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def test_documentation_has_the_saved_figures(engine):
    begin, end = engine.MARKS
    page = engine.DOCS.read_text(encoding="utf-8")
    assert page.partition(begin)[2].partition(end)[0] == f"\n{engine.table(engine.load())}"


def test_every_case_was_measured_and_judged_by_its_target(engine):
    results = engine.load()
    assert list(results) == list(engine.CASES)
    for name, case in engine.CASES.items():
        for figure in case.figures:
            met = figure.met(results[name].get(figure.key))
            assert results[name]["met"].get(figure.key) == met


def test_targets(engine):
    most, least = engine.Figure("a", "", "s", at_most=2), engine.Figure("a", "", "×", at_least=2)
    none = engine.Figure("a", "", "s")
    assert [most.met(v) for v in (2.0, 2.1, None)] == [True, False, None]
    assert [least.met(v) for v in (2.0, 1.9, None)] == [True, False, None]
    assert none.met(1.0) is None
    assert (most.target, least.target, none.target) == ("≤ 2 s", "≥ 2 ×", "")


def test_table_says_what_was_missed_and_leaves_out_what_was_not_measured(engine):
    line = {"case": "memory", "extra_mb": 40.0, "machine": "m", "date": "d"}
    text = engine.table({"memory": line})
    assert "| 40 MB (missed) | ≤ 32 MB |" in text
    line = {"case": "published", "speedup": 1286.0, "machine": "m", "date": "d"}
    assert "| 1290 × |" in engine.table({"published": line})
    assert "hydrodl2" not in text
