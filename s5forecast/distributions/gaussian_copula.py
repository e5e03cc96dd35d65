"""Gaussian copula output with low-rank correlations and any continuous marginals."""

from typing import Any

import torch
from gluonts.core.component import validated
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import independent, real

from s5forecast.distributions.joint import JointOutput
from s5forecast.distributions.multivariate_normal import correlated, observed_log_prob
from s5forecast.distributions.normal import NormalOutput
from s5forecast.distributions.output import DistributionOutput

# Probabilities are clamped to this distance from 0 and 1, seven standard deviations, or to the resolution of the type.
SMALLEST_PROBABILITY = 1e-12


class GaussianCopula(Distribution):
    r"""Continuous marginals ``F_d`` with a Gaussian copula of correlation ``R = s (I + F F^T) s``.

    .. math:: \log p(y) = \sum_d \log f_d(y_d) + \log N(z; 0, R) - \sum_d \log N(z_d; 0, 1), \qquad
              z_d = \Phi^{-1}(F_d(y_d))

    Args:
        marginals: distribution of batch shape ``[..., D]`` with ``cdf`` and ``icdf``.
        factor: ``[..., D, R]``.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  torch's own spelling
    support = independent(real, 1)

    def __init__(self, marginals: Distribution, factor: Tensor) -> None:
        self.marginals, self.factor = marginals, factor
        shape = marginals.batch_shape
        super().__init__(shape[:-1], shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.marginals.mean

    @property
    def variance(self) -> Tensor:
        return self.marginals.variance

    @property
    def correlation(self) -> Tensor:
        """Correlation of the normal variables, ``[..., D, D]``."""
        factor = self._shrink().unsqueeze(-1) * self.factor
        return factor @ factor.mT + torch.diag_embed(self._shrink() ** 2)

    def log_prob(self, value: Tensor, mask: Tensor | None = None) -> Tensor:
        """Log-density ``[...]`` of values ``[..., D]``; those with a ``mask`` of 0 are integrated out."""
        mask = torch.ones_like(value) if mask is None else mask
        value = torch.where(mask > 0, value, self.mean.detach())
        normal = torch.special.ndtri(_clamped(self.marginals.cdf(value)))
        zero = torch.zeros_like(normal)
        joint = observed_log_prob(normal, mask, zero, self._shrink(), self.factor)
        independent = observed_log_prob(normal, mask, zero, torch.ones_like(normal), torch.zeros_like(self.factor))
        return (self.marginals.log_prob(value) * mask).sum(-1) + joint - independent

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        count = torch.Size(sample_shape).numel()
        normal = self._shrink() * correlated(self.factor, count)
        return self.marginals.icdf(_clamped(torch.special.ndtr(normal))).view(*sample_shape, *normal.shape[1:])

    def _shrink(self) -> Tensor:
        """Factors ``s`` that scale the variances of ``I + F F^T`` to one."""
        return (1 + (self.factor**2).sum(-1)).rsqrt()


class GaussianCopulaOutput(JointOutput):
    """Low-rank Gaussian copula with learned marginals of any continuous output.

    Args:
        dim: number of series, D.
        rank: rank of the correlations, R.
        marginal: univariate output of each series, :class:`NormalOutput` by default. Its distribution needs ``cdf`` and
            ``icdf``, which must be differentiable in the arguments for ``loss="energy"``.

    Raises:
        ValueError: for a marginal without a distribution.

    References:
        "High-Dimensional Multivariate Forecasting with Low-Rank Gaussian Copula Processes" (Salinas,
        Bohlke-Schneider, Callot, Medico, Gasthaus, 2019)
    """

    distr_cls: type = GaussianCopula

    @validated()
    def __init__(self, dim: int, rank: int = 8, marginal: Any = None) -> None:
        super().__init__(dim, rank)
        self.marginal: DistributionOutput = NormalOutput() if marginal is None else marginal
        if not isinstance(self.marginal, DistributionOutput) or self.marginal.event_shape != ():
            raise ValueError(
                f"{type(marginal).__name__} is not a univariate distribution; use an output such as NormalOutput()"
            )
        each = {f"marginal_{name}": dim * size for name, size in self.marginal.args_dim.items()}
        self.args_dim = {**each, "factor": dim * rank}  # type: ignore[misc]

    def domain_map(self, *args: Tensor) -> tuple[Tensor, ...]:
        """Map to arguments ``[..., D]`` of the marginals and ``factor [..., D, R]``."""
        *marginal, factor = (arg.unflatten(-1, (self.dim, -1)) for arg in args)
        return *self.marginal.domain_map(*marginal), factor

    def distribution(
        self, distr_args: tuple[Tensor, ...], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> GaussianCopula:
        """Shift and scale the marginals; the copula does not change."""
        *marginal, factor = distr_args
        return GaussianCopula(self.marginal.distribution(tuple(marginal), loc=loc, scale=scale), factor)

    def masked_log_prob(self, value: Tensor, mask: Tensor, args: tuple[Tensor, ...]) -> Tensor:
        wide = self.distribution(tuple(arg.double() for arg in args))
        return wide.log_prob(value.double(), mask.double()).to(value.dtype)

    def rsample(self, args: tuple[Tensor, ...], count: int) -> Tensor:
        wide = self.distribution(tuple(arg.double() for arg in args))
        return wide.rsample((count,)).to(args[0].dtype)


def _clamped(probability: Tensor) -> Tensor:
    smallest = max(SMALLEST_PROBABILITY, torch.finfo(probability.dtype).eps)
    return probability.clamp(smallest, 1 - smallest)
