"""From uneven timestamps to a regular grid, when that is what is wanted: said aloud, never on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from s5forecast.choices import choose
from s5forecast.data.frames import AGGREGATES, Columns, split_frame
from s5forecast.data.frequency import Frequency


class Regularized(NamedTuple):
    """A frame on a regular grid, and what was done to get there, in rows of each series."""

    frame: pd.DataFrame
    added: pd.Series  # rows that no observation fell into, missing in the frame
    merged: pd.Series  # observations that were put together with another


def regularize(
    frame: pd.DataFrame,
    freq: str,
    target: str | Sequence[str] = "target",
    *,
    item_id: str = "item_id",
    timestamp: str = "timestamp",
    aggregate: str = "mean",
) -> Regularized:
    """Put the observations of each series on the grid of a frequency, each into the step that it falls into.

    Arguments:
        frame: long frame with uneven timestamps.
        freq: offset alias of the grid.
        target: columns of numbers to keep.
        item_id, timestamp: names of columns.
        aggregate: ``"mean"`` or ``"last"`` of the observations within a step.

    Returns:
        The frame, where steps without an observation are NaN, and the rows added and merged in each series.

    Raises:
        ValueError: naming the series, the column and the fix.
    """
    targets = [target] if isinstance(target, str) else list(target)
    alias = Frequency.parse(freq).alias
    how = choose(AGGREGATES, aggregate, "aggregate")
    parts = split_frame(frame, Columns("", item_id, timestamp), targets, (), aggregate=aggregate)
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
