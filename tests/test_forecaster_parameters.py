"""Parameters of S5Forecaster: nested ones, searches of scikit-learn, and what a frame decides."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, ParameterGrid

from s5forecast import S5Forecaster
from s5forecast import estimators as ours
from s5forecast.estimators.arguments import FeatureArguments
from s5forecast.forecaster_parameters import ESTIMATORS
from s5forecast.forecaster_training import OWN_ARGUMENTS, check_estimator_kwargs

H = 4
SMALL = {
    "context_length": 12, "width": 8, "num_layers": 1, "state_size": 4, "num_batches_per_epoch": 1, "max_epochs": 1,
    "trainer_kwargs": {"enable_progress_bar": False},
}  # fmt: skip


@pytest.fixture
def df():
    rng = np.random.default_rng(0)
    stamps = pd.date_range("2024", periods=60, freq="h")
    parts = [pd.DataFrame({"item_id": item, "timestamp": stamps, "target": rng.normal(size=60)}) for item in "ab"]
    return pd.concat(parts, ignore_index=True)


def test_nested_parameters_are_set_one_at_a_time():
    given = dict(SMALL)
    forecaster = S5Forecaster(H, estimator_kwargs=given)
    forecaster.set_params(estimator_kwargs__lr=0.01, estimator_kwargs__trainer_kwargs__precision=32, seed=3)
    expected = {**SMALL, "lr": 0.01, "trainer_kwargs": {"enable_progress_bar": False, "precision": 32}}
    assert forecaster.estimator_kwargs == expected and forecaster.seed == 3
    assert given == SMALL, "the dictionary of the user was changed"
    assert S5Forecaster(H).set_params(estimator_kwargs__lr=0.1).estimator_kwargs == {"lr": 0.1}
    for name in ("rate", "seed__lr", "estimator__lr"):
        with pytest.raises(ValueError, match=rf"unknown parameter '{name}' .* such as estimator_kwargs__lr"):
            forecaster.set_params(**{name: 1})


def test_parameter_grids_and_clones(df):
    losses = {}
    forecaster = S5Forecaster(H, "h", verbose=False, estimator_kwargs=SMALL)
    for parameters in ParameterGrid({"estimator_kwargs__lr": [0.001, 0.1], "seed": [0]}):
        one = clone(forecaster).set_params(**parameters)
        losses[parameters["estimator_kwargs__lr"]] = one.backtest(df, metrics=["WQL"]).metrics["WQL"].iloc[0]
    assert losses[0.001] != losses[0.1] and "lr" not in forecaster.estimator_kwargs


def test_grid_search(df):
    def negative_loss(forecaster, last, y=None):
        merged = forecaster.predict().merge(last, on=["item_id", "timestamp"])
        assert len(merged) == 2 * H
        return -float((merged["0.5"] - merged["target"]).abs().mean())

    cut = df["timestamp"].unique()[-H]
    folds = [(np.flatnonzero(df["timestamp"] < cut), np.flatnonzero(df["timestamp"] >= cut))]
    forecaster = S5Forecaster(H, "h", verbose=False, estimator_kwargs=SMALL)
    search = GridSearchCV(forecaster, {"estimator_kwargs__lr": [1e-4, 0.1]}, scoring=negative_loss, cv=folds).fit(df)
    best = search.best_params_["estimator_kwargs__lr"]
    assert search.best_estimator_.estimator_kwargs == {**SMALL, "lr": best}
    assert search.best_estimator_.predict()["timestamp"].min() > df["timestamp"].max()


def test_plot_requires_a_fitted_forecaster(df):
    with pytest.raises(NotFittedError, match=r"call fit\(df\) first"):
        S5Forecaster(H).plot(df.assign(mean=0.0), df)


@pytest.mark.parametrize("name", sorted({*ESTIMATORS["regular"].values(), *ESTIMATORS["irregular"].values()}))
def test_what_a_frame_decides_is_not_offered(name):
    for own in OWN_ARGUMENTS:
        with pytest.raises(ValueError, match=rf"estimator_kwargs has '{own}', which S5Forecaster sets"):
            check_estimator_kwargs(getattr(ours, name), {own: 1})
    with pytest.raises(ValueError, match="estimator_kwargs has 'learning_rate'; the arguments of") as error:
        check_estimator_kwargs(getattr(ours, name), {"learning_rate": 1})
    assert not [own for own in (*OWN_ARGUMENTS, *FeatureArguments._fields) if f"'{own}'" in str(error.value)[40:]]


def test_whole_dictionaries_are_set_before_their_values():
    forecaster = S5Forecaster(3).set_params(estimator_kwargs__lr=0.1, estimator_kwargs={"width": 8})
    assert forecaster.estimator_kwargs == {"width": 8, "lr": 0.1}
