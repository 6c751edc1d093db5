"""Write what bmi-test and grpc4bmi need: a folder of flat files for one catchment, and one for many.

Usage: python make_stages.py FOLDER
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bmi_case import trained, write_case


def main(folder: Path) -> None:
    """Train a small model and write the folders ``one`` and ``many``."""
    run = trained(folder / "training")
    weights = run / "model" / "hbv_ep1.safetensors"
    for name, sites in {"one": ["s2"], "many": ["s0", "s1", "s3", "s4"]}.items():
        write_case(folder / name, Path(weights.name), sites, start_time="2000/01/21")
        shutil.copy(weights, folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
