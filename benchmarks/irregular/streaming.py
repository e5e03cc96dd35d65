"""What does one more observation cost: updating the states, or forecasting from the whole history again?

    python streaming.py

Series of numbers at random times, and an untrained network of the default size (the computation does not depend on the
parameters). ``update`` adds one row to each series, ``forecast`` forecasts one time of each after it, ``anew`` makes
the same forecast from a history of ``--history`` rows, all of them in the context. All start from entries in memory and
take turns, round after round. results/streaming.csv has medians in processor seconds.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from time import process_time

import numpy as np
import torch

from s5forecast import S5ContinuousEstimator

COLUMNS = ("series", "history", "update", "forecast", "anew", "anew / update", "anew / both", "threads")
RESULTS = Path(__file__).parent / "results" / "streaming.csv"


def entries(series: int, rows: int) -> list[dict]:
    rng = np.random.default_rng(0)
    time = np.cumsum(rng.exponential(1.0, (series, rows)) + 0.01, axis=1)
    target = np.sin(time / 10) + 0.1 * rng.normal(size=time.shape)
    return [{"item_id": i, "time": t, "target": x} for i, (t, x) in enumerate(zip(time, target, strict=True))]


def until(one: dict, begin: int, end: int) -> dict:
    return {**one, "time": one["time"][begin:end], "target": one["target"][begin:end]}


def asking(one: dict) -> dict:
    return {**one, "query_time": one["time"][-1:] + 1.0}


def measure(series: int, history: int, rounds: int) -> dict[str, float]:
    """Seconds of each operation, for all series."""
    data = entries(series, history + rounds + 1)
    estimator = S5ContinuousEstimator(
        prediction_horizon=10.0, context_length=history + rounds + 1, predict_batch_size=series, device="cpu",
        num_batches_per_epoch=1, max_epochs=1, batch_size=1, trainer_kwargs={"enable_progress_bar": False},
    )  # fmt: skip
    predictor = estimator.train([until(one, 0, 100) for one in data[:4]])
    stream = predictor.stream([until(one, 0, history) for one in data])
    times: dict[str, list[float]] = {"update": [], "forecast": [], "anew": []}
    for end in range(history + 1, history + rounds + 2):
        new, whole = [until(one, end - 1, end) for one in data], [asking(until(one, 0, end)) for one in data]
        began = process_time()
        stream.update(new)
        updated = process_time()
        found, _ = stream.predict_quantiles(list(map(asking, new)), [0.5])
        streamed = process_time()
        anew, _ = predictor.predict_quantiles(whole, [0.5])
        for name, seconds in zip(times, (updated - began, streamed - updated, process_time() - streamed), strict=True):
            times[name].append(seconds)
        assert found.shape == anew.shape == (series, 1)
    return {name: float(np.median(seconds[1:])) for name, seconds in times.items()}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--history", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    args.results.parent.mkdir(exist_ok=True, parents=True)
    with args.results.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for series in args.series:
            seconds = measure(series, args.history, args.rounds)
            ratios = {
                "anew / update": seconds["anew"] / seconds["update"],
                "anew / both": seconds["anew"] / (seconds["update"] + seconds["forecast"]),
            }
            row = {
                "series": series,
                "history": args.history,
                **{name: f"{value:.3g}" for name, value in seconds.items()},
                **{name: f"{value:.1f}" for name, value in ratios.items()},
                "threads": args.threads,
            }
            writer.writerow(row)
            print(row, flush=True)


if __name__ == "__main__":
    main()
