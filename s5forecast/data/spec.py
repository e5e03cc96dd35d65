"""Contents of the windows that networks see, as plain data saved with a predictor."""

from __future__ import annotations

from typing import NamedTuple

from s5forecast.data.frequency import Frequency


class WindowSpec(NamedTuple):
    """What a window holds: plain data, saved with a predictor.

    Arguments:
        freq: offset alias of the steps.
        context_length: steps before the forecast, L.
        prediction_length: steps forecast, H.
        lags: distances at which earlier values are shown beside each step, K of them.
        scaling: a key of ``windows.scaling.SCALINGS``.
        num_feat_dynamic_real, num_past_feat_dynamic_real: covariates known over the horizon, and not.
        num_feat_static_real, num_feat_static_cat: static features.
        recursive: whether a lag over the horizon may lie within it, as where values are drawn one after another;
            else it is lengthened until it reaches back to the context.
        target_dim: series observed together in each entry, D; none where an entry is one series.
        substeps: steps in place of each step of the training, k; lengths and lags count these.
    """

    freq: str
    context_length: int
    prediction_length: int
    lags: list[int]
    scaling: str = "standard"
    num_feat_dynamic_real: int = 0
    num_past_feat_dynamic_real: int = 0
    num_feat_static_real: int = 0
    num_feat_static_cat: int = 0
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

    def divided(self, substeps: int) -> WindowSpec:
        """The same span of time in steps ``substeps`` times as short.

        Raises:
            ValueError: for a frequency or a scaling that cannot be divided.
        """
        if self.scaling == "increments":
            raise ValueError(
                "scaling='increments', which smooth series get when none is given, takes the scale from the "
                "differences of a step, which are not those of shorter steps; train with scaling='last' or 'standard'"
            )
        return self._replace(
            freq=self.frequency.divided(substeps).alias,
            context_length=substeps * self.context_length,
            prediction_length=substeps * self.prediction_length,
            lags=[substeps * lag for lag in self.lags],
            substeps=substeps * self.substeps,
        )


class IrregularSpec(NamedTuple):
    """What a window of irregular series holds: plain data, saved with a predictor.

    Times and durations are in base units: seconds where times are datetimes, else the unit of the numbers given.

    Arguments:
        target_dim: variables of each series, D.
        context_length: observations before the forecast, at most; L.
        horizon: how far ahead training looks, none for as far as there is something.
        prediction_length: how many of the next observations training looks at, none for all within the ``horizon``.
        max_queries: times asked of a training window, at most; taken evenly where there are more.
        datetimes: whether times are datetimes rather than numbers, none for either.
        cycles: calendar cycles shown to the network, keys of ``windows.calendar.CYCLES``.
        num_feat_dynamic_real, num_past_feat_dynamic_real: covariates known at the times asked for, and not.
        num_feat_static_real, num_feat_static_cat: static features.
    """

    target_dim: int
    context_length: int
    horizon: float | None
    prediction_length: int | None
    max_queries: int
    datetimes: bool | None
    cycles: list[str]
    num_feat_dynamic_real: int = 0
    num_past_feat_dynamic_real: int = 0
    num_feat_static_real: int = 0
    num_feat_static_cat: int = 0

    @property
    def forecast_shape(self) -> tuple[int, ...]:
        """Shape of the values of a forecast at one query time."""
        return (self.target_dim,)

    @property
    def num_covariates(self) -> int:
        return self.num_feat_dynamic_real + self.num_past_feat_dynamic_real
