"""Frames of new rows and of times asked for, read at once for any number of series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from s5forecast.data.frames import Columns, tidy_frame
from s5forecast.data.irregular_sampling import Queries, known_at, query_keys
from s5forecast.data.statics import StaticFeatures
from s5forecast.data.times import IrregularRows, read_instants


class NewRows(NamedTuple):
    """The checked rows of a frame, and what it tells of its series."""

    rows: IrregularRows
    static: pd.DataFrame  # [k] the static columns it has, in the first row of each series

    def describe(self, item: Any, statics: StaticFeatures, columns: Columns) -> dict[str, np.ndarray]:
        """The static features of a series.

        Raises:
            ValueError: naming a column that the frame lacks.
        """
        missing = [column for column in columns.static if column not in self.static]
        if missing:
            raise ValueError(f"series {item!r} is new: its static columns {missing} are needed with its first rows")
        row = self.rows.items.index(item)
        values = {column: self.static[column].iloc[row] for column in columns.static}
        return statics.encode(Described(f"series {item!r}", values))


class Described(NamedTuple):
    """A series with the values of its static columns."""

    name: str
    static: dict[str, Any]


def read_new_rows(
    frame: pd.DataFrame, targets: Sequence[str], columns: Columns, aggregate: str | None = None
) -> NewRows:
    """Check a long frame of the next rows of some series; it is not changed, and its rows may be in any order.

    Raises:
        ValueError: naming the series, the column and the fix.
    """
    numeric, static = [*targets, *columns.known], [column for column in columns.static if column in frame]
    tidy, codes, items = tidy_frame(frame, columns, numeric, static, numeric_time=True, aggregate=aggregate)
    rows = IrregularRows(
        items=items,
        series=codes,
        instants=read_instants(tidy[columns.timestamp], columns.timestamp, "the frame"),
        target=tidy[list(targets)].to_numpy(dtype=np.float64),
        covariates=tidy[list(columns.known)].to_numpy(dtype=np.float32),
        column=columns.timestamp,
    )
    return NewRows(rows, tidy[static].iloc[np.unique(codes, return_index=True)[1]])


def read_asked_rows(
    times: pd.DataFrame, columns: Columns, *, named: bool, datetimes: bool
) -> tuple[IrregularRows, Queries]:
    """The times of a frame by series, and how they come back into its order.

    Raises:
        ValueError: naming the series, the column and the fix.
    """
    keys = query_keys(times, columns, named=named, datetimes=datetimes)
    codes, items = (
        pd.factorize(keys[columns.item_id], use_na_sentinel=False) if named else (np.zeros(len(keys), int), [None])
    )
    order = np.argsort(codes, kind="stable")
    names = [f"series {item!r}" if named else "the series" for item in items]
    known = known_at(times, keys, columns, codes, names)
    rows = IrregularRows(
        items=list(items),
        series=codes[order],
        instants=read_instants(keys[columns.timestamp].iloc[order], columns.timestamp, "times="),
        target=np.empty((len(keys), 0)),
        covariates=known[order].astype(np.float32),
        column=columns.timestamp,
    )
    return rows, Queries(keys, [(0, order)], known)
