"""ForecastStream: equality with forecasts from whole histories, and errors that change no state."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch

from s5forecast import S5AutoregressiveEstimator, S5ContinuousEstimator, S5Estimator
from s5forecast.data.irregular_entries import read_irregular
from s5forecast.estimators.stream import ForecastStream
from s5forecast.windows.batches import read_store
from s5forecast.windows.history import SeriesHistory
from s5forecast.windows.irregular import IrregularStore

SMALL = dict(
    prediction_horizon=5.0, context_length=200, width=8, num_layers=2, state_size=4, batch_size=4,
    num_batches_per_epoch=2, max_epochs=1, device="cpu", trainer_kwargs={"enable_progress_bar": False},
)  # fmt: skip
LEVELS = [0.1, 0.5, 0.9]
AHEAD = np.array([0.5, 4.0, 1.25])
START = pd.Timestamp("2024-03-30 05:00")
BEGUN = 12


def entry(seed, n=30, D=2):
    rng = np.random.default_rng(seed)
    time = np.cumsum(rng.exponential(1.0, n) + 0.01)
    target = np.sin(time / 3 + np.arange(D)[:, None]) + 0.1 * rng.normal(size=(D, n)) + seed
    target[rng.random((D, n)) < 0.3] = np.nan
    target[:, 7] = np.nan
    target[:, -1] = 0.5
    return {"item_id": f"s{seed}", "time": time, "target": target}


def rows(one, begin, end):
    arrays = ("time", "target", "feat_dynamic_real", "past_feat_dynamic_real")
    return {key: value[..., begin:end] if key in arrays else value for key, value in one.items()}


def asking(one, ahead=AHEAD):
    known = {"query_feat_dynamic_real": np.ones((1, len(ahead)))} if "feat_dynamic_real" in one else {}
    return {**one, "query_time": one["time"][-1] + ahead, **known}


def from_history(stream, entries):
    """The forecast from whole histories, with the location and scale of the stream."""
    network, spec = stream.predictor.network.eval(), stream.spec
    store = IrregularStore(read_irregular(entries, spec, forecast=True), spec)
    batch = store.gather_ahead(torch.arange(len(entries)))
    place = [stream.states.tensors[name] for name in ("loc", "scale", "level")]
    L = batch.context_length
    with torch.no_grad():
        encoded = network.encode(batch, type(network.place(batch))(*place))
        found = network.decode(encoded, batch.elapsed, batch.calendar[:, L:], batch.covariates[:, L:], batch.counts)
    return found.mean().reshape(-1, spec.target_dim), found.quantiles(LEVELS).reshape(-1, spec.target_dim, len(LEVELS))


def assert_as_from_history(stream, entries, atol=1e-5):
    asked = [asking(one) for one in entries]
    for one, other in zip(stream.predict_quantiles(asked, LEVELS), from_history(stream, asked), strict=True):
        assert np.allclose(one, other, atol=atol) and np.isfinite(one).all()


def one_by_one(n):
    return [(series, step, step + 1) for step in range(BEGUN, n) for series in range(3)]


def in_blocks(n):
    bounds = [BEGUN, 13, 19, n]
    return [(series, begin, end) for series in (2, 0, 1) for begin, end in itertools.pairwise(bounds)]


def all_at_once(n):
    return [[(series, BEGUN + series, n) for series in range(3)]]


def at_random(n):
    """Updates of some series at a time, with blocks of different lengths."""
    rng, at, updates = np.random.default_rng(0), [BEGUN] * 3, []
    while min(at) < n:
        update = []
        for series in np.flatnonzero(rng.random(3) < 0.7):
            end = min(n, at[series] + int(rng.integers(0, 5)))
            update.append((series, at[series], end))
            at[series] = end
        updates.append(update)
    return updates


@pytest.fixture(scope="module")
def data():
    return [entry(seed) for seed in range(3)]


@pytest.fixture(scope="module")
def predictor(data):
    return S5ContinuousEstimator(**SMALL, target_dim=2).train(data)


@pytest.mark.parametrize("split", [one_by_one, in_blocks, all_at_once, at_random])
def test_a_stream_equals_the_whole_history(predictor, data, split):
    offsets = [BEGUN + i if split is all_at_once else BEGUN for i in range(3)]
    stream = predictor.stream([rows(one, 0, end) for one, end in zip(data, offsets, strict=True)])
    for update in split(len(data[0]["time"])):
        update = update if isinstance(update, list) else [update]
        stream.update([rows(data[series], begin, end) for series, begin, end in update if end > begin])
    assert_as_from_history(stream, data)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"scaling": "last"},
        {"scaling": "global", "use_dt": False, "dt_as_feature": False},
        {"layer_kwargs": {"discretization": "dirac"}, "distr_output": "student_t"},
        {"layer_kwargs": {"discretization": "bilinear"}, "num_layers": 1},
        {"distr_output": "negative_binomial"},
    ],
)
def test_streams_of_other_networks_equal_the_whole_history(data, kwargs):
    if "negative_binomial" in kwargs.values():
        data = [one | {"target": np.round(np.exp(one["target"]))} for one in data]
    predictor = S5ContinuousEstimator(**{**SMALL, **kwargs}, target_dim=2).train(data)
    stream = predictor.stream([rows(one, 0, BEGUN) for one in data])
    for update in at_random(30):
        stream.update([rows(data[series], begin, end) for series, begin, end in update if end > begin])
    assert_as_from_history(stream, data)


def test_values_several_contexts_ago_are_forgotten():
    """The states of a long stream stay in the range of the training windows."""
    settings = SMALL | dict(context_length=20, scaling="global", target_dim=2)
    predictor = S5ContinuousEstimator(**settings).train([entry(seed, n=60) for seed in range(3)])
    whole = entry(0, n=400)
    streams = []
    for begin in (0, 280):
        streams.append(predictor.stream([rows(whole, begin, begin + 20)]))
        streams[-1].update([rows(whole, begin + 20, 400)])
    old, young = (stream.states.tensors["layers"] for stream in streams)
    assert torch.allclose(old, young, atol=1e-4 * float(old.abs().max()))


def test_a_stream_begins_with_the_forecast_of_the_predictor(predictor, data):
    """The stream starts from the context alone if the history is longer."""
    short = S5ContinuousEstimator(**{**SMALL, "context_length": 8}, target_dim=2).train(data)
    for one in (predictor, short):
        asked = [asking(given) for given in data]
        expected = one.predict_quantiles(asked, LEVELS)
        for found, wanted in zip(one.stream(data).predict_quantiles(asked, LEVELS), expected, strict=True):
            assert np.allclose(found, wanted, atol=1e-6)


def test_with_features_and_datetimes(data):
    """One variable, in a time zone across the change to daylight saving time."""
    changed = []
    for seed, one in enumerate(data):
        n = len(one["time"])
        changed.append(
            {
                "item_id": seed,
                "time": START.tz_localize("Europe/Paris") + pd.to_timedelta(one["time"], "h"),
                "target": one["target"][0],
                "feat_dynamic_real": np.random.default_rng(seed).normal(size=(1, n)),
                "past_feat_dynamic_real": np.where(np.arange(n) % 3, np.nan, 1.0)[None],
                "feat_static_real": [float(seed)],
                "feat_static_cat": [seed],
            }
        )
    predictor = S5ContinuousEstimator(
        **{**SMALL, "prediction_horizon": "5h"}, cycles=["day"], num_feat_dynamic_real=1, num_past_feat_dynamic_real=1,
        num_feat_static_real=1, num_feat_static_cat=1, cardinality=[3],
    ).train(changed)  # fmt: skip
    stream = predictor.stream([rows(one, 0, BEGUN) for one in changed])
    for update in at_random(30):
        stream.update([rows(changed[series], begin, end) for series, begin, end in update if end > begin])
    ahead = pd.to_timedelta(AHEAD, "h")
    asked = [asking(one, ahead) for one in changed]
    expected = from_history(stream, asked)[1]
    assert np.allclose(stream.predict_quantiles(asked, LEVELS)[1], expected, atol=1e-5)
    (forecast,) = stream.predict(asked[1:2])
    assert (forecast.index == asked[1]["query_time"]).all() and forecast.item_id == 1
    assert forecast.mean.shape == (3,) and np.allclose(forecast.quantile(0.5), expected[3:6, 0, 1], atol=1e-5)
    naive = {**asked[0], "query_time": asked[0]["query_time"].tz_localize(None)}
    with pytest.raises(ValueError, match=r"series 0: query_time has no time zone"):
        stream.predict_quantiles([naive], LEVELS)


def test_a_row_without_a_value_changes_nothing(predictor, data):
    stream = predictor.stream(data)
    before = {name: tensor.clone() for name, tensor in stream.states.tensors.items()}
    stream.update([{"item_id": "s0", "time": [data[0]["time"][-1] + 1], "target": [[np.nan], [np.nan]]}])
    assert all(torch.equal(before[name].nan_to_num(), x.nan_to_num()) for name, x in stream.states.tensors.items())


def test_new_series_begin_with_a_value(predictor, data):
    stream = predictor.stream(data)
    stream.update([{"item_id": "new", "time": [3.0], "target": [[np.nan], [np.nan]]}])
    assert stream.items == ["s0", "s1", "s2"]


@pytest.mark.parametrize("value", [1e20, 1e37, 1e300])
def test_forecasts_are_finite_after_an_outlier(predictor, data, value):
    """The outlier stands for an undetected code of missing values."""
    stream = predictor.stream(data[:1])
    last = data[0]["time"][-1]
    stream.update([{"item_id": "s0", "time": [last + 1], "target": [[value], [np.nan]]}])
    assert np.isfinite(stream.predict_quantiles([asking(data[0], [2.0])], LEVELS)[1]).all()
    calm = {"item_id": "s0", "time": last + 2 + np.arange(400.0), "target": np.zeros((2, 400))}
    stream.update([calm])
    assert np.isfinite(stream.predict_quantiles([asking(calm, [1.0])], LEVELS)[1]).all()


def test_new_series_are_normalized_by_the_training_data(predictor, data):
    """The result does not depend on how the rows are divided into updates."""
    found = []
    for bounds in ([0, 30], [0, 1, 2, 17, 30]):
        stream = predictor.stream(data[:1])
        for begin, end in itertools.pairwise(bounds):
            stream.update([rows(data[1], begin, end)])
        assert stream.items == ["s0", "s1"] and len(stream) == 2
        found.append(stream.predict_quantiles([asking(data[1])], LEVELS)[1])
        assert_as_from_history(stream, data[:2])
    assert np.allclose(*found, atol=1e-5)
    network = predictor.network
    assert torch.equal(stream.states.tensors["loc"][1, 0], network.location)
    assert torch.equal(stream.states.tensors["scale"][1, 0], network.spread)


def test_a_new_series_needs_its_static_features(data):
    given = [one | {"feat_static_real": [1.0]} for one in data]
    stream = S5ContinuousEstimator(**SMALL, target_dim=2, num_feat_static_real=1).train(given).stream(given[:1])
    with pytest.raises(ValueError, match=r"series 's1' has no field 'feat_static_real'"):
        stream.update(data[1:2])
    assert len(stream) == 1
    stream.update(given[1:2])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda one: rows(one, 20, 25),
            r"series 's1': time .* is not after the last observation, at .*; remove rows",
        ),
        (lambda one: rows(one, 29, 30) | {"target": [[np.nan]] * 2}, r"series 's1': time .* is not after"),
        (lambda one: one | {"time": one["time"][::-1]}, r"series 's1': time goes back"),
        (lambda one: {"item_id": "s1", "time": [99.0], "target": [[1.0]]}, r"series 's1': target has shape \(1, 1\)"),
        (lambda one: {"item_id": "s1", "time": [START], "target": [[1.0], [1.0]]}, "holds datetimes"),
        (lambda one: {"item_id": "s1", "time": [99.0], "target": [[np.inf], [1.0]]}, "infinite"),
    ],
)
def test_invalid_rows_change_no_state(predictor, data, wrong, message):
    stream = predictor.stream(data)
    before = {name: tensor.clone() for name, tensor in stream.states.tensors.items()}
    fits = {"item_id": "s0", "time": [data[0]["time"][-1] + 1], "target": [[1.0], [2.0]]}
    for update in ([fits, wrong(data[1])], [wrong(data[1]), fits], [{**fits, "item_id": "new"}, wrong(data[1])]):
        with pytest.raises(ValueError, match=message):
            stream.update(update)
        assert stream.items == ["s0", "s1", "s2"]
        assert all(torch.equal(before[name].nan_to_num(), x.nan_to_num()) for name, x in stream.states.tensors.items())


def test_invalid_queries_are_refused(predictor, data):
    stream = predictor.stream(data)
    with pytest.raises(ValueError, match=r"series 's1': query_time .* is not after the last observation.*later times"):
        list(stream.predict([asking(data[1], np.array([1.0, 0.0]))]))
    with pytest.raises(ValueError, match=r"series 'other' is not in the stream"):
        list(stream.predict([asking(data[1]) | {"item_id": "other"}]))
    with pytest.raises(ValueError, match="several entries"):
        stream.update([rows(data[0], 0, 1)] * 2)
    with pytest.raises(ValueError, match="two series have the item_id 's0'"):
        predictor.stream([data[0], data[0]])


def test_loaded_stream_continues(predictor, data, tmp_path):
    """Thousands of series, some of which are new in the stream."""
    many = [{**rows(data[i % 3], 0, 4), "item_id": i} for i in range(2000)]
    stream = predictor.stream(many[:1500])
    stream.update(many[1500:])
    stream.save(tmp_path / "stream")
    assert {path.suffix for path in (tmp_path / "stream").iterdir()} == {".json", ".npz"}
    again = ForecastStream.load(tmp_path / "stream", predictor)
    assert again.items == stream.items
    later = [{**rows(data[i % 3], 4, 6), "item_id": i} for i in range(0, 2000, 3)]
    for one in (stream, again):
        one.update(later)
    asked = [asking(one) for one in later]
    for one, other in zip(*(s.predict_quantiles(asked, LEVELS) for s in (stream, again)), strict=True):
        assert np.array_equal(one, other)


def test_saved_states_require_the_same_model(predictor, data, tmp_path):
    predictor.stream(data).save(tmp_path)
    other = S5ContinuousEstimator(**SMALL, target_dim=2, seed=1).train(data)
    with pytest.raises(ValueError, match="of another model"):
        ForecastStream.load(tmp_path, other)
    described = json.loads((tmp_path / "stream.json").read_text())
    (tmp_path / "stream.json").write_text(json.dumps(described | {"format_version": 99}))
    with pytest.raises(ValueError, match="format 99"):
        ForecastStream.load(tmp_path, predictor)


REGULAR = {key: value for key, value in SMALL.items() if key != "prediction_horizon"} | dict(
    freq="h", prediction_length=5, context_length=24, lags_seq=[1, 2, 7, 30]
)
RECURSIVE = {"recursion": "encoder"}
CAUSAL = {"layer_kwargs": {"bidirectional": False}, "patch_length": 1}
FIRST, LAST = 40, 60


def steps(seed, begin=0, end=LAST):
    rng = np.random.default_rng(seed)
    target = np.sin(np.arange(LAST) / 4) + seed + 0.1 * rng.normal(size=LAST)
    target[rng.random(LAST) < 0.1] = np.nan
    return {"item_id": seed, "start": pd.Period("2024-01-01", "h") + begin, "target": target[begin:end]}


@pytest.mark.parametrize(
    ("make", "kwargs"),
    [
        (S5AutoregressiveEstimator, RECURSIVE),
        (S5AutoregressiveEstimator, RECURSIVE | {"scaling": "last", "num_layers": 1}),
        (S5AutoregressiveEstimator, CAUSAL),
        (S5Estimator, CAUSAL),
    ],
)
def test_regular_streams_equal_a_context_that_began_where_they_did(make, kwargs):
    data = [steps(seed) for seed in range(3)]
    predictor = make(**{**REGULAR, **kwargs}).train(data)
    stream = predictor.stream([steps(seed, 0, FIRST) for seed in range(3)])
    items = [{"item_id": seed} for seed in range(3)]
    expected = predictor.predict_quantiles([steps(seed, 0, FIRST) for seed in range(3)], LEVELS)
    for found, wanted in zip(stream.predict_quantiles(items, LEVELS), expected, strict=True):
        assert np.allclose(found, wanted, atol=1e-5)
    for begin in range(FIRST, LAST):
        stream.update([steps(1, begin, begin + 1)])
    for bounds in ([(0, 40, 47), (2, 40, 43)], [(2, 43, 60)], [(0, 47, 60)]):
        stream.update([steps(*each) for each in bounds])
    states, L = stream.states.tensors, REGULAR["context_length"] + LAST - FIRST
    history = SeriesHistory(*(states[name] for name in SeriesHistory._fields))
    spec = predictor.spec._replace(context_length=L, scaling="none")
    window = read_store(data, spec, forecast=False).gather(torch.arange(3), torch.full((3,), LAST))
    loc, scale = states["loc"], states["scale"]
    window = window._replace(
        values=(window.mask * (window.values - loc) / scale).float(),
        lags=(window.lag_mask * (window.lags - loc[..., None]) / scale[..., None]).float(),
        static_real=states["static_real"],
    )
    along_time = ("values", "mask", "lags", "lag_mask", "calendar", "covariates")
    context = window._replace(**{name: getattr(window, name)[:, :L] for name in along_time})
    with torch.no_grad():
        expected = predictor.network.update_state(context, history)
    torch.testing.assert_close(states["layers"], torch.stack(expected, dim=1), atol=1e-5, rtol=1e-5)
    time = states["time"][:, None] + torch.arange(1, 6)
    horizon = history.ahead(time, torch.empty(3, 5, 0), predictor.spec)
    known = torch.ones(5, 4) if kwargs is CAUSAL else torch.arange(5)[:, None] < torch.tensor(REGULAR["lags_seq"])
    for name in ("lags", "lag_mask", "calendar"):
        one, other = getattr(horizon, name), getattr(window, name)[:, L:]
        shown = known if name != "calendar" else torch.ones(5, 1)
        torch.testing.assert_close(one * shown, other * shown, atol=1e-5, rtol=1e-5)
    forecast = next(iter(stream.predict(items)))
    assert forecast.start_date == data[0]["start"] + LAST and str(forecast.item_id) == "0"


@pytest.mark.parametrize(
    ("make", "kwargs"),
    [(S5AutoregressiveEstimator, RECURSIVE), (S5AutoregressiveEstimator, CAUSAL), (S5Estimator, CAUSAL)],
)
def test_forecasts_are_finite_after_an_outlying_step(make, kwargs):
    predictor = make(**{**REGULAR, **kwargs}).train([steps(seed) for seed in range(3)])
    stream = predictor.stream([steps(0, 0, FIRST)])
    stream.update([steps(0, FIRST, FIRST + 1) | {"target": [1e37]}])
    stream.update([steps(0, FIRST + 1)])
    assert np.isfinite(stream.predict_quantiles([{"item_id": 0}], LEVELS)[1]).all()


def test_invalid_steps_change_no_state():
    predictor = S5AutoregressiveEstimator(**REGULAR, **RECURSIVE).train([steps(seed) for seed in range(3)])
    stream = predictor.stream([steps(seed, 0, FIRST) for seed in range(3)])
    before = {name: tensor.clone() for name, tensor in stream.states.tensors.items()}
    for wrong, message in (
        (steps(1, 39, 41), r"series 1: start 2024-01-02 15:00 is not after the last observation, at 2024-01-02 15:00"),
        ({**steps(1, 40, 41), "item_id": 5}, r"series 5 is not in the stream.*give its history to stream\(\)"),
        (steps(0, 41, 42), "several entries"),
    ):
        with pytest.raises(ValueError, match=message):
            stream.update([steps(0, 40, 41), wrong])
        assert all(torch.equal(before[name].nan_to_num(), x.nan_to_num()) for name, x in stream.states.tensors.items())
    # the omitted rows are missing
    stream.update([steps(0, 42, 43)])
    explicit = predictor.stream([steps(seed, 0, FIRST) for seed in range(3)])
    explicit.update([steps(0, 40, 43) | {"target": [np.nan, np.nan, steps(0)["target"][42]]}])
    torch.testing.assert_close(stream.states.tensors["layers"], explicit.states.tensors["layers"])


def test_bidirectional_estimators_cannot_stream():
    data = [steps(seed) for seed in range(2)]
    for kwargs, reason in (
        ({}, "is bidirectional.*S5AutoregressiveEstimator with recursion='encoder'"),
        ({**CAUSAL, "patch_length": 4}, "takes 4 steps as one.*patch_length=1"),
    ):
        with pytest.raises(ValueError, match=reason):
            S5Estimator(**REGULAR, **kwargs).train(data).stream(data)
