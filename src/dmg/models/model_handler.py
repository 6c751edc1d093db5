"""One module that holds every model of a run: networks, process models, their losses and weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from dmg.core.data.normalisation import FILE_NAME, Normalisation
from dmg.core.utils.processes import gather_sites
from dmg.core.utils.weights_file import read_weights, save_model, weights_about, weights_path
from dmg.engine import Budget
from dmg.errors import ConfigError, RunError, did_you_mean
from dmg.models.delta_models import DeltaState
from dmg.models.fingerprint import Fingerprint, as_json, fingerprint, first_difference
from dmg.models.heads import make_head
from dmg.models.multimodels import ENSEMBLE, Ensemble
from dmg.models.neural_networks import load_nn_model
from dmg.models.wrappers import NnModel
from dmg.registry import delta_models, process_models

if TYPE_CHECKING:
    from dmg.conf.config import Config


class ModelHandler(nn.Module):
    """The models of a configuration, run, scored, saved and loaded together.

    Parameters
    ----------
    config
        The configuration, as a dict or typed.
    device
        Where the models live; that of the configuration if absent.
    verbose
        Print the losses of each model.

    Attributes
    ----------
    models
        Name of the process model (or of the network, if there is none) to the coupled model.
    output_dict
        What the last call returned.
    ensemble
        What combines several models under ``multimodel_type``; None without one. Its outputs, loss and state stand
        under the name ``ensemble`` beside those of the models.
    head
        What networks alone say of a target.
    loss_dict
        Name of a model to its last loss.
    state
        Name of a model to its full state after the last call.
    budget
        Name of a model to its budget over the last call, if that was asked for.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | Config,
        device: torch.device | str | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__()
        from dmg.conf.config import as_config

        self.config = config = as_config(config)
        self.device = torch.device(device or config.device)
        self.verbose = verbose
        self.models = nn.ModuleDict(self._build())
        self.head = make_head(config.model.head)
        kind = config.multimodel_type
        self.ensemble = Ensemble(config, list(self.models), self.device) if kind and len(self.models) > 1 else None
        self.members_are_frozen = self.ensemble is not None and kind == "nn_sequential"
        if self.members_are_frozen:
            self.models.requires_grad_(False)
        self.output_dict: dict[str, dict[str, Tensor]] = {}
        self.loss_dict: dict[str, float] = dict.fromkeys(self.models, 0.0)
        self.state: dict[str, DeltaState] = {}
        self.budget: dict[str, Budget] = {}
        self.epoch = 0
        self._frozen: set[int] = set()
        self._rests = False

    def _build(self) -> dict[str, nn.Module]:
        model = self.config.model
        if model.phy is None:
            network = load_nn_model({"model": model.model_dump(), "train": {"target": self.config.train.target}})
            wrapper = NnModel(
                target_names=self.config.train.target, model=network, config=model.model_dump(), device=self.device
            )
            wrapper.precision = self.config.train.precision
            return {model.nn.name: wrapper}
        options = model.phy.model_dump() | {"engine": self.config.engine}
        built = {}
        for name in model.phy.name:
            process = process_models.get(name)(options, self.device)
            network = load_nn_model(model, process)
            coupling = delta_models.get(model.coupling.name or getattr(process, "coupling", "DplModel"))
            built[name] = coupling(phy_model=process, nn_model=network, config=model.model_dump(), device=self.device)
            built[name].precision = self.config.train.precision
        return built

    @property
    def trained_outputs(self) -> list[str]:
        """Names of what the loss looks at."""
        return [name for target in self.config.train.target for name in self.head.trained(target)]

    @property
    def model_dict(self) -> nn.ModuleDict:
        """The models by name, under the published attribute."""
        return self.models

    @property
    def fingerprint(self) -> Fingerprint:
        """What decides the meaning of states and weights, as plain data."""
        return fingerprint(self.models, self.config)

    def forward(
        self,
        dataset: Mapping[str, Any],
        eval: bool = False,
        state: Mapping[str, DeltaState] | None = None,
        static: str = "last",
        outputs: Sequence[str] | None = None,
        whole_state: bool = False,
        account: bool = False,
    ) -> dict[str, dict[str, Tensor]]:
        """Run every model from a full state, cold if none is given.

        Parameters
        ----------
        dataset
            A batch; without ``state`` its first ``warmup`` steps spin the models up.
        eval
            Run in evaluation mode and without gradient.
        state
            Name of a model to its full state, as ``self.state`` holds it after a call.
        static
            ``last`` or ``held``: see `DplModel.run`.
        outputs
            Names of outputs to compute, states among them if they are wanted as series; all fluxes if absent.
        whole_state
            Compute every routed flux, so that the state remembers the river of each, whatever the outputs are.
        account
            Leave the budgets in ``self.budget``, recomputed in float64, of models that declare a ledger.

        Returns
        -------
        dict
            Name of the model to its outputs, name to series [T - warmup, B, 1].
        """
        if eval:
            self.eval()
            with torch.no_grad():
                return self.forward(
                    dataset, state=state, static=static, outputs=outputs, whole_state=whole_state, account=account
                )
        self.output_dict, self.state, self.budget = {}, {}, {}
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.members_are_frozen):
            for name, model in self.models.items():
                before = state.get(name) if state else None
                process = getattr(model, "phy_model", None)
                asked = outputs
                if whole_state and outputs is not None:
                    asked = list(dict.fromkeys([*outputs, *getattr(process, "routed", ())]))
                if account and hasattr(model, "window") and getattr(process, "ledger", None):
                    window = model.window(dataset, before, static=static, outputs=asked)
                    self.output_dict[name], self.state[name] = model.run_window(window, asked)
                    self.budget[name] = model.budget(window)
                else:
                    self.output_dict[name], self.state[name] = model.run(dataset, before, static=static, outputs=asked)
        if self.ensemble is not None:
            before = state.get(ENSEMBLE) if state else None
            if state and before is None and self.ensemble.nn_model is not None:
                raise RunError("the state has none of the ensemble's network", hint="it is that of its members alone")
            together, after = self.ensemble(dataset, self.output_dict, before)
            self.output_dict[ENSEMBLE] = together
            if after is not None:
                self.state[ENSEMBLE] = after
        return self.output_dict

    def train(self, mode: bool = True) -> Self:
        """Set training mode; members that are frozen stay in evaluation mode, without dropout."""
        super().train(mode)
        if self.members_are_frozen:
            self.models.eval()
        if self._rests:
            for model in self.models.values():
                model.nn_model.eval()
        return self

    def calc_loss(
        self, batch: Mapping[str, Any], loss_func: nn.Module | Mapping[str, nn.Module] | None = None
    ) -> Tensor:
        """Return the loss of the last outputs, summed over targets (with their weights) and models.

        Where several processes share the batch it is the loss of the whole of it, the same in every process.

        Parameters
        ----------
        batch
            ``target`` [T - warmup, B, K] and, for losses that scale by site, ``batch_sample``; the whole batch.
        loss_func
            A loss, or target name to loss; the one of the configuration, scaled by this batch, if absent.
        """
        train = self.config.train
        total = torch.zeros((), device=self.device)
        for name in self._scored():
            output = self.output_dict[name]
            loss = torch.zeros((), device=self.device)
            for k, target in enumerate(train.target):
                told = self.head.trained(target)
                if not set(told) <= set(output):
                    raise RunError(
                        f"{name} returns no '{next(n for n in told if n not in output)}'",
                        where="train.target",
                        hint=f"targets can be {', '.join(output)}",
                    )
                observed = batch["target"][..., k : k + 1]
                criterion = loss_func[target] if isinstance(loss_func, Mapping) else loss_func
                sites = batch.get("batch_sample")
                if criterion is None:
                    from dmg.models.criterion import load_criterion

                    criterion = load_criterion(observed, train.loss_function, device=self.device, head=self.head)
                    sites = None
                weight = train.target_weights.get(target, 1.0)
                predicted = output[target] if told == [target] else torch.cat([output[n] for n in told], -1)
                loss = loss + weight * criterion(gather_sites(predicted), observed, sample_ids=sites)
            self.loss_dict[name] = float(loss.detach())
            if self.verbose:
                print(f"{name} loss: {self.loss_dict[name]:.6f}")
            total = total + loss
        bound = self.ensemble.range_loss() if self.ensemble is not None else None
        if bound is not None:
            self.loss_dict["range_bound"] = float(bound.detach())
            total = total + bound
        return total

    def _scored(self) -> list[str]:
        """Return whose outputs the loss looks at: what is trained."""
        if self.members_are_frozen:
            return [ENSEMBLE]
        weighs = self.ensemble is not None and self.ensemble.nn_model is not None
        return [*self.models, *([ENSEMBLE] if weighs else [])]

    def get_parameters(self) -> list[nn.Parameter]:
        """Return everything that is trained."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def branches(self) -> dict[str, list[nn.Parameter]]:
        """Return the weights of the parts that may be trained apart, by name of the part; those that have weights.

        ``network`` supplies parameters (or is the whole model), ``process`` is inside process models, ``correction`` in
        the coupling, ``ensemble`` weighs models.
        """
        found: dict[str, list[nn.Parameter]] = {"network": [], "process": [], "correction": [], "ensemble": []}
        kinds = {"nn_model": "network", "phy_model": "process"}
        for model in self.models.values():
            for name, weight in model.named_parameters():
                found[kinds.get(name.partition(".")[0], "correction")].append(weight)
        found["ensemble"] = [] if self.ensemble is None else list(self.ensemble.parameters())
        return {name: weights for name, weights in found.items() if weights}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return everything that is trained as groups for an optimizer; parts may have rates of their own.

        Raises
        ------
        ConfigError
            If a part with a rate, or one that a stage trains, has no weights.
        """
        train, branches = self.config.train, self.branches()
        asked = [*((name, "train.branch_lr") for name in train.branch_lr)]
        asked += [(name, "train.stages") for stage in train.stages for name in stage.train]
        for name, where in asked:
            if not any(p.requires_grad for p in branches.get(name, ())):
                raise ConfigError(
                    f"the models have no weights that are '{name}'", where=where, hint=did_you_mean(name, branches)
                )
        rates = dict(train.branch_lr)
        if self.config.multimodel.learning_rate and "ensemble" in branches:
            rates.setdefault("ensemble", self.config.multimodel.learning_rate)
        if not rates:
            return [{"params": self.get_parameters()}]
        groups = [{"params": [p for name in branches if name not in rates for p in branches[name]]}]
        groups += [{"params": branches[name], "lr": rate} for name, rate in rates.items()]
        return [group for group in groups if any(p.requires_grad for p in group["params"])]

    def train_only(self, names: Sequence[str] | None) -> None:
        """Train only some parts of the models (see `branches`) from now on; all of them if None.

        What is frozen gets no gradient, and a frozen network drops nothing.
        """
        for name, weights in self.branches().items():
            for weight in weights:
                if names is None or name in names:
                    weight.requires_grad_(weight.requires_grad or id(weight) in self._frozen)
                    self._frozen.discard(id(weight))
                elif weight.requires_grad:
                    weight.requires_grad_(False)
                    self._frozen.add(id(weight))
        self._rests = names is not None and "network" not in names

    def get_states(self) -> dict[str, DeltaState]:
        """Return the full states after the last call, name of the model to state."""
        return dict(self.state)

    def weights_path(self, name: str, epoch: int, folder: str | Path | None = None) -> Path:
        """Return the file of a model's weights after an epoch."""
        return weights_path(folder or self.config.model_dir, name, epoch)

    def save_model(self, epoch: int, folder: str | Path | None = None) -> list[Path]:
        """Write the weights of every model, atomically, and return the files.

        Their headers carry what the weights mean nothing without: the configuration, the fingerprint of the model, and
        the statistics of normalisation that lie beside them.
        """
        folder = folder or self.config.model_dir
        about = {"config": json.dumps(self.config.model_dump(mode="json"))}
        statistics = Path(folder) / FILE_NAME
        if statistics.is_file():
            about["normalisation"] = statistics.read_text(encoding="utf-8")
        paths = [
            save_model(folder, model, name, epoch, about=about | {"fingerprint": json.dumps(self._own(name))})
            for name, model in self._in_files().items()
        ]
        self.epoch = epoch
        return paths

    def remove_weights(self, epoch: int, folder: str | Path | None = None) -> None:
        """Remove the files of the weights after an epoch."""
        for name in self._in_files():
            self.weights_path(name, epoch, folder).unlink(missing_ok=True)

    def _in_files(self) -> dict[str, nn.Module]:
        """Return what has a weight file of its own, by name."""
        weighs = self.ensemble is not None and self.ensemble.nn_model is not None
        return dict(self.models) | ({ENSEMBLE: self.ensemble} if weighs else {})

    def load_model(self, epoch: int, folder: str | Path | None = None, *, new_ensemble: bool = False) -> None:
        """Load the weights of every model after an epoch.

        With ``new_ensemble`` an ensemble whose weights are not there keeps those that it has: its members were trained
        alone.

        Published ``.pt`` files (plain state dicts) are read where there is no ``.safetensors``, without executing code.

        Raises
        ------
        RunError
            If a file is missing or damaged, was trained with another configuration or other statistics than lie beside
            it, or does not fit the model; the first difference is named, and nothing is changed then.
        """
        parts = self._in_files()
        if new_ensemble and ENSEMBLE in parts and not self.weights_path(ENSEMBLE, epoch, folder).is_file():
            del parts[ENSEMBLE]
        found = {}
        for name, model in parts.items():
            path = self._find_weights(self.weights_path(name, epoch, folder))
            about = weights_about(path)
            if "fingerprint" in about:
                _check_difference(first_difference(json.loads(about["fingerprint"]), as_json(self._own(name))), path)
            if "normalisation" in about:
                _check_statistics(about["normalisation"], path)
            found[name] = read_weights(path, self.device)
            _check_fit(model.state_dict(), found[name], path)
        for name, weights in found.items():
            parts[name].load_state_dict(weights)
        self.epoch = epoch

    def _own(self, name: str) -> Fingerprint:
        """Return the fingerprint of one of the models."""
        return fingerprint({"model": self._in_files()[name]}, self.config)

    def _find_weights(self, path: Path) -> Path:
        published = path.with_suffix(".pt")
        if path.is_file() or published.is_file():
            return path if path.is_file() else published
        there = sorted(p.name for p in path.parent.glob("*_ep*")) if path.parent.is_dir() else []
        raise RunError(
            f"there are no weights '{path.name}' to load",
            where=str(path.parent),
            hint=f"found {', '.join(there)}" if there else "train first, or give pretrained_model_dir",
        )


def _check_difference(difference: str | None, path: Path) -> None:
    if difference:
        raise RunError(
            f"the weights were trained with another configuration: {difference}",
            where=str(path),
            hint="use the configuration of that run",
        )


def _check_statistics(carried: str, path: Path) -> None:
    """Refuse weights beside which lie other statistics than they were trained with."""
    beside = path.with_name(FILE_NAME)
    if not beside.is_file():
        return
    trained, now = Normalisation.parse(carried, where=str(path)), Normalisation.load(beside)
    words = ("with the weights", "beside them")
    found = first_difference(trained.statistics, now.statistics, words=words)
    found = found or first_difference(sorted(trained.log), sorted(now.log), "the list of log-normalised", words=words)
    if found:
        raise RunError(
            f"the weights were trained with other statistics than lie beside them: {found}",
            where=str(beside),
            hint="remove that file: the weights carry their own statistics",
        )


def _check_fit(wanted: Mapping[str, Tensor], got: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that do not fit the model, naming the first difference."""
    for key, value in wanted.items():
        if key not in got:
            raise RunError(f"the weights have no '{key}'", where=str(path), hint="use the configuration of that run")
        if got[key].shape != value.shape:
            raise RunError(
                f"'{key}' has shape {tuple(got[key].shape)} in the file, {tuple(value.shape)} in the model",
                where=str(path),
                hint="use the configuration of that run",
            )
    for key in got:
        if key not in wanted:
            raise RunError(f"the weights have '{key}', the model has not", where=str(path))
