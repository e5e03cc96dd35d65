"""Numeric columns: dtypes that are read, and the line that converts text."""

import numpy as np
import pandas as pd
import pytest

from s5forecast.data.frames import Columns, tidy_frame
from s5forecast.data.irregular_sampling import IrregularSampling
from s5forecast.data.regular_sampling import RegularSampling

HOURS = pd.date_range("2024-01-01", periods=3, freq="h")


def frame(values):
    return pd.DataFrame({"timestamp": HOURS, "target": values})


@pytest.mark.parametrize("sampling", [RegularSampling(Columns(), 2), IrregularSampling(Columns(), "1D")])
@pytest.mark.parametrize("values", [[1.0, 1.0, 1.0], [1, 2, 1], [1, None, 2]])
def test_categories_of_numbers_are_numbers(sampling, values):
    _, (one,) = sampling.learn(frame(pd.Categorical(values)))
    np.testing.assert_array_equal(np.ravel(one.target), np.array(values, dtype=float))


TEXT = {
    "commas between thousands": (["1,234.56", "12.5", "-1,234,567.0"], [1234.56, 12.5, -1234567]),
    "more thousands": (["1,234,567", "12", "1,234,568"], [1234567, 12, 1234568]),
    "decimal comma": (["1234,56", "12", "-0,5"], [1234.56, 12, -0.5]),
    "points between thousands": (["1.234,56", "12", "-1.234.567,5"], [1234.56, 12, -1234567.5]),
}


@pytest.mark.parametrize("kind", TEXT)
@pytest.mark.parametrize("dtype", [object, "category", "string"])
def test_the_line_that_converts_text(kind, dtype):
    values, numbers = TEXT[kind]
    df = frame(pd.Series(values, dtype=dtype))
    with pytest.raises(ValueError, match=r"the series: column 'target' must hold numbers, got .*read_csv") as caught:
        tidy_frame(df, Columns(), ["target"], ())
    line = str(caught.value).split("; ", 1)[1].split(" (in a file")[0]
    exec(line, {"df": df, "pd": pd})
    assert df["target"].tolist() == numbers


CLEANED = {
    "currency": (["$5", "-$1,234.50", "$12.5"], [5, -1234.5, 12.5]),
    "percent": (["50%", "12.5 %", None], [50, 12.5, None]),
    "spaces": (["1 234,5", "12", "2\u202f345,75"], [1234.5, 12, 2345.75]),
    "parentheses": (["(1,234.56)", "7", "($8)"], [-1234.56, 7, -8]),
    "apostrophes": (["1'234.5", "1’234’567", "2"], [1234.5, 1234567, 2]),
}


@pytest.mark.parametrize("kind", CLEANED)
def test_the_line_that_removes_other_characters(kind):
    values, numbers = CLEANED[kind]
    df = frame(values)
    with pytest.raises(ValueError, match=r"the series: column 'target' must hold numbers, got ") as caught:
        tidy_frame(df, Columns(), ["target"], ())
    assert "coerce" not in str(caught.value)
    line = str(caught.value)[str(caught.value).index("df['target'] =") :]
    exec(line, {"df": df, "pd": pd})
    assert df["target"].dropna().tolist() == [one for one in numbers if one is not None]
    tidy_frame(df, Columns(), ["target"], ())


def test_one_comma_may_be_either():
    with pytest.raises(ValueError, match=r"if the comma separates thousands, .*, or if it is a decimal comma, "):
        tidy_frame(frame(["1,234", "2,345", "1"]), Columns(), ["target"], ())


def test_columns_that_are_no_numbers():
    for values, fix in ((pd.to_timedelta([1, 2, 3], "h"), "total_seconds"), (np.array([1j, 2, 3]), "real part")):
        with pytest.raises(ValueError, match=f"column 'target' .*{fix}"):
            tidy_frame(frame(values), Columns(), ["target"], ())


@pytest.mark.parametrize("values", [["A", "42", "B"], ["A", 42, None], ["001", "002", "001"]])
def test_the_line_that_makes_categories(values):
    df = frame([1.0, 2.0, 3.0]).assign(kind=pd.Series(values, dtype=object))
    sampling = RegularSampling(Columns(past=("kind",)), 2)
    with pytest.raises(ValueError, match="column 'kind' must hold numbers") as caught:
        sampling.learn(df)
    exec(str(caught.value).split("if it holds categories: ")[1], {"df": df, "pd": pd})
    _, table = sampling.learn(df)
    assert table.labels["kind"] == sorted({str(value) for value in values if value is not None})
    with pytest.raises(ValueError) as caught:
        tidy_frame(df.assign(target=values), Columns(), ["target"], ())
    assert "categories" not in str(caught.value)
