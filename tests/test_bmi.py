"""A trained model as a BMI component: it goes on by one step at a time as a run over all of them does."""

import gc
import logging

import numpy as np
import pytest
import yaml
from bmi_case import NAMES, STEPS, WARMUP, component, random_run, read, supply, trained, write_case
from small_mts import hourly_store, mts_config
from small_run import small_store

import dmg
from dmg.bmi import shared_run
from dmg.core.data.dataset import write_dataset
from dmg.errors import ConfigError, DataError, RunError
from dmg.registry import process_models
from dmg.trainers import Trainer

SITES = ["s3", "s1"]
RUNOFF = "land_surface_water__runoff_depth"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("bmi"))


@pytest.mark.parametrize("sites", [["s2"], SITES])
def test_streaming_equals_the_run_over_the_period(run, tmp_path, sites):
    store = small_store().sel(site=sites).isel(time=slice(0, 60))
    expected = dmg.load_run(run).predict(store, outputs=["streamflow", "SM"])
    bmi = component(write_case(tmp_path, run, sites, spin_up=WARMUP + 10))
    flow, soil = [], []
    for step in range(WARMUP + 10, 60):
        supply(bmi, store, step)
        bmi.update()
        flow.append(read(bmi, RUNOFF) * 1000)
        soil.append(read(bmi, "soil_water__depth") * 1000)
    np.testing.assert_allclose(flow, expected["streamflow"].values[10:], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(soil, expected["SM"].values[10:], rtol=1e-5, atol=1e-6)
    assert bmi.get_current_time() == 40 * 86400.0


SINGLE_STEP = [n for n in process_models if getattr(process_models.get(n), "coupling", "DplModel") == "DplModel"]
QUICK = [("Hbv_2", "LstmMlpModel"), ("Hbv_2_hourly", "LstmModel"), ("Gr4j", "LstmModel"), (None, "LstmModel")]
OTHERS = [("Hbv", "MlpModel"), *((name, "LstmModel") for name in SINGLE_STEP)]
KINDS = [*QUICK, *(pytest.param(*kind, marks=pytest.mark.slow) for kind in OTHERS if kind not in QUICK)]


@pytest.mark.parametrize(("process", "network"), KINDS)
def test_every_model_streams(tmp_path, process, network):
    check_stream(tmp_path, *random_run(tmp_path / "run", process, network))


@pytest.mark.parametrize("flow_regime", ["high", "low"])
def test_a_network_of_normalised_flow_streams(tmp_path, flow_regime):
    settings = {"model__flow_regime": flow_regime, "model__output_unit": "mm/h", "model__use_log_norm": ["prcp"]}
    check_stream(tmp_path, *random_run(tmp_path / "run", None, **settings))


@pytest.mark.parametrize("kind", ["avg", "nn_parallel", None])
def test_models_side_by_side_stream(tmp_path, kind):
    several = {
        "multimodel_type": kind,
        "model__phy__name": ["Hbv", "HbvAdj"],
        "model__phy__dynamic_params": {"Hbv": ["parBETA"], "HbvAdj": ["parBETA"]},
    }
    check_stream(tmp_path, *random_run(tmp_path / "run", "Hbv", **several))


COUPLINGS = {
    "networks on fluxes": {"model__phy__networks": {"recharge": {"inputs": ["SM/parFC", "pet"], "hidden": [3]}}},
    "corrections": {
        "model__coupling": {
            "name": "CorrectedModel",
            "factors": {"prcp": [0.5, 2.0]},
            "by": "inputs",
            "network": {"name": "LstmModel", "hidden_size": 3},
        }
    },
}


@pytest.mark.parametrize("kind", COUPLINGS)
def test_other_couplings_stream(tmp_path, kind):
    check_stream(tmp_path, *random_run(tmp_path / "run", "Hbv", **COUPLINGS[kind]))


def check_stream(tmp_path, run, store):
    loaded = dmg.load_run(run)
    phy = loaded.config.model.phy
    declared = process_models.get(phy.name[0]) if phy and len(phy.name) == 1 else None
    wanted = list(loaded.config.train.target) + [s.name for s in (declared.states if declared else ())]
    expected = loaded.predict(store, outputs=wanted)
    wanted = [str(name) for name in expected.data_vars]
    write_dataset(store.isel(time=slice(0, WARMUP)), tmp_path / "spin_up.nc")
    names = list(loaded.config.model.nn.forcings)
    exchanged = {v: {"variable": v, "name": f"my_{v}", "units": store[v].attrs["units"]} for v in names}
    exchanged |= {v: {"variable": v, "name": f"my_{v}", "units": expected[v].attrs["units"]} for v in wanted}
    tree = {
        "model": str(run),
        "catchments": [{"id": "c"}, {"id": "a"}],
        "spin_up": "spin_up.nc",
        "inputs": [exchanged[v] for v in names],
        "outputs": [exchanged[v] for v in wanted],
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    bmi = component(tmp_path / "config.yaml")
    for step in range(WARMUP, STEPS):
        for name in names:
            bmi.set_value(f"my_{name}", store[name].sel(site=["c", "a"]).values[step])
        bmi.update()
        if "ngen::mass_in" in bmi._model.variables:
            terms = [read(bmi, f"ngen::mass_{term}") for term in ("in", "out", "stored", "leaked")]
            np.testing.assert_allclose(terms[0] - terms[1] - terms[2] - terms[3], 0.0, atol=2e-6)
        for name in wanted:
            whole = expected[name].sel(site=["c", "a"]).values[step - WARMUP]
            np.testing.assert_allclose(read(bmi, f"my_{name}"), whole, rtol=1e-5, atol=1e-5, err_msg=name)


def test_instances_share_the_weights_of_a_run_and_let_go_of_them(run, tmp_path):
    gc.collect()  # components of other tests that were not finalized
    path = write_case(tmp_path, run, ["s2"])
    one, other = component(path), component(path)
    assert one._model.run is other._model.run
    store = small_store().sel(site=["s2"])
    for step in range(20, 30):
        supply(one, store, step)
        one.update()
    for step in range(20, 30):
        supply(other, store, step)
        other.update()
    np.testing.assert_array_equal(read(one, RUNOFF), read(other, RUNOFF))
    double = component(write_case(tmp_path, run, ["s2"], dtype="float64"))
    assert double._model.run is not one._model.run
    double.finalize()
    one.finalize()
    other.finalize()
    assert run not in [key[0] for key in shared_run._runs]


def test_a_cold_start_is_said_and_holds_the_parameters_of_the_first_step(run, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        bmi = component(write_case(tmp_path, run, SITES, spin_up=None))
    assert "starts cold" in caplog.text
    assert (read(bmi, RUNOFF) == 0).all()
    assert np.isnan(read(bmi, "parFC")).all()
    store = small_store().sel(site=SITES)
    supply(bmi, store, 0)
    bmi.update()
    held = read(bmi, "parFC")
    assert np.isfinite(held).all()
    supply(bmi, store, 1)
    bmi.update()
    np.testing.assert_array_equal(read(bmi, "parFC"), held)


def test_a_start_from_the_state_of_a_simulation(run, tmp_path):
    store = small_store().sel(site=SITES).isel(time=slice(0, 60))
    loaded = dmg.load_run(run)
    expected = loaded.predict(store, outputs=["streamflow"])
    _, state = loaded.predict(store.isel(time=slice(0, 40)), return_state=True)
    state.save(tmp_path / "state.safetensors")
    settings = {"spin_up": None, "state": "state.safetensors", "start_time": "2000/02/10"}
    bmi = component(write_case(tmp_path, run, SITES[::-1], **settings))
    for step in range(40, 60):
        supply(bmi, store.sel(site=SITES[::-1]), step)
        bmi.update()
    last = expected["streamflow"].sel(site=SITES[::-1]).values[-1]
    np.testing.assert_allclose(read(bmi, RUNOFF) * 1000, last, rtol=1e-5)


def test_stores_parameters_and_attributes_are_set_without_being_published(run, tmp_path):
    bmi, twin = (component(write_case(tmp_path, run, SITES)) for _ in range(2))
    store = small_store().sel(site=SITES)
    assert not {"SM", "parFC", "slope"} & {*bmi.get_input_var_names(), *bmi.get_output_var_names()}
    assert bmi.get_var_units("SM") == bmi.get_var_units("parFC") == "mm"
    grid = bmi.get_var_grid("SM")
    assert (bmi.get_grid_type(grid), bmi.get_grid_rank(grid), bmi.get_grid_size(grid)) == ("vector", 1, 4)
    moisture, pointer = read(bmi, "SM"), bmi.get_value_ptr("SM")
    before = read(bmi, "ngen::mass_in"), read(bmi, "ngen::mass_stored")
    bmi.set_value_at_indices("SM", np.array([0, 1]), moisture[:2] + 8.0)
    np.testing.assert_allclose(pointer, moisture + np.array([8, 8, 0, 0]), rtol=1e-6)
    # What an assimilation adds is accounted for.
    for term, old in zip(("in", "stored"), before, strict=True):
        np.testing.assert_allclose(read(bmi, f"ngen::mass_{term}") - old, [8e-3, 0.0], atol=1e-8)
    bmi.set_value("parFC", np.full(4, 321.0))
    np.testing.assert_allclose(read(bmi, "parFC"), 321.0, rtol=1e-5)
    bmi.set_value("slope", np.array([0.3, 0.4]))
    for step in range(20, 25):
        for one in (bmi, twin):
            supply(one, store, step)
            one.update()
    np.testing.assert_allclose(read(bmi, "parFC"), 321.0, rtol=1e-5)
    np.testing.assert_array_equal(pointer, read(bmi, "SM"))
    assert not np.allclose(read(bmi, RUNOFF), read(twin, RUNOFF), rtol=1e-3)
    # A state from before takes the attributes back, too.
    bmi.set_value("ngen::serialization_create", np.zeros(1, np.int32))
    bmi.set_value("slope", np.array([0.5, 0.6]))
    bmi.set_value("aspect_of_nothing", np.zeros(2))
    bmi.set_value("ngen::serialization_state", bmi.get_value_ptr("ngen::serialization_state").copy())
    np.testing.assert_allclose(read(bmi, "slope"), [0.3, 0.4], rtol=1e-6)
    bmi.set_value("ngen::serialization_free", np.zeros(1, np.int32))
    state = read(bmi, "SM")
    for name, values, message in [
        ("parFC", np.full(4, 2000.0), "'parFC' is between 50 and 1000 mm, 2000 to 2000"),
        ("SM", np.full(4, np.nan), "not finite"),
        ("ngen::mass_in", np.zeros(2), "cannot be set"),
        ("SM", np.zeros(3), "3 values were given for 'SM', which has 4"),
    ]:
        with pytest.raises(DataError, match=message):
            bmi.set_value(name, values)
    np.testing.assert_array_equal(read(bmi, "SM"), state)


def test_bad_input_raises_and_changes_nothing(run, tmp_path):
    bmi, twin = (component(write_case(tmp_path, run, SITES)) for _ in range(2))
    store = small_store().sel(site=SITES)
    prcp = NAMES["prcp"]
    with pytest.raises(DataError, match=r"missing \(NaN\) at 2 of 2 nodes \(s3, s1\), in step 1, 0 s"):
        bmi.update()
    for values, message in [
        ([np.nan, 1.0], r"missing \(NaN\) at 1 of 2 nodes \(s3\)"),
        ([1.0, np.inf], r"missing \(NaN\) at 1 of 2 nodes \(s1\)"),
        ([1.0, -0.1], r"negative at 1 of 2 nodes \(s1\)"),
    ]:
        supply(bmi, store, 20)
        bmi.set_value(prcp, np.array(values))
        with pytest.raises(DataError, match=message):
            bmi.update()
        assert bmi.get_current_time() == 0.0
    with pytest.raises(DataError, match="3 values were given"):
        bmi.set_value(prcp, np.zeros(3))
    with pytest.raises(DataError, match="places go from 0 to 2"):
        bmi.set_value_at_indices(prcp, np.array([0, 2]), np.zeros(2))
    with pytest.raises(DataError, match="the array has 3 values"):
        bmi.get_value(prcp, np.zeros(3))
    with pytest.raises(DataError, match="places go from -1 to 0"):
        bmi.get_value_at_indices(prcp, np.zeros(2), np.array([-1, 0]))
    every_other = np.zeros(4)[::2]
    bmi.get_value(prcp, every_other)
    np.testing.assert_array_equal(every_other, [1.0, -0.1])
    for one in (bmi, twin):
        supply(one, store, 20)
        one.update()
    np.testing.assert_array_equal(read(bmi, RUNOFF), read(twin, RUNOFF))


def test_a_step_that_gives_no_number_changes_nothing_and_can_be_repeated(run, tmp_path, monkeypatch):
    path = write_case(tmp_path, run, SITES, time_step_seconds=43200)
    bmi, twin = component(path), component(path)
    store = small_store().sel(site=SITES)
    for one in (bmi, twin):
        supply(one, store, 20)
        one.update()
    stream = bmi._model.stream
    step = stream.step

    def broken(forcing):
        return {name: values * np.nan for name, values in step(forcing).items()}

    with monkeypatch.context() as patch:
        patch.setattr(stream, "step", broken)
        with pytest.raises(RunError, match="'streamflow' that is no number at s3, s1"):
            bmi.update()
    assert bmi.get_current_time() == 43200.0
    for one in (bmi, twin):
        for _ in range(3):
            one.update()
    np.testing.assert_array_equal(read(bmi, RUNOFF), read(twin, RUNOFF))
    np.testing.assert_array_equal(read(bmi, "SM"), read(twin, "SM"))


def test_a_spin_up_of_other_steps_is_refused_and_one_that_ends_elsewhere_is_said(run, tmp_path, caplog):
    path = write_case(tmp_path, run, SITES)
    with caplog.at_level(logging.WARNING):
        component(path)
    assert "the spin-up ends at 2000-01-21T00:00:00" in caplog.text
    write_dataset(small_store().sel(site=SITES).isel(time=slice(0, 40, 2)), tmp_path / "spin_up.nc")
    with pytest.raises(DataError, match="the spin-up has steps of 172800 s, the model goes by 86400 s"):
        component(path)


def test_unknown_variables_and_calls_out_of_turn(run, tmp_path, caplog):
    bmi = component(write_case(tmp_path, run, SITES))
    for ask in (bmi.get_value_ptr, bmi.get_var_units, bmi.get_var_grid, bmi.get_var_nbytes):
        with pytest.raises(LookupError, match="did you mean 'land_surface_water__runoff_depth'"):
            ask("land_surface_water__runof_depth")
    with caplog.at_level(logging.WARNING):
        bmi.set_value("atmosphere_water__precipitation", np.zeros(2))
    assert "unknown variable is ignored: 'atmosphere_water__precipitation'" in caplog.text
    with pytest.raises(LookupError, match="there is no grid 7"):
        bmi.get_grid_size(7)
    bmi.finalize()
    bmi.finalize()
    for call in (bmi.update, bmi.get_current_time, lambda: bmi.get_value_ptr(RUNOFF)):
        with pytest.raises(RunError, match="not initialized, or finalized"):
            call()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"modle": "x"}, "unknown key 'modle'\n  where: .*config.yaml\n  hint: did you mean 'model'"),
        ({"catchments": []}, "catchments: List should have at least 1 item"),
        ({"catchments": [{"id": "s1"}, {"id": "s1"}]}, "an id is there twice"),
        ({"outputs": ["streamflw"]}, "the model gives no 'streamflw'(.|\n)*did you mean 'streamflow'"),
        ({"outputs": [{"variable": "SM", "units": "K"}]}, "cannot convert 'mm' to 'K'"),
        ({"inputs": ["rain"]}, "the model reads no 'rain'"),
        ({"time_step_seconds": 7000}, "is no multiple of the host's 7000 s"),
        ({"time_step_seconds": 172800}, "longer than the model's 86400 s"),
        ({"state": "a.bin"}, "two starts, spin_up and state"),
        ({"attributes": None, "spin_up": None}, "the attribute 'area', which 2 catchments do not have: s3, s1"),
        ({"catchments": [{"id": "s9"}]}, "the file has no 1 of the catchments: s9"),
        ({"start_time": "2000/13/01"}, "is no date"),
    ],
)
def test_a_wrong_configuration_says_what_to_do(run, tmp_path, settings, message):
    path = write_case(tmp_path, run, SITES, **settings)
    with pytest.raises((ConfigError, DataError), match=message):
        component(path)


def test_there_is_no_configuration_or_none_that_is_yaml(tmp_path):
    with pytest.raises(ConfigError, match="there is no configuration"):
        component(tmp_path / "none.yaml")
    for text, message in {"- a": "not a YAML mapping", "a: [": "not a YAML file"}.items():
        (tmp_path / "bad.yaml").write_text(text)
        with pytest.raises(ConfigError, match=message):
            component(tmp_path / "bad.yaml")
    (tmp_path / "bad.yaml").write_text("{model: nowhere, catchments: [{id: a}]}")
    with pytest.raises(RunError, match=r"there is no trained model(.|\n)*nowhere"):
        component(tmp_path / "bad.yaml")


@pytest.fixture(scope="module")
def run_of_hours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hours")
    Trainer(mts_config(folder)).train()
    return folder / "out"


@pytest.mark.parametrize("at_gauges", [True, False])
def test_a_model_of_days_and_hours_streams(run_of_hours, tmp_path, at_gauges):
    store = hourly_store().isel(time=slice(0, 24 * 9))
    expected = dmg.load_run(run_of_hours).predict(store, outputs=["Qs", "streamflow", "SM"])
    write_dataset(store.isel(time=slice(0, 24 * 7)), tmp_path / "spin_up.nc")
    units = {"Qs": "mm h-1", "SM": "mm"} | ({"streamflow": "mm h-1"} if at_gauges else {})
    outputs = [{"variable": name, "name": f"my_{name}", "units": unit} for name, unit in units.items()]
    tree = {
        "model": str(run_of_hours),
        "catchments": [{"id": unit} for unit in ("d", "a")],
        "spin_up": "spin_up.nc",
        "members": 2,
        "outputs": outputs,
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(tree))
    bmi = component(tmp_path / "config.yaml")
    assert bmi.get_time_step() == 3600.0
    for step in range(24 * 7, 24 * 9):
        for variable, name in NAMES.items():
            bmi.set_value(name, np.tile(store[variable].sel(site=["d", "a"]).values[step].astype(float), 2))
        bmi.update()
    for name in units:
        last = expected[name].sel(site=["d", "a"]).values[-1]
        np.testing.assert_allclose(read(bmi, f"my_{name}"), np.tile(last, 2), rtol=2e-5, err_msg=name)
    assert (
        np.abs(sum(read(bmi, f"ngen::mass_{t}") * s for t, s in {"in": 1, "out": -1, "stored": -1}.items())).max()
        < 1e-5
    )
    before = read(bmi, "my_Qs")
    bmi.set_value("ngen::serialization_create", np.zeros(1, np.int32))
    cold = component(write_cold(tmp_path, tree))
    cold.set_value("ngen::serialization_state", bmi.get_value_ptr("ngen::serialization_state"))
    np.testing.assert_array_equal(read(cold, "my_Qs"), before)
    for one in (bmi, cold):
        for name in NAMES.values():
            one.set_value(name, np.full(4, 0.3))
        one.update()
    np.testing.assert_array_equal(read(cold, "my_Qs"), read(bmi, "my_Qs"))


def write_cold(folder, tree):
    path = folder / "cold.yaml"
    path.write_text(yaml.safe_dump({**tree, "spin_up": None, "attributes": "spin_up.nc"}))
    return path
