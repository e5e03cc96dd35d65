"""S5Forecaster with covariates of every kind: known, past and static, numbers and categories, holidays and weights."""

import numpy as np
import pandas as pd
import pytest

from s5forecast import S5Estimator, S5Forecaster, backtest

H = 4
SMALL = dict(
    width=8, num_layers=1, state_size=4, context_length=12, lags_seq=[1, 6],
    max_epochs=1, num_batches_per_epoch=2, batch_size=4, device="cpu",
)  # fmt: skip
CAUSAL = {**SMALL, "layer_kwargs": {"bidirectional": False}, "patch_length": 1}
IRREGULAR = {name: SMALL[name] for name in SMALL if name != "lags_seq"}
KINDS = {"known": ["price", "event", "open"], "past": ["sky", "wind"], "static": ["shop"]}


def frame(steps=60, items=("b", "a"), tz="Europe/Paris"):
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame(
            {
                "item_id": item,
                "timestamp": pd.date_range("2024-12-20", periods=steps, freq="6h", tz=tz),
                "target": rng.normal(5, 1, steps),
                "price": rng.normal(size=steps),
                "event": rng.choice(["none", "sale", None], steps),
                "open": rng.random(steps) < 0.5,
                "sky": pd.Categorical(rng.choice(["sun", "rain"], steps)),
                "wind": np.where(rng.random(steps) < 0.2, np.nan, rng.random(steps)),
                "shop": f"shop {item}",
                "importance": 1.0 + (item == "a"),
            }
        )
        for item in items
    ]
    return pd.concat(parts, ignore_index=True)


def split(df, ahead=H):
    number = df.groupby("item_id").cumcount(ascending=False)
    return df[number >= ahead], df[number < ahead]


def forecaster(**kwargs):
    return S5Forecaster(**{"prediction_length": H, "verbose": False, "estimator_kwargs": SMALL, **KINDS, **kwargs})


def irregular(**kwargs):
    given = {"prediction_length": H, "freq": None, "horizon": "2D", "estimator_kwargs": IRREGULAR, **KINDS, **kwargs}
    return S5Forecaster(**given, verbose=False)


@pytest.fixture(scope="module")
def fitted():
    return forecaster(weight="importance").fit(split(frame())[0])


def values(forecast):
    return forecast.select_dtypes("number").to_numpy()


def test_a_forecast_uses_every_known_column(fitted):
    history, future = split(frame())
    expected = fitted.predict(future=future)
    assert np.isfinite(values(expected)).all()
    pd.testing.assert_frame_equal(fitted.predict(history.drop(columns="importance"), future), expected)
    for column, value in {"price": 3.0, "event": "sale", "open": ~future["open"]}.items():
        assert not np.allclose(values(fitted.predict(future=future.assign(**{column: value}))), values(expected))
    for column, value in {"sky": "sun", "wind": 9.0}.items():
        pd.testing.assert_frame_equal(fitted.predict(future=future.assign(**{column: value})), expected)
        assert not np.allclose(values(fitted.predict(history.assign(**{column: value}), future)), values(expected))


def test_labels_may_have_another_dtype_than_in_training(fitted):
    future = split(frame())[1]
    others = {"event": future["event"].astype("category"), "open": future["open"].astype(float)}
    pd.testing.assert_frame_equal(fitted.predict(future=future.assign(**others)), fitted.predict(future=future))


def test_a_saved_forecaster_keeps_the_encoding(fitted, tmp_path):
    history, future = split(frame())
    fitted.save(tmp_path)
    loaded = S5Forecaster.load(tmp_path)
    assert loaded.statics_ == fitted.statics_ and list(loaded.statics_.known) == KINDS["known"]
    pd.testing.assert_frame_equal(loaded.predict(history, future), fitted.predict(future=future))


def test_entries_give_the_same_forecasts(fitted):
    history, future = split(frame())
    entries = fitted.to_gluonts(history, future)
    assert np.shape(entries[0]["feat_dynamic_cat"]) == (2, 60) and np.shape(entries[0]["past_feat_dynamic_cat"]) == (
        1,
        56,
    )
    mean, _ = fitted.predictor_.predict_quantiles(entries, [0.5])
    np.testing.assert_allclose(mean.ravel(), fitted.predict(future=future)["mean"], rtol=1e-5)


def test_known_columns_may_end_before_the_horizon(fitted):
    history, future = split(frame())
    with pytest.warns(UserWarning, match="series 'b' and 1 other series: the known covariates .* masked") as found:
        short = fitted.predict(history, future.groupby("item_id").head(H - 1))
    assert len(found) == 1
    last = future.groupby("item_id").cumcount() == H - 1
    masked = future.assign(**{name: future[name].astype(object).mask(last, None) for name in KINDS["known"]})
    with pytest.warns(UserWarning, match="masked"):
        pd.testing.assert_frame_equal(fitted.predict(history, masked.astype({"price": float})), short)
    with pytest.raises(ValueError, match="series 'a': future= has no rows for it"):
        fitted.predict(history, future[future["item_id"] == "b"])


def leaking(df, ahead=H):
    """A frame whose past column is the target, and the same with other values in the window to forecast."""
    leak = df.assign(wind=df["target"])
    ahead = leak.groupby("item_id").cumcount(ascending=False) < ahead
    return leak, leak.assign(wind=leak["wind"].mask(ahead, 99.0), sky=leak["sky"].mask(ahead, "sun"))


@pytest.mark.parametrize("model", ["direct", "autoregressive"])
def test_past_columns_are_cut_at_the_origin_of_a_backtest(model):
    model = forecaster(model=model)
    one, other = (model.backtest(df).forecasts.drop(columns="target") for df in leaking(frame()))
    pd.testing.assert_frame_equal(one, other)


def test_past_columns_are_cut_at_the_origin_for_irregular_series():
    one, other = (irregular().backtest(df, count=H).forecasts.drop(columns="target") for df in leaking(frame()))
    pd.testing.assert_frame_equal(one, other)


def test_past_fields_of_entries_are_cut_at_the_origin(fitted):
    entries = [fitted.to_gluonts(df) for df in leaking(frame())]
    estimator = S5Estimator(
        "6h", H, num_feat_dynamic_real=1, num_past_feat_dynamic_real=1, dynamic_cardinalities=[2, 2],
        past_dynamic_cardinalities=[2], **SMALL, trainer_kwargs={"enable_progress_bar": False},
    )  # fmt: skip
    one, other = (backtest(estimator, data, H).forecasts.drop(columns="target") for data in entries)
    pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("holidays", [None, "FR"])
def test_streams_have_the_same_covariates(holidays):
    if holidays:
        pytest.importorskip("holidays", reason="the extra holidays is not installed")
    history, future = split(frame())
    early, late = split(history, 8)
    model = forecaster(estimator_kwargs=CAUSAL, holidays=holidays).fit(history)
    expected = values(model.predict(future=future))
    np.testing.assert_allclose(values(model.stream(history).predict(future)), expected, rtol=1e-4)
    one_by_one = model.stream(early)
    for _, rows in late.groupby("timestamp"):
        one_by_one.update(rows.drop(columns=["shop", "importance"]))
    found = values(model.stream(early).update(late).predict(future))
    np.testing.assert_allclose(values(one_by_one.predict(future)), found, rtol=1e-4)
    for column in ("event", "sky"):
        other = model.stream(early).update(late.assign(**{column: None}))
        assert not np.allclose(values(other.predict(future)), found)


def test_streams_need_no_weights():
    history, future = split(frame())
    early, late = split(history.drop(columns="importance"), 8)
    model = forecaster(estimator_kwargs=CAUSAL, weight="importance").fit(history)
    found = values(model.stream(early).update(late).predict(future))
    weighted = model.stream(split(history, 8)[0]).update(late)
    np.testing.assert_array_equal(values(weighted.predict(future)), found)


def test_irregular_series_have_the_same_covariates(tmp_path):
    history, future = split(frame())
    model = irregular().fit(history)
    times = future[["item_id", "timestamp", *KINDS["known"]]]
    expected = model.predict(times=times)
    assert not np.allclose(values(model.predict(times=times.assign(event="sale"))), values(expected))
    model.save(tmp_path)
    pd.testing.assert_frame_equal(S5Forecaster.load(tmp_path).predict(history, times=times), expected)
    early, late = split(history, 8)
    found = model.stream(history).predict(times=times)
    np.testing.assert_allclose(values(found), values(expected), rtol=1e-4)
    model.stream(early).update(late.drop(columns="shop")).predict(times=times)
    with pytest.warns(UserWarning, match=r"the known covariates \['price'\] are missing .* masked"):
        model.predict(times=times.assign(price=np.nan))


def test_labels_that_are_unknown_over_the_horizon(fitted):
    history, future = split(frame())
    with pytest.warns(UserWarning, match="no value of the column 'event' is a category of the training") as caught:
        fitted.predict(history, future.assign(event="Sale"))
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="no value of the column 'event' is a category of the training"):
        irregular().fit(history).predict(times=future.assign(event="Sale"))


def test_weights_have_no_unit_and_change_only_the_training():
    history, future = split(frame())
    kwargs = {"estimator_kwargs": {**SMALL, "synthetic_share": 0.0}}
    plain, weighted = forecaster(**kwargs), forecaster(**kwargs, weight="importance")
    expected = values(plain.fit(history).predict(future=future))
    same = weighted.fit(history.assign(importance=3.0)).predict(future=future)
    np.testing.assert_array_equal(values(same), expected)
    assert not np.allclose(values(weighted.fit(history).predict(future=future)), expected)
    assert weighted.predictor_.spec.typical == plain.predictor_.spec.typical
    with pytest.raises(ValueError, match="has no column 'importance'"):
        forecaster(weight="importance").fit(history.drop(columns="importance"))


def test_a_series_without_weight_does_not_change_the_network():
    """The values of series b are doubled in the second training, which its weight of 0 hides."""
    history = split(frame())[0]
    history = history.assign(importance=(history["item_id"] == "a").astype(float))
    other = history.assign(target=history["target"].where(history["item_id"] == "a", 2 * history["target"]))
    kwargs = {"estimator_kwargs": {**SMALL, "scaling": "none", "synthetic_share": 0.0}, "weight": "importance"}
    found = [forecaster(**kwargs).fit(df).predictor_.network.state_dict() for df in (history, other)]
    for name, tensor in found[0].items():
        np.testing.assert_array_equal(tensor, found[1][name])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"model": "multivariate", "static": ()}, "takes no categorical covariates.*'event'.*model='direct'"),
        ({"model": "multivariate", "known": (), "past": (), "static": (), "weight": "importance"}, "weight="),
        ({"model": "multivariate"}, "takes no static features; .*, or use model='direct' or 'autoregressive'$"),
        ({"preset": "zero_shot"}, "uses no covariates.*known=.*past=.*static="),
        ({"preset": "fine_tuned", "known": (), "static": ()}, "uses no covariates.*past="),
        ({"preset": "fine_tuned", "known": (), "past": (), "static": (), "weight": "importance"}, "weight="),
        ({"preset": "zero_shot", "known": (), "past": (), "static": (), "weight": "importance"}, "weight='importance'"),
        ({"freq": None, "horizon": "2D", "weight": "importance"}, "weight='importance' requires regular series"),
        ({"past": ["price"]}, r"\['price'\] have several"),
        ({"past": "wind"}, "must be lists of column names"),
    ],
)  # fmt: skip
def test_models_that_cannot_use_a_kind_name_those_that_can(monkeypatch, arguments, message):
    monkeypatch.setattr("lightning.pytorch.Trainer.fit", None)
    with pytest.raises(ValueError, match=message):
        forecaster(**arguments).fit(split(frame())[0])


def test_joint_series_have_past_columns_of_numbers():
    model = forecaster(model="multivariate", known=["price"], past=["wind"], static=())
    one, other = (model.backtest(df).forecasts.drop(columns="target") for df in leaking(frame()))
    pd.testing.assert_frame_equal(one, other)


def test_holidays_are_known_over_the_horizon(tmp_path):
    pytest.importorskip("holidays", reason="the extra holidays is not installed")
    df = frame(24)[["item_id", "timestamp", "target"]]
    model = forecaster(known=(), past=(), static=(), holidays="FR").fit(df)
    assert model.predictor_.spec.features.num_known == 2
    model.save(tmp_path)
    pd.testing.assert_frame_equal(S5Forecaster.load(tmp_path).predict(df), model.predict())
    assert np.isfinite(model.backtest(df).metrics.to_numpy(dtype=float)[:, :2]).all()
