"""PretrainedPredictor: forecasts of entries of any frequency and length, its weights, and streams of it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import small_weights
from gluonts.model.predictor import Predictor

from s5forecast.data.frequency import Frequency, quiet_periods
from s5forecast.data.seasons import find_season
from s5forecast.estimators import PretrainedPredictor
from s5forecast.estimators.stream import ForecastStream
from s5forecast.evaluation.fingerprint import fingerprint
from s5forecast.networks.pretrained import LEVELS, PretrainedNetwork
from s5forecast.networks.pretrained_weights import load_weights
from s5forecast.networks.zero_shot import CONTEXT


def make(freq="D", prediction_length=5, **kwargs):
    return PretrainedPredictor(freq, prediction_length, **{"weights": small_weights(), **kwargs})


def entries(freq, lengths=(40, 100, 7)):
    rng = np.random.default_rng(0)
    with quiet_periods():
        start = pd.Period("2024-01-01", freq=Frequency.parse(freq).period_alias)
    return [{"start": start, "target": 10 + rng.normal(size=n), "item_id": f"{n}"} for n in lengths]


@pytest.mark.parametrize("freq", ["h", "15min", "10s", "D", "B", "W-TUE", "ME", "QE-DEC", "YE-DEC", "2D", "3step"])
def test_any_frequency_is_forecast(freq):
    data = entries(freq)
    forecasts = list(make(freq).predict(data))
    for entry, forecast in zip(data, forecasts, strict=True):
        assert forecast.item_id == entry["item_id"]
        with quiet_periods():
            assert forecast.start_date == entry["start"] + len(entry["target"])
        quantiles = np.stack([forecast.quantile(level) for level in (0.1, 0.5, 0.9)])
        assert quantiles.shape == (3, 5) and (np.diff(quantiles, axis=0) > 0).all()
        assert (quantiles[0] < forecast.mean).all() and (forecast.mean < quantiles[2]).all()


def test_the_shipped_weights_are_the_default():
    predictor = PretrainedPredictor("h", 48)
    shipped = load_weights().state_dict()
    assert all(torch.equal(shipped[name], value) for name, value in predictor.network.state_dict().items())
    assert predictor == PretrainedPredictor("h", 48) and predictor != PretrainedPredictor("h", 24)
    assert predictor != make("h", 48)
    assert {"version", "seed", "hours", "loss", "sha256"} <= predictor.choices["weights"]["value"].keys()


def test_the_batch_does_not_change_forecasts():
    data = entries("h")
    together, alone = (list(make("h", batch_size=n).predict(data)) for n in (3, 1))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.quantile(0.5), other.quantile(0.5), rtol=1e-3)


def test_levels_of_forecasts():
    data, levels = entries("h"), [0.01, 0.05, 0.22, 0.5]
    mean, quantiles = make("h").predict_quantiles(data, levels)
    assert mean.shape == (3, 5) and quantiles.shape == (3, 5, 4) and (np.diff(quantiles) > 0).all()
    given = list(make("h", quantile_levels=levels).predict(data))
    for row, one, other in zip(quantiles, make("h").predict(data), given, strict=True):
        assert one.forecast_keys == ["mean", *map(str, LEVELS)]
        assert other.forecast_keys == ["mean", *map(str, sorted({*LEVELS, *levels}))]
        for column, level in zip(row.T, levels, strict=True):
            np.testing.assert_allclose(one.quantile(level), column, rtol=1e-12)
            np.testing.assert_allclose(other.quantile(level), column, rtol=1e-12)


def test_extrapolated_levels_keep_the_sign_of_the_series():
    counts = np.random.default_rng(0).poisson(2.0, size=60).astype(float)
    found = make("h").prediction([counts, -counts])
    quantiles = found.quantiles([0.0001, 0.9999])
    assert quantiles[0].min() == 0 == quantiles[1].max() and found.mean()[0].min() >= 0 >= found.mean()[1].max()
    np.testing.assert_array_equal(found[1:].quantiles([0.0001, 0.9999]), quantiles[1:])
    np.testing.assert_array_equal(found[1].quantiles([0.0001, 0.9999]), quantiles[1])
    assert replace(found, limits=None).quantiles([0.0001])[0].min() < 0


def test_a_saved_predictor_keeps_its_weights(tmp_path):
    network = PretrainedNetwork(width=16, num_layers=2, state_size=8, hidden=8).eval()
    for number, predictor in enumerate((make(quantile_levels=[0.05, 0.5]), make(weights=network))):
        folder = tmp_path / str(number)
        folder.mkdir()
        predictor.serialize(folder)
        assert small_weights() not in "".join(path.read_text() for path in folder.glob("*.json"))
        loaded = Predictor.deserialize(folder)
        assert loaded == predictor and loaded.choices == predictor.choices
        one, other = (next(iter(each.predict(entries("D")))) for each in (predictor, loaded))
        np.testing.assert_array_equal(one.quantile(0.05), other.quantile(0.05))


def test_equality_and_fingerprints_are_by_the_weights():
    other = load_weights(Path(small_weights()))
    assert make(weights=other) == make() and fingerprint(make(weights=other)) == fingerprint(make())
    with torch.no_grad():
        other.output.bias[0] += 1
    assert make(weights=other) != make() and fingerprint(make(weights=other)) != fingerprint(make())


@pytest.mark.parametrize("season", [5, 12, 30])
def test_seasons_are_found_in_series(season):
    rng = np.random.default_rng(season)
    steps = np.arange(200)
    series = 0.1 * steps + np.tile(rng.normal(size=season), 200)[:200] + 0.2 * rng.normal(size=200)
    series[50:55] = np.nan
    assert find_season(series) == season


def test_noise_has_no_season():
    assert find_season(np.random.default_rng(0).normal(size=300)) == 0
    assert find_season(np.ones(300)) == 0


def test_the_season_can_be_given_or_found():
    data = [{**entry, "target": entry["target"] + 5 * (np.arange(len(entry["target"])) % 5)} for entry in entries("D")]
    given, found, own = (
        [forecast.quantile(0.5) for forecast in make(season=season).predict(data)] for season in (5, "auto", None)
    )
    np.testing.assert_allclose(found[:2], given[:2], rtol=1e-5)
    assert not np.allclose(own[0], given[0])
    with pytest.raises(ValueError, match="season must be"):
        make(season="weekly")


def test_series_that_do_not_fit_are_named():
    (entry,) = entries("h", (5,))
    for change, message in [
        ({"target": np.full(5, np.nan)}, "series 'a': target has no observed value"),
        ({"target": np.ones((2, 5))}, "series 'a': target must have one dimension"),
        ({"target": np.array([1.0, np.inf])}, "series 'a': target has an infinite value"),
        ({"start": pd.Period("2024", "D")}, "series 'a': start has freq 'D', but the estimator has freq='h'"),
    ]:
        with pytest.raises(ValueError, match=message):
            list(make("h").predict([{**entry, "item_id": "a", **change}]))


def test_other_rates_and_devices_are_refused():
    predictor = make("h")
    assert predictor.rescaled(1) is predictor and predictor.to("auto").device == "cpu"
    with pytest.raises(ValueError, match="forecasts series of any frequency, so pass their freq="):
        predictor.rescaled(0.25)
    with pytest.raises(ValueError, match="runs on the CPU"):
        predictor.to("cuda")


def test_an_outage_as_long_as_the_context_is_skipped():
    target = 1000 + np.random.default_rng(0).normal(size=200)
    (found,) = make().quantiles([np.r_[target, [np.nan] * CONTEXT]])
    (expected,) = make(prediction_length=5 + CONTEXT).quantiles([target])
    assert np.array_equal(found, expected[-5:]) and (np.abs(found - 1000) < 100).all()


def test_series_of_few_values_are_named():
    data = entries("D", (40, 2, 1))
    with pytest.warns(UserWarning, match="2 series, such as '2', have fewer than 4 observed values"):
        list(make().predict(data))


@pytest.mark.parametrize(("freq", "prediction_length"), [("D", 5), ("h", 300)])
def test_a_stream_forecasts_as_the_whole_history_does(freq, prediction_length, tmp_path):
    predictor = make(freq, prediction_length)
    whole = entries(freq, (40, 2500, 60))
    whole[0]["target"][-3:] = np.nan
    whole[2]["target"][30] = -200.0  # removes the bound at zero, long before the end
    cuts = (30, 2400, 59)
    begun = [{**one, "target": one["target"][:cut]} for one, cut in zip(whole, cuts, strict=True)]
    stream = predictor.stream(begun)
    for first, last in ((0, 1), (1, 7), (7, 200)):
        rows = [
            {**one, "start": one["start"] + cut + first, "target": one["target"][cut + first : cut + last]}
            for one, cut in zip(whole, cuts, strict=True)
            if len(one["target"]) > cut + first
        ]
        stream.update(rows)
    stream.save(tmp_path)
    loaded = ForecastStream.load(tmp_path, predictor)
    asked = [{"item_id": one["item_id"]} for one in whole]
    for found, again, expected in zip(
        stream.predict(asked), loaded.predict(asked), predictor.predict(whole), strict=True
    ):
        assert found.start_date == expected.start_date
        for level in (0.1, 0.9):
            np.testing.assert_allclose(found.quantile(level), expected.quantile(level), rtol=1e-3, atol=1e-3)
            np.testing.assert_array_equal(found.quantile(level), again.quantile(level))
    assert {name: tuple(x.shape) for name, x in stream.states.tensors.items() if name == "past"} == {
        "past": (3, predictor.spec.context_length)
    }


def test_a_stream_keeps_the_context_of_any_season_that_is_found():
    target = np.tile([5.0, 1, 9, 2, 7, 3, 8, 4, 6], 400)[:3500] + np.linspace(0, 20, 3500)
    (entry,) = entries("D", (3500,))
    predictor = make(prediction_length=300, season="auto")
    (found,) = predictor.stream([{**entry, "target": target}]).predict([{"item_id": "3500"}])
    (expected,) = predictor.predict([{**entry, "target": target}])
    np.testing.assert_allclose(found.quantile(0.1), expected.quantile(0.1), rtol=1e-6)


def test_a_stream_continues_after_an_outage_longer_than_the_context():
    target = 1000 + np.random.default_rng(0).normal(size=50)
    (entry,) = entries("D", (50,))
    stream = make().stream([{**entry, "target": target}])
    gap = np.full(CONTEXT + 20, np.nan)
    stream.update([{**entry, "start": entry["start"] + 50, "target": gap}])
    (found,) = stream.predict([{"item_id": "50"}])
    (expected,) = make().predict([{**entry, "target": np.r_[target, gap]}])
    np.testing.assert_allclose(found.quantile(0.5), expected.quantile(0.5), rtol=1e-5)
