"""A twin experiment: roughness that made a discharge is found again from it."""

import numpy as np
import torch

from hydrodl2.data.synthetic_rivers import Rivers
from hydrodl2.routing import MuskingumCunge


def test_roughness_is_learned_from_discharge_at_a_few_gauges():
    torch.manual_seed(0)
    rivers, days = Rivers.grow(80, seed=2), 20
    router = MuskingumCunge(rivers.network, 1000.0 * rivers.length, rivers.slope, nonnegative=True)
    gauges = torch.from_numpy(np.flatnonzero(rivers.upstream_area > np.quantile(rivers.upstream_area, 0.8)))
    storms = np.random.default_rng(0).gamma(0.4, 10.0, days)
    inflow = torch.from_numpy(storms[:, None] * rivers.area / 86.4).float()
    area = torch.from_numpy(np.log(rivers.upstream_area)).float()[:, None]
    area = (area - area.mean()) / area.std()
    true = 0.06 * torch.exp(-0.3 * area[:, 0])

    def discharge(n):
        return router(inflow, {"n": n, "q_spatial": torch.full_like(n, 0.3), "p_spatial": torch.full_like(n, 21.0)})[0]

    with torch.no_grad():
        observed = discharge(true)[:, gauges]
    network = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimizer = torch.optim.Adam(network.parameters(), 0.1)
    for _ in range(60):
        n = 0.015 * (0.25 / 0.015) ** torch.sigmoid(network(area)[:, 0])
        loss = ((discharge(n)[:, gauges] - observed) / observed.std(0)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    error = ((n - true) / true).detach().abs()
    assert float(error.quantile(0.9)) < 0.1
