"""Constructor arguments of S5Forecaster and their validation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from inspect import signature
from numbers import Integral
from typing import TYPE_CHECKING, Any

from s5forecast.choices import choose
from s5forecast.data.faults import ON_ERROR
from s5forecast.data.frames import Columns, identity_columns
from s5forecast.data.frequency import Frequency
from s5forecast.data.holiday_calendar import HolidayCalendar
from s5forecast.data.irregular_sampling import IrregularSampling
from s5forecast.data.regular_sampling import RegularSampling
from s5forecast.data.sampling import Sampling
from s5forecast.levels import DECILES, check_levels, level_name

if TYPE_CHECKING:
    from sklearn.utils import Tags
    from typing_extensions import Self

# Names in s5forecast.estimators, or classes, by kind of sampling and by model=.
ESTIMATORS: dict[str, dict[str, Any]] = {
    "regular": {
        "direct": "S5Estimator",
        "autoregressive": "S5AutoregressiveEstimator",
        "multivariate": "S5MultivariateEstimator",
    },
    "irregular": {"direct": "S5ContinuousEstimator"},
}
# Presets of the pretrained network, which uses no covariates, and the one that needs no training.
PRETRAINED, ZERO_SHOT = ("zero_shot", "fine_tuned"), "zero_shot"
# What to do for regular series about arguments that require irregular ones.
REGULAR_FIXES = {
    "target": "pass one target",
    "horizon": "pass prediction_length= instead of horizon=",
    "aggregate": "leave out aggregate=",
}


class ForecasterParameters:
    """Parameters of :class:`~s5forecast.S5Forecaster`, which documents them, with scikit-learn's conventions.

    Only the methods that need scikit-learn import it, so that loading a model is fast.
    """

    def __init__(
        self,
        prediction_length: int | None = None,
        freq: str | int | None = "infer",
        *,
        season: int | None = None,
        horizon: Any = None,
        target: str | Sequence[str] = "target",
        item_id: str | Sequence[str] = "item_id",
        timestamp: str = "timestamp",
        known: Sequence[str] = (),
        past: Sequence[str] = (),
        static: Sequence[str] = (),
        holidays: str | Sequence[str] | None = None,
        weight: str | None = None,
        quantile_levels: Sequence[float] = DECILES,
        preset: str = "default",
        model: str = "direct",
        time_limit: float | None = None,
        aggregate: str | None = None,
        on_error: str = "raise",
        estimator_kwargs: dict[str, Any] | None = None,
        seed: int | None = 0,
        verbose: bool = True,
    ) -> None:
        self.prediction_length = prediction_length
        self.freq = freq
        self.season = season
        self.horizon = horizon
        self.target = target
        self.item_id = item_id
        self.timestamp = timestamp
        self.known = known
        self.past = past
        self.static = static
        self.holidays = holidays
        self.weight = weight
        self.quantile_levels = quantile_levels
        self.preset = preset
        self.model = model
        self.time_limit = time_limit
        self.aggregate = aggregate
        self.on_error = on_error
        self.estimator_kwargs = estimator_kwargs
        self.seed = seed
        self.verbose = verbose

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All parameters by name; ``deep`` makes no difference."""
        return {name: getattr(self, name) for name in self._defaults()}

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, also single ones of a dictionary, as in ``set_params(estimator_kwargs__lr=0.01)``.

        Raises:
            ValueError: for an unknown name; the message lists the known ones.
        """
        known = list(self._defaults())
        for name, value in sorted(params.items(), key=lambda given: "__" in given[0]):  # whole dictionaries first
            own, _, nested = name.partition("__")
            if own not in known or (nested and own != "estimator_kwargs"):
                raise ValueError(
                    f"unknown parameter {name!r} of {type(self).__name__}; choose one of {known}, or an argument of "
                    "the estimator, such as estimator_kwargs__lr"
                )
            setattr(self, own, _with_nested(getattr(self, own), nested, value))
        return self

    def __repr__(self) -> str:
        defaults = self._defaults()
        changed = [
            f"{name}={value!r}" for name, value in self.get_params().items() if _plain(value) != _plain(defaults[name])
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Tags:
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=False))

    @classmethod
    def _defaults(cls) -> dict[str, Any]:
        """Default of each parameter."""
        return {name: one.default for name, one in signature(cls).parameters.items()}

    def _check_parameters(self) -> None:
        lists = (self.known, self.past, self.static)
        if not all(isinstance(names, Iterable) and not isinstance(names, str) for names in lists):
            raise ValueError("known, past and static must be lists of column names, as in known=['price']")
        self._check_names()
        self._check_model(self._make_sampling(self.freq).kind)
        check_levels(self.quantile_levels)
        choose(ON_ERROR, self.on_error, "on_error")
        if self.joint and self.static:
            raise ValueError(
                f"model='multivariate' has parameters for each series and takes no static features; leave out "
                f"static={list(self.static)}, or use model='direct' or 'autoregressive'"
            )
        self._check_covariates()
        self._check_columns(self._columns)

    def _check_covariates(self) -> None:
        """Raise ValueError for covariates that the preset, or weights that the model, does not use."""
        if self.weight is not None and not self._uses_weight and self.preset not in PRETRAINED:
            raise ValueError(
                f"weight={self.weight!r} requires regular series and model='direct' or 'autoregressive'; leave it out"
            )
        lists = {"known": self.known, "past": self.past, "static": self.static}
        given: dict[str, Any] = {name: list(columns) for name, columns in lists.items()}
        given |= {"holidays": self.holidays, "weight": self.weight}
        if self.preset in PRETRAINED and any(given.values()):
            names = " and ".join(f"{name}={columns!r}" for name, columns in given.items() if columns)
            raise ValueError(
                f"preset={self.preset!r} uses no covariates and no weights, because its network is pretrained without "
                f"them; leave out {names}, or choose preset='default' or 'best'"
            )

    def _check_names(self) -> None:
        """Raise ValueError for names of columns that are not text."""
        roles: dict[str, Any] = {role: getattr(self, role) for role in ("target", "item_id", "timestamp")}
        lists = {role: [name] if isinstance(name, str) or not isinstance(name, Iterable) else list(name)
                 for role, name in roles.items()}  # fmt: skip
        lists |= {"weight": [] if self.weight is None else [self.weight]}
        others = {"known": list(self.known), "past": list(self.past), "static": list(self.static)}
        for role, names in {**lists, **others}.items():
            wrong = [name for name in names if not isinstance(name, str)]
            if wrong or (not names and role in roles):
                raise ValueError(
                    f"{role}={getattr(self, role)!r} must be the name of a column, as text; rename columns such as "
                    "0 with df.columns = df.columns.astype(str)"
                )

    def _check_model(self, kind: str) -> None:
        """Raise ValueError for a model that is unknown or does not fit the sampling."""
        choose(ESTIMATORS["regular"], self.model, "model")
        if isinstance(self.model, str) and self.model not in ESTIMATORS[kind]:
            raise ValueError(
                f"model={self.model!r} is not available for {kind} series, which use {ESTIMATORS[kind]['direct']}; "
                "leave it out"
            )

    def _check_columns(self, columns: Columns) -> None:
        """Raise ValueError for a column with several roles, or with the name of a column of forecasts."""
        identity = dict.fromkeys([columns.item_id, *columns.keys])
        weight = [] if columns.weight is None else [columns.weight]
        roles = [*columns.targets, *identity, columns.timestamp, *columns.covariates, *columns.static, *weight]
        if twice := sorted({name for name in roles if roles.count(name) > 1}):
            raise ValueError(f"each column must have one role, but {twice} have several; leave out all but one")
        results = {"mean", *map(level_name, check_levels(self.quantile_levels))}
        if taken := sorted(results & {*identity, columns.timestamp}):
            raise ValueError(f"item_id and timestamp cannot be {taken}, which are columns of forecasts; rename them")

    def _make_sampling(self, freq: str | int | None) -> Sampling:
        """The sampling for a frequency; ``None`` means irregular series.

        Raises:
            ValueError: for parameters of the other kind of sampling.
        """
        holidays = HolidayCalendar.parse(self.holidays)
        if freq is None:
            if self.horizon is None and self.prediction_length is None:
                raise ValueError(
                    "irregular series (freq=None) need horizon=, such as '12h', or prediction_length=, the number of "
                    "next observations to forecast"
                )
            self._with_season(None)
            return IrregularSampling(self._columns, self.horizon, self.prediction_length, self.aggregate, holidays)
        self._refuse_irregular_arguments()
        frequency = self._with_season(None if freq == "infer" else Frequency.parse(freq))
        return RegularSampling(self._columns, self.prediction_length, frequency, holidays)  # type: ignore[arg-type]

    def _with_season(self, frequency: Frequency | None) -> Frequency | None:
        """The frequency with the season of integer times, if it is given."""
        if self.season is None:
            return frequency
        if frequency is None or not frequency.integer:
            own = f", unless estimator_kwargs={{'season': {self.season!r}}} sets another one"
            raise ValueError(
                f"season={self.season!r} requires integer times, freq=1; the seasons of datetimes follow from freq="
                f"{own if self.preset in PRETRAINED else ''}"
            )
        if isinstance(self.season, bool) or not isinstance(self.season, Integral) or self.season < 1:
            raise ValueError(f"season must be a number of steps, 1 for no season, got {self.season!r}")
        return frequency.with_season(int(self.season))

    def _refuse_irregular_arguments(self) -> None:
        """Raise ValueError for arguments that require irregular series, naming those that are set."""
        given = {
            "target": self.target if self._columns.other_targets else None,
            "horizon": self.horizon,
            "aggregate": self.aggregate,
        }
        found = {name: value for name, value in given.items() if value is not None}
        if found:
            names = ", ".join(f"{name}={value!r}" for name, value in found.items())
            fixes = " and ".join(REGULAR_FIXES[name] for name in found)
            raise ValueError(
                f"{names} {'requires' if len(found) == 1 else 'require'} irregular series; pass freq=None, or, for "
                f"regular series, {fixes}"
            )

    @property
    def _uses_weight(self) -> bool:
        return self.freq is not None and self.model != "multivariate" and self.preset not in PRETRAINED

    @property
    def joint(self) -> bool:
        """Whether all series are forecast together, and therefore need the same timestamps."""
        return self.model == "multivariate"

    @property
    def _columns(self) -> Columns:
        first, *others = [self.target] if isinstance(self.target, str) else self.target
        return Columns(
            target=first,
            timestamp=self.timestamp,
            known=tuple(self.known),
            past=tuple(self.past),
            weight=self.weight,
            static=tuple(self.static),
            other_targets=tuple(others),
            **identity_columns(self.item_id),
        )


def _with_nested(given: Any, path: str, value: Any) -> Any:
    """The value, or a copy of a dictionary with the value at a path such as ``"trainer_kwargs__precision"``."""
    if not path:
        return value
    name, _, nested = path.partition("__")
    return {**(given or {}), name: _with_nested((given or {}).get(name), nested, value)}


def _plain(value: Any) -> str:
    """Text of a value, the same for a tuple and a list."""
    return repr(list(value) if isinstance(value, tuple) else value)
