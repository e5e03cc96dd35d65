"""Input features of networks: covariates of each step, static features and categories of each series."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LARGEST_SCORE = 10.0  # standard deviations


class FeatureInputs(nn.Module):
    """Covariates, static features and categories as network inputs; the base of networks that take them.

    The constructor of a network calls :meth:`add_features`, creates its projection of the steps and, if it takes static
    features, calls :meth:`add_static_inputs`. The names of the attributes below and their order are part
    of the format of saved models and streams.
    """

    covariates: Standardization
    statics: Standardization
    static_input: nn.Linear
    categories: CategoryEmbedding | None

    def add_features(self, num_covariates: int, num_statics: int | None = None) -> int:
        """Create the standardization of covariates and static features.

        Args:
            num_covariates: covariates of each step.
            num_statics: static features that are standardized; ``None`` if the network takes none.

        Returns:
            The number of input features that the covariates add to each step.
        """
        self.covariates = Standardization(num_covariates)
        if num_statics is not None:
            self.statics = Standardization(num_statics)
        return 2 * num_covariates

    def add_static_inputs(self, cardinality: list[int], width: int, num_others: int = 0) -> None:
        """Create the projection of the static features and the embedding of the categories.

        Args:
            cardinality: number of categories of each categorical feature.
            width: features of the network.
            num_others: static features that are not standardized.
        """
        self.static_input = nn.Linear(2 * len(self.statics.mean) + num_others, width)
        self.categories = CategoryEmbedding(cardinality, width) if cardinality else None

    @torch.no_grad()
    def fit_standardization(self, covariates: Tensor, static_real: Tensor) -> None:
        """Take location and scale of covariates and static features from training windows."""
        self.covariates.fit(covariates)
        self.statics.fit(static_real)

    def step_inputs(self, features: Sequence[Tensor], calendar: Tensor, covariates: Tensor) -> Tensor:
        """Concatenate the network's own features, each ``[..., F]``, the calendar and the standardized covariates."""
        return torch.cat([*features, calendar, self.covariates(covariates)], dim=-1)

    def static_inputs(self, static_real: Tensor, static_cat: Tensor, others: Tensor | None = None) -> Tensor:
        """Project static features and categories to ``[B, width]``, to be added to all steps of a series."""
        features = self.statics(static_real)
        inputs = self.static_input(features if others is None else torch.cat([features, others], dim=-1))
        return inputs if self.categories is None else inputs + self.categories(static_cat)


class Standardization(nn.Module):
    """``clamp((x - mean) / std)`` of each feature and an indicator of observed values, ``[..., F] -> [..., 2 F]``.

    :meth:`fit` sets mean and standard deviation. A missing value, NaN, becomes 0. Values more than ten standard
    deviations from the mean are clipped.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_features))
        self.register_buffer("std", torch.ones(num_features))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take mean and standard deviation over all but the last dimension; a constant feature keeps scale 1."""
        x = x.flatten(0, -2).double()
        count = (~x.isnan()).sum(0).clamp(min=1)
        mean = x.nansum(0) / count
        std = (((x - mean) ** 2).nansum(0) / count).sqrt()
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0, std, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        z = ((x - self.mean) / self.std).clamp(-LARGEST_SCORE, LARGEST_SCORE)
        return torch.cat([z.nan_to_num(0.0), (~x.isnan()).to(z.dtype)], dim=-1)


class CategoryEmbedding(nn.Module):
    """Sum of one embedding per categorical feature; unknown categories are embedded as zero.

    In training, each category is replaced by the unknown one with probability ``hidden``, so that the network learns
    to forecast without it.

    Args:
        cardinality: number of categories of each feature.
        width: size of the embedding.
        hidden: probability of hiding a category.
    """

    def __init__(self, cardinality: list[int], width: int, hidden: float = 0.05) -> None:
        super().__init__()
        self.cardinality = cardinality
        self.hidden = hidden
        self.tables = nn.ModuleList(nn.Embedding(count + 1, width, padding_idx=count) for count in cardinality)

    def forward(self, categories: Tensor) -> Tensor:
        """``categories [B, F]`` to ``[B, width]``; codes outside ``0 ... cardinality - 1`` are unknown."""
        columns = []
        for count, table, code in zip(self.cardinality, self.tables, categories.unbind(-1), strict=True):
            unknown = (code < 0) | (code >= count)
            if self.training:
                unknown = unknown | (torch.rand(code.shape, device=code.device) < self.hidden)
            columns.append(table(torch.where(unknown, count, code)))
        return torch.stack(columns).sum(0)
