"""Metric definitions that ``gluonts.ev`` lacks, in its form, and warnings for denominators of zero."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from gluonts.ev import metrics as ev
from gluonts.ev.aggregations import Mean
from gluonts.ev.stats import quantile_loss, squared_error

from s5forecast.evaluation.scores import crps_weights, interval_score, pit_from_quantiles
from s5forecast.levels import level_name

Arrays = Mapping[str, np.ndarray]
SCALED_BY = {
    "seasonal_error": ("MASE", "MSIS", "OWA", "mean_scaled_quantile_loss", "average_mean_scaled_quantile_loss"),
    "squared_seasonal_error": ("RMSSE",),
}
BY_EACH_LABEL = ("MAPE",)
BY_ALL_LABELS = ("WQL", "ND", "NRMSE", "weighted_sum_quantile_loss")


@dataclass
class MeanOf(ev.BaseMetricDefinition):
    """Mean of a statistic of each label.

    Args:
        name: name of the metric.
        stat: function of arrays by name ("label", and forecasts such as "0.1") that returns an array of their shape.
    """

    name: str
    stat: Callable[[Arrays], np.ndarray]

    def __call__(self, axis: int | None = None) -> ev.DirectMetric:
        """The GluonTS metric that aggregates over ``axis``."""
        return ev.DirectMetric(self.name, self.stat, Mean(axis=axis))


@dataclass
class Interval:
    """The central interval with probability ``share``, between two quantiles of the forecast."""

    share: float

    @property
    def percent(self) -> str:
        """The share in percent, as in the names of metrics: 80 for 0.8."""
        return f"{100 * self.share:.10g}"

    @property
    def ends(self) -> tuple[str, str]:
        """Column names of its ends."""
        return level_name((1 - self.share) / 2), level_name((1 + self.share) / 2)

    def coverage(self) -> MeanOf:
        """Share of the labels inside, including the ends."""

        def inside(data: Arrays) -> np.ndarray:
            lower, upper = (data[end] for end in self.ends)
            return ((lower <= data["label"]) & (data["label"] <= upper)).astype(float)

        return MeanOf(f"coverage_{self.percent}", inside)

    def width(self) -> MeanOf:
        """Mean width, in the unit of the labels."""

        def width(data: Arrays) -> np.ndarray:
            lower, upper = (data[end] for end in self.ends)
            return upper - lower + 0 * data["label"]  # masked like the label

        return MeanOf(f"width_{self.percent}", width)

    def score(self) -> MeanOf:
        """Interval (Winkler) score, in the unit of the labels."""

        def score(data: Arrays) -> np.ndarray:
            lower, upper = (data[end] for end in self.ends)
            return interval_score(data["label"], lower, upper, self.share)

        return MeanOf(f"interval_score_{self.percent}", score)


def intervals(levels: Sequence[float]) -> list[Interval]:
    """All central intervals between two of the levels, the widest last."""
    names = {level_name(level) for level in levels}
    shares = sorted(round(1 - 2 * level, 10) for level in levels if level < 0.5)
    return [Interval(share) for share in shares if set(Interval(share).ends) <= names]


def pinball(level: float) -> MeanOf:
    """Pinball loss of one quantile, mean (y - y_q) (q - [y < y_q]), as scikit-learn's ``mean_pinball_loss``."""
    return MeanOf(f"pinball_{level_name(level)}", lambda data: quantile_loss(data, level) / 2)


def mean_quantile_loss(levels: Sequence[float]) -> MeanOf:
    """Quantile loss, mean over levels and labels, in the unit of the labels."""
    return MeanOf("QL", lambda data: sum(quantile_loss(data, level) for level in levels) / len(levels))


def quantile_crps(levels: Sequence[float]) -> MeanOf:
    """CRPS from quantiles: twice the pinball losses, each weighted by the part of (0, 1) closest to its level."""
    pairs = list(zip(levels, crps_weights(levels), strict=True))
    return MeanOf("CRPS", lambda data: sum(weight * quantile_loss(data, level) for level, weight in pairs))


def sample_crps() -> MeanOf:
    """CRPS from samples, precomputed for each label as "crps"."""
    return MeanOf("CRPS", lambda data: np.ma.masked_invalid(data["crps"]))


@dataclass
class MomentsOfPIT:
    """Mean and variance of the probability integral transform: 1/2 and 1/12 for calibrated forecasts.

    A variance below 1/12 indicates intervals that are too wide, a larger one intervals that are too narrow.

    Args:
        transform: function of arrays by name that returns the transform of each label.
    """

    transform: Callable[[Arrays], np.ndarray]

    def mean(self) -> MeanOf:
        """Mean of the transform."""
        return MeanOf("PIT_mean", self.transform)

    def variance(self) -> Callable[..., ev.DerivedMetric]:
        """Variance of the transform."""

        def metric(axis: int | None = None) -> ev.DerivedMetric:
            parts = {
                "mean": self.mean()(axis),
                "square": MeanOf("square", lambda data: self.transform(data) ** 2)(axis),
            }
            return ev.DerivedMetric("PIT_variance", parts, lambda mean, square: square - mean**2)

        return metric


def quantile_pit(levels: Sequence[float]) -> MomentsOfPIT:
    """Moments of the PIT from quantiles, interpolated linearly."""

    def transform(data: Arrays) -> np.ndarray:
        quantiles = np.stack([data[level_name(level)] for level in levels], axis=-1)
        label = np.ma.filled(data["label"].astype(float), np.nan)
        return np.ma.masked_invalid(pit_from_quantiles(label, quantiles, levels))

    return MomentsOfPIT(transform)


def sample_pit() -> MomentsOfPIT:
    """Moments of the PIT from samples, precomputed for each label as "pit"."""
    return MomentsOfPIT(lambda data: np.ma.masked_invalid(data["pit"]))


def rmsse(axis: int | None = None) -> ev.DerivedMetric:
    """Root of the mean of (y - mean forecast)^2 / mean squared seasonal difference of the history.

    For one series this is the RMSSE of M5, which reports the mean over series.
    """

    def scaled(data: Arrays) -> np.ndarray:
        return squared_error(data, "mean") / data["squared_seasonal_error"]

    return ev.DerivedMetric("RMSSE", {"mean": MeanOf("scaled", scaled)(axis)}, lambda mean: np.sqrt(mean))


def warn_of_zeros(
    names: Iterable[str], label: np.ndarray, arrays: Mapping[str, np.ndarray], series: np.ndarray, unit: str
) -> None:
    """Emit one UserWarning for all metrics that have a denominator of zero for some of M labels.

    Args:
        names: names of the metrics.
        label: labels ``[M]``; NaN if not observed.
        arrays: seasonal errors of the labels, ``[M]``, by name.
        series: series (or row) of each label, ``[M]``.
        unit: plural of what ``series`` identifies, for the message.
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
    """The metrics among the names, also if a name is for a single level."""
    families = {name.split("[")[0].rstrip("0123456789.").rstrip("_") for name in names}
    return ", ".join(metric for metric in metrics if metric in families)
