"""The forecasts of a partition are those of its series alone, in the same form as all forecasts."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from frame_cases import CASES, NAMES, REGULAR, asked, equal, rows, stored
from sklearn.exceptions import NotFittedError

from s5forecast import S5Forecaster

CHOSEN = [
    "text", "numbers", "categories", "two columns", "one series", "time zone", "integer times", "covariates",
    "sample paths", "ensemble", "pretrained", "irregular",
]  # fmt: skip


def close(found, expected, tolerance=1e-5):
    """Check equality of the keys, and of the values up to rounding."""
    numbers = expected.select_dtypes("float64").columns
    pd.testing.assert_frame_equal(found.drop(columns=numbers), expected.drop(columns=numbers))
    scale = np.abs(expected[numbers].to_numpy()).max(axis=1, keepdims=True)
    np.testing.assert_allclose(found[numbers].to_numpy() / scale, expected[numbers].to_numpy() / scale, atol=tolerance)


def parts_of(df, forecaster):
    """The rows of each series."""
    keys = [name for name in np.atleast_1d(forecaster.item_id) if name in df]
    return [part for _, part in df.groupby(keys, sort=False, observed=True)] if keys else [df]


@pytest.mark.parametrize("name", CHOSEN)
def test_the_forecast_of_a_series_does_not_depend_on_its_partition(name):
    make, parameters = CASES[name]
    df = make()
    kwargs = {**asked(name, df), "num_threads": None}
    forecaster = S5Forecaster(**parameters).fit(df)
    together = forecaster.predict_partition(df, **kwargs)
    parts = parts_of(df, forecaster)
    alone = [forecaster.predict_partition(part, **kwargs) for part in parts]
    joined = pd.concat(alone, ignore_index=True).astype(together.dtypes)
    if name == "sample paths":
        equal(joined, together)
        equal(alone[1], forecaster.predict(parts[1]))
    else:
        close(joined, together)
        equal(together, forecaster.predict(df, **asked(name, df)))
    empty = forecaster.predict_partition(df[:0], **{**kwargs, "future": None} if "future" in kwargs else kwargs)
    assert len(empty) == 0
    pd.testing.assert_series_equal(empty.dtypes, together.dtypes)


def test_a_frame_without_columns_is_an_empty_partition():
    forecaster = S5Forecaster.pretrained(3, freq="h", item_id=["shop", "number"])
    found = forecaster.predict_partition(pd.DataFrame(), quantile_levels=[0.5])
    assert list(found) == ["shop", "number", "timestamp", "mean", "0.5"] and len(found) == 0
    assert found["timestamp"].dtype == "datetime64[ns]" and found["0.5"].dtype == np.float64


@pytest.mark.parametrize("kind", ["polars", "pyarrow"])
def test_kinds_of_frames(kind):
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    df = rows()
    given = pl.from_pandas(df) if kind == "polars" else pa.Table.from_pandas(df)
    forecaster = S5Forecaster.pretrained(3, freq="h")
    found = forecaster.predict_partition(given)
    assert type(found) is type(given)
    assert forecaster.predict_partition(given[:0]).schema == found.schema
    equal(found.to_pandas(), forecaster.predict_partition(df))


@pytest.mark.parametrize("name", ["text", "sample paths", "ensemble", "pretrained", "irregular"])
def test_forecasters_can_be_sent_to_other_processes(name, tmp_path):
    make, parameters = CASES[name]
    df = make()
    forecaster = S5Forecaster(**parameters).fit(df)
    expected = forecaster.predict_partition(df, **asked(name, df))
    forecaster.save(tmp_path)
    for one in (forecaster, S5Forecaster.load(tmp_path), forecaster.detached()):
        equal(pickle.loads(pickle.dumps(one)).predict_partition(df, **asked(name, df)), expected)
    assert hasattr(forecaster, "history_") and not hasattr(forecaster.detached(), "history_")


def test_a_calibrated_forecaster():
    df = rows()
    forecaster = S5Forecaster(**REGULAR).fit(df).calibrate(df, windows=4, method="split")
    equal(forecaster.predict_partition(df, num_threads=None), forecaster.predict(df))


def test_the_files_of_forecasts_have_the_same_form(tmp_path):
    pa = pytest.importorskip("pyarrow")
    df = rows()
    forecaster = S5Forecaster.pretrained(3, freq="h")
    folder = forecaster.predict(stored(df, tmp_path / "rows"), output=tmp_path / "forecasts")
    found = forecaster.predict_partition(pa.Table.from_pandas(df), num_threads=None)
    assert found.schema.equals(pa.parquet.read_table(folder).schema, check_metadata=False)
    equal(found.to_pandas(), pd.read_parquet(folder))


class TestBadSeries:
    """Series b has no value, and series c repeats a time."""

    def frame(self):
        df = rows()
        df.loc[df["item_id"] == "b", "target"] = np.nan
        return pd.concat([df, df[df["item_id"] == "c"].head(1)], ignore_index=True)

    def test_raise(self):
        with pytest.raises(ValueError, match="more than once"):
            S5Forecaster.pretrained(3, freq="h").predict_partition(self.frame())

    def test_skip(self):
        df, forecaster = self.frame(), S5Forecaster.pretrained(3, freq="h", on_error="skip")
        with pytest.warns(UserWarning, match="2 series are left out: 'c', 'b'"):
            found = forecaster.predict_partition(df)
        assert sorted(found["item_id"].unique()) == ["a", "d", "e"]
        assert forecaster.skipped_["item_id"].tolist() == ["c", "b"]
        forecaster.predict_partition(rows())
        assert len(forecaster.skipped_) == 0

    def test_all_are_left_out(self):
        df, forecaster = self.frame(), S5Forecaster.pretrained(3, freq="h", on_error="skip")
        bad = df[df["item_id"].isin(["b", "c"])]
        with pytest.warns(UserWarning, match="2 series are left out"):
            found = forecaster.predict_partition(bad)
        assert len(found) == 0 and found.dtypes.equals(forecaster.predict_partition(rows()).dtypes)

    def test_no_future_of_any_series(self):
        df = rows(price=1.0)
        forecaster = S5Forecaster(**REGULAR, known=["price"], on_error="skip").fit(df)
        future = pd.DataFrame({"item_id": ["other"], "timestamp": pd.Timestamp("2024-02-01"), "price": 0.0})
        with pytest.warns(UserWarning, match="5 series are left out"):
            assert len(forecaster.predict_partition(df, future)) == 0
        assert sorted(forecaster.skipped_["item_id"]) == sorted(NAMES)


def test_threads_are_limited_and_restored(monkeypatch):
    seen, before = [], torch.get_num_threads()
    forecaster = S5Forecaster.pretrained(3, freq="h").fit(rows())
    quantiles = forecaster.predictor_.predict_quantiles

    def recorded(*args):
        seen.append(torch.get_num_threads())
        return quantiles(*args)

    monkeypatch.setattr(forecaster.predictor_, "predict_quantiles", recorded)
    torch.set_num_threads(2)
    try:
        forecaster.predict_partition(rows())
        forecaster.predict_partition(rows(), num_threads=None)
        assert seen == [1, 2] and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_no_progress_bar(capfd):
    S5Forecaster.pretrained(3, freq="h", verbose=True).predict_partition(rows())
    assert capfd.readouterr() == ("", "")


class TestErrors:
    def test_multivariate(self):
        df = rows().query("timestamp < '2024-01-02'")
        forecaster = S5Forecaster(**REGULAR, model="multivariate").fit(df)
        with pytest.raises(ValueError, match="forecasts all series together"):
            forecaster.predict_partition(df)

    def test_not_fitted(self):
        with pytest.raises(NotFittedError, match=r"call fit\(df\) first"):
            S5Forecaster(**REGULAR).predict_partition(rows())

    def test_frequency_of_all_series(self):
        with pytest.raises(ValueError, match="the frequency cannot be inferred from a part of the series"):
            S5Forecaster.pretrained(3).predict_partition(rows())
        with pytest.raises(ValueError, match="the season of integer times cannot be found in a part"):
            S5Forecaster.pretrained(3, freq=1).predict_partition(rows())

    def test_paths(self):
        with pytest.raises(ValueError, match="df must be a data frame"):
            S5Forecaster.pretrained(3, freq="h").predict_partition("rows.parquet")


@pytest.mark.parametrize("freq", ["W-TUE", "MS", "QE", "B", "15min", "YS", 7])
def test_forecasters_without_training_need_no_data(freq):
    forecaster = S5Forecaster.pretrained(3, freq=freq, season=2 if freq == 7 else None)
    assert len(forecaster.predict_partition(pd.DataFrame())) == 0
    assert not hasattr(forecaster, "predictor_")
