"""Seeding of random numbers for a limited block of code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int | None) -> Iterator[torch.Generator]:
    """Seed torch's global random state inside the block and restore it afterwards.

    Args:
        seed: the seed. If None, the global state is neither seeded nor restored.

    Yields:
        A generator seeded with ``seed``; if it is None, with a number drawn from the global state.
    """
    if seed is None:
        yield torch.Generator().manual_seed(int(torch.empty((), dtype=torch.int64).random_()))
        return
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)
