"""What S5Forecaster.predict is asked for."""

from __future__ import annotations

from typing import Any, NamedTuple

from s5forecast.data.disk_data import DiskData
from s5forecast.data.mapped_table import MappedTable


class Request(NamedTuple):
    """Arguments of :meth:`S5Forecaster.predict`, for all series."""

    levels: list[float]
    future: Any = None
    times: Any = None
    horizon: Any = None
    every: Any = None

    def needs_parts(self, histories: Any) -> bool:
        """Whether some of the data are on disk, so that they are forecast in parts."""
        return any(isinstance(data, DiskData | MappedTable) for data in (histories, self.future))
