"""What S5Forecaster is told: its parameters, and whether they go together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any

from sklearn.base import BaseEstimator

from s5forecast.choices import choose
from s5forecast.data.frames import Columns
from s5forecast.estimators import ForecastEstimator, S5AutoregressiveEstimator, S5Estimator
from s5forecast.levels import DECILES, check_levels, level_name

ESTIMATORS: dict[str, type[ForecastEstimator]] = {
    "direct": S5Estimator,
    "autoregressive": S5AutoregressiveEstimator,
}


class ForecasterParameters(BaseEstimator):
    """The parameters of :class:`~s5forecast.S5Forecaster`, which describes them; scikit-learn reads and sets them."""

    def __init__(
        self,
        prediction_length: int | None = None,
        freq: str | None = "infer",
        *,
        horizon: Any = None,
        target: str | Sequence[str] = "target",
        item_id: str = "item_id",
        timestamp: str = "timestamp",
        known: Sequence[str] = (),
        static: Sequence[str] = (),
        quantile_levels: Sequence[float] = DECILES,
        estimator: str = "direct",
        multivariate: bool = False,
        num_members: int = 1,
        aggregate: str | None = None,
        estimator_kwargs: dict[str, Any] | None = None,
        seed: int | None = 0,
        verbose: bool = True,
    ) -> None:
        self.prediction_length = prediction_length
        self.freq = freq
        self.horizon = horizon
        self.target = target
        self.item_id = item_id
        self.timestamp = timestamp
        self.known = known
        self.static = static
        self.quantile_levels = quantile_levels
        self.estimator = estimator
        self.multivariate = multivariate
        self.num_members = num_members
        self.aggregate = aggregate
        self.estimator_kwargs = estimator_kwargs
        self.seed = seed
        self.verbose = verbose

    def _check_parameters(self) -> None:
        if self.num_members != 1 and (self.estimator != "direct" or self.multivariate or self.freq is None):
            raise ValueError(
                f"num_members={self.num_members!r} averages quantiles of estimator='direct' on regular series; "
                "leave it at 1 for others"
            )
        if self.freq is None and (self.estimator != "direct" or self.multivariate):
            raise ValueError(
                f"estimator={self.estimator!r}, multivariate={self.multivariate!r}: irregular series, freq=None, are "
                "forecast by S5ContinuousEstimator alone; leave both out"
            )
        if self.freq is not None or self.prediction_length is not None:
            self._check_prediction_length()
        several = not isinstance(self.target, str)
        if self.freq is not None and (several or not (self.horizon is self.aggregate is None)):
            raise ValueError(
                f"target={self.target!r}, horizon={self.horizon!r}, aggregate={self.aggregate!r}: several targets, a "
                "horizon and an aggregation are of irregular series, freq=None; give one target and prediction_length"
            )
        check_levels(list(self.quantile_levels))
        choose(ESTIMATORS, self.estimator, "estimator")
        if not all(isinstance(names, Iterable) and not isinstance(names, str) for names in (self.known, self.static)):
            raise ValueError("known and static are lists of column names, as in known=['price']")
        if self.multivariate and self.static:
            raise ValueError(
                f"multivariate=True learns what is particular to each series by itself: leave out static={self.static}"
            )
        targets = [self._targets] if isinstance(self._targets, str) else self._targets
        roles = [*targets, self.item_id, self.timestamp, *self.known, *self.static]
        twice = sorted({name for name in roles if roles.count(name) > 1})
        if twice:
            raise ValueError(f"every column has one role; {twice} have several")
        results = {"mean", *map(level_name, self.quantile_levels)}
        if taken := sorted(results & {self.item_id, self.timestamp}):
            raise ValueError(f"item_id and timestamp are columns of the result beside {taken}; rename the column")

    def _check_prediction_length(self) -> None:
        if not isinstance(self.prediction_length, Integral) or self.prediction_length < 1:
            raise ValueError(f"prediction_length must be a whole number of at least 1, got {self.prediction_length!r}")

    def _check_regular(self, verb: str) -> None:
        if self.freq is None:
            raise ValueError(
                f"{verb} is of regular series, and freq=None stands for irregular ones; use predict(times=)"
            )

    @staticmethod
    def _refuse(given: Any, name: str, fix: str) -> None:
        if given is not None:
            raise ValueError(f"{name} is of regular series; {fix}")

    @property
    def _steps(self) -> int:
        assert self.prediction_length is not None, "checked where it is needed"
        return self.prediction_length

    @property
    def _targets(self) -> str | list[str]:
        return self.target if isinstance(self.target, str) else list(self.target)

    @property
    def _columns(self) -> Columns:
        target = self._targets if isinstance(self._targets, str) else self._targets[0]
        return Columns(target, self.item_id, self.timestamp, tuple(self.known), tuple(self.static))
