"""Does conformal calibration bring coverage to its nominal level, and what does it cost in width?

`python benchmarks/calibration.py --data FOLDER`; the folder holds the data sets in GluonTS's format.
"""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pandas as pd
from gluonts.dataset.common import load_datasets
from timing import save

from s5forecast import S5Estimator
from s5forecast.evaluation.backtest import backtest
from s5forecast.evaluation.calibrator import ConformalCalibrator
from s5forecast.evaluation.conformal import CONFORMAL_METHODS

LEVELS = [0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975]
# Steps between windows, windows to calibrate on, windows to evaluate on; the last window ends with the data.
WINDOWS = {
    "nyc_weather_hourly": (24, 84, 28),
    "pjm_hourly": (24, 84, 28),
    "nn5_daily_with_missing": (7, 15, 5),
}


def forecasts(folder: Path, name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Forecasts of the calibration windows and of the test windows, by a model trained on the data before them."""
    data = load_datasets(folder / name, folder / name / "train", folder / name / "test")
    length, (step, calibration, test) = data.metadata.prediction_length, WINDOWS[name]
    series = list({entry["item_id"]: entry for entry in data.test}.values())  # the longest comes last
    held_out = length + (test - 1) * step
    before_test = [_without_end(one, held_out) for one in series]
    training = [_without_end(one, length + (calibration - 1) * step) for one in before_test]
    quiet = {"enable_progress_bar": False}
    estimator = S5Estimator(data.metadata.freq, length, quantile_levels=LEVELS, trainer_kwargs=quiet)
    predictor = estimator.train(training)
    options = {"prediction_length": length, "step": step, "quantile_levels": LEVELS}
    return (
        backtest(predictor, before_test, windows=calibration, **options).forecasts,
        backtest(predictor, series, windows=test, **options).forecasts,
    )


def _without_end(entry: dict, count: int) -> dict:
    return {**entry, "target": np.asarray(entry["target"])[:-count]}


def rows(name: str, calibration: pd.DataFrame, test: pd.DataFrame) -> list[dict]:
    """Coverage and width of the test windows before and after, for each method and interval."""
    found = []
    for method in CONFORMAL_METHODS:
        calibrated = ConformalCalibrator(method).fit(calibration).transform(test)
        for lower in (level for level in LEVELS if level < 0.5):
            before, after = interval(test, lower), interval(calibrated, lower)
            equal = widened(test, lower, after["coverage"])
            found.append(
                {
                    "dataset": name,
                    "method": method,
                    "level": lower,
                    "nominal": round(1 - 2 * lower, 10),
                    "coverage_before": before["coverage"],
                    "coverage_after": after["coverage"],
                    "width_before": before["width"],
                    "width_after": after["width"],
                    "width_ratio_at_equal_coverage": after["width"] / equal,
                    "score_ratio": after["score"] / before["score"],
                    "series_gap_before": before["series_gap"],
                    "series_gap_after": after["series_gap"],
                }
            )
    return found


def interval(frame: pd.DataFrame, lower: float) -> dict[str, float]:
    """Coverage of a central interval, its mean width and interval score in units of each series, its gap by series.

    The gap is the mean over the series of |coverage - nominal|, so that errors of different series do not cancel.
    """
    seen = frame[frame["target"].notna()]
    low, high, target = seen[str(lower)], seen[str(round(1 - lower, 10))], seen["target"]
    inside = (low <= target) & (target <= high)
    missed = (low - target).clip(lower=0) + (target - high).clip(lower=0)
    gaps = inside.groupby(seen["item_id"]).mean() - (1 - 2 * lower)
    return {
        "coverage": inside.mean(),
        "width": ((high - low) / unit(seen)).mean(),
        "score": ((high - low + missed / lower) / unit(seen)).mean(),
        "series_gap": gaps.abs().mean(),
    }


def widened(frame: pd.DataFrame, lower: float, coverage: float) -> float:
    """Mean width of the uncalibrated interval, stretched about the median to this coverage of the test windows."""
    seen = frame[frame["target"].notna()]
    median, low, high = (seen[column] for column in ("0.5", str(lower), str(round(1 - lower, 10))))
    away = seen["target"] - median
    stretch = away.abs() / np.where(away > 0, high - median, median - low).clip(min=1e-12)
    factor = np.quantile(stretch, coverage, method="inverted_cdf")
    return factor * ((high - low) / unit(seen)).mean()


def unit(frame: pd.DataFrame) -> pd.Series:
    """Mean absolute change of each series from one step to the next, by row."""
    change = frame.groupby("item_id")["target"].diff().abs()
    return change.groupby(frame["item_id"]).transform("mean")


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    folder = parser.parse_args().data
    save([row for name in WINDOWS for row in rows(name, *forecasts(folder, name))], "calibration")
