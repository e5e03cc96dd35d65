"""Temporary folders that are removed when they are not used any more."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import mkdtemp
from weakref import finalize


class TemporaryFolder:
    """A new folder, which is removed together with the object.

    Args:
        parent: existing folder; that of the system by default.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self.path = Path(mkdtemp(prefix="s5forecast-", dir=parent))
        finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def remove(self) -> None:
        """Remove the folder now, except files that the system keeps while they are mapped."""
        shutil.rmtree(self.path, ignore_errors=True)
