"""Plots draw what they are given, in their own figures."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from dmg.core.post import (
    geoplot_single_metric,
    plot_boxes,
    plot_cdf,
    plot_hydrograph,
    plot_hydrograph_grid,
    plot_loss,
    plot_parameters,
    print_metrics,
)
from dmg.errors import ConfigError, DataError, UnknownNameError

TIMES = pd.date_range("2001-01-01", periods=730)
FLOW = np.random.default_rng(0).gamma(1.0, 2.0, 730)


def lines(figure):
    return {line.get_label(): line.get_ydata() for line in figure.axes[0].get_lines()}


@pytest.mark.parametrize(("resample", "n"), [("D", 730), ("W", 105), ("M", 24), ("Y", 2)])
def test_hydrograph_resamples(resample, n):
    drawn = lines(plot_hydrograph(TIMES, FLOW, FLOW * 1.1, resample=resample))
    assert {len(y) for y in drawn.values()} == {n}
    assert drawn["observed"][0] == pytest.approx(1.1 * next(y for k, y in drawn.items() if "NSE" in k)[0])


def test_hydrograph_without_observations_shows_no_zeros_and_no_score():
    drawn = lines(plot_hydrograph(TIMES, FLOW))
    assert list(drawn) == ["simulated"]


def test_hydrograph_score_ignores_gaps():
    obs = FLOW.copy()
    obs[::3] = np.nan
    assert "simulated, NSE 1.00" in lines(plot_hydrograph(TIMES, FLOW, obs))


def test_hydrograph_says_when_the_axis_includes_the_warmup():
    with pytest.raises(ConfigError, match="timesteps\\[warmup:\\]"):
        plot_hydrograph(TIMES, FLOW[60:])
    with pytest.raises(ConfigError, match="'fortnight' is no interval"):
        plot_hydrograph(TIMES, FLOW, resample="fortnight")


def test_hydrograph_grid_draws_every_site(tmp_path):
    both = np.stack([FLOW, FLOW * 2], axis=1)
    figure = plot_hydrograph_grid(
        TIMES, {"a": both[..., None], "b": both}, both, titles=["x", "y"], save_path=tmp_path / "g.png"
    )
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["x", "y"]
    assert (tmp_path / "g.png").stat().st_size > 1000


def test_cdf_one_file_per_metric_and_nan_left_out(tmp_path):
    scores = {"nse": [0.1, 0.5, np.nan, 0.9], "kge": [0.2, 0.3, 0.4, 0.5]}
    figures = plot_cdf([scores], ["nse", "kge"], ["hbv"], save_path=tmp_path, show_arrow=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cdf_kge.png", "cdf_nse.png"]
    line = figures["nse"].axes[0].get_lines()[0]
    assert line.get_xdata().tolist() == [0.1, 0.5, 0.9]
    assert line.get_ydata()[-1] == 1.0
    assert "median 0.50 (n = 3)" in line.get_label()
    with pytest.raises(UnknownNameError, match="did you mean 'kge'"):
        plot_cdf([scores], ["kgee"])


def test_cdf_without_any_score():
    assert len(plot_cdf({"nse": [np.nan]}, "nse")["nse"].axes[0].get_lines()) == 0


def test_map_draws_sites_with_and_without_score(tmp_path):
    table = pd.DataFrame({"lat": [40.0, 41, 42], "lon": [-100.0, -90, -80], "nse": [0.5, np.nan, -3]})
    figure = geoplot_single_metric(table, "nse", tmp_path / "map.png", dynamic_colorbar=True, map_color=True)
    without, scored = figure.axes[0].collections
    assert (len(without.get_offsets()), len(scored.get_offsets())) == (1, 2)
    assert scored.get_clim() == (-3.0, 0.5)
    assert (tmp_path / "map.png").exists()
    with pytest.raises(UnknownNameError, match="no column 'lat'"):
        geoplot_single_metric(table.drop(columns="lat"), "nse")


def test_map_warns_about_rivers():
    with pytest.warns(UserWarning, match="rivers"):
        geoplot_single_metric({"lat": [1.0], "lon": [2.0], "nse": [0.3]}, "nse", draw_rivers=True)


def test_parameters_against_truth():
    rng = np.random.default_rng(1)
    truth = rng.uniform(1, 5, 30)
    learned = {"k": np.broadcast_to(truth[None, :, None], (7, 30, 4)), "other": truth}
    figure = plot_parameters({"k": truth, "unknown": truth}, learned, holdout=np.arange(30) < 5)
    assert figure.axes[0].get_title().split("\n") == ["k", "trained ρ = 1.00", "held out ρ = 1.00"]
    with pytest.raises(DataError, match="no parameter"):
        plot_parameters({"a": truth}, {"b": truth})


def test_loss_with_validation(tmp_path):
    figure = plot_loss([1, 2, 3], [3.0, 2.0, 1.5], {2: 0.4}, log=True, save_path=tmp_path / "loss.png")
    assert figure.axes[0].get_yscale() == "log"
    assert len(figure.axes) == 2
    assert (tmp_path / "loss.png").exists()


@pytest.mark.parametrize(("mode", "text"), [("median", "0.400"), ("mean_std", "0.400 ± 0.200")])
def test_print_metrics(capsys, mode, text):
    shown = print_metrics({"nse": [0.2, 0.6, np.nan]}, ["nse"], mode=mode)
    assert text in shown
    assert capsys.readouterr().out.strip() == shown.strip()
    assert "n/a" in print_metrics([{"nse": [np.nan]}], ["nse"])
    with pytest.raises(ConfigError, match="mean_std"):
        print_metrics({"nse": [1]}, ["nse"], mode="max")


def test_plots_leave_the_backend_alone_and_import_matplotlib_late():
    code = (
        "import sys, dmg.core.post as post; assert 'matplotlib' not in sys.modules;"
        "import matplotlib; matplotlib.use('svg'); post.plot_loss([1], [2.0]);"
        "assert matplotlib.get_backend().lower() == 'svg', matplotlib.get_backend();"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_notebook_can_show_a_figure():
    assert plot_loss([1], [2.0])._repr_png_().startswith(b"\x89PNG")


def test_boxes_stand_beside_medians_of_others(tmp_path):
    values = {name: {"1–5": np.arange(9.0), "5+": np.zeros(0)} for name in ("LSTM", "δHBV")}
    figure = plot_boxes(values, medians={"theirs": {"5+": 0.5}}, save_path=tmp_path / "boxes.png")
    (axes,) = figure.axes
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1–5\n(n = 9)", "5+\n(n = 0)"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["LSTM", "δHBV", "theirs"]
    (mark,) = (line for line in axes.lines if line.get_label() == "theirs")
    assert mark.get_ydata() == [0.5]
    assert 1 < mark.get_xdata()[0] < 1.5
    assert (tmp_path / "boxes.png").stat().st_size > 1000
