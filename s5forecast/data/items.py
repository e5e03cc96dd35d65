"""Series of a long frame: one label for each, and the columns that identify it as they are in the frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.api.types import union_categoricals


class Items(NamedTuple):
    """Series of a frame with M rows, in order of first appearance.

    A label is the value of the item column if that is text or a number, and otherwise text: ``"('a', 1)"`` for a tuple,
    ``"store=a, sku=1"`` for several columns. Labels identify series everywhere; a forecast has the columns instead.
    """

    codes: np.ndarray  # [M] position of the series of each row
    keys: pd.DataFrame  # [S, K] columns that identify each series, indexed by label

    @property
    def labels(self) -> list[Any]:
        return self.keys.index.tolist()


def read_items(frame: pd.DataFrame, columns: Sequence[str], what: str = "df") -> Items:
    """The series of the rows of a frame; a single one with the label ``None`` without ``columns``.

    Raises:
        ValueError: for missing values, values that cannot be compared, or series with the same label.
    """
    names = list(columns)
    if not names:
        return Items(np.zeros(len(frame), dtype=np.int64), label_keys(pd.DataFrame(index=range(1)), [None]))
    codes = _codes(frame, names, what)
    first = np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1))
    keys = frame[names].iloc[first]
    labels = [item_label(values, names) for values in zip(*(keys[name].tolist() for name in names), strict=True)]
    seen = pd.Series(labels, dtype=object)
    if not seen.is_unique:
        raise ValueError(
            f"{what}: several series have the name {seen[seen.duplicated()].iloc[0]!r}; rename one of them"
        )
    return Items(codes, label_keys(keys, labels))


def item_label(values: Sequence[Any], names: Sequence[str]) -> Any:
    """Label of a series, from the values of the columns that identify it."""
    if len(names) > 1:
        return ", ".join(f"{name}={_whole(value)}" for name, value in zip(names, values, strict=True))
    (value,) = values
    return str(value) if isinstance(value, tuple) else _plain(value)


def column_labels(values: pd.Series) -> pd.Series:
    """Labels of the series in a column that identifies them; the same column if its values are the labels."""
    codes = pd.factorize(values)[0]
    if pd.api.types.is_numeric_dtype(values.dtype) or (codes < 0).any():
        return values
    first = np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=-1))
    items = values.iloc[first].tolist()
    labels = [item_label((item,), ()) for item in items]
    if labels == items:
        return values
    return pd.Series(np.array(labels, dtype=object)[codes], values.index, name=values.name)


def label_keys(keys: pd.DataFrame, labels: Sequence[Any]) -> pd.DataFrame:
    """Columns that identify each series, indexed by label."""
    return keys.set_axis(pd.Index(list(labels), dtype=object), axis=0)


def repeat_rows(keys: pd.DataFrame, counts: Any) -> pd.DataFrame:
    """The keys of each series repeated for a number of rows, or for several numbers, one for each series."""
    return keys.iloc[np.repeat(np.arange(len(keys)), counts)].reset_index(drop=True)


def given_items(keys: pd.DataFrame) -> list[Any]:
    """What identifies each series: the value of the item column, or a tuple for several columns; None without any."""
    if not len(keys.columns):
        return keys.index.tolist()
    found = list(zip(*(keys[name].tolist() for name in keys), strict=True))
    return found if len(keys.columns) > 1 else [value for (value,) in found]


def join_keys(*parts: pd.DataFrame) -> pd.DataFrame:
    """Columns that identify the series of all parts; categories are those of any."""
    joined = pd.concat(parts)
    for name in joined:
        found = [part[name] for part in parts]
        dtypes = [one.dtype for one in found]
        if joined[name].dtype != dtypes[0] and all(isinstance(one, pd.CategoricalDtype) for one in dtypes):
            joined[name] = union_categoricals(found, sort_categories=True, ignore_order=True)
    return joined


def plain_keys(keys: pd.DataFrame) -> dict[str, Any]:
    """Columns that identify each series as data for JSON, with their dtypes.

    Values that JSON lacks, such as timestamps, become text, and tuples become lists.
    """
    return {str(name): {"values": _plain_list(column), **_plain_dtype(column.dtype)} for name, column in keys.items()}


def restored_keys(plain: dict[str, Any], labels: Sequence[Any]) -> pd.DataFrame:
    """The columns that :func:`plain_keys` wrote."""
    keys = pd.DataFrame(index=pd.Index(labels, dtype=object))
    for name, column in plain.items():
        dtype: Any = column["dtype"]
        if "categories" in column:
            dtype = pd.CategoricalDtype(_restored(column["categories"]).astype(dtype), column["ordered"])
        keys[name] = _restored(column["values"]).set_axis(keys.index).astype(dtype)
    return keys


def _plain_list(values: Any) -> list[Any]:
    return [_plain(one) for one in values.tolist()]


def _plain_dtype(dtype: Any) -> dict[str, Any]:
    if isinstance(dtype, pd.CategoricalDtype):
        categories = {"categories": _plain_list(dtype.categories), "ordered": dtype.ordered}
        return {**_plain_dtype(dtype.categories.dtype), **categories}
    return {"dtype": f"string[{dtype.storage}]" if isinstance(dtype, pd.StringDtype) else str(dtype)}


def _restored(values: Sequence[Any]) -> pd.Series:
    found = np.empty(len(values), dtype=object)
    found[:] = [_from_plain(one) for one in values]
    return pd.Series(found)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    value = value.item() if isinstance(value, np.number) else value
    return value if isinstance(value, str | int | float) else str(value)


def _from_plain(value: Any) -> Any:
    return tuple(map(_from_plain, value)) if isinstance(value, list) else value


def _codes(frame: pd.DataFrame, names: Sequence[str], what: str) -> np.ndarray:
    """Position of the series of each row, in order of first appearance."""
    codes = np.zeros(len(frame), dtype=np.int64)
    for name in names:
        try:
            each, found = pd.factorize(frame[name])
        except TypeError as error:
            raise ValueError(f"{what}: column {name!r} cannot identify series ({error}); convert it to text") from error
        if (each < 0).any():
            raise ValueError(f"{what}: column {name!r} has missing values; every row needs the {name} of its series")
        codes = pd.factorize(codes * len(found) + each)[0] if len(names) > 1 else each
    return codes


def _whole(value: Any) -> Any:
    """A whole number as an integer, so that it has one spelling."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
