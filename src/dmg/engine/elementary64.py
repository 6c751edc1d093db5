"""Elementary functions in double precision that Triton lacks, as graphs of those that it has.

The argument of the exponential in a power is carried in two numbers, so that a power is as good as its logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from dmg.engine.elementary import _Arithmetic, _rewrite, _sigmoid, signed_power
from dmg.engine.graph import Graph

# ln 2 in two parts, the first of which has so few bits that its multiples by exponents are exact (fdlibm, e_log.c).
LN2 = (6.93147180369123816490e-01, 1.90821492927058770002e-10)


def _expm1(m: _Arithmetic, x: int) -> int:
    """After W. Kahan: what exp(x) lost to rounding cancels in the quotient (Higham, 2002, section 1.14.1)."""
    u = m.exp(x)
    less = m.sub(u, 1.0)
    value = m.where(m.eq(u, 1.0), x, m.div(m.mul(less, x), m.log(u)))
    return m.where(m.or_(m.eq(less, -1.0), m.eq(u, math.inf)), less, value)


def _log1p(m: _Arithmetic, x: int) -> int:
    u = m.add(x, 1.0)
    lost = m.sub(x, m.sub(u, 1.0))
    exact = m.or_(m.eq(lost, 0.0), m.eq(u, math.inf))
    return m.add(m.log(u), m.where(exact, 0.0, m.div(lost, u)))


def _tanh(m: _Arithmetic, x: int) -> int:
    decay = _expm1(m, m.mul(m.abs(x), -2.0))
    value = m.div(decay, m.add(decay, 2.0))
    return m.where(m.lt(x, 0.0), value, m.neg(value))


def _pow(m: _Arithmetic, x: int, y: int) -> int:
    magnitude = m.abs(x)
    near, e = m.log(m.mantissa(magnitude)), m.exponent(magnitude)
    whole = m.mul(e, LN2[0])
    rough = m.add(whole, near)
    rest = m.fma(e, LN2[1], m.add(m.sub(whole, rough), near))
    high = m.where(m.eq(m.abs(rough), math.inf), rough, m.add(rough, rest))
    low = m.add(m.sub(rough, high), rest)
    product = m.mul(y, high)
    # Beyond the range of the exponential, and for 0 and infinity, the small part means nothing.
    within = m.lt(m.abs(product), 800.0)
    small = m.where(within, m.fma(y, low, m.fma(y, high, m.neg(product))), 0.0)
    value = m.exp(product)
    corrected = m.where(m.lt(value, math.inf), m.fma(value, small, value), value)
    return signed_power(m, x, y, corrected)


def compose64(graph: Graph) -> Graph:
    """Return an equal graph for double precision in what Triton has."""
    return _rewrite(graph, RULES)


RULES: dict[str, Callable[..., int]] = {
    "expm1": _expm1,
    "log1p": _log1p,
    "pow": _pow,
    "tanh": _tanh,
    "lower_pow": lambda m, x, y, higher: _pow(m, x, y),
    "sigmoid": lambda m, x: _sigmoid(m, x, m.exp, 700.0),
    "reciprocal": lambda m, x: m.div(1.0, x),
}
