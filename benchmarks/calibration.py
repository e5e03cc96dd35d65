"""Does conformal calibration bring coverage to its nominal level, and what does it cost in width?

`python benchmarks/calibration.py --data FOLDER`; the folder holds the data sets in GluonTS's format.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from gluonts.dataset.common import load_datasets

from s5forecast import S5Estimator
from s5forecast.evaluation.backtest import backtest

LEVELS = [0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975]
# Steps between windows, windows to calibrate on, windows to judge on; the last window ends with the data.
WINDOWS = {
    "nyc_weather_hourly": (24, 84, 28),
    "pjm_hourly": (24, 84, 28),
    "nn5_daily_with_missing": (7, 15, 5),
}


def forecasts(folder: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Forecasts of the calibration windows and of the test windows, by a model trained on what comes before."""
    data = load_datasets(folder / name, folder / name / "train", folder / name / "test")
    length, (step, calibration, test) = data.metadata.prediction_length, WINDOWS[name]
    series = list({entry["item_id"]: entry for entry in data.test}.values())  # the longest comes last
    held_out = length + (test - 1) * step
    before_test = [_without_end(one, held_out) for one in series]
    training = [_without_end(one, length + (calibration - 1) * step) for one in before_test]
    predictor = S5Estimator(data.metadata.freq, length, quantile_levels=LEVELS).train(training)
    options = {"prediction_length": length, "step": step, "quantile_levels": LEVELS}
    return (
        backtest(predictor, before_test, windows=calibration, **options).forecasts,
        backtest(predictor, series, windows=test, **options).forecasts,
    )


def _without_end(entry: dict, count: int) -> dict:
    return {**entry, "target": np.asarray(entry["target"])[:-count]}
