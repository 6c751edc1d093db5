"""Cases of the Triton backend, against the eager engine: in Triton's interpreter, or on a GPU.

TRITON_INTERPRET=1 python tests/gpu_cases.py    # one JSON line per case: largest relative errors
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from implicit_models import Layers, Partly, Steep
from step_models import Cascade, EveryOp, NetworkInside, Sloping, Stateless, UnitHydrograph
from torch import Tensor, nn

from dmg.engine import Flux, Forcing, ProcessModel, RawParameters, fused, simulate
from dmg.engine.backend import backend_for
from hydrodl2.models.hbv.hbv import Hbv
from hydrodl2.models.hbv.hbv_adj import HbvAdj


@dataclass(frozen=True)
class Case:
    """One comparison.

    Parameters
    ----------
    model
        Class, or another callable, that makes the model from its options.
    nmul, sites, steps, dynamic
        Size, and names of the dynamic parameters.
    dtype
        Precision.
    kept_bytes
        Memory for kept states; little of it makes the way back compute states again.
    options
        Further arguments of `simulate`.
    weighted
        Fluxes with component weights.
    """

    model: Callable[..., ProcessModel]
    nmul: int = 1
    sites: int = 3
    steps: int = 6
    dynamic: tuple[str, ...] = ()
    dtype: torch.dtype = torch.float64
    kept_bytes: int = 2**20
    options: dict[str, Any] = field(default_factory=dict)
    weighted: tuple[str, ...] = ()


def _heun(options: dict[str, Any]) -> ProcessModel:
    return Layers({**options, "solver": "heun", "substeps": 2})


def _learned(options: dict[str, Any]) -> ProcessModel:
    """HBV with networks on two of its fluxes, all weights at work, and a global parameter."""
    network = {"inputs": ["SM/parFC", "prcp"], "hidden": [3, 2], "activation": "silu"}
    inside = {"recharge": network | {"role": "replace"}, "AET_hydro": network}
    model = Hbv({**options, "networks": inside, "global_params": {"Hbv": ["parCWH"]}})
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.rand(weight.shape, generator=generator) - 0.5)
    return model


def _cases() -> Iterator[tuple[str, Case]]:
    hbv = partial(Case, Hbv, dynamic=("parBETA", "parBETAET"), options={"fluxes": ["streamflow", "AET_hydro"]})
    for dtype in (torch.float32, torch.float64):
        kind = str(dtype).removeprefix("torch.")
        for nmul, sites in ((1, 3), (3, 5), (4, 9), (16, 3)):
            yield f"hbv-{nmul}x{sites}-{kind}", hbv(nmul=nmul, sites=sites, dtype=dtype)
        yield f"hbv-again-{kind}", hbv(nmul=4, steps=7, dtype=dtype, kept_bytes=3 * 7 * 4 * 40)
        yield f"ops-{kind}", Case(EveryOp, 3, 11, 5, ("k",), dtype)
        yield f"wide-{kind}", Case(EveryOp, 40, 2, 4, ("m",), dtype, kept_bytes=2000)
        yield f"weights-{kind}", Case(Cascade, 4, 3, 5, ("k1",), dtype, weighted=("streamflow",))
        yield f"components-{kind}", Case(Cascade, 3, 3, 5, ("shape",), dtype, options={"components": True})
        yield f"vectors-{kind}", Case(UnitHydrograph, 4, 5, 8, ("lag",), dtype)
        yield f"vectors-again-{kind}", Case(UnitHydrograph, 3, 3, 9, ("k",), dtype, kept_bytes=1000)
        yield f"network-{kind}", Case(NetworkInside, 2, 5, 6, ("k",), dtype)
        yield f"flux-networks-{kind}", Case(_learned, 2, 5, 4, (), dtype, options={"fluxes": ["streamflow"]})
        yield f"implicit-{kind}", Case(HbvAdj, 3, 5, 6, ("parFC",), dtype)
        yield f"implicit-again-{kind}", Case(HbvAdj, 4, 3, 7, (), dtype, kept_bytes=1000)
        yield f"algebraic-{kind}", Case(Steep, 3, 5, 4, ("k",), dtype)
        yield f"algebraic-again-{kind}", Case(Partly, 3, 4, 7, (), dtype, kept_bytes=500)
        yield f"explicit-{kind}", Case(_heun, 2, 5, 4, ("k",), dtype)
        yield f"attributes-{kind}", Case(Sloping, 3, 5, 6, ("k",), dtype)
        yield f"attributes-again-{kind}", Case(Sloping, 4, 3, 9, (), dtype, kept_bytes=1000)
        yield f"stateless-{kind}", Case(Stateless, 2, 5, 4, ("rate",), dtype)


CASES = dict(_cases())


@dataclass
class Inputs:
    """What a run starts from; every tensor wants its gradient."""

    model: ProcessModel
    forcing: Tensor
    dynamic: Tensor
    static: Tensor
    stores: dict[str, Tensor]
    weights: dict[str, Tensor]
    attributes: dict[str, Tensor]

    def leaves(self) -> list[Tensor]:
        """Return the tensors whose gradients are compared."""
        own = [self.forcing, self.dynamic, self.static, *self.stores.values(), *self.weights.values()]
        return [*own, *self.attributes.values(), *self.model.parameters()]


def draw(case: Case, device: str = "cpu") -> Inputs:
    """Draw the inputs of a case from the ranges that its model declares."""
    generator = torch.Generator().manual_seed(1)

    def leaf(value: Tensor) -> Tensor:
        return value.to(device, case.dtype).requires_grad_()

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    model = case.model({"nmul": case.nmul, "dynamic_params": {case.model.__name__: list(case.dynamic)}})
    model = model.to(device, case.dtype)
    low, high = (torch.tensor([getattr(f, side) for f in model.forcings]) for side in ("low", "high"))
    cold = model.cold_stores(case.sites, dtype=torch.float64, device=torch.device("cpu"))
    return Inputs(
        model,
        leaf(low + uniform(case.steps, case.sites, len(model.forcings)) * (high - low)),
        leaf(4 * uniform(case.steps, case.sites, len(model.layout.dynamic_channels)) - 2),
        leaf(4 * uniform(case.sites, len(model.layout.static_channels)) - 2),
        {name: leaf(value + 5 * uniform(*value.shape)) for name, value in cold.items()},
        {name: leaf(uniform(case.sites, case.nmul)) for name in case.weighted},
        {a.name: leaf(a.low + uniform(case.sites) * (a.high - a.low)) for a in model.attributes},
    )


def run(case: Case, inputs: Inputs, engine: str) -> tuple[list[Tensor], list[Tensor]]:
    """Run forward and back; return fluxes and final states, and the gradients of every leaf."""
    result = simulate(
        inputs.model,
        inputs.forcing,
        RawParameters(inputs.dynamic, inputs.static),
        inputs.stores,
        weights=inputs.weights,
        attributes=inputs.attributes,
        engine=engine,
        **case.options,
    )
    values = [*result.fluxes.values(), *result.stores.values()]
    generator = torch.Generator().manual_seed(2)
    cotangents = [torch.rand(v.shape, generator=generator, dtype=torch.float64).to(v) - 0.3 for v in values]
    leaves = inputs.leaves()
    gradients = torch.autograd.grad(values, leaves, cotangents, allow_unused=True)
    return values, [torch.zeros_like(leaf) if g is None else g for g, leaf in zip(gradients, leaves, strict=True)]


def errors(case: Case, device: str = "cpu") -> dict[str, float]:
    """Return the largest difference from the eager engine, over the largest entry or 0.1, of values and gradients."""
    inputs = draw(case, device)
    found, expected = run(case, inputs, "fused"), run(case, inputs, "eager")
    largest = {}
    for kind, mine, theirs in zip(("values", "gradients"), found, expected, strict=True):
        pairs = [(a.detach(), b.detach()) for a, b in zip(mine, theirs, strict=True) if b.numel()]
        ratios = [float((a - b).abs().max() / b.abs().max().clamp(min=0.1)) for a, b in pairs]
        # A NaN must not hide behind a maximum.
        largest[kind] = max(r if r == r else float("inf") for r in ratios)
    return largest


def use_triton(kept_bytes: int) -> None:
    """Let every device be run by Triton kernels, with this much memory for kept states."""
    backend = replace(backend_for("cuda"), kept_bytes=kept_bytes)
    fused.backend_for = lambda kind: backend


class Functions(ProcessModel):
    """Every elementary function and comparison, as fluxes."""

    forcings = (Forcing("a"), Forcing("b"))
    fluxes = tuple(Flux(n) for n in ("pow", "exp", "expm1", "log", "log1p", "sqrt", "tanh", "sin", "cos", "sigmoid",
                                     "softplus", "floor", "least", "most", "sign", "logic"))  # fmt: skip

    def step(self, s, x, p, dt):
        a, b = x.a, x.b
        one = torch.ones_like(a)
        return {}, {
            "pow": torch.pow(a, b), "exp": torch.exp(a), "expm1": torch.expm1(a), "log": torch.log(a),
            "log1p": torch.log1p(a), "sqrt": torch.sqrt(a), "tanh": torch.tanh(a), "sin": torch.sin(a),
            "cos": torch.cos(a), "sigmoid": torch.sigmoid(a), "softplus": nn.functional.softplus(a),
            "floor": torch.floor(a), "least": torch.minimum(a, b), "most": torch.maximum(a, b), "sign": torch.sign(a),
            "logic": torch.where(((a < b) | ~(b >= 1.0)) & (a != 0.5) & (a <= 9.0) | (a == b), one, -one),
        }  # fmt: skip


def function_errors(dtype: torch.dtype, device: str = "cpu") -> dict[str, float]:
    """Return by function the largest error in units in the last place; infinity for a wrong special case."""
    special = [0.0, 1.0, -1.0, 0.5, 2.0, -2.0, 3.0, float("inf"), -float("inf"), float("nan"), 1e-30, 1e30]
    generator = torch.Generator().manual_seed(0)
    ordinary = torch.cat(
        [
            torch.exp(6 * torch.randn(3000, generator=generator, dtype=torch.float64)).clamp(max=80.0),
            20 * torch.randn(1000, generator=generator, dtype=torch.float64),
        ]
    )
    exponents = 3 * torch.randn(ordinary.shape, generator=generator, dtype=torch.float64)
    grid = torch.cartesian_prod(torch.tensor(special, dtype=torch.float64), torch.tensor(special, dtype=torch.float64))
    forcing = torch.cat([grid, torch.stack([ordinary, exponents], -1)])[None].to(device, dtype)
    model = Functions()
    empty = forcing[..., :0]
    names = [flux.name for flux in model.fluxes]
    found = simulate(model, forcing, RawParameters(empty, empty[0]), fluxes=names, engine="fused").fluxes
    exact = simulate(model, forcing.double(), RawParameters(empty.double(), empty[0].double()), fluxes=names,
                     engine="eager").fluxes  # fmt: skip
    result, info = {}, torch.finfo(dtype)
    nothing = 1e-37 if dtype == torch.float32 else 1e-300
    for name in names:
        mine, true = found[name].double(), exact[name].to(dtype).double()
        # Sines lose their bits to the reduction of large arguments; what is less than `nothing` is zero.
        counts = (
            (forcing[..., 0].abs() <= 1000.0) if name in ("sin", "cos") else torch.ones_like(mine, dtype=torch.bool)
        )
        ordinary = mine.isfinite() & true.isfinite()
        wrong = ~ordinary & ~((mine == true) | (mine.isnan() & true.isnan()))
        units = ((mine - true).abs() - nothing).clamp(min=0.0) / (info.eps * true.abs().clamp(min=info.tiny))
        result[name] = float("inf") if bool((wrong & counts).any()) else float(units[ordinary & counts].max())
    return result


def main() -> None:
    """Run every case in the interpreter and print what it found."""
    torch.set_num_threads(1)
    for name, case in CASES.items():
        use_triton(case.kept_bytes)
        print(json.dumps({"case": name, **errors(case)}), flush=True)
    for dtype in (torch.float32, torch.float64):
        print(json.dumps({"case": f"functions-{str(dtype)[6:]}", **function_errors(dtype)}), flush=True)


if __name__ == "__main__":
    main()
