"""PretrainedNetwork: what any forecast of it must fulfill, trained or not."""

import pytest
import torch

from s5forecast.networks.pretrained import (
    LEVELS,
    PATCH,
    Origins,
    PretrainedNetwork,
    _errors,
    _lagged,
    _location,
    _window_mean,
    describe,
)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return PretrainedNetwork(width=16, num_layers=2, state_size=8, hidden=16).eval()


@pytest.fixture
def values():
    generator = torch.Generator().manual_seed(1)
    steps = torch.arange(96)
    season = 3 * torch.sin(2 * torch.pi * steps / 12)
    return 20 + season + torch.randn(4, 96, generator=generator, dtype=torch.float64)


SEASONS = torch.tensor([[12.0, 0.0], [12.0, 24.0], [0.0, 0.0], [7.0, 30.44]])


def test_quantiles_increase_and_follow_the_scale(network, values):
    forecast = network.forecast(values, SEASONS, 20)
    assert forecast.shape == (4, 20, len(LEVELS)) and (forecast.diff(dim=-1) > 0).all()
    torch.testing.assert_close(network.forecast(1000 * values, SEASONS, 20), 1000 * forecast, rtol=1e-4, atol=1e-2)


def test_series_do_not_influence_each_other(network, values):
    together = network.forecast(values, SEASONS, 20)
    alone = torch.cat([network.forecast(values[i : i + 1], SEASONS[i : i + 1], 20) for i in range(4)])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)


def test_features_of_a_patch_depend_on_its_past_only(network, values):
    changed = values.clone()
    changed[:, 48:] += 5 * torch.randn(4, 48, dtype=torch.float64)
    kept = 48 // PATCH
    first, second = (network.encode(describe(x, SEASONS))[:, :kept] for x in (values, changed))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("case", ["missing", "constant", "zero", "one value"])
def test_forecasts_of_difficult_series_are_finite(network, values, case):
    if case == "missing":
        values[:, 10:60] = torch.nan
    elif case == "constant":
        values[:] = 7.0
    elif case == "zero":
        values[:] = 0.0
    else:
        values[:, :-1] = torch.nan
    assert network.forecast(values, SEASONS, 30).isfinite().all()


@pytest.mark.parametrize("missing", [8, 16, 80])
def test_missing_values_before_the_first_one_have_no_effect(network, values, missing):
    later = torch.cat([torch.full((4, missing), torch.nan, dtype=torch.float64), values], dim=1)
    torch.testing.assert_close(
        network.forecast(later, SEASONS, 20), network.forecast(values, SEASONS, 20), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize(("seasons", "period", "exact"), [
    ((5.0, 0.0), 5, [2, 3, 4, 5]), ((5.0, 15.0), 15, [6, 7, 8]), ((0.0, 17.0), 17, [6, 7]),
])  # fmt: skip
def test_simple_forecasts_of_periodic_series_are_exact(seasons, period, exact):
    generator = torch.Generator().manual_seed(2)
    whole = torch.randn(period, generator=generator, dtype=torch.float64).repeat(160)[:160].unsqueeze(0)
    past = describe(whole[:, :136], torch.tensor([seasons]))
    at = Origins(torch.zeros(3, dtype=torch.long), torch.full((3,), 136), torch.arange(3))
    loc, scale = past.loc[:, -1:], past.scale[:, -1:]
    *_, candidates, known = _lagged(past, at, loc.expand(3, 1), scale.expand(3, 1))
    mean, spread = _location(whole[:, :136])
    future = ((whole[0, 136:].reshape(3, 8) - mean) / spread - loc) / scale
    for index in exact:
        assert known[..., index].all()
        torch.testing.assert_close(candidates[..., index], future.float(), rtol=1e-3, atol=1e-3)


def test_errors_of_simple_forecasts_are_those_of_a_loop():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 64, generator=generator)
    mask = torch.rand(1, 64, generator=generator) > 0.2
    x = x * mask
    seasons = torch.tensor([[4.0, 13.0]])
    loc, known = _window_mean(x, mask, torch.tensor([[4]]))
    begin = mask.int().argmax(1, keepdim=True)
    errors = _errors(x, mask, seasons, loc, known, torch.tensor([[4]]), torch.arange(64) - begin)
    expected = {"season": [], "step": [], "long": [], "level": []}
    for t in range(64):
        if not mask[0, t]:
            continue
        for name, lag in (("step", 1), ("season", 4), ("long", 12)):
            if t >= lag and mask[0, t - lag]:
                expected[name].append(abs(x[0, t] - x[0, t - lag]))
        if t > begin:
            recent = [x[0, i] for i in range(max(t - 4, 0), t) if mask[0, i]] or [
                x[0, i] for i in range(t) if mask[0, i]
            ]
            expected["level"].append(abs(x[0, t] - sum(recent) / len(recent)))
    for name, values in expected.items():
        torch.testing.assert_close(errors[name][0, -1], sum(values) / len(values), rtol=1e-4, atol=1e-5)
