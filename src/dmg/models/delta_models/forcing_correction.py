"""Bias correction of forcing: factors and offsets of forcings are learned with the rest of the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmg.core.data.batch import Batch
from dmg.engine import InnerNetwork, ProcessModel
from dmg.errors import ConfigError, did_you_mean
from dmg.models.delta_models.delta_state import DeltaState
from dmg.models.delta_models.dpl_model import DplModel, Window, of_units
from dmg.models.neural_networks.site_parameters import SiteParameters
from dmg.registry import delta_models

#: What a correction follows: each site for itself, the attributes of sites, or all inputs of the network at every step.
FOLLOWS = ("site", "attributes", "inputs")
NEUTRAL = {"factors": 1.0, "offsets": 0.0}


@delta_models.register("ForcingCorrectionModel")
class ForcingCorrectionModel(DplModel):
    """A `DplModel` whose process model is driven by corrected forcings.

    Factors are multiplied with a forcing and offsets added to it, each between bounds; at first they are 1 and 0. The
    budget of the process model is that of the corrected forcing.

    Parameters
    ----------
    config
        The block ``model``; its block ``coupling`` has ``factors`` ({forcing: [least, greatest]}), ``offsets`` (the
        same), ``by`` (attributes: a network that sees the normalised attributes, so that it is known elsewhere;
        inputs: all inputs of the network at every step; site: a free value for every one of ``sites``), ``hidden``
        (widths of the layers of such a network, [16]) and ``sites``.
    options
        As for `DplModel`.

    Raises
    ------
    ConfigError
        If nothing is to be corrected, a forcing does not exist, or bounds do not hold what leaves it as it is.
    """

    options: ClassVar[tuple[str, ...]] = ("factors", "offsets", "by", "hidden", "sites")
    keeps_budget: ClassVar[bool] = False

    def __init__(self, *, config: Mapping[str, Any], **options: Any) -> None:
        super().__init__(config=config, **options)
        block, model = config["coupling"], self.phy_model
        if not isinstance(model, ProcessModel):
            raise ConfigError(
                f"the forcings of {type(model).__name__} have no names", where="model.coupling", hint="name: DplModel"
            )
        self.bounds = {
            (kind, name): _bounds(model, kind, name, given)
            for kind in NEUTRAL
            for name, given in (block.get(kind) or {}).items()
        }
        if not self.bounds:
            raise ConfigError("no forcing is corrected", where="model.coupling", hint="factors: {prcp: [0.5, 2.0]}")
        self.by = str(block.get("by") or "attributes")
        self.correction = self._build(block, config["nn"]).to(next(self.parameters(), torch.empty(0)).device)

    def _build(self, block: Mapping[str, Any], nn_block: Mapping[str, Any]) -> nn.Module:
        """Return what gives the raw corrections."""
        count = len(self.bounds)
        if self.by not in FOLLOWS:
            raise ConfigError(
                f"corrections cannot be by '{self.by}'", where="model.coupling.by", hint=did_you_mean(self.by, FOLLOWS)
            )
        if self.by == "site":
            if not block.get("sites"):
                raise ConfigError("by: site needs the sites", where="model.coupling.sites", hint="sites: [a, b]")
            free = SiteParameters(0, count, block["sites"])
            nn.init.zeros_(free.values)
            return free
        seen = list(nn_block.get("attributes") or ())
        seen = seen if self.by == "attributes" else [*(nn_block.get("forcings") or ()), *seen]
        if not seen:
            raise ConfigError(
                f"by: {self.by} has nothing to see",
                where="model.coupling.by",
                hint="list model.nn.attributes, or by: site",
            )
        hidden = tuple(block.get("hidden") or (16,))
        return InnerNetwork("forcing", tuple(seen), hidden, outputs=count).build()

    def corrections(self, data_dict: Mapping[str, Any]) -> dict[tuple[str, str], Tensor]:
        """Return ``(factors or offsets, forcing)`` to its values, [B] or, ``by: inputs``, [T, B]."""
        if self.by == "site":
            raw = self.correction(getattr(data_dict, "sites", None)).unbind(-1)
        else:
            seen = data_dict["c_nn_norm" if self.by == "attributes" else "xc_nn_norm"]
            raw = self.correction(*seen.unbind(-1))
            raw = raw if isinstance(raw, tuple) else (raw,)
        found = {}
        for (key, (low, high)), value in zip(self.bounds.items(), raw, strict=True):
            share = (NEUTRAL[key[0]] - low) / (high - low)
            found[key] = low + (high - low) * torch.sigmoid(value + math.log(share / (1.0 - share)))
        return found

    def corrected(self, data_dict: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the data with corrected forcings."""
        names = self.phy_model.forcing_names(data_dict)
        columns = dict(zip(names, data_dict["x_phy"].unbind(-1), strict=True))
        for (kind, name), value in self.corrections(data_dict).items():
            columns[name] = columns[name] * value if kind == "factors" else columns[name] + value
        x = torch.stack([columns[name] for name in names], dim=-1)
        return data_dict.having(x_phy=x) if isinstance(data_dict, Batch) else {**data_dict, "x_phy": x}

    def forward(
        self,
        data_dict: Mapping[str, Any],
        eval: bool = False,
        batched: bool = False,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """Run as published, with corrected forcings; see `DplModel.forward`."""
        if eval or "upstream" in data_dict:
            return super().forward(data_dict, eval=eval, outputs=outputs)
        return super().forward(self.corrected(data_dict), outputs=outputs)

    def window(
        self,
        data_dict: Mapping[str, Any],
        state: DeltaState | None = None,
        *,
        static: str = "last",
        outputs: Sequence[str] | None = None,
    ) -> Window:
        """Return what the process model runs over, its forcings corrected; see `DplModel.window`."""
        return super().window(self.corrected(of_units(data_dict)), state, static=static, outputs=outputs)


def _bounds(model: ProcessModel, kind: str, name: str, given: Sequence[float]) -> tuple[float, float]:
    """Return least and greatest correction of a forcing."""
    where, known = f"model.coupling.{kind}.{name}", [f.name for f in model.forcings]
    if name not in known:
        raise ConfigError(
            f"{type(model).__name__} has no forcing '{name}'", where=where, hint=did_you_mean(name, known)
        )
    low, high = (float(v) for v in given) if len(given) == 2 else (math.nan, math.nan)
    if not low < NEUTRAL[kind] < high:
        raise ConfigError(
            f"bounds {list(given)} do not hold {NEUTRAL[kind]:g}, which leaves the forcing as it is",
            where=where,
            hint="[0.5, 2.0] for a factor, [-3, 3] for an offset",
        )
    return low, high
