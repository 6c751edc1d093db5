"""A finished run: its configuration, model and scores, and predictions for new data."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from dmg.conf.derive import is_timeless
from dmg.core.data.normalisation import FILE_NAME, Normalisation, carried_statistics
from dmg.core.utils.weights_file import weights_about
from dmg.errors import DataError, RunError
from dmg.models.fingerprint import weights_digest
from dmg.models.full_state import FullState
from dmg.registry import loaders, samplers
from dmg.trainers.budget import SiteBudget, site_budgets
from dmg.trainers.run_directory import RunDirectory, elsewhere, read_config
from dmg.trainers.samples import to_samples
from dmg.trainers.simulate import Simulation, simulate_sites, to_dataset
from dmg.trainers.weights import choose_epoch

if TYPE_CHECKING:
    import xarray as xr

    from dmg.conf.config import Config
    from dmg.core.data.batch import Batch
    from dmg.core.data.loaders import BaseLoader
    from dmg.models.model_handler import ModelHandler


def load_run(path: str | Path, *, epoch: int = 0, device: str = "auto") -> Run:
    """Return the run in a directory.

    Parameters
    ----------
    path
        ``output_dir`` of the run, wherever it lies now; or a file of weights of this program, which carries its own
        configuration and statistics and needs nothing beside it.
    epoch
        Epoch of the weights of a run; 0 takes the best by validation, else the newest.
    device
        Where the model shall live.

    Raises
    ------
    RunError
        If the directory holds no run, or no weights.
    """
    return Run(path, epoch=epoch, device=device)


class Run:
    """A finished run; make one with `load_run`.

    Attributes
    ----------
    path
        Directory.
    config
        The configuration it was trained with, its folders as they lie now.
    epoch
        Epoch of the weights.

    Examples
    --------
    >>> run = dmg.load_run("output/dhbv")  # doctest: +SKIP
    >>> run.predict("new_basins.nc")["streamflow"].sel(site="01013500")  # doctest: +SKIP
    """

    def __init__(self, path: str | Path, *, epoch: int = 0, device: str = "auto") -> None:
        from dmg.conf.config import as_config

        self.path = Path(path).expanduser()
        changes = elsewhere(device)
        if self.path.is_file():
            about = weights_about(self.path)
            if "config" not in about:
                raise RunError(
                    "the file of weights carries no configuration",
                    where=str(self.path),
                    hint="give the output_dir of a training; published weights need a configuration of yours with "
                    "pretrained_model_dir",
                )
            folder, epoch = self.path.parent, int(about["epoch"])
            self._files = RunDirectory(folder, model_dir=folder)
            config = as_config({**json.loads(about["config"]), **changes, "output_dir": str(folder)})
        else:
            self._files = RunDirectory(self.path)
            config = read_config(self._files.config, **changes | {"output_dir": str(self.path)})
        if config is None:
            raise RunError(
                "there is no run in this directory",
                where=str(self.path),
                hint="a run has a file config.yaml; give the output_dir of a training, or a file of weights",
            )
        self.config: Config = config
        self._epoch = epoch

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, epoch {self.epoch})"

    @cached_property
    def epoch(self) -> int:
        """Epoch of the weights."""
        phy = self.config.model.phy
        return choose_epoch(self._files.model_dir, phy.name if phy else [self.config.model.nn.name], self._epoch)

    @cached_property
    def model(self) -> ModelHandler:
        """The models with their trained weights, in evaluation mode."""
        from dmg.models.model_handler import ModelHandler

        handler = ModelHandler(self.config)
        handler.load_model(self.epoch, self._files.model_dir)
        return handler.eval()

    @cached_property
    def normalisation(self) -> Normalisation:
        """The statistics with which the inputs were normalised: those beside the weights, or those they carry.

        Raises
        ------
        RunError
            If there are none.
        """
        folder, log = self._files.model_dir, self.config.model.use_log_norm
        own = weights_about(self.path).get("normalisation") if self.path.is_file() else None
        if own:
            return Normalisation.parse(own, log, where=str(self.path))
        if (folder / FILE_NAME).is_file():
            return Normalisation.load(folder / FILE_NAME, log=log)
        carried = carried_statistics(folder)
        if carried is None:
            raise RunError(f"there is no {FILE_NAME} with the weights, which mean nothing without", where=str(folder))
        return Normalisation.parse(carried[0], log, where=str(carried[1]))

    @cached_property
    def digest(self) -> str:
        """Hash of the weights; states carry it."""
        return weights_digest(self.model.models)

    @cached_property
    def record(self) -> dict[str, Any]:
        """What ``run.json`` holds: versions, seed, data, timings."""
        return self._files.read_record()

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """What ``metrics_aggregate.json`` holds, ``{static: {target: {group: {metric: {median, mean, std, n}}}}}``.

        Raises
        ------
        RunError
            If the run was not evaluated.
        """
        return self._read(self._files.metrics_aggregate)

    @cached_property
    def site_metrics(self) -> dict[str, Any]:
        """What ``metrics.json`` holds: sites, and ``{static: {target: {metric: [one value per site]}}}``."""
        return self._read(self._files.metrics)

    @property
    def simulation(self) -> xr.Dataset:
        """The simulation of the test period, ``simulation.nc``, or else that of mode sim; read lazily."""
        from dmg.core.data.dataset import open_file

        files = (self._files.simulation, self._files.sim_simulation, self._files.sim_stream)
        if not any(path.exists() for path in files):
            raise RunError("the run has no simulation", where=str(files[0]), hint="test it, or simulate with it")
        return open_file(next(path for path in files if path.exists()))

    @overload
    def predict(
        self,
        dataset: xr.Dataset | str | Path,
        *,
        static: str = "held",
        outputs: list[str] | None = None,
        batch_size: int | None = None,
        state: FullState | str | Path | None = None,
        return_state: Literal[False] = False,
    ) -> xr.Dataset: ...

    @overload
    def predict(
        self,
        dataset: xr.Dataset | str | Path,
        *,
        static: str = "held",
        outputs: list[str] | None = None,
        batch_size: int | None = None,
        state: FullState | str | Path | None = None,
        return_state: Literal[True],
    ) -> tuple[xr.Dataset, FullState]: ...

    def predict(
        self,
        dataset: xr.Dataset | str | Path,
        *,
        static: str = "held",
        outputs: list[str] | None = None,
        batch_size: int | None = None,
        state: FullState | str | Path | None = None,
        return_state: bool = False,
    ) -> xr.Dataset | tuple[xr.Dataset, FullState]:
        """Run the trained model with other data.

        Parameters
        ----------
        dataset
            Canonical dataset (dims time and site, units on the variables), or the path of one. Variables are
            taken by name, converted to the units of the model and normalised with the statistics of the training.
            Observations are not needed. Of a model of samples a data frame with the columns of the training,
            those of lookups included, or a table; the result has the dimension ``sample``.
        static
            ``held``: static parameters from the spin-up. ``last``: from the last step, as published.
        outputs
            Names of outputs, states among them; targets and ``model.outputs``, or all fluxes if that is empty.
        batch_size
            Sites at once; ``test.batch_size`` if absent.
        state
            Full state of an earlier run, or the file of one: the prediction goes on with the step after it, without a
            warm-up. The sites may be some of those of the state, in any order.
        return_state
            Return the full state after the last step as well.

        Returns
        -------
        xarray.Dataset
            Outputs with units over (time, site). The first ``model.warmup`` steps spin the model up and are not
            part of it, unless a state was given.
        FullState
            With ``return_state``; ``save`` writes it.

        Raises
        ------
        DataError
            If a variable is missing (it is named) or has gaps, the record is not longer than the warm-up, or it does
            not have the step after the state.
        RunError
            If the state is that of another model; the first difference is named.
        """
        if is_timeless(self.config.data_loader):
            if state is not None or return_state:
                raise RunError("samples have no state to start from or to return", where=str(self.path))
            return self._predict_samples(dataset, outputs, batch_size)
        start = state if state is None or isinstance(state, FullState) else FullState.load(state)
        config = self._config_for(dataset, start)
        if outputs is None and config.model.outputs:
            outputs = list(dict.fromkeys([*config.train.target, *config.model.outputs]))
        result = self._simulate(config, dataset, batch_size, static=static, outputs=outputs, start=start)
        found = to_dataset(result)
        return (found, result.state) if return_state else found

    def _predict_samples(self, table: Any, outputs: list[str] | None, batch_size: int | None) -> xr.Dataset:
        from dmg.conf.config import as_config

        plain = self.config.model_dump(mode="json")
        on_disk = isinstance(table, str | Path)
        plain |= {"mode": "sim", "pretrained_model_dir": str(self._files.model_dir)}
        plain["test"] |= {"holdout_sites": None}
        plain["observations"] |= {"name": "given", "sample": None, "tables": {"given": str(table)} if on_disk else {}}
        plain["observations"] |= {} if on_disk else {"lookups": {}}
        config = as_config(plain)
        if outputs is None and config.model.outputs:
            outputs = list(dict.fromkeys([*config.train.target, *config.model.outputs]))
        return to_samples(self._simulate(config, table, batch_size, static="last", outputs=outputs))

    def inputs(self, dataset: xr.Dataset | str | Path, *, days: bool = True) -> Batch:
        """Return what the models see of a dataset, all of its steps: normalised, in their units, with attributes.

        Parameters
        ----------
        dataset
            As for ``predict``; no part of it is taken as warm-up.
        days
            Whether the days that a model of two time steps runs first are taken from it.
        """
        config = self._config_for(dataset, warmup=0)
        phy = config.model.phy
        if not days and phy and phy.lof_model:
            phy = phy.model_copy(update={"lof_model": phy.lof_model.model_copy(update={"warmup": 0})})
            config = config.model_copy(update={"model": config.model.model_copy(update={"phy": phy})})
        return self._loader(config, dataset).eval_dataset

    def budget(
        self,
        dataset: xr.Dataset | str | Path | None = None,
        *,
        static: str = "held",
        batch_size: int | None = None,
    ) -> list[SiteBudget]:
        """Return the budgets of the models, one per model that declares a ledger, recomputed in float64.

        Parameters
        ----------
        dataset
            As for ``predict``; the test period of the run if absent, read from its own data.
        static
            ``held`` or ``last``.
        batch_size
            Sites at once; ``test.batch_size`` if absent.

        Raises
        ------
        RunError
            If no model of the run declares a ledger.
        """
        if not any(getattr(getattr(m, "phy_model", None), "ledger", None) for m in self.model.models.values()):
            raise RunError(
                f"no model of this run declares a ledger: {', '.join(self.model.models)}",
                where=str(self.path),
                hint="a network alone keeps no account; a process model declares ledger = Ledger(…)",
            )
        config = self._config_for(dataset) if dataset is not None else self._as_tested()
        outputs = list(config.train.target)
        return site_budgets(self._simulate(config, dataset, batch_size, static=static, outputs=outputs, account=True))

    def _simulate(
        self, config: Config, dataset: xr.Dataset | str | Path | None, batch_size: int | None, **options: Any
    ) -> Simulation:
        """Simulate over the evaluation period of a configuration, with its own data or those in memory."""
        return simulate_sites(
            self.model,
            self._loader(config, dataset).eval_dataset,
            samplers.get(config.data_sampler)(config),
            batch_size=batch_size or config.test.batch_size,
            description="predicting",
            **options,
        )

    def _loader(self, config: Config, dataset: xr.Dataset | str | Path | None) -> BaseLoader:
        loader_class = loaders.get(config.data_loader)
        in_memory = dataset is not None and not isinstance(dataset, str | Path)
        return loader_class(config, store=dataset) if in_memory else loader_class(config)

    def _as_tested(self) -> Config:
        """Return the configuration with which the run is tested."""
        from dmg.conf.config import as_config

        plain = self.config.model_dump(mode="json")
        return as_config({**plain, "mode": "test", "pretrained_model_dir": str(self._files.model_dir)})

    def _config_for(
        self, dataset: xr.Dataset | str | Path, start: FullState | None = None, warmup: int | None = None
    ) -> Config:
        """Return the configuration of a simulation over all of a dataset, or over what follows a state."""
        from dmg.conf.config import as_config
        from dmg.core.data.dataset import canonical, open_dataset

        on_disk = isinstance(dataset, str | Path)
        store = open_dataset(dataset) if on_disk else canonical(dataset, require_units=False, cast=False)
        times, warmup = store["time"].values, self.config.model.warmup if warmup is None else warmup
        if start is not None:
            start.require(self.model.fingerprint, where="state")
            first, warmup = start.first_step(times), 0
        elif len(times) <= warmup + 1:
            raise DataError(
                f"the data have {len(times)} time steps, the warm-up alone takes {warmup}",
                where=str(dataset) if on_disk else None,
                hint="give a longer record: nothing is predicted for the warm-up",
            )
        else:
            first = warmup
        plain = self.config.model_dump(mode="json")
        plain["mode"] = "sim"
        for block in (plain["model"], plain["model"]["phy"] or {}):
            block["warmup"] = warmup
        plain["pretrained_model_dir"] = str(self._files.model_dir)
        plain["sim"] = {"start_time": _stamp(times[first]), "end_time": _stamp(times[-1])}
        plain["test"] |= {"holdout_sites": None, "holdout_index": None, "type": "temporal", "name": None}
        plain["observations"] |= {
            "name": "given",
            "sample": None,
            "data_path": str(dataset) if on_disk else None,
            "gage_info": None,
            "subset_path": None,
            "start_time": None,
            "end_time": None,
        }
        return as_config(plain)

    def _read(self, path: Path) -> dict[str, Any]:
        if not path.exists():
            raise RunError(
                "the run was not evaluated",
                where=str(path),
                hint=f"dmg mode=test output_dir={self.path}",
            )
        return json.loads(path.read_text(encoding="utf-8"))


def _stamp(moment: Any) -> str:
    """Return a moment as configurations write it, to the minute."""
    return str(moment.astype("datetime64[m]")).replace("-", "/").replace("T", " ")
