"""Made-up leaves of seven plant types on soils of many kinds, whose true parameters are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from diffecosys.models.leaf_photosynthesis import LeafPhotosynthesis
from dmg.engine import RawParameters
from dmg.registry import samples

if TYPE_CHECKING:
    import pandas as pd

#: Plant type to Vcmax25 [µmol m-2 s-1], soil water potentials of open and closed stomata [mm], g1 [kPa^0.5] and C3.
PLANT_TYPES: dict[str, tuple[float, float, float, float, int]] = {
    "NET-Temperate": (62.5, -66000.0, -255000.0, 2.35, 1),
    "Crop-R": (100.7, -74000.0, -275000.0, 6.0, 1),
    "BET-Temperate": (61.5, -66000.0, -255000.0, 4.12, 1),
    "C3-grass": (78.2, -74000.0, -275000.0, 5.25, 1),
    "NET-Boreal": (45.0, -66000.0, -255000.0, 2.35, 1),
    "BDS-Temperate": (54.0, -83000.0, -428000.0, 4.7, 1),
    "C4-grass": (51.6, -74000.0, -275000.0, 1.62, 0),
}
#: What organic matter, sand and clay add to the exponent B of the water retention curve.
B_OF_SOIL = {"organic": 0.1, "sand": 0.45, "clay": 0.45}


@samples.register("sample_leaves")
def sample_leaves(sites: int = 2000, seed: int = 0, noise: float = 0.025) -> pd.DataFrame:
    """Return leaves, their surroundings, and what `LeafPhotosynthesis` says they assimilate, by row.

    Parameters
    ----------
    sites
        Number of leaves.
    seed
        Of the generator.
    noise
        Standard deviation of the error of ``An`` and ``gs``, as a share of their means.

    Returns
    -------
    DataFrame
        Forcings of the model with one soil layer; ``PFT``, ``g1``; ``organic``, ``sand``, ``clay`` (shares); ``An``,
        ``gs`` with errors; ``true_Vcmax25``, ``true_B_1``.
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    plant = rng.integers(0, len(PLANT_TYPES), sites)
    traits = np.array(list(PLANT_TYPES.values()))[plant]
    soil = rng.dirichlet((1.0, 2.0, 2.0), sites)
    air = rng.uniform(8.0, 34.0, sites)
    columns = {
        "PFT": np.array(list(PLANT_TYPES))[plant],
        "c3": traits[:, 4],
        "CO2S": rng.uniform(250.0, 600.0, sites),
        "PARin": rng.uniform(100.0, 1900.0, sites),
        "Tleaf": air + rng.normal(0.0, 1.5, sites),
        "Tair": air,
        "Patm": rng.uniform(85.0, 102.0, sites),
        "VPD": rng.uniform(0.4, 3.5, sites),
        "BLCond": rng.uniform(0.8, 5.0, sites),
        "LAI": rng.uniform(0.5, 5.0, sites),
        "g1": traits[:, 3],
        "psi_open": traits[:, 1],
        "psi_closed": traits[:, 2],
        # Dry enough for the soil to matter, and no drier than stomata tolerate at most places.
        "wetness_1": rng.uniform(0.03, 0.6, sites),
        "root_1": np.ones(sites),
        "organic": soil[:, 0],
        "sand": soil[:, 1],
        "clay": soil[:, 2],
        "true_Vcmax25": traits[:, 0],
    }
    columns["true_B_1"] = sum(share * columns[name] for name, share in B_OF_SOIL.items())
    frame = pd.DataFrame(columns, index=[f"leaf{i}" for i in range(sites)])
    given = ["Vcmax25", "g1", "B_1"]
    model = LeafPhotosynthesis({"layers": 1, "given": given})
    known = frame.rename(columns={"true_Vcmax25": "Vcmax25", "true_B_1": "B_1"})
    x = torch.tensor(known[[f.name for f in model.forcings]].to_numpy(np.float64))[None]
    truth, _ = model.run(x, RawParameters(x[..., :0], x.new_zeros(sites, 0)), outputs=["An", "gs"])
    for name, values in truth.items():
        exact = values[0].numpy()
        frame[name] = exact + rng.normal(0.0, noise * exact.mean(), sites)
    return frame
