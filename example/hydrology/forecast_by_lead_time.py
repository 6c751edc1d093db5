"""Hindcasts with a trained model, scored by lead time.

An analysis run follows the observed weather. At every date of issue its state is forked into an ensemble, and each
member goes on with weather of its own: that which really came, up to the day on which the member leaves it (few do so
at once, all in the end), and from then on that of another year. So the weather forecast is good at first and no better
than climatology later, rain, temperature and evapotranspiration agree with each other, and what remains of the skill at
the end is what stores and rivers remember.

    dmg exp_name=default
    python example/hydrology/forecast_by_lead_time.py output/LstmModel-Hbv/experiments/default
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import dmg
from dmg.core.calc.crps import crps
from dmg.core.data.cf import write_cf
from dmg.core.data.members import as_members, by_member

if TYPE_CHECKING:
    import xarray as xr

    from dmg.trainers.run import Run

DAY = np.timedelta64(1, "D")
YEAR = 365.25


def weather_ensemble(
    weather: xr.Dataset, issue: np.datetime64, leads: int, members: int, memory: float, rng: np.random.Generator
) -> xr.Dataset:
    """Return a forecast of the weather, dims (time, site) with every site once for each member.

    Parameters
    ----------
    weather
        What really came, dims (time, site).
    issue
        First day of the forecast.
    leads
        Days.
    members
        Size of the ensemble.
    memory
        Mean number of days for which a member follows what really came.
    rng
        Decides when a member leaves it, and for which year.
    """
    times = weather["time"].values
    begin = int(np.searchsorted(times, issue))
    ensemble = as_members(weather.isel(time=slice(begin, begin + leads)), members)
    shifts = np.round(np.arange(-len(times) // YEAR, len(times) // YEAR + 1) * YEAR).astype(int)
    inside = (begin + shifts >= 0) & (begin + shifts + leads <= len(times)) & (shifts != 0)
    donors = begin + rng.choice(shifts[inside], members)
    leaves = np.floor(rng.exponential(memory, members)).astype(int)
    for name in (n for n in weather.data_vars if "time" in weather[n].dims):
        source = weather[name].values
        values = ensemble[name].values.reshape(leads, members, -1).copy()
        for member in range(members):
            other = source[donors[member] : donors[member] + leads]
            values[leaves[member] :, member] = other[leaves[member] :]
        ensemble[name] = ensemble[name].copy(data=values.reshape(leads, -1))
    return ensemble


def hindcast(
    run: Run,
    weather: xr.Dataset,
    issues: np.ndarray,
    *,
    leads: int = 15,
    members: int = 20,
    memory: float = 5.0,
    seed: int = 0,
    target: str = "streamflow",
) -> xr.DataArray:
    """Return ensemble forecasts, dims (issue, realization, lead, site); lead 1 is the day of issue.

    Parameters
    ----------
    run
        The trained model.
    weather
        Forcings and attributes, dims (time, site); the first ``model.warmup`` days spin the model up.
    issues
        First days of the forecasts, increasing.
    leads, members, memory
        See `weather_ensemble`.
    seed
        Seed of the ensembles.
    target
        Output to forecast.
    """
    import xarray as xr

    rng = np.random.default_rng(seed)
    state, known, found = None, None, []
    for issue in issues:
        # The analysis goes on from the issue before, never over the same day twice.
        _, state = run.predict(
            weather.sel(time=slice(known, issue - DAY)), state=state, outputs=[target], return_state=True
        )
        known = issue
        ensemble = weather_ensemble(weather, issue, leads, members, memory, rng)
        forecast = run.predict(ensemble, state=state.fork(members), outputs=[target])
        found.append(by_member(forecast)[target].rename(time="lead").assign_coords(lead=np.arange(1, leads + 1)))
    return xr.concat(found, dim="issue").assign_coords(issue=issues)


def skill_by_lead(forecasts: xr.DataArray, observed: xr.DataArray) -> dict[str, np.ndarray]:
    """Return scores by lead time [L], medians over the sites.

    ``crps`` of the ensemble and that of two forecasts without a model: ``persistence`` of the last observed day (its
    CRPS is its absolute error) and ``climatology``, the same day and a week around it in all other years. ``nse`` is
    that of the ensemble mean over all dates of issue.

    Parameters
    ----------
    forecasts
        What `hindcast` returns.
    observed
        Dims (time, site).
    """
    times, flow = observed["time"].values, observed.sel(site=forecasts["site"]).values.astype(np.float64)
    begins = np.searchsorted(times, forecasts["issue"].values)
    years = len(times) // YEAR
    shifts = np.round(np.arange(-years, years + 1) * YEAR)[:, None] + np.arange(-7, 8)
    shifts = shifts[np.abs(shifts).min(axis=1) > 7].ravel().astype(int)
    table: dict[str, list[float]] = {name: [] for name in ("crps", "persistence", "climatology", "nse")}
    for lead in range(forecasts.sizes["lead"]):
        ensemble = forecasts.isel(lead=lead).transpose("realization", "issue", "site").values
        truth, last = flow[begins + lead], flow[begins - 1]
        table["crps"].append(_score(crps(ensemble, truth, fair=True)))
        table["persistence"].append(_score(crps(last[None], truth)))
        climate = []
        for i, day in enumerate(begins + lead):
            rows = day + shifts
            past = flow[rows[(rows >= 0) & (rows < len(flow))]]
            climate.append([_climate(past[:, n], truth[i, n]) for n in range(flow.shape[1])])
        table["climatology"].append(_score(np.array(climate)))
        error = np.nanmean((ensemble.mean(axis=0) - truth) ** 2, axis=0)
        table["nse"].append(float(np.nanmedian(1.0 - error / np.nanvar(truth, axis=0))))
    return {name: np.array(values) for name, values in table.items()}


def _score(values: np.ndarray) -> float:
    return float(np.nanmedian(np.nanmean(values, axis=0)))


def _climate(past: np.ndarray, truth: float) -> float:
    past = past[np.isfinite(past)]
    return float(crps(past, truth)) if len(past) else np.nan


def draw(table: dict[str, np.ndarray], path: Path) -> None:
    """Draw the scores against lead time."""
    from dmg.core.post.figure import COLORS, new_figure, save_figure, strip_spines

    figure = new_figure((7.2, 2.8), dpi=100)
    left, right = figure.subplots(1, 2)
    days = np.arange(1, len(table["crps"]) + 1)
    for name, color in zip(("crps", "persistence", "climatology"), COLORS, strict=False):
        left.plot(days, table[name], color=color, label="forecast" if name == "crps" else name)
    left.set(xlabel="lead time (days)", ylabel="CRPS (mm/d)", ylim=(0, None))
    left.legend(frameon=False, fontsize=8)
    right.plot(days, table["nse"], color=COLORS[0])
    right.set(xlabel="lead time (days)", ylabel="NSE of the ensemble mean", ylim=(min(0.0, table["nse"].min()), 1.0))
    for axes in (left, right):
        strip_spines(axes)
    save_figure(figure, path)


def main(arguments: list[str] | None = None) -> None:
    """Make hindcasts with a run on the embedded sample, print the scores, write figure and one forecast."""
    from hydrodl2.data.sample import generate_sample

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="output_dir of a training on the embedded sample")
    parser.add_argument("--out", type=Path, default=Path("output/forecast"), help="folder to write to")
    parser.add_argument("--sites", type=int, default=20, help="number of sites, from the first")
    parser.add_argument("--issues", type=int, default=36, help="number of forecasts, 30 days apart")
    parser.add_argument("--leads", type=int, default=15, help="days")
    parser.add_argument("--members", type=int, default=20)
    words = parser.parse_args(arguments)

    run = dmg.load_run(words.run)
    sample = generate_sample().isel(site=slice(0, words.sites))
    weather = sample.drop_vars([name for name in sample if str(name).startswith(("streamflow", "true_"))])
    issues = np.datetime64("1996-10-01", "ns") + np.arange(words.issues) * 30 * DAY
    forecasts = hindcast(run, weather, issues, leads=words.leads, members=words.members)
    table = skill_by_lead(forecasts, sample["streamflow"])
    print("lead (d)  CRPS (mm/d)  persistence  climatology   NSE")
    for day, row in enumerate(zip(*table.values(), strict=True), start=1):
        print(f"{day:8d}  {row[0]:11.3f}  {row[1]:11.3f}  {row[2]:11.3f}  {row[3]:4.2f}")

    draw(table, words.out / "skill_by_lead_time.png")
    last = forecasts.isel(issue=-1, drop=True).stack(member=("realization", "site"))
    as_sites = as_members(weather[["gauge_lat", "gauge_lon"]], words.members)
    as_sites["streamflow"] = ("time", "site"), last.values, {"units": forecasts.attrs["units"]}
    as_sites = as_sites.assign_coords(time=issues[-1] + np.arange(words.leads) * DAY)
    write_cf(as_sites, words.out / "last_forecast.nc", reference_time=issues[-1], title="streamflow forecast")
    print(f"written: {words.out}")


if __name__ == "__main__":
    main()
