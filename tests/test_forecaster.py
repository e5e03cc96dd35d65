"""S5Forecaster of regular series: forecasts, files, scikit-learn's conventions, and backtests without leakage."""

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from lightning.pytorch.callbacks import Callback
from sklearn.base import clone, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from s5forecast import S5Forecaster, load_dataset
from s5forecast.evaluation import compare
from s5forecast.forecaster_files import FORECASTER_FORMAT
from s5forecast.plotting import plot_backtest

H = 4
SMALL = dict(
    width=8, num_layers=1, state_size=4, context_length=12, lags_seq=[1, 6],
    max_epochs=1, num_batches_per_epoch=2, batch_size=4, device="cpu",
)  # fmt: skip
LEVELS = ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"]


def forecaster(**kwargs):
    return S5Forecaster(**{"prediction_length": H, "verbose": False, "estimator_kwargs": SMALL, **kwargs})


def frame(steps=60, items=("b", "a"), freq="h", start="2024-01-01", tz=None, seed=0):
    rng = np.random.default_rng(seed)
    times = pd.date_range(start, periods=steps, freq=freq, tz=tz)
    parts = [
        pd.DataFrame(
            {
                "item_id": item,
                "timestamp": times,
                "target": rng.poisson(5 + 4 * np.sin(np.arange(steps) * np.pi / 3)),
                "price": rng.normal(size=steps),
                "shop": f"shop {item}",
            }
        )
        for item in items
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def fitted():
    return forecaster(freq="h", static=["shop"]).fit(frame())


def test_a_forecast_continues_the_training_frame(fitted):
    forecast = fitted.predict()
    assert list(forecast.columns) == ["item_id", "timestamp", "mean", *LEVELS]
    assert forecast["item_id"].tolist() == ["b"] * H + ["a"] * H
    assert forecast["timestamp"].iloc[0] == pd.Timestamp("2024-01-03 12:00")
    assert np.isfinite(forecast[["mean", *LEVELS]].to_numpy()).all()
    assert (forecast[LEVELS].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None)
    pd.testing.assert_frame_equal(forecast, fitted.predict(frame()))


def test_unseen_series_and_other_levels(fitted):
    new = frame(20, ["new"], start="2030-05-05", seed=9)
    with pytest.warns(UserWarning, match=r"no value of the static column 'shop' .* found \['shop new'\]"):
        forecast = fitted.predict(new, quantile_levels=[0.05, 0.5, 0.99])
    assert list(forecast.columns[3:]) == ["0.05", "0.5", "0.99"]
    assert (forecast["0.05"] <= forecast["0.5"]).all() and (forecast["0.5"] <= forecast["0.99"]).all()
    assert forecast["timestamp"].iloc[0] == pd.Timestamp("2030-05-05 20:00")
    few = pytest.warns(UserWarning, match="fewer than 4 values .* of series 'new'")
    with few, pytest.warns(UserWarning, match="series 'new' has 1 row"):
        single = fitted.predict(new.iloc[:1].assign(shop="shop a"))
    assert np.isfinite(single["mean"]).all()


def test_saved_and_loaded_in_another_process(fitted, tmp_path):
    folder = tmp_path / "deep" / "model"
    fitted.save(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".pt", ".txt"}
    again = S5Forecaster.load(folder)
    lists = {name: list(fitted.get_params()[name]) for name in ("known", "past", "static", "quantile_levels")}
    assert again.get_params() == {**fitted.get_params(), **lists}
    pd.testing.assert_frame_equal(again.predict(frame()), fitted.predict())
    with pytest.raises(ValueError, match=r"predict\(df\)"):
        again.predict()
    frame().to_csv(tmp_path / "new.csv", index=False)
    program = (
        "import sys, pandas as pd; from s5forecast import S5Forecaster\n"
        "df = pd.read_csv(sys.argv[2], parse_dates=['timestamp'])\n"
        "S5Forecaster.load(sys.argv[1]).predict(df).to_csv(sys.argv[3], index=False)"
    )
    out = tmp_path / "out.csv"
    command = [sys.executable, "-W", "error", "-c", program, str(folder), str(tmp_path / "new.csv"), str(out)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0 and run.stderr == "", run.stderr
    found = pd.read_csv(out, parse_dates=["timestamp"])
    pd.testing.assert_frame_equal(found, fitted.predict(), rtol=1e-6)


def test_the_autoregressive_estimator(tmp_path):
    data, history = frame(60 + H), frame(60)
    model = forecaster(model="autoregressive", known=["price"], static=["shop"]).fit(history)
    future = data.groupby("item_id").tail(H).drop(columns="target")
    found = model.predict(future=future, quantile_levels=[0.05, 0.5, 0.95])
    assert list(found.columns) == ["item_id", "timestamp", "mean", "0.05", "0.5", "0.95"]
    assert len(found) == 2 * H and (found["0.05"] <= found["0.95"]).all()
    paths = [f.samples for f in model.predictor_.predict(model.to_gluonts(history, future), num_samples=9)]
    assert [path.shape for path in paths] == [(9, H), (9, H)]
    model.save(tmp_path)
    again = S5Forecaster.load(tmp_path).predict(history, future=future, quantile_levels=[0.05, 0.5, 0.95])
    pd.testing.assert_frame_equal(again, found)


def test_known_covariates(fitted):
    model = forecaster(known=["price"]).fit(frame())
    future = frame(H, start="2024-01-03 12:00", seed=1)
    forecast = model.predict(future=future)
    changed = model.predict(future=future.assign(price=50.0))
    assert not np.allclose(forecast["mean"], changed["mean"])
    with pytest.raises(ValueError, match=r"\['price'\].*future="):
        model.predict()
    backtest = model.backtest(frame(), windows=2)
    assert len(backtest.forecasts) == 2 * 2 * H


def test_a_backtest_uses_a_model_not_trained_on_the_windows():
    df = frame(80)
    before = df[df["timestamp"] < df["timestamp"].iloc[80 - 2 * H]]
    model = forecaster().fit(before)
    result = model.backtest(df, windows=2)
    # The forecast of the first window is that of the fitted model, so it was not fitted again.
    first = result.forecasts[result.forecasts["cutoff"] == result.forecasts["cutoff"].min()]
    assert np.allclose(first["mean"], model.predict(before)["mean"], rtol=1e-5)
    assert list(result.metrics.index) == ["S5Forecaster"]
    assert {"WQL", "MASE", "fit_seconds", "predict_seconds"} <= set(result.metrics.columns)
    assert isinstance(plot_backtest(result), go.Figure)


def test_a_backtest_refits_a_model_trained_on_the_windows():
    df = frame(80)
    model = forecaster().fit(df)
    seen = model.predict()
    found = model.backtest(df, windows=2).forecasts
    before = df[df["timestamp"] < df["timestamp"].iloc[80 - 2 * H]]
    expected = forecaster().fit(before).backtest(df, windows=2).forecasts
    pd.testing.assert_frame_equal(found, expected)
    pd.testing.assert_frame_equal(model.predict(), seen)
    spoiled = df.copy()
    spoiled.loc[spoiled["timestamp"] >= df["timestamp"].iloc[80 - H], "target"] = 1e6
    changed = model.backtest(spoiled, windows=2).forecasts
    columns = ["item_id", "cutoff", "timestamp", "mean", *LEVELS]
    pd.testing.assert_frame_equal(changed[columns], found[columns])
    with pytest.raises(ValueError, match="use windows="):
        model.backtest(df, windows=30)


@pytest.mark.parametrize("freq", ["B", "MS", "QE-NOV", "W-TUE"])
@pytest.mark.parametrize("tz", [None, "America/New_York"])
def test_calendars_and_time_zones(freq, tz):
    df = frame(40, freq=freq, tz=tz).drop(columns=["price", "shop"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = forecaster().fit(df)
        forecast, result = model.predict(), model.backtest(df, windows=2)
    assert model.frequency_.alias == freq or freq == "QE-NOV"
    expected = pd.date_range(df["timestamp"].iloc[39], periods=H + 1, freq=freq)[1:]
    assert forecast["timestamp"].iloc[:H].tolist() == expected.tolist()
    window = result.forecasts.iloc[-H:]
    assert window["timestamp"].tolist() == df["timestamp"].iloc[40 - H : 40].tolist()
    assert (window["cutoff"] == df["timestamp"].iloc[40 - H - 1]).all()
    assert np.array_equal(window["target"], df["target"].iloc[-H:])


def test_a_single_series_with_other_column_names():
    df = frame(items=["x"])[["timestamp", "target"]].rename(columns={"timestamp": "ds", "target": "y"})
    model = forecaster(target="y", timestamp="ds").fit(df)
    forecast = model.predict()
    assert list(forecast.columns[:2]) == ["ds", "mean"]
    assert isinstance(model.plot(forecast), go.Figure)
    result = model.backtest(df)
    assert len(result.forecasts) == H and isinstance(plot_backtest(result), go.Figure)


def test_plots(fitted):
    forecast = fitted.predict()
    kept = forecast.copy()
    with pytest.raises(TypeError, match=r"items=\['b'\]"):
        fitted.plot(forecast, item_id="b")
    figure = fitted.plot(forecast)
    assert isinstance(figure, go.Figure) and len(figure.data) >= 3
    pd.testing.assert_frame_equal(forecast, kept)


def test_validation_data_stop_the_training():
    df = frame(90)
    cut = df["timestamp"].iloc[80]
    kwargs = {**SMALL, "max_epochs": 30, "lr": 1.0, "patience": 1}
    model = forecaster(estimator_kwargs=kwargs).fit(df[df["timestamp"] < cut], validation=df)
    assert np.isfinite(model.predict()["mean"]).all()


def test_a_backtest_refits_a_model_validated_on_the_windows():
    df = frame(90)
    early = df[df["timestamp"] < df["timestamp"].iloc[86]]
    chosen = forecaster().fit(early, validation=df)
    before = chosen.predictor_
    found = chosen.backtest(df).forecasts
    expected = forecaster().fit(early).backtest(df).forecasts
    pd.testing.assert_frame_equal(found, expected)
    assert chosen.predictor_ is before


def test_backtest_errors_are_raised_before_training(monkeypatch):
    model, df = forecaster(known=["price"]), frame(60)
    monkeypatch.setattr(S5Forecaster, "fit", None)
    for arguments, message in (
        ({"metrics": ["nope"]}, "nope"),
        ({"metrics": ["coverage_95"]}, "0.025"),
        ({"windows": 0}, "windows=0"),
        ({"step": 0}, "step=0"),
    ):
        with pytest.raises(ValueError, match=message):
            model.backtest(df, **arguments)


def test_callbacks_are_not_saved(tmp_path):
    callback = Callback()
    kwargs = {**SMALL, "trainer_kwargs": {"callbacks": [callback], "max_epochs": 1}}
    model = forecaster(estimator_kwargs=kwargs, static=pd.Index(["shop"])).fit(frame())
    with pytest.warns(UserWarning, match=r"trainer_kwargs \['callbacks'\] are not saved"):
        model.save(tmp_path)
    assert model.estimator_kwargs["trainer_kwargs"]["callbacks"] == [callback]
    assert S5Forecaster.load(tmp_path).estimator_kwargs["trainer_kwargs"] == {"max_epochs": 1}
    text = (tmp_path / "forecaster.json").read_text()
    (tmp_path / "forecaster.json").write_text(
        text.replace(f'"format_version": {FORECASTER_FORMAT}', '"format_version": 99')
    )
    with pytest.raises(ValueError, match="later version"):
        S5Forecaster.load(tmp_path)


def test_scikit_learn_conventions(fitted):
    model = forecaster(seed=3)
    copy = clone(model).set_params(prediction_length=7)
    assert copy.get_params()["seed"] == 3 and copy.prediction_length == 7 and model.prediction_length == H
    assert copy.estimator_kwargs == SMALL and copy.estimator_kwargs is not SMALL
    assert model.fit(frame()) is model
    with pytest.raises(NotFittedError, match="call fit"):
        copy.predict(frame())
    for unfitted in (copy, clone(fitted)):
        with pytest.raises(NotFittedError):
            check_is_fitted(unfitted)
    check_is_fitted(fitted)
    check_is_fitted(fitted, "predictor_")
    with pytest.raises(ValueError, match="unknown parameter 'horizn'"):
        copy.set_params(horizn=3)


def test_scikit_learn_utilities(fitted):
    assert is_regressor(fitted) is False and get_tags(fitted).target_tags.required is False
    pipeline = Pipeline([("forecaster", forecaster(seed=3))]).set_params(forecaster__seed=4)
    assert pipeline.get_params()["forecaster__seed"] == 4 and pipeline.named_steps["forecaster"].seed == 4
    grid = list(ParameterGrid({"seed": [1, 2], "prediction_length": [3]}))
    assert [clone(fitted).set_params(**one).get_params()["seed"] for one in grid] == [1, 2]


def test_repr_shows_changed_parameters():
    assert repr(S5Forecaster()) == "S5Forecaster()"
    assert repr(S5Forecaster(3, freq=None, known=["x"])) == "S5Forecaster(prediction_length=3, freq=None, known=['x'])"


def test_a_summary_lists_every_choice(fitted, tmp_path):
    table = fitted.summary()
    assert list(table.columns) == ["value", "given", "reason"] and set(fitted.get_params()) <= set(table.index)
    assert table.loc["prediction_length", "value"] == H and table.loc["prediction_length", "given"]
    assert not table.loc["seed", "given"] and table.loc["frequency", "value"] == "h"
    assert table.loc["num_series", "value"] == 2 and table.loc["output", "value"] == type(fitted.output_).__name__
    count = sum(one.numel() for one in fitted.predictor_.prediction_net.parameters())
    assert table.loc["num_network_parameters", "value"] == count > 0
    fitted.save(tmp_path)
    pd.testing.assert_frame_equal(S5Forecaster.load(tmp_path).summary(), table)


def test_a_summary_shows_automatic_choices_with_their_reasons(fitted, monkeypatch):
    choice = {"value": 4, "reason": "a day in six patches", "given": False}
    monkeypatch.setattr(fitted.predictor_, "choices", {"patch_length": choice})
    assert fitted.summary().loc["patch_length"].tolist() == [4, False, "a day in six patches"]


def test_a_summary_shows_the_choices_of_ensembles_and_joint_models():
    ensemble = forecaster(seed=3, estimator_kwargs={**SMALL, "num_members": 2}).fit(frame()).summary()
    assert not ensemble.loc["patch_length", "given"] and ensemble.loc["patch_length", "reason"]
    assert ensemble.loc["lags_seq", "value"] == SMALL["lags_seq"] and ensemble.loc["lags_seq", "given"]
    joint = forecaster(model="multivariate").fit(frame()).summary()
    assert joint.loc["context_length", "value"] == SMALL["context_length"]


HEAVY = {"sklearn", "lightning", "gluonts.torch", "plotly", "scipy", "statsforecast", "joblib"}


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        ("s5forecast.forecaster", {"torch", *HEAVY}),
        ("s5forecast.forecaster_files", {"s5forecast.estimators.base", "s5forecast.evaluation", *HEAVY}),
    ],
)
def test_modules_that_import_quickly(modules, heavy):
    program = f"import sys, {modules}; assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_the_same_seed_gives_the_same_forecast():
    first, second, other = (forecaster(seed=s).fit(frame()).predict() for s in (0, 0, 1))
    pd.testing.assert_frame_equal(first, second)
    assert not first["mean"].equals(other["mean"])


def test_frames_are_not_changed(fitted):
    df = frame().sample(frac=1, random_state=0)
    kept = df.copy(deep=True)
    forecaster().fit(df).backtest(df)
    fitted.predict(df)
    pd.testing.assert_frame_equal(df, kept)


def test_no_output_and_no_files(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    model = forecaster().fit(frame())
    model.predict()
    model.backtest(frame())
    assert os.listdir(tmp_path) == [] and capfd.readouterr() == ("", "")
    forecaster(verbose=True).fit(frame())
    assert "2/2" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"prediction_length": 0}, "prediction_length"),
        ({"prediction_length": 2.5}, "prediction_length"),
        ({"horizon": "3h"}, "^horizon='3h' requires .*freq=None, or, for regular series, pass prediction_length="),
        ({"aggregate": "mean"}, "^aggregate='mean' requires .*freq=None, or, for regular series, leave out aggregate="),
        (
            {"target": ["target", "price"]},
            r"^target=\['target', 'price'\] requires .*freq=None, or, .* one target",
        ),
        ({"freq": "x"}, "15min"),
        ({"quantile_levels": [0.0]}, "between 0 and 1"),
        ({"model": "oracle"}, "'direct'"),
        ({"known": "price"}, "lists of column names"),
        ({"known": None}, "lists of column names"),
        ({"known": ["target"]}, r"\['target'\] have several"),
        ({"known": ["price"], "static": ["price"]}, r"\['price'\] have several"),
        ({"quantile_levels": ["0.1"]}, "between 0 and 1"),
        ({"estimator_kwargs": {"seed": 3}}, "S5Forecaster sets"),
        ({"target": "sales"}, "no column 'sales'"),
        ({"estimator_kwargs": {"distr_output": "x"}}, "'quantile'"),
        ({"estimator_kwargs": {"scaling": "x"}}, "'standard'"),
        ({"estimator_kwargs": {"layer": "x"}}, "'s5'"),
        ({"estimator_kwargs": {"widht": 8}}, "widht.*width"),
    ],
)
def test_bad_arguments(argument, message):
    with pytest.raises(ValueError, match=message):
        forecaster(**argument).fit(frame())


def test_another_frequency_at_prediction(fitted):
    with pytest.raises(ValueError, match="series 'b'"):
        fitted.predict(frame(30, freq="17min"))


def test_an_embedded_data_set():
    df = load_dataset("nyc_weather_hourly")
    df = df[df["item_id"].isin(df["item_id"].unique()[:2])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        forecast = forecaster(static=["station", "variable"]).fit(df).predict()
    assert len(forecast) == 2 * H


def test_calibration_changes_later_forecasts_and_is_saved(tmp_path):
    columns = {"item_id": "unique_id", "timestamp": "ds"}
    data = frame(steps=200).rename(columns=columns)
    model = forecaster(**columns).fit(data[data["ds"] < data["ds"].iloc[140]])
    history = data[data["ds"] < data["ds"].iloc[184]]
    raw = model.predict(history)
    predictor = model.predictor_
    calibrated = model.calibrate(history, windows=10).predict(history)
    assert model.predictor_ is predictor
    assert list(calibrated.columns) == list(raw.columns) and (calibrated[LEVELS] != raw[LEVELS]).any(axis=None)
    assert (np.diff(calibrated[LEVELS], axis=1) >= 0).all()
    pd.testing.assert_frame_equal(calibrated.drop(columns=LEVELS), raw.drop(columns=LEVELS))
    model.save(tmp_path)
    pd.testing.assert_frame_equal(S5Forecaster.load(tmp_path).predict(history), calibrated)
    assert list(model.predict(history, quantile_levels=[0.9, 0.1]).columns[-2:]) == ["0.9", "0.1"]
    with pytest.raises(ValueError, match="calibrated at the levels"):
        model.predict(history, quantile_levels=[0.95])
    first = model.backtest(data, windows=4).forecasts.groupby("unique_id", sort=False).head(H)
    np.testing.assert_allclose(first[LEVELS], calibrated[LEVELS])
    same = compare({"calibrated": model}, data, H, windows=4).backtests["calibrated"].forecasts
    pd.testing.assert_frame_equal(same, model.backtest(data, windows=4).forecasts)
    plain = forecaster(**columns).fit(data[data["ds"] < data["ds"].iloc[176]])
    found, expected = (one.backtest(data, windows=6).forecasts for one in (model, plain))  # seen in calibration
    pd.testing.assert_frame_equal(found, expected)
    assert not hasattr(model.fit(history), "calibrator_")


def test_an_interrupted_backtest_resumes_and_refits(tmp_path, monkeypatch):
    model, df = forecaster(), frame(80)
    result = model.backtest(df, windows=3, refit=True, directory=tmp_path)
    assert len(list(tmp_path.glob("origin_*"))) == 3
    cutoffs = result.forecasts["cutoff"].unique()
    for window, cutoff in enumerate(cutoffs):
        last = model.fit(df[df["timestamp"] <= cutoff]).predict()
        found = result.forecasts[result.forecasts["cutoff"] == cutoff]
        np.testing.assert_allclose(found[LEVELS], last[LEVELS], rtol=1e-5, err_msg=str(window))
    monkeypatch.setattr(S5Forecaster, "fit", None)
    again = forecaster().backtest(df, windows=3, refit=True, directory=tmp_path)
    pd.testing.assert_frame_equal(again.forecasts, result.forecasts)


def test_step_scale_forecasts_quarter_hours():
    hourly = forecaster(known=["price"], static=["shop"], estimator_kwargs={**SMALL, "patch_length": 1}).fit(frame())
    quarters = frame(240, freq="15min", tz="Europe/Berlin", start="2024-03-30")
    before, after = (part for _, part in quarters.groupby(quarters["timestamp"] >= "2024-03-31 02:00+01:00"))
    forecast = hourly.predict(before, future=after, step_scale=0.25)
    assert list(forecast.columns) == ["item_id", "timestamp", "mean", *LEVELS]
    ahead = [after.loc[after["item_id"] == item, "timestamp"].iloc[: 4 * H] for item in "ba"]
    assert forecast["timestamp"].tolist() == pd.concat(ahead).tolist()
    assert (forecast[LEVELS].diff(axis=1).iloc[:, 1:] >= 0).all(axis=None) and np.isfinite(forecast["mean"]).all()
    assert (
        hourly.frequency_.alias == "h" and len(hourly.predict(frame(), future=frame(H, start="2024-01-03 12:00"))) == 8
    )
    same = hourly.predict(frame(), future=frame(H, start="2024-01-03 12:00"), step_scale=1.0)
    assert len(same) == 2 * H


def test_step_scale_errors(fitted):
    with pytest.raises(ValueError, match="1 / k for a whole number k"):
        fitted.predict(frame(), step_scale=2.0)
    with pytest.raises(ValueError, match="requires histories in steps of '15min'"):
        fitted.predict(step_scale=0.25)
    calibrated = forecaster(freq="h", estimator_kwargs={**SMALL, "patch_length": 1}).fit(frame())
    calibrated.calibrate(frame(100), windows=10)
    with pytest.raises(ValueError, match="use step_scale with a forecaster that is not calibrated"):
        calibrated.predict(frame(240, freq="15min"), step_scale=0.25)
    joint = forecaster(freq="h", model="multivariate", estimator_kwargs={**SMALL}).fit(frame())
    with pytest.raises(ValueError, match="use S5Estimator to forecast at another one"):
        joint.predict(frame(240, freq="15min"), step_scale=0.25)


def test_gaps_of_a_frame_can_be_skipped(tmp_path):
    holed = frame().drop(index=[3, 4, 5, 50, 58, 70])
    with pytest.warns(UserWarning, match="absent from the 'h' grid"):
        skipping = forecaster(freq="h", estimator_kwargs={**SMALL, "missing": "skip"}).fit(holed)
    expected = skipping.predict()
    assert np.isfinite(expected[["mean", *LEVELS]].to_numpy()).all()
    skipping.save(tmp_path)
    with pytest.warns(UserWarning, match="absent from the 'h' grid"):
        pd.testing.assert_frame_equal(S5Forecaster.load(tmp_path).predict(holed), expected)


def test_rows_without_a_target_at_the_end_of_every_series_are_reported():
    df, message = frame(), r"the last 14 rows have no target in each of the 2 series, .*, from 2024-01-03 12:00:00; "
    open_ended = df.assign(target=df["target"].where(df.groupby("item_id").cumcount() < 46))
    with pytest.warns(UserWarning, match=message + "leave out rows without a target") as caught:
        plain = forecaster().fit(open_ended)
    assert len(caught) == 1 and caught[0].filename == __file__
    few = pytest.warns(UserWarning, match="fewer than 4 values were observed in the context of series 'b', 'a'")
    with few, pytest.warns(UserWarning, match=message) as caught:
        plain.predict(open_ended)
    assert len(caught) == 2 and all(one.filename == __file__ for one in caught)
    with pytest.warns(UserWarning, match=message + "pass future rows as future= instead"):
        model = forecaster(known=["price"]).fit(open_ended)
    for ask in (model.predict, lambda: model.predict(open_ended)):
        with pytest.raises(ValueError, match=r"\['price'\] are required.*pass them as future=; " + message):
            ask()
    outage = df.assign(target=df["target"].where((df["item_id"] == "b") | (df.groupby("item_id").cumcount() < 46)))
    with pytest.warns(UserWarning, match="in the context of series 'a'; their location"):
        forecaster().fit(outage).predict(outage)
    with pytest.warns(UserWarning, match="the last row has no target in the series, .*, from 2024-01-03 12:00:00"):
        plain.predict(df[df["item_id"] == "a"].iloc[:, 1:].assign(target=[1.0] * 59 + [np.nan]))


def test_short_histories_are_reported(fitted, tmp_path):
    short = frame().groupby("item_id").tail(5)
    message = r"series 'b' has 5 rows, fewer than the 12 of the context \(2 of 2 series are too short\); pass the whole"
    fitted.save(tmp_path)
    loaded = S5Forecaster.load(tmp_path)
    assert loaded.shortest_series_ == 60
    for model in (fitted, loaded):
        with pytest.warns(UserWarning, match=message) as caught:
            model.predict(short)
        assert len(caught) == 1 and caught[0].filename == __file__
        model.predict(frame().groupby("item_id").tail(12))
    state = json.loads((tmp_path / "forecaster.json").read_text())
    state.pop("shortest_series")  # as in files of earlier versions
    (tmp_path / "forecaster.json").write_text(json.dumps(state))
    S5Forecaster.load(tmp_path).predict(short)
    one_of_two = pd.concat([frame().query("item_id == 'b'"), frame().query("item_id == 'a'").tail(4)])
    with pytest.warns(UserWarning, match="series 'a' has 4 rows, fewer than the 12 of the context; pass"):
        fitted.predict(one_of_two)
    trained_on_short = forecaster().fit(frame(8))
    trained_on_short.predict(frame(8))
    with pytest.warns(UserWarning, match="has 7 rows, fewer than the 12"):
        trained_on_short.predict(frame(7))


def test_short_histories_of_ensembles_joint_models_and_finer_steps_are_reported():
    members = {**SMALL, "num_members": 2, "patch_length": 1}
    for kwargs in ({"estimator_kwargs": members}, {"model": "multivariate"}):
        model = forecaster(freq="h", **kwargs).fit(frame())
        with pytest.warns(UserWarning, match="series 'b' has 5 rows, fewer than the 12 of the context"):
            model.predict(frame(5))
    finer = forecaster(freq="h", estimator_kwargs={**SMALL, "patch_length": 1}).fit(frame())
    with pytest.warns(UserWarning, match="series 'b' has 47 rows, fewer than the 48 of the context"):
        finer.predict(frame(47, freq="15min"), step_scale=0.25)
