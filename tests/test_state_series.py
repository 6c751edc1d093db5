"""States as time series: in the outputs of a coupled model and in the file of a simulation."""

import numpy as np
import pytest
import xarray as xr
from small_run import no_plots, small_config, small_store  # noqa: F401 (fixture)

from dmg.engine import Flux, Forcing, ProcessModel, State
from dmg.errors import StepError
from dmg.models.model_handler import ModelHandler
from dmg.trainers import Trainer
from hydrodl2.models.hbv.hbv import Hbv

STORES = [state.name for state in Hbv.states]


@pytest.fixture
def simulated(tmp_path):
    """Return a simulation with every state and every term of the budget beside the targets."""
    terms = ["AET_hydro", "floor", "streamflow_no_rout"]
    config = small_config(tmp_path, mode="sim", model__outputs=[*STORES, *terms])
    # The statistics are those of a training.
    assert Trainer(config | {"mode": "train"}).train_dataset.n_sites == 5
    model = ModelHandler(config)
    model.epoch = 1
    Trainer(config, model).inference()
    with xr.open_dataset(tmp_path / "out/sim/simulation.nc") as found:
        return found.load()


def test_series_of_states_lie_in_the_simulation_with_units(simulated):
    for name in STORES:
        assert simulated[name].dims == ("time", "site")
        assert simulated[name].attrs["units"] == "mm"
    assert simulated["streamflow"].attrs["units"] == "mm d-1"


def test_series_of_states_and_fluxes_close_the_budget_at_every_step(simulated):
    days = simulated.time.values
    prcp = small_store()["prcp"].sel(time=days).values.astype(float)
    stored = sum(simulated[name].values.astype(float) for name in STORES)
    terms = {name: simulated[name].values.astype(float) for name in ("AET_hydro", "floor", "streamflow_no_rout")}
    gained = prcp + terms["floor"] - terms["AET_hydro"] - terms["streamflow_no_rout"]
    # float32 rounds stores of hundreds of mm at 1e-5.
    np.testing.assert_allclose(np.diff(stored, axis=0), gained[1:], atol=2e-4)


def test_a_name_that_is_neither_flux_nor_state_is_refused_with_the_closest():
    model = Hbv({"nmul": 2})
    with pytest.raises(StepError, match="did you mean 'SNOWPACK'"):
        model.fluxes_of(["SNOWPAC"])


def test_a_state_and_a_flux_of_one_name_are_refused():
    class Twice(ProcessModel):
        """A flux named like a state."""

        forcings = (Forcing("prcp"),)
        states = (State("storage"),)
        fluxes = (Flux("storage"),)

    with pytest.raises(StepError, match="a state and a flux of one name, 'storage'"):
        Twice()
