"""How long does it take to compute all metrics from sample paths?

1,000 series of 48 steps with 100 samples each: quantiles at all levels that metrics need, then every name in METRICS.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter

import numpy as np
import pandas as pd
from timing import save

from s5forecast.evaluation import METRICS, Backtest
from s5forecast.evaluation.metrics import NAMED_LEVELS, PERCENTAGES
from s5forecast.levels import level_name


def backtest(series: int, steps: int, samples: int) -> Backtest:
    """Random walks and sample paths of them, as a backtest of one window."""
    rng = np.random.default_rng(0)
    label = rng.normal(size=(series, steps)).cumsum(axis=1).ravel()
    paths = rng.normal(size=(series, samples, steps)).cumsum(axis=2).swapaxes(1, 2).reshape(-1, samples)
    ends = {round((1 + sign * percent / 100) / 2, 10) for percent in PERCENTAGES for sign in (-1, 1)}
    levels = sorted({*NAMED_LEVELS, *ends})
    quantiles = np.quantile(paths, levels, axis=1)
    items = np.arange(series).astype(str).astype(object)
    times = pd.date_range("2024-01-01", periods=steps + 1, freq="h")
    keys = pd.DataFrame(
        {
            "item_id": items.repeat(steps),
            "cutoff": times[0],
            "timestamp": np.tile(times[1:], series),
            "target": label,
            "mean": paths.mean(axis=1),
            "naive_2": 0.0,
            **{level_name(level): values for level, values in zip(levels, quantiles, strict=True)},
        }
    )
    frame = pd.concat([keys, pd.DataFrame(paths, columns=[f"sample_{n}" for n in range(samples)])], axis=1)
    scale = pd.Series(1.0, items)
    return Backtest("paths", frame, scale, tuple(METRICS), squared_seasonal_error=scale)


def seconds(run: Callable[[], object]) -> float:
    began = perf_counter()
    run()
    return perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=48)
    parser.add_argument("--samples", type=int, default=100)
    size = vars(parser.parse_args())
    _ = backtest(3, 2, 4).metrics  # compiles
    result = backtest(**size)
    questions: dict[str, Callable[[], pd.DataFrame]] = {
        "overall": lambda: result.metrics,
        "by item": lambda: result.by("item_id"),
        "by step": lambda: result.by("step"),
    }
    rows = []
    for question, run in questions.items():
        took = seconds(run)
        rows.append({"question": question, **size, "metrics": run().shape[1], "seconds": took})
    save(rows, "metrics_speed")


if __name__ == "__main__":
    main()
