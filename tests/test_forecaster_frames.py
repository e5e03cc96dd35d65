"""Frames of every kind in every method of S5Forecaster, and in the functions beside it."""

from copy import copy

import numpy as np
import pandas as pd
import pytest
from frame_kinds import KINDS, class_of, make, plain

from s5forecast import S5Forecaster, backtest, regularize
from s5forecast.evaluation import Backtest, ConformalCalibrator, compare, interval_coverage
from s5forecast.plotting import plot_backtest, plot_calibration, plot_forecast, write_report

SMALL = dict(
    width=8, num_layers=1, state_size=4, context_length=24, num_batches_per_epoch=2, max_epochs=1, batch_size=4,
    device="cpu",
)  # fmt: skip
CAUSAL = {**SMALL, "layer_kwargs": {"bidirectional": False}, "patch_length": 1}
H = 4


def hours(n=60, items=("a", "b"), *, events=False):
    """Series with a covariate that is known in advance and a static column; irregular ones if they are events."""
    rng = np.random.default_rng(0)
    parts = []
    for number, item in enumerate(items):
        gaps = rng.exponential(60, n) + 1 if events else np.full(n, 60)
        times = pd.Timestamp("2024-03-30") + pd.to_timedelta(np.cumsum(gaps).round(3), "min")
        values = {"target": rng.normal(10, 1, n).round(3), "price": rng.normal(size=n), "shop": "xy"[number]}
        parts.append(pd.DataFrame({"item_id": item, "timestamp": times, **values}))
    df = pd.concat(parts, ignore_index=True)
    df.loc[3:5, "target"] = np.nan
    return df


DF, EVENTS = hours(), hours(events=True)
NUMBER = DF.groupby("item_id").cumcount()
PAST, NEXT, AHEAD = DF[NUMBER < 48], DF[(NUMBER >= 48) & (NUMBER < 56)], DF[NUMBER >= 56]
KNOWN = ["item_id", "timestamp", "price"]
TIMES = pd.DataFrame(
    {"item_id": ["b", "a", "b"], "timestamp": EVENTS["timestamp"].max() + pd.to_timedelta([100, 200, 50], "min")}
)
FORECASTS = DF.assign(mean=DF["target"], cutoff=PAST["timestamp"].max()).assign(
    **{f"0.{k}": 10 + (k - 5) / 4 for k in range(1, 10)}
)[NUMBER >= 48]


def regular(**parameters):
    given = {"estimator_kwargs": CAUSAL, "known": ["price"], "static": ["shop"], **parameters}
    return S5Forecaster(H, freq="h", verbose=False, **given)


@pytest.fixture(scope="module")
def models():
    """Forecasters that are fitted on frames of pandas."""
    events = {"freq": None, "horizon": "12h", "estimator_kwargs": SMALL, "verbose": False}
    return {
        "regular": regular().fit(PAST),
        "paths": regular(model="autoregressive", estimator_kwargs={**SMALL, "recursion": "decoder"}).fit(PAST),
        "irregular": S5Forecaster(**events).fit(EVENTS),
    }


def ahead(df):
    return df[df.groupby("item_id").cumcount() < H][KNOWN]


def calibrated(models, as_kind):
    """A forecaster calibrated on a frame, which has seen no window of it."""
    scale = {"method": "cqr", "learning_rate": 0.5}
    model = copy(models["regular"]).set_params(quantile_levels=[0.3, 0.5, 0.7])
    return model.calibrate(as_kind(DF[NUMBER < 56]), windows=2, **scale).predict(future=as_kind(ahead(NEXT)))


def updated(models, as_kind):
    return models["regular"].stream(as_kind(PAST)).update(as_kind(NEXT)).predict(as_kind(ahead(AHEAD)))


# What each method returns for frames of a kind: functions of fitted models and of what converts a frame to the kind.
METHODS = {
    "fit and predict": lambda models, as_kind: regular().fit(as_kind(PAST)).predict(future=as_kind(ahead(NEXT))),
    "fit with validation=": lambda models, as_kind: (
        regular().fit(as_kind(PAST), validation=as_kind(DF)).predict(future=as_kind(ahead(NEXT)))
    ),
    "predict": lambda models, as_kind: models["regular"].predict(as_kind(PAST), as_kind(ahead(NEXT))),
    "predict with future=": lambda models, as_kind: models["regular"].predict(future=as_kind(ahead(NEXT))),
    "predict of the pretrained network": lambda models, as_kind: S5Forecaster.pretrained(H).predict(as_kind(PAST)),
    "predict with times=": lambda models, as_kind: models["irregular"].predict(times=as_kind(TIMES)),
    "predict of events": lambda models, as_kind: models["irregular"].predict(as_kind(EVENTS), times=as_kind(TIMES)),
    "predict_samples": lambda models, as_kind: models["paths"].predict_samples(
        as_kind(PAST), as_kind(ahead(NEXT)), num_samples=3
    ),
    "stream and update": updated,
    "stream of events": lambda models, as_kind: (
        models["irregular"].stream(as_kind(EVENTS.groupby("item_id").head(40)))
        .update(as_kind(EVENTS.groupby("item_id").tail(20))).predict(times=as_kind(TIMES))
    ),
    "calibrate": calibrated,
    "backtest": lambda models, as_kind: models["regular"].backtest(as_kind(DF), windows=2).forecasts,
    "backtest of events": lambda models, as_kind: (
        backtest("last_value", as_kind(EVENTS), since=EVENTS["timestamp"].max() - pd.Timedelta("9h")).forecasts
    ),
    "backtest of a frame": lambda models, as_kind: backtest(as_kind(FORECASTS), as_kind(DF), 12).forecasts,
    "compare": lambda models, as_kind: (
        compare({"naive": "naive", "frame": as_kind(FORECASTS)}, as_kind(DF), 12).backtests["frame"].forecasts
    ),
    "Backtest.from_frame": lambda models, as_kind: (
        Backtest.from_frame(as_kind(FORECASTS), metrics=("WQL",)).forecasts
    ),
    "ConformalCalibrator": lambda models, as_kind: (
        ConformalCalibrator("cqr").fit(as_kind(FORECASTS)).transform(as_kind(FORECASTS))
    ),
    "regularize": lambda models, as_kind: regularize(as_kind(EVENTS), "h").frame,
    "interval_coverage": lambda models, as_kind: interval_coverage(as_kind(FORECASTS)),
}  # fmt: skip
# As above, for methods whose results are not frames.
OTHERS = {
    "to_gluonts": lambda models, as_kind: [
        entry["target"] for entry in models["regular"].to_gluonts(as_kind(PAST), as_kind(ahead(NEXT)))
    ],
    "plot": lambda models, as_kind: figure_values(models["regular"].plot(as_kind(FORECASTS), as_kind(PAST))),
    "plot_forecast": lambda models, as_kind: figure_values(
        plot_forecast(as_kind(PAST), as_kind(FORECASTS), actuals=as_kind(NEXT))
    ),
    "plot_backtest": lambda models, as_kind: figure_values(
        plot_backtest(as_kind(FORECASTS), as_kind(PAST), others={"other": as_kind(FORECASTS)})
    ),
    "plot_calibration": lambda models, as_kind: figure_values(plot_calibration({"model": as_kind(FORECASTS)})),
    "metrics": lambda models, as_kind: [models["regular"].backtest(as_kind(DF)).by("item_id")["WQL"].to_numpy()],
    "write_report": lambda models, as_kind: [
        np.array(len(write_report(backtest("naive", as_kind(DF), H), history=as_kind(PAST))) // 10_000)
    ],
}


def figure_values(figure):
    return [np.asarray(trace.y, dtype=float) for trace in figure.data if trace.y is not None]


@pytest.fixture(scope="module")
def expected(models):
    """Results for frames of pandas, computed once."""
    found = {}

    def of(name):
        if name not in found:
            found[name] = {**METHODS, **OTHERS}[name](models, lambda df: df)
        return found[name]

    return of


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "pandas"])
def test_a_frame_of_the_same_kind_is_returned(models, expected, kind, name):
    found = METHODS[name](models, lambda df: make(kind, df))
    assert isinstance(found, class_of(kind))
    pd.testing.assert_frame_equal(plain(found), plain(expected(name)))


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "pandas"])
def test_other_results_are_the_same(models, expected, kind, name):
    found = OTHERS[name](models, lambda df: make(kind, df))
    for one, other in zip(found, expected(name), strict=True):
        np.testing.assert_array_equal(one, other)
