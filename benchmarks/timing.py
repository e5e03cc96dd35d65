"""Timing that is robust on a noisy machine: candidates take turns, round after round; medians and their ratios."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

RESULTS = Path(__file__).parent / "results"


def medians(candidates: dict[str, Callable[[], object]], *, seconds: float = 3.0, rounds: int = 5) -> dict[str, float]:
    """Median milliseconds of each candidate; they take turns for about ``seconds``, at least ``rounds`` times."""
    for run in candidates.values():
        run()
        run()
    _wait()
    times: dict[str, list[float]] = {name: [] for name in candidates}
    began = time.perf_counter()
    while len(next(iter(times.values()))) < rounds or time.perf_counter() - began < seconds:
        for name, run in candidates.items():
            start = time.perf_counter()
            run()
            _wait()
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(values)) for name, values in times.items()}


def save(rows: list[dict], name: str) -> pd.DataFrame:
    """Write ``results/<name>.csv`` and print the table."""
    table = pd.DataFrame(rows)
    RESULTS.mkdir(exist_ok=True)
    table.round(4).to_csv(RESULTS / f"{name}.csv", index=False)
    print(f"\n{name}: {machine()}\n{table.round(2).to_string(index=False)}")
    return table


def machine() -> str:
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    return f"torch {torch.__version__.split('+')[0]}, {device}"


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
