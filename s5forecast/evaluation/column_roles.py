"""Column roles of the frames that are backtested, from the argument ``columns`` or from a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.disk_data import DiskData
from s5forecast.data.frames import Columns, identity_columns
from s5forecast.data.long_frames import conversion, long_frame
from s5forecast.evaluation.result import Backtest

ROLES = ("target", "item_id", "timestamp", "known", "past", "static", "weight")


def as_columns(columns: Columns | Mapping[str, Any]) -> Columns:
    """Column roles from a dict; a list of targets is split into the first and the others.

    Raises:
        ValueError: a key is not a role.
    """
    if isinstance(columns, Columns):
        return columns
    unknown = [role for role in columns if role not in ROLES]
    if unknown:
        raise ValueError(f"columns has the unknown roles {unknown}; choose from {list(ROLES)}")
    first, *others = _listed(columns.get("target", Columns.target))
    given: dict[str, Any] = {
        role: tuple(_listed(columns[role])) for role in ("known", "past", "static") if role in columns
    }
    given |= {role: columns[role] for role in ("timestamp", "weight") if role in columns}
    given |= identity_columns(columns["item_id"]) if "item_id" in columns else {}
    return Columns(target=first, other_targets=tuple(others), **given)


def roles_of(model: Any) -> Columns:
    """The column roles of an ``S5Forecaster`` or a finished ``Backtest``; the standard names for other models."""
    if isinstance(model, Backtest):
        return model.columns or Columns()
    names = {role: getattr(model, role, None) for role in ROLES}
    named = isinstance(names["item_id"], str | list | tuple) and isinstance(names["timestamp"], str)
    if not named or not names["target"]:
        return Columns()
    columns = as_columns({role: value for role, value in names.items() if value is not None})
    sampling = getattr(model, "sampling_", None)  # of a fitted forecaster, whose training decides about categories
    return columns if sampling is None else replace(columns, categorical=sampling.columns.categorical)


def roles_of_all(models: Mapping[str, Any]) -> Columns | None:
    """The column roles of the first model with names of its own; None if all use the standard names."""
    found = (roles_of(model) for model in models.values() if not isinstance(model, str | pd.DataFrame))
    return next((columns for columns in found if columns != Columns()), None)


def is_long(data: Any) -> bool:
    """Whether data are a long frame, in memory or on disk."""
    return isinstance(data, pd.DataFrame | DiskData)


def check_columns(data: pd.DataFrame | DiskData, columns: Columns) -> None:
    """Raise ValueError, with the fix, if a frame lacks a column, or has several series and no column to tell them."""
    frame = long_frame(
        data.empty if isinstance(data, DiskData) else data, columns.identity, columns.timestamp, columns.target
    )
    present = set(frame.columns)
    names = {"timestamp": columns.timestamp, "item_id": columns.identity[-1], "value": columns.target}
    wide = conversion(frame, "df", **names)
    for role, name in _named(columns):
        one_series = role == "item_id" and columns.identity == (Columns.item_id,)
        if name not in present and not one_series:
            raise ValueError(
                f"the frame has no column {name!r}; its columns are {list(map(str, frame.columns))}. Name the right "
                f"one with columns={{{role!r}: ...}}, or in the constructor of the forecaster{wide}"
            )
    if (
        not present.intersection(columns.identity)
        and columns.timestamp in frame
        and frame[columns.timestamp].duplicated().any()
    ):
        raise ValueError(
            f"the frame has no column {columns.item_id!r} and repeats times in {columns.timestamp!r}; name the column "
            "that distinguishes the series with columns={'item_id': ...}, or drop repeated rows"
        )


def frame_of_series(data: Any, columns: Columns) -> Any:
    """A long frame of a Series of values by their times; other data unchanged.

    Raises:
        ValueError: as :func:`check_data`.
    """
    check_data(data)
    if not isinstance(data, pd.Series):
        return data
    return long_frame(data, columns.identity, columns.timestamp, columns.target)


def check_data(data: Any) -> None:
    """Raise ValueError for data that are neither a long frame nor GluonTS entries."""
    if isinstance(data, pd.Series) or is_long(data):
        return
    first = data[0] if isinstance(data, Sequence | np.ndarray) and len(data) else None
    entries = first is None or isinstance(first, Mapping)
    if not entries or not isinstance(data, Iterable) or isinstance(data, str | Mapping):
        raise ValueError(f"data must be a data frame or GluonTS entries, got {type(data).__name__}")


def _named(columns: Columns) -> list[tuple[str, str]]:
    """Role and name of each column."""
    lists = {"target": columns.targets, "known": columns.known, "past": columns.past, "static": columns.static}
    lists["weight"] = () if columns.weight is None else (columns.weight,)
    single = [*(("item_id", name) for name in columns.identity), ("timestamp", columns.timestamp)]
    return [*single, *((role, name) for role, names in lists.items() for name in names)]


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
