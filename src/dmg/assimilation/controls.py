"""What an assimilation may change, and how far from what was believed before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dmg.engine import ModelState, ProcessModel
from dmg.errors import ConfigError, did_you_mean
from dmg.models.delta_models.dpl_model import Window

ADJUSTMENTS = ("factor", "increment")


@dataclass(frozen=True)
class Controls:
    """The unknowns of an assimilation: independent, normal with mean 0 and variance 1 before any observation.

    Parameters
    ----------
    states
        Stores to adjust at the start of the window; all if absent.
    forcings
        Forcings to multiply, by exp(unknown): dry days stay dry. Those that the ledger of the model counts as sources
        if absent.
    state_adjustment
        ``factor``: a store is multiplied by exp(unknown), an empty one stays empty. ``increment``: the unknown is
        added, down to an empty store.
    state_error
        Standard deviation of the unknown of a store: of its logarithm, or in its own unit.
    forcing_error
        Standard deviation of the logarithm of the factor of a forcing.
    piece
        Steps that share the factor of a forcing.
    by_component
        Whether each parallel component of a model has an unknown of its own.
    """

    states: tuple[str, ...] | None = None
    forcings: tuple[str, ...] | None = None
    state_adjustment: str = "factor"
    state_error: float = 0.3
    forcing_error: float = 0.3
    piece: int = 1
    by_component: bool = True

    def __post_init__(self) -> None:
        if self.state_adjustment not in ADJUSTMENTS:
            raise ConfigError(
                f"state_adjustment is '{self.state_adjustment}'", hint=f"choose one of {', '.join(ADJUSTMENTS)}"
            )
        if min(self.state_error, self.forcing_error) <= 0:
            raise ConfigError(
                "the error of a control is not positive", hint="leave out what is known exactly: states=(), forcings=()"
            )
        if self.piece < 1:
            raise ConfigError(f"piece is {self.piece}", hint="give at least one step")

    def unknowns(self, process: ProcessModel, window: Window) -> dict[str, Tensor]:
        """Return the unknowns of a window, all 0: ``x:<store>`` [B, M] or [B, 1], ``f:<forcing>`` [pieces, B].

        Raises
        ------
        ConfigError
            If a store or forcing is not one of the model's, or there is none.
        """
        stores = window.start.stores
        names = tuple(stores) if self.states is None else self.states
        sources = process.ledger.sources if process.ledger else ()
        forcings = tuple(n for n in sources if n in process.variables) if self.forcings is None else self.forcings
        _check_names(names, tuple(stores), "store")
        _check_names(forcings, tuple(process.variables), "forcing")
        found = {}
        for name in names:
            store = stores[name]
            found[f"x:{name}"] = torch.zeros_like(store if self.by_component else store[:, :1])
        steps, sites = window.forcing.shape[:2]
        for name in forcings:
            found[f"f:{name}"] = window.forcing.new_zeros(-(-steps // self.piece), sites)
        if not found:
            raise ConfigError("there is nothing to adjust", hint="name states or forcings")
        return found

    def apply(self, unknowns: Mapping[str, Tensor], process: ProcessModel, window: Window) -> Window:
        """Return the window with start and forcings adjusted."""
        stores, forcing = dict(window.start.stores), list(window.forcing.unbind(-1))
        for key, unknown in unknowns.items():
            kind, name = key.split(":", 1)
            if kind == "x":
                change = self.state_error * unknown
                before = stores[name]
                stores[name] = (
                    before * change.exp() if self.state_adjustment == "factor" else torch.relu(before + change)
                )
            else:
                i = process.variables.index(name)
                factor = (self.forcing_error * unknown).exp().repeat_interleave(self.piece, dim=0)
                forcing[i] = forcing[i] * factor[: len(window.forcing)]
        start = ModelState(stores, window.start.routing)
        return replace(window, forcing=torch.stack(forcing, dim=-1), start=start)


def departure(unknowns: Mapping[str, Tensor]) -> Tensor:
    """Return, per site [B], half the sum of squares of the unknowns: how improbable they were before."""
    squares = [
        unknown.square().flatten(1).sum(1) if key.startswith("x:") else unknown.square().sum(0)
        for key, unknown in unknowns.items()
    ]
    return 0.5 * torch.stack(squares).sum(0)


def _check_names(names: tuple[str, ...], known: tuple[str, ...], what: str) -> None:
    for name in names:
        if name not in known:
            raise ConfigError(
                f"'{name}' is no {what} of the model", hint=did_you_mean(name, known) or f"there are {', '.join(known)}"
            )
