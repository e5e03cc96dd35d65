"""Normal output whose scale cannot underflow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from gluonts.torch.distributions import NormalOutput as GluonTSNormalOutput
from torch import Tensor


class NormalOutput(GluonTSNormalOutput):
    """Normal distribution; GluonTS's own lets ``softplus`` underflow to a scale of zero, which is refused."""

    @classmethod
    def domain_map(cls, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        scale = F.softplus(scale).clamp_min(torch.finfo(scale.dtype).eps)
        return loc.squeeze(-1), scale.squeeze(-1)
