"""Training and prediction of many series on disk by s5forecast, neuralforecast and GluonTS, for ``peers.py``.

Each class has the same methods: ``prepare`` converts the rows to the format of the library, if it has one of its own;
``fit`` reads the series and trains for two steps; ``windows`` gathers the training windows of some steps without the
network; ``predict`` reads the rows, forecasts the deciles of all series and writes them to Parquet files. Networks
have batches of 32 windows in training and of 256 series in prediction.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from predict import HORIZON, STEPS

BATCH, PREDICT_BATCH, TRAINING_STEPS = 32, 256, 2
# Context of the networks: the default of S5Estimator for days and this horizon.
CONTEXT = 32
# Hidden layers of the networks, and widths that give them about as many weights as S5Estimator has.
LAYERS, MLP_WIDTH, FEED_FORWARD_WIDTH = 2, 128, 48
DECILES = [round(0.1 * number, 1) for number in range(1, 10)]
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False}
# Series whose forecasts by GluonTS are written together.
WRITTEN = 4096


class S5forecast:
    """``S5Forecaster`` with default arguments, which reads the Parquet files of the long rows."""

    def prepare(self, rows: Path, folder: Path) -> None:
        """The rows are read as they are."""

    def fit(self, rows: Path, folder: Path) -> None:
        from s5forecast import S5Forecaster
        from s5forecast.estimators import base

        fit = base.fit

        def kept(module: Any, windows: Any, *arguments: Any, **options: Any) -> Any:
            self._windows = windows
            return fit(module, windows, *arguments, **options)

        base.fit = kept
        short = {"max_epochs": 1, "num_batches_per_epoch": TRAINING_STEPS}
        self._forecaster = S5Forecaster(HORIZON, freq="D", estimator_kwargs=short, verbose=False).fit(str(rows))
        base.fit = fit

    @property
    def network(self) -> Any:
        return self._forecaster.predictor_.network

    def windows(self, steps: int) -> int:
        self._windows.num_batches = steps
        return sum(len(batch.target) for batch in self._windows)

    def predict(self, rows: Path, output: Path) -> None:
        self._forecaster.predict(str(rows), output=output)


class NeuralforecastFrame:
    """``MLP`` of neuralforecast, with all rows in a frame."""

    def prepare(self, rows: Path, folder: Path) -> None:
        """The rows are read as they are."""

    def fit(self, rows: Path, folder: Path) -> None:
        self._fit(renamed(rows))

    def _fit(self, data: Any) -> None:
        from neuralforecast import NeuralForecast
        from neuralforecast.losses.pytorch import MQLoss
        from neuralforecast.models import MLP

        batches = {"batch_size": BATCH, "windows_batch_size": BATCH, "valid_batch_size": PREDICT_BATCH}
        model = MLP(
            h=HORIZON, input_size=CONTEXT, num_layers=LAYERS, hidden_size=MLP_WIDTH, loss=MQLoss(quantiles=DECILES),
            scaler_type="standard", max_steps=TRAINING_STEPS, enable_checkpointing=False, **batches, **QUIET,
        )  # fmt: skip
        self._forecaster = NeuralForecast(models=[model], freq="D")
        self._forecaster.fit(data)

    @property
    def network(self) -> Any:
        return self._forecaster.models[0]

    def windows(self, steps: int) -> int:
        return sum(map(self._gathered, islice(self._batches(), steps)))

    def _batches(self) -> Iterator[Any]:
        """Batches of series, epoch after epoch."""
        from neuralforecast.tsdataset import TimeSeriesDataModule

        loader = TimeSeriesDataModule(self._forecaster.dataset, batch_size=BATCH).train_dataloader()
        while True:
            yield from loader

    def _gathered(self, batch: Any) -> int:
        """Number of windows that a training step draws from a batch of series, as ``training_step`` does."""
        import torch

        windows, static, static_cols, condition, weight, columns = self.network._create_windows(batch, step="train")
        chosen = torch.randperm(len(condition))[:BATCH]
        drawn = self.network._sample_windows(
            windows_temporal=windows, static=static, static_cols=static_cols, temporal_cols=columns, w_idxs=chosen,
            final_condition=condition, sample_weight=weight,
        )  # fmt: skip
        return len(drawn["temporal"])

    def predict(self, rows: Path, output: Path) -> None:
        output.mkdir(parents=True)
        self._forecaster.predict(renamed(rows)).to_parquet(output / "forecasts.parquet")


class NeuralforecastFiles(NeuralforecastFrame):
    """``MLP`` of neuralforecast, trained on one folder of Parquet files for each series.

    It predicts frames only, here those of one file of the long rows after the other.
    """

    def prepare(self, rows: Path, folder: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for file in sorted(rows.iterdir()):
            frame = renamed(file)
            for begin in range(0, len(frame), STEPS):
                part = frame.iloc[begin : begin + STEPS]
                one = folder / f"unique_id={part['unique_id'].iloc[0]}"
                one.mkdir(parents=True)
                table = pa.table({"ds": part["ds"].to_numpy(), "y": part["y"].to_numpy()})
                pq.write_table(table, one / "rows.parquet")

    def fit(self, rows: Path, folder: Path) -> None:
        self._fit(sorted(map(str, folder.iterdir())))

    def predict(self, rows: Path, output: Path) -> None:
        output.mkdir(parents=True)
        for file in sorted(rows.iterdir()):
            self._forecaster.predict(renamed(file)).to_parquet(output / file.name)


class GluontsFrame:
    """``SimpleFeedForwardEstimator`` of GluonTS on a ``PandasDataset`` of all rows."""

    def prepare(self, rows: Path, folder: Path) -> None:
        """The rows are read as they are."""

    def data(self, rows: Path, folder: Path) -> Any:
        """The dataset."""
        from gluonts.dataset.pandas import PandasDataset

        frame = pd.read_parquet(rows).astype({"target": np.float32})
        return PandasDataset.from_long_dataframe(frame, "item_id", "timestamp", freq="D")

    def fit(self, rows: Path, folder: Path) -> None:
        self._data, self._folder = self.data(rows, folder), folder
        self._predictor = self._estimator(TRAINING_STEPS).train(self._data)
        self._predictor.batch_size = PREDICT_BATCH

    def _estimator(self, steps: int) -> Any:
        from gluonts.torch.distributions import QuantileOutput
        from gluonts.torch.model.simple_feedforward import SimpleFeedForwardEstimator

        trainer_kwargs = {**QUIET, "max_epochs": 1, "default_root_dir": str(self._folder.parent / "checkpoints")}
        return SimpleFeedForwardEstimator(
            HORIZON, context_length=CONTEXT, hidden_dimensions=[FEED_FORWARD_WIDTH] * LAYERS, batch_size=BATCH,
            distr_output=QuantileOutput(DECILES), num_batches_per_epoch=steps, trainer_kwargs=trainer_kwargs,
        )  # fmt: skip

    @property
    def network(self) -> Any:
        return self._predictor.network

    def windows(self, steps: int) -> int:
        estimator = self._estimator(steps)
        entries = estimator.create_transformation().apply(self._data, is_train=True)
        return sum(len(batch["past_target"]) for batch in estimator.create_training_data_loader(entries, self.network))

    def predict(self, rows: Path, output: Path) -> None:
        output.mkdir(parents=True)
        forecasts = self._predictor.predict(self.data(rows, self._folder))
        for number, part in enumerate(iter(lambda: list(islice(forecasts, WRITTEN)), [])):
            forecast_frame(part).to_parquet(output / f"part-{number:04d}.parquet")


class GluontsArrow(GluontsFrame):
    """``SimpleFeedForwardEstimator`` of GluonTS on its Arrow file, which has a row for each series."""

    def prepare(self, rows: Path, folder: Path) -> None:
        from gluonts.dataset.arrow import ArrowWriter

        folder.mkdir(parents=True)
        ArrowWriter().write_to_file(_entries(rows), folder / "series.arrow")

    def data(self, rows: Path, folder: Path) -> Any:
        from gluonts.dataset.common import FileDataset

        return FileDataset(folder / "series.arrow", freq="D")


def renamed(rows: Path) -> pd.DataFrame:
    """Rows with the column names of neuralforecast."""
    return pd.read_parquet(rows).rename(columns={"item_id": "unique_id", "timestamp": "ds", "target": "y"})


def _entries(rows: Path) -> Iterator[dict[str, Any]]:
    """Entries of GluonTS."""
    for file in sorted(rows.iterdir()):
        frame = pd.read_parquet(file)
        targets = frame["target"].to_numpy(np.float32).reshape(-1, STEPS)
        for item, target in zip(frame["item_id"].to_numpy()[::STEPS], targets, strict=True):
            yield {"item_id": item, "start": pd.Period(frame["timestamp"].iloc[0], "D"), "target": target}


def forecast_frame(forecasts: Iterable[Any]) -> pd.DataFrame:
    """A row for each series and step, and a column for each decile."""
    forecasts = list(forecasts)
    values = np.stack([[one.quantile(level) for level in DECILES] for one in forecasts])  # [S, Q, H]
    starts = np.array([one.start_date.to_timestamp() for one in forecasts], dtype="datetime64[ns]")
    columns = {
        "item_id": np.repeat([one.item_id for one in forecasts], HORIZON),
        "timestamp": (starts[:, None] + np.arange(HORIZON) * np.timedelta64(1, "D")).ravel(),
    }
    deciles = values.transpose(1, 0, 2).reshape(len(DECILES), -1)
    return pd.DataFrame({**columns, **dict(zip(map(str, DECILES), deciles, strict=True))})


LIBRARIES = {
    "s5forecast": S5forecast,
    "neuralforecast, frame": NeuralforecastFrame,
    "neuralforecast, files": NeuralforecastFiles,
    "GluonTS, frame": GluontsFrame,
    "GluonTS, Arrow": GluontsArrow,
}
