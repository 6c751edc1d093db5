"""The Delaware from data to calibrated routing: a map of what was learned, and hydrographs at gauges.

HBV 2.0 runs on the 456 stream segments of the National Hydrologic Model with the land that drains into them; its runoff
goes hour by hour through the river, whose roughness is learned with the parameters of the land from the flow at gauges.
Training is on April 1979 to February 1980, everything shown on the ten months behind it.

    python example/hydrology/delaware.py DATA FOLDER

DATA has parameters_dis_both.nc, parameters_PRMSChannel.nc, prcp.nc, tmax.nc, tmin.nc and drb_2yr_gage_poi_obs.nc, as
pywatershed (https://github.com/EC-USGS/pywatershed) ships them. `benchmarks/delaware.py` compares other ways to gauges.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from dmg import as_config
from dmg.cli import main as dmg
from dmg.core.post.figure import new_figure, save_figure, strip_spines
from dmg.core.utils import set_randomseed
from dmg.trainers import MsTrainer
from hydrodl2.routing import River

if TYPE_CHECKING:
    from dmg.core.data.catchments import Catchments

FORCINGS = ["prcp", "tmean", "pet"]
THROUGH_THE_RIVER = {"router": "MuskingumCunge"}
ITERATIONS, EPOCHS = 60, 10


def convert(data: Path, folder: Path) -> None:
    """Write the store of the segments and that of the gauges."""
    observed = [str(data / "drb_2yr_gage_poi_obs.nc"), str(folder / "gauges.nc")]
    options = ["--site-dim", "poi_id", "--rename", "discharge=streamflow", "--keep", "streamflow"]
    for words in (["prms", str(data), str(folder / "segments.nc")], ["netcdf", *observed, *options]):
        if dmg(["data", *words]):
            raise SystemExit("the stores could not be written")


def configuration(data: Path, folder: Path, routing: dict[str, Any] | None = None, **train: Any) -> dict[str, Any]:
    """Return the configuration of a run in a folder that has the stores.

    Parameters
    ----------
    data, folder
        The files as they are published; where the stores are.
    routing
        Keys of ``model.phy`` that say how runoff comes to the gauges; through the river if absent.
    train
        Other keys of the block ``train``.
    """
    train = {"epochs": EPOCHS, "iterations": ITERATIONS} | train
    return {
        "mode": "train_test",
        "seed": 0,
        "device": "cpu",
        "output_dir": str(folder / "run"),
        "overwrite": True,
        "data_loader": "MsHydroLoader",
        "data_sampler": "MsHydroSampler",
        "trainer": "MsTrainer",
        "train": {
            "start_time": "1979/04/01",
            "end_time": "1980/02/29",
            "target": ["streamflow"],
            "optimizer": {"name": "Adam"},
            "lr": 0.01,
            "lr_scheduler": {"name": "CosineAnnealingLR", "T_max": train["epochs"]},
            "loss_function": {"name": "NseBatchLoss"},
            "batch_size": 16,
            **train,
        },
        "test": {"start_time": "1980/03/01", "end_time": "1980/12/31", "batch_size": 200},
        "model": {
            "rho": 90,
            "warmup": 90,
            "phy": {
                "name": ["Hbv_2"],
                "nmul": 4,
                "dynamic_params": {"Hbv_2": ["parBETA", "parBETAET"]},
                "forcings": FORCINGS,
                **(THROUGH_THE_RIVER if routing is None else routing),
            },
            "nn": {
                "name": "LstmMlpModel",
                "hidden_size": 32,
                "dropout": 0.2,
                "forcings": FORCINGS,
                "attributes": ["area", "upstream_area", "elev_mean", "slope_mean", "reach_slope", "reach_width"],
            },
        },
        "observations": {
            "name": "delaware",
            "data_path": str(folder / "segments.nc"),
            "gauge_path": str(folder / "gauges.nc"),
            "topology_path": str(data / "parameters_dis_both.nc"),
            "subbasin_area_name": "area",
            "upstream_area_name": "upstream_area",
            "elevation_name": "elev_mean",
            "reach_length_name": "reach_length",
            "reach_slope_name": "reach_slope",
        },
    }


def unrouted(trainer: MsTrainer, upstream: Catchments) -> np.ndarray:
    """Return the flow at gauges [T, G] if the runoff of the trained model came there on its day."""
    runoff = trainer.model(upstream.units, eval=True, outputs=["streamflow"])["Hbv_2"]["streamflow"][..., 0]
    return River.read(upstream.inputs()).total(runoff).numpy()


def draw_map(trainer: MsTrainer, upstream: Catchments, places: xr.Dataset, path: Path) -> None:
    """Draw the roughness that was learned for every reach, and the score of every gauge."""
    roughness = trainer.model.models["Hbv_2"].physical_parameters(trainer.eval_dataset)["n"].numpy()
    nse = np.array(trainer.metrics["held"]["streamflow"]["nse"], dtype=float)
    lat, lon = (places[name].sel(site=upstream.sites).values for name in ("gauge_lat", "gauge_lon"))
    area = upstream.rivers.accumulate(upstream.units["areas"].numpy())
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    figure = new_figure((7.0, 7.5), 120)
    axes = figure.subplots()
    colour = ScalarMappable(Normalize(*np.percentile(roughness, (2, 98))), "cividis")
    for above, below in enumerate(upstream.rivers.downstream):
        if below >= 0:
            ends = [above, below]
            width = 0.5 + 0.8 * np.log10(1.0 + area[above] / 50.0)
            axes.plot(lon[ends], lat[ends], color=colour.to_rgba(roughness[above]), lw=width, zorder=1)
    at, known = upstream.outlets, np.isfinite(nse)
    look = {"vmin": 0.0, "vmax": 1.0, "cmap": "RdYlBu", "edgecolors": "black", "linewidths": 0.5}
    shown = axes.scatter(lon[at][known], lat[at][known], c=nse[known], s=30, zorder=2, **look)
    figure.colorbar(colour, ax=axes, label="learned roughness n of the reaches", shrink=0.5, extend="both")
    figure.colorbar(shown, ax=axes, label="NSE at the gauges, March to December 1980", shrink=0.5, extend="min")
    axes.set(xlabel="longitude, °", ylabel="latitude, °", aspect=1.0 / np.cos(np.deg2rad(lat.mean())))
    strip_spines(axes)
    save_figure(figure, path)


def draw_hydrographs(trainer: MsTrainer, upstream: Catchments, path: Path) -> None:
    """Draw the flow at a small, a larger and the largest gauge, through the river and without it."""
    times, routed = trainer.simulation.times, trainer.simulation.series["streamflow"]
    observed = trainer.eval_dataset["target"][-len(times) :, :, 0].numpy()
    on_the_day = unrouted(trainer, upstream)
    whole = np.flatnonzero(np.isfinite(observed).all(axis=0))
    areas = trainer.loader.areas
    ranked = whole[np.argsort(areas[whole])]
    figure = new_figure((10.0, 7.5), 110)
    for axes, gauge in zip(
        figure.subplots(3, 1, sharex=True), ranked[[len(ranked) // 4, 3 * len(ranked) // 4, -1]], strict=True
    ):
        axes.plot(times, on_the_day[:, gauge], color="#d9a05b", lw=0.9, label="runoff on its day")
        axes.plot(times, routed[:, gauge], color="#2b6ca3", lw=1.1, label="through the river")
        axes.plot(times, observed[:, gauge], color="black", lw=0.9, label="observed")
        axes.set_title(f"gauge {trainer.eval_dataset.sites[gauge]}, {areas[gauge]:,.0f} km²", fontsize=9, loc="left")
        axes.set(ylabel="mm/d", ylim=(0.0, 1.2 * np.nanmax(observed[:, gauge])))
        strip_spines(axes)
    figure.axes[0].legend(frameon=False, ncols=3, fontsize=8, loc="upper right")
    save_figure(figure, path)


def main(data: Path, folder: Path, **train: Any) -> MsTrainer:
    """Convert, train, test, and draw ``map.png`` and ``hydrographs.png`` in the folder."""
    convert(data, folder)
    set_randomseed(0)
    trainer = MsTrainer(as_config(configuration(data, folder, **train)))
    trainer.train()
    trainer.evaluate()
    upstream = trainer.eval_dataset["upstream"]
    with xr.open_dataset(folder / "segments.nc") as places:
        draw_map(trainer, upstream, places, folder / "map.png")
    draw_hydrographs(trainer, upstream, folder / "hydrographs.png")
    median = np.nanmedian(np.array(trainer.metrics["held"]["streamflow"]["nse"], dtype=float))
    print(f"{trainer.eval_dataset.n_sites} gauges, median NSE {median:.2f}")
    return trainer


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit("usage: python example/hydrology/delaware.py DATA FOLDER")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
