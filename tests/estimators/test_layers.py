"""Every layer in every estimator: it can be trained, saved and streamed, or is refused before training."""

import numpy as np
import pandas as pd
import pytest
from gluonts.model.predictor import Predictor

from s5forecast import S5AutoregressiveEstimator, S5ContinuousEstimator, S5Estimator, S5MultivariateEstimator
from s5forecast.ssm import LAYERS

SIZES = dict(
    context_length=24, width=8, num_layers=2, state_size=4, batch_size=4, num_batches_per_epoch=2, max_epochs=1,
    device="cpu", trainer_kwargs={"enable_progress_bar": False},
)  # fmt: skip
REGULAR = SIZES | dict(freq="h", prediction_length=5, lags_seq=[1, 2, 7], synthetic_share=0.0)
MIXTURE = ["s5", "lru"]
LEVELS = [0.1, 0.5, 0.9]
LENGTH, FIRST = 50, 40


def steps(seed, begin=0, end=LENGTH):
    target = np.sin(np.arange(LENGTH) / 4) + seed + 0.1 * np.random.default_rng(seed).normal(size=LENGTH)
    target[[10, 44]] = np.nan
    return {"item_id": seed, "start": pd.Period("2024-01-01", "h") + begin, "target": target[begin:end]}


def causal(layer):
    """The arguments of a layer that make it causal."""
    return {"bidirectional": False} if "bidirectional" in LAYERS[layer].generic_arguments else {}


@pytest.mark.parametrize("layer", LAYERS)
def test_forecasts_of_every_layer(layer, tmp_path):
    data = [steps(seed) for seed in range(3)]
    predictor = S5Estimator(**REGULAR, layer=layer).train(data)
    mean, quantiles = predictor.predict_quantiles(data, LEVELS)
    assert np.isfinite(mean).all() and (np.diff(quantiles) >= 0).all()
    predictor.serialize(tmp_path)
    again = Predictor.deserialize(tmp_path)
    assert np.array_equal(again.predict_quantiles(data, LEVELS)[1], quantiles)


@pytest.mark.parametrize("layer", LAYERS)
def test_streams_of_every_layer(layer, tmp_path):
    """A stream equals one that began later, and single updates equal one of several steps."""
    data = [steps(seed) for seed in range(3)]
    predictor = S5Estimator(**REGULAR, layer=layer, layer_kwargs=causal(layer), patch_length=1).train(data)
    if not predictor.network.encoder.supports_step:
        with pytest.raises(ValueError, match=f"cannot stream: this {LAYERS[layer].__name__} layer has no step mode"):
            predictor.stream(data)
        return
    begun = [steps(seed, 0, FIRST) for seed in range(3)]
    stream, other = predictor.stream(begun), predictor.stream(begun)
    items = [{"item_id": seed} for seed in range(3)]
    expected = predictor.predict_quantiles(begun, LEVELS)
    for found, wanted in zip(stream.predict_quantiles(items, LEVELS), expected, strict=True):
        assert np.allclose(found, wanted, atol=1e-5)
    for begin in range(FIRST, LENGTH):
        stream.update([steps(1, begin, begin + 1)])
    stream.save(tmp_path)
    stream = type(stream).load(tmp_path, predictor)
    stream.update([steps(0, FIRST, 47), steps(2, FIRST, 43)])
    other.update([steps(seed, FIRST, end) for seed, end in enumerate((47, LENGTH, 43))])
    for found, wanted in zip(*(one.predict_quantiles(items, LEVELS) for one in (stream, other)), strict=True):
        assert np.isfinite(found).all() and np.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("layer", LAYERS)
def test_paths_of_every_layer(layer):
    data = [steps(seed) for seed in range(3)]
    joint = [{"start": data[0]["start"], "target": np.stack([one["target"] for one in data])}]
    for estimator, dataset in (
        (S5AutoregressiveEstimator(**REGULAR, layer=layer, recursion="encoder", num_parallel_samples=5), data),
        (S5MultivariateEstimator(**without(REGULAR, "synthetic_share"), layer=layer, target_dim=3), joint),
    ):
        if layer == "dss_softmax":
            with pytest.raises(ValueError, match="this DSSSoftmax layer has no step mode, because its kernel"):
                estimator.train(dataset)
            continue
        for forecast in estimator.train(dataset).predict(dataset):
            assert np.isfinite(forecast.samples).all()


@pytest.mark.parametrize("layer", LAYERS)
def test_irregular_series_of_every_layer(layer):
    """They need irregular steps, and the state at later times."""
    estimator = S5ContinuousEstimator(**SIZES, prediction_horizon=5.0, layer=layer)
    cls = LAYERS[layer]
    rng = np.random.default_rng(0)
    data = [{"time": np.cumsum(rng.exponential(size=60)), "target": rng.normal(size=(1, 60))} for _ in range(3)]
    if not (cls.supports_dt and cls.supports_advance):
        with pytest.raises(ValueError, match=f"this {cls.__name__} layer"):
            estimator.train(data)
        return
    asked = [{**one, "query_time": one["time"][-1] + np.array([0.5, 2.0])} for one in data]
    mean, _ = estimator.train(data).predict_quantiles(asked, LEVELS)
    assert np.isfinite(np.concatenate([np.ravel(one) for one in mean])).all()


def test_streams_of_states_of_different_kinds(tmp_path):
    data = [steps(seed) for seed in range(3)]
    arguments = {"layer": ["mega", "s5"], "layer_kwargs": {"bidirectional": False, "chunk_size": 8}, "patch_length": 1}
    predictor = S5Estimator(**REGULAR, **arguments).train(data)
    stream = predictor.stream([steps(seed, 0, FIRST) for seed in range(3)])
    stream.update([steps(1, FIRST), steps(2, FIRST, 45)])
    stream.save(tmp_path)
    again = type(stream).load(tmp_path, predictor)
    for one in (stream, again):
        one.update([steps(2, 45)])
    items = [{"item_id": seed} for seed in range(3)]
    for found, wanted in zip(*(one.predict_quantiles(items, LEVELS) for one in (again, stream)), strict=True):
        assert np.array_equal(found, wanted)


def without(arguments, name):
    return {key: value for key, value in arguments.items() if key != name}


@pytest.mark.parametrize("layer", LAYERS)
def test_other_sampling_rates_of_every_layer(layer):
    data = [steps(seed) for seed in range(3)]
    predictor = S5Estimator(**REGULAR, layer=layer, patch_length=1).train(data)
    if "step_scale" not in LAYERS[layer].generic_arguments:
        with pytest.raises(ValueError, match=f"layer '{layer}' does not take step_scale"):
            predictor.rescaled(0.5)
        return
    halves = [{**one, "start": pd.Period("2024-01-01", "30min"), "target": np.repeat(one["target"], 2)} for one in data]
    assert np.isfinite(predictor.rescaled(0.5).predict_quantiles(halves, LEVELS)[0]).all()


def test_mixtures_of_layers(tmp_path):
    data = [steps(seed) for seed in range(3)]
    arguments = REGULAR | {"layer": MIXTURE, "patch_length": 1}
    with pytest.raises(ValueError, match="num_layers=1"):
        S5Estimator(**{**arguments, "num_layers": 1})
    with pytest.raises(ValueError, match="none of the layers has an argument 'gates'"):
        S5Estimator(**arguments, layer_kwargs={"gates": 2})
    both = S5Estimator(**arguments)
    assert both.choices["scaling"].reason == "provisional until training starts"
    assert [type(block.layer) for block in both.create_network().encoder.blocks] == [LAYERS[name] for name in MIXTURE]
    predictor = both.train(data)
    predictor.serialize(tmp_path)
    expected = predictor.predict_quantiles(data, LEVELS)[1]
    assert np.array_equal(Predictor.deserialize(tmp_path).predict_quantiles(data, LEVELS)[1], expected)
    scales = [block.layer.step_scale for block in predictor.rescaled(0.5).network.encoder.blocks]
    assert scales == [0.5, 0.5]
    causal = S5Estimator(**arguments, layer_kwargs={"bidirectional": False}).train(data)
    stream = causal.stream([steps(0, 0, FIRST)])
    stream.update([steps(0, FIRST)])
    assert np.isfinite(stream.predict_quantiles([{"item_id": 0}], LEVELS)[1]).all()
    paths = S5AutoregressiveEstimator(**REGULAR, layer=MIXTURE, recursion="encoder", num_parallel_samples=5)
    assert all(np.isfinite(forecast.samples).all() for forecast in paths.train(data).predict(data))
