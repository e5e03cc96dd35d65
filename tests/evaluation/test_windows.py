"""GluonTS's evaluation of irregular forecasts with horizons of different lengths."""

import numpy as np
import pandas as pd
import pytest
from gluonts.ev.metrics import MAE, MeanWeightedSumQuantileLoss
from gluonts.model import evaluate_forecasts

from s5forecast.estimators import S5ContinuousEstimator
from s5forecast.evaluation import split_irregular


def entries(dim):
    rng = np.random.default_rng(0)
    for number, n in enumerate((20, 30, 25)):
        time = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.cumsum(rng.exponential(60, n) + 1), "min")
        target = rng.normal(size=(dim, n))
        yield {"item_id": number, "time": time, "target": target if dim > 1 else target[0]}


@pytest.mark.parametrize("dim", [1, 2])
def test_evaluate_forecasts_ignores_padding(dim):
    data = list(entries(dim))
    split = split_irregular(data, "5h", fraction=0.7)
    estimator = S5ContinuousEstimator(
        prediction_horizon="5h", target_dim=dim, width=8, num_layers=1, state_size=4, max_epochs=1,
        num_batches_per_epoch=2, device="cpu", trainer_kwargs={"enable_progress_bar": False},
    )  # fmt: skip
    predictor = estimator.train(split.training)
    metrics = [MAE(), MeanWeightedSumQuantileLoss([0.1, 0.5, 0.9])]
    found = evaluate_forecasts(predictor.predict(split.input), test_data=split, metrics=metrics, seasonality=1)
    errors = []
    for one, label, forecast in zip(data, split.label, predictor.predict(split.input), strict=True):
        cut = int(0.7 * len(one["time"]))
        ahead = (one["time"] > one["time"][cut - 1]) & (one["time"] <= one["time"][cut - 1] + pd.Timedelta("5h"))
        truth = one["target"][..., ahead]
        assert np.array_equal(label["target"][..., : ahead.sum()], truth)
        assert np.isnan(label["target"][..., ahead.sum() :]).all()
        assert (forecast.index[: ahead.sum()] == one["time"][ahead]).all()
        errors.append(np.abs(truth - forecast.quantile(0.5).T[..., : ahead.sum()]).ravel())
    assert len({len(each) for each in errors}) > 1, "the horizons are to be ragged"
    assert found["MAE[0.5]"].item() == pytest.approx(np.concatenate(errors).mean(), rel=1e-5)


def test_cuts():
    data = list(entries(1))
    by_count = split_irregular(data, count=4)
    assert [len(one["target"]) for one in by_count.label] == [4, 4, 4]
    assert [len(one["target"]) for one in by_count.training] == [16, 26, 21]
    since = data[0]["time"][5]
    by_time = split_irregular(data, since=since)
    assert len(by_time.training[0]["target"]) == 6 and all((one["time"] <= since).all() for one in by_time.training)
    with pytest.raises(ValueError, match="no series has observations"):
        split_irregular(data, since=pd.Timestamp("2030-01-01"))
    with pytest.raises(ValueError, match="time zone"):
        split_irregular(data, since=pd.Timestamp("2024-01-02", tz="UTC"))
