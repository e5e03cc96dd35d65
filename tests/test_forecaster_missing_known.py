"""Every way to forecast reports missing known values with one warning."""

import warnings

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5ContinuousEstimator, S5Estimator, S5Forecaster, backtest
from s5forecast.estimators import CombinedEstimator, EnsembleEstimator, S5AutoregressiveEstimator
from s5forecast.evaluation import BASELINES, compare

H = 3
IRREGULAR = dict(
    width=8, num_layers=1, state_size=4, context_length=12, max_epochs=1, num_batches_per_epoch=1, batch_size=2,
    device="cpu",
)  # fmt: skip
SMALL = {**IRREGULAR, "lags_seq": [1], "layer_kwargs": {"bidirectional": False}, "patch_length": 1}
JOINT = {name: SMALL[name] for name in SMALL if name not in ("layer_kwargs", "patch_length")}
QUIET = {"trainer_kwargs": {"enable_progress_bar": False}}


def frame(steps=30, items="abc"):
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {
                "item_id": item,
                "timestamp": pd.date_range("2024-01-01", periods=steps, freq="h"),
                "target": rng.normal(size=steps),
                "price": rng.normal(size=steps),
            }
        )
        for item in items
    ]
    return pd.concat(parts, ignore_index=True)


def holes(df, steps):
    """The frame without the price at its last steps."""
    ahead = df.groupby("item_id").cumcount(ascending=False) < steps
    return df.assign(price=df["price"].mask(ahead))


def split(df):
    ahead = df.groupby("item_id").cumcount(ascending=False) < H
    return df[~ahead], df[ahead].drop(columns="target")


DF = frame()
HISTORY, FUTURE = split(DF)
MASKED = FUTURE.assign(price=np.nan)


def forecaster(**kwargs):
    given = {"prediction_length": H, "freq": "h", "known": ["price"], "estimator_kwargs": SMALL, "verbose": False}
    return S5Forecaster(**{**given, **kwargs})


def irregular():
    return forecaster(freq=None, horizon="3h", estimator_kwargs=IRREGULAR)


def entries(horizon=True):
    """Regular entries whose field ends a step before the horizon does."""
    found = []
    for item, one in DF.groupby("item_id"):
        target = one["target"].to_numpy()[: -H or None]
        known = one["price"].to_numpy()[None, : -1 if horizon else -H]
        start = pd.Period("2024-01-01", "h")
        found.append({"item_id": item, "start": start, "target": target, "feat_dynamic_real": known})
    return found


def irregular_entries():
    return [
        {
            "item_id": item, "time": np.arange(27.0), "target": one["target"].to_numpy()[:-H],
            "feat_dynamic_real": one["price"].to_numpy()[None, :-H], "query_time": np.arange(27.0, 30.0),
            "query_feat_dynamic_real": np.array([[1.0, np.nan, 2.0]]),
        }
        for item, one in DF.groupby("item_id")
    ]  # fmt: skip


def direct(cls=S5Estimator, **kwargs):
    shared = {name: SMALL[name] for name in SMALL if cls is S5Estimator or name != "patch_length"}
    return cls(freq="h", prediction_length=H, num_feat_dynamic_real=1, **shared, **QUIET, **kwargs)


def continuous():
    return S5ContinuousEstimator(prediction_length=H, num_feat_dynamic_real=1, **IRREGULAR, **QUIET)


def of_entries(estimator):
    predictor = estimator.train(entries(horizon=False))
    predictor.batch_size = 1
    return lambda: list(predictor.predict(entries()))


def of_continuous(estimator):
    predictor = estimator.train(irregular_entries())
    return lambda: list(predictor.predict(irregular_entries()))


def quantiles(estimator):
    predictor = estimator.train(entries(horizon=False))
    return lambda: predictor.predict_quantiles(entries(), [0.5])


def of_frame(method="predict", ahead="future", make=forecaster, **kwargs):
    fitted = make(**kwargs).fit(HISTORY)
    return lambda: getattr(fitted, method)(**{ahead: MASKED})


def of_empty_column(make=forecaster, ahead="future"):
    """A column without any value has no numbers, so that only the training tells that they are missing."""
    fitted = make().fit(HISTORY)
    return lambda: fitted.predict(**{ahead: FUTURE.assign(price=[None] * len(FUTURE))})


def of_stream(ahead="future", make=forecaster):
    stream = make().fit(HISTORY).stream()
    return lambda: stream.predict(**{ahead: MASKED})


def of_backtest():
    return lambda: forecaster().backtest(holes(DF, 5), windows=2)


def of_irregular_backtest():
    cuts = [pd.Timestamp("2024-01-02 00:30"), pd.Timestamp("2024-01-02 02:30")]
    return lambda: irregular().backtest(holes(DF, 5), since=cuts)


def comparison():
    models = {"one": forecaster(), "other": direct(), "naive": "naive"}
    return lambda: compare(models, holes(DF, 5), H, windows=2)


def backtest_of_entries():
    ahead = [{**one, "target": one["target"][:-1]} for one in entries()]
    for one in ahead:
        one["feat_dynamic_real"][0, -4] = np.nan
    return lambda: backtest(direct(), ahead, H)


def stream_of_entries():
    stream = direct().train(entries(horizon=False)).stream(entries(horizon=False))
    ahead = [{"item_id": item, "feat_dynamic_real": np.ones((1, H - 1))} for item in "abc"]
    return lambda: list(stream.predict(ahead))


def stream_of_irregular_entries():
    stream = continuous().train(irregular_entries()).stream(irregular_entries())
    return lambda: list(stream.predict(irregular_entries()))


def combination():
    members = [direct(), direct(seed=1), BASELINES["naive"](H)]
    return of_entries(CombinedEstimator(H, members, weights=[0.5, 0.3, 0.2]))


WAYS = {
    "frame": of_frame,
    "ensemble of a frame": lambda: of_frame(estimator_kwargs={**SMALL, "num_members": 2}),
    "joint frame": lambda: of_frame(model="multivariate", estimator_kwargs=JOINT),
    "joint paths": lambda: of_frame("predict_samples", model="multivariate", estimator_kwargs=JOINT),
    "irregular frame": lambda: of_frame(ahead="times", make=irregular),
    "empty column": of_empty_column,
    "empty irregular column": lambda: of_empty_column(irregular, "times"),
    "stream of a frame": of_stream,
    "stream of an irregular frame": lambda: of_stream("times", irregular),
    "backtest of a frame": of_backtest,
    "backtest of an irregular frame": of_irregular_backtest,
    "comparison": comparison,
    "entries": lambda: of_entries(direct()),
    "ensemble of entries": lambda: of_entries(EnsembleEstimator(direct(), 2)),
    "pooled paths of entries": lambda: of_entries(EnsembleEstimator(direct(S5AutoregressiveEstimator), 2)),
    "combination of entries": combination,
    "quantiles of an ensemble": lambda: quantiles(EnsembleEstimator(direct(), 2)),
    "backtest of entries": backtest_of_entries,
    "irregular entries": lambda: of_continuous(continuous()),
    "ensemble of irregular entries": lambda: of_continuous(EnsembleEstimator(continuous(), 2)),
    "stream of entries": stream_of_entries,
    "stream of irregular entries": stream_of_irregular_entries,
}


@pytest.mark.parametrize("way", WAYS)
def test_missing_known_values_are_reported_once(way):
    forecast = WAYS[way]()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        forecast()
    (found,) = [one for one in caught if "known covariates" in str(one.message)]
    text = str(found.message)
    assert text.startswith("series 'a' and 2 other series: the known covariates ['") and "masked" in text
    if "frame" in way or way == "comparison":
        assert "the known covariates ['price'] are" in text
    assert found.filename == __file__


def test_the_weights_of_a_combination_are_chosen_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        combined = CombinedEstimator(H, [direct(), BASELINES["naive"](H)], windows=1)
        data = [{**one, "feat_dynamic_real": one["feat_dynamic_real"].copy()} for one in entries(horizon=False)]
        data[0]["feat_dynamic_real"][0, -1] = np.nan
        combined.train(data)


def test_a_stream_refuses_more_steps_than_the_horizon():
    stream = direct().train(entries(horizon=False)).stream(entries(horizon=False))
    for steps in (0, H + 1):
        with pytest.raises(ValueError, match=r"series 'a': feat_dynamic_real has shape .*, expected \(1, 3\)"):
            list(stream.predict([{"item_id": "a", "feat_dynamic_real": np.ones((1, steps))}]))
