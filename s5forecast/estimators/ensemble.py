"""Several networks of one estimator, of different contexts and seeds, that forecast together."""

import json
import math
from collections.abc import Iterator, Sequence
from itertools import tee
from pathlib import Path
from typing import Any

import numpy as np
from gluonts.core.component import validated
from gluonts.dataset.common import Dataset
from gluonts.model.estimator import Estimator
from gluonts.model.forecast import QuantileForecast
from gluonts.model.predictor import Predictor

from s5forecast.aliases import check_folder
from s5forecast.distributions import Output
from s5forecast.estimators.arguments import check_positive
from s5forecast.estimators.defaults import CONTEXT_SHARES, MEMBERS
from s5forecast.estimators.direct import S5Estimator
from s5forecast.estimators.predictor import S5Predictor
from s5forecast.levels import DECILES


class EnsembleEstimator(Estimator):
    """Trains an estimator several times, from consecutive seeds, on contexts of different lengths.

    Errors of members that look back differently far agree less, so that more of them averages out; as in "N-BEATS:
    Neural basis expansion analysis for interpretable time series forecasting" (Oreshkin, Carpov, Chapados, Bengio,
    2020).

    Arguments:
        estimator: trained again and again; its own seed is the first.
        num_members: how many times, M.
        context_shares: of the estimator's context, what the members look back over, in turn, in whole patches; all of
            it where a share would be shorter than the horizon. ``[1.0]`` gives all of it to each.

    Raises:
        ValueError: for less than one member, or shares that are not positive.
    """

    @validated()
    def __init__(
        self, estimator: S5Estimator, num_members: int = MEMBERS, context_shares: list[float] | None = None
    ) -> None:
        super().__init__()
        check_positive(num_members=num_members)
        self.estimator, self.num_members = estimator, num_members
        self.context_shares = list(CONTEXT_SHARES) if context_shares is None else context_shares
        if not self.context_shares or not all(0 < share < math.inf for share in self.context_shares):
            raise ValueError(f"context_shares must be positive, such as [1.0, 0.5], got {context_shares}")

    def train(
        self, training_data: Dataset, validation_data: Dataset | None = None, **kwargs: Any
    ) -> "EnsemblePredictor":
        """Train all members on the same data, which is read once; arguments as of the estimator.

        Raises:
            ValueError: as the estimator does, and for members of different contexts that would start from one predictor
                or checkpoint.
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

    def _member(self, number: int) -> S5Estimator:
        seed, spec = self.estimator.seed, self.estimator.spec
        arguments = {**self.estimator.__init_args__, "seed": None if seed is None else seed + number}
        context = round(self.context_shares[number % len(self.context_shares)] * spec.context_length)
        # The whole is left as it was given: what it was rounded up to might get patches of another length.
        if context != spec.context_length and context >= spec.prediction_length:
            arguments["context_length"] = context
        return type(self.estimator)(**arguments)


class EnsemblePredictor(Predictor):
    r"""Means and quantiles that are the averages of those of M predictors.

    .. math:: q_\tau = \frac{1}{M} \sum_m q_{m, \tau}

    An average of quantiles is as sharp as its members on average, where an average of distributions is wider; see "Is
    it better to average probabilities or quantiles?" (Lichtendahl, Grushka-Cockayne, Winkler, 2013). Whole numbers are
    kept whole.

    Arguments:
        members: of the same horizon.

    Raises:
        ValueError: without members, or for different horizons.
    """

    def __init__(self, members: Sequence[S5Predictor]) -> None:
        horizons = sorted({member.prediction_length for member in members})
        if len(horizons) != 1:
            raise ValueError(f"members must be predictors of one prediction_length, got {horizons}")
        super().__init__(prediction_length=horizons[0])
        self.members = list(members)

    @property
    def output(self) -> Output:
        """What the members forecast."""
        return self.members[0].output

    def predict(self, dataset: Dataset, num_samples: int | None = None) -> Iterator[QuantileForecast]:
        """One forecast for each entry, in order, at the levels of the members, or at the deciles.

        ``num_samples`` has no meaning here, as no paths are drawn; quantiles at any level are those of
        :meth:`predict_quantiles`.

        Raises:
            ValueError: for an entry that does not fit, naming the series, the field and the fix.
        """
        levels = getattr(self.output, "quantiles", DECILES)
        copies = tee(dataset, len(self.members))
        for several in zip(*(m.predict(c) for m, c in zip(self.members, copies, strict=True)), strict=True):
            one = several[0]
            mean = np.mean([forecast.mean for forecast in several], axis=0, dtype=one.mean.dtype)
            quantiles = _average([[forecast.quantile(level) for level in levels] for forecast in several])
            arrays = np.concatenate([mean[None], quantiles.astype(mean.dtype)])
            yield QuantileForecast(arrays, one.start_date, ["mean", *map(str, levels)], one.item_id, one.info)

    def predict_quantiles(self, dataset: Dataset, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Means ``[S, H]`` and quantiles ``[S, H, Q]`` of all S entries.

        Raises:
            ValueError: as :meth:`predict`.
        """
        entries = list(dataset)
        means, quantiles = zip(*(member.predict_quantiles(entries, levels) for member in self.members), strict=True)
        return np.mean(means, axis=0), _average(quantiles)

    def rescaled(self, step_scale: float) -> "EnsemblePredictor":
        """As :meth:`S5Predictor.rescaled`, of all members."""
        return EnsemblePredictor([member.rescaled(step_scale) for member in self.members])

    def serialize(self, path: Path) -> None:
        """Write to an existing folder: JSON and tensors, no pickled code."""
        super().serialize(path)
        (path / "members.json").write_text(json.dumps(len(self.members)))
        for number, member in enumerate(self.members):
            folder = path / str(number)
            folder.mkdir(exist_ok=True)
            member.serialize(folder)

    @classmethod
    def deserialize(cls, path: Path, device: str | None = None) -> "EnsemblePredictor":
        """Read what :meth:`serialize` wrote."""
        check_folder(path)
        count = json.loads((path / "members.json").read_text())
        return cls([S5Predictor.deserialize(path / str(number), device) for number in range(count)])


def _average(members: Sequence[Any]) -> np.ndarray:
    """Mean over members of ``[..., H, Q]``; whole numbers of a series where those of all its members are."""
    stacked = np.stack(members)
    average = stacked.mean(axis=0)
    whole = (stacked == np.rint(stacked)).all(axis=(0, -2, -1))
    return np.where(whole[..., None, None], np.rint(average), average)
