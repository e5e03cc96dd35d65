"""How much do true times improve forecasts of events without published figures: flights, storms, variable stars?

    python events.py --data FOLDER --set nyc_flight_delays --model s5 s5_no_dt constant hour_of_day last_value deepar

FOLDER holds nyc_flight_delays.csv.gz, atlantic_storms.csv.gz and macho_lightcurves.csv.gz. Models are trained on the
data before a date. From moments after it they forecast the observations within the horizon, at their true times.
``s5_best`` averages three networks with different contexts.
``s5_no_dt`` advances the states by one step for each observation and is shown no gaps, but knows how far ahead a query
time is. DeepAR, with GluonTS's defaults, is given means of the observations on a grid; its forecast of a step is used
for all times in the step. The constant is the distribution of all training values, ``hour_of_day`` that of the series
and hour, or of all series if the series has none.

The CRPS is twice the mean quantile loss at the nine deciles, for all models; the absolute error is that of the median.
One row per set, variable, model and seed in results/events.csv. Existing rows are not computed again.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Iterator
from importlib.metadata import version
from itertools import product
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from s5forecast import S5ContinuousEstimator
from s5forecast.estimators.defaults import MEMBERS
from s5forecast.estimators.ensemble import EnsembleEstimator
from s5forecast.estimators.peers import PEERS
from s5forecast.levels import DECILES

COLUMNS = ("set", "variable", "model", "seed", "crps", "mae", "mse", "windows", "values", "seconds", "version")
RESULTS = Path(__file__).parent / "results" / "events.csv"


class Events(NamedTuple):
    """A set and its task."""

    variables: list[str]
    since: str  # forecasts are evaluated from this moment on
    horizon: str
    every: str  # between the moments at which a series is forecast
    freq: str  # of the grid for DeepAR
    estimator: dict[str, Any]


class Window(NamedTuple):
    """The history of a series up to a moment, and the observations within the horizon after it."""

    item_id: str
    moment: pd.Timestamp
    time: pd.DatetimeIndex  # [n]
    values: np.ndarray  # [n, D]
    query_time: pd.DatetimeIndex  # [Q]
    query_values: np.ndarray  # [Q, D]


# The epochs of the flights are the best of 20, 40 and 60 on those of 15 September to 31 October, where global scaling
# made no difference; nothing else was tried.
SETS = {
    "nyc_flight_delays": Events(
        ["dep_delay"], "2013-11-01", "12h", "42h", "30min",
        {"context_length": 128, "max_queries": 16, "cycles": ["day", "week"], "max_epochs": 60},
    ),
    "atlantic_storms": Events(
        ["wind", "lat", "long"], "2016-01-01", "48h", "24h", "6h",
        {"context_length": 24, "max_queries": 8, "max_epochs": 20},
    ),
    "macho_lightcurves": Events(
        ["magnitude"], "1998-07-01", "30d", "15d", "1D",
        {"context_length": 256, "max_queries": 32, "max_epochs": 20},
    ),
}  # fmt: skip


def series_of(frame: pd.DataFrame, events: Events) -> Iterator[tuple[str, pd.DatetimeIndex, np.ndarray]]:
    """Rows with a value; rows at the same time are averaged."""
    known = frame.dropna(subset=events.variables, how="all")
    merged = known.groupby(["item_id", "timestamp"], as_index=False)[events.variables].mean()
    for item, part in merged.groupby("item_id"):
        yield str(item), pd.DatetimeIndex(part["timestamp"]), part[events.variables].to_numpy(float)


def split(frame: pd.DataFrame, events: Events) -> tuple[list[Window], list[Window]]:
    """Histories for training, without query times, and the windows to forecast."""
    since, horizon, every = pd.Timestamp(events.since), pd.Timedelta(events.horizon), pd.Timedelta(events.every)
    past, ahead = [], []
    for item, time, values in series_of(frame, events):
        before = time < since
        if before.any():
            past.append(Window(item, since, time[before], values[before], time[:0], values[:0]))
        first = max(since, time[0].ceil("D"))
        for moment in pd.date_range(first, max(first, time[-1]), freq=every):
            cut, end = time.searchsorted(moment), time.searchsorted(moment + horizon)
            if 0 < cut < end:
                ahead.append(Window(item, moment, time[:cut], values[:cut], time[cut:end], values[cut:end]))
    return past, ahead


def s5(
    past: list[Window], ahead: list[Window], events: Events, seed: int, *, use_dt: bool = True, members: int = 1
) -> Any:
    network = S5ContinuousEstimator(
        prediction_horizon=events.horizon,
        target_dim=len(events.variables),
        use_dt=use_dt,
        dt_as_feature=use_dt,
        seed=seed,
        trainer_kwargs={"enable_progress_bar": False},
        **events.estimator,
    )
    kept = network.spec.context_length
    estimator = network if members == 1 else EnsembleEstimator(network, members)
    predictor = estimator.train([{"item_id": w.item_id, "time": w.time, "target": w.values.T} for w in past])
    asked = [
        {"item_id": w.item_id, "time": w.time[-kept:], "target": w.values[-kept:].T, "query_time": w.query_time}
        for w in ahead
    ]
    return predictor.predict_quantiles(asked, list(DECILES))


def without_dt(past: list[Window], ahead: list[Window], events: Events, seed: int) -> Any:
    return s5(past, ahead, events, seed, use_dt=False)


def best(past: list[Window], ahead: list[Window], events: Events, seed: int) -> Any:
    """The preset ``"best"`` of irregular series."""
    return s5(past, ahead, events, seed, members=MEMBERS)


def constant(past: list[Window], ahead: list[Window], events: Events, seed: int) -> Any:
    learned = np.concatenate([window.values for window in past])
    rows = sum(len(window.query_time) for window in ahead)
    quantiles = np.nanquantile(learned, list(DECILES), axis=0).T
    return np.tile(np.nanmean(learned, axis=0), (rows, 1)), np.tile(quantiles, (rows, 1, 1))


def hour_of_day(past: list[Window], ahead: list[Window], events: Events, seed: int) -> Any:
    frames = [pd.DataFrame(w.values, columns=events.variables).assign(item=w.item_id, hour=w.time.hour) for w in past]
    asked = pd.concat([pd.DataFrame({"item": w.item_id, "hour": w.query_time.hour}) for w in ahead])
    learned, found = pd.concat(frames), []
    for variable in events.variables:
        own, all_series = (by_group(learned.groupby(keys)[variable]) for keys in (["item", "hour"], "hour"))
        values = own.reindex(pd.MultiIndex.from_frame(asked)).to_numpy()
        found.append(np.where(np.isnan(values), all_series.reindex(asked["hour"]).to_numpy(), values))
    both = np.stack(found, axis=1)
    return both[..., 0], both[..., 1:]


def by_group(groups: Any) -> pd.DataFrame:
    """Mean and deciles of each group."""
    return pd.concat([groups.mean(), groups.quantile(list(DECILES)).unstack()], axis=1)


def last_value(past: list[Window], ahead: list[Window], events: Events, seed: int) -> Any:
    last = np.concatenate(
        [np.tile(pd.DataFrame(w.values).ffill().to_numpy()[-1], (len(w.query_time), 1)) for w in ahead]
    )
    return last, np.repeat(last[..., None], len(DECILES), axis=-1)


def deepar(past: list[Window], ahead: list[Window], events: Events, seed: int) -> Any:
    """A model for each variable, on a grid whose last step of history ends at the moment of the forecast."""
    width = pd.Timedelta(events.freq)
    steps = int(np.ceil(pd.Timedelta(events.horizon) / width))
    # A series that has ended must not be followed by years of missing values.
    learned = [w._replace(moment=min(w.moment, w.time[-1].floor(width) + width)) for w in past]
    means, quantiles = [], []
    for d in range(len(events.variables)):
        arguments = {"trainer_kwargs": {"accelerator": "cpu"}}
        estimator = PEERS["deepar"](freq=events.freq, prediction_length=steps, seed=seed, arguments=arguments)
        predictor = estimator.train([on_grid(window, d, events.freq) for window in learned])
        forecasts = predictor.predict([on_grid(window, d, events.freq) for window in ahead])
        parts = []
        for window, forecast in zip(ahead, forecasts, strict=True):
            step = np.asarray((window.query_time - window.moment) // width)
            parts.append(np.stack([forecast.mean, *(forecast.quantile(u) for u in DECILES)], axis=-1)[step])
        both = np.concatenate(parts)
        means.append(both[:, 0])
        quantiles.append(both[:, 1:])
    return np.stack(means, axis=1), np.stack(quantiles, axis=1)


def on_grid(window: Window, variable: int, freq: str) -> dict[str, Any]:
    """An entry of means over steps that end at the moment of the forecast, NaN where a step has no value."""
    width = pd.Timedelta(freq)
    step = np.asarray((window.moment - window.time - pd.Timedelta(1, "ns")) // width)  # backwards from the moment
    sums, counts = (
        np.bincount(step, weights=weights, minlength=step.max() + 1)
        for weights in (np.nan_to_num(window.values[:, variable]), ~np.isnan(window.values[:, variable]))
    )
    target = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)[::-1]
    return {
        "item_id": window.item_id,
        "start": pd.Period(window.moment - len(target) * width, freq=freq),
        "target": target.astype(np.float32),
    }


MODELS: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {
    "s5": s5,
    "s5_best": best,
    "s5_no_dt": without_dt,
    "deepar": deepar,
    "last_value": last_value,
    "constant": constant,
    "hour_of_day": hour_of_day,
}


def judged(means: np.ndarray, quantiles: np.ndarray, values: np.ndarray) -> dict[str, float]:
    """Scores of one variable, from ``means`` and ``values [R]`` and ``quantiles [R, 9]``."""
    seen = ~np.isnan(values)
    error = values[seen, None] - quantiles[seen]
    levels = np.asarray(DECILES)
    return {
        "crps": float(2 * np.maximum(levels * error, (levels - 1) * error).mean()),
        "mae": float(np.abs(error[:, len(levels) // 2]).mean()),
        "mse": float(((means - values)[seen] ** 2).mean()),
        "values": int(seen.sum()),
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--set", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--model", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, help="of S5, for a short run")
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name, model, seed in product(args.set, args.model, args.seeds):
        if (name, model, str(seed)) in computed(args.results):
            print(name, model, seed, "is there")
            continue
        events = SETS[name]
        if args.epochs:
            events = events._replace(estimator={**events.estimator, "max_epochs": args.epochs})
        frame = pd.read_csv(args.data / f"{name}.csv.gz", parse_dates=["timestamp"])
        past, ahead = split(frame, events)
        start = process_time()
        means, quantiles = MODELS[model](past, ahead, events, seed)
        seconds = round(process_time() - start)
        values = np.concatenate([window.query_values for window in ahead])
        rows = [
            {
                "set": name,
                "variable": variable,
                "model": model,
                "seed": seed,
                **judged(means[:, d], quantiles[:, d], values[:, d]),
                "windows": len(ahead),
                "seconds": seconds,
                "version": version("s5forecast"),
            }
            for d, variable in enumerate(events.variables)
        ]
        append(args.results, rows)
        print(pd.DataFrame(rows).to_string(index=False, header=True), flush=True)


def computed(path: Path) -> set[tuple[str, ...]]:
    if not path.exists():
        return set()
    with path.open() as file:
        return {(row["set"], row["model"], row["seed"]) for row in csv.DictReader(file)}


def append(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
