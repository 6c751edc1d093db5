"""Elementary functions in single precision, as graphs of arithmetic: the same on every backend.

Polynomials after Cephes (Moshier, 1989), https://netlib.org/cephes; logarithm and exponent of a power are carried in
two numbers, so that the power is good to two units in the last place over the whole range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

from dmg.engine.graph import OPS, Graph

# Minimax fit of (log(1 + f) - f + f**2 / 2) / f**3 on [-1/4, 1/2], the range of `mantissa` less one.
LOG_P = (
    -0.03545723855495453, 0.08448391407728195, -0.10619901120662689, 0.1131916493177414, -0.12481476366519928,
    0.14273616671562195, -0.16666629910469055, 0.20000238716602325, -0.2500000298023224, 0.3333333134651184,
)  # fmt: skip
EXP_P = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
SIN_P = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)
COS_P = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
TANH_P = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
# ln 2 and pi / 2 in parts, the first of which have few bits: their multiples by small integers are exact.
LN2 = (0.693359375, -2.12194440e-4)
HALF_PI = (1.5703125, 4.837512969970703125e-4, 7.54978995489188216e-8)


class _Arithmetic:
    """Short names for building a graph; ``exact`` writes reciprocals as quotients."""

    def __init__(self, g: Graph, exact: bool = False) -> None:
        self.g, self.exact = g, exact

    def __getattr__(self, op: str) -> Callable[..., int]:
        return lambda *args: self.g.add(op.rstrip("_"), *(self.number(a) for a in args))

    def reciprocal(self, x: int) -> int:
        return self.div(1.0, x) if self.exact else self.g.add("reciprocal", x)

    def number(self, a: int | float) -> int:
        return self.g.constant(a) if isinstance(a, float) else a

    def polynomial(self, x: int, coefficients: tuple[float, ...]) -> int:
        total = self.number(coefficients[0])
        for c in coefficients[1:]:
            total = self.fma(total, x, c)
        return total


def expand(graph: Graph, keep: Collection[str] = ()) -> Graph:
    """Return an equal graph for single precision in which only arithmetic is left, and the functions to ``keep``."""
    return _rewrite(graph, {op: rule for op, rule in EXPANSIONS.items() if op not in keep})


def compose(graph: Graph) -> Graph:
    """Return an equal graph for double precision, in arithmetic and what a mathematical library has."""
    rules = {
        "sigmoid": lambda m, x: _sigmoid(m, x, m.exp, 700.0),
        "reciprocal": EXPANSIONS["reciprocal"],
        "lower_pow": lambda m, x, y, higher: m.pow(x, y),
    }
    return _rewrite(graph, rules)


def _rewrite(graph: Graph, rules: Mapping[str, Callable[..., int]]) -> Graph:
    """Return the graph with some operations replaced, and sums of products fused."""
    g, moved = Graph(), []
    for node in graph.nodes:
        args = tuple(moved[a] for a in node.args)
        if node.op == "input":
            moved.append(g.input(node.name))
        elif node.op == "constant":
            moved.append(g.constant(node.value))
        else:
            arithmetic = _Arithmetic(g, exact="reciprocal" in rules)
            moved.append(rules[node.op](arithmetic, *args) if node.op in rules else _fused(g, node.op, *args))
    g.outputs = {name: moved[node] for name, node in graph.outputs.items()}
    return g.prune()


def _fused(g: Graph, op: str, *args: int) -> int:
    """Return an operation, a sum with a product as one fused multiply-add.

    Whether a product is needed elsewhere too makes no difference: an output must not depend on the other outputs.
    """
    if op not in ("add", "sub"):
        return g.add(op, *args)
    a, b = args
    if g.nodes[a].op == "mul":
        return g.add("fma", *g.nodes[a].args, b if op == "add" else g.add("neg", b))
    if g.nodes[b].op == "mul":
        x, y = g.nodes[b].args
        return g.add("fma", x if op == "add" else g.add("neg", x), y, a)
    return g.add(op, a, b)


def _log_parts(m: _Arithmetic, x: int) -> tuple[int, int]:
    """Return the logarithm of a non-negative number as the sum of two, the second small or, at 0 and infinity, NaN."""
    f, e = m.sub(m.mantissa(x), 1.0), m.exponent(x)
    half = m.mul(f, -0.5)
    square = m.mul(half, f)
    rough = m.add(f, square)
    lost = m.add(m.fma(half, f, m.neg(square)), m.add(m.sub(f, rough), square))
    tail = m.fma(m.mul(m.mul(f, f), f), m.polynomial(f, LOG_P), lost)
    near = m.add(rough, tail)
    near_low = m.add(m.sub(rough, near), tail)
    whole = m.mul(e, LN2[0])
    high = m.add(whole, near)
    return high, m.fma(e, LN2[1], m.add(m.add(m.sub(whole, high), near), near_low))


def _reduce(m: _Arithmetic, x: int) -> tuple[int, int, int]:
    """Return x within the range of the exponential, n and r with x = n ln 2 + r."""
    bounded = m.min(m.max(x, -104.0), 89.0)
    n = m.rint(m.mul(bounded, 1.0 / math.log(2.0)))
    return bounded, n, m.fma(n, -LN2[1], m.fma(n, -LN2[0], bounded))


def _exp_reduced(m: _Arithmetic, r: int) -> int:
    """Return exp(r) - 1 for small r."""
    return m.fma(m.polynomial(r, EXP_P), m.mul(r, r), r)


def _exp(m: _Arithmetic, x: int) -> int:
    _, n, r = _reduce(m, x)
    return m.ldexp(m.add(_exp_reduced(m, r), 1.0), n)


def _sigmoid(m: _Arithmetic, x: int, exp: Callable[[int], int], bound: float) -> int:
    # The bound keeps the denominator finite; beyond it the result is about the smallest normal number.
    return m.reciprocal(m.add(exp(m.min(m.neg(x), bound)), 1.0))


def _expm1(m: _Arithmetic, x: int) -> int:
    _, n, r = _reduce(m, x)
    return m.add(m.ldexp(_exp_reduced(m, r), n), m.sub(m.ldexp(m.number(1.0), n), 1.0))


def _log(m: _Arithmetic, x: int) -> int:
    high, low = _log_parts(m, x)
    value = m.where(m.eq(m.abs(high), math.inf), high, m.add(high, low))
    return m.where(m.lt(x, 0.0), math.nan, value)


def _log1p(m: _Arithmetic, x: int) -> int:
    u = m.add(x, 1.0)
    lost = m.sub(x, m.sub(u, 1.0))
    exact = m.or_(m.eq(lost, 0.0), m.eq(u, math.inf))
    return m.add(_log(m, u), m.where(exact, 0.0, m.div(lost, u)))


def _power(m: _Arithmetic, high: int, low: int, y: int) -> int:
    """Return the y-th power of a number from its logarithm in two parts."""
    product = m.mul(y, high)
    bounded, n, r = _reduce(m, product)
    # Beyond the range of the exponential, and for 0 and infinity, the small part means nothing.
    small = m.where(m.eq(bounded, product), m.fma(y, low, m.fma(y, high, m.neg(product))), 0.0)
    return m.ldexp(m.add(_exp_reduced(m, m.add(r, small)), 1.0), n)


def _pow(m: _Arithmetic, x: int, y: int) -> int:
    return signed_power(m, x, y, _power(m, *_log_parts(m, m.abs(x)), y))


def signed_power(m: _Arithmetic, x: int, y: int, value: int) -> int:
    """Return the y-th power of x from that of its magnitude."""
    magnitude = m.abs(x)
    value = m.where(m.or_(m.eq(y, 0.0), m.eq(magnitude, 1.0)), 1.0, value)
    half = m.mul(y, 0.5)
    whole, even = m.eq(m.floor(y), y), m.eq(m.floor(half), half)
    undefined = m.where(m.eq(magnitude, math.inf), value, math.nan)
    negative = m.where(even, value, m.where(whole, m.neg(value), undefined))
    return m.where(m.lt(x, 0.0), negative, value)


def _tanh(m: _Arithmetic, x: int) -> int:
    a, z = m.abs(x), m.mul(x, x)
    near = m.fma(m.mul(m.polynomial(z, TANH_P), z), x, x)
    # One from nine on, in this precision; the bound keeps the reciprocal normal.
    bounded = m.min(a, 10.0)
    far = m.fma(m.number(-2.0), m.reciprocal(m.add(_exp(m, m.add(bounded, bounded)), 1.0)), m.number(1.0))
    return m.where(m.lt(a, 0.625), near, m.where(m.lt(x, 0.0), m.neg(far), far))


def _quadrant(m: _Arithmetic, x: int) -> tuple[int, int, int]:
    """Return n and the sine and cosine of x - n pi / 2; good for arguments up to some thousands."""
    n = m.rint(m.mul(x, 2.0 / math.pi))
    r = x
    for part in HALF_PI:
        r = m.fma(n, -part, r)
    z = m.mul(r, r)
    sine = m.fma(m.mul(m.polynomial(z, SIN_P), z), r, r)
    cosine = m.fma(m.polynomial(z, COS_P), m.mul(z, z), m.fma(z, -0.5, m.number(1.0)))
    return n, sine, cosine


def _turn(m: _Arithmetic, n: int, even: int, odd: int) -> int:
    """Return the value in the n-th quadrant, from those of quadrants 0 and 1."""
    half = m.mul(n, 0.5)
    value = m.where(m.eq(m.floor(half), half), even, odd)
    quarter = m.mul(n, 0.25)
    position = m.sub(quarter, m.floor(quarter))
    return m.where(m.ge(position, 0.5), m.neg(value), value)


def _sin(m: _Arithmetic, x: int) -> int:
    n, sine, cosine = _quadrant(m, x)
    return _turn(m, n, sine, cosine)


def _cos(m: _Arithmetic, x: int) -> int:
    n, sine, cosine = _quadrant(m, x)
    return _turn(m, n, cosine, m.neg(sine))


EXPANSIONS: dict[str, Callable[..., int]] = {
    "exp": _exp,
    "sigmoid": lambda m, x: _sigmoid(m, x, lambda a: _exp(m, a), 87.0),
    "reciprocal": lambda m, x: m.div(1.0, x),
    "lower_pow": lambda m, x, y, higher: _pow(m, x, y),
    "expm1": _expm1,
    "log": _log,
    "log1p": _log1p,
    "pow": _pow,
    "tanh": _tanh,
    "sin": _sin,
    "cos": _cos,
}


def log_parts_graph() -> Graph:
    """Return the graph of the logarithm of a positive finite ``x`` as the sum of ``high`` and ``low``."""
    g = Graph()
    high, low = _log_parts(_Arithmetic(g), g.input("x"))
    g.outputs = {"high": high, "low": low}
    return g


def power_graph() -> Graph:
    """Return the graph of a power from the logarithm of its base, ``high`` and ``low``, and its exponent ``y``."""
    g = Graph()
    g.outputs = {"power": _power(_Arithmetic(g), g.input("high"), g.input("low"), g.input("y"))}
    return g


def function_graph(op: str) -> Graph:
    """Return the graph of an elementary function of ``x`` (and ``y``) that is right for every number."""
    g = Graph()
    g.outputs = {"value": g.add(op, *(g.input(n) for n in "xy"[: len(OPS[op].operands)]))}
    return expand(g)
