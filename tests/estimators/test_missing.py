"""missing="skip": context steps without a value are left out, and the next step is as long as the gap."""

import numpy as np
import pytest
import torch
from conftest import SMALL, H, L, entry

from s5forecast.data.entries import read_series
from s5forecast.estimators import S5Estimator
from s5forecast.windows.batches import LastWindows
from s5forecast.windows.regular import SeriesStore


def network(**kwargs):
    torch.manual_seed(0)
    made = S5Estimator(**{**SMALL, "num_layers": 2, "patch_length": 1, **kwargs}).create_network().eval()
    torch.nn.init.normal_(made.linear.horizon.weight)
    return made


def window(made, gaps):
    """The last windows of series with missing values at ``gaps``, a list of positions for each series."""
    entries = []
    for seed, positions in enumerate(gaps):
        one = entry(40, seed=seed)
        one["target"][40 - L + np.array(positions, dtype=int)] = np.nan
        entries.append(one)
    store = SeriesStore(read_series(entries, made.spec, forecast=True), made.spec)
    (batch,) = LastWindows(store, batch_size=len(entries), known=False)
    return batch


GAPS = [[], [0, 1, 2], [10, 11], [3, 4, 5, 8], list(range(L)), [0, 6, 11]]


def test_network_steps_are_observed_steps_and_the_horizon():
    made = network(missing="skip", layer_kwargs={"bidirectional": False})
    batch, seen = window(made, GAPS), []
    made.encoder.register_forward_hook(lambda module, args, kwargs, output: seen.append(output[0]), with_kwargs=True)
    with torch.no_grad():
        made(batch)
        rows = made._inputs(batch, H)
        for series, gap in enumerate(GAPS):
            state, last = made.encoder.initial_state(1), None
            for step in [step for step in range(L + H) if step not in gap]:
                dt = torch.tensor([1.0 if last is None else step - last])
                y, state = made.encoder.step(rows[series, step][None], state, dt)
                last = step
                if step >= L:
                    assert torch.allclose(seen[0][series, step - L - H], y[0], atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_without_missing_values_it_is_the_same_network(bidirectional):
    skipping, imputing = (
        network(missing=missing, layer_kwargs={"bidirectional": bidirectional}) for missing in ("skip", "impute")
    )
    imputing.load_state_dict(skipping.state_dict())
    full, holed = window(skipping, [[], [], []]), window(skipping, GAPS)
    with torch.no_grad():
        for batch, same in ((full, True), (holed, False)):
            found, expected = skipping(batch).quantiles([0.1, 0.5, 0.9]), imputing(batch).quantiles([0.1, 0.5, 0.9])
            assert np.allclose(found, expected, rtol=1e-5, atol=1e-5) == same


def test_values_of_missing_cells_are_ignored():
    made = network(missing="skip")
    batch = window(made, GAPS)
    other = batch._replace(values=torch.where(batch.mask > 0, batch.values, 7.0))
    with torch.no_grad():
        expected, found = made(batch).quantiles([0.1, 0.9]), made(other).quantiles([0.1, 0.9])
    assert np.array_equal(found, expected)


def test_covariates_of_skipped_steps_are_ignored():
    made = network(missing="skip", num_past_feat_dynamic_real=1)
    rng = np.random.default_rng(0)
    found = []
    for _ in range(2):
        one = entry(40)
        one["target"][33:36] = np.nan
        past = np.zeros((1, 40), dtype=np.float32)
        past[0, 33:36] = rng.normal(size=3)
        store = SeriesStore(read_series([one | {"past_feat_dynamic_real": past}], made.spec, forecast=True), made.spec)
        (batch,) = LastWindows(store, batch_size=1, known=False)
        with torch.no_grad():
            found.append(made(batch).quantiles([0.5]))
    assert np.array_equal(*found)


def test_gradients_are_finite_without_any_value():
    made = network(missing="skip")
    batch = window(made, [list(range(L))] * 2)
    batch.mask[:, L:] = 1
    made.loss(batch).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in made.parameters() if parameter.grad is not None)
    assert made.encoder.blocks[0].layer.Lambda.grad is not None


def test_series_that_begin_and_end_in_a_gap(make_one):
    one, other = entry(60), entry(30, "b")
    one["target"][:20] = one["target"][-2 * L :] = np.nan
    other["target"][[0, 5, 28, 29]] = np.nan
    predictor = make_one(missing="skip").train([one, other])
    with pytest.warns(UserWarning, match="of series 'a'"):
        forecasts = list(predictor.predict([one, other]))
    for forecast in forecasts:
        assert np.isfinite([forecast.mean, *(forecast.quantile(level) for level in (0.1, 0.9))]).all()


def test_it_takes_single_steps(make_one):
    assert S5Estimator("h", 24, missing="skip").network_kwargs["patch_length"] == 1
    with pytest.raises(ValueError, match="leave patch_length at 1, or missing at 'impute'"):
        make_one(missing="skip", patch_length=4)
    with pytest.raises(ValueError, match="unknown missing 'drop'; choose one of 'impute', 'skip'"):
        make_one(missing="drop")


def test_streams_are_refused_with_the_fix(make_one, data):
    predictor = make_one(missing="skip", layer_kwargs={"bidirectional": False}).train(data)
    with pytest.raises(ValueError, match="missing='impute'"):
        predictor.stream(data)
