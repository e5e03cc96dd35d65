"""Result of a check of a frame before training: statistics of its series, findings, and automatic choices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import Any, NamedTuple

import pandas as pd

from s5forecast.data.frame_kinds import PANDAS, Frame, FrameKind, to_pandas
from s5forecast.data.frames import Columns
from s5forecast.data.profile import Rows

SEVERITIES = ("error", "warning", "note")
MAX_SHOWN = 10  # findings of a kind, and series, that are printed
WIDTH = 120  # of printed text


class Finding(NamedTuple):
    """A property of the data that a user should know before training.

    Args:
        severity: ``"error"`` if :meth:`~s5forecast.S5Forecaster.fit` or ``predict`` raises it, ``"warning"`` for a
            likely mistake in the data, ``"note"`` for a property that affects the forecasts.
        check: name of the property, such as ``"outliers"``.
        message: what was found, where, and what to do about it.
        series: number of series with this property.
        item_id: label of the first or of the most affected series; ``None`` if it is the only one or all are.
    """

    severity: str
    check: str
    message: str
    series: int
    item_id: Any = None


@dataclass(frozen=True, eq=False)
class DataCheck:
    """What a check of a frame found.

    Args:
        series: statistics, a row for each series: the columns that identify it, rows, start, end, steps (of the grid
            from start to end) and gaps (steps without a row), or for irregular series step (median distance of times),
            missing (rows without a value), zeros, negative, outliers (beyond the quartiles by more than three
            interquartile ranges, zeros excluded), constant (rows of the longest stretch of equal values), duplicates
            (rows with the time of another row) and, with ``future=`` or ``times=``, known_ahead (steps to forecast with
            all known columns). Steps are missing for series that cannot be forecast. For several targets
            there is a row for each series and ``target``.
        findings: severity, check, message, number of series and item_id of each finding, the most severe first.
        choices: name, value, whether it was given, and reason of each setting that training would use; no rows if
            nothing can be trained.
        scope: one line about the frame.
        columns: roles of the columns.
        rows: the rows that could be read; ``None`` if none could.
        grid: all steps of regular series; ``None`` for irregular series, and if no series can be forecast.

    Example:
        >>> import pandas as pd
        >>> from s5forecast import S5Forecaster
        >>> days = pd.date_range("2024-01-01", periods=60, freq="D").delete(30)
        >>> df = pd.DataFrame({"timestamp": days, "target": [5.0, 4.0, 9.0] * 19 + [5.0, 900.0]})
        >>> check = S5Forecaster(7).check(df)
        >>> check.findings["check"].tolist()
        ['reading', 'outliers']
        >>> int(check.series["gaps"].iloc[0])
        1
    """

    series: Frame
    findings: Frame
    choices: Frame
    scope: str
    columns: Columns
    rows: Rows | None = None
    grid: pd.Index | None = None
    kind: FrameKind = PANDAS

    @classmethod
    def of(cls, series: pd.DataFrame, findings: Iterable[Finding], choices: pd.DataFrame, **fields: Any) -> DataCheck:
        """The result with the findings sorted by severity."""
        ordered = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
        return cls(series, pd.DataFrame(ordered, columns=list(Finding._fields)), choices, **fields)

    def as_kind(self, kind: FrameKind) -> DataCheck:
        """The result with its frames in another kind."""
        frames = {
            "series": kind.convert(self.series),
            "findings": kind.convert(self.findings.assign(item_id=self.findings["item_id"].map(_text))),
            "choices": kind.convert(self.choices.assign(value=self.choices["value"].map(plain_value))),
        }
        return self if kind is PANDAS else replace(self, kind=kind, **frames)

    @property
    def passed(self) -> bool:
        """Whether there is no error: :meth:`~s5forecast.S5Forecaster.fit` can be called."""
        return "error" not in to_pandas(self.findings)["severity"].tolist()

    def __repr__(self) -> str:
        return "\n".join([f"{self.scope}: {self.verdict}", *self._lines(), *self._settings()])

    @property
    def verdict(self) -> str:
        """Number of errors, warnings and notes."""
        found = to_pandas(self.findings)["severity"].tolist()
        counts = [(found.count(name), name) for name in SEVERITIES if name in found]
        return ", ".join(f"{count} {name}{'s' if count > 1 else ''}" for count, name in counts) or "nothing to report"

    def _lines(self) -> list[str]:
        """A paragraph for each finding; of many with the same name, the first."""
        lines: list[str] = []
        shown: dict[str, int] = {}
        findings = to_pandas(self.findings)
        names = findings["check"].tolist()
        for severity, name, message in zip(findings["severity"], names, findings["message"], strict=True):
            shown[name] = shown.get(name, 0) + 1
            if shown[name] <= MAX_SHOWN:
                lines += _paragraph(f"{severity:8} {name:13} ", message)
            elif shown[name] == MAX_SHOWN + 1:
                lines += _paragraph(f"{severity:8} {name:13} ", f"and {names.count(name) - MAX_SHOWN} more")
        return lines

    def _settings(self) -> list[str]:
        lines = [
            line
            for name, value, given, reason in to_pandas(self.choices).itertuples(index=False)
            if not given
            for line in _paragraph(f"  {name} = {plain_value(value)}  ", f"({reason})")
        ]
        return ["training would use", *lines] if lines else ["nothing can be trained"]


def _paragraph(head: str, text: str) -> list[str]:
    return wrap(head + text, WIDTH, subsequent_indent=" " * 4)


def plain_value(value: Any) -> str:
    """A setting as text, with three digits of a number."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _text(value: Any) -> Any:
    return value if value is None else str(value)


def choice_table(choices: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each setting: name, value, whether it was given, and reason."""
    rows = [(name, one["value"], one["given"], one["reason"]) for name, one in choices.items()]
    return pd.DataFrame(rows, columns=["name", "value", "given", "reason"], dtype=object)
