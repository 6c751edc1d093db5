"""Write gr4j.npz and hymod.npz, the project's own golden vectors: run it only when a model is meant to change."""

import json
from pathlib import Path

import numpy as np
import torch

from hydrodl2.models import Gr4j, Hymod

STEPS, SITES = 60, 2
for model_class, dynamic in ((Gr4j, ["X2", "X4"]), (Hymod, ["bexp"])):
    config = {"nmul": 2, "warmup": 10, "dynamic_params": {model_class.__name__: dynamic}}
    generator = torch.Generator().manual_seed(11)
    model = model_class(config)

    def draw(*shape, generator=generator):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    season = torch.sin(torch.arange(STEPS) / 9.0)[:, None]
    forcing = torch.stack([torch.relu(draw(STEPS, SITES)) * 12, (2.0 + 2.0 * season).expand(STEPS, SITES)], dim=-1)
    raw = (draw(STEPS, SITES, model.learnable_param_count) - 1.5).requires_grad_()
    out = model({"x_phy": forcing}, raw)
    out["streamflow"].sum().backward()
    np.savez_compressed(
        Path(__file__).parent / f"{model_class.__name__.lower()}.npz",
        meta=json.dumps({"config": config}),
        **{"in/x_phy": forcing, "in/raw": raw.detach(), "grad/raw": raw.grad},
        **{f"out/{name}": values.detach() for name, values in out.items()},
    )
