"""The contract of GluonTS's estimators and predictors, tested for every estimator in conftest."""

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import H, entry
from gluonts.dataset.common import ListDataset
from gluonts.dataset.pandas import PandasDataset
from gluonts.dataset.split import split
from gluonts.ev.metrics import MASE, MeanWeightedSumQuantileLoss
from gluonts.evaluation import make_evaluation_predictions
from gluonts.model import evaluate_model
from gluonts.model.forecast import Forecast, SampleForecast
from gluonts.model.predictor import Predictor
from gluonts.torch.model.estimator import PyTorchLightningEstimator
from gluonts.torch.model.predictor import PyTorchPredictor
from scipy.stats import ks_2samp

from s5forecast.distributions import is_real

LEVELS = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def arrays(forecasts):
    return np.stack([np.stack([f.mean, *(f.quantile(q) for q in LEVELS)]) for f in forecasts])


@pytest.fixture(scope="module")
def predictors():
    """Trained predictors by estimator, which no test changes."""
    return {}


@pytest.fixture
def trained(make, data, predictors):
    if make not in predictors:
        predictors[make] = make().train(data)
    return predictors[make]


@pytest.mark.parametrize("validated", [False, True])
def test_train_and_predict(make, data, validated):
    estimator = make()
    assert isinstance(estimator, PyTorchLightningEstimator)
    predictor = estimator.train(data, data if validated else None)
    assert isinstance(predictor, PyTorchPredictor)
    forecasts = list(predictor.predict(data))
    for given, forecast in zip(data, forecasts, strict=True):
        assert isinstance(forecast, Forecast)
        assert forecast.start_date == given["start"] + len(given["target"])
        assert forecast.item_id == given["item_id"] and forecast.info == given.get("info")
        assert forecast.prediction_length == H and len(forecast.index) == H
        assert forecast.mean.shape == (H,)
        for level in (0.05, *LEVELS, 0.99, "0.5"):
            assert forecast.quantile(level).shape == (H,)
        assert np.array_equal(forecast.median, forecast.quantile(0.5))
    found = arrays(forecasts)
    assert np.isfinite(found).all()
    assert (np.diff(found[:, 1:], axis=1) >= 0).all(), "quantiles cross"
    # quantiles of counts are whole numbers, but their mean is not
    inside = (found[:, 0] >= found[:, 1] - 0.5) & (found[:, 0] <= found[:, -1] + 0.5)
    assert inside.all(), "the mean is outside"


def test_all_kinds_of_features(make):
    def with_features(length, known, **kwargs):
        return entry(
            length,
            feat_dynamic_real=np.random.default_rng(0).normal(size=(2, length + known)),
            past_feat_dynamic_real=np.random.default_rng(1).normal(size=(1, length)),
            feat_static_real=[0.5],
            feat_static_cat=[1, 0],
            **kwargs,
        )

    estimator = make(
        num_feat_dynamic_real=2, num_past_feat_dynamic_real=1,
        num_feat_static_real=1, num_feat_static_cat=2, cardinality=[3, 2],
    )  # fmt: skip
    predictor = estimator.train([with_features(60, 0), with_features(50, 0, item_id="b")])
    (forecast,) = predictor.predict([with_features(40, H)])
    assert np.isfinite(forecast.mean).all()
    unknown = with_features(40, H) | {"feat_static_cat": [-1, -1]}
    assert np.isfinite(next(predictor.predict([unknown])).mean).all()
    with pytest.raises(ValueError, match="feat_static_cat is 7 in row 0, but its categories are numbered from 0 to 2"):
        next(predictor.predict([with_features(40, H) | {"feat_static_cat": [7, -1]}]))
    missing = with_features(40, H)
    missing["feat_dynamic_real"][0, 5] = np.nan
    assert np.isfinite(next(predictor.predict([missing])).mean).all()


def test_gluonts_evaluation(make):
    frame = pd.DataFrame({"target": entry(100)["target"]}, index=pd.date_range("2024", periods=100, freq="h"))
    data = PandasDataset({"a": frame, "b": frame + 1})
    train, template = split(data, offset=-3 * H)
    predictor = make().train(train)
    test = template.generate_instances(H, windows=3)
    metrics = evaluate_model(predictor, test_data=test, metrics=[MeanWeightedSumQuantileLoss(LEVELS), MASE()])
    assert np.isfinite(metrics.to_numpy()).all()
    forecasts, labels = make_evaluation_predictions(data, predictor=predictor, num_samples=10)
    for forecast, label in zip(forecasts, labels, strict=True):
        assert list(forecast.index) == list(label.index[-H:])


@pytest.fixture(scope="module")
def other_process():
    """Checks predictors in folders, one after the other, because a process takes seconds to start."""
    command = [sys.executable, "-c", CHECK_FOLDERS, str(Path(__file__).parent)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


CHECK_FOLDERS = """
import sys, traceback
import numpy as np
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from gluonts.model.predictor import Predictor
from conftest import entry
from test_contract import arrays
for line in sys.stdin:
    folder = Path(line.strip())
    try:
        found = arrays(Predictor.deserialize(folder).predict([entry()]))
        assert np.allclose(found, np.load(folder / "expected.npy"), rtol=1e-6)
        print("equal", flush=True)
    except Exception:
        print(repr(traceback.format_exc()), flush=True)
"""


def test_saved_and_loaded_in_another_process(trained, data, tmp_path, other_process):
    trained.serialize(tmp_path)
    again = Predictor.deserialize(tmp_path)
    assert isinstance(again, type(trained)) and again == trained
    assert np.array_equal(arrays(again.predict(data)), arrays(trained.predict(data)))
    np.save(tmp_path / "expected.npy", arrays(trained.predict([entry()])))
    print(tmp_path, file=other_process.stdin, flush=True)
    assert other_process.stdout.readline() == "equal\n"


def test_only_tensors_are_unpickled(make_one, data, tmp_path):
    make_one().train(data).serialize(tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".pt", ".txt"} & {
        path.suffix for path in tmp_path.iterdir()
    }
    state = torch.load(tmp_path / "prediction-net-state.pt", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in state.values())


def test_training_starts_from_a_predictor(make, trained, data):
    expected = arrays(trained.predict(data))
    # Without a step of training the weights are those that were given.
    same = make(lr=0.0, ssm_lr=0.0).train_from(trained, data)
    assert np.array_equal(arrays(same.predict(data)), expected)
    further = make().train_from(trained, data)
    assert not np.array_equal(arrays(further.predict(data)), expected)
    assert np.array_equal(arrays(trained.predict(data)), expected), "the first predictor was changed"


def test_the_same_seed_gives_the_same_forecasts(make, data):
    torch.manual_seed(3)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    first = arrays(make(seed=1).train(data, data).predict(data))
    assert torch.equal(torch.rand(1), drawn), "the global random state was changed"
    second = arrays(make(seed=1).train(data, data).predict(data))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, arrays(make(seed=2).train(data, data).predict(data)))


def test_interleaved_forecasts_keep_gradients_enabled(trained, data):
    for _ in zip(trained.predict(data), trained.predict(data), strict=True):
        assert torch.is_grad_enabled()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("dtype", [np.float64, np.int64, np.float32])
def test_dtypes_of_the_target(make, dtype):
    data = [entry(dtype=dtype)]
    (forecast,) = make().train(data).predict(data)
    expected = np.float32 if dtype is np.float32 else np.float64
    assert forecast.quantile(0.5).dtype == expected


def test_missing_values_and_short_series(make):
    holes = entry(70)
    holes["target"][[3, 10, 11, 50, 68, 69]] = np.nan
    lost = entry(70, "lost")
    lost["target"][30:] = np.nan  # no value in the context
    late = entry(70, "late")
    late["target"][:60] = np.nan
    data = [holes, lost, late, entry(3, "short"), entry(1, "single")]
    predictor = make().train(data)
    with pytest.warns(UserWarning, match="of series 'lost', 'short', 'single'"):
        forecasts = list(predictor.predict(data))
    assert np.isfinite(arrays(forecasts)).all()


@pytest.mark.parametrize("scale", [1e-9, 1, 1e12])
def test_extreme_scales_and_constant_series(make, scale):
    data = [entry(50, "scaled"), entry(50, "constant"), entry(50, "zero")]
    data[0]["target"] = (data[0]["target"] * scale).astype(np.float64)
    data[1]["target"] = np.full(50, scale)
    data[2]["target"] = np.zeros(50)
    estimator = make()
    if scale < 1 and not is_real(estimator.output):
        with pytest.raises(
            ValueError, match=r"series '(scaled|constant)': target contains .* the support of NegativeBinomialOutput"
        ):
            estimator.train(data)
        return
    found = arrays(estimator.train(data).predict(data))
    assert np.isfinite(found).all()
    assert abs(found[0]).max() < 1e3 * scale
    assert abs(found[1] - scale).max() < (0.2 if is_real(estimator.output) and scale < 1 else 100) * scale


def test_counts_have_quantiles_that_are_counts(make_one):
    counts, halves = [entry()], [entry() | {"target": entry()["target"] / 2}]
    (forecast,) = make_one().train(counts).predict(counts)
    found = np.stack([forecast.quantile(level) for level in LEVELS])
    assert (found >= 0).all() and (found % 1 == 0).all() and (forecast.mean >= 0).all()
    (forecast,) = make_one().train(halves).predict(halves)
    assert (np.stack([forecast.quantile(level) for level in LEVELS]) % 1 != 0).any()


def test_quantiles_that_are_not_counts_are_not_rounded(make_one):
    predictor = make_one().train([entry()])
    for target in (entry()["target"] / 100, entry()["target"] - 30):
        (forecast,) = predictor.predict([entry() | {"target": target}])
        assert (forecast.quantile(0.9) % 1 != 0).any()
        assert forecast.mean.mean() == pytest.approx(target.mean(), abs=10)
    fractions = [entry() | {"target": entry()["target"] / 3}]
    (forecast,) = make_one().train_from(predictor, fractions).predict([entry()])
    assert (forecast.quantile(0.5) % 1 != 0).any()


@pytest.mark.parametrize("values", [[1.0, 2.5, 3.0] * 9, [-1.0, 2.0, 3.0] * 9])
def test_targets_outside_the_support_are_refused(make_one, values):
    data = [entry(), entry(item_id="odd") | {"target": np.array(values)}]
    for training, validation in ((data, None), (data[:1], data)):
        with pytest.raises(
            ValueError, match=r"series 'odd': target contains .* outside the support of NegativeBinomialOutput"
        ):
            make_one(distr_output="negative_binomial").train(training, validation)


def test_past_covariates_of_the_horizon_are_not_seen(make_one):
    rng = np.random.default_rng(0)
    data = []
    for name in "abc":
        noise = rng.normal(size=150)
        data.append(entry(150, name) | {"target": noise, "past_feat_dynamic_real": noise[None]})
    kwargs = dict(max_epochs=4, num_batches_per_epoch=40, num_past_feat_dynamic_real=1, seed=1)
    (forecast, *_) = make_one(**kwargs).train(data).predict(data)
    width = (forecast.quantile(0.9) - forecast.quantile(0.1)).mean()
    assert width > 1.5  # 2.56 for standard normal noise


def test_forecasts_are_pickled_without_their_batch(trained, data):
    for forecast in trained.predict(data):
        again = pickle.loads(pickle.dumps(forecast))
        assert np.array_equal(again.quantile(0.3), forecast.quantile(0.3))
        assert np.array_equal(again.mean, forecast.mean)


def test_quantiles_of_counts_are_whole_numbers(make_one):
    data = [entry()]
    predictor = make_one(distr_output="negative_binomial").train(data)
    (forecast,) = predictor.predict(data)
    for level in LEVELS:
        assert (forecast.quantile(level) >= 0).all() and (forecast.quantile(level) % 1 == 0).all()
    samples = forecast.to_sample_forecast(50).samples
    assert samples.shape == (50, H) and (samples >= 0).all()


@pytest.mark.parametrize("freq", ["h", "15min", "D", "B", "W-TUE", "MS", "ME", "QS-FEB", "YE", "H", "M"])
def test_frequencies(make_one, freq):
    estimator = make_one(freq=freq)
    start = estimator.spec.frequency.period(pd.Timestamp("2024-01-01"), exact=False)
    data = [entry() | {"start": start}]
    (forecast,) = estimator.train(data).predict(data)
    assert np.isfinite(forecast.mean).all() and forecast.start_date.freqstr == start.freqstr


def test_from_inputs_counts_the_features(data):
    from s5forecast import S5Estimator

    data = ListDataset(
        [e | {"feat_static_cat": [i], "feat_dynamic_real": [e["target"]]} for i, e in enumerate(data)], "h"
    )
    estimator = S5Estimator.from_inputs(data, freq="h", prediction_length=4)
    assert estimator.spec.features.num_feat_dynamic_real == 1 and estimator.cardinality == [3]


@pytest.mark.parametrize("regular", [True, False])
def test_from_inputs_counts_the_categories(data, regular):
    from s5forecast import S5ContinuousEstimator, S5Estimator

    data = [
        e
        | {
            "feat_static_cat": [i, 1],
            "feat_dynamic_cat": np.stack([np.arange(len(e["target"])) % 3, np.zeros(len(e["target"]))]),
            "past_feat_dynamic_cat": (np.arange(len(e["target"])) % (2 + i))[None],
            "time": np.arange(float(len(e["target"]))),
        }
        for i, e in enumerate(data)
    ]
    make = S5Estimator if regular else S5ContinuousEstimator
    features = make.from_inputs(data, **({"freq": "h"} if regular else {}), prediction_length=4).spec.features
    assert list(features.dynamic_cardinalities) == [3, 1] and list(features.past_dynamic_cardinalities) == [4]
    assert features.num_feat_static_cat == 2


def test_a_batch_at_a_time_equals_one_by_one(trained, data):
    together = arrays(trained.predict(data))
    mean, quantiles = trained.predict_quantiles(data, LEVELS)
    assert np.allclose(np.moveaxis(quantiles, -1, 1), together[:, 1:], rtol=1e-5)
    assert np.allclose(mean, together[:, 0], rtol=1e-5)
    if isinstance(next(trained.predict(data)), SampleForecast):
        assert_drawn_alike(trained, data)
        return
    alone = np.concatenate([arrays(trained.predict([one])) for one in data])
    assert np.allclose(together, alone, rtol=1e-4, atol=1e-4)


def assert_drawn_alike(predictor, data):
    """Samples drawn in a batch and alone have the same distribution at each step (Kolmogorov-Smirnov test)."""
    together = predictor.predict(data, num_samples=1000)
    alone = (next(predictor.predict([one], num_samples=1000)) for one in data)
    for a, b in zip(together, alone, strict=True):
        assert min(ks_2samp(a.samples[:, h], b.samples[:, h], method="asymp").pvalue for h in range(H)) > 1e-4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_predictor_from_a_gpu_loads_on_a_cpu(make, data, tmp_path):
    predictor = make(device="cuda").train(data)
    predictor.serialize(tmp_path)
    again = type(predictor).deserialize(tmp_path, device="cpu")
    assert np.allclose(arrays(again.predict(data)), arrays(predictor.predict(data)), rtol=1e-3, atol=1e-3)


def test_weights_tagged_with_an_absent_device_load_on_a_cpu(make_one, data, tmp_path, monkeypatch):
    predictor = make_one().train(data)
    predictor.serialize(tmp_path)
    seen = {}
    load = torch.load

    def recorded(*args, **kwargs):
        seen.update(kwargs)
        return load(*args, **kwargs)

    monkeypatch.setattr(torch, "load", recorded)
    type(predictor).deserialize(tmp_path)
    assert seen["map_location"] == "cpu" and seen["weights_only"] is True
