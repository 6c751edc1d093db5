"""A gated linear recurrence: as good as an LSTM here, and parallel over time but for one multiply-add."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from dmg.engine import Flux, Parameter, ProcessModel, RawParameters, State, simulate
from dmg.engine.declare import Values
from dmg.engine.site_share import dropout_by_site
from dmg.models.neural_networks.base import BaseNetwork, check_dropout, check_width
from dmg.models.neural_networks.monte_carlo import drops
from dmg.registry import networks

# The hidden states of the blocks, each [B, hidden].
MinGruState = tuple[Tensor, ...]


class GatedRecurrence(ProcessModel):
    """The recurrence h_t = (1 - z_t) h_(t-1) + z_t c_t and its gated output, for every channel of every site.

    Run by the engine like any other step: channels are components; gates (before their logistic) and candidate are
    dynamic parameters, taken as they are.
    """

    parameters = (Parameter("update", 0.0, 1.0), Parameter("candidate", 0.0, 1.0), Parameter("output", 0.0, 1.0))
    states = (State("hidden"),)
    fluxes = (Flux("gated"),)
    link: ClassVar = "identity"

    def __init__(self, width: int) -> None:
        names = [p.name for p in self.parameter_table]
        super().__init__({"nmul": width, "dynamic_params": {type(self).__name__: names}})

    def step(self, s: Values, x: Values, p: Values, dt: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One step."""
        hidden = s.hidden + torch.sigmoid(p.update) * (p.candidate - s.hidden)
        return {"hidden": hidden}, {"gated": hidden * torch.sigmoid(p.output)}


class MinGruBlock(nn.Module):
    """Pre-norm residual block: x plus the gated recurrence over what the normalised x says.

    Parameters
    ----------
    width
        Channels.
    dr
        Dropout of what the block adds; the same channels of a site are dropped at every step.
    """

    def __init__(self, width: int, dr: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, 3 * width)
        self.dr = dr
        self.recurrence = GatedRecurrence(width)
        with torch.no_grad():
            # From channels that remember months to channels that forget within days.
            self.inner.bias[:width] = torch.linspace(-5.0, 1.0, width)

    def forward(self, x: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the series [T, B, width] and the hidden state [B, width] after it."""
        steps, sites, width = x.shape
        # Products may be rounded (train.precision), the recurrence and the residual stream are not.
        raw = RawParameters(self.inner(self.norm(x)).to(x.dtype), x.new_empty(sites, 0))
        start = {"hidden": x.new_zeros(sites, width) if hidden is None else hidden}
        nothing = x.new_empty(steps, sites, 0)
        run = simulate(self.recurrence, nothing, raw, start, fluxes=["gated"], components=True)
        kept = dropout_by_site(x.new_ones(1, sites, width), self.dr, drops(self), dim=1)
        return torch.addcmul(x, run.fluxes["gated"], kept), run.stores["hidden"]


@networks.register("MinGruModel")
class MinGruModel(BaseNetwork):
    """Minimal gated recurrent network: input layer, residual blocks, output layer; [T, B, nx] -> [T, B, ny].

    Parameters
    ----------
    nx, ny
        Inputs and outputs.
    hidden_size
        Channels of every block.
    dr
        Dropout of what each block adds.
    blocks
        Number of blocks.

    References
    ----------
    Feng, L. et al. (2024). Were RNNs all we needed? https://arxiv.org/abs/2410.01201
    """

    config_keys: ClassVar[dict[str, tuple[str, ...]]] = {
        "hidden_size": ("hidden_size",),
        "dr": ("dropout",),
        "blocks": ("blocks",),
    }

    def __init__(self, nx: int, ny: int, hidden_size: int, dr: float = 0.3, blocks: int = 2) -> None:
        super().__init__()
        self.nx = nx
        dr = check_dropout(dr, type(self).__name__)
        self.linear_in = nn.Linear(nx, hidden_size)
        self.blocks = nn.ModuleList(MinGruBlock(hidden_size, dr) for _ in range(blocks))
        self.norm = nn.LayerNorm(hidden_size)
        self.linear_out = nn.Linear(hidden_size, ny)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs [T, B, ny] of a series [T, B, nx]."""
        return self.head(self.features(x)[0])

    def features(self, x: Tensor, state: MinGruState | None = None) -> tuple[Tensor, MinGruState]:
        """Return the hidden series [T, B, hidden] and the state after its last step."""
        check_width(x.shape[-1], self.nx, type(self).__name__)
        h, states = self.linear_in(x).to(x.dtype), []
        for i, block in enumerate(self.blocks):
            h, final = block(h, state[i] if state is not None else None)
            states.append(final)
        return self.norm(h), tuple(states)

    def head(self, h: Tensor, columns: Sequence[int] | slice | Tensor | None = None) -> Tensor:
        """Return all outputs of hidden values, or those of some columns."""
        if columns is None:
            return self.linear_out(h)
        return nn.functional.linear(h, self.linear_out.weight[columns], self.linear_out.bias[columns])
