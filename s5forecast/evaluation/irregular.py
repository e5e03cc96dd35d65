"""Irregular series cut into what a forecast may know and what it is judged by."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from s5forecast.data.times import Instants, is_duration, read_instants


class IrregularSplit(NamedTuple):
    """Entries to train on, to forecast from, and what happened: a GluonTS ``TestData`` in what is read of it."""

    training: list[dict[str, Any]]
    input: list[dict[str, Any]]  # with the times asked for as query_time [Q]
    label: list[dict[str, Any]]  # target [Q] or [D, Q], NaN behind those of shorter horizons


def split_irregular(
    data: Iterable[dict[str, Any]],
    horizon: Any = None,
    prediction_length: int | None = None,
    *,
    since: Any = None,
    count: int | None = None,
    fraction: float | None = None,
) -> IrregularSplit:
    """Cut irregular entries into history and label, at one of a time, a count or a fraction.

    Series have different numbers of observations ahead: all are brought to the longest, by labels of NaN, which
    GluonTS leaves out, at the last time asked for. A series without a history or a label is left out.

    Arguments:
        data: entries with ``time [n]`` and ``target``, ``[n]`` or ``[D, n]``.
        horizon: how far after the last observation of the history the label reaches, a duration or number; to the end
            when not given.
        prediction_length: observations in the label, at most.
        since: the label begins after this time.
        count: the last ``count`` observations are the label.
        fraction: of the observations that are history.

    Raises:
        ValueError: for not exactly one of them, a wrong one or a horizon of another kind than the times, or if no
            series is left; as ``read_instants`` for wrong times.
    """
    parts = []
    for position, given in enumerate(data):
        name = f"series {given.get('item_id', position)!r}"
        entry = _observed(given)
        instants = read_instants(entry["time"], "time", name)
        cut = cut_position(instants, since=since, count=count, fraction=fraction)
        end = end_position(instants, cut, horizon)
        end = end if prediction_length is None else min(end, cut + prediction_length)
        if 0 < cut < end:
            parts.append((entry, cut, end))
    if not parts:
        raise ValueError("no series has observations before and after the cut; cut elsewhere or give a longer horizon")
    longest = max(end - cut for _, cut, end in parts)
    split = IrregularSplit([], [], [])
    for entry, cut, end in parts:
        ahead = np.minimum(np.arange(cut, cut + longest), end - 1)
        past = _taken(entry, np.arange(cut))
        known = entry.get("feat_dynamic_real")
        asked = {} if known is None else {"query_feat_dynamic_real": np.atleast_2d(known)[:, ahead]}
        start = {"start": entry.get("start", _start(entry["time"]))}
        target = np.array(np.asarray(entry["target"])[..., ahead], dtype=np.float64)
        target[..., end - cut :] = np.nan
        split.training.append(past)
        split.input.append({**past, **start, "query_time": pd.Index(entry["time"])[ahead], **asked})
        split.label.append({"item_id": entry.get("item_id"), **start, "target": target})
    return split


def cut_position(instants: Instants, *, since: Any, count: int | None, fraction: float | None) -> int:
    """Number of observations before the cut, by the one of the three that is given.

    Raises:
        ValueError: for not exactly one of them, or one that is out of range.
    """
    if sum(given is not None for given in (since, count, fraction)) != 1:
        raise ValueError("give one of since=, a time, count=, observations at the end, and fraction=, of the history")
    if since is not None:
        moment = pd.Timestamp(since) if instants.datetimes else since
        if instants.datetimes and instants.aware != (moment.tz is not None):
            raise ValueError(f"since={since!r} and the times of the data must both have a time zone, or neither")
        return int(np.searchsorted(instants.exact, read_instants([moment], "since", "the split").exact[0], "right"))
    if count is not None:
        if not isinstance(count, Integral) or count < 1:
            raise ValueError(f"count={count!r} must be a whole number of at least 1")
        return max(len(instants.exact) - count, 0)
    if not 0 < fraction < 1:  # type: ignore[operator]
        raise ValueError(f"fraction={fraction} must lie in (0, 1)")
    return int(len(instants.exact) * fraction)  # type: ignore[operator]


def end_position(instants: Instants, cut: int, horizon: Any) -> int:
    """Number of observations up to the horizon after the last one before the cut.

    Raises:
        ValueError: for a horizon of another kind than the times.
    """
    if horizon is None or cut == 0:
        return len(instants.exact)
    if is_duration(horizon) != instants.datetimes:
        raise ValueError(
            f"horizon={horizon!r} must be a duration such as '12h' where times are datetimes, a number where they are "
            "numbers"
        )
    ahead = pd.Timedelta(horizon).as_unit("ns").value if instants.datetimes else horizon
    return int(np.searchsorted(instants.exact, instants.exact[cut - 1] + ahead, "right"))


def _observed(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry without the rows that hold no value, which are no observations."""
    target = np.atleast_2d(np.asarray(entry["target"], dtype=np.float64))
    return _taken(entry, np.flatnonzero(~np.isnan(target).all(axis=0)))


def _taken(entry: dict[str, Any], rows: np.ndarray) -> dict[str, Any]:
    """An entry with some of its rows, in every field that runs along time."""
    along = ("target", "feat_dynamic_real", "past_feat_dynamic_real")
    taken = {field: np.asarray(entry[field])[..., rows] for field in along if field in entry}
    others = {field: value for field, value in entry.items() if field not in (*along, "cut_time")}
    return {**others, **taken, "time": pd.Index(entry["time"])[rows]}


def _start(time: Any) -> pd.Period:
    """What GluonTS asks of every entry: the first time in periods of seconds; of numbers, one without meaning."""
    first = pd.Index(time)[0]
    return pd.Period(first.tz_localize(None) if isinstance(first, pd.Timestamp) else "1970-01-01", "s")
