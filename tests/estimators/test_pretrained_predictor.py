"""PretrainedPredictor: forecasts of series of any frequency and length, by weights read without pickle."""

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.model.predictor import Predictor

from s5forecast.data.frequency import Frequency, quiet_periods
from s5forecast.data.seasons import find_season
from s5forecast.estimators import pretrained
from s5forecast.estimators.pretrained import PretrainedPredictor, seasons_of, zero_shot
from s5forecast.networks.pretrained import LEVELS, PretrainedNetwork
from s5forecast.networks.pretrained_weights import load_record, load_weights, save_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "weights.npz"
    save_weights(path, PretrainedNetwork(), {"seconds": 1, "seed": 0})
    return path


def entries(freq, lengths=(40, 100, 7)):
    rng = np.random.default_rng(0)
    with quiet_periods():
        start = pd.Period("2024-01-01", freq=Frequency.parse(freq).period_alias)
    return [{"start": start, "target": 10 + rng.normal(size=n), "item_id": f"{n}"} for n in lengths]


def test_weights_are_kept_in_half_precision_with_their_record(weights):
    torch.manual_seed(0)
    network = PretrainedNetwork()
    for name, value in load_weights(weights).state_dict().items():
        torch.testing.assert_close(value, network.state_dict()[name], rtol=1e-3, atol=1e-6)
    assert load_record(weights) == {"seconds": 1, "seed": 0} and weights.stat().st_size < 1.5e6


@pytest.mark.parametrize("freq", ["h", "15min", "10s", "D", "B", "W-TUE", "ME", "QE-DEC", "YE-DEC", "2D"])
def test_any_frequency_is_forecast(weights, freq):
    data = entries(freq)
    forecasts = list(PretrainedPredictor(freq, 5, str(weights)).predict(data))
    for entry, forecast in zip(data, forecasts, strict=True):
        assert forecast.item_id == entry["item_id"]
        with quiet_periods():
            assert forecast.start_date == entry["start"] + len(entry["target"])
        quantiles = np.stack([forecast.quantile(level) for level in (0.1, 0.5, 0.9)])
        assert quantiles.shape == (3, 5) and (np.diff(quantiles, axis=0) > 0).all()


def test_the_batch_does_not_change_forecasts(weights):
    data = entries("h")
    together, alone = (list(PretrainedPredictor("h", 5, str(weights), batch_size=n).predict(data)) for n in (3, 1))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one.quantile(0.5), other.quantile(0.5), rtol=1e-3)


def test_a_saved_predictor_forecasts_the_same(weights, tmp_path):
    predictor = PretrainedPredictor("h", 5, str(weights), quantile_levels=[0.05, 0.5])
    predictor.serialize(tmp_path)
    loaded = Predictor.deserialize(tmp_path)
    one, other = (next(iter(each.predict(entries("h")))) for each in (predictor, loaded))
    np.testing.assert_array_equal(one.quantile(0.05), other.quantile(0.05))


def test_negated_series_have_negated_forecasts():
    torch.manual_seed(0)
    network, targets = PretrainedNetwork().eval(), [entry["target"] for entry in entries("h")]
    forecast = zero_shot(network, targets, (24.0, 168.0), 9)
    negated = zero_shot(network, [-target for target in targets], (24.0, 168.0), 9)
    np.testing.assert_allclose(negated, -forecast[..., ::-1], rtol=1e-4, atol=1e-4)


def test_long_horizons_interleave_forecasts_of_coarser_steps(monkeypatch):
    def last_and_count(network, values, seasons, steps):
        last = values[:, -1:, None].expand(-1, steps, len(LEVELS))
        return (last + 1000 * torch.arange(1, steps + 1)[:, None]).numpy()

    monkeypatch.setattr(pretrained, "_symmetric", last_and_count)
    forecast = zero_shot(None, [np.arange(103.0)], (4.0, 0.0), 300)[0, :, 0]
    # Step h follows the latest value that is a multiple of two steps before it.
    expected = [103 + h - 2 * (h // 2 + 1) + 1000 * (h // 2 + 1) for h in range(300)]
    np.testing.assert_array_equal(forecast, expected)


@pytest.mark.parametrize(
    ("freq", "expected"),
    [
        ("h", (24, 168)), ("15min", (96, 672)), ("5min", (288, 0)), ("min", (60, 0)), ("s", (60, 0)), ("3h", (8, 56)),
        ("D", (7, 365.25)), ("B", (5, 261)), ("W-SUN", (52, 0)), ("7D", (52, 0)), ("2W-SUN", (26, 0)), ("ME", (12, 0)),
        ("3ME", (4, 0)), ("QE-DEC", (4, 0)), ("YE-DEC", (0, 0)), ("12ME", (0, 0)),
    ],
)  # fmt: skip
def test_seasons_follow_from_the_frequency(freq, expected):
    assert seasons_of(Frequency.parse(freq)) == expected


def test_series_without_negative_values_have_no_negative_forecasts():
    torch.manual_seed(0)
    network, counts = PretrainedNetwork().eval(), np.random.default_rng(0).poisson(0.4, size=60).astype(float)
    forecast = zero_shot(network, [counts, counts - 1, -counts], (7.0, 0.0), 9)
    assert (forecast[0] >= 0).all() and (forecast[1] < 0).any() and (forecast[2] <= 0).all()


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


def test_the_season_can_be_given_or_found(weights):
    data = [{**entry, "target": entry["target"] + 5 * (np.arange(len(entry["target"])) % 5)} for entry in entries("D")]
    given, found, own = (
        [forecast.quantile(0.5) for forecast in PretrainedPredictor("D", 5, str(weights), season).predict(data)]
        for season in (5, "auto", None)
    )
    np.testing.assert_allclose(found[:2], given[:2], rtol=1e-5)
    assert not np.allclose(own[0], given[0])
    with pytest.raises(ValueError, match="season must be"):
        PretrainedPredictor("D", 5, str(weights), "weekly")


def test_a_series_without_values_is_an_error(weights):
    data = [{"start": pd.Period("2024-01-01", freq="h"), "target": np.full(5, np.nan), "item_id": "a"}]
    with pytest.raises(ValueError, match="'a' has no observed value"):
        list(PretrainedPredictor("h", 5, str(weights)).predict(data))


def test_an_outage_as_long_as_the_context_is_skipped(weights):
    predictor = PretrainedPredictor("D", 5, str(weights))
    longer = PretrainedPredictor("D", 5 + pretrained.CONTEXT, str(weights))
    target = 1000 + np.random.default_rng(0).normal(size=200)
    (found,) = predictor.quantiles([np.r_[target, [np.nan] * pretrained.CONTEXT]])
    (expected,) = longer.quantiles([target])
    assert np.array_equal(found, expected[-5:]) and (np.abs(found - 1000) < 100).all()


def test_series_of_few_values_are_named(weights):
    data = entries("D", (40, 2, 1))
    with pytest.warns(UserWarning, match="2 series, the first of them '2', have fewer than 4 observed values"):
        list(PretrainedPredictor("D", 5, str(weights)).predict(data))
