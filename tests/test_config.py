"""The configuration schema: what it accepts, what it refuses and how it says so."""

from __future__ import annotations

import copy
import importlib
import json
import pkgutil
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_config
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from dmg.conf.compose import compose
from dmg.conf.config import Config, as_config
from dmg.conf.docs import schema_table
from dmg.conf.explain import known_keys, suggest_key
from dmg.core.utils import initialize_config, set_randomseed
from dmg.errors import ConfigError
from dmg.registry import process_models

ROOT = Path(__file__).parents[1]


def base() -> dict[str, Any]:
    return small_config.hbv_config(
        train__start_time="1999/10/01",
        train__end_time="2008/09/30",
        test={"start_time": "1989/10/01", "end_time": "1999/09/30", "batch_size": 25},
        model__rho=365,
        model__warmup=365,
        model__nn__forcings=["prcp"],
        model__nn__attributes=["p_mean"],
        observations={
            "name": "camels_531",
            "start_time": "1980/10/01",
            "end_time": "2014/09/30",
            "all_forcings": ["prcp", "tmean", "pet"],
            "all_attributes": ["p_mean"],
        },
    )


def changed(**values: Any) -> dict[str, Any]:
    """The base with dotted keys (``train__lr``) set."""
    return small_config.changed(base(), **values)


def refusal(config: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        as_config(config)
    return str(caught.value)


def test_values_are_typed_and_frozen():
    config = as_config(changed(train__lr="0.5", model__phy__nearzero="1e-5"))
    assert config.train.lr == 0.5
    assert config.model.phy.nearzero == 1e-5
    with pytest.raises(Exception, match="frozen"):
        config.train.lr = 2.0


def test_round_trip_through_the_plain_dict_and_json():
    config = as_config(changed(train__lr_scheduler={"name": "StepLR", "step_size": 3}))
    plain = config.to_dict()
    assert plain["train_time"] == ["1999/10/01", "2008/09/30"]
    assert as_config(json.loads(json.dumps(plain))) == config
    assert as_config(initialize_config(config, make_dirs=False)) == config
    assert as_config(OmegaConf.create(base())) == as_config(base())
    assert as_config(config) is config


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [
        ("train__batchsize", "train.batch_size"),
        ("train__epoch", "train.epochs"),
        ("modle", "model"),
        ("train__rho", "model.rho"),
        ("model__nn__hidden", "hidden_size"),
        ("model__phy__nmull", "nmul"),
        ("observations__datapath", "observations.data_path"),
    ],
)
def test_unknown_keys_are_refused_with_the_closest_known_one(key: str, suggestion: str):
    message = refusal(changed(**{key: 3}))
    assert f"unknown key '{key.replace('__', '.')}'" in message
    assert "did you mean" in message
    assert f"'{suggestion}'" in message


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_letter_missing_in_a_long_key_is_found_again(data: st.DataObject):
    key = data.draw(st.sampled_from([k for k in known_keys(Config) if len(k.rpartition(".")[2]) >= 8]))
    block, _, last = key.rpartition(".")
    at = data.draw(st.integers(1, len(last) - 1))
    typo = last[:at] + last[at + 1 :]
    path = f"{block}.{typo}" if block else typo
    if path not in known_keys(Config):
        assert "did you mean" in suggest_key(path, Config)


def test_every_problem_is_named_at_once():
    message = refusal(changed(train__epochs=-1, train__lr="fast", model__rho=0))
    assert "3 problems" in message
    assert all(key in message for key in ("train.epochs", "train.lr", "model.rho"))


def test_what_model_and_data_say_themselves_need_not_be_given():
    whole = as_config(
        small_config.hbv_config(
            model__phy={"name": "Hbv", "forcings": small_config.FORCINGS}, observations={"data_path": "a/soils.nc"}
        )
    )
    short = small_config.hbv_config(model__phy="Hbv", observations={"data_path": "a/soils.nc"})
    assert as_config(short) == whole  # among them the warm-up that the process model reads from its own block
    assert whole.model.phy.warmup == whole.model.warmup == 30
    assert whole.observations.name == "soils"
    assert (
        as_config(small_config.hbv_config(observations={"name": "own", "data_path": "a/soils.nc"})).observations.name
        == "own"
    )


def test_missing_key_says_how_to_give_it():
    config = base()
    del config["train"]["batch_size"]
    assert "'train.batch_size' is missing" in refusal(config)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (("model", "warm_up", 30), ("model", "warmup")),
        (("model__phy", "warm_up_states", False), ("model__phy", "warmup_states")),
        (("train", "grad_threshold", 2.0), ("train", "grad_clip")),
        ((None, "random_seed", 7), (None, "seed")),
        ((None, "load_state_dir", "s"), (None, "load_state_path")),
        ((None, "out_path", "o"), (None, "output_dir")),
    ],
)
def test_legacy_spellings_set_the_present_key(old: tuple, new: tuple):
    config = base()
    config["model"].pop("warmup")
    at = config
    for block in (old[0] or "").split("__"):
        at = at[block] if block else at
    at[old[1]] = old[2]
    found: Any = as_config(config)
    for block in [*(new[0] or "").split("__"), new[1]]:
        found = getattr(found, block) if block else found
    assert found == old[2]


def test_legacy_and_present_spelling_must_agree():
    assert "warm_up" in refusal(changed(model__warm_up=30))
    assert as_config(changed(model__warm_up=365)).model.warmup == 365


def test_older_blocks_and_modes_are_understood():
    config = changed(mode="simulation", simulation={"start_time": "1989/10/01", "end_time": "1990/09/30"})
    config["delta_model"] = config.pop("model")
    config["delta_model"]["phy_model"] = config["delta_model"].pop("phy")
    config["train"]["loss_function"] = {"model": "RmseLoss"}
    checked = as_config(config)
    assert checked.mode == "sim"
    assert checked.experiment_time == ["1989/10/01", "1990/09/30"]
    assert checked.model.phy.warmup == 365
    assert checked.train.loss_function.name == "RmseLoss"


def test_older_spellings_lead_to_the_present_keys_in_the_plain_dict():
    config = initialize_config(base(), make_dirs=False)
    assert config["model"]["warm_up"] == config["model"]["warmup"] == 365
    assert config["model_path"] == config["model_dir"]
    assert config["delta_model"]["phy"]["warm_up_states"] is True
    config["random_seed"] = 5
    assert config["seed"] == 5
    assert "random_seed" not in config
    assert type(copy.deepcopy(config)["model"]) is type(config["model"])
    with pytest.raises(KeyError):
        config["nonsense"]


def test_changes_of_the_plain_dict_are_checked():
    config = initialize_config(base(), make_dirs=False)
    config["mode"] = "train"
    config["output_dir"] = "elsewhere"
    again = initialize_config(config, make_dirs=False)
    assert again["experiment_time"] == again["train_time"]
    assert again["model_dir"] == "elsewhere/model"
    assert again["pretrained_model_dir"] is None
    config["model"]["warmup"] = 100
    assert "'model.warmup' is 100 but 'model.phy.warmup' is 365" in refusal(config)
    config["model"]["phy"]["warmup"] = 100
    assert as_config(config).model.warmup == 100


def test_a_model_folder_elsewhere_is_a_pretrained_model():
    config = as_config(changed(model_dir="trained/model", output_dir="out"))
    assert (config.model_dir, config.pretrained_model_dir) == ("out/model", "trained/model")
    assert as_config(config.to_dict()) == config


def test_initialize_config_makes_folders_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    initialize_config(base(), make_dirs=False)
    assert not list(tmp_path.iterdir())
    config = initialize_config(changed(output_dir="run"))
    assert Path(config["model_dir"]).is_dir()


def test_seed_may_be_null():
    assert as_config(changed(seed=None)).seed is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train__start_time": "2001/02/30"}, ["train.start_time", "2001/02/30", "no date"]),
        ({"train__start_time": "2009/10/01"}, ["train", "2009/10/01", "2008/09/30", "is behind"]),
        ({"test__start_time": "1979/10/01"}, ["test.start_time 1979/10/01", "1980/10/01"]),
        ({"train__end_time": "2014/10/01"}, ["train.end_time 2014/10/01", "2014/09/30"]),
        ({"observations__end_time": "1970/01/01"}, ["observations", "1970/01/01"]),
        (
            {"model__rho": 4000, "observations__name": "sample"},
            ["model.rho 4000", "4365 days", "3653 days", "1998/10/01"],
        ),
    ],
)
def test_periods_are_checked_with_their_dates(change: dict, words: list[str]):
    message = refusal(changed(**change))
    assert all(word in message for word in words), message


def test_a_window_as_long_as_the_record_fits():
    days = 3288  # 1999/10/01 .. 2008/09/30; the warm-up lies before
    assert as_config(changed(model__rho=days, observations__name="sample")).model.rho == days
    assert "does not fit" in refusal(changed(model__rho=days + 1, observations__name="sample"))
    # The time step of a store is not known yet: the loader checks.
    assert as_config(changed(model__rho=days + 1)).model.rho == days + 1


def test_a_date_alone_is_the_day_and_a_midnight_its_first_moment():
    config = as_config(changed(test__end_time="1999-09-30 00:00"))
    assert config.test_time == ["1989/10/01", "1999/09/30 00:00"]
    assert as_config(config.to_dict()) == config
    assert as_config(changed(test__end_time="1989/10/01")).test.days == 1


def test_flow_regime_is_for_a_network_alone():
    message = refusal(changed(model__flow_regime="low"))
    assert "model.flow_regime: low normalises the target of a network alone; Hbv is trained on physical" in message
    assert "set model.flow_regime=null" in message
    assert as_config(changed(model__flow_regime="low", model__phy=None)).model.flow_regime == "low"


@pytest.mark.parametrize(
    ("phy", "words"),
    [
        ({"forcings": ["prcp", "tmean"]}, ["Hbv needs 'pet' (mm d-1)"]),
        ({"forcings": ["prcp", "tmean", "pet", "p_mean"]}, ["Hbv has no forcing p_mean", "known: pet, prcp, tmean"]),
        ({"forcings": ["prcp", "pet"], "variables": ["prcp", "tmean", "pet"]}, ["variables names 3", "forcings 2"]),
    ],
)
def test_the_forcings_of_a_process_model_are_those_it_declares(phy: dict, words: list[str]):
    config = base()
    config["model"]["phy"] |= phy
    config["observations"]["all_forcings"] = []
    message = refusal(config)
    assert all(word in message for word in words), message


def test_variables_give_the_forcings_of_a_data_set_the_names_of_the_model():
    config = base()
    config["model"]["phy"] |= {"forcings": ["P", "T", "E"], "variables": ["prcp", "tmean", "pet"]}
    config["observations"]["all_forcings"] = []
    assert as_config(config).model.phy.forcings == ["P", "T", "E"]


def test_dates_of_other_spellings_become_the_published_one():
    config = as_config(changed(train__start_time="1999-10-01", train__end_time="2008-09-30T12:00"))
    assert config.train_time == ["1999/10/01", "2008/09/30 12:00"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model__phy__name": ["Hbw"]}, ["model.phy.name", "Hbw", "'Hbv'"]),
        ({"model__nn__name": "LstmModell"}, ["model.nn.name", "did you mean"]),
        ({"train__loss_function": "RmseLossComb"}, ["train.loss_function.name", "RmseCombLoss"]),
        ({"model__phy__dynamic_params": {"Hbv": ["parBETTA"]}}, ["dynamic_params.Hbv", "'parBETA'"]),
        ({"model__phy__dynamic_params": {"Hbv_3": ["parBETA"]}}, ["Hbv_3", "not among model.phy.name"]),
        ({"model__phy__forcings": ["prcp", "tmen"]}, ["model.phy.forcings", "'tmen'", "'tmean'"]),
        ({"model__nn__attributes": ["pmean"]}, ["model.nn.attributes", "'p_mean'"]),
        ({"model__nn__forcings": ["prcp", "prcp"]}, ["twice"]),
        ({"train__target_weights": {"streamflw": 1.0}}, ["train.target_weights", "'streamflow'"]),
        ({"model__output_unit": "mm/day"}, ["model.output_unit", "'mm/d'"]),
        ({"mode": "training"}, ["mode", "'train'"]),
        ({"mode": "sim"}, ["sim.start_time"]),
        ({"do_tune": True}, ["do_tune"]),
    ],
)
def test_names_are_checked(change: dict, words: list[str]):
    message = refusal(changed(**change))
    assert all(word in message for word in words), message


def test_dynamic_parameters_of_a_model_under_another_name_reach_its_class():
    config = as_config(changed(model__phy__name="hbv", model__phy__dynamic_params={"hbv": ["parK0"]}))
    assert config.model.phy.dynamic_params["Hbv"] == ["parK0"]
    assert as_config(config.to_dict()) == config
    assert "no parameter 'parK9'" in refusal(
        changed(model__phy__name="hbv", model__phy__dynamic_params={"hbv": ["parK9"]})
    )


@pytest.mark.parametrize("name", ["Adadelta", "Adam", "AdamW", "SGD", "RMSprop", "NAdam", "Rprop"])
def test_every_torch_optimizer_is_accepted(name: str):
    assert as_config(changed(train__optimizer={"name": name})).train.optimizer.name == name


@pytest.mark.parametrize(
    "scheduler",
    [
        {"name": "StepLR", "step_size": 10, "gamma": 0.5},
        {"name": "ExponentialLR", "gamma": 0.9, "step_size": None},
        {"name": "CosineAnnealingLR", "T_max": 10, "step_size": None, "gamma": None},
        {"name": "ReduceLROnPlateau", "patience": 3},
    ],
)
def test_schedulers_take_their_own_arguments_and_null_is_not_one(scheduler: dict):
    found = as_config(changed(train__lr_scheduler=scheduler)).train.lr_scheduler
    assert found.arguments == {k: v for k, v in scheduler.items() if k != "name" and v is not None}


@pytest.mark.parametrize("none", [None, "none", {"name": None, "step_size": 10, "gamma": 0.5}])
def test_no_scheduler(none: Any):
    assert as_config(changed(train__lr_scheduler=none)).train.lr_scheduler is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train__lr_scheduler": {"name": "ExponentialLR", "gamma": 0.9, "step_size": 3}}, ["step_size", "gamma"]),
        ({"train__lr_scheduler": {"name": "StepLR"}}, ["StepLR", "step_size"]),
        ({"train__lr_scheduler": "StepLr"}, ["train.lr_scheduler.name", "'StepLR'"]),
        ({"train__optimizer": {"name": "Adamw"}}, ["train.optimizer.name", "'AdamW'"]),
        ({"train__optimizer": {"name": "Adam", "weightdecay": 0.1}}, ["optimizer.weightdecay", "'weight_decay'"]),
        ({"train__optimizer": {"name": "Adam", "betas": 3}}, ["Adam refuses"]),
        ({"train__optimizer": {"name": "Adam", "lr": 3}}, ["train.lr"]),
        ({"train__loss_function": {"name": "RmseCombLoss", "alpa": 0.1}}, ["loss_function.alpa", "'alpha'"]),
        ({"train__loss_function": {"name": "RmseCombLoss", "eps": 0.1}}, ["loss_function.eps", "alpha"]),
    ],
)
def test_arguments_are_checked_against_what_takes_them(change: dict, words: list[str]):
    message = refusal(changed(**change))
    assert all(word in message for word in words), message


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_device_is_resolved_and_absent_cuda_is_an_error():
    assert as_config(changed(device="auto")).device == "cpu"
    message = refusal(changed(device="cuda"))
    assert "no CUDA device" in message
    assert "device=auto" in message


@pytest.mark.parametrize(
    ("name", "network"), [("default", "LstmModel"), ("camels_531", "LstmModel"), ("camels_531_mingru", "MinGruModel")]
)
def test_packaged_configurations_are_valid(name: str, network: str):
    config = as_config(compose(name))
    assert config.model.phy.name == ["Hbv"]
    assert config.name == f"{network}-Hbv"


def test_dhbv_1_1p_has_the_published_settings():
    config = as_config(compose("camels_531_1_1p"))
    assert config.name == "LstmModel-Hbv_1_1p"
    assert config.model.phy.dynamic_params["Hbv_1_1p"] == ["parBETA", "parK0", "parBETAET"]
    assert (config.model.phy.warmup_states, config.model.use_log_norm) == (False, [])
    assert (config.train.loss_function.name, config.train.epochs) == ("NseBatchLoss", 100)
    process = process_models.get("Hbv_1_1p")(config.model.phy.model_dump())
    assert process.layout.dynamic == ("parBETA", "parK0", "parBETAET")
    assert process.learnable_param_count == 14 * 16 + 2


def test_another_model_is_asked_for_its_dynamic_parameters():
    message = refusal(changed(model__phy__name=["Hbv_1_1p"]))
    assert "speaks of Hbv, but not of Hbv_1_1p" in message
    assert "model.phy.dynamic_params.Hbv_1_1p=[parBETA, …]" in message
    dynamic = {"Hbv": ["parBETA"], "Hbv_1_1p": []}
    assert as_config(changed(model__phy__name=["Hbv_1_1p"], model__phy__dynamic_params=dynamic))


def test_attributes_that_a_model_needs_are_named():
    change = {"model__phy__name": ["Hbv_2"], "model__phy__dynamic_params": {"Hbv_2": ["parBETA"]}}
    message = refusal(changed(**change))
    assert "Hbv_2 needs the attribute 'ac_all' (km2)" in message
    assert "observations.upstream_area_name" in message
    assert "Hbv_2 needs the attribute 'elev_all' (m)" in message
    assert "elev_all" not in refusal(changed(**change, model__phy__elev_threshold=False))
    named = {"observations__upstream_area_name": "area_gages2", "observations__elevation_name": "elev_mean"}
    assert as_config(changed(**change, **named))


def test_camels_periods_are_those_of_the_benchmark():
    config = as_config(compose("camels_531"))
    assert config.observations.name == "camels_531"
    assert config.train_time == ["1999/10/01", "2008/09/30"]
    assert config.test_time == ["1989/10/01", "1999/09/30"]
    assert config.observations.data_path is None


def test_import_of_the_schema_is_light():
    code = "import sys, dmg.conf.config; print([m for m in ('torch', 'hydra', 'xarray', 'pandas') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("package", ["dmg", "dmg.core.utils"])
def test_lazy_names_exist_and_no_module_hides_one(package: str):
    module = importlib.import_module(package)
    for name in module.__all__:
        getattr(module, name)
    for info in pkgutil.iter_modules(module.__path__):
        assert info.name not in module.__all__, f"{package}.{info.name} would hide the function of that name"
    with pytest.raises(AttributeError):
        module.nonsense  # noqa: B018


def test_seeding_repeats_every_generator_and_none_leaves_them_alone():
    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002

    set_randomseed(3)
    first = draw()
    set_randomseed(3)
    assert draw() == first
    set_randomseed(None)
    assert draw() != first


def test_every_key_has_a_description():
    assert not [line for line in schema_table().splitlines() if line.startswith("| `") and line.endswith("|  |")]


def test_documentation_is_up_to_date():
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == schema_table(), "run: dmg config docs --write docs/configuration.md"
