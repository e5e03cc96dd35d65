"""Forecasting tasks: series cut so that models see nothing of a test window before it is evaluated."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from gluonts.dataset.common import load_datasets
from gluonts.dataset.field_names import FieldName

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Task:
    """One line of tasks.yaml; `root` holds the data sets in GluonTS's format.

    The last `held_out` steps of every series are omitted: a validation task ends where the test part begins.
    """

    root: Path
    name: str
    suite: str
    data: str
    freq: str
    prediction_length: int
    windows: int
    season: int
    baseline: str
    seasonal_naive: list[float | None] | None
    items: list[int] | None = None
    resample: str | None = None
    length: int | None = None
    cut: int = 0
    held_out: int = 0

    @property
    def test_steps(self) -> int:
        return self.windows * self.prediction_length

    @cached_property
    def series(self) -> list[dict]:
        """Whole series, test windows included."""
        series = [self._resampled(entry) for entry in _longest(self.root / self.data)[slice(*(self.items or [None]))]]
        left_away = self.cut + self.held_out
        return [{**entry, "target": entry["target"][: len(entry["target"]) - left_away]} for entry in series]

    @cached_property
    def train(self) -> list[dict]:
        """The data before the first test window."""
        return [{**entry, "target": entry["target"][: -self.test_steps]} for entry in self.series]

    def validation(self, windows: int = 4) -> Task:
        """The same task on windows that end where the test part begins; fewer windows if the series are short."""
        shortest = min(len(entry["target"]) for entry in self.train)
        possible = max(1, shortest // (3 * self.prediction_length))
        return replace(self, held_out=self.test_steps, windows=min(windows, possible), seasonal_naive=None)

    def _resampled(self, entry: dict) -> dict:
        if self.resample is None:
            return entry
        values = pd.Series(entry["target"], entry["start"].to_timestamp() + _steps(entry))
        sums = values.groupby(values.index.to_period(self.resample)).sum()[: self.length]
        return {**entry, "start": sums.index[0], "target": sums.to_numpy(np.float32)}


def load_tasks(root: Path) -> dict[str, Task]:
    """All tasks by name."""
    return {entry["name"]: Task(root, **entry) for entry in yaml.safe_load((FOLDER / "tasks.yaml").read_text())}


def _longest(path: Path) -> list[dict]:
    """The test entry of each series that holds all windows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of pandas, for business days
        dataset = load_datasets(metadata=path, train=path / "train", test=path / "test")
        entries = list(dataset.test)
    longest: dict = {}
    for entry in entries:
        known = longest.get(entry[FieldName.ITEM_ID])
        if known is None or len(entry["target"]) > len(known["target"]):
            longest[entry[FieldName.ITEM_ID]] = {
                "item_id": entry["item_id"], "start": entry["start"], "target": np.asarray(entry["target"], np.float32)
            }  # fmt: skip
    return list(longest.values())


def _steps(entry: dict) -> pd.TimedeltaIndex:
    return pd.to_timedelta(np.arange(len(entry["target"])) * pd.Timedelta(entry["start"].freq))
