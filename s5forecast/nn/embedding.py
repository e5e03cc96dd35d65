"""Embeddings of static categories."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class CategoryEmbedding(nn.Module):
    """Sum of one embedding per categorical feature; a category not seen in training is embedded as zero.

    While training, a category is hidden with probability ``hidden``, so that the network learns to do without.

    Arguments:
        cardinality: number of categories of each feature.
        width: size of the embedding.
    """

    def __init__(self, cardinality: list[int], width: int, hidden: float = 0.05) -> None:
        super().__init__()
        self.cardinality = cardinality
        self.hidden = hidden
        self.tables = nn.ModuleList(nn.Embedding(count + 1, width, padding_idx=count) for count in cardinality)

    def forward(self, categories: Tensor) -> Tensor:
        """``categories [B, F]`` to ``[B, width]``; codes outside ``0 … cardinality - 1`` are unknown."""
        columns = []
        for count, table, code in zip(self.cardinality, self.tables, categories.unbind(-1), strict=True):
            unknown = (code < 0) | (code >= count)
            if self.training:
                unknown = unknown | (torch.rand(code.shape, device=code.device) < self.hidden)
            columns.append(table(torch.where(unknown, count, code)))
        return torch.stack(columns).sum(0)
