"""CombinedEstimator: averages of different forecasters, weighted by their losses on the last windows."""

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.core.component import validated
from gluonts.model.forecast import SampleForecast
from gluonts.model.predictor import Predictor, RepresentablePredictor

from s5forecast.data.frequency import quiet_periods
from s5forecast.estimators import CombinedEstimator, CombinedPredictor, EnsembleEstimator
from s5forecast.evaluation.baselines import ConstantPredictor, NaivePredictor, SeasonalNaivePredictor
from s5forecast.levels import DECILES


def series(steps, **fields):
    steps = np.arange(steps)
    target = 10 + np.sin(np.pi * steps / 6) + 0.3 * np.sin(7 * steps)
    return {"start": pd.Period("2024-01", "M"), "target": target.astype(np.float32), **fields}


def loss(predictor, entry, windows, horizon):
    """Quantile loss by hand, with each window forecast from all earlier values."""
    total = 0.0
    for window in range(windows):
        cut = len(entry["target"]) - (windows - window) * horizon
        (forecast,) = predictor.predict([{**entry, "target": entry["target"][:cut]}])
        for level in DECILES:
            error = entry["target"][cut : cut + horizon] - forecast.quantile(level)
            total += np.maximum(level * error, (level - 1) * error).sum()
    return total


def test_weights_are_those_of_inverse_squared_losses_on_the_last_windows():
    members = [SeasonalNaivePredictor(6, season=12), NaivePredictor(6)]
    losses = np.array([loss(member, series(72), 3, 6) for member in members])
    weights = CombinedEstimator(6, members).train([series(72)]).weights
    assert losses[0] < 0.7 * losses[1]
    np.testing.assert_allclose(weights, losses**-2 / (losses**-2).sum(), rtol=1e-5)


def test_forecasts_are_weighted_averages(make_one, data):
    network, naive = make_one(prediction_length=4).train(data), NaivePredictor(4)
    together = CombinedPredictor([network, naive], [0.75, 0.25])
    for one, a, b in zip(together.predict(iter(data)), network.predict(data), naive.predict(data), strict=True):
        assert one.start_date == a.start_date and one.item_id == a.item_id and one.mean.dtype == np.float32
        np.testing.assert_allclose(one.mean, 0.75 * a.mean + 0.25 * b.mean, rtol=1e-5)
        for level in (0.1, 0.5, 0.9):
            expected = 0.75 * a.quantile(level) + 0.25 * b.quantile(level)
            np.testing.assert_allclose(one.quantile(level), expected, rtol=1e-5)
        assert (np.diff([one.quantile(level) for level in DECILES], axis=0) >= 0).all()


def test_final_members_are_trained_on_all_data(make_one, data):
    together = CombinedEstimator(4, [make_one(prediction_length=4), NaivePredictor(4)], windows=1).train(iter(data))
    alone = make_one(prediction_length=4).train(data)
    for one, other in zip(together.members[0].predict(data), alone.predict(data), strict=True):
        np.testing.assert_array_equal(one.quantile(0.5), other.quantile(0.5))
    assert sum(together.weights) == pytest.approx(1)


def test_given_weights_are_used_and_members_trained_once(make_one, data, monkeypatch):
    member = make_one(prediction_length=4)
    trained, train = [], type(member).train

    def counted(self, *args, **kwargs):
        trained.append(self)
        return train(self, *args, **kwargs)

    monkeypatch.setattr(type(member), "train", counted)
    together = CombinedEstimator(4, [member, NaivePredictor(4)], weights=[0.7, 0.3]).train(data)
    assert together.weights == [0.7, 0.3] and trained == [member]


def test_short_series_do_not_affect_the_weights():
    members = [NaivePredictor(6), ConstantPredictor(6)]
    alone = CombinedEstimator(6, members).train([series(72)]).weights
    assert alone[0] != alone[1]
    late = series(72)
    late["target"][:60] = np.nan
    assert CombinedEstimator(6, members).train([series(72), series(17), late]).weights == alone


def test_weights_are_equal_if_no_series_is_long_enough(caplog):
    caplog.set_level("INFO", logger="s5forecast")
    together = CombinedEstimator(12, [NaivePredictor(12)] * 2).train([series(30)])
    assert together.weights == together.choices["weights"]["value"] == [0.5, 0.5]
    assert "weights=[0.5, 0.5] (equal, because no series is long enough" in caplog.text


def test_choices_of_members_and_weights_are_saved(make_one, data, tmp_path):
    short, long = (make_one(prediction_length=4, context_length=length) for length in (8, 12))
    together = CombinedEstimator(4, [short, long], windows=1).train(data)
    choices = together.choices
    assert choices["weights"]["value"] == together.weights and not choices["weights"]["given"]
    assert [choices[f"members.{number}.context_length"]["value"] for number in (0, 1)] == [8, 12]
    assert choices["loss"]["value"] == "quantile" and "members.0.loss" not in choices
    together.serialize(tmp_path)
    assert Predictor.deserialize(tmp_path).choices == choices
    assert CombinedEstimator(4, [NaivePredictor(4)] * 2, weights=[0.3, 0.7]).train(data).choices == {
        "weights": {"value": [0.3, 0.7], "reason": "given", "given": True}
    }


def test_gaps_in_the_windows_are_ignored():
    members = [SeasonalNaivePredictor(6, season=12), NaivePredictor(6)]
    entry = series(72)
    entry["target"][-6:] = np.nan
    losses = np.array([loss(member, {**entry, "target": entry["target"][:-6]}, 2, 6) for member in members])
    weights = CombinedEstimator(6, members).train([entry]).weights
    np.testing.assert_allclose(weights, losses**-2 / (losses**-2).sum(), rtol=1e-5)


def test_perfect_members_have_equal_weights():
    flat = {**series(60), "target": np.full(60, 3.0, dtype=np.float32)}
    assert CombinedEstimator(6, [NaivePredictor(6)] * 2).train([flat]).weights == [0.5, 0.5]


class Broken(RepresentablePredictor):
    @validated()
    def __init__(self, prediction_length: int) -> None:
        super().__init__(prediction_length=prediction_length)

    def predict_item(self, item):
        start = item["start"] + len(item["target"])
        return SampleForecast(np.full((5, self.prediction_length), np.nan), start, item.get("item_id"))


def test_a_forecast_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="series 'x': the forecast of Broken is not finite"):
        CombinedEstimator(6, [NaivePredictor(6), Broken(6)]).train([series(72, item_id="x")])
    together = CombinedPredictor([NaivePredictor(6), Broken(6)], [1.0, 0.0])
    with pytest.raises(ValueError, match="series 'x': the forecast of Broken is not finite"):
        list(together.predict([series(72, item_id="x")]))


def test_inputs_of_networks_are_accepted(make_one, data):
    known = dict(num_feat_dynamic_real=1)
    entries = [{**e, "target": e["target"].tolist(), "feat_dynamic_real": list(range(len(e["target"])))} for e in data]
    members = [make_one(**known), make_one(seed=1, **known), NaivePredictor(4)]
    together = CombinedEstimator(4, members, quantile_levels=[0.5, 0.025]).train(iter(entries), iter(entries))
    known_ahead = [{**e, "feat_dynamic_real": list(range(len(e["target"]) + 4))} for e in entries]
    for forecast in together.predict(known_ahead):
        assert forecast.forecast_keys == ["mean", "0.025", "0.5"]
        assert np.isfinite(forecast.forecast_array).all()


def test_business_days_are_quiet():
    entry = {**series(72), "start": pd.Period("2024-01-01", "D")}
    with quiet_periods():
        entry["start"] = pd.Period("2024-01-01", "B")
    assert len(CombinedEstimator(6, [SeasonalNaivePredictor(6), NaivePredictor(6)]).train([entry]).weights) == 2


def test_from_a_file(make_one, data, tmp_path):
    networks = EnsembleEstimator(make_one(prediction_length=4), num_members=2).train(data)
    together = CombinedPredictor([networks, NaivePredictor(4)], [0.5, 0.5])
    together.serialize(tmp_path)
    loaded = Predictor.deserialize(tmp_path)
    assert loaded.weights == [0.5, 0.5]
    for before, after in zip(together.predict(data), loaded.predict(data), strict=True):
        np.testing.assert_array_equal(before.quantile(0.3), after.quantile(0.3))


def test_invalid_members_are_refused(make_one, data):
    with pytest.raises(ValueError, match="two or more"):
        CombinedEstimator(4, [NaivePredictor(4)])
    with pytest.raises(ValueError, match="windows"):
        CombinedEstimator(4, [NaivePredictor(4)] * 2, windows=0)
    with pytest.raises(ValueError, match=r"one prediction_length, got \[3, 4\]"):
        CombinedPredictor([NaivePredictor(3), NaivePredictor(4)], [0.5, 0.5])
    with pytest.raises(ValueError, match="two or more"):
        CombinedEstimator(4, [NaivePredictor(4), NaivePredictor])
    with pytest.raises(ValueError, match="NaivePredictor forecasts 3 steps; give all members prediction_length=4"):
        CombinedEstimator(4, [NaivePredictor(4), NaivePredictor(3)])
    with pytest.raises(ValueError, match="S5Predictor forecasts 3 steps"):
        CombinedEstimator(4, [NaivePredictor(4), make_one(prediction_length=3)]).train(data)
    with pytest.raises(ValueError, match="the dataset is empty"):
        CombinedEstimator(4, [NaivePredictor(4)] * 2).train([])
    with pytest.raises(ValueError, match="quantile_levels"):
        CombinedEstimator(4, [NaivePredictor(4)] * 2, quantile_levels=[])
    for weights in ([1.0], [0.4, 0.4], [1.5, -0.5], [float("nan")] * 2):
        with pytest.raises(ValueError, match="add up to one"):
            CombinedPredictor([NaivePredictor(4)] * 2, weights)
        with pytest.raises(ValueError, match="add up to one"):
            CombinedEstimator(4, [NaivePredictor(4)] * 2, weights=weights)


class Unlearning(RepresentablePredictor):
    """Disables gradients from the first forecast to the last, as GluonTS's networks do."""

    def predict(self, dataset, **kwargs):
        with torch.no_grad():
            for forecast in ConstantPredictor(self.prediction_length, 2.0).predict(dataset):
                assert not torch.is_grad_enabled()
                yield forecast


def test_interleaved_members_keep_gradients_enabled():
    together = CombinedPredictor([Unlearning(6), Unlearning(6)], [0.5, 0.5])
    for _ in together.predict([series(72), series(60)]):
        assert torch.is_grad_enabled()
    assert torch.is_grad_enabled()


def test_quantiles_of_all_series_at_once(make_one, data):
    network, naive = make_one(prediction_length=4).train(data), NaivePredictor(4)
    together = CombinedPredictor([network, naive], [0.75, 0.25])
    mean, quantiles = together.predict_quantiles(iter(data), [0.1, 0.5])
    assert mean.shape == (3, 4) and quantiles.shape == (3, 4, 2)
    for forecast, m, q in zip(together.predict(data), mean, quantiles, strict=True):
        np.testing.assert_allclose(forecast.mean, m, rtol=1e-5)
        np.testing.assert_allclose([forecast.quantile(0.1), forecast.quantile(0.5)], q.T, rtol=1e-5)
    with pytest.raises(ValueError, match="series 'x': the forecast of Broken is not finite"):
        CombinedPredictor([NaivePredictor(6), Broken(6)], [1.0, 0.0]).predict_quantiles(
            [series(72, item_id="x")], [0.5]
        )
