"""Series that are forecast together share their timestamps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

from s5forecast.data.faults import SeriesError
from s5forecast.data.frames import series_name
from s5forecast.data.table import SeriesTable

# Time of the first step of a series, and its number of steps.
Span = tuple[Any, int]


def common_span(spans: Collection[Span]) -> Span:
    """The span of most series; of several, that with the most steps, then the last."""
    counts = Counter(spans)
    return max(counts, key=lambda span: (counts[span], span[1], span[0]))


def raise_unaligned(spans: Mapping[Any, Span]) -> None:
    """Raise SeriesError for the series, by label, whose span differs from that of most."""
    start, length = common_span(spans.values())
    reasons = {
        series_name(item): f"{series_name(item)} has {steps} steps from {begin}, unlike most series, which have "
        f"{length} steps from {start}; series that are forecast together need the same timestamps, with NaN for "
        "missing values"
        for item, (begin, steps) in spans.items()
        if (begin, steps) != (start, length)
    }
    if reasons:
        raise SeriesError(reasons)


def raise_not_joint(series: SeriesTable, known: Collection[Any] | None = None) -> SeriesTable:
    """The series, if all can be forecast together.

    Args:
        series: regular series.
        known: labels of the series of the training; any if not given. A single series needs no label.

    Raises:
        SeriesError: for series that are unknown, or whose span differs from that of most others.
    """
    unknown = [item for item in series.items if item is not None and known is not None and item not in known]
    if unknown:
        text = "is not one of the training data, with which it would have to be forecast; leave it out"
        raise SeriesError({series_name(item): f"{series_name(item)} {text}" for item in unknown})
    starts = series.timestamps[series.begins]
    raise_unaligned(dict(zip(series.items, zip(starts, series.lengths.tolist(), strict=True), strict=True)))
    return series
