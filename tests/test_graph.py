"""Graphs mean the same after folding, sharing, simplifying, pruning and fusing as before."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmg.engine.elementary import expand
from dmg.engine.graph import BOOL, OPS, REAL, Graph

NUMBERS = [0.0, 1.0, -1.0, 2.0, 0.5, -4.0, 3.7, math.inf, -math.inf, math.nan]
ARITHMETIC = [
    name
    for name in OPS
    if name not in ("fma", "rint", "mantissa", "exponent", "ldexp", "lower_pow", "reciprocal", "sigmoid")
]


def evaluate(graph, inputs):
    """Return the outputs of a graph for numbers."""
    values = []
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            if node.op == "input":
                values.append(inputs[node.name])
            elif node.op == "constant":
                values.append(node.value)
            else:
                values.append(OPS[node.op].fold(*(values[a] for a in node.args)))
    return {name: values[node] for name, node in graph.outputs.items()}


def same(a, b):
    return (math.isnan(a) and math.isnan(b)) or a == b


@st.composite
def programs(draw):
    """Draw a list of operations on earlier values."""
    program, kinds = [], [REAL, REAL, *(REAL for _ in range(3))]
    constants = draw(st.lists(st.sampled_from(NUMBERS), min_size=3, max_size=3))
    for _ in range(draw(st.integers(1, 12))):
        op = draw(st.sampled_from(ARITHMETIC))
        choices = [[i for i, kind in enumerate(kinds) if kind == wanted] for wanted in OPS[op].operands]
        if all(choices):
            program.append((op, tuple(draw(st.sampled_from(c)) for c in choices)))
            kinds.append(OPS[op].result)
    return constants, program


@given(programs(), st.sampled_from(NUMBERS), st.sampled_from(NUMBERS))
@settings(deadline=None, max_examples=300)
def test_simplified_graphs_give_the_same_numbers(drawn, x, y):
    constants, program = drawn
    graph = Graph()
    nodes = [graph.input("x"), graph.input("y"), *(graph.constant(c) for c in constants)]
    values = [x, y, *constants]
    with np.errstate(all="ignore"):
        for op, args in program:
            nodes.append(graph.add(op, *(nodes[a] for a in args)))
            values.append(OPS[op].fold(*(values[a] for a in args)))
    # Quotients by powers of two, x ** 2 and zeros of either sign are what simplifying may write differently.
    finite = [i for i, v in enumerate(values) if isinstance(v, bool) or not (v == 0 and math.copysign(1, v) < 0)]
    if len(finite) < len(values):
        return
    graph.outputs = {str(i): node for i, node in enumerate(nodes)}
    kept = [str(i) for i in range(0, len(nodes), 2)]
    for smaller in (graph, graph.prune(), graph.prune(kept)):
        for name, value in evaluate(smaller, {"x": x, "y": y}).items():
            expected = values[int(name)]
            close = same(value, expected) or math.isclose(value, expected, rel_tol=1e-15)
            assert close, f"{name}: {value} for {expected}"


def test_equal_operations_are_shared():
    graph = Graph()
    x, y = graph.input("x"), graph.input("y")
    assert graph.add("add", x, y) == graph.add("add", y, x)
    assert graph.add("sub", x, y) != graph.add("sub", y, x)
    assert graph.constant(0.0) != graph.constant(-0.0)
    assert graph.constant(math.nan) == graph.constant(math.nan)
    assert graph.kind(graph.constant(True)) == BOOL
    assert graph.kind(graph.add("lt", x, y)) == BOOL


@pytest.mark.parametrize(("op", "neutral"), [("mul", 1.0), ("add", 0.0), ("sub", 0.0), ("div", 1.0), ("pow", 1.0)])
def test_neutral_operations_vanish(op, neutral):
    graph = Graph()
    x = graph.input("x")
    assert graph.add(op, x, graph.constant(neutral)) == x


def test_products_with_zero_stay():
    """Zero times infinity is no zero."""
    graph = Graph()
    x = graph.input("x")
    graph.outputs = {"out": graph.add("mul", x, graph.constant(0.0))}
    assert math.isnan(evaluate(graph, {"x": math.inf})["out"])
    assert math.isnan(evaluate(graph, {"x": math.nan})["out"])


def test_pruning_drops_what_no_output_needs():
    graph = Graph()
    x, y = graph.input("x"), graph.input("y")
    graph.outputs = {"a": graph.add("exp", x), "b": graph.add("log", y)}
    smaller = graph.prune(["a"])
    assert set(smaller.inputs) == {"x"}
    assert smaller.count() == 1
    assert smaller.flops() < graph.flops()


@pytest.mark.parametrize("name", ["exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "sigmoid", "reciprocal"])
def test_expansions_are_arithmetic_only(name):
    graph = Graph()
    graph.outputs = {"out": graph.add(name, graph.input("x"))}
    expanded = expand(graph)
    left = {node.op for node in expanded.nodes}
    assert not left & {"exp", "expm1", "log", "log1p", "pow", "tanh", "sin", "cos", "sigmoid"}
    for x in (0.3, 1.0, 2.5, 7.0):
        exact, got = evaluate(graph, {"x": x})["out"], evaluate(expanded, {"x": x})["out"]
        assert math.isclose(got, exact, rel_tol=3e-7), f"{x}: {got} for {exact}"


@given(st.lists(st.sampled_from(["add", "sub", "mul", "neg"]), min_size=2, max_size=10), st.randoms())
@settings(deadline=None)
def test_fused_sums_of_products_are_equal(ops, random):
    graph = Graph()
    nodes = [graph.input("x"), graph.input("y"), graph.input("z")]
    for op in ops:
        nodes.append(graph.add(op, *(random.choice(nodes) for _ in OPS[op].operands)))
    graph.outputs = {str(i): n for i, n in enumerate(nodes)}
    expanded = expand(graph)
    for x, y, z in itertools.product((1.0, -2.0, 3.0), repeat=3):
        given_numbers = {"x": x, "y": y, "z": z}
        exact, got = evaluate(graph, given_numbers), evaluate(expanded, given_numbers)
        assert all(same(got[name], exact[name]) for name in exact)
