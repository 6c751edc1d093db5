"""The report of a run: it needs nothing beside it, says what the files say, and works in a browser."""

import base64
import json
import re
import shutil
import zlib

import numpy as np
import pytest
import xarray as xr
from small_run import SITES, small_config

from dmg.cli import main
from dmg.core.post.page import render_page
from dmg.trainers import Trainer

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.fixture(scope="module", autouse=True)
def no_figures():
    """Leave out the figures of matplotlib, which take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dmg.trainers.trainer.draw_evaluation", lambda *_: None)
        patch.setattr("dmg.trainers.trainer.draw_loss", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A trained and tested run, its training validated, two sites held out."""
    folder = tmp_path_factory.mktemp("run")
    valid = {"start_time": "2000/08/01", "end_time": "2000/10/31"}
    changes = {"test__holdout_sites": ["s1", "s3"], "valid": valid, "observations__name": "</script><b>small"}
    trainer = Trainer(small_config(folder, **changes))
    trainer.train()
    trainer.evaluate()
    return folder / "out"


def page_of(run):
    return (run / "report.html").read_text(encoding="utf-8")


def data_of(text):
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, flags=re.DOTALL)
    return json.loads(found)


def unpack(target, length):
    """Return the series as the page does."""
    steps = np.frombuffer(zlib.decompress(base64.b64decode(target["packed"])), "<i2").reshape(-1, length)
    codes = np.cumsum(steps.astype(np.int64), axis=1)
    codes = ((codes + 2**15) % 2**16 - 2**15).astype(float)
    codes[codes == -(2**15)] = np.nan
    return np.sign(codes) * (codes / 32767) ** 2 * np.array(target["scale"])[:, None]


def test_scores_places_and_parameters_are_those_of_the_files(run):
    data = data_of(page_of(run))
    metrics = json.loads((run / "metrics.json").read_text())
    assert data["sites"]["id"] == SITES
    assert data["sites"]["holdout"] == [False, True, False, True, False]
    assert list(data["scores"]) == ["held", "last"]
    for name, values in metrics["held"]["streamflow"].items():
        assert data["scores"]["held"]["streamflow"][name] == pytest.approx(values, rel=1e-4, nan_ok=True)
    with xr.open_dataset(run / "sites.nc") as table:
        assert data["sites"]["lat"] == pytest.approx(table.lat.values.tolist(), rel=1e-6)
        shown = {p["name"]: p for p in data["parameters"]}
        assert shown.keys() == {name for name in table if not name.startswith("true_")}
        assert shown["parBETA"]["values"] == pytest.approx(table.parBETA.values.tolist(), rel=1e-4)
        assert shown["parBETA"]["truth"] == pytest.approx(table.true_parBETA.values.tolist(), rel=1e-4)
        assert table.parBETA.attrs["valid_min"] == shown["parBETA"]["low"] <= min(shown["parBETA"]["values"])
        assert shown["parFC"]["truth"] is None
    training = data["training"]
    assert training["epochs"] == [1, 2, 3]
    assert [epoch for epoch, _ in training["validation"]] == [1, 2, 3]


def test_series_are_those_of_the_simulation(run):
    series = data_of(page_of(run))["series"]
    (target,) = series["targets"]
    assert sorted(target["sites"]) == list(range(5))
    values = unpack(target, series["length"])
    with xr.open_dataset(run / "simulation.nc") as simulated:
        assert series["start"] == simulated.time.values[0].astype("datetime64[ms]").astype(int)
        for k, site in enumerate(target["sites"]):
            for row, name in ((2 * k, "streamflow"), (2 * k + 1, "streamflow_obs")):
                expected = simulated[name].values[:, site]
                # Half a code on the scale of square roots.
                error = 1e-4 * np.sqrt(np.nanmax(expected) * np.abs(expected)) + 1e-6
                assert (np.isnan(values[row]) == np.isnan(expected)).all()
                assert (np.abs(values[row] - expected) <= error)[np.isfinite(expected)].all()


def test_the_page_needs_nothing_beside_it_and_no_text_of_the_data_becomes_code(run):
    text = page_of(run)
    assert re.findall(r"""(?:src|href)=["'](?!#|data:,)""", text) == []
    assert re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text.partition("<details>")[0]) == []
    assert "<b>small" not in text
    assert text.count("</script>") == 2


def test_sections_and_tables(run):
    text = page_of(run)
    assert re.findall(r'<section id="(.*?)"', text) == [
        *("scores-section", "hydrographs", "parameters-section", "budget", "course", "configuration"),
    ]  # fmt: skip
    summary = json.loads((run / "metrics_aggregate.json").read_text())
    median = summary["held"]["streamflow"]["holdout"]["kge"]["median"]
    assert f"<td>{median:.3f}</td>" in text
    assert "greatest residual of any site" in text
    assert "loss_function:" in text


def test_the_command_writes_it_anew_and_a_training_alone_has_one(run, tmp_path, capsys):
    before = page_of(run)
    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert page_of(run) == before
    Trainer(small_config(tmp_path, mode="train", train__epochs=1)).train()
    text = page_of(tmp_path / "out")
    assert re.findall(r'<section id="(.*?)"', text) == ["course", "configuration"]
    assert main(["report", str(tmp_path)]) == 1
    assert "there is no run in this directory" in capsys.readouterr().err


def test_a_network_alone_and_several_models_have_reports(tmp_path):
    pure = {"model__phy": None, "model__flow_regime": "high", "model__nn__out_size": 1}
    trainer = Trainer(small_config(tmp_path, train__epochs=1, **pure))
    trainer.train()
    trainer.evaluate()
    data = data_of(page_of(tmp_path / "out"))
    assert data["parameters"] == []
    assert data["sites"]["lat"]
    both = {"model__phy__name": ["Hbv", "Hbv_1_1p"], "multimodel_type": "avg", "output_dir": str(tmp_path / "both")}
    both["model__phy__dynamic_params"] = {"Hbv": ["parBETA"], "Hbv_1_1p": ["parBETA"]}
    trainer = Trainer(small_config(tmp_path, train__epochs=1, **both))
    trainer.train()
    trainer.evaluate()
    data = data_of(page_of(tmp_path / "both"))
    assert set(data["names"]) == {"Hbv_streamflow", "Hbv_1_1p_streamflow", "streamflow"}
    assert {t["name"] for t in data["series"]["targets"]} == set(data["names"])
    assert {"Hbv_parBETA", "Hbv_1_1p_parBETA"} <= {p["name"] for p in data["parameters"]}


def test_a_template_that_lacks_something_is_an_error():
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError):
        render_page("run.html", title="x")


@pytest.mark.skipif(BROWSER is None, reason="needs Chromium, such as `apt-get install chromium`")
def test_it_works_in_a_browser(run):
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, which the extra dev has")
    said = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_context(offline=True, viewport={"width": 1100, "height": 900}).new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((run / "report.html").as_uri())
        page.wait_for_selector("body[data-ready]")
        assert page.locator("#cdf path.curve").count() == 4  # three groups, and the other convention
        assert page.locator("#map circle").count() == 5
        assert page.locator("#parameters svg").count() > 5
        assert page.locator("#training path.curve").count() == 2
        # The wheel zooms around the cursor, a double click shows all again.
        shown = page.locator("#in-view")
        whole, line = shown.inner_text(), page.locator("#hydrograph path.simulated")
        drawn = line.get_attribute("d")
        page.locator("#hydrograph svg").scroll_into_view_if_needed()
        page.locator("#hydrograph svg").hover(position={"x": 500, "y": 150})
        page.mouse.wheel(0, -600)
        page.wait_for_function("text => document.getElementById('in-view').textContent !== text", arg=whole)
        first, last = re.findall(r"\d{4}-\d\d-\d\d", shown.inner_text())
        assert "2000-11-01" < first < last < "2001-02-03"
        assert line.get_attribute("d") != drawn
        page.locator("#hydrograph svg").dblclick(position={"x": 500, "y": 150})
        assert shown.inner_text() == whole
        # The map chooses the site, the lists metric and convention; on a logarithmic axis there is a line too.
        page.locator('#map circle[data-site="3"]').click()
        assert page.locator("#site").input_value() == "3"
        before = page.locator("#cdf").inner_html()
        page.locator("#metric").select_option("rmse")
        assert page.locator("#cdf").inner_html() != before
        page.locator("#log").check()
        page.locator("#truth").check()
        assert len(line.get_attribute("d")) > 100
        assert not page.evaluate("document.body.innerHTML").count("NaN,")
        browser.close()
    assert said == []
