"""The example of the Delaware runs from raw files to figures."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data" / "river_networks" / "pywatershed_drb"


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the data of the Delaware are not beside the project")
def test_the_example_goes_from_raw_files_to_figures(tmp_path):
    spec = importlib.util.spec_from_file_location("delaware", ROOT / "example" / "hydrology" / "delaware.py")
    delaware = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(delaware)
    trainer = delaware.main(DATA, tmp_path, epochs=1, iterations=2, batch_size=4)
    nse = np.array(trainer.metrics["held"]["streamflow"]["nse"], dtype=float)
    assert np.isfinite(nse).sum() > 100
    for name in ("map.png", "hydrographs.png"):
        assert (tmp_path / name).stat().st_size > 20_000
