"""Coupled models of every registered process model, run in two halves: the second half in a process of its own.

As a script: `python state_cases.py FOLDER` goes on from every state in a folder and writes what follows.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from dmg.models.delta_models import DplModel
from dmg.models.fingerprint import fingerprint, weights_digest
from dmg.models.full_state import FullState
from dmg.models.neural_networks import load_nn_model
from dmg.registry import process_models
from dmg.testing import draw_case, step_models

# Both engines, routing, and the memory of every kind of network.
KINDS = (("eager", "GruModel"), ("fused", "LstmModel"), ("fused", "MinGruModel"), ("eager", "LstmMlpModel"))
MODELS = [name for name in step_models() if any(not s.algebraic for s in process_models.get(name).states)]
NAMES = [f"{name}-{engine}-{network}" for name in MODELS for engine, network in KINDS]
SITES = ["a", "b", "c"]
STEPS, CUT, WARMUP = 40, 23, 6


def coupled(case_name: str) -> tuple[DplModel, dict[str, Tensor]]:
    """Return a coupled model with weights drawn from a fixed seed, and its data, in float64."""
    name, engine, network = case_name.split("-")
    process = process_models.get(name)
    dynamic = [p.name for p in process.parameter_table][::2]
    options = {"nmul": 2, "dynamic_params": {process.__name__: dynamic}, "routing": True}
    case = draw_case(process, options, steps=STEPS, sites=len(SITES), engine=engine)
    case.model.warmup = WARMUP
    generator = torch.Generator().manual_seed(3)
    block = {"name": network, "hidden_size": 5, "forcings": list("uvw"), "attributes": list("xy")}
    torch.manual_seed(4)
    model = DplModel(phy_model=case.model, nn_model=load_nn_model({"nn": block}, case.model)).double().eval()
    attributes = torch.randn(len(SITES), 2, generator=generator, dtype=torch.float64)
    series = torch.randn(STEPS, len(SITES), 3, generator=generator, dtype=torch.float64)
    if network != "LstmMlpModel":
        series = torch.cat([series, attributes.expand(STEPS, -1, -1)], dim=-1)
    else:
        series = torch.cat([series, torch.zeros(STEPS, len(SITES), 2, dtype=torch.float64)], dim=-1)
    return model, {"x_phy": case.forcing, "xc_nn_norm": series, "c_nn_norm": attributes, **case.attributes}


def part(data: dict[str, Tensor], start: int, stop: int) -> dict[str, Tensor]:
    """Return the data of some steps."""
    return {key: value[start:stop] if value.ndim == 3 else value for key, value in data.items()}


def states_of(model: DplModel) -> list[str]:
    """Return the names of fluxes and states of a coupled model."""
    return [declared.name for declared in (*model.phy_model.fluxes, *model.phy_model.states)]


@torch.no_grad()
def first_half(case_name: str, folder: Path) -> dict[str, Tensor]:
    """Write the state after the first half, and return the second half of an uninterrupted run."""
    model, data = coupled(case_name)
    whole, _ = model.run(data, static="held", outputs=states_of(model))
    _, state = model.run(part(data, 0, CUT), static="held")
    FullState.join(
        [{"model": state}],
        SITES,
        time=np.datetime64("2001-01-23"),
        step=np.timedelta64(1, "D"),
        fingerprint=fingerprint({"model": model}),
        weights=weights_digest({"model": model}),
    ).save(folder / f"{case_name}.state.safetensors")
    return {name: values[CUT - WARMUP :] for name, values in whole.items()}


@torch.no_grad()
def second_half(case_name: str, folder: Path) -> dict[str, Tensor]:
    """Go on from the state in a file."""
    model, data = coupled(case_name)
    state = FullState.load(folder / f"{case_name}.state.safetensors")
    state.require(fingerprint({"model": model}))
    assert state.weights == weights_digest({"model": model})
    before = state.of(SITES)["model"]
    series, _ = model.run(part(data, CUT, STEPS), before, static="held", outputs=states_of(model))
    return series


if __name__ == "__main__":
    at = Path(sys.argv[1])
    for one in NAMES:
        save_file({k: v.contiguous() for k, v in second_half(one, at).items()}, at / f"{one}.after.safetensors")
