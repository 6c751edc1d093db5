"""Convolution along time: compiled and PyTorch's, values and gradients of both orders."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmg.engine import convolution
from dmg.engine.convolution import convolve
from dmg.engine.router import extend, latest

SIZES = st.tuples(st.integers(1, 90), st.integers(1, 35), st.integers(1, 20))


def drawn(*shape, dtype=torch.float64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64).to(dtype)


def by_hand(series, kernel):
    length = kernel.shape[0]
    steps = series.shape[0] - length + 1
    return sum(kernel[lag] * series[length - 1 - lag :][:steps] for lag in range(length))


def values_and_gradients(function, series, kernel, cotangent):
    leaves = [series.clone().requires_grad_(), kernel.clone().requires_grad_()]
    routed = function(*leaves)
    return routed.detach(), *torch.autograd.grad(routed, leaves, cotangent)


@settings(max_examples=40, deadline=None)
@given(SIZES, st.booleans(), st.sampled_from([torch.float32, torch.float64]))
def test_values_and_gradients(sizes, compiled, dtype):
    steps, sites, length = sizes
    series, kernel = drawn(steps + length - 1, sites), drawn(length, sites)
    cotangent = drawn(steps, sites)
    expected = values_and_gradients(by_hand, series, kernel, cotangent)
    with pytest.MonkeyPatch.context() as patch:
        if not compiled:
            patch.setattr(convolution, "_compiled", lambda *tensors: False)
        found = values_and_gradients(convolve, *(v.to(dtype) for v in (series, kernel, cotangent)))
    # Rounding of sums of up to 90 products of numbers of order one.
    tolerance = 1e-4 if dtype == torch.float32 else 1e-12
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other, rtol=0.0, atol=tolerance)


@pytest.mark.parametrize("compiled", [True, False])
def test_derivatives_of_both_orders(compiled, monkeypatch):
    if not compiled:
        monkeypatch.setattr(convolution, "_compiled", lambda *tensors: False)
    leaves = drawn(12, 9).requires_grad_(), drawn(4, 9).requires_grad_()
    assert torch.autograd.gradcheck(convolve, leaves)
    assert torch.autograd.gradgradcheck(convolve, leaves)


def test_a_site_does_not_depend_on_the_others():
    series, kernel, cotangent = (drawn(n, 37, dtype=torch.float32) for n in (50, 15, 36))
    together = values_and_gradients(convolve, series, kernel, cotangent)
    for sites in (slice(0, 5), slice(3, 19), slice(36, 37)):
        alone = values_and_gradients(convolve, series[:, sites], kernel[:, sites], cotangent[:, sites])
        for whole, part in zip(together, alone, strict=True):
            assert torch.equal(whole[:, sites], part)


@pytest.mark.parametrize("known", [0, 2, 14, 20])
@pytest.mark.parametrize("steps", [1, 14, 30])
def test_latest_rows_are_those_of_the_extended_series(steps, known):
    series, history = drawn(steps, 3), drawn(known, 3) if known else None
    assert torch.equal(latest(series, history, 14), extend(series, history, 14)[steps:])
    assert latest(series, history, 14).shape == (14, 3)


def test_one_kernel_for_all_sites():
    series, kernel = drawn(20, 3), drawn(4, 1)
    cotangent = drawn(17, 3)
    found = values_and_gradients(convolve, series, kernel, cotangent)
    for one, other in zip(found, values_and_gradients(by_hand, series, kernel, cotangent), strict=True):
        torch.testing.assert_close(one, other)
    with pytest.raises(RuntimeError):
        convolve(series, drawn(4, 2))


def test_half_precision_is_left_to_pytorch():
    series, kernel = drawn(20, 3, dtype=torch.bfloat16), drawn(4, 3, dtype=torch.bfloat16)
    assert convolve(series, kernel).dtype == torch.bfloat16
