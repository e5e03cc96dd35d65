"""Does training end within its time limit, and what is trained in it?

    python benchmarks/time_limit.py

Wall time of ``S5Forecaster.fit`` with a time limit, after a first training that loads the kernels, on embedded data
and on generated hourly series. ``ratio`` is the wall time divided by the limit; ``members`` are the networks and other
models that were trained.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from timing import save

from s5forecast import S5Forecaster, load_dataset

HORIZON, LENGTH = 24, 400
# Data, preset and limit in seconds; the default takes about 30 s and best about 160 s on the first.
CASES = [
    ("nyc_departures_hourly", "default", 60),
    ("nyc_departures_hourly", "best", 60),
    ("nyc_departures_hourly", "best", 120),
    ("one_series", "best", 60),
    ("5000_series", "best", 60),
    ("5000_series", "best", 180),
]


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    S5Forecaster(HORIZON, "h", preset="best", verbose=False, estimator_kwargs={"max_epochs": 1}).fit(generated(20))
    save([measured(*case) for case in CASES], "time_limit")


def measured(data: str, preset: str, limit: int) -> dict[str, object]:
    """Wall time of a training, and what was trained."""
    df = {"one_series": lambda: generated(1), "5000_series": lambda: generated(5000)}.get(data, lambda: departures())()
    forecaster = S5Forecaster(HORIZON, "h", preset=preset, time_limit=limit, verbose=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that seasonal naive is used, which is in the row
        began = time.perf_counter()
        forecaster.fit(df)
    seconds = time.perf_counter() - began
    return {
        "data": data, "preset": preset, "limit": limit, "seconds": round(seconds, 1),
        "ratio": round(seconds / limit, 2), "members": names(forecaster.predictor_),
    }  # fmt: skip


def names(predictor: object) -> str:
    """The models of a predictor and of its members."""
    if not hasattr(predictor, "members"):
        return type(predictor).__name__
    return " + ".join(map(names, predictor.members))


def departures() -> pd.DataFrame:
    return load_dataset("nyc_departures_hourly")


def generated(count: int) -> pd.DataFrame:
    """Hourly series with a daily cycle of random height and noise."""
    rng = np.random.default_rng(0)
    steps = np.arange(LENGTH)
    wave = np.sin(steps * np.pi / 12) * rng.uniform(1, 5, (count, 1))
    values = 10 + wave + rng.normal(0, 1, (count, LENGTH))
    times = pd.date_range("2024-01-01", periods=LENGTH, freq="h")
    return pd.DataFrame(
        {
            "item_id": np.repeat([f"s{number}" for number in range(count)], LENGTH),
            "timestamp": np.tile(times.to_numpy(), count),
            "target": values.ravel(),
        }
    )


if __name__ == "__main__":
    main()
