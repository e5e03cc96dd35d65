"""Location and scale of windows."""

import numpy as np
import pytest
import torch

from s5forecast.windows.scaling import SCALINGS


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("factor", [1e-9, 1.0, 1e12])
def test_scalings_are_equivariant(scaling, factor):
    torch.manual_seed(0)
    values, mask = torch.randn(5, 9).double() + 3, (torch.rand(5, 9) > 0.3).double()
    mask[0] = 0
    mask[1, 1:] = 0
    loc, scale = SCALINGS[scaling](values, mask)
    scaled_loc, scaled_scale = SCALINGS[scaling](values * factor, mask)
    assert torch.isfinite(loc).all() and (scale > 0).all()
    if scaling != "none":
        observed = mask.sum(1) > 0
        assert torch.allclose(scaled_scale[observed], scale[observed] * factor, rtol=1e-9)
        assert torch.allclose(scaled_loc[observed], loc[observed] * factor, rtol=1e-9)


def test_scalings_use_observed_values():
    values, mask = (
        torch.tensor([[1.0, 3.0, 100.0, 5.0]]).double(),
        torch.tensor([[1.0, 1.0, 0.0, 1.0]]).double(),
    )
    loc, scale = SCALINGS["standard"](values, mask)
    assert loc.item() == 3 and scale.item() == pytest.approx(np.std([1, 3, 5]))
    assert SCALINGS["last"](values, mask)[0].item() == 5
    assert SCALINGS["mean"](values, mask)[1].item() == 3


@pytest.mark.parametrize(("level", "noise"), [(1e9, 10.0), (1e9, 0.0), (-3.0, 0.0), (0.0, 0.0)])
def test_nearly_constant_windows_keep_their_spread(level, noise):
    values = level + noise * torch.randn(1, 50, dtype=torch.float64)
    loc, scale = SCALINGS["standard"](values, torch.ones_like(values))
    assert loc.item() == pytest.approx(level, rel=1e-8)
    expected = values.std(correction=0).item() if noise else 0.01 * abs(level) or 1.0
    assert scale.item() == pytest.approx(expected, rel=1e-5)


def test_adaptive_scaling_takes_increments_of_steady_windows_only():
    torch.manual_seed(0)
    steady, noise = torch.randn(4, 32).double().abs().cumsum(1), torch.randn(4, 32).double()
    values = torch.cat([steady, -steady, noise])
    mask = torch.ones_like(values)
    found = torch.cat(SCALINGS["adaptive"](values, mask), 1)
    expected = {name: torch.cat(SCALINGS[name](values, mask), 1) for name in ("increments", "standard")}
    assert torch.equal(found[:8], expected["increments"][:8]) and torch.equal(found[8:], expected["standard"][8:])


def test_adaptive_scaling_needs_enough_steps():
    values = torch.arange(32.0, dtype=torch.float64)[None]
    mask = torch.zeros_like(values)
    mask[:, 24:] = 1  # seven steps between eight values
    assert SCALINGS["adaptive"](values, mask)[0] == values[:, 24:].mean()
