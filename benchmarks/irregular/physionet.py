"""PhysioNet 2012 as two published forecasting tasks: 36 h and the next three hours' rows, 24 h and the next 24 h.

Both are functions from the frame of all patients to tasks, one per patient, with what is observed, what is asked, and
values scaled as published. ``tests/test_irregular_benchmarks.py`` holds them to their rules on a small frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

SETS = "abc"
# Lines of one minute come in this order in the challenge's files, which a wide table does not keep.
READING_ORDER = (
    "Albumin", "ALP", "ALT", "AST", "pH", "Bilirubin", "BUN", "Cholesterol", "Creatinine", "DiasABP", "FiO2", "GCS",
    "Glucose", "HCO3", "HCT", "HR", "Lactate", "Mg", "MAP", "MechVent", "NIDiasABP", "NIMAP", "NISysABP", "Platelets",
    "K", "PaCO2", "PaO2", "Na", "RespRate", "SysABP", "SaO2", "Temp", "TroponinI", "TroponinT", "Urine", "WBC",
    "Weight",
)  # fmt: skip
MINUTES = 60
OUTLIER, SMALLEST_STD = 5.0, 1e-7
SMALLEST_RANGE, WEIGHT_UNKNOWN = 1e-8, -1.0


class Task(NamedTuple):
    """One patient: hours ``time [n]`` and ``values [n, D]``, asked for at ``query_time [q]``: ``query_values [q, D]``.

    What is not observed, or not asked, is NaN.
    """

    item_id: int
    time: np.ndarray
    values: np.ndarray
    query_time: np.ndarray
    query_values: np.ndarray


Tasks = dict[str, list[Task]]  # train, validation, test


def load_physionet(root: Path) -> pd.DataFrame:
    """All patients of sets a, b and c: ``item_id``, ``timestamp`` in minutes, 37 variables in reading order."""
    frames = [pd.read_csv(root / f"physionet2012_{name}.csv.gz") for name in SETS]
    frame = pd.concat(frames, ignore_index=True)[["item_id", "timestamp", *READING_ORDER]]
    return frame.sort_values(["item_id", "timestamp"], ignore_index=True)


def next_three_steps(frame: pd.DataFrame, fold: int = 0) -> Tasks:
    """36 hours are observed, the next three rows asked for: the task of GraFITi, ProFITi and those they compare.

    Rows are :func:`hourly`. Values are standardized over all patients, test included, and those of five standard
    deviations or more left out, as published. The row of hour 36, whose values are of 36:00 to 36:59, is observed.
    A row without values counts among the three. Errors are averaged over all values asked for.

    The papers speak of five folds of 70 : 10 : 20. Their code takes 15 % for the test, a fifth of the rest for
    validation, and the same seed for all five folds, whose spread is thus that of the training. Here the proportions
    are those of the code and the seed is the fold. The split is not theirs to the patient: it depends on the order of
    the patients in their archive; here they are sorted.

    References:
        "GraFITi: Graphs for Forecasting Irregularly Sampled Time Series" (Yalavarthi et al., 2024)
        "Probabilistic Forecasting of Irregularly Sampled Time Series with Missing Values via Conditional Normalizing
        Flows" (Yalavarthi, Scholz, Born, Schmidt-Thieme, 2025)
    """
    rows = hourly(frame)
    values = rows.to_numpy()
    scores = (values - np.nanmean(values, axis=0)) / (np.nanstd(values, axis=0) + SMALLEST_STD)
    scores[np.abs(scores) >= OUTLIER] = np.nan
    items, hours = (rows.index.get_level_values(name).to_numpy() for name in ("item_id", "hour"))
    patients = _tasks(items, hours.astype(float), scores, observed=hours <= 36, asked=3)
    seen, test = train_test_split(sorted(patients), test_size=0.15, random_state=fold)
    train, validation = train_test_split(seen, test_size=0.2, random_state=fold)
    return _chosen(patients, train, validation, test)


def hourly(frame: pd.DataFrame) -> pd.DataFrame:
    """Means of hours with any line, index ``(item_id, hour)``, as the published code reads the challenge's files.

    It passes over the line that opens an hour, but for a patient's first one, and over a patient's last hour. So does
    this. Weight at minute 0 is a static feature there. Not as there: values of one variable and minute count once
    in the mean, with their own mean (11,790 of 5.2 million lines), and 2,403 lines that name no variable are missing.
    """
    names = list(READING_ORDER)
    values = frame[names].to_numpy(float, copy=True)
    values[frame["timestamp"].to_numpy() == 0, names.index("Weight")] = np.nan
    rows = ~np.isnan(values).all(axis=1)
    values = values[rows]
    keys = pd.DataFrame({"item_id": frame["item_id"][rows], "hour": frame["timestamp"][rows] // MINUTES})
    hours = keys.groupby("item_id")["hour"]
    opening = (~keys.duplicated() & (keys["hour"] != hours.transform("first"))).to_numpy()
    values[opening, (~np.isnan(values[opening])).argmax(axis=1)] = np.nan
    kept = (keys["hour"] != hours.transform("last")).to_numpy()
    index = pd.MultiIndex.from_frame(keys[kept])
    return pd.DataFrame(values[kept], index, names).groupby(level=["item_id", "hour"]).mean()


def next_day(frame: pd.DataFrame) -> Tasks:
    """24 hours are observed, everything of the next 24 is asked for, at its minute: the task of t-PatchGNN.

    Values are scaled by minimum and maximum over the patients of training and validation. MechVent, which is always 1,
    becomes 0 and counts. Errors are averaged over the values of each variable, then over variables. The split is
    60 : 20 : 20, always with the same seed; not the published one to the patient, as that depends on the order of files
    on the authors' disk. The static features that the published input holds at minute 0 are left out: they are never
    asked for, and set c comes without them. An unknown weight is -1 there, which the scale of the weight keeps.

    References:
        "Irregular Multivariate Time Series Forecasting: A Transformable Patching Graph Neural Networks Approach"
        (Zhang, Yin, Liu, Zhou, Zhu, Zhang, Xiong, 2024)
    """
    items, time = frame["item_id"].to_numpy(), frame["timestamp"].to_numpy() / MINUTES
    values = frame[list(READING_ORDER)].to_numpy(float)
    seen, test = train_test_split(np.unique(items), train_size=0.8, random_state=42)
    train, validation = train_test_split(seen, train_size=0.75, shuffle=False)
    known = values[np.isin(items, seen)]
    low, high = np.nanmin(known, axis=0), np.nanmax(known, axis=0)
    low[READING_ORDER.index("Weight")] = WEIGHT_UNKNOWN
    scaled = (values - low) / np.where(high > low, high - low, SMALLEST_RANGE)
    return _chosen(_tasks(items, time, scaled, observed=time < 24), train, validation, test)


def _tasks(
    items: np.ndarray, time: np.ndarray, values: np.ndarray, observed: np.ndarray, asked: int | None = None
) -> dict[int, Task]:
    """Tasks of rows sorted by item and time; ``asked`` is the number of rows after those ``observed``, None for all."""
    ids, starts = np.unique(items, return_index=True)
    tasks = {}
    for item, first, end in zip(ids.tolist(), starts, np.append(starts[1:], len(items)), strict=True):
        cut = first + int(observed[first:end].sum())
        last = end if asked is None else min(cut + asked, end)
        tasks[item] = Task(item, time[first:cut], values[first:cut], time[cut:last], values[cut:last])
    return tasks


def _chosen(patients: dict[int, Task], train: Iterable[int], validation: Iterable[int], test: Iterable[int]) -> Tasks:
    parts = {"train": train, "validation": validation, "test": test}
    return {name: [patients[item] for item in part] for name, part in parts.items()}
