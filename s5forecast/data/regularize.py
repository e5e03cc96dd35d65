"""Resample irregular series to a regular grid, on explicit request only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from s5forecast.choices import choose
from s5forecast.data.frame_kinds import Frame, FrameKind, takes_frames
from s5forecast.data.frames import AGGREGATES, Columns, frame_keys, identity_columns, split_frame
from s5forecast.data.frequency import Frequency
from s5forecast.data.items import given_items, read_items
from s5forecast.data.long_frames import long_frame
from s5forecast.data.timestamps import refuse_numbers


class Regularized(NamedTuple):
    """A frame on a regular grid, and the number of rows of each series that were added and merged."""

    frame: Any
    added: pd.Series  # steps without an observation, which have NaN
    merged: pd.Series  # observations merged with others of the same step

    def as_kind(self, kind: FrameKind) -> Regularized:
        """With the frame in another kind."""
        return self._replace(frame=kind.convert(self.frame))


@takes_frames("frame")
def regularize(
    frame: Frame,
    freq: str,
    target: str | Sequence[str] = "target",
    *,
    item_id: str | Sequence[str] = "item_id",
    timestamp: str = "timestamp",
    aggregate: str = "mean",
) -> Regularized:
    """Resample each series to a regular grid; each observation belongs to the step that contains it.

    Args:
        frame: long frame with irregular timestamps.
        freq: offset alias of the grid, such as ``"h"``.
        target: numeric columns to keep.
        item_id, timestamp: names of the columns; several columns may identify a series, ``item_id=["store", "sku"]``.
        aggregate: ``"mean"`` or ``"last"``, how to merge the observations within a step.

    Returns:
        The frame, with NaN at steps without an observation, and the number of rows added and merged in each series.

    Raises:
        ValueError: for invalid data, naming the series, the column and the fix.

    Example:
        >>> import pandas as pd
        >>> from s5forecast import regularize
        >>> times = pd.to_datetime(["2024-01-01 08:10", "2024-01-01 08:50", "2024-01-01 10:20"])
        >>> grid = regularize(pd.DataFrame({"timestamp": times, "target": [1.0, 3.0, 5.0]}), "h")
        >>> grid.frame
                    timestamp  target
        0 2024-01-01 08:00:00     2.0
        1 2024-01-01 09:00:00     NaN
        2 2024-01-01 10:00:00     5.0
        >>> int(grid.added.sum()), int(grid.merged.sum())
        (1, 1)
    """
    targets = [target] if isinstance(target, str) else list(target)
    frequency = Frequency.parse(freq)
    if frequency.integer:
        raise ValueError(
            f"regularize() requires datetimes, but {frequency.text} is for integer times; convert the times, or pass "
            f"the frame to S5Forecaster({frequency.text}), which treats absent steps as missing values"
        )
    alias = frequency.alias
    how = choose(AGGREGATES, aggregate, "aggregate")
    columns = Columns("", timestamp=timestamp, **identity_columns(item_id))
    frame = long_frame(frame, columns.identity, timestamp, targets[0], "frame")
    if timestamp in frame:
        refuse_numbers(frame[timestamp], "frame")
    parts = split_frame(frame, columns, targets, (), aggregate=aggregate, what="frame")
    rows = np.bincount(read_items(frame, columns.identity_in(frame)).codes)
    keys = frame_keys(pd.concat([part.iloc[:1] for _, part in parts]), columns, [item for item, _ in parts])
    values, added, merged = [], [], []
    for (_, part), count in zip(parts, rows, strict=True):
        steps = part.resample(alias, on=timestamp)
        values.append(getattr(steps[targets], how)().reset_index())
        filled = int((steps.size() > 0).sum())
        added.append(len(values[-1]) - filled)
        merged.append(int(count) - filled)
    repeated = keys.iloc[np.repeat(np.arange(len(keys)), [len(one) for one in values])].reset_index(drop=True)
    grid = pd.concat([repeated, pd.concat(values, ignore_index=True)], axis=1)
    return Regularized(grid, *(_counts(found, name, keys) for name, found in (("added", added), ("merged", merged))))


def _counts(found: Sequence[int], name: str, keys: pd.DataFrame) -> pd.Series:
    """A number for each series, indexed by what identifies it."""
    index: pd.Index = pd.Index(given_items(keys), tupleize_cols=False)
    if len(keys.columns) > 1:
        index = pd.MultiIndex.from_frame(keys)
    return pd.Series(found, index, name=name)
