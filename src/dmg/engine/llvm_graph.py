"""Write the nodes of a graph as LLVM instructions on vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dmg.engine.elementary import function_graph, log_parts_graph, power_graph
from dmg.engine.graph import Graph
from dmg.engine.llvm_writer import FLAGS, Regular, Writer

_COMPARE = {"lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge", "eq": "oeq", "ne": "une"}
_BINARY = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv"}
_INTRINSIC = {
    "abs": "fabs", "sqrt": "sqrt", "floor": "floor", "min": "minimum", "max": "maximum", "fma": "fma", "rint": "rint",
    "exp": "exp", "log": "log", "pow": "pow", "sin": "sin", "cos": "cos",
}  # fmt: skip
_LIBM = ("expm1", "log1p", "tanh")
# A quotient by what does not change in time becomes a product: its reciprocal is taken before the loop.
QUOTIENT_FLAGS = "nsz arcp"


def write_graph(w: Writer, graph: Graph, inputs: Mapping[str, str]) -> dict[str, str]:
    """Write a graph and return the names of its outputs."""
    values: list[str] = []
    for node in graph.nodes:
        args = [values[a] for a in node.args]
        if node.op == "input":
            values.append(inputs[node.name])
        elif node.op == "constant":
            values.append(w.constant(node.value))
        elif node.op in ("pow", "lower_pow") and w.real == "float":
            values.append(write_power(w, *args))
        elif node.op == "log" and w.real == "float":
            values.append(write_log(w, *args))
        else:
            values.append(_instruction(w, node.op, args))
    return {name: values[node] for name, node in graph.outputs.items()}


def write_power(w: Writer, x: str, y: str, one_higher: str | None = None) -> str:
    """Write a power: short for positive finite bases, with a rare detour for every other number.

    ``one_higher`` is the power to y + 1, if it is there: then a quotient is enough.
    """
    high, low, regular = _logarithm(w, x)
    if one_higher is None:
        value = write_graph(w, POWER, {"high": high, "low": low, "y": y})["power"]
    else:
        value = w.emit(f"fmul {FLAGS} {w.vector} {one_higher}, {_reciprocal(w, x)}")
    return _detour(w, "pow", value, regular, x, y)


def write_log(w: Writer, x: str) -> str:
    """Write a logarithm, with a rare detour for what is not positive and finite."""
    high, low, regular = _logarithm(w, x)
    return _detour(w, "log", w.emit(f"fadd {FLAGS} {w.vector} {high}, {low}"), regular, x)


def _logarithm(w: Writer, x: str) -> tuple[str, str, Regular]:
    """Return the logarithm in two parts, and which entries of x have one and a normal reciprocal."""
    if x not in w.logarithms:
        mask = f"<{w.lanes} x i1>"
        above = w.emit(f"fcmp oge {w.vector} {x}, {w.constant(2.0**-126)}")
        below = w.emit(f"fcmp olt {w.vector} {x}, {w.constant(2.0**125)}")
        both = w.emit(f"and {mask} {above}, {below}")
        regular = Regular(both, w.call(f"llvm.vector.reduce.and.v{w.lanes}i1", "i1", (mask, both)))
        parts = write_graph(w, LOG_PARTS, {"x": x})
        w.logarithms[x] = parts["high"], parts["low"], regular
    return w.logarithms[x]


def _detour(w: Writer, op: str, value: str, regular: Regular, *operands: str) -> str:
    """Return the value where the operands are regular, else what a function gives that is right for every number.

    An entry keeps the short form's value whatever its neighbours are: the two may differ in the last bit.
    """
    w.functions.add(op)
    w.count += 1
    n = w.count
    w.do(f"br label %straight{n}")
    w.do(f"straight{n}:")
    w.do(f"br i1 {regular.all}, label %after{n}, label %around{n}, !prof !0")
    w.do(f"around{n}:")
    given = ", ".join(f"{w.vector} {o}" for o in operands)
    full = w.emit(f"call {w.vector} @dmg_{op}({given})")
    full = w.emit(f"select <{w.lanes} x i1> {regular.lanes}, {w.vector} {value}, {w.vector} {full}")
    w.do(f"br label %after{n}")
    w.do(f"after{n}:")
    return w.emit(f"phi {w.vector} [ {value}, %straight{n} ], [ {full}, %around{n} ]")


def write_function(w: Writer, op: str) -> str:
    """Return the text of an elementary function that is right for every number; it is rarely called."""
    graph = FUNCTIONS[op]
    inner = Writer(w.real, w.lanes, w.avx512)
    names = {name: f"%{name}" for name in graph.inputs}
    result = write_graph(inner, graph, names)["value"]
    w.declarations |= inner.declarations
    arguments = ", ".join(f"{w.vector} %{name}" for name in sorted(graph.inputs))
    body = "\n".join(inner.lines)
    return f"define internal {w.vector} @dmg_{op}({arguments}) #1 {{\n{body}\n  ret {w.vector} {result}\n}}\n"


LOG_PARTS, POWER = log_parts_graph(), power_graph()
FUNCTIONS = {op: function_graph(op) for op in ("pow", "log")}


def _instruction(w: Writer, op: str, args: list[str]) -> str:
    vector, mask = w.vector, f"<{w.lanes} x i1>"
    if op in _BINARY:
        flags = QUOTIENT_FLAGS if op == "div" else FLAGS
        return w.emit(f"{_BINARY[op]} {flags} {vector} {args[0]}, {args[1]}")
    if op in _COMPARE:
        return w.emit(f"fcmp {_COMPARE[op]} {vector} {args[0]}, {args[1]}")
    if op in ("and", "or"):
        return w.emit(f"{op} {mask} {args[0]}, {args[1]}")
    if op == "not":
        return w.emit(f"xor {mask} {args[0]}, {w.constant(True)}")
    if op == "neg":
        return w.emit(f"fneg {FLAGS} {vector} {args[0]}")
    if op == "where":
        return w.emit(f"select {mask} {args[0]}, {vector} {args[1]}, {vector} {args[2]}")
    if op in _INTRINSIC:
        name = f"llvm.{_INTRINSIC[op]}.{w.suffix}"
        w.declarations.add(f"declare {vector} @{name}({', '.join([vector] * len(args))})")
        return w.emit(f"call {FLAGS} {vector} @{name}({', '.join(f'{vector} {a}' for a in args)})")
    if op in _LIBM:
        return _lane_by_lane(w, op, args[0])
    return {"mantissa": _mantissa, "exponent": _exponent, "ldexp": _ldexp, "reciprocal": _reciprocal}[op](w, *args)


def _lane_by_lane(w: Writer, name: str, x: str) -> str:
    """Call a function of the mathematical library on every entry; for double precision, where speed matters less."""
    result = "poison"
    for lane in range(w.lanes):
        entry = w.emit(f"extractelement {w.vector} {x}, i32 {lane}")
        value = w.call(name, w.real, (w.real, entry))
        result = w.emit(f"insertelement {w.vector} {result}, {w.real} {value}, i32 {lane}")
    return result


def _bits(w: Writer, x: str) -> str:
    return w.emit(f"bitcast {w.vector} {x} to <{w.lanes} x i32>")


def _integer(w: Writer, value: int) -> str:
    return f"<{', '.join([f'i32 {value}'] * w.lanes)}>"


def _split(w: Writer, x: str) -> tuple[str, str]:
    """Return mantissa in [0.75, 1.5) and exponent of non-negative numbers by their bits; NaN gives NaN."""
    integers, vector = f"<{w.lanes} x i32>", w.vector
    tiny = w.emit(f"fcmp olt {vector} {x}, {w.constant(2.0**-126)}")
    raised = w.emit(f"fmul {vector} {x}, {w.constant(2.0**24)}")
    normal = w.emit(f"select <{w.lanes} x i1> {tiny}, {vector} {raised}, {vector} {x}")
    bits = _bits(w, normal)
    field_ = w.emit(f"lshr {integers} {bits}, {_integer(w, 23)}")
    fraction = w.emit(f"and {integers} {bits}, {_integer(w, 0x7FFFFF)}")
    upper = w.emit(f"icmp uge {integers} {fraction}, {_integer(w, 0x400000)}")
    bias = w.emit(f"select <{w.lanes} x i1> {upper}, {integers} {_integer(w, 126)}, {integers} {_integer(w, 127)}")
    power = w.emit(f"sub {integers} {field_}, {bias}")
    shift = w.emit(f"select <{w.lanes} x i1> {tiny}, {integers} {_integer(w, 24)}, {integers} {_integer(w, 0)}")
    power = w.emit(f"sub {integers} {power}, {shift}")
    head = w.emit(f"shl {integers} {bias}, {_integer(w, 23)}")
    mantissa_bits = w.emit(f"or {integers} {fraction}, {head}")
    mantissa = w.emit(f"bitcast {integers} {mantissa_bits} to {vector}")
    exponent = w.emit(f"sitofp {integers} {power} to {vector}")
    return mantissa, exponent


def _special(w: Writer, x: str, value: str, at_zero: float, at_infinity: float) -> str:
    """Return the value, but for 0, infinity and NaN."""
    vector, mask = w.vector, f"<{w.lanes} x i1>"
    for test, other in (
        (f"fcmp oeq {vector} {x}, {w.constant(0.0)}", w.constant(at_zero)),
        (f"fcmp oeq {vector} {x}, {w.constant(float('inf'))}", w.constant(at_infinity)),
        (f"fcmp uno {vector} {x}, {x}", x),
    ):
        hit = w.emit(test)
        value = w.emit(f"select {mask} {hit}, {vector} {other}, {vector} {value}")
    return value


def _by_sixteen(w: Writer, name: str, operands: Sequence[str], *rest: tuple[str, str]) -> str:
    """Call an AVX-512 instruction, sixteen lanes at a time."""
    part, parts = "<16 x float>", []
    for first in range(0, w.lanes, 16):
        lanes = f"<16 x i32> <{', '.join(f'i32 {first + i}' for i in range(16))}>"
        given = []
        for o in operands:
            whole = w.lanes == 16
            given.append(o if whole else w.emit(f"shufflevector {w.vector} {o}, {w.vector} poison, {lanes}"))
        parts.append(w.call(f"llvm.x86.avx512.{name}.ps.512", part, *((part, o) for o in given), *rest))
    return w.join(parts, 16)


# Value of masked-out lanes (there are none), mask, and the rounding mode of the thread.
_ALL = (("<16 x float>", "zeroinitializer"), ("i16", "-1"))
_ROUNDING = ("i32", "4")


def _reciprocal(w: Writer, x: str) -> str:
    """Return 1 / x of numbers whose reciprocal is normal, to one unit in the last place."""
    if not w.avx512:
        return w.emit(f"fdiv {FLAGS} {w.vector} {w.constant(1.0)}, {x}")
    rough = _by_sixteen(w, "rcp14", [x], *_ALL)
    fma = f"llvm.fma.{w.suffix}"
    less = w.emit(f"fneg {w.vector} {x}")
    error = w.call(fma, w.vector, (w.vector, less), (w.vector, rough), (w.vector, w.constant(1.0)))
    return w.call(fma, w.vector, (w.vector, rough), (w.vector, error), (w.vector, rough))


def _mantissa(w: Writer, x: str) -> str:
    if w.avx512:
        return _by_sixteen(w, "mask.getmant", [x], ("i32", "3"), *_ALL, _ROUNDING)
    return _special(w, x, _split(w, x)[0], 1.0, 1.0)


def _exponent(w: Writer, x: str) -> str:
    if not w.avx512:
        return _special(w, x, _split(w, x)[1], float("-inf"), float("inf"))
    power = _by_sixteen(w, "mask.getexp", [x], *_ALL, _ROUNDING)
    # The exponent belongs to a mantissa in [1, 2); ours is in [0.75, 1.5).
    halved = w.emit(f"fcmp olt {w.vector} {_mantissa(w, x)}, {w.constant(1.0)}")
    one = w.emit(f"select <{w.lanes} x i1> {halved}, {w.vector} {w.constant(1.0)}, {w.vector} {w.constant(0.0)}")
    return w.emit(f"fadd {w.vector} {power}, {one}")


def _ldexp(w: Writer, x: str, n: str) -> str:
    if w.avx512:
        return _by_sixteen(w, "mask.scalef", [x, n], *_ALL, _ROUNDING)
    integers = f"<{w.lanes} x i32>"
    name = f"llvm.fptosi.sat.v{w.lanes}i32.{w.suffix}"
    whole = w.call(name, integers, (w.vector, n))
    half = w.emit(f"ashr {integers} {whole}, {_integer(w, 1)}")
    rest = w.emit(f"sub {integers} {whole}, {half}")
    # Two factors, each in range, reach subnormal numbers and infinity.
    for power in (half, rest):
        biased = w.emit(f"add {integers} {power}, {_integer(w, 127)}")
        shifted = w.emit(f"shl {integers} {biased}, {_integer(w, 23)}")
        factor = w.emit(f"bitcast {integers} {shifted} to {w.vector}")
        x = w.emit(f"fmul {w.vector} {x}, {factor}")
    return x
