"""Ensembles: members of one estimator with different contexts and seeds, with equal weights."""

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.model.estimator import Estimator
from gluonts.model.forecast import Forecast, SampleForecast
from gluonts.model.predictor import Predictor

from s5forecast.aliases import check_folder
from s5forecast.data.content import as_sequence
from s5forecast.data.missing_known import in_step
from s5forecast.data.spec import IrregularSpec
from s5forecast.distributions import Output
from s5forecast.estimators.arguments import check_positive
from s5forecast.estimators.combined import CombinedPredictor, load_choices, load_members
from s5forecast.estimators.continued import ContinuedTraining, members_of
from s5forecast.estimators.defaults import CONTEXT_SHARES, MEMBERS
from s5forecast.estimators.plan import planned
from s5forecast.levels import DECILES
from s5forecast.networks.prediction import Predictions, SamplePaths, collect_quantiles


class EnsembleEstimator(ContinuedTraining, Estimator):
    """Trains an estimator several times, with consecutive seeds and contexts of different lengths.

    Errors of members with different contexts are less correlated, so that averaging removes more of them. See "N-BEATS:
    Neural basis expansion analysis for interpretable time series forecasting" (Oreshkin, Carpov, Chapados, Bengio,
    2020).

    Args:
        estimator: estimator to train; its seed is that of the first member. Quantiles are averaged for ``S5Estimator``
            and ``S5ContinuousEstimator``; sample paths are pooled for ``S5AutoregressiveEstimator`` and
            ``S5MultivariateEstimator``.
        num_members: number of members, M.
        context_shares: context lengths of the members in turn, as fractions of that of the estimator, rounded up to
            whole patches. A share shorter than the horizon is replaced by the whole context. ``[1.0]`` gives the whole
            context to every member.

    Raises:
        ValueError: for another estimator, less than one member, or shares that are not positive.
    """

    takes_checkpoint = True

    @validated()
    def __init__(
        self, estimator: Estimator, num_members: int = MEMBERS, context_shares: list[float] | None = None
    ) -> None:
        from s5forecast.estimators.base import ForecastEstimator  # needs Lightning, which reading a predictor does not

        super().__init__()
        if not isinstance(estimator, ForecastEstimator):
            raise ValueError(
                f"estimator must be an estimator of a single network, such as S5Estimator, got "
                f"{type(estimator).__name__}; for an ensemble from make_estimator, pass num_members= to it"
            )
        check_positive(num_members=num_members)
        self.estimator, self.num_members = estimator, num_members
        self.context_shares = list(CONTEXT_SHARES) if context_shares is None else context_shares
        if not self.context_shares or not all(0 < share < math.inf for share in self.context_shares):
            raise ValueError(f"context_shares must be positive, such as [1.0, 0.5], got {context_shares}")

    def train(
        self,
        training_data: Dataset,
        validation_data: Dataset | None = None,
        from_predictor: Predictor | None = None,
        checkpoint: str | Path | None = None,
        **kwargs: Any,
    ) -> "EnsemblePredictor":
        """Train all members on the same data, which are read once; further arguments as for the estimator.

        Args:
            training_data, validation_data: as for the estimator.
            from_predictor: an ensemble from whose members the members start, or the predictor of a single network from
                which all of them start.
            checkpoint: as for the estimator; every member has a folder of its own within it.
            kwargs: further arguments of the estimator.

        Raises:
            ValueError: as the estimator; for members of different contexts that would start from the same network or
                checkpoint; for an ensemble of another size to start from.
        """
        members = self._members()
        starts = self._starts(members, from_predictor, kwargs.get("ckpt_path"))
        training_data = as_sequence(training_data)
        validation_data = None if validation_data is None else as_sequence(validation_data)
        trained: list[Any] = []
        with planned([1.0] * len(members)) as plan:
            for number, (member, start) in enumerate(zip(members, starts, strict=True)):
                if checkpoint is not None:
                    kwargs["checkpoint"] = Path(checkpoint) / f"member-{number}"
                if not (trained and plan.expired):
                    trained.append(member.train(training_data, validation_data, from_predictor=start, **kwargs))
        return PooledPredictor(trained) if self.estimator.draws_paths else EnsemblePredictor(trained)

    def trainings(self, training_data: Dataset) -> list[Any]:
        """Estimators of the networks that :meth:`train` trains, in their order."""
        return self._members()

    def _starts(self, members: list[Any], from_predictor: Predictor | None, ckpt_path: Any) -> Sequence[Any]:
        """The predictor that each member starts from."""
        if hasattr(from_predictor, "members"):
            return members_of(from_predictor, EnsemblePredictor, len(members))
        given = [n for n, v in {"from_predictor": from_predictor, "ckpt_path": ckpt_path}.items() if v is not None]
        if given and len({member.spec.context_length for member in members}) > 1:
            raise ValueError(
                f"members of different contexts cannot start from the same weights ({given[0]}); give "
                "context_shares=[1.0]"
            )
        return [from_predictor] * len(members)

    def _members(self) -> list[Any]:
        return [self._member(number) for number in range(self.num_members)]

    def _member(self, number: int) -> Any:
        seed, spec = self.estimator.seed, self.estimator.spec
        arguments = {**self.estimator.__init_args__, "seed": None if seed is None else seed + number}
        context = round(self.context_shares[number % len(self.context_shares)] * spec.context_length)
        # The whole context is passed as it was given: its length in whole patches might select another patch length.
        whole = context == spec.context_length or context < (spec.prediction_length or 1)
        member = type(self.estimator)(**arguments if whole else {**arguments, "context_length": context})
        for name, choice in self.estimator.choices.items():
            if name in member.choices and choice.value == member.choices[name].value:
                member.choices[name] = choice
        if whole:
            return member
        length = member.spec.context_length
        member.choices.choose("context_length", length, f"{context} of {spec.context_length} steps, by context_shares")
        return member


class EnsemblePredictor(CombinedPredictor):
    r"""Means and quantiles that are the averages of those of M predictors, at the levels of the members.

    .. math:: q_\tau = \frac{1}{M} \sum_m q_{m, \tau}

    An average of quantiles is as sharp as its members on average, where an average of distributions is wider; see "Is
    it better to average probabilities or quantiles?" (Lichtendahl, Grushka-Cockayne, Winkler, 2013). Quantiles of a
    series that are whole numbers for every member stay whole numbers.

    Args:
        members: predictors of the same horizon.

    Raises:
        ValueError: without members, or for different horizons.
    """

    def __init__(self, members: Sequence[Predictor]) -> None:
        levels = getattr(members[0].output, "quantiles", DECILES) if members else DECILES
        super().__init__(members, [1 / len(members) for _ in members], levels)

    @property
    def output(self) -> Output:
        """Output of the members."""
        return self.members[0].output

    def predict(self, dataset: Dataset, num_samples: int | None = None) -> Iterator[Any]:
        """One forecast for each entry, in order; ``num_samples`` is ignored, because no paths are drawn.

        Raises:
            ValueError: as the members; for a forecast that is not finite.
        """
        if not isinstance(self.members[0].spec, IrregularSpec):
            yield from super().predict(dataset)
            return
        entries = as_sequence(dataset)
        for several in in_step([member.predict(entries) for member in self.members]):
            yield AverageForecast(several)

    def rescaled(self, step_scale: float) -> "EnsemblePredictor":
        """As :meth:`~s5forecast.estimators.predictor.NetworkPredictor.rescaled`, for all members."""
        return type(self)([member.rescaled(step_scale) for member in self.members])

    def _combined(self, forecasts: Sequence[Forecast]) -> np.ndarray:
        dtype = forecasts[0].mean.dtype
        mean = np.mean([one.mean for one in forecasts], axis=0, dtype=dtype)
        quantiles = [[one.quantile(level) for level in self.quantile_levels] for one in forecasts]
        return np.concatenate([mean[None], _whole_average(quantiles).astype(dtype)])

    def _averaged(self, means: Sequence[np.ndarray], quantiles: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return np.mean(means, axis=0), _whole_average(quantiles)

    def _described(self) -> Any:
        return len(self.members)

    @classmethod
    def deserialize(cls, path: Path, device: str | None = None) -> "EnsemblePredictor":
        """Read what :meth:`serialize` wrote; ``device`` is that of the members."""
        check_folder(path)
        predictor = cls(load_members(path, json.loads((path / "members.json").read_text()), device))
        predictor.own_choices = load_choices(path)
        return predictor


class PooledPredictor(EnsemblePredictor):
    """Sample paths of several predictors in one sample, whose mean and quantiles are the forecast.

    A path stays joint over the steps, and over the series of an entry. Each member draws the same number of paths; if
    the total is not a multiple of M, some draw one more.

    Args:
        members: predictors of the same horizon that draw sample paths.

    Raises:
        ValueError: without members, or for different horizons.
    """

    def predict(self, dataset: Dataset, num_samples: int | None = None) -> Iterator[SampleForecast]:
        """One sample for each entry, in order.

        Args:
            dataset: GluonTS entries.
            num_samples: number of paths of all members together; the members' own numbers by default.

        Raises:
            ValueError: as the members.
        """
        for found, horizons in self._pooled(as_sequence(dataset), num_samples):
            yield from found.forecasts(horizons)

    def predict_quantiles(self, dataset: Dataset, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Means ``[S, H]`` and quantiles ``[S, H, Q]``, for entries of D series ``[S, H, D]`` and ``[S, H, D, Q]``."""
        return collect_quantiles(self._pooled(as_sequence(dataset)), levels, self.members[0].spec)

    def _pooled(self, entries: Sequence[dict[str, Any]], num_samples: int | None = None) -> Predictions:
        counts = _equal_parts(num_samples, len(self.members))
        drawn = [m._predictions(entries, n) for m, n in zip(self.members, counts, strict=True) if n != 0]
        for batches in in_step(drawn):
            samples = np.concatenate([found.samples for found, _ in batches], axis=1)
            yield SamplePaths(samples), batches[0][1]


class AverageForecast(Forecast):
    """Average of the forecasts of one irregular series at its query times, which are the ``index``.

    Args:
        members: forecasts of the same series and times.
    """

    def __init__(self, members: Sequence[Any]) -> None:
        first = members[0]
        self.members = list(members)
        self.item_id, self.info = first.item_id, first.info
        self.start_date, self.prediction_length = first.start_date, first.prediction_length

    @property
    def index(self) -> pd.Index:
        """The query times, in their order."""
        return self.members[0].index

    @property
    def mean(self) -> np.ndarray:
        """Mean at each query time, ``[Q]``, for several variables ``[Q, D]``."""
        return np.mean([member.mean for member in self.members], axis=0)

    def quantile(self, q: float | str) -> np.ndarray:
        """Quantile at each query time, ``[Q]``, for several variables ``[Q, D]``."""
        return np.mean([member.quantile(q) for member in self.members], axis=0)

    def dim(self) -> int:
        """Number of variables."""
        return self.members[0].dim()


def _equal_parts(total: int | None, parts: int) -> list[int | None]:
    """A number in whole parts that differ by one at most."""
    if total is None:
        return [None] * parts
    return [total // parts + (number < total % parts) for number in range(parts)]


def _whole_average(members: Sequence[Any]) -> np.ndarray:
    """Mean over members of quantiles ``[..., H, Q]`` or ``[Q, H]``, rounded if those of all members are whole."""
    stacked = np.stack(members)
    average = stacked.mean(axis=0)
    whole = (stacked == np.rint(stacked)).all(axis=(0, -2, -1))
    return np.where(whole[..., None, None], np.rint(average), average)
