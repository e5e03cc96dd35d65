"""Do the tests and intervals of a comparison keep their level?

    python benchmarks/significance.py

``diebold_mariano.csv``: share of simulated null hypotheses that are rejected at the level of 5 %, by the test of
``evaluation.comparison`` and by tests with other estimates of the variance. The loss differences are white noise, a
moving average of order h - 1, or a random walk that begins anew in each window of h steps.
``bootstrap.csv``: share of 95 % percentile intervals from resampling whole series that contain the mean, for series
with normally distributed means.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import t
from timing import save

from s5forecast.evaluation.comparison import diebold_mariano

WINDOWS, HORIZON = (3, 6, 20), 14
LEVEL = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=20_000)
    draws = parser.parse_args().draws
    rng = np.random.default_rng(0)
    rows = []
    for windows in WINDOWS:
        for process, make in PROCESSES.items():
            values = make(rng, draws, windows * HORIZON)
            rejected = {name: np.mean([test(d) < LEVEL for d in values]) for name, test in TESTS.items()}
            rows += [
                {"windows": windows, "steps": HORIZON, "process": process, "variance": name, "rejected": share}
                for name, share in rejected.items()
            ]
    save(rows, "diebold_mariano")
    save([{"series": count, "coverage": coverage(rng, count, draws // 4)} for count in (3, 5, 20, 50)], "bootstrap")


def white_noise(rng: np.random.Generator, draws: int, n: int) -> np.ndarray:
    return rng.normal(size=(draws, n))


def moving_average(rng: np.random.Generator, draws: int, n: int) -> np.ndarray:
    sums = np.cumsum(rng.normal(size=(draws, n + HORIZON)), axis=1)
    return sums[:, HORIZON:] - sums[:, :-HORIZON]


def walk_in_windows(rng: np.random.Generator, draws: int, n: int) -> np.ndarray:
    return rng.normal(size=(draws, n // HORIZON, HORIZON)).cumsum(axis=2).reshape(draws, n)


def by_windows(difference: np.ndarray) -> float:
    """The t-test of the means of the windows."""
    means = difference.reshape(-1, HORIZON).mean(axis=1)
    return _p_value(means.mean() / np.sqrt(means.var(ddof=1) / len(means)), len(means) - 1)


def by_autocovariances(difference: np.ndarray, *, bartlett: bool) -> float:
    """Autocovariances up to lag h - 1, with the correction of Harvey, Leybourne and Newbold (1997)."""
    n, centered = len(difference), difference - difference.mean()
    weights = 1 - np.arange(1, HORIZON) / HORIZON if bartlett else np.ones(HORIZON - 1)
    lags = np.array([centered[lag:] @ centered[:-lag] / n for lag in range(1, HORIZON)])
    variance = centered @ centered / n + 2 * weights @ lags
    if variance <= 0:
        variance = centered @ centered / n
    correction = np.sqrt((n + 1 - 2 * HORIZON + HORIZON * (HORIZON - 1) / n) / n)
    return _p_value(correction * difference.mean() / np.sqrt(variance / n), n - 1)


def coverage(rng: np.random.Generator, count: int, draws: int, resamples: int = 1000) -> float:
    """Share of percentile intervals of the mean of ``count`` normal numbers that contain 0."""
    values = rng.normal(size=(draws, count))
    means = np.array([one[rng.integers(count, size=(resamples, count))].mean(axis=1) for one in values])
    low, high = np.percentile(means, [2.5, 97.5], axis=1)
    return float(((low <= 0) & (high >= 0)).mean())


def _p_value(statistic: float, degrees: int) -> float:
    return float(2 * t.sf(abs(statistic), degrees))


PROCESSES = {"white noise": white_noise, "moving average": moving_average, "walk in windows": walk_in_windows}
TESTS = {
    "cosine transforms": lambda d: diebold_mariano(d, HORIZON)[1],
    "mean of each window": by_windows,
    "Bartlett weights": lambda d: by_autocovariances(d, bartlett=True),
    "equal weights": lambda d: by_autocovariances(d, bartlett=False),
}


if __name__ == "__main__":
    main()
