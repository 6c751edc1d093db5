"""From ATen operations to the operations of a `Graph`.

The rules say what PyTorch computes, special cases included: ties, NaN and the bounds of clamps. An operation without a
rule makes the engine fall back to eager execution.
"""

from __future__ import annotations

from collections.abc import Callable

from dmg.engine.graph import BOOL, Graph

Rule = Callable[..., int]
RULES: dict[str, Rule] = {}


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Return a decorator that registers a rule for ATen operations, named without namespace and overload."""

    def decorate(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return decorate


def as_real(g: Graph, a: int) -> int:
    """Return a node as a number: true is 1, false is 0."""
    return g.add("where", a, g.constant(1.0), g.constant(0.0)) if g.kind(a) == BOOL else a


def as_bool(g: Graph, a: int) -> int:
    """Return a node as a truth value: what is not zero is true."""
    return a if g.kind(a) == BOOL else g.add("ne", a, g.constant(0.0))


def _direct(op: str) -> Rule:
    return lambda g, *args: g.add(op, *(as_real(g, a) for a in args))


_SAME = [
    "mul",
    "div",
    "pow",
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
    "neg",
    "abs",
    "sqrt",
    "floor",
    "exp",
    "log",
    "expm1",
    "log1p",
    "sin",
    "cos",
    "sigmoid",
    "tanh",
]
RULES |= {name: _direct(name) for name in _SAME}
RULES |= {"minimum": _direct("min"), "maximum": _direct("max")}


@rule("add")
def _add(g: Graph, a: int, b: int, alpha: float = 1) -> int:
    return g.add("add", as_real(g, a), g.add("mul", as_real(g, b), g.constant(float(alpha))))


@rule("sub")
def _sub(g: Graph, a: int, b: int, alpha: float = 1) -> int:
    return g.add("sub", as_real(g, a), g.add("mul", as_real(g, b), g.constant(float(alpha))))


@rule("rsub")
def _rsub(g: Graph, a: int, b: int, alpha: float = 1) -> int:
    return _sub(g, b, a, alpha)


@rule("addcmul")
def _addcmul(g: Graph, a: int, b: int, c: int, value: float = 1) -> int:
    return g.add("add", a, g.add("mul", g.add("mul", b, c), g.constant(float(value))))


@rule("reciprocal")
def _reciprocal(g: Graph, a: int) -> int:
    return g.add("div", g.constant(1.0), a)


@rule("rsqrt")
def _rsqrt(g: Graph, a: int) -> int:
    return g.add("div", g.constant(1.0), g.add("sqrt", a))


@rule("sign", "sgn")
def _sign(g: Graph, a: int) -> int:
    zero = g.constant(0.0)
    negative = g.add("where", g.add("lt", a, zero), g.constant(-1.0), zero)
    return g.add("where", g.add("gt", a, zero), g.constant(1.0), negative)


@rule("logical_and", "bitwise_and")
def _and(g: Graph, a: int, b: int) -> int:
    return g.add("and", as_bool(g, a), as_bool(g, b))


@rule("logical_or", "bitwise_or")
def _or(g: Graph, a: int, b: int) -> int:
    return g.add("or", as_bool(g, a), as_bool(g, b))


@rule("logical_not", "bitwise_not")
def _not(g: Graph, a: int) -> int:
    return g.add("not", as_bool(g, a))


@rule("isnan")
def _isnan(g: Graph, a: int) -> int:
    return g.add("ne", a, a)


@rule("where")
def _where(g: Graph, c: int, a: int, b: int) -> int:
    return g.add("where", as_bool(g, c), as_real(g, a), as_real(g, b))


@rule("masked_fill")
def _masked_fill(g: Graph, a: int, mask: int, value: int) -> int:
    return _where(g, mask, value, a)


@rule("relu")
def _relu(g: Graph, a: int) -> int:
    return g.add("max", a, g.constant(0.0))


@rule("clamp")
def _clamp(g: Graph, a: int, low: int | None = None, high: int | None = None) -> int:
    a = a if low is None else g.add("max", a, low)
    return a if high is None else g.add("min", a, high)


@rule("clamp_min")
def _clamp_min(g: Graph, a: int, low: int) -> int:
    return _clamp(g, a, low)


@rule("clamp_max")
def _clamp_max(g: Graph, a: int, high: int) -> int:
    return _clamp(g, a, None, high)


@rule("threshold_backward")
def _threshold_backward(g: Graph, grad: int, a: int, threshold: int) -> int:
    return g.add("where", g.add("le", a, threshold), g.constant(0.0), grad)


@rule("sigmoid_backward")
def _sigmoid_backward(g: Graph, grad: int, y: int) -> int:
    return g.add("mul", grad, g.add("mul", y, g.add("sub", g.constant(1.0), y)))


@rule("tanh_backward")
def _tanh_backward(g: Graph, grad: int, y: int) -> int:
    return g.add("mul", grad, g.add("sub", g.constant(1.0), g.add("mul", y, y)))


@rule("softplus")
def _softplus(g: Graph, a: int, beta: int | None = None, threshold: int | None = None) -> int:
    beta = g.constant(1.0) if beta is None else beta
    threshold = g.constant(20.0) if threshold is None else threshold
    scaled = g.add("mul", a, beta)
    soft = g.add("div", g.add("log1p", g.add("exp", scaled)), beta)
    return g.add("where", g.add("gt", scaled, threshold), a, soft)


@rule("softplus_backward")
def _softplus_backward(g: Graph, grad: int, a: int, beta: int, threshold: int) -> int:
    scaled = g.add("mul", a, beta)
    inner = g.add("mul", grad, g.add("sigmoid", scaled))
    return g.add("where", g.add("gt", scaled, threshold), grad, inner)


@rule("silu")
def _silu(g: Graph, a: int) -> int:
    return g.add("mul", a, g.add("sigmoid", a))


@rule("silu_backward")
def _silu_backward(g: Graph, grad: int, a: int) -> int:
    unit, one = g.add("sigmoid", a), g.constant(1.0)
    slope = g.add("add", one, g.add("mul", a, g.add("sub", one, unit)))
    return g.add("mul", grad, g.add("mul", unit, slope))


@rule("zero")
def _zero(g: Graph, a: int) -> int:
    return g.constant(0.0)


@rule("fill", "copy")
def _second(g: Graph, a: int, value: int, *rest: object) -> int:
    return value


@rule("scalar_tensor", "_to_copy", "clone", "detach", "alias", "lift_fresh_copy")
def _first(g: Graph, a: int, *rest: object) -> int:
    return a
