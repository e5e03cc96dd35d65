"""Findings from the statistics of the series of a frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from s5forecast.data.check import Finding
from s5forecast.data.profile import Rows

# Shares of missing values, zeros and negative values, and length of a stretch of equal values, from which on (for
# negative values: up to which) they are reported; not measured.
MANY_MISSING, MANY_ZEROS, FEW_NEGATIVE, LONG_STRETCH = 0.5, 0.5, 0.05, 10
# Interquartile ranges beyond the quartiles from which on a value is likely a mistake; not measured.
VERY_FAR = 10.0


class Rule(NamedTuple):
    """When to report a property of series, and how.

    Args:
        severity, check: as for :class:`~s5forecast.data.check.Finding`.
        chosen: whether each series has the property, from the statistics and the horizon.
        size: how strongly each series has it; the series with the largest size is described.
        describe: a statement about a series, from its row of the statistics.
        advice: what to do about it.
    """

    severity: str
    check: str
    chosen: Callable[[pd.DataFrame, int], pd.Series]
    size: Callable[[pd.DataFrame], pd.Series]
    describe: Callable[[Any], str]
    advice: str


RULES = (
    Rule(
        "warning",
        "constant",
        lambda table, horizon: ~table["distinct"] & (table["constant"] > 1),
        lambda table: table["constant"],
        lambda row: f"has one value in all {row.constant} observed rows",
        "leave it out if its values never change",
    ),
    Rule(
        "warning",
        "negative",
        lambda table, horizon: (
            (table["fractional"] == 0)
            & (table["negative"] > 0)
            & (table["negative"] <= FEW_NEGATIVE * _observed(table))
        ),
        lambda table: table["negative"],
        lambda row: f"has whole numbers, of which {row.negative} {_are(row.negative)} negative",
        "if they are counts, correct or remove negative values, which outputs for counts do not allow",
    ),
    Rule(
        "warning",
        "outliers",
        lambda table, horizon: table["farthest"] >= VERY_FAR,
        lambda table: table["farthest"],
        lambda row: (
            f"has {row.outliers} {'value' if row.outliers == 1 else 'values'} more than three interquartile ranges "
            f"beyond the quartiles (the farthest by {row.farthest:,.0f})"
        ),
        "correct errors, or mark them as missing",
    ),
    Rule(
        "note",
        "outliers",
        lambda table, horizon: (table["outliers"] > 0) & (table["farthest"] < VERY_FAR),
        lambda table: table["farthest"],
        lambda row: (
            f"has {row.outliers} {'value' if row.outliers == 1 else 'values'} more than three interquartile ranges "
            f"beyond the quartiles (the farthest by {row.farthest:,.0f})"
        ),
        "rare extremes are hard to predict",
    ),
    Rule(
        "note",
        "stretches",
        lambda table, horizon: table["distinct"] & (table["constant_nonzero"] >= max(LONG_STRETCH, horizon)),
        lambda table: table["constant_nonzero"],
        lambda row: f"has the same value in {row.constant_nonzero} consecutive rows",
        "mark values that were not measured as missing",
    ),
    Rule(
        "note",
        "missing",
        lambda table, horizon: (table["missing"] > MANY_MISSING * table["rows"]) & (_observed(table) > 0),
        lambda table: table["missing"] / table["rows"],
        lambda row: f"has no value in {row.missing} of {row.rows} rows",
        "few values may be too few to learn from",
    ),
    Rule(
        "note",
        "zeros",
        lambda table, horizon: table["distinct"] & (table["zeros"] > MANY_ZEROS * _observed(table)),
        lambda table: table["zeros"] / _observed(table).clip(lower=1),
        lambda row: f"is 0 in {row.zeros} of {row.rows - row.missing} observed rows",
        "if zeros mean that nothing was measured, mark them as missing",
    ),
    Rule(
        "note",
        "ends",
        lambda table, horizon: table["end"] < table["end"].max(),
        lambda table: table["end"].rank(ascending=False),
        lambda row: f"ends at {row.end}",
        "each series is forecast from its own end",
    ),
)


def statistical_findings(rows: Rows, target: str, table: pd.DataFrame, horizon: int) -> Iterator[Finding]:
    """What the statistics of a target show.

    Args:
        rows: rows of the frame.
        target: name of the target.
        table: statistics of its series, see :func:`~s5forecast.data.profile.profile`.
        horizon: steps to forecast.
    """
    several = f"column {target!r}: " if len(rows.targets) > 1 else ""
    for rule in RULES:
        positions = np.flatnonzero(rule.chosen(table, horizon))
        if len(positions):
            most = int(positions[rule.size(table).to_numpy()[positions].argmax()])
            text = f"{rows.name(most)} {rule.describe(next(table.iloc[most : most + 1].itertuples()))}"
            if len(positions) > 1:
                text = f"{len(positions)} of {len(table)} series; for example, {text}"
            label = rows.labels[most]
            yield Finding(rule.severity, rule.check, f"{several}{text}; {rule.advice}", len(positions), label)


def _observed(table: pd.DataFrame) -> pd.Series:
    return table["rows"] - table["missing"]


def _are(count: int) -> str:
    return "is" if count == 1 else "are"
