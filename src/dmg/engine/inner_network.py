"""A small network inside the step of a process model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn

from dmg.errors import StepError, did_you_mean

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "softplus": nn.functional.softplus,
    "silu": nn.functional.silu,
}
# Those that never fall: a network of them is monotone where its weights have one sign.
_RISING = ("tanh", "relu", "sigmoid", "softplus")

#: What the last layer becomes: any number, one that is not negative, a factor around 1, a share, shares of a whole.
OUTPUTS = ("linear", "positive", "factor", "share", "shares")


@dataclass(frozen=True)
class InnerNetwork:
    """Declares a network of some layers, called in a step as ``self.net.<name>(…)``.

    It sees the element that is stepped: what is given to it is that of one component of one site, so that it follows
    the state. Its weights are shared by all elements; they enter a kernel as they are and their gradients leave it
    summed. They are weights of the process model: trained, saved and loaded with everything else.

    Parameters
    ----------
    name
        Name in ``self.net``.
    inputs
        Names in the order of the call; or name to the usual size, by which the value is divided.
    hidden
        Widths of the hidden layers.
    output
        ``linear``: any number. ``positive``: not negative. ``factor``: between 1 / ``limit`` and ``limit``.
        ``share``: between 0 and 1. ``shares``: ``outputs`` numbers between 0 and 1 whose sum is 1, so that what is
        split by them is neither lost nor made.
    outputs
        How many; the call returns a tuple if there are several.
    activation
        One of `ACTIVATIONS`.
    monotone
        Name of an input to 1 or -1: with it no output ever falls, or rises, whatever the weights are.
    limit
        Greatest factor.

    Raises
    ------
    StepError
        For a choice that does not exist, or constraints that contradict each other.

    Notes
    -----
    The last layer starts from zero: a factor is 1, a share a half, a whole is cut into equal parts. That of a monotone
    network starts close to it, since from zero its weights could not grow.

    Where a network is monotone the weights that its input meets have one sign: those of the first layer at this input,
    and all of the later layers (Sill, 1998).

    Examples
    --------
    >>> InnerNetwork("recharge_share", ("wetness", "rain"), output="share", monotone={"wetness": 1}).hidden
    (16, 16)
    """

    name: str
    inputs: Sequence[str] | Mapping[str, float]
    hidden: tuple[int, ...] = (16, 16)
    output: str = "linear"
    outputs: int = 1
    activation: str = "tanh"
    monotone: Mapping[str, int] = field(default_factory=dict)
    limit: float = 4.0

    def __post_init__(self) -> None:
        where = f"network '{self.name}'"
        for value, known, what in ((self.output, OUTPUTS, "output"), (self.activation, ACTIVATIONS, "activation")):
            if value not in known:
                raise StepError(f"unknown {what} '{value}'", where=where, hint=did_you_mean(value, known))
        if not self.names or not all(int(width) > 0 for width in self.hidden):
            raise StepError("a network needs inputs, and layers with a width", where=where, hint="hidden: [16, 16]")
        if self.limit <= 1.0:
            raise StepError(f"the limit of its factor is {self.limit}", where=where, hint="give more than 1")
        if self.outputs < (2 if self.output == "shares" else 1):
            raise StepError(
                f"{self.outputs} outputs of kind '{self.output}'", where=where, hint="split in two, at least"
            )
        for name, sign in self.monotone.items():
            if name not in self.names:
                raise StepError(f"it has no input '{name}'", where=where, hint=did_you_mean(name, self.names))
            if sign not in (1, -1):
                raise StepError(f"it is monotone in '{name}' with sign {sign}", where=where, hint="1 rises, -1 falls")
        if self.monotone and self.output == "shares":
            raise StepError(
                "shares of a whole cannot all rise", where=where, hint="output: share, and what is left is the other"
            )
        if self.monotone and self.activation not in _RISING:
            raise StepError(
                f"{self.activation} falls in places, so that nothing is monotone",
                where=where,
                hint=f"activation: {', '.join(_RISING)}",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the inputs."""
        return tuple(self.inputs)

    @property
    def sizes(self) -> tuple[float, ...]:
        """Usual sizes of the inputs."""
        return tuple(float(v) for v in self.inputs.values()) if isinstance(self.inputs, Mapping) else ()

    def build(self) -> InnerLayers:
        """Return the network with weights of its own."""
        return InnerLayers(self)


class InnerLayers(nn.Module):
    """The weights of an `InnerNetwork`, and what it computes.

    Parameters
    ----------
    declared
        What it is.
    """

    def __init__(self, declared: InnerNetwork) -> None:
        super().__init__()
        self.declared = declared
        widths = [len(declared.names), *declared.hidden, declared.outputs]
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        last = self.layers[-1]
        with torch.no_grad():
            last.weight.mul_(0.1 if declared.monotone else 0.0)
            last.bias.zero_()

    def forward(self, *values: Tensor | float) -> Tensor | tuple[Tensor, ...]:
        """Return the output for values [B, M], or what broadcasts to it, in the order of the inputs.

        Raises
        ------
        StepError
            If their number is not that of the inputs.
        """
        declared = self.declared
        if len(values) != len(declared.names):
            raise StepError(
                f"the network '{declared.name}' is called with {len(values)} values",
                hint=f"give {', '.join(declared.names)}, in this order",
            )
        like = self.layers[0].weight
        seen = [v if isinstance(v, Tensor) else like.new_full((), v) for v in values]
        if declared.sizes:
            seen = [v / size for v, size in zip(seen, declared.sizes, strict=True)]
        hidden = torch.stack(torch.broadcast_tensors(*seen), dim=-1)
        activate = ACTIVATIONS[declared.activation]
        *inner, last = zip(self._weights(), (layer.bias for layer in self.layers), strict=True)
        for weight, bias in inner:
            hidden = activate(nn.functional.linear(hidden, weight, bias))
        raw = nn.functional.linear(hidden, *last).unbind(-1)
        found = _shares(raw) if declared.output == "shares" else tuple(self._formed(r) for r in raw)
        return found if len(found) > 1 else found[0]

    def _weights(self) -> list[Tensor]:
        """Return the weights of the layers, with the signs that make the network monotone."""
        weights = [layer.weight for layer in self.layers]
        monotone = self.declared.monotone
        if not monotone:
            return weights
        columns = [
            w.abs() * monotone[name] if name in monotone else w
            for name, w in zip(self.declared.names, weights[0].unbind(1), strict=True)
        ]
        return [torch.stack(columns, dim=1), *(w.abs() for w in weights[1:])]

    def _formed(self, raw: Tensor) -> Tensor:
        declared = self.declared
        if declared.output == "positive":
            return nn.functional.softplus(raw)
        if declared.output == "factor":
            return torch.exp(math.log(declared.limit) * torch.tanh(raw))
        return torch.sigmoid(raw) if declared.output == "share" else raw


def _shares(raw: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return numbers between 0 and 1 whose sum is 1."""
    greatest = raw[0]
    for value in raw[1:]:
        greatest = torch.maximum(greatest, value)
    # Without gradient: the shares do not depend on what is taken off all of them.
    grown = [torch.exp(value - greatest.detach()) for value in raw]
    total = sum(grown[1:], grown[0])
    return tuple(value / total for value in grown)
