"""Published import paths exist, and imports are cheap."""

import importlib
import json
import statistics
import subprocess
import sys

import pytest

PUBLISHED = {
    "dmg": (
        "ModelHandler MtsModelHandler __version__ calc data post utils loaders samplers criterion delta_models "
        "neural_networks phy_models"
    ),
    "dmg.models.model_handler": "ModelHandler",
    "dmg.models.mts_model_handler": "MtsModelHandler",
    "dmg.models.delta_models": "DplModel MtsDplModel",
    "dmg.models.wrappers.nn_model": "NnModel",
    "dmg.models.neural_networks": (
        "CudnnLstmModel LstmModel AnnModel AnnCloseModel MlpModel LstmMlpModel LstmMlp2Model StackLstmMlpModel"
    ),
    "dmg.models.criterion": (
        "BaseCriterion MSELoss MseLoss KgeBatchLoss KgeNormBatchLoss NseBatchLoss NseLogBatchLoss NseSqrtBatchLoss "
        "NseTrendBatchLoss RmseCombLoss RmseLoss RangeBoundLoss"
    ),
    "dmg.models.phy_models": "BasePhysicsModel",
    "dmg.core": "Dates timestep_resample format_resample_interval",
    "dmg.core.calc": "Metrics",
    "dmg.core.calc.metrics": "Metrics",
    "dmg.core.data": "create_training_grid load_json txt_to_array loaders samplers",
    "dmg.core.data.loaders": "BaseLoader HydroLoader MtsHydroLoader",
    "dmg.core.data.samplers": "BaseSampler HydroSampler MtsHydroSampler",
    "dmg.core.post": "plot_hydrograph plot_cdf geoplot_single_metric print_metrics",
    "dmg.core.utils": (
        "import_data_loader import_data_sampler import_phy_model import_trainer initialize_config load_criterion "
        "load_nn_model Dates print_config save_model set_randomseed format_resample_interval reachability_matrix "
        "PathWeightedAgg"
    ),
    "dmg.trainers": "Trainer",
    "dmg.trainers.base": "BaseTrainer",
    "hydrodl2": "available_models load_model",
    "hydrodl2.models.hbv.hbv": "Hbv",
    "example": "load_config take_data_sample",
}

QUICK_START = """
from example import load_config, take_data_sample
from hydrodl2.models.hbv.hbv import Hbv
from dmg.core.data.loaders import HydroLoader
from dmg.core.utils import load_nn_model
from dmg.models.delta_models import DplModel
"""

TRAINING = """
from dmg import ModelHandler, Trainer, load_run
from dmg.core.data.samplers import HydroSampler
from dmg.models.criterion import NseBatchLoss
"""


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in PUBLISHED.items() for n in names.split()])
def test_published_path(module, name):
    assert getattr(importlib.import_module(module), name) is not None


@pytest.mark.parametrize("module", ["dmg", "dmg.core", "dmg.core.data", "dmg.core.utils"])
def test_what_a_package_lists_is_there(module):
    package = importlib.import_module(module)
    assert set(package.__all__) <= set(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None


def _python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _cpu_seconds(before, code):
    """CPU seconds of `code` in a fresh process after `before`, median of three."""
    program = (
        f"import time, json\n{before}\nbegan = time.process_time()\n{code}\n"
        "print(json.dumps(time.process_time() - began))"
    )
    return statistics.median(_python(program) for _ in range(3))


def test_import_of_the_package_imports_no_library():
    loaded = _python("import dmg, sys, json; print(json.dumps(sorted(sys.modules)))")
    assert "dmg" in loaded
    heavy = {"torch", "numpy", "matplotlib", "pandas", "xarray", "hydra", "omegaconf", "pint", "pydantic", "zarr"}
    assert not heavy & set(loaded)


@pytest.mark.parametrize("code", [QUICK_START, TRAINING], ids=["quick start", "training"])
def test_imports_are_cheap(code):
    assert _cpu_seconds("import torch", code) <= 2.0


def test_no_plotting_or_table_library_before_it_is_used():
    loaded = _python(f"{QUICK_START}{TRAINING}\nimport sys, json; print(json.dumps(sorted(sys.modules)))")
    assert not {"matplotlib", "pandas", "xarray", "hydra", "pint", "tensorboard"} & set(loaded)


@pytest.mark.parametrize("words", [["--help"], ["data", "--help"]], ids=" ".join)
def test_help_is_cheap(words):
    code = (
        "import contextlib, io, resource, runpy, sys, json\n"
        f"sys.argv = ['dmg', *{words!r}]\n"
        "text = io.StringIO()\n"
        "with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):\n"
        "    runpy.run_module('dmg', run_name='__main__')\n"
        "print(json.dumps([resource.getrusage(resource.RUSAGE_SELF).ru_utime, text.getvalue()]))\n"
    )
    runs = [_python(code) for _ in range(3)]
    assert "usage: dmg" in runs[0][1]
    assert statistics.median(seconds for seconds, _ in runs) <= 2.0
