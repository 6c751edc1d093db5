"""Couplings beyond parameters: networks on fluxes, corrected forcings, corrected outputs; as a run has them."""

import pytest
import torch
import xarray as xr
from small_run import SITES, no_plots, plots, small_config, small_store  # noqa: F401 (fixtures)

from dmg import ModelHandler, Trainer, load_run
from dmg.core.data.batch import Batch
from dmg.core.utils import set_randomseed
from dmg.errors import ConfigError, DmgError
from dmg.models.delta_models import CorrectedModel, ForcingCorrectionModel, ResidualModel
from dmg.models.neural_networks import SiteParameters
from hydrodl2.models import Hymod

STEPS, COUNT = 120, 8
FORCINGS, ATTRIBUTES = ["prcp", "pet"], ["height"]


def weather(seed=0):
    generator = torch.Generator().manual_seed(seed)
    prcp = torch.relu(torch.randn(STEPS, COUNT, generator=generator)) * 10
    return torch.stack([prcp, torch.full_like(prcp, 2.0)], dim=-1)


def batch(x=None):
    """Weather of sites that differ in height, normalised from -1 to 1."""
    x = weather() if x is None else x
    norm = (x - x.mean((0, 1))) / (x.std((0, 1)) + 1.0)
    height = torch.linspace(-1, 1, COUNT)[:, None]
    names = {"x_phy": FORCINGS, "x_nn_norm": FORCINGS, "c_nn_norm": ATTRIBUTES}
    return Batch(
        {"x_phy": x, "x_nn_norm": norm, "c_nn_norm": height}, sites=[f"s{i}" for i in range(COUNT)], names=names
    )


def coupled(kind, coupling, seed=0):
    """A calibrated model with a correction."""
    torch.manual_seed(seed)
    process = Hymod({"warmup": 20})
    network = SiteParameters(0, process.learnable_param_count, [f"s{i}" for i in range(COUNT)])
    config = {"coupling": coupling, "nn": {"forcings": FORCINGS, "attributes": ATTRIBUTES}}
    return kind(phy_model=process, nn_model=network, config=config)


def fit(model, data, observed, parameters, steps=120, lr=0.05):
    optimizer = torch.optim.Adam(parameters, lr=lr)
    losses = []
    for _ in range(steps):
        loss = ((model.run(data, outputs=["streamflow"])[0]["streamflow"] - observed) ** 2).mean() / observed.var()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(("by", "short"), [("attributes", 0.5), ("site", 0.0), ("inputs", 0.0)])
def test_a_known_bias_of_forcing_is_found(by, short):
    """Twin: gauges catch the less, the higher they are, by up to a third; evaporation may be too low by a number."""
    x, height = weather(), torch.linspace(-1, 1, COUNT)
    caught = 0.83 - 0.16 * height
    coupling = {"factors": {"prcp": [0.5, 2.0]}, "by": by, "sites": [f"s{i}" for i in range(COUNT)]}
    # At a single site the two make up for each other.
    model = coupled(ForcingCorrectionModel, coupling | ({"offsets": {"pet": [-2.0, 2.0]}} if short else {}))
    with torch.no_grad():
        observed = model.run(batch(x), outputs=["streamflow"])[0]["streamflow"]
    seen = batch(torch.stack([x[..., 0] * caught, x[..., 1] - short], dim=-1))
    losses = fit(model, seen, observed, list(model.correction.parameters()))
    assert losses[-1] < 0.02 * losses[0]
    found = model.corrections(seen)
    factor = found["factors", "prcp"]
    factor = factor if factor.ndim == 1 else factor.mean(0)
    assert (factor * caught - 1.0).abs().max() < 0.05
    if short:
        assert found["offsets", "pet"].mean().item() == pytest.approx(short, abs=0.1)
    corrected = model.corrected(seen)
    assert corrected.names == seen.names
    assert corrected.sites == seen.sites
    torch.testing.assert_close(corrected["x_phy"][..., 0], x[..., 0], rtol=0.12, atol=0.0)


@pytest.mark.parametrize(("how", "network"), [("add", "MinGruModel"), ("multiply", "MlpModel")])
def test_what_the_process_model_lacks_is_learned(how, network):
    """Twin: the flow that is observed has a third of it withdrawn wherever it exceeds 3 mm/d."""
    block = {"how": how, "network": {"name": network, "hidden_size": 12, "dropout": 0.0}}
    model = coupled(ResidualModel, block)
    data = batch()
    with torch.no_grad():
        plain = model.run(data)[0]["streamflow_process"]
        observed = plain - 0.33 * torch.relu(plain - 3.0)
    losses = fit(model, data, observed, [*model.residual_network.parameters(), model.gain], lr=0.02)
    assert losses[-1] < 0.1 * losses[0]
    with torch.no_grad():
        series = model.run(data)[0]
    torch.testing.assert_close(series["streamflow_process"], plain)
    assert (series["streamflow"] >= 0).all()


def test_corrections_start_from_the_process_model_as_it_is():
    for kind, block in (
        (ResidualModel, {}),
        (ForcingCorrectionModel, {"factors": {"prcp": [0.8, 3.0]}}),
        (CorrectedModel, {"offsets": {"pet": [-1.0, 0.5]}, "how": "multiply"}),
    ):
        model = coupled(kind, block)
        bare = super(ResidualModel if kind is not ForcingCorrectionModel else kind, model)
        for expected, got in (
            (bare.run(batch())[0], model.run(batch())[0]),
            (bare.forward(batch()), model(batch())),
            (bare.forward(batch()), model(batch(), eval=True)),
        ):
            torch.testing.assert_close(got["streamflow"], expected["streamflow"], rtol=1e-5, atol=1e-6)


def test_a_run_with_corrections_is_split_at_will():
    model = coupled(CorrectedModel, {"factors": {"prcp": [0.5, 2.0]}, "by": "inputs"}).double()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    data = batch().map_tensors(torch.Tensor.double)
    model.phy_model.warmup = 0
    with torch.no_grad():
        whole, end = model.run(data)
        first, middle = model.run(data.select(times=slice(0, 70)))
        second, last = model.run(data.select(times=slice(70, None)), middle)
    for name in ("streamflow", "streamflow_process", "AET_hydro"):
        torch.testing.assert_close(torch.cat([first[name], second[name]]), whole[name], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(last.network[1], end.network[1], rtol=1e-10, atol=1e-12)
    assert not torch.allclose(whole["streamflow"], whole["streamflow_process"])


RUNS = {
    "flux": {"model__phy__networks": {"recharge": {"inputs": ["SM/parFC", "pet"], "hidden": [4]}}},
    "residual": {"model__coupling": {"name": "ResidualModel", "network": {"name": "LstmModel", "hidden_size": 4}}},
    "both": {
        "model__coupling": {"name": "CorrectedModel", "offsets": {"pet": [-2, 2]}, "corrects": "streamflow"},
        "model__phy__networks": {
            "AET_hydro": {"inputs": ["SM/parFC"], "hidden": [3], "monotone": {"SM/parFC": "increasing"}}
        },
    },
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_trains_all_weights_resumes_and_predicts(tmp_path, name):
    store, whole, parts = small_store(), tmp_path / "whole", tmp_path / "parts"
    changes = RUNS[name] | {"train__lr": 0.1}
    runs = {}
    # One of them, with every kind of weight, is stopped in between as well.
    for folder, stops in ((whole, [3]), (parts, [1, 3])) if name == "both" else ((whole, [3]),):
        folder.mkdir()
        for epochs in stops:
            set_randomseed(1)
            trainer = Trainer(small_config(folder, store, train__epochs=epochs, train__resume=epochs > 1, **changes))
            before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
            trainer.train()
            if epochs == stops[0]:
                same = [k for k, v in trainer.model.state_dict().items() if torch.equal(v, before[k])]
                assert not same, f"not trained: {same}"
        runs[folder] = trainer
    for key, value in runs[whole].model.state_dict().items():
        assert torch.equal(value, runs.get(parts, runs[whole]).model.state_dict()[key]), key
    summary = runs[whole].evaluate()
    assert "streamflow" in summary["held"]
    run = load_run(whole / "out")
    at_once = run.predict(store)["streamflow"]
    first, state = run.predict(store.isel(time=slice(0, 200)), return_state=True)
    state.save(tmp_path / "state.safetensors")
    rest = run.predict(store.isel(time=slice(200, None)), state=tmp_path / "state.safetensors")["streamflow"]
    joined = xr.concat([first["streamflow"], rest], "time")
    xr.testing.assert_allclose(joined.sel(site=SITES), at_once.sel(site=SITES), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model__coupling": {"name": "ResidualMdel"}}, "did you mean 'ResidualModel'"),
        ({"model__coupling": {"name": "ResidualModel", "factors": {}}}, "unknown key 'model.coupling.factors'"),
        ({"model__coupling": {"how": "add"}}, "unknown key 'model.coupling.how'"),
        ({"model__coupling": "ForcingCorrectionModel"}, "no forcing is corrected"),
        ({"model__coupling": {"name": "ForcingCorrectionModel", "factors": {"rain": [0, 2]}}}, "no forcing 'rain'"),
        ({"model__coupling": {"name": "ForcingCorrectionModel", "factors": {"prcp": [1, 2]}}}, "do not hold 1"),
        (
            {"model__coupling": {"name": "ForcingCorrectionModel", "factors": {"prcp": [0, 2]}, "by": "site"}},
            "by: site needs the sites",
        ),
        (
            {"model__coupling": {"name": "ForcingCorrectionModel", "factors": {"prcp": [0, 2]}, "by": "sites"}},
            "did you mean 'site'",
        ),
        ({"model__coupling": {"name": "ResidualModel", "corrects": ["streamflw"]}}, "did you mean 'streamflow'"),
        ({"model__coupling": {"name": "ResidualModel", "how": "divide"}}, "nothing to correct by 'divide'"),
        ({"model__phy__networks": {"rechrge": {"inputs": ["prcp"]}}}, "did you mean 'recharge'"),
        ({"model__phy__networks": {"recharge": {"input": ["prcp"]}}}, "model.phy.networks.recharge"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, text):
    with pytest.raises(DmgError) as raised:
        ModelHandler(small_config(tmp_path, **changes))
    assert text in str(raised.value)


def test_a_correction_that_sees_nothing_says_so():
    process = Hymod()
    network = SiteParameters(0, process.learnable_param_count, ["a"])
    config = {"coupling": {"factors": {"prcp": [0.5, 2.0]}}, "nn": {}}
    with pytest.raises(ConfigError, match="by: attributes has nothing to see"):
        ForcingCorrectionModel(phy_model=process, nn_model=network, config=config)
