"""Write hbv*.npz, the project's own golden vectors: run it only when a model is meant to change."""

import json
from pathlib import Path

import numpy as np
import torch

import hydrodl2

STEPS, SITES = 48, 3
OUTPUTS = ("streamflow", "Qs", "AET_hydro", "SWE", "gwflow", "capillary", "BFI")


def weather(generator: torch.Generator, per_day: float) -> torch.Tensor:
    """Return precipitation, temperature and potential evapotranspiration [T, B, 3]."""
    season = torch.sin(torch.arange(STEPS) / 6.0)[:, None]
    prcp = torch.relu(torch.randn(STEPS, SITES, generator=generator, dtype=torch.float64)) * 8
    tmean = 4 + 9 * season + torch.randn(STEPS, SITES, generator=generator, dtype=torch.float64)
    pet = torch.relu(2.5 + 2 * season).expand(STEPS, SITES)
    return torch.stack([prcp / per_day, tmean, pet / per_day], dim=-1)


def write(name: str, dynamic: list[str], **options: object) -> None:
    """Write inputs, outputs and gradients of one model."""
    model_class = hydrodl2.load_model(name)
    config = {"nmul": 3, "warmup": 12, "dynamic_params": {model_class.__name__: dynamic}, **options}
    model = model_class(config)
    generator = torch.Generator().manual_seed(7)
    hourly = model.dt < 1.0
    inputs = {"x_phy": weather(generator, 4.0 if hourly else 1.0)}

    def drawn(*shape: int) -> torch.Tensor:
        values = torch.randn(shape, generator=generator, dtype=torch.float64)
        return values.requires_grad_() if model.link == "logistic" else torch.sigmoid(values).requires_grad_()

    if model.link == "logistic":
        parameters = {"raw": drawn(STEPS, SITES, model.learnable_param_count)}
    else:
        inputs |= {"ac_all": torch.tensor([150.0, 1800.0, 2600.0]), "elev_all": torch.tensor([300.0, 1999.0, 2400.0])}
        parameters = {
            "p_dyn": drawn(STEPS, SITES, model.learnable_param_count1),
            "p_stat": drawn(SITES, model.learnable_param_count2),
        }
    if hourly:
        inputs |= {"outlet_topo": torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]), "areas": torch.tensor([30.0, 5, 9])}
        parameters["p_distr"] = drawn(5, 3)
    out = model(inputs, parameters["raw"] if "raw" in parameters else list(parameters.values()))
    out["streamflow"].sum().backward()
    np.savez_compressed(
        Path(__file__).parent / f"{name}.npz",
        meta=json.dumps({"model": name, "config": config}),
        **{f"in/{key}": value.detach() for key, value in (inputs | parameters).items()},
        **{f"grad/{key}": value.grad for key, value in parameters.items()},
        **{f"out/{key}": out[key].detach() for key in OUTPUTS if key in out},
    )


write("hbv", ["parBETA", "parBETAET"])
write("hbv_1_1p", ["parBETA", "parK0", "parBETAET"])
write("hbv_2", ["parBETA", "parK0", "parBETAET"], routing=True)
write("hbv_2_hourly", ["parBETA", "parK0", "parBETAET"])
write("hbv_2_1_hourly", ["parBETA", "parK0", "parBETAET"])
