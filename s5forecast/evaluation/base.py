"""Base class of the baselines, which are built from their arguments alone."""

from __future__ import annotations

from pathlib import Path

from gluonts.model.predictor import RepresentablePredictor

from s5forecast.aliases import check_folder


class BaselinePredictor(RepresentablePredictor):
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
    """Raise ValueError for a season below 1; ``None`` stands for the season of the frequency."""
    if season is not None and season < 1:
        raise ValueError(f"season={season} must be at least 1")
