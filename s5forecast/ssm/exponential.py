"""The exponential of parameters that are logarithms, such as those of decay rates and time steps."""

import torch
from torch import Tensor

LIMIT = 30.0  # products and squares of exp(30), about 1e13, are finite in float32


def bounded_exp(x: Tensor) -> Tensor:
    """``exp(x)`` for x between ``-LIMIT`` and ``LIMIT``; constant beyond, where the gradient is zero.

    Optimizers may drive a logarithm so far that its exponential overflows, and a layer then returns NaN.
    """
    return torch.exp(x.clamp(-LIMIT, LIMIT))
