"""Kinds of frames, each made from a pandas frame, for tests that compare their results."""

import importlib

import numpy as np
import pandas as pd
import pytest

INSTALL = "pip install -c constraints.txt '.[polars]'"


def polars():
    return pytest.importorskip("polars", reason=f"Polars is not installed: {INSTALL}")


def pyarrow():
    return pytest.importorskip("pyarrow", reason=f"pyarrow is not installed: {INSTALL}")


def polars_frame(df):
    """A frame of Polars, column by column, so that it needs no pyarrow."""
    pl = polars()
    columns = {}
    for name, values in df.items():
        zone = getattr(values.dtype, "tz", None)
        plain = values.dt.tz_convert(None) if zone is not None else values
        if plain.dtype == object or isinstance(plain.dtype, pd.CategoricalDtype):
            columns[name] = pl.Series(plain.astype(object).where(plain.notna(), None).tolist())
        else:
            columns[name] = pl.Series(plain.to_numpy(), nan_to_null=True)
        if zone is not None:
            columns[name] = columns[name].dt.replace_time_zone("UTC").dt.convert_time_zone(str(zone))
    return pl.DataFrame(columns)


def arrow_table(df):
    return pyarrow().Table.from_pandas(df, preserve_index=False)


def arrow_dtypes(df):
    pyarrow()
    return df.convert_dtypes(dtype_backend="pyarrow")


def text_of_pandas_3(df):
    pyarrow()
    if tuple(map(int, pd.__version__.split(".")[:2])) < (2, 3):
        pytest.skip("pandas before 2.3 lacks the string dtype of pandas 3")
    text = pd.StringDtype("pyarrow", na_value=np.nan)
    return df.astype({name: text for name in df if df[name].dtype == object})


# How to make each kind from a pandas frame, and the module and name of the class that results have.
KINDS = {
    "pandas": (lambda df: df, "pandas.DataFrame"),
    "pandas, nullable": (lambda df: df.convert_dtypes(), "pandas.DataFrame"),
    "pandas, Arrow": (arrow_dtypes, "pandas.DataFrame"),
    "pandas, text of pandas 3": (text_of_pandas_3, "pandas.DataFrame"),
    "Polars": (polars_frame, "polars.DataFrame"),
    "Polars, lazy": (lambda df: polars_frame(df).lazy(), "polars.DataFrame"),
    "pyarrow": (arrow_table, "pyarrow.Table"),
}


def class_of(kind):
    """The class of the frames that are returned for a kind."""
    module, name = KINDS[kind][1].split(".")
    return getattr(importlib.import_module(module), name)


def make(kind, df):
    """A pandas frame in a kind."""
    return KINDS[kind][0](df)


def plain(frame):
    """A frame of any kind in pandas, with the dtypes of NumPy."""
    frame = frame if isinstance(frame, pd.DataFrame) else frame.to_pandas()
    return pd.DataFrame({str(name): _plain(values) for name, values in frame.items()})


def _plain(values):
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        values = (
            values.astype("datetime64[ns]") if values.dt.tz is None else values.dt.tz_convert("UTC").dt.as_unit("ns")
        )
    elif pd.api.types.is_numeric_dtype(values.dtype):
        values = pd.Series(values.to_numpy(dtype=float, na_value=np.nan))
    else:
        values = values.astype(object).where(values.notna(), None)
    return values.reset_index(drop=True)
