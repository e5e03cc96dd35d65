"""Multivariate normal output with a low-rank plus diagonal covariance."""

import math

import torch
import torch.nn.functional as F
from gluonts.core.component import validated
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal

from s5forecast.distributions.joint import JointOutput

SMALLEST_SCALE = 1e-6


class MultivariateNormalOutput(JointOutput):
    r"""Multivariate normal distribution with low-rank correlations.

    .. math:: \Sigma = \mathrm{diag}(\sigma) \, (I + F F^\top) \, \mathrm{diag}(\sigma), \qquad F \in R^{D \times R}

    The number of arguments and the time per evaluation grow linearly with the dimension.

    Args:
        dim: number of series, D.
        rank: number of columns of F, R.

    References:
        "High-Dimensional Multivariate Forecasting with Low-Rank Gaussian Copula Processes" (Salinas,
        Bohlke-Schneider, Callot, Medico, Gasthaus, 2019), section 3
    """

    distr_cls: type = LowRankMultivariateNormal

    @validated()
    def __init__(self, dim: int, rank: int = 8) -> None:
        super().__init__(dim, rank)
        self.args_dim = {"loc": dim, "scale": dim, "factor": dim * rank}  # type: ignore[misc]

    def domain_map(self, loc: Tensor, scale: Tensor, factor: Tensor) -> tuple[Tensor, ...]:
        """Map to ``loc [..., D]``, positive ``scale [..., D]`` and ``factor [..., D, R]``."""
        scale = F.softplus(scale).clamp_min(SMALLEST_SCALE)
        return loc, scale, factor.unflatten(-1, (self.dim, self.rank))

    def distribution(
        self, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> LowRankMultivariateNormal:
        """Distribution of ``loc + scale * X``, with both broadcast to ``[..., D]``."""
        mean, spread, factor = distr_args
        if scale is not None:
            mean, spread = mean * scale, spread * scale
        if loc is not None:
            mean = mean + loc
        return low_rank_normal(mean, spread, factor)

    def masked_log_prob(self, value: Tensor, mask: Tensor, args: tuple[Tensor, ...]) -> Tensor:
        loc, scale, factor = (arg.double() for arg in args)
        return observed_log_prob(value.double(), mask.double(), loc, scale, factor).to(value.dtype)

    def rsample(self, args: tuple[Tensor, ...], count: int) -> Tensor:
        loc, scale, factor = args
        return loc + scale * correlated(factor, count)


def low_rank_normal(loc: Tensor, scale: Tensor, factor: Tensor) -> LowRankMultivariateNormal:
    """Torch distribution; the matrix ``I + F^T F`` that it inverts has no eigenvalue below 1."""
    return LowRankMultivariateNormal(loc, scale.unsqueeze(-1) * factor, scale**2, validate_args=False)


def observed_log_prob(value: Tensor, mask: Tensor, loc: Tensor, scale: Tensor, factor: Tensor) -> Tensor:
    """Log-density of the values with a ``mask`` of 1.

    A missing value is replaced by its mean and made independent with scale 1; its known contribution is then removed.
    """
    value = torch.where(mask > 0, value, loc)
    scale = torch.where(mask > 0, scale, 1.0)
    density = low_rank_normal(loc, scale, factor * mask.unsqueeze(-1)).log_prob(value)
    return density + (1 - mask).sum(-1) * (math.log(2 * math.pi) / 2)


def correlated(factor: Tensor, count: int) -> Tensor:
    """Draw vectors ``[count, ..., D]`` with covariance ``I + F F^T``."""
    shape = (count, *factor.shape[:-1])
    common = torch.randn(count, *factor.shape[:-2], factor.shape[-1], 1, dtype=factor.dtype, device=factor.device)
    own = torch.randn(shape, dtype=factor.dtype, device=factor.device)
    return own + (factor @ common).squeeze(-1)
