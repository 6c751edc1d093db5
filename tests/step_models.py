"""Process models written for the tests of the engine: small, and unlike each other in what they ask of it."""

from __future__ import annotations

import torch
from torch import nn

from dmg.engine import Attribute, Flux, Forcing, Ledger, Parameter, ProcessModel, State
from dmg.engine.router import Router


class EveryOp(ProcessModel):
    """Uses every operation that the engine knows, values and gradients well away from overflow."""

    forcings = (Forcing("a", low=0.2, high=3.0), Forcing("b", low=-2.0, high=2.0))
    parameters = (Parameter("k", 0.5, 2.5), Parameter("m", -1.0, 1.0))
    states = (State("s", initial=0.5), State("n", initial=1.0))
    fluxes = (
        *(Flux(name) for name in ("powers", "logs", "waves", "bends", "steps", "ties", "mixed")),
        Flux("wet", diagnostic=True),
    )

    def step(self, s, x, p, dt):
        """One step."""
        a = torch.clamp(x.a, min=0.05)
        powers = a**p.k + p.k**x.b + a**2 + 2.0**p.m + a**-1.5 + a**0.5 + torch.sqrt(a) + x.a**3
        logs = torch.log(a + s.n.abs()) + torch.log1p(x.a) + torch.expm1(0.3 * p.m) + torch.exp(-x.a * p.k)
        waves = torch.sin(x.b * p.k) + torch.cos(x.b - s.s) + torch.tanh(s.s * p.m) + torch.sigmoid(x.b + s.n)
        bends = (
            nn.functional.softplus(x.b * p.k) + torch.relu(x.b - p.m) + torch.abs(x.b - 0.1) - torch.clamp(x.b, max=0.7)
        )
        bends = bends + torch.clamp(s.s * p.k, -0.5, 0.5) + torch.clamp(x.a, min=p.k) + torch.rsqrt(a) + x.b.square()
        steps = torch.sign(x.b) * p.k + torch.floor(3.0 * x.a) * p.m + torch.reciprocal(x.a + 1.0)
        rising = (x.b > 0) & ~(x.a <= 1.0) | (s.s >= 0.2) & (x.b < 1.0)
        ties = torch.where(rising, torch.minimum(x.b, p.m), torch.maximum(s.s, p.m * 0.5))
        ties = ties + torch.where((x.b == 0) | (x.a != x.a), 1.0, -s.n) + torch.minimum(p.k, p.k) + (x.b >= p.m) * p.k
        mixed = torch.addcmul(s.s, x.b, p.m, value=0.5) + (1.0 - s.n) / (2.0 + x.a) - x.b / 4.0 + 3.0 / (x.a + 1.0)
        total = powers + logs + waves + bends + steps + ties + mixed
        fluxes = {"powers": powers, "logs": logs, "waves": waves, "bends": bends, "steps": steps, "ties": ties}
        stores = {"s": torch.tanh(0.2 * total - 1.0) + 0.3 * s.s, "n": 0.8 * s.n + 0.1 * torch.sin(total)}
        return stores, fluxes | {"mixed": mixed, "wet": (x.b > 0).to(x.b.dtype)}


class OneStore(ProcessModel):
    """One state, one parameter, nothing optional."""

    forcings = (Forcing("prcp", high=20.0),)
    parameters = (Parameter("k", 1.0, 50.0),)
    states = (State("storage", initial=1.0),)
    fluxes = (Flux("streamflow"),)
    ledger = Ledger(sources=("prcp",), sinks=("streamflow",), stores=("storage",))

    def step(self, s, x, p, dt):
        """One step."""
        full = s.storage + x.prcp * dt
        out = full / (p.k + dt)
        return {"storage": full - out * dt}, {"streamflow": out}


class Sloping(OneStore):
    """A store that two known properties of its site drain: one changes its pace, the other decides how."""

    attributes = (Attribute("slope", "m m-1", "mean slope", 0.1, 2.0), Attribute("height", "m", high=3000.0))

    def step(self, s, x, p, dt):
        """One step."""
        full = s.storage + x.prcp * dt
        pace = torch.where(x.height >= 1500.0, 2.0 * p.k, p.k) / x.slope
        out = full / (pace + dt)
        return {"storage": full - out * dt}, {"streamflow": out}


class Cascade(ProcessModel):
    """Twelve stores in a row, each losing a share to the next that grows with what it holds."""

    forcings = (Forcing("prcp", high=20.0), Forcing("warmth", low=0.0, high=1.0))
    parameters = (*(Parameter(f"k{i}", 0.05, 0.9) for i in range(12)), Parameter("shape", 0.5, 3.0))
    states = tuple(State(f"s{i}", initial=0.1 * i) for i in range(12))
    fluxes = (Flux("streamflow"), Flux("loss"))
    ledger = Ledger(sources=("prcp",), sinks=("streamflow", "loss"), stores=tuple(f"s{i}" for i in range(12)))

    def step(self, s, x, p, dt):
        """One step."""
        loss = 0.1 * x.warmth * x.prcp
        flow, stores = x.prcp - loss, {}
        for i in range(12):
            full = getattr(s, f"s{i}") + flow * dt
            share = getattr(p, f"k{i}") * torch.clamp(full / 30.0, 1e-3, 1.0) ** p.shape
            flow = full * share / dt
            stores[f"s{i}"] = full - flow * dt
        return stores, {"streamflow": flow, "loss": loss}


class NetworkInside(ProcessModel):
    """A store whose outflow a network of two layers with sixteen units decides."""

    forcings = (Forcing("prcp", high=20.0), Forcing("warmth", low=-1.0, high=1.0))
    parameters = (Parameter("k", 1.0, 20.0),)
    states = (State("storage", initial=5.0),)
    fluxes = (Flux("streamflow"), Flux("share"))
    ledger = Ledger(sources=("prcp",), sinks=("streamflow",), stores=("storage",))

    def __init__(self, config=None, device=None):
        super().__init__(config, device)
        generator = torch.Generator().manual_seed(1)
        self.inner = nn.Linear(2, 16)
        self.outer = nn.Linear(16, 1)
        with torch.no_grad():
            for weight in self.parameters():
                weight.copy_(torch.rand(weight.shape, generator=generator) - 0.5)

    def step(self, s, x, p, dt):
        """One step."""
        full = s.storage + x.prcp * dt
        features = torch.stack(torch.broadcast_tensors(full / 20.0, x.warmth), dim=-1)
        share = torch.sigmoid(self.outer(torch.tanh(self.inner(features)))).squeeze(-1)
        out = full * share / (1.0 + p.k)
        return {"storage": full - out * dt}, {"streamflow": out, "share": share}


class UnitHydrograph(ProcessModel):
    """A vector state that keeps the flow of the next days: shifted, filled in place, rolled."""

    forcings = (Forcing("prcp", high=20.0),)
    parameters = (Parameter("k", 0.1, 0.9), Parameter("lag", 0.5, 3.0))
    states = (State("coming", size=5), State("seen", size=3, initial=0.25), State("storage"))
    fluxes = (Flux("streamflow"), Flux("memory"))

    def step(self, s, x, p, dt):
        """One step."""
        days = torch.arange(1, 6, dtype=x.prcp.dtype, device=x.prcp.device)
        shares = torch.exp(-days / p.lag.unsqueeze(-1))
        shares = shares / shares.sum(-1, keepdim=True)
        full = s.storage + x.prcp * dt
        released = p.k * full
        filled = torch.cat([s.coming[..., 1:], torch.zeros_like(s.coming[..., :1])], dim=-1)
        filled = filled + released.unsqueeze(-1) * shares
        seen = torch.roll(s.seen, 1, -1).clone()
        seen[..., 0] = x.prcp
        stores = {"coming": filled, "seen": seen, "storage": full - released * dt}
        return stores, {"streamflow": filled[..., 0], "memory": seen.mean(-1) + (seen * seen).sum(-1) * 0.01}


class Stateless(ProcessModel):
    """No state at all."""

    forcings = (Forcing("light", low=0.0, high=5.0),)
    parameters = (Parameter("rate", 0.1, 2.0), Parameter("limit", 1.0, 9.0))
    fluxes = (Flux("uptake"), Flux("light_again"))

    def step(self, s, x, p, dt):
        """One step."""
        return {}, {"uptake": p.limit * torch.tanh(p.rate * x.light / p.limit), "light_again": x.light}


class StartsFull(ProcessModel):
    """A store whose first content is a parameter."""

    forcings = (Forcing("prcp", high=20.0),)
    parameters = (Parameter("k", 1.0, 50.0), Parameter("content", 10.0, 90.0))
    states = (State("storage", initial="content"), State("parts", size=2, initial="content"))
    fluxes = (Flux("streamflow"),)

    def step(self, s, x, p, dt):
        """One step."""
        full = s.storage + x.prcp * dt
        out = full / (p.k + dt)
        return {"storage": full - out * dt, "parts": s.parts * 0.9}, {"streamflow": out + s.parts.sum(-1)}


class TwoDays(Router):
    """Half of the flow today, a share of the rest tomorrow."""

    routing_parameters = (Parameter("share", 0.0, 1.0),)
    length = 2

    def kernel(self, parameters, length):
        """Return the response to a pulse."""
        share = parameters["share"]
        return torch.stack([1.0 - 0.5 * share, 0.5 * share])[:length]


class Routed(OneStore):
    """A store before a router."""

    parameters = (Parameter("k", 1.0, 50.0), Parameter("bend", 0.5, 2.0, default=1.0))
    routed = ("streamflow",)
    total = "streamflow"
    router_class = TwoDays

    def step(self, s, x, p, dt):
        """One step."""
        full = s.storage + x.prcp * dt
        out = full * (0.1 + 0.8 * (full / 300.0) ** p.bend / p.k)
        return {"storage": full - out * dt}, {"streamflow": out}


STEP_MODELS = (EveryOp, OneStore, Sloping, Cascade, NetworkInside, UnitHydrograph, Stateless, StartsFull, Routed)
