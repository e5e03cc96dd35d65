"""Checked GluonTS entries of regular series as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from s5forecast.data.frame_entries import FrameEntries, fits, read_arrays
from s5forecast.data.offset_aliases import TICKS
from s5forecast.data.series import Series

if TYPE_CHECKING:
    from s5forecast.data.spec import WindowSpec


def read_series(
    entries: Iterable[dict[str, Any]], spec: WindowSpec, *, forecast: bool, observed: bool = True
) -> Sequence[Series]:
    """Check the entries of a GluonTS dataset.

    Args:
        entries: GluonTS entries with ``start``, ``target`` and the features in ``spec``.
        spec: contents of the windows.
        forecast: whether known covariates must cover the horizon after the target.
        observed: whether each target must have an observed value.

    Raises:
        ValueError: for an invalid entry, naming the series, the field and the fix.
    """
    if isinstance(entries, FrameEntries) and fits(entries, spec, forecast=forecast, observed=observed):
        return read_arrays(entries, spec)
    return [_read(entry, f"series {entry.get('item_id', position)!r}", spec, forecast, observed)
            for position, entry in enumerate(entries)]  # fmt: skip


def _read(entry: dict[str, Any], name: str, spec: WindowSpec, forecast: bool, observed: bool) -> Series:
    target = _target(entry, name, observed)
    steps = len(target) + spec.prediction_length
    known = _dynamic(
        entry, "feat_dynamic_real", spec.features.num_feat_dynamic_real, name, len(target), steps if forecast else 0
    )
    past = _dynamic(entry, "past_feat_dynamic_real", spec.features.num_past_feat_dynamic_real, name, len(target), 0)
    covariates = np.full((steps, len(known) + len(past)), np.nan, dtype=np.float32)
    for column, values in enumerate(known):
        covariates[: len(values), column] = values[:steps]
    for column, values in enumerate(past, start=len(known)):
        covariates[: len(target), column] = values[: len(target)]
    return Series(
        item_id=entry.get("item_id"),
        info=entry.get("info"),
        start=_start(entry, name, spec),
        time=local_time(entry, spec, steps),
        target=target,
        covariates=covariates,
        static_real=read_static(entry, "feat_static_real", spec.features.num_feat_static_real, name, np.float32),
        static_cat=read_static(entry, "feat_static_cat", spec.features.num_feat_static_cat, name, np.int64),
    )


def _target(entry: dict[str, Any], name: str, observed: bool) -> np.ndarray:
    target = np.asarray(read_field(entry, "target", name))
    if target.ndim != 1:
        raise ValueError(f"{name}: target must have one dimension, got shape {target.shape}; use one entry per series")
    target = read_numbers(target, "target", name)
    if not len(target) or (observed and np.isnan(target).all()):
        raise ValueError(f"{name}: target has no observed value; remove the series or add its history")
    return target


def _start(entry: dict[str, Any], name: str, spec: WindowSpec) -> pd.Period:
    start = read_field(entry, "start", name)
    if not isinstance(start, pd.Period):
        raise ValueError(
            f"{name}: start must be a pandas Period, not {type(start).__name__}; use pd.Period(start, freq)"
        )
    if start.freqstr != spec.frequency.period_alias:
        raise ValueError(
            f"{name}: start has freq {start.freqstr!r}, but the estimator has freq={spec.freq!r}; "
            "create it with the frequency of the data"
        )
    return start


def local_time(entry: dict[str, Any], spec: WindowSpec, steps: int) -> np.ndarray:
    """Base units since 1970 of each step, in local time if the entry has ``timestamps``, int64 ``[steps]``."""
    stamps = entry.get("timestamps")
    if getattr(stamps, "tz", None) is None or spec.frequency.unit not in TICKS:
        return entry["start"].ordinal + spec.frequency.multiple * np.arange(steps)
    assert stamps is not None
    stamps = stamps[:steps]  # GluonTS cuts the target of an entry, not its timestamps
    stamps = stamps.append(spec.frequency.range(stamps[-1], steps - len(stamps) + 1)[1:])
    return stamps.tz_localize(None).as_unit("ns").asi8 // TICKS[spec.frequency.unit]


def _dynamic(entry: dict[str, Any], field: str, count: int, name: str, length: int, needed: int) -> np.ndarray:
    if not count:
        return np.empty((0, length), dtype=np.float32)
    values = read_numbers(np.atleast_2d(np.asarray(read_field(entry, field, name))), field, name)
    if values.shape[0] != count:
        raise ValueError(f"{name}: {field} has {values.shape[0]} rows, but the estimator expects {count}")
    if values.shape[1] < max(length, needed):
        raise ValueError(
            f"{name}: {field} has {values.shape[1]} steps, but {max(length, needed)} are needed"
            + (" for the history and the horizon" if needed else "")
        )
    missing = np.isnan(values[:, length:needed]).any(1)
    if missing.any():
        raise ValueError(f"{name}: {field} row {missing.argmax()} is missing within the horizon; fill it")
    return values


def read_static(entry: dict[str, Any], field: str, count: int, name: str, dtype: type) -> np.ndarray:
    """The ``count`` static features in a field; raise ValueError, naming the series, for another shape or type."""
    if not count:
        return np.empty(0, dtype=dtype)
    values = read_numbers(np.atleast_1d(np.asarray(read_field(entry, field, name))), field, name)
    if values.shape != (count,):
        raise ValueError(f"{name}: {field} has shape {values.shape}, but the estimator expects ({count},)")
    if dtype is np.int64 and np.isnan(values).any():
        raise ValueError(f"{name}: {field} has a missing value; use -1 for an unknown category")
    return values.astype(dtype)


def read_field(entry: dict[str, Any], field: str, name: str) -> Any:
    """The value of a field; raise ValueError, naming the series, if the entry lacks it."""
    if field not in entry:
        raise ValueError(f"{name} has no field {field!r}; add it, or create the estimator without it")
    return entry[field]


def read_numbers(values: np.ndarray, field: str, name: str) -> np.ndarray:
    """Values as float32 or float64; raise ValueError, naming the series, for text or infinite values."""
    if values.dtype != np.float32:
        try:
            values = values.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name}: {field} must hold numbers, got {values.dtype}") from error
    if np.isinf(values).any():
        raise ValueError(f"{name}: {field} has an infinite value at step {np.isinf(values).argmax()}; remove it")
    return values
