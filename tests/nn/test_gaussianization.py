"""Normal scores by the empirical distribution, and their inverse."""

import numpy as np
import torch
from scipy.stats import kstest

from s5forecast.nn import Gaussianization


def fitted(values):
    values = torch.as_tensor(values)
    scores = Gaussianization(values.shape[-1])
    scores.fit(values, torch.ones_like(values))
    return scores


def test_scores_are_normal_and_inverted():
    rng = np.random.default_rng(0)
    values = np.stack([rng.exponential(size=5000), 1e9 * rng.standard_t(3, size=5000)], axis=-1)
    scores = fitted(values)
    z = scores(torch.from_numpy(values))
    for d in range(2):
        assert kstest(z[:, d].numpy(), "norm").statistic < 0.01
    assert torch.allclose(scores.inverse(z), torch.from_numpy(values), rtol=1e-9, atol=1e-9)
    assert scores(torch.from_numpy(values).float()).dtype == torch.float32


def test_values_beyond_the_data_are_extrapolated_and_inverted():
    scores = fitted(np.random.default_rng(0).normal(size=(1000, 1)))
    far = torch.tensor([[-1e6], [-8.0], [8.0], [1e6]], dtype=torch.float64)
    z = scores(far)
    assert (z.diff(dim=0) > 0).all() and z[0] < -3 < 3 < z[-1]
    assert torch.allclose(scores.inverse(z), far)


def test_repeated_values_get_the_middle_of_their_scores():
    values = np.concatenate([np.zeros(500), np.linspace(1, 2, 500)])[:, None]
    scores = fitted(values)
    # half of the mass lies at zero: its scores are those of the levels from 0 to 0.5
    assert abs(scores(torch.zeros(1, 1, dtype=torch.float64)).item() - (-3 + 0) / 2) < 0.06
    assert (scores.inverse(torch.linspace(-2.9, -0.1, 20).unsqueeze(-1)) == 0).all()
    constant = fitted(np.full((10, 1), 7.0))
    assert constant(torch.tensor([[7.0]])).item() == 0 and constant.inverse(torch.zeros(1, 1)).item() == 7
    assert torch.isfinite(constant(torch.tensor([[8.0]]))).all()


def test_missing_values_are_left_out():
    values = torch.arange(10.0).unsqueeze(-1).expand(-1, 2).clone()
    mask = torch.ones_like(values)
    values[5:, 0], mask[5:, 0], mask[:, 1] = 1e9, 0, 0
    scores = Gaussianization(2)
    scores.fit(values, mask)
    assert scores.inverse(torch.full((1, 2), 3.0)).max() < 5
