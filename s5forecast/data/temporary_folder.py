"""Temporary folders that are removed when they are not used any more."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from weakref import finalize

PREFIX = "s5forecast-"
# File of a folder that its process has locked.
LOCK = "lock"


class TemporaryFolder:
    """A new folder, which is removed together with the object.

    Folders in the same place that killed processes have left are removed as well, except on Windows.

    Args:
        parent: existing folder; that of the system by default.
    """

    def __init__(self, parent: Path | None = None) -> None:
        remove_abandoned(Path(gettempdir()) if parent is None else parent)
        self.path = Path(mkdtemp(prefix=PREFIX, dir=parent))
        finalize(self, _remove, self.path, _locked(self.path))

    def remove(self) -> None:
        """Remove the folder now, except files that the system keeps while they are mapped."""
        shutil.rmtree(self.path, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of processes that have ended, which the system has unlocked."""
    for path in parent.glob(f"{PREFIX}*/{LOCK}"):
        try:
            lock = os.open(path, os.O_RDWR)
        except OSError:  # of another user, or removed meanwhile
            continue
        try:
            if _lock(lock):
                shutil.rmtree(path.parent, ignore_errors=True)
        finally:
            os.close(lock)


def _locked(folder: Path) -> int:
    """The descriptor of the lock of a folder, which gets its name when it is locked."""
    unnamed = folder / f".{LOCK}"
    lock = os.open(unnamed, os.O_RDWR | os.O_CREAT)
    if _lock(lock):
        os.replace(unnamed, folder / LOCK)
    return lock


def _lock(descriptor: int) -> bool:
    """Lock a file as long as this process runs; False if another process has, or the system has no such locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _remove(path: Path, lock: int) -> None:
    os.close(lock)
    shutil.rmtree(path, ignore_errors=True)
