"""How long does the check of a million rows take?

    python benchmarks/check_speed.py

1,000 series of 1,000 hourly counts, without and with a past column; reading the frame is included. Median processor
and wall seconds of some runs, after one on two series.
"""

from __future__ import annotations

import argparse
from time import perf_counter, process_time

import numpy as np
import pandas as pd
from timing import save

from s5forecast import S5Forecaster

HORIZON = 24


def frame(series: int, steps: int) -> pd.DataFrame:
    """Counts of a Poisson distribution, and a column of independent normal values."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "item_id": np.repeat([f"item {number}" for number in range(series)], steps),
            "timestamp": np.tile(pd.date_range("2023-01-01", periods=steps, freq="h"), series),
            "target": rng.poisson(5, series * steps).astype(float),
            "temperature": rng.normal(size=series * steps),
        }
    )


def measured(forecaster: S5Forecaster, df: pd.DataFrame) -> tuple[float, float]:
    """Processor and wall seconds of a check."""
    began = process_time(), perf_counter()
    forecaster.check(df)
    return process_time() - began[0], perf_counter() - began[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    size = parser.parse_args()
    df, rows = frame(size.series, size.steps), []
    for columns in ([], ["temperature"]):
        forecaster = S5Forecaster(HORIZON, freq="h", past=columns)
        given = df[["item_id", "timestamp", "target", *columns]]
        measured(forecaster, given[: 2 * size.steps])  # imports and compiles
        times = np.median([measured(forecaster, given) for _ in range(size.repeats)], axis=0)
        rows.append({"rows": len(df), "past_columns": len(columns), "processor_s": times[0], "wall_s": times[1]})
    save(rows, "check_speed")


if __name__ == "__main__":
    main()
