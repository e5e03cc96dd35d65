"""S5ContinuousEstimator: invariances, accuracy and errors of forecasts of irregular series."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from gluonts.model.forecast import Forecast
from gluonts.model.predictor import Predictor

from s5forecast import S5ContinuousEstimator, load_dataset
from s5forecast.data.irregular_entries import read_irregular
from s5forecast.nn import Encoder
from s5forecast.ssm import S5
from s5forecast.windows.irregular import IrregularStore

SMALL = dict(
    prediction_horizon=5.0,
    context_length=20,
    width=8,
    num_layers=2,
    state_size=4,
    batch_size=4,
    num_batches_per_epoch=2,
    max_epochs=1,
    device="cpu",
    trainer_kwargs={"enable_progress_bar": False},
)
LEVELS = [0.1, 0.5, 0.9]
AHEAD = np.array([4.0, 0.5, 1.25, 9.0])
START = pd.Timestamp("2024-03-01 05:00")


def entry(n=40, D=1, seed=0, **fields):
    """Waves of D variables, with a third of the values and one whole row missing."""
    rng = np.random.default_rng(seed)
    time = np.cumsum(rng.exponential(1.0, n) + 0.01)
    target = np.sin(time / 3 + np.arange(D)[:, None]) + 0.1 * rng.normal(size=(D, n))
    target[rng.random((D, n)) < 0.3] = np.nan
    target[:, 7] = np.nan
    target[:, -1] = 0.5
    return {"item_id": f"s{seed}", "time": time, "target": target if D > 1 else target[0], **fields}


def asking(one, ahead=AHEAD):
    return {**one, "query_time": one["time"][-1] + ahead}


@pytest.fixture(scope="module")
def data():
    return [entry(seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def several():
    return [entry(D=3, seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def predictor(several):
    return S5ContinuousEstimator(**SMALL, target_dim=3).train(several)


def quantiles(predictor, entries):
    return predictor.predict_quantiles(entries, LEVELS)[1]


@pytest.mark.parametrize("output", ["quantile", "normal", "student_t", "negative_binomial", "auto"])
@pytest.mark.parametrize("dim", [1, 3])
def test_train_and_predict(output, dim):
    entries = [entry(D=dim, seed=seed, info={"note": seed}) for seed in range(3)]
    if output == "negative_binomial":
        entries = [one | {"target": np.round(np.exp(2 * one["target"]))} for one in entries]
    estimator = S5ContinuousEstimator(**SMALL, target_dim=dim, distr_output=output)
    predictor = estimator.train(entries, entries)
    asked = [asking(one, AHEAD[: 1 + i]) for i, one in enumerate(entries)]
    for given, forecast in zip(asked, predictor.predict(asked), strict=True):
        assert isinstance(forecast, Forecast) and forecast.dim() == dim
        shape = (len(given["query_time"]), dim)[: 1 + (dim > 1)]
        assert (forecast.index == given["query_time"]).all() and forecast.mean.shape == shape
        low, middle, high = (forecast.quantile(level) for level in LEVELS)
        assert (low <= middle).all() and (middle <= high).all() and np.isfinite(low + high + forecast.mean).all()
        assert forecast.item_id == given["item_id"] and forecast.info == given["info"]
        again = pickle.loads(pickle.dumps(forecast))
        assert np.array_equal(again.quantile(0.3), forecast.quantile(0.3)) and (again.index == forecast.index).all()
    if output == "negative_binomial":
        assert (low >= 0).all() and (low % 1 == 0).all()


def test_all_kinds_of_features():
    def with_features(seed):
        one = entry(seed=seed)
        n = len(one["time"])
        return one | {
            "feat_dynamic_real": np.random.default_rng(seed).normal(size=(2, n)),
            "past_feat_dynamic_real": np.where(np.arange(n) % 3, np.nan, 1.0)[None],
            "feat_static_real": [float(seed)],
            "feat_static_cat": [seed],
        }

    estimator = S5ContinuousEstimator(
        **SMALL, num_feat_dynamic_real=2, num_past_feat_dynamic_real=1, num_feat_static_real=1, num_feat_static_cat=1,
        cardinality=[3],
    )  # fmt: skip
    data = [with_features(seed) for seed in range(3)]
    predictor = estimator.train(data)
    asked = [asking(one) | {"query_feat_dynamic_real": np.zeros((2, 4))} for one in data]
    found = quantiles(predictor, asked)
    assert np.isfinite(found).all()
    other = [one | {"query_feat_dynamic_real": np.ones((2, 4))} for one in asked]
    assert not np.allclose(quantiles(predictor, other), found)
    asked[1]["query_feat_dynamic_real"] = np.full((2, 4), np.nan)
    with pytest.warns(UserWarning, match=r"'query_feat_dynamic_real'\] are missing .* masked"):
        masked = quantiles(predictor, asked)
    changed = ~np.isclose(masked, found).all(axis=(1, 2))
    assert np.isfinite(masked).all() and np.flatnonzero(changed).tolist() == [4, 5, 6, 7]  # those of the second series


@pytest.mark.parametrize("discretization", ["zoh", "dirac", "bilinear"])
def test_padding_changes_nothing(several, discretization):
    """A short history is forecast alone, and padded in a batch with a long one."""
    estimator = S5ContinuousEstimator(**SMALL, target_dim=3, layer_kwargs={"discretization": discretization})
    predictor = estimator.train(several)
    short = asking({key: value[..., :6] if key != "item_id" else value for key, value in several[0].items()})
    together = quantiles(predictor, [asking(several[1]), short])
    assert np.allclose(together[len(AHEAD) :], quantiles(predictor, [short]), atol=1e-5)


def test_a_step_of_no_length_changes_no_state_under_zero_order_hold():
    torch.manual_seed(0)
    encoder = Encoder(6, 2, layer_kwargs={"state_size": 4}).eval()
    u, dt = torch.randn(2, 9, 6), torch.rand(2, 9)
    _, expected = encoder(u, dt=dt)
    padding = torch.randn(2, 5, 6)
    _, found = encoder(torch.cat([padding, u], dim=1), dt=torch.cat([torch.zeros(2, 5), dt], dim=1))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_shifting_all_times_changes_nothing(predictor, several):
    asked = [asking(one) for one in several]
    moved = [one | {"time": one["time"] + 4096, "query_time": one["query_time"] + 4096} for one in asked]
    assert np.allclose(quantiles(predictor, moved), quantiles(predictor, asked), atol=1e-4)
    days = {"time": START + pd.to_timedelta(several[0]["time"], "h").floor("ms"), "target": several[0]["target"]}
    estimator = S5ContinuousEstimator(**{**SMALL, "prediction_horizon": "5h"}, target_dim=3)
    found = []
    for shift in ("0s", "400D"):
        one = days | {"time": days["time"] + pd.Timedelta(shift)}
        found.append(quantiles(estimator.train([one]), [one | {"query_time": one["time"][-1:] + pd.Timedelta("2h")}]))
    assert np.array_equal(*found)


def test_the_scale_of_time_is_that_of_its_unit(several):
    found = []
    for factor, unit in ((1.0, None), (1.0, 1.5), (1024.0, 1536.0), (1024.0, None)):
        times = [one | {"time": factor * one["time"]} for one in several]
        kwargs = {**SMALL, "prediction_horizon": 5.0 * factor}
        predictor = S5ContinuousEstimator(**kwargs, target_dim=3, time_unit=unit).train(times)
        found.append(quantiles(predictor, [asking(one, factor * AHEAD) for one in times]))
    assert np.allclose(found[1], found[2], atol=1e-5) and np.allclose(found[0], found[3], atol=1e-5)
    assert not np.allclose(found[0], found[1])


def test_the_unit_of_time_is_the_median_gap(predictor, several):
    # a row without any value is not an observation
    times = [one["time"][(~np.isnan(one["target"])).any(0)] for one in several]
    assert float(predictor.network.time_unit) == torch.tensor(np.concatenate([*map(np.diff, times)])).median()


def test_order_and_grouping_of_the_times_do_not_matter(predictor, several):
    one = several[0]
    together = quantiles(predictor, [asking(one)])
    assert np.allclose(quantiles(predictor, [asking(one, AHEAD[::-1])])[::-1], together, atol=1e-6)
    alone = np.concatenate([quantiles(predictor, [asking(one, AHEAD[i : i + 1])]) for i in range(len(AHEAD))])
    assert np.allclose(alone, together, atol=1e-5)
    batched = quantiles(predictor, [asking(several[1], AHEAD[:1]), asking(one)])
    assert np.allclose(batched[1:], together, atol=1e-5)


def test_many_times_are_decoded_in_parts(predictor, several, monkeypatch):
    together = quantiles(predictor, [asking(several[0])])
    monkeypatch.setattr("s5forecast.networks.continuous.QUERIES", 3)
    assert np.allclose(quantiles(predictor, [asking(several[0])]), together, atol=1e-6)


def test_a_row_without_a_value_changes_nothing(predictor, several):
    one = several[0]
    wider = {"time": np.insert(one["time"], 20, one["time"][19:21].mean()), "item_id": "a"}
    wider["target"] = np.insert(one["target"], 20, np.nan, axis=1)
    assert np.array_equal(quantiles(predictor, [asking(wider)]), quantiles(predictor, [asking(one)]))


def test_a_gap_at_once_equals_many_small_steps():
    torch.manual_seed(0)
    layer = S5(6, 8, dt_max=1.0).double()
    state = torch.randn(3, 2, 4, dtype=torch.float64)
    gaps = torch.tensor([[0.0, 0.3, 7.0]] * 3, dtype=torch.float64)
    at_once = layer.advance(state, gaps)
    assert torch.equal(at_once[:, 0], state)
    nothing = torch.zeros(3, 100, 6, dtype=torch.float64)
    for number in (1, 2):
        _, stepwise = layer(nothing, state, (gaps[:, number, None] / 100).expand(-1, 100))
        torch.testing.assert_close(at_once[:, number], stepwise)


@pytest.mark.parametrize("discretization", ["dirac", "zoh"])
def test_splitting_a_gap_by_a_row_without_input(discretization):
    """Nothing changes for impulses; with zero-order hold an input is held over the part of the gap before the row."""
    torch.manual_seed(0)
    layer = S5(6, 8, discretization=discretization).double()
    u, dt = torch.randn(2, 5, 6, dtype=torch.float64), torch.rand(2, 5, dtype=torch.float64)
    split_u = torch.cat([u[:, :3], torch.zeros(2, 1, 6), u[:, 3:]], dim=1)
    half = dt[:, 3:4] / 2
    y, last = layer(u, dt=dt)
    split_y, split_last = layer(split_u, dt=torch.cat([dt[:, :3], half, half, dt[:, 4:]], dim=1))
    kept = torch.cat([split_y[:, :3], split_y[:, 4:]], dim=1)
    assert torch.allclose(kept, y) == torch.allclose(split_last, last) == (discretization == "dirac")


def test_use_dt_false_ignores_gaps(several):
    """Without dt in the dynamics and as a feature, the network sees only the time since the last observation."""
    estimator = S5ContinuousEstimator(**SMALL, target_dim=3, use_dt=False, dt_as_feature=False)
    predictor = estimator.train(several)
    one = several[0]
    # the gaps before the last values change, so that the final ages stay the same
    time = one["time"].copy()
    time[:30] = time[30] - np.linspace(2, 0.1, 30)
    assert (~np.isnan(one["target"][:, 30:])).any(1).all()
    squeezed = one | {"time": time}
    assert np.allclose(quantiles(predictor, [asking(squeezed)]), quantiles(predictor, [asking(one)]), atol=1e-5)
    true = S5ContinuousEstimator(**SMALL, target_dim=3).train(several)
    assert not np.allclose(quantiles(true, [asking(squeezed)]), quantiles(true, [asking(one)]), atol=1e-5)


@pytest.mark.parametrize("scaling", ["standard", "last", "global"])
def test_forecasts_are_equivariant_to_the_unit(several, scaling):
    factor = np.array([[4.0], [1024.0], [0.25]])
    found = []
    for by in (1.0, factor):
        entries = [one | {"target": by * one["target"]} for one in several]
        predictor = S5ContinuousEstimator(**SMALL, target_dim=3, scaling=scaling).train(entries)
        found.append(quantiles(predictor, [asking(one) for one in entries]) / np.broadcast_to(by, (3, 1)))
    assert np.allclose(*found, rtol=1e-3, atol=1e-4)


def test_variable_without_observation_has_a_forecast(predictor, several):
    one = several[0] | {"target": np.where(np.arange(3)[:, None] == 1, np.nan, several[0]["target"])}
    assert np.isfinite(quantiles(predictor, [asking(one)])).all()


@pytest.mark.parametrize("level", [0.1, 2.5, 1e6 / 3])
def test_equal_values_have_no_spread(data, level):
    """Rounding errors of the mean of equal values must not become the typical scale."""
    constant = [one | {"target": np.where(np.isnan(one["target"]), np.nan, level)} for one in data]
    network = S5ContinuousEstimator(**SMALL).train([*data, *constant]).prediction_net
    expected = S5ContinuousEstimator(**SMALL).train(data).prediction_net.window_spread
    assert torch.allclose(network.window_spread, expected, rtol=0.2)
    assert S5ContinuousEstimator(**SMALL).train(constant).prediction_net.spread == 1


def test_forecasts_of_entries_keep_the_digits_of_large_values(data):
    large = [one | {"target": 1e12 + one["target"]} for one in data]
    predictor = S5ContinuousEstimator(**SMALL).train(large)
    (forecast,) = predictor.predict([asking(large[0])])
    assert (forecast.quantile(0.1) < forecast.quantile(0.9)).all()
    assert np.array_equal(forecast.quantile(0.1), quantiles(predictor, [asking(large[0])])[:, 0, 0])


def test_counts_are_known_from_the_series_that_show_them():
    counts = [one | {"target": np.round(9 + 5 * one["target"])} for one in (entry(D=3, seed=seed) for seed in range(3))]
    counts[0]["target"][1] = np.nan  # missing in one series
    for one in counts:
        one["target"][2] = np.nan  # missing in all series
    estimator = S5ContinuousEstimator(**SMALL, target_dim=3)
    assert estimator.train(counts).network.counts.tolist() == [True, True, False]


def test_one_observation_is_enough_to_forecast(predictor, several):
    one = {"time": [3.0], "target": several[0]["target"][:, -1:], "query_time": [3.1, 1e6]}
    assert np.isfinite(quantiles(predictor, [one])).all()


def test_the_same_seed_gives_the_same_result(data):
    found = [
        quantiles(S5ContinuousEstimator(**SMALL, seed=seed).train(data), [asking(data[0])]) for seed in (0, 0, 1)
    ]  # fmt: skip
    assert np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_saved_and_loaded_it_forecasts_the_same(predictor, several, tmp_path):
    predictor.serialize(tmp_path)
    again = Predictor.deserialize(tmp_path)
    assert type(again) is type(predictor) and again.spec == predictor.spec
    asked = [asking(one) for one in several]
    assert np.array_equal(quantiles(again, asked), quantiles(predictor, asked))
    started = S5ContinuousEstimator(**{**SMALL, "lr": 0.0, "ssm_lr": 0.0, "weight_decay": 0.0}, target_dim=3)
    assert np.allclose(quantiles(started.train(several, from_predictor=again), asked), quantiles(again, asked))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"prediction_horizon": None}, "give prediction_horizon"),
        ({"prediction_horizon": "soon"}, "not a duration"),
        ({"prediction_horizon": -1.0}, "must be positive"),
        ({"time_unit": "1h"}, "different kinds"),
        ({"scaling": "mean"}, "'standard', 'last', 'global'"),
        ({"cycles": ["month"]}, "unknown cycle"),
        ({"cycles": ["day"]}, "require datetimes"),
        ({"layer_kwargs": {"bidirectional": True}}, "causal"),
        ({"target_dim": 0}, "target_dim"),
        ({"variable_weights": [1.0, 2.0]}, "must be 1 positive numbers"),
        ({"variable_weights": [0.0]}, "positive"),
    ],
)
def test_wrong_arguments_are_named(kwargs, message, data):
    with pytest.raises(ValueError, match=message):
        S5ContinuousEstimator(**{**SMALL, **kwargs}).train(data)


def test_output_must_support_the_targets(data):
    with pytest.raises(ValueError, match=r"'s\d': target contains .* outside the support"):
        S5ContinuousEstimator(**SMALL, distr_output="gamma").train(data)


def test_storms_are_forecast_better_than_by_the_last_value():
    """Storm tracks at irregular times: trained on some years, tested two days ahead on storms of other years."""
    frame = load_dataset("atlantic_storms")
    horizon = pd.Timedelta("48h")
    train, asked, truth = [], [], []
    for item, track in frame.groupby("item_id", sort=False):
        time, target = pd.DatetimeIndex(track["timestamp"]), track[["lat", "long"]].to_numpy().T
        cut = len(time) // 2
        ahead = (time > time[cut - 1]) & (time <= time[cut - 1] + horizon)
        if time[0].year % 5:
            train.append({"item_id": item, "time": time, "target": target})
        elif cut and ahead.any():
            asked.append({"time": time[:cut], "target": target[:, :cut], "query_time": time[ahead]})
            truth.append(target[:, ahead].T)
    estimator = S5ContinuousEstimator(
        prediction_horizon="48h", target_dim=2, context_length=16, max_queries=8, width=32, state_size=16,
        num_batches_per_epoch=100, max_epochs=1, lr=6e-3, device="cpu", trainer_kwargs={"enable_progress_bar": False},
    )  # fmt: skip
    _, found = estimator.train(train).predict_quantiles(asked, [0.5])
    last = np.concatenate([np.repeat(one["target"][:, -1:].T, len(y), 0) for one, y in zip(asked, truth, strict=True)])
    error, naive = (np.abs(x - np.concatenate(truth)).mean(0) for x in (found[..., 0], last))
    assert (error < 0.85 * naive).all(), (error, naive)


@pytest.mark.parametrize("weights", [None, [1.0, 4.0, 0.5]])
@pytest.mark.parametrize("output", ["quantile", "negative_binomial"])
def test_loss_is_that_of_the_forecast_at_the_observed_values(several, output, weights):
    counts = [one | {"target": np.round(9 + 5 * one["target"])} for one in several]
    estimator = S5ContinuousEstimator(**SMALL, target_dim=3, distr_output=output, variable_weights=weights)
    network = estimator.train(counts).network.eval()
    store = IrregularStore(read_irregular(counts, estimator.spec, forecast=False), estimator.spec)
    batch = store.gather(torch.arange(3), torch.tensor([10, 15, 20]))
    with torch.no_grad():
        found, forecast, place = network.loss(batch), network(batch), network.place(batch)
    mask = batch.mask[:, batch.context_length :]
    weights = mask * torch.tensor([1.0] * 3 if weights is None else weights)
    values = ((batch.target - place.loc) / place.scale).float()
    losses = forecast.loss(values, torch.where(mask > 0, batch.target, 1.0))
    torch.testing.assert_close(found, ((losses * weights).sum() / weights.sum()).to(found.dtype))


def test_recent_means_and_spreads_are_their_definition(predictor, several):
    network = predictor.network
    one = asking(several[0])
    store = IrregularStore(read_irregular([one], network.spec, forecast=True), network.spec)
    with torch.no_grad():
        encoded = network.encode(store.gather_ahead(torch.tensor([0])))
    anchors, recent = encoded.anchors[0], encoded.recent[0]  # [D, A], [D, 2 M]
    memory = network.recent.log_memory.exp().detach().numpy() * float(network.time_unit)
    kept = (~np.isnan(one["target"])).any(0)
    time, target = one["time"][kept][-20:], one["target"][:, kept][:, -20:]
    loc = np.nanmean(target, axis=1)
    scale = (np.nansum((target - loc[:, None]) ** 2, axis=1) + network.window_spread.numpy() ** 2) / (
        (~np.isnan(target)).sum(1) + 1
    )
    for d, (row, memories) in enumerate(zip(target, memory, strict=True)):
        seen = ~np.isnan(row)
        weights = np.exp(-(time[-1] - time[seen]) / memories[:, None])
        values = (row[seen] - loc[d]) / np.sqrt(scale[d])
        means = (weights @ values) / weights.sum(1)
        spreads = np.sqrt((weights * (values - means[:, None]) ** 2).sum(1) / weights.sum(1))
        np.testing.assert_allclose(anchors[d, -len(memories) :], means, atol=1e-5)
        np.testing.assert_allclose(recent[d, : len(memories)], spreads, atol=1e-4)


def test_network_input_equals_the_windows_of_the_store(several):
    """The encoding of a cut history is that of the history alone."""
    estimator = S5ContinuousEstimator(**SMALL, target_dim=3)
    network = estimator.train(several).network.eval()
    whole = IrregularStore(read_irregular([several[0]], estimator.spec, forecast=False), estimator.spec)
    kept = (~np.isnan(several[0]["target"])).any(0)
    time, target = several[0]["time"][kept], several[0]["target"][:, kept]
    part = {"time": time[:15], "target": target[:, :15], "query_time": time[15:16]}
    alone = IrregularStore(read_irregular([part], estimator.spec, forecast=True), estimator.spec)
    with torch.no_grad():
        one = network.encode(whole.gather(torch.tensor([0]), torch.tensor([15])))
        other = network.encode(alone.gather_ahead(torch.tensor([0])))
    torch.testing.assert_close(one.h, other.h)
    torch.testing.assert_close(one.states, other.states)


def test_delays_are_forecast_better_than_by_the_last_value():
    """Delays at the minute of each flight: the twelve hours after the end of February, for six series."""
    frame = load_dataset("nyc_flight_delays_q1")
    end, horizon = pd.Timestamp("2013-03-01 06:00"), pd.Timedelta("12h")
    train, asked, truth = [], [], []
    for item, flights in list(frame.groupby("item_id"))[::3]:
        time, target = pd.DatetimeIndex(flights["timestamp"]), flights["dep_delay"].to_numpy()
        past, ahead = time <= end, (time > end) & (time <= end + horizon)
        train.append({"item_id": item, "time": time[past], "target": target[past]})
        asked.append({**train[-1], "query_time": time[ahead]})
        truth.append(target[ahead])
    estimator = S5ContinuousEstimator(
        prediction_horizon="12h", cycles=["day"], context_length=64, max_queries=16, width=16, state_size=16,
        num_batches_per_epoch=60, max_epochs=1, lr=6e-3, device="cpu", trainer_kwargs={"enable_progress_bar": False},
    )  # fmt: skip
    _, found = estimator.train(train).predict_quantiles(asked, [0.5])
    last = np.concatenate([np.repeat(one["target"][-1], len(y)) for one, y in zip(asked, truth, strict=True)])
    error, naive = (np.abs(x - np.concatenate(truth)).mean() for x in (found[:, 0, 0], last))
    assert error < 0.95 * naive, (error, naive)


@pytest.mark.parametrize("unit", ["numbers", "datetimes"])
def test_the_next_observations_in_place_of_a_horizon(data, unit):
    kwargs = {**SMALL, "prediction_horizon": None, "prediction_length": 3}
    if unit == "datetimes":
        data = [one | {"time": START + pd.to_timedelta(one["time"], "h")} for one in data]
    ahead = AHEAD if unit == "numbers" else pd.to_timedelta(AHEAD, "h")
    asked = [one | {"query_time": one["time"][-1] + ahead} for one in data]
    assert np.isfinite(quantiles(S5ContinuousEstimator(**kwargs).train(data, data), asked)).all()


def test_interleaved_forecasts_keep_gradients_enabled(predictor, several):
    asked = [asking(one) for one in several]
    for _ in zip(predictor.predict(asked), predictor.predict(asked), strict=True):
        assert torch.is_grad_enabled()
    assert torch.is_grad_enabled()
