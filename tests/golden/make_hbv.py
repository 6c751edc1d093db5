"""Write hbv.npz, the project's own golden vector: run it only when the model is meant to change."""

import json
from pathlib import Path

import numpy as np
import torch

from hydrodl2.models.hbv.hbv import Hbv

config = {"nmul": 3, "warmup": 12, "dynamic_params": {"Hbv": ["parBETA", "parBETAET"]}}
generator = torch.Generator().manual_seed(7)
steps, sites = 48, 3
season = torch.sin(torch.arange(steps) / 6.0)[:, None]
prcp = torch.relu(torch.randn(steps, sites, generator=generator, dtype=torch.float64)) * 8
tmean = 4 + 9 * season + torch.randn(steps, sites, generator=generator, dtype=torch.float64)
pet = torch.relu(2.5 + 2 * season).expand(steps, sites)
forcing = torch.stack([prcp, tmean, pet], dim=-1)
model = Hbv(config)
raw = torch.randn(steps, sites, model.learnable_param_count, generator=generator, dtype=torch.float64).requires_grad_()
out = model({"x_phy": forcing}, raw)
out["streamflow"].sum().backward()
np.savez_compressed(
    Path(__file__).parent / "hbv.npz",
    meta=json.dumps({"config": config}),
    **{"in/x_phy": forcing, "in/raw": raw.detach(), "grad/raw": raw.grad},
    **{f"out/{name}": out[name].detach() for name in ("streamflow", "AET_hydro", "SWE", "gwflow", "BFI")},
)
