"""One free vector of parameters per site: what calibration adjusts, in the place of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmg.engine import RawParameters
from dmg.engine.parameters import ParameterLayout
from dmg.errors import DataError, did_you_mean
from dmg.models.neural_networks.base import BaseNetwork
from dmg.registry import networks


@networks.register("SiteParameters")
class SiteParameters(BaseNetwork):
    """Parameters of a process model that are learned site by site and depend on nothing: physics-only calibration.

    Several random starts for one site are several sites with the same data. A site that is not among ``sites`` has no
    parameters: nothing is carried from one site to another. A dynamic parameter is constant.

    Parameters
    ----------
    nx
        Number of inputs, of which none is read.
    ny
        Number of parameters of a site, ``learnable_param_count`` of the process model.
    sites
        Ids of the sites; in a configuration ``model.nn.sites``.

    Attributes
    ----------
    values
        Raw parameters [site, ny], drawn so that they start uniformly distributed between their bounds.
    """

    inputs: ClassVar[tuple[str, ...]] = ()
    config_keys: ClassVar[dict[str, tuple[str, ...]]] = {"sites": ("sites",)}
    options: ClassVar[tuple[str, ...]] = ("sites",)

    def __init__(self, nx: int, ny: int, sites: Sequence[str]) -> None:
        super().__init__()
        self.ny, self.sites = ny, [str(site) for site in sites]
        self._position = {site: i for i, site in enumerate(self.sites)}
        # Not quite to the bounds, where the logistic function is flat.
        self.values = nn.Parameter(torch.logit(0.02 + 0.96 * torch.rand(len(self.sites), ny)))

    def forward(self, sites: Sequence[str] | None = None) -> Tensor:
        """Return the raw parameters [B, ny] of some sites, of all in their order if None.

        Raises
        ------
        DataError
            For a site that was not among those of the constructor.
        """
        if sites is None or list(sites) == self.sites:
            return self.values
        unknown = [site for site in sites if site not in self._position]
        if unknown:
            raise DataError(
                f"{len(set(unknown))} sites were not calibrated: {', '.join(sorted(set(unknown))[:10])}",
                where="model.nn.sites",
                hint="SiteParameters knows its own sites only, hold none out; or "
                + did_you_mean(unknown[0], self.sites),
            )
        return self.values[[self._position[site] for site in sites]]

    def raw_parameters(self, data: Mapping[str, Any], layout: ParameterLayout) -> RawParameters:
        """Return what the process model takes, for the sites of a batch.

        Parameters
        ----------
        data
            ``x_phy`` [T, B, ·]; a `Batch` with site ids, else its columns are all sites in order.
        layout
            Which channel is which parameter.

        Raises
        ------
        DataError
            If a batch without ids has another number of sites.
        """
        steps, columns = data["x_phy"].shape[:2]
        values = self(getattr(data, "sites", None))
        if len(values) != columns:
            raise DataError(
                f"the batch has {columns} sites without ids, SiteParameters has {len(values)}",
                hint="give a Batch with its site ids",
            )
        # A process model with this link takes values in [0, 1] as they are.
        values = torch.sigmoid(values) if layout.link == "identity" else values
        dynamic = values[:, layout.dynamic_channels].expand(steps, -1, -1)
        return RawParameters(dynamic, values[:, layout.static_channels])
