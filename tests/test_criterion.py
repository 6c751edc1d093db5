"""Losses: formulas, missing values, shapes, hyper-parameters; parametrised over the registry."""

import numpy as np
import pytest
import torch

from dmg.errors import ConfigError, DataError, UnknownNameError
from dmg.models.criterion import BaseCriterion, MSELoss, MseLoss, RmseLoss, load_criterion
from dmg.registry import losses

T, B = 12, 4
BUILTIN = [
    "KgeBatchLoss",
    "KgeNormBatchLoss",
    "MseLoss",
    "NseBatchLoss",
    "NseLogBatchLoss",
    "NseSqrtBatchLoss",
    "NseTrendBatchLoss",
    "RangeBoundLoss",
    "RmseCombLoss",
    "RmseLoss",
]
every = pytest.mark.parametrize("name", BUILTIN)
observed = pytest.mark.parametrize("name", [n for n in BUILTIN if n != "RangeBoundLoss"])


@pytest.fixture
def obs() -> np.ndarray:
    values = np.random.default_rng(0).gamma(2.0, 1.0, (T, B))
    values[3:5, 1] = np.nan
    values[0, 2] = np.nan
    return values


@pytest.fixture
def pred() -> np.ndarray:
    return np.random.default_rng(1).gamma(2.0, 1.0, (T, B))


def closed_form(name: str, p: np.ndarray, t: np.ndarray, s: np.ndarray) -> float:
    """The formulas in numpy, with default hyper-parameters; s are the observations that give the spread."""
    ok = ~np.isnan(t)
    sigma = np.broadcast_to(np.nanstd(s, axis=0), t.shape)[ok]
    sigma_log = np.broadcast_to(np.nanstd(np.log(np.maximum(s, 0.01)), axis=0), t.shape)[ok]
    change = np.abs(np.diff(np.nan_to_num(t), axis=0))
    weight = (np.vstack([change[:1], change]) / change.max(axis=0))[ok] + 0.1
    x, p, t = p, p[ok], t[ok]

    def rmse(a, b):
        return np.sqrt(np.mean((a - b) ** 2))

    def log_root(a):
        return np.log10(np.sqrt(np.maximum(a, 0) + 1e-6) + 0.1)

    def kge_distance():
        dp, dt = p - p.mean(), t - t.mean()
        r = (dp * dt).sum() / (np.sqrt((dp**2).sum() * (dt**2).sum()) + 0.1)
        return np.sqrt((r - 1) ** 2 + (p.mean() / (t.mean() + 0.1) - 1) ** 2 + (p.std() / (t.std() + 0.1) - 1) ** 2)

    match name:
        case "MseLoss":
            return np.mean((p - t) ** 2)
        case "RmseLoss":
            return rmse(p, t)
        case "RmseCombLoss":
            return 0.75 * rmse(p, t) + 0.25 * rmse(log_root(p), log_root(t))
        case "NseBatchLoss":
            return np.mean((p - t) ** 2 / (sigma + 0.1) ** 2)
        case "NseSqrtBatchLoss":
            return np.mean(np.sqrt((p - t) ** 2 + 1e-6) / (sigma + 0.1))
        case "NseLogBatchLoss":
            error = np.log(np.maximum(p, 0.01)) - np.log(np.maximum(t, 0.01))
            return np.mean(error**2 / (sigma_log + 0.1) ** 2)
        case "NseTrendBatchLoss":
            return np.mean(weight * (p - t) ** 2 / (sigma + 0.1) ** 2)
        case "KgeBatchLoss":
            return kge_distance()
        case "KgeNormBatchLoss":
            kge = 1 - kge_distance()
            return 1 - kge / (2 - kge)
        case "RangeBoundLoss":
            return (np.maximum(x - 1.1, 0) + np.maximum(0.9 - x, 0)).mean(axis=1).sum()
    raise AssertionError(name)


def test_the_list_is_complete():
    assert set(losses.names()) >= set(BUILTIN)


@every
def test_value_is_the_formula(name, pred, obs):
    loss = load_criterion(obs, {"name": name})
    value = loss(torch.tensor(pred), obs, sample_ids=np.arange(B))
    assert value.dim() == 0
    assert value.item() == pytest.approx(closed_form(name, pred, obs, obs), rel=1e-10)


@every
def test_columns_are_matched_to_their_sites(name, pred, obs):
    ids = np.array([2, 0, 2])
    loss = load_criterion(obs, {"name": name})
    value = loss(torch.tensor(pred[:, ids]), obs[:, ids], sample_ids=ids)
    assert value.item() == pytest.approx(closed_form(name, pred[:, ids], obs[:, ids], obs[:, ids]), rel=1e-10)
    older = loss(torch.tensor(pred[:, ids]), obs[:, ids], n_samples=ids)
    assert older == value


@every
def test_arrays_and_tensors_with_and_without_last_axis_agree(name, pred, obs):
    loss = load_criterion(torch.tensor(obs)[..., None], {"name": name}, device="cpu")
    ids = torch.arange(B)
    values = {
        loss(convert(pred)[cut], convert(obs)[cut], sample_ids=ids).item()
        for convert in (np.asarray, torch.tensor)
        for cut in ((slice(None), slice(None)), (..., None))
    }
    assert len(values) == 1


@every
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (7, 1)])
def test_one_site_and_one_step(name, shape):
    rng = np.random.default_rng(0)
    t, p = rng.random(shape), torch.tensor(rng.random(shape), requires_grad=True)
    for axis in (False, True):
        a, b = (p[..., None], t[..., None]) if axis else (p, t)
        value = load_criterion(t, {"name": name})(a, b, sample_ids=np.arange(shape[1]))
        assert torch.isfinite(value)
        (grad,) = torch.autograd.grad(value, p)
        assert torch.isfinite(grad).all()


@observed
def test_missing_observations_do_not_count(name, pred, obs):
    loss = load_criterion(obs, {"name": name})
    ids = np.arange(B)
    other = np.where(np.isnan(obs), 99.0, pred)
    assert loss(pred, obs, sample_ids=ids) == loss(other, obs, sample_ids=ids)
    p = torch.tensor(pred, requires_grad=True)
    loss(p, obs, sample_ids=ids).backward()
    assert (p.grad[np.isnan(obs)] == 0).all()
    assert torch.isfinite(p.grad).all()
    assert p.grad.abs().sum() > 0


@observed
def test_batch_without_observations_is_zero_with_a_graph(name, pred, obs):
    p = torch.tensor(pred, requires_grad=True)
    value = load_criterion(obs, {"name": name})(p, np.full_like(obs, np.nan), sample_ids=np.arange(B))
    assert value == 0
    value.backward()
    assert (p.grad == 0).all()


@observed
def test_gradient_is_finite_at_a_perfect_prediction(name, obs):
    full = np.nan_to_num(obs, nan=1.0)
    p = torch.tensor(full, requires_grad=True)
    load_criterion(full, {"name": name})(p, full, sample_ids=np.arange(B)).backward()
    assert torch.isfinite(p.grad).all()


@observed
def test_gradient_matches_differences(name, pred, obs):
    loss = load_criterion(obs, {"name": name})
    p = torch.tensor(pred, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: loss(v, obs, sample_ids=np.arange(B)), (p,))


@observed
def test_site_without_observations_does_not_spoil_the_batch(name, pred, obs):
    obs[:, 3] = np.nan
    value = load_criterion(obs, {"name": name})(pred, obs, sample_ids=np.arange(B))
    assert value.item() == pytest.approx(closed_form(name, pred[:, :3], obs[:, :3], obs[:, :3]), rel=1e-10)


def test_spread_of_a_site_never_observed_is_finite(pred, obs):
    obs[:, 3] = np.nan
    loss = load_criterion(obs, {"name": "NseBatchLoss"})
    assert torch.isfinite(loss.spread).all()
    assert torch.isfinite(loss(pred, np.ones_like(obs), sample_ids=np.arange(B)))
    nowhere = load_criterion(np.full_like(obs, np.nan), {"name": "NseBatchLoss"})
    assert torch.isfinite(nowhere(pred, np.ones_like(obs), sample_ids=np.arange(B)))


@every
def test_single_precision_and_device_are_those_of_the_prediction(name, pred, obs):
    value = load_criterion(obs, {"name": name})(torch.tensor(pred).float(), obs, sample_ids=np.arange(B))
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(closed_form(name, pred, obs, obs), rel=1e-4)


@observed
def test_shapes_must_agree(name, pred, obs):
    loss = load_criterion(obs, {"name": name})
    with pytest.raises(DataError, match="differ"):
        loss(pred[1:], obs, sample_ids=np.arange(B))
    with pytest.raises(DataError, match="one loss per target"):
        loss(np.stack([pred, pred], -1), np.stack([obs, obs], -1), sample_ids=np.arange(B))
    with pytest.raises(DataError, match="do not squeeze"):
        loss(pred[:, 0], obs[:, 0], sample_ids=[0])


def test_sites_must_be_known(pred, obs):
    loss = load_criterion(obs, {"name": "NseBatchLoss"})
    assert loss(pred, obs) == loss(pred, obs, sample_ids=np.arange(B))
    with pytest.raises(DataError, match="batch_sample"):
        loss(pred[:, :2], obs[:, :2])
    with pytest.raises(DataError, match="2 sample_ids for a batch of 4"):
        loss(pred, obs, sample_ids=[0, 1])
    with pytest.raises(DataError, match="run from 0 to 4"):
        loss(pred, obs, sample_ids=[0, 1, 2, 4])
    with pytest.raises(ConfigError, match="got none"):
        load_criterion(None, {"name": "NseBatchLoss"})


@pytest.mark.parametrize("name", [n for n in BUILTIN if losses.get(n).defaults])
def test_hyper_parameters_from_config_and_keyword_matter(name, pred, obs):
    cls = losses.get(name)
    pred[1, 0] = 1e-3  # below the floor of the logarithm
    base = load_criterion(obs, {"name": name})(pred, obs, sample_ids=np.arange(B)).item()
    for key, default in cls.defaults.items():
        changed = {key: default * 1.5 if key != "lb" else 0.5}
        by_config = load_criterion(obs, {"name": name, **changed})
        by_keyword = cls({"name": name, key: default}, "cpu", y_obs=obs, **changed)
        values = {loss(pred, obs, sample_ids=np.arange(B)).item() for loss in (by_config, by_keyword)}
        assert len(values) == 1
        assert values != {base}, key


@every
def test_unknown_hyper_parameters_are_refused(name, obs):
    with pytest.raises(ConfigError, match="has no hyper-parameter 'epps'"):
        load_criterion(obs, {"name": name, "epps": 0.1})


def test_bad_hyper_parameters_are_refused(obs):
    with pytest.raises(ConfigError, match="is no number"):
        load_criterion(obs, {"name": "NseBatchLoss", "eps": "small"})
    with pytest.raises(ConfigError, match="above ub"):
        load_criterion(obs, {"name": "RangeBoundLoss", "lb": 2.0})
    with pytest.raises(ConfigError, match="not positive"):
        load_criterion(obs, {"name": "NseLogBatchLoss", "eps_log": 0.0})


def test_both_spellings_of_the_mean_squared_error_load(obs):
    assert MSELoss is MseLoss
    assert isinstance(load_criterion(obs, {"name": "MSELoss"}), MseLoss)
    assert isinstance(load_criterion(obs, None, name="RmseLoss"), RmseLoss)
    whole = {"train": {"loss_function": {"name": "NseBatchLoss", "eps": 0.2}}}
    assert load_criterion(obs, whole).eps == 0.2


def test_unknown_name_gets_a_suggestion(obs):
    with pytest.raises(UnknownNameError, match="did you mean 'RmseCombLoss'"):
        load_criterion(obs, {"name": "RmseCombLos"})
    with pytest.raises(ConfigError, match="has no name"):
        load_criterion(obs, {})


def test_negative_predictions_are_dry_in_the_log_root_term():
    p = torch.tensor([[-1.0], [-2.0]], requires_grad=True)
    value = load_criterion(None, {"name": "RmseCombLoss"})(p, torch.zeros(2, 1))
    assert value.item() == pytest.approx(0.75 * np.sqrt(2.5), rel=1e-5)
    value.backward()
    assert torch.isfinite(p.grad).all()


def test_statistics_are_double_and_computed_once():
    obs = 1e4 + np.random.default_rng(0).random((200, 3))
    loss = load_criterion(obs.astype(np.float32)[..., None], {"name": "NseBatchLoss"})
    assert loss.spread.dtype == torch.float64
    np.testing.assert_allclose(loss.spread, obs.astype(np.float32).astype(np.float64).std(axis=0), rtol=1e-10)
    assert "spread" in loss.state_dict()  # a buffer: it moves with the module


def test_a_loss_from_outside(monkeypatch):
    monkeypatch.setattr(losses, "_found", dict(losses._found))

    @losses.register("_TestQuarter")
    class Quarter(BaseCriterion):
        defaults = {"power": 4.0}  # noqa: RUF012

        def loss(self, pred, obs, valid, ids):
            return ((pred - obs).abs() ** self.power).sum()

    value = load_criterion(None, {"name": "_TestQuarter", "power": 3})(np.full((2, 2), 2.0), np.zeros((2, 2)))
    assert value == 32.0
