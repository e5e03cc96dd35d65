"""Columns of a backtest that identify a series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from s5forecast.data.items import label_keys
from s5forecast.data.table import FrameSeries


def item_keys(labels: Sequence[Any], series: Sequence[FrameSeries]) -> pd.DataFrame:
    """Columns that identify the series with some labels; none for GluonTS entries, or a series without a name."""
    keys = series[0].keys if len(series) else None
    if keys is None or not len(keys.columns):
        return label_keys(pd.DataFrame(index=range(len(labels))), labels)
    return keys.iloc[keys.index.get_indexer(pd.Index(list(labels), dtype=object))]


def with_item_columns(forecasts: pd.DataFrame, series: Sequence[FrameSeries], variables: Sequence[str]) -> pd.DataFrame:
    """Replace the label of each series by the value of its item column, or add several columns after the label.

    The label stays where it is that value, as text or a number, and where it names a variable as well.

    Args:
        forecasts: frame of a backtest, with the label of each series, or of each variable, in the column item_id.
        series: series of the frame that is backtested; none for GluonTS entries.
        variables: names of the target columns.
    """
    keys = series[0].keys if len(series) else None
    if keys is None or not len(keys.columns):
        return forecasts
    if len(keys.columns) == 1:
        given = keys.iloc[:, 0]
        if len(variables) > 1:
            return forecasts
        places = keys.index.get_indexer(pd.Index(forecasts["item_id"], dtype=object))
        return forecasts.assign(item_id=given.iloc[places].array)
    positions = {label: row for row, label in enumerate(keys.index)}
    positions |= {f"{label}:{name}": row for name in variables for label, row in positions.items()}
    rows = forecasts["item_id"].map(positions)
    columns = keys.iloc[rows.to_numpy()].set_axis(forecasts.index)
    columns = columns[[name for name in columns if name not in forecasts]]
    return pd.concat([forecasts[["item_id"]], columns, forecasts.drop(columns="item_id")], axis=1)
