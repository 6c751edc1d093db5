"""The full state of a process model between two runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class ModelState:
    """Stores of the step and memory of the router.

    Parameters
    ----------
    stores
        State name to tensor [B, M] (or [B, M, size] for vector states).
    routing
        Name of a routed flux to its last L-1 unrouted rows [L-1, B]; empty without a router.
    """

    stores: Mapping[str, Tensor]
    routing: Mapping[str, Tensor] = field(default_factory=dict)

    def map(self, function: Callable[[Tensor], Tensor]) -> ModelState:
        """Return the state with the function applied to every tensor."""
        return ModelState(
            {name: function(value) for name, value in self.stores.items()},
            {name: function(value) for name, value in self.routing.items()},
        )

    def detach(self) -> ModelState:
        """Return the state without its history of gradients."""
        return self.map(lambda value: value.detach())


def content(store: Tensor) -> Tensor:
    """Return what a store [B, M] or [B, M, size] holds per element; the entries of a vector state add up."""
    return store if store.ndim == 2 else store.sum(-1)
