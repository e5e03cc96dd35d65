"""Base class of the baselines, which are built from their arguments alone."""

from __future__ import annotations

from numbers import Integral
from pathlib import Path

from gluonts.dataset.common import DataEntry
from gluonts.model.predictor import RepresentablePredictor

from s5forecast.aliases import check_folder
from s5forecast.data.frequency import Frequency
from s5forecast.data.seasons import SEASON_FIELD
from s5forecast.picklable import Picklable


class BaselinePredictor(Picklable, RepresentablePredictor):
    """A GluonTS predictor that forecasts each entry from its history, without training."""

    @classmethod
    def deserialize(cls, path: Path) -> BaselinePredictor:
        """Read what ``serialize`` wrote.

        Raises:
            ValueError: :func:`~s5forecast.aliases.check_folder` refuses the folder.
        """
        check_folder(path)
        return super().deserialize(path)


def check_season(season: int | None) -> None:
    """Raise ValueError unless the season is a number of steps; ``None`` stands for the season of the entry."""
    if season is not None and (isinstance(season, bool) or not isinstance(season, Integral) or season < 1):
        raise ValueError(f"season={season!r} must be a whole number of at least 1")


def season_of(entry: DataEntry) -> int:
    """The season of integer times, which the entry states, or that of the frequency of its ``start``."""
    return int(entry.get(SEASON_FIELD) or Frequency.parse(entry["start"].freqstr).season)
