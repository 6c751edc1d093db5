"""Several networks for one process model, each with inputs and parameters of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from dmg.engine import RawParameters
from dmg.engine.parameters import ParameterLayout
from dmg.errors import ConfigError, DataError, did_you_mean
from dmg.models.neural_networks.base import BaseNetwork
from dmg.registry import networks

#: Keys of one of the networks; the others are arguments of the network that it names.
_KEYS = ("name", "parameters", "attributes", "categories", "embedding", "elements", "factor")


class ParameterPart(nn.Module):
    """One of the networks: columns of numbers and categories to some parameters in (0, 1).

    Parameters
    ----------
    label
        What the configuration calls it.
    block
        ``parameters`` (names), ``attributes`` (columns of numbers), ``categories`` (columns), ``name`` (a registered
        network [..., nx] -> [..., ny], with its arguments beside; none for a free value of each category),
        ``embedding`` (numbers by which such a network sees a category, 2), ``elements`` (how often the network is
        applied, to ``clay_1``, ``clay_2`` … where ``clay_{}`` is an attribute, for ``B_1``, ``B_2`` …), ``factor``
        (least and greatest factor by which it multiplies parameters of another network instead).
    categories
        Values of every column of categories.
    components
        Number of values per parameter.
    """

    def __init__(
        self, label: str, block: Mapping[str, Any], categories: Mapping[str, Sequence[str]], components: int
    ) -> None:
        super().__init__()
        self.parameters_supplied = list(block.get("parameters") or ())
        self.attributes, self.categories = list(block.get("attributes") or ()), list(block.get("categories") or ())
        self.elements, self.components = int(block.get("elements") or 1), components
        self.factor = tuple(float(v) for v in block["factor"]) if block.get("factor") else None
        where = f"model.nn.networks.{label}"
        for name in self.categories:
            if name not in categories:
                raise ConfigError(
                    f"the categories of '{name}' are not listed",
                    where=where,
                    hint=did_you_mean(name, categories) if categories else f"model.nn.categories.{name}: [a, b, …]",
                )
        if not self.parameters_supplied or not (self.attributes or self.categories):
            raise ConfigError(
                "a network needs parameters, and attributes or categories",
                where=where,
                hint="{parameters: [Vcmax25], categories: [PFT]}",
            )
        count = len(self.parameters_supplied) * components
        if block.get("name"):
            size = int(block.get("embedding") or 2)
            self.tables = nn.ModuleList(nn.Embedding(len(categories[c]), size) for c in self.categories)
            arguments = {key: value for key, value in block.items() if key not in _KEYS}
            width = len(self.attributes) + size * len(self.categories)
            self.network = networks.get(block["name"]).from_config(arguments, width, count)
        elif self.attributes:
            raise ConfigError(
                "attributes need a network to read them", where=f"{where}.name", hint="name: MlpModel, hidden_size: 8"
            )
        else:
            self.tables = nn.ModuleList(nn.Embedding(len(categories[c]), count) for c in self.categories)
            for table in self.tables:
                nn.init.zeros_(table.weight)
            self.network = None

    @property
    def supplied(self) -> list[str]:
        """Names of the parameters, those of every element."""
        return [n for i in range(self.elements) for n in _numbered(self.parameters_supplied, i)]

    def forward(self, numbers: Mapping[str, Tensor], positions: Mapping[str, Tensor]) -> Tensor:
        """Return values in (0, 1), [B, elements * parameters * components], from columns [B]."""
        seen = [table(positions[name]) for table, name in zip(self.tables, self.categories, strict=True)]
        if self.network is None:
            values = torch.sigmoid(torch.stack(seen).sum(0)).expand(self.elements, -1, -1)
        else:
            inputs = [
                torch.cat([*(numbers[n][:, None] for n in _numbered(self.attributes, i)), *seen], dim=-1)
                for i in range(self.elements)
            ]
            values = self.network(torch.stack(inputs))
            values = values if getattr(self.network, "bounded", False) else torch.sigmoid(values)
        return values.movedim(0, 1).flatten(1)


@networks.register("ParameterNetworks")
class ParameterNetworks(BaseNetwork):
    """Several networks whose parameters one process model takes; for samples without a time axis.

    Parameters
    ----------
    parts
        Label to the block of a network, see `ParameterPart`.
    categories
        Column to its values, in the order in which the network counts them.
    components
        Components of the process model.

    Examples
    --------
    A value for every plant type, and one network for the five layers of a soil::

        name: ParameterNetworks
        categories: {PFT: [C3-grass, Crop-R]}
        networks:
          capacity: {parameters: [Vcmax25], categories: [PFT]}
          soil: {parameters: ["B_{}"], attributes: ["clay_{}", "sand_{}"], elements: 5, name: MlpModel, hidden_size: 8}
    """

    inputs: ClassVar[tuple[str, ...]] = ()
    bounded: ClassVar[bool] = True
    config_keys: ClassVar[dict[str, tuple[str, ...]]] = {}
    options: ClassVar[tuple[str, ...]] = ("networks", "categories")

    def __init__(
        self, parts: Mapping[str, Mapping[str, Any]], categories: Mapping[str, Sequence[str]], components: int = 1
    ) -> None:
        super().__init__()
        if not parts:
            raise ConfigError("ParameterNetworks has no networks", where="model.nn.networks")
        self.category_names, self.components = list(categories), components
        self.number_names = list(self.columns({"networks": parts}))
        self.parts = nn.ModuleDict({n: ParameterPart(n, block, categories, components) for n, block in parts.items()})

    @classmethod
    def from_config(cls, config_nn: Mapping[str, Any], nx: int, ny: int, **context: Any) -> Self:
        """Build the networks that a block ``model.nn`` describes, and check that they supply every parameter.

        Raises
        ------
        ConfigError
            If a parameter has no network or two, or a network supplies what is no parameter.
        """
        layout = getattr(context.get("phy_model"), "layout", None)
        made = cls(
            config_nn.get("networks") or {}, config_nn.get("categories") or {}, layout.components if layout else 1
        )
        if layout is not None:
            made.check([p.name for p in layout.parameters])
        return made

    @staticmethod
    def columns(config_nn: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        """Return the columns of numbers that a block reads, each with those that are normalised together with it."""
        found: dict[str, tuple[str, ...]] = {}
        for block in (config_nn.get("networks") or {}).values():
            for pattern in block.get("attributes") or ():
                names = [_numbered([pattern], i)[0] for i in range(int(block.get("elements") or 1))]
                found |= dict.fromkeys(names, tuple(dict.fromkeys(names)))
        return found

    def check(self, needed: Sequence[str]) -> None:
        """Check that every parameter has one network.

        Raises
        ------
        ConfigError
            If it has none, or two, or a network supplies what is no parameter.
        """
        given: list[str] = []
        for label, part in self.parts.items():
            where = f"model.nn.networks.{label}.parameters"
            for name in part.supplied:
                if name not in needed:
                    raise ConfigError(
                        f"'{name}' is no parameter that the process model takes from a network",
                        where=where,
                        hint=did_you_mean(name, needed),
                    )
                if name in given and part.factor is None:
                    raise ConfigError(f"'{name}' has two networks", where=where, hint="make one of them a factor")
            given += part.supplied if part.factor is None else []
        lacking = [name for name in needed if name not in given]
        if lacking:
            raise ConfigError(
                f"no network supplies {', '.join(lacking)}",
                where="model.nn.networks",
                hint="add a network, or let the data give them with model.phy.given",
            )

    def raw_parameters(self, data: Mapping[str, Any], layout: ParameterLayout) -> RawParameters:
        """Return what the process model takes, from ``c_nn_norm`` [B, A] and ``c_category`` [B, C]."""
        numbers = self._columns(data, "c_nn_norm", self.number_names)
        positions = self._columns(data, "c_category", self.category_names)
        bounds = {p.name: (p.low, p.high) for p in layout.parameters}
        values: dict[str, Tensor] = {}
        for part in sorted(self.parts.values(), key=lambda part: part.factor is not None):
            found = part(numbers, positions).split(self.components, dim=-1)
            for name, share in zip(part.supplied, found, strict=True):
                values[name] = share if part.factor is None else _times(values[name], share, part.factor, bounds[name])
        steps, sites = data["x_phy"].shape[:2]

        def joined(names: Sequence[str]) -> Tensor:
            return torch.cat([values[n] for n in names], dim=-1) if names else data["x_phy"].new_zeros(sites, 0)

        dynamic = joined([p.name for p in layout.dynamic_parameters])
        return RawParameters(dynamic.expand(steps, -1, -1), joined([p.name for p in layout.static_parameters]))

    def _columns(self, data: Mapping[str, Any], key: str, names: Sequence[str]) -> dict[str, Tensor]:
        if not names:
            return {}
        known = list(getattr(data, "names", {}).get(key, names))
        if key not in data or not set(names) <= set(known):
            raise DataError(f"the batch has no {key} with {', '.join(names)}", hint="data_loader: TableLoader makes it")
        return {name: data[key][:, known.index(name)] for name in names}


def _numbered(patterns: Sequence[str], element: int) -> list[str]:
    """Return names of one element: ``clay_{}`` of the first is ``clay_1``."""
    return [pattern.replace("{}", str(element + 1)) for pattern in patterns]


def _times(share: Tensor, of_factor: Tensor, factor: Sequence[float], bounds: tuple[float, float]) -> Tensor:
    """Return the share of the bounds of a parameter that is multiplied, and kept between the bounds."""
    low, high = bounds
    scaled = (low + share * (high - low)) * (factor[0] + of_factor * (factor[1] - factor[0]))
    return (torch.clamp(scaled, low, high) - low) / (high - low)
