"""Folder of Parquet files with the forecasts of parts of all series, which an interrupted call resumes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s5forecast.data.faults import Skipped
from s5forecast.data.frame_kinds import FrameKind
from s5forecast.data.frames import Columns
from s5forecast.manifest import open_folder, write_whole

SKIPPED = "_skipped.parquet"
# Key of the metadata of a file, for the series of its part that are left out.
METADATA = b"s5forecast.skipped"


class ForecastFolder:
    """Parts of forecasts, each of which is one file that appears when it is complete.

    Args:
        path: folder, which is created.
        manifest: what the forecasts depend on, as plain data.

    Raises:
        ValueError: for a folder with other files, or with forecasts that depend on something else.
    """

    def __init__(self, path: Path, manifest: Mapping[str, Any]) -> None:
        self.path = path
        open_folder(path, manifest, "output", "forecasts")

    def missing(self, count: int) -> list[int]:
        """Numbers of the parts that are not finished."""
        return [number for number in range(count) if not (self.path / self._name(number)).exists()]

    def write(self, number: int, table: Any, skipped: Skipped) -> None:
        """Write a part, an Arrow table, with the series that are left out of it."""
        import pyarrow.parquet as pq

        metadata = {**(table.schema.metadata or {}), METADATA: json.dumps(skipped.plain()).encode()}
        table = table.replace_schema_metadata(metadata)
        write_whole(self.path / self._name(number), lambda temporary: pq.write_table(table, temporary))

    def skipped(self, number: int) -> Skipped:
        """The series that are left out of a finished part."""
        import pyarrow.parquet as pq

        metadata = pq.read_schema(self.path / self._name(number)).metadata
        return Skipped.restored(json.loads(metadata[METADATA]))

    def finish(self, skipped: Skipped, kind: FrameKind, columns: Columns) -> None:
        """Write the series that are left out, if there are any, as an Arrow table of a kind."""
        import pyarrow.parquet as pq

        if skipped.reasons:
            table = kind.convert(skipped.frame(columns.item_id, columns.identity))
            write_whole(self.path / SKIPPED, lambda temporary: pq.write_table(table, temporary))

    def _name(self, number: int) -> str:
        return f"part-{number:06d}.parquet"
