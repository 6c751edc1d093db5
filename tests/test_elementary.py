"""Elementary functions through compiled kernels: to two units in the last place, and right for every special number."""

import math

import numpy as np
import pytest
import torch

from dmg.engine import Flux, Forcing, ProcessModel, RawParameters, cpu, simulate

UNARY = {
    "exp": (torch.exp, [(-87.0, 88.7), (-1e-3, 1e-3)]),
    "expm1": (torch.expm1, [(-87.0, 88.0), (-1e-3, 1e-3), (-0.7, 0.7)]),
    "log": (torch.log, [(1e-30, 1e30), (0.5, 2.0), (0.999, 1.001)]),
    "log1p": (torch.log1p, [(-0.99, 1e4), (-0.5, 0.5), (-1e-4, 1e-4)]),
    "tanh": (torch.tanh, [(-10.0, 10.0), (-1e-3, 1e-3)]),
    "sigmoid": (torch.sigmoid, [(-80.0, 80.0), (-1.0, 1.0)]),
    "sin": (torch.sin, [(-30.0, 30.0), (-1.0, 1.0)]),
    "cos": (torch.cos, [(-30.0, 30.0), (-1.0, 1.0)]),
    "sqrt": (torch.sqrt, [(1e-30, 1e30)]),
    "softplus": (torch.nn.functional.softplus, [(-30.0, 30.0)]),
}
EXACT = {
    "relu": torch.relu,
    "abs": torch.abs,
    "sign": torch.sign,
    "floor": torch.floor,
    "clamp": lambda x: torch.clamp(x, -0.5, 1.5),
    "isnan": lambda x: torch.where(torch.isnan(x), 1.0, x),
}
SPECIAL = [
    0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 2.5, -2.5, 1e-40, -1e-40,
    1.4e-45, 1.18e-38, 3.4e38, -3.4e38, 100.0, -100.0, 104.5, -104.5, 89.0, -89.0, 88.8, 1e-8, -1e-8, 8388609.0,
    -8388609.0, 0.1, -0.1,
]  # fmt: skip


class Functions(ProcessModel):
    """Every function of two numbers, without state."""

    forcings = (Forcing("a"), Forcing("b"))
    fluxes = (*(Flux(name) for name in (*UNARY, *EXACT)), Flux("pow"), Flux("minimum"), Flux("maximum"))

    def step(self, s, x, p, dt):
        """One step."""
        found = {name: function(x.a) for name, (function, _) in UNARY.items()}
        found |= {name: function(x.a) for name, function in EXACT.items()}
        found |= {"pow": x.a**x.b, "minimum": torch.minimum(x.a, x.b), "maximum": torch.maximum(x.a, x.b)}
        return {}, found


@pytest.fixture(scope="module", params=["as it is", "without AVX-512"])
def model(request):
    """A model compiled for this machine, and for one with less."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "without AVX-512":
            features = frozenset(f for f in cpu._host_features() if "avx512" not in f)
            patch.setattr(cpu, "_host_features", lambda: features)
        yield Functions()


def evaluate(model, name, a, b=None, dtype=torch.float32):
    """Return a function of arrays as a kernel computes it."""
    a, b = (torch.as_tensor(v, dtype=dtype).reshape(-1) for v in (a, a if b is None else b))
    forcing = torch.stack([a, b], -1).reshape(len(a), 1, 2)
    raw = RawParameters(forcing.new_empty(len(a), 1, 0), forcing.new_empty(1, 0))
    return simulate(model, forcing, raw, {}, fluxes=[name], engine="fused").fluxes[name][:, 0]


def ulps(got, exact):
    """Return the errors in units in the last place of single precision, above its smallest normal number."""
    exact = exact.numpy()
    with np.errstate(over="ignore"):
        exact32 = np.maximum(np.abs(exact), 2.0**-126).astype(np.float32)
    spacing = np.spacing(exact32).astype(np.float64)
    return np.abs(got.double().numpy() - exact) / spacing


def sample(low, high, count=4001):
    """Return numbers of a range, logarithmically where it is wide and positive."""
    generator = np.random.default_rng(0)
    if low > 0 and high / low > 1e3:
        return np.exp(generator.uniform(np.log(low), np.log(high), count)).astype(np.float32)
    return generator.uniform(low, high, count).astype(np.float32)


@pytest.mark.parametrize("name", UNARY)
def test_functions_are_good_to_two_units(model, name):
    function, ranges = UNARY[name]
    for low, high in ranges:
        x = torch.tensor(sample(low, high))
        worst = ulps(evaluate(model, name, x), function(x.double()))
        assert worst.max() <= 2.0, f"{worst.max():.2f} at {x[worst.argmax()]}"


@pytest.mark.parametrize(("low", "high"), [(1e-12, 1.0), (0.9, 1.1), (1.0, 1e6), (1e-30, 1e30)])
def test_powers_are_good_to_two_units(model, low, high):
    a = torch.tensor(sample(low, high))
    b = torch.tensor(np.random.default_rng(1).uniform(-6, 6, len(a)).astype(np.float32))
    exact = a.double() ** b.double()
    usual = (exact > 2.0**-126) & (exact < 3e38)
    worst = ulps(evaluate(model, "pow", a, b), exact)[usual.numpy()]
    assert usual.sum() > 1000
    assert worst.max() <= 2.0, f"{worst.max():.2f}"


def test_slopes_of_powers_are_good_where_the_power_is_normal(model):
    """The gradient uses the power itself: where that has lost its digits, the slope is only near."""
    a = torch.tensor(sample(1e-12, 1e6))
    b = torch.tensor(np.random.default_rng(1).uniform(-4, 6, len(a)).astype(np.float32))
    forcing = torch.stack([a, b], -1).reshape(-1, 1, 2).requires_grad_()
    raw = RawParameters(forcing.new_empty(len(a), 1, 0), forcing.new_empty(1, 0))
    power = simulate(model, forcing, raw, {}, fluxes=["pow"], engine="fused").fluxes["pow"]
    (gradient,) = torch.autograd.grad(power.sum(), forcing)
    slopes = b.double() * a.double() ** (b.double() - 1.0), a.double() ** b.double() * a.double().log()
    for got, exact in zip(gradient[:, 0].unbind(-1), slopes, strict=True):
        usual = (power.detach()[:, 0] > 2.0**-126) & (exact.abs() > 2.0**-126) & (exact.abs() < 3e38)
        assert usual.sum() > 1000
        torch.testing.assert_close(got[usual].double(), exact[usual], rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", [*UNARY, *EXACT])
def test_special_numbers(model, name, dtype):
    function = UNARY[name][0] if name in UNARY else EXACT[name]
    x = torch.tensor(SPECIAL, dtype=dtype)
    if name in ("sin", "cos"):
        x = x[~(x.abs() > 1e4) | torch.isinf(x)]
    exact = function(x.double()).to(dtype) if name in UNARY else function(x)
    same_up_to_rounding(evaluate(model, name, x, dtype=dtype), exact, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_special_powers(model, dtype):
    numbers = torch.tensor(SPECIAL, dtype=dtype)
    a, b = (v.reshape(-1) for v in torch.meshgrid(numbers, numbers, indexing="ij"))
    # Not followed: the sign of zero, the least exponents, and that 1 to the power of infinity or NaN is 1.
    usual = ~((a == 0) & torch.signbit(a)) & ((b.abs() > 1e-44) | (b == 0)) & ((a.abs() != 1) | b.isfinite())
    a, b = a[usual], b[usual]
    exact = (a.double() ** b.double()).to(dtype)
    same_up_to_rounding(evaluate(model, "pow", a, b, dtype), exact, torch.stack([a, b], 1))


@pytest.mark.parametrize("name", ["minimum", "maximum"])
def test_extremes_keep_what_is_not_a_number(model, name):
    numbers = torch.tensor(SPECIAL)
    a, b = (v.reshape(-1) for v in torch.meshgrid(numbers, numbers, indexing="ij"))
    torch.testing.assert_close(evaluate(model, name, a, b), getattr(torch, name)(a, b), rtol=0, atol=0, equal_nan=True)


def same_up_to_rounding(got, exact, x):
    """Compare; the sign of zero and numbers that are hardly normal are free."""
    rtol, atol = (3e-7, 1.7e-38) if got.dtype == torch.float32 else (1e-14, 1e-300)
    wrong = ~torch.isclose(got, exact, rtol=rtol, atol=atol, equal_nan=True)
    assert not wrong.any(), "; ".join(f"{x[i].tolist()}: {got[i]} for {exact[i]}" for i in wrong.nonzero()[:8, 0])
