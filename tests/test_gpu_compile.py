"""Triton's compiler accepts the GPU kernels and makes machine code of them; it needs no GPU for that."""

import inspect
from importlib.util import find_spec

import pytest
import torch
from step_models import EveryOp, NetworkInside

from dmg.engine.kernel import build_kernel
from dmg.engine.wanted import Wanted
from hydrodl2.models.hbv import Hbv, HbvAdj

pytestmark = [
    pytest.mark.skipif(find_spec("triton") is None, reason="needs triton: pip install -e '.[gpu-test]'"),
    pytest.mark.slow,
]
EVERYTHING = Wanted(forcing=True, weights=True, uniforms=True)


def compiled(function, recompute=False):
    """Compile a function for a graphics card of compute capability 8.0; return assembly and statistics."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from dmg.engine.gpu import OPTIONS, load_kernel
    from dmg.engine.triton_kernel import SIZES

    kernel = load_kernel(function.source(recompute))
    pointer = "*fp32" if function.dtype == torch.float32 else "*fp64"
    names = inspect.signature(kernel.fn).parameters
    signature = {name: "i32" if name in SIZES else pointer for name in names}
    return triton.compile(ASTSource(kernel, signature, {}, {}), target=GPUTarget("cuda", 80, 32), options=OPTIONS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("model", "nmul"), [(EveryOp, 40), (NetworkInside, 3), (Hbv, 1), (Hbv, 16), (HbvAdj, 3)])
def test_kernels_compile(model, nmul, dtype, tmp_path, monkeypatch):
    from dmg.engine.geometry import Geometry
    from dmg.engine.gpu import LANES, GpuFunction

    monkeypatch.setenv("DMG_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    made = model({"nmul": nmul, "dynamic_params": {model.__name__: [model.parameter_table[0].name]}}).to(dtype)
    fluxes = tuple(f.name for f in made.fluxes if not f.diagnostic)
    kernel = build_kernel(made, made.layout, fluxes, fluxes[:1], dtype=dtype)
    geometry = Geometry(1, nmul, LANES[dtype])
    single = dtype == torch.float32
    for wanted, recompute in ((None, False), (EVERYTHING, False), (EVERYTHING, True)):
        keep = wanted is None
        result = compiled(GpuFunction(kernel, geometry, dtype, wanted, keep), recompute)
        assert result.asm["cubin"]
        # Single precision stays single, and division is exact.
        assert not (single and ".f64" in result.asm["ptx"])
        assert "div.full" not in result.asm["ptx"]
