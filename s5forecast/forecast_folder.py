"""Folder of Parquet files with the forecasts of parts of all series, which an interrupted call resumes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from s5forecast.data.faults import Skipped

# Readers of Parquet folders, such as those of Arrow, Polars and Spark, ignore names that begin with "_" or ".".
MANIFEST, SKIPPED = "_manifest.json", "_skipped.parquet"
FOLDER_FORMAT = 1
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
        self.path, manifest = path, {"format_version": FOLDER_FORMAT, **manifest}
        path.mkdir(parents=True, exist_ok=True)
        stored = path / MANIFEST
        if stored.exists():
            self._check(json.loads(stored.read_text()), manifest)
        elif any(path.iterdir()):
            raise ValueError(f"output={str(path)!r} has other files and no {MANIFEST}; give a new or an empty folder")
        else:
            self._replace(MANIFEST, lambda temporary: temporary.write_text(json.dumps(manifest, indent=1)))

    def missing(self, count: int) -> list[int]:
        """Numbers of the parts that are not finished."""
        return [number for number in range(count) if not (self.path / self._name(number)).exists()]

    def write(self, number: int, table: Any, skipped: Skipped) -> None:
        """Write a part, an Arrow table, with the series that are left out of it."""
        import pyarrow.parquet as pq

        metadata = {**(table.schema.metadata or {}), METADATA: json.dumps(skipped.plain()).encode()}
        table = table.replace_schema_metadata(metadata)
        self._replace(self._name(number), lambda temporary: pq.write_table(table, temporary))

    def skipped(self, number: int) -> Skipped:
        """The series that are left out of a finished part."""
        import pyarrow.parquet as pq

        metadata = pq.read_schema(self.path / self._name(number)).metadata
        return Skipped.restored(json.loads(metadata[METADATA]))

    def finish(self, skipped: Any) -> None:
        """Write the Arrow table of the series that are left out."""
        import pyarrow.parquet as pq

        self._replace(SKIPPED, lambda temporary: pq.write_table(skipped, temporary))

    def _check(self, stored: Mapping[str, Any], manifest: Mapping[str, Any]) -> None:
        changed = [name for name, value in manifest.items() if stored.get(name) != value]
        if changed:
            raise ValueError(
                f"output={str(self.path)!r} holds forecasts of another call: {', '.join(changed)} differ from those "
                "of this one; give a new folder, or remove the files"
            )

    def _name(self, number: int) -> str:
        return f"part-{number:06d}.parquet"

    def _replace(self, name: str, write: Any) -> None:
        """Write a file under a temporary name, so that it is complete when it has its name."""
        temporary = self.path / f".{name}.tmp"
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, self.path / name)
