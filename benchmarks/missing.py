"""Is it better to skip missing steps, with a longer step after them, or to show them as missing values?

    python missing.py

40 % of the values of embedded hourly series are removed in runs of 3 or 24 hours on average, from histories and
contexts alike. The week after the training part is forecast in seven windows of a day. ``skip`` and ``impute`` are the
same network, seed and training, apart from ``missing=``; ``impute, patches`` takes four steps as one, the default
there. Each series is divided by its standard deviation. results/missing.csv has the mean WQL over seeds, and the mean
ratio to the WQL of ``impute`` with the same seed, which also draws the gaps.
"""

from __future__ import annotations

from itertools import product
from time import process_time

import numpy as np
import pandas as pd
from timing import save

from s5forecast import S5Estimator, load_dataset
from s5forecast.evaluation.metrics import evaluate
from s5forecast.levels import DECILES

SETS = ("nyc_departures_hourly", "nyc_weather_hourly")
RUNS = (3, 24)  # mean length of a gap, in steps
SHARE, SEEDS, H, WINDOWS = 0.4, 3, 24, 7
ARMS = {
    "impute": dict(missing="impute", patch_length=1),
    "skip": dict(missing="skip", patch_length=1),
    "impute, patches": dict(missing="impute", patch_length=4),
}
SETTINGS = dict(
    context_length=168, width=32, num_layers=2, state_size=32, batch_size=8, num_batches_per_epoch=50, max_epochs=6,
    device="cpu", trainer_kwargs={"enable_progress_bar": False},
)  # fmt: skip


def gaps(shape: tuple[int, int], run: int, rng: np.random.Generator) -> np.ndarray:
    """Mask of the missing steps, drawn from a two-state chain with gaps of mean length ``run``."""
    leave = 1 / run
    enter = leave * SHARE / (1 - SHARE)
    state = rng.random(shape[0]) < SHARE
    found = np.empty(shape, dtype=bool)
    for step in range(shape[1]):
        found[:, step] = state
        state = rng.random(shape[0]) < np.where(state, 1 - leave, enter)
    return found


def wql(values: np.ndarray, holed: np.ndarray, start: pd.Period, seed: int, **arm: object) -> float:
    """WQL of the last windows of ``values [S, T]``, forecast from ``holed``."""

    def entries(end: int) -> list[dict]:
        return [{"item_id": str(i), "start": start, "target": row[:end]} for i, row in enumerate(holed)]

    cuts = [values.shape[1] - H * ahead for ahead in range(WINDOWS, 0, -1)]
    predictor = S5Estimator("h", H, seed=seed, **SETTINGS, **arm).train(entries(cuts[0]))
    found = np.concatenate([predictor.predict_quantiles(entries(cut), DECILES)[1] for cut in cuts])
    label = np.concatenate([values[:, cut : cut + H] for cut in cuts])
    forecasts = {str(level): found[..., i] for i, level in enumerate(DECILES)}
    return float(evaluate(label, forecasts, metrics=["WQL"])["WQL"])


def main() -> None:
    rows = []
    for name, run in product(SETS, RUNS):
        table = load_dataset(name).pivot(index="timestamp", columns="item_id", values="target")
        values = (table / table.std()).to_numpy().T
        found, seconds = {arm: [] for arm in ARMS}, dict.fromkeys(ARMS, 0.0)
        for seed in range(SEEDS):
            holes = gaps(values.shape, run, np.random.default_rng(seed))
            holed = np.where(holes, np.nan, values)
            for arm, kwargs in ARMS.items():
                began = process_time()
                found[arm].append(wql(values, holed, pd.Period(table.index[0], "h"), seed, **kwargs))
                seconds[arm] += (process_time() - began) / SEEDS
        for arm, scores in found.items():
            ratios = np.divide(scores, found["impute"])
            rows.append(
                {"set": name, "run": run, "arm": arm, "seeds": SEEDS, "wql": np.mean(scores), "ratio": ratios.mean(),
                 "ratio_min": ratios.min(), "ratio_max": ratios.max(), "cpu_seconds": seconds[arm]}
            )  # fmt: skip
        save(rows, "missing")


if __name__ == "__main__":
    main()
