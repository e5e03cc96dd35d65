"""Fan charts of forecasts: observed values, the median, and central intervals shaded towards it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from s5forecast.data.frame_kinds import Frame, takes_frames, to_pandas
from s5forecast.data.frames import Columns, identity_columns, with_labels
from s5forecast.data.items import item_label
from s5forecast.data.long_frames import long_frame
from s5forecast.data.timestamps import RANGE_FIX, out_of_range, read_times
from s5forecast.levels import quantile_columns
from s5forecast.plotting.theme import OBSERVED, PALETTE, line_style, styled, translucent

MAX_ITEMS = 30
HEIGHT = 440
ROOM = 0.03  # empty space after the last time, as a fraction of the time shown


@takes_frames("forecast", "history", "actuals")
def plot_forecast(
    history: Frame | None,
    forecast: Frame,
    *,
    target: str = "target",
    item_id: str | Sequence[str] = "item_id",
    timestamp: str = "timestamp",
    actuals: Frame | None = None,
    items: Sequence[Any] | None = None,
    max_history: int | None = None,
    mean: bool = False,
    title: str | None = None,
) -> go.Figure:
    """Fan chart of a forecast after its history, with a drop-down menu of series if there are several.

    Args:
        history: long frame with target, timestamp and, for several series, item_id.
        forecast: long frame with timestamp, quantile columns such as "0.1" or a mean, and item_id for several series.
        target, item_id, timestamp: names of the columns in all frames; several columns may identify a series.
        actuals: observed values over the horizon, as the history; rows up to its end are left out.
        items: series to show, in this order; by default the first 30 of the forecast.
        max_history: number of rows of each history to show; by default 7 horizons, between 50 and 2,000.
        mean: whether to draw the mean in addition to the median.
        title: title of the figure; by default it names the target and, for one series, its item_id. ``""`` omits it.

    Raises:
        ValueError: a column or a series is missing.

    Example:
        >>> import pandas as pd
        >>> from s5forecast.plotting import plot_forecast
        >>> days = pd.date_range("2024-01-01", periods=6, freq="D")
        >>> history = pd.DataFrame({"timestamp": days[:4], "target": [1.0, 2.0, 4.0, 3.0]})
        >>> forecast = pd.DataFrame({"timestamp": days[4:], "0.1": 2.0, "0.5": 3.0, "0.9": 5.0})
        >>> figure = plot_forecast(history, forecast)
        >>> [trace.name for trace in figure.data]
        ['80 % intervals', 'observed', 'median']
    """
    columns = Columns(target, timestamp=timestamp, **identity_columns(item_id))
    fans = _by_item(forecast, columns, "forecast")
    chosen = _chosen(fans, items, columns)
    pasts = {} if history is None else _beside(_by_item(history, columns, "history", "target"), fans)
    futures = {} if actuals is None else _beside(_by_item(actuals, columns, "actuals", "target"), fans)
    _check_times({"forecast": fans, "history": pasts, "actuals": futures})
    traces = []
    for item in chosen:
        length = max_history or int(np.clip(7 * len(fans[item]), 50, 2000))
        observed = [pasts[item].tail(length)] if item in pasts else []
        if item in futures:
            observed.append(_after(futures[item], observed))
        shown = _layered(_observed(observed), _fan([fans[item]], mean))
        traces += _labelled(item, shown, [*observed, fans[item]])
    title = _default_title(target, chosen) if title is None else title
    return _figure(traces, chosen, target, timestamp, title)


@takes_frames("backtest", "history")
def plot_backtest(
    backtest: Any,
    history: Frame | None = None,
    *,
    target: str = "target",
    item_id: str | Sequence[str] = "item_id",
    timestamp: str = "timestamp",
    others: Mapping[str, Frame] | None = None,
    items: Sequence[Any] | None = None,
    max_history: int | None = None,
    title: str | None = None,
) -> go.Figure:
    """Fan charts of the windows of a backtest with the observed values; of overlapping windows the first is drawn.

    Args:
        backtest: a ``Backtest``, or its frame of forecasts (item_id, cutoff, timestamp, target, quantiles).
        history: long frame to show before the first window.
        target, item_id, timestamp: names of the columns of the history.
        others: frames of forecasts by other models, by name; only their medians are drawn.
        items: series to show, in this order; by default the first 30.
        max_history: number of rows of history before the first window; by default three windows, at most 2,000.
        title: title of the figure.

    Raises:
        ValueError: a column or a series is missing.
    """
    frame = getattr(backtest, "rows", backtest)
    columns = Columns(target, timestamp=timestamp, **identity_columns(item_id))
    fans = _by_item(frame, Columns(), "backtest", "target", "cutoff")
    pasts = {} if history is None else _beside(_by_item(history, columns, "history", "target"), fans)
    medians = {name: _by_item(to_pandas(other), Columns(), name, "cutoff") for name, other in (others or {}).items()}
    _check_times({"backtest": fans, "history": pasts, **medians})
    chosen = _chosen(fans, items, columns)
    traces = []
    for item in chosen:
        windows = _disjoint(fans[item])
        known = fans[item].drop_duplicates("timestamp")
        if item in pasts:
            length = max_history or min(3 * len(windows[0]), 2000)
            before = pasts[item][pasts[item]["timestamp"] < known["timestamp"].iloc[0]]
            known = pd.concat([before.tail(length), known])
        lines = [
            _median(_disjoint(by_item[item]), name, number)
            for number, (name, by_item) in enumerate(medians.items(), start=1)
            if item in by_item
        ]
        traces += _labelled(item, _layered([*lines, *_observed([known])], _fan(windows, False)), [known])
    return _figure(traces, chosen, "target", "timestamp", title)


def _by_item(frame: pd.DataFrame, columns: Columns, what: str, *needed: str) -> dict[str, pd.DataFrame]:
    """Rows of each series in the order of time, with standard column names; item_id is optional."""
    frame = long_frame(frame, columns.identity, columns.timestamp, columns.target, what)
    if any(name in frame for name in columns.identity):
        frame = with_labels(frame, columns, f"the {what}")
    names = {columns.target: "target", columns.item_id: "item_id", columns.timestamp: "timestamp"}
    renamed = {old: new for old, new in names.items() if old != new and old in frame.columns}
    unread = [new for new in renamed.values() if new not in names]  # a column of the frame with another meaning
    frame = frame.drop(columns=unread, errors="ignore").rename(columns=names)
    missing = [column for column in ("timestamp", *needed) if column not in frame.columns]
    if missing:
        spelt = [old for old, new in names.items() if new in missing] or missing
        raise ValueError(f"the {what} has no column {spelt}; choose one of its columns {list(frame.columns)}")
    times = read_times(frame["timestamp"], what)
    if pd.api.types.is_datetime64_any_dtype(times) and out_of_range(times).any():
        raise ValueError(f"the {what} has the time {times[out_of_range(times)].iloc[0]}, but {RANGE_FIX}")
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        times = times.dt.tz_localize(None)  # plotly shows wall time
    frame = frame.assign(timestamp=times)
    ordered = frame.sort_values("timestamp", kind="stable", ignore_index=True)
    if "item_id" not in frame.columns:
        return {"": ordered}
    groups = dict(iter(ordered.groupby(ordered["item_id"].astype(str))))
    return {str(item): groups[str(item)] for item in frame["item_id"].unique()}


def _check_times(frames: Mapping[str, Mapping[str, pd.DataFrame]]) -> None:
    """Raise ValueError unless the times of all frames are datetimes, or all are numbers."""
    kinds = {
        what: "datetimes" if pd.api.types.is_datetime64_any_dtype(one["timestamp"]) else "numbers"
        for what, by_item in frames.items()
        for one in by_item.values()
    }
    first, *others = kinds
    for what in others:
        if kinds[what] != kinds[first]:
            raise ValueError(
                f"the times of the {first} are {kinds[first]}, but those of the {what} are {kinds[what]}; convert one "
                "of them"
            )


def _beside(frames: dict[str, pd.DataFrame], fans: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Frames by the names of the forecasts; a single series may have a name in only one of the two."""
    if len(frames) == len(fans) == 1 and "" in {*frames, *fans}:
        return dict(zip(fans, frames.values(), strict=True))
    return frames


def _chosen(series: Mapping[str, pd.DataFrame], items: Sequence[Any] | None, columns: Columns) -> list[str]:
    if items is None:
        return list(series)[:MAX_ITEMS]
    names = [
        str(item_label(item, columns.keys) if isinstance(item, tuple) and columns.keys else item) for item in items
    ]
    unknown = [name for name in names if name not in series]
    if unknown or not names:
        raise ValueError(f"items={unknown} have no forecast; choose from {list(series)[:10]}")
    return names


def _disjoint(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """Windows in the order of their cutoffs, without those that overlap an earlier one."""
    windows: list[pd.DataFrame] = []
    for _, window in frame.groupby("cutoff"):
        if not windows or window["timestamp"].iloc[0] > windows[-1]["timestamp"].iloc[-1]:
            windows.append(window)
    return windows


def _after(rows: pd.DataFrame, earlier: list[pd.DataFrame]) -> pd.DataFrame:
    """The rows after the end of earlier ones."""
    return rows[rows["timestamp"] > earlier[0]["timestamp"].max()] if earlier else rows


def _observed(parts: list[pd.DataFrame]) -> list[go.Scatter]:
    if not parts:
        return []
    known = pd.concat(parts)
    values = known["target"].to_numpy(dtype=float)
    seen = np.pad(~np.isnan(values), 1)
    alone = seen[1:-1] & ~seen[:-2] & ~seen[2:]
    mode = "lines+markers" if alone.any() else "lines"
    if _uneven(known["timestamp"]):
        mode = "markers"  # a line would suggest values between events
    return [
        go.Scatter(
            x=known["timestamp"],
            y=values,
            name="observed",
            mode=mode,
            marker={"size": 5 if mode == "markers" else 4, "color": OBSERVED},
            line={"color": OBSERVED, "width": 1.6},
            hovertemplate="%{y:.4~g}",
        )
    ]


def _uneven(times: pd.Series) -> bool:
    """Whether fewer than half of the gaps are close to the median gap; months and business days are not uneven."""
    gaps = np.diff(times.to_numpy()).astype(float)
    return len(gaps) > 2 and bool(np.isclose(gaps, np.median(gaps), rtol=0.15, atol=0).mean() < 0.5)


def _fan(windows: list[pd.DataFrame], mean: bool) -> list[go.Scatter]:
    """Bands from the widest to the narrowest, the median, and the mean if requested or if there are no quantiles."""
    columns = quantile_columns(windows[0])
    lower = [level for level in columns if level < 0.5 and round(1 - level, 10) in columns]
    alpha = 1 - 0.5 ** (1 / max(len(lower), 1))  # the bands are stacked
    shares = [f"{100 * (1 - 2 * level):.4g}" for level in lower]
    traces = [
        _band(windows, columns[level], columns[round(1 - level, 10)], f"{share} %", alpha)
        for level, share in zip(lower, shares, strict=True)
    ]
    if traces:
        traces[0].update(name=f"{', '.join(shares)} % intervals", showlegend=True)
    if 0.5 in columns:
        traces.append(_median(windows, "median", 0, lower[0] if lower else None))
    if "mean" in windows[0] and (mean or not traces):
        style = {"color": PALETTE[0], "width": 1.5, "dash": "dot"}
        x, y = _with_gaps(windows, "timestamp"), _with_gaps(windows, "mean")
        traces.append(go.Scatter(x=x, y=y, name="mean", mode=_mode(windows), line=style, hovertemplate="%{y:.4~g}"))
    if not traces:
        raise _nothing_to_draw(windows[0])
    return traces


def _nothing_to_draw(forecast: pd.DataFrame) -> ValueError:
    return ValueError(
        "a forecast needs the column '0.5' or 'mean', or two quantiles such as '0.1' and '0.9'; its columns are "
        f"{list(forecast.columns)}"
    )


def _band(windows: list[pd.DataFrame], lower: Any, upper: Any, name: str, alpha: float) -> go.Scatter:
    """Outline of an interval in each window, filled."""
    outlines = [
        pd.DataFrame(
            {
                "timestamp": pd.concat([window["timestamp"], window["timestamp"][::-1]], ignore_index=True),
                "value": np.concatenate([window[upper], window[lower][::-1]]),
            }
        )
        for window in windows
    ]
    single = all(len(window) == 1 for window in windows)  # an area without width
    color = translucent(PALETTE[0], alpha)
    return go.Scatter(
        x=_with_gaps(outlines, "timestamp"),
        y=_with_gaps(outlines, "value"),
        name=name,
        mode="lines",
        fill="toself",
        fillcolor=color,
        line={"width": 6 if single else 0, "color": color},
        hoverinfo="skip",
        legendgroup="intervals",
        showlegend=False,
    )


def _median(windows: list[pd.DataFrame], name: str, number: int, lower: float | None = None) -> go.Scatter:
    columns = quantile_columns(windows[0])
    if 0.5 not in columns and "mean" not in windows[0]:
        raise _nothing_to_draw(windows[0])
    template, customdata = "%{y:.4~g}", None
    if lower is not None:
        ends = (columns[lower], columns[round(1 - lower, 10)])
        customdata = np.stack([_with_gaps(windows, end) for end in ends], axis=-1)
        template += f" ({100 * (1 - 2 * lower):.4g} %: %{{customdata[0]:.4~g}} to %{{customdata[1]:.4~g}})"
    return go.Scatter(
        x=_with_gaps(windows, "timestamp"),
        y=_with_gaps(windows, columns.get(0.5, "mean")),
        name=name,
        mode=_mode(windows),
        line=line_style(number, width=2.2 if number == 0 else 1.4),
        customdata=customdata,
        hovertemplate=template,
    )


def _mode(windows: list[pd.DataFrame]) -> str:
    return "lines+markers" if any(len(window) == 1 for window in windows) else "lines"


def _with_gaps(windows: list[pd.DataFrame], column: Any) -> np.ndarray:
    """A column of all windows, separated by gaps."""
    parts: list[np.ndarray] = []
    for window in windows:
        values = window[column].to_numpy()
        if values.dtype.kind == "M":  # plotly draws NaT in the year 1677, and omits None
            values = values.astype("datetime64[ms]").astype(object)
        parts += [np.array([None if values.dtype == object else np.nan]), values]
    return np.concatenate(parts[1:])


def _layered(lines: list[go.Scatter], fan: list[go.Scatter]) -> list[go.Scatter]:
    """Bands below the other lines, the median of the forecast on top."""
    bands = [trace for trace in fan if trace.fill]
    return [*bands, *lines, *fan[len(bands) :]]


def _labelled(item: str, traces: list[go.Scatter], frames: list[pd.DataFrame]) -> list[go.Scatter]:
    """Traces with the item that they show and a time after its last one, so that the fan does not touch the edge."""
    times = pd.concat([frame["timestamp"] for frame in frames])
    end = times.max() + ROOM * (times.max() - times.min())
    return [trace.update(meta={"item": item, "end": end}) for trace in traces]


def _default_title(target: str, items: list[str]) -> str:
    return f"Forecast of {target}, {items[0]}" if len(items) == 1 and items[0] else f"Forecast of {target}"


def _figure(traces: list[go.Scatter], items: list[str], y: str, x: str, title: str | None) -> go.Figure:
    figure = styled(go.Figure(traces), title=title, height=HEIGHT)
    figure.update_layout(hovermode="x unified")
    ends = {trace.meta["item"]: trace.meta["end"] for trace in traces}
    figure.update_xaxes(title_text=x, autorangeoptions_include=ends[items[0]])
    figure.update_yaxes(title_text=y, tickformat="~g")
    if len(items) > 1:
        shown = {item: [trace.meta["item"] == item for trace in traces] for item in items}
        figure.update_layout(updatemenus=[_menu(shown, ends)], margin_t=92)
        for trace, visible in zip(figure.data, shown[items[0]], strict=True):
            trace.visible = visible
    return figure


def _menu(shown: Mapping[str, list[bool]], ends: Mapping[str, Any]) -> dict[str, Any]:
    """Drop-down menu of series at the top right, in line with the title."""
    buttons = [
        {
            "label": item,
            "method": "update",
            "args": [{"visible": visible}, {"xaxis.autorangeoptions.include": ends[item], "xaxis.autorange": True}],
        }
        for item, visible in shown.items()
    ]
    place = {"x": 1, "xanchor": "right", "y": 1.18, "yanchor": "bottom", "pad": {"t": 0, "b": 0}}
    return {"buttons": buttons, "bgcolor": "rgba(128, 134, 142, 0.12)", "bordercolor": OBSERVED, **place}
