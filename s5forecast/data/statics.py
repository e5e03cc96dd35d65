"""Encoding of the static columns and the covariates of a frame as numbers and category codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from s5forecast.data.covariates import Labels, cardinalities, encoded, warn_of_unknown_labels
from s5forecast.data.frames import Columns, Queries, series_name
from s5forecast.data.missing_known import MissingKnown, report
from s5forecast.data.static_columns import UNKNOWN, category_code, category_label
from s5forecast.data.table import SeriesTable
from s5forecast.notices import warn_user

# Categories listed in a warning.
MAX_LISTED = 3


class HasStatic(Protocol):
    """A series of a frame with the values of its static columns."""

    @property
    def name(self) -> str: ...

    @property
    def static(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class StaticFeatures:
    """Encoding of static columns and of covariates, learned from the training series.

    Args:
        real: numeric static columns.
        categorical: the other static columns: categories, booleans and text.
        categories: labels of the known categories of each categorical static column.
        known: labels of each covariate known over the horizon; ``None`` for numbers.
        past: labels of each other covariate.
    """

    real: Sequence[str] = ()
    categorical: Sequence[str] = ()
    categories: Sequence[Sequence[str]] = ()
    known: Labels = field(default_factory=dict)
    past: Labels = field(default_factory=dict)

    @classmethod
    def learn(cls, series: SeriesTable, columns: Columns) -> StaticFeatures:
        """Learn the encoding of the static columns of the training series."""
        values = {column: series.static[column].tolist() for column in columns.static}
        real = [column for column, found in values.items() if all(isinstance(value, float) for value in found)]
        categorical = [column for column in values if column not in real]
        categories = [
            sorted({category_label(value) for value in values[column] if not pd.isna(value)}) for column in categorical
        ]
        names = list(series.labels)
        known, past = names[: len(series.known)], names[len(series.known) :]
        dynamic = ({name: series.labels[name] for name in chosen} for chosen in (known, past))
        return cls(real, categorical, categories, *dynamic)

    def warn_of_unknown(self, series: SeriesTable) -> None:
        """Warn about each categorical column none of whose values occurred in training."""
        warn_of_unknown_labels(series.labels, {**self.known, **self.past})
        for column, names in zip(self.categorical, self.categories, strict=True):
            found = series.static[column].dropna().unique().tolist()
            if found and all(category_code(value, names) == UNKNOWN for value in found):
                shown = [category_label(value) for value in found]
                warn_user(
                    f"no value of the static column {column!r} is a category of the training, which had "
                    f"{_listed(names)}; found {_listed(shown)}. All are treated as unknown; write them as in training"
                )

    @property
    def cardinality(self) -> list[int]:
        """Number of categories of each categorical column."""
        return [len(names) for names in self.categories]

    def of_covariates(self) -> StaticFeatures:
        """The encoding of the covariates alone."""
        return StaticFeatures(known=self.known, past=self.past)

    @property
    def dynamic_arguments(self) -> dict[str, Any]:
        """Arguments of an estimator for the covariates."""
        return {
            f"num_{prefix}feat_dynamic_real": sum(labels is None for labels in columns.values())
            for prefix, columns in (("", self.known), ("past_", self.past))
        } | {
            f"{prefix}dynamic_cardinalities": cardinalities(columns)
            for prefix, columns in (("", self.known), ("past_", self.past))
        }

    def encode_covariates(self, series: SeriesTable) -> SeriesTable:
        """The series with the codes of the training, numbers before categories.

        Raises:
            ValueError: if a column that had numbers in training has text.
        """

        def name(row: int) -> str:
            return series.name(int(series.owners[row]))

        known = encoded(series.known, series.labels, self.known, name)
        past = encoded(series.past, series.labels, self.past, name)
        same = known is series.known and past is series.past
        return series if same else replace(series, known=known, past=past)

    def encode_known(self, query: Queries) -> np.ndarray:
        """The known covariates at the times of a query, ``[M, F]``, as :meth:`encode_covariates`.

        Warns about each categorical column none of whose labels occurred in training, and about numeric columns without
        any value, whose kind only the training tells.
        """
        empty = [column for column, known in self.known.items() if known is None and query.labels.get(column) == []]
        if empty:
            report([MissingKnown(empty, list(map(series_name, query.items)), "at the first step")])

        def name(row: int) -> str:
            return series_name(query.items[query.codes[row]])

        warn_of_unknown_labels(query.labels, self.known)
        return encoded(query.known.T, query.labels, self.known, name).T

    def dynamic_fields(self, known: np.ndarray, past: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """The fields of an entry for encoded covariates ``[F, T]``, those of the past if they are given."""
        fields = _by_kind("feat_dynamic", known, self.known)
        return fields if past is None or not len(past) else fields | _by_kind("past_feat_dynamic", past, self.past)

    def encode(self, one: HasStatic) -> dict[str, np.ndarray]:
        """The entry fields ``feat_static_real`` and ``feat_static_cat``; an unknown category is -1.

        Raises:
            ValueError: if a column that was numeric in training has a value that is not a number.
        """
        codes = [
            category_code(one.static[column], names)
            for column, names in zip(self.categorical, self.categories, strict=True)
        ]
        numbers = [_number(one, column) for column in self.real]
        return {
            "feat_static_real": np.array(numbers, dtype=np.float32),
            "feat_static_cat": np.array(codes, dtype=np.int64),
        }

    def encode_all(self, series: SeriesTable) -> tuple[np.ndarray, np.ndarray]:
        """The fields of :meth:`encode` of S series, float32 and int64 ``[S, F]``."""
        real = np.empty((len(series), len(self.real)), dtype=np.float32)
        cat = np.empty((len(series), len(self.categorical)), dtype=np.int64)
        for number, column in enumerate(self.real):
            values = series.static[column]
            numeric = pd.api.types.is_float_dtype(values)
            real[:, number] = values if numeric else [_number(one, column) for one in series]
        for number, (column, names) in enumerate(zip(self.categorical, self.categories, strict=True)):
            positions, found = pd.factorize(series.static[column])
            cat[:, number] = np.array([*(category_code(value, names) for value in found), UNKNOWN])[positions]
        return real, cat


def _by_kind(field: str, rows: np.ndarray, columns: Labels) -> dict[str, np.ndarray]:
    """Rows of numbers and rows of codes as two fields; no field of codes without categorical columns."""
    codes = len(cardinalities(columns))
    reals = len(rows) - codes
    found = {f"{field}_real": rows[:reals] if codes else rows}
    return {**found, f"{field}_cat": _whole(rows[reals:])} if codes else found


def _whole(codes: np.ndarray) -> np.ndarray:
    """Codes as integers, unless some are missing."""
    return codes if np.isnan(codes).any() else codes.astype(np.int64)


def _listed(names: Sequence[str]) -> str:
    """The first names, as text."""
    return f"{list(names[:MAX_LISTED])}" + (f" and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else "")


def _number(one: HasStatic, column: str) -> float:
    value = one.static[column]
    try:
        return float("nan") if pd.isna(value) else float(value)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{one.name}: static column {column!r} was numeric in training but is {value!r} here; convert it"
        ) from error
