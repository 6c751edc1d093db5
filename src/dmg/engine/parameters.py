"""From the channels of a network to the physical parameters of a process model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dmg.engine.declare import Parameter
from dmg.errors import StepError, did_you_mean

LINKS = {"logistic": torch.sigmoid, "identity": lambda raw: raw}


@dataclass(frozen=True)
class RawParameters:
    """Network output before link and bounds: dynamic channels at every step, static ones where they count.

    Parameters
    ----------
    dynamic
        [T, B, D * M], parameter-major, component fastest.
    static
        [B, S * M + R]: static parameters, then those of the router.
    dropped
        Optional boolean mask [D, B]: where it is set, a dynamic parameter has the value of ``held`` at every step.
    held
        [B, D * M], with ``dropped``.
    paths
        Optional parameters of what joins sites after the step, a row for each way from a site.
    """

    dynamic: Tensor
    static: Tensor
    dropped: Tensor | None = None
    held: Tensor | None = None
    paths: Tensor | None = None

    def map(self, function: Callable[[Tensor], Tensor]) -> RawParameters:
        """Return the parameters with the function applied to every tensor of numbers."""
        held, paths = (None if values is None else function(values) for values in (self.held, self.paths))
        return replace(self, dynamic=function(self.dynamic), static=function(self.static), held=held, paths=paths)

    def window(self, start: int, stop: int) -> RawParameters:
        """Return the same static parameters with the dynamic ones of steps ``start`` to ``stop``."""
        return replace(self, dynamic=self.dynamic[start:stop])


@dataclass(frozen=True)
class ParameterLayout:
    """Which channel of a network output is which parameter.

    Channel ``p * components + m`` holds component m of parameter p, in the order of the declaration; the parameters of
    the router follow, one per site.

    Parameters
    ----------
    parameters
        The parameters that the network supplies, in order.
    dynamic
        Names of those that vary in time.
    components
        Number M of parallel components.
    routing
        Parameters of the router.
    link
        Name of the map from raw output to [0, 1].
    """

    parameters: tuple[Parameter, ...]
    dynamic: tuple[str, ...]
    components: int
    routing: tuple[Parameter, ...]
    link: str

    def __post_init__(self) -> None:
        names = [parameter.name for parameter in self.parameters]
        for name in self.dynamic:
            if name not in names:
                raise StepError(f"unknown dynamic parameter '{name}'", hint=did_you_mean(name, names))
        if self.components < 1:
            raise StepError(f"nmul is {self.components}", hint="give at least one component")

    @property
    def width(self) -> int:
        """Number of channels that the network must supply."""
        return len(self.parameters) * self.components + len(self.routing)

    @property
    def dynamic_parameters(self) -> tuple[Parameter, ...]:
        """The dynamic parameters, in the order of the declaration."""
        return tuple(p for p in self.parameters if p.name in self.dynamic)

    @property
    def static_parameters(self) -> tuple[Parameter, ...]:
        """The static parameters, in the order of the declaration."""
        return tuple(p for p in self.parameters if p.name not in self.dynamic)

    @property
    def dynamic_channels(self) -> list[int]:
        """Channels that are read at every step."""
        return self._channels(self.dynamic_parameters)

    @property
    def static_channels(self) -> list[int]:
        """Channels that are read at one step: static parameters, then those of the router."""
        first = len(self.parameters) * self.components
        return self._channels(self.static_parameters) + list(range(first, self.width))

    def _channels(self, chosen: Sequence[Parameter]) -> list[int]:
        position = {parameter.name: i for i, parameter in enumerate(self.parameters)}
        m = self.components
        return [position[p.name] * m + k for p in chosen for k in range(m)]

    def split(self, raw: Tensor, static_at: int) -> RawParameters:
        """Split a dense network output [T, B, width], taking static parameters at one step.

        Raises
        ------
        StepError
            If the width is not the one that this layout needs.
        """
        if raw.ndim != 3 or raw.shape[-1] != self.width:
            raise StepError(
                f"the parameters have shape {tuple(raw.shape)}, the model needs [time, site, {self.width}]",
                hint="set the output width of the network to learnable_param_count",
            )
        return RawParameters(raw[..., self.dynamic_channels], raw[static_at][..., self.static_channels])

    def join(self, parts: Sequence[Tensor]) -> RawParameters:
        """Take dynamic [T, B, ·] and static [B, ·] parameters, and those of paths [P, ·], that come apart.

        Raises
        ------
        StepError
            If their widths are not the ones that this layout needs.
        """
        widths = [len(self.dynamic_channels), len(self.static_channels)]
        if [p.ndim for p in parts[:2]] != [3, 2] or [p.shape[-1] for p in parts[:2]] != widths:
            raise StepError(
                f"the parameters have shapes {[tuple(p.shape) for p in parts]}, the model needs "
                f"[time, site, {widths[0]}] and [site, {widths[1]}]",
                hint="set the output widths of the network to learnable_param_count1 and learnable_param_count2",
            )
        return RawParameters(parts[0], parts[1], paths=parts[2] if len(parts) > 2 else None)

    def frozen(self, raw: RawParameters, step: int) -> tuple[ParameterLayout, RawParameters]:
        """Return layout and parameters in which the dynamic ones are static, with their values at one step."""
        m, sites = self.components, raw.static.shape[0]
        fixed = raw.dynamic[step].reshape(sites, len(self.dynamic), m)
        static = raw.static[:, : len(self.static_parameters) * m].reshape(sites, -1, m)
        dynamic_rows = iter(fixed.unbind(1))
        static_rows = iter(static.unbind(1))
        rows = [next(dynamic_rows if p.name in self.dynamic else static_rows) for p in self.parameters]
        merged = torch.cat([*rows, raw.static[:, len(self.static_parameters) * m :]], dim=1)
        return replace(self, dynamic=()), RawParameters(raw.dynamic[..., :0], merged)

    def scale(self, raw: RawParameters) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Apply link and bounds.

        Returns
        -------
        static
            Name to tensor [B, M].
        dynamic
            Name to tensor [T, B, M].
        """
        link, m = LINKS[self.link], self.components
        steps, sites = raw.dynamic.shape[:2]
        unit_static = link(raw.static[:, : len(self.static_parameters) * m]).reshape(sites, -1, m)
        unit_dynamic = link(raw.dynamic).reshape(steps, sites, -1, m)
        static = {p.name: scale_to_bounds(unit_static[:, i], p) for i, p in enumerate(self.static_parameters)}
        dynamic = {}
        for i, p in enumerate(self.dynamic_parameters):
            value = scale_to_bounds(unit_dynamic[:, :, i], p)
            if raw.dropped is not None:
                held = scale_to_bounds(link(raw.held).reshape(sites, -1, m)[:, i], p)
                value = torch.where(raw.dropped[i][None, :, None], held, value)
            dynamic[p.name] = value
        return static, dynamic

    def at_start(self, raw: RawParameters, name: str) -> Tensor | None:
        """Return a parameter [B, M] at the first step; None if the network does not supply it."""
        m, dynamic = self.components, raw.dynamic[0]
        if raw.dropped is not None:
            dynamic = torch.where(raw.dropped.T.repeat_interleave(m, dim=1), raw.held, dynamic)
        for group, values in ((self.static_parameters, raw.static), (self.dynamic_parameters, dynamic)):
            for i, p in enumerate(group):
                if p.name == name:
                    return scale_to_bounds(LINKS[self.link](values[:, i * m : (i + 1) * m]), p)
        return None

    def scale_routing(self, raw: RawParameters) -> dict[str, Tensor]:
        """Return the parameters of the router, name to tensor [B]."""
        unit = LINKS[self.link](raw.static[:, raw.static.shape[1] - len(self.routing) :])
        return {p.name: scale_to_bounds(unit[:, i], p) for i, p in enumerate(self.routing)}


def scale_to_bounds(unit: Tensor, parameter: Parameter) -> Tensor:
    """Map values in [0, 1] to the bounds of a parameter."""
    return parameter.low + unit * (parameter.high - parameter.low)
