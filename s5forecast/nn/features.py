"""Input features of networks: covariates of each step, static features and categories of each series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

LARGEST_SCORE = 10.0  # standard deviations
LARGEST_EMBEDDING = 50  # as in GluonTS's DeepAR


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
    step_categories: StepCategories
    _numeric: list[int]
    _categorical: list[int]

    def add_features(
        self, num_covariates: int, num_statics: int | None = None, categorical: Mapping[int, int] | None = None
    ) -> int:
        """Create the standardization of covariates and static features.

        Args:
            num_covariates: covariates of each step.
            num_statics: static features that are standardized; ``None`` if the network takes none.
            categorical: position, and number of categories, of each covariate that is categorical.

        Returns:
            The number of input features that the covariates add to each step.
        """
        categorical = categorical or {}
        self._numeric = [position for position in range(num_covariates) if position not in categorical]
        self._categorical = list(categorical)
        self.covariates = Standardization(len(self._numeric))
        if num_statics is not None:
            self.statics = Standardization(num_statics)
        if not categorical:
            return 2 * num_covariates
        self.step_categories = StepCategories(list(categorical.values()))
        return 2 * len(self._numeric) + self.step_categories.width

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
        self.fit_covariates(covariates)
        self.statics.fit(static_real)

    @torch.no_grad()
    def fit_covariates(self, covariates: Tensor) -> None:
        """Take location and scale of the numeric covariates from training windows."""
        self.covariates.fit(covariates[..., self._numeric] if self._categorical else covariates)

    def step_inputs(self, features: Sequence[Tensor], calendar: Tensor, covariates: Tensor) -> Tensor:
        """Concatenate the network's own features, each ``[..., F]``, the calendar and the covariates.

        Numeric covariates are standardized, categorical ones are embedded.
        """
        if not self._categorical:
            return torch.cat([*features, calendar, self.covariates(covariates)], dim=-1)
        numbers, codes = covariates[..., self._numeric], covariates[..., self._categorical]
        return torch.cat([*features, calendar, self.covariates(numbers), self.step_categories(codes)], dim=-1)

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


class StepCategories(nn.Module):
    """Embeddings of the categorical covariates of each step, one after the other.

    A missing category, NaN, has an embedding of its own, which is zero at first. An unknown category is embedded as
    zero. In training, each category is replaced by the unknown one with probability
    ``hidden``, as in :class:`CategoryEmbedding`. A covariate of n categories has ``min(50, (n + 1) // 2)`` features,
    as in GluonTS's DeepAR.

    Args:
        cardinality: number of categories of each covariate.
        hidden: probability of hiding a category.
    """

    def __init__(self, cardinality: list[int], hidden: float = 0.05) -> None:
        super().__init__()
        self.cardinality, self.hidden = cardinality, hidden
        sizes = [max(1, min(LARGEST_EMBEDDING, (count + 1) // 2)) for count in cardinality]
        self.width = sum(sizes)
        self.tables = nn.ModuleList(
            nn.Embedding(count + 2, size, padding_idx=count + 1) for count, size in zip(cardinality, sizes, strict=True)
        )
        with torch.no_grad():
            for count, table in zip(cardinality, self.tables, strict=True):
                cast(nn.Embedding, table).weight[count] = 0

    def forward(self, codes: Tensor) -> Tensor:
        """``codes [..., F]`` to ``[..., width]``; codes outside ``0 ... cardinality - 1`` are unknown."""
        columns = []
        for count, table, code in zip(self.cardinality, self.tables, codes.unbind(-1), strict=True):
            missing = code.isnan()
            unknown = ~missing & ((code < 0) | (code >= count))
            if self.training:
                unknown = unknown | (~missing & (torch.rand(code.shape, device=code.device) < self.hidden))
            known = code.nan_to_num(0.0).long().clamp(0, max(count - 1, 0))
            columns.append(table(torch.where(missing, count, torch.where(unknown, count + 1, known))))
        return torch.cat(columns, dim=-1)
