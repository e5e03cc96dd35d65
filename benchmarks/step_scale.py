"""How well does a model trained on hours forecast quarter-hours?

    python step_scale.py --data FOLDER

FOLDER holds ett_small_1h and ett_small_15min as GluonTS saves them: the same signals, of which the hourly values are
every fourth. Networks are trained on hours and, for comparison, on quarter-hours, on the data before the last windows
of the training part. They forecast the quarter-hours of these windows, consecutive days, from histories in
quarter-hours unless stated otherwise. The test part is not read. Each series is divided by its standard deviation. WQL,
mean and range over seeds, in results/step_scale.csv.

- ``step_scale``: the hourly network with ``predictor.rescaled(0.25)``.
- ``each phase``: the hourly network on every fourth value, four times, each a quarter of an hour later.
- ``hours repeated``: the hourly forecast from hourly histories, each value repeated for four quarter-hours.
- ``trained on quarter-hours``: the same settings on quarter-hours, context and lags over the same span of time.
- ``seasonal naive``: the last day.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
from timing import save

from s5forecast import S5Estimator, load_dataset
from s5forecast.data.frequency import Frequency
from s5forecast.estimators.defaults import default_lags
from s5forecast.evaluation.metrics import evaluate
from s5forecast.levels import DECILES

K, H, WINDOWS, SEEDS = 4, 24, 14, 3
LAGS = default_lags(Frequency.parse("h"))
SETTINGS = dict(
    patch_length=1, width=32, num_layers=2, state_size=32, dropout=0.2, batch_size=8, num_batches_per_epoch=50,
    max_epochs=8, device="cpu", trainer_kwargs={"enable_progress_bar": False},
)  # fmt: skip
START = "2016-07-01"


def entries(values: np.ndarray, freq: str) -> list[dict]:
    return [{"item_id": str(i), "start": pd.Period(START, freq), "target": row} for i, row in enumerate(values)]


def estimator(freq: str, k: int, seed: int) -> S5Estimator:
    lags = [k * lag for lag in LAGS]
    return S5Estimator(freq, k * H, context_length=k * 7 * H, lags_seq=lags, seed=seed, **SETTINGS)


def forecasts(quarters: np.ndarray, cut: int, seed: int) -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    """Functions by name, trained before ``cut``: quarter-hourly histories ``[S, T]`` to quantiles ``[S, K H, Q]``."""
    hourly = estimator("h", 1, seed).train(entries(quarters[:, :cut:K], "h"))
    rescaled = hourly.rescaled(1 / K)
    fine = estimator("15min", K, seed).train(entries(quarters[:, :cut], "15min"))

    def of_hours(hours: np.ndarray) -> np.ndarray:
        return hourly.predict_quantiles(entries(hours, "h"), DECILES)[1]

    def each_phase(past: np.ndarray) -> np.ndarray:
        return np.stack([of_hours(past[:, phase::K]) for phase in range(K)], axis=2).reshape(len(past), K * H, -1)

    yield "step_scale", lambda past: rescaled.predict_quantiles(entries(past, "15min"), DECILES)[1]
    yield "each phase", each_phase
    yield "hours repeated", lambda past: of_hours(past[:, ::K]).repeat(K, axis=1)
    yield "trained on quarter-hours", lambda past: fine.predict_quantiles(entries(past, "15min"), DECILES)[1]
    yield "seasonal naive", lambda past: past[:, -K * H :, None].repeat(len(DECILES), axis=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    arguments = parser.parse_args()
    hours, quarters = (
        np.stack([np.asarray(entry["target"], dtype=float) for entry in load_dataset(name, path=arguments.data).train])
        for name in ("ett_small_1h", "ett_small_15min")
    )
    assert np.array_equal(hours[:, : quarters.shape[1] // K], quarters[:, ::K][:, : hours.shape[1]])
    quarters = quarters[:, : quarters.shape[1] // K * K]
    quarters = quarters / quarters.std(axis=1, keepdims=True)
    cuts = [quarters.shape[1] - K * H * ahead for ahead in range(WINDOWS, 0, -1)]
    label = np.concatenate([quarters[:, cut : cut + K * H] for cut in cuts])
    found: dict[str, list[float]] = {}
    seconds: dict[str, float] = {}
    for seed in range(arguments.seeds):
        for name, predict in forecasts(quarters, cuts[0], seed):
            began = process_time()
            quantiles = np.concatenate([predict(quarters[:, :cut]) for cut in cuts])
            seconds[name] = process_time() - began
            by_level = {str(level): quantiles[..., i] for i, level in enumerate(DECILES)}
            found.setdefault(name, []).append(float(evaluate(label, by_level, metrics=["WQL"])["WQL"]))
    rows = [
        {"forecast": name, "seeds": arguments.seeds, "windows": WINDOWS, "wql": np.mean(scores), "wql_min": min(scores),
         "wql_max": max(scores), "predict_cpu_seconds": seconds[name]}
        for name, scores in found.items()
    ]  # fmt: skip
    save(rows, "step_scale")


if __name__ == "__main__":
    main()
