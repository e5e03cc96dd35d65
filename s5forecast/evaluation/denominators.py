"""Where metrics would divide by zero: what is left out of them, in words."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

SCALED_BY = {
    "seasonal_error": ("MASE", "MSIS", "OWA", "mean_scaled_quantile_loss", "average_mean_scaled_quantile_loss"),
    "squared_seasonal_error": ("RMSSE",),
}
BY_EACH_LABEL = ("MAPE",)
BY_ALL_LABELS = ("WQL", "ND", "NRMSE", "weighted_sum_quantile_loss")


def warn_of_zeros(
    names: Iterable[str], label: np.ndarray, arrays: Mapping[str, np.ndarray], series: np.ndarray, unit: str
) -> None:
    """One UserWarning for all metrics of M labels that have no denominator somewhere.

    Arguments:
        names: of the metrics.
        label: `[M]`; NaN is not observed.
        arrays: the seasonal errors of the labels, `[M]`, by name.
        series: `[M]`, what each label is of.
        unit: what `series` counts.
    """
    found = list(_zeros(tuple(names), label, arrays, series, unit))
    if found:
        warnings.warn("; ".join(found), UserWarning, stacklevel=3)


def _zeros(
    names: tuple[str, ...], label: np.ndarray, arrays: Mapping[str, np.ndarray], series: np.ndarray, unit: str
) -> Iterator[str]:
    seen = ~np.isnan(label)
    for scale, metrics in SCALED_BY.items():
        if scale in arrays and (concerned := _concerned(names, metrics)):
            lost = seen & ~(arrays[scale] > 0)
            if lost.any():
                count, first = f"{len(set(series[lost]))} of {len(set(series[seen]))}", series[lost].tolist()[0]
                where = f"{count} {unit}, the first {first!r}"
                yield f"{concerned}: the {scale.replace('_', ' ')} is 0 or unknown in {where}, left out"
    zero = seen & (label == 0)
    if zero.any() and (concerned := _concerned(names, BY_EACH_LABEL)):
        which = f"{zero.sum()} of {seen.sum()} labels are 0, the first in {series[zero].tolist()[0]!r}"
        yield f"{concerned}: {which}, left out"
    if seen.any() and (zero == seen).all() and (concerned := _concerned(names, BY_ALL_LABELS)):
        yield f"{concerned}: divided by the sum of the labels, which are all 0"


def _concerned(names: tuple[str, ...], metrics: tuple[str, ...]) -> str:
    """Those of the metrics that are among the names, be it at one level."""
    families = {name.split("[")[0].rstrip("0123456789.").rstrip("_") for name in names}
    return ", ".join(metric for metric in metrics if metric in families)
