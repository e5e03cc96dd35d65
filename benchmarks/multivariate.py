"""How well do joint samples forecast the sum of eight exchange rates, compared with a random walk?

Protocol of the literature on multivariate forecasts: exchange_rate_nips of GluonTS, 30 business days, one training on
the training part, five consecutive windows, CRPS-sum. ``--data`` is a folder with the data set as GluonTS saves it.
``--validation`` trains on the data before the last windows of the training part and reports on these windows, on which
the settings below were chosen. Nothing is chosen on the windows of the test part.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from gluonts.dataset.common import load_datasets
from timing import save

from s5forecast import make_estimator
from s5forecast.evaluation.metrics import evaluate

SEASON, VALIDATION_WINDOWS, SAMPLES = 5, 10, 1000
METRICS = ("CRPS_sum", "energy_score_series")  # the values are near one, so both are shown in hundredths
# Random walks whose steps are drawn together, at the size of the last context; strongly regularized.
SETTINGS = dict(
    lags_seq=[1], scaling="increments", context_length=60, rank=4, width=32, num_layers=2, state_size=32,
    dropout=0.2, weight_decay=1.0, max_epochs=4,
)  # fmt: skip
Forecaster = Callable[[np.ndarray], np.ndarray]  # history [D, T] -> samples [N, H, D]


def random_walk(train: np.ndarray, length: int, seed: int) -> Forecaster:
    """Random walk with normal steps, which have the covariance of all steps in training."""
    root, rng = np.linalg.cholesky(np.cov(np.diff(train))), np.random.default_rng(seed)
    return lambda past: past[:, -1] + (rng.normal(size=(SAMPLES, length, len(past))) @ root.T).cumsum(axis=1)


def seasonal_naive(train: np.ndarray, length: int, seed: int) -> Forecaster:
    """The last week, repeated."""
    return lambda past: past[:, -SEASON:].T[np.arange(length) % SEASON][None]


def s5(train: np.ndarray, length: int, seed: int, start: pd.Period, **kwargs: object) -> Forecaster:
    """The model with the settings above."""
    given = {**SETTINGS, "seed": seed, "trainer_kwargs": {"enable_progress_bar": False}, **kwargs}
    estimator = make_estimator("B", length, model="multivariate", target_dim=len(train), **given)
    predictor = estimator.train([{"start": start, "target": train}])
    return lambda past: next(predictor.predict([{"start": start, "target": past}], num_samples=SAMPLES)).samples


def scores(forecast: Forecaster, values: np.ndarray, windows: int, length: int) -> dict[str, float]:
    """Metrics of the last windows of ``values [D, T]``."""
    cuts = range(values.shape[1] - windows * length, values.shape[1], length)
    label = np.concatenate([values[:, cut : cut + length] for cut in cuts], axis=1)
    samples = np.concatenate([forecast(values[:, :cut]) for cut in cuts], axis=1).T  # [D, W * H, N]
    found = evaluate(label, {"samples": samples}, metrics=METRICS)
    return {f"{name}_percent": 100 * float(value) for name, value in found.items()}


def load(folder: Path) -> tuple[np.ndarray, np.ndarray, pd.Period, int, int]:
    """Values ``[D, T]`` of the training part and of all, their start, the horizon and the number of test windows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*BDay", category=FutureWarning)
        found = load_datasets(folder / "metadata", folder / "train", folder / "test")
        train, test = list(found.train), list(found.test)
    whole = np.stack([entry["target"] for entry in test[-len(train) :]]).astype(float)
    first = np.stack([entry["target"] for entry in train]).astype(float)
    return first, whole, train[0]["start"], found.metadata.prediction_length, len(test) // len(train)


def spread(rows: Iterable[dict[str, float]]) -> dict[str, float]:
    """Mean and standard deviation over seeds of each number."""
    table = pd.DataFrame(rows)
    return {name: table[name].mean() for name in table} | {
        f"{name}_std": table[name].std(ddof=1) if len(table) > 1 else 0.0 for name in table
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--validation", action="store_true")
    arguments = parser.parse_args()
    train, values, start, length, windows = load(arguments.data / "exchange_rate_nips")
    if arguments.validation:
        windows, values = VALIDATION_WINDOWS, train
        train = train[:, : -windows * length]
    models: dict[str, Callable[[int], Forecaster]] = {
        "random walk": lambda seed: random_walk(train, length, seed),
        "seasonal naive": lambda seed: seasonal_naive(train, length, seed),
        "S5 multivariate normal": lambda seed: s5(train, length, seed, start),
        "S5 multivariate normal, best": lambda seed: s5(train, length, seed, start, preset="best"),
        "S5 Gaussian copula": lambda seed: s5(train, length, seed, start, distr_output="gaussian_copula"),
    }
    rows = []
    for name, make in models.items():
        found = []
        for seed in range(arguments.seeds):
            began = perf_counter()
            found.append(scores(make(seed), values, windows, length) | {"seconds": perf_counter() - began})
        rows.append({"model": name, "windows": windows, "seeds": arguments.seeds, **spread(found)})
        save(rows, "multivariate_validation" if arguments.validation else "multivariate")


if __name__ == "__main__":
    main()
