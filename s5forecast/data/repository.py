"""Load data sets by name: embedded ones as long frames, and those of GluonTS."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from gluonts.dataset.common import TrainDatasets

PACKAGE = Path(__file__).resolve().parents[1]
# In a wheel the folder is inside the package, in an editable install at the root of the repository.
FOLDERS = (PACKAGE / "_datasets", PACKAGE.parent / "datasets")
LISTED = ["name", "title", "domain", "freq", "series", "observations", "horizon", "season", "licence"]


def list_datasets() -> pd.DataFrame:
    """List the embedded data sets, one per row, with their title, size, recommended horizon and license.

    ``freq``, ``horizon`` and ``season`` are missing for irregular series.
    """
    frame = pd.DataFrame([_read_meta(folder) for folder in _embedded().values()], columns=LISTED)
    return frame.astype({"horizon": "Int64", "season": "Int64"})


def load_dataset(name: str, *, path: str | os.PathLike[str] | None = None) -> pd.DataFrame | TrainDatasets:
    """Load an embedded data set as a long frame, or one of GluonTS as its TrainDatasets.

    Regular embedded data sets have the columns ``item_id, timestamp, target`` and static columns, irregular ones
    ``item_id, timestamp`` and their variables. Rows are sorted by item and time; values not observed are NaN.

    Args:
        name: name of an embedded data set, or of one of GluonTS, which downloads it if it is not on disk.
        path: folder with a data set ``<path>/<name>`` in GluonTS's format (``metadata.json``, ``train/`` and
            optionally ``test/``).

    Raises:
        ValueError: for an unknown name or damaged data.
        FileNotFoundError: if the data set can be neither read nor downloaded.

    Example:
        >>> from s5forecast import load_dataset
        >>> df = load_dataset("nyc_departures_hourly")
        >>> list(df.columns)
        ['item_id', 'timestamp', 'target', 'origin', 'carrier']
        >>> df["item_id"].nunique()
        20
    """
    if path is None and name in _embedded():
        return _load_embedded(_embedded()[name])
    return _load_gluonts(name, None if path is None else Path(path).expanduser())


def _embedded() -> dict[str, Path]:
    root = next((folder for folder in FOLDERS if folder.is_dir()), FOLDERS[0])
    return {meta.parent.name: meta.parent for meta in sorted(root.glob("*/meta.json"))}


def _read_meta(folder: Path) -> dict[str, Any]:
    meta: dict[str, Any] = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    return meta


def _load_embedded(folder: Path) -> pd.DataFrame:
    meta = _read_meta(folder)
    content = (folder / "data.csv.gz").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != meta["sha256"]:
        raise ValueError(
            f"{folder / 'data.csv.gz'} is damaged or was changed: its sha256 is {digest}, but meta.json has "
            f"{meta['sha256']}. Install the package again, or restore the file."
        )
    frame = pd.read_csv(io.BytesIO(content), compression="gzip", parse_dates=["timestamp"])
    if meta["layout"] == "wide":
        frame = _melt(frame, meta["static_columns"])
    return frame.sort_values(["item_id", "timestamp"], ignore_index=True)


def _melt(wide: pd.DataFrame, static_columns: list[str]) -> pd.DataFrame:
    """Convert a column per series to the columns item_id, timestamp, target and the named parts of item_id."""
    long = wide.melt(id_vars="timestamp", var_name="item_id", value_name="target")
    long = long[["item_id", "timestamp", "target"]].astype({"target": "float64"})
    items = long["item_id"].unique()
    for part, column in enumerate(static_columns):
        values = {item: item.split("_", len(static_columns) - 1)[part] for item in items}
        long[column] = long["item_id"].map(values)
    return long


def _load_gluonts(name: str, path: Path | None) -> TrainDatasets:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of GluonTS itself
        from gluonts.dataset import repository

        folder = (path or repository.default_dataset_path) / name
        if not folder.exists():
            _download(name, folder, path)
        return _read_gluonts(folder)


def _download(name: str, folder: Path, path: Path | None) -> None:
    from gluonts.dataset import repository

    if name not in repository.dataset_names:
        raise _unknown(name, path, repository.dataset_names)
    try:
        repository.get_dataset(name, path=folder.parent)
    except Exception as error:
        shutil.rmtree(folder, ignore_errors=True)  # GluonTS would read an incomplete folder as a data set
        raise FileNotFoundError(
            f"GluonTS could not download '{name}' ({type(error).__name__}: {error}). Without a network, put its "
            f"folder (metadata.json, train/, test/) at {folder}, or pass path=, the folder holding '{name}/'."
        ) from error


def _unknown(name: str, path: Path | None, gluonts_names: list[str]) -> Exception:
    embedded = sorted(_embedded())
    if name in embedded:
        return FileNotFoundError(f"{path} has no folder '{name}'. Omit path= to load the embedded data set.")
    where = "" if path is None else f", and not in {path}"
    return ValueError(
        f"Unknown data set {name!r}{where}. Choose an embedded one, {embedded}, or one of GluonTS's, "
        f"{sorted(gluonts_names)}, or pass the folder holding '{name}/' in GluonTS's format as path=."
    )


def _read_gluonts(folder: Path) -> TrainDatasets:
    from gluonts.dataset.common import load_datasets

    metadata = next((at for at in (folder, folder / "metadata") if (at / "metadata.json").is_file()), None)
    if metadata is None or not (folder / "train").is_dir():
        missing = "metadata.json" if metadata is None else "train/"
        raise FileNotFoundError(
            f"{folder} has no {missing}, so it is not a complete GluonTS data set. "
            "Complete it, or delete the folder so that GluonTS downloads it again."
        )
    test = folder / "test"
    return load_datasets(metadata=metadata, train=folder / "train", test=test if test.is_dir() else None)
