"""PretrainedEstimator: fine-tuning is reproducible, learns, stops early and within a time limit, or trains nothing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import H, entry, pretrained, regular, small_weights

from s5forecast.estimators import PretrainedEstimator, PretrainedPredictor, fine_tuning
from s5forecast.estimators.fine_tuning import FineTuning, Settings, TuningSeries
from s5forecast.networks.pretrained import FEWEST_OBSERVED, PATCH
from s5forecast.networks.pretrained_weights import load_weights

# The small weights are those of an untrained network.
untrained = pytest.mark.filterwarnings("ignore:over the last horizon of its training data")


def quantiles(predictor, data=None):
    return predictor.predict_quantiles(regular() if data is None else data, [0.1, 0.5, 0.9])[1]


def tuning(targets, horizon=H, season=24.0, **kwargs):
    given = {"num_steps": 30, "lr": 3e-3, "ssm_lr": 1e-3, "synthetic_share": 0.0, "patience": 2, "seed": 0, **kwargs}
    series = TuningSeries.of(targets, [(season, 0.0)] * len(targets), horizon)
    return FineTuning(load_weights(Path(small_weights())), series, Settings(**given), series)


def square_waves(count=8, length=200):
    """Series with a pattern of five steps, of which the network is not told."""
    return [np.tile([0.0, 0.0, 10.0, 10.0, 3.0], length)[n : n + length] + 0.01 * n for n in range(count)]


def test_zero_shot_trains_nothing():
    predictor = pretrained(num_steps=0).train(regular())
    assert predictor == PretrainedPredictor("h", H, small_weights())
    assert predictor.choices["num_steps"]["value"] == 0 and pretrained(num_steps=0).trainings(regular()) == []


def test_fine_tuning_lowers_the_loss_of_the_series():
    found = tuning(square_waves(), season=5.0)
    found.best.validate(found.network)
    before = found.best.loss
    assert found.run(None, verbose=False) == (30, "all steps")
    assert found.best.loss < 0.9 * before and not found.network.training


def test_the_same_seed_gives_the_same_weights_in_any_order_of_the_series():
    first = pretrained().train(regular())
    again = pretrained().train([{**one, "item_id": f"x{n}"} for n, one in enumerate(regular()[::-1])])
    assert first == again and first != pretrained(seed=1).train(regular())
    assert pretrained(seed=None).train(regular()) != first


def test_random_state_is_not_changed():
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    pretrained().train(regular())
    assert (torch.rand(1), np.random.rand()) == expected


@untrained
def test_validation_keeps_the_best_weights_and_stops_early():
    start = pretrained(num_steps=0).train(regular())
    # Each step makes the network worse, so that the weights of the start are kept.
    bad = pretrained(num_steps=30, lr=10.0, patience=1).train(regular(), regular())
    assert np.array_equal(quantiles(bad), quantiles(start)) and bad.choices["num_steps"]["value"] == 5
    assert bad.choices["num_steps"]["reason"] == "of 30 steps, until the validation loss rose"
    with pytest.raises(ValueError, match="no observed value in the last horizon"):
        unseen = [{**one, "target": np.r_[one["target"][:-H], [np.nan] * H]} for one in regular()]
        pretrained().train(regular(), unseen)


def test_training_stops_at_the_time_limit(monkeypatch):
    clock = iter(np.arange(0.0, 100.0, 1.0))
    monkeypatch.setattr(fine_tuning.time, "monotonic", lambda: next(clock))
    taken = tuning(square_waves(), num_steps=50).run(8.0, verbose=False)
    assert 0 < taken[0] < 10 and taken[1] == "of 50 steps, within the time limit"
    assert tuning(square_waves(), num_steps=50).run(0.0, verbose=False)[0] == 0


@untrained
def test_time_that_passed_before_the_training_counts():
    estimator = pretrained(time_limit=5.0)
    estimator.spent = 6.0
    predictor = estimator.train(regular())
    assert predictor.choices["num_steps"]["value"] == 0
    assert np.array_equal(quantiles(predictor), quantiles(PretrainedPredictor("h", H, small_weights())))


def test_one_progress_bar(capfd):
    pretrained(num_steps=3, verbose=True).train(regular())
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and "training" in err and "3/3" in err
    pretrained(num_steps=3).train(regular())
    assert capfd.readouterr() == ("", "")


@untrained
def test_training_starts_from_a_predictor():
    first = pretrained().train(regular())
    further = pretrained(num_steps=0).train_from(first, regular())
    assert further == first and further.network is not first.network
    with pytest.raises(ValueError, match="from_predictor is a str; give a predictor that PretrainedEstimator trained"):
        pretrained().train_from("model", regular())


def test_windows_hold_the_series():
    targets = [np.arange(1.0, 301.0), np.arange(1.0, 31.0)]
    series = TuningSeries.of(targets, [(24.0, 168.0), (12.0, 0.0)], H)
    values, seasons = series.windows(200, 64, np.random.default_rng(0))
    long = seasons[:, 0] == 24
    assert 50 < long.sum() < 150 and (np.abs(np.diff(values[long], axis=1)) == 1).all()
    assert {*np.unique(seasons[~long], axis=0).flatten()} == {12.0, 0.0}
    ends = np.abs(values[:, -1])
    assert ends[long].min() >= 64 and ends[long].max() == 300 and len(np.unique(ends[long])) > 30
    assert {*ends[~long]} == {float(n) for n in range(31 - PATCH, 31)}
    assert np.isnan(values[~long, :34]).all() and 50 < (values[:, -1] < 0).sum() < 150


def test_last_windows_hold_the_last_horizon():
    series = TuningSeries.of([np.arange(1.0, 100.0), np.arange(1.0, 9.0)], [(0.0, 0.0)] * 2, 10)
    values, _, at = series.last_windows()
    context = int(at.origin[0])
    assert context % PATCH == 0 and values.shape == (2, context + 16)
    np.testing.assert_array_equal(values[0, context : context + 10], np.arange(90.0, 100.0))
    assert values[:, context + 10 :].isnan().all() and values[1, context + 9] == 8
    assert at.ahead.tolist() == [0, 1, 0, 1] and at.series.tolist() == [0, 0, 1, 1]


def test_long_horizons_are_trained_on_interleaved_series():
    series = TuningSeries.of([np.arange(100.0)], [(24.0, 168.0)], 400)
    assert len(series.targets) == 3 and series.horizon == 134
    np.testing.assert_array_equal(series.seasons, [[8.0, 56.0]] * 3)
    np.testing.assert_array_equal(np.sort(np.concatenate(series.targets)), np.arange(100.0))


def test_series_are_trained_on_as_they_are_forecast():
    noise = np.random.default_rng(0).normal(size=100)
    sparse = np.where(np.arange(100) % 2, np.nan, noise)
    series = TuningSeries.of([1e6 + noise, sparse], [(24.0, 0.0)] * 2, 300)
    assert [len(target) for target in series.targets] == [50, 50, 100]
    assert max(np.nanmax(target) for target in series.targets) < 2000


def test_validation_data_too_short_to_be_scored_are_an_error():
    short = entry(H + 3, "short")
    with pytest.raises(ValueError, match="no observed value in the last horizon of any series with 4"):
        pretrained().train(regular(), [short])


def test_series_that_are_too_short_are_left_out():
    few = {**entry(60, "few"), "target": np.r_[np.full(60, np.nan), np.ones(FEWEST_OBSERVED)]}
    assert np.isfinite(quantiles(pretrained().train([*regular(), few]))).all()
    with pytest.raises(ValueError, match=r"no series has more than 4 observed values.*preset='zero_shot'"):
        pretrained().train([few])
    pretrained(num_steps=0).train([few])
    with pytest.raises(ValueError, match="dataset is empty"):
        pretrained().train([])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"num_steps": -1}, "num_steps must not be negative"),
        ({"lr": -1.0}, "lr must not be negative"),
        ({"synthetic_share": 2.0}, r"synthetic_share must lie in \[0, 1\]"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"time_limit": 0.0}, "time_limit must be a positive number of seconds"),
        ({"weights": "absent.npz"}, "absent.npz"),
        ({"season": "weekly"}, "season must be"),
        ({"freq": "fortnight"}, "fortnight"),
        ({"prediction_length": 0}, "prediction_length must be at least 1"),
    ],
)
def test_bad_arguments_are_refused_before_training(given, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        pretrained(**given)


def test_a_loss_that_is_not_finite_is_an_error(monkeypatch):
    found = tuning(square_waves())
    monkeypatch.setattr(found.network, "loss", lambda *_: torch.tensor(torch.nan, requires_grad=True))
    with pytest.raises(FloatingPointError, match=r"the loss is nan at step 0; lower lr \(now 0.003\)"):
        found.advance(0.0)


def test_the_shipped_weights_are_fine_tuned_by_default():
    start = pd.Period("2024-01-01", "D")
    data = [{"item_id": "a", "start": start, "target": np.tile(np.arange(7.0), 20)}]
    predictor = PretrainedEstimator("D", 7, num_steps=1, verbose=False).train(data)
    assert predictor != PretrainedPredictor("D", 7) and np.isfinite(quantiles(predictor, data)).all()


def test_series_of_few_values_have_the_typical_spread_of_the_training_data(tmp_path):
    rng = np.random.default_rng(0)
    levels = [100.0, 1000.0, 3000.0]
    data = [
        {
            "item_id": str(level),
            "start": pd.Period("2024-01-01", "D"),
            "target": level * (1 + 0.05 * rng.standard_normal(60)),
        }
        for level in levels
    ]
    predictor = PretrainedEstimator("D", 4, num_steps=1, verbose=False).train(data)
    assert predictor.relative_spread == pytest.approx(0.05, rel=0.2)
    new = {"item_id": "new", "start": pd.Period("2024-01-01", "D"), "target": np.array([np.nan, 2000.0])}
    with pytest.warns(UserWarning, match="'new' has fewer than 4 .* intervals have the typical spread"):
        (found,) = predictor.predict([new])
    width = found.quantile(0.9) - found.quantile(0.1)
    assert np.allclose(found.quantile(0.5), 2000)
    assert np.allclose(width, 2 * 1.2816 * 2000 * predictor.relative_spread, rtol=1e-3)
    predictor.serialize(tmp_path)
    assert PretrainedPredictor.deserialize(tmp_path) == predictor
