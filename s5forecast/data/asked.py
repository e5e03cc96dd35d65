"""Data of a forecast: histories, future values of known columns, and times to forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from s5forecast.data.frames import Columns, SeriesEnds, series_name, without_series
from s5forecast.data.items import join_keys


@dataclass(frozen=True, eq=False)
class Asked:
    """Series to forecast, and the frames that belong to them.

    Args:
        histories: a ``SeriesTable``, or the ``SeriesEnds`` of the histories.
        future, times: as for :meth:`s5forecast.S5Forecaster.predict`.
        columns: roles of the columns of these frames.
    """

    histories: Any
    future: pd.DataFrame | None
    times: pd.DataFrame | None
    columns: Columns

    def __len__(self) -> int:
        """Number of series or rows in the part that has the fewest; 0 if nothing can be forecast."""
        histories = self.histories.positions if isinstance(self.histories, SeriesEnds) else self.histories
        return min(len(part) for part in (histories, self.future, self.times) if part is not None)

    def without_names(self, reasons: Mapping[str, str]) -> tuple[Asked, pd.DataFrame]:
        """All parts without the series of the given names, and the keys of these series in the order of the names."""
        histories, left = self.histories.without_names(reasons)
        frames = {"future": self.future, "times": self.times}
        for name, frame in frames.items():
            if frame is not None:
                frames[name], keys = without_series(frame, reasons, self.columns, f"{name}=")
                new = keys[~keys.index.isin(left.index)]
                left = join_keys(left, new[list(left)]) if len(new) else left
        order = {name: number for number, name in enumerate(reasons)}
        places = np.argsort([order[series_name(label)] for label in left.index])
        return replace(self, histories=histories, future=frames["future"], times=frames["times"]), left.iloc[places]
