"""Negative binomial output in terms of its mean, for counts."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from gluonts.torch.distributions import DistributionOutput
from gluonts.torch.distributions.negative_binomial import NegativeBinomial
from torch import Tensor


class NegativeBinomialOutput(DistributionOutput):
    r"""Negative binomial distribution with mean :math:`\mu` and dispersion :math:`\alpha`.

    .. math:: \mathrm{Var}[y] = \mu + \alpha \mu^2

    A scale multiplies the mean, so that counts stay counts; there is no location.

    References:
        "DeepAR: Probabilistic Forecasting with Autoregressive Recurrent Networks" (Salinas, Flunkert,
        Gasthaus, Januschowski, 2020), section 3.1
    """

    args_dim: ClassVar[dict[str, int]] = {"mean": 1, "dispersion": 1}
    distr_cls: type = NegativeBinomial

    @classmethod
    def domain_map(cls, mean: Tensor, dispersion: Tensor) -> tuple[Tensor, Tensor]:
        # Beyond these the logits leave the range in which float32 can tell probabilities apart.
        mean = F.softplus(mean).clamp(1e-6, 1e12)
        dispersion = F.softplus(dispersion).clamp(1e-4, 1e4)
        return mean.squeeze(-1), dispersion.squeeze(-1)

    def distribution(
        self, distr_args: tuple[Tensor, Tensor], loc: Tensor | None = None, scale: Tensor | None = None
    ) -> NegativeBinomial:
        """The distribution of counts.

        Raises:
            ValueError: if a location is given.
        """
        if loc is not None:
            raise ValueError("counts cannot be shifted: the negative binomial takes a scale and no loc")
        mean, dispersion = distr_args
        if scale is not None:
            mean = mean * scale
        return NegativeBinomial(
            total_count=1 / dispersion, logits=torch.log(mean) + torch.log(dispersion), validate_args=False
        )

    @property
    def event_shape(self) -> tuple:
        return ()
