"""Training on two processes: they see, and learn from, the windows of one process with twice the batch size."""

import warnings

import numpy as np
import pytest
import torch
from gluonts.dataset.common import ListDataset
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy, FSDPStrategy

from s5forecast.estimators import (
    EnsembleEstimator,
    S5AutoregressiveEstimator,
    S5ContinuousEstimator,
    S5Estimator,
    S5MultivariateEstimator,
)
from s5forecast.estimators.plan import planned

SIZE = {"width": 8, "num_layers": 1, "state_size": 4, "dropout": 0.0, "num_batches_per_epoch": 2, "max_epochs": 2}
REGULAR = {"prediction_length": 4, "freq": "h", "context_length": 12, **SIZE}
TWO = {"accelerator": "cpu", "strategy": "ddp_notebook", "devices": 2}
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


class Seen(Callback):
    """Writes the horizons of the training windows of each process."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_index):
        rows = batch.target.flatten(1).tolist()
        torch.save(rows, self.folder / f"{trainer.world_size}-{trainer.global_step}-{trainer.global_rank}")


def series(dim=None):
    """Series of different scales with many missing values, so that the shares of two processes differ."""
    rng = np.random.default_rng(0)
    for number in range(5):
        shape = (40,) if dim is None else (dim, 40)
        target = rng.normal(size=shape) * 10**number
        target[rng.random(shape) < number / 6] = np.nan
        yield {"target": target, "start": "2024-01-01", "weight": rng.random(40)}


def regular():
    return ListDataset(series(), freq="h")


def joint():
    return ListDataset(series(2), freq="h", one_dim_target=False)


def irregular():
    time = np.random.default_rng(0).exponential(size=(5, 40)).cumsum(1)
    return [{"time": t, "target": one["target"]} for t, one in zip(time, series(2), strict=True)]


CASES = {
    "direct": (S5Estimator, REGULAR | {"synthetic_share": 0.3, "weighted": True}, regular),
    "decoder": (S5AutoregressiveEstimator, REGULAR | {"recursion": "decoder", "synthetic_share": 0.3}, regular),
    "encoder": (S5AutoregressiveEstimator, REGULAR | {"recursion": "encoder", "synthetic_share": 0.3}, regular),
    "multivariate": (S5MultivariateEstimator, REGULAR | {"target_dim": 2}, joint),
    "continuous": (
        S5ContinuousEstimator,
        {"prediction_horizon": 5.0, "target_dim": 2, "variable_weights": [1.0, 3.0], **SIZE},
        irregular,
    ),
}


def trained(make, arguments, data, batch_size, **trainer_kwargs):
    quiet = {"enable_progress_bar": False, **trainer_kwargs}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "over the last horizon")
        return make(**arguments, batch_size=batch_size, trainer_kwargs=quiet).train_model(data, data)


def weights(output):
    return output.trained_net.network.state_dict()


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_as_one_with_twice_the_batch_size(name, tmp_path):
    make, arguments, data = CASES[name]
    one = trained(make, arguments, data(), 8, callbacks=[Seen(tmp_path)])
    two = trained(make, arguments, data(), 4, callbacks=[Seen(tmp_path)], **TWO)
    for step in range(1, 5):
        first, second = (torch.load(tmp_path / f"2-{step}-{rank}") for rank in range(2))
        if name != "continuous":  # whose windows are padded to the largest number of queries in a batch
            assert sorted(first + second) == sorted(torch.load(tmp_path / f"1-{step}-0"))
        assert len(first) == len(second)
    for key, metric in one.trainer.callback_metrics.items():
        torch.testing.assert_close(two.trainer.callback_metrics[key], metric, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights(two), weights(one), rtol=1e-5, atol=1e-5)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_processes_are_forked_from_one_that_used_several_threads(two_threads):
    torch.rand(1000, 1000) @ torch.rand(1000, 1000)
    arguments = REGULAR | {"width": 128}
    one = trained(S5Estimator, arguments, regular(), 256)
    two = trained(S5Estimator, arguments, regular(), 128, **TWO)
    torch.testing.assert_close(weights(two), weights(one), rtol=1e-4, atol=1e-4)


class Noted(Callback):
    """Writes a value of each process at the end of the training."""

    def __init__(self, folder, value):
        self.folder, self.value = folder, value

    def on_train_end(self, trainer, module):
        torch.save(self.value(trainer, module), self.folder / str(trainer.global_rank))

    def read(self):
        return [torch.load(self.folder / str(rank)) for rank in range(2)]


def random_number(trainer, module):
    return torch.rand(())


def test_processes_draw_different_dropout(tmp_path):
    noted = Noted(tmp_path, random_number)
    trained(S5Estimator, REGULAR, regular(), 4, callbacks=[noted], **TWO)
    first, second = noted.read()
    assert first != second


def stopped_at(trainer, module):
    return trainer.current_epoch, float(trainer.early_stopping_callback.best_score)


def test_both_processes_stop_early_and_the_best_weights_return(tmp_path):
    noted = Noted(tmp_path, stopped_at)
    arguments = REGULAR | {"max_epochs": 30, "lr": 1.0, "patience": 2}
    found = trained(S5Estimator, arguments, regular(), 4, callbacks=[noted], **TWO)
    (epochs, best), second = noted.read()
    assert (epochs, best) == second and epochs < 30
    network, estimator = found.trained_net.network.eval(), S5Estimator(**REGULAR)
    (batch,) = estimator.create_validation_data_loader(regular(), found.trained_net)
    assert float(network.loss(batch).detach()) == pytest.approx(best, rel=1e-5)


def test_an_ensemble_is_trained_with_one_bar_for_each_member(capfd):
    kwargs = {"batch_size": 4, "trainer_kwargs": TWO}
    one = EnsembleEstimator(S5Estimator(**REGULAR, **kwargs), 2).train(regular())
    assert len(one.members) == 2
    shown = capfd.readouterr().err
    assert "training 1/2" in shown and "training 2/2: 100%" in shown and "Initializing" not in shown
    alone = S5Estimator(**REGULAR | {"seed": 1, "context_length": one.members[1].spec.context_length}, **kwargs)
    torch.testing.assert_close(
        alone.train_model(regular()).trained_net.network.state_dict(), one.members[1].network.state_dict()
    )


def test_a_time_limit_counts_the_steps_of_the_processes():
    with planned([1.0], 0.5):
        found = trained(S5Estimator, REGULAR | {"max_epochs": 10_000}, regular(), 4, **TWO)
    assert 0 < found.predictor.choices["num_steps"]["value"] < 20_000


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed_stage_2", "deepspeed", FSDPStrategy()])
def test_strategies_that_divide_the_network_are_refused(strategy):
    with pytest.raises(ValueError, match=r"strategy='(fsdp|deepspeed|FSDP).*use 'ddp' in a script"):
        S5Estimator(**REGULAR, trainer_kwargs={"strategy": strategy})


@pytest.mark.parametrize(
    "strategy", [None, "auto", "ddp", "ddp_spawn", "ddp_find_unused_parameters_true", DDPStrategy()]
)
def test_strategies_that_divide_the_windows_are_accepted(strategy):
    given = {} if strategy is None else {"strategy": strategy}
    assert S5Estimator(**REGULAR, trainer_kwargs=given).trainer_kwargs.get("strategy") is strategy
