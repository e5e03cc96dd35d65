"""Shared arguments are spread into the signatures of the estimators."""

import inspect

import pytest

from s5forecast import S5AutoregressiveEstimator, S5ContinuousEstimator, S5Estimator, S5MultivariateEstimator
from s5forecast.estimators.arguments import FEATURES, NETWORK, TRAINING, NetworkArguments, spread_arguments

ESTIMATORS = (S5AutoregressiveEstimator, S5ContinuousEstimator, S5Estimator, S5MultivariateEstimator)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_signatures_are_flat(estimator):
    parameters = inspect.signature(estimator).parameters
    assert {*NETWORK._fields, *TRAINING._fields} <= set(parameters)
    assert not {"network", "features", "training"} & set(parameters)
    assert all(one.kind is one.POSITIONAL_OR_KEYWORD for one in parameters.values())
    assert list(estimator.__init__.Model.__fields__) == list(parameters)
    for name, default in {**NETWORK._asdict(), **TRAINING._asdict()}.items():
        if name not in ("max_epochs", "predict_batch_size"):
            assert parameters[name].default == default


def test_order_of_the_arguments():
    names = list(inspect.signature(S5Estimator).parameters)
    assert names == [
        "freq", "prediction_length", "context_length", "lags_seq", "scaling", "patch_length", "distr_output",
        "quantile_levels", "loss", *NETWORK._fields, "synthetic_share", *FEATURES._fields, *TRAINING._fields, "missing",
    ]  # fmt: skip


def test_positional_arguments_and_hyperparameters():
    estimator = S5Estimator("h", 4, 48, [1], "last", 2, "normal", None, None, 16)
    assert estimator.network_kwargs["width"] == 16 and estimator.__init_args__["width"] == 16
    again = S5Estimator.from_hyperparameters(**estimator.__init_args__)
    assert again.__init_args__ == estimator.__init_args__
    assert S5Estimator.from_hyperparameters(freq="h", prediction_length=4, lr="0.5").lr == 0.5
    with pytest.raises(TypeError, match="num_layer"):
        S5Estimator("h", 4, num_layer=2)


def test_defaults_are_those_of_the_parameter():
    narrow = NetworkArguments(width=3)

    @spread_arguments
    def init(self, first, network=narrow, last=5):
        self.found = first, network, last

    one = type("One", (), {"__init__": init})(first=1, dropout=0.5)
    assert one.found == (1, NetworkArguments(width=3, dropout=0.5), 5)
    assert inspect.signature(init).parameters["width"].default == 3
    assert list(inspect.signature(init).parameters)[-1] == "last"
