"""A tiny embedded sample and a configuration of δHBV on it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:
    # Processes side by side have one core each; said before torch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import xarray as xr
from small_config import changed, hbv_config

ROOT = Path(__file__).parents[1]

SAMPLE = {"sites": 8, "start": "1990/10/01", "end": "1993/09/30", "seed": 0}

_CONFIG = hbv_config(
    model__phy__dynamic_params={"Hbv": ["parBETA", "parBETAET"]},
    model__nn__attributes=["p_mean", "aridity", "frac_snow", "soil_depth_statsgo", "slope_mean"],
    observations={"name": "sample", "sample": SAMPLE, "area_name": "area_gages2", "prcp_mean_name": "p_mean"},
)


@pytest.fixture
def offline(monkeypatch) -> None:
    """Processes that a test starts have neither network nor the data that lie beside some checkouts."""
    paths = [str(ROOT / "tests" / "offline"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    monkeypatch.setenv("DMG_TEST_FORBIDDEN", str(ROOT.parent / "shared"))


@pytest.fixture
def sample() -> xr.Dataset:
    """Eight sites over three years; a copy, free to be damaged."""
    from hydrodl2.data.sample import generate_sample

    return generate_sample(**SAMPLE)


@pytest.fixture
def config(tmp_path) -> dict[str, Any]:
    """A plain configuration of δHBV on `sample`, free to be changed; results belong into ``tmp_path``."""
    return changed(_CONFIG, output_dir=str(tmp_path / "out"))
