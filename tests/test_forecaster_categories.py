"""Categories that are written as numbers, in every method of S5Forecaster: their forecasts are those of letters."""

from copy import copy
from functools import cache

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5Forecaster
from s5forecast.evaluation import compare

H = 3
IRREGULAR = dict(
    width=8, num_layers=1, state_size=4, context_length=12, max_epochs=1, num_batches_per_epoch=1, batch_size=2,
    device="cpu",
)  # fmt: skip
SMALL = {**IRREGULAR, "lags_seq": [1], "layer_kwargs": {"bidirectional": False}, "patch_length": 1}
PATHS = {name: SMALL[name] for name in SMALL if name not in ("layer_kwargs", "patch_length")}
COLUMNS = ["kind", "sort", "group"]
# Categories in training, and the same values as text and as numbers.
SPELLINGS = {
    "letters": (("a", "b", "c"), ("a", "b", "c"), ("a", "b", "c")),
    "whole numbers": ((1, 2, 3), ("1", "2", "3"), (1, 2, 3)),
    "floats and text": ((1.0, 2.5, "x"), ("1", "2.5", "x"), (1, 2.5, "x")),
}


def frame(values, dtype="category", steps=30):
    """Two series whose known, past and static columns have some of three values; one known value is missing."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 3, (2, 2, steps))
    values = np.array(values, dtype=object)
    parts = [
        pd.DataFrame(
            {
                "item_id": item,
                "timestamp": pd.date_range("2024-01-01", periods=steps, freq="h"),
                "target": rng.normal(size=steps),
                "kind": values[codes[number, 0]],
                "sort": values[codes[number, 1]],
                "group": values[number],
            }
        )
        for number, item in enumerate("ab")
    ]
    df = pd.concat(parts, ignore_index=True)
    df.loc[4, "kind"] = None
    return df.astype(dict.fromkeys(COLUMNS, dtype)) if dtype else df.infer_objects()


def forecaster(**kwargs):
    given = {"prediction_length": H, "freq": "h", "estimator_kwargs": SMALL, "verbose": False, **kwargs}
    return S5Forecaster(**given, known=["kind"], past=["sort"], static=["group"])


MODELS = {
    "direct": {},
    "autoregressive": {"model": "autoregressive", "estimator_kwargs": PATHS},
    "irregular": {"freq": None, "horizon": "3h", "estimator_kwargs": IRREGULAR},
}


def split(df):
    ahead = df.groupby("item_id").cumcount(ascending=False) < H
    return df[~ahead], df[ahead].drop(columns=["target", "sort"])


def values(forecast):
    return forecast.select_dtypes("number").to_numpy()


@cache
def trained(model, spelling):
    """A forecaster that is trained on categories; those of the validation are text."""
    categories, text, _ = SPELLINGS[spelling]
    validation = {} if model == "irregular" else {"validation": split(frame(text, object))[0]}
    return forecaster(**MODELS[model]).fit(split(frame(categories))[0], **validation)


def every_forecast(model, spelling, given, dtype):
    """Forecasts of every method from frames with other values than in training, or another dtype."""
    fitted, df = trained(model, spelling), frame(given, dtype)
    history, future = split(df)
    ahead, cuts = ("times", {"count": H}) if model == "irregular" else ("future", {"prediction_length": H})
    found = [fitted.predict(**{ahead: future}), fitted.predict(history, **{ahead: future})]
    found.append(fitted.backtest(df, **({"count": H} if model == "irregular" else {})).forecasts)
    found.append(compare({"one": fitted}, df, **cuts).backtests["one"].forecasts)
    if model != "autoregressive":
        early = history.groupby("item_id").head(24)
        found.append(fitted.stream(early).update(history.drop(early.index)).predict(**{ahead: future}))
    if model == "direct":
        found.append(copy(fitted).calibrate(df, windows=5, method="split").predict(**{ahead: future}))
    return [values(one) for one in found]


CASES = [(model, "whole numbers") for model in MODELS] + [("direct", "floats and text")]


@pytest.mark.parametrize("model, spelling", CASES)
def test_forecasts_do_not_depend_on_the_spelling_of_categories(model, spelling):
    categories, text, numbers = SPELLINGS[spelling]
    expected = every_forecast(model, "letters", ("a", "b", "c"), "category")
    for given, dtype in ((categories, "category"), (text, object), (numbers, None)):
        for one, other in zip(every_forecast(model, spelling, given, dtype), expected, strict=True):
            np.testing.assert_array_equal(one, other)


def test_backtests_that_train_keep_categories():
    expected, found = (forecaster().backtest(frame(SPELLINGS[name][0])) for name in ("letters", "whole numbers"))
    pd.testing.assert_frame_equal(found.forecasts, expected.forecasts)


@pytest.mark.parametrize("model", ["direct", "irregular"])
def test_a_loaded_forecaster_reads_categories_as_in_training(model, tmp_path):
    _, future = split(frame([1, 2, 3]))
    ahead = "times" if model == "irregular" else "future"
    fitted = trained(model, "whole numbers")
    fitted.save(tmp_path)
    loaded = S5Forecaster.load(tmp_path)
    later, query = split(frame(["1", "2", "3"], object))
    expected = values(fitted.predict(**{ahead: future}))
    np.testing.assert_array_equal(values(loaded.predict(later, **{ahead: query})), expected)
    with pytest.warns(UserWarning, match="no value of the column 'kind' is a category of the training"):
        loaded.predict(later, **{ahead: query.assign(kind="9")})


def test_categories_of_polars_that_are_written_as_numbers():
    pl = pytest.importorskip("polars", reason="the extra polars is not installed")
    df = frame(["1", "2", "3"], object)
    given = pl.from_pandas(df).with_columns(pl.col(COLUMNS).cast(pl.Categorical))
    history, future = split(df)
    fitted = forecaster().fit(given.filter(pl.col("timestamp") <= history["timestamp"].max()))
    found = fitted.predict(future=pl.from_pandas(future)).to_pandas()
    assert values(found).shape[0] == 2 * H
    found = fitted.backtest(given).forecasts.to_pandas()
    assert np.isfinite(values(found)).all()


def test_text_of_numbers_is_refused_where_the_training_had_numbers():
    history, future = split(frame([1, 2, 3], None))
    fitted = forecaster().fit(history)
    with pytest.raises(ValueError, match="series 'a': column 'kind' must hold numbers, got '"):
        fitted.predict(future=future.assign(kind=future["kind"].astype(str)))
