"""Student's t output for heavy tails."""

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import StudentT as TorchStudentT

from s5forecast.distributions.base import ForecastDistribution, ForecastOutput
from s5forecast.distributions.normal import positive_scale
from s5forecast.distributions.special import (
    from_scipy,
    implicit,
    log_beta_half,
    scipy_special,
    stdtr,
    student_log_density,
)


class StudentT(ForecastDistribution, TorchStudentT):
    """Student's t distribution with quantiles and, for ``df > 1``, a closed-form CRPS.

    Example:
        >>> import torch
        >>> from s5forecast.distributions.student_t import StudentT
        >>> distribution = StudentT(df=torch.tensor(5.0), loc=torch.tensor(0.0), scale=torch.tensor(1.0))
        >>> round(distribution.icdf(torch.tensor(0.9)).item(), 3)
        1.476
        >>> round(distribution.crps(torch.tensor(0.0)).item(), 3)
        0.257
    """

    def _cdf(self, value: Tensor) -> Tensor:
        return stdtr(self.df, (value - self.loc) / self.scale)

    def icdf(self, value: Tensor) -> Tensor:
        value = value.to(self.df.dtype)
        x = from_scipy(_quantile, value, self.df)
        return implicit(self.loc.detach() + self.scale.detach() * x, value, self.cdf, self.log_prob)

    def _log_prob(self, value: Tensor) -> Tensor:
        return student_log_density(self.df, (value - self.loc) / self.scale) - self.scale.log()

    def _expected_distance(self, value: Tensor) -> Tensor:
        z = (value - self.loc) / self.scale
        tail = torch.exp(student_log_density(self.df, z) + torch.log(self.df + z**2))
        return self.scale * (z * (2 * stdtr(self.df, z) - 1) + 2 * tail / (self.df - 1))

    @property
    def gini_mean_difference(self) -> Tensor:
        df = self.df
        log_ratio = log_beta_half(df - 0.5) - 2 * log_beta_half(df / 2)
        return self.scale * 4 * df.sqrt() / (df - 1) * log_ratio.exp()


def _quantile(level: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Quantiles of the standard Student's t; ``stdtrit`` gives positive infinity at level 0."""
    return np.where(level == 0, -np.inf, scipy_special("stdtrit")(df, level))


class StudentTOutput(ForecastOutput):
    """Student's t distribution with more than 2 degrees of freedom, so that the variance is finite."""

    args_dim: ClassVar[dict[str, int]] = {"df": 1, "loc": 1, "scale": 1}
    distr_cls: type = StudentT

    @classmethod
    def domain_map(cls, df: Tensor, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        df = 2.0 + F.softplus(df).clamp_min(1e-3)
        return df.squeeze(-1), loc.squeeze(-1), positive_scale(scale)
