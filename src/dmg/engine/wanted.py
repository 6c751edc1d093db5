"""Which gradients an adjoint computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmg.engine.kernel import Kernel


@dataclass(frozen=True)
class Wanted:
    """Which gradients an adjoint computes, besides those of initial states.

    Parameters
    ----------
    static, dynamic, forcing, weights, uniforms
        Whether the gradients of all inputs of a kind are computed.
    """

    static: bool = True
    dynamic: bool = True
    forcing: bool = False
    weights: bool = False
    uniforms: bool = False

    def names(self, kernel: Kernel) -> dict[str, list[str]]:
        """Return the inputs of a kernel whose gradients are wanted, by their kind in the names of graphs."""
        kinds = {
            "p": kernel.static if self.static else (),
            "w": kernel.weighted if self.weights else (),
            "u": kernel.uniforms if self.uniforms else (),
            "r": kernel.dynamic if self.dynamic else (),
            "x": kernel.forcings if self.forcing else (),
        }
        return {kind: [f"{kind}:{n}" for n in group] for kind, group in kinds.items()}
