"""Specification of the windows that are the input of networks: plain data, saved with a predictor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from s5forecast.data.frequency import Frequency


class FeatureSpec(NamedTuple):
    """Number of features of each kind in an entry of a dataset.

    Args:
        num_feat_dynamic_real: covariates known over the horizon.
        num_past_feat_dynamic_real: covariates known in the past only.
        num_feat_static_real: static numeric features.
        num_feat_static_cat: static categorical features.
        dynamic_cardinalities: number of categories of each categorical covariate known over the horizon.
        past_dynamic_cardinalities: number of categories of each categorical covariate known in the past only.
        weighted: whether training entries have a ``weight``.
        static_cardinalities: number of categories of each static categorical feature; empty in specifications saved
            without it.
    """

    num_feat_dynamic_real: int = 0
    num_past_feat_dynamic_real: int = 0
    num_feat_static_real: int = 0
    num_feat_static_cat: int = 0
    dynamic_cardinalities: Sequence[int] = ()
    past_dynamic_cardinalities: Sequence[int] = ()
    weighted: bool = False
    static_cardinalities: Sequence[int] = ()

    @property
    def cardinalities(self) -> dict[str, Sequence[int]]:
        """Number of categories of each feature, by field of codes."""
        return {
            "feat_dynamic_cat": self.dynamic_cardinalities,
            "past_feat_dynamic_cat": self.past_dynamic_cardinalities,
            "feat_static_cat": self.static_cardinalities,
        }

    @property
    def num_known(self) -> int:
        """Number of covariates of each step that are known over the horizon."""
        return self.num_feat_dynamic_real + len(self.dynamic_cardinalities)

    @property
    def num_covariates(self) -> int:
        """Number of covariates of each step: those known over the horizon, then others; numbers before categories."""
        return self.num_known + self.num_past_feat_dynamic_real + len(self.past_dynamic_cardinalities)

    @property
    def categorical(self) -> dict[int, int]:
        """Position among the covariates, and number of categories, of each categorical covariate."""
        past = self.num_known + self.num_past_feat_dynamic_real
        return {
            **dict(enumerate(self.dynamic_cardinalities, start=self.num_feat_dynamic_real)),
            **dict(enumerate(self.past_dynamic_cardinalities, start=past)),
        }

    def without_covariates(self) -> FeatureSpec:
        """The specification without covariates."""
        return self._replace(
            num_feat_dynamic_real=0,
            num_past_feat_dynamic_real=0,
            dynamic_cardinalities=(),
            past_dynamic_cardinalities=(),
        )

    def without_statics(self) -> FeatureSpec:
        """The specification without static features."""
        return self._replace(num_feat_static_real=0, num_feat_static_cat=0, static_cardinalities=())

    def without_weights(self) -> FeatureSpec:
        """The specification without weights, which only the training needs."""
        return self._replace(weighted=False)


class TypicalWindow(NamedTuple):
    """What training windows have in common, for windows with too few values to be normalized by their own.

    Args:
        location: mean location.
        scale: geometric mean of the scales.
        level: geometric mean of the levels, which are mean absolute values.
        ratio: geometric mean of scale over level.
    """

    location: float
    scale: float
    level: float
    ratio: float


class WindowSpec(NamedTuple):
    """Contents of a window of a regular series.

    Args:
        freq: offset alias of the steps.
        context_length: steps before the forecast, L.
        prediction_length: steps to forecast, H.
        lags: distances to the K earlier values that are inputs of each step.
        scaling: a key of ``windows.scaling.SCALINGS``.
        features: number of features of each kind.
        recursive: whether lags over the horizon may refer to values within it, for values that are sampled one after
            another; otherwise such a lag is replaced by its smallest multiple that reaches the context.
        target_dim: number of series observed together in each entry, D; ``None`` if an entry is one series.
        substeps: number of steps that replace one step of the training; lengths and lags count the shorter steps.
        typical: location and scale of typical training windows; ``None`` before training, and for predictors saved
            without it.
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
    typical: TypicalWindow | None = None

    @property
    def dim(self) -> int:
        """Number of series in each entry, D."""
        return self.target_dim or 1

    @property
    def frequency(self) -> Frequency:
        return Frequency.parse(self.freq)

    @property
    def forecast_shape(self) -> tuple[int, ...]:
        """Shape of the forecast values of one entry."""
        steps = (self.prediction_length,)
        return steps if self.target_dim is None else (*steps, self.target_dim)

    def in_patches(self, patch_length: int) -> WindowSpec:
        """The window with its context rounded up to whole patches."""
        return self._replace(context_length=-(-self.context_length // patch_length) * patch_length)

    def divided(self, substeps: int) -> WindowSpec:
        """The window over the same span of time, with ``substeps`` shorter steps for each step.

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


class PretrainedSpec(WindowSpec):
    """Contents of what the pretrained network sees of a series: its last values, without covariates."""


class IrregularSpec(NamedTuple):
    """Contents of a window of an irregular series.

    Times and durations are in base units: seconds if times are datetimes, the unit of the data if they are numbers.

    Args:
        target_dim: variables of each series, D.
        context_length: maximum number of observations before the forecast, L.
        horizon: maximum duration after the last observation in training; ``None`` for no limit.
        prediction_length: maximum number of next observations in training; ``None`` for all within the ``horizon``.
        max_queries: maximum number of query times of a training window; more are thinned out evenly.
        datetimes: whether times are datetimes rather than numbers; ``None`` accepts either.
        cycles: calendar cycles that are input features, keys of ``windows.calendar.CYCLES``.
        features: number of features of each kind.
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
        """Shape of the forecast values at one query time."""
        return (self.target_dim,)
