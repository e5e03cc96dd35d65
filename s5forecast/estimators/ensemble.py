"""Ensembles: members of one estimator with different contexts and seeds, averaged with equal weights."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.model.estimator import Estimator
from gluonts.model.forecast import Forecast
from gluonts.model.predictor import Predictor

from s5forecast.aliases import check_folder
from s5forecast.distributions import Output
from s5forecast.estimators.arguments import check_positive
from s5forecast.estimators.combined import CombinedPredictor, load_members
from s5forecast.estimators.defaults import CONTEXT_SHARES, MEMBERS
from s5forecast.levels import DECILES


class EnsembleEstimator(Estimator):
    """Trains an estimator several times, with consecutive seeds and contexts of different lengths.

    Errors of members with different contexts are less correlated, so that averaging removes more of them. See "N-BEATS:
    Neural basis expansion analysis for interpretable time series forecasting" (Oreshkin, Carpov, Chapados, Bengio,
    2020).

    Args:
        estimator: ``S5Estimator`` to train; its seed is that of the first member.
        num_members: number of members, M.
        context_shares: context lengths of the members in turn, as fractions of that of the estimator, rounded up to
            whole patches. A share shorter than the horizon is replaced by the whole context. ``[1.0]`` gives the whole
            context to every member.

    Raises:
        ValueError: for another estimator, less than one member, or shares that are not positive.
    """

    @validated()
    def __init__(
        self, estimator: Estimator, num_members: int = MEMBERS, context_shares: list[float] | None = None
    ) -> None:
        from s5forecast.estimators.direct import S5Estimator

        super().__init__()
        if not isinstance(estimator, S5Estimator):
            raise ValueError(f"estimator must be an S5Estimator, got {type(estimator).__name__}")
        check_positive(num_members=num_members)
        self.estimator, self.num_members = estimator, num_members
        self.context_shares = list(CONTEXT_SHARES) if context_shares is None else context_shares
        if not self.context_shares or not all(0 < share < math.inf for share in self.context_shares):
            raise ValueError(f"context_shares must be positive, such as [1.0, 0.5], got {context_shares}")

    def train(
        self, training_data: Dataset, validation_data: Dataset | None = None, **kwargs: Any
    ) -> "EnsemblePredictor":
        """Train all members on the same data, which are read once; arguments as for the estimator.

        Raises:
            ValueError: as the estimator; for members of different contexts that would start from the same predictor or
                checkpoint.
        """
        members = [self._member(number) for number in range(self.num_members)]
        contexts = {member.spec.context_length for member in members}
        given = [name for name in ("from_predictor", "ckpt_path") if kwargs.get(name) is not None]
        if given and len(contexts) > 1:
            raise ValueError(
                f"members of different contexts cannot start from the same weights ({given[0]}); give "
                "context_shares=[1.0]"
            )
        training_data = list(training_data)
        validation_data = None if validation_data is None else list(validation_data)
        return EnsemblePredictor([member.train(training_data, validation_data, **kwargs) for member in members])

    def _member(self, number: int) -> Any:
        seed, spec = self.estimator.seed, self.estimator.spec
        arguments = {**self.estimator.__init_args__, "seed": None if seed is None else seed + number}
        context = round(self.context_shares[number % len(self.context_shares)] * spec.context_length)
        # The whole context is passed as it was given: its length in whole patches might select another patch length.
        if context == spec.context_length or context < spec.prediction_length:
            return type(self.estimator)(**arguments)
        member = type(self.estimator)(**{**arguments, "context_length": context})
        length = member.choices["context_length"].value
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

    def rescaled(self, step_scale: float) -> "EnsemblePredictor":
        """As :meth:`~s5forecast.estimators.predictor.NetworkPredictor.rescaled`, for all members."""
        return EnsemblePredictor([member.rescaled(step_scale) for member in self.members])

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
        return cls(load_members(path, json.loads((path / "members.json").read_text()), device))


def _whole_average(members: Sequence[Any]) -> np.ndarray:
    """Mean over members of quantiles ``[..., H, Q]`` or ``[Q, H]``, rounded if those of all members are whole."""
    stacked = np.stack(members)
    average = stacked.mean(axis=0)
    whole = (stacked == np.rint(stacked)).all(axis=(0, -2, -1))
    return np.where(whole[..., None, None], np.rint(average), average)
