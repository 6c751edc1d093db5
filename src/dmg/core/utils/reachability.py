"""Which units of a river network drain through which outlets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dmg.core.utils.river_network import RiverNetwork, positions


def reachability_matrix(
    edges: Sequence[tuple[str, str]], units: Sequence[str], outlets: Sequence[str] | None = None
) -> np.ndarray:
    """Return the matrix [G, U] that is 1 where a unit drains through an outlet, the outlet's own unit included.

    Parameters
    ----------
    edges
        Pairs (unit, next unit downstream).
    units
        Ids of the units, in the order of the columns.
    outlets
        Ids of the units at whose lower end there is an outlet, in the order of the rows; all units if absent.

    Raises
    ------
    DataError
        If an id is unknown, a unit drains into two others, or water runs in a circle.
    """
    network = RiverNetwork.of_edges(edges, units)
    return network.draining_to(positions(units if outlets is None else outlets, units)).astype(np.float32)
