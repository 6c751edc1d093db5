"""Base class of the heads: which outputs of a network make which series, and what a loss is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from dmg.errors import ConfigError


class Head:
    """What a network alone says of a target.

    A subclass registers itself with ``dmg.registry.heads.register(name)`` and is then known to ``model.head.name``. It
    has no weights: the network has ``width`` outputs for every target.

    Parameters
    ----------
    levels
        Quantiles that are reported, shares between 0 and 1, rising.

    Attributes
    ----------
    width
        Outputs of the network for every target.
    levels
        Quantiles that are reported, none of a head without a distribution.
    """

    #: Arguments of the constructor that the configuration may give, beside ``name``.
    options: ClassVar[tuple[str, ...]] = ()
    #: What a loss has to score (its ``scores``) to train this head.
    kind: ClassVar[str] = "point"

    def __init__(self, levels: Sequence[float] = ()) -> None:
        self.levels = tuple(float(level) for level in levels)
        self.width = 1
        rising = all(low < high for low, high in zip(self.levels, self.levels[1:], strict=False))
        if not rising or not all(0.0 < level < 1.0 for level in self.levels):
            raise ConfigError(
                f"{list(self.levels)} are no levels of quantiles",
                where="model.head.levels",
                hint="give rising shares between 0 and 1, such as [0.05, 0.5, 0.95]",
            )

    def parameters(self, raw: Tensor) -> Tensor:
        """Return what the loss is given [..., width], from outputs of the network [..., width]."""
        return raw

    def point(self, parameters: Tensor) -> Tensor:
        """Return the one number [..., 1] that stands for the target."""
        return parameters

    def quantiles(self, parameters: Tensor) -> Tensor:
        """Return the reported quantiles [..., number of levels]; they never cross."""
        return parameters[..., :0]

    def draw(self, parameters: Tensor) -> Tensor:
        """Return one draw of the distribution [..., 1], independent everywhere."""
        return self.point(parameters)

    @property
    def loss_arguments(self) -> dict[str, Any]:
        """Arguments of the constructor of a loss that scores this kind."""
        return {}

    @property
    def description(self) -> dict[str, Any]:
        """What decides the meaning of weights, as plain data."""
        return {"class": type(self).__name__, "levels": list(self.levels)}

    def reported(self, target: str) -> list[str]:
        """Return the names of the quantiles of a target, in the order of the levels."""
        return [f"{target}_q{level:g}" for level in self.levels]

    def trained(self, target: str) -> list[str]:
        """Return the names of the series that a loss is given, side by side."""
        return [target] if self.width == 1 else [f"{target}_head{i}" for i in range(self.width)]

    def series(self, target: str, raw: Tensor, draw: bool = False) -> dict[str, Tensor]:
        """Return name to series [T, B, 1]: the target, its quantiles, and what the loss is given.

        Parameters
        ----------
        target
            Name.
        raw
            Outputs of the network for the target [T, B, width].
        draw
            Whether the target is a draw of its distribution.
        """
        parameters = self.parameters(raw)
        found = {target: self.draw(parameters) if draw else self.point(parameters)}
        if self.width > 1:
            found |= dict(zip(self.trained(target), parameters.split(1, dim=-1), strict=True))
        if self.levels:
            found |= dict(zip(self.reported(target), self.quantiles(parameters).split(1, dim=-1), strict=True))
        return found
