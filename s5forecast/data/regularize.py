"""Resample irregular series to a regular grid, on explicit request only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from s5forecast.choices import choose
from s5forecast.data.frames import AGGREGATES, Columns, split_frame
from s5forecast.data.frequency import Frequency


class Regularized(NamedTuple):
    """A frame on a regular grid, and the number of rows of each series that were added and merged."""

    frame: pd.DataFrame
    added: pd.Series  # steps without an observation, which have NaN
    merged: pd.Series  # observations merged with others of the same step


def regularize(
    frame: pd.DataFrame,
    freq: str,
    target: str | Sequence[str] = "target",
    *,
    item_id: str = "item_id",
    timestamp: str = "timestamp",
    aggregate: str = "mean",
) -> Regularized:
    """Resample each series to a regular grid; each observation belongs to the step that contains it.

    Args:
        frame: long frame with irregular timestamps.
        freq: offset alias of the grid, such as ``"h"``.
        target: numeric columns to keep.
        item_id, timestamp: names of the columns.
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
    alias = Frequency.parse(freq).alias
    how = choose(AGGREGATES, aggregate, "aggregate")
    parts = split_frame(frame, Columns("", item_id, timestamp), targets, (), aggregate=aggregate, what="frame")
    single = parts[0][0] is None
    count = {None: len(frame)} if single else frame.groupby(item_id, observed=True).size()
    frames, added, merged = [], {}, {}
    for item, part in parts:
        steps = part.resample(alias, on=timestamp)
        values = getattr(steps[targets], how)()
        filled = int((steps.size() > 0).sum())
        added[item], merged[item] = len(values) - filled, count[item] - filled
        keys = {} if item is None else {item_id: item}
        frames.append(values.reset_index().assign(**keys)[[*keys, timestamp, *targets]])
    return Regularized(
        pd.concat(frames, ignore_index=True), pd.Series(added, name="added"), pd.Series(merged, name="merged")
    )
