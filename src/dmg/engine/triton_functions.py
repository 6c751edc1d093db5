"""Numbers taken apart and put together by their bits, for Triton kernels.

Every function takes and gives tensors of one precision, and means what the operation of the same name in `graph` means.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def mantissa32(x):
    """Return the mantissa in [0.75, 1.5) of a number; 1 for 0 and infinity, NaN for NaN and what is negative."""
    bits = tl.where(x < 1.1754943508222875e-38, x * 16777216.0, x).to(tl.int32, bitcast=True)
    fraction = bits & 0x7FFFFF
    bias = 127 - (fraction >= 0x400000).to(tl.int32)
    value = (fraction | (bias << 23)).to(tl.float32, bitcast=True)
    return tl.where(x >= 0.0, value, float("nan"))


@triton.jit
def exponent32(x):
    """Return the exponent that belongs to `mantissa32`; minus infinity for 0, infinity and NaN for themselves."""
    tiny = x < 1.1754943508222875e-38
    bits = tl.where(tiny, x * 16777216.0, x).to(tl.int32, bitcast=True)
    bias = 127 - ((bits & 0x7FFFFF) >= 0x400000).to(tl.int32)
    power = (bits >> 23) - bias - 24 * tiny.to(tl.int32)
    value = tl.where(x < float("inf"), power.to(tl.float32), x)
    return tl.where(x == 0.0, float("-inf"), value)


@triton.jit
def ldexp32(x, n):
    """Return x times 2 to the whole number n; two factors, each in range, reach subnormal numbers and infinity."""
    # The sum has n in its lowest bits; unlike a conversion it is defined for NaN.
    whole = (n + 12582912.0).to(tl.int32, bitcast=True) - 0x4B400000
    half = whole >> 1
    first = ((half + 127) << 23).to(tl.float32, bitcast=True)
    second = ((whole - half + 127) << 23).to(tl.float32, bitcast=True)
    return x * first * second


@triton.jit
def rint32(x):
    """Return the nearest whole number, of two the even one; for magnitudes below 2**22."""
    return (x + 12582912.0) - 12582912.0


@triton.jit
def mantissa64(x):
    """Return the mantissa in [0.75, 1.5) of a number; 1 for 0 and infinity, NaN for NaN and what is negative."""
    bits = tl.where(x < 2.2250738585072014e-308, x * 18014398509481984.0, x).to(tl.int64, bitcast=True)
    fraction = bits & 0xFFFFFFFFFFFFF
    bias = 1023 - (fraction >= 0x8000000000000).to(tl.int64)
    value = (fraction | (bias << 52)).to(tl.float64, bitcast=True)
    return tl.where(x >= 0.0, value, float("nan"))


@triton.jit
def exponent64(x):
    """Return the exponent that belongs to `mantissa64`; minus infinity for 0, infinity and NaN for themselves."""
    tiny = x < 2.2250738585072014e-308
    bits = tl.where(tiny, x * 18014398509481984.0, x).to(tl.int64, bitcast=True)
    bias = 1023 - ((bits & 0xFFFFFFFFFFFFF) >= 0x8000000000000).to(tl.int64)
    power = (bits >> 52) - bias - 54 * tiny.to(tl.int64)
    value = tl.where(x < float("inf"), power.to(tl.float64), x)
    return tl.where(x == 0.0, float("-inf"), value)


@triton.jit
def ldexp64(x, n):
    """Return x times 2 to the whole number n; two factors, each in range, reach subnormal numbers and infinity."""
    whole = (n + 6755399441055744.0).to(tl.int64, bitcast=True) - 0x4338000000000000
    half = whole >> 1
    first = ((half + 1023) << 52).to(tl.float64, bitcast=True)
    second = ((whole - half + 1023) << 52).to(tl.float64, bitcast=True)
    return x * first * second


@triton.jit
def rint64(x):
    """Return the nearest whole number, of two the even one; for magnitudes below 2**51."""
    return (x + 6755399441055744.0) - 6755399441055744.0
