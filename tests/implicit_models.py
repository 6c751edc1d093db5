"""Implicit models for the tests of the engine: small, and each hard in its own way."""

from __future__ import annotations

import torch
from torch import nn

from dmg.engine import Flux, Forcing, Ledger, Parameter, ProcessModel, State


class Decay(ProcessModel):
    """One linear store, of which the solution is known: S / (1 + k)."""

    forcings = (Forcing("prcp", high=20.0),)
    parameters = (Parameter("k", 0.1, 2.0),)
    states = (State("storage", initial=1.0),)
    fluxes = (Flux("streamflow"),)
    ledger = Ledger(sources=("prcp",), sinks=("streamflow",), stores=("storage",))

    def tendency(self, s, x, p):
        """Return the rates."""
        return {"storage": x.prcp - p.k * s.storage}, {"streamflow": p.k * s.storage}


class Layers(ProcessModel):
    """Three layers of a vector state that leak into each other, and a network that decides what the last one loses."""

    forcings = (Forcing("prcp", high=20.0), Forcing("warmth", low=-1.0, high=1.0))
    parameters = (Parameter("k", 0.1, 2.0), Parameter("bend", 1.0, 3.0))
    states = (State("layers", size=3, initial=2.0), State("depth", initial=1.0))
    fluxes = (Flux("streamflow"), Flux("share", diagnostic=True))
    ledger = Ledger(sources=("prcp",), sinks=("streamflow",), stores=("layers", "depth"))

    def __init__(self, config=None, device=None):
        super().__init__(config, device)
        self.inner = nn.Linear(2, 4)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.rand(weight.shape, generator=generator) - 0.3)

    def tendency(self, s, x, p):
        """Return the rates."""
        held = torch.clamp(s.layers, min=1e-6) / 10.0
        leaks = p.k.unsqueeze(-1) * held ** p.bend.unsqueeze(-1)
        features = torch.stack(torch.broadcast_tensors(s.depth / 20.0, x.warmth), dim=-1)
        share = torch.sigmoid(torch.tanh(self.inner(features)).sum(-1))
        flow = share * s.depth
        into = torch.cat([x.prcp.expand_as(flow).unsqueeze(-1), leaks[..., :-1]], dim=-1)
        return {"layers": into - leaks, "depth": leaks[..., -1] - flow}, {"streamflow": flow, "share": share}


class Switch(ProcessModel):
    """A store that a steep switch drains: Newton's method alone jumps back and forth across it."""

    forcings = (Forcing("prcp", high=20.0),)
    parameters = (Parameter("steepness", 1.0, 1000.0),)
    states = (State("storage", initial=0.0),)
    fluxes = (Flux("streamflow"),)
    ledger = Ledger(sources=("prcp",), sinks=("streamflow",), stores=("storage",))

    def tendency(self, s, x, p):
        """Return the rates."""
        flow = 30.0 * torch.sigmoid(p.steepness * (s.storage - 5.0))
        return {"storage": x.prcp - flow}, {"streamflow": flow}


class Explosion(ProcessModel):
    """Growth by its own square: from one quarter on, backward Euler has no solution."""

    forcings = (Forcing("prcp", high=0.1),)
    parameters = (Parameter("k", 0.5, 1.5),)
    states = (State("storage", initial=0.1),)
    fluxes = (Flux("growth"),)

    def tendency(self, s, x, p):
        """Return the rates."""
        growth = p.k * s.storage**2
        return {"storage": growth + 0.0 * x.prcp}, {"growth": growth}


class Root(ProcessModel):
    """A cubic root: k y³ = a."""

    forcings = (Forcing("a", high=20.0),)
    parameters = (Parameter("k", 0.5, 2.0),)
    states = (State("y", initial=1.0, algebraic=True, bounds=(0.0, 50.0)),)
    fluxes = (Flux("out"),)

    def tendency(self, s, x, p):
        """What is lacking."""
        return {"y": x.a - p.k * s.y**3}, {"out": 2.0 * s.y}


class Steep(Root):
    """A steep switch, from whose flat parts Newton's method leaps away."""

    states = (State("y", initial=40.0, algebraic=True, bounds=(0.0, 50.0)),)

    def tendency(self, s, x, p):
        """What is lacking."""
        return {"y": x.a - 30.0 * torch.sigmoid(200.0 * p.k * (s.y - 5.0))}, {"out": s.y * 1.0}


class Jump(Root):
    """A rate that changes its sign at 7 without being zero."""

    def tendency(self, s, x, p):
        """One or minus one, more or less."""
        return {"y": torch.where(s.y < 7.0, p.k + 0.1 * s.y, -p.k) + 0.0 * x.a}, {"out": s.y * 1.0}


class Partly(ProcessModel):
    """A store that drains by as much as an algebraic level says: level² + level = storage."""

    forcings = (Forcing("prcp", high=20.0),)
    parameters = (Parameter("k", 0.1, 0.9),)
    states = (State("storage", initial=5.0), State("level", initial=1.0, algebraic=True))
    fluxes = (Flux("streamflow"),)

    def tendency(self, s, x, p):
        """Rates of the store, and what the level lacks."""
        flow = p.k * s.level
        return {"storage": x.prcp - flow, "level": s.storage - s.level**2 - s.level}, {"streamflow": flow}
