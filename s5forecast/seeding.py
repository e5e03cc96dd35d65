"""Random generators seeded inside a block, with torch's own state restored after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int | None) -> Iterator[torch.Generator]:
    """A generator from ``seed``, with torch's own state seeded alike inside and as it was outside."""
    if seed is None:
        yield torch.Generator().manual_seed(int(torch.empty((), dtype=torch.int64).random_()))
        return
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)
