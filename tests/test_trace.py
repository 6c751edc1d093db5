"""Whatever a step does with shapes, views, constants and writes, the traced graph does the same."""

import pytest
import torch
from step_models import OneStore, UnitHydrograph

from dmg.engine import Flux, Forcing, Parameter, ProcessModel, RawParameters, State, simulate
from dmg.engine.trace import trace_step
from dmg.testing import draw_case


class Line(ProcessModel):
    """A vector state of four entries; what is done with it differs from test to test."""

    forcings = (Forcing("a", high=5.0), Forcing("b", low=-2.0, high=2.0))
    parameters = (Parameter("k", 0.5, 2.0),)
    states = (State("line", size=4, initial=0.5), State("one", initial=1.0))
    fluxes = (Flux("out"),)


def constant_buffer(s, x, p):
    line = torch.ones(*s.line.shape[:2], 4, dtype=x.a.dtype)
    line[..., 1] = s.one * p.k
    line[..., 3] += x.a
    return line, line[..., 0] + line[..., 1] * line[..., 3]


def slices(s, x, p):
    line = torch.cat([s.line[..., 2:], s.line[..., :2] * x.b.unsqueeze(-1)], -1)
    return line, line[..., ::2].sum(-1) - s.line[..., -1]


def new_tensors(s, x, p):
    line = s.line.new_zeros(s.line.shape)
    line[..., :2] = s.line[..., 1:3]
    line = line + s.line.new_full((4,), 0.5) + torch.empty_like(s.line).fill_(0.25) + torch.full_like(s.line, 2.0)
    return line, s.one + x.a.new_ones(1) + torch.zeros_like(x.b)


def truth(s, x, p):
    wet = (x.b > 0).to(x.a.dtype)
    number = x.a.bool().to(x.a.dtype) + (x.b >= 1).double() + torch.where(x.b > 0, x.b > 1, x.a < 2).double()
    masked = s.line.masked_fill((s.line > 0.8) & ~(x.b < 0).unsqueeze(-1), 3.0)
    either = torch.logical_or(x.b > 1, x.a > 4) * p.k + (s.line > 1).sum(-1, dtype=x.a.dtype)
    return masked * 0.5, wet * s.one + number + either


def stacked(s, x, p):
    first, second, third, fourth = s.line.unbind(-1)
    line = torch.stack([fourth, first * p.k, second + x.a, torch.tanh(third)], -1)
    return line, torch.einsum("bmi,i->bm", line, torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=line.dtype))


def turned(s, x, p):
    line = torch.roll(s.line, (1,), (-1,)).flip(-1).view(*s.line.shape[:2], 2, 2).transpose(-1, -2).flatten(2)
    padded = torch.nn.functional.pad(line, (1, 2), value=3.0)
    return line, padded[..., 1:].mean(-1) + line.reshape(-1, 4).sum(-1).view_as(p.k * s.one)


def in_place(s, x, p):
    line = s.line.clone()
    line[..., 0].mul_(p.k)
    line[..., 1:3] -= x.a.unsqueeze(-1)
    line[..., 3].zero_()
    line.clamp_(min=-1.0).add_(0.1).div_(2.0)
    out = s.one.clone()
    out += line.select(-1, 0)
    return line, out


def matrix(s, x, p):
    weights = torch.linspace(0.1, 1.6, 16, dtype=s.line.dtype).view(4, 4)
    line = torch.sigmoid(torch.matmul(s.line, weights))
    return line, torch.nn.functional.linear(line, weights[:1], weights[0, :1]).squeeze(-1)


def cut_off(s, x, p):
    with torch.no_grad():
        still = s.one * p.k
    return s.line.detach() * 0.5 + x.a.unsqueeze(-1), still + s.one * (x.b * 2.0).detach()


def scalars(s, x, p):
    out = 2.0 - s.one + 3 / (1 + x.a) + x.a**2
    out = torch.sub(out, x.b, alpha=2) + torch.add(x.a, s.one, alpha=-0.5) + 2**x.b - torch.rsub(x.a, 1.0)
    return s.line * torch.tensor(0.5) + torch.tensor([1, 2, 3, 4]), out


STEPS = [constant_buffer, slices, new_tensors, truth, stacked, turned, in_place, matrix, cut_off, scalars]


@pytest.mark.parametrize("body", STEPS, ids=lambda body: body.__name__)
def test_a_trace_is_the_step(body):
    class Model(Line):
        def step(self, s, x, p, dt):
            line, out = body(s, x, p)
            return {"line": line, "one": 0.5 * s.one + torch.tanh(out)}, {"out": out}

    case = draw_case(Model, steps=6, sites=3)
    runs = []
    for engine in ("eager", "fused"):
        inputs = [case.forcing, case.raw.dynamic, *case.state.stores.values()]
        inputs = [v.clone().requires_grad_() for v in inputs]
        stores = dict(zip(case.state.stores, inputs[2:], strict=True))
        run = simulate(case.model, inputs[0], RawParameters(inputs[1], case.raw.static), stores, engine=engine)
        outputs = [*run.fluxes.values(), *run.stores.values()]
        loss = sum((v * torch.cos(torch.arange(v.numel(), dtype=v.dtype).reshape(v.shape))).sum() for v in outputs)
        found = torch.autograd.grad(loss, inputs, allow_unused=True)
        runs.append([*outputs, *(torch.zeros_like(i) if g is None else g for i, g in zip(inputs, found, strict=True))])
    for eager, fused in zip(*runs, strict=True):
        torch.testing.assert_close(fused, eager, rtol=1e-12, atol=1e-12)


def test_inputs_and_outputs_are_named():
    graph = trace_step(UnitHydrograph(), ["k", "lag"], ["streamflow"])
    assert {f"s:coming.{i}" for i in range(5)} | {"s:storage", "x:prcp", "p:k", "p:lag"} <= set(graph.inputs)
    assert {"f:streamflow", "d:x:prcp", "d:p:lag", "d:s:seen.2"} <= set(graph.outputs)
    assert "f:memory" not in graph.outputs


def test_the_graph_of_a_small_step_is_small():
    """Sharing and folding leave of the linear store what one would write by hand."""
    graph = trace_step(OneStore(), ["k"], ["streamflow"])
    forward = graph.prune(["s:storage", "f:streamflow"])
    assert forward.count() == 4
    assert graph.count() <= 14


def test_tracing_leaves_the_model_and_the_mode_alone():
    model = OneStore()
    with torch.inference_mode():
        trace_step(model, ["k"], ["streamflow"])
        assert torch.is_inference_mode_enabled()
    assert torch.is_grad_enabled()
    with torch.no_grad():
        trace_step(model, ["k"], ["streamflow"])
        assert not torch.is_grad_enabled()
