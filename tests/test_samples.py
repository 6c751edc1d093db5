"""Models of samples without a time axis: tables, networks of several parts, training, scores and files."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
import yaml

import dmg
from diffecosys.data import PLANT_TYPES, sample_leaves
from diffecosys.models import LeafPhotosynthesis
from dmg.cli import main
from dmg.conf.compose import compose
from dmg.conf.config import as_config
from dmg.core.data.batch import Batch
from dmg.core.data.loaders import TableLoader
from dmg.core.data.sample_table import read_samples
from dmg.core.data.samplers import TableSampler
from dmg.errors import ConfigError, DataError
from dmg.models.criterion import ScaledRmseLoss
from dmg.models.model_handler import ModelHandler
from dmg.models.neural_networks import ParameterNetworks

TYPES = ["C3-grass", "C4-grass", "Crop-R"]


def config(**changes):
    """Return the configuration of tables in which one network knows plant types and one the soil."""
    plain = {
        "mode": "train",
        "data_loader": "TableLoader",
        "train": {
            "target": ["An", "Vcmax25"],
            "lr": 0.05,
            "optimizer": "Adam",
            "loss_function": "ScaledRmseLoss",
            "batch_size": 8,
            "epochs": 1,
        },
        "test": {"batch_size": 10},
        "model": {
            "phy": {"name": ["LeafPhotosynthesis"], "layers": 2, "given": ["g1"]},
            "nn": {
                "name": "ParameterNetworks",
                "categories": {"PFT": TYPES},
                "networks": {
                    "capacity": {"parameters": ["Vcmax25"], "categories": ["PFT"]},
                    "soil": {
                        "parameters": ["B_{}"],
                        "attributes": ["clay_{}", "sand_{}"],
                        "categories": ["PFT"],
                        "elements": 2,
                        "name": "MlpModel",
                        "hidden_size": 4,
                        "activation": "tanh",
                    },
                },
            },
        },
        "observations": {"name": "leaves"},
    }
    for key, value in changes.items():
        block, _, name = key.partition("__")
        plain[block] = {**plain[block], name: value} if name else value
    return plain


@pytest.fixture(scope="module")
def leaves():
    """Return twelve leaves on two soil layers."""
    frame = sample_leaves(200, seed=3)
    frame = frame[frame.PFT.isin(TYPES)].iloc[:12].drop(columns=["psi_open", "psi_closed", "g1"])
    frame = frame.rename(columns={"clay": "clay_1", "sand": "sand_1"}).assign(root_1=0.7, root_2=0.3)
    return frame.assign(wetness_2=0.4, clay_2=0.2, sand_2=0.5, site=[f"s{i % 3}" for i in range(12)])


@pytest.fixture
def tables(leaves, tmp_path):
    """Write gas exchange and traits as two tables, and what is known of plant types; return the block."""
    warm = leaves.rename(columns={"Tleaf": "Tleaf (K)"}).assign(**{"Tleaf (K)": leaves.Tleaf + 273.15})
    warm.drop(columns=["true_Vcmax25", "gs"]).to_csv(tmp_path / "gas.csv", index_label="sample")
    traits = leaves.iloc[:4][["PFT", "clay_1", "clay_2", "sand_1", "sand_2", "site", "true_Vcmax25"]]
    traits = traits.rename(columns={"true_Vcmax25": "Vcmax25 [umol m-2 s-1]"})
    traits.to_csv(tmp_path / "traits.csv", index=False)
    known = pd.DataFrame({name: PLANT_TYPES[name][1:4] for name in TYPES}).T
    known.columns = ["psi_open", "psi_closed", "g1"]
    known.to_csv(tmp_path / "types.csv", index_label="PFT")
    paths = {name: str(tmp_path / f"{name}.csv") for name in ("gas", "traits")}
    return {"name": "leaves", "tables": paths, "lookups": {"PFT": str(tmp_path / "types.csv")}, "group": "site"}


def test_tables_lookups_units_and_masks(leaves, tables):
    loader = TableLoader(config(observations=tables))
    data = loader.train_dataset
    assert data.sites[:2] == list(leaves.index[:2])
    assert data.sites[12:] == ["traits:0", "traits:1", "traits:2", "traits:3"]
    column = {name: data["x_phy"][0, :, i] for i, name in enumerate(data.names["x_phy"])}
    torch.testing.assert_close(column["Tleaf"][:12], torch.tensor(leaves.Tleaf.to_numpy(), dtype=torch.float32))
    slopes = [PLANT_TYPES[name][3] for name in leaves.PFT]
    torch.testing.assert_close(column["g1"][:12], torch.tensor(slopes))
    # Rows of traits have no forcings: they are those of a usual leaf, and their An is not observed.
    assert torch.isfinite(data["x_phy"]).all()
    assert data["target"][0].isnan().tolist() == [[False, True]] * 12 + [[True, False]] * 4
    assert data["c_category"][:, 0].tolist()[:12] == [TYPES.index(name) for name in leaves.PFT]
    # The layers of a soil are normalised together.
    clay = [data.names["c_nn_norm"].index(f"clay_{i}") for i in (1, 2)]
    both = data["c_nn_norm"][:, clay].double()
    np.testing.assert_allclose([both.mean(), both.std(correction=0)], [0.0, 1.0], atol=1e-5)


def test_every_point_of_a_grid_is_a_sample(tmp_path):
    grid = xr.Dataset(
        {
            "Tleaf": (("month", "cell"), np.arange(6.0).reshape(2, 3) + 290.0, {"units": "K"}),
            "PFT": ("cell", ["C3-grass", "Crop-R", "C3-grass"]),
        },
        coords={"month": [1, 7], "cell": ["a", "b", "c"]},
    )
    grid.to_netcdf(tmp_path / "grid.nc", engine="h5netcdf")
    found = read_samples({"grid": str(tmp_path / "grid.nc")})
    assert found.frame[["month", "cell", "PFT"]].values.tolist()[3] == [7, "a", "C3-grass"]
    np.testing.assert_allclose(found.numbers("Tleaf", "degC"), np.arange(6.0) + 290.0 - 273.15)


@pytest.mark.parametrize(
    ("tables", "lookups", "message"),
    [
        ({"a": "a.csv", "b": "b.csv"}, {}, "'x' is in m elsewhere and in km here"),
        ({"a": "a.csv"}, {"kind": "kinds.csv"}, "'kind' has no two"),
        ({"a": "a.csv", "again": "a.csv"}, {}, "the sample 's' is there twice"),
        ({"a": "a.txt"}, {}, "no such file: .*a.txt"),
        ({"a": "kinds.csv"}, {"kind": "kinds.csv"}, "samples and lookup have the column 'y'"),
    ],
)
def test_tables_that_contradict_each_other(tmp_path, tables, lookups, message):
    (tmp_path / "a.csv").write_text("sample,x (m),kind\ns,1,one\nt,2,two\n")
    (tmp_path / "b.csv").write_text("sample,x (km)\nu,1\n")
    (tmp_path / "kinds.csv").write_text("kind,y\none,1\n")
    with pytest.raises(DataError, match=message):
        read_samples(*({name: str(tmp_path / file) for name, file in kind.items()} for kind in (tables, lookups)))


def test_both_tables_are_learned_from(tables):
    settings = as_config(config(observations=tables))
    data, handler = TableLoader(settings).train_dataset, ModelHandler(settings)
    handler(data, outputs=settings.train.target)
    handler.calc_loss(data, ScaledRmseLoss()).backward()
    gradients = {name: p.grad for name, p in handler.named_parameters()}
    assert all(g is not None and torch.isfinite(g).all() for g in gradients.values())
    table = handler.models["LeafPhotosynthesis"].nn_model.parts["capacity"].tables[0].weight
    values = 20.0 + 130.0 * torch.sigmoid(table[data["c_category"][:, 0], 0])
    torch.testing.assert_close(handler.output_dict["LeafPhotosynthesis"]["Vcmax25"][0, :, 0], values)


def test_groups_are_held_out(tables):
    loader = TableLoader(config(observations=tables, test__holdout_sites=["s1"]))
    assert set(loader.train_dataset["group"]) == {"s0", "s2"}
    assert (loader.eval_dataset["group"][loader.eval_dataset.holdout] == "s1").all()


def test_layers_share_their_network_and_a_factor_multiplies(leaves):
    layout = LeafPhotosynthesis({"layers": 2, "given": ["g1"]}).layout
    blocks = config()["model"]["nn"]["networks"] | {
        "dry": {"parameters": ["Vcmax25"], "categories": ["PFT"], "factor": [0.5, 1.5]}
    }
    torch.manual_seed(0)
    network = ParameterNetworks(blocks, {"PFT": TYPES})
    network.check([p.name for p in layout.parameters])
    data = Batch(
        {
            "x_phy": torch.zeros(1, 3, 1),
            "c_nn_norm": torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.2, 0.1, 0.4, 0.3], [0.5, 0.5, 0.5, 0.5]]),
            "c_category": torch.tensor([[0], [0], [1]]),
        },
        names={"c_nn_norm": ["clay_1", "clay_2", "sand_1", "sand_2"], "c_category": ["PFT"]},
    )
    raw = network.raw_parameters(data, layout).static
    # The soils of the first two are each other's upside down.
    torch.testing.assert_close(raw[0, 1:], raw[1, 1:].flip(0))
    assert not torch.allclose(raw[0, 1], raw[0, 2])
    torch.testing.assert_close(raw[:, 0], torch.full((3,), 0.5))  # 85 times 1
    with torch.no_grad():
        network.parts["dry"].tables[0].weight.fill_(30.0)
    raised = network.raw_parameters(data, layout).static[:, 0]
    torch.testing.assert_close(20.0 + 130.0 * raised, torch.full((3,), 1.5 * 85.0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"capacity": {"parameters": ["Vcmax"], "categories": ["PFT"]}}, "'Vcmax' is no parameter"),
        ({"again": {"parameters": ["Vcmax25"], "categories": ["PFT"]}}, "'Vcmax25' has two networks"),
        ({"soil": {"parameters": ["B_1"], "categories": ["PFT"]}}, "no network supplies B_2"),
        ({"soil": {"parameters": ["B_{}"], "attributes": ["clay_1"]}}, "attributes need a network"),
        ({"soil": {"parameters": ["B_{}"], "categories": ["biome"]}}, "categories of 'biome' are not listed"),
    ],
)
def test_networks_that_do_not_fit(change, message):
    plain = config()
    plain["model"]["nn"]["networks"] = {**plain["model"]["nn"]["networks"], **change}
    with pytest.raises(ConfigError, match=message):
        ModelHandler(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PFT": "Moss"}, "'Moss' is no 'PFT' that the network knows"),
        ({"VPD": np.nan}, "has no 'VPD', which the process model needs"),
        ({"VPD": "dry"}, "'VPD' of sample .* is no number: 'dry'"),
        ({"clay_1": np.nan}, "has no 'clay_1', which the network reads"),
    ],
)
def test_tables_that_do_not_fit(leaves, change, message):
    frame = leaves.assign(psi_open=-7e4, psi_closed=-3e5, g1=4.0, Vcmax25=np.nan).astype(object)
    (column, value), *_ = change.items()
    frame.loc[frame.index[2], column] = value
    with pytest.raises(DataError, match=message):
        TableLoader(config(), store=frame).build_train_dataset()


def test_sampler_draws_each_observed_row_at_most_once(tables):
    settings = config(observations=tables)
    data, sampler = TableLoader(settings).train_dataset, TableSampler(settings)
    data["target"][0, 5] = float("nan")
    state = sampler.state_dict()
    drawn = [sampler.get_training_sample(data, 16, 1) for _ in range(3)]
    for batch in drawn:
        rows = list(batch["batch_sample"])
        assert len(set(rows)) == 8
        assert 5 not in rows
        torch.testing.assert_close(batch["x_phy"], data["x_phy"][:, rows])
    sampler.load_state_dict(state)
    assert list(sampler.get_training_sample(data, 16, 1)["batch_sample"]) == list(drawn[0]["batch_sample"])


def test_scaled_loss_is_a_share_of_the_spread():
    observed = torch.tensor([[1.0, 3.0, float("nan"), 5.0]])
    loss = ScaledRmseLoss(y_obs=observed)
    predicted = torch.tensor([[2.0, 4.0, 9.0, 6.0]])
    np.testing.assert_allclose(float(loss(predicted, observed)), 1.0 / np.std([1.0, 3.0, 5.0]), rtol=1e-6)


def test_parameters_and_layers_recovered_from_the_command_line(tmp_path, capsys):
    """The twin experiment: Vcmax25 of every plant type within 2 %, B of every soil within 0.05, at 2.5 % noise."""
    out = str(tmp_path / "out")
    words = ["observations.sample.sites=600", "test.holdout_sites=100", "train.iterations=15", "train.epochs=12"]
    words += ["train.lr_scheduler.T_max=12"]
    assert main(["--config-name", "leaves", f"output_dir={out}", *words]) == 0
    assert "nse" in capsys.readouterr().out
    truth = sample_leaves(600)
    with xr.open_dataset(f"{out}/simulation.nc") as found:
        for name, (vcmax25, *_) in PLANT_TYPES.items():
            learned = found["Vcmax25"].values[(name == truth.PFT).to_numpy()]
            np.testing.assert_allclose(learned, vcmax25, rtol=0.02, err_msg=name)
        error = np.abs(found["B_1"].values - truth.true_B_1.to_numpy())
        assert np.quantile(error, 0.99) < 0.05
        assert found["An"].attrs["units"] == "umol m-2 s-1"
        trained = found["An"].values
    scores = json.loads((tmp_path / "out/metrics_aggregate.json").read_text())["last"]["An"]
    assert set(scores) == {"all", "trained", "holdout"}
    assert scores["holdout"]["nse"]["median"] > 0.99
    assert scores["holdout"]["nse"]["n"] == 100
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "LeafPhotosynthesis with ParameterNetworks" in page
    assert "1970" not in page.partition("config.yaml")[0]
    assert "NSE, 100 held-out samples" in page
    assert '<section id="samples">' in page
    assert '"samples":[{"name":"An","unit":"umol m-2 s-1",' in page
    run = dmg.load_run(out)
    inputs = truth.drop(columns=["An", "gs", "true_Vcmax25", "true_B_1"])
    np.testing.assert_allclose(run.predict(inputs)["An"].values, trained, rtol=1e-5, atol=1e-5)
    inputs.iloc[:20].to_csv(tmp_path / "new.csv", index_label="sample")
    few = run.predict(tmp_path / "new.csv", outputs=["An", "B_1"])
    assert few.sample.values.tolist() == list(inputs.index[:20])
    np.testing.assert_allclose(few["An"].values, trained[:20], rtol=1e-5, atol=1e-5)
    # A simulation in chunks needs no observations, and gives the same.
    assert main(["mode=sim", f"output_dir={out}", "sim.batch_size=300", "model.outputs=[An]"]) == 0
    with xr.open_dataset(f"{out}/sim/simulation.nc") as found:
        np.testing.assert_allclose(found["An"].values, trained, rtol=1e-5, atol=1e-5)


def test_the_packaged_configuration_needs_no_dates():
    settings = as_config(compose("leaves", None, []))
    assert (settings.trainer, settings.data_sampler, settings.model.rho) == ("TableTrainer", "TableSampler", 1)
    assert as_config(yaml.safe_load(yaml.safe_dump(settings.model_dump(mode="json")))) == settings
