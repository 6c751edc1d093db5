"""Draw the picture of the README from the folder of a default run.

python -m dmg exp_name=default
python docs/images/make_default_run.py output/LstmModel-Hbv/experiments/default
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import dmg
from dmg.core.post.figure import COLORS, new_figure, save_figure, strip_spines
from dmg.core.post.plot_parameters import spearman
from dmg.trainers.site_table import learned_parameters
from hydrodl2.data.sample import PREFIX, generate_sample

PARAMETERS = {"parFC": "field capacity (mm)", "parCFMAX": "degree-day factor (mm d⁻¹ K⁻¹)"}
DAYS = 730


def draw(folder: Path, target: Path) -> None:
    """Draw a held-out hydrograph, the distribution of scores, and true against learned parameters."""
    run = dmg.load_run(folder, device="cpu")
    trainer = dmg.Trainer(run.config, run.model, write_out=False)
    held_out = np.array(run.site_metrics["holdout"])
    nse = np.array(run.site_metrics["held"]["streamflow"]["nse"], dtype=float)
    groups = (("trained", ~held_out, COLORS[0]), ("held out", held_out, COLORS[1]))

    figure = new_figure((9.6, 5.4), dpi=100)
    panels = figure.subplot_mosaic([["flow"] * 3, ["cdf", *PARAMETERS]], height_ratios=(1, 1.15))

    order = np.argsort(np.where(held_out, nse, np.inf))[: held_out.sum()]
    site = order[(len(order) - 1) // 2]
    flow = run.simulation.isel(site=site).isel(time=slice(-DAYS, None))
    axes = panels["flow"]
    axes.plot(flow.time, flow.streamflow_obs, color="0.25", linewidth=1.0, label="observed")
    axes.plot(flow.time, flow.streamflow, color=COLORS[1], linewidth=1.0, label="simulated")
    axes.set_title(f"Held-out site of median score, NSE of ten years {nse[site]:.2f}", fontsize=9, loc="left")
    axes.set_ylabel("streamflow (mm/d)", fontsize=8)
    axes.margins(x=0.01)
    axes.legend(frameon=False, fontsize=8, loc="upper right", ncols=2)

    axes = panels["cdf"]
    for label, mask, color in groups:
        scores = np.sort(nse[mask])
        share = np.arange(1, scores.size + 1) / scores.size
        axes.step(scores, share, where="post", color=color, label=f"{label}, median {np.median(scores):.2f}")
    axes.set(xlabel="NSE", ylabel="share of sites", xlim=(min(0.0, np.percentile(nse, 2)), 1.0))
    axes.legend(frameon=False, fontsize=8, loc="upper left")

    truth = generate_sample(**run.config.observations.sample.model_dump())
    learned = learned_parameters(trainer, "Hbv")
    for name, text in PARAMETERS.items():
        axes, true = panels[name], truth[PREFIX + name].values
        for label, mask, color in groups:
            rank = spearman(true[mask], learned[name][mask])
            axes.scatter(
                true[mask], learned[name][mask], s=9, color=color, linewidths=0, label=f"{label}, ρ = {rank:.2f}"
            )
        axes.axline((true.mean(), true.mean()), slope=1, color="0.6", linewidth=0.8, zorder=0)
        axes.set(xlabel=f"true {text}", ylabel="learned")
        axes.legend(frameon=False, fontsize=8, loc="upper left", handletextpad=0.1)
    for axes in panels.values():
        strip_spines(axes)
        axes.tick_params(labelsize=8)
        axes.xaxis.label.set_size(8)
        axes.yaxis.label.set_size(8)
    save_figure(figure, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="output_dir of a default run")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("default_run.png"))
    words = parser.parse_args()
    draw(words.folder, words.out)
