"""How fast do forecasters train and predict, compared with GluonTS's? Context 336, batch size 32, width 64.

    python training_speed.py --data FOLDER
    python training_speed.py --device cuda

With a folder, on the 414 series of m4_hourly: milliseconds from one training step to the next, including the drawing of
the batch; seconds to forecast all series; then the training time of PatchTST and S5Estimator with their own defaults,
and the accuracy they reach. On a GPU, the steps and the forecasts only, on the embedded nyc_departures_hourly.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import lightning.pytorch as pl
import numpy as np
from gluonts.dataset.pandas import PandasDataset
from timing import save

sys.path.append(str(Path(__file__).parent / "forecasting"))
from tasks import Task, load_tasks

from s5forecast import S5Estimator, load_dataset
from s5forecast.estimators.autoregressive import S5AutoregressiveEstimator
from s5forecast.estimators.peers import PEERS
from s5forecast.evaluation.backtest import backtest

TASK = "m4_hourly/H/short"
COMMON = {"freq": "h", "prediction_length": 48}
SIZE = {"context_length": 336, "batch_size": 32, "num_batches_per_epoch": 50}
ROUNDS = 3


class Stopwatch(pl.Callback):
    """Seconds at which each training step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_batch_end(self, *args: Any) -> None:
        self.ends.append(perf_counter())

    def step_seconds(self) -> np.ndarray:
        return np.diff(self.ends)[5:]


def peer(name: str, **arguments: Any) -> Callable[..., Any]:
    def build(device: str = "cpu", **trainer_kwargs: Any) -> Any:
        trainer_kwargs["accelerator"] = {"cpu": "cpu", "cuda": "gpu"}[device]
        return PEERS[name](**COMMON, arguments={**arguments, "trainer_kwargs": trainer_kwargs})

    return build


def ours(estimator: type, **arguments: Any) -> Callable[..., Any]:
    def build(device: str = "cpu", max_epochs: int | None = None, **trainer_kwargs: Any) -> Any:
        return estimator(**COMMON, **arguments, max_epochs=max_epochs, trainer_kwargs=trainer_kwargs, device=device)

    return build


MODELS: dict[str, Callable[..., Any]] = {
    "S5Estimator": ours(S5Estimator, **SIZE, width=64, patch_length=8),
    "S5Estimator, no patches": ours(S5Estimator, **SIZE, width=64, patch_length=1),
    "S5AutoregressiveEstimator": ours(S5AutoregressiveEstimator, **SIZE, width=64),
    "S5AutoregressiveEstimator, encoder": ours(S5AutoregressiveEstimator, **SIZE, width=64, recursion="encoder"),
    "DeepAR": peer("deepar", **SIZE, hidden_size=64),
    "TFT": peer("tft", **SIZE, hidden_dim=64),
    "PatchTST": peer("patch_tst", **SIZE, patch_len=16, d_model=64),
    "TiDE": peer("tide", **SIZE),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--data", type=Path, help="folder of data sets in GluonTS format, by name")
    data.add_argument("--device", choices=["cuda"])
    given = parser.parse_args()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other libraries
        if given.device:
            entries = PandasDataset.from_long_dataframe(
                load_dataset("nyc_departures_hourly"), item_id="item_id", timestamp="timestamp", target="target"
            )
            save(speeds(entries, given.device), f"training_speed_{given.device}")
        else:
            task = load_tasks(given.data)[TASK]
            save(speeds(task.train), "training_speed")
            save(with_defaults(task), "training_quality")


def speeds(entries: Any, device: str = "cpu") -> list[dict]:
    """Step and prediction times of each model; the models take turns."""
    steps: dict[str, list[float]] = {name: [] for name in MODELS}
    predictions: dict[str, list[float]] = {name: [] for name in MODELS}
    for _ in range(ROUNDS):
        for name, build in MODELS.items():
            watch = Stopwatch()
            predictor = build(device=device, max_epochs=1, callbacks=[watch]).train(entries)
            began = perf_counter()
            list(predictor.predict(entries))
            predictions[name].append(perf_counter() - began)
            steps[name].extend(watch.step_seconds())
    base_step, base_prediction = np.median(steps["S5Estimator"]), np.median(predictions["S5Estimator"])
    return [
        {
            "model": name,
            "step_ms": 1e3 * np.median(steps[name]),
            "step / S5Estimator": np.median(steps[name]) / base_step,
            "predict_s": np.median(predictions[name]),
            "predict / S5Estimator": np.median(predictions[name]) / base_prediction,
        }
        for name in MODELS
    ]


def with_defaults(task: Task) -> list[dict]:
    rows = [trained("PatchTST", PEERS["patch_tst"](**COMMON), task), trained("S5Estimator", ours(S5Estimator)(), task)]
    return [{**row, "train / PatchTST": row["train_s"] / rows[0]["train_s"]} for row in rows]


def trained(name: str, estimator: Any, task: Task) -> dict:
    began = perf_counter()
    predictor = estimator.train(task.train)
    seconds = perf_counter() - began
    metrics = backtest(predictor, task.series, prediction_length=task.prediction_length, season=task.season).metrics
    return {"model": name, "train_s": seconds, "WQL": metrics["WQL"].iloc[0], "MASE": metrics["MASE"].iloc[0]}


if __name__ == "__main__":
    main()
