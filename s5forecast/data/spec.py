"""Contents of the windows that networks see, as plain data saved with a predictor."""

from __future__ import annotations

from typing import NamedTuple

from s5forecast.data.frequency import Frequency


class FeatureSpec(NamedTuple):
    """Number of features of each kind in an entry of a dataset.

    Args:
        num_feat_dynamic_real: covariates known over the horizon.
        num_past_feat_dynamic_real: covariates known up to the forecast only.
        num_feat_static_real: static numbers.
        num_feat_static_cat: static categories.
    """

    num_feat_dynamic_real: int = 0
    num_past_feat_dynamic_real: int = 0
    num_feat_static_real: int = 0
    num_feat_static_cat: int = 0

    @property
    def num_covariates(self) -> int:
        """Covariates of each step: those known over the horizon, then the others."""
        return self.num_feat_dynamic_real + self.num_past_feat_dynamic_real

    def without_covariates(self) -> FeatureSpec:
        """The static features alone."""
        return self._replace(num_feat_dynamic_real=0, num_past_feat_dynamic_real=0)

    def without_statics(self) -> FeatureSpec:
        """The covariates alone."""
        return self._replace(num_feat_static_real=0, num_feat_static_cat=0)


class WindowSpec(NamedTuple):
    """Contents of a window of a regular series: plain data, saved with a predictor.

    Args:
        freq: offset alias of the steps.
        context_length: steps before the forecast, L.
        prediction_length: steps to forecast, H.
        lags: distances of the earlier values shown at each step, K of them.
        scaling: a key of ``windows.scaling.SCALINGS``.
        features: number of features of each kind.
        recursive: whether lags over the horizon may refer to values within it, as when values are sampled one after
            another; otherwise such a lag is multiplied until it reaches back into the context.
        target_dim: number of series observed together in each entry, D; ``None`` if an entry is one series.
        substeps: number of steps that replace one step of the training, k; lengths and lags count the shorter steps.
    """

    freq: str
    context_length: int
    prediction_length: int
    lags: list[int]
    scaling: str = "standard"
    features: FeatureSpec = FeatureSpec()
    recursive: bool = False
    target_dim: int | None = None
    substeps: int = 1

    @property
    def dim(self) -> int:
        return self.target_dim or 1

    @property
    def frequency(self) -> Frequency:
        return Frequency.parse(self.freq)

    @property
    def forecast_shape(self) -> tuple[int, ...]:
        """Shape of the values of a forecast of one entry."""
        steps = (self.prediction_length,)
        return steps if self.target_dim is None else (*steps, self.target_dim)

    def in_patches(self, patch_length: int) -> WindowSpec:
        """The same window with the context rounded up to whole patches."""
        return self._replace(context_length=-(-self.context_length // patch_length) * patch_length)

    def divided(self, substeps: int) -> WindowSpec:
        """The same span of time in ``substeps`` shorter steps for each step.

        Raises:
            ValueError: if the frequency or the scaling cannot be divided.
        """
        if self.scaling == "increments":
            raise ValueError(
                "scaling='increments', the default for trending series, takes the scale from the differences between "
                "neighboring steps, which differ at another sampling rate; train with scaling='last' or 'standard'"
            )
        return self._replace(
            freq=self.frequency.divided(substeps).alias,
            context_length=substeps * self.context_length,
            prediction_length=substeps * self.prediction_length,
            lags=[substeps * lag for lag in self.lags],
            substeps=substeps * self.substeps,
        )


class IrregularSpec(NamedTuple):
    """Contents of a window of an irregular series: plain data, saved with a predictor.

    Times and durations are in base units: seconds if times are datetimes, otherwise the unit of the numbers given.

    Args:
        target_dim: variables of each series, D.
        context_length: maximum number of observations before the forecast, L.
        horizon: duration after the last observation that training covers; ``None`` for no limit.
        prediction_length: number of next observations that training covers; ``None`` for all within the ``horizon``.
        max_queries: maximum number of query times of a training window; a larger number is thinned out evenly.
        datetimes: whether times are datetimes rather than numbers; ``None`` accepts either.
        cycles: calendar cycles shown to the network, keys of ``windows.calendar.CYCLES``.
        features: number of features of each kind; the covariates are those known at the query times, then the others.
    """

    target_dim: int
    context_length: int
    horizon: float | None
    prediction_length: int | None
    max_queries: int
    datetimes: bool | None
    cycles: list[str]
    features: FeatureSpec = FeatureSpec()

    @property
    def forecast_shape(self) -> tuple[int, ...]:
        """Shape of the values of a forecast at one query time."""
        return (self.target_dim,)
