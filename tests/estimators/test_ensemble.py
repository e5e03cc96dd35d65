"""EnsembleEstimator: averages of members with different seeds and contexts."""

import numpy as np
import pandas as pd
import pytest
from gluonts.model.predictor import Predictor

from s5forecast import S5Forecaster
from s5forecast.estimators import EnsembleEstimator, EnsemblePredictor
from s5forecast.estimators.items import joint_entry

LEVELS = [0.1, 0.5, 0.9]


def test_quantiles_are_the_averages_of_those_of_single_trainings(make_one, data):
    data = [{**entry, "target": entry["target"] + 0.5} for entry in data]
    together = EnsembleEstimator(make_one(seed=3), 2, context_shares=[1.0]).train(iter(data), iter(data))
    alone = [make_one(seed=seed).train(data, data) for seed in (3, 4)]
    mean, quantiles = together.predict_quantiles(data, LEVELS)
    singles = [predictor.predict_quantiles(data, LEVELS) for predictor in alone]
    assert np.abs(singles[0][1] - singles[1][1]).max() > 1e-3
    np.testing.assert_allclose(mean, (singles[0][0] + singles[1][0]) / 2)
    np.testing.assert_allclose(quantiles, (singles[0][1] + singles[1][1]) / 2)
    for forecast, m, q, entry in zip(together.predict(iter(data)), mean, quantiles, data, strict=True):
        assert forecast.item_id == entry["item_id"] and forecast.info == entry.get("info")
        assert forecast.mean.dtype == np.float32
        np.testing.assert_allclose(forecast.mean, m, rtol=1e-5)
        np.testing.assert_allclose([forecast.quantile(level) for level in LEVELS], q.T, rtol=1e-5)


def test_members_have_contexts_of_different_lengths(make_one, data):
    one = make_one(context_length=12)
    together = EnsembleEstimator(one, 4).train(data)
    contexts = [member.network.spec.context_length for member in together.members]
    assert contexts == [12, 6, 12, 12]  # three steps would be shorter than the horizon of four
    assert together.choices["members.1.context_length"] == {
        "value": 6, "reason": "6 of 12 steps, by context_shares", "given": False,
    }  # fmt: skip
    assert "lags_seq" in together.choices and "context_length" not in together.choices
    _, shorter = make_one(context_length=6, seed=one.seed + 1).train(data).predict_quantiles(data, LEVELS)
    np.testing.assert_array_equal(together.members[1].predict_quantiles(data, LEVELS)[1], shorter)
    first, *_, last = (member.predict_quantiles(data, LEVELS)[1] for member in together.members)
    assert np.abs(first - last).max() > 1e-3
    for bad in ([], [0.0], [1.0, -0.5], [np.nan], [np.inf]):
        with pytest.raises(ValueError, match="context_shares"):
            EnsembleEstimator(one, context_shares=bad)


def test_members_of_equal_contexts_start_from_a_predictor(make_one, data):
    one = make_one(context_length=12)
    before = one.train(data)
    with pytest.raises(ValueError, match=r"different contexts .* context_shares=\[1.0\]"):
        EnsembleEstimator(one).train(data, from_predictor=before)
    assert len(EnsembleEstimator(one, 2).train(data, from_predictor=None).members) == 2
    together = EnsembleEstimator(one, context_shares=[1.0]).train(data, from_predictor=before)
    assert len(together.members) == 3


def test_quantiles_of_counts_are_whole_numbers(make_one, data):
    _, quantiles = EnsembleEstimator(make_one(), num_members=2).train(data).predict_quantiles(data, LEVELS)
    assert (quantiles == np.rint(quantiles)).all() and (np.diff(quantiles) >= 0).all()


def test_ensemble_of_distributions_is_saved_and_loaded(make_one, data, tmp_path):
    together = EnsembleEstimator(make_one(distr_output="student_t"), num_members=2).train(data)
    together.serialize(tmp_path)
    loaded = Predictor.deserialize(tmp_path)
    for before, after in zip(together.predict(data), loaded.predict(data), strict=True):
        np.testing.assert_array_equal(before.quantile(0.3), after.quantile(0.3))


def test_members_need_one_horizon(make_one, data):
    with pytest.raises(ValueError, match=r"one prediction_length, got \[\]"):
        EnsemblePredictor([])
    members = [make_one(prediction_length=horizon).train(data) for horizon in (3, 4)]
    with pytest.raises(ValueError, match=r"one prediction_length, got \[3, 4\]"):
        EnsemblePredictor(members)
    with pytest.raises(ValueError, match="num_members"):
        EnsembleEstimator(make_one(), num_members=0)


SMALL = dict(context_length=12, width=8, num_layers=1, state_size=4, max_epochs=1, num_batches_per_epoch=2)


def frame(items=("a",), length=90):
    times = pd.date_range("2024-01-01", periods=length, freq="h")
    parts = [
        pd.DataFrame(
            {"item_id": item, "timestamp": times, "target": np.sin(np.arange(length) * np.pi / 3) + 0.01 * number}
        )
        for number, item in enumerate(items)
    ]
    return pd.concat(parts, ignore_index=True)


def test_forecaster_trains_members(tmp_path):
    df = frame().drop(columns="item_id")
    forecaster = S5Forecaster(4, "h", verbose=False, estimator_kwargs={**SMALL, "num_members": 2}).fit(df)
    assert len(forecaster.predictor_.members) == 2
    summary = forecaster.summary()
    assert summary.loc["members.1.context_length"].tolist() == [6, False, "6 of 12 steps, by context_shares"]
    assert summary.loc["lags_seq", "reason"] and summary.loc["loss", "value"] == "quantile"
    forecaster.save(tmp_path)
    loaded = S5Forecaster.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.predict(df), forecaster.predict())
    pd.testing.assert_frame_equal(loaded.summary(), summary)
    with pytest.raises(ValueError, match="num_members"):
        S5Forecaster(4, "h", estimator_kwargs={**SMALL, "num_members": 0}).fit(df)


@pytest.mark.parametrize(("model", "items"), [("autoregressive", ("a",)), ("multivariate", ("a", "b"))])
def test_paths_are_pooled(model, items, tmp_path):
    df, small = frame(items), {**SMALL, "num_parallel_samples": 10, "num_members": 3}
    forecaster = S5Forecaster(4, "h", model=model, verbose=False, estimator_kwargs=small).fit(df)
    members = getattr(forecaster.predictor_, "predictor", forecaster.predictor_).members
    levels = [round(rank / 29, 6) for rank in range(1, 29)]
    found = forecaster.predict(quantile_levels=levels)
    entries = forecaster.to_gluonts(df)
    if model == "multivariate":
        entries = [joint_entry(entries, items)]
    drawn = np.concatenate([next(iter(member.predict(entries))).samples for member in members])
    expected = np.sort(drawn.reshape(30, 4, len(items)), axis=0)[1:-1].transpose(2, 1, 0).reshape(-1, 28)
    np.testing.assert_allclose(found.iloc[:, 3:], expected, rtol=1e-6)
    samples = forecaster.predict_samples(num_samples=7).filter(like="sample_")
    assert samples.shape == (4 * len(items), 7)
    first = np.concatenate([next(iter(m.predict(entries, n))).samples for m, n in zip(members, (3, 2, 2), strict=True)])
    np.testing.assert_allclose(samples, first.reshape(7, 4, len(items)).transpose(2, 1, 0).reshape(-1, 7), rtol=1e-6)
    forecaster.save(tmp_path)
    pd.testing.assert_frame_equal(S5Forecaster.load(tmp_path).predict(df), forecaster.predict())


def test_quantiles_of_irregular_series_are_averaged(tmp_path):
    df = frame(("a", "b"))
    df["other"] = df["target"] ** 2
    given = {"horizon": "6h", "target": ["target", "other"], "verbose": False}
    small = {name: value for name, value in SMALL.items() if name != "lags_seq"} | {"num_members": 2}
    forecaster = S5Forecaster(freq=None, **given, estimator_kwargs=small).fit(df)
    times = pd.DataFrame({"item_id": ["a", "b"], "timestamp": pd.to_datetime(["2024-01-04 20:30", "2024-01-04 22:00"])})
    found = forecaster.predict(times=times)
    entries = forecaster._queries(None, None, times)[1]
    members = [next(iter(member.predict(entries))) for member in forecaster.predictor_.members]
    average = np.mean([member.quantile(0.3) for member in members], axis=0)[0]
    np.testing.assert_allclose(found.loc[0, ["target_0.3", "other_0.3"]].astype(float), average, rtol=1e-6)
    one = next(iter(forecaster.predictor_.predict(entries)))
    np.testing.assert_allclose(one.quantile(0.3)[0], average, rtol=1e-6)
    assert one.index.equals(members[0].index) and one.dim() == 2 and one.mean.shape == (1, 2)
    forecaster.save(tmp_path)
    pd.testing.assert_frame_equal(S5Forecaster.load(tmp_path).predict(df, times=times), found)
