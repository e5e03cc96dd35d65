"""Data of other forms than long frames: a Series is one series, others are refused with their conversion."""

import numpy as np
import pandas as pd
import pytest

import s5forecast
from s5forecast import S5Forecaster, backtest, regularize
from s5forecast.data.frames import Columns
from s5forecast.data.irregular_sampling import IrregularSampling
from s5forecast.data.long_frames import require_column
from s5forecast.data.regular_sampling import RegularSampling
from s5forecast.data.statics import StaticFeatures
from s5forecast.plotting import plot_forecast

DAYS = pd.date_range("2024-01-01", periods=20, freq="D")
VALUES = np.arange(20.0)
SAMPLINGS = [RegularSampling(Columns(), 2), IrregularSampling(Columns(), "2D")]
SERIES = {
    "unnamed": pd.Series(VALUES, DAYS),
    "named": pd.Series(VALUES, DAYS, name="sales"),
    "text": pd.Series(VALUES, DAYS.strftime("%Y-%m-%d")),
    "nullable": pd.Series(VALUES, DAYS, dtype="Float64"),
    "two levels": pd.Series(VALUES, pd.MultiIndex.from_product([["a"], DAYS], names=["item_id", "timestamp"])),
}


@pytest.mark.parametrize("form", SERIES)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_a_series_of_pandas_is_one_series(sampling, form):
    given = SERIES[form]
    fixed, series = sampling.learn(given.iloc[:15])
    (one,) = series
    assert np.ravel(one.target).tolist() == VALUES[:15].tolist()
    assert one.item_id == ("a" if form == "two levels" else None)
    ends = fixed.read_next(given.iloc[15:], fixed.ends(series), StaticFeatures()).ends
    assert ends.last[0] == DAYS[-1]


def test_known_values_of_a_series_and_other_functions():
    df = pd.DataFrame({"timestamp": DAYS, "target": VALUES, "price": VALUES})
    sampling, series = RegularSampling(Columns(known=("price",)), 2).learn(df.iloc[:18])
    known = sampling.query(sampling.ends(series), pd.Series([7.0, 8.0], DAYS[18:])).known
    assert known[:, 0].tolist() == [7, 8]
    assert len(regularize(SERIES["named"], "2D").frame) == 10
    found = backtest("naive", SERIES["unnamed"], 2, metrics=["MASE"])
    assert found.metrics["MASE"].equals(backtest("naive", df, 2, metrics=["MASE"]).metrics["MASE"])
    forecast = pd.DataFrame({"timestamp": DAYS[18:], "0.5": 1.0})
    assert plot_forecast(SERIES["unnamed"].iloc[:18], forecast).data


def prices():
    columns = pd.MultiIndex.from_product([["Close", "Volume"], ["X", "Y"]], names=["Price", "Ticker"])
    return pd.DataFrame(np.arange(80.0).reshape(20, 4), DAYS, columns)


WIDE = {
    "times as column": pd.DataFrame({"timestamp": DAYS, "a": VALUES, "b": VALUES}),
    "times as index": pd.DataFrame({"a": VALUES, "b": VALUES}, DAYS),
    "one column": pd.DataFrame({"a": VALUES}, DAYS),
    "integer names": pd.DataFrame(np.stack([VALUES, VALUES], 1), DAYS),
}


@pytest.mark.parametrize("form", WIDE)
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_wide_frames_are_refused_with_the_line_that_converts_them(sampling, form):
    df = WIDE[form]
    with pytest.raises(ValueError, match=r"df has no column 'target'.*If each column is a series, convert") as caught:
        sampling.learn(df)
    line = str(caught.value).split("convert it: ")[1]
    found = {"df": df, "s5forecast": s5forecast}
    exec(line, found)
    _, series = sampling.learn(found["df"])
    assert [np.ravel(one.target).tolist() for one in series] == [VALUES.tolist()] * (len(series))
    assert len(series) == df.select_dtypes("number").shape[1]


def test_columns_of_two_levels_are_refused_with_the_line_that_stacks_them():
    df = prices()
    with pytest.raises(ValueError, match=r"df has columns of 2 levels, such as .'Close', 'X'.; move") as caught:
        SAMPLINGS[0].learn(df)
    found = {"df": df}
    exec(str(caught.value).split("to rows: ")[1], found)
    _, series = RegularSampling(Columns(target="Close"), 2).learn(found["df"])
    assert [one.item_id for one in series] == ["X", "Y"] and series[1].target[:2].tolist() == [1, 5]


def test_other_data():
    with pytest.raises(ValueError, match="df must be a data frame of pandas, Polars or pyarrow, got ndarray"):
        SAMPLINGS[0].learn(VALUES)
    unnamed = SERIES["two levels"].rename_axis([None, None])
    for data in (unnamed, unnamed.to_frame("target")):
        with pytest.raises(
            ValueError, match=r"levels \[None, None\]; name them with df.rename_axis\(\['item_id', 'time"
        ):
            SAMPLINGS[0].learn(data)
    with pytest.raises(ValueError, match="column 'timestamp' must hold timestamps, got int64"):
        SAMPLINGS[0].learn(pd.Series(VALUES))


@pytest.mark.parametrize("role", ["target", "item_id", "timestamp", "known", "past", "static"])
def test_names_that_are_not_text(role):
    name = [0] if role in ("known", "past", "static") else 0
    with pytest.raises(ValueError, match=rf"{role}=.* must be the name of a column, as text; .*astype\(str\)"):
        S5Forecaster(2, "D", **{role: name}).fit(WIDE["integer names"])


@pytest.mark.parametrize("form", WIDE)
def test_backtests_of_wide_frames_show_the_line_that_converts_them(form):
    with pytest.raises(
        ValueError, match=r"the frame has no column 'target'.*If each column is a series, convert"
    ) as caught:
        backtest("naive", WIDE[form], 2)
    found = {"df": WIDE[form], "s5forecast": s5forecast}
    exec(str(caught.value).split("convert it: ")[1], found)
    assert len(backtest("naive", found["df"], 2, metrics=["MAE"]).forecasts)
    with pytest.raises(ValueError, match="df has columns of 2 levels"):
        backtest("naive", prices(), 2)


def test_histories_of_figures_may_have_their_times_as_index():
    df = pd.DataFrame({"item_id": "a", "timestamp": DAYS, "target": VALUES})
    forecast = pd.DataFrame({"item_id": "a", "timestamp": DAYS[18:], "0.5": 1.0})
    expected = plot_forecast(df[:18], forecast)
    for keys in (["timestamp"], ["item_id", "timestamp"]):
        assert plot_forecast(df[:18].set_index(keys), forecast.set_index(keys)) == expected


def test_names_of_columns_that_are_no_text():
    df = pd.DataFrame([[1.0, 2.0]])
    with pytest.raises(
        ValueError, match=r"df has no column '0', as text; .* df = df.rename\(columns=str\).* \[0, 1\]$"
    ) as caught:
        require_column(df, "0", "df")
    assert "did you mean" not in str(caught.value)
    require_column(df.rename(columns=str), "0", "df")
