"""Draws the figures of the concept pages into ``docs/images``: `python docs/figures.py`. Needs matplotlib.

The figures are committed, because two of them show a network whose training takes minutes.
"""

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, HourLocator

from s5forecast import S5Forecaster, backtest, load_dataset
from s5forecast.evaluation import SeasonalNaivePredictor, interval_coverage
from s5forecast.levels import DECILES, level_name
from s5forecast.plotting.theme import OBSERVED, PALETTE
from s5forecast.ssm import S5

IMAGES = Path(__file__).parent / "images"
SERIES, HOUR = "JFK_B6", 8
STYLE = {
    "text.color": OBSERVED,
    "axes.labelcolor": OBSERVED,
    "axes.edgecolor": OBSERVED,
    "xtick.color": OBSERVED,
    "ytick.color": OBSERVED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "font.size": 10,
    "legend.frameon": False,
    "svg.hashsalt": "s5forecast",
    "savefig.transparent": True,
}


def quantiles(forecast: pd.DataFrame) -> None:
    """The forecast of a day as a fan chart, and the quantiles of one hour."""
    day = forecast[forecast["item_id"] == SERIES].reset_index(drop=True)
    figure, (fan, hour) = plt.subplots(1, 2, figsize=(7.5, 3), width_ratios=[2, 1], layout="constrained")
    for level in (0.1, 0.2, 0.3, 0.4):
        low, high = day[level_name(level)], day[level_name(round(1 - level, 1))]
        fan.fill_between(day["timestamp"], low, high, color=PALETTE[0], alpha=0.18, linewidth=0)
    fan.plot(day["timestamp"], day["0.5"], color=PALETTE[0], label="median")
    fan.axvline(day["timestamp"][HOUR], color=OBSERVED, linestyle="--", linewidth=1)
    fan.xaxis.set_major_locator(HourLocator(byhour=range(0, 24, 6)))
    fan.xaxis.set_major_formatter(DateFormatter("%H:%M"))
    fan.set(title="median and intervals of 20, 40, 60 and 80 %", ylabel="departures in an hour")
    values = [day[level_name(level)][HOUR] for level in DECILES]
    hour.plot(values, DECILES, "o-", color=PALETTE[0], drawstyle="steps-post")
    hour.set(title=f"{HOUR}:00", xlabel="departures", ylabel="level of the quantile", yticks=np.arange(0.1, 1, 0.2))
    save(figure, "quantiles")


def coverage(forecasts: Mapping[str, pd.DataFrame]) -> None:
    """Observed against nominal coverage of the central intervals."""
    figure, axes = plt.subplots(figsize=(4.8, 3.6), layout="constrained")
    axes.plot([0, 1], [0, 1], color=OBSERVED, linestyle="--", linewidth=1, label="calibrated")
    for number, (name, frame) in enumerate(forecasts.items()):
        table = interval_coverage(frame)
        axes.plot(table["level"], table["observed"], "os"[number] + "-", color=PALETTE[number], label=name)
    axes.set(xlabel="nominal coverage", ylabel="observed coverage", xlim=(0, 1), ylim=(0, 1))
    axes.legend()
    save(figure, "coverage")


def impulse_responses() -> None:
    """Responses of four states of a new layer to one impulse."""
    torch.manual_seed(0)
    layer = S5(width=8, state_size=64)
    step, Lambda = layer.log_step.exp().detach(), torch.complex(*layer.Lambda.detach())
    chosen = torch.argsort(step * Lambda.imag.abs(), descending=True)[[12, 15, 20, 27]]
    times = torch.arange(301)
    figure, rows = plt.subplots(2, 2, figsize=(7.5, 3.4), sharex=True, sharey=True, layout="constrained")
    for axes, state in zip(rows.flat, chosen, strict=True):
        response = torch.exp(Lambda[state] * step[state] * times).real
        axes.plot(times, response, color=PALETTE[0])
        axes.axhline(0, color=OBSERVED, linewidth=0.5)
        timescale = 1 / (step[state] * Lambda[state].real.abs()).item()
        axes.set(title=f"timescale {timescale:.0f} steps", ylim=(-1.05, 1.05))
    for axes in rows[1]:
        axes.set_xlabel("steps after the impulse")
    save(figure, "impulse_responses")


def timescales(trained: list[torch.Tensor]) -> None:
    """Histograms of the timescales of new and trained layers."""
    torch.manual_seed(0)
    new = [timescales_of(S5(width=8, state_size=64)) for _ in range(200)]
    figure, axes = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
    for number, (name, values) in enumerate({"new": new, "trained on hourly departures": trained}.items()):
        times = torch.cat(values).numpy()
        weights = np.full(len(times), 1 / len(times))
        histogram(axes, times, weights, name, PALETTE[number])
    axes.set(xscale="log", xlabel="timescale, in steps of the layer", ylabel="share of the states")
    axes.legend()
    save(figure, "timescales")


def histogram(axes: Axes, values: np.ndarray, weights: np.ndarray, name: str, color: str) -> None:
    bins = np.geomspace(10, 4000, 17)
    axes.hist(values, bins, weights=weights, histtype="stepfilled", color=color, alpha=0.25)
    axes.hist(values, bins, weights=weights, histtype="step", color=color, linewidth=1.8, label=name)


def timescales_of(layer: S5) -> torch.Tensor:
    return (1 / (layer.log_step.exp() * layer.Lambda[0].abs())).detach()


def save(figure: plt.Figure, name: str) -> None:
    figure.savefig(IMAGES / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def main() -> None:
    df = load_dataset("nyc_departures_hourly")
    f = S5Forecaster(prediction_length=24, freq="h", static=["origin", "carrier"]).fit(df)
    s5 = f.backtest(df, windows=7).forecasts
    naive = backtest(
        SeasonalNaivePredictor(24, season=168), f.to_gluonts(df), prediction_length=24, windows=7
    ).forecasts
    layers = [module for module in f.predictor_.prediction_net.modules() if isinstance(module, S5)]
    with plt.rc_context(STYLE):
        quantiles(f.predict())
        coverage({"S5": s5, "seasonal naive": naive})
        impulse_responses()
        timescales([timescales_of(layer) for layer in layers])


if __name__ == "__main__":
    main()
