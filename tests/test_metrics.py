"""Metrics: closed forms, missing observations, laws under scale and shift, files."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from dmg.core.calc import Metrics
from dmg.core.calc.metric import Metric
from dmg.core.calc.metrics import Pairs
from dmg.errors import DataError
from dmg.registry import metrics

PUBLISHED = [
    "bias", "bias_rel", "rmse", "rmse_ub", "rmse_fdc", "mae", "corr", "corr_spearman", "nse", "r2", "kge",
    "kge_12", "flv", "pbias_mid", "fhv", "flv_abs", "pbias_mid_abs", "fhv_abs", "pbias", "pbias_abs",
    "rmse_low", "rmse_mid", "rmse_high", "d_max", "d_max_rel",
]  # fmt: skip
BUILTIN = sorted([*PUBLISHED, "bias_abs_rel", "flv_log"])
SCALE_FREE = [n for n in BUILTIN if metrics.get(n).unit != "target" and n not in {"bias_abs_rel"}]


@pytest.fixture
def target() -> np.ndarray:
    values = np.random.default_rng(0).gamma(1.5, 2.0, (4, 400))
    values[1, 50:90] = np.nan
    values[2, ::3] = np.nan
    return values


@pytest.fixture
def pred(target) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=target.shape)
    return np.abs(np.nan_to_num(target, nan=30.0) * 0.9 + 0.3 + 0.5 * noise)


def closed_form(p: np.ndarray, t: np.ndarray) -> dict[str, float]:
    """One site in plain numpy and scipy, in the words of the definitions."""
    whole = p
    peak = int(np.nanargmax(t))
    ok = ~np.isnan(t)
    p, t = p[ok], t[ok]
    n = len(t)
    e = p - t
    ps, ts = np.sort(p), np.sort(t)
    low, mid, high = slice(0, round(0.3 * n)), slice(round(0.3 * n), round(0.98 * n)), slice(round(0.98 * n), n)
    r = stats.pearsonr(p, t).statistic
    nse = 1 - (e**2).sum() / ((t - t.mean()) ** 2).sum()
    picks = [int(k * n / 100) for k in range(100)]

    def percent(part, offset=0.0, size=lambda v: v):
        return 100 * size(ps[part] - ts[part]).sum() / (ts[part].sum() + offset)

    def rmse(a, b):
        return np.sqrt(np.mean((a - b) ** 2))

    def slope(sorted_flow):
        logs = np.log(np.maximum(sorted_flow[low], 1e-6))
        return (logs - logs.min()).sum()

    d_max = whole[max(peak - 10, 0) : peak + 11].max() - t.max()
    return {
        "bias": e.mean(),
        "bias_abs_rel": np.mean(np.abs(e) / (t + 1e-5)),
        "bias_rel": e.sum() / t.sum(),
        "pbias": 100 * e.sum() / t.sum(),
        "pbias_abs": 100 * np.abs(e).sum() / t.sum(),
        "rmse": rmse(p, t),
        "rmse_ub": rmse(p - p.mean(), t - t.mean()),
        "rmse_fdc": rmse(ps[::-1][picks], ts[::-1][picks]),
        "mae": np.abs(e).mean(),
        "corr": r,
        "corr_spearman": stats.spearmanr(p, t).statistic,
        "nse": nse,
        "r2": nse,
        "kge": 1 - np.sqrt((r - 1) ** 2 + (p.std() / t.std() - 1) ** 2 + (p.mean() / t.mean() - 1) ** 2),
        "kge_12": 1
        - np.sqrt((r - 1) ** 2 + (p.std() / p.mean() / (t.std() / t.mean()) - 1) ** 2 + (p.mean() / t.mean() - 1) ** 2),
        "flv": percent(low, 1e-4),
        "flv_abs": percent(low, 1e-4, np.abs),
        "flv_log": -100 * (slope(ps) - slope(ts)) / slope(ts),
        "pbias_mid": percent(mid),
        "pbias_mid_abs": percent(mid, size=np.abs),
        "fhv": percent(high),
        "fhv_abs": percent(high, size=np.abs),
        "rmse_low": rmse(ps[low], ts[low]),
        "rmse_mid": rmse(ps[mid], ts[mid]),
        "rmse_high": rmse(ps[high], ts[high]),
        "d_max": d_max,
        "d_max_rel": 100 * d_max / t.max(),
    }


def test_every_published_metric_is_there_and_described():
    assert set(metrics.names()) >= set(BUILTIN)
    for name in BUILTIN:
        found = metrics.get(name)
        assert isinstance(found, Metric)
        assert found.name == found.__name__ == name
        assert found.__doc__
        assert found.best in {"max", "min", "zero"}
        assert found.bounds[0] <= found.perfect <= found.bounds[1]


@pytest.mark.parametrize("name", BUILTIN)
def test_value_is_the_definition(name, pred, target):
    expected = [closed_form(p, t)[name] for p, t in zip(pred, target, strict=True)]
    np.testing.assert_allclose(getattr(Metrics(pred, target), name), expected, rtol=1e-9)
    np.testing.assert_allclose(metrics.get(name)(pred, target), expected, rtol=1e-9)  # functional twin


@pytest.mark.parametrize("name", BUILTIN)
def test_days_without_observation_do_not_count(name, pred, target):
    other = np.where(np.isnan(target), pred * 0.5, pred)
    if not name.startswith("d_max"):  # the predicted peak may fall on an unobserved day
        np.testing.assert_array_equal(metrics.get(name)(pred, target), metrics.get(name)(other, target))
    site = metrics.get(name)(pred[1:2], target[1:2])
    np.testing.assert_allclose(site, metrics.get(name)(pred, target)[1:2])


@pytest.mark.parametrize("name", BUILTIN)
def test_perfect_prediction_has_the_best_value(name, target):
    filled = np.nan_to_num(target, nan=0.0)
    np.testing.assert_allclose(metrics.get(name)(filled, target), metrics.get(name).perfect, atol=1e-12)


def test_bias_is_a_bias(target):
    filled = np.nan_to_num(target)
    np.testing.assert_allclose(metrics.get("bias")(filled - 0.5, target), -0.5)
    np.testing.assert_allclose(metrics.get("bias_rel")(filled * 0.9, target), -0.1)
    assert (metrics.get("bias_abs_rel")(filled * 0.9, target) > 0).all()


def test_ties_share_their_rank():
    p, t = np.array([1.0, 1.0, 2.0, 3.0, 3.0, 0.0]), np.array([2.0, 1.0, 2.0, 5.0, 4.0, np.nan])
    expected = stats.spearmanr(p[:5], t[:5]).statistic
    assert metrics.get("corr_spearman")(p, t)[0] == pytest.approx(expected)


def test_peak_is_sought_in_its_window_only():
    t, p = np.zeros(60), np.zeros(60)
    t[30], p[20], p[41] = 5.0, 4.0, 9.0
    assert metrics.get("d_max")(p, t)[0] == -1.0
    assert metrics.get("d_max_rel")(p, t)[0] == -20.0
    t[30], t[2], p[0] = 0.0, 5.0, 7.0
    assert metrics.get("d_max")(p, t)[0] == 2.0


@pytest.mark.filterwarnings("error")
def test_site_without_observations_gets_nan_and_leaves_the_others_alone(pred, target):
    before = Metrics(pred, target)
    target[3] = np.nan
    after = Metrics(pred, target)
    for name in BUILTIN:
        values = getattr(after, name)
        assert np.isnan(values[3]), name
        np.testing.assert_array_equal(values[:3], getattr(before, name)[:3])
    assert np.isfinite(after.calc_stats()["nse"]["median"])
    nowhere = Metrics(pred, np.full_like(target, np.nan))
    assert np.isnan(nowhere.calc_stats()["nse"]["mean"])


@pytest.mark.filterwarnings("error")
def test_undefined_values_are_nan():
    t = np.full((1, 50), 0.1)
    p = np.random.default_rng(0).random((1, 50))
    result = Metrics(p, t)
    for name in ("nse", "kge", "corr", "corr_spearman", "flv_log"):
        assert np.isnan(getattr(result, name)[0]), name
    dry = Metrics(p, np.zeros((1, 50)))
    for name in ("pbias", "bias_rel", "fhv", "d_max_rel", "kge"):
        assert np.isnan(getattr(dry, name)[0]), name


def test_one_site_one_step_and_other_containers(pred, target):
    one = Metrics(pred[0], target[0])
    assert one.nse.shape == (1,)
    assert one.nse[0] == Metrics(pred, target).nse[0]
    tensors = Metrics(torch.tensor(pred, requires_grad=True), torch.tensor(target))
    np.testing.assert_array_equal(tensors.kge, Metrics(pred, target).kge)
    assert Metrics([[2.0]], [[1.0]]).bias[0] == 1.0


def test_single_precision_input_is_accumulated_in_double():
    t = (1e4 + np.random.default_rng(0).random((1, 5000))).astype(np.float32)
    p = t + np.float32(0.25)
    assert Metrics(p, t).rmse.dtype == np.float64
    assert Metrics(p, t).rmse[0] == pytest.approx(0.25, rel=1e-6)


def test_bad_predictions_name_their_sites(pred, target):
    pred[2, 7], pred[0, 0] = np.nan, np.inf
    with pytest.raises(DataError, match=r"not finite at 2 of 4 sites\n.*gauge_a, gauge_c"):
        Metrics(pred, target, sites=["gauge_a", "gauge_b", "gauge_c", "gauge_d"])
    with pytest.raises(DataError, match="number 0, number 2"):
        Metrics(pred, target)


def test_shapes_are_checked(pred, target):
    with pytest.raises(DataError, match="warm-up"):
        Metrics(pred[:, 1:], target)
    with pytest.raises(DataError, match=r"not \[site, time\]"):
        Metrics(pred[..., None], target[..., None])
    with pytest.raises(AttributeError, match="did you mean 'kge'"):
        Metrics(pred, target, names=["nse", "kge"]).kgee  # noqa: B018


series = arrays(np.float64, (2, 40), elements=st.floats(0.01, 100.0).map(lambda v: round(v, 3)), unique=True)


@settings(max_examples=25, deadline=None)
@given(p=series, t=series, factor=st.sampled_from([0.25, 2.0, 8.0]))
def test_change_of_unit(p, t, factor):
    a, b = Metrics(p, t), Metrics(p * factor, t * factor)
    for name in BUILTIN:
        if metrics.get(name).unit == "target":
            np.testing.assert_allclose(getattr(b, name), getattr(a, name) * factor, rtol=1e-7, atol=1e-9)
        elif name in SCALE_FREE and not name.startswith("flv"):  # their floors carry a unit
            np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=1e-6, atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(p=series, t=series, shift=st.sampled_from([-0.5, 1.0, 32.0]))
def test_shift_of_both_series(p, t, shift):
    same = ["bias", "rmse", "rmse_ub", "mae", "nse", "corr", "corr_spearman", "rmse_fdc", "d_max"]
    a, b = Metrics(p, t, names=same), Metrics(p + shift, t + shift, names=same)
    for name in same:
        np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=1e-6, atol=1e-8, err_msg=name)


@settings(max_examples=25, deadline=None)
@given(p=series, t=series)
def test_values_stay_in_their_bounds(p, t):
    result = Metrics(p, t)
    for name in BUILTIN:
        low, high = metrics.get(name).bounds
        values = getattr(result, name)
        assert (values[np.isfinite(values)] >= low).all(), name
        assert (values[np.isfinite(values)] <= high).all(), name
    np.testing.assert_allclose(result.rmse**2, result.bias**2 + result.rmse_ub**2, rtol=1e-9)
    assert (result.mae <= result.rmse * (1 + 1e-12)).all()


def test_files_are_plain_json_and_nothing_is_lost(pred, target, tmp_path):
    target[3] = np.nan
    result = Metrics(pred, target, sites=["a", "b", "c", "d"])
    result.dump_metrics(tmp_path / "new")
    found = json.loads((tmp_path / "new" / "metrics.json").read_text())
    assert isinstance(found, dict)
    assert found.pop("site") == ["a", "b", "c", "d"]
    assert set(found) == set(metrics.names())
    assert found["nse"][:3] == result.nse[:3].tolist()
    assert found["nse"][3] is None
    spread = json.loads((tmp_path / "new" / "metrics_aggregate.json").read_text())
    assert spread["kge"] == pytest.approx(
        {"median": np.median(result.kge[:3]), "mean": result.kge[:3].mean(), "std": result.kge[:3].std()}
    )
    result.model_dump_agg_stats(tmp_path / "stats.csv")
    lines = (tmp_path / "stats.csv").read_text().splitlines()
    assert lines[0] == "metric,median,mean,std"
    assert len(lines) == 1 + len(metrics.names())
    with pytest.raises(ValueError, match=r"\.json or \.csv"):
        result.model_dump_agg_stats(tmp_path / "stats.txt")
    again = json.loads(result.model_dump_json())  # a second time: dumping destroys nothing
    assert again["rmse"][:3] == result.rmse[:3].tolist()
    assert isinstance(result.pred, np.ndarray)
    assert isinstance(result.nse, np.ndarray)


def test_summary_is_a_table(pred, target, capsys):
    Metrics(pred, target).print_summary()
    lines = capsys.readouterr().out.splitlines()
    assert "4 sites" in lines[0]
    assert {line.split()[0] for line in lines[1:]} == set(metrics.names())


def test_metrics_from_outside(pred, target, monkeypatch):
    monkeypatch.setattr(metrics, "_found", dict(metrics._found))
    from dmg.core.calc.metric import metric

    @metric("_test_worst", best="min", bounds=(0.0, np.inf))
    def worst(pairs: Pairs) -> np.ndarray:
        """Largest absolute error."""
        return np.nanmax(np.abs(pairs.error), axis=-1)

    metrics.register("_test_plain")(lambda p, t: np.nanmin(t, axis=-1))
    result = Metrics(pred, target)
    np.testing.assert_allclose(result._test_worst, np.nanmax(np.abs(pred - target), axis=-1))
    np.testing.assert_array_equal(result._test_plain, np.nanmin(target, axis=-1))
    assert worst.unit == "target"
