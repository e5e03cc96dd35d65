"""Forecasts of a part of the series, the unit of work of forecasts in parts and of clusters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from s5forecast.data.content import take
from s5forecast.data.faults import ON_ERROR, SeriesError, Skipped, valid_only
from s5forecast.data.frames import without_series
from s5forecast.data.frequency import Frequency
from s5forecast.data.long_frames import long_frame
from s5forecast.data.missing_known import reported_once
from s5forecast.data.table import SeriesTable
from s5forecast.data.time_columns import no_times
from s5forecast.fitted_forecaster import FittedForecaster, networks
from s5forecast.forecast_request import Request
from s5forecast.levels import level_name
from s5forecast.notices import one_warning_each

# Steps of the series from which a forecaster that needs no training learns its frequency.
SHORT = 16


class Part(NamedTuple):
    """Forecasts of some series."""

    frame: pd.DataFrame  # [M] rows; rows of their own, to ignore, if all series are left out
    owners: np.ndarray  # [M] position of the series of each row
    skipped: Skipped  # series that are left out

    @property
    def rows(self) -> pd.DataFrame:
        """The rows of the forecasts."""
        return self.frame.iloc[: len(self.owners)]


def forecast_partition(
    forecaster: FittedForecaster, df: pd.DataFrame, request: Request, num_threads: int | None = None
) -> Part:
    """The forecasts of a frame of whole series, each of which does not depend on the others.

    The forecaster is not changed.

    Args:
        forecaster: fitted forecaster, or one that needs no training.
        df: histories; forecasts of no rows have no rows.
        request: what to forecast.
        num_threads: threads of PyTorch; ``None`` for those it has.
    """
    forecaster = copy(fitted_without_data(forecaster))
    check_divisible(forecaster, request)
    with limited_threads(num_threads), forecaster.skipping(), one_warning_each(), reported_once():
        histories = _read(forecaster, df)
        if histories is None:
            return Part(_no_rows(forecaster, df, request.levels), np.empty(0, np.int64), forecaster._left_out)
        forecaster.sampling_.warn_of_unobserved(histories)
        forecaster._warn_of_short(histories)
        part = forecast_series(forecaster, histories, request, apart=draws_paths(forecaster))
        forecaster._left_out.update(part.skipped)
        return part._replace(skipped=forecaster._left_out)


def forecast_series(
    forecaster: FittedForecaster, histories: SeriesTable, request: Request, *, apart: bool = False
) -> Part:
    """The forecasts of some series, within :meth:`FittedForecaster.skipping`.

    Args:
        forecaster: fitted forecaster.
        histories: histories of the series.
        request: what to forecast.
        apart: whether each series is a batch of its own, so that its sample paths do not depend on the others.
    """
    with forecaster.skipping_apart() as skipped:
        try:
            series, query = forecaster.query(
                histories, forecaster.sampling_.ends, request.future, None, request.horizon, request.every
            )
        except SeriesError as error:
            names = map(histories.name, range(len(histories)))
            if not ON_ERROR[forecaster.on_error] or not set(names) <= set(error.reasons):
                raise
            return _nothing(forecaster, histories, error, request.levels)
    entries = forecaster.sampling_.entries(series, forecaster.statics_, query)
    batches = [take(entries, [number]) for number in range(len(entries))] if apart else [entries]

    def predict(levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        means, quantiles = zip(*(forecaster.forecast_quantiles(batch, levels) for batch in batches), strict=True)
        return np.concatenate(means), np.concatenate(quantiles)

    frame = forecaster.forecast_frame(query, predict, request.levels)
    place = {item: position for position, item in enumerate(histories.items)}
    owners = np.array([place[item] for item in query.items])[query.codes]
    return Part(frame, owners, skipped)


def fitted_without_data(forecaster: Any) -> Any:
    """The forecaster, fitted to its frequency if it needs no training.

    Raises:
        NotFittedError: if it needs training.
        ValueError: if its frequency, or the season of integer times, would be found in the data.
    """
    if hasattr(forecaster, "predictor_") or not forecaster.needs_no_training:
        forecaster._check_fitted()
        return forecaster
    if forecaster.freq == "infer":
        raise ValueError(
            "the frequency cannot be inferred from a part of the series; pass freq=, such as 'D', or fit the "
            "forecaster first"
        )
    frequency, columns = Frequency.parse(forecaster.freq), forecaster._columns
    if frequency.integer and forecaster.season is None:
        raise ValueError(
            "the season of integer times cannot be found in a part of the series; pass season=, 1 for none, or fit the "
            "forecaster first"
        )
    start = 0 if frequency.integer else frequency.timestamp(frequency.period(pd.Timestamp(0), exact=False))
    times = frequency.range(start, SHORT)
    frame = pd.DataFrame({**dict.fromkeys(columns.identity, "0"), columns.timestamp: times, columns.target: 1.0})
    fitted = copy(forecaster).fit(frame)
    fitted.shortest_series_ = None
    return fitted


def draws_paths(forecaster: FittedForecaster) -> bool:
    """Whether forecasts are computed from sample paths, whose random numbers are those of a batch of series."""
    return any(hasattr(network, "num_samples") for network in networks(forecaster.predictor_))


def check_divisible(forecaster: FittedForecaster, request: Request) -> None:
    """Raise ValueError for forecasts that cannot be made in parts."""
    if forecaster.joint:
        raise ValueError(
            "model='multivariate' forecasts all series together, so its forecasts are not made in parts; pass all "
            "series to predict(df) in one frame, without output="
        )
    if request.times is not None:
        raise ValueError(
            "times= requires data in memory and no output=; pass horizon= and every= for data in parts, or frames"
        )


@contextmanager
def limited_threads(count: int | None) -> Iterator[None]:
    """Within the block, PyTorch and the kernels of this package use ``count`` threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before if count is None else count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _read(forecaster: FittedForecaster, df: pd.DataFrame) -> SeriesTable | None:
    """The series of a frame; ``None`` if there are none, or all are left out."""
    if not ON_ERROR[forecaster.on_error]:
        return forecaster._histories(df) if len(df) else None
    found, skipped = valid_only(
        forecaster._histories, df, lambda rows, reasons: without_series(rows, reasons, forecaster._columns)
    )
    forecaster._left_out.update(skipped)
    return found


def _no_rows(forecaster: FittedForecaster, df: pd.DataFrame, levels: Sequence[float]) -> pd.DataFrame:
    """Forecasts without rows, with the columns and dtypes of those of a frame, which may lack columns."""
    columns = forecaster._columns
    frame = long_frame(df, columns.identity, columns.timestamp, columns.target).iloc[:0]
    identity = columns.identity_in(frame) if len(frame.columns) else columns.identity
    found = {name: frame[name] if name in frame else pd.Series(dtype=object) for name in identity}
    found[columns.timestamp] = no_times(frame.get(columns.timestamp), forecaster.sampling_.frequency)
    return _with_values(pd.DataFrame(found).reset_index(drop=True), forecaster, levels)


def _nothing(forecaster: FittedForecaster, histories: SeriesTable, error: SeriesError, levels: Sequence[float]) -> Part:
    """The part of series that all have an error: no rows, with the columns of the others."""
    ends = forecaster.sampling_.ends(histories)
    skipped = Skipped()
    skipped.add(histories.keys, [error.reasons[histories.name(number)] for number in range(len(histories))])
    frame = forecaster.sampling_.item_columns(ends, 1).assign(**{forecaster.timestamp: ends.last})
    return Part(_with_values(frame, forecaster, levels), np.empty(0, dtype=np.int64), skipped)


def _with_values(frame: pd.DataFrame, forecaster: FittedForecaster, levels: Sequence[float]) -> pd.DataFrame:
    """A frame with a column of missing numbers for each mean and quantile."""
    targets = forecaster._columns.targets
    names = ["mean", *map(level_name, levels)]
    values = [name if len(targets) == 1 else f"{target}_{name}" for target in targets for name in names]
    return frame.assign(**dict.fromkeys(values, np.nan)).astype(dict.fromkeys(values, np.float64))
