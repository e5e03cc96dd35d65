"""Checked GluonTS entries of regular series as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from s5forecast.data.feature_values import check_features
from s5forecast.data.frame_entries import FrameEntries, fits, read_arrays
from s5forecast.data.mapped_entries import MappedEntries, MappedSeries, all_fit
from s5forecast.data.missing_known import MissingKnown, report, row_names
from s5forecast.data.offset_aliases import TICKS
from s5forecast.data.series import Series
from s5forecast.data.single_precision import RANGE, too_large

if TYPE_CHECKING:
    from s5forecast.data.spec import FeatureSpec, WindowSpec


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
    if isinstance(entries, MappedEntries) and not forecast and all_fit(entries, spec, observed=observed):
        return MappedSeries(entries, spec)
    found, lacking = [], dict[str, dict[str, int]]()
    for position, entry in enumerate(entries):
        name = f"series {entry.get('item_id', position)!r}"
        found.append(_read(entry, name, spec, forecast, observed))
        T = len(found[-1].target)
        if forecast and (steps := first_missing(found[-1].covariates[T:], entry, T, spec.features)):
            lacking[name] = steps
    if lacking:
        report([MissingKnown.of_steps(lacking)])
    return found


def first_missing(covariates: np.ndarray, entry: dict[str, Any], begin: int, features: FeatureSpec) -> dict[str, int]:
    """First step to forecast, from 1, at which a number of each known field is missing or the field has ended, if any.

    The keys are the fields, or the columns of a frame, see :func:`~s5forecast.data.missing_known.row_names`.
    A missing category may mean that there is none, such as no event.

    Args:
        covariates: those of the H steps to forecast, ``[H, F]``.
        entry: the entry with the fields.
        begin: position of the first step to forecast in the fields.
        features: number of features of each kind.
    """
    found, column = dict[str, int](), 0
    for field, count, known in dynamic_fields(features):
        if known and count:
            missing = np.isnan(covariates[:, column : column + count]) & (field == "feat_dynamic_real")
            missing[np.shape(entry[field])[-1] - begin :] = True
            for name, steps in zip(row_names(field, count), missing.T, strict=True):
                if steps.any():
                    found[name] = min(found.get(name, len(steps)), int(steps.argmax()) + 1)
        column += count
    return found


def _read(entry: dict[str, Any], name: str, spec: WindowSpec, forecast: bool, observed: bool) -> Series:
    target = _target(entry, name, observed)
    steps = len(target) + spec.prediction_length
    covariates = np.full((steps, spec.features.num_covariates), np.nan, dtype=np.float32)
    begin = 0
    for field, count, known in dynamic_fields(spec.features):
        last = steps if known else len(target)
        values = _dynamic(entry, field, name, spec, len(target), forecast=forecast and known)[:, :last]
        covariates[: values.shape[1], begin : begin + count] = values.T
        begin += count
    return Series(
        item_id=entry.get("item_id"),
        info=entry.get("info"),
        start=_start(entry, name, spec),
        time=local_time(entry, spec, steps),
        target=target,
        covariates=covariates,
        static_real=read_static(entry, "feat_static_real", name, spec.features),
        static_cat=read_static(entry, "feat_static_cat", name, spec.features),
        weight=_weight(entry, name, target, given=spec.features.weighted and not forecast),
    )


def dynamic_fields(features: FeatureSpec) -> list[tuple[str, int, bool]]:
    """Name and number of rows of each field of covariates, in order, and whether it covers the horizon."""
    return [
        ("feat_dynamic_real", features.num_feat_dynamic_real, True),
        ("feat_dynamic_cat", len(features.dynamic_cardinalities), True),
        ("past_feat_dynamic_real", features.num_past_feat_dynamic_real, False),
        ("past_feat_dynamic_cat", len(features.past_dynamic_cardinalities), False),
    ]


def count_categories(entries: Iterable[dict[str, Any]], field: str) -> list[int]:
    """Number of categories of each row of a field, from the largest code in all entries; none without the field."""
    given = [np.asarray(entry[field], dtype=np.float64) for entry in entries if field in entry]
    rows = [one.reshape(-1, 1) if field == "feat_static_cat" else np.atleast_2d(one) for one in given]
    codes = [np.nan_to_num(one, nan=-1).max(axis=1, initial=0) for one in rows]
    return [int(largest) + 1 for largest in np.max(codes, axis=0)] if codes else []


def _weight(entry: dict[str, Any], name: str, target: np.ndarray, *, given: bool) -> np.ndarray:
    """The weight of each step, ``[T]``, 1 if it is not ``given``; steps without a target may have none."""
    if not given:
        return np.ones(len(target), dtype=np.float32)
    weight = read_numbers(np.asarray(read_field(entry, "weight", name)), "weight", name)
    if weight.ndim > 1 or (weight.ndim == 1 and len(weight) < len(target)):
        raise ValueError(
            f"{name}: weight has shape {weight.shape}; give one number, or one for each of the {len(target)} steps"
        )
    weight = np.broadcast_to(weight[: len(target)] if weight.ndim else weight, target.shape)
    given_weight = weight[~np.isnan(target)]
    if not (given_weight >= 0).all():
        raise ValueError(f"{name}: weight is missing or negative at a step with a target; give a number of at least 0")
    if too_large(given_weight).any():
        raise ValueError(f"{name}: weight is {given_weight.max():g}, but {RANGE}; divide it by a constant")
    return np.nan_to_num(weight)


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


def _dynamic(
    entry: dict[str, Any], field: str, name: str, spec: WindowSpec, length: int, *, forecast: bool
) -> np.ndarray:
    """The rows of a field of covariates at ``length`` steps and, for a ``forecast``, at the first step after them."""
    count = next(rows for known, rows, _ in dynamic_fields(spec.features) if known == field)
    if not count:
        return np.empty((0, length), dtype=np.float32)
    values = read_numbers(np.atleast_2d(np.asarray(read_field(entry, field, name))), field, name)
    if values.shape[0] != count:
        raise ValueError(f"{name}: {field} has {values.shape[0]} rows, but the estimator expects {count}")
    if values.shape[1] < length + forecast:
        needed = f"{length} are needed for the history"
        if forecast:
            needed = f"at least {length + 1} are needed: {length} for the history, and the first of the horizon"
        raise ValueError(f"{name}: {field} has {values.shape[1]} steps, but {needed}")
    check_features(values, field, name, spec.features)
    return values


def read_static(entry: dict[str, Any], field: str, name: str, features: FeatureSpec) -> np.ndarray:
    """The static features in a field: ``feat_static_real`` as float32, or ``feat_static_cat`` as int64.

    Raises:
        ValueError: for another shape or type, or an invalid value, naming the series.
    """
    codes = field == "feat_static_cat"
    count, dtype = (features.num_feat_static_cat, np.int64) if codes else (features.num_feat_static_real, np.float32)
    if not count:
        return np.empty(0, dtype=dtype)
    values = read_numbers(np.atleast_1d(np.asarray(read_field(entry, field, name))), field, name)
    if values.shape != (count,):
        raise ValueError(f"{name}: {field} has shape {values.shape}, but the estimator expects ({count},)")
    if codes and np.isnan(values).any():
        raise ValueError(f"{name}: {field} has a missing value; use -1 for an unknown category")
    check_features(values, field, name, features)
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
        step = np.argwhere(np.isinf(np.atleast_1d(values)))[0][-1]
        raise ValueError(f"{name}: {field} has an infinite value at step {step}; remove it")
    return values
