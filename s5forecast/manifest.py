"""Folders of results that an interrupted call resumes, and what these results depend on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Readers of Parquet folders, such as those of Arrow, Polars and Spark, ignore names that begin with "_" or ".".
MANIFEST = "_manifest.json"
FORMAT = 1


def open_folder(path: Path, manifest: Mapping[str, Any], argument: str, what: str) -> None:
    """Create a folder of results with a manifest, or check that an existing one has the same.

    Args:
        path: folder.
        manifest: what the results depend on, as plain data.
        argument: name of the argument that gives the folder.
        what: the results, in error messages.

    Raises:
        ValueError: for a file, a folder with other files, one with a damaged manifest, or with results that depend on
            something else.
    """
    manifest, name = {"format_version": FORMAT, **manifest}, f"{argument}={str(path)!r}"
    if path.is_file():
        raise ValueError(f"{name} is a file; give a new or an empty folder")
    path.mkdir(parents=True, exist_ok=True)
    stored = path / MANIFEST
    if not stored.exists():
        if any(path.iterdir()):
            raise ValueError(f"{name} has other files and no {MANIFEST}; give a new or an empty folder")
        write_whole(stored, lambda temporary: temporary.write_text(json.dumps(manifest, indent=1)))
        return
    try:
        found = dict(json.loads(stored.read_text()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{stored} is damaged; give a new folder, or remove the files") from error
    changed = [key for key, value in manifest.items() if found.get(key) != value]
    if changed:
        raise ValueError(
            f"{name} holds {what} of another call: {', '.join(changed)} differ from those of this one; give a new "
            "folder, or remove the files"
        )


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a file under a temporary name, so that it is complete when it has its name."""
    temporary = path.with_name(f".{path.name}.tmp")
    write(temporary)
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
