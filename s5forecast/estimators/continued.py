"""Training that starts from the weights of a predictor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gluonts.dataset.common import Dataset
from gluonts.model.predictor import Predictor


class ContinuedTraining:
    """``train_from`` of estimators whose ``train`` takes ``from_predictor``."""

    train: Any

    def train_from(
        self, predictor: Predictor, training_data: Dataset, validation_data: Dataset | None = None, **kwargs: Any
    ) -> Any:
        """Train from the weights of a predictor that this estimator trained, also of a loaded one.

        Args:
            predictor: the predictor, which is not changed.
            training_data, validation_data, kwargs: as for ``train``.

        Raises:
            ValueError: as ``train``, or if the weights do not fit this estimator.
        """
        return self.train(training_data, validation_data, from_predictor=predictor, **kwargs)


def members_of(predictor: Any, kind: type, count: int) -> Sequence[Any]:
    """The members of a predictor from which the members of an estimator start.

    Args:
        predictor: the predictor to start from.
        kind: class of the predictors that the estimator trains.
        count: number of members of the estimator.

    Raises:
        ValueError: for a predictor of another kind, or with another number of members.
    """
    members = getattr(predictor, "members", [])
    if not isinstance(predictor, kind) or len(members) != count:
        found = f" of {len(members)} members" if members else ""
        raise ValueError(
            f"from_predictor is a {type(predictor).__name__}{found}, and this estimator has {count} members; give a "
            "predictor that this estimator trained"
        )
    return members
