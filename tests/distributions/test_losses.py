"""Training losses: their values, their minima, and the losses that each output supports."""

import pytest
import torch
from gluonts.torch.distributions import ISQFOutput

from s5forecast.distributions import (
    LOSSES,
    GammaOutput,
    HurdleLogNormalOutput,
    NormalOutput,
    PoissonOutput,
    QuantileOutput,
    check_loss,
    losses_of,
)

LEVELS = [0.1, 0.5, 0.9]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_is_minimal_at_the_true_distribution(loss):
    torch.manual_seed(0)
    target = 1 + 2 * torch.randn(20_000, dtype=torch.float64)

    def of(loc, scale):
        args = (torch.full_like(target, loc), torch.full_like(target, scale))
        return LOSSES[loss](NormalOutput(), target, args, None, LEVELS).mean()

    best = of(1.0, 2.0)
    assert all(of(*other) > best for other in ((0.7, 2.0), (1.3, 2.0), (1.0, 1.6), (1.0, 2.5)))


@pytest.mark.parametrize("loss", ["crps", "quantile"])
def test_losses_are_in_units_of_the_scale(loss):
    args = (torch.tensor([0.5, 2.0]), torch.tensor([1.0, 3.0]))
    target, scale = torch.tensor([1.0, 2.0]), torch.full((2,), 100.0)
    scaled = LOSSES[loss](GammaOutput(), 100 * target, args, scale, LEVELS)
    assert torch.allclose(scaled, LOSSES[loss](GammaOutput(), target, args, None, LEVELS))
    assert scaled.dtype == torch.float32


def test_the_quantile_loss_of_a_distribution_is_that_of_its_quantiles():
    args = (torch.tensor([0.5, 2.0]), torch.tensor([1.0, 3.0]))
    quantiles = NormalOutput().distribution(args).icdf(torch.tensor(LEVELS)[:, None]).T
    target = torch.tensor([1.0, -4.0])
    expected = QuantileOutput(LEVELS).loss(target, (quantiles,))
    assert torch.allclose(LOSSES["quantile"](NormalOutput(), target, args, None, LEVELS), expected)


def test_defaults_and_errors():
    assert check_loss(None, QuantileOutput(LEVELS)) == "quantile" and check_loss(None, NormalOutput()) == "nll"
    assert losses_of(HurdleLogNormalOutput()) == list(LOSSES) and losses_of(PoissonOutput()) == ["nll", "crps"]
    assert losses_of(ISQFOutput(5, [0.1, 0.9])) == ["nll"]
    with pytest.raises(ValueError, match="cannot be trained with loss='quantile'; choose one of 'nll', 'crps'"):
        check_loss("quantile", PoissonOutput())
    with pytest.raises(ValueError, match="multivariate"):
        check_loss("energy", NormalOutput())
    with pytest.raises(ValueError, match="unknown loss 'mse'"):
        check_loss("mse", NormalOutput())
