"""A causal convolution along time and the gradient of its kernel, for the processor at hand.

A vector holds neighbouring sites; one that would reach beyond the last site is moved back, so that some sites are done
twice, with equal results. Products are added in a fixed order with fused multiply-add, whatever the vector.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from dmg.engine.cache import sources
from dmg.engine.cpu import REALS, load_object, target
from dmg.engine.kernel import fingerprint
from dmg.engine.llvm_loop import write_loop
from dmg.engine.llvm_writer import Writer

ARGUMENTS = ("i64 steps", "i64 sites", "i64 length", "ptr series", "ptr other", "ptr out")
# Terms that are added to each other before their sum is added to the total: chains that a processor runs side by side.
CHUNK = 64


def convolve(series: Tensor, kernel: Tensor) -> Tensor:
    """Return the sum over lags of ``kernel[lag] * series[t + L - 1 - lag]``, [T, B].

    Parameters
    ----------
    series
        [T + L - 1, B], contiguous, float32 or float64, on a CPU.
    kernel
        [L, B], likewise.
    """
    length = kernel.shape[0]
    out = series.new_empty(series.shape[0] - length + 1, series.shape[1])
    _run("convolve", length, series, kernel, out)
    return out


def correlate(series: Tensor, weights: Tensor) -> Tensor:
    """Return the sum over time of ``weights[t] * series[t + L - 1 - lag]``, [L, B].

    Parameters
    ----------
    series
        [T + L - 1, B], contiguous, float32 or float64, on a CPU.
    weights
        [T, B], likewise.
    """
    length = series.shape[0] - weights.shape[0] + 1
    out = series.new_empty(length, series.shape[1])
    _run("correlate", length, series, weights, out)
    return out


def _run(name: str, length: int, series: Tensor, other: Tensor, out: Tensor) -> None:
    sites = series.shape[1]
    lanes = 64 // series.element_size()
    call = _function(name, series.dtype, lanes if sites >= lanes else 1)
    call(series.shape[0] - length + 1, sites, length, series.data_ptr(), other.data_ptr(), out.data_ptr())


@cache
def _function(name: str, dtype: torch.dtype, lanes: int) -> Any:
    """Return a compiled function for vectors of some sites."""

    def text() -> str:
        return _module(Writer(REALS[dtype], lanes, avx512=False))

    engine = load_object(fingerprint(sources(), "convolution", str(dtype), lanes, *target()), text)
    kinds = [ctypes.c_int64 if a.startswith("i64") else ctypes.c_void_p for a in ARGUMENTS]
    function = ctypes.CFUNCTYPE(None, *kinds)(engine.get_function_address(name))
    function.engine = engine
    return function


def _module(w: Writer) -> str:
    bodies = {"convolve": _convolve, "correlate": _correlate}
    return w.module(
        [w.function(name, ARGUMENTS, lambda body=body: _over_sites(w, body)) for name, body in bodies.items()]
    )


def _over_sites(w: Writer, body: Callable[[Writer, str], None]) -> None:
    """Write a loop over vectors of sites."""
    more = w.integer(f"add %sites, {w.lanes - 1}")
    latest = w.integer(f"sub %sites, {w.lanes}")

    def block(index: str) -> list[str]:
        body(w, w.smaller(w.integer(f"mul {index}, {w.lanes}"), latest))
        return []

    write_loop(w, "0", w.integer(f"udiv {more}, {w.lanes}"), [], block)


def _convolve(w: Writer, site: str) -> None:
    newest = w.integer("sub %length, 1")

    def step(t: str) -> list[str]:
        last = w.integer(f"add {t}, {newest}")

        def lag(index: str, total: str) -> list[str]:
            kernel = w.load(w.address("%other", f"{index}*%sites", site))
            row = w.integer(f"sub {last}, {index}")
            return [_fma(w, kernel, w.load(w.address("%series", f"{row}*%sites", site)), total)]

        (total,) = write_loop(w, "0", "%length", [(w.vector, w.constant(0.0))], lag)
        w.store(total, w.address("%out", f"{t}*%sites", site))
        return []

    write_loop(w, "0", "%steps", [], step)


def _correlate(w: Writer, site: str) -> None:
    newest = w.integer("sub %length, 1")
    chunks = w.integer(f"udiv {w.integer(f'add %steps, {CHUNK - 1}')}, {CHUNK}")

    def lag(index: str) -> list[str]:
        ahead = w.integer(f"sub {newest}, {index}")

        def step(t: str, total: str) -> list[str]:
            weight = w.load(w.address("%other", f"{t}*%sites", site))
            row = w.integer(f"add {t}, {ahead}")
            return [_fma(w, weight, w.load(w.address("%series", f"{row}*%sites", site)), total)]

        def chunk(number: str, total: str) -> list[str]:
            begin = w.integer(f"mul {number}, {CHUNK}")
            end = w.smaller(w.integer(f"add {begin}, {CHUNK}"), "%steps")
            (part,) = write_loop(w, begin, end, [(w.vector, w.constant(0.0))], step)
            return [w.emit(f"fadd {w.vector} {total}, {part}")]

        (total,) = write_loop(w, "0", chunks, [(w.vector, w.constant(0.0))], chunk)
        w.store(total, w.address("%out", f"{index}*%sites", site))
        return []

    write_loop(w, "0", "%length", [], lag)


def _fma(w: Writer, a: str, b: str, c: str) -> str:
    return w.call(f"llvm.fma.{w.suffix}", w.vector, (w.vector, a), (w.vector, b), (w.vector, c))
